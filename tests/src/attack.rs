//! Which Logons try to reach one engine while another reader sees them meant for another, and who is there to be reached?
//!
//! The cases are lines of `testdata/attacks.jsonl`, and the synthetic ones of the corpus. All of them are played to the
//! same two routes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use fixgw_readings::{Condition, Outcome, Routed};
use serde_json::Value;

use crate::fixture::{Directory, Route};
use crate::peer::{Engine, Peer, Session};
use crate::process::text;
use crate::raw::RawClient;

const ATTACKS: &str = include_str!("../testdata/attacks.jsonl");
const CORPUS: &str = include_str!("../../filter/core/testdata/logons.jsonl");

/// Route (and engine) and the `SenderCompID` that leads there.
pub const ROUTES: [(&str, &str); 2] = [("broker", "BROKER_A"), ("victim", "VICTIM")];

/// The engines of [`ROUTES`].
pub const ENGINES: [&str; 2] = [ROUTES[0].0, ROUTES[1].0];

/// One message of the corpus.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its name.
    pub id: String,
    /// Whether it was taken from somewhere, and not made for a test.
    pub is_real: bool,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Whether it is a Logon.
    pub is_logon: bool,
    /// Whether its BodyLength and CheckSum are right.
    pub is_sound: bool,
    /// Its first `SenderCompID`.
    pub sender: Option<String>,
}

/// The corpus, in the order of the file.
#[must_use]
pub fn corpus() -> Vec<Sample> {
    let sample = |case: &Value| {
        let expect = &case["expect"];
        let id = text(case, "id").to_owned();
        Sample {
            is_real: !id.starts_with("syn-"),
            id,
            bytes: unhex(text(case, "raw_hex")),
            is_logon: text(expect, "verdict") == "logon",
            is_sound: expect["body_length_ok"] == true && expect["checksum_ok"] == true,
            sender: expect["fields"]["49"].as_str().map(str::to_owned),
        }
    };
    lines(CORPUS).iter().map(sample).collect()
}

/// One Logon, or what passes for one.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// What it tries.
    pub kind: String,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// What the gateway makes of it.
    pub expect: Expect,
}

/// What must become of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The engine of this name gets every byte.
    Engine(String),
    /// No engine gets any; the record says this reason.
    Refused(String),
}

/// Every case, in the order of the file. One of the corpus names it; the others have their bytes, as Latin-1 with `|`
/// for SOH.
#[must_use]
pub fn cases() -> Vec<Case> {
    let corpus: BTreeMap<String, Vec<u8>> = lines(CORPUS)
        .iter()
        .map(|case| (text(case, "id").to_owned(), unhex(text(case, "raw_hex"))))
        .collect();
    let cases: Vec<Case> = lines(ATTACKS)
        .iter()
        .map(|case| {
            let id = text(case, "id").to_owned();
            let bytes = match case.get("bytes") {
                Some(Value::String(bytes)) => latin1(bytes),
                _ => corpus[&id].clone(),
            };
            let expect = match text(case, "expect").split_once(':') {
                Some(("refused", reason)) => Expect::Refused(reason.to_owned()),
                _ => Expect::Engine(text(case, "expect").to_owned()),
            };
            let kind = text(case, "kind").to_owned();
            Case {
                id,
                kind,
                bytes,
                expect,
            }
        })
        .collect();
    let synthetic = corpus.keys().filter(|id| id.starts_with("syn-")).count();
    let taken = cases
        .iter()
        .filter(|case| corpus.contains_key(&case.id))
        .count();
    assert_eq!(taken, synthetic, "every synthetic case of the corpus");
    cases
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
        .collect()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|code| match code {
            '|' => 1,
            code => u8::try_from(u32::from(code)).expect("a byte"),
        })
        .collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).expect("a digit")).unwrap();
    hex.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// The two routes, for a gateway.
#[must_use]
pub fn directory() -> Directory {
    Directory::of(
        &ROUTES.map(|(name, sender)| Route::new(name, name).value("SenderCompID49", sender)),
    )
}

/// The two routes, for the readers that share no code with it.
#[must_use]
pub fn readers_routes() -> [fixgw_readings::Route; 2] {
    ROUTES.map(|(name, sender)| fixgw_readings::Route {
        name: name.to_owned(),
        fields: vec![(49, Condition::Value(sender.as_bytes().to_vec()))],
        priority: 0,
    })
}

/// Whether some reader sees a message meant for another engine of [`ROUTES`] than this one.
#[must_use]
pub fn a_reader_follows_another_than(engine: &str, bytes: &[u8]) -> bool {
    let Some(message) = fixgw_readings::first_message(bytes) else {
        return false;
    };
    let routes = readers_routes();
    let outcomes = fixgw_readings::outcomes(message);
    outcomes.iter().any(|(_, outcome)| match outcome {
        Outcome::Reads(fields) if fixgw_readings::value(fields, 35) == Some(b"A") => {
            matches!(fixgw_readings::decide(&routes, fields), Routed::To(route) if route != engine)
        }
        Outcome::Reads(_) | Outcome::Rejects | Outcome::Waits => false,
    })
}

/// A QuickFIX engine that would accept either counterparty.
#[must_use]
pub fn quickfix(name: &str, arrange: impl Fn(Session) -> Session) -> Engine {
    let sessions = ROUTES
        .map(|(_, sender)| arrange(Session::new("FIX.4.4", sender, "GATEWAY").reset_on_logon()));
    Peer::engine_for_strangers(name, &sessions)
}

/// Whom QuickFIX has logged on, from all that it answered; `None` when it refused the message.
#[must_use]
pub fn logged_on(answer: &[u8]) -> Option<String> {
    let answer = String::from_utf8_lossy(answer);
    let logon = answer
        .split("8=FIX")
        .find(|message| message.contains("\u{1}35=A\u{1}"))?;
    let (_, target) = logon.split_once("\u{1}56=")?;
    Some(target.split('\u{1}').next()?.to_owned())
}

/// Whom the QuickFIX engine at an address, or behind it, logs on at these bytes.
#[must_use]
pub fn logged_on_at(address: SocketAddr, bytes: &[u8]) -> Option<String> {
    logged_on(&answer_at(address, bytes))
}

/// All that comes back for these bytes, until the other side closes.
#[must_use]
pub fn answer_at(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut client = RawClient::connect(address);
    client.send_unless_closed(bytes);
    client.finish();
    client.take_to_end()
}
