//! How long from saving the file that says that an engine is ready until a held counterparty hears from it? Told, never
//! asserted. The control plane is in the loop. It is compared to how long a Logon takes that need not be held.
//!
//! The programs are those of `FIXGW_BIN_DIR`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]

use std::time::Instant;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::figure::Told;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route, slices_yaml};
use fixgw_e2e::gateway::Setup;
use fixgw_e2e::process::{text, wait_until};
use fixgw_e2e::raw::RawClient;

/// Connections of each round.
const HELD: usize = 20;
const ROUNDS: usize = 5;
const AT_ONCE: &str = "a Logon that is not held";

fn main() {
    let engine = EchoEngine::start("engine");
    let directory =
        Directory::of(&[Route::new("broker", "engine").value("SenderCompID49", "BROKER")]);
    directory.put_service("engine", &[]);
    let gateway = Setup::over(&directory).start();
    let logon = fix::logon("FIX.4.4", "BROKER", "VENUE", &[]);
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let took = || {
        // That there is no endpoint any more takes a moment to arrive.
        let mut client = wait_until("a held connection", || {
            let mut client = RawClient::connect(gateway.address());
            client.send(&logon);
            let record = gateway.decision_about(client.address());
            (text(&record, "decision") == "HELD").then_some(client)
        });
        let ready = slices_yaml("engine", &[engine.address()]);
        let saved = Instant::now();
        directory.write("engine-endpoints", &ready);
        assert_eq!(client.take_greeting(), "engine");
        let held = ms(saved);
        let sent = Instant::now();
        let mut client = RawClient::connect(gateway.address());
        client.send(&logon);
        assert_eq!(client.take_greeting(), "engine");
        let at_once = ms(sent);
        directory.write("engine-endpoints", &slices_yaml("engine", &[]));
        (at_once, held)
    };
    let mut rounds: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..ROUNDS {
        let (at_once, held): (Vec<f64>, Vec<f64>) = (0..HELD).map(|_| took()).unzip();
        for (mut figures, rounds) in [at_once, held].into_iter().zip(&mut rounds) {
            figures.sort_by(f64::total_cmp);
            rounds[0].push(figures[HELD / 2]);
            rounds[1].push(figures[HELD - 1]);
        }
    }
    for (place, metric) in ["median", "longest"].into_iter().enumerate() {
        let told = Told {
            table: "holding",
            load: "one connection",
            metric,
            unit: "ms",
            to: Some(AT_ONCE),
        };
        let subjects = [
            AT_ONCE,
            "an endpoint is ready until a held one is connected",
        ];
        for (subject, rounds) in subjects.into_iter().zip(&rounds) {
            told.of(subject, &rounds[place]);
        }
    }
}
