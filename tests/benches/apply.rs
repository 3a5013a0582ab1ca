//! How long from saving a file until every worker uses it? Printed, never asserted.
//!
//! The programs are those of `FIXGW_BIN_DIR`; a VM reports at most every 100 ms, so up to that much of each figure is
//! the reporting and not the using.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking and prints rounded figures"
)]

use std::time::Instant;

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::Setup;

const EDITS: usize = 25;

fn main() {
    let (first, second) = (EchoEngine::start("first"), EchoEngine::start("second"));
    let route = |service: &str| Route::new("broker", service).value("SenderCompID49", "BROKER");
    let directory = Directory::of(&[route("first")]);
    let gateway = Setup::over(&directory)
        .endpoint("first", first.address())
        .endpoint("second", second.address())
        .start();
    let mut figures: Vec<f64> = (0..EDITS)
        .map(|edit| {
            let service = if edit % 2 == 0 { "second" } else { "first" };
            let mut saved = Instant::now();
            gateway.apply(|| {
                directory.put(&route(service));
                saved = Instant::now();
            });
            saved.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    figures.sort_by(f64::total_cmp);
    println!(
        "saving a file until every worker uses it, ms ({EDITS} edits): median {:.0}, most {:.0} (reach: 400, 250 of it settling)",
        figures[EDITS / 2],
        figures[EDITS - 1],
    );
}
