//! In which ways do readers differ? A table: one entry for each way, with what to say when it sees another message. The first
//! of each axis is the strict reading.

use crate::wire::Tag;

/// How a reader finds the end of a data field.
#[derive(Clone, Copy)]
pub(super) enum DataAxis {
    /// By the next SOH, like any field.
    NeverHonoured,
    /// By a length that stands directly before it, if an SOH follows.
    DirectWithSoh,
    /// By a length that stands earlier, wherever that is, whatever follows.
    Earlier(Earlier),
    /// Directly, but of no data field beside this one does the reader know that it is one.
    KnowsOnly(Tag),
    /// Directly, but of this one the reader does not know it: it is younger than his dictionary.
    KnowsAllBut(Tag),
}

/// Which earlier length a reader takes for a data field's.
#[derive(Clone, Copy)]
pub(super) struct Earlier {
    pub(super) walk: Walk,
    pub(super) which: Which,
    pub(super) pair: Pair,
    /// The value is stretched to the next SOH.
    pub(super) to_soh: bool,
}

/// Where a reader looks for lengths.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// From SOH to SOH, inside of data fields too.
    Raw,
    /// Among the fields that it has read itself.
    Fields,
}

/// Which of several equal length fields counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Last,
}

/// Which field is the length of a data field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pair {
    /// The one that the specification names.
    Specified,
    /// The one whose tag is one less, but for `Signature` (`QuickFIX`).
    TagBefore,
    /// Any length, whichever field it is for (simplefix).
    Any,
    /// Any length that a reader knows whose dictionary has none but the data field's own and this one: the others are younger.
    AnyOf(Tag),
}

/// What a reader takes for a number, as a tag or as a length.
#[derive(Clone, Copy)]
pub(super) enum NumberAxis {
    /// Well-formed numbers only; a field without one is skipped.
    Strict,
    /// Leading zeros, signs and blanks are accepted.
    Lenient,
    /// The same, modulo 2^32.
    Modulo32,
    /// The same, modulo 2^64.
    Modulo64,
    /// What it begins with, as C's `atoi` does.
    Leading,
    /// Every byte is taken for a digit: `5/` is 49, as `/` stands before `0`.
    Unchecked,
    /// As Python's `int`: zeros, a sign and blanks are accepted, and `_` between digits.
    Underscored,
}

/// Where a reader ends the message.
#[derive(Clone, Copy)]
pub(super) enum EndAxis {
    /// Behind the first tag 10.
    FirstCheckSum,
    /// At the tag 10 that stands exactly where `BodyLength` leads.
    AtBodyLength,
    /// At the first `10=` behind an SOH there or later.
    CheckSumAfterBodyLength,
}

/// What a reader takes for a value.
#[derive(Clone, Copy)]
pub(super) enum ValueAxis {
    /// All of it.
    Whole,
    /// What stands before a NUL, as in C.
    ToNul,
    /// What stands between blanks.
    Trimmed,
    /// What stands between bytes up to the blank, control characters and NUL among them (Java's `trim`).
    TrimmedWidely,
    /// What stands before a NUL, without blanks around it.
    ToNulTrimmed,
    /// What stands before another `=`: the second part of a field that is split there.
    ToEquals,
}

/// Readers that take any length, and know no others than each data field's own and this one.
pub(super) fn any_of(length: Tag) -> [DataAxis; 2] {
    [false, true].map(|to_soh| earlier(Walk::Fields, Which::Last, Pair::AnyOf(length), to_soh))
}

const fn earlier(walk: Walk, which: Which, pair: Pair, to_soh: bool) -> DataAxis {
    DataAxis::Earlier(Earlier {
        walk,
        which,
        pair,
        to_soh,
    })
}

const LAST: &str = "readers that trust the last length of a data field see another message";
const FIRST: &str = "readers that trust the first length of a data field see another message";
const STRETCHED: &str = "readers that stretch a data field to the next SOH see another message";
const BEFORE: &str =
    "readers that take the tag before a data field's for its length see another message";

pub(super) const ANY: &str =
    "readers that take the length of one data field for that of another see another message";
pub(super) const SUBSET: &str =
    "readers that know only some of its data fields see another message";

pub(super) const DATA: [(DataAxis, &str); 20] = [
    (DataAxis::DirectWithSoh, ""),
    (
        DataAxis::NeverHonoured,
        "readers that ignore the lengths of data fields see another message",
    ),
    (
        earlier(Walk::Raw, Which::Last, Pair::Specified, false),
        LAST,
    ),
    (
        earlier(Walk::Raw, Which::Last, Pair::Specified, true),
        STRETCHED,
    ),
    (
        earlier(Walk::Raw, Which::Last, Pair::TagBefore, false),
        BEFORE,
    ),
    (
        earlier(Walk::Raw, Which::Last, Pair::TagBefore, true),
        BEFORE,
    ),
    (
        earlier(Walk::Raw, Which::First, Pair::Specified, false),
        FIRST,
    ),
    (
        earlier(Walk::Raw, Which::First, Pair::Specified, true),
        STRETCHED,
    ),
    (
        earlier(Walk::Raw, Which::First, Pair::TagBefore, false),
        BEFORE,
    ),
    (
        earlier(Walk::Raw, Which::First, Pair::TagBefore, true),
        BEFORE,
    ),
    (
        earlier(Walk::Fields, Which::Last, Pair::Specified, false),
        LAST,
    ),
    (
        earlier(Walk::Fields, Which::Last, Pair::Specified, true),
        STRETCHED,
    ),
    (
        earlier(Walk::Fields, Which::Last, Pair::TagBefore, false),
        BEFORE,
    ),
    (
        earlier(Walk::Fields, Which::Last, Pair::TagBefore, true),
        BEFORE,
    ),
    (
        earlier(Walk::Fields, Which::First, Pair::Specified, false),
        FIRST,
    ),
    (
        earlier(Walk::Fields, Which::First, Pair::Specified, true),
        STRETCHED,
    ),
    (
        earlier(Walk::Fields, Which::First, Pair::TagBefore, false),
        BEFORE,
    ),
    (
        earlier(Walk::Fields, Which::First, Pair::TagBefore, true),
        BEFORE,
    ),
    (earlier(Walk::Fields, Which::Last, Pair::Any, false), ANY),
    (earlier(Walk::Fields, Which::Last, Pair::Any, true), ANY),
];
pub(super) const NUMBERS: [(NumberAxis, &str); 7] = [
    (NumberAxis::Strict, ""),
    (
        NumberAxis::Lenient,
        "readers that accept zeros, signs or blanks in a tag or length see another message",
    ),
    (
        NumberAxis::Modulo32,
        "readers whose tag numbers wrap at 32 bits see another message",
    ),
    (
        NumberAxis::Modulo64,
        "readers whose tag numbers wrap at 64 bits see another message",
    ),
    (
        NumberAxis::Leading,
        "readers that take the digits that a tag or length begins with see another message",
    ),
    (
        NumberAxis::Unchecked,
        "readers that take every byte of a tag or length for a digit see another message",
    ),
    (
        NumberAxis::Underscored,
        "readers that accept `_` in a tag or length see another message",
    ),
];
pub(super) const ENDS: [(EndAxis, &str); 3] = [
    (EndAxis::FirstCheckSum, ""),
    (
        EndAxis::AtBodyLength,
        "readers that end the message by BodyLength see another message",
    ),
    (
        EndAxis::CheckSumAfterBodyLength,
        "readers that look for CheckSum behind BodyLength see another message",
    ),
];
pub(super) const VALUES: [(ValueAxis, &str); 6] = [
    (ValueAxis::Whole, ""),
    (
        ValueAxis::ToNul,
        "readers that end a value at a NUL see another one",
    ),
    (
        ValueAxis::Trimmed,
        "readers that take blanks off a value see another one",
    ),
    (
        ValueAxis::TrimmedWidely,
        "readers that take control characters off a value see another one",
    ),
    (
        ValueAxis::ToNulTrimmed,
        "readers that end a value at a NUL and take blanks off it see another one",
    ),
    (
        ValueAxis::ToEquals,
        "readers that split fields at every `=` see another value",
    ),
];

impl ValueAxis {
    pub(super) fn value(self, value: &[u8]) -> &[u8] {
        match self {
            Self::Whole => value,
            Self::ToNul => before(0, value),
            Self::Trimmed => trimmed(value),
            Self::TrimmedWidely => without(value, |byte| byte <= b' '),
            Self::ToNulTrimmed => trimmed(before(0, value)),
            Self::ToEquals => before(b'=', value),
        }
    }

    /// Whether the axis makes a difference to a value.
    pub(super) fn matters(value: &[u8]) -> bool {
        let plain = |byte: &u8| *byte > b' ';
        memchr::memchr2(0, b'=', value).is_some()
            || !(value.first().is_none_or(plain) && value.last().is_none_or(plain))
    }
}

fn before(end: u8, value: &[u8]) -> &[u8] {
    let end = memchr::memchr(end, value).unwrap_or(value.len());
    value.get(..end).unwrap_or(value)
}

/// Without what C's `isspace` takes for blank, at both ends.
pub(super) fn trimmed(text: &[u8]) -> &[u8] {
    without(text, |byte| matches!(byte, b' ' | 0x09..=0x0D))
}

fn without(mut text: &[u8], blank: fn(u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = text
        && blank(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && blank(*last)
    {
        text = rest;
    }
    text
}
