//! What does the gateway decide, and why? Reading Logons, matching rules, the table, the decision, the
//! connection's life: everything that the filter (wasm32) and the control plane (native) must agree on.
//!
//! Never does I/O, never reads a clock (time is passed in), never panics, never recurses on input, and never lets a
//! field's value out except through [`redact`].

#![no_std]

extern crate alloc;

pub mod agreement;
pub mod config;
pub mod conflict;
pub mod connecting;
pub mod connection;
pub mod decision;
pub mod handshake;
pub mod held;
pub mod inline;
pub mod limits;
pub mod miss;
pub mod moves;
pub mod names;
pub mod otlp;
pub mod outbox;
pub mod passing;
pub mod path;
pub mod range;
pub mod readiness;
pub mod redact;
pub mod report;
pub mod rule;
pub mod sessions;
pub mod shadow;
pub mod table;
pub mod wire;
pub mod witness;

mod image;
mod key;
mod overlap;
