//! Does every engine that might read this Logon come to the same route?
//!
//! Engines differ in how they read odd bytes. The strict reading ([`crate::wire`]) proposes a route; a message with
//! an oddity is then read again in every other way that engines are known to read, and when one of them would see
//! another `MsgType` or another route, the connection is refused rather than guessed. A reading that rejects the
//! message takes no part. An ordinary Logon has no oddity and pays nothing.

use alloc::vec::Vec;

use crate::limits::READ_AGAIN_BYTES_MAX;
use crate::range::SourceAddress;
use crate::table::{Lookup, Slots, Table};
use crate::wire::{self, BodyLength, Item, Logon, SOH, Tag};

/// What became of the lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// No route matches, in any reading.
    NoMatch,
    /// One route, in every reading; the values that decided.
    Route(crate::table::RouteRef, Slots<'a>),
    /// Two routes of one rank.
    AmbiguousRoute,
    /// Readings disagree; what they disagree about.
    AmbiguousField(&'static str),
}

/// How a reader finds the end of a data field.
#[derive(Clone, Copy)]
enum DataAxis {
    /// By the next SOH, like any field.
    NeverHonoured,
    /// By a length that stands directly before it, if an SOH follows.
    DirectWithSoh,
    /// By a length that stands earlier, wherever that is, whatever follows.
    Earlier(Earlier),
}

/// Which earlier length a reader takes for a data field's.
#[derive(Clone, Copy)]
struct Earlier {
    walk: Walk,
    which: Which,
    pair: Pair,
    /// The value is stretched to the next SOH.
    to_soh: bool,
}

/// Where a reader looks for lengths.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// From SOH to SOH, inside of data fields too.
    Raw,
    /// Among the fields that it has read itself.
    Fields,
}

/// Which of several equal length fields counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Last,
}

/// Which field is the length of a data field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pair {
    /// The one that the specification names.
    Specified,
    /// The one whose tag is one less, but for `Signature` (`QuickFIX`).
    TagBefore,
}

/// What a reader takes for a number, as a tag or as a length.
#[derive(Clone, Copy)]
enum NumberAxis {
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
}

/// Where a reader ends the message.
#[derive(Clone, Copy)]
enum EndAxis {
    /// Behind the first tag 10.
    FirstCheckSum,
    /// At the tag 10 that stands exactly where `BodyLength` leads.
    AtBodyLength,
    /// At the first `10=` behind an SOH there or later.
    CheckSumAfterBodyLength,
}

/// What a reader takes for a value.
#[derive(Clone, Copy)]
enum ValueAxis {
    /// All of it.
    Whole,
    /// What stands before a NUL, as in C.
    ToNul,
    /// What stands between blanks.
    Trimmed,
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

const DATA: [(DataAxis, &str); 18] = [
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
];
const NUMBERS: [(NumberAxis, &str); 6] = [
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
];
const ENDS: [(EndAxis, &str); 3] = [
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
const VALUES: [(ValueAxis, &str); 3] = [
    (ValueAxis::Whole, ""),
    (
        ValueAxis::ToNul,
        "readers that end a value at a NUL see another one",
    ),
    (
        ValueAxis::Trimmed,
        "readers that take blanks off a value see another one",
    ),
];
const REPEATED: &str = "a tag stands there more than once, with values that lead elsewhere";
const PAST: &str = "BodyLength leads past the first CheckSum";
const TOO_ODD: &str = "it is too long, with too many oddities, to compare every way of reading it";
const UNFINISHED: &str = "some readers would wait for bytes that have not been sent";

/// Looks a Logon from an address up, in every reading where readings could differ.
#[must_use]
pub fn evaluate<'a>(
    table: &Table,
    logon: &Logon<'a>,
    source: Option<SourceAddress>,
) -> Verdict<'a> {
    let slots = strict_slots(table, logon, source);
    let lookup = table.lookup(&slots);
    let odd = !logon.oddities().is_empty() || slots.values().any(ValueAxis::matters);
    if odd && let Err(what) = agree(table, logon, source, lookup) {
        return Verdict::AmbiguousField(what);
    }
    match lookup {
        Lookup::None => Verdict::NoMatch,
        Lookup::Route(route) => Verdict::Route(route, slots),
        Lookup::Ambiguous(..) => Verdict::AmbiguousRoute,
    }
}

/// First values of the table's tags, as the strict reading has them.
#[must_use]
pub fn strict_slots<'a>(
    table: &Table,
    logon: &Logon<'a>,
    source: Option<SourceAddress>,
) -> Slots<'a> {
    let mut slots = table.slots(source);
    for item in logon.fields() {
        if let Item::Field(field) = item
            && let Some(slot) = table.slot_of(field.tag)
        {
            slots.keep_first(slot, field.value.reveal());
        }
    }
    slots
}

fn agree(
    table: &Table,
    logon: &Logon<'_>,
    source: Option<SourceAddress>,
    decided: Lookup,
) -> Result<(), &'static str> {
    if logon.body_length() == BodyLength::Past {
        // Such a reading depends on bytes that have not been sent.
        return Err(PAST);
    }
    let mut left = READ_AGAIN_BYTES_MAX;
    for (data, data_says) in DATA {
        let mut met = Met::default();
        for (numbers, numbers_say) in NUMBERS {
            for (end, end_says) in ENDS {
                left = left.checked_sub(logon.message().len()).ok_or(TOO_ODD)?;
                let reader = Reader {
                    message: logon.message(),
                    source,
                    data,
                    numbers,
                    end,
                };
                let seen = match reader.read(table, &mut met) {
                    Err(Unread::Rejected) => continue,
                    Err(Unread::Unfinished) => return Err(UNFINISHED),
                    Ok(seen) => seen,
                };
                let says = [end_says, numbers_say, data_says];
                seen.agrees(table, decided, says)?;
            }
            // Strict numbers come first: where all are well-formed, they are the same to every reader.
            if !met.odd_number {
                break;
            }
        }
        // Without a data field, the other readers of data fields are the same: so it is with the groups that venues'
        // Logons have.
        if !met.data_field {
            break;
        }
    }
    Ok(())
}

/// What the readings with one choice of data fields have met.
#[derive(Default)]
struct Met {
    data_field: bool,
    /// A tag or a length that is not well-formed.
    odd_number: bool,
}

/// What one reading sees, by the first and by the last value of each tag.
struct Seen<'a> {
    first: Sight<'a>,
    last: Sight<'a>,
}

struct Sight<'a> {
    slots: Slots<'a>,
    msg_type: Option<&'a [u8]>,
}

impl Sight<'_> {
    fn nothing(table: &Table, source: Option<SourceAddress>) -> Self {
        Self {
            slots: table.slots(source),
            msg_type: None,
        }
    }

    fn same(&self, table: &Table, decided: Lookup) -> bool {
        self.msg_type == Some(b"A") && table.lookup(&self.slots) == decided
    }

    fn by(&self, axis: ValueAxis) -> Self {
        Self {
            slots: self.slots.map(|value| axis.value(value)),
            msg_type: self.msg_type.map(|value| axis.value(value)),
        }
    }

    fn has_odd_value(&self) -> bool {
        self.slots
            .values()
            .chain(self.msg_type)
            .any(ValueAxis::matters)
    }
}

impl Seen<'_> {
    fn agrees(
        &self,
        table: &Table,
        decided: Lookup,
        says: [&'static str; 3],
    ) -> Result<(), &'static str> {
        for (sight, repeated) in [(&self.first, ""), (&self.last, REPEATED)] {
            let blame = |values_say| {
                let mut says = [repeated, values_say].into_iter().chain(says);
                says.find(|says| !says.is_empty()).unwrap_or(REPEATED)
            };
            if !sight.same(table, decided) {
                return Err(blame(""));
            }
            if !sight.has_odd_value() {
                continue;
            }
            for (values, values_say) in VALUES {
                if !sight.by(values).same(table, decided) {
                    return Err(blame(values_say));
                }
            }
        }
        Ok(())
    }
}

impl ValueAxis {
    fn value(self, value: &[u8]) -> &[u8] {
        match self {
            Self::Whole => value,
            Self::ToNul => {
                let end = memchr::memchr(0, value).unwrap_or(value.len());
                value.get(..end).unwrap_or(value)
            }
            Self::Trimmed => trimmed(value),
        }
    }

    /// Whether the axis makes a difference to a value.
    fn matters(value: &[u8]) -> bool {
        memchr::memchr(0, value).is_some() || trimmed(value).len() != value.len()
    }
}

/// Why a reader sees nothing.
enum Unread {
    /// Such a reader refuses the message.
    Rejected,
    /// Such a reader has not come to an end.
    Unfinished,
}

struct Reader<'a> {
    message: &'a [u8],
    source: Option<SourceAddress>,
    data: DataAxis,
    numbers: NumberAxis,
    end: EndAxis,
}

impl<'a> Reader<'a> {
    fn read(&self, table: &Table, met: &mut Met) -> Result<Seen<'a>, Unread> {
        let mut seen = Seen {
            first: Sight::nothing(table, self.source),
            last: Sight::nothing(table, self.source),
        };
        let mut at = 0;
        let mut stop = None;
        let mut previous: Option<(Tag, &'a [u8])> = None;
        let mut lengths = Lengths::default();
        loop {
            match stop {
                Some(stop) if at == stop => return Ok(seen),
                // The end lies inside of what this reading takes for one field.
                Some(stop) if at > stop => return Err(Unread::Rejected),
                _ => {}
            }
            let field = self
                .field(at, previous, &mut lengths, met)
                .ok_or(Unread::Unfinished)?;
            at = field.end;
            previous = field.tag.map(|tag| (tag, field.value));
            let Some(tag) = field.tag else { continue };
            if matches!(self.data, DataAxis::Earlier(earlier) if earlier.walk == Walk::Fields) {
                lengths.keep(self, tag, field.value, met);
            }
            if tag == Tag::BODY_LENGTH && stop.is_none() {
                stop = self.stop(at, field.value, met)?;
            }
            seen.note(table, tag, field.value);
            if tag == Tag::CHECK_SUM && stop.is_none() {
                return match self.end {
                    EndAxis::FirstCheckSum => Ok(seen),
                    // An absent BodyLength gives no reading of its own.
                    EndAxis::AtBodyLength | EndAxis::CheckSumAfterBodyLength => {
                        Err(Unread::Rejected)
                    }
                };
            }
        }
    }

    /// The field at `at`, in the eyes of this reader; `None` when it has no end.
    fn field(
        &self,
        at: usize,
        previous: Option<(Tag, &[u8])>,
        lengths: &mut Lengths,
        met: &mut Met,
    ) -> Option<FieldSeen<'a>> {
        let rest = self.message.get(at..)?;
        let next = memchr::memchr2(b'=', SOH, rest)?;
        let tag = match rest.get(next) {
            Some(&b'=') => self.tag(rest.get(..next)?, met),
            _ => None,
        };
        let start = at + next + 1;
        let end = match tag {
            Some(tag) => self.value_end(tag, start, previous, lengths, met)?,
            None => self.soh_from(at + next)?,
        };
        Some(FieldSeen {
            tag,
            value: self.message.get(start.min(end)..end)?,
            end: end + 1,
        })
    }

    /// Where a `BodyLength` ends the message whose body begins at `body`; `Ok(None)` for readers that do not ask it.
    fn stop(&self, body: usize, stated: &[u8], met: &mut Met) -> Result<Option<usize>, Unread> {
        if matches!(self.end, EndAxis::FirstCheckSum) {
            return Ok(None);
        }
        met.odd_number |= !stated.iter().all(u8::is_ascii_digit);
        // An unusable one gives no reading of its own.
        let length = self.body_length(stated).ok_or(Unread::Rejected)?;
        let end = body.saturating_add(length);
        let rest = self.message.get(end..).unwrap_or_default();
        match self.end {
            _ if rest.is_empty() => Err(Unread::Unfinished),
            EndAxis::CheckSumAfterBodyLength => {
                let at = self.check_sum_from(end).ok_or(Unread::Unfinished)?;
                Ok(Some(at))
            }
            EndAxis::FirstCheckSum | EndAxis::AtBodyLength => {
                let there = rest.starts_with(b"10=");
                there.then_some(Some(end)).ok_or(Unread::Rejected)
            }
        }
    }

    /// The first `10=` behind an SOH at `from` or later.
    fn check_sum_from(&self, from: usize) -> Option<usize> {
        let before = from.checked_sub(1)?;
        let found = memchr::memmem::find(self.message.get(before..)?, b"\x0110=")?;
        Some(before + found + 1)
    }

    fn soh_from(&self, at: usize) -> Option<usize> {
        Some(at + memchr::memchr(SOH, self.message.get(at..)?)?)
    }

    fn value_end(
        &self,
        tag: Tag,
        start: usize,
        previous: Option<(Tag, &[u8])>,
        lengths: &mut Lengths,
        met: &mut Met,
    ) -> Option<usize> {
        let Some(length_tag) = wire::length_field_of(tag) else {
            return self.soh_from(start);
        };
        met.data_field = true;
        match self.data {
            DataAxis::NeverHonoured => self.soh_from(start),
            DataAxis::DirectWithSoh => {
                let length = previous
                    .filter(|(tag, _)| *tag == length_tag)
                    .and_then(|(_, value)| self.length(value, met));
                match length.and_then(|length| start.checked_add(length)) {
                    Some(end) if self.message.get(end) == Some(&SOH) => Some(end),
                    _ => self.soh_from(start),
                }
            }
            DataAxis::Earlier(earlier) => {
                let length_tag = earlier.length_tag(tag, length_tag);
                match lengths.said(self, earlier, length_tag, start, met) {
                    Some(length) if earlier.to_soh => self.soh_from(start.checked_add(length)?),
                    Some(length) => start
                        .checked_add(length)
                        .filter(|&end| end < self.message.len()),
                    None => self.soh_from(start),
                }
            }
        }
    }

    fn tag(&self, text: &[u8], met: &mut Met) -> Option<Tag> {
        let strict = Tag::parse(text);
        if strict.is_some() {
            // Up to nine digits are the same number to every reader.
            return strict;
        }
        met.odd_number = true;
        match self.numbers {
            NumberAxis::Strict => None,
            NumberAxis::Lenient => Tag::parse(lenient(text)),
            NumberAxis::Modulo32 => small(wrapped(text)? & u64::from(u32::MAX)),
            NumberAxis::Modulo64 => small(wrapped(text)?),
            NumberAxis::Leading => Tag::new(atoi(text)?),
            NumberAxis::Unchecked => Tag::new(unchecked(text)),
        }
    }

    /// The length that a data field's length field says, by the same leniency as for tags.
    fn length(&self, value: &[u8], met: &mut Met) -> Option<usize> {
        let strict = wire::data_length(value);
        if strict.is_some() {
            return strict;
        }
        met.odd_number = true;
        // A negative length is none to anybody.
        if trimmed(value).first() == Some(&b'-') {
            return None;
        }
        match self.numbers {
            NumberAxis::Strict => None,
            NumberAxis::Lenient => wire::data_length(lenient(value)),
            NumberAxis::Modulo32 => usize::try_from(wrapped(value)? & u64::from(u32::MAX)).ok(),
            NumberAxis::Modulo64 => Some(usize::try_from(wrapped(value)?).unwrap_or(usize::MAX)),
            NumberAxis::Leading => usize::try_from(atoi(value)?).ok(),
            NumberAxis::Unchecked => usize::try_from(unchecked(value)).ok(),
        }
    }

    /// What `BodyLength` says. Unless it begins with a digit, it says nothing to anybody.
    fn body_length(&self, value: &[u8]) -> Option<usize> {
        let text = trimmed(value);
        let digits = text.strip_prefix(b"+").unwrap_or(text);
        if !digits.first()?.is_ascii_digit() {
            return None;
        }
        let all_digits = digits.iter().all(u8::is_ascii_digit);
        let length = match self.numbers {
            NumberAxis::Strict if all_digits && digits.len() == value.len() => saturated(digits),
            NumberAxis::Lenient if all_digits => saturated(digits),
            NumberAxis::Strict | NumberAxis::Lenient => return None,
            NumberAxis::Modulo32 => wrapped(value)? & u64::from(u32::MAX),
            NumberAxis::Modulo64 => wrapped(value)?,
            NumberAxis::Leading | NumberAxis::Unchecked => u64::from(atoi(value)?),
        };
        Some(usize::try_from(length).unwrap_or(usize::MAX))
    }
}

struct FieldSeen<'a> {
    tag: Option<Tag>,
    value: &'a [u8],
    /// Behind its SOH.
    end: usize,
}

impl<'a> Seen<'a> {
    fn note(&mut self, table: &Table, tag: Tag, value: &'a [u8]) {
        if tag == Tag::MSG_TYPE {
            self.first.msg_type = self.first.msg_type.or(Some(value));
            self.last.msg_type = Some(value);
        }
        if let Some(slot) = table.slot_of(tag) {
            self.first.slots.keep_first(slot, value);
            self.last.slots.keep_last(slot, value);
        }
    }
}

impl Earlier {
    fn length_tag(self, data: Tag, specified: Tag) -> Tag {
        match self.pair {
            Pair::Specified => specified,
            // `Signature` (89) is no exception to the specification in any reader.
            Pair::TagBefore if data.get() == 89 => specified,
            Pair::TagBefore => Tag::new(data.get().saturating_sub(1)).unwrap_or(specified),
        }
    }
}

/// The first and the last length that each length field says.
///
/// INVARIANT: each byte is looked at once in a reading. A walk back from every data field would take time that grows
/// with the square of the message, and whoever sends such Logons would stall a worker's live sessions.
#[derive(Default)]
struct Lengths {
    scanned: usize,
    said: Vec<Said>,
}

struct Said {
    tag: Tag,
    first: usize,
    last: usize,
}

impl Lengths {
    /// The length that `length_tag` says before `before`, where a value begins.
    fn said(
        &mut self,
        reader: &Reader<'_>,
        earlier: Earlier,
        length_tag: Tag,
        before: usize,
        met: &mut Met,
    ) -> Option<usize> {
        if earlier.walk == Walk::Raw {
            self.scan(reader, before, met)?;
        }
        let said = self.said.iter().find(|said| said.tag == length_tag)?;
        Some(match earlier.which {
            Which::First => said.first,
            Which::Last => said.last,
        })
    }

    /// Walks on from SOH to SOH. What stands before a value without an SOH ends with that value's `=`, and so says no
    /// length.
    fn scan(&mut self, reader: &Reader<'_>, before: usize, met: &mut Met) -> Option<()> {
        let earlier = reader.message.get(..before)?;
        while let Some(rest) = earlier.get(self.scanned..)
            && let Some(soh) = memchr::memchr(SOH, rest)
        {
            if let Some(field) = rest.get(..soh)
                && let Some(sign) = memchr::memchr(b'=', field)
                && let Some(tag) = field.get(..sign).and_then(|text| reader.tag(text, met))
            {
                self.keep(reader, tag, field.get(sign + 1..).unwrap_or_default(), met);
            }
            self.scanned += soh + 1;
        }
        Some(())
    }

    /// Keeps what a field says, if it is the length of some data field to some reader.
    fn keep(&mut self, reader: &Reader<'_>, tag: Tag, value: &[u8], met: &mut Met) {
        let before_data =
            || Tag::new(tag.get() + 1).is_some_and(|next| wire::length_field_of(next).is_some());
        if wire::data_field_of(tag).is_none() && !before_data() {
            return;
        }
        let Some(length) = reader.length(value, met) else {
            return;
        };
        match self.said.iter_mut().find(|said| said.tag == tag) {
            Some(said) => said.last = length,
            None => self.said.push(Said {
                tag,
                first: length,
                last: length,
            }),
        }
    }
}

/// A tag number that is small enough to be one.
fn small(number: u64) -> Option<Tag> {
    u32::try_from(number).ok().and_then(Tag::new)
}

/// Without the blanks around it, a sign, and the zeros before it.
fn lenient(text: &[u8]) -> &[u8] {
    let mut digits = signed(text).1;
    while let [b'0', rest @ ..] = digits {
        digits = rest;
    }
    digits
}

/// Whether there is a minus, and what follows blanks and the sign.
fn signed(text: &[u8]) -> (bool, &[u8]) {
    let text = trimmed(text);
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// Without what C's `isspace` takes for blank, at both ends.
fn trimmed(mut text: &[u8]) -> &[u8] {
    const fn blank(byte: u8) -> bool {
        matches!(byte, b' ' | 0x09..=0x0D)
    }
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

/// A number with its sign, modulo 2^64.
fn wrapped(text: &[u8]) -> Option<u64> {
    let (negative, digits) = signed(text);
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, &digit| {
        digit.is_ascii_digit().then(|| {
            number
                .wrapping_mul(10)
                .wrapping_add(u64::from(digit - b'0'))
        })
    })?;
    Some(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

/// Digits, or the largest number.
fn saturated(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number: u64, &digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit.saturating_sub(b'0')))
    })
}

/// As C's `atoi` usually is made: `strtol`, which stops at the ends of 64 bits, cut to 32 bits. `None` when that is
/// negative or there is no digit.
fn atoi(text: &[u8]) -> Option<u32> {
    let (negative, rest) = signed(text);
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = rest.get(..count).filter(|digits| !digits.is_empty())?;
    let number = saturated(digits);
    let long = if negative {
        0_i64.checked_sub_unsigned(number).unwrap_or(i64::MIN)
    } else {
        i64::try_from(number).unwrap_or(i64::MAX)
    };
    let low = long.cast_unsigned() & u64::from(u32::MAX);
    u32::try_from(low).ok().filter(|low| low.cast_signed() >= 0)
}

/// `n = n * 10 + (byte - '0')` in 32 bits, whatever the byte is.
fn unchecked(text: &[u8]) -> u32 {
    text.iter().fold(0_u32, |number, &byte| {
        number
            .wrapping_mul(10)
            .wrapping_add(u32::from(byte))
            .wrapping_sub(u32::from(b'0'))
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use crate::rule::Rule;
    use crate::rule::testing::spec;
    use crate::wire::{ReadLimits, Reading};
    use alloc::format;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    fn table() -> Table {
        let rules = [
            Rule::new(spec("broker", &[("SenderCompID49", "BROKER_A")], None)).unwrap(),
            Rule::new(spec("victim", &[("SenderCompID49", "VICTIM")], None)).unwrap(),
        ];
        Table::compile(&rules, 1).unwrap()
    }

    /// A message with a right `BodyLength`, from its body with `|` for SOH.
    fn message(body: &str) -> Vec<u8> {
        let length = body.len();
        format!("8=FIX.4.4|9={length}|{body}10=000|")
            .replace('|', "\u{1}")
            .into_bytes()
    }

    fn verdict(bytes: &[u8]) -> String {
        let table = table();
        let Reading::Logon(logon) = wire::read(bytes, &ReadLimits::default()) else {
            return "no logon".to_string();
        };
        match evaluate(&table, &logon, None) {
            Verdict::NoMatch => "none".to_string(),
            Verdict::Route(route, _) => table.route_name(route).unwrap().1.to_string(),
            Verdict::AmbiguousRoute => "ambiguous route".to_string(),
            Verdict::AmbiguousField(what) => format!("refused: {what}"),
        }
    }

    fn check(body: &str, wanted: &str) {
        let found = verdict(&message(body));
        assert!(
            found.starts_with(wanted),
            "{body}: wanted {wanted}, found {found}"
        );
    }

    #[test]
    fn an_ordinary_logon_is_routed() {
        check("35=A|49=BROKER_A|56=G|34=1|98=0|108=30|", "broker");
    }

    #[test]
    fn raw_data_that_hides_a_routed_tag_is_refused() {
        check(
            "35=A|95=17|96=x|49=VICTIM|y=1|z|49=BROKER_A|34=1|",
            "refused: readers that ignore the lengths",
        );
        check("35=A|95=15|96=abc|49=BROKER_A|49=VICTIM|34=1|", "refused");
        check("35=A|96=x|49=VICTIM|y|49=BROKER_A|34=1|", "refused");
        check(
            "35=A|95=11|98=0|96=x|49=VICTIM|34=1|",
            "refused: readers that trust the last length",
        );
    }

    #[test]
    fn lengths_that_other_readers_look_for_elsewhere_are_refused() {
        // The last length stands inside of another data field, where a reader of fields does not see it.
        let inside = "35=A|49=BROKER_A|95=13|354=6|355=x|95=1|96=a|49=VICTIM|34=1|";
        check(inside, "refused");
        // The tag before the data field's is not its length, but QuickFIX takes it for that.
        for data in [
            "1526=13|1527=a",
            "2370=13|2371=a",
            "42683=13|42684=a",
            "1526=13|1525=1|1527=a",
        ] {
            check(&format!("35=A|{data}|49=VICTIM|34=1|108=30|"), "refused");
        }
        for length in ["+13", " 13", "13x", "4294967309"] {
            check(
                &format!("35=A|95={length}|96=a|49=VICTIM|34=1|108=30|"),
                "refused",
            );
        }
        check(
            "35=A|95=13|98=0|95=1|96=a|49=VICTIM|34=1|108=30|",
            "refused",
        );
    }

    #[test]
    fn raw_data_that_cannot_change_the_route_is_not_refused() {
        check("35=A|49=BROKER_A|95=5|96=a|b=c|34=1|", "broker");
        check("35=A|49=BROKER_A|95=3|96=abcdef|56=G|34=1|", "broker");
        check("35=A|49=BROKER_A|96=no length|56=G|34=1|", "broker");
        check("35=A|49=BROKER_A|95=-3|96=abc|56=G|", "broker");
    }

    #[test]
    fn what_cannot_be_compared_in_the_time_there_is_is_refused() {
        let of = |length: usize, odd: &str| {
            let text = "x".repeat(length - 100);
            verdict(&message(&format!("35=A|49=BROKER_A|{odd}|58={text}|")))
        };
        // 1 MiB is 324 times 3,236 bytes.
        assert_eq!(of(3_000, "095=1|96=a"), "broker");
        assert_eq!(of(3_400, "095=1|96=a"), format!("refused: {TOO_ODD}"));
        assert_eq!(of(8_000, "095=1|96=a"), format!("refused: {TOO_ODD}"));
        assert_eq!(of(8_000, "95=1|96=a"), "broker");
        assert_eq!(of(8_000, "058=a"), "broker");
    }

    #[test]
    fn tags_that_other_readers_take_for_a_routed_one_are_refused() {
        for tag in [
            "049",
            "+49",
            " 49",
            "\u{b}49",
            "4294967345",
            "18446744073709551665",
            "-4294967247",
            "-18446744073709551567",
            "49x",
            "49\0",
        ] {
            check(&format!("35=A|{tag}=VICTIM|49=BROKER_A|34=1|"), "refused");
            check(&format!("35=A|49=BROKER_A|{tag}=VICTIM|34=1|"), "refused");
            check(&format!("35=A|49=BROKER_A|{tag}=BROKER_A|34=1|"), "broker");
        }
        check("35=A|49=BROKER_A|4294967342=harmless|34=1|", "broker");
    }

    #[test]
    fn tags_and_lengths_that_other_readers_do_not_check_are_refused() {
        // Every byte taken for a digit: `5/` is 49, and `1:` is 20.
        check(
            "35=A|5/=VICTIM|49=BROKER_A|34=1|",
            "refused: readers that take every byte",
        );
        check(
            "35=A|49=BROKER_A|95=1:|96=a|49=VICTIM|x=1|y|34=1|",
            "refused",
        );
        // `atoi` wraps, and stops at a letter.
        check(
            "35=A|4294967345x=VICTIM|49=BROKER_A|34=1|",
            "refused: readers that take the digits",
        );
        check("35=A|49=BROKER_A|4294967345x=BROKER_A|34=1|", "broker");
    }

    #[test]
    fn values_that_other_readers_cut_or_trim_are_refused_where_they_change_the_route() {
        check(
            "35=A|49=VICTIM\0x|34=1|",
            "refused: readers that end a value at a NUL",
        );
        check("35=A|49=VICTIM\0x|49=BROKER_A|34=1|", "refused");
        check(
            "35=A|49=VICTIM |34=1|",
            "refused: readers that take blanks off",
        );
        check(
            "35=A|49=\tBROKER_A|34=1|",
            "refused: readers that take blanks off",
        );
        check("35=A|49=SOMEBODY\0|34=1|", "none");
        check("35=A|49=BROKER_A|58= a text \0 |34=1|", "broker");
        // A value that only a reader of tags with zeros sees.
        check("35=A|049=VICTIM\0|49=BROKER_A|34=1|", "refused");
        check("35=A|49=BROKER_A|35=A\0|34=1|", "refused");
    }

    #[test]
    fn every_length_that_some_reader_takes_for_a_data_fields_is_tried() {
        // The first length stands inside of another data field, behind the tag before.
        check(
            "35=A|49=BROKER_A|354=7|355=1526=13|1526=1|1527=a|49=VICTIM|34=1|",
            "refused",
        );
        // The first one only, stretched.
        check(
            "35=A|49=BROKER_A|95=9|95=1|96=a|49=VIC|34=1|49=VICTIM|",
            "refused",
        );
    }

    #[test]
    fn a_malformed_check_sum_that_would_end_the_message_earlier_is_refused() {
        check("35=A|010=5|49=BROKER_A|34=1|", "refused");
        check("35=A|49=BROKER_A|010=5|049=VICTIM|34=1|", "refused");
    }

    #[test]
    fn repeated_tags_are_refused_only_where_they_change_the_route() {
        check(
            "35=A|49=BROKER_A|34=1|49=VICTIM|",
            "refused: a tag stands there more than once",
        );
        check("35=A|49=BROKER_A|34=1|49=BROKER_A|", "broker");
        check("35=A|49=BROKER_A|35=D|34=1|", "refused");
        check("35=A|49=BROKER_A|384=2|372=D|372=8|", "broker");
    }

    #[test]
    fn body_length_past_the_first_check_sum_is_refused_and_a_harmless_short_one_is_not() {
        let logon = |length: &str| {
            format!("8=FIX.4.4|9={length}|35=A|49=BROKER_A|10=000|").replace('|', "\u{1}")
        };
        assert!(verdict(logon("99").as_bytes()).contains("BodyLength leads past"));
        assert!(
            verdict(logon("99999999999999999999999").as_bytes()).contains("BodyLength leads past")
        );
        for harmless in ["5", "0", "-1", "x", ""] {
            assert_eq!(verdict(logon(harmless).as_bytes()), "broker", "{harmless}");
        }
        // Past it for some readers only.
        for past in ["+99", " 99", "99x", "99 "] {
            assert!(
                verdict(logon(past).as_bytes()).contains("some readers would wait"),
                "{past}"
            );
        }
        for right in ["+16", " 16", "16x", "016"] {
            assert_eq!(verdict(logon(right).as_bytes()), "broker", "{right}");
        }
    }

    /// As a reader would that walks back from every data field.
    fn walked_back(reader: &Reader<'_>, length_tag: Tag, before: usize) -> Option<usize> {
        let earlier = reader.message.get(..before)?;
        earlier
            .rsplit(|&byte| byte == SOH)
            .skip(1)
            .find_map(|field| {
                let sign = memchr::memchr(b'=', field)?;
                let tag = reader.tag(field.get(..sign)?, &mut Met::default())?;
                (tag == length_tag)
                    .then(|| reader.length(field.get(sign + 1..)?, &mut Met::default()))
                    .flatten()
            })
    }

    const PARTS: [&str; 13] = [
        "95=",
        "095=",
        "4294967391=",
        "90=",
        "96=",
        "1",
        "2",
        "17",
        "x",
        "=",
        "|",
        "|",
        "|",
    ];

    proptest::proptest! {
        #[test]
        fn lengths_are_those_that_a_walk_back_finds(
            parts in proptest::collection::vec(proptest::sample::select(&PARTS[..]), 0..60),
        ) {
            let message = parts.concat().replace('|', "\u{1}").into_bytes();
            for (numbers, _) in NUMBERS {
                let raw = Earlier { walk: Walk::Raw, which: Which::Last, pair: Pair::Specified, to_soh: false };
                let reader = Reader {
                    message: &message,
                    source: None,
                    data: DataAxis::Earlier(raw),
                    numbers,
                    end: EndAxis::FirstCheckSum,
                };
                let mut lengths = Lengths::default();
                // A value begins behind the first `=` after an SOH.
                let begins = |sign: usize| {
                    let before = message.get(..sign).unwrap_or_default();
                    before.iter().rev().find(|byte| matches!(**byte, b'=' | SOH)) != Some(&b'=')
                };
                let signs = message
                    .iter()
                    .enumerate()
                    .filter(|&(at, byte)| *byte == b'=' && begins(at));
                for (sign, _) in signs {
                    for length_tag in [Tag(95), Tag(90)] {
                        proptest::prop_assert_eq!(
                            lengths.said(&reader, raw, length_tag, sign + 1, &mut Met::default()),
                            walked_back(&reader, length_tag, sign + 1)
                        );
                    }
                }
            }
        }
    }
}
