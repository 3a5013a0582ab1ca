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
use fixgw_core::{readiness, table};
use proxy_wasm::traits::{Context, RootContext, StreamContext};
use proxy_wasm::types::ContextType;

use crate::calls;
use crate::contain::contained;
use crate::host;
use crate::places;
use crate::stream::{self, Stream};
use crate::updates::{self, Sharing};
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
            calls::answered(token, status, size);
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
        contained("the time", worker_ticks);
        // INVARIANT: a report says which table is used, and clusters go by that. So whoever is tried at a cluster that this table
        // does not name any more is taken from there before.
        contained("an update", updates::take_left);
        contained("the deadlines", || self.serve_deadlines());
        contained("the held connections", || self.serve_held());
        contained("the engines' answers", || self.look_at_tried());
        for (part, sharing) in Part::ALL.into_iter().zip(&mut self.sharing) {
            contained("what the others have", || updates::catch_up(part, sharing));
            contained("the shared data", || updates::share(part, sharing));
        }
        contained("the report", calls::send_report);
        contained("the records", calls::send_records);
    }

    fn on_queue_ready(&mut self, queue: u32) {
        contained("the queue", || host::empty(queue));
        contained("an update", updates::take_left);
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
            updates::receive(Part::Routes, bytes)
        } else if bytes.starts_with(&readiness::MAGIC) {
            self.role = Role::Control;
            updates::receive(Part::Readiness, bytes)
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
            updates::wake();
        }
    }

    /// Asks Envoy how far the connections are that were let go: connected, or still refused.
    fn look_at_tried(&mut self) {
        let Ok(now_ms) = host::monotonic_ms() else {
            return;
        };
        let (mut closes, mut performed) = (0, false);
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
            if let Step::Close { .. } = step {
                closes += 1;
            }
            if step != Step::Wait {
                performed = true;
                stream::perform_on_passing(id, plugin, step);
            }
            if closes >= CLOSES_PER_TICK_MAX {
                break;
            }
        }
        let _ = host::set_effective_context(self.id);
        if performed {
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

fn worker_ticks() {
    if let Ok(now_ms) = host::monotonic_ms() {
        worker::with(|worker| worker.ticks(now_ms));
    }
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
    updates::restore();
    Ok(Rc::new(plugin))
}
