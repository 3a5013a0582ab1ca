//! What happens on one connection, and who performs it?
//!
//! A connection is paused when it is accepted, so that `tcp_proxy` picks no cluster before the Logon is read. Once it is
//! decided, its bytes pass without a look.

use std::rc::Rc;

use fixgw_core::connecting::End;
use fixgw_core::connection::{Arrival, Step};
use fixgw_core::decision::{self, DecisionRecord};
use fixgw_core::path::Path;
use fixgw_core::range::SourceAddress;
use fixgw_core::{names, otlp};
use proxy_wasm::traits::{Context, StreamContext};
use proxy_wasm::types::{Action, PeerType};

use crate::contain::contained;
use crate::host::{self, HostError};
use crate::passing;
use crate::places;
use crate::worker::{self, Plugin};

/// Where a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for its Logon, or for its target; its bytes stay.
    Waiting,
    /// Its bytes pass.
    Passing,
    /// Closed by us; its bytes stay, whatever still comes.
    Closed,
}

/// One connection.
pub(crate) struct Stream {
    id: u32,
    phase: Phase,
    plugin: Rc<Plugin>,
    /// How it came, until it is decided: its record says so, and each question to Envoy costs a microsecond.
    path: Option<Path>,
}

impl Stream {
    pub(crate) const fn new(id: u32, plugin: Rc<Plugin>) -> Self {
        Self {
            id,
            phase: Phase::Waiting,
            plugin,
            path: None,
        }
    }

    fn go_on(&mut self, phase: Phase) -> Action {
        self.phase = phase;
        if phase != Phase::Waiting {
            self.path = None;
        }
        if phase == Phase::Passing {
            passing::begin(self.id);
        } else {
            passing::end(self.id);
        }
        match phase {
            Phase::Passing => Action::Continue,
            Phase::Waiting | Phase::Closed => Action::Pause,
        }
    }

    /// The counterparty has finished sending. If its engine has refused it so far, it has left: whoever leaves with hundreds of
    /// others is not left to the tick, which closes some at a time.
    fn finished(&self) {
        if !worker::with(|worker| worker.finished(self.id)) {
            return;
        }
        let upstream = host::upstream();
        let Ok(now_ms) = host::monotonic_ms() else {
            return;
        };
        let step = worker::with(|worker| worker.progressed(self.id, now_ms, &upstream));
        if let Some((plugin, step)) = step {
            perform_on_passing(self.id, plugin, step);
        }
    }

    /// A fault of ours: this connection closes.
    fn fail(&mut self) -> Action {
        let closed = contained("the end of a failed connection", || {
            let step = worker::with(|worker| worker.failed(self.id, self.plugin.clone()));
            perform(self.id, &self.plugin, self.path.as_ref(), step)
        });
        if closed.is_none() {
            let _ = host::close_downstream();
        }
        self.go_on(Phase::Closed)
    }
}

impl Drop for Stream {
    /// Envoy forgets it. Whatever became of it, it counts for nothing from here on.
    fn drop(&mut self) {
        passing::end(self.id);
        contained("the end of a context", || {
            worker::with(|worker| worker.forget(self.id));
        });
    }
}

impl Context for Stream {}

impl StreamContext for Stream {
    fn on_new_connection(&mut self) -> Action {
        let id = self.id;
        let kept = &mut self.path;
        let accepted = contained("on_new_connection", || -> Result<Phase, HostError> {
            let path = kept.insert(host::path()?);
            let now_ms = host::monotonic_ms()?;
            let arrival = Arrival {
                accepted_ms: now_ms.saturating_sub(host::ms_since_accept()),
                source: SourceAddress::of_socket(path.source()),
            };
            crate::updates::restore();
            let plugin = self.plugin.clone();
            // Its deadline may be over by now: nothing that it sends is looked at then.
            let step = worker::with(|worker| worker.accept(id, now_ms, arrival, path, plugin));
            perform(id, &self.plugin, Some(path), step)
        });
        match accepted {
            Some(Ok(phase)) => self.go_on(phase),
            Some(Err(HostError)) | None => self.fail(),
        }
    }

    fn on_downstream_data(&mut self, size: usize, end: bool) -> Action {
        match self.phase {
            Phase::Passing => {
                if end {
                    contained("a half-close", || self.finished());
                } else {
                    // Another one had its place so far: that one may have gone.
                    passing::begin(self.id);
                }
                return Action::Continue;
            }
            Phase::Closed => return Action::Pause,
            Phase::Waiting => {}
        }
        let id = self.id;
        let (plugin, path) = (&self.plugin, self.path.as_ref());
        let received = || received(id, plugin, path, size, end);
        match contained("on_downstream_data", received) {
            Some(Ok(phase)) => self.go_on(phase),
            Some(Err(HostError)) | None => self.fail(),
        }
    }

    fn on_downstream_close(&mut self, who: PeerType) {
        let (id, plugin) = (self.id, &self.plugin);
        contained("on_downstream_close", || {
            #[cfg(feature = "test-faults")]
            crate::fault::on_close();
            // It may have been let go without having heard of it.
            let record = if worker::with(|worker| worker.is_tried(id)) {
                let upstream = host::upstream();
                let left = matches!(who, PeerType::Remote);
                let end = if left { End::Left } else { End::GivenUp };
                worker::with(|worker| worker.ended(id, end, &upstream))
            } else if self.phase == Phase::Waiting {
                let failure = host::transport_failure();
                worker::with(|worker| worker.gone(id, &failure))
            } else {
                None
            };
            if let Some(record) = record {
                send(plugin, self.path.as_ref(), &record);
            }
            worker::with(|worker| worker.forget(id));
            settle();
        });
    }
}

fn received(
    id: u32,
    plugin: &Plugin,
    path: Option<&Path>,
    size: usize,
    end: bool,
) -> Result<Phase, HostError> {
    let buffer = if worker::with(|worker| worker.is_held(id)) {
        // It has been read, and what follows the Logon is nobody's business here.
        Vec::new()
    } else {
        // One byte more than a Logon may have is all that reading can need.
        let bytes_max = plugin.settings().read_limits().bytes_max;
        host::downstream_data(size.min(bytes_max.saturating_add(1)))?
    };
    #[cfg(feature = "test-faults")]
    crate::fault::on_data(&buffer);
    match worker::with(|worker| worker.received(id, &buffer, end)) {
        Some(step) => {
            let phase = perform(id, plugin, path, step);
            settle();
            phase
        }
        None if worker::with(|worker| worker.hear_of_release(id)) => {
            if end {
                worker::with(|worker| worker.finished(id));
            }
            Ok(Phase::Passing)
        }
        // Its deadline has closed it.
        None => Ok(Phase::Closed),
    }
}

/// The one place where a step becomes calls to Envoy, on the connection that is effective now.
fn perform(id: u32, plugin: &Plugin, path: Option<&Path>, step: Step) -> Result<Phase, HostError> {
    match step {
        Step::Wait => Ok(Phase::Waiting),
        Step::Ask { route, caps } => {
            let answer = places::enter(&route, caps);
            let now_ms = host::monotonic_ms()?;
            let step = worker::with(|worker| worker.placed(id, now_ms, answer));
            // Asks once: what comes is to be held or to be closed.
            perform_placed(plugin, path, step.unwrap_or(Step::Wait))
        }
        step => perform_placed(plugin, path, step),
    }
}

fn perform_placed(plugin: &Plugin, path: Option<&Path>, step: Step) -> Result<Phase, HostError> {
    match step {
        Step::Wait | Step::Ask { .. } => Ok(Phase::Waiting),
        Step::Hold { record } => {
            send(plugin, path, &record);
            Ok(Phase::Waiting)
        }
        Step::Connect { cluster, record } => {
            host::set_cluster(&cluster)?;
            send(plugin, path, &record);
            Ok(Phase::Passing)
        }
        Step::Park { record } => {
            host::set_cluster(names::CLUSTER_PARKED)?;
            send(plugin, path, &record);
            Ok(Phase::Passing)
        }
        Step::Live { record, .. } => {
            if let Some(record) = record {
                send(plugin, path, &record);
            }
            Ok(Phase::Passing)
        }
        Step::Reject { cluster, record } => {
            host::set_reason(record.reason)?;
            host::set_cluster(&cluster)?;
            send(plugin, path, &record);
            Ok(Phase::Passing)
        }
        Step::Close { record } => {
            if let Some(record) = record {
                send(plugin, path, &record);
            }
            host::close_downstream()?;
            Ok(Phase::Closed)
        }
    }
}

/// Performs a step that did not come from a callback of the connection itself. It must be effective.
pub(crate) fn perform_from_outside(id: u32, plugin: Rc<Plugin>, step: Step) {
    let performed = contained("a deadline", || perform(id, &plugin, None, step));
    let Some(Ok(phase)) = performed else {
        Stream::new(id, plugin).fail();
        return;
    };
    if phase == Phase::Passing {
        worker::with(|worker| worker.release(id));
        let _ = host::resume_downstream();
    }
}

/// Performs a step of a connection whose bytes pass. It must be effective.
pub(crate) fn perform_on_passing(id: u32, plugin: Rc<Plugin>, step: Step) {
    let performed = contained("an engine's answer", || perform(id, &plugin, None, step));
    if !matches!(performed, Some(Ok(_))) {
        Stream::new(id, plugin).fail();
    }
}

/// A place that became free is so for all at once.
pub(crate) fn settle() {
    if worker::with(worker::Worker::looks_after_held) {
        places::settle();
    }
}

/// Hands a record to the outbox; where no cluster takes records, to Envoy's log.
fn send(plugin: &Plugin, path: Option<&Path>, record: &DecisionRecord) {
    let origin = host::origin(record.received_bytes > 0, path);
    let unix_nanos = host::unix_nanos();
    worker::with(|worker| worker.decided(record, unix_nanos / 1_000_000));
    match &plugin.settings().decision_cluster {
        Some(cluster) => {
            let encoded = otlp::log_record(record, &origin, unix_nanos);
            worker::with(|worker| worker.push_record(cluster, encoded));
        }
        None => host::log(record.severity(), &decision::json_line(record, &origin)),
    }
}
