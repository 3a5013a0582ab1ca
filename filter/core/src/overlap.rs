//! Which Logons do two routes both take, and from where does another one stand above them there?
//!
//! For two routes there is one *generic* Logon ([`Alphabet::generic`]): what either fixes; behind the longest prefix that
//! either asks for one byte that no route knows; nothing else. A route that takes it takes every Logon that both take, and
//! one that does not can be avoided: so the generic Logon speaks for all of them (`docs/routing.md` has the argument).
//!
//! Routes are found without comparing each with each. Those that ask for the same kinds of things make a group. For two
//! groups, a hash of what the conditions have in common finds the routes that can meet ([`join`]); one hash for each group
//! finds those that take a Logon ([`Routes::matching`]). The table's own notion of what a condition makes of a key
//! ([`kind_of`], [`key_part`]) serves both.
//!
//! INVARIANT: the work is bounded by the [`Steps`] that were given.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::key::{KIND_PRESENT, KIND_VALUE, anywhere_or_ranges, key_part, kind_of, mix, seed};
use crate::range::{self, SourceAddress, SourceRange};
use crate::rule::{Condition, FieldMatch, Rank, Rule};
use crate::wire::Tag;

/// A Logon's fields, ascending by tag.
pub(crate) type Generic = Vec<(Tag, Vec<u8>)>;
/// Tags, ascending, and the kind of what is asked of each.
type Terms = Vec<(Tag, u32)>;
/// A hash, and the place of what was hashed. All lists are sorted in this one form, which keeps the filter small.
pub(crate) type Hashed = (u64, u32);

/// How much work there may still be: hashes, comparisons, routes looked at.
pub(crate) struct Steps(pub(crate) usize);

/// The bound was met.
pub(crate) struct Exhausted;

impl Steps {
    pub(crate) fn spend(&mut self, steps: usize) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(steps).ok_or(Exhausted)?;
        Ok(())
    }
}

/// What generic Logons are made of.
#[derive(Clone, Copy)]
pub(crate) struct Alphabet {
    /// A byte that no route knows.
    fresh: u8,
    asks_begin_string: bool,
}

impl Alphabet {
    /// For all these routes.
    pub(crate) fn of<'r>(rules: impl Iterator<Item = &'r Rule> + Clone) -> Self {
        Self {
            fresh: fresh_byte(rules.clone()),
            asks_begin_string: rules
                .into_iter()
                .any(|rule| field_of(rule, Tag::BEGIN_STRING).is_some()),
        }
    }

    /// The generic Logon of two routes; `None` when no Logon meets the conditions of both.
    pub(crate) fn generic(self, first: &Rule, second: &Rule) -> Option<Generic> {
        let mut values: Vec<(Tag, &Condition)> = Vec::new();
        let begins = Condition::Prefix(b"FIX"[..].into());
        let begins = self
            .asks_begin_string
            .then_some((Tag::BEGIN_STRING, &begins));
        let fields = first.fields().iter().chain(second.fields());
        let asked = fields.map(|field| (field.tag, &field.condition));
        for (tag, condition) in asked.chain(begins) {
            match values.binary_search_by(|(known, _)| known.cmp(&tag)) {
                Ok(place) => {
                    let (_, known) = values.get_mut(place)?;
                    *known = tighter(known, condition)?;
                }
                Err(place) => values.insert(place, (tag, condition)),
            }
        }
        let values = values.into_iter().map(|(tag, condition)| {
            let mut value = kind_of(condition).1.to_vec();
            if !matches!(condition, Condition::Value(_)) {
                value.push(self.fresh);
            }
            (tag, value)
        });
        Some(values.collect())
    }
}

/// A route by its place, and one of its ranges.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    pub(crate) rule: u32,
    pub(crate) range: Option<SourceRange>,
}

/// Routes of one rank that ask for the same kinds of things. Routes with ranges never tie with routes without.
pub(crate) struct Group {
    rank: Rank,
    ranged: bool,
    terms: Terms,
    /// Each route with each of its ranges.
    members: Vec<Member>,
    /// Each route by a hash of all that it asks of fields.
    routes: Vec<Hashed>,
}

impl Group {
    /// Whether a route of one can tie with a route of the other.
    pub(crate) fn can_tie(&self, other: &Self) -> bool {
        (self.rank, self.ranged) == (other.rank, other.ranged)
    }
}

/// Routes, and the groups that they make.
pub(crate) struct Routes<'r> {
    rules: Vec<&'r Rule>,
    groups: Vec<Group>,
}

impl<'r> Routes<'r> {
    /// In the order in which they are given.
    pub(crate) fn among(rules: Vec<&'r Rule>) -> Self {
        let mut alike: Vec<Hashed> = rules
            .iter()
            .zip(0..)
            .map(|(rule, place)| (hash_of_kinds(rule), place))
            .collect();
        alike.sort_unstable();
        let mut routes = Self {
            groups: Vec::new(),
            rules,
        };
        for (_, place) in alike {
            routes.add(place);
        }
        for group in &mut routes.groups {
            group.routes.sort_unstable();
        }
        routes
    }

    /// Puts a route with those that are like it. They come one after the other, so those added last are looked at alone;
    /// were another to come between, there would be two groups of one kind, which are compared as well.
    fn add(&mut self, place: u32) {
        let Some(rule) = self.rule(place) else { return };
        let terms: Terms = rule
            .fields()
            .iter()
            .map(|field| (field.tag, kind_of(&field.condition).0))
            .collect();
        let (rank, ranged) = (rule.rank(), !rule.source_ranges().is_empty());
        let is_like =
            |group: &Group| (group.rank, group.ranged) == (rank, ranged) && group.terms == terms;
        let hash = hash_of(None, &terms, |tag| value_asked(rule, tag));
        if !self.groups.last().is_some_and(is_like) {
            self.groups.push(Group {
                rank,
                ranged,
                terms,
                members: Vec::new(),
                routes: Vec::new(),
            });
        }
        if let (Some(group), Some(hash)) = (self.groups.last_mut(), hash) {
            let members = anywhere_or_ranges(rule).map(|range| Member { rule: place, range });
            group.members.extend(members);
            group.routes.push((hash, place));
        }
    }

    pub(crate) fn rule(&self, place: u32) -> Option<&'r Rule> {
        self.rules.get(place as usize).copied()
    }

    pub(crate) fn rules(&self) -> &[&'r Rule] {
        &self.rules
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The routes of this rank or a higher one whose conditions on fields a Logon meets.
    pub(crate) fn matching(
        &self,
        rank: Rank,
        logon: &Generic,
        steps: &mut Steps,
    ) -> Result<Vec<&'r Rule>, Exhausted> {
        let value = |tag: Tag| {
            let found = logon.binary_search_by(|(known, _)| known.cmp(&tag)).ok()?;
            logon.get(found).map(|(_, value)| value.as_slice())
        };
        let mut matching = Vec::new();
        let mut spent = self.groups.len();
        for group in &self.groups {
            if group.rank < rank {
                continue;
            }
            let Some(wanted) = hash_of(None, &group.terms, value) else {
                continue;
            };
            for place in under(&group.routes, wanted) {
                spent += 1;
                let holds = |field: &FieldMatch| {
                    value(field.tag).is_some_and(|value| field.condition.holds(value))
                };
                let rule = self.rule(place);
                matching.extend(rule.filter(|rule| rule.fields().iter().all(holds)));
            }
        }
        steps.spend(spent)?;
        Ok(matching)
    }

    /// Hashes of what two groups have in common, for the members of one of them. A value that is shorter than a prefix of
    /// the other group has none.
    fn keys(
        &self,
        members: &[Member],
        common: &Terms,
        steps: &mut Steps,
    ) -> Result<Vec<Hashed>, Exhausted> {
        steps.spend(members.len())?;
        let mut keys = Vec::with_capacity(members.len());
        for (member, place) in members.iter().zip(0..) {
            if let Some(rule) = self.rule(member.rule)
                && let Some(hash) = hash_of(member.range, common, |tag| value_asked(rule, tag))
            {
                keys.push((hash, place));
            }
        }
        Ok(keys)
    }
}

/// Hands over the routes of two groups, or of one, that may meet by one range that both have, or without ranges. Within a
/// group, each pair once.
pub(crate) fn join(
    routes: &Routes<'_>,
    group: &Group,
    other: &Group,
    steps: &mut Steps,
    mut meet: impl FnMut(&mut Steps, Member, Member) -> Result<(), Exhausted>,
) -> Result<(), Exhausted> {
    let common = common(&group.terms, &other.terms);
    steps.spend(1)?;
    let (few, many) = if group.members.len() <= other.members.len() {
        (group, other)
    } else {
        (other, group)
    };
    let mut keys = routes.keys(&few.members, &common, steps)?;
    keys.sort_unstable();
    let own = core::ptr::eq(few, many);
    for (hash, member) in routes.keys(&many.members, &common, steps)? {
        for other in under(&keys, hash) {
            let pair = (
                few.members.get(other as usize),
                many.members.get(member as usize),
            );
            if let (Some(one), Some(other)) = pair
                && !(own && one.rule >= other.rule)
            {
                meet(steps, *one, *other)?;
            }
        }
    }
    Ok(())
}

/// Hands over each route of one set with each of another that may meet, whatever their ranges and ranks.
pub(crate) fn meeting<'r>(
    some: &Routes<'r>,
    others: &Routes<'r>,
    steps: &mut Steps,
    mut meet: impl FnMut(&mut Steps, &'r Rule, &'r Rule) -> Result<(), Exhausted>,
) -> Result<(), Exhausted> {
    let anywhere = |group: &Group| -> Vec<Member> {
        let places = group.routes.iter().map(|(_, rule)| *rule);
        places.map(|rule| Member { rule, range: None }).collect()
    };
    for group in &some.groups {
        let members = anywhere(group);
        for other in &others.groups {
            let other_members = anywhere(other);
            let common = common(&group.terms, &other.terms);
            let mut keys = some.keys(&members, &common, steps)?;
            keys.sort_unstable();
            for (hash, place) in others.keys(&other_members, &common, steps)? {
                for own in under(&keys, hash) {
                    let one = members.get(own as usize);
                    let one = one.and_then(|member| some.rule(member.rule));
                    let other = other_members.get(place as usize);
                    let other = other.and_then(|member| others.rule(member.rule));
                    if let (Some(one), Some(other)) = (one, other) {
                        meet(steps, one, other)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// The ranges from which a route stands above one of this rank that matches by this range, where all these match; `None`:
/// one stands above it from everywhere.
pub(crate) fn ranges_above(
    matching: &[&Rule],
    rank: Rank,
    range: Option<SourceRange>,
) -> Option<Vec<SourceRange>> {
    let longer_than = |other: &SourceRange| {
        range.is_none_or(|range| other.form().length() > range.form().length())
    };
    let mut above: Vec<SourceRange> = Vec::new();
    for rule in matching {
        let ranges = rule.source_ranges();
        if rule.rank() == rank {
            above.extend(ranges.iter().copied().filter(longer_than));
        } else if ranges.is_empty() {
            return None;
        } else {
            above.extend(ranges);
        }
    }
    Some(above)
}

/// Where an address is left.
#[derive(Clone, Copy)]
pub(crate) enum Left {
    Nowhere,
    Anywhere,
    From(IpAddr),
}

/// An address of a range, or of anywhere, that is in none of these.
pub(crate) fn left(range: Option<SourceRange>, above: &[SourceRange]) -> Left {
    let left = match range {
        Some(range) => range.first_outside(above),
        None if above.is_empty() => return Left::Anywhere,
        None => SourceRange::EVERYTHING
            .iter()
            .find_map(|all| all.first_outside(above)),
    };
    left.map_or(Left::Nowhere, Left::From)
}

/// What stands under a hash in a sorted list.
fn under(list: &[Hashed], hash: u64) -> impl Iterator<Item = u32> {
    let first = list.partition_point(|(known, _)| *known < hash);
    let from = list.get(first..).unwrap_or_default().iter();
    from.take_while(move |(known, _)| *known == hash)
        .map(|(_, place)| *place)
}

/// What must be equal of two routes' values, so that one value meets both. A mere presence asks for nothing.
fn common(terms: &Terms, others: &Terms) -> Terms {
    let mut common = Terms::new();
    for (tag, kind) in terms {
        let Some((_, other)) = others.iter().find(|(other, _)| other == tag) else {
            continue;
        };
        match (*kind, *other) {
            (KIND_PRESENT, _) | (_, KIND_PRESENT) => {}
            (KIND_VALUE, kind) | (kind, KIND_VALUE) => common.push((*tag, kind)),
            (one, other) => common.push((*tag, one.min(other))),
        }
    }
    common
}

/// The condition that asks for what both ask for; `None` when no value meets both.
fn tighter<'c>(one: &'c Condition, other: &'c Condition) -> Option<&'c Condition> {
    let meets = |loose: &[u8], tight: &[u8]| tight.starts_with(loose);
    match (one, other) {
        (Condition::Value(a), Condition::Value(b)) => (a == b).then_some(one),
        (Condition::Value(value), Condition::Prefix(prefix)) => meets(prefix, value).then_some(one),
        (Condition::Prefix(prefix), Condition::Value(value)) => {
            meets(prefix, value).then_some(other)
        }
        (Condition::Prefix(a), Condition::Prefix(b)) if a.len() >= b.len() => {
            meets(b, a).then_some(one)
        }
        (Condition::Prefix(a), Condition::Prefix(b)) => meets(a, b).then_some(other),
        (_, Condition::Present) => Some(one),
        (Condition::Present, _) => Some(other),
    }
}

/// Whether every value that meets the first condition meets the second.
fn implies(tight: &Condition, loose: &Condition) -> bool {
    match (tight, loose) {
        (_, Condition::Present) => true,
        (Condition::Value(value), Condition::Value(other)) => value == other,
        (Condition::Value(text) | Condition::Prefix(text), Condition::Prefix(prefix)) => {
            text.starts_with(prefix)
        }
        (Condition::Present, Condition::Value(_) | Condition::Prefix(_))
        | (Condition::Prefix(_), Condition::Value(_)) => false,
    }
}

/// Whether a route's conditions on fields hold for every Logon that both of a pair take. What the generic Logon answers
/// within one set, answered for routes of different sets: they know different bytes.
pub(crate) fn takes_all(rule: &Rule, pair: [&Rule; 2]) -> bool {
    let begins = Condition::Prefix(b"FIX"[..].into());
    rule.fields().iter().all(|field| {
        let asked = pair.iter().filter_map(|rule| field_of(rule, field.tag));
        let always = (field.tag == Tag::BEGIN_STRING).then_some(&begins);
        asked
            .map(|field| &field.condition)
            .chain(always)
            .any(|tight| implies(tight, &field.condition))
    })
}

/// How a route ranks for an address; `None` when it is not for it. A route without ranges ranks below `/0`.
pub(crate) fn rank_from(rule: &Rule, source: SourceAddress) -> Option<(Rank, Option<u8>)> {
    let longest = range::longest_around(rule.source_ranges().iter().copied(), source);
    let longest = longest.map(|range| range.form().length());
    let is_for = rule.source_ranges().is_empty() || longest.is_some();
    is_for.then_some((rule.rank(), longest))
}

pub(crate) fn field_of(rule: &Rule, tag: Tag) -> Option<&FieldMatch> {
    rule.fields().iter().find(|field| field.tag == tag)
}

fn value_asked(rule: &Rule, tag: Tag) -> Option<&[u8]> {
    field_of(rule, tag).map(|field| kind_of(&field.condition).1)
}

/// So that routes that are alike come one after the other.
fn hash_of_kinds(rule: &Rule) -> u64 {
    let rank = rule.rank();
    let ranged = !rule.source_ranges().is_empty();
    let hash = mix(0, &[rank.class as u8, u8::from(ranged)]);
    let hash = mix(hash, &rank.weight.to_le_bytes());
    rule.fields().iter().fold(hash, |hash, field| {
        let hash = mix(hash, &field.tag.get().to_le_bytes());
        mix(hash, &kind_of(&field.condition).0.to_le_bytes())
    })
}

/// The key that these terms make of a range and of values; `None` when a value is missing, or shorter than a prefix.
fn hash_of<'v>(
    range: Option<SourceRange>,
    terms: &Terms,
    value: impl Fn(Tag) -> Option<&'v [u8]>,
) -> Option<u64> {
    terms.iter().try_fold(seed(range), |hash, (tag, kind)| {
        Some(mix(hash, key_part(*kind, value(*tag)?)?))
    })
}

/// A byte that occurs in no value and no prefix, readable if there is one. Rules are text, and 0xFF is in no text.
fn fresh_byte<'r>(rules: impl Iterator<Item = &'r Rule>) -> u8 {
    let mut known = vec![false; 256];
    for rule in rules {
        let fields = rule.fields().iter();
        for byte in fields.flat_map(|field| kind_of(&field.condition).1) {
            if let Some(known) = known.get_mut(usize::from(*byte)) {
                *known = true;
            }
        }
    }
    let letters = (b'0'..=b'9').chain(b'a'..=b'z').chain(b'A'..=b'Z');
    // None that would be taken for something else where a Logon is printed.
    let mut readable = letters.chain(*b"-_.:/+#@~!$%&");
    let is_free = |byte: &u8| known.get(usize::from(*byte)) == Some(&false);
    readable.find(is_free).unwrap_or(0xFF)
}
