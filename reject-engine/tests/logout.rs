//! Is the Logout what the counterparty's engine expects? Golden files in `tests/golden`, one for each version
//! (`UPDATE=1` rewrites them), and laws over any Logon.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fixgw_core::decision::Reason;
use fixgw_core::wire::{self, BodyLength, Fields, Item, Logon, ReadLimits, Reading};
use fixgw_reject_engine::Text;
use fixgw_reject_engine::logout::{BEGIN_STRING_BYTES_MAX, ECHO_BYTES_MAX, logout};
use proptest::prelude::*;

/// 2026-08-01 09:30:00.123 UTC
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_785_576_600_123)
}

/// A Logon with these fields, right `BodyLength` and `CheckSum`.
fn logon(begin: &[u8], fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut body = b"35=A\x01".to_vec();
    for (tag, value) in fields {
        body.extend(format!("{tag}=").bytes());
        body.extend(*value);
        body.push(1);
    }
    let mut message = [b"8=", begin, format!("\x019={}\x01", body.len()).as_bytes()].concat();
    message.extend(body);
    let sum = message
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    message.extend(format!("10={sum:03}\x01").bytes());
    message
}

fn read(bytes: &[u8]) -> Logon<'_> {
    match wire::read(bytes, &ReadLimits::UNBOUNDED) {
        Reading::Logon(logon) => logon,
        Reading::Incomplete | Reading::NotLogon(_) => panic!("the test's Logon is none"),
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The case's file holds the Logon's Logout with `|` for SOH.
fn check(name: &str, reason: Option<Reason>, message: &[u8]) {
    let text = Text::default();
    let answer = logout(&read(message), text.for_reason(reason), now()).unwrap();
    let shown = String::from_utf8(answer).unwrap().replace('\u{1}', "|") + "\n";
    let file = golden().join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &shown).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        shown,
        expected,
        "{name}: UPDATE=1 rewrites {}",
        file.display()
    );
}

const USUAL: [(u32, &[u8]); 6] = [
    (49, b"BROKER"),
    (56, b"ENGINE"),
    (34, b"17"),
    (52, b"20260801-09:29:59.998"),
    (98, b"0"),
    (108, b"30"),
];

type Case = (&'static str, Option<Reason>, Vec<u8>);

fn cases() -> Vec<Case> {
    let with = |begin: &[u8], more: &[(u32, &[u8])]| logon(begin, &[&USUAL, more].concat());
    let turned: [(u32, &[u8]); 7] = [
        (50, b"DESK"),
        (142, b"LDN"),
        (57, b"MATCHER"),
        (143, b"NYC"),
        (115, b"CLIENT"),
        (553, b"user"),
        (554, b"hunter2"),
    ];
    vec![
        ("fix40", Some(Reason::NoMatch), with(b"FIX.4.0", &[])),
        ("fix41", Some(Reason::NoMatch), with(b"FIX.4.1", &[])),
        ("fix42", Some(Reason::NoMatch), with(b"FIX.4.2", &[])),
        (
            "fix44_everything_turned_round",
            Some(Reason::NoMatch),
            with(b"FIX.4.4", &turned),
        ),
        (
            "fix44_ambiguous",
            Some(Reason::AmbiguousField),
            with(b"FIX.4.4", &[(49, b"OTHER")]),
        ),
        ("fix44_reason_not_known", None, with(b"FIX.4.4", &[])),
        (
            "fixt11",
            Some(Reason::NoMatch),
            with(b"FIXT.1.1", &[(1137, b"9")]),
        ),
        (
            "without_identifiers",
            Some(Reason::NoMatch),
            logon(b"FIX.4.4", &[(49, b""), (108, b"30")]),
        ),
        (
            "identifiers_too_long_to_send_back",
            Some(Reason::NoMatch),
            logon(
                b"FIX.4.4",
                &[
                    (49, &[b'x'; ECHO_BYTES_MAX + 1]),
                    (56, &[b'y'; ECHO_BYTES_MAX]),
                ],
            ),
        ),
    ]
}

#[test]
fn each_version_has_its_logout() {
    for (name, reason, message) in cases() {
        check(name, reason, &message);
    }
}

#[test]
fn every_golden_file_has_a_case() {
    let names: BTreeSet<String> = cases()
        .iter()
        .map(|(name, ..)| format!("{name}.txt"))
        .collect();
    let files: BTreeSet<String> = std::fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, names);
}

#[test]
fn no_secret_of_the_logon_is_sent_back() {
    for (name, reason, message) in cases() {
        let answer = logout(&read(&message), Text::default().for_reason(reason), now()).unwrap();
        assert!(
            !answer.windows(7).any(|bytes| bytes == b"hunter2"),
            "{name}"
        );
    }
}

#[test]
fn a_begin_string_that_no_engine_sends_gets_no_answer() {
    let begin = [b"FIX".as_slice(), &[b'4'; BEGIN_STRING_BYTES_MAX]].concat();
    assert!(logout(&read(&logon(&begin, &USUAL)), "text", now()).is_none());
}

proptest! {
    #[test]
    fn any_logon_gets_a_well_formed_logout(
        begin in prop::sample::select(vec!["FIX.4.0", "FIX.4.1", "FIX.4.2", "FIX.4.3", "FIX.4.4", "FIX.5.0", "FIXT.1.1", "FIX"]),
        fields in prop::collection::vec(
            (
                prop_oneof![Just(49_u32), Just(56), Just(50), Just(57), Just(142), Just(143), Just(95), Just(96), 11_u32..2000],
                prop::collection::vec((0_u8..255).prop_map(|byte| if byte == 1 { 255 } else { byte }), 0..200),
            ),
            0..12,
        ),
        seconds in 0_u64..40_000_000_000,
        reason in prop::option::of(prop::sample::select(Reason::ALL.to_vec())),
    ) {
        let fields: Vec<(u32, &[u8])> = fields.iter().filter(|(tag, _)| *tag != 35).map(|(tag, value)| (*tag, value.as_slice())).collect();
        let message = logon(begin.as_bytes(), &fields);
        let Reading::Logon(logon) = wire::read(&message, &ReadLimits::UNBOUNDED) else {
            // A length that reaches beyond the message: more bytes would be awaited.
            return Ok(());
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let text = Text::default();
        let answer = logout(&logon, text.for_reason(reason), now).unwrap();

        let mut walk = Fields::new(&answer);
        let got: Vec<(u32, Vec<u8>)> = walk.by_ref().map(|item| match item {
            Item::Field(field) => (field.tag.get(), field.value.reveal().to_vec()),
            Item::Malformed(_) => panic!("malformed"),
        }).collect();
        prop_assert!(walk.complete() && walk.consumed() == answer.len());
        let trailer = wire::trailer(&answer).unwrap();
        prop_assert!(trailer.body_length_ok && trailer.checksum_ok);
        let tags: Vec<u32> = got.iter().map(|(tag, _)| *tag).collect();
        prop_assert_eq!(&tags[..3], &[8, 9, 35]);
        prop_assert_eq!(*tags.last().unwrap(), 10);
        prop_assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), tags.len(), "a tag twice");
        let value = |tag: u32| got.iter().find(|(found, _)| *found == tag).map(|(_, value)| value.clone());
        prop_assert_eq!(value(8).unwrap(), begin.as_bytes());
        prop_assert_eq!(value(35).unwrap(), b"5");
        prop_assert_eq!(value(34).unwrap(), b"1");
        prop_assert_eq!(value(58).unwrap(), text.for_reason(reason).as_bytes());
        for (from, to) in [(49, 56), (56, 49), (50, 57), (57, 50), (142, 143), (143, 142)] {
            let sent = logon.first(wire::Tag::new(from).unwrap()).map(|value| value.reveal().to_vec());
            let expected = sent.filter(|value| !value.is_empty() && value.len() <= ECHO_BYTES_MAX);
            prop_assert_eq!(value(to), expected, "{} from {}", to, from);
        }
        // As a Logon it would be an ordinary one.
        let as_logon = answer.windows(5).position(|bytes| bytes == b"35=5\x01").unwrap();
        let mut again = answer.clone();
        again[as_logon + 3] = b'A';
        prop_assert_eq!(read(&again).body_length(), BodyLength::Right);
    }
}
