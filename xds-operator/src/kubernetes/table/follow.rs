//! What does a replica know of the published table, from moment to moment? A watch of the pointer, and of the pointer alone:
//! its chunks do not change under their names.
//!
//! What goes wrong is a fault beside what was read last, and is tried again; it is never an end.

use std::pin::pin;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

use super::{Fault, Pointed, TableStore};
use crate::kubernetes::{Patience, bounded, watch_one};
use crate::wait::at;

impl TableStore {
    /// Reads it, and again whenever it changes. `None` until there is something to say.
    #[must_use]
    pub fn follow(&self) -> (watch::Receiver<Option<Pointed>>, JoinHandle<()>) {
        let (sender, pointed) = watch::channel(None);
        (pointed, tokio::spawn(follow(self.clone(), sender)))
    }
}

async fn follow(store: TableStore, sender: watch::Sender<Option<Pointed>>) {
    let pointer = watch_one(store.0.maps.clone(), &store.0.name);
    let mut pointer = pin!(pointer.backoff(Patience::default()));
    let mut pointed = Pointed::default();
    let mut patience = Patience::default();
    let mut again: Option<Instant> = None;
    loop {
        let seen = tokio::select! {
            event = pointer.next() => match event {
                Some(Ok(map)) => Ok(map),
                Some(Err(error)) => {
                    let Some(fault) = watch_fault(&store, &error) else {
                        // Watches end and begin again; only what cannot be asked for either is away.
                        again = Some(Instant::now());
                        continue;
                    };
                    Err(fault)
                }
                // It ends with the process alone.
                None => return,
            },
            () = at(again) => {
                let read = bounded(store.0.maps.get_opt(&store.0.name)).await;
                read.map_err(|error| store.0.unread(&store.0.name, &error))
            }
            () = sender.closed() => return,
        };
        observe(&store, seen, &mut pointed).await;
        again = match &pointed.fault {
            // What is wrong with the pointer itself ends with its next change.
            None
            | Some(
                Fault::PointerDeleted { .. } | Fault::PointerAltered { .. } | Fault::Format { .. },
            ) => {
                patience = Patience::default();
                None
            }
            // A watch that goes on where it was says nothing of that, and chunks are not watched.
            Some(
                Fault::ChunkMissing { .. }
                | Fault::ChunkAltered { .. }
                | Fault::Unreadable { .. }
                | Fault::Forbidden { .. }
                | Fault::Unreachable { .. },
            ) => Some(Instant::now() + patience.wait()),
        };
        sender.send_replace(Some(pointed.clone()));
    }
}

async fn observe(
    store: &TableStore,
    seen: Result<Option<ConfigMap>, Fault>,
    pointed: &mut Pointed,
) {
    match seen {
        Ok(Some(map)) => store.take(&map, pointed).await,
        Ok(None) => {
            pointed.known = true;
            pointed.pointer = None;
            // A pause lasts until somebody resumes it: it is put back with the pointer.
            if pointed.table.is_none() {
                pointed.paused = None;
            }
            pointed.fault = pointed.table.as_ref().map(|_| Fault::PointerDeleted {
                pointer: store.pointer(),
            });
        }
        Err(fault) => pointed.fault = Some(fault),
    }
}

/// A watch that may not be.
fn watch_fault(store: &TableStore, error: &watcher::Error) -> Option<Fault> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(refused))
    | watcher::Error::WatchStartFailed(kube::Error::Api(refused))
    | watcher::Error::WatchFailed(kube::Error::Api(refused))
    | watcher::Error::WatchError(refused)) = error
    else {
        return None;
    };
    matches!(refused.code, 401 | 403).then(|| Fault::Forbidden {
        object: store.pointer(),
        said: refused.message.clone(),
    })
}
