//! The lives of connections: random courses of events, over several workers that share one list of places, against what
//! must always hold. A course that breaks a law is shrunk by proptest and printed as its list of events.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use fixgw_core::config::Settings;
use fixgw_core::connecting::{Connecting, End, Upstream};
use fixgw_core::connection::{Arrival, Connection, Step, View};
use fixgw_core::decision::{Decision, DecisionRecord, Reason};
use fixgw_core::held::Held;
use fixgw_core::limits;
use fixgw_core::readiness::Readiness;
use fixgw_core::report::VmReport;
use fixgw_core::rule::{FieldSpec, Hold, RouteName, Rule, RuleSpec, Target};
use fixgw_core::sessions::{Sessions, Standing};
use fixgw_core::table::Table;
use proptest::prelude::*;

const WORKERS: usize = 2;
const ROUTES: [&str; 3] = ["a", "b", "c"];
const POD_MAX: u32 = 3;
const TIMEOUT_MS: u64 = 1_000;
const CONNECT_TIMEOUT_MS: u64 = 500;
/// Where a parked connection's attempts go.
const NOWHERE: &str = "nowhere";

/// What happens. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Event {
    /// A counterparty of a route connects to a worker.
    Accept {
        worker: usize,
        route: usize,
    },
    /// So many more bytes of its Logon arrive, or of what it sends behind it.
    Bytes {
        connection: usize,
        count: usize,
    },
    /// It ends its direction, or resets.
    Fin {
        connection: usize,
    },
    Reset {
        connection: usize,
    },
    /// The attempt to connect its engine that is under way ends, well or not.
    Attempt {
        connection: usize,
        takes: bool,
    },
    /// Its engine's session ends, or Envoy gives up.
    End {
        connection: usize,
    },
    /// Time passes, and every worker ticks.
    Tick {
        ms: u64,
    },
    /// A target becomes ready, or ceases to be; a route is deleted, is back, or leads elsewhere.
    Ready {
        target: usize,
        is_ready: bool,
    },
    Route {
        route: usize,
        target: Option<usize>,
    },
    /// A worker's VM fails: its connections are gone, without a word.
    Trap {
        worker: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..WORKERS, 0..3_usize).prop_map(|(worker, route)| Event::Accept { worker, route }),
        8 => (any::<prop::sample::Index>(), 1..80_usize)
            .prop_map(|(at, count)| Event::Bytes { connection: at.index(1_000), count }),
        1 => any::<prop::sample::Index>().prop_map(|at| Event::Fin { connection: at.index(1_000) }),
        1 => any::<prop::sample::Index>().prop_map(|at| Event::Reset { connection: at.index(1_000) }),
        4 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(at, takes)| Event::Attempt { connection: at.index(1_000), takes }),
        1 => any::<prop::sample::Index>().prop_map(|at| Event::End { connection: at.index(1_000) }),
        4 => (1..400_u64).prop_map(|ms| Event::Tick { ms }),
        2 => (0..3_usize, any::<bool>()).prop_map(|(target, is_ready)| Event::Ready { target, is_ready }),
        1 => (0..3_usize, proptest::option::of(0..3_usize))
            .prop_map(|(route, target)| Event::Route { route, target }),
        1 => (0..WORKERS).prop_map(|worker| Event::Trap { worker }),
    ]
}

fn target(index: usize) -> Target {
    Target::service("t", ROUTES[index], 1)
}

struct Life {
    connection: Connection,
    worker: usize,
    /// What it will send, and how much of that the worker has.
    script: Vec<u8>,
    arrived: usize,
    accepted_ms: u64,
    held_since: Option<u64>,
    records: Vec<DecisionRecord>,
    /// Its bytes were let go, to this cluster at present.
    connecting: Option<Connecting>,
    cluster: String,
    /// The cluster of the attempt that is under way, and what is known of it.
    attempt_at: String,
    upstream: Upstream,
    /// The engine that has it.
    live: Option<String>,
    closed: bool,
    trapped: bool,
}

impl Life {
    fn standing(&self) -> Standing {
        match (&self.live, &self.connecting) {
            (Some(target), _) if !self.closed => Standing::Live {
                route: self.route(),
                target: target.clone(),
            },
            (Some(_), _) => Standing::Unrouted,
            (None, Some(connecting)) => connecting.standing(),
            (None, None) => self.connection.standing(),
        }
    }

    fn route(&self) -> String {
        let mut records = self.records.iter().rev();
        let route = records.find_map(|record| record.route.clone());
        route.unwrap_or_default()
    }

    fn is_held(&self) -> bool {
        matches!(self.standing(), Standing::Held { .. })
    }

    fn is_over(&self) -> bool {
        self.closed || self.live.is_some()
    }
}

struct World {
    settings: Settings,
    targets: [Option<usize>; 3],
    ready: [bool; 3],
    revision: u64,
    now_ms: u64,
    table: Table,
    readiness: Readiness,
    /// The list in shared data.
    list: Vec<u8>,
    /// Each worker's VM; another one after a trap.
    vms: [u64; WORKERS],
    sessions: [Sessions; WORKERS],
    lives: Vec<Life>,
}

impl World {
    fn new() -> Self {
        let settings = Settings {
            hold_timeout_ms: u32::try_from(TIMEOUT_MS).unwrap(),
            max_held_connections: 2,
            max_held_connections_per_pod: POD_MAX,
            connect_timeout_ms: u32::try_from(CONNECT_TIMEOUT_MS).unwrap(),
            ..Settings::default()
        };
        let mut world = Self {
            settings,
            targets: [Some(0), Some(1), Some(2)],
            ready: [false, false, true],
            revision: 0,
            now_ms: 10_000,
            table: Table::compile(&[], 1).unwrap(),
            readiness: Readiness::default(),
            list: Held::default().write(),
            vms: [1, 2],
            sessions: Default::default(),
            lives: Vec::new(),
        };
        world.publish();
        world
    }

    fn publish(&mut self) {
        self.revision += 1;
        let rule = |(index, target_of): (usize, &Option<usize>)| {
            let target_of = (*target_of)?;
            let field = FieldSpec {
                value: Some(ROUTES[index].to_string()),
                ..FieldSpec::default()
            };
            let spec = RuleSpec {
                name: RouteName {
                    namespace: "t".into(),
                    name: ROUTES[index].into(),
                },
                match_fields: vec![("SenderCompID49".into(), field)],
                source_ranges: None,
                default: false,
                priority: None,
                target: target(target_of),
                // The first one lets one wait; the others go by the gateway's two.
                hold: Hold {
                    connections_max: (index == 0).then_some(1),
                    timeout_ms: None,
                },
            };
            Some(Rule::new(spec).unwrap())
        };
        let rules: Vec<Rule> = self.targets.iter().enumerate().filter_map(rule).collect();
        self.table = Table::compile(&rules, self.revision).unwrap();
        let down: Vec<Target> = (0..3).filter(|&at| !self.ready[at]).map(target).collect();
        self.readiness = Readiness::load(&Readiness::encode(self.revision, &down)).unwrap();
    }

    /// Lets one connection react, and performs what it asks for, as the filter does.
    fn react(
        &mut self,
        at: usize,
        event: impl FnOnce(&mut Connection, View<'_>) -> Step,
        later: impl FnOnce(&mut Connecting, &Upstream, View<'_>) -> Step,
    ) {
        let view = View {
            table: Some(&self.table),
            readiness: Some(&self.readiness),
            settings: &self.settings,
        };
        let life = &mut self.lives[at];
        let before = life.standing();
        let over = life.is_over();
        let mut step = match &mut life.connecting {
            Some(connecting) => later(connecting, &life.upstream, view),
            None => event(&mut life.connection, view),
        };
        assert!(
            !over || step == Step::Wait,
            "a step after the end: {step:?}"
        );
        if let Step::Ask { route, caps } = &step {
            let mut list = Held::read(&self.list);
            list.forget_the_dead(self.vms[life.worker], self.now_ms);
            let answer = list.enter(self.vms[life.worker], route, self.now_ms, *caps);
            if let Ok(place) = answer {
                assert!(place.route <= caps.route_max && place.pod <= caps.pod_max);
                self.list = list.write();
            }
            step = match &mut life.connecting {
                Some(connecting) => connecting.placed(self.now_ms, answer),
                None => life.connection.placed(self.now_ms, answer),
            };
            assert!(!matches!(step, Step::Ask { .. } | Step::Wait), "asks again");
        }
        match step {
            Step::Wait => {}
            Step::Ask { .. } => unreachable!("answered above"),
            Step::Hold { record } => {
                life.held_since = Some(self.now_ms);
                life.records.push(*record);
            }
            Step::Park { record } => {
                life.held_since = Some(self.now_ms);
                life.records.push(*record);
                life.cluster = NOWHERE.to_string();
            }
            Step::Connect { cluster, record } | Step::Reject { cluster, record } => {
                life.held_since = None;
                if life.connecting.is_none() {
                    life.connecting = Some(Connecting::new((*record).clone(), view, false));
                    life.upstream.attempts = 1;
                    life.attempt_at.clone_from(&cluster);
                }
                life.cluster = cluster;
                life.records.push(*record);
            }
            Step::Live { target, record, .. } => {
                assert_eq!(target, life.attempt_at, "it is said to be elsewhere");
                life.live = Some(target);
                life.records.extend(record.map(|record| *record));
            }
            Step::Close { record } => {
                life.closed = true;
                life.records.extend(record.map(|record| *record));
            }
        }
        let after = life.standing();
        self.sessions[life.worker].moved(&before, &after);
        self.settle();
    }

    /// Every worker puts its share right, as after each change.
    fn settle(&mut self) {
        for worker in 0..WORKERS {
            let own = self.sessions[worker].held();
            let mut list = Held::read(&self.list);
            list.forget_the_dead(self.vms[worker], self.now_ms);
            list.settle(self.vms[worker], self.now_ms, &own);
            self.list = list.write();
        }
    }

    fn happens(&mut self, event: &Event) {
        match *event {
            Event::Accept { worker, route } => {
                let body = format!("35=A\u{1}49={}\u{1}56=G\u{1}", ROUTES[route]);
                let logon = format!("8=FIX.4.4\u{1}9={}\u{1}{body}10=000\u{1}", body.len());
                let behind = "what follows the Logon ".repeat(4);
                let arrival = Arrival {
                    accepted_ms: self.now_ms,
                    source: None,
                };
                self.lives.push(Life {
                    connection: Connection::accepted(arrival, &self.settings),
                    worker,
                    script: (logon + &behind).into_bytes(),
                    arrived: 0,
                    accepted_ms: self.now_ms,
                    held_since: None,
                    records: Vec::new(),
                    connecting: None,
                    cluster: String::new(),
                    attempt_at: String::new(),
                    upstream: Upstream::default(),
                    live: None,
                    closed: false,
                    trapped: false,
                });
            }
            Event::Bytes { connection, .. }
            | Event::Fin { connection }
            | Event::Reset { connection }
            | Event::Attempt { connection, .. }
            | Event::End { connection } => {
                let living: Vec<usize> = (0..self.lives.len())
                    .filter(|&at| !self.lives[at].trapped)
                    .collect();
                if !living.is_empty() {
                    self.meets(living[connection % living.len()], event);
                }
            }
            Event::Tick { ms } => {
                self.now_ms += ms;
                let now_ms = self.now_ms;
                for at in 0..self.lives.len() {
                    if !self.lives[at].trapped {
                        self.react(
                            at,
                            |connection, view| connection.tick(now_ms, view),
                            |connecting, upstream, view| {
                                connecting.progressed(now_ms, view, upstream)
                            },
                        );
                    }
                }
                self.settle();
            }
            Event::Ready { target, is_ready } => {
                self.ready[target] = is_ready;
                self.publish();
            }
            Event::Route { route, target } => {
                self.targets[route] = target;
                self.publish();
            }
            Event::Trap { worker } => {
                self.vms[worker] += 10;
                self.sessions[worker] = Sessions::default();
                for life in &mut self.lives {
                    life.trapped |= life.worker == worker;
                }
            }
        }
    }

    /// What happens to one connection.
    fn meets(&mut self, at: usize, event: &Event) {
        match *event {
            Event::Bytes { count, .. } => {
                let life = &mut self.lives[at];
                life.arrived = (life.arrived + count).min(life.script.len());
                let buffer = life.script[..life.arrived].to_vec();
                self.react(
                    at,
                    |connection, view| connection.received(view, &buffer, false),
                    |_, _, _| Step::Wait,
                );
            }
            Event::Fin { .. } => {
                let buffer = self.lives[at].script[..self.lives[at].arrived].to_vec();
                self.react(
                    at,
                    |connection, view| connection.received(view, &buffer, true),
                    |connecting, _, _| {
                        connecting.finished();
                        Step::Wait
                    },
                );
            }
            Event::Reset { .. } => {
                let before = self.lives[at].standing();
                self.react(
                    at,
                    |connection, view| closed(connection.gone(view, b"")),
                    |connecting, upstream, _| closed(connecting.ended(End::Left, upstream)),
                );
                self.ends(at, &before);
            }
            Event::Attempt { takes, .. } => {
                let life = &mut self.lives[at];
                if life.connecting.is_none() || life.upstream.is_connected || life.closed {
                    return;
                }
                if takes && life.attempt_at != NOWHERE {
                    life.upstream.is_connected = true;
                } else {
                    life.upstream.attempts += 1;
                    life.attempt_at.clone_from(&life.cluster);
                }
            }
            Event::End { .. } => {
                let before = self.lives[at].standing();
                if self.lives[at].connecting.is_some() {
                    self.react(
                        at,
                        |_, _| Step::Wait,
                        |connecting, upstream, _| closed(connecting.ended(End::GivenUp, upstream)),
                    );
                    self.ends(at, &before);
                }
            }
            Event::Accept { .. }
            | Event::Tick { .. }
            | Event::Ready { .. }
            | Event::Route { .. }
            | Event::Trap { .. } => unreachable!("{event:?} is nobody's"),
        }
    }

    /// It is over without a word of ours: what it counted as, it counts as no more.
    fn ends(&mut self, at: usize, before: &Standing) {
        let life = &mut self.lives[at];
        let was_closed = life.closed;
        life.closed = true;
        if !was_closed && matches!(before, Standing::Live { .. }) {
            self.sessions[life.worker].moved(before, &Standing::Unrouted);
        }
        self.settle();
    }

    /// What must hold at every moment.
    fn check(&self) {
        let list = Held::read(&self.list);
        let mut of_living = 0;
        for life in self.lives.iter().filter(|life| !life.trapped) {
            let held = life.is_held();
            of_living += u32::from(held);
            assert!(!(held && life.is_over()));
            // Never connected without a decision, each is closed once, and nothing is said after that.
            let closes = life.records.iter();
            let closes = closes
                .filter(|record| record.decision == Decision::Closed)
                .count();
            assert!(closes <= 1, "{:?}", life.records);
            let last = life.records.last().map(|record| record.decision);
            assert!(closes == 0 || last == Some(Decision::Closed));
            if life.connecting.is_some() {
                let routed = life.records.iter();
                let mut routed = routed.filter(|record| record.decision == Decision::Route);
                assert!(routed.next().is_some(), "{:?}", life.records);
            }
            // Each hold has one end.
            for (place, record) in life.records.iter().enumerate() {
                if record.decision != Decision::Held {
                    continue;
                }
                match life.records.get(place + 1) {
                    None => assert!(held || life.is_over(), "{:?}", life.records),
                    Some(end) => {
                        let ends = [
                            Reason::Matched,
                            Reason::HoldTimeout,
                            Reason::LeftWhileHeld,
                            Reason::TargetUnreachable,
                        ];
                        assert!(ends.contains(&end.reason), "{:?}", life.records);
                    }
                }
            }
            if let Some(since) = life.held_since.filter(|_| held) {
                assert!(self.now_ms < since + TIMEOUT_MS, "held for too long");
            }
            let waits_for_logon = life.connection.waiting() && !held && !life.closed;
            if waits_for_logon {
                let deadline = life.accepted_ms + u64::from(limits::LOGON_TIMEOUT_MS);
                assert!(self.now_ms < deadline, "waits for too long");
            }
        }
        assert!(
            list.in_all() >= of_living,
            "somebody is held without a place"
        );
        assert!(list.in_all() <= POD_MAX);
        assert!(list.of_route("t/a") <= 1 && list.of_route("t/b") <= 2);
        for worker in 0..WORKERS {
            self.check_counts(worker);
        }
    }

    /// A worker counts each of its connections as what it is.
    fn check_counts(&self, worker: usize) {
        let own = self.lives.iter();
        let own = own.filter(|life| life.worker == worker && !life.trapped);
        let mut counted = Sessions::default();
        for life in own {
            counted.moved(&Standing::Unrouted, &life.standing());
        }
        let all = |sessions: &Sessions| {
            let mut report = VmReport::default();
            sessions.clone().fill(&mut report);
            let routes = report.routes.into_iter();
            let some = routes.filter(|route| route.held > 0 || !route.targets.is_empty());
            some.collect::<Vec<_>>()
        };
        assert_eq!(all(&self.sessions[worker]), all(&counted));
    }

    /// Everything becomes ready, and time passes: then nobody is held, and no place is taken.
    fn end(&mut self) {
        self.ready = [true; 3];
        self.publish();
        self.happens(&Event::Tick { ms: 1 });
        for life in self.lives.iter().filter(|life| !life.trapped) {
            // One that is parked waits for its next attempt.
            if let Some(route) = life.connection.held_for() {
                let index = ROUTES.iter().position(|name| route == format!("t/{name}"));
                assert_eq!(self.targets[index.unwrap()], None, "{route} is ready");
            }
        }
        // One that is connecting again after its hold has its time from there.
        for _ in 0..2 {
            self.happens(&Event::Tick {
                ms: TIMEOUT_MS.max(limits::HELD_SHARE_MS),
            });
        }
        assert_eq!(Held::read(&self.list).in_all(), 0, "a place is lost");
        for life in self.lives.iter().filter(|life| !life.trapped) {
            let standing = life.standing();
            let settled = matches!(standing, Standing::Unrouted | Standing::Live { .. });
            assert!(settled, "{standing:?}");
        }
    }
}

fn closed(record: Option<Box<DecisionRecord>>) -> Step {
    match record {
        None => Step::Wait,
        record => Step::Close { record },
    }
}

#[test]
fn every_course_of_events_keeps_the_laws_of_a_connection() {
    let config = ProptestConfig {
        cases: 2_000,
        ..ProptestConfig::default()
    };
    let (held, parked) = (std::cell::Cell::new(0_usize), std::cell::Cell::new(0_usize));
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let courses = proptest::collection::vec(event(), 1..120);
    let result = runner.run(&courses, |course| {
        let mut world = World::new();
        for event in &course {
            world.happens(event);
            world.check();
        }
        world.end();
        for life in &world.lives {
            let holds = life.records.iter();
            let holds = holds.filter(|record| record.decision == Decision::Held);
            held.set(held.get() + holds.count());
            let first = life.records.first().map(|record| record.decision);
            let was_parked = first == Some(Decision::Route)
                && life
                    .records
                    .iter()
                    .any(|record| record.decision == Decision::Held);
            parked.set(parked.get() + usize::from(was_parked));
        }
        Ok(())
    });
    result.unwrap();
    println!("held: {}, parked: {}", held.get(), parked.get());
    assert!(held.get() > 2_000 && parked.get() > 100);
}
