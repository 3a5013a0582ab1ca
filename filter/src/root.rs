//! What does Envoy configure, and what happens as time passes?
//!
//! Three kinds of root context share one VM, told apart by the first bytes of their configuration: the data listeners'
//! (settings; it never changes, ticks and makes all calls), and the control listener's two (the table, the readiness;
//! a new one with every update).
//!
//! INVARIANT: calls belong to the data root: a control root's calls die with it at the next update.
//! INVARIANT: `on_configure` refuses only what follows from the bytes alone. Then the canary has refused it before any
//! worker sees it; a worker that refused by itself, or trapped, would spoil Envoy for every later table. So where there is a
//! data root, images are read in its callbacks: what fails there ends one VM, which comes back.

use std::rc::Rc;
use std::time::Duration;

use fixgw_core::connection::Step;
use fixgw_core::readiness::{self, Readiness};
use fixgw_core::report::VmReportAnswer;
use fixgw_core::table::{self, Table};
use fixgw_core::{otlp, outbox, report};
use prost::Message;
use proxy_wasm::traits::{Context, RootContext, StreamContext};
use proxy_wasm::types::ContextType;

use crate::contain::contained;
use crate::host;
use crate::places;
use crate::stream::{self, Stream};
use crate::worker::{self, Part, Plugin, Worker};

/// Deadlines, records and reports are served this often. It costs a worker less than a thousandth of a core.
const TICK: Duration = Duration::from_millis(100);
/// Connections that one tick may close: with ten ticks a second, each worker closes up to 640 late ones a second.
///
/// INVARIANT: bounded and small. Envoy performs the closes of a call after it, each from within the one before, for each
/// calls the filter again, which performs the next. Some 500 at once are more than the VM's stack holds: then the whole
/// worker's VM ends, and every session in it.
const CLOSES_PER_TICK_MAX: usize = 64;
/// Connections that one tick asks how far they are: each costs a call or two.
const ASKED_PER_TICK_MAX: usize = 1_024;
/// How long a VM waits that could not take what the others have, before it tries again: reading a large table takes long.
const CATCH_UP_MS: u64 = 10_000;
/// What one report may take: no longer than the next ones may wait.
const REPORT_TIMEOUT: Duration = Duration::from_millis(report::HEARTBEAT_MS);
/// What one call with records may take.
const RECORDS_TIMEOUT: Duration = Duration::from_millis(outbox::CALL_TIMEOUT_MS as u64);

/// What a root context is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Not configured yet.
    Unknown,
    /// The data listeners'.
    Data,
    /// One of the control listener's.
    Control,
}

/// A root context.
struct Root {
    id: u32,
    role: Role,
    /// What its connections go by.
    plugin: Rc<Plugin>,
    sharing: [Sharing; 2],
    /// The connection that was asked last how far it is with its engine.
    asked: u32,
}

/// What this VM has made sure of about the data that it shares with the others.
#[derive(Clone, Copy, Default)]
struct Sharing {
    /// Revision that was seen to be there, or a newer one.
    seen: Option<u64>,
    /// Revision that was left to the others for one tick.
    left: Option<u64>,
    /// Whether this VM wrote last, and so has to look whether it is there.
    wrote: bool,
    /// Revision of the others that this VM tried to take last, and when.
    tried: Option<(u64, u64)>,
}

/// Makes a root context. Runs outside of any containment, so it must not fail.
pub(crate) fn new_root(id: u32) -> Box<dyn RootContext> {
    Box::new(Root {
        id,
        role: Role::Unknown,
        plugin: Rc::default(),
        sharing: [Sharing::default(); 2],
        asked: 0,
    })
}

impl Context for Root {
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        contained("on_grpc_call_response", || {
            let Ok(now_ms) = host::monotonic_ms() else {
                return;
            };
            if worker::with(|worker| worker.answered(token, status, now_ms)) {
                let has = (status == outbox::GRPC_OK)
                    .then(|| reported(size))
                    .flatten();
                worker::with(|worker| worker.reported(has));
            }
        });
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        contained("on_configure", || self.configure(size)).unwrap_or(true)
    }

    fn on_tick(&mut self) {
        if self.role != Role::Data {
            return;
        }
        contained("the deadlines", || self.serve_deadlines());
        contained("the held connections", || self.serve_held());
        contained("the engines' answers", || self.look_at_tried());
        contained("an update", take_left);
        for (part, sharing) in Part::ALL.into_iter().zip(&mut self.sharing) {
            contained("what the others have", || catch_up(part, sharing));
            contained("the shared data", || share(part, sharing));
        }
        contained("the report", send_report);
        contained("the records", send_records);
    }

    fn on_queue_ready(&mut self, queue: u32) {
        contained("the queue", || host::empty(queue));
        contained("an update", take_left);
        contained("the held connections", || self.serve_held());
    }

    fn create_stream_context(&self, id: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(Stream::new(id, self.plugin.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::StreamContext)
    }
}

impl Root {
    fn configure(&mut self, size: usize) -> bool {
        let Ok(bytes) = host::plugin_configuration(size) else {
            return true;
        };
        let taken = if bytes.starts_with(&table::MAGIC) {
            self.role = Role::Control;
            receive(Part::Routes, bytes)
        } else if bytes.starts_with(&readiness::MAGIC) {
            self.role = Role::Control;
            receive(Part::Readiness, bytes)
        } else {
            self.role = Role::Data;
            configure_data(&bytes).map(|plugin| self.plugin = plugin)
        };
        match taken {
            Ok(()) => true,
            Err(why) => {
                host::log_error(&format!("a configuration is refused: {why}"));
                false
            }
        }
    }

    fn serve_deadlines(&self) {
        #[cfg(feature = "test-faults")]
        crate::fault::on_tick();
        let Ok(now_ms) = host::monotonic_ms() else {
            return;
        };
        let due = worker::with(|worker| worker.due(now_ms, CLOSES_PER_TICK_MAX));
        if due.is_empty() {
            return;
        }
        self.perform(due);
    }

    /// Connects those whose target is ready by now.
    fn serve_held(&self) {
        let Ok(now_ms) = host::monotonic_ms() else {
            return;
        };
        if !worker::with(Worker::looks_after_held) {
            return;
        }
        let woken = worker::with(|worker| worker.woken(now_ms, CLOSES_PER_TICK_MAX));
        let more = woken.len() == CLOSES_PER_TICK_MAX;
        self.perform(woken);
        places::settle();
        if more {
            wake();
        }
    }

    /// Asks Envoy how far the connections are that were let go: connected, or still refused.
    fn look_at_tried(&mut self) {
        let Ok(now_ms) = host::monotonic_ms() else {
            return;
        };
        let mut performed = 0;
        for id in worker::with(|worker| worker.tried(self.asked, ASKED_PER_TICK_MAX)) {
            self.asked = id;
            if host::set_effective_context(id).is_err() {
                // Envoy does not know it any more.
                worker::with(|worker| worker.forget(id));
                continue;
            }
            let upstream = host::upstream();
            let Some((plugin, step)) =
                worker::with(|worker| worker.progressed(id, now_ms, &upstream))
            else {
                continue;
            };
            if step != Step::Wait {
                performed += 1;
                stream::perform_on_passing(id, plugin, step);
            }
            if performed >= CLOSES_PER_TICK_MAX {
                break;
            }
        }
        let _ = host::set_effective_context(self.id);
        if performed > 0 {
            stream::settle();
        }
    }

    fn perform(&self, steps: Vec<(u32, Rc<Plugin>, Step)>) {
        for (id, plugin, step) in steps {
            // A context that Envoy does not know any more needs nothing.
            if host::set_effective_context(id).is_ok() {
                stream::perform_from_outside(id, plugin, step);
            }
        }
        // INVARIANT: whatever is called later in this tick is this root's.
        let _ = host::set_effective_context(self.id);
    }
}

/// Has the data root look after held connections, now rather than at its next tick.
fn wake() {
    if worker::with(Worker::looks_after_held)
        && let Some(queue) = worker::with(|worker| worker.queue())
    {
        let _ = host::wake(queue);
    }
}

/// An update has come. Where there is no data root, this may be the canary, which must refuse what cannot be read.
fn receive(part: Part, image: Vec<u8>) -> Result<(), String> {
    let Some(queue) = worker::with(|worker| worker.queue()) else {
        return take(part, image);
    };
    worker::with(|worker| worker.leave(part, image));
    // If that does not work, the next tick does.
    let _ = host::wake(queue);
    Ok(())
}

/// Takes what was left to the data root.
fn take_left() {
    for part in Part::ALL {
        if let Some(image) = worker::with(|worker| worker.take_left(part))
            && let Err(why) = take(part, image)
        {
            host::log_error(&format!("an update is not taken: {why}"));
        }
    }
}

fn take(part: Part, image: Vec<u8>) -> Result<(), String> {
    match part {
        Part::Routes => take_table(image),
        Part::Readiness => take_readiness(image),
    }
}

fn take_table(image: Vec<u8>) -> Result<(), String> {
    let table = Table::load(image).map_err(|error| error.to_string())?;
    #[cfg(feature = "test-faults")]
    crate::fault::on_table(&table);
    worker::with(|worker| worker.take_table(table));
    wake();
    Ok(())
}

fn take_readiness(image: Vec<u8>) -> Result<(), String> {
    let readiness = Readiness::load(&image).map_err(|error| error.to_string())?;
    worker::with(|worker| worker.take_readiness(readiness, image));
    wake();
    Ok(())
}

fn configure_data(json: &[u8]) -> Result<Rc<Plugin>, String> {
    let plugin = Plugin::parse(json)?;
    worker::with(|worker| worker.configure(&plugin));
    let _ = host::set_tick_period(TICK);
    places::prepare();
    if worker::with(|worker| worker.queue().is_none()) {
        // A name of its own: the first to register a name has it, and a VM that came back is another one.
        if let Ok(queue) = host::register_queue(&format!("fixgw.wake.{:016x}", host::random())) {
            worker::with(|worker| worker.set_queue(queue));
        }
    }
    restore();
    Ok(Rc::new(plugin))
}

/// A VM that came back has no table: it takes what the others left for it, before its first connection is read. And what was
/// left to the data root is taken by then in any case.
pub(crate) fn restore() {
    contained("an update", take_left);
    for part in Part::ALL {
        if worker::with(|worker| worker.revision(part).is_none()) {
            take_shared(part);
        }
    }
}

/// A VM that came back in the moment between an update and its sharing has an older table than the others, and no
/// update will come for it. Nor will one for a VM that could not take it.
fn catch_up(part: Part, sharing: &mut Sharing) {
    let Some(revision) = shared_revision(part) else {
        return;
    };
    if Some(revision) <= worker::with(|worker| worker.revision(part)) {
        return;
    }
    let now_ms = host::monotonic_ms().unwrap_or(0);
    let waits =
        |(tried, since_ms)| tried == revision && now_ms.saturating_sub(since_ms) < CATCH_UP_MS;
    if !sharing.tried.is_some_and(waits) {
        // Before it is tried: it may not come back from that.
        sharing.tried = Some((revision, now_ms));
        take_shared(part);
    }
}

fn take_shared(part: Part) {
    let Some((image, _)) = host::shared(part.key()) else {
        return;
    };
    if part.stated(&image) <= worker::with(|worker| worker.revision(part)) {
        return;
    }
    // What is there was taken over by another VM before, so nothing can be wrong with it.
    let _ = take(part, image);
}

/// Puts what this VM uses where a VM that comes back will find it. From the tick and not from `on_configure`, because
/// the canary's writes would be real even if Envoy then refused the update.
///
/// One VM writes for all, the main thread's if it is there: a copy of a large table would make live sessions wait. A
/// guard does not protect the creation of a key, so whoever wrote looks again at the next tick.
fn share(part: Part, sharing: &mut Sharing) {
    let Some(revision) = worker::with(|worker| worker.revision(part)) else {
        return;
    };
    if sharing.seen >= Some(revision) {
        return;
    }
    if !sharing.wrote && shared_revision(part) >= Some(revision) {
        sharing.seen = Some(revision);
        return;
    }
    if worker::with(|worker| worker.has_served()) && sharing.left != Some(revision) {
        sharing.left = Some(revision);
        return;
    }
    let there = host::shared(part.key());
    let stated = there.as_ref().and_then(|(image, _)| part.stated(image));
    if stated >= Some(revision) {
        sharing.seen = stated;
        sharing.wrote = false;
        return;
    }
    let guard = there.and_then(|(_, guard)| guard);
    let Some(image) = worker::with(|worker| worker.image(part).map(<[u8]>::to_vec)) else {
        return;
    };
    sharing.wrote = true;
    if host::share(part.key(), &image, guard).is_ok() {
        // Without a guard: it is a hint that saves a copy.
        let _ = host::share(part.revision_key(), &revision.to_le_bytes(), None);
    }
}

fn shared_revision(part: Part) -> Option<u64> {
    let (bytes, _) = host::shared(part.revision_key())?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn send_report() {
    let Ok(now_ms) = host::monotonic_ms() else {
        return;
    };
    let _ = places::vm_id();
    let Some((cluster, report)) = worker::with(|worker| {
        let cluster = worker.control_cluster()?.clone();
        Some((cluster, worker.next_report(now_ms)?))
    }) else {
        return;
    };
    let message = report.encode_to_vec();
    let called = host::grpc_call(
        &cluster,
        report::SERVICE,
        report::METHOD,
        &message,
        REPORT_TIMEOUT,
    );
    worker::with(|worker| {
        if let Ok(token) = called {
            worker.reporter.called(token, &report, now_ms);
        } else {
            worker.reporter.refused(now_ms);
            worker.reported(None);
        }
    });
}

/// Number of the report that the control plane has.
fn reported(size: usize) -> Option<u64> {
    let answer = host::grpc_answer(size).ok()?;
    let answer = VmReportAnswer::decode(answer.as_slice()).ok()?;
    Some(answer.number)
}

fn send_records() {
    let Ok(now_ms) = host::monotonic_ms() else {
        return;
    };
    while let Some((cluster, batch)) = worker::with(|worker| worker.next_batch(now_ms)) {
        let message = worker::with(|worker| otlp::export_request(worker.node_id(), &batch));
        let called = host::grpc_call(
            &cluster,
            otlp::SERVICE,
            otlp::METHOD,
            &message,
            RECORDS_TIMEOUT,
        );
        worker::with(|worker| match called {
            Ok(token) => worker.outbox(&cluster).called(token, batch, now_ms),
            Err(host::HostError) => worker.outbox(&cluster).refused(batch, now_ms),
        });
    }
}
