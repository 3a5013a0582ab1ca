//! Does the counterparty's address decide as the rules say, alone, beside fields, and on default routes?

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::process::text;
use fixgw_e2e::raw::RawClient;

/// Logs on as `sender` from `source`, and returns the engine that answered and the route of the record.
fn routed(gateway: &Gateway, listener: &str, source: &str, sender: &str) -> (String, String) {
    let address = gateway.address_of(listener);
    let mut client = RawClient::connect_from(source.parse().unwrap(), address);
    client.send(&fix::logon("FIX.4.4", sender, "VENUE", &[]));
    let engine = client.take_greeting();
    let record = gateway.decision_about(client.address());
    (engine, text(&record, "route").to_owned())
}

#[test]
fn the_longest_range_wins_after_class_and_fields_and_who_is_outside_falls_through() {
    let engines = ["a", "b", "c", "d"].map(EchoEngine::start);
    let directory = Directory::of(&[
        Route::new("office", "a")
            .value("SenderCompID49", "BROKER")
            .from("127.1.0.0/16"),
        Route::new("desk", "b")
            .value("SenderCompID49", "BROKER")
            .from("127.1.2.0/24")
            .from("::1/128"),
        Route::new("anywhere", "c").value("SenderCompID49", "BROKER"),
        Route::new("network", "b").from("127.1.0.0/16").priority(5),
        Route::new("network-first", "c")
            .from("127.1.2.0/24")
            .priority(4),
        Route::new("rest-of-v4", "d")
            .from("0.0.0.0/0")
            .default_route(1),
        Route::new("rest", "a").default_route(1),
    ]);
    let gateway = ["a", "b", "c", "d"]
        .iter()
        .zip(&engines)
        .fold(Setup::over(&directory), |setup, (name, engine)| {
            setup.endpoint(name, engine.address())
        })
        .listener("six", "[::1]:0".parse().unwrap())
        .start();
    for (listener, source, sender, engine, route) in [
        ("main", "127.1.9.9", "BROKER", "a", "trading/office"),
        ("main", "127.1.2.9", "BROKER", "b", "trading/desk"),
        ("six", "::1", "BROKER", "b", "trading/desk"),
        ("main", "127.9.9.9", "BROKER", "c", "trading/anywhere"),
        // Ranges alone: the priority counts before the length of a range.
        ("main", "127.1.2.9", "OTHER", "b", "trading/network"),
        ("main", "127.9.9.9", "OTHER", "d", "trading/rest-of-v4"),
        ("six", "::1", "OTHER", "a", "trading/rest"),
    ] {
        assert_eq!(
            routed(&gateway, listener, source, sender),
            (engine.to_owned(), route.to_owned()),
            "{sender} from {source}"
        );
    }
}

#[test]
fn an_edited_range_is_followed_by_the_next_logon_and_a_bad_one_changes_nothing() {
    let (here, there) = (EchoEngine::start("here"), EchoEngine::start("there"));
    let directory = Directory::of(&[
        Route::new("moving", "there")
            .from("127.7.0.0/16")
            .priority(2),
        Route::new("rest", "here").default_route(1),
    ]);
    let gateway = Setup::over(&directory)
        .endpoint("here", here.address())
        .endpoint("there", there.address())
        .start();
    let engine_of = |source| routed(&gateway, "main", source, "ANY").0;
    assert_eq!(engine_of("127.7.0.1"), "there");
    assert_eq!(engine_of("127.8.0.1"), "here");
    let moved = Route::new("moving", "there")
        .from("127.8.0.0/16")
        .priority(2);
    gateway.apply(|| directory.put(&moved));
    assert_eq!(engine_of("127.7.0.1"), "here");
    assert_eq!(engine_of("127.8.0.1"), "there");
    for (range, wanted) in [
        ("127.8.0.1/16", "write `127.8.0.0/16`"),
        ("::ffff:127.8.0.0/112", "is an IPv4 range written as IPv6"),
    ] {
        let mark = gateway.mark();
        directory.put(&Route::new("moving", "there").from(range).priority(2));
        let fault = gateway.wait_object(mark, "the fault", |event| {
            text(event, "object").contains("moving") && text(event, "severity") == "ERROR"
        });
        assert_eq!(text(&fault, "field"), "spec.sourceRanges[0]", "{fault}");
        assert!(text(&fault, "message").contains(wanted), "{fault}");
        assert_eq!(engine_of("127.8.0.1"), "there");
    }
}
