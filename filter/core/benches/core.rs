//! Figures of the core: reading a Logon, looking it up among more and more routes. Printed, never asserted: medians of
//! several rounds, and ratios within one run, because machines are noisy.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking and prints rounded figures"
)]

use std::hint::black_box;
use std::time::Instant;

use fixgw_core::agreement;
use fixgw_core::limits;
use fixgw_core::rule::Rule;
use fixgw_core::table::{Lookup, Slots, Table};
use fixgw_core::wire::{self, Logon, ReadLimits, Reading};

mod routes;

use routes::{Make, exact, mixed, prefix, rule};

const ROUNDS: usize = 15;
const SIZES: [usize; 4] = [10, 1_000, 10_000, 100_000];

fn main() {
    reading();
    lookups();
}

/// Median nanoseconds of one call, over rounds of `calls` calls.
fn median_ns(calls: u32, mut call: impl FnMut(u32)) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for index in 0..calls {
                call(index);
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn message(extra: &str) -> Vec<u8> {
    let body = format!(
        "35=A|34=1|49=BROKER_A|52=20260801-09:30:00.000|56=GATEWAY|57=DESK_7|98=0|108=30|141=Y|553=user|554=secret|{extra}"
    );
    format!("8=FIX.4.4|9={}|{body}10=000|", body.len())
        .replace('|', "\u{1}")
        .into_bytes()
}

fn reading() {
    let logon = message(
        "20001=VWAP|58=an ordinary Logon of two hundred bytes, more or less, as venues see them|",
    );
    let repeated =
        message("20001=VWAP|372=D|372=8|58=the same with a group, so that readings are compared|");
    let table = Table::compile(&[rule(0, &[("SenderCompID49", "BROKER_A")], None)], 1).unwrap();
    println!("reading, ns (median of {ROUNDS} rounds)");
    let read_ns = median_ns(100_000, |_| {
        black_box(wire::read(black_box(&logon), &ReadLimits::default()));
    });
    println!(
        "  a Logon of {} bytes: {read_ns:.0} (reach: 1,000)",
        logon.len()
    );
    println!("deciding one that was read, ns; ratio to the lookup by the strict reading alone");
    let worst = odd_to_the_brim();
    for (name, bytes) in [
        ("an ordinary Logon", &logon),
        ("one with a group, which is read again", &repeated),
        ("the oddest of 8 KiB", &worst),
    ] {
        let logon = read(bytes);
        let (strict, agreed) = against_strict(&table, &logon);
        println!("  {name}: {agreed:.0} ({:.2})", agreed / strict);
    }
}

/// Medians of the lookup by the strict reading, and of the decision on which all readings agree. They take turns, so that
/// a slow moment hits both.
fn against_strict(table: &Table, logon: &Logon<'_>) -> (f64, f64) {
    const CALLS: u32 = 2_000;
    let mut rounds: [Vec<f64>; 2] = Default::default();
    for _ in 0..ROUNDS {
        let mut time = |which: usize, call: &dyn Fn()| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| call());
            rounds[which].push(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
        };
        time(0, &|| {
            let slots = agreement::strict_slots(table, black_box(logon), None);
            black_box(table.lookup(&slots));
        });
        time(1, &|| {
            black_box(agreement::evaluate(table, black_box(logon), None));
        });
    }
    let [strict, agreed] = rounds.map(|mut figures| {
        figures.sort_by(f64::total_cmp);
        figures[ROUNDS / 2]
    });
    (strict, agreed)
}

/// As many bytes and fields as a Logon may have, most of them odd in a way of their own: repeated routed tags, numbers
/// with zeros and blanks, data fields with early lengths. Every reading sees the same route, so that all are taken.
fn odd_to_the_brim() -> Vec<u8> {
    const ODD: &str = "049=BROKER_A|95=1|96=x| 49=BROKER_A|49=BROKER_A|";
    const ROOM: usize = limits::LOGON_BYTES_MAX as usize - 200;
    let fields = ODD.matches('|').count();
    let most = (limits::LOGON_FIELDS_MAX as usize - 20) / fields;
    let times = most.min(ROOM / ODD.len());
    let rest = "x".repeat(ROOM - times * ODD.len());
    message(&format!("{}58={rest}|", ODD.repeat(times)))
}

fn sender(kind: &str, index: usize) -> String {
    match kind {
        "exact" => format!("BROKER_{index}"),
        "prefix" => format!("BR{index:06}-7"),
        _ => format!("BR{index:06}"),
    }
}

/// The same ten Logons at every size: what grows is the table, not the set of questions, so that the figure is the
/// lookup's and not that of the processor's caches.
fn lookups() {
    println!(
        "lookup, ns (median of {ROUNDS} rounds, the sizes in turn); ratio to {} routes (reach: 0.8 to 1.2)",
        SIZES[0]
    );
    let kinds: [(&str, Make); 3] = [("exact", exact), ("prefix", prefix), ("mixed", mixed)];
    for (kind, make) in kinds {
        let tables = SIZES.map(|size| {
            let rules: Vec<Rule> = (0..size).map(make).collect();
            Table::compile(&rules, 1).unwrap()
        });
        let hits: Vec<Vec<u8>> = (0..10).map(|n| question(&sender(kind, n))).collect();
        let misses: Vec<Vec<u8>> = (0..100).map(|n| question(&format!("NOBODY_{n}"))).collect();
        let hit = in_turn(&tables, &hits, 10);
        let miss = in_turn(&tables, &misses, 0);
        for (place, table) in tables.iter().enumerate() {
            println!(
                "  {kind:6} {:7} routes, {:2} shapes:  hit {:5.0} ({:.2})  miss {:5.0} ({:.2})",
                SIZES[place],
                table.shape_count(),
                hit[place],
                hit[place] / hit[0],
                miss[place],
                miss[place] / miss[0],
            );
        }
    }
}

/// Median nanoseconds of a lookup in each table; every round asks all of them, so that a slow moment hits all alike.
fn in_turn(
    tables: &[Table; SIZES.len()],
    questions: &[Vec<u8>],
    wanted: usize,
) -> [f64; SIZES.len()] {
    const CALLS: u32 = 20_000;
    let logons: Vec<Logon<'_>> = questions.iter().map(|bytes| read(bytes)).collect();
    let slots: Vec<Vec<Slots<'_>>> = tables
        .iter()
        .map(|table| {
            logons
                .iter()
                .map(|logon| agreement::strict_slots(table, logon, None))
                .collect()
        })
        .collect();
    let mut rounds: [Vec<f64>; SIZES.len()] = Default::default();
    for _ in 0..ROUNDS {
        for ((table, slots), figures) in tables.iter().zip(&slots).zip(&mut rounds) {
            let start = Instant::now();
            for n in 0..CALLS {
                black_box(table.lookup(black_box(&slots[n as usize % slots.len()])));
            }
            figures.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
        }
    }
    for (table, slots) in tables.iter().zip(&slots) {
        let found = slots
            .iter()
            .filter(|slots| table.lookup(slots) != Lookup::None)
            .count();
        assert_eq!(found, wanted);
    }
    rounds.map(|mut figures| {
        figures.sort_by(f64::total_cmp);
        figures[ROUNDS / 2]
    })
}

fn question(sender: &str) -> Vec<u8> {
    let body = format!("35=A|49={sender}|56=GATEWAY|57=DESK_7|34=1|20001=VWAP|");
    format!("8=FIX.4.4|9={}|{body}10=000|", body.len())
        .replace('|', "\u{1}")
        .into_bytes()
}

fn read(bytes: &[u8]) -> Logon<'_> {
    match wire::read(bytes, &ReadLimits::default()) {
        Reading::Logon(logon) => logon,
        Reading::Incomplete | Reading::NotLogon(_) => unreachable!("a Logon"),
    }
}
