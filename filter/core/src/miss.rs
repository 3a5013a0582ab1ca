//! Why does a condition not hold for a Logon, and is it nearly met?
//!
//! For people who look for the reason that a session is not routed (`fixgw explain`). Decides nothing: whether a condition
//! holds is asked of [`Condition::holds`](crate::rule::Condition::holds), as everywhere.

use alloc::vec::Vec;

use crate::redact::FieldValue;
use crate::rule::{Condition, FieldMatch};
use crate::wire::{Field, Fields, Item, Logon, Tag};

/// A condition that is not met.
#[derive(Clone, Copy)]
pub struct Miss<'a> {
    /// In which way.
    pub why: Why,
    /// The first value, where there is one.
    pub got: Option<FieldValue<'a>>,
}

/// In which way a condition is not met. All but the first and the last are slips: what is wanted is nearly there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The tag is not there.
    Absent,
    /// The tag is there without a value, which counts as absent.
    Empty,
    /// The tag is there more than once; the value of this occurrence, from 2, would do, and only the first one counts.
    Later(usize),
    /// It stands inside of this data field, where no field is looked for.
    InsideData(Tag),
    /// The tag number is written in a way that is none: with a zero, a sign or blanks.
    MalformedTag,
    /// Upper and lower case differ, and nothing else.
    Case,
    /// There are blanks or control characters around it, and nothing else differs.
    Blanks,
    /// Both.
    CaseAndBlanks,
    /// One letter is another one, missing, too many, or has changed places with the next one.
    OneLetter,
    /// It stands in another tag.
    OtherTag(Tag),
    /// The value is another.
    Other,
}

impl Why {
    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Empty => "empty",
            Self::Later(_) => "later",
            Self::InsideData(_) => "inside_data",
            Self::MalformedTag => "malformed_tag",
            Self::Case => "case",
            Self::Blanks => "blanks",
            Self::CaseAndBlanks => "case_and_blanks",
            Self::OneLetter => "one_letter",
            Self::OtherTag(_) => "other_tag",
            Self::Other => "other",
        }
    }

    /// Whether what is wanted is nearly there.
    #[must_use]
    pub const fn is_slip(self) -> bool {
        !matches!(self, Self::Absent | Self::Other)
    }
}

/// The value that meets a condition, or why none does.
///
/// # Errors
/// When it is not met.
pub fn judge<'a>(wanted: &FieldMatch, logon: &Logon<'a>) -> Result<FieldValue<'a>, Miss<'a>> {
    let holds = |value: FieldValue<'_>| wanted.condition.holds(value.reveal());
    let own = |item| match item {
        Item::Field(field) if field.tag == wanted.tag => Some(field),
        Item::Field(_) | Item::Malformed(_) => None,
    };
    let mut values = logon
        .fields()
        .filter_map(own)
        .map(|field: Field<'a>| field.value);
    let first = values.next();
    if let Some(first) = first.filter(|first| holds(*first)) {
        return Ok(first);
    }
    let later = values.position(holds);
    let why = if let Some(place) = later {
        Why::Later(place + 2)
    } else if let Some(data) = data_that_holds(wanted, logon) {
        Why::InsideData(data)
    } else {
        let why = match first {
            None if is_misspelt(wanted, logon) => Why::MalformedTag,
            None => Why::Absent,
            Some(first) if first.is_empty() => Why::Empty,
            Some(first) => slip(&wanted.condition, first.reveal()),
        };
        let other = (!why.is_slip()).then(|| tag_that_holds(wanted, logon));
        other.flatten().map_or(why, Why::OtherTag)
    };
    Err(Miss { why, got: first })
}

fn slip(condition: &Condition, value: &[u8]) -> Why {
    let trimmed = trimmed(value);
    if condition.holds(trimmed) {
        Why::Blanks
    } else if holds_in_some_case(condition, value) {
        Why::Case
    } else if holds_in_some_case(condition, trimmed) {
        Why::CaseAndBlanks
    } else if is_one_letter_off(condition, value) {
        Why::OneLetter
    } else {
        Why::Other
    }
}

/// Bytes of a value below which nearly everything is one letter off, or stands somewhere else by chance.
const TELLING_BYTES_MIN: usize = 4;

fn is_one_letter_off(condition: &Condition, value: &[u8]) -> bool {
    let Condition::Value(wanted) = condition else {
        return false;
    };
    if wanted.len() < TELLING_BYTES_MIN {
        return false;
    }
    let same = |one: &[u8], other: &[u8]| one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let ahead = same(wanted, value);
    let behind = |text: &[u8]| text.get(ahead..).unwrap_or_default().to_vec();
    let (mut one, mut other) = (behind(wanted), behind(value));
    one.reverse();
    other.reverse();
    let at_the_end = same(&one, &other);
    // What is left between what both begin with and what both end with.
    match (one.len() - at_the_end, other.len() - at_the_end) {
        (1, 0 | 1) | (0, 1) => true,
        (2, 2) => {
            let between = |text: &[u8]| text.get(at_the_end..).unwrap_or_default().to_vec();
            let swapped: Vec<u8> = between(&one).into_iter().rev().collect();
            swapped == between(&other)
        }
        _ => false,
    }
}

/// The field of another tag that has what is wanted.
fn tag_that_holds(wanted: &FieldMatch, logon: &Logon<'_>) -> Option<Tag> {
    match &wanted.condition {
        Condition::Value(value) if value.len() >= TELLING_BYTES_MIN => {}
        Condition::Value(_) | Condition::Prefix(_) | Condition::Present => return None,
    }
    logon.fields().find_map(|item| match item {
        Item::Field(field) if wanted.condition.holds(field.value.reveal()) => Some(field.tag),
        Item::Field(_) | Item::Malformed(_) => None,
    })
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| *byte <= b' ';
    let start = value.iter().position(|byte| !is_blank(byte));
    let end = value.iter().rposition(|byte| !is_blank(byte));
    start
        .zip(end)
        .and_then(|(start, end)| value.get(start..=end))
        .unwrap_or_default()
}

fn holds_in_some_case(condition: &Condition, value: &[u8]) -> bool {
    match condition {
        Condition::Value(wanted) => value.eq_ignore_ascii_case(wanted),
        Condition::Prefix(prefix) => value
            .get(..prefix.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(prefix)),
        Condition::Present => !value.is_empty(),
    }
}

/// The data field inside of which a reader of every SOH would find what is wanted.
fn data_that_holds(wanted: &FieldMatch, logon: &Logon<'_>) -> Option<Tag> {
    logon.fields().find_map(|item| {
        let Item::Field(field) = item else {
            return None;
        };
        let value = field.value.reveal();
        let inside = memchr::memchr(crate::wire::SOH, value)?;
        // Each field ends with an SOH; the last one inside ends with the data field's.
        let rest = logon
            .message()
            .get(field.end - value.len() + inside..field.end)?;
        let found = Fields::new(rest).any(|item| match item {
            Item::Field(hidden) => {
                hidden.tag == wanted.tag && wanted.condition.holds(hidden.value.reveal())
            }
            Item::Malformed(_) => false,
        });
        found.then_some(field.tag)
    })
}

/// Whether a field that is none holds what is wanted, under a tag that some reader takes for the wanted one.
fn is_misspelt(wanted: &FieldMatch, logon: &Logon<'_>) -> bool {
    let mut fields = logon.fields();
    loop {
        let start = fields.consumed();
        let length = match fields.next() {
            None => return false,
            Some(Item::Field(_)) => continue,
            Some(Item::Malformed(length)) => length,
        };
        let written = logon
            .message()
            .get(start..start + length)
            .unwrap_or_default();
        let Some(sign) = memchr::memchr(b'=', written) else {
            continue;
        };
        let (tag, value) = written.split_at(sign);
        let tag = trimmed(tag);
        let tag = tag.strip_prefix(b"+").unwrap_or(tag);
        let zeros = tag.iter().take_while(|digit| **digit == b'0').count();
        let number = tag.get(zeros..).and_then(Tag::parse);
        let value = value.get(1..).unwrap_or_default();
        if number == Some(wanted.tag) && wanted.condition.holds(value) {
            return true;
        }
    }
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
    use crate::wire::{ReadLimits, Reading, read};
    use alloc::format;
    use alloc::string::{String, ToString};

    /// What is said of one condition for a body with `|` for SOH.
    fn why(text: &str, body: &str) -> String {
        let priority = text.ends_with('*').then_some(1);
        let rule = Rule::new(spec("a", &[("SenderCompID49", text)], priority)).unwrap();
        let bytes = format!("8=FIX.4.4|9={}|{body}10=000|", body.len()).replace('|', "\u{1}");
        let Reading::Logon(logon) = read(bytes.as_bytes(), &ReadLimits::default()) else {
            panic!("no Logon: {body}");
        };
        let field = rule.fields().first().unwrap();
        match judge(field, &logon) {
            Ok(value) => format!("holds by {}", value.reveal().escape_ascii()),
            Err(Miss { why, got }) => {
                let got = got.map_or("nothing".to_string(), |got| {
                    got.reveal().escape_ascii().to_string()
                });
                format!("{} {got}", why.label())
            }
        }
    }

    #[test]
    fn each_way_to_miss_is_told_from_the_others() {
        for (text, body, wanted) in [
            ("BROKER_A", "35=A|49=BROKER_A|", "holds by BROKER_A"),
            ("BR*", "35=A|49=BR|", "holds by BR"),
            ("BROKER_A", "35=A|56=X|", "absent nothing"),
            ("BROKER_A", "35=A|49=|", "empty "),
            ("*", "35=A|49=|", "empty "),
            ("BROKER_A", "35=A|49=broker_a|", "case broker_a"),
            ("BR*", "35=A|49=broker_a|", "case broker_a"),
            ("BROKER_A", "35=A|49=BROKER_A |", "blanks BROKER_A "),
            ("BROKER_A", "35=A|49=\tBROKER_A|", "blanks \\tBROKER_A"),
            (
                "BROKER_A",
                "35=A|49= broker_a|",
                "case_and_blanks  broker_a",
            ),
            ("BROKER_A", "35=A|49=BROKER_B|", "one_letter BROKER_B"),
            ("BROKER_A", "35=A|49=BROKER_|", "one_letter BROKER_"),
            ("BROKER_A", "35=A|49=BROKR_A|", "one_letter BROKR_A"),
            ("BROKER_A", "35=A|49=BROKKER_A|", "one_letter BROKKER_A"),
            ("BROKER_A", "35=A|49=BROKE_RA|", "one_letter BROKE_RA"),
            ("BROKER_A", "35=A|49=BROKE_AR|", "other BROKE_AR"),
            ("BROKER_A", "35=A|49=BREKOR_A|", "other BREKOR_A"),
            ("ABC", "35=A|49=ABD|", "other ABD"),
            (
                "BROKER_A",
                "35=A|49=GATEWAY|56=BROKER_A|",
                "other_tag GATEWAY",
            ),
            ("BROKER_A", "35=A|56=BROKER_A|", "other_tag nothing"),
            ("ABC", "35=A|56=ABC|", "absent nothing"),
            ("BR*", "35=A|49=B|", "other B"),
            ("BROKER_A", "35=A|49=X|49=Y|49=BROKER_A|", "later X"),
            ("BROKER_A", "35=A|49=|49=BROKER_A|", "later "),
            // A length that leads to no SOH makes no data field.
            (
                "BROKER_A",
                "35=A|95=12|96=ab|49=BROKER_A|",
                "holds by BROKER_A",
            ),
            (
                "BROKER_A",
                "35=A|95=14|96=ab|49=BROKER_A|98=0|",
                "inside_data nothing",
            ),
            ("BROKER_A", "35=A|049=BROKER_A|", "malformed_tag nothing"),
            ("BROKER_A", "35=A| +49=BROKER_A|", "malformed_tag nothing"),
            ("BROKER_A", "35=A|049=BROKER_B|", "absent nothing"),
        ] {
            assert_eq!(why(text, body), wanted, "{text} {body}");
        }
    }
}
