//! What must hold for any bytes?
//!
//! One function for each place where bytes of others come in; each takes the bytes and panics where a law is broken.
//! `targets/` gives them to libFuzzer, which looks for such bytes as long as it is let (`make fuzz`); `tests/replay.rs`
//! gives them the corpus and small changes of it, in every `make test`. They do nothing but that: no state that a run
//! leaves to the next, no clock, no chance, so that what failed once fails again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "the library is a part of the tests, and a test fails by panicking"
)]

mod logon;
mod mutate;
mod parse;
mod readings;
mod routes;
mod table;
mod yaml;

pub use logon::logon;
pub use mutate::Mutator;
pub use parse::parse;
pub use readings::readings;
pub use table::table;
pub use yaml::yaml;

/// One place where bytes come in.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Names its corpus and its program.
    pub name: &'static str,
    /// Panics where a law is broken.
    pub run: fn(&[u8]),
    /// Changed files of the corpus that a test gives it: a second or so, whatever they cost.
    pub changes: u32,
    /// What its bytes are made of.
    pub words: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target {
        name: "logon",
        run: logon,
        changes: 1_000,
        words: mutate::FIX,
    },
    Target {
        name: "readings",
        run: readings,
        changes: 1_000,
        words: mutate::FIX,
    },
    Target {
        name: "table",
        run: table,
        changes: 1_000,
        words: mutate::WORDS,
    },
    Target {
        name: "yaml",
        run: yaml,
        changes: 2_000,
        words: mutate::YAML,
    },
    Target {
        name: "parse",
        run: parse,
        changes: 400,
        words: mutate::FIX,
    },
];
