//! What does this VM know? The current table and readiness, the settings, the connections that wait, the counts.
//!
//! One VM per worker thread, so a `thread_local` is shared by all its plugins: the control listener's plugins write
//! the table, every connection of the worker reads it, and no live connection pins an old one.
//!
//! INVARIANT: [`with`] never calls the host, because Envoy may call back before a host call returns.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use fixgw_core::config::Settings;
use fixgw_core::connecting::{Connecting, End, Upstream};
use fixgw_core::connection::{Arrival, Connection, Step, View};
use fixgw_core::decision::{DecisionRecord, Reason};
use fixgw_core::held::{Awake, Full, OfRoute, Place};
use fixgw_core::inline::InlineRoutes;
use fixgw_core::outbox::{Batch, Outbox, Reporter};
use fixgw_core::path::Path;
use fixgw_core::readiness::Readiness;
use fixgw_core::report::VmReport;
use fixgw_core::sessions::{Sessions, Standing};
use fixgw_core::table::Table;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::new(Worker::default());
}

/// What Envoy configured one plugin of the data listeners with. Several listeners may have one each, with other settings.
#[derive(Default)]
pub(crate) struct Plugin {
    settings: Settings,
    inline: Option<Inline>,
}

/// Routes of the configuration itself, and that all of their targets count as ready.
struct Inline {
    table: Table,
    readiness: Readiness,
}

impl Plugin {
    /// Reads a configuration.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let settings = Settings::parse(json)?;
        let table = settings.routes.as_ref().map(InlineRoutes::table);
        let inline = table.transpose()?.map(|table| Inline {
            table,
            readiness: Readiness::default(),
        });
        Ok(Self { settings, inline })
    }

    /// Its settings.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// A connection that waits, with the plugin that it came through.
struct Waiting {
    connection: Connection,
    plugin: Rc<Plugin>,
}

/// A connection whose target is tried, with the plugin that it came through.
struct Tried {
    connecting: Connecting,
    plugin: Rc<Plugin>,
}

/// The state of one VM.
#[derive(Default)]
pub(crate) struct Worker {
    vm_id: u64,
    node_id: String,
    control_cluster: Option<String>,
    table: Option<Table>,
    readiness: Option<Kept>,
    waiting: BTreeMap<u32, Waiting>,
    /// Connections that were let go, and that no engine is known to have.
    tried: BTreeMap<u32, Tried>,
    /// Connections that an engine has, and as what each counts.
    live: BTreeMap<u32, Standing>,
    /// All of them, by route.
    sessions: Sessions,
    /// Connections that were let go by another callback than one of theirs, and have not heard of it.
    released: Vec<u32>,
    /// Connections that wait for their target, or did since the shared list was last put right.
    has_held: bool,
    /// For how long it has run without a break.
    awake: Awake,
    /// By which this VM's data root is woken.
    queue: Option<u32>,
    has_served: bool,
    /// Updates that the data root has not read yet.
    left_routes: Option<Vec<u8>>,
    left_readiness: Option<Vec<u8>>,
    /// Records on their way out, by the cluster that they go to.
    outboxes: BTreeMap<String, Outbox>,
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
    /// A plugin of the data listeners was configured.
    pub(crate) fn configure(&mut self, plugin: &Plugin) {
        let settings = plugin.settings();
        if settings.control_cluster.is_some() {
            self.control_cluster.clone_from(&settings.control_cluster);
        }
        if let Some(cluster) = &settings.decision_cluster {
            self.outboxes.entry(cluster.clone()).or_default();
        }
    }

    /// Where this VM reports to.
    pub(crate) const fn control_cluster(&self) -> Option<&String> {
        self.control_cluster.as_ref()
    }

    /// A record for a cluster that was configured.
    pub(crate) fn push_record(&mut self, cluster: &str, record: Vec<u8>) {
        if let Some(outbox) = self.outboxes.get_mut(cluster) {
            outbox.push(record);
        }
    }

    /// The next call with records, if one should be made now: its cluster and its batch.
    pub(crate) fn next_batch(&mut self, now_ms: u64) -> Option<(String, Batch)> {
        self.outboxes
            .iter_mut()
            .find_map(|(cluster, outbox)| Some((cluster.clone(), outbox.next_batch(now_ms)?)))
    }

    /// Records on their way to a cluster.
    pub(crate) fn outbox(&mut self, cluster: &str) -> &mut Outbox {
        self.outboxes.entry(cluster.to_owned()).or_default()
    }

    /// A call was answered, whosever it was. True when it was the report, and so its answer is to be read.
    pub(crate) fn answered(&mut self, token: u32, status: u32, now_ms: u64) -> bool {
        if self.reporter.answered(token, status, now_ms) {
            return true;
        }
        let mut outboxes = self.outboxes.values_mut();
        let _ = outboxes.any(|outbox| outbox.answered(token, status, now_ms));
        false
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

    /// This VM's number; 0 while it has none.
    pub(crate) const fn vm_id(&self) -> u64 {
        self.vm_id
    }

    /// By which this VM's data root is woken.
    pub(crate) const fn queue(&self) -> Option<u32> {
        self.queue
    }

    /// The data root has a queue.
    pub(crate) const fn set_queue(&mut self, queue: u32) {
        self.queue = Some(queue);
    }

    /// How many connections are held for each route.
    pub(crate) fn held(&self) -> Vec<OfRoute> {
        self.sessions.held()
    }

    /// Whether the shared list may have a share of this VM, and so must be looked after. Asks once more after the last one.
    pub(crate) fn looks_after_held(&mut self) -> bool {
        let before = self.has_held;
        self.has_held = self.sessions.has_held();
        before || self.has_held
    }

    /// A connection was let go from outside.
    pub(crate) fn release(&mut self, id: u32) {
        self.released.push(id);
    }

    /// Whether a connection was let go from outside since it last asked.
    pub(crate) fn hear_of_release(&mut self, id: u32) -> bool {
        let place = self.released.iter().position(|released| *released == id);
        place
            .map(|place| self.released.swap_remove(place))
            .is_some()
    }

    /// Whether this connection is held.
    pub(crate) fn is_held(&self, id: u32) -> bool {
        let waiting = self.waiting.get(&id);
        waiting.is_some_and(|waiting| waiting.connection.held_for().is_some())
    }

    /// Envoy's `node.id`.
    pub(crate) fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Leaves an update to the data root; a newer one takes its place.
    pub(crate) fn leave(&mut self, part: Part, image: Vec<u8>) {
        *self.left(part) = Some(image);
    }

    /// The update that was left, once.
    pub(crate) fn take_left(&mut self, part: Part) -> Option<Vec<u8>> {
        self.left(part).take()
    }

    const fn left(&mut self, part: Part) -> &mut Option<Vec<u8>> {
        match part {
            Part::Routes => &mut self.left_routes,
            Part::Readiness => &mut self.left_readiness,
        }
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
            records_dropped: self.outboxes.values().map(Outbox::dropped).sum(),
            panics: self.counts.panics,
            stale_configurations: self.counts.stale_configurations,
            failed_handshakes: self.counts.failed_handshakes,
            ..VmReport::default()
        }
    }

    /// The report that is due now, if one is.
    pub(crate) fn next_report(&mut self, now_ms: u64) -> Option<VmReport> {
        let mut report = self.report();
        if !self.reporter.due(&report, self.sessions.has_news(), now_ms) {
            return None;
        }
        self.sessions.fill(&mut report);
        Some(report)
    }

    /// A report could not be sent, or was answered: the control plane has the one of this number.
    pub(crate) fn reported(&mut self, has: Option<u64>) {
        self.sessions.answered(has);
    }

    /// Something was decided.
    pub(crate) fn decided(&mut self, record: &DecisionRecord, unix_ms: u64) {
        self.sessions.decided(record, unix_ms);
    }

    /// Whether this VM ever had a connection. The main thread's never has.
    pub(crate) const fn has_served(&self) -> bool {
        self.has_served
    }

    /// A connection was accepted.
    pub(crate) fn accept(
        &mut self,
        id: u32,
        now_ms: u64,
        arrival: Arrival,
        path: &Path,
        plugin: Rc<Plugin>,
    ) -> Step {
        self.has_served = true;
        let connection = Connection::accepted(arrival, plugin.settings()).by(path);
        self.waiting.insert(id, Waiting { connection, plugin });
        self.react(id, false, |connection, view| connection.tick(now_ms, view))
            .unwrap_or(Step::Wait)
    }

    /// Lets a waiting connection react; once its bytes are let go, it is one whose target is tried. `None` when it does not
    /// wait.
    fn react(
        &mut self,
        id: u32,
        has_finished: bool,
        event: impl FnOnce(&mut Connection, View<'_>) -> Step,
    ) -> Option<Step> {
        let Waiting { connection, plugin } = self.waiting.get_mut(&id)?;
        let view = view(self.table.as_ref(), self.readiness.as_ref(), plugin);
        let before = connection.standing();
        let step = event(connection, view);
        let mut after = connection.standing();
        if let Step::Connect { record, .. } | Step::Reject { record, .. } = &step {
            let connecting = Connecting::new((**record).clone(), view, has_finished);
            after = connecting.standing();
            let plugin = plugin.clone();
            self.tried.insert(id, Tried { connecting, plugin });
        }
        if !connection.waiting() {
            self.waiting.remove(&id);
        }
        self.sessions.moved(&before, &after);
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

    /// Lets a connection react whose target is tried; forgets it once an engine has it, or it is closed.
    fn try_on(
        &mut self,
        id: u32,
        event: impl FnOnce(&mut Connecting, View<'_>) -> Step,
    ) -> Option<Step> {
        let Tried { connecting, plugin } = self.tried.get_mut(&id)?;
        let view = view(self.table.as_ref(), self.readiness.as_ref(), plugin);
        let before = connecting.standing();
        let step = event(connecting, view);
        let after = match &step {
            Step::Live {
                route: Some(route),
                target,
                ..
            } => Standing::Live {
                route: route.clone(),
                target: target.clone(),
            },
            _ => connecting.standing(),
        };
        self.sessions.moved(&before, &after);
        match &step {
            Step::Live { .. } => {
                self.tried.remove(&id);
                if after != Standing::Unrouted {
                    self.live.insert(id, after);
                }
            }
            Step::Close { .. } => {
                self.tried.remove(&id);
            }
            _ => {}
        }
        Some(step)
    }

    /// Bytes have arrived on a connection.
    pub(crate) fn received(&mut self, id: u32, buffer: &[u8], end: bool) -> Option<Step> {
        self.react(id, end, |connection, view| {
            connection.received(view, buffer, end)
        })
    }

    /// A connection that asked for a place was answered.
    pub(crate) fn placed(
        &mut self,
        id: u32,
        now_ms: u64,
        answer: Result<Place, Full>,
    ) -> Option<Step> {
        self.has_held = true;
        if self.tried.contains_key(&id) {
            return self.try_on(id, |connecting, _| connecting.placed(now_ms, answer));
        }
        self.react(id, false, |connection, _| connection.placed(now_ms, answer))
    }

    /// The counterparty of a connection whose bytes pass has finished sending. True when no engine is known to have it.
    pub(crate) fn finished(&mut self, id: u32) -> bool {
        let tried = self.tried.get_mut(&id);
        tried.map(|tried| tried.connecting.finished()).is_some()
    }

    /// Time has passed.
    pub(crate) fn ticks(&mut self, now_ms: u64) {
        self.awake.ticks(now_ms);
    }

    /// Whether it has run for so long without a break that it may say of another VM that it is dead.
    pub(crate) fn judges_others(&mut self, now_ms: u64) -> bool {
        self.awake.judges_others(now_ms)
    }

    /// The connections whose targets are tried: `at_most` so many behind `last`, and then from the beginning.
    pub(crate) fn tried(&self, last: u32, at_most: usize) -> Vec<u32> {
        let behind = self.tried.range(last.saturating_add(1)..);
        let round = behind.chain(self.tried.range(..=last));
        round.map(|(&id, _)| id).take(at_most).collect()
    }

    /// What a connection does whose target is tried.
    pub(crate) fn progressed(
        &mut self,
        id: u32,
        now_ms: u64,
        upstream: &Upstream,
    ) -> Option<(Rc<Plugin>, Step)> {
        let plugin = self.tried.get(&id)?.plugin.clone();
        let step = self.try_on(id, |connecting, view| {
            connecting.progressed(now_ms, view, upstream)
        })?;
        Some((plugin, step))
    }

    /// Whether a connection's target is tried.
    pub(crate) fn is_tried(&self, id: u32) -> bool {
        self.tried.contains_key(&id)
    }

    /// A connection is closed whose target was tried. A record if no engine had it.
    pub(crate) fn ended(
        &mut self,
        id: u32,
        end: End,
        upstream: &Upstream,
    ) -> Option<Box<DecisionRecord>> {
        let mut record = None;
        self.try_on(id, |connecting, _| {
            record = connecting.ended(end, upstream);
            Step::Close { record: None }
        });
        record
    }

    /// Envoy has forgotten a connection: whatever was not heard of its end, it counts no more.
    pub(crate) fn forget(&mut self, id: u32) {
        self.hear_of_release(id);
        if let Some(waiting) = self.waiting.remove(&id) {
            self.sessions
                .moved(&waiting.connection.standing(), &Standing::Unrouted);
        }
        if let Some(tried) = self.tried.remove(&id) {
            self.sessions
                .moved(&tried.connecting.standing(), &Standing::Unrouted);
        }
        if let Some(standing) = self.live.remove(&id) {
            self.sessions.moved(&standing, &Standing::Unrouted);
        }
    }

    /// What held connections do whose target is ready by now: those held first, `at_most` so many.
    pub(crate) fn woken(&mut self, now_ms: u64, at_most: usize) -> Vec<(u32, Rc<Plugin>, Step)> {
        let held = self.waiting.iter();
        let held: Vec<(u32, Rc<Plugin>)> = held
            .filter(|(_, waiting)| waiting.connection.held_for().is_some())
            .map(|(&id, waiting)| (id, waiting.plugin.clone()))
            .collect();
        let steps = held.into_iter().filter_map(|(id, plugin)| {
            let step = self.react(id, false, |connection, view| connection.woken(now_ms, view))?;
            (step != Step::Wait).then_some((id, plugin, step))
        });
        steps.take(at_most).collect()
    }

    /// A connection is gone; `failure` is what Envoy says of its transport socket.
    pub(crate) fn gone(&mut self, id: u32, failure: &[u8]) -> Option<Box<DecisionRecord>> {
        let step = self.react(id, false, |connection, view| Step::Close {
            record: connection.gone(view, failure),
        });
        match step {
            Some(Step::Close { record }) => record,
            _ => None,
        }
    }

    /// A fault in the filter on one connection.
    pub(crate) fn failed(&mut self, id: u32, plugin: Rc<Plugin>) -> Step {
        // It may have been decided already when the fault struck.
        self.forget(id);
        let connection = Connection::accepted(Arrival::default(), plugin.settings());
        self.waiting.insert(id, Waiting { connection, plugin });
        self.react(id, false, Connection::failed)
            .unwrap_or(Step::Close { record: None })
    }

    /// What the connections do whose time is over: the oldest ones, `at_most` so many. The others are due the next time.
    pub(crate) fn due(&mut self, now_ms: u64, at_most: usize) -> Vec<(u32, Rc<Plugin>, Step)> {
        let late = self.waiting.iter();
        let late: Vec<(u32, Rc<Plugin>)> = late
            .filter(|(_, waiting)| waiting.connection.is_due(now_ms))
            .map(|(&id, waiting)| (id, waiting.plugin.clone()))
            .take(at_most)
            .collect();
        let steps = late.into_iter().filter_map(|(id, plugin)| {
            let step = self.react(id, false, |connection, view| connection.tick(now_ms, view))?;
            Some((id, plugin, step))
        });
        steps.collect()
    }
}

/// What a connection sees that came through this plugin.
fn view<'v>(table: Option<&'v Table>, readiness: Option<&'v Kept>, plugin: &'v Plugin) -> View<'v> {
    match &plugin.inline {
        Some(inline) => View {
            table: Some(&inline.table),
            readiness: Some(&inline.readiness),
            settings: plugin.settings(),
        },
        None => View {
            table,
            readiness: readiness.map(|kept| &kept.readiness),
            settings: plugin.settings(),
        },
    }
}

const fn add_one(count: &mut u64) {
    *count = count.saturating_add(1);
}
