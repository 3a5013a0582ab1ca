//! What is in the repository? For the rules in `tests/repo`: its files, its crates, the paths that its Rust code names.
//!
//! Must never decide whether something is allowed: the rules do, and they are data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "only tests use it, and a test fails by panicking"
)]

pub mod crates;
pub mod files;
pub mod paths;
