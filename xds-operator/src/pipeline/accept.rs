//! Which set of routes shall be in force? The set before and the validated one in, the set to publish and what to say
//! about it out; pure.
//!
//! An object that is invalid, or whose file cannot be read, counts as its last accepted form, else as absent, and
//! never stops the others. What a conflict holds back is the question of `hold`: by default the whole table, deletions
//! too.

use std::collections::BTreeMap;
use std::sync::Arc;

use fixgw_core::decision::Severity;
use fixgw_core::table::CompileError;

use super::conflict;
use super::hold::{self, ConflictPolicy, Objection};
use super::set::{Accepted, Candidate, compile};
use super::validate::{self, Validated};
use crate::api::FIXSessionSpec;
use crate::message::{About, Message};
use crate::world::{Fault, Faults, Kind, Located, ObjectName, Objects, RulesHalf, Scope};

/// What is held against objects, each as it is written. One that is not in it counts as it is written, or will.
pub type Verdicts = BTreeMap<ObjectName, Verdict>;

/// What is held against one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong with it by itself; [`WRONGS_MAX`] at most.
    pub wrongs: Vec<Wrong>,
    /// The conflicts that it is in, each in whole sentences; [`CONFLICTS_MAX`] at most.
    pub conflicts: Vec<String>,
    /// Why it waits although nothing is wrong with it.
    pub waits: Option<Waits>,
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Which field.
    pub field: Option<String>,
    /// What is wrong, and what to do about it.
    pub what: String,
}

/// What an object waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// The whole table is held while others conflict: which, in whole sentences.
    Conflict(Arc<str>),
    /// There is too much of something: what, in whole sentences.
    Bound(Arc<str>),
}

/// Faults of one object that are told; a person mends these and sees the next.
pub const WRONGS_MAX: usize = 8;
/// Conflicts of one object that are told.
pub const CONFLICTS_MAX: usize = 4;

/// The answer of [`accept`].
#[derive(Debug)]
pub struct Acceptance {
    /// The new set; `None` when the one before stays.
    pub accepted: Option<Accepted>,
    /// What stands now.
    pub messages: Vec<Message>,
    /// Whether some object counts in a form that is not in the source any more.
    pub carried: bool,
    /// What is held against each object.
    pub verdicts: Verdicts,
}

/// Decides which set shall be in force.
#[must_use]
pub fn accept(
    previous: Option<&Accepted>,
    half: &RulesHalf,
    validated: Validated,
    policy: ConflictPolicy,
) -> Acceptance {
    let mut faults = half.faults.clone();
    for fault in validated.faults {
        faults.push(fault);
    }
    let mut candidate = validated.rules;
    let mut carried = carry(previous, &faults, &mut candidate);
    let mut objections = Vec::new();
    let mut waits = None;
    let (accepted, refusals) = match compile(&candidate) {
        Ok(table) => (Some(Accepted::new(half, &candidate, table)), Vec::new()),
        Err(CompileError::Conflicts(conflicts)) => {
            let candidate = Arc::unwrap_or_clone(candidate);
            let held = hold::hold(policy, previous, candidate, *conflicts);
            carried |= held.carried;
            objections = held.objections;
            waits = Some(Waits::Conflict(what_conflicts(&objections)));
            (held.accepted, held.messages)
        }
        Err(CompileError::Bound(what, max)) => {
            let message = conflict::bound(what, max, previous.is_some());
            waits = Some(Waits::Bound(message.text().into()));
            (None, vec![message])
        }
    };
    let in_force = accepted.as_ref().or(previous);
    let mut verdicts = verdicts(&faults, objections);
    if let Some(waits) = waits {
        let waiting = waiting(half, in_force);
        for name in waiting {
            // What has something against it waits for that.
            verdicts.entry(name.clone()).or_insert_with(|| Verdict {
                waits: Some(waits.clone()),
                ..Verdict::default()
            });
        }
    }
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
        verdicts,
    }
}

/// What is wrong with objects by themselves, and which conflicts they are in.
fn verdicts(faults: &Faults, objections: Vec<Objection>) -> Verdicts {
    let mut verdicts = Verdicts::new();
    for fault in &faults.list {
        let (Scope::Object, Some((Kind::FIXSession, name))) = (fault.scope, &fault.object) else {
            continue;
        };
        let wrongs = &mut verdicts.entry(name.clone()).or_default().wrongs;
        if wrongs.len() < WRONGS_MAX {
            wrongs.push(Wrong {
                field: fault.field.clone(),
                what: fault.what.clone(),
            });
        }
    }
    for Objection { of, message } in objections {
        let conflicts = &mut verdicts.entry(of).or_default().conflicts;
        if conflicts.len() < CONFLICTS_MAX {
            conflicts.push(with_witness(&message));
        }
    }
    verdicts
}

/// All of it, and the Logon that proves it where the sentence does not hold it already.
fn with_witness(message: &Message) -> String {
    let text = message.text();
    let witness = message.witness.as_ref().map(ToString::to_string);
    match witness {
        Some(witness) if !text.contains(&witness) => {
            format!("{text}; a Logon that shows it: {witness}")
        }
        Some(_) | None => text,
    }
}

/// Whose conflict the others wait for.
fn what_conflicts(objections: &[Objection]) -> Arc<str> {
    match objections {
        [] => "there are too many routes that might conflict to compare them all".into(),
        [one, ..] => format!("{} is in a conflict", conflict::said(&one.of)).into(),
    }
}

/// Whether two forms of an object are one route: a duration may be written in two ways.
pub(crate) fn same_route(
    name: &ObjectName,
    one: &Arc<Located<FIXSessionSpec>>,
    other: &Arc<Located<FIXSessionSpec>>,
) -> bool {
    if Arc::ptr_eq(one, other) || one.object == other.object {
        return true;
    }
    let [one, other] = [one, other].map(|form| validate::valid(name, form).ok());
    one.zip(other)
        .is_some_and(|(one, other)| one.rule == other.rule)
}

/// Objects that are not in force as they are written.
fn waiting<'h>(
    half: &'h RulesHalf,
    in_force: Option<&Accepted>,
) -> impl Iterator<Item = &'h ObjectName> {
    let is_in_force = move |name: &ObjectName, session: &Arc<Located<FIXSessionSpec>>| {
        let counts = in_force.and_then(|in_force| in_force.sessions.get(name));
        counts.is_some_and(|counts| Arc::ptr_eq(counts, session) || counts.object == session.object)
    };
    let sessions = half.sessions.iter();
    let waiting = sessions.filter(move |(name, session)| !is_in_force(name, session));
    waiting.map(|(name, _)| name)
}

/// Adds the last accepted form of what could not be read or is invalid now.
fn carry(previous: Option<&Accepted>, faults: &Faults, candidate: &mut Arc<Candidate>) -> bool {
    let mut carried = false;
    // Mostly there is nothing to carry, and no need to look for it.
    let previous = previous.filter(|_| !faults.objects.is_empty() || !faults.files.is_empty());
    for (name, session) in previous.iter().flat_map(|previous| &*previous.sessions) {
        if candidate.contains_key(name)
            || !faults.cover(Kind::FIXSession, name, session.origin.as_ref())
        {
            continue;
        }
        // Accepted by an older version, and refused by this one: then it has no accepted form.
        if let Ok(valid) = validate::valid(name, session) {
            Arc::make_mut(candidate).insert(name.clone(), valid);
            carried = true;
        }
    }
    carried
}

fn fault_message(fault: &Fault, in_force: Option<&Accepted>) -> Message {
    let sessions = in_force.map(|accepted| &*accepted.sessions);
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
