//! Which number does a reader see in a text?

use crate::Numbers;

const TWO_TO_32: u128 = 1 << 32;
const TWO_TO_64: u128 = 1 << 64;
/// Nine digits: neither a tag nor a data field's length has more.
const NINE_DIGITS: u128 = 999_999_999;

/// A tag, if it is one to this reader.
pub(crate) fn tag(text: &[u8], numbers: Numbers) -> Option<u32> {
    let number = match numbers {
        Numbers::Strict if text.first() == Some(&b'0') => None,
        Numbers::Strict => digits(text),
        Numbers::Lenient => digits(signed(text).1),
        Numbers::Modulo32 => modulo(text, TWO_TO_32),
        Numbers::Modulo64 => modulo(text, TWO_TO_64),
        Numbers::Atoi => Some(u128::from(atoi(text)?)),
        Numbers::Unchecked => Some(u128::from(unchecked(text))),
        Numbers::Underscored => underscored(text),
    }?;
    let small = (1..=NINE_DIGITS).contains(&number);
    small.then(|| u32::try_from(number).ok())?
}

/// The length of a data field. A negative one is none to anybody.
pub(crate) fn data_length(text: &[u8], numbers: Numbers) -> Option<u128> {
    if signed(text).0 {
        return None;
    }
    let bounded = |number: u128| (number <= NINE_DIGITS).then_some(number);
    match numbers {
        Numbers::Strict => digits(text).and_then(bounded),
        Numbers::Lenient => digits(signed(text).1).and_then(bounded),
        Numbers::Modulo32 => modulo(text, TWO_TO_32),
        Numbers::Modulo64 => modulo(text, TWO_TO_64),
        Numbers::Atoi => atoi(text).map(u128::from),
        Numbers::Unchecked => Some(u128::from(unchecked(text))),
        Numbers::Underscored => underscored(text),
    }
}

/// `BodyLength`: where it is negative or does not begin with a digit, it is none to anybody.
pub(crate) fn body_length(text: &[u8], numbers: Numbers) -> Option<u128> {
    let (negative, rest) = signed(text);
    if negative {
        return None;
    }
    match numbers {
        Numbers::Strict => digits(text),
        Numbers::Lenient => digits(rest),
        Numbers::Modulo32 => modulo(text, TWO_TO_32),
        Numbers::Modulo64 => modulo(text, TWO_TO_64),
        Numbers::Atoi | Numbers::Unchecked => {
            rest.first().filter(|byte| byte.is_ascii_digit())?;
            atoi(text).map(u128::from)
        }
        Numbers::Underscored => {
            rest.first().filter(|byte| byte.is_ascii_digit())?;
            underscored(text)
        }
    }
}

/// Without the blanks (C's `isspace`) at both ends.
pub(crate) fn trimmed(text: &[u8]) -> &[u8] {
    without(text, |byte| {
        matches!(*byte, b' ' | b'\t' | b'\n' | 0x0B | 0x0C | b'\r')
    })
}

/// Without all bytes up to the blank at both ends.
pub(crate) fn trimmed_widely(text: &[u8]) -> &[u8] {
    without(text, |byte| *byte <= 0x20)
}

fn without(text: &[u8], blank: impl Fn(&u8) -> bool) -> &[u8] {
    let Some(first) = text.iter().position(|byte| !blank(byte)) else {
        return &[];
    };
    let last = text.iter().rposition(|byte| !blank(byte)).unwrap_or(first);
    &text[first..=last]
}

/// Whether there is a minus, and what follows the sign.
fn signed(text: &[u8]) -> (bool, &[u8]) {
    let text = trimmed(text);
    match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    }
}

/// Digits only, at least one; what is beyond every bound is as good as the largest number.
fn digits(text: &[u8]) -> Option<u128> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0_u128, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u128::from(digit - b'0'))
    }))
}

fn modulo(text: &[u8], modulus: u128) -> Option<u128> {
    let (negative, rest) = signed(text);
    if rest.is_empty() || !rest.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = rest.iter().fold(0_u128, |number, digit| {
        (number * 10 + u128::from(digit - b'0')) % modulus
    });
    Some(if negative {
        (modulus - number) % modulus
    } else {
        number
    })
}

/// As Python's `int` reads it (PEP 515): digits, between any two of them at most one `_`. Negative ones are none.
fn underscored(text: &[u8]) -> Option<u128> {
    let (negative, rest) = signed(text);
    let parts: Vec<&[u8]> = rest.split(|byte| *byte == b'_').collect();
    if negative || parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    digits(&parts.concat())
}

/// What glibc's `atoi` gives: `strtol`, which stops at the ends of 64 bits, cut to 32 bits. Negative numbers are none.
fn atoi(text: &[u8]) -> Option<u32> {
    let (negative, rest) = signed(text);
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = i128::try_from(digits(&rest[..count])?).unwrap_or(i128::MAX);
    let number = if negative { -number } else { number };
    let long = number.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
    let low = long.rem_euclid(1 << 32);
    u32::try_from(low).ok().filter(|low| *low < 1 << 31)
}

/// `n = n * 10 + (byte - '0')` in 32 bits, whatever the byte.
fn unchecked(text: &[u8]) -> u32 {
    let number = text.iter().fold(0_i128, |number, byte| {
        (number * 10 + i128::from(*byte) - i128::from(b'0')).rem_euclid(1 << 32)
    });
    u32::try_from(number).unwrap_or_default()
}
