//! What is in force while conflicts stand, for any course of changes: the laws of `HoldConflicting`.
//!
//! `FIXGW_PROPTEST_CASES` sets how many courses are tried.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fixgw_core::conflict::{self, Conflicts};
use fixgw_core::decision::Severity;
use fixgw_core::rule::Rule;
use fixgw_core::table::Table;
use fixgw_operator::api::{FIXSessionSpec, MatchField, ServiceSpec, TargetSpec};
use fixgw_operator::message::Message;
use fixgw_operator::pipeline::accept::{Acceptance, accept};
use fixgw_operator::pipeline::hold::{ConflictPolicy, HOLD_ROUNDS_MAX};
use fixgw_operator::pipeline::set::Accepted;
use fixgw_operator::pipeline::validate::validate;
use fixgw_operator::world::{Located, ObjectName, Objects, RulesHalf};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use ConflictPolicy::{HoldConflicting, HoldTable};

type Specs = BTreeMap<ObjectName, FIXSessionSpec>;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const TAGS: [&str; 3] = ["SenderCompID49", "TargetCompID56", "TargetSubID57"];
const RANGES: [&str; 3] = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24"];
/// In force first, and then changed so often.
const SETS: usize = 5;

fn cases() -> u32 {
    let asked = std::env::var("FIXGW_PROPTEST_CASES").ok();
    asked.map_or(1_000, |text| text.parse().unwrap())
}

fn runner() -> TestRunner {
    TestRunner::new(Config {
        cases: cases(),
        ..Config::default()
    })
}

fn name(name: &str) -> ObjectName {
    ObjectName::new("t", name)
}

fn field(text: &str) -> MatchField {
    let is_pattern = text.ends_with('*');
    MatchField {
        value: (!is_pattern).then(|| text.to_owned()),
        pattern: is_pattern.then(|| text.to_owned()),
        redact: false,
        log: true,
    }
}

fn exact(fields: &[(&str, &str)]) -> FIXSessionSpec {
    let fields = fields.iter();
    spec(fields.map(|(key, text)| ((*key).to_owned(), field(text))))
}

fn spec(fields: impl IntoIterator<Item = (String, MatchField)>) -> FIXSessionSpec {
    FIXSessionSpec {
        match_fields: fields.into_iter().collect(),
        source_ranges: None,
        default: false,
        priority: None,
        target: TargetSpec {
            service: ServiceSpec {
                name: "engine".to_owned(),
                port: 1,
            },
        },
        max_held_connections: None,
        hold_timeout: None,
    }
}

/// Few tags and texts: routes that meet, and routes that decide where others meet.
fn any_spec() -> impl Strategy<Value = FIXSessionSpec> {
    let text = select(&["A", "B", "A*", "AB*", "*"][..]);
    let texts = prop_oneof![
        2 => proptest::collection::btree_map(select(&TAGS[..]), select(&["A", "B"][..]), 1..4),
        1 => proptest::collection::btree_map(select(&TAGS[..]), text, 0..4),
    ];
    let ranges = proptest::option::weighted(0.2, proptest::sample::subsequence(&RANGES[..], 1..3));
    (texts, ranges, 0..2_i32, 1..3_u16).prop_map(|(texts, ranges, priority, port)| {
        let is_exact = !texts.is_empty() && !texts.values().any(|text| text.ends_with('*'));
        let fields = texts
            .into_iter()
            .map(|(key, text)| (key.to_owned(), field(text)));
        let mut spec = spec(fields);
        spec.default = spec.match_fields.is_empty();
        spec.priority = (!is_exact).then_some(priority);
        spec.source_ranges = ranges.map(|ranges| ranges.into_iter().map(str::to_owned).collect());
        spec.target.service.port = port;
        spec
    })
}

/// Two routes that tie, one that decides between them, and three of any kind; or six of any kind.
fn first_set() -> impl Strategy<Value = Vec<Option<FIXSessionSpec>>> {
    let any = |count| proptest::collection::vec(proptest::option::weighted(0.7, any_spec()), count);
    let [first, second, third] = TAGS.map(|tag| (tag, "A"));
    let decided = [
        exact(&[first, second]),
        exact(&[second, third]),
        exact(&[first, second, third]),
    ];
    let decided = decided.map(Some).to_vec();
    prop_oneof![
        1 => any(NAMES.len()),
        1 => any(NAMES.len() - decided.len()).prop_map(move |more| [decided.clone(), more].concat()),
    ]
}

/// A set, and how it is changed time after time.
fn course() -> impl Strategy<Value = Vec<Specs>> {
    let changed = proptest::sample::subsequence((0..NAMES.len()).collect::<Vec<_>>(), 1..4);
    let other = proptest::collection::vec(proptest::option::weighted(0.6, any_spec()), NAMES.len());
    let steps = proptest::collection::vec((changed, other), SETS - 1);
    (first_set(), steps).prop_map(|(mut now, steps)| {
        let mut sets = vec![now.clone()];
        for (changed, other) in steps {
            for index in changed {
                now[index].clone_from(&other[index]);
            }
            sets.push(now.clone());
        }
        let set = |routes: Vec<Option<FIXSessionSpec>>| -> Specs {
            let named = NAMES.iter().zip(routes);
            named
                .filter_map(|(it, spec)| Some((name(it), spec?)))
                .collect()
        };
        sets.into_iter().map(set).collect()
    })
}

fn objects(specs: &Specs) -> Objects<FIXSessionSpec> {
    let located = |spec: &FIXSessionSpec| {
        Arc::new(Located {
            object: spec.clone(),
            origin: None,
            places: fixgw_operator::world::Places::default(),
            identity: None,
        })
    };
    let specs = specs.iter();
    specs
        .map(|(name, spec)| (name.clone(), located(spec)))
        .collect()
}

fn take(previous: Option<&Accepted>, specs: &Specs, policy: ConflictPolicy) -> Acceptance {
    let half = RulesHalf {
        sessions: objects(specs).into(),
        ..RulesHalf::default()
    };
    accept(previous, &half, validate(&half.sessions), policy)
}

fn specs(sessions: &Objects<FIXSessionSpec>) -> Specs {
    let sessions = sessions.iter();
    sessions
        .map(|(name, session)| (name.clone(), session.object.clone()))
        .collect()
}

fn rules(specs: &Specs) -> Vec<Rule> {
    let rules = validate(&objects(specs)).rules;
    assert_eq!(rules.len(), specs.len(), "all are well formed");
    rules.values().map(|valid| valid.rule.clone()).collect()
}

fn conflicts(specs: &Specs) -> Conflicts {
    conflict::conflicts(&rules(specs))
}

/// What was accepted after each set of a course, and what was said.
fn follow(course: &[Specs]) -> Vec<(Specs, Vec<Message>)> {
    let mut accepted: Option<Accepted> = None;
    let mut after = Vec::new();
    for specs_now in course {
        let taken = take(accepted.as_ref(), specs_now, HoldConflicting);
        accepted = taken.accepted.or(accepted);
        let sessions = accepted.as_ref().map(|it| specs(&it.sessions));
        after.push((sessions.unwrap_or_default(), taken.messages));
    }
    after
}

#[test]
fn only_what_a_conflict_needs_is_held() {
    let (conflicting, deciding, following) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |counter: &Cell<u32>, is: bool| counter.set(counter.get() + u32::from(is));
    let result = runner().run(&course(), |course| {
        let mut previous: Option<Accepted> = None;
        for written in &course {
            let taken = take(previous.as_ref(), written, HoldConflicting);
            let found = conflicts(written);
            let accepted = taken.accepted.unwrap();
            let now = specs(&accepted.sessions);
            let before = previous.as_ref().map(|it| specs(&it.sessions));
            let before = before.unwrap_or_default();

            prop_assert!(conflicts(&now).is_empty());
            let table = Table::compile(&rules(&now), 0).unwrap();
            prop_assert!(table.same_routes(&accepted.table));
            if found.is_empty() {
                prop_assert_eq!(&now, written);
                prop_assert!(taken.messages.is_empty() && !taken.carried);
            }

            let names: BTreeSet<&ObjectName> = written.keys().chain(before.keys()).collect();
            let in_conflict: BTreeSet<ObjectName> =
                found.routes.iter().map(ObjectName::from).collect();
            let said: Vec<String> = taken.messages.iter().map(ToString::to_string).collect();
            let said = said.join("\n");
            for name in names {
                let [form, wanted, last] = [&now, written, &before].map(|set| set.get(name));
                prop_assert!(form == wanted || form == last, "{}: neither", name);
                if in_conflict.contains(name) {
                    prop_assert_eq!(form, last, "{} is in a conflict", name);
                }
                if form != wanted {
                    let told = said.contains(&format!("FIXSession {name}"));
                    prop_assert!(told, "{} waits in silence: {}", name, said);
                }
            }
            let is_back =
                |name: &ObjectName| now.contains_key(name) && now.get(name) != written.get(name);
            prop_assert_eq!(taken.carried, now.keys().any(is_back));

            // A restart begins with what was accepted.
            let again = take(Some(&accepted), written, HoldConflicting);
            prop_assert_eq!(&specs(&again.accepted.unwrap().sessions), &now);
            let told = |messages: &[Message]| -> Vec<(Severity, String)> {
                let told = messages.iter();
                told.map(|it| (it.severity, format!("{:?} {}", it.object, it.what)))
                    .collect()
            };
            if previous.is_some() {
                prop_assert_eq!(told(&again.messages), told(&taken.messages));
                prop_assert_eq!(again.carried, taken.carried);
            }

            count(&conflicting, !found.is_empty());
            count(&deciding, said.contains("decides between"));
            count(&following, said.contains("because of another conflict"));
            previous = Some(accepted);
        }
        Ok(())
    });
    result.unwrap();
    let [conflicting, deciding, following] =
        [conflicting, deciding, following].map(Cell::into_inner);
    println!(
        "{conflicting} sets conflict, {deciding} keep who decided, {following} make another conflict"
    );
    // Courses without these would prove nothing.
    assert!(conflicting >= cases() && deciding >= cases() / 20 && following >= cases() / 50);
}

#[test]
fn a_conflict_holds_nothing_that_cannot_meet_it() {
    /// Every route of it asks for this account, and nobody of another group's.
    fn group(account: &str, specs: &Specs) -> Specs {
        let specs = specs.iter();
        specs
            .map(|(name, spec)| {
                let mut spec = spec.clone();
                spec.default = false;
                spec.match_fields
                    .insert("Account1".to_owned(), field(account));
                let patterns = spec.match_fields.values();
                let is_exact = patterns.into_iter().all(|field| field.pattern.is_none());
                spec.priority = (!is_exact).then(|| spec.priority.unwrap_or_default());
                (ObjectName::new(account, &name.name), spec)
            })
            .collect()
    }
    let result = runner().run(&(course(), course()), |(one, other)| {
        let one: Vec<Specs> = one.iter().map(|set| group("one", set)).collect();
        let other: Vec<Specs> = other.iter().map(|set| group("other", set)).collect();
        let both: Vec<Specs> = one
            .iter()
            .zip(&other)
            .map(|(one, other)| one.clone().into_iter().chain(other.clone()).collect())
            .collect();
        let alone = follow(&one).into_iter().zip(follow(&other));
        for ((together, _), ((one, _), (other, _))) in follow(&both).into_iter().zip(alone) {
            let apart: Specs = one.into_iter().chain(other).collect();
            prop_assert_eq!(together, apart);
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn where_nothing_was_accepted_both_policies_leave_out_what_conflicts() {
    let result = runner().run(&course(), |course| {
        let [first, second] = [HoldTable, HoldConflicting].map(|policy| {
            let taken = take(None, &course[0], policy);
            (specs(&taken.accepted.unwrap().sessions), taken.messages)
        });
        prop_assert_eq!(first, second);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn hold_table_changes_nothing_while_a_conflict_stands() {
    let result = runner().run(&course(), |course| {
        let mut previous = take(None, &course[0], HoldTable).accepted.unwrap();
        for written in &course[1..] {
            let taken = take(Some(&previous), written, HoldTable);
            prop_assert_eq!(taken.accepted.is_none(), !conflicts(written).is_empty());
            previous = taken.accepted.unwrap_or(previous);
        }
        Ok(())
    });
    result.unwrap();
}

/// Each route takes the value of the next one, and the last one keeps its own.
fn renamed_in_a_row(links: usize) -> (Specs, Specs) {
    let route = |index: usize, value: usize| {
        let value = format!("V{value}");
        (name(&format!("r{index}")), exact(&[(TAGS[0], &value)]))
    };
    let before = (0..=links).map(|index| route(index, index)).collect();
    let after = (0..=links).map(|index| route(index, links.min(index + 1)));
    (before, after.collect())
}

#[test]
fn a_row_of_renames_is_undone_link_by_link_and_beyond_the_bound_the_table_is_held() {
    for (links, is_held_whole) in [(HOLD_ROUNDS_MAX, false), (HOLD_ROUNDS_MAX + 1, true)] {
        let (before, mut after) = renamed_in_a_row(links);
        after.insert(
            name("other"),
            exact(&[(TAGS[1], "OTHER"), (TAGS[2], "DESK")]),
        );
        let previous = take(None, &before, HoldConflicting).accepted.unwrap();
        let taken = take(Some(&previous), &after, HoldConflicting);
        assert_eq!(taken.accepted.is_none(), is_held_whole, "{links} links");
        let told: Vec<String> = taken.messages.iter().map(ToString::to_string).collect();
        if let Some(accepted) = taken.accepted {
            let mut wanted = before;
            wanted.extend(after.remove_entry(&name("other")));
            assert_eq!(specs(&accepted.sessions), wanted);
            assert_eq!(told.len(), links);
        } else {
            assert_eq!(told.len(), 2, "{told:?}");
            assert!(told[0].contains("takes the same Logons"), "{}", told[0]);
            assert!(told[1].contains("depend on each other"), "{}", told[1]);
            for line in told {
                assert!(line.contains("the table in force stays as it is"), "{line}");
            }
        }
    }
}
