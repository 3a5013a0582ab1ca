//! A Logon that engines might read differently: what is decided holds in every reading, or the connection is refused.

use std::sync::LazyLock;

use fixgw_core::agreement::{self, Verdict};
use fixgw_core::rule::{FieldSpec, Hold, RouteName, Rule, RuleSpec, Target};
use fixgw_core::table::Table;
use fixgw_core::wire::{self, ReadLimits, Reading};
use fixgw_readings::{Agreed, Condition, Route, Routed};

/// Each message is read in nearly two thousand ways.
const BYTES_MAX: usize = 300;

/// Sets of routes: name; tag and text; priority.
type Line = (&'static str, &'static [(u32, &'static str)], i32);
const SETS: [&[Line]; 2] = [
    &[
        ("broker", &[(49, "BROKER_A")], 0),
        ("victim", &[(49, "VICTIM")], 0),
        ("algo", &[(49, "BROKER_A"), (20_001, "VWAP")], 0),
    ],
    &[
        ("victim", &[(49, "V*")], 5),
        ("text", &[(58, "*")], 2),
        ("old", &[(8, "FIX.4.2"), (49, "*")], 6),
        ("else", &[], 1),
    ],
];

static TABLES: LazyLock<[(Vec<Route>, Table); 2]> =
    LazyLock::new(|| SETS.map(|lines| (routes(lines), table(lines))));

fn routes(lines: &[Line]) -> Vec<Route> {
    let condition = |text: &str| match text.strip_suffix('*') {
        None => Condition::Value(text.as_bytes().to_vec()),
        Some("") => Condition::Present,
        Some(prefix) => Condition::Prefix(prefix.as_bytes().to_vec()),
    };
    let route = |(name, fields, priority): &Line| Route {
        name: (*name).to_owned(),
        fields: fields
            .iter()
            .map(|(tag, text)| (*tag, condition(text)))
            .collect(),
        priority: *priority,
    };
    lines.iter().map(route).collect()
}

fn table(lines: &[Line]) -> Table {
    let rule = |(name, fields, priority): &Line| {
        let pattern = |text: &str| text.ends_with('*');
        let field = |(tag, text): &(u32, &str)| {
            let spec = FieldSpec {
                value: (!pattern(text)).then(|| (*text).to_owned()),
                pattern: pattern(text).then(|| (*text).to_owned()),
                ..FieldSpec::default()
            };
            (format!("Tag{tag}"), spec)
        };
        let exact = !fields.is_empty() && !fields.iter().any(|(_, text)| pattern(text));
        Rule::new(RuleSpec {
            name: RouteName {
                namespace: "t".to_owned(),
                name: (*name).to_owned(),
            },
            match_fields: fields.iter().map(field).collect(),
            source_ranges: None,
            default: fields.is_empty(),
            priority: (!exact).then_some(*priority),
            target: Target::service("t", name, 9876),
            hold: Hold::default(),
        })
        .unwrap()
    };
    let rules: Vec<Rule> = lines.iter().map(rule).collect();
    Table::compile(&rules, 1).unwrap()
}

/// What a stranger sends, and what every kind of engine would make of it.
pub fn readings(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let Reading::Logon(logon) = wire::read(bytes, &ReadLimits::default()) else {
        return;
    };
    assert_eq!(fixgw_readings::first_message(bytes), Some(logon.message()));
    for (routes, table) in &*TABLES {
        let decided = match agreement::evaluate(table, &logon, None) {
            Verdict::NoMatch => Routed::None,
            Verdict::Route(route, _) => Routed::To(table.route_name(route).unwrap().1.to_owned()),
            Verdict::AmbiguousRoute => Routed::Ambiguous,
            // Refused: no engine gets it.
            Verdict::AmbiguousField(_) => continue,
        };
        assert_eq!(
            fixgw_readings::agreed(bytes, routes),
            Agreed::On(decided),
            "{}",
            logon.message().escape_ascii()
        );
    }
}
