//! Which route takes a Logon?
//!
//! A [`Table`] is the compiled, conflict-free set of all routes, as one flat image: the control plane compiles it, the
//! same bytes travel to every worker, and the lookup reads them in place.
//!
//! Routes are grouped by *shape*: class, set of tags, for each tag whether it is a value, a prefix of n bytes, or only
//! present, and the form of a source range (family and length), if there is one. Within a shape the conditions are one
//! key, so a lookup costs one hash probe per shape, best rank first, whatever the number of routes. A route with ranges
//! of several forms stands in several shapes. INVARIANT: shapes descend by the best rank that a route of theirs has, so
//! the walk ends as soon as no later shape can outrank or equal what was found.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::conflict::{self, Conflicts};
pub use crate::image::LoadError;
use crate::image::{self, HEADER_BYTES};
use crate::key::{KIND_PRESENT, KIND_VALUE, anywhere_or_ranges, key_part, kind_of, mix, seed};
use crate::limits;
use crate::range::{self, RangeForm, SourceAddress, SourceRange};
use crate::redact::{Disclosure, DisclosurePolicy};
use crate::rule::{Class, Hold, Rank, Rule, by_name};
use crate::wire::Tag;

/// First eight bytes of a table image.
pub const MAGIC: [u8; 8] = *b"FIXGWTB1";
/// Version of the layout. A filter refuses one that it does not know and keeps what it has.
pub const FORMAT: u32 = 3;

/// The parts of the body, in the order of its directory (offset and count, two words each).
#[derive(Clone, Copy)]
enum Part {
    /// tag, disclosure, label (offset, length)
    Tags,
    /// class, weight, form of a range, first term, terms, first bucket, log2 of buckets
    Shapes,
    /// slot, kind
    Terms,
    /// 0, or a route's index + 1; the upper half of its key's hash, so that a miss need not look at conditions
    Buckets,
    /// namespace (2), name (2), target, class, weight, first condition, conditions, first range, ranges, connections to
    /// hold, milliseconds to hold one
    Routes,
    /// slot, kind, bytes (2), label (2), disclosure
    Conditions,
    /// form, network (4, the low word first)
    Ranges,
    /// name (2)
    Targets,
    /// bytes of all strings
    Text,
}

const PARTS: [(Part, usize); 9] = [
    (Part::Tags, 4),
    (Part::Shapes, 7),
    (Part::Terms, 2),
    (Part::Buckets, 2),
    (Part::Routes, 13),
    (Part::Conditions, 7),
    (Part::Ranges, 5),
    (Part::Targets, 2),
    (Part::Text, 0),
];
const DIRECTORY_BYTES: usize = PARTS.len() * 8;

/// Form of a shape that asks for no source range. Any other number is [`RangeForm::word`].
const ANYWHERE: u32 = u32::MAX;
/// What a route leaves to the gateway.
const UNSAID: u32 = u32::MAX;

/// How a route ranks for a counterparty: after its own rank, the length of the longest of its source ranges that holds
/// the counterparty's address. A route without ranges ranks below `/0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatchRank {
    /// The route's own.
    pub rank: Rank,
    /// Bits of the range; `None`, without ranges, is the least.
    pub range: Option<u8>,
}

/// A route of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRef(u32);

/// Answer of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// No route matches.
    None,
    /// One route outranks every other that matches.
    Route(RouteRef),
    /// Two routes match with the same rank.
    Ambiguous(RouteRef, RouteRef),
}

/// One condition of a route, as far as a log line needs it.
#[derive(Clone, Copy, Debug)]
pub struct ConditionView<'t> {
    /// Place of its tag in [`Slots`].
    pub slot: usize,
    /// The key as written: `SenderCompID49`.
    pub label: &'t str,
    /// What may be said of its value.
    pub disclosure: Disclosure,
}

/// What a lookup looks at: first (or last) values of the table's tags in one Logon, and where that came from. An empty
/// value counts as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots<'a> {
    values: Vec<Option<&'a [u8]>>,
    source: Option<SourceAddress>,
}

impl<'a> Slots<'a> {
    /// What is in a slot.
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<&'a [u8]> {
        self.values
            .get(slot)
            .copied()
            .flatten()
            .filter(|value| !value.is_empty())
    }

    /// What is in the slots that hold something.
    pub(crate) fn values(&self) -> impl Iterator<Item = &'a [u8]> {
        self.values.iter().copied().flatten()
    }

    /// The same slots with other values.
    pub(crate) fn map(&self, value: impl Fn(&'a [u8]) -> &'a [u8]) -> Self {
        let values = self.values.iter().map(|slot| slot.map(&value)).collect();
        Self { values, ..*self }
    }

    /// Keeps the first value of a slot, an empty one included.
    pub(crate) fn keep_first(&mut self, slot: usize, value: &'a [u8]) {
        if let Some(place @ None) = self.values.get_mut(slot) {
            *place = Some(value);
        }
    }

    /// Keeps the last value of a slot.
    pub(crate) fn keep_last(&mut self, slot: usize, value: &'a [u8]) {
        if let Some(place) = self.values.get_mut(slot) {
            *place = Some(value);
        }
    }
}

/// A table, ready for lookups.
#[derive(Clone)]
pub struct Table {
    image: Vec<u8>,
    revision: u64,
    parts: [(usize, usize); PARTS.len()],
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("revision", &self.revision)
            .field("routes", &self.route_count())
            .finish_non_exhaustive()
    }
}

impl Table {
    /// Compiles rules. Deterministic: the same set gives the same body, whatever its order.
    ///
    /// # Errors
    /// Conflicts, or a bound that is exceeded.
    pub fn compile(rules: &[Rule], revision: u64) -> Result<Self, CompileError> {
        let conflicts = conflict::conflicts(rules);
        if !conflicts.is_empty() {
            return Err(CompileError::Conflicts(Box::new(conflicts)));
        }
        if rules.len() > limits::ROUTES_MAX {
            return Err(CompileError::Bound("routes", limits::ROUTES_MAX));
        }
        let body = Builder::build(rules)?;
        let image = image::seal(MAGIC, FORMAT, revision, &body);
        Self::load(image).map_err(|_| CompileError::Bound("bytes", limits::TABLE_BYTES_MAX))
    }

    /// Takes over an image.
    ///
    /// # Errors
    /// What follows from the bytes alone: magic, format, bounds, checksum.
    pub fn load(image: Vec<u8>) -> Result<Self, LoadError> {
        let revision = image::open(&image, MAGIC, FORMAT, limits::TABLE_BYTES_MAX)?;
        let mut parts = [(0, 0); PARTS.len()];
        for (index, (part, (_, words))) in parts.iter_mut().zip(PARTS).enumerate() {
            let at = HEADER_BYTES + index * 8;
            let offset = image::u32_at(&image, at).ok_or(LoadError::Bounds)? as usize;
            let count = image::u32_at(&image, at + 4).ok_or(LoadError::Bounds)? as usize;
            // A record has that many words; text is counted in bytes.
            let size = if words == 0 { 1 } else { words * 4 };
            let end = count
                .checked_mul(size)
                .and_then(|bytes| bytes.checked_add(offset));
            if end.is_none_or(|end| end > image.len()) {
                return Err(LoadError::Bounds);
            }
            *part = (offset, count);
        }
        let within =
            |part: Part, max: usize| parts.get(part as usize).is_some_and(|part| part.1 <= max);
        if !within(Part::Shapes, limits::SHAPES_MAX) || !within(Part::Routes, limits::ROUTES_MAX) {
            return Err(LoadError::Bounds);
        }
        Ok(Self {
            image,
            revision,
            parts,
        })
    }

    /// The revision that an image states. Nothing else of it is checked.
    #[must_use]
    pub fn stated_revision(image: &[u8]) -> Option<u64> {
        image::stated_revision(image, MAGIC)
    }

    /// The same routes under another revision.
    #[must_use]
    pub fn with_revision(&self, revision: u64) -> Self {
        let body = self.image.get(HEADER_BYTES..).unwrap_or_default();
        Self {
            image: image::seal(MAGIC, FORMAT, revision, body),
            revision,
            parts: self.parts,
        }
    }

    /// The image: what travels.
    #[must_use]
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// The revision that the control plane gave it.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether two tables hold the same routes, revisions aside.
    #[must_use]
    pub fn same_routes(&self, other: &Self) -> bool {
        self.image.get(HEADER_BYTES..) == other.image.get(HEADER_BYTES..)
    }

    /// Number of routes.
    #[must_use]
    pub fn route_count(&self) -> usize {
        self.count(Part::Routes)
    }

    /// Number of shapes: probes of a lookup that matches nothing.
    #[must_use]
    pub fn shape_count(&self) -> usize {
        self.count(Part::Shapes)
    }

    /// Empty slots, one for each tag that any route matches, for a Logon from an address. From nowhere, no route with
    /// source ranges matches.
    #[must_use]
    pub fn slots<'a>(&self, source: Option<SourceAddress>) -> Slots<'a> {
        Slots {
            values: vec![None; self.count(Part::Tags)],
            source,
        }
    }

    /// The slot of a tag; `None` when no route matches it.
    #[must_use]
    pub fn slot_of(&self, tag: Tag) -> Option<usize> {
        let (mut low, mut high) = (0, self.count(Part::Tags));
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.word(Part::Tags, middle, 0)?;
            match found.cmp(&tag.get()) {
                core::cmp::Ordering::Equal => return Some(middle),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Tag and label of a slot.
    #[must_use]
    pub fn slot_label(&self, slot: usize) -> Option<(Tag, &str)> {
        let tag = Tag::new(self.word(Part::Tags, slot, 0)?)?;
        Some((tag, self.text(Part::Tags, slot, 2)?))
    }

    /// The best route for given values.
    #[must_use]
    pub fn lookup(&self, slots: &Slots<'_>) -> Lookup {
        let mut best: Option<(MatchRank, RouteRef)> = None;
        let mut rival = None;
        for shape in 0..self.count(Part::Shapes) {
            let Some(bound) = self.best_of_shape(shape) else {
                break;
            };
            if best.is_some_and(|(rank, _)| rank > bound) {
                break;
            }
            let Some(route) = self.probe(shape, slots) else {
                continue;
            };
            let Some(rank) = self.route_rank(route) else {
                continue;
            };
            let rank = MatchRank { rank, ..bound };
            match &best {
                Some((found, _)) if rank < *found => {}
                Some((found, _)) if rank == *found => rival = Some(route),
                _ => {
                    best = Some((rank, route));
                    rival = None;
                }
            }
        }
        match (best, rival) {
            (None, _) => Lookup::None,
            (Some((_, route)), None) => Lookup::Route(route),
            (Some((_, route)), Some(rival)) => Lookup::Ambiguous(route, rival),
        }
    }

    /// `namespace/name` of a route.
    #[must_use]
    pub fn route_name(&self, route: RouteRef) -> Option<(&str, &str)> {
        let index = route.0 as usize;
        Some((
            self.text(Part::Routes, index, 0)?,
            self.text(Part::Routes, index, 2)?,
        ))
    }

    /// The route of this name. Routes stand in the order of their names.
    #[must_use]
    pub fn route_named(&self, namespace: &str, name: &str) -> Option<RouteRef> {
        let (mut low, mut high) = (0, u32::try_from(self.route_count()).ok()?);
        while low < high {
            let middle = RouteRef(low + (high - low) / 2);
            match self.route_name(middle)?.cmp(&(namespace, name)) {
                core::cmp::Ordering::Equal => return Some(middle),
                core::cmp::Ordering::Less => low = middle.0 + 1,
                core::cmp::Ordering::Greater => high = middle.0,
            }
        }
        None
    }

    /// What a route says about connections that wait for its target.
    #[must_use]
    pub fn hold(&self, route: RouteRef) -> Hold {
        let said = |word| {
            let word = self.word(Part::Routes, route.0 as usize, word);
            word.filter(|word| *word != UNSAID)
        };
        Hold {
            connections_max: said(11),
            timeout_ms: said(12),
        }
    }

    /// Where a route leads.
    #[must_use]
    pub fn target(&self, route: RouteRef) -> Option<&str> {
        self.text(
            Part::Targets,
            self.word(Part::Routes, route.0 as usize, 4)? as usize,
            0,
        )
    }

    /// How a route ranks.
    #[must_use]
    pub fn route_rank(&self, route: RouteRef) -> Option<Rank> {
        self.rank(Part::Routes, route.0 as usize, 5)
    }

    /// A route's conditions, ascending by tag.
    pub fn conditions(&self, route: RouteRef) -> impl Iterator<Item = ConditionView<'_>> {
        self.condition_range(route).filter_map(|index| {
            Some(ConditionView {
                slot: self.word(Part::Conditions, index, 0)? as usize,
                label: self.text(Part::Conditions, index, 4)?,
                disclosure: disclosure_of(self.word(Part::Conditions, index, 6)?),
            })
        })
    }

    /// The longest source range of a route that holds an address: what gave the route its place among others.
    #[must_use]
    pub fn matching_range(&self, route: RouteRef, slots: &Slots<'_>) -> Option<SourceRange> {
        range::longest_around(self.ranges(route), slots.source?)
    }

    /// A route's source ranges, ascending by length.
    pub fn ranges(&self, route: RouteRef) -> impl Iterator<Item = SourceRange> {
        let index = route.0 as usize;
        let first = self.word(Part::Routes, index, 9).unwrap_or(0) as usize;
        let count = self.word(Part::Routes, index, 10).unwrap_or(0) as usize;
        let count = count.min(limits::ROUTE_RANGES_MAX);
        let end = first.saturating_add(count).min(self.count(Part::Ranges));
        (first..end).filter_map(|index| {
            let form = RangeForm::of_word(self.word(Part::Ranges, index, 0)?)?;
            let mut network = 0;
            for word in (1..5).rev() {
                network = network << 32 | u128::from(self.word(Part::Ranges, index, word)?);
            }
            Some(SourceRange::of_parts(form, network))
        })
    }

    /// Every target that a route of the table leads to.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        (0..self.count(Part::Targets)).filter_map(|index| self.text(Part::Targets, index, 0))
    }

    /// Every route.
    pub fn routes(&self) -> impl Iterator<Item = RouteRef> + use<> {
        (0..u32::try_from(self.route_count()).unwrap_or(u32::MAX)).map(RouteRef)
    }

    fn condition_range(&self, route: RouteRef) -> core::ops::Range<usize> {
        let index = route.0 as usize;
        let first = self.word(Part::Routes, index, 7).unwrap_or(0) as usize;
        let count = self.word(Part::Routes, index, 8).unwrap_or(0) as usize;
        first
            ..first
                .saturating_add(count)
                .min(self.count(Part::Conditions))
    }

    /// The best rank that a route of a shape can have. All of them have it by ranges of one length.
    fn best_of_shape(&self, shape: usize) -> Option<MatchRank> {
        Some(MatchRank {
            rank: self.rank(Part::Shapes, shape, 0)?,
            range: match self.word(Part::Shapes, shape, 2)? {
                ANYWHERE => None,
                word => Some(RangeForm::of_word(word)?.length()),
            },
        })
    }

    /// The route of one shape whose conditions hold. Routes with the same key stand in the order of their rank.
    fn probe(&self, shape: usize, slots: &Slots<'_>) -> Option<RouteRef> {
        let range = match self.word(Part::Shapes, shape, 2)? {
            ANYWHERE => None,
            word => {
                let form = RangeForm::of_word(word)?;
                Some(SourceRange::of_parts(form, slots.source?.network(form)?))
            }
        };
        let first_term = self.word(Part::Shapes, shape, 3)? as usize;
        let terms = self.word(Part::Shapes, shape, 4)? as usize;
        if terms > limits::ROUTE_FIELDS_MAX {
            return None;
        }
        let mut hash = seed(range);
        for term in first_term..first_term.checked_add(terms)? {
            let value = slots.get(self.word(Part::Terms, term, 0)? as usize)?;
            hash = mix(hash, key_part(self.word(Part::Terms, term, 1)?, value)?);
        }
        let first_bucket = self.word(Part::Shapes, shape, 5)? as usize;
        let buckets = 1_usize.checked_shl(self.word(Part::Shapes, shape, 6)?)?;
        let mut at = bucket(hash, buckets);
        // Bounded by the buckets of the shape; most of them are free, so it ends long before.
        for _ in 0..buckets {
            let place = first_bucket.checked_add(at)?;
            let route = RouteRef(self.word(Part::Buckets, place, 0)?.checked_sub(1)?);
            if self.word(Part::Buckets, place, 1)? == fingerprint(hash)
                && self.holds(route, slots)
                && range.is_none_or(|range| self.ranges(route).any(|own| own == range))
            {
                return Some(route);
            }
            at = (at + 1) & (buckets - 1);
        }
        None
    }

    /// More conditions than a route may have are none that hold: each probe of a lookup is bounded, whatever the image says.
    fn holds(&self, route: RouteRef, slots: &Slots<'_>) -> bool {
        let mut conditions = self.condition_range(route);
        conditions.len() <= limits::ROUTE_FIELDS_MAX
            && conditions.all(|index| self.condition_holds(index, slots).unwrap_or(false))
    }

    fn condition_holds(&self, index: usize, slots: &Slots<'_>) -> Option<bool> {
        let value = slots.get(self.word(Part::Conditions, index, 0)? as usize)?;
        let wanted = self.bytes(Part::Conditions, index, 2)?;
        Some(match self.word(Part::Conditions, index, 1)? {
            KIND_VALUE => value == wanted,
            KIND_PRESENT => true,
            _ => value.starts_with(wanted),
        })
    }

    fn rank(&self, part: Part, index: usize, word: usize) -> Option<Rank> {
        let class = match self.word(part, index, word)? {
            0 => Class::Default,
            1 => Class::Wildcard,
            2 => Class::Exact,
            _ => return None,
        };
        Some(Rank {
            class,
            weight: self.word(part, index, word + 1)?.cast_signed(),
        })
    }

    fn part(&self, part: Part) -> (usize, usize) {
        self.parts.get(part as usize).copied().unwrap_or_default()
    }

    fn count(&self, part: Part) -> usize {
        self.part(part).1
    }

    fn word(&self, part: Part, index: usize, word: usize) -> Option<u32> {
        let (offset, count) = self.part(part);
        if index >= count {
            return None;
        }
        let words = PARTS.get(part as usize)?.1;
        image::u32_at(
            &self.image,
            offset.checked_add((index.checked_mul(words)? + word) * 4)?,
        )
    }

    fn bytes(&self, part: Part, index: usize, word: usize) -> Option<&[u8]> {
        let (text, length) = self.part(Part::Text);
        let start = self.word(part, index, word)? as usize;
        let end = start.checked_add(self.word(part, index, word + 1)? as usize)?;
        self.image
            .get(text..text.checked_add(length)?)?
            .get(start..end)
    }

    fn text(&self, part: Part, index: usize, word: usize) -> Option<&str> {
        core::str::from_utf8(self.bytes(part, index, word)?).ok()
    }
}

/// Where nothing matched, a tag that any route redacts or hides is treated so.
impl DisclosurePolicy for Table {
    fn configured(&self, tag: Tag) -> Disclosure {
        self.slot_of(tag)
            .and_then(|slot| self.word(Part::Tags, slot, 1))
            .map_or(Disclosure::Shown, disclosure_of)
    }
}

fn bucket(hash: u64, buckets: usize) -> usize {
    // The low bits are as good as any of this hash.
    usize::try_from(hash & 0xFFFF_FFFF).unwrap_or(0) & (buckets - 1)
}

fn fingerprint(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}

const fn disclosure_of(word: u32) -> Disclosure {
    match word {
        0 => Disclosure::Shown,
        1 => Disclosure::Redacted,
        // What is not understood is not shown.
        _ => Disclosure::Hidden,
    }
}

const fn class_word(class: Class) -> u32 {
    match class {
        Class::Default => 0,
        Class::Wildcard => 1,
        Class::Exact => 2,
    }
}

const fn disclosure_word(disclosure: Disclosure) -> u32 {
    match disclosure {
        Disclosure::Shown => 0,
        Disclosure::Redacted => 1,
        Disclosure::Hidden => 2,
    }
}

/// Why rules do not make a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    /// Routes that could both be best.
    Conflicts(Box<Conflicts>),
    /// More of something than its bound.
    Bound(&'static str, usize),
}

/// A shape: class, form of a source range and, ascending by slot, what is asked of each tag.
type ShapeKey = (Class, Option<RangeForm>, Vec<(u32, u32)>);
/// A route of a shape: rank, index, hash of its key.
type ShapeRoute = (Rank, u32, u64);

#[derive(Default)]
struct Builder<'r> {
    tags: Vec<u32>,
    shapes: Vec<u32>,
    terms: Vec<u32>,
    buckets: Vec<u32>,
    routes: Vec<u32>,
    conditions: Vec<u32>,
    ranges: Vec<u32>,
    targets: Vec<u32>,
    text: Vec<u8>,
    interned: BTreeMap<&'r [u8], u32>,
}

impl<'r> Builder<'r> {
    fn build(rules: &'r [Rule]) -> Result<Vec<u8>, CompileError> {
        let sorted = by_name(rules);
        let mut builder = Self::default();
        let slots = builder.add_tags(&sorted);
        let targets = builder.add_targets(&sorted);
        let mut shapes: BTreeMap<ShapeKey, Vec<ShapeRoute>> = BTreeMap::new();
        for (index, rule) in sorted.iter().enumerate() {
            let terms = builder.add_route(rule, &slots, &targets);
            let index = word(index);
            for range in anywhere_or_ranges(rule) {
                let form = range.map(SourceRange::form);
                let hash = rule.fields().iter().fold(seed(range), |hash, field| {
                    mix(hash, kind_of(&field.condition).1)
                });
                shapes
                    .entry((rule.rank().class, form, terms.clone()))
                    .or_default()
                    .push((rule.rank(), index, hash));
            }
        }
        if shapes.len() > limits::SHAPES_MAX {
            return Err(CompileError::Bound("shapes", limits::SHAPES_MAX));
        }
        builder.add_shapes(shapes);
        builder.finish()
    }

    fn intern(&mut self, bytes: &'r [u8]) -> [u32; 2] {
        let length = word(bytes.len());
        if let Some(&offset) = self.interned.get(bytes) {
            return [offset, length];
        }
        let offset = word(self.text.len());
        self.text.extend_from_slice(bytes);
        self.interned.insert(bytes, offset);
        [offset, length]
    }

    fn add_tags(&mut self, rules: &[&'r Rule]) -> BTreeMap<Tag, u32> {
        let mut tags: BTreeMap<Tag, (Disclosure, &str)> = BTreeMap::new();
        for field in rules.iter().flat_map(|rule| rule.fields()) {
            let entry = tags
                .entry(field.tag)
                .or_insert((field.disclosure, &field.label));
            entry.0 = entry.0.max(field.disclosure);
        }
        let mut slots = BTreeMap::new();
        for (slot, (tag, (disclosure, label))) in tags.into_iter().enumerate() {
            let label = self.intern(label.as_bytes());
            self.tags.extend([tag.get(), disclosure_word(disclosure)]);
            self.tags.extend(label);
            slots.insert(tag, word(slot));
        }
        slots
    }

    fn add_targets(&mut self, rules: &[&'r Rule]) -> BTreeMap<&'r str, u32> {
        let mut targets: BTreeMap<&str, u32> = rules
            .iter()
            .map(|rule| (rule.target().as_str(), 0))
            .collect();
        for (index, (name, place)) in targets.iter_mut().enumerate() {
            *place = word(index);
            let name = self.intern(name.as_bytes());
            self.targets.extend(name);
        }
        targets
    }

    fn add_route(
        &mut self,
        rule: &'r Rule,
        slots: &BTreeMap<Tag, u32>,
        targets: &BTreeMap<&str, u32>,
    ) -> Vec<(u32, u32)> {
        let first = word(self.conditions.len() / 7);
        let first_range = word(self.ranges.len() / 5);
        let mut terms = Vec::with_capacity(rule.fields().len());
        for field in rule.fields() {
            let slot = slots.get(&field.tag).copied().unwrap_or(u32::MAX);
            let (kind, bytes) = kind_of(&field.condition);
            terms.push((slot, kind));
            let bytes = self.intern(bytes);
            let label = self.intern(field.label.as_bytes());
            self.conditions.extend([slot, kind]);
            self.conditions.extend(bytes);
            self.conditions.extend(label);
            self.conditions.push(disclosure_word(field.disclosure));
        }
        for range in rule.source_ranges() {
            self.ranges.push(range.form().word());
            let network = range.network().to_le_bytes();
            let words = network.chunks_exact(4).map(|bytes| {
                bytes
                    .iter()
                    .rfold(0, |word, &byte| word << 8 | u32::from(byte))
            });
            self.ranges.extend(words);
        }
        let namespace = self.intern(rule.name().namespace.as_bytes());
        let name = self.intern(rule.name().name.as_bytes());
        self.routes.extend(namespace);
        self.routes.extend(name);
        self.routes.extend([
            targets
                .get(rule.target().as_str())
                .copied()
                .unwrap_or(u32::MAX),
            class_word(rule.rank().class),
            rule.rank().weight.cast_unsigned(),
            first,
            word(terms.len()),
            first_range,
            word(rule.source_ranges().len()),
            rule.hold().connections_max.unwrap_or(UNSAID),
            rule.hold().timeout_ms.unwrap_or(UNSAID),
        ]);
        terms
    }

    fn add_shapes(&mut self, shapes: BTreeMap<ShapeKey, Vec<ShapeRoute>>) {
        let mut shapes: Vec<(ShapeKey, Vec<ShapeRoute>)> = shapes.into_iter().collect();
        for (_, routes) in &mut shapes {
            // Best first, so that the first route found under a key is the best one under it.
            routes.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        }
        let best = |((_, form, _), routes): &(ShapeKey, Vec<ShapeRoute>)| {
            routes.first().map(|route| MatchRank {
                rank: route.0,
                range: form.map(RangeForm::length),
            })
        };
        shapes.sort_by(|a, b| best(b).cmp(&best(a)).then_with(|| a.0.cmp(&b.0)));
        for ((class, form, terms), routes) in shapes {
            let weight = routes.first().map_or(0, |route| route.0.weight);
            // At most a quarter full: most misses end at the first bucket.
            let buckets = (routes.len() * 4).next_power_of_two();
            self.shapes.extend([
                class_word(class),
                weight.cast_unsigned(),
                form.map_or(ANYWHERE, RangeForm::word),
                word(self.terms.len() / 2),
                word(terms.len()),
                word(self.buckets.len() / 2),
                buckets.trailing_zeros(),
            ]);
            self.terms
                .extend(terms.iter().flat_map(|&(slot, kind)| [slot, kind]));
            let mut places = vec![(0_u32, 0_u32); buckets];
            for (_, route, hash) in routes {
                let mut at = bucket(hash, buckets);
                while places.get(at).is_some_and(|place| place.0 != 0) {
                    at = (at + 1) & (buckets - 1);
                }
                if let Some(place) = places.get_mut(at) {
                    *place = (route + 1, fingerprint(hash));
                }
            }
            self.buckets
                .extend(places.into_iter().flat_map(|(route, print)| [route, print]));
        }
    }

    fn finish(self) -> Result<Vec<u8>, CompileError> {
        let words = [
            &self.tags,
            &self.shapes,
            &self.terms,
            &self.buckets,
            &self.routes,
            &self.conditions,
            &self.ranges,
            &self.targets,
        ];
        let bytes = words.iter().map(|part| part.len() * 4).sum::<usize>()
            + self.text.len()
            + DIRECTORY_BYTES;
        if bytes + HEADER_BYTES > limits::TABLE_BYTES_MAX {
            return Err(CompileError::Bound("bytes", limits::TABLE_BYTES_MAX));
        }
        let mut body = Vec::with_capacity(bytes);
        let mut offset = HEADER_BYTES + DIRECTORY_BYTES;
        for (part, (_, size)) in words.iter().zip(PARTS) {
            body.extend_from_slice(&word(offset).to_le_bytes());
            body.extend_from_slice(&word(part.len() / size.max(1)).to_le_bytes());
            offset += part.len() * 4;
        }
        body.extend_from_slice(&word(offset).to_le_bytes());
        body.extend_from_slice(&word(self.text.len()).to_le_bytes());
        for word in words.into_iter().flatten() {
            body.extend_from_slice(&word.to_le_bytes());
        }
        body.extend_from_slice(&self.text);
        Ok(body)
    }
}

/// Offsets and counts stay below `TABLE_BYTES_MAX`, which `finish` checks before anything is used.
fn word(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use crate::rule::testing::spec;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::string::{String, ToString};
    use core::net::{IpAddr, Ipv4Addr};

    fn table(specs: impl IntoIterator<Item = crate::rule::RuleSpec>) -> Table {
        let rules: Vec<Rule> = specs
            .into_iter()
            .map(|spec| Rule::new(spec).unwrap())
            .collect();
        // No conflict is looked for, as a table from elsewhere may hold one.
        let body = Builder::build(&rules).unwrap();
        Table::load(image::seal(MAGIC, FORMAT, 1, &body)).unwrap()
    }

    fn lookup(table: &Table, values: &[&str], source: Option<SourceAddress>) -> Lookup {
        let mut slots = table.slots(source);
        for (slot, value) in values.iter().enumerate() {
            slots.keep_first(slot, value.as_bytes());
        }
        table.lookup(&slots)
    }

    #[test]
    fn between_two_routes_of_one_rank_nothing_is_chosen() {
        let exact = |name, key| spec(name, &[(key, "A")], None);
        let both = table([exact("a", "SenderCompID49"), exact("b", "TargetCompID56")]);
        assert!(matches!(
            lookup(&both, &["A", "A"], None),
            Lookup::Ambiguous(..)
        ));
        assert!(matches!(lookup(&both, &["A", "B"], None), Lookup::Route(_)));
        // What stands above both decides.
        let above = spec(
            "c",
            &[("SenderCompID49", "A"), ("TargetCompID56", "A")],
            None,
        );
        let three = table([
            exact("a", "SenderCompID49"),
            exact("b", "TargetCompID56"),
            above,
        ]);
        let Lookup::Route(route) = lookup(&three, &["A", "A"], None) else {
            panic!("one outranks the others");
        };
        assert_eq!(three.route_name(route).unwrap().1, "c");
    }

    #[test]
    fn an_image_that_asks_for_more_than_a_route_may_is_not_followed() {
        // One route by a value, and seventeen by a prefix each; the Logon meets all eighteen conditions.
        let mut rules = vec![spec("a", &[("SenderCompID49", "A")], None)];
        rules.extend((0..17).map(|number| {
            let (name, key) = (format!("b{number}"), format!("Tag{}", 1_000 + number));
            spec(&name, &[(&key, "B*")], Some(number))
        }));
        let sound = table(rules);
        let values: Vec<&str> = core::iter::once("A").chain(["B"; 17]).collect();
        let taken = |table: &Table| match lookup(table, &values, None) {
            Lookup::Route(route) => table.route_name(route).unwrap().1.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(taken(&sound), "a");
        for (conditions, wanted) in [(16_u32, "a"), (17, "b16")] {
            let mut image = sound.image().to_vec();
            let at = sound.part(Part::Routes).0 + 8 * 4;
            image
                .get_mut(at..at + 4)
                .unwrap()
                .copy_from_slice(&conditions.to_le_bytes());
            let body = image.split_off(HEADER_BYTES);
            let bent = Table::load(image::seal(MAGIC, FORMAT, 1, &body)).unwrap();
            assert_eq!(taken(&bent), wanted, "{conditions} conditions");
        }
        // The count of the shapes, in the directory.
        let sound = table([spec("a", &[("SenderCompID49", "A")], None)]);
        let mut body = sound.image().get(HEADER_BYTES..).unwrap().to_vec();
        body.resize(body.len() + limits::SHAPES_MAX * 28 + 28, 0);
        let count = u32::try_from(limits::SHAPES_MAX + 1).unwrap();
        body.get_mut(12..16)
            .unwrap()
            .copy_from_slice(&count.to_le_bytes());
        let image = image::seal(MAGIC, FORMAT, 1, &body);
        assert_eq!(Table::load(image).unwrap_err(), LoadError::Bounds);
    }

    #[test]
    fn shapes_descend_by_the_best_rank_that_a_route_of_theirs_has() {
        let wild = |name, key, priority| spec(name, &[(key, "A*")], Some(priority));
        let table = table([
            wild("a", "SenderCompID49", 1),
            wild("b", "SenderCompID49", 7),
            wild("c", "TargetCompID56", 5),
            spec("d", &[("TargetCompID56", "A")], None),
            spec("e", &[], Some(9)),
            spec("f", &[("SenderCompID49", "A*")], Some(7)).from(&["10.0.0.0/8", "::/0"]),
        ]);
        let bounds: Vec<MatchRank> = (0..table.shape_count())
            .map(|shape| table.best_of_shape(shape).unwrap())
            .collect();
        assert_eq!(bounds.len(), 6);
        assert!(bounds.is_sorted_by(|one, next| one >= next), "{bounds:?}");
        assert!(bounds.first().unwrap().rank.class == Class::Exact);
    }

    /// Two of these have one fingerprint, and begin at one bucket of a shape with one route.
    fn that_collide<T>(of: impl IntoIterator<Item = (u64, T)>) -> (T, T) {
        let mut seen: BTreeMap<(u32, usize), T> = BTreeMap::new();
        for (hash, it) in of {
            let place = (fingerprint(hash), bucket(hash, 4));
            if let Some(other) = seen.remove(&place) {
                return (other, it);
            }
            seen.insert(place, it);
        }
        panic!("no two of them collide");
    }

    #[test]
    fn a_chain_of_buckets_goes_on_at_the_first_one() {
        let last = |value: &String| bucket(mix(seed(None), value.as_bytes()), 8) == 7;
        let values: Vec<String> = (0..)
            .map(|number| format!("{number}"))
            .filter(last)
            .take(2)
            .collect();
        let table = table(
            values
                .iter()
                .map(|value| spec(value, &[("SenderCompID49", value)], None)),
        );
        for value in &values {
            let Lookup::Route(route) = lookup(&table, &[value], None) else {
                panic!("{value} is not found");
            };
            assert_eq!(table.route_name(route).unwrap().1, value);
        }
    }

    #[test]
    fn a_value_that_was_chosen_for_its_hash_is_not_taken_for_another() {
        let values = (0..2_000_000).map(|number| {
            let value = format!("{number}");
            (mix(seed(None), value.as_bytes()), value)
        });
        let (ours, other): (String, String) = that_collide(values);
        let table = table([spec("a", &[("SenderCompID49", &ours)], None)]);
        assert!(matches!(lookup(&table, &[&ours], None), Lookup::Route(_)));
        assert_eq!(
            lookup(&table, &[&other], None),
            Lookup::None,
            "{ours} {other}"
        );
    }

    #[test]
    fn an_address_that_was_chosen_for_its_hash_is_not_taken_for_another() {
        let (all, bits) = (
            Rule::new(spec("all", &[], Some(1)).from(&["0.0.0.0/32"])),
            0..2_000_000_u32,
        );
        let form = all.unwrap().source_ranges().first().unwrap().form();
        let addresses = bits.map(|bits| {
            let range = SourceRange::of_parts(form, u128::from(bits));
            (seed(Some(range)), Ipv4Addr::from_bits(bits))
        });
        let (ours, other) = that_collide(addresses);
        let table = table([spec("a", &[], Some(1)).from(&[&format!("{ours}/32")])]);
        let from = |address: Ipv4Addr| Some(SourceAddress::from(IpAddr::V4(address)));
        assert!(matches!(lookup(&table, &[], from(ours)), Lookup::Route(_)));
        assert_eq!(
            lookup(&table, &[], from(other)),
            Lookup::None,
            "{ours} {other}"
        );
    }
}
