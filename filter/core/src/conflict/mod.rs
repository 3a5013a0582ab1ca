//! Could two routes both be best for some Logon, and which Logon shows it?
//!
//! Exact, and without a search (`docs/routing.md` has the argument). For two routes of one rank there is one *generic*
//! Logon: what either fixes; behind the longest prefix that either asks for one byte that no route knows; nothing else. A
//! route that outranks both and matches it matches every Logon that both take, and one that does not match it can be
//! avoided. So only the address is left to choose: one where their longest ranges are equally long, and where no such
//! route stands above them. If there is one, the generic Logon from there is the [`Witness`].
//!
//! INVARIANT: the work is bounded by [`limits::CONFLICT_STEPS_MAX`]; what could not be decided counts as a conflict.

mod search;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use crate::limits;
use crate::range::{SourceAddress, SourceRange};
use crate::redact::{self, Disclosure, FieldValue};
use crate::rule::{Class, Condition, FieldMatch, Rank, RouteName, Rule};
use crate::wire::Tag;
use search::{Found, Generic, Routes};

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
                "and {first} take the same Logon with equally many fields, {fields} here and {} there{from}: {witness}",
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
                    "and {first} take the same Logon by the same `priority` {weight}{from}: {witness}"
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

/// A Logon, and where it comes from, for which two routes are best. Shown with what its routes let be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Witness {
    fields: Vec<WitnessField>,
    source: Option<IpAddr>,
}

#[derive(Clone, PartialEq, Eq)]
struct WitnessField {
    tag: Tag,
    value: Vec<u8>,
    disclosure: Disclosure,
    /// Whose condition it meets.
    of: Option<RouteName>,
}

impl Witness {
    /// Its bytes, with all values. They are for the wire, and for who may read the routes anyway.
    #[must_use]
    pub fn logon(&self) -> Vec<u8> {
        let (begin, rest): (Vec<_>, Vec<_>) = self
            .fields
            .iter()
            .partition(|field| field.tag == Tag::BEGIN_STRING);
        let mut body = b"35=A\x01".to_vec();
        for field in rest {
            write_field(&mut body, field.tag.get(), &field.value);
        }
        let mut message = Vec::new();
        let version = begin.first().map_or(&b"FIX.4.4"[..], |field| &field.value);
        write_field(&mut message, 8, version);
        write_field(&mut message, 9, format!("{}", body.len()).as_bytes());
        message.extend(body);
        let sum = message
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        write_field(&mut message, 10, format!("{sum:03}").as_bytes());
        message
    }

    /// Where it comes from; `None`: anywhere.
    #[must_use]
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }
}

fn write_field(message: &mut Vec<u8>, tag: u32, value: &[u8]) {
    message.extend(format!("{tag}=").as_bytes());
    message.extend(value);
    message.push(crate::wire::SOH);
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("35=A|")?;
        for field in &self.fields {
            let value = FieldValue::new(&field.value);
            match (redact::recorded(value, field.disclosure), &field.of) {
                (Some(value), _) => write!(f, "{}={value}|", field.tag.get())?,
                (None, Some(route)) => write!(f, "<a hidden field of {route}>|")?,
                (None, None) => {}
            }
        }
        match self.source {
            Some(source) => write!(f, " from {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({self})")
    }
}

/// Every two routes that could both be best.
#[must_use]
pub fn conflicts(rules: &[Rule]) -> Conflicts {
    let routes = Routes::among(rules);
    let (found, undecided) = routes.search();
    let shown = found.iter().take(limits::CONFLICTS_SHOWN_MAX);
    Conflicts {
        shown: shown
            .filter_map(|found| {
                let [first, second] = found.pair.map(|place| routes.rule(place));
                let (first, second) = (first?, second?);
                Some(told(first, second, *found, routes.generic(first, second)?))
            })
            .collect(),
        count: found.len(),
        routes: routes.involved(&found),
        undecided,
    }
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
        .filter_map(|rule| search::rank_from(rule, source))
        .max()?;
    routes
        .into_iter()
        .filter(|rule| search::takes_all(rule, pair))
        .filter_map(|rule| Some((search::rank_from(rule, source)?, rule)))
        .filter(|(rank, _)| *rank > tied)
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, rule)| rule)
}

fn told(first: &Rule, second: &Rule, found: Found, generic: Generic) -> Conflict {
    Conflict {
        first: first.name().clone(),
        second: second.name().clone(),
        rank: first.rank(),
        first_fields: labels(first),
        second_fields: labels(second),
        same: same_conditions(first, second),
        range: found.range,
        witness: witness(first, second, generic, found.source),
    }
}

fn labels(rule: &Rule) -> Vec<String> {
    let shown = |field: &FieldMatch| match field.disclosure {
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

fn witness(first: &Rule, second: &Rule, generic: Generic, source: Option<IpAddr>) -> Witness {
    let fields = generic.into_iter().map(|(tag, value)| {
        let both = [first, second].into_iter();
        let asking = both.filter_map(|rule| Some((rule, search::field_of(rule, tag)?)));
        // Whoever hides it most is heard.
        let strictest = asking.max_by_key(|(_, field)| field.disclosure);
        WitnessField {
            tag,
            value,
            disclosure: strictest.map_or(Disclosure::Shown, |(_, field)| field.disclosure),
            of: strictest.map(|(rule, _)| rule.name().clone()),
        }
    });
    Witness {
        fields: fields.collect(),
        source,
    }
}
