//! Is an engine that counts as ready and refuses tried again, at each of its endpoints, for as long as it should be?

use std::time::{Duration, Instant};

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::process::{text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::socket::KeptPort;
use serde_json::Value;

fn logon() -> Vec<u8> {
    fix::logon("FIX.4.4", "BROKER", "VENUE", &[])
}

/// A gateway whose one Service lists these endpoints, and this long for them to answer.
fn gateway(endpoints: &[&KeptPort], connect_timeout: &str) -> (Directory, Gateway) {
    let route = Route::new("broker", "engine").value("SenderCompID49", "BROKER");
    let directory = Directory::of(&[route]);
    let addresses: Vec<_> = endpoints.iter().map(|kept| kept.address()).collect();
    directory.put_service("engine", &addresses);
    let gateway = Setup::over(&directory)
        .arguments(["--connect-timeout", connect_timeout])
        .start();
    (directory, gateway)
}

/// A client that has sent its Logon, which was routed.
fn routed(gateway: &Gateway) -> RawClient {
    let mut client = RawClient::connect(gateway.address());
    client.send(&logon());
    let record = gateway.decision_about(client.address());
    assert_eq!(text(&record, "decision"), "ROUTE", "{record}");
    client
}

/// What is said of a client with this reason.
fn said(gateway: &Gateway, client: &RawClient, reason: &str) -> Value {
    let address = client.address();
    wait_until(&format!("a record with {reason}"), || {
        let mut records = gateway.decisions_about(address).into_iter();
        records.find(|record| text(record, "reason") == reason)
    })
}

/// What is said of a client once its engine has it, after some attempts.
fn connected(gateway: &Gateway, client: &RawClient) -> Value {
    let address = client.address();
    wait_until("a record of the attempts", || {
        let mut records = gateway.decisions_about(address).into_iter();
        records.find(|record| text(record, "detail").starts_with("connected after "))
    })
}

#[test]
fn an_engine_that_comes_while_it_is_tried_gets_every_byte_once() {
    let kept = KeptPort::keep();
    let (_directory, gateway) = gateway(&[&kept], "30s");
    let mut client = routed(&gateway);
    // What it sends meanwhile, more than the gateway reads.
    let more: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let (mut writer, sent) = (client.writer(), more.clone());
    let sending = std::thread::spawn(move || {
        use std::io::Write as _;
        writer.write_all(&sent).unwrap();
    });
    let engine = EchoEngine::start_at("late", kept);
    assert_eq!(client.take_greeting(), "late");
    let wanted = [logon(), more].concat();
    let received = engine.wait_received(wanted.len());
    assert!(received == wanted, "other bytes than were sent");
    sending.join().unwrap();
    assert!(client.take(wanted.len()) == wanted, "another echo");
    let record = connected(&gateway, &client);
    assert_eq!(text(&record, "decision"), "ROUTE", "{record}");
    assert_eq!(text(&record, "severity"), "INFO", "{record}");
    assert!(
        text(&record, "detail").contains(", at attempt "),
        "{record}"
    );
}

#[test]
fn endpoints_that_refuse_are_passed_over_for_one_that_does_not() {
    let dead = [KeptPort::keep(), KeptPort::keep()];
    let kept = KeptPort::keep();
    let (_directory, gateway) = gateway(&[&dead[0], &dead[1], &kept], "30s");
    let engine = EchoEngine::start_at("alive", kept);
    for count in 1..=6 {
        let mut client = routed(&gateway);
        assert_eq!(client.take_greeting(), "alive");
        assert_eq!(client.take(logon().len()), logon());
        assert_eq!(engine.received().len(), count);
    }
}

#[test]
fn who_is_refused_for_too_long_is_closed_as_unreachable() {
    let kept = KeptPort::keep();
    let (_directory, gateway) = gateway(&[&kept], "700ms");
    let begun = Instant::now();
    let mut client = routed(&gateway);
    assert_eq!(client.take_to_end(), b"");
    assert!(begun.elapsed() >= Duration::from_millis(700));
    let record = said(&gateway, &client, "target_unreachable");
    assert_eq!(text(&record, "decision"), "CLOSED", "{record}");
    assert_eq!(text(&record, "severity"), "ERROR", "{record}");
    assert_eq!(text(&record, "route"), "trading/broker", "{record}");
    let detail = text(&record, "detail");
    let address = kept.address().to_string();
    assert!(detail.contains(&address), "{record}");
    assert!(detail.contains("refused"), "{record}");
    assert_eq!(gateway.decisions_about(client.address()).len(), 2);
}

#[test]
fn who_leaves_while_its_engine_refuses_reaches_no_engine_later() {
    let kept = KeptPort::keep();
    let (_directory, gateway) = gateway(&[&kept], "30s");
    let leaves = routed(&gateway);
    leaves.finish();
    let record = said(&gateway, &leaves, "left_while_connecting");
    assert_eq!(text(&record, "severity"), "WARN", "{record}");
    let reset = routed(&gateway);
    let address = reset.address();
    reset.reset();
    wait_until("word of the one that reset", || {
        let mut records = gateway.decisions_about(address).into_iter();
        records.find(|record| text(record, "reason") == "left_while_connecting")
    });
    let engine = EchoEngine::start_at("late", kept);
    let mut client = routed(&gateway);
    assert_eq!(client.take_greeting(), "late");
    assert_eq!(engine.received().len(), 1, "somebody's ghost");
}

#[test]
fn who_is_refused_when_the_engine_ceases_to_be_ready_is_held_until_it_is_back() {
    let kept = KeptPort::keep();
    let (directory, gateway) = gateway(&[&kept], "30s");
    let mut client = routed(&gateway);
    directory.put_service("engine", &[]);
    let record = said(&gateway, &client, "no_ready_endpoint");
    assert_eq!(text(&record, "decision"), "HELD", "{record}");
    // The route lets one wait.
    let mut second = RawClient::connect(gateway.address());
    second.send(&logon());
    said(&gateway, &second, "hold_limit");
    let engine = EchoEngine::start("back");
    directory.put_service("engine", &[engine.address()]);
    assert_eq!(client.take_greeting(), "back");
    assert_eq!(client.take(logon().len()), logon());
    assert_eq!(engine.received(), [logon()]);
    let record = wait_until("the end of the hold", || {
        let mut records = gateway.decisions_about(client.address()).into_iter();
        records.find(|record| {
            text(record, "detail").starts_with("held for ") && text(record, "decision") == "ROUTE"
        })
    });
    assert_eq!(text(&record, "target"), "trading/engine:9876", "{record}");
}

#[test]
fn who_is_refused_goes_with_his_route_to_another_engine_and_reaches_the_old_one_no_more() {
    let kept = KeptPort::keep();
    let (directory, gateway) = gateway(&[&kept], "60s");
    let new = EchoEngine::start("new");
    directory.put_service("new", &[new.address()]);
    let mut client = routed(&gateway);
    // Nothing else leads to the old target, so its cluster goes.
    gateway.apply(|| {
        let moved = Route::new("broker", "new").value("SenderCompID49", "BROKER");
        directory.put(&moved);
    });
    let old = EchoEngine::start_at("old", kept);
    assert_eq!(client.take_greeting(), "new");
    assert_eq!(client.take(logon().len()), logon());
    assert_eq!(new.received(), [logon()]);
    assert_eq!(old.received(), Vec::<Vec<u8>>::new());
}

#[test]
fn who_is_refused_while_his_route_is_deleted_waits_for_its_return() {
    let kept = KeptPort::keep();
    let (directory, gateway) = gateway(&[&kept], "60s");
    let mut client = routed(&gateway);
    gateway.apply(|| directory.remove("broker"));
    let record = said(&gateway, &client, "no_ready_endpoint");
    assert_eq!(text(&record, "decision"), "HELD", "{record}");
    let engine = EchoEngine::start_at("engine", kept);
    gateway.apply(|| {
        let back = Route::new("broker", "engine").value("SenderCompID49", "BROKER");
        directory.put(&back);
    });
    assert_eq!(client.take_greeting(), "engine");
    assert_eq!(client.take(logon().len()), logon());
    assert_eq!(engine.received(), [logon()]);
}

/// More than one tick closes.
const LEAVE: usize = 300;

#[test]
fn hundreds_who_leave_at_once_while_their_engine_refuses_reach_it_no_more() {
    let kept = KeptPort::keep();
    let (_directory, gateway) = gateway(&[&kept], "60s");
    let clients: Vec<RawClient> = (0..LEAVE).map(|_| routed(&gateway)).collect();
    // Each has been refused once by now.
    for client in &clients {
        client.finish();
    }
    let told = || {
        let records = gateway.decisions();
        let left = |record: &&Value| text(record, "reason") == "left_while_connecting";
        (records.iter().filter(left).count() == LEAVE).then_some(())
    };
    wait_until("word of each", told);
    let engine = EchoEngine::start_at("late", kept);
    let mut client = routed(&gateway);
    assert_eq!(client.take_greeting(), "late");
    assert_eq!(engine.received().len(), 1, "somebody's ghost");
}
