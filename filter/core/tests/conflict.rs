//! The detector of conflicts against brute force: every Logon of a universe that tells all conditions of a set apart, from
//! every address that tells its ranges apart, by a naive evaluator.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use fixgw_core::conflict;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

mod naive;

use naive::universe::{Ranked, cases, fields, index, logons, routes, rules};
use naive::{Naive, SOURCES, naive};

/// The first Logon, and its address, for which more than one route is best.
fn ambiguous(routes: &[Naive]) -> Option<(Vec<(u32, String)>, &'static str)> {
    let ranked = Ranked::new(routes);
    logons(routes).into_iter().find_map(|logon| {
        let best = ranked.best(&logon);
        let several = best.iter().position(|best| best.len() > 1)?;
        Some((logon, SOURCES[several]))
    })
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
                let best = naive(&routes, &fields(&conflict.witness), source);
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
            let of_both = logons(&routes).into_iter().filter(|logon| {
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
