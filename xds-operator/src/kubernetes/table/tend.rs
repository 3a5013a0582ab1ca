//! Is what the pointer names there, and what else is? The leader's care for a published table: it puts back what was deleted or
//! altered, and deletes chunks that no table needs any more.
//!
//! It knows of chunks by a watch of their metadata alone. An immutable ConfigMap is what it was as long as it is the same object,
//! so each is looked into once.
//!
//! INVARIANT: nothing is deleted that the pointer names, that is in use by who reads slowly, or while it is not sure what the
//! pointer names.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Event, watcher};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

use super::encoding::{self, ChunkId, Commit, Encoded};
use super::{Fault, Looked, Pointed, TABLE_LABEL, TableStore};
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::{Patience, RequestError, bounded, watch_config};
use crate::pipeline::publish::Published;
use crate::wait::at;

/// How long until it is looked again, where the pointer was about to change.
const NOT_NOW: Duration = Duration::from_secs(5);
/// Chunks that are deleted at a time; the others follow.
const COLLECTED_AT_ONCE_MAX: usize = 256;
/// What is told and not taken yet. What does not fit is dropped: it is news, not state.
const TOLD_MAX: usize = 64;

/// What the leader did for a table that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tended {
    /// Something was gone or altered, and is as it was published again.
    Repaired {
        /// `namespace/name` of the ConfigMap.
        object: String,
        /// What had become of it.
        was: Lost,
    },
    /// It could not be put right; said once, tried again.
    Failed(String),
    /// So many chunks that no table needs any more were deleted.
    Collected(usize),
}

/// What had become of a ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It was gone.
    Deleted,
    /// It held something else.
    Altered,
}

impl fmt::Display for Tended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repaired { object, was } => {
                let was = match was {
                    Lost::Deleted => "was gone",
                    Lost::Altered => "was not as it was published",
                };
                write!(f, "the ConfigMap {object} {was}, and is put back")
            }
            Self::Failed(what) => f.write_str(what),
            Self::Collected(count) => {
                write!(f, "deleted {count} ConfigMaps that no table needs any more")
            }
        }
    }
}

impl TableStore {
    /// As long as we lead: puts back what goes or is altered, if what was followed is whole, and deletes chunks that no table
    /// needs any more.
    #[must_use]
    pub fn tend(
        &self,
        leadership: watch::Receiver<Leadership>,
        pointed: watch::Receiver<Option<Pointed>>,
    ) -> (mpsc::Receiver<Tended>, JoinHandle<()>) {
        let (told, tended) = mpsc::channel(TOLD_MAX);
        let tending = Tending {
            store: self.clone(),
            leadership,
            pointed,
            told,
            failed: None,
        };
        (tended, tokio::spawn(tending.run()))
    }
}

struct Tending {
    store: TableStore,
    leadership: watch::Receiver<Leadership>,
    pointed: watch::Receiver<Option<Pointed>>,
    told: mpsc::Sender<Tended>,
    /// What could not be done last time, and was told.
    failed: Option<String>,
}

/// A ConfigMap with the table's label.
#[derive(Clone, Debug)]
struct Object {
    uid: String,
    version: String,
    /// Since when nothing names it.
    unused: Option<Instant>,
}

/// Every chunk in the cluster.
#[derive(Debug, Default)]
struct Chunks {
    objects: BTreeMap<String, Object>,
    /// What a list has named so far.
    listing: BTreeMap<String, Object>,
    /// Whether there was a whole list.
    listed: bool,
}

impl Chunks {
    fn take(&mut self, event: Event<PartialObjectMeta<ConfigMap>>) {
        let entry = |metadata: ObjectMeta| {
            let object = Object {
                uid: metadata.uid.unwrap_or_default(),
                version: metadata.resource_version.unwrap_or_default(),
                unused: None,
            };
            (metadata.name.unwrap_or_default(), object)
        };
        match event {
            Event::Init => {}
            Event::InitApply(map) => {
                let (name, object) = entry(map.metadata);
                self.listing.insert(name, object);
            }
            Event::InitDone => {
                let mut listing = std::mem::take(&mut self.listing);
                for (name, object) in &mut listing {
                    let before = self.objects.get(name);
                    let same = before.filter(|before| before.version == object.version);
                    object.unused = same.and_then(|before| before.unused);
                }
                self.objects = listing;
                self.listed = true;
            }
            Event::Apply(map) => {
                let (name, object) = entry(map.metadata);
                self.objects.insert(name, object);
            }
            Event::Delete(map) => {
                self.objects.remove(&map.metadata.name.unwrap_or_default());
            }
        }
    }
}

impl Tending {
    async fn run(mut self) {
        loop {
            if self.leads() {
                self.reign().await;
            }
            if self.leadership.changed().await.is_err() {
                return;
            }
        }
    }

    fn leads(&self) -> bool {
        let now = Instant::now().into_std();
        self.leadership.borrow().may_write(now)
    }

    /// Until we lead no more.
    async fn reign(&mut self) {
        let api: Api<PartialObjectMeta<ConfigMap>> =
            Api::namespaced(self.store.0.client.clone(), &self.store.0.namespace);
        let selector = format!("{TABLE_LABEL}={}", self.store.0.name);
        let events = watcher(api, watch_config().labels(&selector));
        // That a list is about to be asked for is no success.
        let events = events.filter(|event| !matches!(event, Ok(Event::Init)));
        let mut events = pin!(events.backoff(Patience::default()));
        let mut chunks = Chunks::default();
        let mut patience = Patience::default();
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => chunks.take(event),
                    // It is tried again, with a whole list perhaps; that the cluster is away is told by who follows the pointer.
                    Some(Err(_)) => {
                        chunks.listing.clear();
                        continue;
                    }
                    None => return,
                },
                changed = self.pointed.changed() => if changed.is_err() {
                    return;
                },
                changed = self.leadership.changed() => if changed.is_err() {
                    return;
                },
                () = at(due) => {}
            }
            if !self.leads() {
                return;
            }
            let pointed = self.pointed.borrow_and_update().clone();
            let Some(pointed) = pointed.filter(|pointed| pointed.known && chunks.listed) else {
                continue;
            };
            due = match self.mend(&pointed, &mut chunks).await {
                Ok(next) => {
                    self.failed = None;
                    patience = Patience::default();
                    next
                }
                Err(what) => {
                    self.fail(what);
                    Some(Instant::now() + patience.wait())
                }
            };
        }
    }

    fn tell(&self, tended: Tended) {
        let _ = self.told.try_send(tended);
    }

    fn fail(&mut self, what: String) {
        if self.failed.as_ref() != Some(&what) {
            self.tell(Tended::Failed(what.clone()));
            self.failed = Some(what);
        }
    }

    /// Does what is to be done. When to look again, if nothing happens until then.
    async fn mend(
        &self,
        pointed: &Pointed,
        chunks: &mut Chunks,
    ) -> Result<Option<Instant>, String> {
        if let Some(table) = &pointed.table
            && let Some(lost) = lost_pointer(pointed)
        {
            self.point_again(table, pointed, lost).await?;
            // The watch says what it is now.
            return Ok(None);
        }
        let commit = pointed.pointer.as_ref().and_then(|it| it.commit.as_ref());
        let Some(commit) = commit else {
            return Ok(None);
        };
        if let Some(table) = &pointed.table
            && table.table.revision() == commit.revision
        {
            self.mend_chunks(table, commit, chunks).await?;
        }
        match pointed.fault {
            None => self.collect(commit, chunks).await,
            Some(_) => Ok(None),
        }
    }

    /// Puts the pointer back, over what is there.
    async fn point_again(
        &self,
        table: &Arc<Published>,
        pointed: &Pointed,
        lost: Lost,
    ) -> Result<(), String> {
        let store = &self.store;
        let mut memo = store.0.writing.lock().await;
        let encoded = encoding::encode(table, &mut memo).map_err(|excess| excess.to_string())?;
        let over = pointed.pointer.as_ref();
        let over = over.map(|pointer| pointer.resource_version.as_str());
        self.check_chunks(&encoded, |_| true).await?;
        store.0.seen().latest = Some((encoded.commit.clone(), table.clone()));
        if !self.leads() {
            return Ok(());
        }
        match store
            .point(&encoded.commit, over, pointed.paused.as_ref())
            .await
        {
            Ok(_) => {
                self.tell(Tended::Repaired {
                    object: store.pointer(),
                    was: lost,
                });
                Ok(())
            }
            // Somebody was faster; the watch says who.
            Err(super::PublishError::Overtaken { .. }) => Ok(()),
            Err(error) => Err(format!(
                "the ConfigMap {} cannot be put back ({error})",
                store.pointer()
            )),
        }
    }

    /// Puts back chunks that the pointer names, where they are gone or were made anew by somebody.
    async fn mend_chunks(
        &self,
        table: &Arc<Published>,
        commit: &Commit,
        chunks: &Chunks,
    ) -> Result<(), String> {
        let mut doubtful = HashSet::new();
        {
            let mut seen = self.store.0.seen();
            for (_, id) in commit.chunks.iter() {
                let object = chunks.objects.get(&self.store.0.chunk_name(id));
                let sound = seen.sound.get(id);
                if sound.is_none() || sound != object.map(|object| &object.uid) {
                    doubtful.insert(id.clone());
                }
            }
            // What no table of ours names is looked into when it is needed again.
            let named: HashSet<&ChunkId> = commit.chunks.iter().map(|(_, id)| id).collect();
            seen.sound.retain(|id, uid| {
                let object = chunks.objects.get(&self.store.0.chunk_name(id));
                named.contains(id) || object.is_some_and(|object| object.uid == *uid)
            });
        }
        if doubtful.is_empty() {
            return Ok(());
        }
        let mut memo = self.store.0.writing.lock().await;
        let encoded = encoding::encode(table, &mut memo).map_err(|excess| excess.to_string())?;
        if encoded.commit != *commit {
            return Err(format!(
                "the table {} was written by another release, and a part of it is gone or altered; the next change \
                 publishes it whole",
                commit.revision
            ));
        }
        self.check_chunks(&encoded, |id| doubtful.contains(id))
            .await
    }

    /// Looks into these chunks, and puts back what is not as it should be.
    async fn check_chunks(
        &self,
        encoded: &Encoded,
        wanted: impl Fn(&ChunkId) -> bool,
    ) -> Result<(), String> {
        let store = &self.store;
        for chunk in encoded.chunks.iter().filter(|chunk| wanted(&chunk.id)) {
            if !self.leads() {
                return Ok(());
            }
            let object = store.0.chunk_path(&chunk.id);
            let cannot = |error: RequestError| {
                format!("the ConfigMap {object} cannot be put back ({error})")
            };
            let was = match store.0.look_at(&chunk.id).await.map_err(cannot)? {
                Looked::Sound { uid, .. } => {
                    store.0.seen().sound.insert(chunk.id.clone(), uid);
                    continue;
                }
                Looked::Missing => Lost::Deleted,
                Looked::Altered { .. } => Lost::Altered,
            };
            store.0.seen().sound.remove(&chunk.id);
            let ensured = store.0.ensure(chunk, encoded.commit.revision).await;
            ensured.map_err(cannot)?;
            self.tell(Tended::Repaired { object, was });
        }
        Ok(())
    }

    /// Deletes what has been out of use for long enough. When the next is.
    async fn collect(
        &self,
        commit: &Commit,
        chunks: &mut Chunks,
    ) -> Result<Option<Instant>, String> {
        let store = &self.store;
        let named: HashSet<String> = commit
            .chunks
            .iter()
            .map(|(_, id)| store.0.chunk_name(id))
            .collect();
        let now = Instant::now();
        for (name, object) in &mut chunks.objects {
            if named.contains(name) || *name == store.0.name {
                object.unused = None;
            } else {
                object.unused.get_or_insert(now);
            }
        }
        let ends = |object: &Object| object.unused.map(|since| since + store.0.keep);
        let over = |object: &Object| ends(object).is_some_and(|end| end <= now);
        if chunks.objects.values().any(over) && !self.delete(commit, chunks, over).await? {
            return Ok(Some(now + NOT_NOW));
        }
        Ok(chunks.objects.values().filter_map(ends).min())
    }

    /// Whether it was done.
    async fn delete(
        &self,
        commit: &Commit,
        chunks: &mut Chunks,
        over: impl Fn(&Object) -> bool,
    ) -> Result<bool, String> {
        let store = &self.store;
        // Nothing of ours is published meanwhile, and the pointer is read anew: a watch may be late.
        let _memo = store.0.writing.lock().await;
        let cannot = |error: RequestError| {
            format!("ConfigMaps that no table needs any more cannot be deleted ({error})")
        };
        let map = bounded(store.0.maps.get_opt(&store.0.name))
            .await
            .map_err(cannot)?;
        let now = map.and_then(|map| store.0.read(&map).0.commit);
        if now.as_ref() != Some(commit) {
            return Ok(false);
        }
        let old = chunks.objects.iter().filter(|(_, object)| over(object));
        let old: Vec<(String, Object)> = old
            .map(|(name, object)| (name.clone(), object.clone()))
            .take(COLLECTED_AT_ONCE_MAX)
            .collect();
        let mut deleted = 0;
        for (name, object) in old {
            if !self.leads() {
                return Ok(false);
            }
            let version = Some(object.version.as_str());
            // Not if somebody needs it again: then it has another version.
            let gone = store.0.delete(&name, &object.uid, version).await;
            gone.map_err(cannot)?;
            store
                .0
                .seen()
                .sound
                .retain(|id, _| store.0.chunk_name(id) != name);
            chunks.objects.remove(&name);
            deleted += 1;
        }
        self.tell(Tended::Collected(deleted));
        Ok(true)
    }
}

/// What has become of the pointer, if it is to be put back.
fn lost_pointer(pointed: &Pointed) -> Option<Lost> {
    match pointed.fault {
        Some(Fault::PointerDeleted { .. }) => Some(Lost::Deleted),
        Some(Fault::PointerAltered { .. }) => Some(Lost::Altered),
        // A newer release's is its own; and what cannot be read may be right.
        Some(
            Fault::Format { .. }
            | Fault::ChunkMissing { .. }
            | Fault::ChunkAltered { .. }
            | Fault::Unreadable { .. }
            | Fault::Forbidden { .. }
            | Fault::Unreachable { .. },
        )
        | None => None,
    }
}
