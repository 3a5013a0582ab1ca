//! The compiled table against a naive evaluator that shares no code with it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use fixgw_core::agreement::{self, Verdict};
use fixgw_core::conflict;
use fixgw_core::range::SourceAddress;
use fixgw_core::rule::Rule;
use fixgw_core::table::{self, CompileError, Lookup, Table};
use fixgw_core::wire::{self, ReadLimits, Reading};
use proptest::prelude::*;
use std::net::IpAddr;

mod naive;

use naive::{Naive, SOURCES, TAGS, message, naive, route};

fn address(text: &str) -> SourceAddress {
    text.parse::<IpAddr>().unwrap().into()
}

fn logon() -> impl Strategy<Value = Vec<(u32, String)>> {
    proptest::collection::btree_map(proptest::sample::select(&TAGS[..]), "[AB]{0,3}", 0..5)
        .prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn lookup_agrees_with_a_naive_evaluator(
        routes in proptest::collection::vec(route(), 0..12),
        logons in proptest::collection::vec((logon(), proptest::sample::select(&SOURCES[..])), 1..8),
    ) {
        let rules: Vec<Rule> = routes.iter().enumerate().map(|(i, r)| r.rule(i)).collect();
        let table = match Table::compile(&rules, 1) {
            Ok(table) => table,
            Err(CompileError::Conflicts(conflicts)) => {
                prop_assert!(!conflicts.is_empty());
                return Ok(());
            }
            Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        let loaded = Table::load(table.image().to_vec()).unwrap();
        for (logon, source) in logons {
            let bytes = message(&logon);
            let Reading::Logon(read) = wire::read(&bytes, &ReadLimits::default()) else {
                return Err(TestCaseError::fail("not read"));
            };
            let wanted = naive(&routes, &logon, source);
            let found = agreement::evaluate(&loaded, &read, Some(address(source)));
            match (&wanted[..], found) {
                ([], Verdict::NoMatch) => {}
                ([index], Verdict::Route(route, _)) => {
                    prop_assert_eq!(loaded.route_name(route).unwrap().1, format!("r{index}"));
                    prop_assert_eq!(loaded.target(route).unwrap(), format!("t/s{index}:1"));
                }
                (wanted, found) => {
                    return Err(TestCaseError::fail(format!("{wanted:?} {found:?}")));
                }
            }
        }
    }

    #[test]
    fn any_order_of_rules_gives_the_same_bytes(routes in proptest::collection::vec(route(), 0..8)) {
        let mut rules: Vec<Rule> = routes.iter().enumerate().map(|(i, r)| r.rule(i)).collect();
        let forth = Table::compile(&rules, 1);
        rules.reverse();
        let back = Table::compile(&rules, 1);
        match (forth, back) {
            (Ok(forth), Ok(back)) => prop_assert_eq!(forth.image(), back.image()),
            (Err(forth), Err(back)) => prop_assert_eq!(forth, back),
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }

    #[test]
    fn hostile_bytes_never_panic_the_loader(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut image = table::MAGIC.to_vec();
        image.extend(bytes);
        let _ = Table::load(image);
    }
}

fn table_of(routes: &[Naive]) -> Table {
    let rules: Vec<Rule> = routes.iter().enumerate().map(|(i, r)| r.rule(i)).collect();
    Table::compile(&rules, 9).unwrap()
}

fn fields(fields: &[(u32, &str)], priority: i32) -> Naive {
    Naive {
        fields: fields.iter().map(|(t, v)| (*t, (*v).to_string())).collect(),
        ranges: Vec::new(),
        default: fields.is_empty(),
        priority,
    }
}

impl Naive {
    fn from(mut self, ranges: &[&str]) -> Self {
        self.ranges = ranges.iter().map(ToString::to_string).collect();
        self
    }
}

#[test]
fn any_changed_byte_of_an_image_is_refused() {
    let table = table_of(&[
        fields(&[(49, "A")], 0),
        fields(&[(49, "B*")], 1).from(&["10.0.0.0/8", "::/0"]),
        fields(&[], 1),
    ]);
    for at in (0..table.image().len()).filter(|at| !(12..16).contains(at)) {
        let mut image = table.image().to_vec();
        image[at] ^= 0x10;
        assert!(Table::load(image).is_err(), "byte {at}");
    }
    for end in 0..table.image().len() {
        assert!(
            Table::load(table.image()[..end].to_vec()).is_err(),
            "cut at {end}"
        );
    }
}

#[test]
fn a_table_whose_parts_point_anywhere_answers_without_panicking() {
    // The checksum guards against accidents; a table made with a right one must still do no harm.
    let table = table_of(&[
        fields(&[(49, "A")], 0).from(&["10.1.0.0/16", "10.0.0.0/8"]),
        fields(&[(49, "B*")], 1),
    ]);
    let mut slots = table.slots(None);
    let bytes = message(&[(49, "A".into())]);
    let Reading::Logon(logon) = wire::read(&bytes, &ReadLimits::default()) else {
        unreachable!("a Logon")
    };
    for at in 32..table.image().len() {
        for with in [0x00, 0x01, 0x7F, 0xFF] {
            let mut image = table.image().to_vec();
            image[at] = with;
            if let Ok(bent) = Table::load(reseal(image)) {
                slots = agreement::strict_slots(&bent, &logon, Some(address("10.1.2.3")));
                let _ = bent.lookup(&slots);
                for route in bent.routes().take(1_000) {
                    let _ = (
                        bent.route_name(route),
                        bent.target(route),
                        bent.conditions(route).count(),
                        bent.ranges(route).count(),
                        bent.matching_range(route, &slots),
                    );
                }
            }
        }
    }
    drop(slots);
}

fn reseal(mut image: Vec<u8>) -> Vec<u8> {
    let revision = u64::from_le_bytes(image[16..24].try_into().unwrap());
    let sum = xxhash_rust::xxh3::xxh3_64_with_seed(
        &image[32..],
        revision ^ (u64::from(table::FORMAT) << 56),
    );
    image[24..32].copy_from_slice(&sum.to_le_bytes());
    image
}

#[test]
fn the_revision_is_no_part_of_the_routes() {
    let table = table_of(&[fields(&[(49, "A")], 0)]);
    let later = table.with_revision(10);
    assert_eq!((table.revision(), later.revision()), (9, 10));
    assert!(table.same_routes(&later));
    let again = Table::load(later.image().to_vec()).unwrap();
    assert_eq!(again.revision(), 10);
    assert!(!table.same_routes(&table_of(&[fields(&[(49, "B")], 0)])));
}

#[test]
fn a_plain_duplicate_is_refused_and_names_both_routes() {
    let rules = [
        fields(&[(49, "A"), (56, "B")], 0).rule(0),
        fields(&[(49, "A"), (56, "B")], 0).rule(1),
        fields(&[(49, "A*")], 5).rule(2),
        fields(&[(49, "A*")], 6).rule(3),
        fields(&[], 1).rule(4),
        fields(&[], 1).rule(5),
    ];
    let found: Vec<(String, String)> = conflict::conflicts(&rules)
        .shown
        .into_iter()
        .map(|c| (c.first.name, c.second.name))
        .collect();
    assert_eq!(
        found,
        [("r0".into(), "r1".into()), ("r4".into(), "r5".into())]
    );
    assert!(matches!(
        Table::compile(&rules, 1),
        Err(CompileError::Conflicts(_))
    ));
}

#[test]
fn routes_alike_but_for_their_ranges_conflict_where_one_address_is_left_to_both() {
    for (first, second, wanted) in [
        (&["10.0.0.0/8"][..], &["10.0.0.0/8"][..], Some("10.0.0.0/8")),
        (&["10.0.0.0/8"], &["10.0.0.0/9"], None),
        (&["10.0.0.0/8"], &["192.0.2.0/24"], None),
        (&["0.0.0.0/0"], &["::/0"], None),
        (&["10.0.0.0/8"], &[], None),
        // 10.200.0.0 is in the shared range and in no longer one.
        (
            &["10.0.0.0/8", "10.0.0.0/9"],
            &["10.0.0.0/8", "10.1.0.0/16"],
            Some("10.0.0.0/8"),
        ),
        // Both halves are decided by a longer range, of one or the other.
        (
            &["10.0.0.0/8", "10.0.0.0/9"],
            &["10.0.0.0/8", "10.128.0.0/9"],
            None,
        ),
        (
            &["10.0.0.0/8", "::/0"],
            &["::/0", "10.0.0.0/8"],
            Some("::/0"),
        ),
    ] {
        let rules = [
            fields(&[(49, "A")], 0).from(first).rule(0),
            fields(&[(49, "A")], 0).from(second).rule(1),
        ];
        let found: Vec<String> = conflict::conflicts(&rules)
            .shown
            .into_iter()
            .map(|conflict| conflict.range.unwrap().to_string())
            .collect();
        assert_eq!(
            found,
            Vec::from_iter(wanted.map(str::to_string)),
            "{first:?} {second:?}"
        );
    }
}

#[test]
fn of_two_wildcards_with_the_same_fields_the_higher_priority_wins() {
    let table = table_of(&[fields(&[(49, "A*")], 5), fields(&[(49, "A*")], 6)]);
    let mut slots = table.slots(None);
    let bytes = message(&[(49, "ABC".into())]);
    if let Reading::Logon(logon) = wire::read(&bytes, &ReadLimits::default()) {
        slots = agreement::strict_slots(&table, &logon, None);
    }
    let Lookup::Route(route) = table.lookup(&slots) else {
        unreachable!("one best route")
    };
    assert_eq!(table.route_name(route).unwrap().1, "r1");
}

#[test]
fn an_empty_table_matches_nothing() {
    let table = table_of(&[]);
    assert_eq!(table.lookup(&table.slots(None)), Lookup::None);
    assert_eq!(table.targets().count(), 0);
}
