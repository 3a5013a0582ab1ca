//! What does the reject engine's Logout cost a counterparty that keeps its sequence numbers?
//!
//! The facts asserted here are those that the documentation tells: QuickFIX counts an incoming Logout.

use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::Setup;
use fixgw_e2e::peer::{Counterparty, Peer, Session};

fn broker() -> Route {
    Route::new("broker", "engine").value("SenderCompID49", "BROKER")
}

#[test]
fn a_rejected_counterparty_with_stored_sequence_numbers_is_routed_later() {
    let session = Session::new("FIX.4.4", "BROKER", "ENGINE");
    let stores = [Directory::new(), Directory::new()];
    let engine = Peer::engine_with_store(
        "engine",
        std::slice::from_ref(&session),
        Some(stores[0].path()),
    );
    let directory = Directory::new();
    let gateway = Setup::over(&directory)
        .endpoint("engine", engine.address())
        .start();
    let counterparty = Counterparty::new(
        "counterparty",
        gateway.address(),
        std::slice::from_ref(&session),
    )
    .store(stores[1].path())
    .start();
    let at_counterparty = session.at_counterparty();
    assert_eq!(
        counterparty.wait_logout_text(&at_counterparty),
        "No matching session configuration"
    );
    println!("rejected: {:?}", counterparty.numbers(&at_counterparty));
    gateway.apply(|| directory.put(&broker()));
    counterparty.wait_logon(&at_counterparty);
    println!("routed: {:?}", counterparty.numbers(&at_counterparty));
    engine.wait_logon(&session.at_engine());
    println!("engine: {:?}", engine.numbers(&session.at_engine()));
}
