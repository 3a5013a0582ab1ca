//! Figures of the questions that are asked of a whole set: conflicts, routes that can never be chosen, what goes elsewhere
//! after a change; their time, how it grows, and their memory.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking and prints rounded figures"
)]

use std::hint::black_box;
use std::time::Instant;

use fixgw_core::rule::Rule;
use fixgw_core::{conflict, moves, shadow};
use peak_alloc::PeakAlloc;

mod routes;

use routes::{exact, mixed, rule};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const ROUNDS: usize = 5;

type Make<'m> = &'m dyn Fn(usize) -> Rule;

/// Median milliseconds of a call, the bytes that it needs for each route at its highest, and what it says.
fn measured<F>(routes: usize, mut ask: impl FnMut() -> F) -> (f64, f64, F) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let mut answer = ask();
    let bytes = (MEMORY.peak_usage() - before) as f64 / routes as f64;
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            answer = ask();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[ROUNDS / 2], bytes, answer)
}

fn main() {
    conflicts();
    growth();
    shadows();
    changes();
}

fn undecided(undecided: bool) -> &'static str {
    if undecided { ", UNDECIDED" } else { "" }
}

/// Over sets that have none, that have a thousand, and that were made to be slow.
fn conflicts() {
    println!("check for conflicts, ms (median of {ROUNDS}); bytes for each route");
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
    let sets: [(&str, usize, Make<'_>); 7] = [
        ("mixed", 10_000, &mixed),
        ("mixed", 100_000, &mixed),
        ("exact", 10_000, &exact),
        ("exact", 100_000, &exact),
        ("a thousand in conflict", 100_000, &conflicting),
        ("nested prefixes", 100_000, &nested),
        ("500 tag sets", 100_000, &tags),
    ];
    for (name, size, make) in sets {
        let rules: Vec<Rule> = (0..size).map(make).collect();
        let (ms, bytes, found) = measured(size, || conflict::conflicts(black_box(&rules)));
        println!(
            "  {name:22} {size:7} routes: {ms:6.0}  {bytes:4.0} B  {} conflicts{}",
            found.count,
            undecided(found.undecided)
        );
    }
}

/// How the time grows with the routes: the exponent over ten times as many, 1 when it is in proportion.
fn growth() {
    println!("check for conflicts, how it grows from 20,000 to 200,000 routes");
    for (name, make) in [("mixed", mixed as fn(usize) -> Rule), ("exact", exact)] {
        let ms = [20_000, 200_000].map(|size| {
            let rules: Vec<Rule> = (0..size).map(make).collect();
            measured(size, || conflict::conflicts(black_box(&rules))).0
        });
        println!("  {name:22} exponent {:.2}", (ms[1] / ms[0]).log10());
    }
}

fn shadows() {
    println!("routes that can never be chosen, ms (median of {ROUNDS}); bytes for each route");
    for size in [10_000, 100_000] {
        let rules: Vec<Rule> = (0..size).map(mixed).collect();
        let (ms, bytes, found) = measured(size, || shadow::shadows(black_box(&rules)));
        println!(
            "  {:22} {size:7} routes: {ms:6.0}  {bytes:4.0} B  {} shadowed{}",
            "mixed",
            found.routes.len(),
            undecided(found.undecided)
        );
    }
}

/// One edit, and a tenth of the routes, in sets of two sizes.
fn changes() {
    println!("what goes elsewhere, ms (median of {ROUNDS}); bytes for each route");
    for (size, every) in [
        (10_000, 10_000),
        (10_000, 10),
        (100_000, 100_000),
        (100_000, 10),
    ] {
        let old: Vec<Rule> = (0..size).map(mixed).collect();
        // Other numbers are other senders: each edit takes one route away and brings another.
        let edited = |index: usize| mixed(index + if index % every == 7 { 10 * size } else { 0 });
        let new: Vec<Rule> = (0..size).map(edited).collect();
        let (ms, bytes, found) = measured(size, || moves::moves(black_box(&old), black_box(&new)));
        println!(
            "  {:5} routes differ      {size:7} routes: {ms:6.0}  {bytes:4.0} B  {} moves{}",
            found.routes.len(),
            found.count,
            undecided(found.undecided)
        );
    }
}
