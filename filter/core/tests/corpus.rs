//! Does the reader say of every case in `testdata/logons.jsonl` what the case expects, however its bytes are cut?

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use fixgw_core::wire::{self, Fields, Item, NotLogon, ReadLimits, Reading};
use serde_json::Value;

const CASES: &str = include_str!("../testdata/logons.jsonl");

struct Case {
    id: String,
    raw: Vec<u8>,
    expect: Value,
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> = CASES
        .lines()
        .map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            Case {
                id: case["id"].as_str().unwrap().to_owned(),
                raw: unhex(case["raw_hex"].as_str().unwrap()),
                expect: case["expect"].clone(),
            }
        })
        .collect();
    assert!(cases.len() >= 111, "the corpus has lost cases");
    cases
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    assert!(hex.len().is_multiple_of(2));
    hex.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// What may be said of bytes, without borrowing them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    verdict: &'static str,
    fields: Vec<(u32, Vec<u8>)>,
    malformed: usize,
    consumed: Option<usize>,
}

/// The reader's answer to everything that has arrived so far.
fn answer(bytes: &[u8]) -> Answer {
    let verdict = match wire::read(bytes, &ReadLimits::UNBOUNDED) {
        Reading::Logon(logon) => {
            assert!(bytes.starts_with(logon.message()));
            "logon"
        }
        Reading::Incomplete => "need_more",
        Reading::NotLogon(NotLogon::NotFix(_)) => {
            return Answer {
                verdict: "not_logon",
                fields: Vec::new(),
                malformed: 0,
                consumed: None,
            };
        }
        Reading::NotLogon(NotLogon::MsgType) => "not_logon",
        Reading::NotLogon(NotLogon::TooLarge | NotLogon::TooManyFields) => {
            panic!("a limit was met although there was none")
        }
    };
    let mut fields = Vec::new();
    let mut malformed = 0;
    let mut walk = Fields::new(bytes);
    for item in walk.by_ref() {
        match item {
            Item::Field(field) => fields.push((field.tag.get(), field.value.reveal().to_vec())),
            Item::Malformed(_) => malformed += 1,
        }
    }
    Answer {
        verdict,
        fields,
        malformed,
        consumed: walk.complete().then(|| walk.consumed()),
    }
}

/// What a connection makes of bytes that arrive in these pieces: it looks at all that has arrived after each piece,
/// and at nothing more once it has its answer.
fn arriving<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Answer {
    let mut buffer = Vec::new();
    let mut last = answer(&buffer);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        last = answer(&buffer);
        if last.verdict != "need_more" {
            break;
        }
    }
    last
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn first_values(fields: &[(u32, Vec<u8>)]) -> Value {
    let mut first = BTreeMap::new();
    for (tag, value) in fields {
        first
            .entry(tag.to_string())
            .or_insert_with(|| latin1(value));
    }
    serde_json::to_value(first).unwrap()
}

fn repeated_values(fields: &[(u32, Vec<u8>)]) -> Value {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tag, value) in fields {
        all.entry(tag.to_string()).or_default().push(latin1(value));
    }
    all.retain(|_, values| values.len() > 1);
    serde_json::to_value(all).unwrap()
}

#[test]
fn reads_every_case_as_expected() {
    for Case { id, raw, expect } in cases() {
        let got = answer(&raw);
        assert_eq!(expect["verdict"], got.verdict, "{id}: verdict");
        assert_eq!(expect["is_logon"], got.verdict == "logon", "{id}: is_logon");
        assert_eq!(expect["fields"], first_values(&got.fields), "{id}: fields");
        let none = Value::Object(serde_json::Map::new());
        let repeated = expect.get("repeated").unwrap_or(&none);
        assert_eq!(*repeated, repeated_values(&got.fields), "{id}: repeated");
        let malformed = expect
            .get("malformed_fields")
            .map_or(0, |v| v.as_u64().unwrap());
        assert_eq!(malformed, got.malformed as u64, "{id}: malformed_fields");
        let consumed = expect.get("consumed").map(|v| v.as_u64().unwrap());
        assert_eq!(consumed, got.consumed.map(|n| n as u64), "{id}: consumed");
        let trailer = (got.verdict != "need_more")
            .then(|| wire::trailer(&raw))
            .flatten();
        let trailer = got.consumed.and(trailer);
        let ok = |key: &str| expect.get(key).map(|v| v.as_bool().unwrap());
        assert_eq!(
            ok("body_length_ok"),
            trailer.map(|t| t.body_length_ok),
            "{id}: BodyLength"
        );
        assert_eq!(
            ok("checksum_ok"),
            trailer.map(|t| t.checksum_ok),
            "{id}: CheckSum"
        );
    }
}

#[test]
fn any_split_into_two_reads_gives_the_same_answer() {
    for Case { id, raw, .. } in cases() {
        let whole = settled(&raw);
        for at in 0..=raw.len() {
            let (one, two) = raw.split_at(at);
            assert_eq!(shown(arriving([one, two])), whole, "{id}: split at {at}");
        }
    }
}

#[test]
fn byte_by_byte_gives_the_same_answer() {
    for Case { id, raw, .. } in cases() {
        assert_eq!(shown(arriving(raw.chunks(1))), settled(&raw), "{id}");
    }
}

#[test]
fn an_answer_once_given_stays_with_more_bytes() {
    for Case { id, raw, .. } in cases() {
        let mut given: Option<Answer> = None;
        for end in 0..=raw.len() {
            let now = shown(answer(&raw[..end]));
            if let Some(given) = &given {
                assert_eq!(*given, now, "{id}: at {end} bytes");
            } else if now.verdict != "need_more" {
                given = Some(now);
            }
        }
    }
}

fn settled(raw: &[u8]) -> Answer {
    shown(answer(raw))
}

/// The fields of an unfinished message depend on how much has arrived, which is what "unfinished" means.
fn shown(mut answer: Answer) -> Answer {
    if answer.verdict == "need_more" {
        answer.fields.clear();
        answer.malformed = 0;
    }
    answer
}
