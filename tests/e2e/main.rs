//! Does the whole gateway do what it promises, on a real Envoy and with real QuickFIX peers?
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod attack;
mod bench;
mod bootstrap;
mod change;
mod containment;
mod documents;
mod drain;
mod examples;
mod existing;
mod gone;
mod harness;
mod hold;
mod images;
mod loss;
mod pod;
mod proxy;
mod refusal;
mod reload;
mod retry;
mod routing;
mod secrecy;
mod sequence;
mod sources;
mod start;
mod status;
mod storm;
mod tls;
