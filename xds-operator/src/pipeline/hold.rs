//! Which objects wait until a conflict is mended, so that the others need not? Pure.
//!
//! Under [`ConflictPolicy::HoldConflicting`], what is in a conflict goes back to its last accepted form, or out where it
//! never had one. That form may tie with something else, so this is repeated. Two routes that tie in their last accepted
//! forms did not tie in the accepted set: a third one decided between them there, and it goes back as well. Where nothing
//! was ever accepted there is nothing to hold, so both policies do this, and leave out.
//!
//! INVARIANT: each round puts back at least one object more. With all of them back, the set is the one in force, which has
//! no conflict.
//!
//! INVARIANT: the same objects over the set that came of them give that set again, so a restart changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use fixgw_core::conflict::{self, Conflict, Conflicts};
use fixgw_core::decision::Severity;
use fixgw_core::rule::{RouteName, Rule};
use fixgw_core::table::{CompileError, Table};

use super::conflict::{self as told, Ends};
use super::set::{Accepted, Candidate, Valid, compile};
use super::validate;
use crate::message::Message;
use crate::world::ObjectName;

/// How often objects are put back before the whole table is held instead. One round is the rule, a second one where a
/// route took over what another one gave up; a chain of renames takes one for each link. Each costs one search for conflicts,
/// which has a bound of its own.
pub const HOLD_ROUNDS_MAX: usize = 32;

/// What a conflict holds back. The names are those of the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ConflictPolicy {
    /// The whole table stays as it is; every change and deletion waits
    #[default]
    #[value(name = "HoldTable")]
    HoldTable,
    /// The objects of the conflict stay as they were accepted last; everything else takes effect
    #[value(name = "HoldConflicting")]
    HoldConflicting,
}

impl ConflictPolicy {
    /// As it is written.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::HoldTable => "HoldTable",
            Self::HoldConflicting => "HoldConflicting",
        }
    }
}

/// What is in force while conflicts stand.
#[derive(Debug)]
pub(super) struct Held {
    /// The set; `None` when the one before stays, or there is none.
    pub(super) accepted: Option<Accepted>,
    /// What is told.
    pub(super) messages: Vec<Message>,
    /// Whether some object was put back to a form that it had before.
    pub(super) carried: bool,
    /// What is held against the objects of the conflicts.
    pub(super) objections: Vec<Objection>,
}

/// What is held against one object, as it is told by that one: a conflict is two of these, and one message.
#[derive(Debug)]
pub(super) struct Objection {
    /// Which object.
    pub(super) of: ObjectName,
    /// What.
    pub(super) message: Message,
}

/// Decides what waits. `conflicts` are those of `candidate`.
pub(super) fn hold(
    policy: ConflictPolicy,
    previous: Option<&Accepted>,
    candidate: Candidate,
    conflicts: Conflicts,
) -> Held {
    let mut hold = Hold::new(previous, candidate);
    let mut messages = hold.first_told(&conflicts);
    let mut objections = hold.first_objections(&conflicts);
    let mut later = Later::default();
    let whole = match (policy, previous) {
        (ConflictPolicy::HoldTable, Some(_)) => Whole::ByPolicy,
        (ConflictPolicy::HoldConflicting, Some(_)) | (_, None) => {
            match hold.rounds(conflicts, &mut later) {
                Ok(table) => {
                    messages.append(&mut later.messages);
                    objections.append(&mut later.objections);
                    return hold.held(table, messages, objections);
                }
                Err(whole) => whole,
            }
        }
    };
    // What came later came of putting back, and nothing is put back now.
    let kept = told::whole(previous.is_some());
    let objecting = objections
        .iter_mut()
        .map(|objection| &mut objection.message);
    for message in messages.iter_mut().chain(objecting) {
        kept.clone_into(&mut message.meanwhile);
    }
    match whole {
        Whole::ByPolicy | Whole::Undecided => {}
        Whole::NoEnd => messages.push(told::no_end(kept)),
        Whole::Bound(what, max) => messages.push(told::bound(what, max, previous.is_some())),
    }
    Held {
        accepted: None,
        messages,
        carried: false,
        objections,
    }
}

/// What comes of putting back.
#[derive(Default)]
struct Later {
    messages: Vec<Message>,
    objections: Vec<Objection>,
}

/// Why the whole table is held.
enum Whole {
    ByPolicy,
    /// There were too many pairs of what is written to compare, and [`Conflicts::more`] says so.
    Undecided,
    /// Putting back did not come to an end.
    NoEnd,
    /// The set would exceed a bound.
    Bound(&'static str, usize),
}

struct Hold {
    /// Whether a set was accepted before.
    anything_before: bool,
    /// The set that is tried.
    now: Candidate,
    /// Each object that is not in its last accepted form, with that form; `None`: it never had one.
    changed: BTreeMap<ObjectName, Option<Valid>>,
    /// Each object that was put back, as it is written; `None`: it was deleted.
    waiting: BTreeMap<ObjectName, Option<Valid>>,
}

impl Hold {
    fn new(previous: Option<&Accepted>, candidate: Candidate) -> Self {
        let before = previous.map(|previous| &previous.sessions);
        let mut changed: BTreeMap<ObjectName, Option<Valid>> = candidate
            .keys()
            .filter(|name| !before.is_some_and(|before| before.contains_key(*name)))
            .map(|name| (name.clone(), None))
            .collect();
        for (name, session) in before.into_iter().flat_map(|before| &**before) {
            let written = candidate.get(name).map(|valid| &valid.session.object);
            if written == Some(&session.object) {
                continue;
            }
            match validate::valid(name, session) {
                Ok(valid) => {
                    changed.insert(name.clone(), Some(valid));
                }
                // Accepted by an older version, and refused by this one: then it has no accepted form.
                Err(_) if written.is_some() => {
                    changed.insert(name.clone(), None);
                }
                Err(_) => {}
            }
        }
        Self {
            anything_before: previous.is_some(),
            now: candidate,
            changed,
            waiting: BTreeMap::new(),
        }
    }

    /// Puts back until nothing conflicts.
    fn rounds(&mut self, mut conflicts: Conflicts, later: &mut Later) -> Result<Table, Whole> {
        for round in 0..HOLD_ROUNDS_MAX {
            // Where there is no table to hold, what was found is left out, for some routes are better than none.
            if conflicts.undecided && self.anything_before {
                return Err(if round == 0 {
                    Whole::Undecided
                } else {
                    Whole::NoEnd
                });
            }
            if round > 0 {
                later.messages.extend(self.later_told(&conflicts));
                later.objections.extend(self.later_objections(&conflicts));
            }
            let conflicting = conflicts.routes.iter().map(ObjectName::from);
            let mut back: Vec<ObjectName> = conflicting
                .filter(|name| self.changed.contains_key(name))
                .collect();
            if back.is_empty() {
                let (deciders, told) = self.deciders(&conflicts);
                let objecting = deciders.iter().zip(&told);
                later
                    .objections
                    .extend(objecting.map(|(name, message)| Objection {
                        of: name.clone(),
                        message: message.clone(),
                    }));
                back = deciders;
                later.messages.extend(told);
            }
            if back.is_empty() {
                return Err(Whole::NoEnd);
            }
            for name in back {
                self.put_back(name);
            }
            match compile(&self.now) {
                Ok(table) => return Ok(table),
                Err(CompileError::Conflicts(next)) => conflicts = *next,
                Err(CompileError::Bound(what, max)) => return Err(Whole::Bound(what, max)),
            }
        }
        Err(Whole::NoEnd)
    }

    fn put_back(&mut self, name: ObjectName) {
        let Some(last) = self.changed.remove(&name) else {
            return;
        };
        let written = match last {
            Some(last) => self.now.insert(name.clone(), last),
            None => self.now.remove(&name),
        };
        self.waiting.insert(name, written);
    }

    /// For pairs that are both in their last accepted form: the routes that decided between them, and what is told of them.
    fn deciders(&self, conflicts: &Conflicts) -> (Vec<ObjectName>, Vec<Message>) {
        let mut deciders: BTreeMap<ObjectName, Message> = BTreeMap::new();
        for conflict in &conflicts.shown {
            let last = self.changed.values().flatten().map(|valid| &valid.rule);
            let Some(decider) = self.decider(conflict, last) else {
                continue;
            };
            let name = ObjectName::from(decider);
            if deciders.contains_key(&name) {
                continue;
            }
            let ends = Ends::of(conflict, |_| false);
            let [first, second] = [&ends.other, &ends.name].map(|name| self.said(name));
            let written = self.now.get(&name);
            let last = self.changed.get(&name).and_then(Option::as_ref);
            let message = told::no_longer_decides(&name, written, last, &first, &second);
            deciders.insert(name, message);
        }
        deciders.into_iter().unzip()
    }

    /// Which of some routes decides between a pair of the set that is tried.
    fn decider<'r>(
        &self,
        conflict: &Conflict,
        routes: impl Iterator<Item = &'r Rule>,
    ) -> Option<&'r RouteName> {
        let rule = |name: &RouteName| self.now.get(&name.into()).map(|valid| &valid.rule);
        let pair = [rule(&conflict.first)?, rule(&conflict.second)?];
        conflict::decider(pair, conflict.witness.source(), routes).map(Rule::name)
    }

    fn held(self, table: Table, messages: Vec<Message>, objections: Vec<Objection>) -> Held {
        let is_back = |name| self.now.contains_key(name);
        Held {
            carried: self.waiting.keys().any(is_back),
            accepted: Some(Accepted::of(&self.now, table)),
            messages,
            objections,
        }
    }

    /// The conflicts of what is written.
    fn first_told(&self, conflicts: &Conflicts) -> Vec<Message> {
        let shown = conflicts.shown.iter().map(|conflict| {
            let ends = self.ends(conflict);
            let meanwhile = self.meanwhile(&ends);
            told::message(conflict, &ends, &self.now, meanwhile)
        });
        let more = self.more(conflicts);
        shown.chain(more).collect()
    }

    /// What is written is held against both.
    fn first_objections(&self, conflicts: &Conflicts) -> Vec<Objection> {
        let told = conflicts.shown.iter().flat_map(|conflict| {
            let ends = self.ends(conflict);
            [ends.reversed(), ends].map(|ends| Objection {
                message: told::message(conflict, &ends, &self.now, self.meanwhile(&ends)),
                of: ends.name,
            })
        });
        let told: Vec<Objection> = told.collect();
        self.with_unlisted(told, conflicts, |_| true)
    }

    /// Only against what is not in its last accepted form: against the others nothing new is held.
    fn later_objections(&self, conflicts: &Conflicts) -> Vec<Objection> {
        let told = conflicts.shown.iter().flat_map(|conflict| {
            let ends = self.ends(conflict);
            [ends.reversed(), ends].map(|ends| {
                Some(Objection {
                    message: self.follows(conflict, &ends)?,
                    of: ends.name,
                })
            })
        });
        let told: Vec<Objection> = told.flatten().collect();
        self.with_unlisted(told, conflicts, |name| self.changed.contains_key(name))
    }

    /// And against those of the conflicts that are only counted.
    fn with_unlisted(
        &self,
        mut told: Vec<Objection>,
        conflicts: &Conflicts,
        is_meant: impl Fn(&ObjectName) -> bool,
    ) -> Vec<Objection> {
        let listed: BTreeSet<ObjectName> = told.iter().map(|it| it.of.clone()).collect();
        let names = conflicts.routes.iter().map(ObjectName::from);
        for of in names.filter(|name| is_meant(name) && !listed.contains(name)) {
            let stays = match self.changed.get(&of) {
                Some(None) => "it is left out",
                None | Some(Some(_)) => "its last accepted form stays in force",
            };
            let meanwhile = format!("{stays} until this is mended");
            let message = told::unlisted(&of, &self.now, meanwhile);
            told.push(Objection { of, message });
        }
        told
    }

    /// A conflict with what was put back, or that something decided that was put back; `None` where the one that it is told by
    /// is in its last accepted form.
    fn follows(&self, conflict: &Conflict, ends: &Ends) -> Option<Message> {
        if !self.changed.contains_key(&ends.name) {
            return None;
        }
        let meanwhile = self.meanwhile(ends);
        let other = self.said(&ends.other);
        let cause = if self.waiting.contains_key(&ends.other) {
            told::waits(&ends.other)
        } else {
            let written = self.waiting.values().flatten().map(|valid| &valid.rule);
            told::would_decide(self.decider(conflict, written).map(ObjectName::from))
        };
        Some(told::follows(
            conflict, ends, &other, &self.now, meanwhile, &cause,
        ))
    }

    /// Conflicts with what was put back, and those that something decided that was put back. Where both are as they were accepted,
    /// the one that decided is told.
    fn later_told(&self, conflicts: &Conflicts) -> Vec<Message> {
        let shown = conflicts.shown.iter().filter_map(|conflict| {
            let ends = self.ends(conflict);
            self.follows(conflict, &ends)
        });
        let more = self.more(conflicts).map(|more| Message {
            severity: Severity::Error,
            ..more
        });
        shown.chain(more).collect()
    }

    fn more(&self, conflicts: &Conflicts) -> Option<Message> {
        let kept = if self.anything_before {
            "their objects stay at their last accepted form, or are left out if they have none"
        } else {
            "their objects are left out"
        };
        conflicts.more().map(|what| told::more(what, kept))
    }

    fn ends(&self, conflict: &Conflict) -> Ends {
        Ends::of(conflict, |name| self.changed.contains_key(name))
    }

    /// A route of the set that is tried, in words.
    fn said(&self, name: &ObjectName) -> String {
        let said = told::said(name);
        if self.waiting.contains_key(name) {
            return format!("the last accepted form of {said}");
        }
        said
    }

    /// What is in force of a pair once it has been put back.
    fn meanwhile(&self, Ends { name, other, .. }: &Ends) -> String {
        if !self.anything_before {
            return "both are left out, and the other routes are in force".to_owned();
        }
        let stays = |name| self.changed.get(name).is_none_or(Option::is_some);
        let is_changed = |name| self.changed.contains_key(name);
        let these = if !is_changed(name) && !is_changed(other) {
            "both stay in force, the route that decided between them stays at its last accepted form".to_owned()
        } else {
            let other_said = told::said(other);
            match (stays(name), stays(other)) {
                (true, true) => "both stay at their last accepted form".to_owned(),
                (true, false) => {
                    format!("it stays at its last accepted form, {other_said} is left out")
                }
                (false, true) => {
                    format!("it is left out, {other_said} stays at its last accepted form")
                }
                (false, false) => "both are left out".to_owned(),
            }
        };
        format!(
            "{these} until this is mended, and every change and deletion without a conflict is in force"
        )
    }
}
