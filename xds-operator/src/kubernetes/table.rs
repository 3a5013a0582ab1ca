//! How does a published table get from the leader to every replica, and outlive them all? ConfigMaps: immutable chunks that
//! are named after what they hold, and one pointer that says which of them make the table in force.
//!
//! The pointer is the commit: it is moved by compare-and-swap once every chunk is there, so a reader finds the table before or
//! the one after, and never a part. Nothing that is read is believed before its digest was checked, and what cannot be read
//! takes nothing away from who has a table.
//!
//! INVARIANT: a pointer's revision never goes back, and the annotations that people set on it are theirs.

#![allow(
    clippy::unused_async,
    reason = "what these do follows in the next commits"
)]

pub mod encoding;

use std::fmt;
use std::sync::Arc;

use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::encoding::{Commit, Corrupt, Excess};
use super::lease::Leadership;
use crate::pipeline::publish::Published;

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
    /// The last one that could be read whole. It stays when the pointer or a chunk goes.
    pub table: Option<Arc<Published>>,
    /// The pointer as it is now; none: there is none. Its revision is another than the table's only while there is a fault.
    pub pointer: Option<Pointer>,
    /// Whether publication waits.
    pub paused: Option<Paused>,
    /// Why `table` is not what the pointer says.
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
    /// More than ConfigMaps are for.
    #[error("the table is too large to be published: {0}")]
    Excess(#[from] Excess),
    /// The API server refuses, or is away.
    #[error(
        "the ConfigMap {object} cannot be written; the table that was published before stays in force, and this is tried again"
    )]
    Api {
        /// `namespace/name`.
        object: String,
        /// Why.
        source: kube::Error,
    },
}

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

/// A published table in a cluster. Cheap to clone; clones share what they have read.
#[derive(Clone)]
pub struct TableStore {
    client: Client,
    namespace: Arc<str>,
    name: Arc<str>,
}

impl fmt::Debug for TableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableStore({}/{})", self.namespace, self.name)
    }
}

impl TableStore {
    /// The one whose pointer has this name.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            client,
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Reads it once.
    ///
    /// # Errors
    /// When the API server does not let us. What is wrong with what was read is in [`Pointed::fault`].
    pub async fn load(&self) -> Result<Pointed, kube::Error> {
        let _ = &self.client;
        Ok(Pointed::default())
    }

    /// Reads it, and again whenever it changes. `None` until it was looked at for the first time.
    #[must_use]
    pub fn follow(&self) -> (watch::Receiver<Option<Pointed>>, JoinHandle<()>) {
        let (_, pointed) = watch::channel(None);
        (pointed, tokio::spawn(async {}))
    }

    /// Writes the chunks that are not there yet, and then moves the pointer, which must be as it was in `over` (none: there
    /// was none). Tells what it is then.
    ///
    /// # Errors
    /// When somebody else was faster, or the API server does not let us.
    pub async fn publish(
        &self,
        published: &Arc<Published>,
        over: Option<&Pointer>,
    ) -> Result<Pointer, PublishError> {
        let _ = published;
        Err(PublishError::Overtaken {
            pointer: format!("{}/{}", self.namespace, self.name),
            revision: over.map_or(0, Pointer::revision),
        })
    }

    /// As long as we lead: puts back what goes or is altered, if what was followed is whole, and deletes chunks that no table
    /// needs any more.
    #[must_use]
    pub fn tend(
        &self,
        _leadership: watch::Receiver<Leadership>,
        _pointed: watch::Receiver<Option<Pointed>>,
    ) -> (mpsc::Receiver<Tended>, JoinHandle<()>) {
        let (_, tended) = mpsc::channel(1);
        (tended, tokio::spawn(async {}))
    }

    /// Stops publication, for everybody and until it is resumed.
    ///
    /// # Errors
    /// When the API server does not let us.
    pub async fn pause(&self, _reason: &str) -> Result<(), kube::Error> {
        Ok(())
    }

    /// Lets publication go on. Tells whether it was paused, and why.
    ///
    /// # Errors
    /// When the API server does not let us.
    pub async fn resume(&self) -> Result<Option<Paused>, kube::Error> {
        Ok(None)
    }
}
