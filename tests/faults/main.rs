//! Does every live session go on, whatever befalls the gateway?
//!
//! One file for each kind of fault. Each test attacks a running gateway of two workers beside at least two hundred live sessions
//! that speak all the while, and counts every message on both sides of each. In `make test` each is short; `make faults` plays
//! them in full, one after the other (`FIXGW_FAULTS=full`), and prints a table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod certificates;
mod clusters;
mod control;
mod disk;
mod hold;
mod impostor;
mod load;
mod scene;
mod table;
