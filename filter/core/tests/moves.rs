//! What goes elsewhere when one set takes the place of another, against brute force: for every Logon of a universe, from
//! every address, the route before and the route after.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use fixgw_core::conflict;
use fixgw_core::moves::{self, Change};
use fixgw_core::rule::Rule;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

mod naive;

use naive::universe::{Ranked, cases, fields, index, logons, route, routes};
use naive::{Naive, SOURCES, naive};

/// A set, by the places of its routes; each with the Service that it leads to.
type Set = BTreeMap<usize, (Naive, usize)>;
/// Route before and after.
type Pair = (Option<usize>, Option<usize>);

#[derive(Clone, Debug)]
enum Edit {
    Keep,
    Delete,
    Retarget(usize),
    Replace(Naive),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => Just(Edit::Keep),
        1 => Just(Edit::Delete),
        1 => (0..3_usize).prop_map(Edit::Retarget),
        1 => route().prop_map(Edit::Replace),
    ]
}

/// A set, and the same after some edits and some additions. Services are few, so that some moves stay where they are.
fn before_and_after() -> impl Strategy<Value = (Set, Set)> {
    let edits = proptest::collection::vec(edit(), 8);
    (routes(), edits, proptest::collection::vec(route(), 0..2)).prop_map(|(routes, edits, more)| {
        let before: Set = routes
            .into_iter()
            .enumerate()
            .map(|(place, route)| (place, (route, place % 4)))
            .collect();
        let mut after = Set::new();
        for (&place, (route, service)) in &before {
            match &edits[place % edits.len()] {
                Edit::Keep => after.insert(place, (route.clone(), *service)),
                Edit::Delete => None,
                Edit::Retarget(service) => after.insert(place, (route.clone(), *service)),
                Edit::Replace(other) => after.insert(place, (other.clone(), *service)),
            };
        }
        for (place, route) in more.into_iter().enumerate() {
            after.insert(50 + place, (route, place));
        }
        (without_conflict(before), without_conflict(after))
    })
}

fn rules(set: &Set) -> Vec<Rule> {
    set.iter()
        .map(|(place, (route, service))| route.rule_to(*place, &format!("s{service}")))
        .collect()
}

fn without_conflict(mut set: Set) -> Set {
    loop {
        let found = conflict::conflicts(&rules(&set));
        let Some(conflict) = found.shown.first() else {
            return set;
        };
        set.remove(&index(&conflict.second.name));
    }
}

fn routes_of(set: &Set) -> Vec<Naive> {
    set.values().map(|(route, _)| route.clone()).collect()
}

/// Place and Service of the one best route.
fn one_of(set: &Set, best: &[usize]) -> Option<(usize, usize)> {
    assert!(best.len() < 2, "the sets have no conflict");
    let place = *best.first()?;
    set.iter()
        .nth(place)
        .map(|(place, (_, service))| (*place, *service))
}

/// Every pair of a route before and a route after, with different Services, that some Logon has.
fn brute(before: &Set, after: &Set) -> BTreeSet<Pair> {
    let (old, new) = (routes_of(before), routes_of(after));
    let (old_ranked, new_ranked) = (Ranked::new(&old), Ranked::new(&new));
    let all: Vec<Naive> = old.iter().chain(&new).cloned().collect();
    let mut pairs = BTreeSet::new();
    for logon in logons(&all) {
        let both = old_ranked
            .best(&logon)
            .into_iter()
            .zip(new_ranked.best(&logon));
        for (one, other) in both {
            let (one, other) = (one_of(before, &one), one_of(after, &other));
            if one.map(|(_, service)| service) != other.map(|(_, service)| service) {
                pairs.insert((one.map(|(place, _)| place), other.map(|(place, _)| place)));
            }
        }
    }
    pairs
}

#[test]
fn what_goes_elsewhere_is_what_brute_force_finds_and_every_witness_does() {
    let config = Config {
        cases: cases() / 10,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let moved = Cell::new(0_u32);
    let result = runner.run(&before_and_after(), |(before, after)| {
        let found = moves::moves(&rules(&before), &rules(&after));
        prop_assert!(!found.undecided);
        let wanted = brute(&before, &after);
        moved.set(moved.get() + u32::from(wanted.len() > 1));
        prop_assert_eq!(found.count, wanted.len(), "{:?} {:?}", found, wanted);
        let mut shown = BTreeSet::new();
        let mut all_shown = true;
        for changed in &found.routes {
            let place = index(&changed.route.name);
            let service_of = |set: &Set| {
                set.get(&place)
                    .map(|(_, service)| format!("t/s{service}:1"))
            };
            let led = |target: &Option<fixgw_core::rule::Target>| {
                target.as_ref().map(|target| target.as_str().to_string())
            };
            prop_assert_eq!(led(&changed.before), service_of(&before));
            prop_assert_eq!(led(&changed.after), service_of(&after));
            match changed.change {
                Change::Added => prop_assert!(!before.contains_key(&place)),
                Change::Removed => prop_assert!(!after.contains_key(&place)),
                Change::Retargeted | Change::Rematched => {
                    prop_assert!(before.contains_key(&place) && after.contains_key(&place));
                }
                Change::Relabelled => prop_assert!(false, "no label differs"),
            }
            let own = wanted
                .iter()
                .filter(|(one, other)| [*one, *other].contains(&Some(place)));
            prop_assert_eq!(changed.move_count, own.count());
            all_shown &= changed.moves.len() == changed.move_count;
            for step in &changed.moves {
                let name =
                    |goes: &Option<moves::Goes>| goes.as_ref().map(|goes| index(&goes.0.name));
                let pair = (name(&step.before), name(&step.after));
                shown.insert(pair);
                let source = step.witness.source().map(|source| source.to_string());
                // From anywhere is from each of these.
                let sources = source.as_deref().map_or(SOURCES.to_vec(), |one| vec![one]);
                for source in sources {
                    let logon = fields(&step.witness);
                    let place = |set: &Set| {
                        one_of(set, &naive(&routes_of(set), &logon, source)).map(|(place, _)| place)
                    };
                    let really = (place(&before), place(&after));
                    prop_assert_eq!(pair, really, "{:?}", step);
                }
            }
        }
        prop_assert!(shown.is_subset(&wanted));
        if all_shown {
            prop_assert_eq!(shown, wanted);
        }
        Ok(())
    });
    result.unwrap();
    println!(
        "{} of {} sets move Logons in two ways or more",
        moved.get(),
        cases() / 10
    );
    assert!(moved.get() > cases() / 30);
}
