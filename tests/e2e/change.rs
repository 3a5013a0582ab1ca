//! Does any change of the configuration, or the loss of the control plane, touch a live session?

use std::sync::atomic::{AtomicBool, Ordering};

use fixgw_e2e::apart::{self, Apart};
use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup, VMS};
use fixgw_e2e::peer::{Engine, Peer, Session};
use fixgw_e2e::process::{Ending, Gathering, Process, kind, signal_pid, text};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::unbroken::LiveSession;
use rustix::process::Signal;
use serde_json::Value;

use crate::routing::engine_of;

/// Two engines, each behind a tap, and a gateway with one route `broker` to the first of them.
struct Scene {
    directory: Directory,
    first: Engine,
    first_tap: Tap,
    second: Engine,
    second_tap: Tap,
    gateway: Gateway,
}

/// The session that is live while something changes.
fn live_session() -> Session {
    Session::new("FIX.4.4", "BROKER", "LIVE")
}

/// A session of the same counterparty that begins after the change.
fn later_session() -> Session {
    Session::new("FIX.4.4", "BROKER", "LATER")
}

fn broker_to(service: &str) -> Route {
    Route::new("broker", service).value("SenderCompID49", "BROKER")
}

impl Scene {
    fn set() -> Self {
        let sessions = [live_session(), later_session()];
        let (first, second) = (
            Peer::engine("first", &sessions),
            Peer::engine("second", &sessions),
        );
        let (first_tap, second_tap) = (Tap::before(first.address()), Tap::before(second.address()));
        let directory = Directory::of(&[broker_to("first")]);
        let gateway = Setup::over(&directory)
            .endpoint("first", first_tap.address())
            .endpoint("second", second_tap.address())
            .start();
        Self {
            directory,
            first,
            first_tap,
            second,
            second_tap,
            gateway,
        }
    }

    /// The session that is live while something changes, logged on at the first engine.
    fn live<'a>(&'a self, counterparty: &'a Peer) -> LiveSession<'a> {
        LiveSession::begin(&live_session(), counterparty, &self.first, &self.first_tap)
    }

    fn counterparty(&self, session: Session) -> Peer {
        Peer::counterparty("counterparty", self.gateway.address(), &[session])
    }
}

#[test]
fn an_edited_file_leads_the_next_logon_elsewhere_and_leaves_the_live_session_unbroken() {
    let scene = Scene::set();
    let counterparty = scene.counterparty(live_session());
    let mut live = scene.live(&counterparty);
    live.exchange(5);
    scene
        .gateway
        .apply(|| scene.directory.put(&broker_to("second")));
    let later = Peer::counterparty("later", scene.gateway.address(), &[later_session()]);
    scene.second.wait_logon(&later_session().at_engine());
    later.wait_logon(&later_session().at_counterparty());
    live.assert_unbroken();
    assert_eq!(scene.second_tap.accepted(), 1);
    live.log_out();
}

#[test]
fn an_added_file_gives_a_new_counterparty_its_engine_and_leaves_the_live_session_unbroken() {
    let scene = Scene::set();
    let counterparty = scene.counterparty(live_session());
    let mut live = scene.live(&counterparty);
    let light = EchoEngine::start("light");
    scene.gateway.apply(|| {
        scene.directory.put_service("light", &[light.address()]);
        scene
            .directory
            .put(&Route::new("fund", "light").value("SenderCompID49", "FUND"));
    });
    assert_eq!(
        engine_of(&scene.gateway, &fix::logon("FIX.4.4", "FUND", "VENUE", &[])),
        "light"
    );
    live.assert_unbroken();
}

#[test]
fn a_deleted_file_refuses_the_next_logon_and_leaves_the_live_session_unbroken() {
    let scene = Scene::set();
    let counterparty = scene.counterparty(live_session());
    let mut live = scene.live(&counterparty);
    live.exchange(5);
    scene.gateway.apply(|| scene.directory.remove("broker"));
    let mut refused = RawClient::connect(scene.gateway.address());
    refused.send(&fix::logon("FIX.4.4", "BROKER", "LATER", &[]));
    let logout = fix::read(&refused.take_to_end());
    assert_eq!(fix::value(&logout, 35), Some("5"));
    live.assert_unbroken();
    // And once more: the cluster, too, has had its time to go.
    scene.gateway.apply(|| {
        scene
            .directory
            .put(&Route::new("other", "second").value("SenderCompID49", "OTHER"));
    });
    live.assert_unbroken();
}

#[test]
fn a_session_outlives_its_route_its_service_its_endpoints_and_its_cluster() {
    let session = live_session();
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before(engine.address());
    let other = EchoEngine::start("other");
    let directory = Directory::of(&[
        broker_to("engine"),
        Route::new("other", "other").value("SenderCompID49", "OTHER"),
    ]);
    directory.put_service("engine", &[tap.address()]);
    directory.put_service("other", &[other.address()]);
    let gateway = Setup::over(&directory).admin().start();
    let removed = || gateway.statistics()["cluster_manager.cluster_removed"];
    let removed_before = removed();
    let counterparty = Peer::counterparty(
        "counterparty",
        gateway.address(),
        std::slice::from_ref(&session),
    );
    let mut live = LiveSession::begin(&session, &counterparty, &engine, &tap);
    live.exchange(5);
    gateway.apply(|| {
        for object in ["broker", "engine-service", "engine-endpoints"] {
            directory.remove(object);
        }
    });
    fixgw_e2e::process::wait_until("the cluster to go", || {
        (removed() > removed_before).then_some(())
    });
    live.exchange(5);
    live.assert_unbroken();
    // And back again.
    directory.put_service("engine", &[tap.address()]);
    gateway.apply(|| directory.put(&broker_to("engine")));
    live.assert_unbroken();
    assert_eq!(
        engine_of(&gateway, &fix::logon("FIX.4.4", "OTHER", "VENUE", &[])),
        "other"
    );
}

#[test]
fn a_logon_that_began_before_an_edit_is_decided_by_the_table_at_its_end() {
    let (first, second) = (EchoEngine::start("first"), EchoEngine::start("second"));
    let directory = Directory::of(&[broker_to("first")]);
    let gateway = Setup::over(&directory)
        .endpoint("first", first.address())
        .endpoint("second", second.address())
        .start();
    let logon = fix::logon("FIX.4.4", "BROKER", "VENUE", &[]);
    let (begun, held_back) = logon.split_at(logon.len() - 1);
    // One on each worker.
    let mut clients = [
        RawClient::connect(gateway.address()),
        RawClient::connect(gateway.address()),
    ];
    for client in &mut clients {
        client.send(begun);
    }
    gateway.apply(|| directory.put(&broker_to("second")));
    for client in &mut clients {
        client.send(held_back);
        assert_eq!(client.take_greeting(), "second");
        assert_eq!(client.take(logon.len()), logon);
    }
    assert_eq!(first.received(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_moved_endpoint_takes_the_next_logon_and_leaves_the_live_one_where_it_is() {
    let (old, new) = (EchoEngine::start("old"), EchoEngine::start("new"));
    let directory = Directory::of(&[broker_to("engine")]);
    directory.put_service("engine", &[old.address()]);
    let gateway = Setup::over(&directory).start();
    let logon = fix::logon("FIX.4.4", "BROKER", "VENUE", &[]);
    let mut live = RawClient::connect(gateway.address());
    live.send(&logon);
    assert_eq!(live.take_greeting(), "old");
    directory.put_service("engine", &[new.address()]);
    fixgw_e2e::process::wait_until("the new endpoint", || {
        (engine_of(&gateway, &logon) == "new").then_some(())
    });
    live.send(b"still here");
    assert_eq!(
        live.take(logon.len() + 10),
        [logon.as_slice(), b"still here"].concat()
    );
    assert_eq!(
        old.received()[0],
        [logon.as_slice(), b"still here"].concat()
    );
}

#[test]
fn the_control_plane_is_killed_and_restarted_under_a_live_session() {
    let scene = Scene::set();
    let light = EchoEngine::start("light");
    scene.gateway.apply(|| {
        scene.directory.put_service("light", &[light.address()]);
        scene
            .directory
            .put(&Route::new("fund", "light").value("SenderCompID49", "FUND"));
    });
    let fund = fix::logon("FIX.4.4", "FUND", "VENUE", &[]);
    let counterparty = scene.counterparty(live_session());
    let mut live = scene.live(&counterparty);
    live.exchange(5);
    // Held: it neither serves nor restarts while the next Logon is decided.
    signal_pid(scene.gateway.child("control"), Signal::STOP);
    assert_eq!(engine_of(&scene.gateway, &fund), "light");
    live.exchange(1);
    let mark = scene.gateway.mark();
    scene.gateway.kill_child("control");
    assert_eq!(engine_of(&scene.gateway, &fund), "light");
    live.exchange(1);
    scene
        .gateway
        .process()
        .wait_after(mark, "the control plane's restart", |event| {
            kind(event) == "child" && text(event, "name") == "control"
        });
    // It is there again when an edit takes effect on every worker.
    scene
        .gateway
        .apply(|| scene.directory.put(&broker_to("second")));
    let later = Peer::counterparty("later", scene.gateway.address(), &[later_session()]);
    later.wait_logon(&later_session().at_counterparty());
    assert_eq!(scene.second_tap.accepted(), 1);
    live.assert_unbroken();
}

/// So many that each worker has its half, and so often that a lost byte would show.
const SESSIONS: usize = 40;
const EDITS: usize = 20;

#[test]
fn the_control_plane_dies_while_the_directory_is_away_and_the_session_goes_on() {
    let scene = Scene::set();
    let counterparty = scene.counterparty(live_session());
    let mut live = scene.live(&counterparty);
    let away = scene.directory.path().with_extension("away");
    std::fs::rename(scene.directory.path(), &away).unwrap();
    let mark = scene.gateway.mark();
    scene.gateway.kill_child("control");
    // Started again in vain, and then once more: the first refusal has been heard.
    let started =
        |event: &serde_json::Value| kind(event) == "child" && text(event, "name") == "control";
    scene
        .gateway
        .process()
        .wait_all("two starts of the control plane", |events| {
            (events
                .get(mark..)?
                .iter()
                .filter(|event| started(event))
                .count()
                >= 2)
                .then_some(())
        });
    live.assert_unbroken();
    std::fs::rename(&away, scene.directory.path()).unwrap();
    scene
        .gateway
        .apply(|| scene.directory.put(&broker_to("second")));
    let later = Peer::counterparty("later", scene.gateway.address(), &[later_session()]);
    scene.second.wait_logon(&later_session().at_engine());
    later.wait_logon(&later_session().at_counterparty());
    live.assert_unbroken();
}

#[test]
fn twenty_edits_under_forty_talking_sessions_lose_no_byte() {
    let (light, other) = (EchoEngine::start("light"), EchoEngine::start("other"));
    let directory = Directory::of(&[broker_to("light")]);
    let gateway = Setup::over(&directory)
        .endpoint("light", light.address())
        .endpoint("other", other.address())
        .arguments(["--settle-quiet-ms", "10"])
        .start();
    let logon = fix::logon("FIX.4.4", "BROKER", "VENUE", &[]);
    let (live, edited) = (Gathering::of(SESSIONS + 1), AtomicBool::new(false));
    let sent: usize = std::thread::scope(|scope| {
        let talk = || {
            let mut client = RawClient::connect(gateway.address());
            client.send(&logon);
            assert_eq!(client.take_greeting(), "light");
            assert_eq!(client.take(logon.len()), logon);
            live.arrive();
            let mut sent = logon.len();
            let mut number = 2;
            while !edited.load(Ordering::Acquire) {
                let order = fix::order("FIX.4.4", "BROKER", "VENUE", number, number);
                client.send(&order);
                assert_eq!(client.take(order.len()), order);
                sent += order.len();
                number += 1;
            }
            sent
        };
        let ending = Ending(&edited);
        let talkers: Vec<_> = (0..SESSIONS).map(|_| scope.spawn(talk)).collect();
        live.arrive();
        for edit in 0..EDITS {
            let service = if edit % 2 == 0 { "other" } else { "light" };
            gateway.apply(|| directory.put(&broker_to(service)));
        }
        drop(ending);
        talkers
            .into_iter()
            .map(|talker| talker.join().expect("no session ends"))
            .sum()
    });
    let received = light.received();
    assert_eq!(received.len(), SESSIONS, "nobody connected a second time");
    assert_eq!(
        received.iter().map(Vec::len).sum::<usize>(),
        sent,
        "bytes of both ends agree"
    );
}

#[test]
fn a_control_plane_that_restarts_over_an_unchanged_directory_changes_nothing() {
    let scene = Scene::set();
    let counterparty = scene.counterparty(live_session());
    let mut live = scene.live(&counterparty);
    for _ in 0..3 {
        let mark = scene.gateway.mark();
        scene.gateway.kill_child("control");
        scene.gateway.wait_applied(mark);
        live.exchange(2);
    }
    live.assert_unbroken();
}

/// Changes something while the second of two gateways stands still, and waits until every VM of both has it: `applied` is told
/// then, and not before.
fn applied_at_both(gateways: &Apart, change: impl FnOnce()) -> Value {
    let is_applied = |event: &Value| kind(event) == "applied";
    let first = format!("proxy `{}` uses ", apart::node_id(0));
    gateways.signal(1, Signal::STOP);
    let mark = gateways.hear(Process::mark);
    change();
    let has_it = |events: &[Value]| {
        let later = events.get(mark..).unwrap_or_default().iter();
        let used = later.filter(|event| text(event, "message").starts_with(&first));
        (used.count() as u64 >= VMS).then_some(())
    };
    let between = gateways.hear(|control| {
        control.wait_all("the first gateway's VMs to use it", has_it);
        // Its record arrives later than what would be told too early.
        let mut other = RawClient::connect(gateways.address());
        other.send(&fix::logon("FIX.4.4", "OTHER", "VENUE", &[]));
        let source = other.address().to_string();
        control.wait_after(mark, "the decision", |event| {
            text(event, "source") == source
        });
        control.events().len()
    });
    let told = gateways.hear(Process::events);
    let early = told[mark..between].iter().find(|event| is_applied(event));
    assert_eq!(early, None, "the second gateway stands still");
    gateways.signal(1, Signal::CONT);
    let applied = gateways.hear(|control| control.wait_after(between, "`applied`", is_applied));
    assert_eq!(applied["vms"].as_u64(), Some(2 * VMS));
    applied
}

#[test]
fn what_two_gateways_get_of_one_control_plane_is_applied_when_every_vm_of_both_has_it() {
    let engine = EchoEngine::start("engine");
    let other = Route::new("other", "other").value("SenderCompID49", "OTHER");
    let directory = Directory::of(&[broker_to("engine"), other]);
    directory.put_service("engine", &[engine.address()]);
    let gateways = Apart::start_several(2, &directory, &[("other", engine.address())]);
    let first = gateways.revision();
    let table = applied_at_both(&gateways, || directory.put(&broker_to("other")));
    assert!(table["revision"].as_u64() > Some(first));
    // Nothing of the table, and a readiness of which each stream counts the version for itself.
    directory.put(&broker_to("engine"));
    let table = gateways.hear(|control| {
        let newer = |event: &Value| event["revision"].as_u64() > table["revision"].as_u64();
        control.wait_for("the table before", |event| {
            kind(event) == "applied" && newer(event)
        })
    });
    let endpoints = applied_at_both(&gateways, || directory.put_service("engine", &[]));
    assert_eq!(endpoints["revision"], table["revision"]);
    assert!(endpoints["readiness"].as_u64() > table["readiness"].as_u64());
}

#[test]
fn an_invalid_file_is_named_with_line_object_and_field_and_the_others_go_on() {
    let (first, second) = (EchoEngine::start("first"), EchoEngine::start("second"));
    let directory = Directory::of(&[
        broker_to("first"),
        Route::new("fund", "first").value("SenderCompID49", "FUND"),
    ]);
    let gateway = Setup::over(&directory)
        .endpoint("first", first.address())
        .endpoint("second", second.address())
        .start();
    let mark = gateway.mark();
    let misspelt = broker_to("second")
        .yaml()
        .replace("matchFields", "matchFeilds");
    let line = misspelt
        .lines()
        .position(|line| line.contains("matchFeilds"))
        .unwrap()
        + 1;
    directory.write("broker", &misspelt);
    let message = gateway.wait_object(mark, "the message about the file", |event| {
        text(event, "file").ends_with("broker.yaml")
    });
    assert_eq!(message["line"].as_u64(), Some(line as u64), "{message}");
    assert!(
        text(&message, "object").contains("trading/broker"),
        "{message}"
    );
    assert!(message.to_string().contains("matchFeilds"), "{message}");
    // Another edit takes effect; the broken object counts as it was last accepted.
    gateway.apply(|| directory.put(&Route::new("fund", "second").value("SenderCompID49", "FUND")));
    assert_eq!(
        engine_of(&gateway, &fix::logon("FIX.4.4", "FUND", "VENUE", &[])),
        "second"
    );
    assert_eq!(
        engine_of(&gateway, &fix::logon("FIX.4.4", "BROKER", "VENUE", &[])),
        "first"
    );
    // Mended, it takes effect too.
    gateway.apply(|| directory.put(&broker_to("second")));
    assert_eq!(
        engine_of(&gateway, &fix::logon("FIX.4.4", "BROKER", "VENUE", &[])),
        "second"
    );
}

#[test]
fn a_session_without_a_target_and_a_file_that_is_no_yaml_stop_nobody() {
    let light = EchoEngine::start("light");
    let directory = Directory::of(&[Route::new("good", "light").value("SenderCompID49", "GOOD")]);
    let targetless = Route::new("targetless", "light")
        .value("SenderCompID49", "BAD")
        .yaml();
    directory.write("targetless", targetless.split("  target").next().unwrap());
    directory.write("garbage", "apiVersion: [unclosed\n\tkind: {{{");
    let gateway = Setup::over(&directory)
        .endpoint("light", light.address())
        .start();
    let targetless = gateway.wait_object(0, "the message about `target`", |event| {
        text(event, "file").ends_with("targetless.yaml")
    });
    assert!(targetless.to_string().contains("target"), "{targetless}");
    assert!(
        text(&targetless, "object").contains("trading/targetless"),
        "{targetless}"
    );
    let garbage = gateway.wait_object(0, "the message about the garbage", |event| {
        text(event, "file").ends_with("garbage.yaml")
    });
    assert!(
        garbage["line"].as_u64().is_some_and(|line| line >= 1),
        "{garbage}"
    );
    assert_eq!(
        engine_of(&gateway, &fix::logon("FIX.4.4", "GOOD", "VENUE", &[])),
        "light"
    );
}

#[test]
fn two_routes_that_contradict_each_other_leave_the_accepted_table_as_it_is() {
    let (first, second) = (EchoEngine::start("first"), EchoEngine::start("second"));
    let directory = Directory::of(&[broker_to("first")]);
    let gateway = Setup::over(&directory)
        .endpoint("first", first.address())
        .endpoint("second", second.address())
        .start();
    let mark = gateway.mark();
    directory.put(&Route::new("rival", "second").value("SenderCompID49", "BROKER"));
    let conflict = gateway.wait_object(mark, "the conflict", |event| {
        text(event, "severity") == "CRITICAL"
    });
    let told = conflict.to_string();
    assert!(
        told.contains("trading/rival") && told.contains("trading/broker"),
        "{told}"
    );
    assert_eq!(
        engine_of(&gateway, &fix::logon("FIX.4.4", "BROKER", "VENUE", &[])),
        "first"
    );
    gateway.apply(|| {
        directory.put(&Route::new("rival", "second").value("SenderCompID49", "RIVAL"));
    });
    assert_eq!(
        engine_of(&gateway, &fix::logon("FIX.4.4", "RIVAL", "VENUE", &[])),
        "second"
    );
}

/// All routes in one file, so that a change of several is one change.
fn put_all(directory: &Directory, routes: &[Route]) {
    let all: Vec<String> = routes.iter().map(Route::yaml).collect();
    directory.write("all", &all.join("---\n"));
}

fn route_of(broker: &str, service: &str) -> Route {
    Route::new(&broker.to_lowercase(), service).value("SenderCompID49", broker)
}

#[test]
fn a_conflict_holds_its_own_routes_alone_where_that_is_the_policy_and_after_a_restart_as_well() {
    let sessions = [live_session(), later_session()];
    let engine = Peer::engine("engine", &sessions);
    let tap = Tap::before(engine.address());
    let (first, second) = (EchoEngine::start("first"), EchoEngine::start("second"));
    let directory = Directory::new();
    let [broker, gone] = [route_of("BROKER", "engine"), route_of("GONE", "first")];
    let [fund, desk] = ["FUND", "DESK"].map(|name| route_of(name, "first"));
    put_all(&directory, &[broker.clone(), fund, desk, gone]);
    let gateway = Setup::over(&directory)
        .endpoint("engine", tap.address())
        .endpoint("first", first.address())
        .endpoint("second", second.address())
        .arguments(["--conflict-policy", "HoldConflicting"])
        .start();
    let logon = |broker: &str| fix::logon("FIX.4.4", broker, "VENUE", &[]);
    let counterparty = Peer::counterparty("counterparty", gateway.address(), &sessions[..1]);
    let mut live = LiveSession::begin(&sessions[0], &counterparty, &engine, &tap);
    live.exchange(5);
    let conflicts = || -> Vec<serde_json::Value> {
        let events = gateway.process().events().into_iter();
        events
            .filter(|event| kind(event) == "object" && text(event, "severity") == "CRITICAL")
            .collect()
    };

    // One route is renamed to what another one has; one moves, one is new, and one goes.
    let rival = Route::new("fund", "second").value("SenderCompID49", "BROKER");
    let desk = route_of("DESK", "second");
    let written = [
        broker.clone(),
        rival,
        desk.clone(),
        route_of("NEWCOMER", "first"),
    ];
    gateway.apply(|| put_all(&directory, &written));
    let holds = || {
        let engines = ["FUND", "DESK", "NEWCOMER"].map(|name| engine_of(&gateway, &logon(name)));
        assert_eq!(engines, ["first", "second", "first"]);
        let mut refused = RawClient::connect(gateway.address());
        refused.send(&logon("GONE"));
        let logout = fix::read(&refused.take_to_end());
        assert_eq!(fix::value(&logout, 35), Some("5"));
    };
    holds();
    let told = conflicts();
    assert_eq!(told.len(), 1, "{told:?}");
    for part in [
        "trading/fund",
        "trading/broker",
        "both stay at their last accepted form",
    ] {
        assert!(told[0].to_string().contains(part), "{part}: {}", told[0]);
    }

    // The control plane that comes after it holds the same, and says so anew.
    let mark = gateway.mark();
    gateway.kill_child("control");
    let applied = gateway.wait_applied(mark);
    holds();
    assert_eq!(conflicts().len(), 2);
    let later = Peer::counterparty("later", gateway.address(), &sessions[1..]);
    later.wait_logon(&later_session().at_counterparty());
    engine.wait_logon(&later_session().at_engine());

    // Others go on changing, and nothing is said again.
    let mut written = written;
    written[3] = route_of("NEWCOMER", "second");
    let changed = gateway.apply(|| put_all(&directory, &written));
    assert!(changed["revision"].as_u64() > applied["revision"].as_u64());
    assert_eq!(engine_of(&gateway, &logon("NEWCOMER")), "second");
    assert_eq!(conflicts().len(), 2);

    // Mended, it takes effect.
    let mark = gateway.mark();
    written[1] = route_of("FUND", "second");
    gateway.apply(|| put_all(&directory, &written));
    assert_eq!(engine_of(&gateway, &logon("FUND")), "second");
    let resolved = gateway.wait_object(mark, "the end of the conflict", |event| {
        text(event, "message").starts_with("resolved: ")
    });
    assert_eq!(text(&resolved, "severity"), "INFO");
    assert!(
        text(&resolved, "object").contains("trading/fund"),
        "{resolved}"
    );
    assert_eq!(conflicts().len(), 2);
    live.exchange(5);
    live.assert_unbroken();
}
