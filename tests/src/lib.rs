//! How do the end-to-end tests start, drive and watch the real parts?
//!
//! A test starts a real Envoy, the real programs and real QuickFIX peers, does one thing, and awaits
//! what must be seen. This library is what the tests are written in.
//!
//! Invariants:
//! - Nothing outlives the test that started it: every child has its own process group, asks the kernel
//!   for SIGKILL at its parent's death, and its group is killed on drop.
//! - Every wait is for an event and has a named bound; when the bound is met, the test fails with what
//!   every program of the test has printed.
//! - No fixed ports: whatever listens takes port 0 and says what it got.
//! - A missing tool fails a test with a sentence; nothing is skipped in silence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "the library is a part of the tests, and a test fails by panicking"
)]

pub mod apart;
pub mod api;
pub mod apiserver;
pub mod attack;
pub mod cluster;
pub mod control;
pub mod counted;
pub mod echo;
pub mod figure;
pub mod fix;
pub mod fixture;
pub mod flock;
pub mod gateway;
pub mod hostile;
pub mod image;
pub mod impostor;
pub mod inside;
pub mod many;
pub mod memory;
pub mod pair;
pub mod peer;
pub mod pod;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod secret;
pub mod socket;
pub mod tap;
pub mod tls;
pub mod told;
pub mod tool;
pub mod unbroken;
