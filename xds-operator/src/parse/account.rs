//! What can be said of the first bytes of a connection? One walk over them, without any form of output.

use std::collections::BTreeMap;

use fixgw_core::agreement::{self, Verdict as Agreement};
use fixgw_core::decision::Reason;
use fixgw_core::redact::{self, Disclosure, FieldValue};
use fixgw_core::table::Table;
use fixgw_core::wire::{
    self, Field, Fields, Item, LooksLike, NotLogon, Oddities, ReadLimits, Reading, Tag, Trailer,
};

/// The corpus's three verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Logon,
    NotLogon,
    NeedMore,
}

impl Verdict {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Logon => "logon",
            Self::NotLogon => "not_logon",
            Self::NeedMore => "need_more",
        }
    }
}

/// One field, or what stands where one should.
pub(super) enum Row<'b> {
    Field {
        field: Field<'b>,
        /// Which one of its tag's this is, from 1.
        occurrence: usize,
    },
    Malformed {
        offset: usize,
        length: usize,
    },
}

/// Why the gateway would not route it, whatever its rules.
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) detail: String,
}

/// Everything that is said of some bytes.
pub(super) struct Account<'b> {
    pub(super) bytes: &'b [u8],
    pub(super) verdict: Verdict,
    /// Set when the bytes are not FIX. Then nothing of them is a field.
    pub(super) looks_like: Option<LooksLike>,
    pub(super) rows: Vec<Row<'b>>,
    /// How often each tag stands there.
    pub(super) counts: BTreeMap<u32, usize>,
    pub(super) malformed: usize,
    /// Bytes of complete fields, of a whole message or not.
    pub(super) walked: usize,
    /// Bytes of the first message; `None` unless it is whole.
    pub(super) consumed: Option<usize>,
    pub(super) trailer: Option<Trailer>,
    pub(super) oddities: Oddities,
    pub(super) refusal: Option<Refusal>,
}

impl<'b> Account<'b> {
    pub(super) fn of(bytes: &'b [u8]) -> Self {
        let mut account = Self {
            bytes,
            verdict: Verdict::NeedMore,
            looks_like: None,
            rows: Vec::new(),
            counts: BTreeMap::new(),
            malformed: 0,
            walked: 0,
            consumed: None,
            trailer: None,
            oddities: Oddities::default(),
            refusal: None,
        };
        match wire::read(bytes, &ReadLimits::UNBOUNDED) {
            Reading::NotLogon(NotLogon::NotFix(looks_like)) => {
                account.verdict = Verdict::NotLogon;
                account.looks_like = Some(looks_like);
                account.refusal = Some(Refusal {
                    reason: Reason::NotFix,
                    detail: looks_like.hint().to_owned(),
                });
                return account;
            }
            Reading::NotLogon(NotLogon::MsgType | NotLogon::TooLarge | NotLogon::TooManyFields) => {
                account.verdict = Verdict::NotLogon;
                account.refusal = over_a_bound(bytes).or(Some(Refusal {
                    reason: Reason::NotLogon,
                    detail: "the first message is no Logon (35=A)".to_owned(),
                }));
            }
            Reading::Incomplete => account.refusal = over_a_bound(bytes),
            Reading::Logon(logon) => {
                account.verdict = Verdict::Logon;
                account.oddities = logon.oddities();
                account.refusal =
                    over_a_bound(bytes).or_else(|| refused_whatever_the_rules(&logon));
            }
        }
        account.walk();
        account
    }

    fn walk(&mut self) {
        let mut fields = Fields::new(self.bytes);
        loop {
            let offset = fields.consumed();
            match fields.next() {
                None => break,
                Some(Item::Malformed(length)) => {
                    self.malformed += 1;
                    self.rows.push(Row::Malformed { offset, length });
                }
                Some(Item::Field(field)) => {
                    let count = self.counts.entry(field.tag.get()).or_insert(0);
                    *count += 1;
                    let occurrence = *count;
                    self.rows.push(Row::Field { field, occurrence });
                }
            }
        }
        self.walked = fields.consumed();
        if fields.complete() {
            self.consumed = Some(self.walked);
            self.trailer = wire::trailer(self.bytes);
        }
    }

    /// Why it is no Logon, or not yet; `None` for a Logon. A stable label.
    pub(super) fn reason(&self) -> Option<Reason> {
        match (self.verdict, self.looks_like) {
            (Verdict::Logon, _) => None,
            (Verdict::NeedMore, _) => Some(Reason::IncompleteLogon),
            (Verdict::NotLogon, Some(_)) => Some(Reason::NotFix),
            (Verdict::NotLogon, None) => Some(Reason::NotLogon),
        }
    }

    /// The same for people.
    pub(super) fn why(&self) -> String {
        if let Some(looks_like) = self.looks_like {
            return self.why_not_fix(looks_like);
        }
        match self.verdict {
            Verdict::Logon => "the first MsgType (35) is exactly `A`".to_owned(),
            Verdict::NotLogon if self.counts.contains_key(&Tag::MSG_TYPE.get()) => {
                "the first MsgType (35) is not exactly `A`".to_owned()
            }
            Verdict::NotLogon => "the message has no MsgType (35)".to_owned(),
            Verdict::NeedMore => self.why_more(),
        }
    }

    fn why_not_fix(&self, looks_like: LooksLike) -> String {
        const BEGIN: &[u8] = b"8=FIX";
        let hint = looks_like.hint();
        let later = self
            .bytes
            .windows(BEGIN.len())
            .position(|bytes| bytes == BEGIN);
        match (looks_like, later) {
            (LooksLike::LiteralSeparator, _) => {
                format!("it {hint}; --format pipe reads `|` as SOH")
            }
            (_, Some(at @ 1..)) => {
                format!(
                    "it {hint}; `8=FIX` stands at offset {at}, but the gateway does not search for it"
                )
            }
            (LooksLike::Unknown, _) => format!("it {hint}"),
            _ => format!("it {hint}; a FIX connection begins with `8=FIX`"),
        }
    }

    fn why_more(&self) -> String {
        let rest = self.bytes.get(self.walked..).unwrap_or_default();
        if self.bytes.is_empty() {
            return "there is no byte yet".to_owned();
        }
        if self.bytes.len() < b"8=FIX".len() {
            return "a beginning of `8=FIX`, and nothing else yet".to_owned();
        }
        let tag = rest.iter().position(|&byte| byte == b'=').and_then(|sign| {
            Tag::parse(rest.get(..sign)?).filter(|&tag| wire::length_field_of(tag).is_some())
        });
        match tag {
            Some(tag) if rest.contains(&wire::SOH) => format!(
                "the length before data field {} says more bytes than there are",
                tag.get()
            ),
            _ if rest.is_empty() => "no CheckSum (10) yet".to_owned(),
            _ => "a field without its SOH, and no CheckSum (10) yet".to_owned(),
        }
    }

    /// What other readers might read differently, for people and with a stable label.
    pub(super) fn oddities(&self) -> Vec<(&'static str, &'static str)> {
        [
            (
                Oddities::DATA_FRAMING,
                "data_framing",
                "a data field holds SOH, or its length is missing, elsewhere or wrong",
            ),
            (
                Oddities::MALFORMED,
                "malformed_field",
                "a field is no tag=value, or its tag is malformed",
            ),
            (
                Oddities::REPEATED,
                "repeated_tag",
                "a tag stands there more than once",
            ),
            (
                Oddities::BODY_LENGTH,
                "body_length",
                "BodyLength (9) leads elsewhere than to CheckSum (10)",
            ),
        ]
        .into_iter()
        .filter(|(oddity, ..)| self.oddities.contains(*oddity))
        .map(|(_, label, text)| (label, text))
        .collect()
    }

    /// `BodyLength` as it should be: from behind the first tag 9 to tag 10.
    pub(super) fn body_bytes(&self) -> Option<usize> {
        let body = self.rows.iter().find_map(|row| match row {
            Row::Field { field, .. } if field.tag == Tag::BODY_LENGTH => Some(field.end),
            Row::Field { .. } | Row::Malformed { .. } => None,
        })?;
        self.check_sum_start()?.checked_sub(body)
    }

    /// `CheckSum` as it should be.
    pub(super) fn sum(&self) -> Option<u8> {
        let before = self.bytes.get(..self.check_sum_start()?)?;
        Some(before.iter().fold(0, |sum, &byte| sum.wrapping_add(byte)))
    }

    fn check_sum_start(&self) -> Option<usize> {
        self.consumed?;
        match self.rows.last()? {
            Row::Field { field, .. } => Some(field.start),
            Row::Malformed { .. } => None,
        }
    }

    /// The value as it may be shown, whole: each byte as the code point of the same number.
    pub(super) fn latin1(field: &Field<'_>, reveal: bool) -> String {
        if is_shown(field.tag, reveal) {
            field
                .value
                .reveal()
                .iter()
                .map(|&byte| char::from(byte))
                .collect()
        } else {
            redact::REDACTED.to_owned()
        }
    }

    /// The value as it may be shown, on one line.
    pub(super) fn line(tag: Tag, value: FieldValue<'_>, reveal: bool) -> String {
        if reveal {
            return value.reveal().escape_ascii().to_string();
        }
        let disclosure = if is_shown(tag, reveal) {
            Disclosure::Shown
        } else {
            Disclosure::Redacted
        };
        value
            .disclose(disclosure)
            .map_or_else(String::new, |value| value.to_string())
    }
}

fn is_shown(tag: Tag, reveal: bool) -> bool {
    reveal || !redact::always_redacted(tag)
}

/// With the gateway's default limits.
fn over_a_bound(bytes: &[u8]) -> Option<Refusal> {
    let limits = ReadLimits::default();
    let (reason, detail) = match wire::read(bytes, &limits) {
        Reading::NotLogon(NotLogon::TooLarge) => (
            Reason::LogonTooLarge,
            format!(
                "it does not end within {} bytes (logonBytesMax)",
                limits.bytes_max
            ),
        ),
        Reading::NotLogon(NotLogon::TooManyFields) => (
            Reason::TooManyFields,
            format!(
                "it has more than {} fields (logonFieldsMax)",
                limits.fields_max
            ),
        ),
        Reading::NotLogon(NotLogon::NotFix(_) | NotLogon::MsgType)
        | Reading::Logon(_)
        | Reading::Incomplete => return None,
    };
    Some(Refusal { reason, detail })
}

/// Where readers disagree even about what kind of message it is, or would wait for more, no rule is needed to refuse it.
fn refused_whatever_the_rules(logon: &wire::Logon<'_>) -> Option<Refusal> {
    let no_rules = Table::compile(&[], 1).ok()?;
    match agreement::evaluate(&no_rules, logon, None) {
        Agreement::AmbiguousField(what) => Some(Refusal {
            reason: Reason::AmbiguousField,
            detail: what.to_owned(),
        }),
        Agreement::NoMatch | Agreement::Route(..) | Agreement::AmbiguousRoute => None,
    }
}
