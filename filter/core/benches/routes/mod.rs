//! Routes by their number, as the benchmarks need them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each benchmark uses a part of it, and fails by panicking"
)]

use fixgw_core::rule::{FieldSpec, RouteName, Rule, RuleSpec, Target};

pub(crate) fn rule(index: usize, fields: &[(&str, &str)], priority: Option<i32>) -> Rule {
    Rule::new(RuleSpec {
        name: RouteName {
            namespace: "bench".into(),
            name: format!("r{index:06}"),
        },
        match_fields: fields
            .iter()
            .map(|(key, text)| {
                let pattern = text.ends_with('*').then(|| (*text).to_string());
                let value = (!text.ends_with('*')).then(|| (*text).to_string());
                (
                    (*key).to_string(),
                    FieldSpec {
                        value,
                        pattern,
                        ..FieldSpec::default()
                    },
                )
            })
            .collect(),
        source_ranges: None,
        default: fields.is_empty(),
        priority,
        target: Target::service("bench", &format!("s{}", index % 500), 9876),
        hold: fixgw_core::rule::Hold::default(),
    })
    .unwrap()
}

pub(crate) type Make = fn(usize) -> Rule;

pub(crate) fn exact(index: usize) -> Rule {
    rule(
        index,
        &[
            ("SenderCompID49", &format!("BROKER_{index}")),
            ("TargetCompID56", "GATEWAY"),
        ],
        None,
    )
}

pub(crate) fn prefix(index: usize) -> Rule {
    // Prefixes of one length, as a scheme of names gives them.
    rule(
        index,
        &[("SenderCompID49", &format!("BR{index:06}*"))],
        Some(1),
    )
}

/// Ten sets of tags, exact and prefix.
pub(crate) fn mixed(index: usize) -> Rule {
    let sender = format!("BR{index:06}");
    let wild = format!("{sender}*");
    match index % 10 {
        0 => rule(index, &[("SenderCompID49", &sender)], None),
        1 => rule(
            index,
            &[("SenderCompID49", &sender), ("TargetCompID56", "GATEWAY")],
            None,
        ),
        2 => rule(
            index,
            &[("SenderCompID49", &sender), ("TargetSubID57", "DESK_7")],
            None,
        ),
        3 => rule(
            index,
            &[("SenderCompID49", &sender), ("BeginString8", "FIX.4.4")],
            None,
        ),
        4 => rule(
            index,
            &[("SenderCompID49", &sender), ("Algo20001", "VWAP")],
            None,
        ),
        5 => rule(
            index,
            &[
                ("SenderCompID49", &sender),
                ("Algo20001", "VWAP"),
                ("TargetSubID57", "DESK_7"),
            ],
            None,
        ),
        6 => rule(index, &[("SenderCompID49", &wild)], Some(1)),
        7 => rule(
            index,
            &[("SenderCompID49", &wild), ("TargetCompID56", "GATEWAY")],
            Some(2),
        ),
        8 => rule(
            index,
            &[("SenderCompID49", &wild), ("TargetSubID57", "*")],
            Some(3),
        ),
        _ => rule(
            index,
            &[("SenderCompID49", &wild), ("Algo20001", "VW*")],
            Some(4),
        ),
    }
}
