//! Do honest sessions go on while a thousand clients drip, say nothing, come and go without end, or take all the room?
//!
//! With every kind at once, until the first generation has met its deadline. `make attack` runs it for longer
//! and each kind by itself as well: `FIXGW_STORM_SECONDS=60 FIXGW_STORM_KINDS=drip,silence,reset`.

use std::time::{Duration, Instant};

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::hostile::{CROWD, Conduct, Crowd};
use fixgw_e2e::memory::Memory;
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::{EVENT_WAIT_MAX, Stream, kind, text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::unbroken::LiveSession;
use serde_json::Value;

/// The deadline of a Logon, at the least.
const SECONDS: u64 = 10;
/// Sessions with the light engine that speak all the while.
const STEADY: usize = 20;
/// Between two rounds of the honest.
const BREATH: Duration = Duration::from_millis(50);
/// What Envoy's memory may grow by: for each of two crowds that stay, as many bytes as a connection that waits for its
/// Logon may keep (`per_connection_buffer_limit_bytes`).
const GROWTH_MAX_KB: u64 = 2 * CROWD as u64 * 64;

fn seconds() -> Duration {
    let asked = std::env::var("FIXGW_STORM_SECONDS").ok();
    let asked = asked.map(|text| text.parse().expect("FIXGW_STORM_SECONDS is a number"));
    Duration::from_secs(asked.unwrap_or(SECONDS))
}

fn kinds() -> Vec<Conduct> {
    let Ok(asked) = std::env::var("FIXGW_STORM_KINDS") else {
        return Conduct::ALL.to_vec();
    };
    let named = |name: &str| {
        Conduct::ALL
            .into_iter()
            .find(|conduct| conduct.name() == name)
            .unwrap_or_else(|| panic!("FIXGW_STORM_KINDS names {name}"))
    };
    asked.split(',').map(named).collect()
}

fn assert_bounded(memory: &Memory) {
    let (name, before) = (memory.name(), memory.before_kb());
    let (highest, after) = (memory.highest_kb(), memory.now_kb());
    println!("memory of {name}: {before} kB before, {highest} kB at most, {after} kB after");
    assert!(highest < before + GROWTH_MAX_KB, "{name}");
}

/// A session with the light engine that remembers what it has sent.
struct Steady {
    client: RawClient,
    orders: u32,
    sent: Vec<u8>,
}

impl Steady {
    fn begin(gateway: &Gateway) -> Self {
        let logon = fix::logon("FIX.4.4", "LIGHT", "VENUE", &[]);
        let mut client = RawClient::connect(gateway.address());
        client.send(&logon);
        assert_eq!(client.take_greeting(), "light");
        assert_eq!(client.take(logon.len()), logon);
        Self {
            client,
            orders: 0,
            sent: logon,
        }
    }

    fn speak(&mut self) {
        self.orders += 1;
        let order = fix::order("FIX.4.4", "LIGHT", "VENUE", self.orders + 1, self.orders);
        self.client.send(&order);
        assert_eq!(self.client.take(order.len()), order);
        self.sent.extend(order);
    }
}

fn decisions_from(gateway: &Gateway, conduct: Conduct) -> Vec<Value> {
    let source = format!("{}:", conduct.source());
    let mut decisions = gateway.decisions();
    decisions.retain(|decision| text(decision, "source").starts_with(&source));
    decisions
}

/// The newest of the gateway's counts.
fn counted(gateway: &Gateway, count: &str) -> u64 {
    let events = gateway.process().events();
    let newest = events.iter().rev().find(|event| kind(event) == "counts");
    newest
        .and_then(|event| event[count].as_u64())
        .unwrap_or_default()
}

/// Whether the gateway has closed as many as there are in a crowd that stays.
fn has_met_the_deadline(crowd: &Crowd) -> bool {
    crowd.conduct() == Conduct::Reset || crowd.toll().closed() >= CROWD as u64
}

/// Each hostile client has a record, or, when it had not sent a byte, is in a count; and is there once.
fn assert_all_accounted_for(gateway: &Gateway, crowds: &[Crowd]) {
    let opened: u64 = crowds.iter().map(|crowd| crowd.toll().opened()).sum();
    let accounted = || {
        let records = |crowd: &Crowd| decisions_from(gateway, crowd.conduct()).len() as u64;
        let counts = counted(gateway, "silentConnections") + counted(gateway, "recordsDropped");
        counts + crowds.iter().map(records).sum::<u64>()
    };
    wait_until("word of each", || (accounted() >= opened).then_some(()));
    for crowd in crowds {
        let (toll, records) = (crowd.toll(), decisions_from(gateway, crowd.conduct()));
        let of = |reason: &str| {
            let those = records.iter();
            let those = those.filter(|record| text(record, "reason") == reason);
            those.count() as u64
        };
        let name = crowd.conduct().name();
        let (late, cut) = (of("logon_timeout"), of("incomplete_logon"));
        println!(
            "{name}: {} connected, {} turned away, {} closed by the gateway; records: {late} of a timeout, {cut} of an incomplete Logon",
            toll.opened(),
            toll.turned_away(),
            toll.closed(),
        );
        assert_eq!(late + cut, records.len() as u64, "{name}: other reasons");
        assert!(
            late >= toll.closed(),
            "{name}: none is closed before its deadline"
        );
    }
    println!(
        "{} came and went silently, {} records were dropped",
        counted(gateway, "silentConnections"),
        counted(gateway, "recordsDropped")
    );
    assert_eq!(accounted(), opened, "each once");
}

#[test]
fn hostile_crowds_break_no_honest_session_and_keep_no_new_one_out() {
    let sessions = ["BEFORE", "AMID"].map(|sender| Session::new("FIX.4.4", sender, "VENUE"));
    let engine = Peer::engine("engine", &sessions);
    let tap = Tap::before(engine.address());
    let light = EchoEngine::start("light");
    let directory = Directory::of(&[
        Route::new("before", "engine").value("SenderCompID49", "BEFORE"),
        Route::new("amid", "engine").value("SenderCompID49", "AMID"),
        Route::new("light", "light").value("SenderCompID49", "LIGHT"),
    ]);
    let gateway = Setup::over(&directory)
        .endpoint("engine", tap.address())
        .endpoint("light", light.address())
        .admin()
        .start();
    let counterparty = |session: &Session| {
        let name = session.sender();
        Peer::counterparty(name, gateway.address(), std::slice::from_ref(session))
    };
    let [before, amid] = &sessions;
    let first = counterparty(before);
    let second;
    let mut live = vec![LiveSession::begin(before, &first, &engine, &tap)];
    let mut steady: Vec<Steady> = (0..STEADY).map(|_| Steady::begin(&gateway)).collect();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let memory = ["envoy", "control"].map(|name| Memory::of(name, gateway.child(name)));

    let (begin, length) = (Instant::now(), seconds());
    let crowd = |conduct| Crowd::against(gateway.address(), conduct);
    let mut crowds: Vec<Crowd> = kinds().into_iter().map(crowd).collect();
    wait_until("the crowds to be there", || {
        let there = |crowd: &Crowd| crowd.toll().opened() >= CROWD as u64;
        crowds.iter().all(there).then_some(())
    });
    // A real counterparty that comes in the middle of it.
    second = counterparty(amid);
    live.push(LiveSession::begin(amid, &second, &engine, &tap));
    let mut answered = Vec::new();
    while begin.elapsed() < length || !crowds.iter().all(has_met_the_deadline) {
        let waited = begin.elapsed();
        assert!(
            waited < length + EVENT_WAIT_MAX,
            "some stay beyond their deadline"
        );
        let arrived = Instant::now();
        let newcomer = Steady::begin(&gateway);
        answered.push(arrived.elapsed());
        sent.push(newcomer.sent);
        steady.iter_mut().for_each(Steady::speak);
        for session in &mut live {
            session.exchange(1);
        }
        std::thread::sleep(BREATH);
    }
    println!("\nfor {} s:", begin.elapsed().as_secs());
    crowds.iter_mut().for_each(Crowd::disperse);
    assert_all_accounted_for(&gateway, &crowds);

    // What the honest sent has arrived, once.
    for session in &mut live {
        println!("QuickFIX, unbroken: {:?}", session.assert_unbroken());
    }
    answered.sort();
    println!(
        "{STEADY} steady sessions, {} orders each; {} newcomers, answered after {:?} (median), {:?} (slowest)",
        answered.len(),
        answered.len(),
        answered[answered.len() / 2],
        answered[answered.len() - 1],
    );
    let honest = (live.len() + steady.len()) as u64;
    sent.extend(steady.iter().map(|session| session.sent.clone()));
    let mut received = light.received();
    sent.sort();
    received.sort();
    assert_eq!(received, sent, "what the light engine got");

    let open = "listener.main.downstream_cx_active";
    wait_until("the crowds' connections to be gone", || {
        (gateway.statistics()[open] == honest).then_some(())
    });
    memory.iter().for_each(assert_bounded);
}

/// Files that each process may open in the test of a full gateway.
const FILES: usize = 1024;
/// What that is enough for: four for each connection, beside 128 and 16 for each worker.
const FULL: usize = (FILES - 128 - 16 * 2) / 4;

/// Without a bound, Envoy 1.40 dies of SIGSEGV here, and takes every session along.
#[test]
fn a_full_gateway_turns_new_ones_away_and_keeps_its_sessions() {
    let light = EchoEngine::start("light");
    let directory = Directory::of(&[Route::new("light", "light").value("SenderCompID49", "LIGHT")]);
    let gateway = Setup::over(&directory)
        .endpoint("light", light.address())
        .files(FILES)
        .start();
    let mut first = Steady::begin(&gateway);
    // All are there before any has sent its Logon: each needs a second file then.
    let mut crowd: Vec<RawClient> = (0..2 * FULL)
        .map(|_| RawClient::connect(gateway.address()))
        .collect();
    let logon = fix::logon("FIX.4.4", "LIGHT", "VENUE", &[]);
    for client in &mut crowd {
        client.send_unless_closed(&logon);
    }
    crowd.retain_mut(|client| !client.take_some().is_empty());
    assert_eq!(
        crowd.len(),
        FULL - 1,
        "each has its engine, or is turned away"
    );
    gateway.wait_said(0, "WARN", &format!("on main refused: {FULL} are open"));
    first.speak();
    crowd.clear();
    wait_until("room for a new one", || {
        let mut client = RawClient::connect(gateway.address());
        client.send_unless_closed(&logon);
        (!client.take_some().is_empty()).then_some(())
    });
    first.speak();
    assert_eq!(
        gateway.children().len(),
        3,
        "nothing had to be started again"
    );
}

#[test]
fn with_too_few_files_nothing_is_started() {
    let directory = Directory::new();
    let mut gateway = Setup::over(&directory).files(300).spawn();
    let status = gateway.process_mut().wait_exit();
    assert_eq!(status.code(), Some(2));
    let said = gateway.process().output().text(Stream::Err);
    assert!(
        said.contains("may open 300 files, which is enough for 35 connections"),
        "{said}"
    );
    assert_eq!(gateway.children(), Vec::<u32>::new());
}
