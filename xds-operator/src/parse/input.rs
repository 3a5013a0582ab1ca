//! Which bytes were meant? Undoes the forms in which bytes are pasted, and guesses the form.
//!
//! No message of this module holds any of the input: it may be a password.

use fixgw_core::wire::SOH;

use super::Format;

/// A guessed form, and why.
pub(super) struct Guess {
    pub(super) format: Format,
    pub(super) because: &'static str,
}

/// Why hexadecimal input has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HexError {
    #[error(
        "the input is no hexadecimal: byte {0} is neither a digit nor a separator; choose another --format"
    )]
    Digit(usize),
    #[error("the input has an odd number of hexadecimal digits: one is missing")]
    Odd,
}

const CARET: &[u8] = b"^A";

/// Guesses by what cannot be otherwise: an SOH is on no keyboard, and hexadecimal has no `=`.
pub(super) fn guess(given: &[u8]) -> Guess {
    let has = |part: &[u8]| given.windows(part.len()).any(|window| window == part);
    let (format, because) = if given.contains(&SOH) {
        (Format::Raw, "it holds SOH")
    } else if looks_hex(given) {
        (Format::Hex, "it holds nothing but hexadecimal digits")
    } else if has(CARET) && !is_mostly_pipes(given) {
        (Format::Caret, "it holds `^A` and no SOH")
    } else if given.contains(&b'|') {
        (Format::Pipe, "it holds `|` and no SOH")
    } else {
        (Format::Raw, "it holds no separator that is known")
    };
    Guess { format, because }
}

/// A value may hold the other separator.
fn is_mostly_pipes(given: &[u8]) -> bool {
    let carets = given.windows(CARET.len()).filter(|window| *window == CARET);
    let pipes = given.iter().filter(|byte| **byte == b'|');
    pipes.count() > carets.count()
}

fn looks_hex(given: &[u8]) -> bool {
    let digits = given.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    digits >= 4
        && digits.is_multiple_of(2)
        && given
            .iter()
            .all(|&byte| byte.is_ascii_hexdigit() || is_hex_separator(byte))
}

const fn is_hex_separator(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b':'
}

/// The bytes, and what a person should know about how they came about.
pub(super) fn decode(
    format: Format,
    given: Vec<u8>,
) -> Result<(Vec<u8>, Option<&'static str>), HexError> {
    match format {
        Format::Auto | Format::Raw => Ok((given, None)),
        Format::Hex => Ok((unhex_pasted(&given)?, None)),
        Format::Pipe => Ok(pasted(&given, b"|")),
        Format::Caret => Ok(pasted(&given, CARET)),
    }
}

fn unhex_pasted(given: &[u8]) -> Result<Vec<u8>, HexError> {
    let mut digits = Vec::with_capacity(given.len());
    for (at, &byte) in given.iter().enumerate() {
        match digit(byte) {
            Some(digit) => digits.push(digit),
            None if is_hex_separator(byte) => {}
            None => return Err(HexError::Digit(at)),
        }
    }
    pairs(&digits)
}

/// Digits and nothing else.
pub(super) fn unhex(given: &str) -> Result<Vec<u8>, HexError> {
    let digits: Result<Vec<u8>, HexError> = given
        .bytes()
        .enumerate()
        .map(|(at, byte)| digit(byte).ok_or(HexError::Digit(at)))
        .collect();
    pairs(&digits?)
}

fn pairs(digits: &[u8]) -> Result<Vec<u8>, HexError> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
    } else {
        Err(HexError::Odd)
    }
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Text with a separator for SOH. What a terminal or an editor adds around it, blanks and line breaks, is taken off.
fn pasted(given: &[u8], separator: &[u8]) -> (Vec<u8>, Option<&'static str>) {
    let mut rest = given.trim_ascii();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some(first) = rest.first() {
        if let Some(after) = rest.strip_prefix(separator) {
            bytes.push(SOH);
            rest = after;
        } else {
            bytes.push(*first);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    if ends_with_bare_check_sum(&bytes) {
        bytes.push(SOH);
        return (
            bytes,
            Some("the separator behind CheckSum (10) was missing and is taken as read"),
        );
    }
    (bytes, None)
}

/// A message copied without its last separator: `…|10=123`.
fn ends_with_bare_check_sum(bytes: &[u8]) -> bool {
    bytes
        .rsplit(|&byte| byte == SOH)
        .next()
        .and_then(|last| last.strip_prefix(b"10="))
        .is_some_and(|sum| sum.len() == 3 && sum.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn guesses_the_form() {
        let check = |given: &[u8], format| {
            assert_eq!(guess(given).format, format, "{}", given.escape_ascii());
        };
        check(b"8=FIX.4.4\x019=5\x0158=a|b^A\x01", Format::Raw);
        check(b"8=FIX.4.4|9=5|58=a^B|", Format::Pipe);
        check(b"8=FIX.4.4^A9=5^A58=a|b^A", Format::Caret);
        check(b"383d 4649\n58:2E\n", Format::Hex);
        check(b"383d4", Format::Raw);
        check(b"GET / HTTP/1.1\r\n", Format::Raw);
        check(b"", Format::Raw);
    }

    #[test]
    fn undoes_each_form() {
        let check = |format, given: &[u8], expected: &[u8]| {
            assert_eq!(decode(format, given.to_vec()).unwrap().0, expected);
        };
        check(Format::Raw, b" a|b\n", b" a|b\n");
        check(Format::Hex, b"38 3D:01\nfF\n", b"8=\x01\xFF");
        check(Format::Pipe, b"  8=F|9=^A|\r\n", b"8=F\x019=^A\x01");
        check(Format::Caret, b"8=F^A9=|^^A\n", b"8=F\x019=|^\x01");
    }

    #[test]
    fn a_missing_last_separator_is_added_behind_a_check_sum_only() {
        assert_eq!(
            pasted(b"8=F|10=123\n", b"|"),
            (
                b"8=F\x0110=123\x01".to_vec(),
                Some("the separator behind CheckSum (10) was missing and is taken as read")
            )
        );
        assert_eq!(
            pasted(b"8=F|110=123", b"|"),
            (b"8=F\x01110=123".to_vec(), None)
        );
        assert_eq!(pasted(b"8=F|10=12", b"|"), (b"8=F\x0110=12".to_vec(), None));
    }

    #[test]
    fn what_is_no_hexadecimal_is_named_by_its_place_only() {
        assert_eq!(unhex("383"), Err(HexError::Odd));
        assert_eq!(unhex("38 3d"), Err(HexError::Digit(2)));
        let said = decode(Format::Hex, b"38hunter2".to_vec())
            .unwrap_err()
            .to_string();
        assert!(
            said.contains("byte 2") && !said.contains("hunter"),
            "{said}"
        );
    }
}
