//! Does a Logon reach the engine that its fields name, whole, once and in order?

use std::io::Write as _;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::peer::{Engine, Peer, Session};
use fixgw_e2e::process::{Gathering, text};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tap::Tap;

/// Which light engine answers this Logon, and whether it got every byte.
pub(crate) fn engine_of(gateway: &Gateway, logon: &[u8]) -> String {
    let mut client = RawClient::connect(gateway.address());
    client.send(logon);
    let name = client.take_greeting();
    assert_eq!(
        client.take(logon.len()),
        logon,
        "the engine sends back what it received"
    );
    name
}

#[test]
fn sessions_of_every_version_reach_their_engine_exchange_messages_and_log_out() {
    let versions = ["FIX.4.0", "FIX.4.2", "FIX.4.4", "FIXT.1.1"];
    let directory = Directory::new();
    let mut setup = Setup::over(&directory);
    let mut parties: Vec<(Session, Engine)> = Vec::new();
    for version in versions {
        let name = version.to_lowercase().replace('.', "-");
        let session = Session::new(version, "BROKER", &format!("ENGINE-{version}"));
        // The other engines would accept this session too: only the route decides who gets it.
        let sessions =
            versions.map(|other| Session::new(version, "BROKER", &format!("ENGINE-{other}")));
        let engine = Peer::engine(&name, &sessions);
        directory.put(
            &Route::new(&name, &name)
                .value("BeginString8", version)
                .value("SenderCompID49", "BROKER"),
        );
        setup = setup.endpoint(&name, engine.address());
        parties.push((session, engine));
    }
    let gateway = setup.start();
    let sessions: Vec<Session> = parties.iter().map(|(session, _)| session.clone()).collect();
    let counterparty = Peer::counterparty("counterparty", gateway.address(), &sessions);
    for (session, engine) in &mut parties {
        let (at_counterparty, at_engine) = (session.at_counterparty(), session.at_engine());
        counterparty.wait_logon(&at_counterparty);
        engine.wait_logon(&at_engine);
        counterparty.send(&at_counterparty, 5);
        engine.send(&at_engine, 3);
        engine.wait_received(&at_engine, 5);
        counterparty.wait_received(&at_counterparty, 3);
        counterparty.log_out(&at_counterparty);
    }
    for (session, engine) in &parties {
        counterparty.wait_logout(&session.at_counterparty());
        engine.wait_logout(&session.at_engine());
        assert_eq!(engine.received(&session.at_engine()), [1, 2, 3, 4, 5]);
        assert_eq!(counterparty.received(&session.at_counterparty()), [1, 2, 3]);
    }
    assert_eq!(gateway.decisions().len(), versions.len());
}

#[test]
fn the_more_specific_route_wins_beside_a_route_by_one_field() {
    let (general, specific) = (EchoEngine::start("general"), EchoEngine::start("specific"));
    let directory = Directory::of(&[
        Route::new("by-one", "general").value("SenderCompID49", "BROKER"),
        Route::new("by-three", "specific")
            .value("SenderCompID49", "BROKER")
            .value("SenderSubID50", "DESK")
            .value("TargetSubID57", "FX"),
    ]);
    let gateway = Setup::over(&directory)
        .endpoint("general", general.address())
        .endpoint("specific", specific.address())
        .start();
    let logon = |more: &[(u32, &str)]| fix::logon("FIX.4.4", "BROKER", "VENUE", more);
    assert_eq!(engine_of(&gateway, &logon(&[])), "general");
    assert_eq!(engine_of(&gateway, &logon(&[(50, "DESK")])), "general");
    assert_eq!(
        engine_of(&gateway, &logon(&[(50, "DESK"), (57, "FX")])),
        "specific"
    );
    assert_eq!(
        engine_of(&gateway, &logon(&[(57, "FX"), (50, "DESK")])),
        "specific"
    );
    assert_eq!(
        engine_of(&gateway, &logon(&[(50, "DESK"), (57, "RATES")])),
        "general"
    );
}

#[test]
fn a_custom_tag_on_the_logon_of_a_real_counterparty_decides() {
    let algorithms = ["VWAP", "TWAP"];
    let sessions = algorithms.map(|algorithm| {
        Session::new("FIX.4.4", "BROKER", &format!("TO-{algorithm}"))
            .with(20001, algorithm)
            .with(57, "ALGO")
    });
    let engines = algorithms.map(|algorithm| Peer::engine(algorithm, &sessions));
    let directory = Directory::of(&[
        Route::new("vwap", "vwap").value("AlgoStrategy20001", "VWAP"),
        Route::new("twap", "twap").value("AlgoStrategy20001", "TWAP"),
    ]);
    let gateway = Setup::over(&directory)
        .endpoint("vwap", engines[0].address())
        .endpoint("twap", engines[1].address())
        .start();
    let counterparty = Peer::counterparty("counterparty", gateway.address(), &sessions);
    for (session, engine) in sessions.iter().zip(&engines) {
        engine.wait_logon(&session.at_engine());
        counterparty.wait_logon(&session.at_counterparty());
    }
}

#[test]
fn a_wildcard_and_a_default_route_take_what_no_exact_route_names() {
    let names = ["exact", "long-prefix", "prefix", "default"];
    let engines = names.map(EchoEngine::start);
    let directory = Directory::of(&[
        Route::new("exact", "exact").value("SenderCompID49", "BROKER_A"),
        Route::new("long-prefix", "long-prefix")
            .pattern("SenderCompID49", "BROKER_*")
            .priority(20),
        Route::new("prefix", "prefix")
            .pattern("SenderCompID49", "B*")
            .priority(10),
        Route::new("default", "default").default_route(1),
    ]);
    let mut setup = Setup::over(&directory);
    for (name, engine) in names.iter().zip(&engines) {
        setup = setup.endpoint(name, engine.address());
    }
    let gateway = setup.start();
    for (sender, engine, decision) in [
        ("BROKER_A", "exact", "ROUTE"),
        ("BROKER_B", "long-prefix", "ROUTE"),
        ("BANK", "prefix", "ROUTE"),
        ("FUND", "default", "DEFAULT_ROUTE"),
    ] {
        let mut client = RawClient::connect(gateway.address());
        client.send(&fix::logon("FIX.4.4", sender, "VENUE", &[]));
        assert_eq!(client.take_greeting(), engine, "{sender}");
        let record = gateway.decision_about(client.address());
        assert_eq!(text(&record, "decision"), decision, "{record}");
        assert_eq!(
            text(&record, "route"),
            format!("trading/{engine}"),
            "{record}"
        );
        assert_eq!(
            text(&record, "target"),
            format!("trading/{engine}:9876"),
            "{record}"
        );
        assert_eq!(text(&record, "listener"), "main", "{record}");
    }
}

#[test]
fn a_logon_in_one_byte_writes_reaches_its_engine() {
    let session = Session::new("FIX.4.4", "BROKER", "ENGINE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before(engine.address());
    let directory =
        Directory::of(&[Route::new("broker", "engine").value("SenderCompID49", "BROKER")]);
    let gateway = Setup::over(&directory)
        .endpoint("engine", tap.address())
        .start();
    let mut client = RawClient::connect(gateway.address());
    let logon = fix::logon("FIX.4.4", "BROKER", "ENGINE", &[]);
    let (last, rest) = logon.split_last().unwrap();
    client.send_one_by_one(rest);
    assert_eq!(
        tap.accepted(),
        0,
        "the engine is not bothered before the Logon is complete"
    );
    client.send(std::slice::from_ref(last));
    engine.wait_logon(&session.at_engine());
    assert_eq!(tap.passages()[0].to_engine, logon);
    let _ = gateway.decision_about(client.address());
    assert_eq!(gateway.decisions_about(client.address()).len(), 1);
}

#[test]
fn what_follows_the_logon_in_the_same_write_arrives_once_and_in_order() {
    let session = Session::new("FIX.4.2", "BROKER", "ENGINE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before(engine.address());
    let directory =
        Directory::of(&[Route::new("broker", "engine").value("SenderCompID49", "BROKER")]);
    let gateway = Setup::over(&directory)
        .endpoint("engine", tap.address())
        .start();
    let mut bytes = fix::logon("FIX.4.2", "BROKER", "ENGINE", &[]);
    for number in 1..=3 {
        bytes.extend(fix::order(
            "FIX.4.2",
            "BROKER",
            "ENGINE",
            number + 1,
            number,
        ));
    }
    let mut client = RawClient::connect(gateway.address());
    client.send(&bytes);
    engine.wait_logon(&session.at_engine());
    // A QuickFIX acceptor leaves what it has read after the Logon lying until more arrives; the tap sees it at once.
    tap.wait_received(0, bytes.len());
    client.send(&fix::order("FIX.4.2", "BROKER", "ENGINE", 5, 4));
    engine.wait_received(&session.at_engine(), 4);
    assert_eq!(engine.received(&session.at_engine()), [1, 2, 3, 4]);
    bytes.extend(fix::order("FIX.4.2", "BROKER", "ENGINE", 5, 4));
    let passages = tap.passages();
    assert_eq!(passages.len(), 1, "the engine was connected once");
    assert_eq!(passages[0].to_engine, bytes, "the bytes are untouched");
}

/// Far above every buffer between the counterparty and the engine.
const BYTES_BEHIND_LOGON: usize = 5_000_000;

#[test]
fn five_megabytes_behind_the_logon_arrive_whole_and_in_order() {
    let light = EchoEngine::start("light");
    let directory =
        Directory::of(&[Route::new("broker", "light").value("SenderCompID49", "BROKER")]);
    let gateway = Setup::over(&directory)
        .endpoint("light", light.address())
        .start();
    let mut bytes = fix::logon("FIX.4.4", "BROKER", "VENUE", &[]);
    bytes.extend((0..BYTES_BEHIND_LOGON).map(|index| u8::try_from(index % 251).unwrap()));
    let mut client = RawClient::connect(gateway.address());
    let mut writer = client.writer();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer
                .write_all(&bytes)
                .expect("the connection takes bytes");
        });
        assert_eq!(client.take_greeting(), "light");
        assert!(
            client.take(bytes.len()) == bytes,
            "the echo is what was sent"
        );
    });
    client.finish();
    assert_eq!(client.take_to_end(), b"");
    assert!(
        light.received() == [bytes],
        "the engine received what was sent, once"
    );
}

/// More than one engine per worker thread, more connections than any accept batch of Envoy.
const CONNECTIONS: usize = 200;

#[test]
fn two_hundred_connections_at_once_reach_each_its_own_engine() {
    let engines: Vec<EchoEngine> = (0..CONNECTIONS)
        .map(|index| EchoEngine::start(&format!("e{index}")))
        .collect();
    let directory = Directory::new();
    let mut setup = Setup::over(&directory).admin();
    for (index, engine) in engines.iter().enumerate() {
        let name = format!("e{index}");
        directory.put(&Route::new(&name, &name).value("SenderCompID49", &format!("BROKER{index}")));
        setup = setup.endpoint(&name, engine.address());
    }
    let gateway = setup.start();
    let address = gateway.address();
    // All are connected before any has sent its Logon, and all have their engine before any goes on.
    let (connected, reached) = (Gathering::of(CONNECTIONS), Gathering::of(CONNECTIONS));
    let counted: Vec<usize> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|index| {
                let (connected, reached) = (&connected, &reached);
                scope.spawn(move || {
                    let mut client = RawClient::connect(address);
                    connected.arrive();
                    let logon = fix::logon("FIX.4.4", &format!("BROKER{index}"), "VENUE", &[]);
                    client.send(&logon);
                    assert_eq!(client.take_greeting(), format!("e{index}"));
                    assert_eq!(client.take(logon.len()), logon);
                    reached.arrive();
                    let payload =
                        vec![b'a' + u8::try_from(index % 26).unwrap(); 1_000 + 97 * index];
                    client.send(&payload);
                    assert_eq!(client.take(payload.len()), payload);
                    logon.len() + payload.len()
                })
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("every client gets its own engine"))
            .collect()
    });
    for (engine, count) in engines.iter().zip(counted) {
        let received = engine.received();
        assert_eq!(received.len(), 1, "one connection each");
        assert_eq!(received[0].len(), count, "bytes of both ends agree");
    }
    let statistics = gateway.statistics();
    let worker = |number: u32| {
        let shares = statistics.iter().filter(|(name, _)| {
            name.contains(&format!("worker_{number}.downstream_cx_total"))
                && !name.contains("admin")
        });
        shares.map(|(_, count)| *count).find(|count| *count > 0)
    };
    assert_eq!(
        (worker(0), worker(1)),
        (Some(100), Some(100)),
        "both workers took their half"
    );
}
