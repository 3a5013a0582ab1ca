//! What happens to a connection that has no route, or brings no usable Logon, and what is said about it?

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::peer::{Counterparty, Session};
use fixgw_e2e::process::{kind, text};
use fixgw_e2e::raw::RawClient;
use serde_json::Value;

/// A gateway that knows BROKER, by 49 and 50, and nobody else.
fn gateway_for_broker(engine: &EchoEngine) -> (Directory, Gateway) {
    let directory = Directory::of(&[
        Route::new("broker", "light").value("SenderCompID49", "BROKER"),
        Route::new("desk", "light")
            .value("SenderCompID49", "BROKER")
            .value("SenderSubID50", "DESK"),
    ]);
    let gateway = Setup::over(&directory)
        .endpoint("light", engine.address())
        .start();
    (directory, gateway)
}

/// Sends `bytes` and returns the answer up to the close, and the one record about it.
fn refused(gateway: &Gateway, bytes: &[u8]) -> (Vec<u8>, Value) {
    let mut client = RawClient::connect(gateway.address());
    client.send_unless_closed(bytes);
    let answer = client.take_to_end();
    let record = gateway.decision_about(client.address());
    assert_eq!(
        gateway.decisions_about(client.address()).len(),
        1,
        "said once"
    );
    (answer, record)
}

#[test]
fn an_unknown_counterparty_receives_a_logout_that_says_why() {
    let light = EchoEngine::start("light");
    let (_directory, gateway) = gateway_for_broker(&light);
    let session = Session::new("FIX.4.4", "STRANGER", "VENUE");
    let stranger = Counterparty::new(
        "stranger",
        gateway.address(),
        std::slice::from_ref(&session),
    )
    .once()
    .start();
    let said = stranger.wait_logout_text(&session.at_counterparty());
    assert_eq!(said, "No matching session configuration");
    stranger.wait_logout(&session.at_counterparty());
    let record = gateway
        .process()
        .wait_for("the decision", |event| text(event, "reason") == "no_match");
    assert_eq!(text(&record, "decision"), "REJECT_ENGINE", "{record}");
    assert_eq!(text(&record, "severity"), "WARN", "{record}");
    assert!(light.received().is_empty());
}

#[test]
fn a_logout_turns_the_logons_addresses_round() {
    let light = EchoEngine::start("light");
    let (_directory, gateway) = gateway_for_broker(&light);
    for version in ["FIX.4.0", "FIX.4.2", "FIX.4.4", "FIXT.1.1"] {
        let more = [(50, "DESK"), (57, "FX"), (142, "LDN"), (143, "NYC")];
        let (answer, _) = refused(&gateway, &fix::logon(version, "STRANGER", "VENUE", &more));
        let logout = fix::read(&answer);
        for (tag, value) in [
            (8, version),
            (35, "5"),
            (49, "VENUE"),
            (56, "STRANGER"),
            (50, "FX"),
            (57, "DESK"),
            (142, "NYC"),
            (143, "LDN"),
            (58, "No matching session configuration"),
        ] {
            assert_eq!(fix::value(&logout, tag), Some(value), "{version}: {tag}");
        }
    }
}

#[test]
fn an_ambiguous_logon_reads_differently_from_an_unknown_one() {
    let light = EchoEngine::start("light");
    let (_directory, gateway) = gateway_for_broker(&light);
    let (unknown, _) = refused(&gateway, &fix::logon("FIX.4.4", "STRANGER", "VENUE", &[]));
    // The first 49 is BROKER's, the last is not: engines differ in which of them they take.
    let (ambiguous, record) = refused(
        &gateway,
        &fix::logon("FIX.4.4", "BROKER", "VENUE", &[(49, "STRANGER")]),
    );
    assert_eq!(text(&record, "reason"), "ambiguous_field", "{record}");
    let (unknown, ambiguous) = (fix::read(&unknown), fix::read(&ambiguous));
    assert_eq!(fix::value(&ambiguous, 35), Some("5"));
    let texts = (
        fix::value(&unknown, 58).unwrap(),
        fix::value(&ambiguous, 58).unwrap(),
    );
    assert_ne!(texts.0, texts.1);
    assert!(texts.1.contains("ambiguous"), "{}", texts.1);
    assert!(light.received().is_empty(), "neither reached an engine");
}

#[test]
fn what_is_not_fix_is_closed_at_its_first_differing_byte_and_said_once() {
    let light = EchoEngine::start("light");
    let (_directory, gateway) = gateway_for_broker(&light);
    let cases: [(&str, &[u8], &str); 8] = [
        (
            "TLS ClientHello",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            "TLS",
        ),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n", "HTTP"),
        (
            "PROXY v1",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY",
        ),
        ("PROXY v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "PROXY"),
        (
            "SOFH",
            b"\x00\x00\x00\x60\x5b\xe0\x00\x00",
            "Simple Open Framing",
        ),
        (
            "literal separators",
            b"8=FIX.4.4|9=65|35=A|49=BROKER|56=VENUE|",
            "separator",
        ),
        ("garbage", b"hello there", "8=FIX"),
        (
            "a field before 8",
            b"9=20\x018=FIX.4.4\x0135=A\x01",
            "8=FIX",
        ),
    ];
    for (name, bytes, looks_like) in cases {
        let (answer, record) = refused(&gateway, bytes);
        assert_eq!(answer, b"", "{name}: nobody answers what is not FIX");
        assert_eq!(text(&record, "decision"), "CLOSED", "{name}: {record}");
        assert_eq!(text(&record, "reason"), "not_fix", "{name}: {record}");
        assert_eq!(text(&record, "severity"), "WARN", "{name}: {record}");
        assert!(
            text(&record, "detail").contains(looks_like),
            "{name}: {record}"
        );
    }
    // A prefix of `8=FIX` may still become a Logon; the byte after it that differs ends the wait.
    for length in 1..5 {
        let mut client = RawClient::connect(gateway.address());
        client.send(&b"8=FIX"[..length]);
        client.send_unless_closed(b"!");
        assert_eq!(client.take_to_end(), b"");
        let record = gateway.decision_about(client.address());
        assert_eq!(text(&record, "reason"), "not_fix", "{record}");
    }
    assert!(light.received().is_empty());
}

#[test]
fn a_connection_that_says_nothing_is_counted_and_not_logged() {
    let light = EchoEngine::start("light");
    let (_directory, gateway) = gateway_for_broker(&light);
    let mut silent = Vec::new();
    for _ in 0..4 {
        let mut client = RawClient::connect(gateway.address());
        client.finish();
        assert_eq!(client.take_to_end(), b"");
        silent.push(client.address());
        let client = RawClient::connect(gateway.address());
        silent.push(client.address());
        client.reset();
    }
    gateway
        .process()
        .wait_for("eight silent connections to be counted", |event| {
            kind(event) == "counts" && event["silentConnections"].as_u64() == Some(8)
        });
    // The record of a later connection of either worker shows that an earlier one would be here by now.
    let (_, _) = refused(&gateway, b"hello");
    let (_, _) = refused(&gateway, b"hello");
    for address in silent {
        assert!(gateway.decisions_about(address).is_empty());
    }
}

#[test]
fn a_logon_that_never_ends_is_closed_at_its_deadline() {
    let light = EchoEngine::start("light");
    let (_directory, gateway) = gateway_for_broker(&light);
    let logon = fix::logon("FIX.4.4", "BROKER", "VENUE", &[]);
    let mut clients = [
        RawClient::connect(gateway.address()),
        RawClient::connect(gateway.address()),
    ];
    // One sends most of a Logon, one nothing at all.
    clients[0].send(&logon[..logon.len() - 1]);
    for client in &mut clients {
        assert_eq!(client.take_to_end(), b"");
    }
    let record = gateway.decision_about(clients[0].address());
    assert_eq!(text(&record, "decision"), "CLOSED", "{record}");
    assert_eq!(text(&record, "reason"), "logon_timeout", "{record}");
}

#[test]
fn a_logon_over_its_bounds_is_refused_with_the_reason() {
    let light = EchoEngine::start("light");
    let (_directory, gateway) = gateway_for_broker(&light);
    let long = "x".repeat(9_000);
    let (_, record) = refused(
        &gateway,
        &fix::logon("FIX.4.4", "BROKER", "VENUE", &[(58, &long)]),
    );
    assert_eq!(text(&record, "reason"), "logon_too_large", "{record}");
    let many = vec![(372, "D"); 600];
    let (_, record) = refused(&gateway, &fix::logon("FIX.4.4", "BROKER", "VENUE", &many));
    assert_eq!(text(&record, "reason"), "too_many_fields", "{record}");
    // Refused at the bound, not at the end that never comes.
    let endless = fix::logon("FIX.4.4", "BROKER", "VENUE", &[(58, &long)]);
    let (_, record) = refused(&gateway, &endless[..8_500]);
    assert_eq!(text(&record, "reason"), "logon_too_large", "{record}");
    assert!(light.received().is_empty());
}

#[test]
fn a_fix_message_that_is_no_logon_is_refused_with_the_reason() {
    let light = EchoEngine::start("light");
    let (_directory, gateway) = gateway_for_broker(&light);
    let (_, record) = refused(&gateway, &fix::order("FIX.4.4", "BROKER", "VENUE", 1, 1));
    assert_eq!(text(&record, "reason"), "not_logon", "{record}");
    assert!(light.received().is_empty());
}

#[test]
fn a_logon_cut_short_by_its_sender_is_closed_and_said() {
    let light = EchoEngine::start("light");
    let (_directory, gateway) = gateway_for_broker(&light);
    let mut client = RawClient::connect(gateway.address());
    client.send(&fix::logon("FIX.4.4", "BROKER", "VENUE", &[])[..60]);
    client.finish();
    assert_eq!(client.take_to_end(), b"");
    let record = gateway.decision_about(client.address());
    assert_eq!(text(&record, "reason"), "incomplete_logon", "{record}");
}

#[test]
fn a_target_without_service_or_endpoints_is_warned_of_and_its_logons_are_closed_with_the_reason() {
    let directory = Directory::of(&[
        Route::new("serviceless", "nowhere")
            .value("SenderCompID49", "SERVICELESS")
            .held_at_most(0),
        Route::new("empty", "empty")
            .value("SenderCompID49", "EMPTY")
            .held_at_most(0),
    ]);
    directory.put_service("empty", &[]);
    let gateway = Setup::over(&directory).start();
    for (name, sender) in [("serviceless", "SERVICELESS"), ("empty", "EMPTY")] {
        let warning = gateway.wait_object(0, "the warning", |event| {
            text(event, "severity") == "WARN" && text(event, "object").contains(name)
        });
        assert!(!text(&warning, "message").is_empty(), "{warning}");
        let (answer, record) = refused(&gateway, &fix::logon("FIX.4.4", sender, "VENUE", &[]));
        assert_eq!(answer, b"");
        assert_eq!(text(&record, "decision"), "CLOSED", "{record}");
        assert_eq!(text(&record, "reason"), "hold_limit", "{record}");
        assert_eq!(
            text(&record, "route"),
            format!("trading/{name}"),
            "{record}"
        );
    }
    // The endpoint appears: the route was registered all along.
    let light = EchoEngine::start("light");
    directory.put_service("nowhere", &[light.address()]);
    let logon = fix::logon("FIX.4.4", "SERVICELESS", "VENUE", &[]);
    fixgw_e2e::process::wait_until("the engine to be reached", || {
        let mut client = RawClient::connect(gateway.address());
        client.send_unless_closed(&logon);
        let record = gateway.decision_about(client.address());
        (text(&record, "decision") == "ROUTE").then(|| assert_eq!(client.take_greeting(), "light"))
    });
}

#[test]
fn without_a_reject_engine_an_unknown_counterparty_is_closed_without_an_answer() {
    let light = EchoEngine::start("light");
    let directory =
        Directory::of(&[Route::new("broker", "light").value("SenderCompID49", "BROKER")]);
    let gateway = Setup::over(&directory)
        .endpoint("light", light.address())
        .arguments(["--no-reject"])
        .start();
    for (logon, reason) in [
        (fix::logon("FIX.4.4", "STRANGER", "VENUE", &[]), "no_match"),
        (
            fix::logon("FIX.4.4", "BROKER", "VENUE", &[(49, "STRANGER")]),
            "ambiguous_field",
        ),
        (fix::order("FIX.4.4", "BROKER", "VENUE", 1, 1), "not_logon"),
    ] {
        let (answer, record) = refused(&gateway, &logon);
        assert_eq!(answer, b"");
        assert_eq!(text(&record, "decision"), "CLOSED", "{record}");
        assert_eq!(text(&record, "reason"), reason, "{record}");
    }
    assert!(light.received().is_empty());
}

#[test]
fn a_killed_reject_engine_is_started_again_and_answers_as_before() {
    let light = EchoEngine::start("light");
    let (_directory, gateway) = gateway_for_broker(&light);
    let mut live = RawClient::connect(gateway.address());
    live.send(&fix::logon("FIX.4.4", "BROKER", "VENUE", &[]));
    assert_eq!(live.take_greeting(), "light");
    let mark = gateway.mark();
    gateway.kill_child("reject-engine");
    gateway.process().wait_after(mark, "its restart", |event| {
        kind(event) == "child" && text(event, "name") == "reject-engine"
    });
    let (answer, _) = refused(&gateway, &fix::logon("FIX.4.4", "STRANGER", "VENUE", &[]));
    assert_eq!(
        fix::value(&fix::read(&answer), 58),
        Some("No matching session configuration")
    );
    assert!(live.is_open());
}
