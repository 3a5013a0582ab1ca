//! Could two routes both be best for some Logon, and which Logon shows it?
//!
//! Exact, and without a search (`docs/routing.md` has the argument). For two routes of one rank there is one *generic*
//! Logon: what either fixes; behind the longest prefix that either asks for one byte that no route knows; nothing else. A
//! route that outranks both and matches it matches every Logon that both take, and one that does not match it can be
//! avoided. So only the address is left to choose: one where their longest ranges are equally long, and where no such
//! route stands above them. If there is one, the generic Logon from there is the [`Witness`].
//!
//! INVARIANT: the work is bounded by [`limits::CONFLICT_STEPS_MAX`]; what could not be decided counts as a conflict.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use crate::limits;
use crate::overlap::{
    self, Alphabet, Exhausted, Generic, Hashed, Left, Member, Routes, Steps, left, ranges_above,
};
use crate::range::{SourceAddress, SourceRange};
use crate::redact::Disclosure;
use crate::rule::{Class, Condition, FieldMatch, Rank, RouteName, Rule, by_name};
use crate::wire::Tag;
use crate::witness::Disclosures;
pub use crate::witness::Witness;

/// What was found among rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts {
    /// The first ones, [`limits::CONFLICTS_SHOWN_MAX`] at most, by the names of their routes.
    pub shown: Vec<Conflict>,
    /// How many pairs of routes conflict.
    pub count: usize,
    /// Every route of such a pair, by name.
    pub routes: Vec<RouteName>,
    /// The bound was met: there may be more.
    pub undecided: bool,
}

impl Conflicts {
    /// Whether every Logon from every address has one best route, or none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0 && !self.undecided
    }

    /// What there is beyond the ones that are shown, in words.
    #[must_use]
    pub fn more(&self) -> Option<String> {
        let more = self.count - self.shown.len();
        match (more, self.undecided) {
            (0, false) => None,
            (more, false) => Some(format!("{more} more pairs of routes conflict")),
            (more, true) => Some(format!(
                "{more} more pairs of routes conflict, and there are too many that might to compare them all"
            )),
        }
    }
}

/// Two routes of one rank, and a Logon for which both are best.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The route whose name comes first.
    pub first: RouteName,
    /// The other one.
    pub second: RouteName,
    /// The rank that they share.
    pub rank: Rank,
    /// Labels of the first one's conditions; none for default routes and for source ranges alone.
    pub first_fields: Vec<String>,
    /// Labels of the second one's.
    pub second_fields: Vec<String>,
    /// Whether their conditions on fields are the same.
    pub same: bool,
    /// The source range by which both match. `None`: neither has ranges.
    pub range: Option<SourceRange>,
    /// The proof.
    pub witness: Witness,
}

impl Conflict {
    /// What is wrong with the second route, which stands before this; `first` says which the other one is.
    #[must_use]
    pub fn what(&self, first: &str) -> String {
        let range = self.range;
        let from = range.map_or_else(String::new, |range| format!(", from addresses in {range}"));
        let weight = self.rank.weight;
        let witness = &self.witness;
        let fields = joined(&self.second_fields);
        match (self.rank.class, self.same) {
            (Class::Exact, true) => {
                format!("takes the same Logons as {first}, by the same values of {fields}{from}")
            }
            (Class::Exact, false) => format!(
                "takes a Logon that {first} takes too, with equally many fields, {fields} here and {} there{from}: {witness}",
                joined(&self.first_fields)
            ),
            (Class::Wildcard, true) if self.second_fields.is_empty() => {
                format!("takes the same Logons as {first}, by the same `priority` {weight}{from}")
            }
            (Class::Wildcard, true) => format!(
                "takes the same Logons as {first}, by the same conditions on {fields} and `priority` {weight}{from}"
            ),
            (Class::Wildcard, false) => {
                format!(
                    "takes a Logon that {first} takes too, by the same `priority` {weight}{from}: {witness}"
                )
            }
            (Class::Default, _) => {
                format!("is a default route of the same `priority` {weight} as {first}{from}")
            }
        }
    }

    /// What would mend it.
    #[must_use]
    pub fn mend(&self) -> String {
        let ranges_alone = self.second_fields.is_empty();
        match (self.rank.class, self.same) {
            (Class::Exact, true) => {
                String::from("give one of them another value or one more field, or delete one")
            }
            (Class::Exact, false) => format!(
                "give one of them one more field, or say who shall have it by a route with {}",
                joined(&self.all_fields())
            ),
            (Class::Wildcard, true) if ranges_alone => {
                String::from("give one of them another `priority` or another range, or delete one")
            }
            (Class::Wildcard, true) => String::from(
                "give one of them another `priority` or another condition, or delete one",
            ),
            (Class::Wildcard, false) => String::from(
                "give one of them another `priority`: the larger one wins where both match",
            ),
            (Class::Default, _) => {
                String::from("give one of them another `priority`, or delete one")
            }
        }
    }

    /// The same, told by the first route: it is the second one then.
    #[must_use]
    pub fn turned(&self) -> Self {
        Self {
            first: self.second.clone(),
            second: self.first.clone(),
            first_fields: self.second_fields.clone(),
            second_fields: self.first_fields.clone(),
            ..self.clone()
        }
    }

    fn all_fields(&self) -> Vec<String> {
        let mut all = self.first_fields.clone();
        for field in &self.second_fields {
            if !all.contains(field) {
                all.push(field.clone());
            }
        }
        all
    }
}

fn joined(fields: &[String]) -> String {
    match fields {
        [] => String::from("no field"),
        [only] => only.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Every two routes that could both be best.
#[must_use]
pub fn conflicts(rules: &[Rule]) -> Conflicts {
    let search = Search::among(rules);
    let (found, undecided) = search.run();
    if found.kept.is_empty() {
        return Conflicts {
            undecided,
            ..Conflicts::default()
        };
    }
    let policy = Disclosures::of_all(rules.iter());
    let pairs = by_pair(&found.kept);
    let shown = pairs.iter().take(limits::CONFLICTS_SHOWN_MAX);
    Conflicts {
        shown: shown
            .filter_map(|pair| search.told(*pair, &policy))
            .collect(),
        count: pairs.len().saturating_add(found.more),
        routes: search.involved(&found),
        undecided,
    }
}

/// What a search has found.
struct AllFound {
    /// In the order in which they are found; a pair with several ranges in common for each of them. No more than
    /// [`limits::CONFLICTS_KEPT_MAX`].
    kept: Vec<Found>,
    /// How many more pairs there are at least.
    more: usize,
    /// Whether a route is of any of the pairs, by its place.
    involved: Vec<bool>,
}

/// Of some routes, the one that takes every Logon that both of a pair take from an address: the best of those that stand
/// above the two there. For a pair that conflicts from everywhere, any address will do.
#[must_use]
pub fn decider<'r>(
    pair: [&Rule; 2],
    source: Option<IpAddr>,
    routes: impl IntoIterator<Item = &'r Rule>,
) -> Option<&'r Rule> {
    let source = SourceAddress::from(source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let tied = pair
        .iter()
        .filter_map(|rule| overlap::rank_from(rule, source))
        .max()?;
    routes
        .into_iter()
        .filter(|rule| overlap::takes_all(rule, pair))
        .filter_map(|rule| Some((overlap::rank_from(rule, source)?, rule)))
        .filter(|(rank, _)| *rank > tied)
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, rule)| rule)
}

/// A pair that conflicts.
#[derive(Clone, Copy)]
struct Found {
    /// The routes' places among the names.
    pair: [u32; 2],
    /// By which range both match.
    range: Option<SourceRange>,
    /// From where; `None`: from anywhere.
    source: Option<IpAddr>,
}

/// A rank, a range and a generic Logon.
type Asked = (Rank, Option<SourceRange>, Generic);

/// From where the routes of a rank are best for a Logon.
struct Judged {
    asked: Asked,
    left: Left,
}

struct Search<'r> {
    routes: Routes<'r>,
    alphabet: Alphabet,
}

impl<'r> Search<'r> {
    fn among(rules: &'r [Rule]) -> Self {
        Self {
            routes: Routes::among(by_name(rules)),
            alphabet: Alphabet::of(rules.iter()),
        }
    }

    /// The pairs that conflict, by the names of their routes, and whether the bound was met: what was found before stands.
    fn run(&self) -> (AllFound, bool) {
        let mut steps = Steps(limits::CONFLICT_STEPS_MAX);
        let mut found = AllFound {
            kept: Vec::new(),
            more: 0,
            involved: vec![false; self.routes.rules().len()],
        };
        let undecided = self.compare_all(&mut steps, &mut found).is_err();
        (found, undecided)
    }

    fn compare_all(&self, steps: &mut Steps, found: &mut AllFound) -> Result<(), Exhausted> {
        let mut last = None;
        let groups = self.routes.groups();
        for (place, group) in groups.iter().enumerate() {
            let others = groups.iter().skip(place);
            for other in others.filter(|other| group.can_tie(other)) {
                overlap::join(&self.routes, group, other, steps, |steps, one, other| {
                    if let Some(pair) = self.judge(one, other, &mut last, steps)? {
                        self.keep(pair, found);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn keep(&self, pair: Found, found: &mut AllFound) {
        for place in pair.pair {
            if let Some(involved) = found.involved.get_mut(place as usize) {
                *involved = true;
            }
        }
        if found.kept.len() < limits::CONFLICTS_KEPT_MAX {
            found.kept.push(pair);
            return;
        }
        // A pair with several ranges in common is counted by the first of them.
        let ranges = pair.pair.map(|place| {
            let rule = self.routes.rule(place);
            rule.map_or(&[][..], Rule::source_ranges)
        });
        let [first, second] = ranges;
        let common = first.iter().find(|range| second.contains(range));
        if common.copied() == pair.range {
            found.more = found.more.saturating_add(1);
        }
    }

    /// Whether two routes, by one range that both have, conflict. `last` is what was found for the Logon before: many pairs
    /// that come one after the other have the same.
    fn judge(
        &self,
        a: Member,
        b: Member,
        last: &mut Option<Judged>,
        steps: &mut Steps,
    ) -> Result<Option<Found>, Exhausted> {
        steps.spend(1)?;
        let pair = [a.rule.min(b.rule), a.rule.max(b.rule)];
        let [Some(first), Some(second)] = pair.map(|place| self.routes.rule(place)) else {
            return Ok(None);
        };
        if a.range != b.range {
            return Ok(None);
        }
        let range = a.range;
        let Some(generic) = self.alphabet.generic(first, second) else {
            return Ok(None);
        };
        let asked = (first.rank(), range, generic);
        let left = match last {
            Some(judged) if judged.asked == asked => judged.left,
            _ => {
                let left = self.left(&asked, steps)?;
                *last = Some(Judged { asked, left });
                left
            }
        };
        let source = match left {
            Left::Nowhere => return Ok(None),
            Left::Anywhere => None,
            Left::From(source) => Some(source),
        };
        Ok(Some(Found {
            pair,
            range,
            source,
        }))
    }

    /// From where a generic Logon has routes of this rank as best.
    fn left(&self, (rank, range, generic): &Asked, steps: &mut Steps) -> Result<Left, Exhausted> {
        // The two are among those that match.
        let matching = self.routes.matching(*rank, generic, steps)?;
        let Some(above) = ranges_above(&matching, *rank, *range) else {
            return Ok(Left::Nowhere);
        };
        steps.spend(above.len())?;
        Ok(left(*range, &above))
    }

    /// The routes of these pairs, by name.
    fn involved(&self, found: &AllFound) -> Vec<RouteName> {
        let routes = self.routes.rules().iter().zip(&found.involved);
        routes
            .filter(|(_, involved)| **involved)
            .map(|(rule, _)| rule.name().clone())
            .collect()
    }

    fn told(&self, found: Found, policy: &Disclosures) -> Option<Conflict> {
        let [first, second] = found.pair.map(|place| self.routes.rule(place));
        let (first, second) = (first?, second?);
        let generic: Generic = self.alphabet.generic(first, second)?;
        Some(Conflict {
            first: first.name().clone(),
            second: second.name().clone(),
            rank: first.rank(),
            first_fields: labels(first, policy),
            second_fields: labels(second, policy),
            same: same_conditions(first, second),
            range: found.range,
            witness: Witness::new(&[first, second], generic, found.source, policy),
        })
    }
}

/// Pairs in the order of their names, each once.
fn by_pair(found: &[Found]) -> Vec<Found> {
    let key = |[first, second]: [u32; 2]| u64::from(first) << 32 | u64::from(second);
    let mut order: Vec<Hashed> = found
        .iter()
        .zip(0..)
        .map(|(found, place)| (key(found.pair), place))
        .collect();
    order.sort_unstable();
    order.dedup_by_key(|(pair, _)| *pair);
    let found = |(_, place): &Hashed| found.get(*place as usize).copied();
    order.iter().filter_map(found).collect()
}

fn labels(rule: &Rule, policy: &Disclosures) -> Vec<String> {
    let shown = |field: &FieldMatch| match policy.of(field.tag) {
        Disclosure::Hidden => String::from("a hidden field"),
        Disclosure::Shown | Disclosure::Redacted => field.label.clone(),
    };
    rule.fields().iter().map(shown).collect()
}

fn same_conditions(first: &Rule, second: &Rule) -> bool {
    fn conditions(rule: &Rule) -> impl Iterator<Item = (Tag, &Condition)> {
        let fields = rule.fields().iter();
        fields.map(|field| (field.tag, &field.condition))
    }
    conditions(first).eq(conditions(second))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::rule::testing::spec;
    use crate::rule::{FieldSpec, RuleSpec};

    fn rules(specs: impl IntoIterator<Item = RuleSpec>) -> Vec<Rule> {
        specs
            .into_iter()
            .map(|spec| Rule::new(spec).unwrap())
            .collect()
    }

    fn one(specs: [RuleSpec; 2]) -> Conflict {
        let found = conflicts(&rules(specs));
        assert_eq!(found.count, 1);
        found.shown.first().unwrap().clone()
    }

    #[test]
    fn what_could_not_be_decided_counts_as_a_conflict() {
        let undecided = Conflicts {
            undecided: true,
            ..Conflicts::default()
        };
        assert!(!undecided.is_empty());
        let fields = |name| spec(name, &[("SenderCompID49", name)], None);
        let rules = rules(["a", "b", "c"].map(fields));
        let search = |steps| {
            let mut found = AllFound {
                kept: Vec::new(),
                more: 0,
                involved: Vec::new(),
            };
            let search = Search::among(&rules);
            search.compare_all(&mut Steps(steps), &mut found).is_err()
        };
        assert!(search(3), "three routes take more than three steps");
        assert!(!search(100));
    }

    #[test]
    fn the_route_that_shows_a_field_least_is_heard() {
        for hides_first in [true, false] {
            let with = |name: &str, hides: bool, redacts: bool| {
                let mut spec = spec(name, &[("Account1", "ours"), ("Text58", "theirs")], None);
                for (key, field) in &mut spec.match_fields {
                    *field = FieldSpec {
                        hidden: hides && key == "Account1",
                        redact: redacts && key == "Text58",
                        ..field.clone()
                    };
                }
                spec
            };
            let conflict = one([
                with("a", hides_first, !hides_first),
                with("b", !hides_first, hides_first),
            ]);
            let shown = format!("{}", conflict.witness);
            assert!(
                !shown.contains("ours") && !shown.contains("theirs"),
                "{shown}"
            );
            assert!(shown.contains("58=[REDACTED]"), "{shown}");
            // Of the routes that ask for the hidden one, those that hide it are named.
            let hidden = conflict.witness.fields(false).next().unwrap();
            let hiding = if hides_first { "a" } else { "b" };
            assert_eq!(hidden.field, None);
            let names: Vec<&str> = hidden.of.iter().map(|of| of.name.as_str()).collect();
            assert_eq!(names, [hiding]);
            for fields in [&conflict.first_fields, &conflict.second_fields] {
                assert_eq!(*fields, ["a hidden field", "Text58"]);
            }
        }
    }

    #[test]
    fn routes_are_the_same_by_what_they_ask_for_and_not_by_how_much() {
        let with = |name, text| spec(name, &[("SenderCompID49", text)], Some(1));
        assert!(one([with("a", "A*"), with("b", "A*")]).same);
        assert!(!one([with("a", "A*"), with("b", "AB*")]).same);
        let exact = |name, key| spec(name, &[(key, "A")], None);
        assert!(!one([exact("a", "SenderCompID49"), exact("b", "TargetCompID56")]).same);
    }
}
