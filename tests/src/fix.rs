//! FIX messages with the right BodyLength and CheckSum, and the fields of one that was received.

use std::fmt::Write as _;

/// The field separator.
pub const SOH: char = '\u{1}';

/// One message: `8`, `9` and `10` are made, `35` is `kind`, the fields follow in the order given.
#[must_use]
pub fn message(begin: &str, kind: &str, fields: &[(u32, &str)]) -> Vec<u8> {
    let mut body = format!("35={kind}{SOH}");
    for (tag, value) in fields {
        let _ = write!(body, "{tag}={value}{SOH}");
    }
    let mut message = format!("8={begin}{SOH}9={}{SOH}{body}", body.len());
    let sum: u32 = message.bytes().map(u32::from).sum();
    let _ = write!(message, "10={:03}{SOH}", sum % 256);
    message.into_bytes()
}

/// A Logon from `sender` to `target` with `more` fields after the usual ones.
#[must_use]
pub fn logon(begin: &str, sender: &str, target: &str, more: &[(u32, &str)]) -> Vec<u8> {
    let usual = [
        (49, sender),
        (56, target),
        (34, "1"),
        (52, "20260101-00:00:00"),
        (98, "0"),
        (108, "30"),
    ];
    message(begin, "A", &[&usual, more].concat())
}

/// A numbered order, as the QuickFIX peers send them.
#[must_use]
pub fn order(begin: &str, sender: &str, target: &str, sequence: u32, number: u32) -> Vec<u8> {
    let (sequence, number) = (sequence.to_string(), number.to_string());
    let fields = [
        (49, sender),
        (56, target),
        (34, &sequence),
        (52, "20260101-00:00:00"),
        (11, &number),
        (55, "EURUSD"),
        (54, "1"),
        (38, "100"),
        (40, "1"),
    ];
    message(begin, "D", &fields)
}

/// The fields of exactly one message, whose BodyLength and CheckSum must be right.
#[must_use]
pub fn read(bytes: &[u8]) -> Vec<(u32, String)> {
    let text = std::str::from_utf8(bytes).expect("a message of ours is ASCII");
    assert!(text.ends_with(SOH), "no SOH at the end of {text:?}");
    let fields: Vec<(u32, String)> = text
        .trim_end_matches(SOH)
        .split(SOH)
        .map(|field| {
            let (tag, value) = field
                .split_once('=')
                .unwrap_or_else(|| panic!("no `=` in {field:?} of {text:?}"));
            (
                tag.parse()
                    .unwrap_or_else(|_| panic!("no tag in {field:?}")),
                value.to_owned(),
            )
        })
        .collect();
    let rebuilt: Vec<(u32, &str)> = fields
        .iter()
        .filter(|(tag, _)| !matches!(tag, 8 | 9 | 35 | 10))
        .map(|(tag, value)| (*tag, value.as_str()))
        .collect();
    let (begin, kind) = (
        value(&fields, 8).unwrap_or_default(),
        value(&fields, 35).unwrap_or_default(),
    );
    assert_eq!(
        text.as_bytes(),
        message(begin, kind, &rebuilt),
        "9 or 10 is wrong, or the order of 8, 9, 35, 10 is"
    );
    fields
}

/// The value of the first field with this tag.
#[must_use]
pub fn value(fields: &[(u32, String)], tag: u32) -> Option<&str> {
    fields
        .iter()
        .find(|(found, _)| *found == tag)
        .map(|(_, value)| value.as_str())
}
