//! Does a counterparty whose engine is not ready wait, and arrive whole when it is?

use std::time::{Duration, Instant};

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::{text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tool;
use serde_json::Value;

/// A gateway with a route whose Service has no endpoint yet.
fn gateway(route: Route) -> (Directory, Gateway) {
    let directory = Directory::of(&[route]);
    directory.put_service("engine", &[]);
    let gateway = Setup::over(&directory).start();
    (directory, gateway)
}

fn route() -> Route {
    Route::new("broker", "engine").value("SenderCompID49", "BROKER")
}

fn logon() -> Vec<u8> {
    fix::logon("FIX.4.4", "BROKER", "VENUE", &[])
}

/// A client that has sent its Logon and is held.
fn held(gateway: &Gateway) -> RawClient {
    let mut client = RawClient::connect(gateway.address());
    client.send(&logon());
    let record = gateway.decision_about(client.address());
    assert_eq!(text(&record, "decision"), "HELD", "{record}");
    assert_eq!(text(&record, "reason"), "no_ready_endpoint", "{record}");
    assert_eq!(text(&record, "severity"), "ERROR", "{record}");
    assert_eq!(text(&record, "route"), "trading/broker", "{record}");
    client
}

/// What was said last about a client, which has been told of so often.
fn last_of(gateway: &Gateway, client: &RawClient, count: usize) -> Value {
    let address = client.address();
    let records = wait_until("the record at the end of a hold", || {
        let records = gateway.decisions_about(address);
        (records.len() >= count).then_some(records)
    });
    assert_eq!(records.len(), count, "{records:?}");
    records.last().unwrap().clone()
}

#[test]
fn what_a_held_counterparty_sends_arrives_once_and_in_order_when_its_engine_is_there() {
    let (directory, gateway) = gateway(route());
    let mut client = held(&gateway);
    // It goes on sending while it is held: more than the gateway reads.
    let more: Vec<u8> = (0..2_000_000_u32)
        .flat_map(u32::to_le_bytes)
        .take(1_000_000)
        .collect();
    let mut writer = client.writer();
    let sent = more.clone();
    let sending = std::thread::spawn(move || {
        use std::io::Write as _;
        writer.write_all(&sent).unwrap();
    });
    let engine = EchoEngine::start("engine");
    directory.put_service("engine", &[engine.address()]);
    assert_eq!(client.take_greeting(), "engine");
    let wanted = [logon(), more].concat();
    // What cannot be shown in a failure is not waited for through the client, which shows what it has.
    let received = engine.wait_received(wanted.len());
    assert!(
        received == wanted,
        "the engine has other bytes than were sent"
    );
    sending.join().unwrap();
    assert!(
        client.take(wanted.len()) == wanted,
        "the echo is not what was sent"
    );
    let record = last_of(&gateway, &client, 2);
    assert_eq!(text(&record, "decision"), "ROUTE", "{record}");
    assert_eq!(text(&record, "reason"), "matched", "{record}");
    assert_eq!(text(&record, "severity"), "INFO", "{record}");
    assert!(text(&record, "detail").starts_with("held for "), "{record}");
}

#[test]
fn a_quickfix_counterparty_notices_no_more_than_a_pause() {
    let session = Session::new("FIX.4.4", "BROKER", "VENUE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let (directory, gateway) = gateway(route());
    let mark = gateway.mark();
    let broker = Peer::counterparty("broker", gateway.address(), std::slice::from_ref(&session));
    gateway
        .process()
        .wait_after(mark, "the hold", |event| text(event, "decision") == "HELD");
    directory.put_service("engine", &[engine.address()]);
    let (here, there) = (session.at_counterparty(), session.at_engine());
    broker.wait_logon(&here);
    engine.wait_logon(&there);
    broker.send(&here, 50);
    engine.wait_received(&there, 50);
    assert_eq!(engine.received(&there), (1..=50).collect::<Vec<u64>>());
    assert_eq!((broker.logons(&here), engine.logons(&there)), (1, 1));
}

#[test]
fn no_more_are_held_than_the_route_says_over_all_workers_and_who_leaves_makes_room() {
    let (_directory, gateway) = gateway(route().held_at_most(3));
    let mut clients: Vec<RawClient> = (0..3).map(|_| held(&gateway)).collect();
    for _ in 0..4 {
        let mut surplus = RawClient::connect(gateway.address());
        surplus.send(&logon());
        assert_eq!(surplus.take_to_end(), b"");
        let record = gateway.decision_about(surplus.address());
        assert_eq!(text(&record, "decision"), "CLOSED", "{record}");
        assert_eq!(text(&record, "reason"), "hold_limit", "{record}");
        assert_eq!(text(&record, "severity"), "CRITICAL", "{record}");
    }
    // By a FIN, and by a reset.
    let gone = clients.pop().unwrap();
    gone.finish();
    let record = last_of(&gateway, &gone, 2);
    assert_eq!(text(&record, "reason"), "left_while_held", "{record}");
    let _in_its_place = held(&gateway);
    clients.pop().unwrap().reset();
    let after_a_reset = wait_until("the place of one that reset", || {
        let mut client = RawClient::connect(gateway.address());
        client.send_unless_closed(&logon());
        let record = gateway.decision_about(client.address());
        (text(&record, "decision") == "HELD").then_some(client)
    });
    assert!(after_a_reset.is_open() && clients[0].is_open());
}

#[test]
fn who_has_been_held_for_as_long_as_the_route_says_is_closed() {
    let (_directory, gateway) = gateway(route().held_for("700ms"));
    let begun = Instant::now();
    let mut client = held(&gateway);
    assert_eq!(client.take_to_end(), b"");
    assert!(begun.elapsed() >= Duration::from_millis(700));
    let record = last_of(&gateway, &client, 2);
    assert_eq!(text(&record, "decision"), "CLOSED", "{record}");
    assert_eq!(text(&record, "reason"), "hold_timeout", "{record}");
    assert_eq!(text(&record, "severity"), "CRITICAL", "{record}");
}

#[test]
fn the_place_of_one_that_was_held_by_a_vm_that_failed_is_free_again() {
    let directory = Directory::of(&[route().held_at_most(1).held_for("10m")]);
    directory.put_service("engine", &[]);
    let gateway = Setup::over(&directory)
        .filter(&tool::filter_with_faults())
        .start();
    let mut lost = held(&gateway);
    // Connected at once, so that both workers have some.
    let victims: Vec<RawClient> = (0..4)
        .map(|_| RawClient::connect(gateway.address()))
        .collect();
    for mut victim in victims {
        victim.send_unless_closed(&fix::logon("FIX.4.4", "TRAP", "VENUE", &[]));
        assert_eq!(victim.take_to_end(), b"");
    }
    let _in_its_place = wait_until("a place", || {
        let mut client = RawClient::connect(gateway.address());
        client.send_unless_closed(&logon());
        let address = client.address();
        // In the moment before its VM is back, Envoy resets a new connection without a record.
        let records = wait_until("a decision or an end", || {
            let records = gateway.decisions_about(address);
            (!records.is_empty() || !client.is_open()).then_some(records)
        });
        let is_held = |record: &Value| text(record, "decision") == "HELD";
        records.iter().any(is_held).then_some(client)
    });
    // Nobody is left who could connect it, or end it in time; its next byte does.
    assert!(lost.is_open());
    lost.send_unless_closed(b"x");
    assert_eq!(lost.take_to_end(), b"");
}
