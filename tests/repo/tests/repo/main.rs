//! The rules that the repository keeps, each a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod arrows;
mod dependencies;
mod documents;
mod figures;
mod hygiene;
mod module;
mod properties;

/// Fails with every finding, not only the first.
#[track_caller]
fn none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
