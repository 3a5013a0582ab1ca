//! Which rules are in force? What validate, accept and publish make of each settled half, and what they must remember of the
//! one before; pure.

use fixgw_core::decision::Severity;
use fixgw_core::table::Table;

use super::accept::{self, Acceptance};
use super::hold::ConflictPolicy;
use super::set::Accepted;
use super::{Change, InForce, advice, publish, validate};
use crate::message::{About, Message, count};
use crate::world::RulesHalf;

/// The rules, and what stands about them.
#[derive(Debug)]
pub(super) struct Rules {
    policy: ConflictPolicy,
    in_force: Option<InForce>,
    /// The revision of a table from before this start that has not been confirmed by the source yet.
    restored: Option<u64>,
    /// Whether the table in force is all that the source said last.
    confirmed: bool,
    /// The newest revision that proxies hold, where it is newer than the one in force.
    surpassed: Option<u64>,
    messages: Vec<Message>,
}

impl Rules {
    /// Begins with what was in force before.
    pub(super) fn new(policy: ConflictPolicy, in_force: Option<InForce>) -> Self {
        let restored = in_force.as_ref().map(|it| it.accepted.table.revision());
        Self {
            policy,
            in_force,
            restored,
            confirmed: false,
            surpassed: None,
            messages: Vec::new(),
        }
    }

    pub(super) const fn in_force(&self) -> Option<&InForce> {
        self.in_force.as_ref()
    }

    /// What stands about them.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
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
        let validated = validate::validate(&half.sessions);
        let advice = advice::advice(&validated.rules);
        let before = self.in_force.as_ref().map(|it| &it.accepted);
        let Acceptance {
            accepted,
            messages,
            carried,
        } = accept::accept(before, half, validated, self.policy);
        self.messages = messages;
        // What is advised supposes that what is written takes effect.
        let conflict = |message: &Message| message.about == About::Conflict;
        if !self.messages.iter().any(conflict) {
            self.messages.extend(advice);
        }
        let restored = self.restored.take();
        self.confirmed = accepted.is_some() && !carried;
        let published = before.map(|it| &it.table);
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
                once.push(published_message(&table));
                self.in_force = Some(InForce::new(Accepted { sessions, table }));
                Change::Other
            }
            (Some(accepted), None) => self.keep_forms(accepted),
            (None, _) => Change::Same,
        }
    }

    /// What the source says counts, though proxies hold a newer table: the one that was not kept. What the source does not say is
    /// not set over theirs.
    pub(super) fn publish_above(&mut self, wall_ms: u64, once: &mut Vec<Message>) -> Change {
        let Some(in_force) = self.in_force.as_mut().filter(|_| self.confirmed) else {
            return Change::Same;
        };
        let published = &in_force.accepted.table;
        let Some(held) = self.surpassed.take_if(|held| *held > published.revision()) else {
            return Change::Same;
        };
        let table = published.with_revision(wall_ms.max(held.saturating_add(1)));
        once.push(published_message(&table));
        let sessions = std::mem::take(&mut in_force.accepted.sessions);
        *in_force = InForce::new(Accepted { sessions, table });
        Change::Other
    }

    /// The same table, perhaps written differently.
    fn keep_forms(&mut self, accepted: Accepted) -> Change {
        let Some(in_force) = &mut self.in_force else {
            return Change::Same;
        };
        let changed = in_force.accepted.sessions != accepted.sessions;
        in_force.accepted.sessions = accepted.sessions;
        Change::if_so(changed)
    }
}

fn course(severity: Severity, what: String, mend: &str) -> Message {
    Message {
        about: About::Course,
        severity,
        origin: None,
        object: None,
        field: None,
        what,
        meanwhile: String::new(),
        mend: mend.to_owned(),
        witness: None,
    }
}

fn restored_message(revision: u64) -> Message {
    let what =
        format!("the last accepted table, revision {revision}, is served from before this start");
    let mend = "because of the faults told next; mend them and the files count again";
    course(Severity::Warn, what, mend)
}

fn published_message(table: &Table) -> Message {
    let routes = count(table.route_count() as u64, "route");
    let targets = count(table.targets().count() as u64, "target");
    let what = format!(
        "table {} is published: {routes} to {targets}",
        table.revision()
    );
    course(Severity::Info, what, "")
}
