//! Can the harness be believed? Peers and proofs without a gateway between.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;

use fixgw_e2e::flock::Fold;
use fixgw_e2e::peer::{Counterparty, Peer, Session};
use fixgw_e2e::process::{Process, is_alive, wait_until};
use fixgw_e2e::raw::RawClient;
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

/// So many light sessions that each turn of a flock has some.
const FLOCK: usize = 20;

#[test]
fn a_flock_that_nothing_cuts_is_unbroken() {
    let fold = Fold::open();
    let tap = Tap::before(fold.address());
    let flock = fold.gather(tap.address(), FLOCK);
    flock.wait_rounds(3);
    let account = flock.end();
    account.assert_unbroken();
    let logons_and_rounds = FLOCK as u64 * 4;
    assert_eq!(account.sessions, FLOCK);
    assert!(
        account.to_engine >= logons_and_rounds && account.to_clients >= logons_and_rounds,
        "{account:?}"
    );
    let passed: usize = tap.passages().iter().map(|one| one.to_engine.len()).sum();
    let orders = account.to_engine - FLOCK as u64;
    assert!(passed as u64 > orders * 100, "{passed} bytes");
}

#[test]
fn the_proof_of_an_unbroken_flock_notices_an_end() {
    let fold = Fold::open();
    let tap = Tap::before(fold.address());
    let flock = fold.gather(tap.address(), FLOCK);
    tap.cut();
    let account = flock.end();
    assert_eq!(account.broken, FLOCK, "{account:?}");
    assert!(account.faults[0].contains("was ended"), "{account:?}");
}

#[test]
fn the_proof_of_an_unbroken_flock_notices_a_second_connection() {
    let fold = Fold::open();
    let engine = fold.address();
    let flock = fold.gather(engine, FLOCK);
    let mut second = RawClient::connect(engine);
    second.send(&fix::logon("FIX.4.4", "FLOCK3", "VENUE", &[]));
    wait_until("it to be accepted", || {
        (flock.accepted() > FLOCK).then_some(())
    });
    let account = flock.end();
    assert_eq!((account.broken, account.lost), (0, 0), "{account:?}");
    let told = account.faults.concat();
    assert!(told.contains(&format!("accepted {}", FLOCK + 1)), "{told}");
}

/// A relay that does something to the bytes behind the first thousand of each connection.
fn meddler(engine: SocketAddr, meddle: fn(&mut Vec<u8>)) -> SocketAddr {
    const BEHIND: usize = 1_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let engine = TcpStream::connect(engine).unwrap();
            let ways = [
                (
                    client.try_clone().unwrap(),
                    engine.try_clone().unwrap(),
                    true,
                ),
                (engine, client, false),
            ];
            for (mut from, mut to, meddles) in ways {
                std::thread::spawn(move || {
                    let (mut passed, mut buffer) = (0, vec![0; 4_096]);
                    while let Ok(count @ 1..) = from.read(&mut buffer) {
                        let mut bytes = buffer[..count].to_vec();
                        if meddles && passed < BEHIND && passed + count >= BEHIND {
                            meddle(&mut bytes);
                        }
                        passed += count;
                        if to.write_all(&bytes).is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    address
}

#[test]
fn the_proof_of_an_unbroken_flock_notices_each_byte_that_is_lost_repeated_or_changed() {
    let meddles: [fn(&mut Vec<u8>); 3] = [
        |bytes| {
            let _ = bytes.remove(0);
        },
        |bytes| bytes.push(bytes[bytes.len() - 1]),
        |bytes| bytes[0] ^= 1,
    ];
    for meddle in meddles {
        let fold = Fold::open();
        let relay = meddler(fold.address(), meddle);
        let flock = fold.gather(relay, FLOCK);
        let wrong = std::panic::catch_unwind(AssertUnwindSafe(|| flock.wait_rounds(50)));
        assert!(wrong.is_err(), "it was not noticed at once");
        let account = flock.end();
        assert!(account.broken > 0 && account.foreign > 0, "{account:?}");
        let failed = std::panic::catch_unwind(|| account.assert_unbroken());
        assert!(failed.is_err());
    }
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
