//! Routes that can never be chosen, against brute force: those that no Logon of the universe is for, from no address.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::cell::Cell;
use std::collections::BTreeSet;

use fixgw_core::shadow;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

mod naive;

use naive::Naive;
use naive::universe::{Ranked, cases, index, logons, routes, rules};

/// Routes that are among the best for some Logon from some address.
fn chosen(routes: &[Naive]) -> BTreeSet<usize> {
    let ranked = Ranked::new(routes);
    let mut chosen = BTreeSet::new();
    for logon in logons(routes) {
        chosen.extend(ranked.best(&logon).into_iter().flatten());
        if chosen.len() == routes.len() {
            break;
        }
    }
    chosen
}

#[test]
fn a_route_is_shadowed_when_no_logon_is_for_it_and_what_shadows_it_alone_suffices() {
    let config = Config {
        cases: cases() / 8,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let shadowed_in_all = Cell::new(0_u32);
    let result = runner.run(&routes(), |routes| {
        let found = shadow::shadows(&rules(&routes));
        prop_assert!(!found.undecided);
        let shadowed: BTreeSet<usize> = found
            .routes
            .iter()
            .map(|shadowed| index(&shadowed.route.name))
            .collect();
        let all: BTreeSet<usize> = (0..routes.len()).collect();
        let never: BTreeSet<usize> = all.difference(&chosen(&routes)).copied().collect();
        prop_assert_eq!(&shadowed, &never);
        shadowed_in_all.set(shadowed_in_all.get() + u32::from(!never.is_empty()));
        for shadowed in &found.routes {
            let own = index(&shadowed.route.name);
            let mut few: Vec<Naive> = shadowed
                .by
                .iter()
                .map(|name| routes[index(&name.name)].clone())
                .collect();
            few.push(routes[own].clone());
            prop_assert!(!chosen(&few).contains(&(few.len() - 1)), "{shadowed:?}");
        }
        Ok(())
    });
    result.unwrap();
    // A generator without such routes would prove nothing.
    let share = 100 * shadowed_in_all.get() / (cases() / 8);
    println!("{share} % of the sets have a shadowed route");
    assert!(share >= 20, "{share} %");
}
