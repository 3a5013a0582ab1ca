//! Which Logons go elsewhere when one set of routes takes the place of another?
//!
//! Exact, by the generic Logon of a route of the old set and one of the new (`docs/routing.md`): if any Logon that both take
//! is the old one's before and the new one's after, then this one is, from some address. Only routes that differ between
//! the sets can make a Logon go elsewhere, so each pair has one of those.
//!
//! INVARIANT: the work is bounded by [`limits::CONFLICT_STEPS_MAX`].

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::key::anywhere_or_ranges;
use crate::limits;
use crate::overlap::{
    Alphabet, Exhausted, Generic, Left, Routes, Steps, left, meeting, ranges_above,
};
use crate::range::SourceRange;
use crate::rule::{Class, Rank, RouteName, Rule, Target, by_name};
use crate::witness::{Disclosures, Witness};

/// How a route differs between the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is in the new set only.
    Added,
    /// It is in the old set only.
    Removed,
    /// It leads elsewhere, and takes what it took.
    Retargeted,
    /// What it takes, or what it ranks by, is another; perhaps its target as well.
    Rematched,
    /// It takes and leads as before; what may be shown of its fields, or their names, are others.
    Relabelled,
}

impl Change {
    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Retargeted => "retargeted",
            Self::Rematched => "rematched",
            Self::Relabelled => "relabelled",
        }
    }
}

/// Where a Logon goes: the route that takes it, and where that leads.
pub type Goes = (RouteName, Target);

/// Logons that one route takes before and another, or none, after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Before; `None`: no route takes it.
    pub before: Option<Goes>,
    /// After.
    pub after: Option<Goes>,
    /// The smallest of them.
    pub witness: Witness,
}

/// A route that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedRoute {
    /// Its name.
    pub route: RouteName,
    /// How.
    pub change: Change,
    /// Where it led; none when it is added.
    pub before: Option<Target>,
    /// Where it leads; none when it is removed.
    pub after: Option<Target>,
    /// The smallest Logons that it makes go elsewhere, [`limits::MOVES_SHOWN_MAX`] at most.
    pub moves: Vec<Move>,
    /// How many such moves there are: pairs of a route before and a route after.
    pub move_count: usize,
}

/// The difference between two sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Every route that differs, by name.
    pub routes: Vec<ChangedRoute>,
    /// Moves in all, each pair of routes once.
    pub count: usize,
    /// The bound was met: there may be more.
    pub undecided: bool,
}

/// How two sets differ. Each by itself must be without conflict.
#[must_use]
pub fn moves(old: &[Rule], new: &[Rule]) -> Moves {
    let changes = changes(old, new);
    let policy = Disclosures::of_all(old.iter().chain(new));
    let both = Both {
        alphabet: Alphabet::of(old.iter().chain(new)),
        old: Routes::among(by_name(old)),
        new: Routes::among(by_name(new)),
    };
    let mut steps = Steps(limits::CONFLICT_STEPS_MAX);
    let mut found = BTreeMap::new();
    let undecided = both.search(&changes, &mut steps, &mut found).is_err();
    let mut of_routes: BTreeMap<&RouteName, Vec<&FoundMove<'_>>> = BTreeMap::new();
    for ((before, after), found) in &found {
        for name in before
            .iter()
            .chain(after.iter().filter(|_| before != after))
        {
            of_routes.entry(*name).or_default().push(found);
        }
    }
    let routes = changes
        .iter()
        .map(|(name, changed)| {
            told(
                name,
                changed,
                of_routes.remove(*name).unwrap_or_default(),
                &policy,
            )
        })
        .collect();
    Moves {
        routes,
        count: found.len(),
        undecided,
    }
}

struct Changed<'r> {
    change: Change,
    before: Option<&'r Rule>,
    after: Option<&'r Rule>,
}

type Changes<'r> = BTreeMap<&'r RouteName, Changed<'r>>;

fn changes<'r>(old: &'r [Rule], new: &'r [Rule]) -> Changes<'r> {
    type Versions<'r> = (Option<&'r Rule>, Option<&'r Rule>);
    let mut versions: BTreeMap<&RouteName, Versions<'_>> = BTreeMap::new();
    for rule in old {
        versions.entry(rule.name()).or_default().0 = Some(rule);
    }
    for rule in new {
        versions.entry(rule.name()).or_default().1 = Some(rule);
    }
    let changed = |(name, (before, after)): (_, Versions<'r>)| {
        let change = match (before, after) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            (Some(before), Some(after)) if before == after => return None,
            (Some(before), Some(after)) if !same_matches(before, after) => Change::Rematched,
            (Some(before), Some(after)) if before.target() != after.target() => Change::Retargeted,
            (Some(_), Some(_)) => Change::Relabelled,
        };
        let changed = Changed {
            change,
            before,
            after,
        };
        Some((name, changed))
    };
    versions.into_iter().filter_map(changed).collect()
}

fn same_matches(one: &Rule, other: &Rule) -> bool {
    let conditions = |rule: &'_ Rule| -> Vec<_> {
        let fields = rule.fields().iter();
        fields
            .map(|field| (field.tag, field.condition.clone()))
            .collect()
    };
    one.rank() == other.rank()
        && one.source_ranges() == other.source_ranges()
        && conditions(one) == conditions(other)
}

/// A route before and a route after, by name; `None` stands for no route.
type Pair<'r> = (Option<&'r RouteName>, Option<&'r RouteName>);

struct FoundMove<'r> {
    before: Option<&'r Rule>,
    after: Option<&'r Rule>,
    generic: Generic,
    source: Option<IpAddr>,
}

type Found<'r> = BTreeMap<Pair<'r>, FoundMove<'r>>;

struct Both<'r> {
    old: Routes<'r>,
    new: Routes<'r>,
    alphabet: Alphabet,
}

impl<'r> Both<'r> {
    fn search(
        &self,
        changes: &Changes<'r>,
        steps: &mut Steps,
        found: &mut Found<'r>,
    ) -> Result<(), Exhausted> {
        let relevant = || {
            let changed = changes.values();
            changed.filter(|changed| changed.change != Change::Relabelled)
        };
        let before: Vec<&'r Rule> = relevant().filter_map(|changed| changed.before).collect();
        let after: Vec<&'r Rule> = relevant().filter_map(|changed| changed.after).collect();
        for rule in &before {
            self.judge(Some(rule), None, steps, found)?;
        }
        for rule in &after {
            self.judge(None, Some(rule), steps, found)?;
        }
        meeting(
            &Routes::among(before),
            &self.new,
            steps,
            |steps, old, new| self.judge(Some(old), Some(new), steps, found),
        )?;
        meeting(
            &Routes::among(after),
            &self.old,
            steps,
            |steps, new, old| self.judge(Some(old), Some(new), steps, found),
        )
    }

    /// Whether some Logon is the one's before and the other's after.
    fn judge(
        &self,
        before: Option<&'r Rule>,
        after: Option<&'r Rule>,
        steps: &mut Steps,
        found: &mut Found<'r>,
    ) -> Result<(), Exhausted> {
        steps.spend(1)?;
        let pair = (before.map(Rule::name), after.map(Rule::name));
        let (Some(one), Some(other)) = (before.or(after), after.or(before)) else {
            return Ok(());
        };
        let stays = before.is_some() && after.is_some() && one.target() == other.target();
        if stays || found.contains_key(&pair) {
            return Ok(());
        }
        let Some(generic) = self.alphabet.generic(one, other) else {
            return Ok(());
        };
        let old = Standing::new(before, &self.old, &generic, steps)?;
        let new = Standing::new(after, &self.new, &generic, steps)?;
        let source = match from_where(&old, &new, steps)? {
            Left::Nowhere => return Ok(()),
            Left::Anywhere => None,
            Left::From(source) => Some(source),
        };
        let found_move = FoundMove {
            before,
            after,
            generic,
            source,
        };
        found.insert(pair, found_move);
        Ok(())
    }
}

fn told(
    name: &RouteName,
    changed: &Changed<'_>,
    mut own: Vec<&FoundMove<'_>>,
    policy: &Disclosures,
) -> ChangedRoute {
    own.sort_by_key(|found| {
        let bytes: usize = found.generic.iter().map(|(_, value)| value.len()).sum();
        (found.generic.len(), bytes)
    });
    let goes = |rule: &Rule| (rule.name().clone(), rule.target().clone());
    let shown = own.iter().take(limits::MOVES_SHOWN_MAX).map(|found| {
        let asking: Vec<&Rule> = found.before.into_iter().chain(found.after).collect();
        Move {
            before: found.before.map(goes),
            after: found.after.map(goes),
            witness: Witness::new(&asking, found.generic.clone(), found.source, policy),
        }
    });
    ChangedRoute {
        route: name.clone(),
        change: changed.change,
        before: changed.before.map(|rule| rule.target().clone()),
        after: changed.after.map(|rule| rule.target().clone()),
        moves: shown.collect(),
        move_count: own.len(),
    }
}

/// What stands above a route, or where none matches, for one Logon: for each range by which the route matches, the ranges
/// that are another's.
struct Standing(Vec<(Option<SourceRange>, Vec<SourceRange>)>);

impl Standing {
    fn new(
        rule: Option<&Rule>,
        routes: &Routes<'_>,
        generic: &Generic,
        steps: &mut Steps,
    ) -> Result<Self, Exhausted> {
        let lowest = Rank {
            class: Class::Default,
            weight: i32::MIN,
        };
        let matching = routes.matching(rule.map_or(lowest, Rule::rank), generic, steps)?;
        let Some(rule) = rule else {
            let everywhere = matching.iter().any(|rule| rule.source_ranges().is_empty());
            let ranges = matching.iter().flat_map(|rule| rule.source_ranges());
            let nowhere = (!everywhere).then(|| (None, ranges.copied().collect()));
            return Ok(Self(nowhere.into_iter().collect()));
        };
        let standing = anywhere_or_ranges(rule).filter_map(|range| {
            let above = ranges_above(&matching, rule.rank(), range)?;
            Some((range, above))
        });
        Ok(Self(standing.collect()))
    }
}

/// An address from which both are chosen.
fn from_where(old: &Standing, new: &Standing, steps: &mut Steps) -> Result<Left, Exhausted> {
    for (before, above_before) in &old.0 {
        for (after, above_after) in &new.0 {
            let range = match (before, after) {
                (Some(before), Some(after)) => match before.common(*after) {
                    None => continue,
                    common => common,
                },
                (one, other) => one.or(*other),
            };
            steps.spend(1 + above_before.len() + above_after.len())?;
            let above: BTreeSet<SourceRange> =
                above_before.iter().chain(above_after).copied().collect();
            let above: Vec<SourceRange> = above.into_iter().collect();
            match left(range, &above) {
                Left::Nowhere => {}
                found => return Ok(found),
            }
        }
    }
    Ok(Left::Nowhere)
}
