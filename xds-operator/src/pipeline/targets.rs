//! Who answers for the targets of the table in force? What translate makes of the endpoints, and what it must remember; pure.

use std::sync::Arc;

use super::resolve::Endpoints;
use super::{Change, InForce, translate};
use crate::message::Message;
use crate::world::EndpointsHalf;
use crate::xds::Snapshot;

/// The endpoints, what is served of them, and what stands about them.
#[derive(Debug)]
pub(super) struct Targets {
    endpoints: Endpoints,
    served: Option<Arc<Snapshot>>,
    /// What is said of targets is older than the snapshot, because rules were waiting.
    stale: bool,
    of_endpoints: Vec<Message>,
    of_targets: Vec<Message>,
}

impl Targets {
    pub(super) const fn new(endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            served: None,
            stale: false,
            of_endpoints: Vec::new(),
            of_targets: Vec::new(),
        }
    }

    pub(super) const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// What stands about them.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.of_endpoints.iter().chain(&self.of_targets)
    }

    /// Whether nothing was served yet.
    pub(super) const fn is_first(&self) -> bool {
        self.served.is_none()
    }

    /// Takes what the source says.
    pub(super) fn take(&mut self, half: &EndpointsHalf) -> Change {
        let (next, messages) = self.endpoints.next(half);
        self.of_endpoints = messages;
        let change = Change::if_so(next != self.endpoints);
        self.endpoints = next;
        change
    }

    /// What to serve, if that is another. While rules wait, nothing is said of targets: they may go with their routes.
    pub(super) fn translate(
        &mut self,
        in_force: &InForce,
        change: Change,
        rules_wait: bool,
    ) -> Option<Arc<Snapshot>> {
        if change == Change::Same && (!self.stale || rules_wait) {
            return None;
        }
        let (snapshot, messages) = translate::translate(
            &in_force.accepted.table,
            in_force.image.clone(),
            &in_force.accepted.sessions,
            &self.endpoints,
        );
        self.stale = rules_wait;
        if !rules_wait {
            self.of_targets = messages;
        }
        if self.served.as_deref() == Some(&snapshot) {
            return None;
        }
        let snapshot = Arc::new(snapshot);
        self.served = Some(snapshot.clone());
        Some(snapshot)
    }
}
