//! A file of the directory: read, judged, compiled.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use fixgw_core::agreement;
use fixgw_core::conflict;
use fixgw_core::range::SourceAddress;
use fixgw_core::rule::{Condition, Rank, Rule};
use fixgw_core::table::{CompileError, Lookup, Table};
use fixgw_core::wire::{self, ReadLimits, Reading};
use fixgw_operator::check;
use fixgw_operator::message::{Message, Standing};
use fixgw_operator::pipeline::hold::ConflictPolicy;
use fixgw_operator::pipeline::{accept, validate};
use fixgw_operator::said::Said;
use fixgw_operator::source::directory;
use fixgw_operator::source::{node, yaml};
use fixgw_operator::world::World;

/// Larger ones cost time and show nothing new.
const BYTES_MAX: usize = 8_192;
/// Of as many routes, each is compared with each.
const COMPARED_MAX: usize = 12;

/// A file of anything. It is given as it was read: disks are slow.
pub fn yaml(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    if let Ok(text) = std::str::from_utf8(bytes) {
        no_document_is_lost(text);
    }
    let read = || {
        let content = directory::read_text(bytes, &"rules/a.yaml".into()).unwrap();
        directory::gather(&[Arc::new(content)], Vec::new(), Vec::new(), None, "rules")
    };
    let world = read();
    assert_eq!(read(), world);
    is_judged(&world);
}

fn is_judged(world: &World) {
    for message in check::check(world, "rules").messages {
        is_presentable(&message);
    }
    let validated = validate::validate(&world.rules.sessions);
    let rules: Vec<Rule> = validated
        .rules
        .values()
        .map(|valid| valid.rule.clone())
        .collect();
    for policy in [ConflictPolicy::HoldTable, ConflictPolicy::HoldConflicting] {
        let accept = |previous| accept::accept(previous, &world.rules, validated.clone(), policy);
        let first = accept(None);
        let again = accept(first.accepted.as_ref());
        if let (Some(first), Some(again)) = (&first.accepted, &again.accepted) {
            assert_eq!(first.table.image(), again.table.image());
        }
        for message in Standing::default().change(again.messages) {
            is_presentable(&message);
        }
    }
    are_compiled(&rules);
}

fn no_document_is_lost(text: &str) {
    let file: Arc<str> = "rules.yaml".into();
    let content = yaml::read(&file, text);
    match node::documents(text) {
        Err(_) => assert!(!content.faults.is_empty()),
        Ok(documents) => {
            let spoken = documents.iter().filter(|document| {
                let list = document.get("kind").and_then(node::Node::text) == Some("List");
                !list && !matches!(document.value, node::Value::Null)
            });
            assert!(spoken.count() <= content.objects.len() + content.faults.len());
        }
    }
}

/// One line, whatever the file holds; and JSON that can be read.
fn is_presentable(message: &Message) {
    let line = message.to_string();
    assert!(!line.contains(char::is_control), "{line:?}");
    let json = Said::from(message.clone()).json(jiff::Timestamp::UNIX_EPOCH, true);
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
}

/// What the detector of conflicts and the table say of these rules, against each rule by itself.
fn are_compiled(rules: &[Rule]) {
    let conflicts = conflict::conflicts(rules);
    for conflict in conflicts.shown.iter().take(COMPARED_MAX) {
        let logon = conflict.witness.logon();
        let best = best(rules, &logon, conflict.witness.source());
        for name in [&conflict.first, &conflict.second] {
            assert!(
                best.iter().any(|rule| rule.name() == name),
                "{conflict:?}: {name} is not best"
            );
        }
    }
    let table = match Table::compile(rules, 1) {
        Ok(table) => table,
        Err(CompileError::Conflicts(found)) => {
            assert_eq!(*found, conflicts);
            return;
        }
        Err(CompileError::Bound(..)) => return,
    };
    assert!(conflicts.is_empty());
    let mut backwards = rules.to_vec();
    backwards.reverse();
    let other = Table::compile(&backwards, 1).unwrap();
    assert_eq!(table.image(), other.image());
    let few = &rules[..rules.len().min(COMPARED_MAX)];
    for (place, one) in few.iter().enumerate() {
        for other in &few[place..] {
            let logon = meeting(one, other);
            for source in addresses(one).chain(addresses(other)) {
                is_looked_up(&table, rules, &logon, source);
            }
        }
    }
}

fn is_looked_up(table: &Table, rules: &[Rule], logon: &[u8], source: Option<IpAddr>) {
    let Reading::Logon(read) = wire::read(logon, &ReadLimits::UNBOUNDED) else {
        // Values may end it early.
        return;
    };
    let slots = agreement::strict_slots(table, &read, source.map(SourceAddress::from));
    let found = match table.lookup(&slots) {
        Lookup::None => None,
        Lookup::Route(route) => table.route_name(route),
        Lookup::Ambiguous(..) => panic!("two are best for {}", logon.escape_ascii()),
    };
    let best = best(rules, logon, source);
    assert!(best.len() < 2, "two are best for {}", logon.escape_ascii());
    let best = best.first().map(|rule| rule.name());
    assert_eq!(
        found,
        best.map(|name| (name.namespace.as_str(), name.name.as_str())),
        "{}",
        logon.escape_ascii()
    );
}

/// A Logon that both routes take, if there is one.
fn meeting(one: &Rule, other: &Rule) -> Vec<u8> {
    let mut values: Vec<(u32, Vec<u8>)> = Vec::new();
    for field in one.fields().iter().chain(other.fields()) {
        let value = match &field.condition {
            Condition::Value(value) | Condition::Prefix(value) => value.to_vec(),
            Condition::Present => b"~".to_vec(),
        };
        let tag = field.tag.get();
        match values.iter_mut().find(|(known, _)| *known == tag) {
            None => values.push((tag, value)),
            Some((_, known)) => {
                // The longer one is what both ask for, if anything is.
                if known.len().cmp(&value.len()) == Ordering::Less || known.as_slice() == b"~" {
                    *known = value;
                }
            }
        }
    }
    values.sort_by_key(|(tag, _)| *tag);
    if !values.iter().any(|(tag, _)| *tag == 8) {
        values.insert(0, (8, b"FIX.4.4".to_vec()));
    }
    let begin = values.iter().position(|(tag, _)| *tag == 8).unwrap();
    let begin = values.remove(begin);
    let mut message = Vec::new();
    let mut write = |tag: u32, value: &[u8]| {
        message.extend(format!("{tag}=").into_bytes());
        message.extend(value);
        message.push(wire::SOH);
    };
    write(begin.0, &begin.1);
    write(35, b"A");
    for (tag, value) in values {
        write(tag, &value);
    }
    write(10, b"000");
    message
}

/// Nowhere, and the first address of each range.
fn addresses(rule: &Rule) -> impl Iterator<Item = Option<IpAddr>> {
    let first = |range: &fixgw_core::range::SourceRange| {
        let text = range.to_string();
        text.split_once('/').unwrap().0.parse().unwrap()
    };
    let ranges = rule.source_ranges().iter().take(COMPARED_MAX);
    [None].into_iter().chain(ranges.map(first).map(Some))
}

/// The best routes for a Logon, by looking at each.
fn best<'r>(rules: &'r [Rule], logon: &[u8], source: Option<IpAddr>) -> Vec<&'r Rule> {
    let source = source.map(SourceAddress::from);
    let rank = |rule: &Rule| -> Option<(Rank, Option<u8>)> {
        let fields_hold = rule.fields().iter().all(|field| {
            wire::first(logon, field.tag).is_some_and(|value| field.condition.holds(value.reveal()))
        });
        let around = rule
            .source_ranges()
            .iter()
            .filter(|range| source.is_some_and(|source| range.holds(source)))
            .map(|range| range.form().length())
            .max();
        (fields_hold && (rule.source_ranges().is_empty() || around.is_some()))
            .then(|| (rule.rank(), around))
    };
    let highest = rules.iter().filter_map(rank).max();
    rules
        .iter()
        .filter(|rule| rank(rule).is_some() && rank(rule) == highest)
        .collect()
}
