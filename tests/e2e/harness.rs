//! Can the harness be believed? Peers and proofs without a gateway between.

use std::net::SocketAddr;

use fixgw_e2e::peer::{Counterparty, Peer, Session};
use fixgw_e2e::process::{Process, is_alive, wait_until};
use fixgw_e2e::socket::unused_port;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::unbroken::LiveSession;
use fixgw_e2e::{fix, secret, tool};

#[test]
fn peers_of_every_version_exchange_messages_and_log_out() {
    let versions = [
        "FIX.4.0", "FIX.4.1", "FIX.4.2", "FIX.4.3", "FIX.4.4", "FIXT.1.1",
    ];
    let sessions =
        versions.map(|version| Session::new(version, "BROKER", "ENGINE").with(20001, "VWAP"));
    let engine = Peer::engine("engine", &sessions);
    let counterparty = Peer::counterparty("counterparty", engine.address(), &sessions);
    for session in &sessions {
        let (at_counterparty, at_engine) = (session.at_counterparty(), session.at_engine());
        counterparty.wait_logon(&at_counterparty);
        assert_eq!(counterparty.send(&at_counterparty, 3), 3);
        engine.wait_received(&at_engine, 3);
        assert_eq!(engine.send(&at_engine, 2), 2);
        counterparty.wait_received(&at_counterparty, 2);
        counterparty.log_out(&at_counterparty);
    }
    for session in &sessions {
        engine.wait_logout(&session.at_engine());
        counterparty.wait_logout(&session.at_counterparty());
    }
    counterparty.stop();
}

#[test]
fn a_session_that_nothing_cuts_is_unbroken() {
    let session = Session::new("FIX.4.4", "BROKER", "ENGINE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before(engine.address());
    let counterparty = Peer::counterparty(
        "counterparty",
        tap.address(),
        std::slice::from_ref(&session),
    );
    let mut live = LiveSession::begin(&session, &counterparty, &engine, &tap);
    live.exchange(5);
    let exchanged = live.assert_unbroken();
    assert_eq!((exchanged.to_engine, exchanged.to_counterparty), (6, 6));
    live.log_out();
    assert!(fixgw_e2e::secret::contains(
        &tap.passages()[0].to_engine,
        b"\x0135=A\x01"
    ));
}

#[test]
fn a_session_through_a_plain_envoy_is_unbroken() {
    let session = Session::new("FIX.4.4", "BROKER", "ENGINE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before(engine.address());
    let address = unused_port();
    let bootstrap = format!(
        "static_resources: {{listeners: [{{name: main, {}, filter_chains: [{{filters: [{{name: tcp, typed_config: \
         {{'@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: plain, \
         cluster: engine}}}}]}}]}}], clusters: [{{name: engine, connect_timeout: 1s, load_assignment: \
         {{cluster_name: engine, endpoints: [{{lb_endpoints: [{{endpoint: {{{}}}}}]}}]}}}}]}}",
        envoy_address(address),
        envoy_address(tap.address()),
    );
    let _envoy = Process::start("envoy", tool::envoy(), |command| {
        command.args([
            "--concurrency",
            "2",
            "--use-dynamic-base-id",
            "--config-yaml",
            &bootstrap,
        ]);
    });
    let counterparty = Peer::counterparty("counterparty", address, std::slice::from_ref(&session));
    let mut live = LiveSession::begin(&session, &counterparty, &engine, &tap);
    live.exchange(5);
    live.assert_unbroken();
}

fn envoy_address(address: SocketAddr) -> String {
    format!(
        "address: {{socket_address: {{address: {}, port_value: {}}}}}",
        address.ip(),
        address.port()
    )
}

#[test]
fn the_proof_of_an_unbroken_session_notices_a_reconnect() {
    let session = Session::new("FIX.4.2", "BROKER", "ENGINE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before(engine.address());
    let counterparty = Peer::counterparty(
        "counterparty",
        tap.address(),
        std::slice::from_ref(&session),
    );
    let mut live = LiveSession::begin(&session, &counterparty, &engine, &tap);
    live.exchange(5);
    tap.cut();
    live.wait_reconnected();
    // QuickFIX has resent whatever was lost: the counts alone would say that all is well.
    live.exchange(5);
    let breaks = live.breaks();
    assert!(
        breaks.iter().any(|found| found.contains("saw logout")),
        "{breaks:?}"
    );
    assert!(
        breaks
            .iter()
            .any(|found| found.contains("the connection was")),
        "{breaks:?}"
    );
    assert!(
        breaks.iter().any(|found| found.contains("accepted")),
        "{breaks:?}"
    );
}

#[test]
fn a_peer_ends_with_its_input_and_with_its_test() {
    let session = Session::new("FIX.4.4", "BROKER", "ENGINE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let counterparty = Counterparty::new("counterparty", engine.address(), &[session])
        .once()
        .start();
    let pids = [engine.process().pid(), counterparty.process().pid()];
    counterparty.stop();
    drop(engine);
    for pid in pids {
        wait_until("the end of a peer", || (!is_alive(pid)).then_some(()));
    }
}

#[test]
fn a_message_is_made_and_read_with_the_right_length_and_sum() {
    let logon = fix::message("FIX.4.4", "A", &[(49, "A"), (56, "B"), (98, "0")]);
    assert_eq!(
        logon,
        b"8=FIX.4.4\x019=20\x0135=A\x0149=A\x0156=B\x0198=0\x0110=151\x01"
    );
    assert_eq!(fix::value(&fix::read(&logon), 56), Some("B"));
}

#[test]
fn a_secret_is_found_in_every_disguise() {
    // base64 of `xs3cretPass!`, `xxs3cretPass!` and `s3cretPass!` with something behind.
    for hidden in [
        "eHMzY3JldFBhc3Mh",
        "eHhzM2NyZXRQYXNzIQ==",
        "czNjcmV0UGFzcyEu",
        "733363726574506173732",
        "s3cretPass!",
    ] {
        let found = secret::disguises("s3cretPass")
            .iter()
            .any(|(_, needle)| secret::contains(hidden.as_bytes(), needle));
        assert!(found, "{hidden}");
    }
}
