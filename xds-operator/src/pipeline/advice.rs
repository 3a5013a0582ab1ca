//! What is allowed, and hardly meant? Routes that can never be chosen, holds that outlast the Logon, and conditions that were
//! written in another sense; pure.
//!
//! Warnings only: nothing here keeps an object from taking effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use fixgw_core::decision::Severity;
use fixgw_core::rule::{Class, Condition, Rule};
use fixgw_core::shadow::{self, Shadowed};
use fixgw_core::wire::Tag;

use super::set::Valid;
use crate::api::{self, FIXSessionSpec};
use crate::message::{About, Message, count};
use crate::names;
use crate::world::{Kind, Located, ObjectName};

/// Seconds that engines take a Logon for, by its `SendingTime` (the FIX session layer leaves the figure to the engine; 120 is
/// what QuickFIX and its kin begin with).
const SENDING_TIME_S: u64 = 120;
/// Hold beyond which there is no time left for the way to the engine.
const HOLD_MS_MAX: u64 = 100_000;
/// Routes that are named beside a shadowed one.
const NAMED_MAX: usize = 3;

/// Advice on well-formed routes.
#[must_use]
pub fn advice(rules: &BTreeMap<ObjectName, Valid>) -> Vec<Message> {
    let all: Vec<Rule> = rules.values().map(|valid| valid.rule.clone()).collect();
    let shadows = shadow::shadows(&all);
    let shadowed = shadows.routes.iter().filter_map(|shadowed| {
        let name = ObjectName::from(&shadowed.route);
        Some(shadowed_message(&name, rules.get(&name)?, shadowed))
    });
    let remarks = |about: fn(&About) -> bool| {
        let all = rules.values().flat_map(|valid| valid.remarks.iter());
        all.filter(move |remark| about(&remark.about)).cloned()
    };
    let held = remarks(|about| *about == About::HoldTimeout);
    let slips = remarks(|about| *about != About::HoldTimeout);
    let undecided = shadows.undecided.then(undecided_message);
    shadowed.chain(held).chain(slips).chain(undecided).collect()
}

/// What is to be said of a route by itself, whatever the others are.
pub(super) fn remarks(
    name: &ObjectName,
    session: &Located<FIXSessionSpec>,
    rule: &Rule,
) -> Arc<[Message]> {
    let held = hold_message(name, session);
    held.into_iter().chain(slips(name, session, rule)).collect()
}

fn of(name: &ObjectName, session: &Located<FIXSessionSpec>, about: About, field: &str) -> Message {
    Message {
        severity: Severity::Warn,
        about,
        origin: session.origin_of(field),
        object: Some(format!("{} {name}", Kind::FIXSession.label())),
        field: Some(field.to_owned()),
        what: String::new(),
        meanwhile: String::new(),
        mend: String::new(),
        witness: None,
    }
}

fn shadowed_message(name: &ObjectName, valid: &Valid, shadowed: &Shadowed) -> Message {
    let (field, mend) = match (shadowed.rank.class, shadowed.by_range, shadowed.by_class) {
        (_, true, _) => (
            "spec.sourceRanges",
            "delete it, or narrow the ranges of the others",
        ),
        (Class::Exact, false, _) => ("spec.matchFields", "delete it, or give it one more field"),
        (Class::Wildcard, false, true) => (
            "spec.matchFields",
            "no `priority` helps, for a route of values only comes before every pattern: give it values only, too, or delete it",
        ),
        (Class::Default, false, true) => (
            "spec.default",
            "no `priority` helps, for every other route comes before a default one: narrow the others, or delete it",
        ),
        (Class::Wildcard | Class::Default, false, false) => {
            ("spec.priority", "give it a larger `priority`, or delete it")
        }
    };
    let one = shadowed.by.len() == 1;
    let what = format!(
        "can never be chosen, because {} {} every Logon before it",
        named(shadowed),
        if one { "takes" } else { "together take" },
    );
    Message {
        what,
        mend: mend.to_owned(),
        ..of(name, &valid.session, About::Shadowed, field)
    }
}

fn named(shadowed: &Shadowed) -> String {
    let label = Kind::FIXSession.label();
    let shown = shadowed.by.iter().take(NAMED_MAX);
    let mut names: Vec<String> = shown.map(|route| format!("{label} {route}")).collect();
    let more = shadowed.by.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        names.push(count(more as u64, "more route"));
    }
    match names.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        names => names.concat(),
    }
}

fn hold_message(name: &ObjectName, session: &Located<FIXSessionSpec>) -> Option<Message> {
    let written = session.object.hold_timeout.as_deref()?;
    let long = api::duration_ms(written).is_ok_and(|ms| ms > HOLD_MS_MAX);
    long.then(|| Message {
        what: format!(
            "lets a Logon wait for {written}, and most engines refuse one whose SendingTime is {SENDING_TIME_S} s old"
        ),
        mend: format!("write `{}s` or less", HOLD_MS_MAX / 1_000),
        ..of(name, session, About::HoldTimeout, "spec.holdTimeout")
    })
}

/// Conditions that somebody wrote in another sense than the gateway reads them in. No message holds the value.
fn slips(
    name: &ObjectName,
    session: &Located<FIXSessionSpec>,
    rule: &Rule,
) -> impl Iterator<Item = Message> {
    let fields = rule.fields().iter();
    fields.flat_map(move |field| {
        let (bytes, is_value) = match &field.condition {
            Condition::Value(bytes) => (&**bytes, true),
            Condition::Prefix(bytes) => (&**bytes, false),
            Condition::Present => (&[][..], false),
        };
        let (first, last) = (bytes.first(), bytes.last().filter(|_| is_value));
        let blank = [first, last].into_iter().flatten().any(|byte| *byte <= b' ');
        let star = is_value && bytes.contains(&b'*');
        let path = format!("spec.matchFields.{}", field.label);
        let told = [
            blank.then_some((
                "has a blank or control character at its end or beginning: some engines take it off, so that such a Logon is refused",
                "leave it out",
            )),
            star.then_some((
                "has a `*` in a `value`, where it stands for itself",
                "for values that begin with something, use `pattern`",
            )),
        ];
        let told = told.into_iter().flatten().map(|(what, mend)| (what.to_owned(), mend.to_owned()));
        told.chain(misnamed(&field.label, field.tag))
            .map(move |(what, mend)| Message {
                what,
                mend,
                ..of(name, session, About::Slip, &path)
            })
            .collect::<Vec<_>>()
    })
}

/// The number is what is matched: a name that the specification has for another number is a slip.
fn misnamed(label: &str, tag: Tag) -> Option<(String, String)> {
    let written = label.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let other = names::tag_of(written).filter(|other| *other != tag.get())?;
    let number = tag.get();
    let instead = Some(names::of(number))
        .filter(|name| !name.is_empty())
        .map_or_else(
            || format!("write `{written}{other}`, or give the key another name"),
            |name| format!("write `{written}{other}` or `{name}{number}`"),
        );
    Some((
        format!("matches tag {number}, and {written} is tag {other}"),
        instead,
    ))
}

fn undecided_message() -> Message {
    Message {
        severity: Severity::Warn,
        about: About::Shadowed,
        origin: None,
        object: None,
        field: None,
        what: "there are too many routes to say of each whether it can be chosen".to_owned(),
        meanwhile: String::new(),
        mend: String::new(),
        witness: None,
    }
}
