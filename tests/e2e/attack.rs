//! Does any attack reach an engine by a reading that another engine does not share?
//!
//! The cases are lines of `testdata/attacks.jsonl`, and the synthetic ones of the corpus. What must become of each is
//! worked out by readers that share no code with the gateway (`fixgw-readings`), done by a real Envoy, and, where a
//! Logon was routed, read by a real QuickFIX engine.

use std::collections::BTreeMap;

use fixgw_e2e::attack::{
    Case, Expect, ROUTES, cases, directory, logged_on, logged_on_at, quickfix, readers_routes,
};
use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::peer::Session;
use fixgw_e2e::process::text;
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tap::Tap;
use fixgw_readings::{Agreed, Routed};

#[test]
fn every_case_expects_what_all_readers_together_make_of_it() {
    let routes = readers_routes();
    let mut wrong = Vec::new();
    for case in cases() {
        let agreed = fixgw_readings::agreed(&case.bytes, &routes);
        let right = match (&agreed, &case.expect) {
            (Agreed::On(Routed::To(name)), Expect::Engine(engine)) => name == engine,
            (Agreed::On(Routed::None), Expect::Refused(reason)) => reason == "no_match",
            (Agreed::Not { .. }, Expect::Refused(reason)) => reason == "ambiguous_field",
            (Agreed::NoLogon, Expect::Refused(reason)) => {
                ["not_fix", "not_logon", "incomplete_logon"].contains(&reason.as_str())
            }
            _ => false,
        };
        // Bounds come before any reading.
        let over = case.bytes.len() > 8192 || case.bytes.split(|byte| *byte == 1).count() > 513;
        let bound = matches!(&case.expect, Expect::Refused(reason)
            if over && ["logon_too_large", "too_many_fields"].contains(&reason.as_str()));
        if !right && !bound {
            wrong.push(format!(
                "{}: expects {:?}: {agreed:?}",
                case.id, case.expect
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_attack_reaches_an_engine_by_a_reading_that_another_does_not_share() {
    let engines = ROUTES.map(|(name, _)| EchoEngine::start(name));
    let directory = directory();
    let mut setup = Setup::over(&directory);
    for (engine, (name, _)) in engines.iter().zip(ROUTES) {
        setup = setup.endpoint(name, engine.address());
    }
    let gateway = setup.start();
    let mut wanted: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for (engine, _) in ROUTES {
        wanted.insert(engine, Vec::new());
    }
    let cases = cases();
    for case in &cases {
        let mark = gateway.mark();
        let mut client = RawClient::connect(gateway.address());
        client.send_unless_closed(&case.bytes);
        match &case.expect {
            Expect::Engine(engine) => {
                let greeting = client.take_greeting();
                assert_eq!(&greeting, engine, "{}", case.id);
                let echo = client.take(case.bytes.len());
                assert_eq!(echo, case.bytes, "{}: every byte, once, in order", case.id);
                let record = gateway.decision_after(mark, client.address());
                assert_eq!(text(&record, "decision"), "ROUTE", "{}: {record}", case.id);
                assert_eq!(
                    text(&record, "route"),
                    format!("trading/{engine}"),
                    "{}",
                    case.id
                );
                wanted.entry(engine).or_default().push(case.bytes.clone());
            }
            Expect::Refused(reason) => {
                if reason == "incomplete_logon" {
                    client.finish();
                }
                let answer = client.take_to_end();
                let record = gateway.decision_after(mark, client.address());
                assert_eq!(text(&record, "reason"), reason, "{}: {record}", case.id);
                let logout = answer.windows(6).any(|part| part == b"\x0135=5\x01");
                assert!(
                    answer.is_empty() || logout,
                    "{}: no engine answered",
                    case.id
                );
            }
        }
    }
    for (engine, (name, _)) in engines.iter().zip(ROUTES) {
        assert_eq!(
            engine.received(),
            wanted[name],
            "all that engine {name} got"
        );
    }
    let enough = |of_engine: &Vec<_>| of_engine.len() > 5;
    assert!(wanted.values().all(enough), "both engines were reached");
}

/// Sends a case through the gateway to the engine behind a tap.
fn ask_through(gateway: &Gateway, tap: &Tap, bytes: &[u8]) -> Option<String> {
    let mut client = RawClient::connect(gateway.address());
    let passage = tap.accepted();
    client.send(bytes);
    // An end before the engine is connected would end the connection.
    tap.wait_received(passage, bytes.len());
    client.finish();
    logged_on(&client.take_to_end())
}

/// Sends cases through the gateway to QuickFIX engines that accept both counterparties.
///
/// Returns how many of them QuickFIX took, and for which of the refused it would have logged the victim on, had they
/// reached it.
fn asked_of_quickfix(cases: &[Case], arrange: impl Fn(Session) -> Session) -> (usize, Vec<String>) {
    let engines = ROUTES.map(|(name, _)| quickfix(name, &arrange));
    let taps = engines
        .each_ref()
        .map(|engine| Tap::before(engine.address()));
    let directory = directory();
    let mut setup = Setup::over(&directory);
    for (tap, (name, _)) in taps.iter().zip(ROUTES) {
        setup = setup.endpoint(name, tap.address());
    }
    let gateway = setup.start();
    let mut accepted = 0;
    let mut misled = Vec::new();
    for case in cases {
        match &case.expect {
            Expect::Engine(engine) => {
                let place = ROUTES.iter().position(|(name, _)| name == engine).unwrap();
                let who = ask_through(&gateway, &taps[place], &case.bytes);
                accepted += usize::from(who.is_some());
                assert!(
                    who.is_none() || who.as_deref() == Some(ROUTES[place].1),
                    "{}: routed to {engine}, and QuickFIX has logged {who:?} on",
                    case.id
                );
            }
            Expect::Refused(reason) if reason == "ambiguous_field" => {
                if logged_on_at(engines[0].address(), &case.bytes).as_deref() == Some("VICTIM") {
                    misled.push(case.id.clone());
                }
            }
            Expect::Refused(_) => {}
        }
    }
    (accepted, misled)
}

#[test]
fn a_quickfix_engine_logs_on_whom_the_gateway_meant_or_nobody() {
    let (accepted, misled) = asked_of_quickfix(&cases(), |session| session);
    println!(
        "QuickFIX took {accepted} of the routed; of the refused it would log VICTIM on for {misled:?}"
    );
    assert!(accepted > 10, "QuickFIX took only {accepted} of the routed");
    assert!(!misled.is_empty(), "the refused are no danger to QuickFIX");
}

/// With a dictionary QuickFIX honours the lengths of data fields. Only cases with right lengths: at a negative one this
/// version of QuickFIX ends with `std::length_error`, whoever sends it.
#[test]
fn a_quickfix_engine_that_honours_data_fields_logs_on_whom_the_gateway_meant_or_nobody() {
    let mut cases = cases();
    cases.retain(|case| ["ordinary", "data hides"].contains(&case.kind.as_str()));
    cases.retain(|case| case.id != "victim-length-wrong");
    let (accepted, _) = asked_of_quickfix(&cases, Session::with_dictionary);
    println!("QuickFIX with a dictionary took {accepted} of the routed");
    assert!(accepted > 6, "QuickFIX took only {accepted} of the routed");
}
