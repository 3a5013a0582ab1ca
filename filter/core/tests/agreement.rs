//! Is the decision the same in whatever way an engine reads the message, or the connection refused?
//!
//! Random messages, made of pieces that engines read differently, and random small tables. The other readings come from
//! `fixgw-readings`, which shares no code with the core.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use fixgw_core::agreement::{self, Verdict};
use fixgw_core::rule::{FieldSpec, RouteName, Rule, RuleSpec, Target};
use fixgw_core::table::Table;
use fixgw_core::wire::{self, Logon, ReadLimits, Reading};
use fixgw_readings::{Agreed, Condition, Outcome, Route, Routed};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Messages that a run looks at. Each is read in nearly two thousand ways.
const CASES: u32 = 2_000;

/// A message as it is put together; [`Draft::bytes`] makes its `BodyLength`.
#[derive(Clone, Debug)]
struct Draft {
    /// Bytes that stand between 9 and 10, SOH as `|`.
    body: Vec<u8>,
    body_length: BodyLength,
    /// What follows the message's own tag 10.
    behind: Vec<u8>,
}

#[derive(Clone, Debug)]
enum BodyLength {
    Right,
    /// The right one, and so many bytes more or less.
    Off(i64),
    /// To the `10=` of this number.
    ToCheckSum(usize),
    /// The right one, in other words: `{}` stands for it.
    Said(&'static str),
    /// Something else.
    Text(&'static str),
    Absent,
}

impl Draft {
    fn bytes(&self) -> Vec<u8> {
        let soh = |bytes: &[u8]| -> Vec<u8> {
            bytes
                .iter()
                .map(|byte| if *byte == b'|' { wire::SOH } else { *byte })
                .collect()
        };
        let body = soh(&self.body);
        let ends: Vec<usize> = (0..=body.len())
            .filter(|at| (*at == 0 || body[at - 1] == wire::SOH) && body[*at..].starts_with(b"10="))
            .chain([body.len()])
            .collect();
        let right = body.len();
        let wrapped = |wrap: u128| (wrap + right as u128).to_string();
        let head = match &self.body_length {
            BodyLength::Right => format!("9={right}|"),
            BodyLength::Off(by) => format!("9={}|", i64::try_from(right).unwrap() + by),
            BodyLength::ToCheckSum(number) => format!("9={}|", ends[number % ends.len()]),
            BodyLength::Said(said) => {
                let said = said
                    .replace("{}", &right.to_string())
                    .replace("{32}", &wrapped(1 << 32))
                    .replace("{64}", &wrapped(1 << 64));
                format!("{said}|")
            }
            BodyLength::Text(text) => format!("9={text}|"),
            BodyLength::Absent => String::new(),
        };
        let mut message = soh(format!("8=FIX.4.4|{head}").as_bytes());
        message.extend_from_slice(&body);
        message.extend(soh(b"10=000|"));
        message.extend(soh(&self.behind));
        message
    }
}

fn select(from: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(from).prop_map(|text| text.as_bytes().to_vec())
}

/// What a tag is written as; most often properly.
fn tag() -> impl Strategy<Value = Vec<u8>> {
    let number = prop::sample::select(&[8_u32, 9, 10, 35, 49, 49, 49, 56, 20001, 95, 96, 58][..]);
    let writing = prop_oneof![
        12 => Just("{}"),
        6 => prop::sample::select(&[
            "0{}", "000{}", "+{}", "-{}", " {}", "{} ", "\t{}", "{}x", "{}\0", "{}\0x", "x{}", "{}.0", "+0{}", "0_{}",
            "0000000000000000000000{}", "{}:", "\u{b}+{}",
        ][..]),
        3 => prop::sample::select(&["{32}", "-{32}", "{64}", "-{64}", "{96}", "{32}x", "0{32}", "{63}"][..]),
        1 => Just("{/}"),
    ];
    (number, writing).prop_map(|(number, writing)| {
        let number = u128::from(number);
        let minus = writing.starts_with('-');
        // `-2^32+49` is 49 modulo 2^32.
        let around = |modulus: u128| {
            let wrapped = if minus {
                modulus - number
            } else {
                modulus + number
            };
            wrapped.to_string()
        };
        // The last digit one less, and a byte beyond 9 that makes up for it: `5/` is 49 to who checks no digits.
        let unchecked = match u8::try_from(number % 10).unwrap() {
            low @ 5..=9 => format!("{}{}", number / 10 + 1, char::from(b'0' + low - 10)),
            low => format!("{}{}", number / 10, char::from(b'0' + low)),
        };
        writing
            .replace("{}", &number.to_string())
            .replace("{32}", &around(1 << 32))
            .replace("{63}", &around(1 << 63))
            .replace("{64}", &around(1 << 64))
            .replace("{96}", &around(1 << 96))
            .replace("{/}", &unchecked)
            .into_bytes()
    })
}

fn routed_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => select(&["BROKER", "VICTIM"]),
        1 => select(&[
            "", "VWAP", "BROKER_A", "VICTIM\0x", "\0VICTIM", "VICTIM=x", "VICTIM\x1F", "VICTIM \0x", "BROKER\0", "VICTIM ", " BROKER", "\tVICTIM", "A", "D",
            "V=1", "VICTIM\u{ff}", "VICTIM|", "victim",
        ]),
    ]
}

/// A length field, a data field, and what may stand between.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let pair = prop::sample::select(
        &[
            ("95", "96"),
            ("95", "96"),
            ("354", "355"),
            ("354", "96"),
            ("1401", "1402"),
            ("93", "89"),
            ("90", "91"),
            ("1525", "1527"),
            ("1526", "1527"),
            ("2372", "2371"),
            ("2370", "2371"),
            ("88", "89"),
            ("095", "96"),
            ("95x", "96"),
            ("95", "096"),
            ("4294967391", "96"),
        ][..],
    );
    let inside = prop_oneof![
        2 => select(&["x", "abc", "a=b", "x\0y"]),
        3 => (select(&["", "x|", "|", "x|y="]), routed_value(), select(&["", "|", "|y", "|z=1"]))
            .prop_map(|(before, value, after)| [&before[..], b"49=", &value, &after].concat()),
        1 => select(&["x|10=1|", "x|35=D|", "x|95=3|", "|20001=VWAP|", "x|9=5|", "8=FIX.4.2|"]),
    ];
    let length = prop_oneof![
        4 => Just("{}"),
        2 => prop::sample::select(&["{-}", "{+}", "0", "1", "2", "13", "40"][..]),
        2 => prop::sample::select(&[
            "+{}", "-{}", " {}", "0{}", "{}x", "{}\0", "{32}", "{64}", "", "x", "-1", "99999999", "99999999999999999999",
            "1:",
        ][..]),
    ];
    let between = prop_oneof![
        4 => Just(""),
        1 => prop::sample::select(&["98=0|", "95=1|", "95=20|", "x|", "354=6|355=x|95=1|", "354=4|355=95=1|"][..]),
    ];
    let order = prop_oneof![5 => Just(0), 1 => Just(1), 1 => Just(2)];
    (pair, inside, length, between, order).prop_map(
        |((length_tag, data_tag), inside, length, between, order)| {
            let right = inside.len() as u128;
            let length = length
                .replace("{}", &right.to_string())
                .replace("{-}", &right.saturating_sub(3).to_string())
                .replace("{+}", &(right + 9).to_string())
                .replace("{32}", &((1 << 32) + right).to_string())
                .replace("{64}", &((1 << 64) + right).to_string());
            let length = format!("{length_tag}={length}|");
            let value = [format!("{data_tag}=").as_bytes(), &inside, b"|"].concat();
            match order {
                0 => [length.as_bytes(), between.as_bytes(), &value].concat(),
                // The length is late.
                1 => [&value, length.as_bytes()].concat(),
                // There is none.
                _ => value,
            }
        },
    )
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let field =
        (tag(), routed_value()).prop_map(|(tag, value)| [&tag[..], b"=", &value, b"|"].concat());
    prop_oneof![
        4 => select(&["34=1|", "56=GATEWAY|", "108=30|", "98=0|", "141=Y|", "20001=VWAP|", "553=u|"]),
        3 => field,
        4 => data(),
        1 => select(&["x|", "|", "=|", "=x|", "49|", "58=|", "10|", "35=D|", "35=A|", "10=5|", "8=FIX.4.2|", "9=5|", "35=A\0|"]),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let body_length = prop_oneof![
        10 => Just(BodyLength::Right),
        2 => (0_usize..4).prop_map(BodyLength::ToCheckSum),
        1 => (-20_i64..20).prop_map(BodyLength::Off),
        1 => prop::sample::select(&[
            "9=+{}", "9= {}", "9=0{}", "9={}x", "9={32}", "9={64}", "09={}", "9={}|9=5", "9=x|9={}", "9 ={}",
        ][..])
            .prop_map(BodyLength::Said),
        1 => prop::sample::select(&["", "-5", "x", "99999999999999999999999"][..]).prop_map(BodyLength::Text),
        1 => Just(BodyLength::Absent),
    ];
    let pieces = prop::collection::vec(piece(), 0..6);
    let first = (
        prop::bool::weighted(0.95),
        prop::bool::weighted(0.8),
        routed_value(),
    );
    let behind = prop_oneof![
        4 => Just(Vec::new()),
        1 => select(&["8=FIX.4.4|9=5|35=0|10=000|", "49=VICTIM|10=000|", "x"]),
    ];
    (first, pieces, body_length, behind).prop_map(
        |((logon, sender, name), pieces, body_length, behind)| {
            let mut body = Vec::new();
            if logon {
                body.extend_from_slice(b"35=A|");
            }
            let half = pieces.len() / 2;
            body.extend(pieces[..half].concat());
            if sender {
                body.extend([b"49=", &name[..], b"|"].concat());
            }
            body.extend(pieces[half..].concat());
            Draft {
                body,
                body_length,
                behind,
            }
        },
    )
}

/// Tables of up to five routes without conflicts.
fn routes() -> impl Strategy<Value = Vec<Route>> {
    type Line = (&'static str, &'static [(u32, &'static str)], i32);
    let all: &[Line] = &[
        ("broker", &[(49, "BROKER")], 0),
        ("victim", &[(49, "VICTIM")], 0),
        ("algo", &[(49, "BROKER"), (20001, "VWAP")], 0),
        ("v", &[(49, "V*")], 5),
        ("anyone", &[(49, "*")], 3),
        ("gateway", &[(49, "B*"), (56, "GATEWAY")], 4),
        ("text", &[(58, "*")], 2),
        ("begin", &[(8, "FIX.4.2"), (49, "*")], 6),
        ("else", &[], 1),
    ];
    prop::sample::subsequence(all.to_vec(), 1..6).prop_map(|chosen| {
        chosen
            .into_iter()
            .map(|(name, fields, priority)| Route {
                name: name.to_owned(),
                fields: fields
                    .iter()
                    .map(|(tag, text)| (*tag, condition(text)))
                    .collect(),
                priority,
            })
            .collect()
    })
}

fn condition(text: &str) -> Condition {
    match text.strip_suffix('*') {
        None => Condition::Value(text.as_bytes().to_vec()),
        Some("") => Condition::Present,
        Some(prefix) => Condition::Prefix(prefix.as_bytes().to_vec()),
    }
}

fn table(routes: &[Route]) -> Table {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let rules: Vec<Rule> = routes
        .iter()
        .map(|route| {
            let specs = route.fields.iter().map(|(tag, condition)| {
                let (value, pattern) = match condition {
                    Condition::Value(value) => (Some(text(value)), None),
                    Condition::Prefix(prefix) => (None, Some(text(prefix) + "*")),
                    Condition::Present => (None, Some("*".to_owned())),
                };
                let spec = FieldSpec {
                    value,
                    pattern,
                    ..FieldSpec::default()
                };
                (format!("Tag{tag}"), spec)
            });
            let exact = route
                .fields
                .iter()
                .all(|(_, condition)| matches!(condition, Condition::Value(_)));
            Rule::new(RuleSpec {
                name: RouteName {
                    namespace: "t".to_owned(),
                    name: route.name.clone(),
                },
                match_fields: specs.collect(),
                source_ranges: None,
                default: route.fields.is_empty(),
                priority: (!exact || route.fields.is_empty()).then_some(route.priority),
                target: Target::service("t", &route.name, 9876),
                hold: fixgw_core::rule::Hold::default(),
            })
            .unwrap()
        })
        .collect();
    Table::compile(&rules, 1).unwrap()
}

/// What the core says, in the words of the other side; `None`: refused as ambiguous.
fn decided(table: &Table, logon: &Logon<'_>) -> Option<Routed> {
    match agreement::evaluate(table, logon, None) {
        Verdict::NoMatch => Some(Routed::None),
        Verdict::Route(route, _) => Some(Routed::To(table.route_name(route).unwrap().1.to_owned())),
        Verdict::AmbiguousRoute => Some(Routed::Ambiguous),
        Verdict::AmbiguousField(_) => None,
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\x01", "|")
}

/// What a run has seen, so that a generator that makes nothing odd is noticed.
#[derive(Debug, Default)]
struct Seen {
    logons: u32,
    routed: u32,
    routed_with_an_oddity: u32,
    refused: u32,
    refused_for_a_reader: u32,
}

fn check(draft: &Draft, routes: &[Route], seen: &mut Seen) -> Result<(), TestCaseError> {
    let bytes = draft.bytes();
    let Reading::Logon(logon) = wire::read(&bytes, &ReadLimits::default()) else {
        return Ok(());
    };
    seen.logons += 1;
    prop_assert_eq!(
        fixgw_readings::first_message(&bytes).map(shown),
        Some(shown(logon.message()))
    );
    let agreed = fixgw_readings::agreed(&bytes, routes);
    let Some(decided) = decided(&table(routes), &logon) else {
        seen.refused += 1;
        seen.refused_for_a_reader += u32::from(matches!(agreed, Agreed::Not { .. }));
        return Ok(());
    };
    seen.routed += 1;
    seen.routed_with_an_oddity += u32::from(!logon.oddities().is_empty());
    prop_assert_eq!(
        &agreed,
        &Agreed::On(decided.clone()),
        "{}\nwith {:?}",
        shown(logon.message()),
        routes
    );
    Ok(())
}

/// Runs `check` on `CASES` cases, always the same ones, or with `PROPTEST_CASES` on so many new ones, and shrinks what
/// fails.
fn run() -> Seen {
    let hunt = std::env::var_os("PROPTEST_CASES").is_some();
    let mut config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let rng = if hunt {
        TestRng::from_seed(RngAlgorithm::ChaCha, &seed())
    } else {
        config.cases = CASES;
        TestRng::deterministic_rng(RngAlgorithm::ChaCha)
    };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let seen = std::cell::RefCell::new(Seen::default());
    let result = runner.run(&(draft(), routes()), |(draft, routes)| {
        check(&draft, &routes, &mut seen.borrow_mut())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    seen.into_inner()
}

fn seed() -> [u8; 32] {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&now.as_nanos().to_le_bytes());
    seed
}

#[test]
fn whatever_reading_an_engine_takes_the_route_is_the_decided_one_or_the_connection_was_refused() {
    let seen = run();
    println!("{seen:?}");
    assert!(
        seen.routed_with_an_oddity * 10 > seen.logons,
        "odd messages are routed, too: {seen:?}"
    );
    assert!(
        seen.refused_for_a_reader * 10 > seen.logons,
        "real differences are met: {seen:?}"
    );
    // Caution costs something, but not much: few are refused for whom no reader differs.
    assert!(
        (seen.refused - seen.refused_for_a_reader) * 10 < seen.refused,
        "refused without a reader that differs: {seen:?}"
    );
}

#[test]
fn readers_come_to_different_ends() {
    let message = b"8=FIX.4.4\x019=28\x0135=A\x0149=VICTIM\x01049=BROKER\x0110=000\x01";
    let found = fixgw_readings::outcomes(message);
    let senders: Vec<Option<&[u8]>> = found
        .iter()
        .filter_map(|(_, outcome)| match outcome {
            Outcome::Reads(fields) => Some(fixgw_readings::value(fields, 49)),
            Outcome::Rejects | Outcome::Waits => None,
        })
        .collect();
    assert!(senders.contains(&Some(b"VICTIM")), "{found:?}");
    assert!(senders.contains(&Some(b"BROKER")), "{found:?}");
}
