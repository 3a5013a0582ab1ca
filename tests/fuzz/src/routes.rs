//! Which routes do the targets look Logons up in?

use std::net::IpAddr;
use std::sync::LazyLock;

use fixgw_core::config::Settings;
use fixgw_core::range::SourceAddress;
use fixgw_core::readiness::Readiness;
use fixgw_core::rule::{FieldSpec, Hold, RouteName, Rule, RuleSpec, Target};
use fixgw_core::table::Table;

/// Name; tag and text (`*` at its end makes a pattern; before it, `?` redacts and `!` hides); ranges; priority.
type Line = (
    &'static str,
    &'static [(u32, &'static str)],
    &'static [&'static str],
    Option<i32>,
);

/// Every kind of route there is, by values that stand in the corpus.
const LINES: &[Line] = &[
    ("broker", &[(49, "BROKER_A")], &[], None),
    ("victim", &[(49, "VICTIM")], &[], None),
    ("algo", &[(49, "BROKER_A"), (20_001, "VWAP")], &[], None),
    (
        "venue",
        &[(49, "BROKER_A"), (56, "GATEWAY"), (57, "?DESK")],
        &[],
        None,
    ),
    (
        "london",
        &[(49, "BROKER_A")],
        &["10.0.0.0/8", "2001:db8::/32"],
        None,
    ),
    ("prefix", &[(49, "V*")], &[], Some(5)),
    ("old", &[(8, "FIX.4.2*"), (49, "*")], &[], Some(6)),
    ("user", &[(553, "?*")], &[], Some(4)),
    ("hidden", &[(1, "!ACCOUNT*")], &[], Some(3)),
    ("office", &[], &["192.0.2.0/24"], Some(2)),
    ("else", &[], &[], Some(1)),
];

fn rule((name, fields, ranges, priority): &Line) -> Rule {
    let field = |(tag, text): &(u32, &str)| {
        let plain = text.trim_start_matches(['?', '!']);
        let pattern = plain.ends_with('*');
        let spec = FieldSpec {
            value: (!pattern).then(|| plain.to_owned()),
            pattern: pattern.then(|| plain.to_owned()),
            redact: text.starts_with('?'),
            hidden: text.starts_with('!'),
        };
        (format!("Tag{tag}"), spec)
    };
    Rule::new(RuleSpec {
        name: RouteName {
            namespace: "t".to_owned(),
            name: (*name).to_owned(),
        },
        match_fields: fields.iter().map(field).collect(),
        source_ranges: (!ranges.is_empty())
            .then(|| ranges.iter().map(ToString::to_string).collect()),
        default: fields.is_empty() && ranges.is_empty(),
        priority: *priority,
        target: Target::service("t", name, 9876),
        hold: Hold::default(),
    })
    .unwrap()
}

/// What a worker holds.
pub(crate) struct Gateway {
    pub(crate) table: Table,
    pub(crate) readiness: Readiness,
    pub(crate) settings: Settings,
}

/// One that takes every Logon, and one that takes few and has a reject engine and tight bounds.
pub(crate) static GATEWAYS: LazyLock<[Gateway; 2]> = LazyLock::new(|| {
    let rules: Vec<Rule> = LINES.iter().map(rule).collect();
    let down = Target::service("t", "victim", 9876);
    let readiness = || Readiness::load(&Readiness::encode(1, [&down])).unwrap();
    [
        Gateway {
            table: Table::compile(&rules, 7).unwrap(),
            readiness: readiness(),
            settings: Settings {
                redact_tags: vec![58],
                ..Settings::default()
            },
        },
        Gateway {
            table: Table::compile(&rules[..2], 8).unwrap(),
            readiness: readiness(),
            settings: Settings {
                reject_cluster: Some("reject".to_owned()),
                logon_bytes_max: 160,
                logon_fields_max: 12,
                ..Settings::default()
            },
        },
    ]
});

/// Nowhere, in ranges of the routes, and outside.
pub(crate) fn sources() -> impl Iterator<Item = Option<SourceAddress>> {
    let addresses = ["10.1.2.3", "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1"];
    let address = |text: &str| SourceAddress::from(text.parse::<IpAddr>().unwrap());
    [None].into_iter().chain(addresses.map(address).map(Some))
}
