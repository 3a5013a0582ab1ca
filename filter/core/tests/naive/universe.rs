//! Sets of routes that meet, and every Logon and address that tells their conditions apart. `FIXGW_PROPTEST_CASES` sets how
//! many sets are tried.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test uses a part of it, and fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use fixgw_core::rule::Rule;
use fixgw_core::witness::Witness;
use proptest::prelude::*;

use super::{Naive, RANGES, SOURCES};

pub(crate) const TAGS: [u32; 3] = [49, 56, 20001];
/// In no value and no prefix of the routes.
const FRESH: char = 'Z';

pub(crate) fn cases() -> u32 {
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
pub(crate) fn route() -> impl Strategy<Value = Naive> {
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
        let mut tight: BTreeMap<u32, String> = BTreeMap::new();
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

pub(crate) fn routes() -> impl Strategy<Value = Vec<Naive>> {
    prop_oneof![
        1 => proptest::collection::vec(route(), 3..7),
        1 => (covered(), proptest::collection::vec(route(), 0..2)).prop_map(|(mut all, more)| {
            all.extend(more);
            all
        }),
    ]
}

pub(crate) fn rules(routes: &[Naive]) -> Vec<Rule> {
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

/// Every Logon that tells the conditions of a set apart from another.
pub(crate) fn logons(routes: &[Naive]) -> Vec<Vec<(u32, String)>> {
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

/// A set with what its routes rank by from each address, worked out once.
pub(crate) struct Ranked<'r> {
    routes: &'r [Naive],
    /// By source, by route; `None` where a route is for other addresses.
    ranks: Vec<Vec<Option<(u8, i32, i16)>>>,
}

impl<'r> Ranked<'r> {
    pub(crate) fn new(routes: &'r [Naive]) -> Self {
        let from = |source: &&str| {
            let rank = |route: &Naive| route.is_for(source).then(|| route.rank(source));
            routes.iter().map(rank).collect()
        };
        let ranks = SOURCES.iter().map(from).collect();
        Self { routes, ranks }
    }

    /// For each address, the best routes for a Logon.
    pub(crate) fn best(&self, logon: &[(u32, String)]) -> Vec<Vec<usize>> {
        let matching: Vec<usize> = (0..self.routes.len())
            .filter(|&index| self.routes[index].fields_match(logon))
            .collect();
        let of_ranks = |ranks: &Vec<Option<(u8, i32, i16)>>| {
            let best = matching.iter().filter_map(|&index| ranks[index]).max();
            let is_best = |&&index: &&usize| best.is_some() && ranks[index] == best;
            matching.iter().filter(is_best).copied().collect()
        };
        self.ranks.iter().map(of_ranks).collect()
    }
}

/// The fields of a witness, read without any code of the core.
pub(crate) fn fields(witness: &Witness) -> Vec<(u32, String)> {
    let logon = String::from_utf8(witness.logon()).unwrap();
    let fields = logon.split_terminator('\u{1}');
    let fields = fields.map(|field| field.split_once('=').unwrap());
    fields
        .map(|(tag, value)| (tag.parse().unwrap(), value.to_string()))
        .collect()
}

/// Place of a route in its set, by its name.
pub(crate) fn index(name: &str) -> usize {
    name.trim_start_matches('r').parse().unwrap()
}
