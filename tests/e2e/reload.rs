//! Does a worker whose Wasm VM fails come back by itself, with its table, and what does it take with it?
//!
//! A panic is contained (`containment`); the rest is not: nothing inside a VM can catch a trap, or the end of its stack or
//! memory.

use std::time::{Duration, Instant};

use fixgw_e2e::counted::{CountedSession, Speaks};
use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup, WORKERS};
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::{kind, signal_pid, text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::tool;
use fixgw_e2e::unbroken::LiveSession;
use rustix::process::Signal;

use crate::routing::engine_of;

/// Within this a worker routes again after its VM failed. It takes some 15 ms.
const BACK_WITHIN: Duration = Duration::from_secs(1);
/// Sessions on each worker: one whose next byte is the counterparty's, one whose next byte is the engine's.
const OF_EACH: usize = 2;

fn workers() -> Vec<usize> {
    (0..usize::try_from(WORKERS).unwrap()).collect()
}

fn light_route(service: &str) -> Route {
    Route::new("light", service).value("SenderCompID49", "LIGHT")
}

/// A gateway that fails on request.
fn gateway(directory: &Directory, engines: &[(&str, &EchoEngine)]) -> Gateway {
    let setup = Setup::over(directory)
        .filter(&tool::filter_with_faults())
        .admin();
    let with =
        |setup: Setup, (name, engine): &(&str, &EchoEngine)| setup.endpoint(name, engine.address());
    engines.iter().fold(setup, with).start()
}

/// How often Envoy made a VM anew.
fn reloads(gateway: &Gateway) -> u64 {
    gateway.statistics()["wasm.fixgw.vm_reload_success"]
}

/// Sessions on each worker, by worker.
fn on_each<'a>(gateway: &Gateway, engine: &'a EchoEngine) -> Vec<Vec<CountedSession<'a>>> {
    let begin = |worker| {
        (0..OF_EACH)
            .map(|_| CountedSession::begin(gateway, worker, "LIGHT", engine))
            .collect()
    };
    workers().into_iter().map(begin).collect()
}

fn exchange<'s, 'a: 's>(sessions: impl IntoIterator<Item = &'s mut Vec<CountedSession<'a>>>) {
    for session in sessions.into_iter().flatten() {
        session.exchange();
    }
}

fn end_at_their_next_byte(sessions: Vec<CountedSession>) {
    let speaks = [Speaks::Counterparty, Speaks::Engine];
    for (session, speaks) in sessions.into_iter().zip(speaks.into_iter().cycle()) {
        session.ends_at_its_next_byte(speaks);
    }
}

fn ask_for(fault: &str) -> Vec<u8> {
    fix::logon("FIX.4.4", fault, "VENUE", &[])
}

/// Ends the VMs of these workers, at once.
fn strike(gateway: &Gateway, workers: &[usize], fault: &str) {
    let mut victims: Vec<RawClient> = workers
        .iter()
        .map(|worker| gateway.connect_on(*worker))
        .collect();
    for victim in &mut victims {
        victim.send_unless_closed(&ask_for(fault));
    }
    for victim in &mut victims {
        assert_eq!(victim.take_to_end(), b"", "nobody answers it");
    }
}

/// Asks the VM of a worker to fail later.
fn arm(gateway: &Gateway, worker: usize, fault: &str) {
    let mut client = gateway.connect_on(worker);
    client.send(&ask_for(fault));
    // No route takes it, so there is an answer, unless the VM has failed before.
    client.take_to_end();
}

/// The first session that a worker routes after its VM failed.
fn back<'a>(gateway: &Gateway, worker: usize, engine: &'a EchoEngine) -> CountedSession<'a> {
    let since = Instant::now();
    let session = wait_until("a worker to route again", || {
        CountedSession::attempt(gateway, worker, "LIGHT", engine)
    });
    let taken = since.elapsed();
    assert!(taken < BACK_WITHIN, "back after {taken:?}");
    session
}

/// Connects to a worker until its VM has been made anew.
fn bring_back(gateway: &Gateway, worker: usize, engine: &EchoEngine) {
    wait_until("a VM that is made anew", || {
        let _ = CountedSession::attempt(gateway, worker, "LIGHT", engine);
        (reloads(gateway) > 0).then_some(())
    });
}

/// On every worker in turn and on all at once, without a control plane.
fn comes_back_after(fault: &str) {
    let (before, light) = (EchoEngine::start("before"), EchoEngine::start("light"));
    let directory = Directory::of(&[light_route("before")]);
    let gateway = gateway(&directory, &[("before", &before), ("light", &light)]);
    gateway.apply(|| directory.put(&light_route("light")));
    signal_pid(gateway.child("control"), Signal::STOP);
    let mut live = on_each(&gateway, &light);
    assert_eq!(reloads(&gateway), 0);
    for failing in [vec![0], vec![1], workers()] {
        strike(&gateway, &failing, fault);
        let again: Vec<CountedSession> = failing
            .iter()
            .map(|worker| back(&gateway, *worker, &light))
            .collect();
        for worker in &failing {
            end_at_their_next_byte(std::mem::take(&mut live[*worker]));
        }
        exchange(&mut live);
        for session in again {
            let worker = session.worker();
            live[worker].push(session);
            live[worker].push(CountedSession::begin(&gateway, worker, "LIGHT", &light));
        }
        exchange(&mut live);
    }
    // Without new VMs, all this would prove nothing.
    assert_eq!(reloads(&gateway), 2 + WORKERS);
    assert_eq!(before.received(), Vec::<Vec<u8>>::new());
    signal_pid(gateway.child("control"), Signal::CONT);
    gateway.wait_said(0, "ERROR", "a VM of the filter failed and was made anew");
    // The new VMs follow as the old ones did.
    gateway.apply(|| directory.put(&light_route("before")));
    for worker in workers() {
        let mut session = CountedSession::begin(&gateway, worker, "LIGHT", &before);
        session.exchange();
        // Records come in order: those before are there, too.
        let _ = gateway.decision_about(session.address());
    }
    exchange(&mut live);
    let untabled = |record: &serde_json::Value| text(record, "reason") == "no_table";
    assert!(
        !gateway.decisions().iter().any(untabled),
        "it had its table from the first connection on"
    );
}

#[test]
fn a_vm_that_traps_comes_back_with_its_table_and_the_other_worker_notices_nothing() {
    comes_back_after("TRAP");
}

#[test]
fn a_vm_that_uses_up_its_stack_comes_back_with_its_table_and_the_other_worker_notices_nothing() {
    comes_back_after("STACK");
}

#[test]
fn a_vm_that_calls_too_deep_comes_back_with_its_table_and_the_other_worker_notices_nothing() {
    comes_back_after("CALLS");
}

#[test]
fn a_vm_that_uses_up_its_memory_comes_back_with_its_table_and_the_other_worker_notices_nothing() {
    comes_back_after("MEMORY");
}

#[test]
fn a_vm_that_fails_in_a_tick_or_as_a_connection_ends_comes_back_too() {
    for fault in ["TRAP-ON-TICK", "TRAP-ON-CLOSE"] {
        let light = EchoEngine::start("light");
        let directory = Directory::of(&[light_route("light")]);
        let gateway = gateway(&directory, &[("light", &light)]);
        let mut live = on_each(&gateway, &light);
        arm(&gateway, 0, fault);
        // One that waits, and whose end strikes where that was asked for.
        gateway.connect_on(0).reset();
        bring_back(&gateway, 0, &light);
        end_at_their_next_byte(live.remove(0));
        exchange(&mut live);
        back(&gateway, 0, &light).exchange();
    }
}

#[test]
fn a_panic_in_a_tick_or_as_a_connection_ends_closes_nobody() {
    for fault in ["PANIC-ON-TICK", "PANIC-ON-CLOSE"] {
        let light = EchoEngine::start("light");
        let directory = Directory::of(&[light_route("light")]);
        let gateway = gateway(&directory, &[("light", &light)]);
        let mut live = on_each(&gateway, &light);
        arm(&gateway, 0, fault);
        gateway.connect_on(0).reset();
        gateway.wait_said(0, "ERROR", "1 panic in the filter contained");
        exchange(&mut live);
        CountedSession::begin(&gateway, 0, "LIGHT", &light).exchange();
        assert_eq!(reloads(&gateway), 0);
    }
}

#[test]
fn a_worker_that_stands_still_for_a_moment_ends_nothing_and_loses_nothing() {
    let light = EchoEngine::start("light");
    let spins = Route::new("spins", "light").value("SenderCompID49", "SPIN");
    let directory = Directory::of(&[light_route("light"), spins]);
    let gateway = gateway(&directory, &[("light", &light)]);
    let mut live = on_each(&gateway, &light);
    for worker in workers() {
        let mut cause = gateway.connect_on(worker);
        let since = Instant::now();
        cause.send(&ask_for("SPIN"));
        exchange(&mut live);
        assert_eq!(cause.take_greeting(), "light");
        let taken = since.elapsed();
        assert!(taken >= Duration::from_millis(200), "{taken:?}");
    }
    exchange(&mut live);
    assert_eq!(reloads(&gateway), 0);
}

#[test]
fn a_quickfix_session_of_a_vm_that_failed_logs_on_again_and_misses_no_message() {
    let sessions = ["A", "B"].map(|name| Session::new("FIX.4.4", name, "ENGINE"));
    let engine = Peer::engine("engine", &sessions);
    let tap = Tap::before(engine.address());
    let directory = Directory::of(
        &["A", "B"]
            .map(|name| Route::new(&name.to_lowercase(), "engine").value("SenderCompID49", name)),
    );
    let gateway = Setup::over(&directory)
        .filter(&tool::filter_with_faults())
        .endpoint("engine", tap.address())
        .admin()
        .start();
    let connect = |session: &Session| {
        let start = || {
            let name = session.sender().to_lowercase();
            Peer::counterparty(&name, gateway.address(), std::slice::from_ref(session))
        };
        let (peer, worker) = gateway.worker_of(start);
        peer.wait_logon(&session.at_counterparty());
        (peer, worker)
    };
    let [a, b] = &sessions;
    let ((lost, failing), (spared, other)) = (connect(a), connect(b));
    assert_ne!(failing, other, "a worker for each");
    let mut live = LiveSession::begin(b, &spared, &engine, &tap);
    live.exchange(3);
    lost.send(&a.at_counterparty(), 3);
    engine.wait_received(&a.at_engine(), 3);
    strike(&gateway, &[failing], "TRAP");
    // This is the next byte: the message ends the session, and comes again with the next one.
    lost.send(&a.at_counterparty(), 1);
    engine.wait_received(&a.at_engine(), 4);
    assert_eq!(engine.received(&a.at_engine()), [1, 2, 3, 4]);
    assert_eq!(lost.logons(&a.at_counterparty()), 2);
    live.assert_unbroken();
}

/// Whether Envoy has refused an update since it was started.
fn is_spoiled(gateway: &Gateway) -> bool {
    let mut events = gateway.process().events().into_iter();
    events.any(|event| kind(&event) == "gateway" && text(&event, "message").contains("rejected"))
}

fn table_with_fault() -> Route {
    Route::new("fault", "other").value("SenderCompID49", "FAULT")
}

#[test]
fn a_table_on_which_one_worker_panics_spoils_nothing_and_the_worker_that_stays_behind_is_told() {
    let (light, other) = (EchoEngine::start("light"), EchoEngine::start("other"));
    let directory = Directory::of(&[light_route("light")]);
    let gateway = gateway(&directory, &[("light", &light), ("other", &other)]);
    let mut live = on_each(&gateway, &light);
    arm(&gateway, 0, "PANIC-ON-TABLE");
    let mark = gateway.mark();
    directory.put(&table_with_fault());
    gateway.wait_said(mark, "ERROR", "still uses revision");
    gateway.wait_said(mark, "ERROR", "in the filter contained");
    let applied = |event: &serde_json::Value| kind(event) == "applied";
    let since: Vec<_> = gateway.process().events().split_off(mark);
    assert!(!since.iter().any(applied), "not every worker uses it");
    // One worker goes by the new table, the other one by the old one.
    CountedSession::begin(&gateway, 1, "FAULT", &other).exchange();
    let mut behind = gateway.connect_on(0);
    behind.send(&ask_for("FAULT"));
    let answer = behind.take_to_end();
    let fields = fix::read(&answer);
    assert_eq!(fix::value(&fields, 35), Some("5"), "{fields:?}");
    CountedSession::begin(&gateway, 0, "LIGHT", &light).exchange();
    // It does not try without end: reading a large table takes long.
    let counts = gateway.process().events();
    let panics = counts
        .iter()
        .rev()
        .find_map(|event| event["panics"].as_u64());
    assert!(panics <= Some(3), "{panics:?} panics");

    gateway.apply(|| {
        directory.remove("fault");
        directory.put(&light_route("other"));
    });
    gateway.wait_said(mark, "INFO", " now");
    for worker in workers() {
        CountedSession::begin(&gateway, worker, "LIGHT", &other).exchange();
    }
    exchange(&mut live);
    assert!(!is_spoiled(&gateway));
    assert_eq!(reloads(&gateway), 0);
}

#[test]
fn a_table_on_which_one_worker_traps_spoils_nothing_and_its_vm_comes_back_with_that_table() {
    let (light, other) = (EchoEngine::start("light"), EchoEngine::start("other"));
    let directory = Directory::of(&[light_route("light")]);
    let gateway = gateway(&directory, &[("light", &light), ("other", &other)]);
    let mut live = on_each(&gateway, &light);
    arm(&gateway, 0, "TRAP-ON-TABLE");
    let mark = gateway.mark();
    directory.put(&table_with_fault());
    bring_back(&gateway, 0, &light);
    gateway.wait_applied(mark);
    for worker in workers() {
        CountedSession::begin(&gateway, worker, "FAULT", &other).exchange();
    }
    end_at_their_next_byte(live.remove(0));
    exchange(&mut live);
    // The next one goes the usual way.
    gateway.apply(|| directory.put(&light_route("other")));
    for worker in workers() {
        CountedSession::begin(&gateway, worker, "LIGHT", &other).exchange();
    }
    exchange(&mut live);
    assert!(!is_spoiled(&gateway));
}

#[test]
fn a_module_that_is_rebuilt_under_a_running_gateway_keeps_no_table_back() {
    let (light, other) = (EchoEngine::start("light"), EchoEngine::start("other"));
    let directory = Directory::of(&[Route::new("light", "light").value("SenderCompID49", "LIGHT")]);
    let build = Directory::new();
    let module = build.path().join("filter.wasm");
    std::fs::copy(tool::filter(), &module).unwrap();
    let gateway = Setup::over(&directory)
        .filter(&module)
        .endpoint("light", light.address())
        .endpoint("other", other.address())
        .start();
    let logon = fix::logon("FIX.4.4", "LIGHT", "VENUE", &[]);
    assert_eq!(engine_of(&gateway, &logon), "light");
    std::fs::copy(tool::filter_with_faults(), &module).unwrap();
    gateway.apply(|| directory.put(&Route::new("light", "other").value("SenderCompID49", "LIGHT")));
    assert_eq!(engine_of(&gateway, &logon), "other");
}
