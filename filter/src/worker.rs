//! What does this VM know? The current table and readiness, the settings, the connections that wait, the counts.
//!
//! One VM per worker thread, so a `thread_local` is shared by all its plugins: the control listener's plugins write
//! the table, every connection of the worker reads it, and no live connection pins an old one.
//!
//! INVARIANT: [`with`] never calls the host, because Envoy may call back before a host call returns.

use std::cell::RefCell;
use std::collections::BTreeMap;

use fixgw_core::config::Settings;
use fixgw_core::connection::{Connection, Step, View};
use fixgw_core::decision::{DecisionRecord, Reason};
use fixgw_core::outbox::{Outbox, Reporter};
use fixgw_core::readiness::Readiness;
use fixgw_core::report::VmReport;
use fixgw_core::table::Table;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::new(Worker::default());
}

/// The state of one VM.
#[derive(Default)]
pub(crate) struct Worker {
    vm_id: u64,
    node_id: String,
    settings: Settings,
    table: Option<Table>,
    readiness: Option<Kept>,
    waiting: BTreeMap<u32, Connection>,
    has_served: bool,
    /// Records on their way out.
    pub(crate) outbox: Outbox,
    /// When to report.
    pub(crate) reporter: Reporter,
    counts: Counts,
}

/// A readiness with the image that it came from.
struct Kept {
    readiness: Readiness,
    image: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    silent_connections: u64,
    failed_handshakes: u64,
    panics: u64,
    stale_configurations: u64,
}

/// Runs `body` on the VM's state.
pub(crate) fn with<T>(body: impl FnOnce(&mut Worker) -> T) -> T {
    WORKER.with_borrow_mut(body)
}

/// Counts a panic, wherever it came from.
pub(crate) fn count_panic() {
    WORKER.with(|worker| {
        // A panic inside `with` has let go of the state by now. Were it not so, one count would be missing.
        if let Ok(mut worker) = worker.try_borrow_mut() {
            worker.counts.panics = worker.counts.panics.saturating_add(1);
        }
    });
}

/// What is shared between the VMs of one Envoy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The table.
    Routes,
    /// The readiness.
    Readiness,
}

impl Part {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Routes, Self::Readiness];

    /// Key of the shared image.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Routes => "fixgw.routes",
            Self::Readiness => "fixgw.readiness",
        }
    }

    /// Key of the shared image's revision: eight bytes, so that looking costs nothing.
    pub(crate) const fn revision_key(self) -> &'static str {
        match self {
            Self::Routes => "fixgw.routes.revision",
            Self::Readiness => "fixgw.readiness.version",
        }
    }

    /// Revision that an image of this part states.
    pub(crate) fn stated(self, image: &[u8]) -> Option<u64> {
        match self {
            Self::Routes => Table::stated_revision(image),
            Self::Readiness => Readiness::stated_version(image),
        }
    }
}

impl Worker {
    /// Settings of the data listeners.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes over settings.
    pub(crate) fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Whether this VM has been told who it is.
    pub(crate) const fn is_named(&self) -> bool {
        self.vm_id != 0 && !self.node_id.is_empty()
    }

    /// Tells this VM who it is. Its number stays.
    pub(crate) fn name(&mut self, vm_id: u64, node_id: String) {
        if self.vm_id == 0 {
            // 0 is "not named yet".
            self.vm_id = vm_id.max(1);
        }
        self.node_id = node_id;
    }

    /// Envoy's `node.id`.
    pub(crate) fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Takes over a table. An older one than the current is ignored: it can come late, or from a control plane that is
    /// behind.
    pub(crate) fn take_table(&mut self, table: Table) {
        if Some(table.revision()) > self.revision(Part::Routes) {
            self.table = Some(table);
        } else if Some(table.revision()) < self.revision(Part::Routes) {
            self.count_stale();
        }
    }

    /// Takes over a readiness, as [`Worker::take_table`].
    pub(crate) fn take_readiness(&mut self, readiness: Readiness, image: Vec<u8>) {
        if Some(readiness.version()) > self.revision(Part::Readiness) {
            self.readiness = Some(Kept { readiness, image });
        } else if Some(readiness.version()) < self.revision(Part::Readiness) {
            self.count_stale();
        }
    }

    fn count_stale(&mut self) {
        add_one(&mut self.counts.stale_configurations);
    }

    /// Revision in use.
    pub(crate) fn revision(&self, part: Part) -> Option<u64> {
        match part {
            Part::Routes => self.table.as_ref().map(Table::revision),
            Part::Readiness => self.readiness.as_ref().map(|kept| kept.readiness.version()),
        }
    }

    /// The image in use.
    pub(crate) fn image(&self, part: Part) -> Option<&[u8]> {
        match part {
            Part::Routes => self.table.as_ref().map(Table::image),
            Part::Readiness => self.readiness.as_ref().map(|kept| kept.image.as_slice()),
        }
    }

    /// What the control plane is told.
    pub(crate) fn report(&self) -> VmReport {
        VmReport {
            node_id: self.node_id.clone(),
            vm_id: self.vm_id,
            table_revision: self.revision(Part::Routes).unwrap_or(0),
            readiness_version: self.revision(Part::Readiness).unwrap_or(0),
            silent_connections: self.counts.silent_connections,
            records_dropped: self.outbox.dropped(),
            panics: self.counts.panics,
            stale_configurations: self.counts.stale_configurations,
            failed_handshakes: self.counts.failed_handshakes,
        }
    }

    /// Whether this VM ever had a connection. The main thread's never has.
    pub(crate) const fn has_served(&self) -> bool {
        self.has_served
    }

    /// A connection was accepted, so long ago.
    pub(crate) fn accept(&mut self, id: u32, now_ms: u64, waited_ms: u64) -> Step {
        self.insert(id, now_ms.saturating_sub(waited_ms));
        self.react(id, |connection, view| connection.tick(now_ms, view))
            .unwrap_or(Step::Wait)
    }

    fn insert(&mut self, id: u32, accepted_ms: u64) {
        self.has_served = true;
        let connection = Connection::accepted(accepted_ms, &self.settings);
        self.waiting.insert(id, connection);
    }

    /// Lets a waiting connection react; forgets it once it is decided. `None` when it does not wait.
    fn react(
        &mut self,
        id: u32,
        event: impl FnOnce(&mut Connection, View<'_>) -> Step,
    ) -> Option<Step> {
        let view = View {
            table: self.table.as_ref(),
            readiness: self.readiness.as_ref().map(|kept| &kept.readiness),
            settings: &self.settings,
        };
        let connection = self.waiting.get_mut(&id)?;
        let step = event(connection, view);
        if !connection.waiting() {
            self.waiting.remove(&id);
        }
        match &step {
            Step::Close { record: None } => add_one(&mut self.counts.silent_connections),
            Step::Close {
                record: Some(record),
            } if record.reason == Reason::TlsHandshakeFailed => {
                add_one(&mut self.counts.failed_handshakes);
            }
            _ => {}
        }
        Some(step)
    }

    /// Bytes have arrived on a connection.
    pub(crate) fn received(&mut self, id: u32, buffer: &[u8], end: bool) -> Option<Step> {
        self.react(id, |connection, view| {
            connection.received(view, buffer, end)
        })
    }

    /// A connection is gone; `failure` is what Envoy says of its transport socket.
    pub(crate) fn gone(&mut self, id: u32, failure: &[u8]) -> Option<Box<DecisionRecord>> {
        let step = self.react(id, |connection, view| Step::Close {
            record: connection.gone(view, failure),
        });
        match step {
            Some(Step::Close { record }) => record,
            _ => None,
        }
    }

    /// A fault in the filter on one connection.
    pub(crate) fn failed(&mut self, id: u32) -> Step {
        // It may have been decided already when the fault struck.
        self.insert(id, 0);
        self.react(id, Connection::failed)
            .unwrap_or(Step::Close { record: None })
    }

    /// What the connections that wait do at this time.
    pub(crate) fn due(&mut self, now_ms: u64) -> Vec<(u32, Step)> {
        let ids: Vec<u32> = self.waiting.keys().copied().collect();
        let steps = ids.into_iter().filter_map(|id| {
            let step = self.react(id, |connection, view| connection.tick(now_ms, view))?;
            (step != Step::Wait).then_some((id, step))
        });
        steps.collect()
    }
}

const fn add_one(count: &mut u64) {
    *count = count.saturating_add(1);
}
