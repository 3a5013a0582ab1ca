//! Does the gateway know who is connected, and say so of sessions whose route is gone?

use std::process::{Command, Output};
use std::time::Instant;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::process::{kind, text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tool;
use serde_json::Value;

fn logon(sender: &str) -> Vec<u8> {
    fix::logon("FIX.4.4", sender, "VENUE", &[])
}

fn route(name: &str, service: &str) -> Route {
    Route::new(name, service).value("SenderCompID49", &name.to_uppercase())
}

/// What `fixgw status` says of a gateway.
fn ask(gateway: &Gateway, arguments: &[&str]) -> Output {
    let mut command = Command::new(tool::program("fixgw"));
    command
        .arg("status")
        .arg("--state-dir")
        .arg(gateway.state());
    command.args(arguments).output().expect("it can be run")
}

/// The same as JSON; none while nobody answers.
fn status(gateway: &Gateway) -> Option<Value> {
    let output = ask(gateway, &["--json"]);
    let status = output.status.success();
    status.then(|| serde_json::from_slice(&output.stdout).expect("it says JSON"))
}

/// Active, on the old target, held, orphaned.
fn counts(of: &Value) -> [u64; 4] {
    ["active", "onOldTarget", "held", "orphaned"].map(|key| of[key].as_u64().expect("a count"))
}

/// Waits until a route has these counts. They are to be exact within two seconds; a busy machine is not to fail for it, so how
/// long it took is printed.
fn wait_counts(gateway: &Gateway, name: &str, wanted: [u64; 4]) -> Value {
    let name = format!("trading/{name}");
    let begun = Instant::now();
    let status = wait_until(&format!("{wanted:?} of {name}"), || {
        let status = status(gateway)?;
        let routes = status["routes"].as_array()?;
        let route = routes.iter().find(|route| text(route, "route") == name);
        let found = route.map_or([0; 4], counts);
        (found == wanted).then_some(status)
    });
    println!("{wanted:?} of {name} after {:?}", begun.elapsed());
    status
}

/// Sessions of a route that are live.
fn live(gateway: &Gateway, sender: &str, engine: &str, count: usize) -> Vec<RawClient> {
    let begin = |_| {
        let mut client = RawClient::connect(gateway.address());
        client.send(&logon(sender));
        assert_eq!(client.take_greeting(), engine);
        assert_eq!(client.take(logon(sender).len()), logon(sender));
        client
    };
    (0..count).map(begin).collect()
}

fn still_speak(clients: &mut [RawClient]) {
    for client in clients {
        client.send(b"still here");
        assert_eq!(client.take(10), b"still here");
    }
}

/// What was said of an object, by severity.
fn said_of(gateway: &Gateway, object: &str, severity: &str) -> Vec<Value> {
    let mut events = gateway.process().events();
    events.retain(|event| {
        kind(event) == "object"
            && text(event, "about") == "sessions"
            && text(event, "object") == object
            && text(event, "severity") == severity
    });
    events
}

#[test]
fn the_numbers_are_exact_within_two_seconds_and_survive_a_restart_of_the_control_plane() {
    let (first, second) = (EchoEngine::start("first"), EchoEngine::start("second"));
    let directory = Directory::of(&[
        route("a", "first"),
        route("b", "second"),
        route("c", "none"),
    ]);
    directory.put_service("none", &[]);
    let gateway = Setup::over(&directory)
        .endpoint("first", first.address())
        .endpoint("second", second.address())
        .start();
    // An odd number, so that the workers have different ones.
    let mut clients = live(&gateway, "A", "first", 5);
    let _other = live(&gateway, "B", "second", 2);
    let mut held = RawClient::connect(gateway.address());
    held.send(&logon("C"));
    wait_counts(&gateway, "a", [5, 0, 0, 0]);
    wait_counts(&gateway, "b", [2, 0, 0, 0]);
    let all = wait_counts(&gateway, "c", [0, 0, 1, 0]);
    let whole = &all["gateways"][0];
    assert_eq!(counts(whole), [7, 0, 1, 0], "{all}");
    assert_eq!(whole["revision"], all["revision"], "{all}");
    assert_eq!(
        (&whole["vms"], &whole["vmsCounted"]),
        (&3.into(), &3.into())
    );
    let of = |name: &str| {
        let routes = all["routes"].as_array().unwrap();
        let mut found = routes.iter().filter(|route| text(route, "route") == name);
        found.next().cloned().unwrap()
    };
    assert_eq!(of("trading/a")["endpointsReady"], 1);
    assert_eq!(of("trading/c")["endpointsReady"], 0);
    assert_eq!(text(&of("trading/c")["lastDecision"], "decision"), "HELD");
    assert_eq!(
        text(&of("trading/c")["lastDecision"], "reason"),
        "no_ready_endpoint"
    );
    assert!(of("trading/c").get("lastLogon").is_none());
    assert!(of("trading/a").get("lastLogon").is_some());

    gateway.kill_child("control");
    // Who asks while it is away is told that; as soon as it answers, its numbers are on their way.
    let output = ask(&gateway, &[]);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2));
        assert!(said.contains("live sessions go on"), "{said}");
    }
    wait_until("the control plane to answer", || status(&gateway));
    wait_counts(&gateway, "a", [5, 0, 0, 0]);
    wait_counts(&gateway, "c", [0, 0, 1, 0]);
    still_speak(&mut clients);
    clients.truncate(2);
    wait_counts(&gateway, "a", [2, 0, 0, 0]);
    drop(held);
    wait_counts(&gateway, "c", [0, 0, 0, 0]);
}

#[test]
fn a_deleted_route_orphans_its_sessions_and_has_them_again_when_it_is_back() {
    let engine = EchoEngine::start("engine");
    let directory = Directory::of(&[route("broker", "engine"), route("other", "engine")]);
    let gateway = Setup::over(&directory)
        .endpoint("engine", engine.address())
        .start();
    let mut clients = live(&gateway, "BROKER", "engine", 3);
    let mut others = live(&gateway, "OTHER", "engine", 1);
    wait_counts(&gateway, "broker", [3, 0, 0, 0]);
    let mark = gateway.mark();
    gateway.apply(|| directory.remove("broker"));
    let said = gateway.wait_object(mark, "word of the orphans", |event| {
        text(event, "about") == "sessions"
    });
    assert_eq!(text(&said, "severity"), "ERROR", "{said}");
    assert_eq!(text(&said, "object"), "FIXSession trading/broker", "{said}");
    assert!(text(&said, "message").contains("3 live sessions"), "{said}");
    let all = wait_counts(&gateway, "broker", [0, 0, 0, 3]);
    assert_eq!(counts(&all["gateways"][0]), [1, 0, 0, 3], "{all}");
    still_speak(&mut clients);
    still_speak(&mut others);
    // A new Logon follows the rules as they are.
    let mut refused = RawClient::connect(gateway.address());
    refused.send(&logon("BROKER"));
    assert_eq!(
        fix::value(&fix::read(&refused.take_to_end()), 35),
        Some("5")
    );

    let mark = gateway.mark();
    gateway.apply(|| directory.put(&route("broker", "engine")));
    let back = gateway.wait_object(mark, "word of their return", |event| {
        text(event, "about") == "sessions"
    });
    assert_eq!(text(&back, "severity"), "INFO", "{back}");
    assert!(text(&back, "message").contains("3 live sessions"), "{back}");
    wait_counts(&gateway, "broker", [3, 0, 0, 0]);
    still_speak(&mut clients);
    let object = "FIXSession trading/broker";
    assert_eq!(said_of(&gateway, object, "ERROR").len(), 1, "once");
    assert_eq!(said_of(&gateway, object, "INFO").len(), 1, "once");
}

#[test]
fn a_moved_route_leaves_its_sessions_where_they_are_and_says_how_many() {
    let (old, new) = (EchoEngine::start("old"), EchoEngine::start("new"));
    let directory = Directory::of(&[route("broker", "old")]);
    let gateway = Setup::over(&directory)
        .endpoint("old", old.address())
        .endpoint("new", new.address())
        .start();
    let mut clients = live(&gateway, "BROKER", "old", 2);
    wait_counts(&gateway, "broker", [2, 0, 0, 0]);
    let mark = gateway.mark();
    gateway.apply(|| directory.put(&route("broker", "new")));
    let said = gateway.wait_object(mark, "word of the move", |event| {
        text(event, "about") == "sessions"
    });
    assert_eq!(text(&said, "severity"), "WARN", "{said}");
    assert!(text(&said, "message").contains("2 live sessions"), "{said}");
    assert!(
        text(&said, "message").contains("trading/new:9876"),
        "{said}"
    );
    let _later = live(&gateway, "BROKER", "new", 1);
    wait_counts(&gateway, "broker", [3, 2, 0, 0]);
    still_speak(&mut clients);
    clients.clear();
    wait_counts(&gateway, "broker", [1, 0, 0, 0]);
}

#[test]
fn people_are_shown_two_tables_and_told_when_nobody_runs_there() {
    let engine = EchoEngine::start("engine");
    let directory = Directory::of(&[route("broker", "engine"), route("other", "engine")]);
    let gateway = Setup::over(&directory)
        .endpoint("engine", engine.address())
        .start();
    let _clients = live(&gateway, "BROKER", "engine", 2);
    wait_counts(&gateway, "broker", [2, 0, 0, 0]);
    let ask = |arguments: &[&str]| {
        let output = ask(&gateway, arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, shown, _) = ask(&[]);
    assert_eq!(code, Some(0));
    for wanted in [
        "GATEWAY",
        "fixgw-up-",
        "trading/broker  trading/engine:9876",
        "trading/other",
    ] {
        assert!(shown.contains(wanted), "{wanted} in:\n{shown}");
    }
    let (_, shown, _) = ask(&["--route", "trading/broker"]);
    assert!(!shown.contains("trading/other"), "{shown}");
    let (code, _, said) = ask(&["--route", "trading/nobody"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("`trading/nobody`"), "{said}");
    let nobody = Directory::new();
    let mut command = Command::new(tool::program("fixgw"));
    command.arg("status").arg(nobody.path());
    let output = command.output().expect("it can be run");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no gateway runs over"), "{said}");
}
