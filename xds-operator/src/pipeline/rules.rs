//! Which rules are in force? What validate, accept and publish make of each settled half, and what they must remember of the
//! one before; pure.

use std::sync::Arc;

use fixgw_core::decision::Severity;

use super::accept::{self, Acceptance, Verdicts};
use super::hold::ConflictPolicy;
use super::publish::{self, Published};
use super::set::{Accepted, Candidate};
use super::{Change, advice, validate};
use crate::message::{About, Message};
use crate::world::RulesHalf;

/// Whether there is advice to be given that nobody has thought about yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advises {
    Later,
    Done,
}

/// The rules, and what stands about them.
#[derive(Debug)]
pub(super) struct Rules {
    policy: ConflictPolicy,
    in_force: Option<Arc<Published>>,
    /// What is published is above it.
    floor: u64,
    /// The revision of a table from before this start that has not been confirmed by the source yet.
    restored: Option<u64>,
    /// Whether the table in force is all that the source said last.
    confirmed: bool,
    /// The newest revision that proxies hold, where it is newer than the one in force.
    surpassed: Option<u64>,
    messages: Vec<Message>,
    /// What is advised of what was well formed when it was looked at last, or is not looked at yet.
    advice: Vec<Message>,
    advises: Advises,
    verdicts: Arc<Verdicts>,
    /// What was well formed when it was looked at last.
    valid: Arc<Candidate>,
}

impl Rules {
    /// Begins with what was in force before. What it publishes is above `floor`, a revision. What stood with `before` stands until the
    /// rules are looked at.
    pub(super) fn new(
        policy: ConflictPolicy,
        in_force: Option<Arc<Published>>,
        floor: u64,
        before: Option<Self>,
    ) -> Self {
        let restored = in_force.as_ref().map(|it| it.table.revision());
        let (messages, advice) = before
            .map(|it| (it.messages, it.advice))
            .unwrap_or_default();
        Self {
            policy,
            in_force,
            floor,
            restored,
            confirmed: false,
            surpassed: None,
            messages,
            advice,
            advises: Advises::Done,
            verdicts: Arc::default(),
            valid: Arc::default(),
        }
    }

    pub(super) const fn in_force(&self) -> Option<&Arc<Published>> {
        self.in_force.as_ref()
    }

    /// What stands about them.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        // What is advised supposes that what is written takes effect.
        let conflict = |message: &Message| message.about == About::Conflict;
        let advice = if self.messages.iter().any(conflict) {
            &[][..]
        } else {
            &self.advice
        };
        self.messages.iter().chain(advice)
    }

    /// Whether there is something to think about.
    pub(super) fn has_to_advise(&self) -> bool {
        self.advises == Advises::Later
    }

    /// Thinks about what is to be advised. No table needs to wait for it.
    pub(super) fn advise(&mut self) {
        if self.advises == Advises::Later {
            self.advises = Advises::Done;
            self.advice = advice::advice(&self.valid);
        }
    }

    /// What is held against objects.
    pub(super) const fn verdicts(&self) -> &Arc<Verdicts> {
        &self.verdicts
    }

    /// Proxies hold this revision.
    pub(super) fn surpass(&mut self, held: u64) {
        self.surpassed = self.surpassed.max(Some(held));
    }

    /// Takes what the source says. What is to be told once goes into `once`.
    pub(super) fn take(
        &mut self,
        half: &RulesHalf,
        wall_ms: u64,
        once: &mut Vec<Message>,
    ) -> Change {
        let validated = validate::validate_anew(&half.sessions, &self.valid);
        self.valid = validated.rules.clone();
        self.advises = Advises::Later;
        let before = self.in_force.as_deref();
        let Acceptance {
            accepted,
            messages,
            carried,
            verdicts,
        } = accept::accept(before, half, validated, self.policy);
        self.messages = messages;
        self.verdicts = Arc::new(verdicts);
        let restored = self.restored.take();
        self.confirmed = accepted.is_some() && !carried;
        let published = before.map(|it| &it.table);
        let wall_ms = wall_ms.max(self.floor.saturating_add(1));
        let table = accepted
            .as_ref()
            .and_then(|accepted| publish::publish(&accepted.table, published, wall_ms));
        if let Some(revision) = restored
            && table.is_none()
            && (accepted.is_none() || carried)
        {
            once.push(restored_message(revision));
        }
        match (accepted, table) {
            (Some(Accepted { sessions, .. }), Some(table)) => {
                self.in_force = Some(Arc::new(Published { sessions, table }));
                Change::Other
            }
            (Some(accepted), None) => self.keep_forms(accepted),
            (None, _) => Change::Same,
        }
    }

    /// What the source says counts, though proxies hold a newer table: the one that was not kept. What the source does not say is
    /// not set over theirs.
    pub(super) fn publish_above(&mut self, wall_ms: u64) -> Change {
        let Some(in_force) = self.in_force.as_mut().filter(|_| self.confirmed) else {
            return Change::Same;
        };
        let Some(held) = self
            .surpassed
            .take_if(|held| *held > in_force.table.revision())
        else {
            return Change::Same;
        };
        let Published { table, sessions } = &**in_force;
        let table = table.with_revision(wall_ms.max(held.saturating_add(1)));
        let sessions = sessions.clone();
        *in_force = Arc::new(Published { sessions, table });
        Change::Other
    }

    /// The same table, perhaps written differently.
    fn keep_forms(&mut self, accepted: Accepted) -> Change {
        let Some(in_force) = &mut self.in_force else {
            return Change::Same;
        };
        let changed = in_force.sessions != accepted.sessions;
        if changed {
            Arc::make_mut(in_force).sessions = accepted.sessions;
        }
        Change::if_so(changed)
    }
}

fn restored_message(revision: u64) -> Message {
    let what =
        format!("the last accepted table, revision {revision}, is served from before this start");
    Message {
        mend: "because of the faults told next; mend them and the files count again".to_owned(),
        ..Message::course(Severity::Warn, what)
    }
}
