//! How does a field's value leave the core? Only through here.
//!
//! [`FieldValue`] can be compared and measured but not formatted: it has neither `Debug` nor `Display`. What reaches a
//! log, span, metric or status is a [`Disclosed`], made with a [`Disclosure`]. [`FieldValue::reveal`] is for
//! `--reveal`, and a repository test lists the files that may call it.
//!
//! ```compile_fail,E0277
//! let value = fixgw_core::redact::FieldValue::new(b"secret");
//! let _ = format!("{value:?}"); // no Debug
//! ```
//!
//! ```compile_fail,E0277
//! let value = fixgw_core::redact::FieldValue::new(b"secret");
//! let _ = format!("{value}"); // no Display
//! ```
//!
//! A `Field` and an `Item` cannot be formatted either:
//!
//! ```compile_fail,E0277
//! let field = fixgw_core::wire::Fields::new(b"554=secret\x01").next();
//! let _ = format!("{field:?}");
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::limits;
use crate::wire::{self, Framing, Item, Tag};

/// A field's value: bytes without the SOH.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FieldValue<'a>(&'a [u8]);

impl<'a> FieldValue<'a> {
    /// Wraps bytes that came from a counterparty.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Number of bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The bytes themselves. What they say must not reach any output but that of `--reveal`, or the wire.
    #[must_use]
    pub const fn reveal(self) -> &'a [u8] {
        self.0
    }

    /// All of it as text, every byte that is not printable ASCII escaped: for who may see everything (`--reveal`).
    #[must_use]
    pub fn revealed(self) -> String {
        self.0.escape_ascii().to_string()
    }

    /// The value as it may be shown; `None` when it must not be shown at all.
    #[must_use]
    pub const fn disclose(self, disclosure: Disclosure) -> Option<Disclosed<'a>> {
        match disclosure {
            Disclosure::Shown => Some(Disclosed(Some(self))),
            Disclosure::Redacted => Some(Disclosed(None)),
            Disclosure::Hidden => None,
        }
    }
}

/// What may be said of a value. Ordered: of two that apply, the larger holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disclosure {
    /// Its text.
    #[default]
    Shown,
    /// That it is there: `[REDACTED]`.
    Redacted,
    /// Nothing, not even that it is there.
    Hidden,
}

/// What stands for a redacted value, everywhere.
pub const REDACTED: &str = "[REDACTED]";

/// A value that may be formatted: its text with every byte that is not printable ASCII escaped, cut at
/// [`limits::VALUE_SHOWN_BYTES_MAX`], or `[REDACTED]`.
#[derive(Clone, Copy)]
pub struct Disclosed<'a>(Option<FieldValue<'a>>);

impl fmt::Display for Disclosed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.0 else {
            return f.write_str(REDACTED);
        };
        let shown = value.0.len().min(limits::VALUE_SHOWN_BYTES_MAX);
        for byte in value.0.iter().take(shown) {
            write!(f, "{}", byte.escape_ascii())?;
        }
        if shown < value.0.len() {
            write!(f, "…({} bytes)", value.0.len())?;
        }
        Ok(())
    }
}

/// Whether the gateway redacts a tag without being told: passwords, and every data field (signatures, encrypted
/// passwords, raw data, encoded text).
#[must_use]
pub fn always_redacted(tag: Tag) -> bool {
    // Password (554) and NewPassword (925); 1402, 1404, 89, 91, 96 and 355 are data fields.
    matches!(tag.get(), 554 | 925) || wire::length_field_of(tag).is_some()
}

/// Answers for every tag what may be said of its value.
pub trait DisclosurePolicy {
    /// For one tag. Must not answer less than [`always_redacted`] demands: use [`disclosure`], which sees to it.
    fn configured(&self, tag: Tag) -> Disclosure;
}

/// What may be said of a tag's value: the policy's answer, or more when the gateway redacts the tag anyway.
#[must_use]
pub fn disclosure(policy: &dyn DisclosurePolicy, tag: Tag) -> Disclosure {
    let floor = if always_redacted(tag) {
        Disclosure::Redacted
    } else {
        Disclosure::Shown
    };
    policy.configured(tag).max(floor)
}

/// A value as a record shows it; `None` when it must not be shown at all. One that holds a `=` shows its length only:
/// behind a broken separator stands the next field, which may be a password.
#[must_use]
pub fn recorded(value: FieldValue<'_>, disclosure: Disclosure) -> Option<String> {
    let shown = value.disclose(disclosure)?;
    if disclosure == Disclosure::Shown && memchr::memchr(b'=', value.0).is_some() {
        return Some(format!("<{} bytes>", value.len()));
    }
    Some(shown.to_string())
}

/// A text that the counterparty chose outside of FIX (the name that it asked for by TLS, its certificate's subject): every
/// byte that is not printable ASCII escaped, cut at [`limits::PEER_TEXT_SHOWN_BYTES_MAX`]. `None` if there is none.
#[must_use]
pub fn peer_text(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    for byte in bytes.iter().take(limits::PEER_TEXT_SHOWN_BYTES_MAX) {
        if byte.is_ascii_graphic() || *byte == b' ' {
            text.push(char::from(*byte));
        } else {
            write_to(&mut text, format_args!("{}", byte.escape_ascii()));
        }
    }
    if bytes.len() > limits::PEER_TEXT_SHOWN_BYTES_MAX {
        write_to(&mut text, format_args!("…({} bytes)", bytes.len()));
    }
    (!text.is_empty()).then_some(text)
}

/// What may be looked at for a record, as far as it is certain to be no data: up to a data field whose length does not stand
/// right before it, with that one. What follows may still be its data, as another reader has it.
pub fn certain<'a>(fields: &mut wire::Fields<'a>) -> impl Iterator<Item = Item<'a>> {
    let mut over = false;
    core::iter::from_fn(move || {
        let item = (!over).then(|| fields.next()).flatten()?;
        over = matches!(item, Item::Field(field) if field.framing == Framing::DataBySoh);
        Some(item)
    })
}

/// Whether the first value of a tag in a message is [`certain`] to be that, and no part of a data field.
#[must_use]
pub fn is_certain(message: &[u8], tag: Tag) -> bool {
    let mut fields = wire::Fields::new(message);
    certain(&mut fields).any(|item| matches!(item, Item::Field(field) if field.tag == tag))
}

/// Received bytes as one line: fields with `|` between them, by the same rules as values elsewhere. A malformed field
/// an unfinished one and one whose value holds a `=` show their length only, since each may hold a password.
/// Only what is [`certain`] is shown.
#[must_use]
pub fn received(bytes: &[u8], policy: &dyn DisclosurePolicy) -> String {
    let mut line = String::new();
    let mut fields = wire::Fields::new(bytes);
    for item in certain(&mut fields) {
        if line.len() > limits::RECEIVED_SHOWN_BYTES_MAX {
            line.push('…');
            return line;
        }
        match item {
            Item::Malformed(length) => {
                write_to(&mut line, format_args!("<malformed, {length} bytes>|"));
            }
            Item::Field(field) => {
                if let Some(value) = recorded(field.value, disclosure(policy, field.tag)) {
                    write_to(&mut line, format_args!("{}={value}|", field.tag.get()));
                }
            }
        }
    }
    let rest = bytes.len().saturating_sub(fields.consumed());
    if rest > 0 {
        write_to(&mut line, format_args!("<{rest} bytes more>"));
    }
    line
}

/// Bytes as one line with nothing hidden, `|` for each SOH: for who may see everything (`--reveal`).
#[must_use]
pub fn revealed(bytes: &[u8]) -> String {
    let shown = bytes.iter().map(|byte| match *byte {
        wire::SOH => String::from("|"),
        byte => byte.escape_ascii().to_string(),
    });
    shown.collect()
}

fn write_to(line: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = fmt::Write::write_fmt(line, text);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    struct Policy(&'static [(u32, Disclosure)]);
    impl DisclosurePolicy for Policy {
        fn configured(&self, tag: Tag) -> Disclosure {
            self.0
                .iter()
                .find(|p| p.0 == tag.get())
                .map_or(Disclosure::Shown, |p| p.1)
        }
    }

    #[test]
    fn a_password_is_redacted_whatever_the_policy_says() {
        let shown = Policy(&[(554, Disclosure::Shown)]);
        assert_eq!(
            received(b"8=FIX.4.4\x01554=hunter2\x01", &shown),
            "8=FIX.4.4|554=[REDACTED]|"
        );
    }

    #[test]
    fn behind_a_data_field_without_its_length_nothing_is_shown() {
        let policy = Policy(&[]);
        let bytes = b"35=A\x0195=30\x0198=0\x0196=a\x011=secret\x0149=B\x01";
        assert_eq!(
            received(bytes, &policy),
            "35=A|95=30|98=0|96=[REDACTED]|<14 bytes more>"
        );
    }

    #[test]
    fn a_hidden_tag_leaves_no_trace() {
        let policy = Policy(&[(9001, Disclosure::Hidden)]);
        assert_eq!(
            received(b"49=A\x019001=X\x0156=B\x01", &policy),
            "49=A|56=B|"
        );
    }

    #[test]
    fn malformed_and_unfinished_fields_show_their_length_only() {
        let policy = Policy(&[]);
        assert_eq!(
            received(b"0554=hunter2\x01554=hunt", &policy),
            "<malformed, 12 bytes>|<8 bytes more>"
        );
    }

    #[test]
    fn a_value_that_swallowed_the_next_field_shows_its_length_only() {
        let policy = Policy(&[]);
        assert_eq!(
            received(b"108=30\x02554=hunter2\x01554=a=b\x0149=A\x01", &policy),
            "108=<14 bytes>|554=[REDACTED]|49=A|"
        );
    }

    #[test]
    fn a_name_that_tls_brought_is_cut_and_cannot_move_the_cursor() {
        assert_eq!(peer_text(b""), None);
        assert_eq!(
            peer_text(b"CN=A\x1b[2J,O=Foo\\, \"Inc\"").unwrap(),
            "CN=A\\x1b[2J,O=Foo\\, \"Inc\""
        );
        assert_eq!(
            peer_text(&[b'n'; 300]).unwrap(),
            alloc::format!("{}…(300 bytes)", "n".repeat(256))
        );
    }

    #[test]
    fn bytes_that_are_not_printable_are_escaped_and_long_values_cut() {
        let value = FieldValue::new(b"a\x00\xe9\n");
        assert_eq!(
            value.disclose(Disclosure::Shown).unwrap().to_string(),
            "a\\x00\\xe9\\n"
        );
        let long = [b'x'; 100];
        let shown = FieldValue::new(&long)
            .disclose(Disclosure::Shown)
            .unwrap()
            .to_string();
        assert_eq!(shown, alloc::format!("{}…(100 bytes)", "x".repeat(64)));
    }
}
