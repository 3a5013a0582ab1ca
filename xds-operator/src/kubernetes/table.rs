//! How does a published table get from the leader to every replica, and outlive them all? ConfigMaps: immutable chunks that
//! are named after what they hold, and one pointer that says which of them make the table in force.
//!
//! The pointer is the commit: it is moved by compare-and-swap once every chunk is there, so a reader finds the table before or
//! the one after, and never a part. Nothing that is read is believed before its digest was checked, and what cannot be read
//! takes nothing away from who has a table.
//!
//! INVARIANT: a pointer's revision never goes back, and the annotations that people set on it are theirs.

pub mod encoding;
mod follow;
mod tend;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{PartialObjectMeta, Request};
use kube::{Api, Client, Resource as _};
use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::JoinSet;

use self::encoding::{
    CHUNK_BYTES_MAX, Chunk, ChunkId, Commit, CommitError, Content, Contents, Corrupt,
};
use self::encoding::{Encoded, Excess, Memo, Part};
pub use self::tend::{Lost, Tended};
use super::{FIELD_MANAGER, RequestError, bounded};
use crate::pipeline::publish::Published;

/// Requests for chunks that are under way at once.
const AT_ONCE_MAX: usize = 8;
/// How often a chunk is tried to be made before somebody else's is taken for stronger.
const ENSURE_ATTEMPTS_MAX: usize = 5;
/// How long a chunk stays after it fell out of use, so that who is reading its table can finish.
const KEPT_UNUSED: Duration = Duration::from_mins(1);
/// The key of a chunk's bytes.
const CHUNK_KEY: &str = "chunk";
/// The label of what is ours, in the words of Kubernetes.
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The label of a chunk that says what is in it.
const PART_LABEL: &str = "fixgateway.io/part";
/// The annotation of a chunk that was there already when it was needed again.
const REUSED_ANNOTATION: &str = "fixgateway.io/reused-by-revision";
/// An answer without the object's data, which we have: for a chunk that is half of what travels.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// The annotation of the pointer that stops publication; its value is the reason, for people.
pub const PAUSED_ANNOTATION: &str = "fixgateway.io/paused";
/// The label of pointer and chunks; its value is the table's name.
pub const TABLE_LABEL: &str = "fixgateway.io/table";

/// The pointer ConfigMap, as somebody has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// What it was then; whoever moves it says so, and is refused if it is something else by now.
    pub resource_version: String,
    /// What it says; none when nothing was published yet, or when it cannot be understood (then there is a [`Fault`]).
    pub commit: Option<Commit>,
}

impl Pointer {
    /// The revision that it points to; 0 when to none.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.commit.as_ref().map_or(0, |commit| commit.revision)
    }
}

/// Publication waits until somebody says go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// In the words of who paused it; may be empty.
    pub reason: String,
}

/// What a replica knows of the published table.
#[derive(Clone, Debug, Default)]
pub struct Pointed {
    /// Whether the API server has said what there is. Until then nothing is to be concluded from what is not here.
    pub known: bool,
    /// The last one that could be read whole. It stays when the pointer or a chunk goes.
    pub table: Option<Arc<Published>>,
    /// The pointer as it is now; none: there is none. Its revision is another than the table's only while there is a fault.
    pub pointer: Option<Pointer>,
    /// Whether publication waits.
    pub paused: Option<Paused>,
    /// Why `table` is not what the pointer says. Whoever leads and has the table that the pointer means lets
    /// [`TableStore::tend`] put that right; who has none publishes what the source says, over the pointer that is there.
    pub fault: Option<Fault>,
}

/// Why a published table cannot be read. Each message names the ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It was there.
    #[error(
        "the ConfigMap {pointer} is gone; the leader puts it back if it has the table, and what was published stays in force"
    )]
    PointerDeleted {
        /// `namespace/name`.
        pointer: String,
    },
    /// By hand, or by another program.
    #[error(
        "the ConfigMap {pointer} is not as it was published ({what}); the leader puts it right if it has the table, leave it to the operator"
    )]
    PointerAltered {
        /// `namespace/name`.
        pointer: String,
        /// What is wrong.
        what: String,
    },
    /// Written by another release.
    #[error(
        "the ConfigMap {pointer} was written by a release that this one does not understand (format {format}); run that release, or delete the \
         ConfigMap, and the table is published anew"
    )]
    Format {
        /// `namespace/name`.
        pointer: String,
        /// What was found.
        format: String,
    },
    /// Deleted, or not to be seen.
    #[error(
        "the ConfigMap {chunk}, a part of the table {revision}, is gone; the leader puts it back if it has the table"
    )]
    ChunkMissing {
        /// `namespace/name`.
        chunk: String,
        /// The table's revision.
        revision: u64,
    },
    /// Made anew with something else in it.
    #[error(
        "the ConfigMap {chunk}, a part of the table {revision}, is not as it was published; the leader puts it right if it has the table"
    )]
    ChunkAltered {
        /// `namespace/name`.
        chunk: String,
        /// The table's revision.
        revision: u64,
    },
    /// All parts are as they were published, and do not make a table.
    #[error(
        "the table {revision} of the ConfigMap {pointer} cannot be read ({what}); the next change publishes a whole one"
    )]
    Unreadable {
        /// `namespace/name`.
        pointer: String,
        /// Its revision.
        revision: u64,
        /// What is wrong.
        what: Corrupt,
    },
    /// The API server refuses.
    #[error(
        "the ConfigMap {object} may not be read ({said}); give the operator's service account the right to get and watch ConfigMaps in its namespace"
    )]
    Forbidden {
        /// `namespace/name`.
        object: String,
        /// In the API server's words.
        said: String,
    },
    /// The API server is away.
    #[error("the ConfigMap {object} cannot be read ({said}); this is tried again")]
    Unreachable {
        /// `namespace/name`.
        object: String,
        /// What was said.
        said: String,
    },
}

/// Why a table was not published. What was published before is in force.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else has published, paused or edited meanwhile: read again and decide anew.
    #[error(
        "the ConfigMap {pointer} has changed meanwhile (it is at revision {revision}); the change is looked at anew"
    )]
    Overtaken {
        /// `namespace/name`.
        pointer: String,
        /// Its revision now; 0: it points to none, or is gone.
        revision: u64,
    },
    /// Another leads by now.
    #[error("the ConfigMap {pointer} was left as it is: this replica leads no more")]
    Deposed {
        /// `namespace/name`.
        pointer: String,
    },
    /// More than ConfigMaps are for.
    #[error("the table is too large to be published: {0}")]
    Excess(#[from] Excess),
    /// The API server refuses, or is away.
    #[error(
        "the ConfigMap {object} cannot be written ({source}); the table that was published before stays in force, and this is tried again"
    )]
    Api {
        /// `namespace/name`.
        object: String,
        /// Why.
        source: RequestError,
    },
}

/// A published table in a cluster. Cheap to clone; clones share what they have read.
#[derive(Clone)]
pub struct TableStore(Arc<Inner>);

struct Inner {
    client: Client,
    maps: Api<ConfigMap>,
    namespace: String,
    name: String,
    /// How long a chunk stays after it fell out of use.
    keep: Duration,
    seen: Mutex<Seen>,
    /// What is written is written by one task at a time; with what was encoded last.
    writing: AsyncMutex<Memo>,
}

/// What was seen of the cluster.
#[derive(Default)]
struct Seen {
    /// The table that was read or published last.
    latest: Option<(Commit, Arc<Published>)>,
    /// Its chunks, as far as they were read.
    contents: Contents,
    /// Chunks that are in the cluster and hold what they should, by the identity of the object. It cannot change in place.
    sound: BTreeMap<ChunkId, String>,
}

impl fmt::Debug for TableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableStore({})", self.0.pointer_path())
    }
}

/// What one look at a chunk has shown.
enum Looked {
    /// It is what it should be.
    Sound { uid: String, bytes: Vec<u8> },
    /// It holds something else.
    Altered { uid: String },
    /// There is none.
    Missing,
}

impl Inner {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // What is in there is whole after each statement.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    fn pointer_path(&self) -> String {
        self.path(&self.name)
    }

    fn chunk_name(&self, id: &ChunkId) -> String {
        format!("{}-{id}", self.name)
    }

    fn chunk_path(&self, id: &ChunkId) -> String {
        self.path(&self.chunk_name(id))
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let labels = [
            (TABLE_LABEL, self.name.as_str()),
            (MANAGED_BY_LABEL, FIELD_MANAGER),
        ];
        labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    async fn look_at(&self, id: &ChunkId) -> Result<Looked, RequestError> {
        let Some(map) = bounded(self.maps.get_opt(&self.chunk_name(id))).await? else {
            return Ok(Looked::Missing);
        };
        let uid = map.metadata.uid.unwrap_or_default();
        let bytes = map
            .binary_data
            .and_then(|mut data| data.remove(CHUNK_KEY))
            .map_or_else(Vec::new, |bytes| bytes.0);
        // Nobody but who deletes the object can change it from now on.
        let is_sound = map.immutable == Some(true)
            && bytes.len() <= CHUNK_BYTES_MAX
            && ChunkId::of(&bytes) == *id;
        Ok(if is_sound {
            Looked::Sound { uid, bytes }
        } else {
            Looked::Altered { uid }
        })
    }

    /// Makes an object; the answer is its metadata.
    async fn create(&self, map: &ConfigMap) -> Result<ObjectMeta, RequestError> {
        let body = serde_json::to_vec(map)
            .map_err(|error| RequestError::Kube(kube::Error::SerdeError(error)))?;
        let path = ConfigMap::url_path(&(), Some(&self.namespace));
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let mut request = Request::new(path)
            .create(&parameters, body)
            .map_err(|error| RequestError::Kube(kube::Error::BuildRequest(error)))?;
        let accept = hyper::http::HeaderValue::from_static(METADATA_ONLY);
        request.headers_mut().insert(hyper::header::ACCEPT, accept);
        let made = self.client.request::<PartialObjectMeta<ConfigMap>>(request);
        Ok(bounded(made).await?.metadata)
    }

    async fn patch(&self, name: &str, patch: &Value) -> Result<ObjectMeta, RequestError> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        let patched = self.maps.patch_metadata(name, &parameters, &patch);
        Ok(bounded(patched).await?.metadata)
    }

    /// Deletes an object if it is still this one. Whether it was there does not matter.
    async fn delete(
        &self,
        name: &str,
        uid: &str,
        resource_version: Option<&str>,
    ) -> Result<(), RequestError> {
        let this = Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: resource_version.map(str::to_owned),
        };
        let parameters = DeleteParams::default().preconditions(this);
        match bounded(self.maps.delete(name, &parameters)).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes a chunk, or makes sure that the one that is there is it.
    async fn ensure(&self, chunk: &Chunk, revision: u64) -> Result<(), RequestError> {
        let name = self.chunk_name(&chunk.id);
        let mut labels = self.labels();
        labels.insert(PART_LABEL.to_owned(), chunk.part.label().to_owned());
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(labels.clone()),
                ..ObjectMeta::default()
            },
            immutable: Some(true),
            binary_data: Some([(CHUNK_KEY.to_owned(), ByteString(chunk.bytes.to_vec()))].into()),
            ..ConfigMap::default()
        };
        // It is there, it is altered, it is gone: at each step somebody may be faster, but not for ever.
        let mut attempts = 0;
        let uid = loop {
            attempts += 1;
            match self.create(&map).await {
                Ok(metadata) => break metadata.uid.unwrap_or_default(),
                Err(error) if error.code() == Some(409) && attempts < ENSURE_ATTEMPTS_MAX => {}
                Err(error) => return Err(error),
            }
            match self.look_at(&chunk.id).await? {
                Looked::Missing => {}
                Looked::Altered { uid } => self.delete(&name, &uid, None).await?,
                Looked::Sound { uid, .. } => {
                    // Whoever thinks that nobody needs it any more finds that it has changed, and the label is there again.
                    let annotations = json!({ REUSED_ANNOTATION: revision.to_string() });
                    let metadata =
                        json!({ "uid": uid, "labels": labels, "annotations": annotations });
                    match self.patch(&name, &json!({ "metadata": metadata })).await {
                        Ok(_) => break uid,
                        Err(error) if matches!(error.code(), Some(404 | 409)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        };
        self.seen().sound.insert(chunk.id.clone(), uid);
        Ok(())
    }

    /// What a pointer ConfigMap says.
    fn read(&self, map: &ConfigMap) -> (Pointer, Option<Paused>, Option<Fault>) {
        let none = BTreeMap::new();
        let (commit, fault) = match Commit::read(map.data.as_ref().unwrap_or(&none)) {
            Ok(commit) => (commit, None),
            Err(CommitError::Format(format)) => {
                let pointer = self.pointer_path();
                (None, Some(Fault::Format { pointer, format }))
            }
            Err(error) => (None, Some(self.altered(error.to_string()))),
        };
        let pointer = Pointer {
            resource_version: map.metadata.resource_version.clone().unwrap_or_default(),
            commit,
        };
        (pointer, paused(&map.metadata), fault)
    }

    fn altered(&self, what: String) -> Fault {
        Fault::PointerAltered {
            pointer: self.pointer_path(),
            what,
        }
    }

    /// What is wrong when an object cannot be read.
    fn unread(&self, name: &str, error: &RequestError) -> Fault {
        let (object, said) = (self.path(name), error.to_string());
        match error.code() {
            Some(401 | 403) => Fault::Forbidden { object, said },
            _ => Fault::Unreachable { object, said },
        }
    }
}

fn paused(metadata: &ObjectMeta) -> Option<Paused> {
    let reason = metadata.annotations.as_ref()?.get(PAUSED_ANNOTATION)?;
    Some(Paused {
        reason: reason.clone(),
    })
}

impl TableStore {
    /// The one whose pointer has this name.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self::keeping(client, namespace, name, KEPT_UNUSED)
    }

    /// The same, with another time for which chunks stay that fell out of use.
    #[must_use]
    pub fn keeping(client: Client, namespace: &str, name: &str, keep: Duration) -> Self {
        Self(Arc::new(Inner {
            maps: Api::namespaced(client.clone(), namespace),
            client,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            keep,
            seen: Mutex::default(),
            writing: AsyncMutex::default(),
        }))
    }

    /// `namespace/name` of its pointer, as messages call it.
    #[must_use]
    pub fn pointer(&self) -> String {
        self.0.pointer_path()
    }

    /// Reads it once.
    ///
    /// # Errors
    /// When the API server does not let us. What is wrong with what was read is in [`Pointed::fault`].
    pub async fn load(&self) -> Result<Pointed, RequestError> {
        let mut pointed = Pointed {
            known: true,
            ..Pointed::default()
        };
        let Some(map) = bounded(self.0.maps.get_opt(&self.0.name)).await? else {
            return Ok(pointed);
        };
        self.take(&map, &mut pointed).await;
        Ok(pointed)
    }

    /// Takes over what a pointer says; what cannot be read is a fault, and takes nothing away.
    async fn take(&self, map: &ConfigMap, pointed: &mut Pointed) {
        let (pointer, paused, fault) = self.0.read(map);
        pointed.known = true;
        pointed.paused = paused;
        pointed.fault = match (&pointer.commit, fault, &pointed.table) {
            (_, Some(fault), _) => Some(fault),
            (None, None, Some(table)) => {
                let revision = table.table.revision();
                Some(
                    self.0
                        .altered(format!("revision {revision} is gone from it")),
                )
            }
            (None, None, None) => None,
            (Some(commit), None, Some(table)) if commit.revision < table.table.revision() => {
                let (now, revision) = (commit.revision, table.table.revision());
                let what = format!("it went back from revision {revision} to {now}");
                Some(self.0.altered(what))
            }
            (Some(commit), None, _) => match self.table(commit).await {
                Ok(table) => {
                    pointed.table = Some(table);
                    None
                }
                Err(fault) => Some(fault),
            },
        };
        pointed.pointer = Some(pointer);
    }

    /// The table of a commit; only chunks that were not read before are asked for.
    async fn table(&self, commit: &Commit) -> Result<Arc<Published>, Fault> {
        let contents: Contents = {
            let seen = self.0.seen();
            if let Some((latest, table)) = &seen.latest
                && latest == commit
            {
                return Ok(table.clone());
            }
            let known =
                |(_, id): &(Part, ChunkId)| Some((id.clone(), seen.contents.get(id)?.clone()));
            commit.chunks.iter().filter_map(known).collect()
        };
        let contents = self.read_chunks(commit, contents).await?;
        let unreadable = |what| Fault::Unreadable {
            pointer: self.0.pointer_path(),
            revision: commit.revision,
            what,
        };
        let table = Arc::new(encoding::assemble(commit, &contents).map_err(unreadable)?);
        let mut seen = self.0.seen();
        seen.contents = contents;
        seen.latest = Some((commit.clone(), table.clone()));
        Ok(table)
    }

    async fn read_chunks(
        &self,
        commit: &Commit,
        mut contents: Contents,
    ) -> Result<Contents, Fault> {
        let limit = Arc::new(Semaphore::new(AT_ONCE_MAX));
        let mut reading = JoinSet::new();
        for (part, id) in commit.chunks.iter() {
            if contents.contains_key(id) {
                continue;
            }
            let (store, limit) = (self.clone(), limit.clone());
            let (part, id, revision) = (*part, id.clone(), commit.revision);
            reading.spawn(async move {
                let _permit = limit.acquire().await;
                let content = store.read_chunk(part, &id, revision).await?;
                Ok((id, Arc::new(content)))
            });
        }
        while let Some(read) = reading.join_next().await {
            // A panic in there is one of ours, and says what; what was published stays.
            let read = read.unwrap_or_else(|error| {
                Err(Fault::Unreachable {
                    object: self.0.pointer_path(),
                    said: error.to_string(),
                })
            });
            let (id, content) = read?;
            contents.insert(id, content);
        }
        Ok(contents)
    }

    async fn read_chunk(&self, part: Part, id: &ChunkId, revision: u64) -> Result<Content, Fault> {
        let chunk = self.0.chunk_path(id);
        let looked = self.0.look_at(id).await;
        let looked = looked.map_err(|error| self.0.unread(&self.0.chunk_name(id), &error))?;
        match looked {
            Looked::Missing => Err(Fault::ChunkMissing { chunk, revision }),
            Looked::Altered { .. } => Err(Fault::ChunkAltered { chunk, revision }),
            Looked::Sound { uid, bytes } => {
                self.0.seen().sound.insert(id.clone(), uid);
                encoding::open(part, id, &bytes).map_err(|what| Fault::Unreadable {
                    pointer: self.0.pointer_path(),
                    revision,
                    what,
                })
            }
        }
    }

    /// Writes the chunks that are not there yet, and then moves the pointer, which must be as it was in `over` (none: there
    /// was none). Tells what it is then.
    ///
    /// When this fails for want of an answer, the pointer may have been moved all the same; who follows it sees that.
    ///
    /// # Errors
    /// When somebody else was faster, or the API server does not let us.
    pub async fn publish(
        &self,
        published: &Arc<Published>,
        over: Option<&Pointer>,
    ) -> Result<Pointer, PublishError> {
        self.publish_while(published, over, || true).await
    }

    /// The same, if at the moment at which the pointer is moved we still `may`.
    ///
    /// # Errors
    /// As [`TableStore::publish`], and when we may not.
    pub async fn publish_while(
        &self,
        published: &Arc<Published>,
        over: Option<&Pointer>,
        may: impl Fn() -> bool,
    ) -> Result<Pointer, PublishError> {
        let revision = over.map_or(0, Pointer::revision);
        if revision >= published.table.revision() {
            let pointer = self.0.pointer_path();
            return Err(PublishError::Overtaken { pointer, revision });
        }
        let mut memo = self.0.writing.lock().await;
        let encoded = encoding::encode(published, &mut memo)?;
        self.ensure_all(&encoded).await?;
        if !may() {
            let pointer = self.0.pointer_path();
            return Err(PublishError::Deposed { pointer });
        }
        {
            // Before the pointer moves, so that who follows it need not read what we have.
            let mut seen = self.0.seen();
            seen.latest = Some((encoded.commit.clone(), published.clone()));
        }
        self.point(
            &encoded.commit,
            over.map(|it| it.resource_version.as_str()),
            None,
        )
        .await
    }

    /// Makes every chunk that is not known to be there.
    async fn ensure_all(&self, encoded: &Encoded) -> Result<(), PublishError> {
        let limit = Arc::new(Semaphore::new(AT_ONCE_MAX));
        let mut writing = JoinSet::new();
        for chunk in &encoded.chunks {
            if self.0.seen().sound.contains_key(&chunk.id) {
                continue;
            }
            let (store, limit, chunk) = (self.clone(), limit.clone(), chunk.clone());
            let revision = encoded.commit.revision;
            writing.spawn(async move {
                let _permit = limit.acquire().await;
                let ensured = store.0.ensure(&chunk, revision).await;
                ensured.map_err(|source| PublishError::Api {
                    object: store.0.chunk_path(&chunk.id),
                    source,
                })
            });
        }
        while let Some(written) = writing.join_next().await {
            written.unwrap_or_else(|_| {
                Err(PublishError::Api {
                    object: self.0.pointer_path(),
                    source: RequestError::Silence,
                })
            })?;
        }
        Ok(())
    }

    /// Moves the pointer, if it is still as it was. Where there is none, it is made, and says that publication is `paused`.
    async fn point(
        &self,
        commit: &Commit,
        over: Option<&str>,
        paused: Option<&Paused>,
    ) -> Result<Pointer, PublishError> {
        let (name, data) = (&self.0.name, commit.data());
        let moved = if let Some(version) = over {
            // A merge: annotations, and whatever else people have set, are not ours to touch.
            let metadata = json!({ "resourceVersion": version, "labels": self.0.labels() });
            let patch = json!({ "metadata": metadata, "data": data });
            self.0.patch(name, &patch).await
        } else {
            let paused = paused.map(|it| (PAUSED_ANNOTATION.to_owned(), it.reason.clone()));
            let annotations = paused.map(|it| [it].into());
            self.0
                .create(&self.pointer_map(Some(data), annotations))
                .await
        };
        match moved {
            Ok(metadata) => Ok(Pointer {
                resource_version: metadata.resource_version.unwrap_or_default(),
                commit: Some(commit.clone()),
            }),
            Err(error) if matches!(error.code(), Some(404 | 409)) => {
                let now = bounded(self.0.maps.get_opt(name)).await.ok().flatten();
                Err(PublishError::Overtaken {
                    pointer: self.0.pointer_path(),
                    revision: now.map_or(0, |map| self.0.read(&map).0.revision()),
                })
            }
            Err(source) => Err(PublishError::Api {
                object: self.0.pointer_path(),
                source,
            }),
        }
    }

    fn pointer_map(
        &self,
        data: Option<BTreeMap<String, String>>,
        annotations: Option<BTreeMap<String, String>>,
    ) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.0.name.clone()),
                labels: Some(self.0.labels()),
                annotations,
                ..ObjectMeta::default()
            },
            data,
            ..ConfigMap::default()
        }
    }

    /// Stops publication, for everybody and until it is resumed. Where nothing was published yet, nothing will be.
    ///
    /// # Errors
    /// When the API server does not let us.
    pub async fn pause(&self, reason: &str) -> Result<(), RequestError> {
        let annotation = json!({ PAUSED_ANNOTATION: reason });
        let patch = json!({ "metadata": { "annotations": annotation } });
        let annotations = [(PAUSED_ANNOTATION.to_owned(), reason.to_owned())].into();
        let map = self.pointer_map(None, Some(annotations));
        let patched = match self.0.patch(&self.0.name, &patch).await {
            Err(error) if error.code() == Some(404) => self.0.create(&map).await,
            patched => patched,
        };
        match patched {
            // It was made just now.
            Err(error) if error.code() == Some(409) => self.0.patch(&self.0.name, &patch).await,
            patched => patched,
        }
        .map(drop)
    }

    /// Lets publication go on. Tells whether it was paused, and why.
    ///
    /// # Errors
    /// When the API server does not let us.
    pub async fn resume(&self) -> Result<Option<Paused>, RequestError> {
        let metadata = bounded(self.0.maps.get_metadata_opt(&self.0.name)).await?;
        let Some(paused) = metadata.and_then(|it| paused(&it.metadata)) else {
            return Ok(None);
        };
        let annotations = json!({ PAUSED_ANNOTATION: null });
        let patch = json!({ "metadata": { "annotations": annotations } });
        self.0.patch(&self.0.name, &patch).await?;
        Ok(Some(paused))
    }
}
