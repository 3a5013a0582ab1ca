//! What do reading a Logon and looking it up among more and more routes cost? Told, never asserted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark fails by panicking"
)]

use std::hint::black_box;
use std::time::Instant;

use fixgw_core::agreement;
use fixgw_core::limits;
use fixgw_core::rule::Rule;
use fixgw_core::table::{Lookup, Slots, Table};
use fixgw_core::wire::{self, Logon, ReadLimits, Reading};

#[allow(unreachable_pub, reason = "a part of the tests' library, too")]
#[path = "../../../tests/src/figure.rs"]
mod figure;
mod routes;

use figure::Told;
use routes::{Make, exact, mixed, prefix, rule};

const ROUNDS: usize = 15;
const SIZES: [usize; 4] = [10, 1_000, 10_000, 100_000];
/// Whom the others are compared to.
const TOUCHED: &str = "a look at each of its bytes";
const STRICT: &str = "the strict reading alone";
const FEWEST: &str = "10 routes";

fn main() {
    reading();
    lookups();
}

/// The time of a call.
const fn time<'t>(table: &'t str, load: &'t str, to: &'t str) -> Told<'t> {
    Told {
        table,
        load,
        metric: "time",
        unit: "ns",
        to: Some(to),
    }
}

/// Nanoseconds of a call of each of these, in each round; they take turns, so that a slow moment hits all alike.
fn in_turn<const N: usize>(calls: u32, asked: [&dyn Fn(u32); N]) -> [Vec<f64>; N] {
    let mut rounds = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (call, figures) in asked.iter().zip(&mut rounds) {
            let start = Instant::now();
            (0..calls).for_each(call);
            figures.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
        }
    }
    rounds
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
    let [touched, taken] = in_turn(
        100_000,
        [
            &|_| {
                black_box(touch(black_box(&logon)));
            },
            &|_| {
                black_box(wire::read(black_box(&logon), &ReadLimits::default()));
            },
        ],
    );
    let told = time("reading", "an ordinary Logon", TOUCHED);
    told.of(TOUCHED, &touched);
    told.of("the Logon", &taken);
    let worst = odd_to_the_brim();
    for (name, bytes) in [
        ("an ordinary Logon", &logon),
        ("one with a group, which is read again", &repeated),
        ("the oddest of 8 KiB", &worst),
    ] {
        let logon = read(bytes);
        let [strict, agreed] = in_turn(
            2_000,
            [
                &|_| {
                    let slots = agreement::strict_slots(&table, black_box(&logon), None);
                    black_box(table.lookup(&slots));
                },
                &|_| {
                    black_box(agreement::evaluate(&table, black_box(&logon), None));
                },
            ],
        );
        let told = time("deciding", name, STRICT);
        told.of(STRICT, &strict);
        told.of("every reading", &agreed);
    }
}

/// Each byte, by a multiplication that waits for the one before: what the least look at a message takes.
fn touch(bytes: &[u8]) -> u64 {
    let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
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
    let kinds: [(&str, Make); 3] = [("exact", exact), ("prefix", prefix), ("mixed", mixed)];
    for (kind, make) in kinds {
        let tables = SIZES.map(|size| {
            let rules: Vec<Rule> = (0..size).map(make).collect();
            Table::compile(&rules, 1).unwrap()
        });
        let hits: Vec<Vec<u8>> = (0..10).map(|n| question(&sender(kind, n))).collect();
        let misses: Vec<Vec<u8>> = (0..100).map(|n| question(&format!("NOBODY_{n}"))).collect();
        for (what, questions, wanted) in [("hit", &hits, 10), ("miss", &misses, 0)] {
            let load = format!("{kind}: {what}");
            let told = time("lookup", &load, FEWEST);
            for (size, rounds) in SIZES.iter().zip(of_each(&tables, questions, wanted)) {
                told.of(&format!("{size} routes"), &rounds);
            }
        }
    }
}

/// A lookup in each table.
fn of_each(
    tables: &[Table; SIZES.len()],
    questions: &[Vec<u8>],
    wanted: usize,
) -> [Vec<f64>; SIZES.len()] {
    let logons: Vec<Logon<'_>> = questions.iter().map(|bytes| read(bytes)).collect();
    let slots = tables.each_ref().map(|table| -> Vec<Slots<'_>> {
        let of = |logon| agreement::strict_slots(table, logon, None);
        logons.iter().map(of).collect()
    });
    for (table, slots) in tables.iter().zip(&slots) {
        let found = slots
            .iter()
            .filter(|slots| table.lookup(slots) != Lookup::None)
            .count();
        assert_eq!(found, wanted);
    }
    let look = |size: usize| {
        let (table, slots) = (&tables[size], &slots[size]);
        move |n: u32| {
            black_box(table.lookup(black_box(&slots[n as usize % slots.len()])));
        }
    };
    let looks: [_; SIZES.len()] = std::array::from_fn(look);
    in_turn(20_000, looks.each_ref().map(|look| look as &dyn Fn(u32)))
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
