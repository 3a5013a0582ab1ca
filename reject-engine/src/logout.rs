//! Which bytes answer a Logon?
//!
//! Pure: a Logon, a text and a time in, one Logout out. The counterparty's identifiers are turned round so that its
//! engine takes the message for one of its session; nothing else of the Logon is sent back. Sources: FIX tag=value
//! encoding (order of 8, 9, 35 and 10; `BodyLength`; `CheckSum`), FIX session layer (standard header, Logout).
//!
//! `MsgSeqNum` (34) is always 1. The gateway has no session and so no number to go on from; 1 is what the first message
//! of a session carries, and a counterparty that resets its numbers at Logon (141=Y) expects just that. One that has
//! stored numbers finds it too low: `QuickFIX` engines do not check the number of a Logout, read the text and
//! disconnect. What that costs their stored numbers stands in `docs/reject-engine.md`.

use std::time::SystemTime;

use fixgw_core::wire::{Logon, SOH, Tag};

/// Bytes of a value that is sent back. Identifiers have up to 64 bytes in practice; a longer one is left out rather
/// than cut, because a part of it would name somebody else.
pub const ECHO_BYTES_MAX: usize = 128;
/// Bytes of a `BeginString`; the longest that exists is `FIXT.1.1`. What is longer has no engine behind it.
pub const BEGIN_STRING_BYTES_MAX: usize = 16;

/// `MsgSeqNum` of the Logout.
const SEQUENCE: &str = "1";

/// (tag in the Logon, tag in the Logout), in the order of the standard header.
const TURNED_BEFORE_SEQUENCE: [(u32, u32); 2] = [(56, 49), (49, 56)];
const TURNED_AFTER_SEQUENCE: [(u32, u32); 4] = [(57, 50), (143, 142), (50, 57), (142, 143)];

/// The Logout that answers `logon` with `text`, which must be printable ASCII ([`crate::Text`] sees to that). `None`
/// when its `BeginString` is none that an engine could have sent.
#[must_use]
pub fn logout(logon: &Logon<'_>, text: &str, now: SystemTime) -> Option<Vec<u8>> {
    let begin = logon.first(Tag::BEGIN_STRING)?.reveal();
    if begin.len() > BEGIN_STRING_BYTES_MAX {
        return None;
    }
    let mut body = Vec::new();
    field(&mut body, 35, b"5");
    for turn in TURNED_BEFORE_SEQUENCE {
        turned(&mut body, logon, turn);
    }
    field(&mut body, 34, SEQUENCE.as_bytes());
    for turn in TURNED_AFTER_SEQUENCE {
        turned(&mut body, logon, turn);
    }
    field(&mut body, 52, sending_time(begin, now).as_bytes());
    field(&mut body, 58, text.as_bytes());

    let mut message = Vec::with_capacity(body.len() + 48);
    field(&mut message, 8, begin);
    field(&mut message, 9, body.len().to_string().as_bytes());
    message.extend_from_slice(&body);
    let sum = message
        .iter()
        .fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
    field(&mut message, 10, format!("{sum:03}").as_bytes());
    Some(message)
}

fn field(message: &mut Vec<u8>, tag: u32, value: &[u8]) {
    message.extend_from_slice(tag.to_string().as_bytes());
    message.push(b'=');
    message.extend_from_slice(value);
    message.push(SOH);
}

/// What the Logon says under one tag, under the other. Left out when it is absent, empty or too long.
fn turned(message: &mut Vec<u8>, logon: &Logon<'_>, (from, to): (u32, u32)) {
    let value = Tag::new(from).and_then(|tag| logon.first(tag));
    if let Some(value) = value
        && (1..=ECHO_BYTES_MAX).contains(&value.len())
    {
        field(message, to, value.reveal());
    }
}

/// `SendingTime`: `UTCTimestamp` has milliseconds since FIX.4.2; engines of before refuse them.
fn sending_time(begin: &[u8], now: SystemTime) -> String {
    // A clock outside of jiff's years (-9999 to 9999) is broken; then any time will do.
    let now = jiff::Timestamp::try_from(now).unwrap_or_default();
    let format = if matches!(begin, b"FIX.4.0" | b"FIX.4.1") {
        "%Y%m%d-%H:%M:%S"
    } else {
        "%Y%m%d-%H:%M:%S.%3f"
    };
    now.strftime(format).to_string()
}
