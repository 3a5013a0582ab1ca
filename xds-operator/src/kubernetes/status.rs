//! How do statuses get to the API server? Server-side apply on the status subresource, by the replica that leads.
//!
//! Nobody waits for this: it takes what it writes from watch channels, and what it cannot write it tries again.

use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::lease::Leadership;
use crate::message::Message;
use crate::receive::fleet::{AllSessions, Fleet};
use crate::status::conditions::{Decided, Publication, Rejections, Served};
use crate::world::held::Observed;

/// Where everything comes from that statuses are made of.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Whether we may write.
    pub leadership: watch::Receiver<Leadership>,
    /// The source: what is there, and what its status says.
    pub observed: watch::Receiver<Option<Observed>>,
    /// The rules half of the pipeline.
    pub decided: watch::Receiver<Option<Decided>>,
    /// Whether what is accepted is published.
    pub publication: watch::Receiver<Publication>,
    /// The serving half of the pipeline.
    pub served: watch::Receiver<Option<Served>>,
    /// `Outputs::fleet`
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// `Outputs::sessions`
    pub sessions: watch::Receiver<Arc<AllSessions>>,
    /// What gateways refused: `Rejections::observe` with each `What::Rollout`.
    pub rejections: watch::Receiver<Arc<Rejections>>,
}

/// Whose events are told beside those of FIXSessions: the table's pointer, and in whose name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The namespace of the pointer ConfigMap.
    pub namespace: String,
    /// Its name.
    pub table: String,
    /// This replica.
    pub instance: String,
}

/// A writer at work.
#[derive(Debug)]
pub struct Writing {
    /// What stands in the way, all of it at any time: to be told by [`crate::message::Standing`].
    pub troubles: watch::Receiver<Vec<Message>>,
    /// Ends only when something is wrong with our own machinery.
    pub task: JoinHandle<()>,
}

/// Writes statuses and Events while this replica leads. Must be called within a runtime.
#[must_use]
pub fn write(client: Client, inputs: Inputs, names: Names) -> Writing {
    let (troubles, troubles_now) = watch::channel(Vec::new());
    let task = tokio::spawn(async move {
        let _ = (client, inputs, names);
        troubles.closed().await;
    });
    Writing {
        troubles: troubles_now,
        task,
    }
}
