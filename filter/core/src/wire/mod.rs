//! How does the gateway read the first bytes of a connection?
//!
//! Tag=value FIX in place: borrowed fields, nothing allocated per field, three answers ([`Reading`]). The answer for
//! given bytes does not depend on how they were cut into reads, because it is a function of the bytes alone.
//! Never resynchronises over garbage, never validates what engines validate (`BodyLength`, `CheckSum`), never lets a tag
//! number wrap. What other readers might read differently is noted ([`Oddities`]) and judged by [`crate::agreement`].
//!
//! Source: FIX tag=value encoding (FIX Trading Community, "FIX TagValue Encoding Online Specification", field syntax
//! and `data` fields) and FIX session layer (Logon).

mod data_fields;
mod looks_like;

pub use data_fields::{data_field_of, length_field_of};
pub use looks_like::LooksLike;

use crate::limits;
use crate::redact::FieldValue;

/// Field separator.
pub const SOH: u8 = 0x01;
const BEGIN: &[u8] = b"8=FIX";

/// A tag number: 1 to 999,999,999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub(crate) u32);

impl Tag {
    /// `BeginString`
    pub const BEGIN_STRING: Self = Self(8);
    /// `BodyLength`
    pub const BODY_LENGTH: Self = Self(9);
    /// `CheckSum`
    pub const CHECK_SUM: Self = Self(10);
    /// `MsgType`
    pub const MSG_TYPE: Self = Self(35);
    /// `SenderCompID`
    pub const SENDER_COMP_ID: Self = Self(49);
    /// `TargetCompID`
    pub const TARGET_COMP_ID: Self = Self(56);

    /// `None` for 0 and for what has more than nine digits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 || number > 999_999_999 {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// One to nine ASCII digits without a leading zero, sign or blank; anything else is no tag.
    #[must_use]
    pub fn parse(digits: &[u8]) -> Option<Self> {
        if digits.is_empty()
            || digits.len() > limits::TAG_DIGITS_MAX
            || digits.first() == Some(&b'0')
        {
            return None;
        }
        let mut number: u32 = 0;
        for &digit in digits {
            if !digit.is_ascii_digit() {
                return None;
            }
            // Nine digits at most: no overflow.
            number = number * 10 + u32::from(digit - b'0');
        }
        Self::new(number)
    }
}

/// One field, borrowed from the buffer.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// Its tag.
    pub tag: Tag,
    /// Its value, without the SOH.
    pub value: FieldValue<'a>,
    /// Offset of its first byte.
    pub start: usize,
    /// Offset behind its SOH.
    pub end: usize,
    /// How its value was delimited.
    pub framing: Framing,
}

/// How the end of a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// An ordinary field: by the next SOH.
    Soh,
    /// A data field right after its length, which an SOH follows: by that length.
    Length,
    /// A data field whose length is missing, elsewhere, or does not lead to an SOH: by the next SOH.
    DataBySoh,
}

/// A step of the walk through a message.
#[derive(Clone, Copy)]
pub enum Item<'a> {
    /// `tag=value`
    Field(Field<'a>),
    /// Bytes up to an SOH that are no field: no `=`, or no tag before it. Holds how many bytes.
    Malformed(usize),
}

/// Walks the fields of a message in order, and ends behind its first tag 10 ([`Fields::complete`]) or where bytes are
/// missing. Total: any bytes give some walk; each step consumes at least one byte.
#[derive(Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The data field that the last field was the length of, and that length.
    announced: Option<(Tag, usize)>,
    complete: bool,
}

impl<'a> Fields<'a> {
    /// Starts at the first byte, wherever that leads.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            announced: None,
            complete: false,
        }
    }

    /// Whether the walk ended behind a tag 10 (rather than for want of bytes).
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.complete
    }

    /// Bytes walked so far.
    #[must_use]
    pub const fn consumed(&self) -> usize {
        self.at
    }

    /// Where the value at `start` ends, and how that was found; `None` when bytes are missing.
    fn value_end(&self, tag: Tag, start: usize) -> Option<(usize, Framing)> {
        let next_soh = || {
            let rest = self.bytes.get(start..)?;
            Some(start + memchr::memchr(SOH, rest)?)
        };
        if length_field_of(tag).is_none() {
            return Some((next_soh()?, Framing::Soh));
        }
        if let Some((announced, length)) = self.announced
            && announced == tag
        {
            // Too few bytes so far: the length may still turn out right, so nothing can be said yet.
            let end = start.checked_add(length)?;
            if *self.bytes.get(end)? == SOH {
                return Some((end, Framing::Length));
            }
        }
        Some((next_soh()?, Framing::DataBySoh))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        if self.complete {
            return None;
        }
        let start = self.at;
        let rest = self.bytes.get(start..)?;
        let sign = memchr::memchr2(b'=', SOH, rest)?;
        let separator = start + sign;
        let tag = match self.bytes.get(separator) {
            Some(&b'=') => Tag::parse(self.bytes.get(start..separator)?),
            _ => None,
        };
        let Some(tag) = tag else {
            let end = separator + memchr::memchr(SOH, self.bytes.get(separator..)?)?;
            self.at = end + 1;
            self.announced = None;
            return Some(Item::Malformed(end - start));
        };
        let (end, framing) = self.value_end(tag, separator + 1)?;
        let value = self.bytes.get(separator + 1..end)?;
        self.announced = data_field_of(tag).and_then(|data| Some((data, data_length(value)?)));
        self.at = end + 1;
        self.complete = tag == Tag::CHECK_SUM;
        Some(Item::Field(Field {
            tag,
            value: FieldValue::new(value),
            start,
            end: end + 1,
            framing,
        }))
    }
}

/// A length as a data field's length field states it: digits only, nine of them at most behind leading zeros.
pub(crate) fn data_length(value: &[u8]) -> Option<usize> {
    let length = decimal(value).filter(|&length| length <= limits::DATA_LENGTH_MAX)?;
    usize::try_from(length).ok()
}

/// A length as `BodyLength` states it: digits only. What is beyond every bound is as good as the largest number.
fn stated_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits.then(|| decimal(value).unwrap_or(u64::MAX))
}

/// Digits only, no overflow; `None` otherwise.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// Where other readers might read a message differently. An ordinary Logon has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities(u8);

impl Oddities {
    /// A data field that holds an SOH, or whose length was missing, elsewhere, or wrong.
    pub const DATA_FRAMING: Self = Self(1);
    /// A field that is no `tag=value`, or whose tag is malformed.
    pub const MALFORMED: Self = Self(2);
    /// A tag that stands there more than once.
    pub const REPEATED: Self = Self(4);
    /// A `BodyLength` that is no number, or leads elsewhere than to the first real tag 10.
    pub const BODY_LENGTH: Self = Self(8);

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What `BodyLength` says, beside where the message really ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Absent, negative or not a number.
    Unusable,
    /// Leads to the first real tag 10.
    Right,
    /// Leads to an earlier byte, at this offset.
    Short(usize),
    /// Leads past the first real tag 10.
    Past,
}

/// A complete first message with `MsgType` `A`, borrowed from the buffer.
#[derive(Clone, Copy)]
pub struct Logon<'a> {
    message: &'a [u8],
    oddities: Oddities,
    body_length: BodyLength,
}

impl<'a> Logon<'a> {
    /// The message's bytes, from `8=` to the SOH after tag 10.
    #[must_use]
    pub const fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Its fields in order.
    #[must_use]
    pub const fn fields(&self) -> Fields<'a> {
        Fields::new(self.message)
    }

    /// First value of a tag.
    #[must_use]
    pub fn first(&self, tag: Tag) -> Option<FieldValue<'a>> {
        first(self.message, tag)
    }

    /// What other readers might read differently.
    #[must_use]
    pub const fn oddities(&self) -> Oddities {
        self.oddities
    }

    /// What `BodyLength` says.
    #[must_use]
    pub const fn body_length(&self) -> BodyLength {
        self.body_length
    }
}

/// First value of `tag` in the first message of `bytes`.
#[must_use]
pub fn first(bytes: &[u8], tag: Tag) -> Option<FieldValue<'_>> {
    Fields::new(bytes).find_map(|item| match item {
        Item::Field(field) if field.tag == tag => Some(field.value),
        Item::Field(_) | Item::Malformed(_) => None,
    })
}

/// Why the first bytes are no usable Logon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLogon {
    /// Does not begin with `8=FIX`.
    NotFix(LooksLike),
    /// A complete FIX message whose first `MsgType` is not exactly `A`, or that has none.
    MsgType,
    /// Longer than [`ReadLimits::bytes_max`].
    TooLarge,
    /// More fields than [`ReadLimits::fields_max`].
    TooManyFields,
}

/// Bounds of one Logon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Bytes, the SOH after tag 10 included.
    pub bytes_max: usize,
    /// Fields, malformed ones included.
    pub fields_max: usize,
}

impl ReadLimits {
    /// No bound: for looking at bytes that are in hand anyway.
    pub const UNBOUNDED: Self = Self {
        bytes_max: usize::MAX,
        fields_max: usize::MAX,
    };
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            bytes_max: limits::LOGON_BYTES_MAX as usize,
            fields_max: limits::LOGON_FIELDS_MAX as usize,
        }
    }
}

/// The three answers.
#[derive(Clone, Copy)]
pub enum Reading<'a> {
    /// A Logon; what follows it in the buffer is not its business.
    Logon(Logon<'a>),
    /// More bytes are needed.
    Incomplete,
    /// Never will be a Logon.
    NotLogon(NotLogon),
}

/// Reads the first message of a connection.
#[must_use]
pub fn read<'a>(bytes: &'a [u8], limits: &ReadLimits) -> Reading<'a> {
    // What lies beyond the bound is not looked at: else a long read could meet the bound on fields where short ones
    // meet the bound on bytes first.
    let bytes = bytes.get(..limits.bytes_max).unwrap_or(bytes);
    match begin(bytes) {
        Begin::Fix => {}
        Begin::TooShort => return Reading::Incomplete,
        Begin::NotFix(looks_like) => return Reading::NotLogon(NotLogon::NotFix(looks_like)),
    }
    let mut fields = Fields::new(bytes);
    let mut notes = Notes::default();
    let mut count = 0_usize;
    for item in fields.by_ref() {
        count += 1;
        if count > limits.fields_max {
            return Reading::NotLogon(NotLogon::TooManyFields);
        }
        notes.note(item);
    }
    let consumed = fields.consumed();
    if !fields.complete() {
        // A message that fills the bound without ending would exceed it with its next byte.
        return if bytes.len() >= limits.bytes_max {
            Reading::NotLogon(NotLogon::TooLarge)
        } else {
            Reading::Incomplete
        };
    }
    if !notes.is_logon {
        return Reading::NotLogon(NotLogon::MsgType);
    }
    let body_length = notes.body_length();
    let mut oddities = notes.oddities;
    if notes.body.is_some() && body_length != BodyLength::Right {
        oddities.add(Oddities::BODY_LENGTH);
    }
    let message = bytes.get(..consumed).unwrap_or(bytes);
    Reading::Logon(Logon {
        message,
        oddities,
        body_length,
    })
}

/// `BodyLength` and `CheckSum` of the first message in `bytes`, as far as it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Whether `BodyLength` leads exactly to tag 10.
    pub body_length_ok: bool,
    /// Whether `CheckSum` has three digits and is the sum of all bytes before it, modulo 256.
    pub checksum_ok: bool,
}

/// `None` while the message is incomplete.
#[must_use]
pub fn trailer(bytes: &[u8]) -> Option<Trailer> {
    let mut notes = Notes::default();
    let mut stated = None;
    let mut fields = Fields::new(bytes);
    for item in fields.by_ref() {
        notes.note(item);
        if let Item::Field(field) = item {
            stated = Some(field.value);
        }
    }
    if !fields.complete() {
        return None;
    }
    let before = bytes.get(..notes.check_sum_start)?;
    let sum = before
        .iter()
        .fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
    let value = stated?.reveal();
    let checksum_ok = value.len() == 3 && decimal(value) == Some(u64::from(sum));
    Some(Trailer {
        body_length_ok: notes.body_length() == BodyLength::Right,
        checksum_ok,
    })
}

enum Begin {
    Fix,
    TooShort,
    NotFix(LooksLike),
}

fn begin(bytes: &[u8]) -> Begin {
    let shared = bytes.len().min(BEGIN.len());
    if bytes.get(..shared) != BEGIN.get(..shared) {
        return Begin::NotFix(looks_like::looks_like(bytes));
    }
    let Some(rest) = bytes.get(BEGIN.len()..) else {
        return Begin::TooShort;
    };
    // BeginString is `FIX.4.4` or `FIXT.1.1`: a separator that a document uses instead of SOH cannot be part of it.
    let until_soh = memchr::memchr(SOH, rest).unwrap_or(rest.len());
    let begin_string = rest.get(..until_soh).unwrap_or(rest);
    if begin_string.iter().any(|byte| matches!(byte, b'|' | b'^')) {
        return Begin::NotFix(LooksLike::LiteralSeparator);
    }
    Begin::Fix
}

/// What one walk over a message notes for [`read`].
#[derive(Default)]
struct Notes {
    oddities: Oddities,
    seen_msg_type: bool,
    is_logon: bool,
    /// Offset of the body's first byte and the length that the first tag 9 states.
    body: Option<(usize, Option<u64>)>,
    check_sum_start: usize,
    seen: SeenTags,
}

impl Notes {
    fn note(&mut self, item: Item<'_>) {
        let field = match item {
            Item::Malformed(_) => {
                self.oddities.add(Oddities::MALFORMED);
                return;
            }
            Item::Field(field) => field,
        };
        if self.seen.again(field.tag) {
            self.oddities.add(Oddities::REPEATED);
        }
        let value = field.value.reveal();
        match field.framing {
            Framing::Soh => {}
            Framing::DataBySoh => self.oddities.add(Oddities::DATA_FRAMING),
            Framing::Length => {
                // Some readers take the tag before for the length, which the specification does not always do.
                let adjacent = length_field_of(field.tag).is_some_and(|length| {
                    length.get() + 1 == field.tag.get() || field.tag.get() == 89
                });
                if !adjacent || memchr::memchr(SOH, value).is_some() {
                    self.oddities.add(Oddities::DATA_FRAMING);
                }
            }
        }
        match field.tag {
            Tag::MSG_TYPE if !self.seen_msg_type => {
                self.seen_msg_type = true;
                self.is_logon = value == b"A";
            }
            Tag::BODY_LENGTH if self.body.is_none() => {
                self.body = Some((field.end, stated_length(value)));
            }
            Tag::CHECK_SUM => self.check_sum_start = field.start,
            _ => {}
        }
    }

    fn body_length(&self) -> BodyLength {
        let Some((start, Some(length))) = self.body else {
            return BodyLength::Unusable;
        };
        let stated = usize::try_from(length)
            .ok()
            .and_then(|length| start.checked_add(length));
        match stated {
            Some(end) if end == self.check_sum_start => BodyLength::Right,
            Some(end) if end < self.check_sum_start => BodyLength::Short(end),
            _ => BodyLength::Past,
        }
    }
}

/// Tags seen so far in one message, without allocating: exact for tags below 1,024 and for the first 32 others; beyond
/// that it says "again" (which costs a closer look, and decides nothing).
#[derive(Default)]
struct SeenTags {
    low: [u64; 16],
    high: [u32; 32],
    high_count: usize,
}

impl SeenTags {
    fn again(&mut self, tag: Tag) -> bool {
        let number = tag.get();
        if let Some(word) = self.low.get_mut((number >> 6) as usize) {
            let bit = 1_u64 << (number & 63);
            let again = *word & bit != 0;
            *word |= bit;
            return again;
        }
        if self
            .high
            .iter()
            .take(self.high_count)
            .any(|&seen| seen == number)
        {
            return true;
        }
        match self.high.get_mut(self.high_count) {
            Some(slot) => {
                *slot = number;
                self.high_count += 1;
                false
            }
            None => true,
        }
    }
}
