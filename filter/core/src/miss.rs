//! Why does a condition not hold for a Logon, and is it nearly met?
//!
//! For people who look for the reason that a session is not routed (`fixgw explain`). Decides nothing: whether a condition
//! holds is asked of [`Condition::holds`](crate::rule::Condition::holds), as everywhere.

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
        match first {
            None if is_misspelt(wanted, logon) => Why::MalformedTag,
            None => Why::Absent,
            Some(first) if first.is_empty() => Why::Empty,
            Some(first) => slip(&wanted.condition, first.reveal()),
        }
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
    } else {
        Why::Other
    }
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
            ("BROKER_A", "35=A|49=BROKER_B|", "other BROKER_B"),
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
