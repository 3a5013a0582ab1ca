//! What do the questions cost that are asked of a whole set: conflicts, routes that can never be chosen, what goes elsewhere
//! after a change? Their time, how it grows, and their memory. Told, never asserted.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking and divides counts"
)]

use std::hint::black_box;
use std::time::Instant;

use fixgw_core::rule::Rule;
use fixgw_core::{conflict, moves, shadow};
use peak_alloc::PeakAlloc;

#[allow(unreachable_pub, reason = "a part of the tests' library, too")]
#[path = "../../../tests/src/figure.rs"]
mod figure;
mod routes;

use figure::Told;
use routes::{exact, mixed, rule};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ROUNDS: usize = 5;

type Make<'m> = &'m dyn Fn(usize) -> Rule;

/// What a question came to.
struct Answer {
    found: usize,
    undecided: bool,
}

/// A question, and of whom it is.
struct Asked<'a> {
    subject: String,
    /// How many there are.
    routes: usize,
    ask: Box<dyn Fn() -> Answer + 'a>,
}

impl<'a> Asked<'a> {
    fn of(subject: &str, routes: usize, ask: impl Fn() -> Answer + 'a) -> Self {
        Self {
            subject: subject.to_owned(),
            routes,
            ask: Box::new(ask),
        }
    }
}

/// Asks each of these in turn, and tells milliseconds, the bytes that a question needs for each route at its highest, and what it
/// finds. Ratios are to the first.
fn tell(table: &str, load: &str, asked: &[Asked<'_>]) {
    let to = asked.first().map(|first| first.subject.as_str());
    let told = |metric, unit, to| Told {
        table,
        load,
        metric,
        unit,
        to,
    };
    let mut times = vec![Vec::new(); asked.len()];
    for _ in 0..ROUNDS {
        for (asked, times) in asked.iter().zip(&mut times) {
            let start = Instant::now();
            black_box((asked.ask)());
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    for (asked, times) in asked.iter().zip(&times) {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let answer = (asked.ask)();
        let bytes = (MEMORY.peak_usage() - before) as f64 / asked.routes as f64;
        told("time", "ms", to).of(&asked.subject, times);
        told("memory for each route", "B", to).of(&asked.subject, &[bytes]);
        told("found", "", None).of(&asked.subject, &[answer.found as f64]);
        told("undecided", "", None).of(&asked.subject, &[f64::from(u8::from(answer.undecided))]);
    }
}

fn main() {
    conflicts();
    growth();
    shadows();
    changes();
}

fn conflicts_of(rules: &[Rule]) -> Answer {
    let found = conflict::conflicts(black_box(rules));
    Answer {
        found: found.count,
        undecided: found.undecided,
    }
}

/// Over sets that have none, that have a thousand, and that were made to be slow.
fn conflicts() {
    let tags = |index: usize| {
        // A tag set of its own for every few routes, all of one size.
        let tag = 5_000 + index % 500;
        let (sender, key) = (format!("BROKER_{index}"), format!("Own{tag}"));
        rule(index, &[("SenderCompID49", &sender), (&key, "X")], None)
    };
    let nested = |index: usize| {
        // Prefixes of prefixes: every route meets those before it in its chain of a hundred, and outranks them.
        let prefix = format!("{:05}{}*", index / 100, "x".repeat(index % 100));
        let priority = i32::try_from(index % 100).unwrap();
        rule(index, &[("SenderCompID49", &prefix)], Some(priority))
    };
    let conflicting = |index: usize| {
        // The last thousand ask for what the first thousand ask for.
        let sender = format!("BROKER_{}", index % 99_000);
        let fields = [("SenderCompID49", &*sender), ("TargetCompID56", "GATEWAY")];
        rule(index, &fields, None)
    };
    let few: [(&str, Make<'_>); 2] = [("mixed", &mixed), ("exact", &exact)];
    let many: [(&str, Make<'_>); 5] = [
        ("mixed", &mixed),
        ("exact", &exact),
        ("a thousand in conflict", &conflicting),
        ("nested prefixes", &nested),
        ("500 tag sets", &tags),
    ];
    for (size, kinds) in [(10_000, &few[..]), (100_000, &many[..])] {
        let asked = kinds.iter().map(|(name, make)| {
            let rules: Vec<Rule> = (0..size).map(make).collect();
            Asked::of(name, size, move || conflicts_of(&rules))
        });
        let asked: Vec<_> = asked.collect();
        tell("conflicts", &format!("{size} routes"), &asked);
    }
}

/// How the time grows with the routes: ten times as many take ten times as long, when it is in proportion.
fn growth() {
    for (name, make) in [("mixed", mixed as fn(usize) -> Rule), ("exact", exact)] {
        let asked = [20_000, 200_000].map(|size| {
            let rules: Vec<Rule> = (0..size).map(make).collect();
            Asked::of(&format!("{size} routes"), size, move || {
                conflicts_of(&rules)
            })
        });
        tell("growth", name, &asked);
    }
}

fn shadows() {
    let asked = [10_000, 100_000].map(|size| {
        let rules: Vec<Rule> = (0..size).map(mixed).collect();
        Asked::of(&format!("{size} routes"), size, move || {
            let found = shadow::shadows(black_box(&rules));
            Answer {
                found: found.routes.len(),
                undecided: found.undecided,
            }
        })
    });
    tell("shadows", "mixed", &asked);
}

/// One edit, and a tenth of the routes, in sets of two sizes.
fn changes() {
    for size in [10_000, 100_000] {
        let asked = [size, 10].map(|every| {
            let old: Vec<Rule> = (0..size).map(mixed).collect();
            // Other numbers are other senders: each edit takes one route away and brings another.
            let edited =
                |index: usize| mixed(index + if index % every == 7 { 10 * size } else { 0 });
            let new: Vec<Rule> = (0..size).map(edited).collect();
            Asked::of(&format!("{} edited", size / every), size, move || {
                let found = moves::moves(black_box(&old), black_box(&new));
                Answer {
                    found: found.count,
                    undecided: found.undecided,
                }
            })
        });
        tell("moves", &format!("{size} routes"), &asked);
    }
}
