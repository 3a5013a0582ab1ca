//! Do a thousand revisions of the table in a row touch a live session, and is each of them in force on every worker?

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fixture::{Directory, other_routes_yaml};
use fixgw_e2e::flock::Fold;
use fixgw_e2e::gateway::Gateway;
use fixgw_e2e::process::kind;
use serde_json::Value;

use crate::scene::{Home, SESSIONS, assert_in_force, probe_to, sized};

/// Two engines that take turns in having the probe's route: whoever answers says which revision counts.
const ENGINES: [&str; 2] = ["even", "odd"];

/// Revisions before the memory is looked at, so many that the allocator has found its level. An even number: the next one changes
/// the route again.
fn warm() -> usize {
    sized(4, 100)
}

/// Changes the table so often, and proves each on every worker.
fn revise(gateway: &Gateway, directory: &Directory, revisions: usize, mut revised: impl FnMut()) {
    let mut last = 0;
    for revision in 1..=revisions {
        let engine = ENGINES[revision % 2];
        let mark = gateway.mark();
        directory.put(&probe_to(engine));
        let applied =
            |event: &Value| (kind(event) == "applied").then(|| event["revision"].as_u64())?;
        let event = gateway
            .process()
            .wait_after(mark, "the revision", |event| applied(event) > Some(last));
        last = applied(&event).unwrap();
        assert_in_force(gateway, engine);
        revised();
    }
}

fn revisions_under_live_sessions(fault: &str, others: usize, revisions: usize) {
    let home = Home::new();
    let engines = ENGINES.map(EchoEngine::start);
    home.directory.put(&probe_to(ENGINES[0]));
    home.directory
        .write("others", &other_routes_yaml(others, "fold"));
    let mut setup = home.setup().arguments(["--settle-quiet-ms", "0"]);
    for (name, engine) in ENGINES.iter().zip(&engines) {
        setup = setup.endpoint(name, engine.address());
    }
    let gateway = setup.start();
    let address = gateway.address();
    // A control plane has two tables at a time from its first revision on: its memory is looked at after that.
    let gather = |directory: &Directory, fold: Fold| {
        let flock = fold.gather(address, SESSIONS);
        revise(&gateway, directory, warm(), || ());
        flock
    };
    home.attacked_by(fault, &gateway, gather, |directory, flock| {
        revise(&gateway, directory, revisions, || flock.assert_sound());
    });
}

#[test]
fn a_thousand_revisions_in_a_row_break_no_session_and_each_counts_on_every_worker() {
    let revisions = sized(30, 1_000);
    let fault = format!("{revisions} revisions of the table, each proved on every worker");
    revisions_under_live_sessions(&fault, 0, revisions);
}

#[test]
fn a_thousand_revisions_of_ten_thousand_routes_break_no_session_and_each_counts_on_every_worker() {
    let revisions = sized(5, 1_000);
    let fault =
        format!("{revisions} revisions of a table of 10,000 routes, each proved on every worker");
    revisions_under_live_sessions(&fault, 10_000, revisions);
}
