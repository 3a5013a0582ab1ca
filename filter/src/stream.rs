//! What happens on one connection, and who performs it?
//!
//! A connection is paused when it is accepted, so that `tcp_proxy` picks no cluster before the Logon is read. Once it is
//! decided, its bytes pass without a look.

use fixgw_core::connection::Step;
use fixgw_core::decision::DecisionRecord;
use fixgw_core::otlp;
use proxy_wasm::traits::{Context, StreamContext};
use proxy_wasm::types::{Action, PeerType};

use crate::contain::contained;
use crate::host::{self, HostError};
use crate::worker;

/// Where a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for its Logon; its bytes stay.
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
}

impl Stream {
    pub(crate) const fn new(id: u32) -> Self {
        let phase = Phase::Waiting;
        Self { id, phase }
    }

    fn go_on(&mut self, phase: Phase) -> Action {
        self.phase = phase;
        match phase {
            Phase::Passing => Action::Continue,
            Phase::Waiting | Phase::Closed => Action::Pause,
        }
    }

    /// A fault of ours: this connection closes.
    fn fail(&mut self) -> Action {
        let closed = contained("the end of a failed connection", || {
            perform(worker::with(|worker| worker.failed(self.id)))
        });
        if closed.is_none() {
            let _ = host::close_downstream();
        }
        self.go_on(Phase::Closed)
    }
}

impl Context for Stream {}

impl StreamContext for Stream {
    fn on_new_connection(&mut self) -> Action {
        let id = self.id;
        let accepted = contained("on_new_connection", || -> Result<Phase, HostError> {
            let now_ms = host::monotonic_ms()?;
            let waited_ms = host::ms_since_accept();
            crate::root::restore();
            // Its deadline may be over by now: nothing that it sends is looked at then.
            let step = worker::with(|worker| worker.accept(id, now_ms, waited_ms));
            perform(step)
        });
        match accepted {
            Some(Ok(phase)) => self.go_on(phase),
            Some(Err(HostError)) | None => self.fail(),
        }
    }

    fn on_downstream_data(&mut self, size: usize, end: bool) -> Action {
        match self.phase {
            Phase::Passing => return Action::Continue,
            Phase::Closed => return Action::Pause,
            Phase::Waiting => {}
        }
        let id = self.id;
        match contained("on_downstream_data", || received(id, size, end)) {
            Some(Ok(phase)) => self.go_on(phase),
            Some(Err(HostError)) | None => self.fail(),
        }
    }

    fn on_downstream_close(&mut self, _who: PeerType) {
        if self.phase != Phase::Waiting {
            return;
        }
        let id = self.id;
        contained("on_downstream_close", || {
            let failure = host::transport_failure();
            if let Some(record) = worker::with(|worker| worker.gone(id, &failure)) {
                send(&record);
            }
        });
    }
}

fn received(id: u32, size: usize, end: bool) -> Result<Phase, HostError> {
    // One byte more than a Logon may have is all that reading can need.
    let bytes_max = worker::with(|worker| worker.settings().read_limits().bytes_max);
    let buffer = host::downstream_data(size.min(bytes_max.saturating_add(1)))?;
    #[cfg(feature = "test-panic")]
    panic_on_request(&buffer);
    match worker::with(|worker| worker.received(id, &buffer, end)) {
        Some(step) => perform(step),
        // Its deadline has closed it.
        None => Ok(Phase::Closed),
    }
}

/// The one place where a step becomes calls to Envoy, on the connection that is effective now.
fn perform(step: Step) -> Result<Phase, HostError> {
    match step {
        Step::Wait => Ok(Phase::Waiting),
        Step::Connect { cluster, record } => {
            host::set_cluster(&cluster)?;
            send(&record);
            Ok(Phase::Passing)
        }
        Step::Reject { cluster, record } => {
            host::set_reason(record.reason)?;
            host::set_cluster(&cluster)?;
            send(&record);
            Ok(Phase::Passing)
        }
        Step::Close { record } => {
            if let Some(record) = record {
                send(&record);
            }
            host::close_downstream()?;
            Ok(Phase::Closed)
        }
    }
}

/// Performs a step that did not come from a callback of the connection itself. It must be effective.
pub(crate) fn perform_from_outside(id: u32, step: Step) {
    let performed = contained("a deadline", || perform(step));
    let Some(Ok(phase)) = performed else {
        Stream::new(id).fail();
        return;
    };
    if phase == Phase::Passing {
        let _ = host::resume_downstream();
    }
}

/// Hands a record to the outbox, if records are wanted.
fn send(record: &DecisionRecord) {
    if worker::with(|worker| worker.settings().decision_cluster.is_none()) {
        return;
    }
    let origin = host::origin(record.received_bytes > 0);
    let encoded = otlp::log_record(record, &origin, host::unix_nanos());
    worker::with(|worker| worker.outbox.push(encoded));
}

/// For the tests of containment and of a VM that comes back: no release build has this.
#[cfg(feature = "test-panic")]
fn panic_on_request(buffer: &[u8]) {
    let asked = |request: &[u8]| buffer.windows(request.len()).any(|bytes| bytes == request);
    assert!(!asked(b"\x0149=PANIC\x01"), "the test build was asked to");
    if asked(b"\x0149=TRAP\x01") {
        // What nothing can catch: the whole VM fails.
        core::arch::wasm32::unreachable();
    }
}
