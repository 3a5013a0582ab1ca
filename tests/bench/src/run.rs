//! Which comparisons are made, at which scale, in which order?
//!
//! Rounds take turns: each subject once, then each of them again (A B C A B C), so that whatever else the machine does meets all alike.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cpu;
use crate::figures::{Figures, Metric};
use crate::load::{Exchanged, Load, Pace, Plan, Trip, message};
use crate::scene::Cores;
use crate::statistics::percentile;
use crate::subject::{Identity, Kind, Rules, Setting, Subject, Way, open_files};

/// Messages over live sessions.
pub const MESSAGES: &str = "messages";
/// The same, with TLS.
pub const MESSAGES_TLS: &str = "messages-tls";
/// Connections that log on.
pub const CONNECTS: &str = "connects";
/// The same, with TLS.
pub const CONNECTS_TLS: &str = "connects-tls";
/// Everybody at once.
pub const STORM: &str = "storm";
/// Memory and the time until the first answer.
pub const START: &str = "start";
/// A change of the rules beside live sessions.
pub const CHANGE: &str = "change";
/// What is routed that should not be, and the other way round.
pub const CORRECT: &str = "correctness";
/// Of it, messages of real engines.
pub const CORPUS: &str = "corpus";
/// And Logons that hide something.
pub const ATTACKS: &str = "attacks";

const fn compared(name: &'static str, unit: &'static str) -> Metric {
    Metric {
        name,
        unit,
        compared: true,
    }
}

const fn alone(name: &'static str, unit: &'static str) -> Metric {
    Metric {
        name,
        unit,
        compared: false,
    }
}

/// Processor time of the subject for each message there and back.
pub const CPU_PER_MESSAGE: Metric = compared("CPU per message", "µs");
/// The same while each session's next message goes when the last is back: what is left without waking up.
pub const CPU_BACK_TO_BACK: Metric = compared("CPU per message back to back", "µs");
/// How many messages a second that comes to.
pub const MESSAGES_PER_SECOND: Metric = compared("messages per second then", "");
/// How much of it is not Envoy's.
pub const CONTROL_CPU: Metric = alone("of it control plane", "µs");
/// Half of the round trips take no longer.
pub const P50: Metric = compared("p50", "µs");
/// 99 of a hundred take no longer.
pub const P99: Metric = compared("p99", "µs");
/// 999 of a thousand take no longer.
pub const P999: Metric = compared("p99.9", "µs");
/// How much of its processor the subject used.
pub const SUBJECT_SHARE: Metric = alone("subject's core", "%");
/// How much of the time the generator had something to do.
pub const GENERATOR_SHARE: Metric = alone("generator busy", "%");
/// How much of the subject's processor others used.
pub const OTHERS_SHARE: Metric = alone("others on the subject's core", "%");
/// Messages that did not come back, sessions that could not be made or ended.
pub const ERRORS: Metric = alone("errors", "");
/// Processor time for each connection that logs on and goes.
pub const CPU_PER_CONNECT: Metric = compared("CPU per connect + Logon", "µs");
/// Connections in a second at the most.
pub const PER_SECOND: Metric = compared("Logons per second at most", "");
/// How much of its processor the subject used then.
pub const SATURATED: Metric = alone("subject's core then", "%");
/// And the generator of its own.
pub const GENERATOR_SATURATED: Metric = alone("generator's core then", "%");
/// From the first connection until the last is logged on.
pub const LAST_ON: Metric = compared("until the last is logged on", "ms");
/// The most memory then.
pub const PEAK: Metric = compared("most memory", "MiB");
/// From its start until it answers a Logon.
pub const START_UP: Metric = compared("start to first answer", "ms");
/// Memory without sessions.
pub const MEMORY: Metric = compared("memory", "MiB");
/// Memory that each session adds.
pub const PER_SESSION: Metric = compared("memory per session", "KiB");
/// From the change until the new counterparty's Logon is answered.
pub const APPLIED: Metric = alone("until applied", "ms");
/// The longest round trip with no change.
pub const PAUSE_BEFORE: Metric = alone("longest round trip, no change", "ms");
/// The longest round trip of the time with the change.
pub const PAUSE: Metric = alone("longest round trip, a change", "ms");
/// Sessions that ended by it.
pub const LOST: Metric = alone("sessions lost", "");
/// Processes that are there after it.
pub const PROCESSES: Metric = alone("processes after it", "");
/// Their memory.
pub const MEMORY_AFTER: Metric = alone("memory after it", "MiB");

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Times that each figure of messages and connections is measured.
    pub rounds: usize,
    /// How long each time.
    pub window: Duration,
    /// Numbers of sessions with TLS, and messages of the first size alone.
    pub sessions_tls: Vec<usize>,
    /// How long before that nothing is measured.
    pub warm: Duration,
    /// Sizes of messages, bytes.
    pub sizes: Vec<usize>,
    /// Numbers of sessions.
    pub sessions: Vec<usize>,
    /// Numbers of rules.
    pub rules: Vec<usize>,
    /// Counterparties that come at once.
    pub storm: usize,
    /// Times that each subject is started.
    pub starts: usize,
    /// Changes of the rules.
    pub changes: usize,
    /// How many rules there are meanwhile.
    pub change_rules: usize,
    /// Who is compared.
    pub subjects: Vec<Kind>,
    /// Whether a round is made again in which others used the machine.
    pub repeats: bool,
    /// Which tables are filled.
    pub tables: Vec<&'static str>,
}

/// All tables, in the order in which they are filled.
pub const TABLES: [&str; 8] = [
    MESSAGES,
    CONNECTS,
    MESSAGES_TLS,
    CONNECTS_TLS,
    STORM,
    START,
    CHANGE,
    CORRECT,
];

impl Scale {
    /// What the committed figures are made with: about a quarter of an hour.
    #[must_use]
    pub fn full() -> Self {
        Self {
            rounds: 3,
            window: Duration::from_millis(900),
            sessions_tls: vec![1, 16, 256],
            warm: Duration::from_millis(300),
            sizes: vec![150, 2_048],
            sessions: vec![1, 16, 256, 2_000],
            rules: vec![10, 1_000, 10_000],
            storm: 5_000,
            starts: 3,
            changes: 2,
            change_rules: 10_000,
            subjects: Kind::ALL.to_vec(),
            repeats: true,
            tables: TABLES.to_vec(),
        }
    }

    /// About five minutes, for somebody who wants to see something move.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            rounds: 3,
            window: Duration::from_millis(700),
            sizes: vec![150],
            sessions: vec![16, 256],
            sessions_tls: vec![16],
            rules: vec![10, 1_000],
            storm: 1_000,
            starts: 1,
            changes: 1,
            change_rules: 1_000,
            ..Self::full()
        }
    }

    /// A few seconds, for a test: that it works, not what it says.
    #[must_use]
    pub fn smoke() -> Self {
        Self {
            rounds: 1,
            window: Duration::from_millis(300),
            warm: Duration::from_millis(100),
            sessions: vec![16],
            rules: vec![10],
            subjects: vec![Kind::Direct, Kind::Envoy, Kind::Gateway],
            tables: vec![MESSAGES, CONNECTS],
            repeats: false,
            ..Self::quick()
        }
    }
}

/// Messages a second, all sessions together: a fraction of what any subject can do.
const fn pace(sessions: usize) -> u32 {
    if sessions == 1 { 5_000 } else { 10_000 }
}

/// Connections a second, while it is measured what one costs.
const CONNECTS_PACE: u32 = 1_000;
/// Connections at a time, while it is measured how many there can be.
const CONNECTS_AT_A_TIME: usize = 64;
/// Sessions on their way at a time, before messages.
const GATHER_AT_A_TIME: usize = 64;
/// Sessions that show what one takes.
const MEMORY_SESSIONS: usize = 2_000;
/// Live sessions beside a change.
const CHANGE_SESSIONS: usize = 200;
/// Messages of theirs a second.
const CHANGE_PACE: u32 = 4_000;
/// How long a change is looked at, and how long nothing before it.
const CHANGE_LOOK: Duration = Duration::from_secs(3);
/// How often the new counterparty tries.
const CHANGE_ASK: Duration = Duration::from_millis(5);
/// Rules of the runs that are not about rules.
const RULES: usize = 1_000;

/// The figures of one round of one subject.
type Measured = Vec<(Metric, f64)>;

/// Rounds in which others used the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbed {
    /// So many were made again.
    pub again: usize,
    /// So many were not.
    pub stayed: usize,
}

/// A moment within a measurement.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    cpu: Duration,
    envoy: Duration,
    own: Duration,
    idle: Duration,
    done: usize,
}

/// What others than the comparison may use of the machine in a round, as a part of one processor. (The kernel alone takes a tenth, which is nobody's:
/// interrupts, and waking up.) A round in which they used more is made
/// again.
const OTHERS_MAX: f64 = 0.15;
/// How long the comparison waits for others to have done, before such a round.
const OTHERS_WAIT_MAX: Duration = Duration::from_secs(15);
/// How long it waits so, and makes rounds again, in all; from then on rounds stay as they are.
const AGAIN_MAX: Duration = Duration::from_mins(1);

/// Who has used the two processors so far.
struct Used {
    /// This comparison.
    ours: Duration,
    /// Nobody.
    idle: Duration,
    at: Instant,
}

impl Used {
    /// What others have used of the two from then until now, as a part of one.
    fn others_until(&self, now: &Self) -> f64 {
        let length = (now.at - self.at).as_secs_f64();
        let ours = now.ours.saturating_sub(self.ours).as_secs_f64();
        let idle = now.idle.saturating_sub(self.idle).as_secs_f64();
        (2.0 * length - idle - ours) / length
    }
}

/// A comparison under way.
pub struct Run {
    load: Load,
    scale: Scale,
    setting: Setting,
    figures: Figures,
    kinds: Vec<Kind>,
    begun: Instant,
    cores: Cores,
    again: usize,
    spent_again: Duration,
    disturbed: usize,
}

impl Run {
    /// Of those that can be had here; who cannot be had is said.
    #[must_use]
    pub fn new(scale: Scale, cores: Cores) -> Self {
        let load = Load::begin();
        let setting = Setting {
            core: cores.subject,
            rules: Rules::of(RULES),
            way: Way::Live,
            identity: Identity::new(),
            engines: load.engines(),
        };
        let found = |kind: &Kind| kind.found().map_err(|why| eprintln!("{why}")).is_ok();
        let kinds = scale.subjects.iter().copied().filter(found).collect();
        Self {
            load,
            scale,
            setting,
            figures: Figures::default(),
            kinds,
            begun: Instant::now(),
            cores,
            again: 0,
            spent_again: Duration::ZERO,
            disturbed: 0,
        }
    }

    /// Who is compared.
    #[must_use]
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// How much is measured.
    #[must_use]
    pub const fn scale(&self) -> &Scale {
        &self.scale
    }

    /// Makes all comparisons. Says also how many rounds were made again, and how many stayed though others used the machine.
    #[must_use]
    pub fn all(mut self) -> (Figures, Disturbed) {
        if self.wants(START) {
            self.starts();
        }
        let fixed = [MESSAGES, MESSAGES_TLS, CONNECTS_TLS, STORM];
        if fixed.iter().any(|table| self.wants(table)) {
            let subjects = self.started(RULES);
            if self.wants(MESSAGES) {
                self.messages(&subjects, false);
            }
            if self.wants(MESSAGES_TLS) {
                self.messages(&subjects, true);
            }
            if self.wants(CONNECTS_TLS) {
                self.connects(&subjects, RULES, true);
            }
            if self.wants(STORM) {
                self.storm(&subjects);
            }
        }
        if self.wants(CONNECTS) {
            for rules in self.scale.rules.clone() {
                let subjects = self.started(rules);
                self.connects(&subjects, rules, false);
            }
        }
        if self.wants(CHANGE) {
            self.changes();
        }
        if self.wants(CORRECT) {
            crate::correctness::add(
                &mut self.figures,
                &mut self.load,
                &self.setting,
                &self.kinds,
            );
        }
        let disturbed = Disturbed {
            again: self.again,
            stayed: self.disturbed,
        };
        (self.figures, disturbed)
    }

    /// Makes a round, and makes it again if others used the machine meanwhile.
    fn round(&mut self, make: &mut dyn FnMut(&mut Self) -> Measured) -> Measured {
        loop {
            let before = self.used();
            let made = make(self);
            if before.others_until(&self.used()) <= OTHERS_MAX {
                return made;
            }
            if !self.scale.repeats || self.spent_again > AGAIN_MAX {
                self.disturbed += 1;
                return made;
            }
            self.again += 1;
            self.await_quiet();
            self.spent_again += before.at.elapsed();
        }
    }

    fn used(&self) -> Used {
        Used {
            ours: cpu::of_everybody_here(),
            idle: cpu::idle(self.cores.generator) + cpu::idle(self.cores.subject),
            at: Instant::now(),
        }
    }

    fn await_quiet(&self) {
        const LOOK: Duration = Duration::from_millis(500);
        let end = Instant::now() + OTHERS_WAIT_MAX;
        while Instant::now() < end {
            let before = self.used();
            std::thread::sleep(LOOK);
            if before.others_until(&self.used()) < OTHERS_MAX {
                return;
            }
        }
    }

    fn wants(&self, table: &str) -> bool {
        self.scale.tables.contains(&table)
    }

    fn say(&self, what: &str) {
        eprintln!("{:>5} s  {what}", self.begun.elapsed().as_secs());
    }

    fn started(&mut self, rules: usize) -> Vec<Subject> {
        self.setting.rules = Rules::of(rules);
        self.say(&format!("starting, {rules} rules"));
        let kinds = self.kinds.clone();
        let start = |kind| Subject::start(kind, &self.setting, &mut self.load).0;
        kinds.into_iter().map(start).collect()
    }

    fn add(
        &mut self,
        place: (&'static str, &str),
        subject: &str,
        round: usize,
        all: &[(Metric, f64)],
    ) {
        for (metric, value) in all {
            self.figures.add(place, subject, *metric, round, *value);
        }
    }

    fn messages(&mut self, subjects: &[Subject], tls: bool) {
        let table = if tls { MESSAGES_TLS } else { MESSAGES };
        let subjects = subjects
            .iter()
            .filter(|it| !tls || it.kind() != Kind::Direct);
        let subjects: Vec<&Subject> = subjects.collect();
        let (mut sizes, mut counts) = (self.scale.sizes.clone(), self.scale.sessions.clone());
        if tls {
            sizes.truncate(1);
            counts.clone_from(&self.scale.sessions_tls);
        }
        for size in sizes {
            let message = message(size);
            for sessions in counts.clone() {
                let load = format!("{size} B, {sessions} sessions");
                self.say(&format!("{table}: {load}"));
                for round in 0..self.scale.rounds {
                    for subject in &subjects {
                        let all = self
                            .round(&mut |run| run.message_round(subject, tls, &message, sessions));
                        self.add((table, &load), subject.kind().name(), round, &all);
                    }
                }
            }
        }
    }

    fn message_round(
        &mut self,
        subject: &Subject,
        tls: bool,
        message: &[u8],
        sessions: usize,
    ) -> Measured {
        let target = subject.target(tls);
        self.load.gather(&target, sessions, GATHER_AT_A_TIME, RULES);
        let missing_sessions = sessions - self.load.live();
        let (warm, window) = (self.scale.warm, self.scale.window);
        let plan = Plan {
            message,
            per_second: pace(sessions),
            length: warm + window + Duration::from_millis(20),
            spins: true,
        };
        let samples = RefCell::new(Vec::new());
        let done = |load: &Load| load.trips();
        let exchanged = self.load.exchange(&plan, &mut |load, since| {
            sample_at(
                &samples,
                subject,
                self.setting.core,
                &[warm, warm + window],
                since,
                done(load),
            );
        });
        let samples = samples.into_inner();
        let full = RefCell::new(Vec::new());
        let times = [warm, warm + window];
        let length = warm + window + Duration::from_millis(5);
        self.load.back_to_back(message, length, &mut |load, since| {
            sample_at(
                &full,
                subject,
                self.setting.core,
                &times,
                since,
                load.trips(),
            );
        });
        let full = full.into_inner();
        let lost = self.load.take_seen();
        self.load.leave();
        let busy = exchanged.worked.as_secs_f64() / exchanged.length.as_secs_f64();
        let mut all = costs(&samples, subject, CPU_PER_MESSAGE);
        all.extend(round_trips(&exchanged, warm, window));
        if let [first, last] = full[..] {
            let length = (last.at - first.at).as_secs_f64();
            let back = costs(&full, subject, CPU_BACK_TO_BACK);
            all.extend(back.first());
            all.push((MESSAGES_PER_SECOND, count(last.done - first.done) / length));
        }
        all.extend(shares(&samples, subject));
        all.push((GENERATOR_SHARE, 100.0 * busy));
        let errors = missing_sessions + exchanged.missing + lost.lost + lost.misrouted;
        all.push((ERRORS, count(errors)));
        all
    }

    fn connects(&mut self, subjects: &[Subject], rules: usize, tls: bool) {
        let table = if tls { CONNECTS_TLS } else { CONNECTS };
        let load = format!("{rules} rules");
        self.say(&format!("{table}: {load}"));
        for round in 0..self.scale.rounds {
            for subject in subjects {
                if tls && subject.kind() == Kind::Direct {
                    continue;
                }
                let all = self.round(&mut |run| run.connect_round(subject, rules, tls));
                self.add((table, &load), subject.kind().name(), round, &all);
            }
        }
    }

    fn connect_round(&mut self, subject: &Subject, rules: usize, tls: bool) -> Measured {
        let target = subject.target(tls);
        let (warm, window) = (self.scale.warm, self.scale.window);
        let mut visit = |pace| {
            let samples = RefCell::new(Vec::new());
            let length = warm + window + Duration::from_millis(20);
            self.load
                .visit(&target, pace, rules, length, &mut |load, since| {
                    let done = load.seen().answered.len();
                    sample_at(
                        &samples,
                        subject,
                        self.setting.core,
                        &[warm, warm + window],
                        since,
                        done,
                    );
                });
            (samples.into_inner(), self.load.take_seen())
        };
        let (paced, seen) = visit(Pace::PerSecond(CONNECTS_PACE));
        let mut all = costs(&paced, subject, CPU_PER_CONNECT);
        let mut took: Vec<u64> = seen.answered.iter().map(|(begun, at)| at - begun).collect();
        took.sort_unstable();
        all.push((P50, micros(percentile(&took, 0.5))));
        all.push((P99, micros(percentile(&took, 0.99))));
        let (full, seen_full) = visit(Pace::AtATime(CONNECTS_AT_A_TIME));
        if let [first, last] = full[..] {
            let length = (last.at - first.at).as_secs_f64();
            let share = |from: Duration, to: Duration| {
                100.0 * to.saturating_sub(from).as_secs_f64() / length
            };
            all.push((PER_SECOND, count(last.done - first.done) / length));
            if subject.kind() != Kind::Direct {
                all.push((SATURATED, share(first.cpu, last.cpu)));
            }
            all.push((GENERATOR_SATURATED, share(first.own, last.own)));
        }
        let errors = [&seen, &seen_full].map(|seen| seen.refused + seen.misrouted);
        all.push((ERRORS, count(errors.iter().sum())));
        all
    }

    fn storm(&mut self, subjects: &[Subject]) {
        let counterparties = self.scale.storm.min(storm_max());
        if counterparties < self.scale.storm {
            self.say(&format!(
                "a process may open {} files here, enough for {counterparties} counterparties at once and not for {}",
                open_files(),
                self.scale.storm
            ));
        }
        let load = format!("{counterparties} at once");
        self.say(&format!("{STORM}: {load}"));
        for round in 0..self.scale.rounds {
            for subject in subjects {
                let all = self.round(&mut |run| run.storm_round(subject, counterparties));
                self.add((STORM, &load), subject.kind().name(), round, &all);
            }
        }
    }

    fn storm_round(&mut self, subject: &Subject, counterparties: usize) -> Measured {
        let pids = subject.pids();
        cpu::forget_peaks(&pids);
        let target = subject.target(false);
        let before = cpu::of_processes(&pids);
        let took = self
            .load
            .gather(&target, counterparties, counterparties, RULES);
        let cpu = cpu::of_processes(&pids).saturating_sub(before);
        let live = self.load.live();
        let seen = self.load.take_seen();
        let mut all = vec![(LAST_ON, millis(took))];
        if subject.kind() != Kind::Direct {
            all.push((PEAK, mib(cpu::peak_kb(&pids))));
            let each = cpu.as_secs_f64() * 1e6 / count(counterparties);
            all.push((CPU_PER_CONNECT, each));
        }
        all.push((ERRORS, count(counterparties - live + seen.misrouted)));
        self.load.leave();
        self.load.take_seen();
        all
    }

    fn starts(&mut self) {
        let (first, last) = (self.scale.rules.first(), self.scale.rules.last());
        let mut sizes: Vec<usize> = first.into_iter().chain(last).copied().collect();
        sizes.dedup();
        for rules in sizes {
            self.setting.rules = Rules::of(rules);
            let load = format!("{rules} rules");
            self.say(&format!("{START}: {load}"));
            for round in 0..self.scale.starts {
                for kind in self.kinds.clone() {
                    if kind == Kind::Direct {
                        continue;
                    }
                    let all = self.round(&mut |run| run.start_round(kind, rules));
                    self.add((START, &load), kind.name(), round, &all);
                }
            }
        }
    }

    fn start_round(&mut self, kind: Kind, rules: usize) -> Measured {
        let (subject, took) = Subject::start(kind, &self.setting, &mut self.load);
        let memory = cpu::memory_kb(&subject.pids());
        let mut all = vec![(START_UP, millis(took)), (MEMORY, mib(memory))];
        if kind == Kind::Gateway {
            let others = cpu::memory_kb(&subject.part(false));
            all.push((alone("of it not Envoy's", "MiB"), mib(others)));
        }
        if Some(&rules) == self.scale.rules.first() {
            let target = subject.target(false);
            self.load
                .gather(&target, MEMORY_SESSIONS, GATHER_AT_A_TIME, rules);
            let live = self.load.live();
            let more = cpu::memory_kb(&subject.pids()).saturating_sub(memory);
            all.push((PER_SESSION, count_u64(more) / count(live.max(1))));
            self.load.leave();
        }
        drop(subject);
        self.load.forget();
        all
    }

    fn changes(&mut self) {
        self.setting.rules = Rules::of(self.scale.change_rules);
        let load = format!("{} rules", self.scale.change_rules);
        for (kind, way, name) in [
            (Kind::HaProxy, Way::Live, "HAProxy, runtime socket"),
            (Kind::HaProxy, Way::Reload, "HAProxy, reload"),
            (
                Kind::HaProxy,
                Way::ReloadAndStop,
                "HAProxy, reload, hard-stop-after 2s",
            ),
            (Kind::Nginx, Way::Reload, "nginx, reload"),
            (
                Kind::Nginx,
                Way::ReloadAndStop,
                "nginx, reload, worker_shutdown_timeout 2s",
            ),
            (Kind::Gateway, Way::Live, "gateway"),
        ] {
            if !self.kinds.contains(&kind) {
                continue;
            }
            self.say(&format!("{CHANGE}: {name}"));
            let setting = Setting {
                way,
                ..self.setting.clone()
            };
            let (mut subject, _) = Subject::start(kind, &setting, &mut self.load);
            let target = subject.target(false);
            let mut newcomer = 0;
            for round in 0..self.scale.changes {
                let all = self.round(&mut |run| {
                    // Those that were lost by the change before come again, so that each change meets as many.
                    run.load.leave();
                    let rules = run.scale.change_rules;
                    run.load
                        .gather(&target, CHANGE_SESSIONS, GATHER_AT_A_TIME, rules);
                    run.load.take_seen();
                    newcomer += 1;
                    run.change_round(&mut subject, newcomer)
                });
                self.add((CHANGE, &load), name, round, &all);
            }
            self.load.leave();
            drop(subject);
            self.load.forget();
        }
    }

    fn change_round(&mut self, subject: &mut Subject, newcomer: usize) -> Measured {
        let sender = format!("{}{newcomer}", crate::load::NEWCOMER);
        let engine = newcomer % crate::load::ENGINES;
        let mut change = subject.admit(&sender, engine);
        let target = subject.target(false);
        let message = message(150);
        let plan = Plan {
            message: &message,
            per_second: CHANGE_PACE,
            length: CHANGE_LOOK * 2,
            spins: false,
        };
        let look = nanos(CHANGE_LOOK);
        let (mut committed, mut applied, mut asked) = (None, None, 0);
        let begun = self.load.now();
        let exchanged = self.load.exchange(&plan, &mut |load, since| {
            if since < look {
                return;
            }
            let at = *committed.get_or_insert_with(|| {
                change.commit();
                load.now()
            });
            if let Some((_, answered)) = load.seen().answered.first() {
                applied.get_or_insert(answered - at);
            } else if load.now() >= at + asked * nanos(CHANGE_ASK) {
                asked += 1;
                load.ask(&target, &sender);
            }
        });
        let committed = committed.unwrap_or(u64::MAX);
        let longest = |is: &dyn Fn(&Trip) -> bool| {
            let trips = exchanged.trips.iter().filter(|trip| is(trip));
            trips.map(|trip| trip.took).max().unwrap_or(0)
        };
        let warm = begun + nanos(self.scale.warm);
        let before = longest(&|trip| trip.due >= warm && trip.due < committed);
        let after = longest(&|trip| trip.due >= committed);
        let parts: Vec<u32> = subject.parts().into_iter().map(|(_, pid)| pid).collect();
        let seen = self.load.take_seen();
        let mut all = vec![
            (PAUSE_BEFORE, micros(before) / 1e3),
            (PAUSE, micros(after) / 1e3),
            (LOST, count(seen.lost)),
            (PROCESSES, count(parts.len())),
            (MEMORY_AFTER, mib(cpu::memory_kb(&parts))),
        ];
        if let Some(applied) = applied {
            all.insert(0, (APPLIED, micros(applied) / 1e3));
        }
        all
    }
}

/// Looks at processors and counts at each of these times, once.
fn sample_at(
    samples: &RefCell<Vec<Sample>>,
    subject: &Subject,
    core: usize,
    times: &[Duration],
    since: u64,
    done: usize,
) {
    let taken = samples.borrow().len();
    if times.get(taken).is_some_and(|time| since >= nanos(*time)) {
        let pids = subject.pids();
        samples.borrow_mut().push(Sample {
            cpu: cpu::of_processes(&pids),
            envoy: cpu::of_processes(&subject.part(true)),
            own: cpu::of_this_thread(),
            idle: cpu::idle(core),
            at: Instant::now(),
            done,
        });
    }
}

/// What was spent between two samples.
fn costs(samples: &[Sample], subject: &Subject, each: Metric) -> Measured {
    let [first, last] = samples else {
        return Vec::new();
    };
    if subject.kind() == Kind::Direct {
        return Vec::new();
    }
    let cpu = last.cpu.saturating_sub(first.cpu);
    let envoy = last.envoy.saturating_sub(first.envoy);
    let done = count((last.done - first.done).max(1));
    let mut all = vec![(each, cpu.as_secs_f64() * 1e6 / done)];
    if subject.kind() == Kind::Gateway {
        let others = cpu.saturating_sub(envoy);
        all.push((CONTROL_CPU, others.as_secs_f64() * 1e6 / done));
    }
    all
}

/// How full the subject's processor was between two samples, and how much of it others used.
fn shares(samples: &[Sample], subject: &Subject) -> Measured {
    let [first, last] = samples else {
        return Vec::new();
    };
    if subject.kind() == Kind::Direct {
        return Vec::new();
    }
    let length = (last.at - first.at).as_secs_f64();
    let cpu = last.cpu.saturating_sub(first.cpu);
    let others = length - last.idle.saturating_sub(first.idle).as_secs_f64() - cpu.as_secs_f64();
    vec![
        (SUBJECT_SHARE, 100.0 * cpu.as_secs_f64() / length),
        (OTHERS_SHARE, (100.0 * others / length).max(0.0)),
    ]
}

/// The round trips of what was due within the window, but for the moments in which the processors were looked at.
fn round_trips(exchanged: &Exchanged, warm: Duration, window: Duration) -> Measured {
    const AROUND: Duration = Duration::from_millis(20);
    let Some(start) = exchanged.trips.iter().map(|trip| trip.due).min() else {
        return Vec::new();
    };
    let (from, to) = (
        nanos(warm + AROUND),
        nanos((warm + window).saturating_sub(AROUND)),
    );
    let within = |trip: &&Trip| trip.due - start >= from && trip.due - start < to;
    let trips = exchanged.trips.iter().filter(within);
    let mut took: Vec<u64> = trips.map(|trip| trip.took).collect();
    took.sort_unstable();
    [(P50, 0.5), (P99, 0.99), (P999, 0.999)]
        .map(|(metric, part)| (metric, micros(percentile(&took, part))))
        .to_vec()
}

/// How many counterparties fit: of the files that a process may open the gateway, as `envoy/gateway.yaml` says why, gives a quarter to
/// counterparties.
fn storm_max() -> usize {
    let files = usize::try_from(open_files()).unwrap_or(usize::MAX);
    files.saturating_sub(200) / 4 / 100 * 100
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count_u64(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn count(count: usize) -> f64 {
    count as f64
}

fn micros(nanos: u64) -> f64 {
    count_u64(nanos) / 1e3
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn mib(kb: u64) -> f64 {
    count_u64(kb) / 1_024.0
}

/// What each subject says its version is.
#[must_use]
pub fn versions(kinds: &[Kind]) -> BTreeMap<&'static str, String> {
    let told = kinds.iter().filter(|kind| **kind != Kind::Direct);
    told.map(|kind| (kind.name(), kind.version())).collect()
}
