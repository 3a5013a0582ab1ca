//! Which two of many routes could both be best, found without comparing each with each?
//!
//! Routes that ask for the same kinds of things make a group. For two groups of one rank, a hash of what the conditions have
//! in common finds the routes that can meet; one hash for each group finds those that stand above a pair. The table's own
//! notion of what a condition makes of a key ([`kind_of`], [`key_part`]) serves both.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::key::{KIND_PRESENT, KIND_VALUE, anywhere_or_ranges, key_part, kind_of, mix, seed};
use crate::limits;
use crate::range::{SourceAddress, SourceRange};
use crate::rule::{Condition, FieldMatch, Rank, RouteName, Rule, by_name};
use crate::wire::Tag;

/// A Logon's fields, ascending by tag.
pub(super) type Generic = Vec<(Tag, Vec<u8>)>;
/// Tags, ascending, and the kind of what is asked of each.
type Terms = Vec<(Tag, u32)>;
/// A hash, and the place of what was hashed. All lists are sorted in this one form, which keeps the filter small.
type Hashed = (u64, u32);

/// A pair that conflicts.
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// The routes' places among the names.
    pub(super) pair: [u32; 2],
    /// By which range both match.
    pub(super) range: Option<SourceRange>,
    /// From where; `None`: from anywhere.
    pub(super) source: Option<IpAddr>,
}

/// A route by its place among the names, and one of its ranges.
#[derive(Clone, Copy)]
struct Member {
    rule: u32,
    range: Option<SourceRange>,
}

/// Routes of one rank that ask for the same kinds of things. Routes with ranges never tie with routes without.
struct Group {
    rank: Rank,
    ranged: bool,
    terms: Terms,
    /// Each route with each of its ranges.
    members: Vec<Member>,
    /// Each route by a hash of all that it asks of fields.
    routes: Vec<Hashed>,
}

/// All routes, as a search needs them.
pub(super) struct Routes<'r> {
    rules: Vec<&'r Rule>,
    groups: Vec<Group>,
    /// A byte that no route knows.
    fresh: u8,
    asks_begin_string: bool,
}

impl<'r> Routes<'r> {
    pub(super) fn among(rules: &'r [Rule]) -> Self {
        let rules = by_name(rules);
        let mut routes = Self {
            groups: Vec::new(),
            fresh: fresh_byte(&rules),
            asks_begin_string: rules
                .iter()
                .any(|rule| field_of(rule, Tag::BEGIN_STRING).is_some()),
            rules,
        };
        let mut alike: Vec<Hashed> = routes
            .rules
            .iter()
            .zip(0..)
            .map(|(rule, place)| (hash_of_kinds(rule), place))
            .collect();
        alike.sort_unstable();
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

    pub(super) fn rule(&self, place: u32) -> Option<&'r Rule> {
        self.rules.get(place as usize).copied()
    }

    /// The pairs that conflict, by the names of their routes, and whether the bound was met: what was found before stands.
    pub(super) fn search(&self) -> (Vec<Found>, bool) {
        let mut search = Search {
            routes: self,
            left: limits::CONFLICT_STEPS_MAX,
            found: Vec::new(),
        };
        let undecided = search.run().is_err();
        (by_pair(&search.found), undecided)
    }

    /// The routes of these pairs, by name.
    pub(super) fn involved(&self, found: &[Found]) -> Vec<RouteName> {
        let mut involved = vec![false; self.rules.len()];
        for place in found.iter().flat_map(|found| found.pair) {
            if let Some(involved) = involved.get_mut(place as usize) {
                *involved = true;
            }
        }
        let routes = self.rules.iter().zip(&involved);
        routes
            .filter(|(_, involved)| **involved)
            .map(|(rule, _)| rule.name().clone())
            .collect()
    }

    /// The generic Logon of two routes; `None` when no Logon meets the conditions of both.
    pub(super) fn generic(&self, first: &Rule, second: &Rule) -> Option<Generic> {
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

/// From where a Logon has both of two routes as best.
enum Left {
    Nowhere,
    Anywhere,
    From(IpAddr),
}

/// The bound was met.
struct Exhausted;

struct Search<'s, 'r> {
    routes: &'s Routes<'r>,
    left: usize,
    /// In the order in which they are found; a pair with several ranges in common for each of them.
    found: Vec<Found>,
}

impl Search<'_, '_> {
    fn run(&mut self) -> Result<(), Exhausted> {
        let groups = &self.routes.groups;
        for (place, group) in groups.iter().enumerate() {
            for other in groups.iter().skip(place) {
                if (group.rank, group.ranged) == (other.rank, other.ranged) {
                    self.compare(group, other)?;
                }
            }
        }
        Ok(())
    }

    fn spend(&mut self, steps: usize) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(steps).ok_or(Exhausted)?;
        Ok(())
    }

    /// Finds the pairs of two groups, or within one, whose conditions can meet, and judges each.
    fn compare(&mut self, group: &Group, other: &Group) -> Result<(), Exhausted> {
        let common = common(&group.terms, &other.terms);
        self.spend(1)?;
        let (few, many) = if group.members.len() <= other.members.len() {
            (group, other)
        } else {
            (other, group)
        };
        let mut keys = self.keys(few, &common)?;
        keys.sort_unstable();
        let own = core::ptr::eq(few, many);
        for (hash, member) in self.keys(many, &common)? {
            for other in under(&keys, hash) {
                let pair = (
                    few.members.get(other as usize),
                    many.members.get(member as usize),
                );
                // Within a group, each pair once.
                if let (Some(one), Some(other)) = pair
                    && !(own && one.rule >= other.rule)
                {
                    self.judge(*one, *other)?;
                }
            }
        }
        Ok(())
    }

    /// Hashes of what two groups have in common, for the members of one of them. A value that is shorter than a prefix of
    /// the other group has none.
    fn keys(&mut self, group: &Group, common: &Terms) -> Result<Vec<Hashed>, Exhausted> {
        self.spend(group.members.len())?;
        let mut keys = Vec::with_capacity(group.members.len());
        for (member, place) in group.members.iter().zip(0..) {
            if let Some(rule) = self.routes.rule(member.rule)
                && let Some(hash) = hash_of(member.range, common, |tag| value_asked(rule, tag))
            {
                keys.push((hash, place));
            }
        }
        Ok(keys)
    }

    /// Whether two routes, by one range that both have, conflict.
    fn judge(&mut self, a: Member, b: Member) -> Result<(), Exhausted> {
        self.spend(1)?;
        let pair = [a.rule.min(b.rule), a.rule.max(b.rule)];
        let [Some(first), Some(second)] = pair.map(|place| self.routes.rule(place)) else {
            return Ok(());
        };
        if a.range != b.range {
            return Ok(());
        }
        let range = a.range;
        let Some(generic) = self.routes.generic(first, second) else {
            return Ok(());
        };
        let source = match self.left(first.rank(), range, &generic)? {
            Left::Nowhere => return Ok(()),
            Left::Anywhere => None,
            Left::From(source) => Some(source),
        };
        self.found.push(Found {
            pair,
            range,
            source,
        });
        Ok(())
    }

    /// Whether some address is left in a range, or anywhere, from which no route that takes the generic Logon of two routes
    /// of this rank stands above them, by its rank or by a longer range. The two are among those routes.
    fn left(
        &mut self,
        rank: Rank,
        range: Option<SourceRange>,
        generic: &Generic,
    ) -> Result<Left, Exhausted> {
        let longer_than = |other: &SourceRange| {
            range.is_none_or(|range| other.form().length() > range.form().length())
        };
        let mut above: Vec<SourceRange> = Vec::new();
        for rule in self.matching(rank, generic)? {
            let ranges = rule.source_ranges();
            if rule.rank() == rank {
                above.extend(ranges.iter().copied().filter(longer_than));
            } else if ranges.is_empty() {
                return Ok(Left::Nowhere);
            } else {
                above.extend(ranges);
            }
        }
        self.spend(above.len())?;
        let left = match range {
            Some(range) => range.first_outside(&above),
            None if above.is_empty() => return Ok(Left::Anywhere),
            None => SourceRange::EVERYTHING
                .iter()
                .find_map(|all| all.first_outside(&above)),
        };
        Ok(left.map_or(Left::Nowhere, Left::From))
    }

    /// The routes of this rank or a higher one whose conditions on fields a Logon meets.
    fn matching(&mut self, rank: Rank, logon: &Generic) -> Result<Vec<&Rule>, Exhausted> {
        let value = |tag: Tag| {
            let found = logon.binary_search_by(|(known, _)| known.cmp(&tag)).ok()?;
            logon.get(found).map(|(_, value)| value.as_slice())
        };
        let mut matching = Vec::new();
        let mut steps = self.routes.groups.len();
        for group in &self.routes.groups {
            if group.rank < rank {
                continue;
            }
            let Some(wanted) = hash_of(None, &group.terms, value) else {
                continue;
            };
            for place in under(&group.routes, wanted) {
                steps += 1;
                let holds = |field: &FieldMatch| {
                    value(field.tag).is_some_and(|value| field.condition.holds(value))
                };
                let rule = self.routes.rule(place);
                matching.extend(rule.filter(|rule| rule.fields().iter().all(holds)));
            }
        }
        self.spend(steps)?;
        Ok(matching)
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
pub(super) fn takes_all(rule: &Rule, pair: [&Rule; 2]) -> bool {
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
pub(super) fn rank_from(rule: &Rule, source: SourceAddress) -> Option<(Rank, Option<u8>)> {
    let ranges = rule.source_ranges().iter();
    let around = ranges.filter(|range| range.holds(source));
    let longest = around.map(|range| range.form().length()).max();
    let is_for = rule.source_ranges().is_empty() || longest.is_some();
    is_for.then_some((rule.rank(), longest))
}

pub(super) fn field_of(rule: &Rule, tag: Tag) -> Option<&FieldMatch> {
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
fn fresh_byte(rules: &[&Rule]) -> u8 {
    let mut known = vec![false; 256];
    for rule in rules {
        let fields = rule.fields().iter();
        for byte in fields.flat_map(|field| kind_of(&field.condition).1) {
            if let Some(known) = known.get_mut(usize::from(*byte)) {
                *known = true;
            }
        }
    }
    let mut readable = (b'0'..=b'9').chain(b'a'..=b'z').chain(b'A'..=b'Z');
    let is_free = |byte: &u8| known.get(usize::from(*byte)) == Some(&false);
    readable.find(is_free).unwrap_or(0xFF)
}
