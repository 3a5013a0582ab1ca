//! Does the whole gateway do what it promises, on a real Envoy and with real QuickFIX peers?
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod harness;
