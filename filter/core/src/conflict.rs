//! Could two routes both be best for some Logon, and which Logon shows it?
//!
//! Exact, and without a search (`docs/routing.md` has the argument). For two routes of one rank there is one *generic*
//! Logon: what either fixes; behind the longest prefix that either asks for one byte that no route knows; nothing else. A
//! route that outranks both and matches it matches every Logon that both take, and one that does not match it can be
//! avoided. So only the address is left to choose: one where their longest ranges are equally long, and where no such
//! route stands above them. If there is one, the generic Logon from there is the [`Witness`].
//!
//! Routes are compared where their conditions can meet, found by hashes of what they have in common, never each with each.
//! INVARIANT: the work is bounded by [`limits::CONFLICT_STEPS_MAX`]; what could not be decided counts as a conflict.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::limits;
use crate::range::SourceRange;
use crate::redact::{self, Disclosure, FieldValue};
use crate::rule::{Class, Condition, FieldMatch, Rank, RouteName, Rule};
use crate::table::{anywhere_or_ranges, by_name, mix};
use crate::wire::Tag;

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
    let mut search = Search::among(by_name(rules));
    // What was found before the bound was met stands.
    let undecided = search.run().is_err();
    search.conclude(undecided)
}

/// What a route asks of a tag, without the bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Value,
    Prefix(usize),
    Present,
}

impl Kind {
    const fn of(condition: &Condition) -> Self {
        match condition {
            Condition::Value(_) => Self::Value,
            Condition::Prefix(prefix) => Self::Prefix(prefix.len()),
            Condition::Present => Self::Present,
        }
    }
}

/// Which bytes of two conditions must be equal so that one value meets both.
#[derive(Clone, Copy)]
enum Common {
    All,
    First(usize),
}

type Terms = Vec<(Tag, Kind)>;

fn terms(rule: &Rule) -> Terms {
    let fields = rule.fields().iter();
    fields
        .map(|field| (field.tag, Kind::of(&field.condition)))
        .collect()
}

/// Routes that ask for the same kinds of things, by hashes of the bytes.
struct Alike {
    terms: Terms,
    routes: Vec<Hashed>,
}

/// Such routes of one rank, each with one of its ranges. Routes with ranges never tie with routes without.
struct Group {
    rank: Rank,
    ranged: bool,
    terms: Terms,
    members: Vec<Member>,
}

/// A hash, and the place of what was hashed. All lists are sorted in this one form, which keeps the filter small.
type Hashed = (u64, u32);

/// A route by its place among the names, and one of its ranges.
#[derive(Clone, Copy)]
struct Member {
    rule: u32,
    range: Option<SourceRange>,
}

/// A pair that conflicts: by which range, and from where.
#[derive(Clone, Copy)]
struct Found {
    range: Option<SourceRange>,
    source: Option<IpAddr>,
}

struct Search<'r> {
    rules: Vec<&'r Rule>,
    groups: Vec<Group>,
    /// For the routes above a pair.
    index: Vec<Alike>,
    /// A byte that no route knows.
    fresh: u8,
    asks_begin_string: bool,
    left: usize,
    /// The places of both routes as one number, and the place in `found`.
    pairs: Vec<Hashed>,
    found: Vec<Found>,
}

/// From where a Logon has both of two routes as best.
enum Left {
    Nowhere,
    Anywhere,
    From(IpAddr),
}

/// The bound was met.
struct Exhausted;

impl<'r> Search<'r> {
    fn among(rules: Vec<&'r Rule>) -> Self {
        let mut search = Self {
            groups: Vec::new(),
            index: Vec::new(),
            fresh: fresh_byte(&rules),
            asks_begin_string: rules
                .iter()
                .any(|rule| field_of(rule, Tag::BEGIN_STRING).is_some()),
            left: limits::CONFLICT_STEPS_MAX,
            pairs: Vec::new(),
            found: Vec::new(),
            rules,
        };
        let places = 0..u32::try_from(search.rules.len()).unwrap_or(u32::MAX);
        let mut by_terms: Vec<Hashed> = places
            .filter_map(|place| Some((hash_of_terms(search.rule(place)?), place)))
            .collect();
        sort(&mut by_terms);
        for (_, place) in by_terms {
            search.add(place);
        }
        for alike in &mut search.index {
            sort(&mut alike.routes);
        }
        search
    }

    /// Puts a route with those that are like it. They come one after the other, so those added last are looked at alone;
    /// were another to come between, there would be two groups of one kind, which are compared as well.
    fn add(&mut self, place: u32) {
        let Some(rule) = self.rule(place) else { return };
        let terms = terms(rule);
        let fields = rule.fields().iter();
        let hash = hash(None, fields.map(|field| bytes_of(&field.condition)));
        match self.index.last_mut() {
            Some(alike) if alike.terms == terms => alike.routes.push((hash, place)),
            _ => self.index.push(Alike {
                terms: terms.clone(),
                routes: vec![(hash, place)],
            }),
        }
        let (rank, ranged) = (rule.rank(), !rule.source_ranges().is_empty());
        let members = anywhere_or_ranges(rule).map(|range| Member { rule: place, range });
        match self.groups.last_mut() {
            Some(group) if (group.rank, group.ranged) == (rank, ranged) && group.terms == terms => {
                group.members.extend(members);
            }
            _ => self.groups.push(Group {
                rank,
                ranged,
                terms,
                members: members.collect(),
            }),
        }
    }

    fn rule(&self, place: u32) -> Option<&'r Rule> {
        self.rules.get(place as usize).copied()
    }

    fn run(&mut self) -> Result<(), Exhausted> {
        let groups = core::mem::take(&mut self.groups);
        for (place, group) in groups.iter().enumerate() {
            for other in groups.iter().skip(place) {
                if (group.rank, group.ranged) == (other.rank, other.ranged) {
                    self.compare(group, other)?;
                }
            }
        }
        Ok(())
    }

    fn conclude(mut self, undecided: bool) -> Conflicts {
        // By name, whatever the order in which they were found; a pair with several ranges in common was found for each.
        sort(&mut self.pairs);
        self.pairs.dedup_by_key(|(pair, _)| *pair);
        let mut involved = vec![false; self.rules.len()];
        for (pair, _) in &self.pairs {
            for place in places(*pair) {
                if let Some(involved) = involved.get_mut(place as usize) {
                    *involved = true;
                }
            }
        }
        let shown = self.pairs.iter().take(limits::CONFLICTS_SHOWN_MAX);
        let routes = self.rules.iter().zip(&involved);
        Conflicts {
            shown: shown
                .filter_map(|(pair, found)| {
                    let [first, second] = places(*pair).map(|place| self.rule(place));
                    self.told(first?, second?, *self.found.get(*found as usize)?)
                })
                .collect(),
            count: self.pairs.len(),
            routes: routes
                .filter(|(_, involved)| **involved)
                .map(|(rule, _)| rule.name().clone())
                .collect(),
            undecided,
        }
    }

    fn told(&self, first: &Rule, second: &Rule, found: Found) -> Option<Conflict> {
        let generic = self.generic(first, second)?;
        Some(Conflict {
            first: first.name().clone(),
            second: second.name().clone(),
            rank: first.rank(),
            first_fields: labels(first),
            second_fields: labels(second),
            same: same_conditions(first, second),
            range: found.range,
            witness: witness(first, second, generic, found.source),
        })
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
        sort(&mut keys);
        let own = core::ptr::eq(few, many);
        for (hash, member) in self.keys(many, &common)? {
            let first = keys.partition_point(|(key, _)| *key < hash);
            let equal = keys.get(first..).unwrap_or_default().iter();
            for (_, other) in equal.take_while(|(key, _)| *key == hash) {
                let pair = (
                    few.members.get(*other as usize),
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
    fn keys(&mut self, group: &Group, common: &[(Tag, Common)]) -> Result<Vec<Hashed>, Exhausted> {
        self.spend(group.members.len())?;
        let mut keys = Vec::with_capacity(group.members.len());
        for (member, place) in group.members.iter().zip(0..) {
            if let Some(rule) = self.rule(member.rule)
                && let Some(hash) = hash_of_common(rule, member.range, common)
            {
                keys.push((hash, place));
            }
        }
        Ok(keys)
    }

    /// Whether two routes, by one range that both have, conflict.
    fn judge(&mut self, a: Member, b: Member) -> Result<(), Exhausted> {
        self.spend(1)?;
        let pair = pair(a.rule, b.rule);
        let [first, second] = places(pair).map(|place| self.rule(place));
        let (Some(first), Some(second)) = (first, second) else {
            return Ok(());
        };
        if a.range != b.range {
            return Ok(());
        }
        let Some(generic) = self.generic(first, second) else {
            return Ok(());
        };
        let source = match self.left(first, second, a.range, &generic)? {
            Left::Nowhere => return Ok(()),
            Left::Anywhere => None,
            Left::From(source) => Some(source),
        };
        let range = a.range;
        let place = u32::try_from(self.found.len()).unwrap_or(u32::MAX);
        self.pairs.push((pair, place));
        self.found.push(Found { range, source });
        Ok(())
    }

    /// The generic Logon of two routes, ascending by tag; `None` when no Logon meets the conditions of both.
    fn generic(&self, first: &Rule, second: &Rule) -> Option<Vec<(Tag, Vec<u8>)>> {
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
            let mut value = bytes_of(condition).to_vec();
            if !matches!(condition, Condition::Value(_)) {
                value.push(self.fresh);
            }
            (tag, value)
        });
        Some(values.collect())
    }

    /// Whether the generic Logon has both as best routes from some address.
    fn left(
        &mut self,
        first: &Rule,
        second: &Rule,
        range: Option<SourceRange>,
        generic: &[(Tag, Vec<u8>)],
    ) -> Result<Left, Exhausted> {
        let longer_than = |other: &SourceRange| {
            range.is_none_or(|range| other.form().length() > range.form().length())
        };
        let own = first.source_ranges().iter().chain(second.source_ranges());
        let mut above: Vec<SourceRange> = own.copied().filter(|own| longer_than(own)).collect();
        for place in self.matching(generic)? {
            let Some(other) = self.rule(place) else {
                continue;
            };
            if other.name() == first.name() || other.name() == second.name() {
                continue;
            }
            match other.rank().cmp(&first.rank()) {
                core::cmp::Ordering::Less => {}
                core::cmp::Ordering::Equal => {
                    let ranges = other.source_ranges().iter().copied();
                    above.extend(ranges.filter(|other| longer_than(other)));
                }
                core::cmp::Ordering::Greater if other.source_ranges().is_empty() => {
                    return Ok(Left::Nowhere);
                }
                core::cmp::Ordering::Greater => above.extend(other.source_ranges()),
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

    /// The routes whose conditions on fields a Logon meets.
    fn matching(&mut self, logon: &[(Tag, Vec<u8>)]) -> Result<Vec<u32>, Exhausted> {
        let mut matching = Vec::new();
        let mut steps = self.index.len();
        for alike in &self.index {
            let Some(wanted) = hash_of_asked(&alike.terms, logon) else {
                continue;
            };
            let first = alike.routes.partition_point(|(hash, _)| *hash < wanted);
            let equal = alike.routes.get(first..).unwrap_or_default().iter();
            for (_, place) in equal.take_while(|(hash, _)| *hash == wanted) {
                steps += 1;
                let holds = |field: &FieldMatch| {
                    value_of(logon, field.tag).is_some_and(|value| field.condition.holds(value))
                };
                if self
                    .rule(*place)
                    .is_some_and(|rule| rule.fields().iter().all(holds))
                {
                    matching.push(*place);
                }
            }
        }
        self.spend(steps)?;
        Ok(matching)
    }
}

#[allow(
    clippy::stable_sort_primitive,
    reason = "the other kind makes the filter larger by some kilobytes, and nothing here is in a hurry"
)]
fn sort(list: &mut [Hashed]) {
    list.sort();
}

fn pair(one: u32, other: u32) -> u64 {
    u64::from(one.min(other)) << 32 | u64::from(one.max(other))
}

fn places(pair: u64) -> [u32; 2] {
    let low = pair & u64::from(u32::MAX);
    [pair >> 32, low].map(|place| u32::try_from(place).unwrap_or(u32::MAX))
}

fn labels(rule: &Rule) -> Vec<String> {
    let shown = |field: &FieldMatch| match field.disclosure {
        Disclosure::Hidden => String::from("a hidden field"),
        Disclosure::Shown | Disclosure::Redacted => field.label.clone(),
    };
    rule.fields().iter().map(shown).collect()
}

fn value_of(logon: &[(Tag, Vec<u8>)], tag: Tag) -> Option<&[u8]> {
    let found = logon.binary_search_by(|(known, _)| known.cmp(&tag)).ok()?;
    logon.get(found).map(|(_, value)| value.as_slice())
}

/// So that routes that ask for the same come one after the other, those of one rank together.
fn hash_of_terms(rule: &Rule) -> u64 {
    let rank = rule.rank();
    let mut hash = mix(0, &[u8::from(rule.source_ranges().is_empty())]);
    for field in rule.fields() {
        let kind = match Kind::of(&field.condition) {
            Kind::Value => usize::MAX,
            Kind::Prefix(length) => length,
            Kind::Present => 0,
        };
        hash = mix(hash, &field.tag.get().to_le_bytes());
        hash = mix(hash, &kind.to_le_bytes());
    }
    mix(mix(hash, &[rank.class as u8]), &rank.weight.to_le_bytes())
}

fn hash_of_common(
    rule: &Rule,
    range: Option<SourceRange>,
    common: &[(Tag, Common)],
) -> Option<u64> {
    let mut parts = Vec::with_capacity(common.len());
    for (tag, common) in common {
        let bytes = bytes_of(&field_of(rule, *tag)?.condition);
        parts.push(match common {
            Common::All => bytes,
            Common::First(length) => bytes.get(..*length)?,
        });
    }
    Some(hash(range, parts.into_iter()))
}

fn hash_of_asked(terms: &Terms, logon: &[(Tag, Vec<u8>)]) -> Option<u64> {
    let mut parts = Vec::with_capacity(terms.len());
    for (tag, kind) in terms {
        let value = value_of(logon, *tag)?;
        parts.push(match kind {
            Kind::Value => value,
            Kind::Prefix(length) => value.get(..*length)?,
            Kind::Present => &[],
        });
    }
    Some(hash(None, parts.into_iter()))
}

/// What two routes' conditions on the tags that both ask for must have in common. A mere presence asks for nothing.
fn common(terms: &Terms, others: &Terms) -> Vec<(Tag, Common)> {
    let mut common = Vec::new();
    for (tag, kind) in terms {
        let Some((_, other)) = others.iter().find(|(other, _)| other == tag) else {
            continue;
        };
        match (*kind, *other) {
            (Kind::Present, _) | (_, Kind::Present) => {}
            (Kind::Value, Kind::Value) => common.push((*tag, Common::All)),
            (Kind::Value, Kind::Prefix(length)) | (Kind::Prefix(length), Kind::Value) => {
                common.push((*tag, Common::First(length)));
            }
            (Kind::Prefix(one), Kind::Prefix(other)) => {
                common.push((*tag, Common::First(one.min(other))));
            }
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

fn bytes_of(condition: &Condition) -> &[u8] {
    match condition {
        Condition::Value(bytes) | Condition::Prefix(bytes) => bytes,
        Condition::Present => &[],
    }
}

fn field_of(rule: &Rule, tag: Tag) -> Option<&FieldMatch> {
    rule.fields().iter().find(|field| field.tag == tag)
}

fn same_conditions(first: &Rule, second: &Rule) -> bool {
    let conditions = |rule: &Rule| -> Vec<(Tag, Condition)> {
        let fields = rule.fields().iter();
        fields
            .map(|field| (field.tag, field.condition.clone()))
            .collect()
    };
    conditions(first) == conditions(second)
}

fn hash<'b>(range: Option<SourceRange>, parts: impl Iterator<Item = &'b [u8]>) -> u64 {
    let seed = range.map_or(0, |range| mix(1, &range.network().to_le_bytes()));
    parts.fold(seed, mix)
}

/// A byte that occurs in no value and no prefix, readable if there is one. Rules are text, and 0xFF is in no text.
fn fresh_byte(rules: &[&Rule]) -> u8 {
    let mut known = vec![false; 256];
    for rule in rules {
        for byte in rule
            .fields()
            .iter()
            .flat_map(|field| bytes_of(&field.condition))
        {
            if let Some(known) = known.get_mut(usize::from(*byte)) {
                *known = true;
            }
        }
    }
    let readable = (b'0'..=b'9').chain(b'a'..=b'z').chain(b'A'..=b'Z');
    let is_free = |byte: &u8| known.get(usize::from(*byte)) == Some(&false);
    readable.clone().find(is_free).unwrap_or(0xFF)
}

fn witness(
    first: &Rule,
    second: &Rule,
    generic: Vec<(Tag, Vec<u8>)>,
    source: Option<IpAddr>,
) -> Witness {
    let fields = generic.into_iter().map(|(tag, value)| {
        let both = [first, second].into_iter();
        let asking = both.filter_map(|rule| Some((rule, field_of(rule, tag)?)));
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
