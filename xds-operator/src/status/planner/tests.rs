//! A planner over a simulated API server, with a simulated clock.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::ops::Range;

use fixgw_core::table::Table;

use super::*;
use crate::api::status::PROGRAMMED;
use crate::api::{FIXSessionSpec, MatchField, ServiceSpec, TargetSpec};
use crate::pipeline::publish::Published;
use crate::pipeline::resolve::Endpoints;
use crate::receive::fleet::{Fleet, ProxyView};
use crate::receive::sessions::OfTarget;
use crate::receive::vms::VmView;
use crate::status::conditions::{Decided, Served};
use crate::world::held::Lifecycle;
use crate::world::{Identity, Located, Objects, Places, RulesHalf};

/// Milliseconds from one step of the clock to the next: how long a write takes, too.
const STEP_MS: u64 = 100;

/// A cluster: the objects, what the gateways have, and what was written.
struct Cluster {
    known: Known,
    planner: Planner,
    now_ms: u64,
    under_way: Vec<Write>,
    /// When each write began, and whether conditions of it differed from what stood there.
    writes: Vec<(u64, ObjectName, Need)>,
    /// The next write is not taken.
    fails: bool,
}

fn name(number: usize) -> ObjectName {
    ObjectName::new("t", &format!("route-{number}"))
}

fn session(number: usize, generation: i64) -> Arc<Located<FIXSessionSpec>> {
    let field = MatchField {
        value: Some(format!("{number} {generation}")),
        pattern: None,
        redact: false,
        log: true,
    };
    let service = ServiceSpec {
        name: "engine".to_owned(),
        port: 1,
    };
    Arc::new(Located {
        object: FIXSessionSpec {
            match_fields: [("SenderCompID49".to_owned(), field)].into(),
            source_ranges: None,
            default: false,
            priority: None,
            target: TargetSpec { service },
            max_held_connections: None,
            hold_timeout: None,
        },
        origin: None,
        places: Places::default(),
        identity: Some(Identity {
            uid: format!("{number}").into(),
            generation,
        }),
    })
}

impl Cluster {
    /// So many objects, in force, and nothing written yet.
    fn new(objects: usize) -> Self {
        let mut cluster = Self {
            known: Known::default(),
            planner: Planner::begin(0),
            now_ms: 0,
            under_way: Vec::new(),
            writes: Vec::new(),
            fails: false,
        };
        let sessions = (0..objects).map(|number| (name(number), session(number, 1)));
        cluster.publish(sessions.collect(), 1);
        cluster
    }

    /// These objects are there, looked at, and in force in the one gateway.
    fn publish(&mut self, sessions: Objects<FIXSessionSpec>, revision: u64) {
        let held = Arc::make_mut(&mut self.known.observed.held);
        held.retain(|name, _| sessions.contains_key(name));
        for (name, session) in &sessions {
            let identity = session.identity.clone().unwrap();
            let object = held.entry(name.clone()).or_insert_with(|| HeldStatus {
                identity: identity.clone(),
                lifecycle: Lifecycle::Live,
                status: Arc::default(),
            });
            object.identity = identity;
        }
        // Which Logons go where is not asked here, so no table of them all is made.
        let table = Table::compile(&[], revision).unwrap();
        let rules = Arc::new(RulesHalf {
            sessions: Arc::new(sessions),
            ..RulesHalf::default()
        });
        self.known.observed.world.rules = rules.clone();
        self.known.decided = Some(Decided {
            rules: rules.clone(),
            verdicts: Arc::default(),
            accepted: None,
        });
        self.known.served = Some(Served {
            published: Arc::new(Published {
                sessions: rules.sessions.clone(),
                table,
            }),
            endpoints: Arc::new(Endpoints::default()),
        });
        self.gateway(revision);
    }

    fn gateway(&mut self, revision: u64) {
        let proxy = ProxyView {
            streams: 1,
            acknowledged: None,
            readiness: None,
            vms: vec![VmView {
                table_revision: revision,
                ..VmView::default()
            }],
        };
        self.known.fleet = Arc::new(Fleet {
            proxies: [("gw".to_owned(), proxy)].into(),
        });
    }

    fn change(&mut self, numbers: Range<usize>, generation: i64, revision: u64) {
        let decided = self.known.decided.as_ref().unwrap();
        let mut sessions = (*decided.rules.sessions).clone();
        sessions.extend(numbers.map(|number| (name(number), session(number, generation))));
        self.publish(sessions, revision);
    }

    /// Everything stands there as it shall.
    fn make_right(&mut self) {
        let mut since = Since::default();
        since.look(&self.known);
        let mut held = (*self.known.observed.held).clone();
        let mut view = View::new(&self.known, &since, Whose::All, Counting::Told);
        for (name, object) in &mut held {
            let wanted = view.of(name, object, &object.status).unwrap();
            let status = wanted.status(now(0));
            object.status = Arc::new(status);
        }
        self.known.observed.held = Arc::new(held);
    }

    fn count(&mut self, number: usize, connecting: u64) {
        let all = Arc::make_mut(&mut self.known.sessions);
        let own = all.entry("gw".to_owned()).or_default();
        let of = own
            .routes
            .entry(name(number).to_string().into())
            .or_default();
        let target = OfTarget {
            connecting,
            active: 0,
        };
        of.targets.insert("t/engine:1".to_owned(), target);
    }

    fn look(&mut self) {
        self.planner.look(&self.known, self.now_ms);
    }

    /// What was under way is written, and what may begin begins.
    fn step(&mut self) {
        for write in std::mem::take(&mut self.under_way) {
            let outcome = if std::mem::take(&mut self.fails) {
                Outcome::Failed
            } else {
                let held = Arc::make_mut(&mut self.known.observed.held);
                held.get_mut(&write.name).unwrap().status = write.status.clone();
                Outcome::Written(Box::new((*write.status).clone()))
            };
            self.planner.done(&write.name, &outcome, self.now_ms);
        }
        if self
            .planner
            .deadline_ms()
            .is_some_and(|at| at <= self.now_ms)
        {
            let held = self.known.observed.held.clone();
            for write in self
                .planner
                .take(&self.known, self.now_ms, now(self.now_ms))
            {
                let need = need(&held[&write.name].status, &write.status).unwrap();
                self.writes.push((self.now_ms, write.name.clone(), need));
                self.under_way.push(write);
            }
        }
        self.now_ms += STEP_MS;
    }

    /// Until nothing is left to write.
    fn settle(&mut self) {
        self.settle_looking(1);
    }

    /// Looks at everything before so many steps.
    fn settle_looking(&mut self, every: usize) {
        for step in 0..10_000 {
            if step % every == 0 {
                self.look();
            }
            self.step();
            if self.planner.waiting() == 0 && self.under_way.is_empty() {
                return;
            }
        }
        unreachable!("it never comes to rest: {} wait", self.planner.waiting());
    }

    fn is_right(&self) -> bool {
        let mut since = Since::default();
        since.look(&self.known);
        let mut view = View::new(&self.known, &since, Whose::All, Counting::Told);
        self.known.observed.held.iter().all(|(name, held)| {
            view.of(name, held, &held.status)
                .is_some_and(|wanted| wanted.need().is_none())
        })
    }
}

fn now(ms: u64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + i64::try_from(ms).unwrap()).unwrap()
}

/// The most writes that may have counted for the API server within a second: each does at a moment from its beginning to its end.
fn busiest_second(writes: &[(u64, ObjectName, Need)]) -> usize {
    let from = |start: usize| {
        let end = writes[start].0 + STEP_MS;
        writes[start..]
            .iter()
            .take_while(|(began, ..)| *began < end + SECOND_MS)
            .count()
    };
    (0..writes.len()).map(from).max().unwrap_or_default()
}

#[test]
fn under_load_conditions_come_first_nothing_is_forgotten_and_no_second_has_too_many_writes() {
    const OBJECTS: usize = 5_000;
    const LOADED_MS: u64 = 10_000;
    let within_ms = |writes: usize| (writes as u64 / 50 + 10) * 1_000;
    let mut cluster = Cluster::new(OBJECTS);
    cluster.make_right();

    // Every count changes, and then fifty objects a second while the counts wait.
    for number in 0..OBJECTS {
        cluster.count(number, 1);
    }
    let mut changed = Vec::new();
    while cluster.now_ms < LOADED_MS {
        let from = changed.len();
        for number in from..from + usize::try_from(STEP_MS / 20).unwrap() {
            changed.push((cluster.now_ms, number));
        }
        cluster.change(from..changed.len(), 2, changed.len() as u64 + 1);
        if cluster.now_ms.is_multiple_of(1_000) {
            cluster.look();
        }
        cluster.step();
    }
    cluster.settle_looking(50);
    assert!(cluster.is_right());
    let took = cluster.now_ms - LOADED_MS;
    assert!(took <= within_ms(OBJECTS), "{took}");
    assert!(busiest_second(&cluster.writes) <= WRITES_PER_SECOND_MAX);
    // A change is written soon, though so many counts wait.
    let mut first: BTreeMap<&ObjectName, u64> = BTreeMap::new();
    for (at, name, need) in cluster.writes.iter().rev() {
        if *need == Need::Conditions {
            first.insert(name, *at);
        }
    }
    for (at, number) in &changed {
        let waited = first[&name(*number)] - at;
        assert!(waited <= 5_000, "{number}: {waited} ms");
    }
    // Conditions and counts of one object are one write where both wait; at first there was room for some counts.
    assert!(cluster.writes.len() <= OBJECTS + WRITES_PER_SECOND_MAX);
}

#[test]
fn what_stands_there_already_is_not_written_again() {
    let mut cluster = Cluster::new(3);
    cluster.settle();
    assert_eq!(cluster.writes.len(), 3);
    cluster.settle();
    // Nor by another replica that takes over.
    cluster.planner = Planner::begin(cluster.now_ms);
    cluster.settle();
    assert_eq!(cluster.writes.len(), 3);
}

#[test]
fn two_leaders_together_write_no_more_a_second_than_one() {
    let mut cluster = Cluster::new(4 * WRITES_PER_SECOND_MAX);
    cluster.look();
    while cluster.writes.len() < WRITES_PER_SECOND_MAX {
        cluster.step();
    }
    // What is under way is dropped with its leader, and may have counted for all that.
    cluster.under_way.clear();
    cluster.planner = Planner::begin(cluster.now_ms);
    cluster.settle();
    assert!(cluster.is_right());
    assert!(busiest_second(&cluster.writes) <= WRITES_PER_SECOND_MAX);
}

#[test]
fn counts_of_one_object_are_a_second_apart() {
    let mut cluster = Cluster::new(1);
    cluster.settle();
    cluster.writes.clear();
    let end = cluster.now_ms + 5_000;
    let mut count = 0;
    while cluster.now_ms < end {
        count += 1;
        cluster.count(0, count);
        cluster.look();
        cluster.step();
    }
    cluster.settle();
    assert!(cluster.is_right());
    let times: Vec<u64> = cluster.writes.iter().map(|(at, ..)| *at).collect();
    assert!((4..=6).contains(&times.len()), "{times:?}");
    assert!(
        times
            .windows(2)
            .all(|pair| pair[1] - pair[0] >= COUNTS_APART_MS),
        "{times:?}"
    );
}

#[test]
fn a_change_that_gateways_take_in_a_moment_is_one_write() {
    let mut cluster = Cluster::new(1);
    cluster.settle();
    cluster.writes.clear();
    cluster.change(0..1, 2, 9);
    cluster.gateway(1);
    cluster.look();
    cluster.step();
    cluster.gateway(9);
    cluster.settle();
    assert_eq!(cluster.writes.len(), 1);
    // One that they do not take is told as such.
    cluster.change(0..1, 3, 10);
    cluster.gateway(9);
    cluster.settle();
    assert_eq!(cluster.writes.len(), 2);
}

#[test]
fn a_replica_that_has_only_begun_does_not_say_that_every_gateway_has_taken_a_change() {
    let mut cluster = Cluster::new(1);
    cluster.settle();
    cluster.writes.clear();
    // The one gateway that it knows has.
    cluster.known.young = true;
    cluster.change(0..1, 2, 9);
    for _ in 0..YOUNG_MS / STEP_MS {
        cluster.look();
        cluster.step();
    }
    assert_eq!(cluster.writes, []);
    // Another one was there, and has not.
    cluster.known.young = false;
    cluster.gateway(1);
    cluster.settle();
    assert_eq!(cluster.writes.len(), 1);
    let status = &cluster.known.observed.held[&name(0)].status;
    assert_eq!(status.condition(PROGRAMMED).unwrap().status, "False");
}

#[test]
fn gateways_that_are_not_heard_for_a_moment_change_nothing() {
    let mut cluster = Cluster::new(2);
    cluster.count(0, 3);
    cluster.settle();
    cluster.writes.clear();
    let (fleet, sessions) = (cluster.known.fleet.clone(), cluster.known.sessions.clone());
    cluster.known.fleet = Arc::default();
    cluster.known.sessions = Arc::default();
    for _ in 0..50 {
        cluster.look();
        cluster.step();
    }
    (cluster.known.fleet, cluster.known.sessions) = (fleet, sessions);
    cluster.settle();
    assert_eq!(cluster.writes, []);
    // For good is another thing: then it is written, without a change that would say so.
    cluster.known.fleet = Arc::default();
    cluster.known.sessions = Arc::default();
    cluster.look();
    let end = cluster.now_ms + UNHEARD_MS + 2_000;
    while cluster.now_ms < end {
        let again = cluster.planner.look_again_ms(cluster.now_ms);
        if again.is_some_and(|at| at <= cluster.now_ms + STEP_MS) {
            cluster.look();
        }
        cluster.step();
    }
    assert!(cluster.is_right());
}

#[test]
fn what_was_not_taken_is_tried_again_and_another_one_s_write_is_put_right() {
    let mut cluster = Cluster::new(1);
    cluster.fails = true;
    cluster.look();
    for _ in 0..30 {
        cluster.step();
    }
    assert!(cluster.is_right());
    assert_eq!(cluster.writes.len(), 2);
    let held = Arc::make_mut(&mut cluster.known.observed.held);
    let object = held.get_mut(&name(0)).unwrap();
    Arc::make_mut(&mut object.status).conditions.clear();
    cluster.look();
    // A moment ago it was right, and what is seen may be older than that.
    let again = cluster.planner.look_again_ms(cluster.now_ms).unwrap();
    cluster.now_ms = again;
    cluster.settle();
    assert!(cluster.is_right());
}

#[test]
fn one_that_is_made_anew_is_not_given_what_was_written_to_the_one_before() {
    let mut cluster = Cluster::new(1);
    cluster.settle();
    cluster.writes.clear();
    let held = Arc::make_mut(&mut cluster.known.observed.held);
    let object = held.get_mut(&name(0)).unwrap();
    object.identity.uid = "another".into();
    object.status = Arc::default();
    cluster.settle();
    // It was not looked at yet.
    assert_eq!(cluster.writes, []);
}
