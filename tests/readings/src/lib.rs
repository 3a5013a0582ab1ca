//! What would each kind of engine make of these bytes, and which route would it follow?
//!
//! A second opinion for tests. It is written from the rules of ADR 008, shares no code with the gateway's core, and
//! is naive where the core is quick: numbers of any length, a copy of every value, every combination of the axes. What
//! it must never do is to call the core; what a test does with it is to hold the core to it.
#![allow(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "the library is a part of the tests, and a test fails by panicking"
)]

mod number;
mod routes;

pub use routes::{Condition, Route, Routed, decide};

const SOH: u8 = 1;
const BODY_LENGTH: u32 = 9;
const CHECK_SUM: u32 = 10;
const MSG_TYPE: u32 = 35;

/// (length, data) of the fields that tests use: those that a Logon has in practice, and each pair whose numbers do not
/// follow each other.
const DATA_FIELDS: [(u32, u32); 22] = [
    (90, 91),
    (93, 89),
    (95, 96),
    (212, 213),
    (348, 349),
    (350, 351),
    (352, 353),
    (354, 355),
    (356, 357),
    (358, 359),
    (360, 361),
    (362, 363),
    (364, 365),
    (445, 446),
    (618, 619),
    (621, 622),
    (1401, 1402),
    (1403, 1404),
    (1525, 1527),
    (1678, 1697),
    (2372, 2371),
    (43109, 42684),
];

/// A tag and its value.
pub type Field = (u32, Vec<u8>);
/// Fields in their order.
pub type Fields = Vec<Field>;

/// How a reader finds the end of a data field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// By the next SOH, like any field.
    Never,
    /// By a length directly before it, if an SOH follows.
    Direct,
    /// By a length somewhere before it, whatever follows.
    Earlier {
        /// Lengths count inside of other data fields, too.
        raw: bool,
        /// Of several lengths the last one counts, else the first.
        last: bool,
        /// The length is the field whose tag is one less (but for 89), whatever the specification says.
        tag_before: bool,
        /// The value goes on to the next SOH behind its length.
        stretched: bool,
    },
    /// By the last length of any data field that stands before it.
    AnyLength {
        /// The value goes on to the next SOH behind its length.
        stretched: bool,
    },
    /// The same, by a reader who knows of no length but this one and each data field's own.
    AnyLengthOf {
        /// This one.
        length: u32,
        /// The value goes on to the next SOH behind its length.
        stretched: bool,
    },
    /// As [`Data::Direct`], by a reader who knows of this data field alone.
    KnowsOnly(u32),
    /// As [`Data::Direct`], by a reader who does not know of this one.
    KnowsAllBut(u32),
}

/// What a reader takes for a number, as a tag or as a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Digits; of a tag one to nine, without a leading zero.
    Strict,
    /// With zeros, a sign, blanks around it.
    Lenient,
    /// The same, modulo 2^32.
    Modulo32,
    /// The same, modulo 2^64.
    Modulo64,
    /// As C's `atoi`: blanks, a sign, what digits follow; 64 bits cut to 32.
    Atoi,
    /// Every byte is taken for a digit.
    Unchecked,
    /// With zeros, a sign, blanks around it, and `_` between digits.
    Underscored,
}

/// Which of several fields with one tag counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// The first.
    First,
    /// The last.
    Last,
}

/// Where a reader ends the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Behind the first tag 10.
    FirstCheckSum,
    /// At the `10=` that stands exactly where `BodyLength` leads.
    AtBodyLength,
    /// At the first `10=` there or later.
    CheckSumAfterBodyLength,
}

/// What a reader takes for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// All of it.
    Whole,
    /// What stands before a NUL.
    ToNul,
    /// What stands between blanks.
    Trimmed,
    /// What stands between blanks and control characters.
    TrimmedWidely,
    /// What stands before a NUL, between blanks.
    ToNulTrimmed,
    /// What stands before another `=`.
    ToEquals,
}

/// One choice on each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Data fields.
    pub data: Data,
    /// Tags and lengths.
    pub numbers: Numbers,
    /// Repeated tags.
    pub repeated: Repeated,
    /// The end of the message.
    pub end: End,
    /// Values.
    pub values: Values,
}

impl Reading {
    /// The gateway's own.
    pub const STRICT: Self = Self {
        data: Data::Direct,
        numbers: Numbers::Strict,
        repeated: Repeated::First,
        end: End::FirstCheckSum,
        values: Values::Whole,
    };

    /// Every combination.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::walks(Self::data()).flat_map(Self::sights)
    }

    /// Every way to find the end of data fields that does not depend on which there are.
    fn data() -> Vec<Data> {
        let earlier = (0..16).map(|bits| Data::Earlier {
            raw: bits & 1 != 0,
            last: bits & 2 != 0,
            tag_before: bits & 4 != 0,
            stretched: bits & 8 != 0,
        });
        let any = [false, true].map(|stretched| Data::AnyLength { stretched });
        let plain = [Data::Never, Data::Direct];
        plain.into_iter().chain(earlier).chain(any).collect()
    }

    /// And those of readers who know some of a message's data fields only.
    fn data_of(message: &[u8]) -> Vec<Data> {
        let (mut tags, mut lengths): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        for walk in Self::walks(vec![Data::Never]) {
            for (tag, _) in fields(message, walk).unwrap_or_default() {
                tags.extend(
                    DATA_FIELDS
                        .iter()
                        .map(|(_, data)| *data)
                        .filter(|data| *data == tag),
                );
                lengths.extend(
                    DATA_FIELDS
                        .iter()
                        .map(|(length, _)| *length)
                        .filter(|length| *length == tag),
                );
            }
        }
        for tags in [&mut tags, &mut lengths] {
            tags.sort_unstable();
            tags.dedup();
        }
        let mut all = Self::data();
        if !tags.is_empty() {
            let some =
                |length| [false, true].map(|stretched| Data::AnyLengthOf { length, stretched });
            all.extend(lengths.into_iter().flat_map(some));
        }
        if tags.len() > 1 {
            let some = |tag| [Data::KnowsOnly(tag), Data::KnowsAllBut(tag)];
            all.extend(tags.into_iter().flat_map(some));
        }
        all
    }

    /// Every way through a message; what remains is which values count.
    fn walks(data: Vec<Data>) -> impl Iterator<Item = Self> {
        let numbers = [
            Numbers::Strict,
            Numbers::Lenient,
            Numbers::Modulo32,
            Numbers::Modulo64,
            Numbers::Atoi,
            Numbers::Unchecked,
            Numbers::Underscored,
        ];
        let ends = [
            End::FirstCheckSum,
            End::AtBodyLength,
            End::CheckSumAfterBodyLength,
        ];
        data.into_iter()
            .flat_map(move |data| numbers.map(|numbers| (data, numbers)))
            .flat_map(move |(data, numbers)| {
                ends.map(|end| Self {
                    data,
                    numbers,
                    end,
                    ..Self::STRICT
                })
            })
    }

    /// This way through a message, with every choice of values.
    fn sights(self) -> impl Iterator<Item = Self> {
        let values = [
            Values::Whole,
            Values::ToNul,
            Values::Trimmed,
            Values::TrimmedWidely,
            Values::ToNulTrimmed,
            Values::ToEquals,
        ];
        values.into_iter().flat_map(move |values| {
            [Repeated::First, Repeated::Last].map(|repeated| Self {
                repeated,
                values,
                ..self
            })
        })
    }
}

/// What a reader makes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It refuses the message, or such a reading does not apply.
    Rejects,
    /// It waits for bytes that are not there.
    Waits,
    /// It has come to an end, with these fields (after the choice of first or last).
    Reads(Fields),
}

/// Reads the bytes of one message.
pub fn read(message: &[u8], reading: Reading) -> Outcome {
    match fields(message, reading) {
        Err(outcome) => outcome,
        Ok(all) => Outcome::Reads(reading.kept(&all)),
    }
}

/// What the readers make of one message: each outcome once, with a reader that comes to it.
pub fn outcomes(message: &[u8]) -> Vec<(Reading, Outcome)> {
    let mut walked: Vec<Result<Fields, Outcome>> = Vec::new();
    let mut found: Vec<(Reading, Outcome)> = Vec::new();
    let mut add = |reading: Reading, outcome: Outcome| {
        if !found.iter().any(|(_, known)| *known == outcome) {
            found.push((reading, outcome));
        }
    };
    for walk in Reading::walks(Reading::data_of(message)) {
        let fields = fields(message, walk);
        if walked.contains(&fields) {
            continue;
        }
        match &fields {
            Err(outcome) => add(walk, outcome.clone()),
            Ok(all) => {
                for reading in walk.sights() {
                    add(reading, Outcome::Reads(reading.kept(all)));
                }
            }
        }
        walked.push(fields);
    }
    found
}

/// The value of a tag.
pub fn value(fields: &[Field], tag: u32) -> Option<&[u8]> {
    let found = fields.iter().find(|(seen, _)| *seen == tag)?;
    Some(&found.1)
}

/// The first message of a stream, as the gateway's own reading ends it.
pub fn first_message(stream: &[u8]) -> Option<&[u8]> {
    let mut walk = Walk::new(stream, Reading::STRICT);
    walk.arriving = true;
    loop {
        if let Some((CHECK_SUM, _)) = walk.step().ok()? {
            return Some(&stream[..walk.at]);
        }
    }
}

/// What all readers together make of a stream's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreed {
    /// Not even the gateway's own reading finds a Logon.
    NoLogon,
    /// Every reader that takes the message follows this.
    On(Routed),
    /// A reader differs.
    Not {
        /// That reader.
        reader: Reading,
        /// What it does.
        does: String,
    },
}

/// Asks every reader.
pub fn agreed(stream: &[u8], routes: &[Route]) -> Agreed {
    let Some(message) = first_message(stream) else {
        return Agreed::NoLogon;
    };
    let Outcome::Reads(own) = read(message, Reading::STRICT) else {
        return Agreed::NoLogon;
    };
    if value(&own, MSG_TYPE) != Some(b"A") {
        return Agreed::NoLogon;
    }
    let decided = decide(routes, &own);
    for (reader, outcome) in outcomes(message) {
        let does = match outcome {
            Outcome::Rejects => continue,
            Outcome::Waits => "waits for more".to_owned(),
            Outcome::Reads(fields) if value(&fields, MSG_TYPE) != Some(b"A") => {
                "sees no Logon".to_owned()
            }
            Outcome::Reads(fields) => match decide(routes, &fields) {
                same if same == decided => continue,
                other => format!("follows {other:?}, not {decided:?}"),
            },
        };
        return Agreed::Not { reader, does };
    }
    Agreed::On(decided)
}

impl Reading {
    /// Of each tag the value that counts.
    fn kept(self, all: &[Field]) -> Fields {
        let mut kept: Fields = Vec::new();
        for (tag, value) in all {
            let value = self.value(value).to_vec();
            match kept.iter_mut().find(|(seen, _)| seen == tag) {
                None => kept.push((*tag, value)),
                Some(seen) if self.repeated == Repeated::Last => seen.1 = value,
                Some(_) => {}
            }
        }
        kept
    }

    fn value(self, value: &[u8]) -> &[u8] {
        match self.values {
            Values::Whole => value,
            Values::ToNul => before(value, 0),
            Values::Trimmed => number::trimmed(value),
            Values::TrimmedWidely => number::trimmed_widely(value),
            Values::ToNulTrimmed => number::trimmed(before(value, 0)),
            Values::ToEquals => before(value, b'='),
        }
    }
}

fn before(value: &[u8], end: u8) -> &[u8] {
    value.split(|byte| *byte == end).next().unwrap_or_default()
}

/// All fields in order, those that are none left out.
fn fields(message: &[u8], reading: Reading) -> Result<Fields, Outcome> {
    let mut walk = Walk::new(message, reading);
    let mut found = Vec::new();
    let mut stop = None;
    loop {
        match stop {
            Some(stop) if walk.at == stop => return Ok(found),
            Some(stop) if walk.at > stop => return Err(Outcome::Rejects),
            _ => {}
        }
        let Some((tag, value)) = walk.step()? else {
            continue;
        };
        if tag == BODY_LENGTH && stop.is_none() && reading.end != End::FirstCheckSum {
            stop = Some(end_by_body_length(message, walk.at, &value, reading)?);
        }
        found.push((tag, value));
        if tag == CHECK_SUM && stop.is_none() {
            return match reading.end {
                End::FirstCheckSum => Ok(found),
                // Without a BodyLength there is no such reading.
                End::AtBodyLength | End::CheckSumAfterBodyLength => Err(Outcome::Rejects),
            };
        }
    }
}

fn end_by_body_length(
    message: &[u8],
    body: usize,
    stated: &[u8],
    reading: Reading,
) -> Result<usize, Outcome> {
    let length = number::body_length(stated, reading.numbers).ok_or(Outcome::Rejects)?;
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| body.checked_add(length))
        .filter(|end| *end < message.len())
        .ok_or(Outcome::Waits)?;
    let begins = |at: usize| message[at - 1] == SOH && message[at..].starts_with(b"10=");
    match reading.end {
        End::AtBodyLength if message[end..].starts_with(b"10=") => Ok(end),
        End::FirstCheckSum | End::AtBodyLength => Err(Outcome::Rejects),
        End::CheckSumAfterBodyLength => (end..message.len())
            .find(|at| begins(*at))
            .ok_or(Outcome::Waits),
    }
}

/// A reader's way through a message.
struct Walk<'a> {
    message: &'a [u8],
    reading: Reading,
    /// More bytes may follow.
    arriving: bool,
    at: usize,
    /// The field before, if it was one.
    before: Option<Field>,
    /// Every field so far.
    walked: Fields,
}

impl<'a> Walk<'a> {
    fn new(message: &'a [u8], reading: Reading) -> Self {
        Self {
            message,
            reading,
            arriving: false,
            at: 0,
            before: None,
            walked: Vec::new(),
        }
    }

    /// One field, or `None` for what is none.
    fn step(&mut self) -> Result<Option<Field>, Outcome> {
        let rest = &self.message[self.at..];
        let soh = rest.iter().position(|byte| *byte == SOH);
        let sign = rest.iter().position(|byte| *byte == b'=');
        let tag = match (sign, soh) {
            (Some(sign), soh) if soh.is_none_or(|soh| sign < soh) => {
                number::tag(&rest[..sign], self.reading.numbers).map(|tag| (tag, sign))
            }
            _ => None,
        };
        let Some((tag, sign)) = tag else {
            self.at += soh.ok_or(Outcome::Waits)? + 1;
            self.before = None;
            return Ok(None);
        };
        let start = self.at + sign + 1;
        let end = self.value_end(tag, start).ok_or(Outcome::Waits)?;
        let field = (tag, self.message[start..end].to_vec());
        self.at = end + 1;
        self.before = Some(field.clone());
        self.walked.push(field.clone());
        Ok(Some(field))
    }

    fn next_soh(&self, from: usize) -> Option<usize> {
        (from..self.message.len()).find(|at| self.message[*at] == SOH)
    }

    fn value_end(&self, tag: u32, start: usize) -> Option<usize> {
        let Some((length_tag, _)) = DATA_FIELDS.into_iter().find(|(_, data)| *data == tag) else {
            return self.next_soh(start);
        };
        match self.reading.data {
            Data::Never => self.next_soh(start),
            Data::KnowsOnly(known) if known != tag => self.next_soh(start),
            Data::KnowsAllBut(unknown) if unknown == tag => self.next_soh(start),
            Data::AnyLength { stretched } | Data::AnyLengthOf { stretched, .. } => {
                let is_length = |tag: u32| match self.reading.data {
                    Data::AnyLengthOf { length, .. } => tag == length || tag == length_tag,
                    _ => DATA_FIELDS.iter().any(|(length, _)| *length == tag),
                };
                let lengths = self.walked.iter().filter(|(seen, _)| is_length(*seen));
                let said = lengths.rev().find_map(|(_, value)| self.length(value));
                match said.map(|length| start.checked_add(length)) {
                    None => self.next_soh(start),
                    Some(end) if stretched => self.next_soh(end?),
                    Some(end) => end.filter(|end| *end < self.message.len()),
                }
            }
            Data::Direct | Data::KnowsOnly(_) | Data::KnowsAllBut(_) => {
                let said = self
                    .before
                    .as_ref()
                    .filter(|(before, _)| *before == length_tag)
                    .and_then(|(_, value)| self.length(value))
                    .and_then(|length| start.checked_add(length));
                match said {
                    Some(end) if self.message.get(end) == Some(&SOH) => Some(end),
                    // What has not arrived may still be that SOH.
                    Some(end) if self.arriving && end >= self.message.len() => None,
                    _ => self.next_soh(start),
                }
            }
            Data::Earlier {
                raw,
                last,
                tag_before,
                stretched,
            } => {
                let wanted = if tag_before && tag != 89 {
                    tag - 1
                } else {
                    length_tag
                };
                let mut said: Vec<usize> = if raw {
                    self.raw_lengths(wanted, start)
                } else {
                    self.walked
                        .iter()
                        .filter(|(seen, _)| *seen == wanted)
                        .filter_map(|(_, value)| self.length(value))
                        .collect()
                };
                let length = if last {
                    said.pop()
                } else {
                    said.first().copied()
                };
                match length.map(|length| start.checked_add(length)) {
                    None => self.next_soh(start),
                    Some(end) if stretched => self.next_soh(end?),
                    Some(end) => end.filter(|end| *end < self.message.len()),
                }
            }
        }
    }

    /// The lengths in all that stands before, taken apart at every SOH.
    fn raw_lengths(&self, wanted: u32, before: usize) -> Vec<usize> {
        let mut parts: Vec<&[u8]> = self.message[..before].split(|byte| *byte == SOH).collect();
        // The last part is the data field's own beginning.
        parts.pop();
        parts
            .into_iter()
            .filter_map(|part| {
                let sign = part.iter().position(|byte| *byte == b'=')?;
                let tag = number::tag(&part[..sign], self.reading.numbers)?;
                (tag == wanted).then(|| self.length(&part[sign + 1..]))?
            })
            .collect()
    }

    fn length(&self, value: &[u8]) -> Option<usize> {
        usize::try_from(number::data_length(value, self.reading.numbers)?).ok()
    }
}
