//! What does the Logout say? One text for each reason, so that a Logon that matches nothing reads differently from one
//! that is ambiguous.

use fixgw_core::decision::Reason;

/// Bytes of the configured text. Counterparties' logs and screens cut longer ones.
pub const TEXT_BYTES_MAX: usize = 256;

/// The text where nothing matches, unless configured.
pub const TEXT_DEFAULT: &str = "No matching session configuration";

/// A text that may stand in `Text` (58): printable ASCII, at least one byte, at most [`TEXT_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

/// Why a text cannot stand in `Text` (58).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing in it.
    #[error("the text is empty; leave the option out for the default text")]
    Empty,
    /// Too long.
    #[error("the text has {0} bytes; at most {TEXT_BYTES_MAX} are sent")]
    TooLong(usize),
    /// A byte that FIX engines may not read as text.
    #[error("the text may hold printable ASCII only: no line break, no SOH, no accented letter")]
    NotPrintable,
}

impl Text {
    /// Checks a text.
    ///
    /// # Errors
    /// When it cannot stand in a FIX field.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(TextError::TooLong(text.len()));
        }
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(TextError::NotPrintable);
        }
        Ok(Self(text.to_owned()))
    }

    /// What is sent for a reason: this text where nothing matched, else the fixed one of the reason. `None` is a
    /// reason that the gateway did not give, or that this version does not know.
    #[must_use]
    pub fn for_reason(&self, reason: Option<Reason>) -> &str {
        match reason {
            Some(Reason::NoMatch) => &self.0,
            Some(Reason::AmbiguousField) => {
                "Logon is ambiguous: FIX engines could read its fields differently"
            }
            Some(Reason::AmbiguousRoute) => {
                "Logon is ambiguous: more than one session configuration matches it"
            }
            Some(Reason::LogonTooLarge) => "Logon is too large",
            Some(Reason::TooManyFields) => "Logon has too many fields",
            Some(Reason::LogonTimeout | Reason::IncompleteLogon) => "Logon did not arrive in time",
            Some(
                Reason::NoReadyEndpoint
                | Reason::HoldTimeout
                | Reason::HoldLimit
                | Reason::LeftWhileHeld
                | Reason::TargetUnreachable
                | Reason::LeftWhileConnecting,
            ) => "No engine is ready for this session",
            Some(Reason::NoTable | Reason::InternalError) => "Gateway cannot route a Logon now",
            Some(Reason::NotFix | Reason::NotLogon) => "First message is not a Logon",
            // Who fails the handshake, or is refused for his PROXY header, never gets here.
            Some(Reason::Matched | Reason::TlsHandshakeFailed | Reason::UntrustedProxy) | None => {
                "Logon refused by the gateway"
            }
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self(TEXT_DEFAULT.to_owned())
    }
}

impl std::str::FromStr for Text {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::new(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_would_break_a_field_is_a_text() {
        assert_eq!(Text::new(""), Err(TextError::Empty));
        assert_eq!(Text::new("a\u{1}10=000"), Err(TextError::NotPrintable));
        assert_eq!(Text::new("a\nb"), Err(TextError::NotPrintable));
        assert_eq!(Text::new("caf\u{e9}"), Err(TextError::NotPrintable));
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert_eq!(
            Text::new(&long),
            Err(TextError::TooLong(TEXT_BYTES_MAX + 1))
        );
        assert!(Text::new(&"x".repeat(TEXT_BYTES_MAX)).is_ok());
    }

    #[test]
    fn every_reason_has_a_text_and_only_no_match_has_the_configured_one() {
        let text = Text::new("configured").unwrap();
        for reason in Reason::ALL {
            let said = text.for_reason(Some(reason));
            assert_eq!(
                said == "configured",
                reason == Reason::NoMatch,
                "{reason:?}"
            );
            assert!(Text::new(said).is_ok(), "{reason:?}");
        }
        assert_eq!(text.for_reason(None), "Logon refused by the gateway");
    }

    #[test]
    fn ambiguous_and_unmatched_read_differently() {
        let text = Text::default();
        assert_eq!(
            text.for_reason(Some(Reason::NoMatch)),
            "No matching session configuration"
        );
        assert!(
            text.for_reason(Some(Reason::AmbiguousField))
                .starts_with("Logon is ambiguous: ")
        );
    }
}
