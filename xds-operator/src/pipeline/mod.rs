//! Which table and which endpoints follow from what the source says? The stages in their order, and the little that
//! each pass must remember of the one before.
//!
//! `World → settle → validate → accept → publish → translate → Snapshot`. Pure: time is passed in, nothing is read or
//! written here; what must be kept across a restart is handed out as a [`Saved`].

pub mod accept;
pub mod advice;
mod conflict;
pub mod hold;
pub mod publish;
pub mod resolve;
pub mod set;
pub mod settle;
pub mod translate;
pub mod validate;

use std::sync::Arc;

use fixgw_core::decision::Severity;
use fixgw_core::table::Table;

use self::hold::ConflictPolicy;
use self::resolve::Endpoints;
use self::set::Accepted;
use self::settle::{Settle, Settled, Times};
use crate::api::FIXSessionSpec;
use crate::message::{About, Message, Origin, Standing, count};
use crate::world::{EndpointsHalf, Objects, RulesHalf, World};
use crate::xds::Snapshot;

/// What outlives a restart: the table in force, and the forms of the objects that it was made of.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The published table.
    pub table: Table,
    /// The accepted FIXSessions.
    pub sessions: Objects<FIXSessionSpec>,
    /// Services and EndpointSlices in the form that counts. Those of the command line are not kept.
    pub endpoints: Endpoints,
}

impl Saved {
    /// Whether there is any.
    #[must_use]
    pub fn has_routes(&self) -> bool {
        !self.sessions.is_empty()
    }
}

/// What one pass gives.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What to tell people; each thing once.
    pub messages: Vec<Message>,
    /// What to serve from now on, if it changed. Save `saved` first.
    pub snapshot: Option<Arc<Snapshot>>,
    /// What to keep, if it changed.
    pub saved: Option<Saved>,
}

/// The table in force.
#[derive(Debug)]
struct InForce {
    accepted: Accepted,
    published: Table,
    image: Arc<[u8]>,
}

impl InForce {
    fn new(accepted: Accepted, published: Table) -> Self {
        let image = Arc::from(published.image());
        Self {
            accepted,
            published,
            image,
        }
    }
}

/// The stages, and what they remember.
#[derive(Debug)]
pub struct Pipeline {
    settle: Settle,
    policy: ConflictPolicy,
    in_force: Option<InForce>,
    /// The revision of a table from before this start that has not been confirmed by the source yet.
    restored: Option<u64>,
    /// Whether the table in force is all that the source said last.
    confirmed: bool,
    /// The newest revision that proxies hold, where it is newer than the one in force.
    surpassed: Option<u64>,
    endpoints: Endpoints,
    served: Option<Arc<Snapshot>>,
    /// What is said of targets is older than the snapshot, because rules were waiting.
    targets_stale: bool,
    standing: Standing,
    of_rules: Vec<Message>,
    of_endpoints: Vec<Message>,
    of_targets: Vec<Message>,
}

impl Pipeline {
    /// Begins where the last run ended, if it left something.
    #[must_use]
    pub fn new(times: Times, policy: ConflictPolicy, saved: Option<Saved>) -> Self {
        let restored = saved.as_ref().map(|saved| saved.table.revision());
        let (in_force, endpoints) = saved.map_or_else(Default::default, |saved| {
            let accepted = Accepted {
                sessions: saved.sessions,
                table: saved.table.clone(),
            };
            (Some(InForce::new(accepted, saved.table)), saved.endpoints)
        });
        Self {
            settle: Settle::new(times),
            policy,
            in_force,
            restored,
            confirmed: false,
            surpassed: None,
            endpoints,
            served: None,
            targets_stale: false,
            standing: Standing::default(),
            of_rules: Vec::new(),
            of_endpoints: Vec::new(),
            of_targets: Vec::new(),
        }
    }

    /// Takes what the source says now. `now_ms` is of any clock that never goes back.
    pub fn observe(&mut self, world: &World, now_ms: u64) {
        self.settle.observe(world, now_ms);
    }

    /// Proxies hold this revision. Only for who serves them alone: a newer one is his own then, and was not kept.
    pub fn surpass(&mut self, held: u64) {
        self.surpassed = self.surpassed.max(Some(held));
    }

    /// When to call [`Pipeline::advance`], if nothing is observed until then.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        self.settle.deadline_ms()
    }

    /// Does what is due. `wall_ms` counts from 1970. May be called at any time; to be called after each
    /// [`Pipeline::observe`] and at each deadline.
    pub fn advance(&mut self, now_ms: u64, wall_ms: u64) -> Outcome {
        let settled = self.settle.take(now_ms);
        let mut outcome = Outcome::default();
        let mut once = Vec::new();
        let mut changed = self.take_over(settled, wall_ms, &mut once);
        changed |= self.publish_above(wall_ms, &mut once);
        if changed || self.targets_stale && !self.holds_rules_back() {
            self.translate(&mut outcome);
        }
        if changed {
            outcome.saved = self.in_force.as_ref().map(|in_force| Saved {
                table: in_force.published.clone(),
                sessions: in_force.accepted.sessions.clone(),
                endpoints: self.endpoints.clone(),
            });
        }
        let pause = self.settle.paused().map(pause_message);
        let stands = self
            .of_rules
            .iter()
            .chain(&self.of_endpoints)
            .chain(&self.of_targets);
        let standing = self.standing.change(stands.cloned().chain(pause).collect());
        // What a person must know first comes first; that all is in place comes last.
        let (last, mut messages): (Vec<_>, Vec<_>) = once
            .into_iter()
            .partition(|message| message.severity <= Severity::Info);
        messages.extend(standing);
        messages.extend(last);
        outcome.messages = messages;
        outcome
    }

    fn take_over(&mut self, settled: Settled, wall_ms: u64, once: &mut Vec<Message>) -> bool {
        let mut changed = false;
        if let Some(half) = settled.endpoints {
            changed |= self.take_endpoints(&half);
        }
        if let Some(half) = settled.rules {
            changed |= self.take_rules(&half, wall_ms, once);
        }
        changed
    }

    fn take_endpoints(&mut self, half: &EndpointsHalf) -> bool {
        let (next, messages) = self.endpoints.next(half);
        self.of_endpoints = messages;
        let changed = next != self.endpoints;
        self.endpoints = next;
        // The first pass over a table from before must be served, even when nothing changed.
        changed || self.served.is_none()
    }

    fn take_rules(&mut self, half: &RulesHalf, wall_ms: u64, once: &mut Vec<Message>) -> bool {
        let before = self.in_force.as_ref();
        let validated = validate::validate(&half.sessions);
        let advice = advice::advice(&validated.rules);
        let before_set = before.map(|it| &it.accepted);
        let acceptance = accept::accept(before_set, half, validated, self.policy);
        self.of_rules = acceptance.messages;
        // What is advised supposes that what is written takes effect.
        let conflict = |message: &Message| message.about == About::Conflict;
        if !self.of_rules.iter().any(conflict) {
            self.of_rules.extend(advice);
        }
        let restored = self.restored.take();
        self.confirmed = acceptance.accepted.is_some() && !acceptance.carried;
        let table = acceptance.accepted.as_ref().and_then(|accepted| {
            publish::publish(&accepted.table, before.map(|it| &it.published), wall_ms)
        });
        if let Some(revision) = restored
            && table.is_none()
            && (acceptance.accepted.is_none() || acceptance.carried)
        {
            once.push(restored_message(revision));
        }
        match (acceptance.accepted, table) {
            (Some(accepted), Some(table)) => {
                once.push(published_message(&table));
                self.in_force = Some(InForce::new(accepted, table));
                true
            }
            (Some(accepted), None) => self.keep_forms(accepted),
            (None, _) => self.served.is_none(),
        }
    }

    /// What the source says counts, though proxies hold a newer table: the one that was not kept. What the source does not say is
    /// not set over theirs.
    fn publish_above(&mut self, wall_ms: u64, once: &mut Vec<Message>) -> bool {
        let Some(in_force) = self.in_force.as_ref().filter(|_| self.confirmed) else {
            return false;
        };
        let published = &in_force.published;
        let Some(held) = self.surpassed.take_if(|held| *held > published.revision()) else {
            return false;
        };
        let table = published.with_revision(wall_ms.max(held.saturating_add(1)));
        once.push(published_message(&table));
        self.in_force = Some(InForce::new(in_force.accepted.clone(), table));
        true
    }

    /// The same table, perhaps written differently.
    fn keep_forms(&mut self, accepted: Accepted) -> bool {
        let Some(in_force) = &mut self.in_force else {
            return false;
        };
        let changed = in_force.accepted.sessions != accepted.sessions;
        in_force.accepted = accepted;
        changed || self.served.is_none()
    }

    fn translate(&mut self, outcome: &mut Outcome) {
        let Some(in_force) = &self.in_force else {
            return;
        };
        let (snapshot, messages) = translate::translate(
            &in_force.published,
            in_force.image.clone(),
            &in_force.accepted.sessions,
            &self.endpoints,
        );
        // A Service that goes together with its routes is missed by nobody: those have not settled yet.
        self.targets_stale = self.holds_rules_back();
        if !self.targets_stale {
            self.of_targets = messages;
        }
        if self.served.as_deref() != Some(&snapshot) {
            let snapshot = Arc::new(snapshot);
            self.served = Some(snapshot.clone());
            outcome.snapshot = Some(snapshot);
        }
    }
}

impl Pipeline {
    /// Whether rules will count soon, and do not yet.
    fn holds_rules_back(&self) -> bool {
        self.settle.is_waiting() && self.settle.paused().is_none()
    }
}

fn pause_message(origin: &Origin) -> Message {
    Message {
        about: About::Course,
        severity: Severity::Warn,
        origin: Some(origin.clone()),
        object: None,
        field: None,
        what: "publication is paused by this file".to_owned(),
        meanwhile: "changes of routes wait, endpoints do not".to_owned(),
        mend: "delete the file to publish".to_owned(),
        witness: None,
    }
}

fn restored_message(revision: u64) -> Message {
    Message {
        about: About::Course,
        severity: Severity::Warn,
        origin: None,
        object: None,
        field: None,
        what: format!(
            "the last accepted table, revision {revision}, is served from before this start"
        ),
        meanwhile: String::new(),
        mend: "because of the faults told next; mend them and the files count again".to_owned(),
        witness: None,
    }
}

fn published_message(table: &Table) -> Message {
    let routes = count(table.route_count() as u64, "route");
    let targets = count(table.targets().count() as u64, "target");
    Message {
        about: About::Course,
        severity: Severity::Info,
        origin: None,
        object: None,
        field: None,
        what: format!(
            "table {} is published: {routes} to {targets}",
            table.revision()
        ),
        meanwhile: String::new(),
        mend: String::new(),
        witness: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::source::directory::Directory;

    fn write(directory: &Path, sender: &str) {
        let route = format!(
            "apiVersion: fixgateway.io/v1alpha1\nkind: FIXSession\nmetadata: {{ name: a, namespace: t }}\nspec:\n  \
             matchFields: {{ SenderCompID49: {{ value: {sender} }} }}\n  target: {{ service: {{ name: e, port: 1 }} }}\n"
        );
        fs::write(directory.join("a.yaml"), route).unwrap();
    }

    /// A pipeline over a directory, begun with what was saved, and its first pass.
    fn started(directory: &Path, saved: Option<Saved>, wall_ms: u64) -> (Pipeline, Outcome) {
        let mut source = Directory::open(directory, Vec::new()).unwrap();
        let mut pipeline = Pipeline::new(Times::default(), ConflictPolicy::default(), saved);
        pipeline.observe(&source.read(), 0);
        let outcome = pipeline.advance(1_000, wall_ms);
        (pipeline, outcome)
    }

    #[test]
    fn a_table_that_was_not_kept_is_surpassed_by_what_the_source_says() {
        let rules = tempfile::tempdir().unwrap();
        write(rules.path(), "A");
        let (_, first) = started(rules.path(), None, 5_000);
        let (mut again, outcome) = started(rules.path(), first.saved, 9_000);
        assert_eq!(outcome.snapshot.unwrap().revision, 5_000, "nothing changed");
        for held in [4_000, 5_000] {
            again.surpass(held);
            assert!(again.advance(2_000, 9_000).snapshot.is_none(), "{held}");
        }
        // Between the two, another table was published, and could not be saved.
        again.surpass(7_000);
        let outcome = again.advance(2_000, 9_000);
        assert_eq!(outcome.snapshot.unwrap().revision, 9_000);
        assert_eq!(outcome.saved.unwrap().table.revision(), 9_000);
        assert!(again.advance(2_000, 9_000).snapshot.is_none(), "once");
        // Also where the clock went back.
        again.surpass(99_000);
        assert_eq!(
            again.advance(2_000, 9_000).snapshot.unwrap().revision,
            99_001
        );
    }

    #[test]
    fn what_the_source_does_not_say_is_not_set_over_a_newer_table() {
        let rules = tempfile::tempdir().unwrap();
        write(rules.path(), "A");
        let (_, first) = started(rules.path(), None, 5_000);
        fs::write(rules.path().join("a.yaml"), "no: [yaml").unwrap();
        let (mut again, outcome) = started(rules.path(), first.saved, 9_000);
        assert_eq!(outcome.snapshot.unwrap().revision, 5_000);
        again.surpass(7_000);
        assert!(again.advance(2_000, 9_000).snapshot.is_none());
        // Mended, it counts.
        write(rules.path(), "A");
        let mut source = Directory::open(rules.path(), Vec::new()).unwrap();
        again.observe(&source.read(), 3_000);
        assert_eq!(
            again.advance(60_000, 9_000).snapshot.unwrap().revision,
            9_000
        );
    }
}
