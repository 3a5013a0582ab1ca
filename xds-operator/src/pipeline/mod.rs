//! Which table and which endpoints follow from what the source says? The stages in their order.
//!
//! `World → settle → validate → accept → publish → translate → Snapshot`. [`rules`] remembers what the stages up to `publish` must know
//! of the pass before, [`targets`] what `translate` must; [`Pipeline`] joins them for one process that does both, [`replica`] for
//! several that share a table. Pure: time is passed in, nothing is read or written here; what must be kept across a restart
//! is handed out as a [`Saved`].

pub mod accept;
pub mod advice;
mod conflict;
pub mod hold;
pub mod publish;
pub mod replica;
pub mod resolve;
mod rules;
pub mod set;
pub mod settle;
mod targets;
pub mod translate;
pub mod validate;

use std::sync::Arc;

use fixgw_core::decision::Severity;
use fixgw_core::table::Table;

use self::hold::ConflictPolicy;
use self::publish::Published;
use self::resolve::Endpoints;
use self::rules::Rules;
use self::settle::{Settle, Settled, Times};
use self::targets::Targets;
use crate::api::FIXSessionSpec;
use crate::message::{Message, Standing, count};
use crate::world::{Objects, Pause, World};
use crate::xds::Snapshot;

/// What outlives a restart: the table in force, and the forms of the objects that it was made of.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The published table.
    pub table: Table,
    /// The accepted FIXSessions.
    pub sessions: Arc<Objects<FIXSessionSpec>>,
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

/// Whether what follows must be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// It is as it was.
    Same,
    /// It is not.
    Other,
}

impl Change {
    const fn if_so(other: bool) -> Self {
        if other { Self::Other } else { Self::Same }
    }

    fn or(self, other: Self) -> Self {
        if self == Self::Same { other } else { self }
    }
}

/// The stages, and what they remember.
#[derive(Debug)]
pub struct Pipeline {
    settle: Settle,
    rules: Rules,
    targets: Targets,
    standing: Standing,
}

impl Pipeline {
    /// Begins where the last run ended, if it left something.
    #[must_use]
    pub fn new(times: Times, policy: ConflictPolicy, saved: Option<Saved>) -> Self {
        let (in_force, endpoints) = saved.map_or_else(Default::default, |saved| {
            let published = Published {
                sessions: saved.sessions,
                table: saved.table,
            };
            (Some(Arc::new(published)), saved.endpoints)
        });
        Self {
            settle: Settle::new(times),
            rules: Rules::new(policy, in_force, 0, None),
            targets: Targets::new(endpoints),
            standing: Standing::default(),
        }
    }

    /// Takes what the source says now. `now_ms` is of any clock that never goes back.
    pub fn observe(&mut self, world: &World, now_ms: u64) {
        self.settle.observe(world, now_ms);
    }

    /// Proxies hold this revision. Only for who serves them alone: a newer one is his own then, and was not kept.
    pub fn surpass(&mut self, held: u64) {
        self.rules.surpass(held);
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
        let changed = self.take_over(settled, wall_ms, &mut once);
        // A Service that goes together with its routes is missed by nobody: those have not settled yet.
        let waits = self.settle.holds_back();
        if let Some(published) = self.rules.in_force() {
            outcome.snapshot = self.targets.translate(published, changed, waits);
            if changed == Change::Other {
                outcome.saved = Some(Saved {
                    table: published.table.clone(),
                    sessions: published.sessions.clone(),
                    endpoints: self.targets.endpoints().as_ref().clone(),
                });
            }
        }
        let pause = self.settle.paused().map(pause_message);
        self.rules.advise();
        let stands = self.rules.messages().chain(self.targets.messages());
        let standing = self.standing.change(stands.cloned().chain(pause).collect());
        outcome.messages = in_order(once, standing);
        outcome
    }

    fn take_over(&mut self, settled: Settled, wall_ms: u64, once: &mut Vec<Message>) -> Change {
        let Settled { rules, endpoints } = settled;
        // The first pass over a table from before must be served, even when nothing changed.
        let is_first = (rules.is_some() || endpoints.is_some()) && self.targets.is_first();
        let endpoints = endpoints.map_or(Change::Same, |half| self.targets.take(&half));
        let before = self.rules.in_force().map(|it| it.table.revision());
        let rules = rules.map_or(Change::Same, |half| self.rules.take(&half, wall_ms, once));
        let above = self.rules.publish_above(wall_ms);
        if let Some(in_force) = self.rules.in_force()
            && before != Some(in_force.table.revision())
        {
            once.push(published_message(&in_force.table));
        }
        endpoints.or(rules).or(above).or(Change::if_so(is_first))
    }
}

fn published_message(table: &Table) -> Message {
    let routes = count(table.route_count() as u64, "route");
    let targets = count(table.targets().count() as u64, "target");
    let revision = table.revision();
    let what = format!("table {revision} is published: {routes} to {targets}");
    Message::course(Severity::Info, what)
}

/// What a person must know first comes first; that all is in place comes last.
fn in_order(once: Vec<Message>, standing: Vec<Message>) -> Vec<Message> {
    let (last, mut messages): (Vec<_>, Vec<_>) = once
        .into_iter()
        .partition(|message| message.severity <= Severity::Info);
    messages.extend(standing);
    messages.extend(last);
    messages
}

fn pause_message(pause: &Pause) -> Message {
    let (what, mend) = match pause {
        Pause::File(_) => (
            "publication is paused by this file".to_owned(),
            "delete the file to publish",
        ),
        Pause::Annotation { reason, .. } => (
            format!("publication is paused by its annotation ({reason})"),
            "`fixgw resume` publishes",
        ),
    };
    Message {
        origin: pause.file().cloned(),
        object: pause.object().map(str::to_owned),
        meanwhile: "changes of routes wait, endpoints do not".to_owned(),
        mend: mend.to_owned(),
        ..Message::course(Severity::Warn, what)
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
