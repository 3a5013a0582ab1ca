//! The detector of conflicts against brute force: every Logon of a universe that tells all conditions of a set apart, from
//! every address that tells its ranges apart, by a naive evaluator.
//!
//! `FIXGW_PROPTEST_CASES` sets how many sets are tried.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;

use fixgw_core::conflict::{self, Conflict};
use fixgw_core::rule::Rule;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

mod naive;

use naive::{Naive, RANGES, SOURCES, naive};

const TAGS: [u32; 3] = [49, 56, 20001];
/// In no value and no prefix of the routes.
const FRESH: char = 'Z';

fn cases() -> u32 {
    let asked = std::env::var("FIXGW_PROPTEST_CASES").ok();
    asked.map_or(20_000, |text| text.parse().unwrap())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[AB]",
        1 => "[AB]{2}",
        2 => "[AB]{1,2}\\*",
        1 => Just("*".to_string()),
    ]
}

fn begin_string() -> impl Strategy<Value = Option<String>> {
    let texts = prop_oneof![Just("FIX.4.4"), Just("FIX.4*"), Just("FIX*")];
    proptest::option::weighted(0.15, texts.prop_map(str::to_string))
}

/// Few tags, few priorities and short texts: routes that meet, and routes that stand above where they meet.
fn route() -> impl Strategy<Value = Naive> {
    let fields = proptest::collection::btree_map(proptest::sample::select(&TAGS[..]), text(), 0..4);
    let ranges = prop_oneof![
        2 => Just(Vec::new()),
        1 => proptest::sample::subsequence(&RANGES[..], 1..3),
    ];
    let route = (fields, begin_string(), ranges, any::<bool>(), 0..2_i32);
    route.prop_map(|(fields, begin_string, ranges, default, priority)| Naive {
        fields: begin_string
            .map(|text| (8, text))
            .into_iter()
            .chain(fields)
            .collect(),
        ranges: ranges.into_iter().map(str::to_string).collect(),
        default,
        priority,
    })
}

/// Fields of two routes that meet: for each of some tags, texts that one value meets. Exact ones have equally many.
fn meeting() -> impl Strategy<Value = [Vec<(u32, String)>; 2]> {
    let texts = proptest::sample::select(&["A", "A*", "AB*", "*"][..]);
    let patterns = proptest::collection::btree_map(
        proptest::sample::select(&TAGS[..]),
        (texts.clone(), texts, any::<bool>()),
        1..4,
    );
    let patterns = patterns.prop_map(|fields| {
        let mut both = [Vec::new(), Vec::new()];
        for (tag, (one, other, twice)) in fields {
            both[0].push((tag, one.to_string()));
            // `A` and `AB*` have nothing in common, and that must be found, too.
            if twice {
                both[1].push((tag, other.to_string()));
            }
        }
        both
    });
    let sets = proptest::sample::subsequence(&TAGS[..], 1..3);
    let exact = (sets, any::<bool>()).prop_map(|(tags, last)| {
        let kept = if last { TAGS[2] } else { TAGS[0] };
        let value = |tag: &u32| (*tag, "A".to_string());
        let first: Vec<_> = tags.iter().map(value).collect();
        let mut others: BTreeSet<u32> = TAGS.iter().rev().copied().take(tags.len()).collect();
        if !others.contains(&kept) {
            others.pop_last();
            others.insert(kept);
        }
        [first, others.iter().map(value).collect()]
    });
    prop_oneof![
        2 => patterns,
        2 => exact,
        1 => Just([Vec::new(), Vec::new()]),
    ]
}

/// Two routes that tie where they meet, and one that stands above both there, perhaps from some addresses only.
fn covered() -> impl Strategy<Value = Vec<Naive>> {
    let common = proptest::option::weighted(0.5, proptest::sample::select(&RANGES[..]));
    let above = proptest::sample::subsequence(&RANGES[..], 0..3);
    (meeting(), common, above, any::<bool>()).prop_map(|(both, common, above, everywhere)| {
        let ranges: Vec<String> = common.into_iter().map(str::to_string).collect();
        let [first, second] = both.map(|fields| Naive {
            fields,
            ranges: ranges.clone(),
            default: true,
            priority: 0,
        });
        // The longer text of each tag: what both ask for.
        let mut tight: std::collections::BTreeMap<u32, String> = std::collections::BTreeMap::new();
        for (tag, text) in first.fields.iter().chain(&second.fields) {
            let known = tight.entry(*tag).or_default();
            if known.len() < text.len() && known != "A" || text == "A" {
                known.clone_from(text);
            }
        }
        let above = Naive {
            fields: tight.into_iter().collect(),
            ranges: if everywhere {
                Vec::new()
            } else {
                above.into_iter().map(str::to_string).collect()
            },
            default: true,
            priority: 1,
        };
        vec![first, second, above]
    })
}

fn routes() -> impl Strategy<Value = Vec<Naive>> {
    prop_oneof![
        1 => proptest::collection::vec(route(), 3..7),
        1 => (covered(), proptest::collection::vec(route(), 0..2)).prop_map(|(mut all, more)| {
            all.extend(more);
            all
        }),
    ]
}

fn rules(routes: &[Naive]) -> Vec<Rule> {
    routes
        .iter()
        .enumerate()
        .map(|(index, route)| route.rule(index))
        .collect()
}

/// For a tag, values that tell the conditions of a set apart: each value, each prefix, and each prefix with something behind
/// it that no condition knows; and none.
fn values(routes: &[Naive], tag: u32) -> Vec<Option<String>> {
    let mut values: BTreeSet<Option<String>> = BTreeSet::new();
    if tag == 8 {
        values.extend([Some("FIX".to_string()), Some(format!("FIX{FRESH}"))]);
    } else {
        values.extend([None, Some(FRESH.to_string())]);
    }
    let texts = routes.iter().flat_map(|route| &route.fields);
    for (_, text) in texts.filter(|(found, _)| *found == tag) {
        let known = text.trim_end_matches('*');
        if !known.is_empty() {
            values.insert(Some(known.to_string()));
        }
        values.insert(Some(format!("{known}{FRESH}")));
    }
    values.into_iter().collect()
}

/// Every Logon of a universe that tells the conditions of a set apart.
fn universe(routes: &[Naive]) -> Vec<Vec<(u32, String)>> {
    let mut logons: Vec<Vec<(u32, String)>> = vec![Vec::new()];
    for tag in [8].into_iter().chain(TAGS) {
        let values = values(routes, tag);
        let with = |logon: &Vec<(u32, String)>| {
            let logon = logon.clone();
            values.clone().into_iter().map(move |value| {
                let mut logon = logon.clone();
                logon.extend(value.map(|value| (tag, value)));
                logon
            })
        };
        logons = logons.iter().flat_map(with).collect();
    }
    logons
}

/// The first Logon, and its address, for which more than one route is best.
fn ambiguous(routes: &[Naive]) -> Option<(Vec<(u32, String)>, &'static str)> {
    // From each address, how a route ranks; `None` where it is for other addresses.
    let ranks: Vec<Vec<Option<(u8, i32, i16)>>> = SOURCES
        .iter()
        .map(|source| {
            let rank = |route: &Naive| route.is_for(source).then(|| route.rank(source));
            routes.iter().map(rank).collect()
        })
        .collect();
    for logon in universe(routes) {
        let matching: Vec<usize> = (0..routes.len())
            .filter(|&index| routes[index].fields_match(&logon))
            .collect();
        for (source, ranks) in SOURCES.iter().zip(&ranks) {
            let mut found: Vec<_> = matching.iter().filter_map(|&index| ranks[index]).collect();
            found.sort_unstable();
            if let [.., second, best] = &found[..]
                && second == best
            {
                return Some((logon, source));
            }
        }
    }
    None
}

/// The fields of a witness, read without any code of the core.
fn fields(conflict: &Conflict) -> Vec<(u32, String)> {
    let logon = String::from_utf8(conflict.witness.logon()).unwrap();
    let fields = logon.split_terminator('\u{1}');
    let fields = fields.map(|field| field.split_once('=').unwrap());
    fields
        .map(|(tag, value)| (tag.parse().unwrap(), value.to_string()))
        .collect()
}

fn index(name: &str) -> usize {
    name.trim_start_matches('r').parse().unwrap()
}

#[test]
fn what_is_found_is_what_brute_force_finds() {
    let config = Config {
        cases: cases(),
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&routes(), |routes| {
        let found = conflict::conflicts(&rules(&routes));
        prop_assert!(!found.undecided);
        prop_assert_eq!(found.count, found.shown.len());
        for conflict in &found.shown {
            let source = conflict.witness.source().map(|source| source.to_string());
            // From anywhere is from each of these.
            let sources = source.as_deref().map_or(SOURCES.to_vec(), |one| vec![one]);
            for source in sources {
                let best = naive(&routes, &fields(conflict), source);
                prop_assert!(
                    best.contains(&index(&conflict.first.name))
                        && best.contains(&index(&conflict.second.name)),
                    "{:?} {}: best are {:?}",
                    conflict,
                    source,
                    best
                );
            }
        }
        if found.is_empty() {
            let missed = ambiguous(&routes);
            prop_assert!(missed.is_none(), "{:?}", missed);
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn who_decides_between_two_takes_every_logon_of_both() {
    let config = Config {
        cases: cases() / 4,
        ..Config::default()
    };
    let decided = std::cell::Cell::new(0_u32);
    let mut runner = TestRunner::new(config);
    let result = runner.run(&routes(), |routes| {
        let all = rules(&routes);
        let pair = [&all[0], &all[1]];
        let alone = conflict::conflicts(&all[..2]);
        let Some(conflict) = alone.shown.first() else {
            return Ok(());
        };
        let source = conflict.witness.source();
        // From anywhere is from any of these, and each may have its own.
        let asked = source.map_or(SOURCES.to_vec(), |_| vec![]);
        let told = source.map(|source| source.to_string());
        for source in asked.into_iter().chain(told.as_deref()) {
            let above = (2..routes.len()).filter(|index| {
                let (both, rank) = (&routes[0], routes[*index].rank(source));
                routes[*index].is_for(source) && rank > both.rank(source)
            });
            let of_both = universe(&routes).into_iter().filter(|logon| {
                let take = |route: &Naive| route.matches(logon, source);
                take(&routes[0]) && take(&routes[1])
            });
            let of_both: Vec<_> = of_both.collect();
            let wanted = above
                .filter(|index| {
                    of_both
                        .iter()
                        .all(|logon| routes[*index].fields_match(logon))
                })
                .map(|index| routes[index].rank(source))
                .max();
            let found = conflict::decider(pair, Some(source.parse().unwrap()), &all[2..]);
            decided.set(decided.get() + u32::from(found.is_some()));
            let found = found.map(|rule| routes[index(&rule.name().name)].rank(source));
            prop_assert_eq!(found, wanted, "{:?} from {}", conflict, source);
        }
        Ok(())
    });
    result.unwrap();
    assert!(decided.get() >= cases() / 40, "{} decided", decided.get());
}

/// A generator of tables that never conflict, or always do, would prove nothing.
#[test]
fn the_generator_makes_conflicts_and_routes_that_stand_above_them() {
    const TABLES: usize = 2_000;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut conflicting, mut covered) = (Vec::new(), Vec::new());
    for _ in 0..TABLES {
        let table = routes().new_tree(&mut runner).unwrap().current();
        let all = rules(&table);
        let alone = |first: usize, second: usize| {
            !conflict::conflicts(&[all[first].clone(), all[second].clone()]).is_empty()
        };
        let meet = (0..all.len()).any(|second| (0..second).any(|first| alone(first, second)));
        if !conflict::conflicts(&all).is_empty() {
            conflicting.push(table);
        } else if meet {
            covered.push(table);
        }
    }
    let share = |some: usize, all: usize| 100 * some / all;
    for (what, tables) in [
        ("conflict", &conflicting),
        ("would but for others", &covered),
    ] {
        let with = |has: fn(&Naive) -> bool| {
            let those = tables.iter().filter(|table| table.iter().any(has));
            share(those.count(), tables.len())
        };
        let (ranges, patterns, defaults) = (
            with(|route| !route.ranges.is_empty()),
            with(Naive::is_pattern),
            with(Naive::is_default),
        );
        let of_all = share(tables.len(), TABLES);
        println!(
            "{of_all} % {what}; of these {ranges} % have ranges, {patterns} % patterns, {defaults} % defaults"
        );
        assert!(of_all >= 20, "{what}: {of_all} %");
        assert!(ranges.min(patterns).min(defaults) >= 10, "{what}");
    }
}
