//! Which routes can never be chosen, and because of which others?
//!
//! Exact, by the generic Logon of the one route (`docs/routing.md`): whatever outranks it there outranks it for every Logon
//! that it takes, and from an address where nothing does it is chosen.
//!
//! INVARIANT: the work is bounded by [`limits::CONFLICT_STEPS_MAX`].

use alloc::vec;
use alloc::vec::Vec;

use crate::key::anywhere_or_ranges;
use crate::limits;
use crate::overlap::{Alphabet, Exhausted, Left, Routes, Steps, left, ranges_above};
use crate::range::SourceRange;
use crate::rule::{Rank, RouteName, Rule, by_name};

/// A route that can never be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// Its name.
    pub route: RouteName,
    /// What it ranks by.
    pub rank: Rank,
    /// The routes that take, together, every Logon that it takes, and stand above it; by name.
    pub by: Vec<RouteName>,
    /// Whether they stand above it by longer source ranges alone.
    pub by_range: bool,
    /// Whether one of them is of a higher class, so that no `priority` helps.
    pub by_class: bool,
}

/// What was found among rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shadows {
    /// By name.
    pub routes: Vec<Shadowed>,
    /// The bound was met: there may be more.
    pub undecided: bool,
}

/// Every route that can never be chosen.
#[must_use]
pub fn shadows(rules: &[Rule]) -> Shadows {
    let routes = Routes::among(by_name(rules));
    let alphabet = Alphabet::of(rules.iter());
    let mut steps = Steps(limits::CONFLICT_STEPS_MAX);
    let mut found = Shadows::default();
    for rule in routes.rules() {
        let Ok(shadowed) = shadowed(rule, &routes, alphabet, &mut steps) else {
            found.undecided = true;
            break;
        };
        found.routes.extend(shadowed);
    }
    found
}

fn shadowed(
    rule: &Rule,
    routes: &Routes<'_>,
    alphabet: Alphabet,
    steps: &mut Steps,
) -> Result<Option<Shadowed>, Exhausted> {
    let Some(generic) = alphabet.generic(rule, rule) else {
        return Ok(None);
    };
    let rank = rule.rank();
    let matching = routes.matching(rank, &generic, steps)?;
    for range in anywhere_or_ranges(rule) {
        if let Some(above) = ranges_above(&matching, rank, range) {
            steps.spend(above.len())?;
            if !matches!(left(range, &above), Left::Nowhere) {
                return Ok(None);
            }
        }
    }
    Ok(Some(told(rule, &matching)))
}

fn told(rule: &Rule, matching: &[&Rule]) -> Shadowed {
    let above = |other: &&&Rule| other.rank() > rule.rank() && other.source_ranges().is_empty();
    // One that stands above it from everywhere says it all; of several, the highest.
    let one = matching
        .iter()
        .filter(above)
        .max_by_key(|other| other.rank());
    let by = one.map_or_else(
        || {
            let others = matching.iter().filter(|other| other.name() != rule.name());
            others
                .filter(|other| other.rank() > rule.rank() || !other.source_ranges().is_empty())
                .filter(|other| meets(other.source_ranges(), rule.source_ranges()))
                .copied()
                .collect()
        },
        |one| vec![*one],
    );
    let mut names: Vec<RouteName> = by.iter().map(|other| other.name().clone()).collect();
    names.sort();
    Shadowed {
        route: rule.name().clone(),
        rank: rule.rank(),
        by_class: by
            .iter()
            .any(|other| other.rank().class > rule.rank().class),
        by_range: by.iter().all(|other| other.rank() == rule.rank()),
        by: names,
    }
}

/// Whether some address is in one of each; without ranges every address counts.
fn meets(some: &[SourceRange], others: &[SourceRange]) -> bool {
    some.is_empty()
        || others.is_empty()
        || some
            .iter()
            .any(|one| others.iter().any(|other| one.common(*other).is_some()))
}
