//! Does a fault in the filter stay with the one connection that met it?

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::Setup;
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::text;
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::tool;
use fixgw_e2e::unbroken::LiveSession;

use crate::routing::engine_of;

/// So many panics and live raw sessions that each of the two workers has its share of both.
const OF_EACH: usize = 6;

#[test]
fn a_panic_closes_its_own_connection_and_no_other() {
    let session = Session::new("FIX.4.4", "BROKER", "ENGINE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before(engine.address());
    let light = EchoEngine::start("light");
    let directory = Directory::of(&[
        Route::new("broker", "engine").value("SenderCompID49", "BROKER"),
        Route::new("light", "light").value("SenderCompID49", "LIGHT"),
        // Were it not for the panic, it would have an engine.
        Route::new("panic", "light").value("SenderCompID49", "PANIC"),
    ]);
    let gateway = Setup::over(&directory)
        .filter(&tool::filter_with_faults())
        .endpoint("engine", tap.address())
        .endpoint("light", light.address())
        .start();
    let counterparty = Peer::counterparty(
        "counterparty",
        gateway.address(),
        std::slice::from_ref(&session),
    );
    let mut live = LiveSession::begin(&session, &counterparty, &engine, &tap);
    live.exchange(3);
    let logon = fix::logon("FIX.4.4", "LIGHT", "VENUE", &[]);
    let mut others: Vec<RawClient> = (0..OF_EACH)
        .map(|_| RawClient::connect(gateway.address()))
        .collect();
    for other in &mut others {
        other.send(&logon);
        assert_eq!(other.take_greeting(), "light");
        assert_eq!(other.take(logon.len()), logon);
    }
    // Connections that wait for the rest of their Logon share the VM as well.
    let (begun, rest) = logon.split_at(40);
    let mut waiting: Vec<RawClient> = (0..OF_EACH)
        .map(|_| RawClient::connect(gateway.address()))
        .collect();
    for client in &mut waiting {
        client.send(begun);
    }
    for _ in 0..OF_EACH {
        let mut victim = RawClient::connect(gateway.address());
        victim.send_unless_closed(&fix::logon("FIX.4.4", "PANIC", "VENUE", &[]));
        assert_eq!(victim.take_to_end(), b"", "nobody answers it");
        let record = gateway.decision_about(victim.address());
        assert_eq!(text(&record, "decision"), "CLOSED", "{record}");
        assert_eq!(text(&record, "reason"), "internal_error", "{record}");
    }
    for client in &mut waiting {
        client.send(rest);
        assert_eq!(client.take_greeting(), "light");
    }
    for other in &mut others {
        other.send(b"ping");
        assert_eq!(other.take(4), b"ping");
    }
    assert_eq!(
        light.received().len(),
        2 * OF_EACH,
        "no victim reached an engine"
    );
    assert_eq!(engine_of(&gateway, &logon), "light");
    live.assert_unbroken();
}
