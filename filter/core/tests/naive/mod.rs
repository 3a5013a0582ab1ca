//! The naive evaluator that the table and the detector of conflicts are held to. It shares no code with them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test uses a part of it, and fails by panicking"
)]

pub(crate) mod universe;

use fixgw_core::rule::{FieldSpec, RouteName, Rule, RuleSpec, Target};
use proptest::prelude::*;
use std::net::IpAddr;

/// A route as the naive evaluator knows it: `(tag, text)`, where text is a value, `*` or `PREFIX*`, and ranges.
#[derive(Clone, Debug)]
pub(crate) struct Naive {
    pub(crate) fields: Vec<(u32, String)>,
    pub(crate) ranges: Vec<String>,
    /// Without fields: by ranges alone, or by default.
    pub(crate) default: bool,
    pub(crate) priority: i32,
}

/// An address as its family and its bits, one digit each.
pub(crate) fn bits(address: &str) -> String {
    match address.parse::<IpAddr>().unwrap() {
        IpAddr::V4(address) => format!("4{:032b}", u32::from(address)),
        IpAddr::V6(address) => format!("6{:0128b}", u128::from(address)),
    }
}

/// Length of a range that holds an address.
pub(crate) fn length_around(range: &str, address: &str) -> Option<i16> {
    let (network, length) = range.split_once('/').unwrap();
    let length: usize = length.parse().unwrap();
    let network: String = bits(network).chars().take(1 + length).collect();
    let inside = bits(address).starts_with(&network);
    inside.then(|| i16::try_from(length).unwrap())
}

impl Naive {
    pub(crate) fn is_pattern(&self) -> bool {
        self.fields.iter().any(|(_, text)| text.ends_with('*'))
    }

    pub(crate) fn is_default(&self) -> bool {
        self.fields.is_empty() && (self.default || self.ranges.is_empty())
    }

    pub(crate) fn rank(&self, source: &str) -> (u8, i32, i16) {
        let around = self
            .ranges
            .iter()
            .filter_map(|range| length_around(range, source));
        let longest = around.max().unwrap_or(-1);
        match (self.fields.is_empty(), self.is_pattern()) {
            (true, _) if self.is_default() => (0, self.priority, longest),
            (true, _) | (false, true) => (1, self.priority, longest),
            (false, false) => (2, i32::try_from(self.fields.len()).unwrap(), longest),
        }
    }

    pub(crate) fn matches(&self, logon: &[(u32, String)], source: &str) -> bool {
        self.is_for(source) && self.fields_match(logon)
    }

    pub(crate) fn is_for(&self, source: &str) -> bool {
        let from_there = |range: &String| length_around(range, source).is_some();
        self.ranges.is_empty() || self.ranges.iter().any(from_there)
    }

    pub(crate) fn fields_match(&self, logon: &[(u32, String)]) -> bool {
        self.fields.iter().all(|(tag, text)| {
            let Some((_, value)) = logon.iter().find(|(have, _)| have == tag) else {
                return false;
            };
            match text.strip_suffix('*') {
                Some(prefix) => !value.is_empty() && value.starts_with(prefix),
                None => value == text,
            }
        })
    }

    pub(crate) fn rule(&self, index: usize) -> Rule {
        self.rule_to(index, &format!("s{index}"))
    }

    /// The same, to this Service.
    pub(crate) fn rule_to(&self, index: usize, service: &str) -> Rule {
        let exact = !self.fields.is_empty() && !self.is_pattern();
        Rule::new(RuleSpec {
            name: RouteName {
                namespace: "t".into(),
                name: format!("r{index}"),
            },
            match_fields: self
                .fields
                .iter()
                .map(|(tag, text)| {
                    let pattern = text.ends_with('*').then(|| text.clone());
                    let value = (!text.ends_with('*')).then(|| text.clone());
                    (
                        format!("Tag{tag}"),
                        FieldSpec {
                            value,
                            pattern,
                            ..FieldSpec::default()
                        },
                    )
                })
                .collect(),
            source_ranges: (!self.ranges.is_empty()).then(|| self.ranges.clone()),
            default: self.is_default(),
            priority: (!exact).then_some(self.priority),
            target: Target::service("t", service, 1),
            hold: fixgw_core::rule::Hold::default(),
        })
        .unwrap()
    }
}

pub(crate) fn naive(routes: &[Naive], logon: &[(u32, String)], source: &str) -> Vec<usize> {
    let matching: Vec<usize> = (0..routes.len())
        .filter(|&index| routes[index].matches(logon, source))
        .collect();
    let rank = |index: usize| routes[index].rank(source);
    let best = matching.iter().map(|&index| rank(index)).max();
    matching
        .into_iter()
        .filter(|&index| Some(rank(index)) == best)
        .collect()
}

pub(crate) fn message(logon: &[(u32, String)]) -> Vec<u8> {
    use std::fmt::Write;
    let mut body = String::from("35=A\u{1}");
    for (tag, value) in logon {
        let _ = write!(body, "{tag}={value}\u{1}");
    }
    format!("8=FIX.4.4\u{1}9={}\u{1}{body}10=000\u{1}", body.len()).into_bytes()
}

pub(crate) const TAGS: [u32; 4] = [49, 56, 57, 20001];

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[AB]{1,3}", "[AB]{1,2}\\*", Just("*".to_string())]
}

/// Nested, apart, of both families, and the halves of one.
pub(crate) const RANGES: [&str; 9] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/9",
    "10.128.0.0/9",
    "10.1.0.0/16",
    "10.1.2.3/32",
    "::/0",
    "2001:db8::/32",
    "2001:db8::1/128",
];

/// In each of the ranges, and in as few others as can be.
pub(crate) const SOURCES: [&str; 8] = [
    "192.0.2.1",
    "10.200.0.1",
    "10.2.0.1",
    "10.1.0.1",
    "10.1.2.3",
    "2001:db9::1",
    "2001:db8::2",
    "2001:db8::1",
];

pub(crate) fn route() -> impl Strategy<Value = Naive> {
    let fields = proptest::collection::btree_map(proptest::sample::select(&TAGS[..]), text(), 0..4);
    let ranges = prop_oneof![
        Just(Vec::new()),
        proptest::sample::subsequence(&RANGES[..], 1..4),
    ];
    let route = (fields, ranges, any::<bool>(), -2..3_i32);
    route.prop_map(|(fields, ranges, default, priority)| Naive {
        fields: fields.into_iter().collect(),
        ranges: ranges.into_iter().map(str::to_string).collect(),
        default,
        priority,
    })
}
