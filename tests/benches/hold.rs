//! How long from saving the file that says that an engine is ready until a held counterparty hears from it? Printed, never
//! asserted. The control plane is in the loop.
//!
//! The programs are those of `FIXGW_BIN_DIR`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking and prints rounded figures"
)]

use std::time::Instant;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route, slices_yaml};
use fixgw_e2e::gateway::Setup;
use fixgw_e2e::process::{text, wait_until};
use fixgw_e2e::raw::RawClient;

const ROUNDS: usize = 100;

fn main() {
    let engine = EchoEngine::start("engine");
    let directory =
        Directory::of(&[Route::new("broker", "engine").value("SenderCompID49", "BROKER")]);
    directory.put_service("engine", &[]);
    let gateway = Setup::over(&directory).start();
    let mut figures: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            // That there is no endpoint any more takes a moment to arrive.
            let mut client = wait_until("a held connection", || {
                let mut client = RawClient::connect(gateway.address());
                client.send(&fix::logon("FIX.4.4", "BROKER", "VENUE", &[]));
                let record = gateway.decision_about(client.address());
                (text(&record, "decision") == "HELD").then_some(client)
            });
            let ready = slices_yaml("engine", &[engine.address()]);
            let saved = Instant::now();
            directory.write("engine-endpoints", &ready);
            assert_eq!(client.take_greeting(), "engine");
            let took = saved.elapsed().as_secs_f64() * 1e3;
            directory.write("engine-endpoints", &slices_yaml("engine", &[]));
            took
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    let at = |part: usize| figures[(ROUNDS * part / 100).min(ROUNDS - 1)];
    println!(
        "an endpoint is ready until a held connection is connected, ms ({ROUNDS} rounds): p50 {:.0}, p99 {:.0} (reach: 30, 100)",
        at(50),
        at(99),
    );
}
