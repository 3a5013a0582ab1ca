//! What does one kind of reader see in a message?
//!
//! A choice on each axis makes a [`Reader`]. INVARIANT: it looks at each byte a bounded number of times, whatever the bytes
//! are.

use alloc::vec::Vec;

use super::axes::{DataAxis, Earlier, EndAxis, NumberAxis, Pair, Walk, Which, trimmed};
use super::seen::Seen;
use crate::limits::DATA_TAGS_COMPARED_MAX;
use crate::range::SourceAddress;
use crate::table::Table;
use crate::wire::{self, SOH, Tag};

/// What the readings with one choice of data fields have met.
#[derive(Default)]
pub(super) struct Met {
    /// Tags of the data fields, each once, up to one more than are compared.
    pub(super) data_tags: Vec<Tag>,
    /// Tags of the length fields among the fields, likewise.
    pub(super) length_tags: Vec<Tag>,
    /// A tag or a length that is not well-formed.
    pub(super) odd_number: bool,
}

/// Why a reader sees nothing.
pub(super) enum Unread {
    /// Such a reader refuses the message.
    Rejected,
    /// Such a reader has not come to an end.
    Unfinished,
}

/// One choice on each axis, before a message.
pub(super) struct Reader<'a> {
    pub(super) message: &'a [u8],
    pub(super) source: Option<SourceAddress>,
    pub(super) data: DataAxis,
    pub(super) numbers: NumberAxis,
    pub(super) end: EndAxis,
}

impl<'a> Reader<'a> {
    pub(super) fn read(&self, table: &Table, met: &mut Met) -> Result<Seen<'a>, Unread> {
        let mut seen = Seen::nothing(table, self.source);
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
        note(&mut met.data_tags, tag);
        match self.data {
            DataAxis::NeverHonoured => self.soh_from(start),
            DataAxis::KnowsOnly(known) if known != tag => self.soh_from(start),
            DataAxis::KnowsAllBut(unknown) if unknown == tag => self.soh_from(start),
            DataAxis::DirectWithSoh | DataAxis::KnowsOnly(_) | DataAxis::KnowsAllBut(_) => {
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
            NumberAxis::Underscored => small(underscored(text)?),
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
            NumberAxis::Underscored => usize::try_from(underscored(value)?).ok(),
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
            NumberAxis::Underscored => underscored(value)?,
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

impl Earlier {
    fn length_tag(self, data: Tag, specified: Tag) -> Tag {
        match self.pair {
            Pair::Specified | Pair::Any | Pair::AnyOf(_) => specified,
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
    /// The last one of any.
    latest: Option<usize>,
    turns: usize,
}

/// Keeps a tag, each once, up to one more than are compared.
fn note(tags: &mut Vec<Tag>, tag: Tag) {
    if !tags.contains(&tag) && tags.len() <= DATA_TAGS_COMPARED_MAX {
        tags.push(tag);
    }
}

struct Said {
    tag: Tag,
    first: usize,
    last: usize,
    /// How many were said before the last one.
    turn: usize,
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
        if earlier.pair == Pair::Any {
            return self.latest;
        }
        if let Pair::AnyOf(other) = earlier.pair {
            let known = self.said.iter();
            let known = known.filter(|said| said.tag == length_tag || said.tag == other);
            return known.max_by_key(|said| said.turn).map(|said| said.last);
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
        if wire::data_field_of(tag).is_some() {
            note(&mut met.length_tags, tag);
        }
        let Some(length) = reader.length(value, met) else {
            return;
        };
        if wire::data_field_of(tag).is_some() {
            self.latest = Some(length);
        }
        let turn = self.turns;
        self.turns += 1;
        match self.said.iter_mut().find(|said| said.tag == tag) {
            Some(said) => (said.last, said.turn) = (length, turn),
            None => self.said.push(Said {
                tag,
                first: length,
                last: length,
                turn,
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

/// As Python's `int`: `_` may stand between digits. `None` for what is no number, or negative.
fn underscored(text: &[u8]) -> Option<u64> {
    let (negative, digits) = signed(text);
    let mut number = None;
    let mut between = false;
    for byte in digits {
        match (byte, number) {
            (b'_', Some(_)) if !between => between = true,
            (b'0'..=b'9', _) => {
                between = false;
                let before: u64 = number.unwrap_or(0);
                let digit = u64::from(byte - b'0');
                number = Some(before.saturating_mul(10).saturating_add(digit));
            }
            _ => return None,
        }
    }
    number.filter(|_| !negative && !between)
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
mod tests {
    use super::super::axes::NUMBERS;
    use super::*;

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
