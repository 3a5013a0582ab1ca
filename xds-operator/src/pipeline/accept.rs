//! Which set of routes shall be in force? The set before and the validated one in, the set to publish and what to say
//! about it out; pure.
//!
//! An object that is invalid, or whose file cannot be read, counts as its last accepted form, else as absent, and
//! never stops the others. A conflict holds the whole table (`HoldTable`): what was accepted stays, deletions too.
//! Where nothing was ever accepted, the objects without conflict are.
//!
//! INVARIANT: a set that is accepted compiles; no two of its routes conflict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fixgw_core::conflict::{Conflict, Conflicts};
use fixgw_core::decision::Severity;
use fixgw_core::rule::Rule;
use fixgw_core::table::{CompileError, Table};

use super::validate::{self, Valid, Validated};
use crate::api::FIXSessionSpec;
use crate::message::{About, Message, Origin};
use crate::world::{Fault, Faults, Kind, ObjectName, Objects, RulesHalf, Scope};

/// A set of routes that is in force.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The FIXSessions, in the form that counts.
    pub sessions: Objects<FIXSessionSpec>,
    /// Their table. Its revision is not the published one.
    pub table: Table,
}

/// The answer of [`accept`].
#[derive(Debug)]
pub struct Acceptance {
    /// The new set; `None` when the one before stays.
    pub accepted: Option<Accepted>,
    /// What stands now.
    pub messages: Vec<Message>,
    /// Whether some object counts in a form that is not in the source any more.
    pub carried: bool,
}

/// Decides which set shall be in force.
#[must_use]
pub fn accept(previous: Option<&Accepted>, half: &RulesHalf, validated: Validated) -> Acceptance {
    let mut faults = half.faults.clone();
    for fault in validated.faults {
        faults.push(fault);
    }
    let mut candidate = validated.rules;
    let carried = carry(previous, &faults, &mut candidate);
    let rules: Vec<Rule> = candidate.values().map(|valid| valid.rule.clone()).collect();
    // The revision is given when it is published.
    let (accepted, refusals) = match Table::compile(&rules, 0) {
        Ok(table) => (Some(accepted(candidate, table)), Vec::new()),
        Err(CompileError::Conflicts(conflicts)) => {
            let shown = conflicts.shown.iter();
            let mut messages: Vec<Message> = shown
                .map(|conflict| conflict_message(conflict, &candidate, previous))
                .collect();
            messages.extend(conflicts.more().map(more_message));
            let rest = match previous {
                Some(_) => None,
                None => without_conflict(candidate, &conflicts),
            };
            (rest, messages)
        }
        Err(CompileError::Bound(what, max)) => {
            (None, vec![bound_message(what, max, previous.is_some())])
        }
    };
    let in_force = accepted.as_ref().or(previous);
    let mut messages: Vec<Message> = faults
        .list
        .iter()
        .map(|fault| fault_message(fault, in_force))
        .collect();
    messages.extend(refusals);
    Acceptance {
        accepted,
        messages,
        carried,
    }
}

fn accepted(candidate: BTreeMap<ObjectName, Valid>, table: Table) -> Accepted {
    Accepted {
        sessions: candidate
            .into_iter()
            .map(|(name, valid)| (name, valid.session))
            .collect(),
        table,
    }
}

/// Adds the last accepted form of what could not be read or is invalid now.
fn carry(
    previous: Option<&Accepted>,
    faults: &Faults,
    candidate: &mut BTreeMap<ObjectName, Valid>,
) -> bool {
    let mut carried = false;
    for (name, session) in previous.iter().flat_map(|previous| &previous.sessions) {
        if candidate.contains_key(name)
            || !faults.cover(Kind::FIXSession, name, session.origin.as_ref())
        {
            continue;
        }
        // Accepted by an older version, and refused by this one: then it has no accepted form.
        if let Ok(valid) = validate::valid(name, session) {
            candidate.insert(name.clone(), valid);
            carried = true;
        }
    }
    carried
}

fn without_conflict(
    mut candidate: BTreeMap<ObjectName, Valid>,
    conflicts: &Conflicts,
) -> Option<Accepted> {
    let out: BTreeSet<ObjectName> = conflicts.routes.iter().map(ObjectName::from).collect();
    candidate.retain(|name, _| !out.contains(name));
    let rules: Vec<Rule> = candidate.values().map(|valid| valid.rule.clone()).collect();
    let table = Table::compile(&rules, 0).ok()?;
    Some(accepted(candidate, table))
}

fn conflict_message(
    conflict: &Conflict,
    candidate: &BTreeMap<ObjectName, Valid>,
    previous: Option<&Accepted>,
) -> Message {
    let first = ObjectName::from(&conflict.first);
    let second = ObjectName::from(&conflict.second);
    let unchanged = |name: &ObjectName| {
        let now = candidate.get(name).map(|valid| &valid.session.object);
        let before = previous.and_then(|previous| previous.sessions.get(name));
        before.is_some_and(|before| now == Some(&before.object))
    };
    // The one that is new or edited is the one to look at.
    let (name, other) = if unchanged(&second) && !unchanged(&first) {
        (first, second)
    } else {
        (second, first)
    };
    let kept = if previous.is_some() {
        "the table in force stays as it is, and every other change and deletion waits, until this is mended"
    } else {
        "both are left out, and the other routes are in force"
    };
    let origin_of = |name: &ObjectName| candidate.get(name).and_then(origin_in);
    let there = origin_of(&other).map_or_else(String::new, |origin| {
        format!("; {} is at {origin}", said(&other))
    });
    Message {
        about: About::Conflict,
        severity: Severity::Critical,
        origin: origin_of(&name),
        object: Some(said(&name)),
        field: candidate
            .get(&name)
            .map(|valid| where_alike(&valid.session.object).to_owned()),
        what: conflict.what(&said(&other)),
        meanwhile: kept.to_owned(),
        mend: format!("{}{there}", conflict.mend()),
        witness: Some(conflict.witness.clone()),
    }
}

fn more_message(what: String) -> Message {
    Message {
        about: About::Conflict,
        severity: Severity::Critical,
        origin: None,
        object: None,
        field: None,
        what,
        meanwhile: String::new(),
        mend: "mend the first ones and the next will be told".to_owned(),
        witness: None,
    }
}

fn origin_in(valid: &Valid) -> Option<Origin> {
    let session = &valid.session;
    session.origin_of(where_alike(&session.object))
}

/// The field that makes a route like another one.
fn where_alike(spec: &FIXSessionSpec) -> &'static str {
    if spec.default {
        "spec.priority"
    } else if spec.match_fields.is_empty() {
        "spec.sourceRanges"
    } else {
        "spec.matchFields"
    }
}

fn said(name: &ObjectName) -> String {
    format!("{} {name}", Kind::FIXSession.label())
}

fn bound_message(what: &str, max: usize, held: bool) -> Message {
    Message {
        about: About::Bound,
        severity: Severity::Critical,
        origin: None,
        object: None,
        field: None,
        what: format!("the routes make a table of more than {max} {what}"),
        meanwhile: if held {
            "the table in force stays as it is"
        } else {
            "no route is in force"
        }
        .to_owned(),
        mend: "delete routes, or split them over two gateways".to_owned(),
        witness: None,
    }
}

fn fault_message(fault: &Fault, in_force: Option<&Accepted>) -> Message {
    let sessions = in_force.map(|accepted| &accepted.sessions);
    let (severity, meanwhile) = match (fault.scope, &fault.object) {
        (Scope::Nothing, _) => (Severity::Info, String::new()),
        (Scope::Object, Some((_, name)))
            if sessions.is_some_and(|sessions| sessions.contains_key(name)) =>
        {
            (
                Severity::Error,
                "its last accepted form stays in force until this is mended".to_owned(),
            )
        }
        (Scope::Object | Scope::Unnamed, _) => (
            Severity::Error,
            "it is left out until this is mended, and the other objects count".to_owned(),
        ),
        (Scope::File, _) => (Severity::Error, file_advice(fault, sessions)),
    };
    Message {
        about: About::Invalid,
        severity,
        origin: fault.origin.clone(),
        object: fault
            .object
            .as_ref()
            .map(|(kind, name)| format!("{} {name}", kind.label())),
        field: fault.field.clone(),
        what: fault.what.clone(),
        meanwhile,
        mend: String::new(),
        witness: None,
    }
}

fn file_advice(fault: &Fault, sessions: Option<&Objects<FIXSessionSpec>>) -> String {
    let file: Option<&Arc<str>> = fault.origin.as_ref().map(|origin| &origin.file);
    let from_here = |session: &&Arc<crate::world::Located<FIXSessionSpec>>| {
        session
            .origin
            .as_ref()
            .zip(file)
            .is_some_and(|(origin, file)| {
                origin.file == *file || file.ends_with('/') && origin.file.starts_with(&**file)
            })
    };
    let count = sessions.map_or(0, |sessions| sessions.values().filter(from_here).count());
    let what = match count {
        0 => "what was accepted from here before stays in force until this is mended".to_owned(),
        1 => "the route accepted from here before stays in force until this is mended".to_owned(),
        count => format!(
            "the {count} routes accepted from here before stay in force until this is mended"
        ),
    };
    if file.is_some_and(|file| file.ends_with('/')) {
        what
    } else {
        format!("{what}, and the other files count")
    }
}
