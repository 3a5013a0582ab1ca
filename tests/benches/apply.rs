//! How long from saving a file until every worker uses it? Told, never asserted.
//!
//! The programs are those of `FIXGW_BIN_DIR`; a VM reports at most every 100 ms, so up to that much of each figure is
//! the reporting and not the using.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]

use std::time::Instant;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::figure::Told;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::Setup;

/// Edits of each round.
const EDITS: usize = 5;
const ROUNDS: usize = 5;
/// How long the control plane waits for more edits by default: what the others are compared to.
const SETTLING_MS: f64 = 250.0;
const SETTLING: &str = "waiting for more edits";

fn main() {
    let (first, second) = (EchoEngine::start("first"), EchoEngine::start("second"));
    let route = |service: &str| Route::new("broker", service).value("SenderCompID49", "BROKER");
    let directory = Directory::of(&[route("first")]);
    let gateway = Setup::over(&directory)
        .endpoint("first", first.address())
        .endpoint("second", second.address())
        .start();
    let took = |edit: usize| {
        let service = if edit.is_multiple_of(2) {
            "second"
        } else {
            "first"
        };
        let mut saved = Instant::now();
        gateway.apply(|| {
            directory.put(&route(service));
            saved = Instant::now();
        });
        saved.elapsed().as_secs_f64() * 1e3
    };
    let (mut medians, mut longest) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut figures: Vec<f64> = (0..EDITS).map(|edit| took(round * EDITS + edit)).collect();
        figures.sort_by(f64::total_cmp);
        medians.push(figures[EDITS / 2]);
        longest.push(figures[EDITS - 1]);
    }
    for (metric, figures) in [("median", medians), ("longest", longest)] {
        let told = Told {
            table: "applying",
            load: "one route",
            metric,
            unit: "ms",
            to: Some(SETTLING),
        };
        told.of(SETTLING, &[SETTLING_MS; ROUNDS]);
        told.of("saving a file until every worker uses it", &figures);
    }
}
