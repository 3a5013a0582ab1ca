//! How does the gateway do beside what people use today, on the same machine in the same run?
//!
//! Subjects (a direct connection, HAProxy, nginx, plain Envoy, the whole gateway) get the same processor, the same counterparties, the
//! same engines and the same rules; rounds take turns, and what is told are medians with their spread, and ratios to plain Envoy.
//! `docs/benchmarks/README.md` says how everything is measured, and what it came to. `parts` puts into the same form what the gateway's
//! parts cost by themselves.
//!
//! Invariants:
//! - Nothing outlives a run: it has namespaces of its own, and the kernel ends what is in them.
//! - No figure without its spread, unless it is a count of what happened once.
//! - What went wrong stands in the same row as the figure: sessions lost, Logons refused or sent to another engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a benchmark fails by panicking, as the tests' library does that it is written in"
)]

pub mod check;
pub mod correctness;
pub mod cpu;
pub mod facts;
pub mod figures;
#[cfg(test)]
mod golden;
pub mod load;
mod measure;
pub mod metrics;
pub mod parts;
pub mod plot;
pub mod quiet;
mod reach;
pub mod report;
mod rounds;
pub mod run;
mod sample;
pub mod scale;
pub mod scene;
pub mod statistics;
pub mod subject;
pub mod table;
mod units;
