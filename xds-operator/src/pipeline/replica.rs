//! What does one of several control planes do that share a published table? Each serves it with the endpoints that it sees itself;
//! the one that leads decides what is published next. Pure.
//!
//! INVARIANT: nothing is served that was not published; what is decided is only proposed, until somebody tells that it is.

use std::sync::Arc;

use super::accept::Verdicts;
use super::hold::ConflictPolicy;
use super::publish::Published;
use super::resolve::Endpoints;
use super::rules::Rules;
use super::settle::{Settle, Settled, Times};
use super::targets::Targets;
use super::{Change, in_order, pause_message, published_message};
use crate::message::{Message, Standing};
use crate::world::{RulesHalf, World};
use crate::xds::Snapshot;

/// What one pass gives.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// What to tell people; each thing once.
    pub messages: Vec<Message>,
    /// What to serve from now on, if it changed.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Whether [`Replica::looked_at`] or [`Replica::served`] give something else now.
    pub news: News,
}

/// What changed in a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// The rules were looked at.
    pub decided: bool,
    /// The table or the endpoints are others.
    pub served: bool,
}

/// What was looked at last, and what was made of it.
#[derive(Clone, Copy, Debug)]
pub struct LookedAt<'r> {
    /// The rules.
    pub rules: &'r Arc<RulesHalf>,
    /// What is held against objects in them.
    pub verdicts: &'r Arc<Verdicts>,
    /// What is accepted of them, published or about to be.
    pub accepted: Option<&'r Arc<Published>>,
}

/// One replica.
#[derive(Debug)]
pub struct Replica {
    policy: ConflictPolicy,
    settle: Settle,
    /// What settled last, for the moment when we come to lead.
    settled: Option<Arc<RulesHalf>>,
    /// Publication was paused since something settled: that may be half of what is meant, and is not published any more.
    withheld: bool,
    /// What we publish is above it.
    floor: u64,
    /// Whether the rules were looked at since we lead.
    looked: bool,
    /// What was sent to be published last.
    sent: Option<Arc<Published>>,
    /// What was sent and could not be published, and is tried again.
    refused: Option<Arc<Published>>,
    /// There while we lead.
    rules: Option<Rules>,
    published: Option<Arc<Published>>,
    /// Whether `published` was not translated yet.
    is_new: bool,
    targets: Targets,
    standing: Standing,
    once: Vec<Message>,
    news: News,
}

impl Replica {
    /// One that knows nothing and does not lead.
    #[must_use]
    pub fn new(times: Times, policy: ConflictPolicy) -> Self {
        Self {
            policy,
            settle: Settle::new(times),
            settled: None,
            withheld: false,
            floor: 0,
            looked: false,
            sent: None,
            refused: None,
            rules: None,
            published: None,
            is_new: false,
            targets: Targets::unknown(),
            standing: Standing::default(),
            once: Vec::new(),
            news: News::default(),
        }
    }

    /// Takes what the source says now. `now_ms` is of any clock that never goes back.
    pub fn observe(&mut self, world: &World, now_ms: u64) {
        self.withheld |= world.rules.paused.is_some();
        self.settle.observe(world, now_ms);
    }

    /// From now on this replica decides, beginning with what is published. What it publishes is above `floor`, a revision that
    /// somebody may have published and that nobody can read any more; 0: there is none.
    pub fn lead(&mut self, wall_ms: u64, floor: u64) {
        self.floor = floor;
        self.begin(wall_ms);
    }

    /// From now on it does not. What it told of the rules is another's business now, and not over.
    pub fn follow(&mut self) {
        if let Some(rules) = self.rules.take() {
            self.standing.forget(rules.messages());
        }
        self.news.decided = true;
    }

    /// Somebody has published this, perhaps we ourselves. What is older than what was published before is an old copy.
    pub fn published(&mut self, published: &Arc<Published>, wall_ms: u64) {
        let revision = published.table.revision();
        if self
            .published_revision()
            .is_some_and(|before| before >= revision)
        {
            return;
        }
        self.published = Some(published.clone());
        self.is_new = true;
        self.news.served = true;
        let Some(rules) = &self.rules else { return };
        // Two could have given one revision to two tables, within a millisecond.
        let is_this = |ours: &Published| ours.table.image() == published.table.image();
        let mut ours = rules.in_force().into_iter().chain(&self.sent);
        if ours.any(|ours| is_this(ours)) {
            self.once.push(published_message(&published.table));
        } else {
            // Another has published since we decided: what is in force is not what we began with.
            self.begin(wall_ms);
        }
    }

    /// What is published is not what we believed: whatever it is, it counts, and we decide anew over it, and above `floor`.
    pub fn overtaken(&mut self, wall_ms: u64, floor: u64) {
        if self.rules.is_some() {
            self.lead(wall_ms, floor);
        }
    }

    /// This proposal is on its way.
    pub fn sent(&mut self, proposal: &Arc<Published>) {
        self.sent = Some(proposal.clone());
    }

    /// What was sent last is not published, and is tried again.
    pub fn refused(&mut self) {
        self.refused.clone_from(&self.sent);
    }

    /// What to publish: what we decided, while it is not what is published, and nobody has paused that since.
    #[must_use]
    pub fn proposal(&self) -> Option<&Arc<Published>> {
        if self.withheld {
            return None;
        }
        let ours = self.rules.as_ref()?.in_force()?;
        (Some(ours.table.revision()) != self.published_revision()).then_some(ours)
    }

    /// When to call [`Replica::advance`], if nothing happens until then.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        // At once, when there is nothing more urgent.
        let advises = self.has_to_advise().then_some(0);
        advises.or_else(|| self.settle.deadline_ms())
    }

    fn has_to_advise(&self) -> bool {
        let advises = self.rules.as_ref().is_some_and(Rules::has_to_advise);
        // What is on its way to be published goes first.
        let is_refused = |proposal: &Arc<Published>| {
            let refused = self.refused.as_ref();
            refused.is_some_and(|refused| Arc::ptr_eq(refused, proposal))
        };
        advises && self.proposal().is_none_or(is_refused)
    }

    /// Does what is due. `wall_ms` counts from 1970. To be called after each event and at each deadline.
    pub fn advance(&mut self, now_ms: u64, wall_ms: u64) -> Pass {
        let Settled { rules, endpoints } = self.settle.take(now_ms);
        let endpoints = endpoints.map_or(Change::Same, |half| self.targets.take(&half));
        if let Some(half) = rules {
            let withheld = std::mem::take(&mut self.withheld);
            self.settled = Some(half.clone());
            self.news.decided = true;
            match &mut self.rules {
                None => {}
                // What was decided before a pause was not published: it is nothing to go on from.
                Some(_) if withheld => self.begin(wall_ms),
                Some(rules) => {
                    let _proposed = rules.take(&half, wall_ms, &mut self.once);
                    self.looked = true;
                }
            }
        }
        let mut pass = Pass::default();
        let change = endpoints.or(Change::if_so(std::mem::take(&mut self.is_new)));
        self.news.served |= change == Change::Other;
        // A Service that goes together with its routes is missed by nobody: those are not published yet.
        let waits = self.settle.holds_back() || self.proposal().is_some();
        if let Some(published) = &self.published {
            pass.snapshot = self.targets.translate(published, change, waits);
        }
        // What is to be served does not wait for it.
        if pass.snapshot.is_none()
            && self.has_to_advise()
            && let Some(rules) = &mut self.rules
        {
            rules.advise();
        }
        let pause = self.settle.paused().map(pause_message);
        let of_rules = self.rules.iter().flat_map(Rules::messages);
        let stands = of_rules.chain(self.targets.messages()).cloned();
        let standing = self.standing.change(stands.chain(pause).collect());
        pass.messages = in_order(std::mem::take(&mut self.once), standing);
        pass.news = std::mem::take(&mut self.news);
        pass
    }

    /// While we lead: the rules that were looked at last, and what we made of them.
    #[must_use]
    pub fn looked_at(&self) -> Option<LookedAt<'_>> {
        let rules = self.rules.as_ref().filter(|_| self.looked)?;
        Some(LookedAt {
            rules: self.settled.as_ref()?,
            verdicts: rules.verdicts(),
            accepted: rules.in_force(),
        })
    }

    /// The table in force, and the endpoints as they count now.
    #[must_use]
    pub fn served(&self) -> Option<(&Arc<Published>, &Arc<Endpoints>)> {
        Some((self.published.as_ref()?, self.targets.endpoints()))
    }

    fn published_revision(&self) -> Option<u64> {
        self.published.as_ref().map(|it| it.table.revision())
    }

    fn begin(&mut self, wall_ms: u64) {
        let before = self.rules.take();
        let mut rules = Rules::new(self.policy, self.published.clone(), self.floor, before);
        let settled = self.settled.as_ref().filter(|_| !self.withheld);
        self.looked = settled.is_some();
        if let Some(half) = settled {
            let _proposed = rules.take(half, wall_ms, &mut self.once);
        }
        self.rules = Some(rules);
        self.news.decided = true;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::{FIXSessionSpec, MatchField, ServiceSpec, TargetSpec};
    use crate::world::{Located, ObjectName, Pause, Places};

    fn session(sender: &str) -> Arc<Located<FIXSessionSpec>> {
        let field = MatchField {
            value: Some(sender.to_owned()),
            pattern: None,
            redact: false,
            log: true,
        };
        let service = ServiceSpec {
            name: "engine".to_owned(),
            port: 1,
        };
        let object = FIXSessionSpec {
            match_fields: [("SenderCompID49".to_owned(), field)].into(),
            source_ranges: None,
            default: false,
            priority: None,
            target: TargetSpec { service },
            max_held_connections: None,
            hold_timeout: None,
        };
        Arc::new(Located {
            object,
            origin: None,
            places: Places::default(),
            identity: None,
        })
    }

    /// A world with a route for each sender, of the same name in lower case.
    fn world(senders: &[&str]) -> World {
        let sessions: BTreeMap<_, _> = senders
            .iter()
            .map(|sender| {
                (
                    ObjectName::new("t", &sender.to_lowercase()),
                    session(sender),
                )
            })
            .collect();
        World {
            rules: Arc::new(RulesHalf {
                sessions: Arc::new(sessions),
                ..RulesHalf::default()
            }),
            ..World::default()
        }
    }

    fn replica() -> Replica {
        Replica::new(Times::default(), ConflictPolicy::default())
    }

    /// Observes, and lets it settle.
    fn settled(replica: &mut Replica, senders: &[&str], now_ms: u64) -> Pass {
        replica.observe(&world(senders), now_ms);
        replica.advance(now_ms + 1_000, now_ms + 1_000)
    }

    #[test]
    fn what_a_leader_decides_is_served_by_all_once_it_is_published() {
        let (mut leader, mut other) = (replica(), replica());
        for replica in [&mut leader, &mut other] {
            assert!(settled(replica, &["A"], 0).snapshot.is_none());
            assert!(replica.proposal().is_none(), "nobody leads");
        }
        leader.lead(5_000, 0);
        let proposal = leader.proposal().unwrap().clone();
        assert_eq!(proposal.table.revision(), 5_000);
        assert!(
            leader.advance(2_000, 5_000).snapshot.is_none(),
            "only proposed"
        );
        for replica in [&mut leader, &mut other] {
            replica.published(&proposal, 5_001);
            let pass = replica.advance(2_000, 5_001);
            assert_eq!(pass.snapshot.unwrap().revision, 5_000);
            assert!(pass.news.served);
            assert!(replica.proposal().is_none(), "it is published");
        }
    }

    #[test]
    fn who_comes_to_lead_over_the_same_rules_publishes_nothing() {
        let (mut first, mut second) = (replica(), replica());
        settled(&mut first, &["A"], 0);
        settled(&mut second, &["A"], 0);
        first.lead(5_000, 0);
        let published = first.proposal().unwrap().clone();
        second.published(&published, 5_001);
        second.lead(6_000, 0);
        assert!(second.proposal().is_none());
        // And what has changed meanwhile, it does.
        settled(&mut second, &["A", "B"], 7_000);
        assert_eq!(second.proposal().unwrap().table.revision(), 8_000);
    }

    #[test]
    fn a_table_of_another_is_decided_over_anew() {
        let (mut old, mut new) = (replica(), replica());
        settled(&mut old, &["A"], 0);
        settled(&mut new, &["A", "B"], 0);
        old.lead(5_000, 0);
        new.lead(5_500, 0);
        // The new leader was faster; the old one does not know yet that it leads no more.
        let published = new.proposal().unwrap().clone();
        old.published(&published, 6_000);
        let proposal = old.proposal().unwrap();
        assert!(proposal.table.revision() > published.table.revision());
        assert_eq!(proposal.sessions.len(), 1, "it is what it sees");
        old.follow();
        assert!(old.proposal().is_none());
        assert!(old.looked_at().is_none());
    }

    /// A value that is hardly meant so.
    const ODD: &str = "A ";

    fn advised(pass: &Pass) -> Vec<String> {
        let told = pass.messages.iter().map(ToString::to_string);
        told.filter(|line| line.contains("blank")).collect()
    }

    #[test]
    fn what_is_advised_is_told_also_while_nothing_can_be_published() {
        let mut replica = replica();
        replica.observe(&world(&[ODD]), 0);
        replica.lead(5_000, 0);
        assert_eq!(advised(&replica.advance(2_000, 5_000)), [""; 0]);
        let proposal = replica.proposal().unwrap().clone();
        replica.sent(&proposal);
        assert_eq!(advised(&replica.advance(2_100, 5_100)), [""; 0]);
        replica.refused();
        assert_eq!(replica.deadline_ms(), Some(0));
        let told = advised(&replica.advance(2_200, 5_200));
        assert!(!told.is_empty());
    }

    #[test]
    fn what_stands_is_not_called_resolved_by_who_leads_no_more_or_anew() {
        let (mut replica, mut other) = (replica(), replica());
        replica.observe(&world(&[ODD]), 0);
        replica.lead(5_000, 0);
        replica.advance(2_000, 5_000);
        let proposal = replica.proposal().unwrap().clone();
        replica.published(&proposal, 5_100);
        assert!(advised(&replica.advance(2_100, 5_100)).is_empty());
        let told = advised(&replica.advance(2_200, 5_200));
        assert!(!told.is_empty(), "at the first quiet moment");
        // Another has published, so it begins anew.
        settled(&mut other, &["B"], 0);
        other.lead(5_300, 0);
        let theirs = other.proposal().unwrap().clone();
        replica.published(&theirs, 5_400);
        assert_eq!(advised(&replica.advance(2_300, 5_400)), [""; 0]);
        replica.follow();
        assert_eq!(advised(&replica.advance(2_400, 5_500)), [""; 0]);
        // It does not know what became of it meanwhile.
        replica.lead(5_600, 5_300);
        replica.advance(2_500, 5_600);
        let proposal = replica.proposal().unwrap().clone();
        replica.published(&proposal, 5_700);
        replica.advance(2_600, 5_700);
        assert_eq!(advised(&replica.advance(2_700, 5_800)), told);
    }

    #[test]
    fn an_old_copy_takes_nothing_back() {
        let mut replica = replica();
        settled(&mut replica, &["A"], 0);
        replica.lead(5_000, 0);
        let old = replica.proposal().unwrap().clone();
        replica.published(&old, 5_000);
        settled(&mut replica, &["B"], 10_000);
        let new = replica.proposal().unwrap().clone();
        replica.published(&new, 12_000);
        replica.published(&old, 12_000);
        let served = replica.served().unwrap().0.table.revision();
        assert_eq!(served, new.table.revision());
        assert!(replica.proposal().is_none());
    }

    #[test]
    fn a_conflict_keeps_what_is_published_also_for_the_next_leader() {
        let mut first = replica();
        settled(&mut first, &["A"], 0);
        first.lead(5_000, 0);
        let published = first.proposal().unwrap().clone();
        let mut second = replica();
        second.published(&published, 6_000);
        let mut conflict = world(&["A"]);
        let rules = Arc::make_mut(&mut conflict.rules);
        Arc::make_mut(&mut rules.sessions).insert(ObjectName::new("t", "twin"), session("A"));
        second.observe(&conflict, 6_000);
        second.lead(6_000, 0);
        let pass = second.advance(7_000, 7_000);
        assert!(second.proposal().is_none());
        assert_eq!(pass.snapshot.unwrap().revision, 5_000);
        assert!(
            pass.messages
                .iter()
                .any(|message| message.about == crate::message::About::Conflict)
        );
    }

    fn paused(senders: &[&str]) -> World {
        let mut paused = world(senders);
        Arc::make_mut(&mut paused.rules).paused = Some(Pause::Annotation {
            object: "ConfigMap t/table".to_owned(),
            reason: "release".to_owned(),
        });
        paused
    }

    #[test]
    fn what_is_paused_is_neither_decided_nor_proposed() {
        let mut replica = replica();
        replica.lead(0, 0);
        replica.observe(&paused(&["A"]), 0);
        let pass = replica.advance(60_000, 60_000);
        assert!(replica.proposal().is_none());
        let told: Vec<String> = pass.messages.iter().map(ToString::to_string).collect();
        assert!(
            told.iter()
                .any(|line| line.contains("paused by its annotation (release)")),
            "{told:?}"
        );
        settled(&mut replica, &["A"], 61_000);
        assert!(replica.proposal().is_some());
    }

    #[test]
    fn no_table_is_served_before_it_is_known_who_answers_for_its_targets() {
        let mut first = replica();
        settled(&mut first, &["A"], 0);
        first.lead(5_000, 0);
        let published = first.proposal().unwrap().clone();
        let mut started = replica();
        started.published(&published, 6_000);
        assert!(started.advance(6_000, 6_000).snapshot.is_none());
        started.observe(&world(&["A"]), 6_500);
        assert!(started.advance(7_000, 7_000).snapshot.is_some());
    }

    #[test]
    fn half_of_a_set_that_settled_before_the_pause_is_never_proposed() {
        let mut replica = replica();
        settled(&mut replica, &["A"], 0);
        replica.lead(5_000, 0);
        let published = replica.proposal().unwrap().clone();
        replica.published(&published, 5_000);
        // Half of it settles, and is not published, for the pause was first.
        settled(&mut replica, &["A", "B"], 6_000);
        assert!(replica.proposal().is_some());
        replica.observe(&paused(&["A", "B"]), 7_500);
        assert!(replica.proposal().is_none(), "withdrawn");
        replica.overtaken(7_600, 5_000);
        replica.advance(7_600, 7_600);
        assert!(replica.proposal().is_none());
        // Another comes to lead meanwhile; it has seen the same half.
        replica.follow();
        replica.lead(7_700, 5_000);
        replica.advance(7_700, 7_700);
        assert!(replica.proposal().is_none());
        // Resumed, nothing counts before it is quiet, and then all of it.
        replica.observe(&world(&["A", "B"]), 60_000);
        replica.advance(60_000, 60_000);
        assert!(replica.proposal().is_none());
        replica.observe(&world(&["A", "B", "C"]), 60_100);
        replica.advance(60_349, 60_349);
        assert!(replica.proposal().is_none());
        replica.advance(60_350, 60_350);
        assert_eq!(replica.proposal().unwrap().sessions.len(), 3);
    }

    #[test]
    fn a_revision_that_nobody_can_read_any_more_is_surpassed() {
        let mut replica = replica();
        settled(&mut replica, &["A"], 0);
        replica.lead(5_000, 90_000);
        assert_eq!(replica.proposal().unwrap().table.revision(), 90_001);
    }

    #[test]
    fn one_of_ours_that_is_published_late_does_not_undo_the_next() {
        let mut replica = replica();
        settled(&mut replica, &["A"], 0);
        replica.lead(5_000, 0);
        let first = replica.proposal().unwrap().clone();
        replica.sent(&first);
        settled(&mut replica, &["A", "B"], 6_000);
        replica.published(&first, 8_000);
        assert_eq!(replica.proposal().unwrap().sessions.len(), 2);
        let told = replica.advance(8_000, 8_000).messages;
        assert!(told.iter().any(|it| it.what.contains("is published")));
    }
}
