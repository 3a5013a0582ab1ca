//! Who answers for the targets of the table in force? What translate makes of the endpoints, and what it must remember; pure.

use std::sync::Arc;

use fixgw_core::table::Table;

use super::publish::Published;
use super::resolve::Endpoints;
use super::{Change, translate};
use crate::message::Message;
use crate::world::EndpointsHalf;
use crate::xds::Snapshot;

/// The endpoints, what is served of them, and what stands about them.
#[derive(Debug)]
pub(super) struct Targets {
    endpoints: Arc<Endpoints>,
    /// Whether the source has said anything of them, or something was kept of an earlier start.
    known: bool,
    served: Option<Arc<Snapshot>>,
    /// The table that was translated last, in the form that proxies get, by its revision: endpoints change more often.
    image: Option<(u64, Arc<[u8]>)>,
    /// What is said of targets is older than the snapshot, because rules were waiting.
    stale: bool,
    objects: Vec<Message>,
    unanswered: Vec<Message>,
}

impl Targets {
    /// Begins with what was kept.
    pub(super) fn new(endpoints: Endpoints) -> Self {
        Self {
            known: true,
            ..Self::unknown_with(endpoints)
        }
    }

    /// Knows nothing yet: no table is translated before the source has said who answers for its targets.
    pub(super) fn unknown() -> Self {
        Self::unknown_with(Endpoints::default())
    }

    fn unknown_with(endpoints: Endpoints) -> Self {
        Self {
            endpoints: Arc::new(endpoints),
            known: false,
            served: None,
            image: None,
            stale: false,
            objects: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    pub(super) const fn endpoints(&self) -> &Arc<Endpoints> {
        &self.endpoints
    }

    /// What stands about them.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.objects.iter().chain(&self.unanswered)
    }

    /// Whether nothing was served yet.
    pub(super) const fn is_first(&self) -> bool {
        self.served.is_none()
    }

    /// Takes what the source says.
    pub(super) fn take(&mut self, half: &EndpointsHalf) -> Change {
        let (next, messages) = self.endpoints.next(half);
        self.objects = messages;
        let change = Change::if_so(next != *self.endpoints || !self.known);
        self.known = true;
        if change == Change::Other {
            self.endpoints = Arc::new(next);
        }
        change
    }

    /// What to serve, if that is another. While rules wait, nothing is said of targets: they may go with their routes.
    pub(super) fn translate(
        &mut self,
        published: &Published,
        change: Change,
        rules_wait: bool,
    ) -> Option<Arc<Snapshot>> {
        if !self.known || change == Change::Same && (!self.stale || rules_wait) {
            return None;
        }
        let (snapshot, messages) = translate::translate(
            &published.table,
            self.image(&published.table),
            &published.sessions,
            &self.endpoints,
        );
        self.stale = rules_wait;
        if !rules_wait {
            self.unanswered = messages;
        }
        if self.served.as_deref() == Some(&snapshot) {
            return None;
        }
        let snapshot = Arc::new(snapshot);
        self.served = Some(snapshot.clone());
        Some(snapshot)
    }
    fn image(&mut self, table: &Table) -> Arc<[u8]> {
        let revision = table.revision();
        let kept = self.image.take().filter(|(of, _)| *of == revision);
        let (_, image) = self
            .image
            .insert(kept.unwrap_or_else(|| (revision, table.image().into())));
        image.clone()
    }
}
