//! What do a route's conditions make of a key, so that one hash finds it?
//!
//! The table looks routes up so, and the detector of conflicts finds those that can meet: one notion, or the two would differ.

use crate::range::SourceRange;
use crate::rule::{Condition, Rule};

/// Kind of a term: a value.
pub(crate) const KIND_VALUE: u32 = 0;
/// Kind of a term: present. Any other number is the length of a prefix.
pub(crate) const KIND_PRESENT: u32 = u32::MAX;

/// A route's ranges, or that it has none.
pub(crate) fn anywhere_or_ranges(rule: &Rule) -> impl Iterator<Item = Option<SourceRange>> {
    let anywhere = rule.source_ranges().is_empty().then_some(None);
    anywhere
        .into_iter()
        .chain(rule.source_ranges().iter().copied().map(Some))
}

const HASH_SEED: u64 = 0x46_49_58;

/// What a key begins with: the range, if the shape asks for one.
pub(crate) fn seed(range: Option<SourceRange>) -> u64 {
    range.map_or(HASH_SEED, |range| {
        mix(HASH_SEED, &range.network().to_le_bytes())
    })
}

pub(crate) fn mix(hash: u64, bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, hash)
}

/// The part of a value that a term makes a key of; `None` when the value is too short for its prefix.
pub(crate) fn key_part(kind: u32, value: &[u8]) -> Option<&[u8]> {
    match kind {
        KIND_VALUE => Some(value),
        KIND_PRESENT => Some(&[]),
        prefix => value.get(..prefix as usize),
    }
}

/// The kind of a condition, and its bytes.
pub(crate) fn kind_of(condition: &Condition) -> (u32, &[u8]) {
    match condition {
        Condition::Value(bytes) => (KIND_VALUE, bytes),
        Condition::Prefix(bytes) => (u32::try_from(bytes.len()).unwrap_or(u32::MAX), bytes),
        Condition::Present => (KIND_PRESENT, &[]),
    }
}
