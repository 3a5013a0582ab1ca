//! Which FIX messages go over the wire, and what do they say of themselves?

use fixgw_e2e::fix;

use super::ENGINES;

const BEGIN: &str = "FIX.4.4";
/// How the CompIDs of the counterparties begin; a number follows, which says by its remainder which engine is theirs.
pub const SENDER: &str = "BROKER";
/// Another beginning, for counterparties that no rule knows at first.
pub const NEWCOMER: &str = "NEW";

/// The Logon of a counterparty by this CompID.
pub(super) fn logon(sender: &str) -> Vec<u8> {
    fix::logon(BEGIN, sender, "VENUE", &[])
}

/// What an engine answers to any Logon.
pub(super) fn answer() -> Vec<u8> {
    fix::logon(BEGIN, "VENUE", "BROKER", &[])
}

/// A message of exactly so many bytes.
#[must_use]
pub fn message(bytes: usize) -> Vec<u8> {
    let of = |pad: usize| {
        let text = "x".repeat(pad);
        let fields = [
            (49, "BROKER"),
            (56, "VENUE"),
            (34, "2"),
            (52, "20260101-00:00:00"),
            (11, "1"),
            (55, "EURUSD"),
            (54, "1"),
            (38, "100"),
            (40, "1"),
            (58, &text),
        ];
        fix::message(BEGIN, "D", &fields)
    };
    let found = (1..bytes).map(of).find(|message| message.len() >= bytes);
    let found = found.expect("a message has more bytes than its text");
    assert_eq!(found.len(), bytes, "a message of this size can be made");
    found
}

/// How long the first message is, once its end is there.
pub(super) fn whole_message(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|window| window == b"\x0110=")?;
    let whole = at + b"\x0110=000\x01".len();
    (bytes.len() >= whole).then_some(whole)
}

/// The engine that a Logon of ours is meant for.
pub(super) fn number_of(logon: &[u8]) -> Option<usize> {
    let at = logon.windows(4).position(|window| window == b"\x0149=")?;
    let value = logon.get(at + 4..)?.split(|byte| *byte == 1).next()?;
    let digits = value.iter().filter(|byte| byte.is_ascii_digit());
    let number = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    Some(number % ENGINES)
}
