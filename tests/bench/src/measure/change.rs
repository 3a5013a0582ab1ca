//! What do live sessions notice of a change of the rules, and how soon does it count?

use std::time::Duration;

use super::{GATHER_AT_A_TIME, Measured};
use crate::cpu;
use crate::load::{ENGINES, NEWCOMER, Plan, Trip, message, nanos};
use crate::metrics::{APPLIED, CHANGE, LOST, MEMORY_AFTER, PAUSE, PAUSE_BEFORE, PROCESSES};
use crate::rounds::Bench;
use crate::subject::{Kind, Rules, Setting, Subject, Way, Workers};
use crate::units::{count, mib, micros};

/// Live sessions beside a change.
const SESSIONS: usize = 200;
/// Messages of theirs a second.
const PACE: u32 = 4_000;
/// How long a change is looked at, and how long nothing before it.
const LOOK: Duration = Duration::from_secs(3);
/// How often the new counterparty tries.
const ASK: Duration = Duration::from_millis(5);

/// Each way in which a change can reach somebody.
const WAYS: [(Kind, Way, &str); 6] = [
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
    (Kind::Gateway(Workers::One), Way::Live, "gateway"),
];

/// One after the other: each is started for it, and changes more than once.
pub(crate) fn measure(bench: &mut Bench) {
    let rules = bench.scale.change_rules;
    bench.setting.rules = Rules::of(rules);
    let load = format!("{rules} rules");
    for (kind, way, name) in WAYS {
        if !bench.kinds.contains(&kind) {
            continue;
        }
        bench.say(&format!("{CHANGE}: {name}"));
        let setting = Setting {
            way,
            ..bench.setting.clone()
        };
        let (mut subject, _) = Subject::start(kind, &setting, &mut bench.load);
        let mut newcomer = 0;
        for round in 0..bench.scale.changes {
            bench.round((CHANGE, &load), name, round, |bench| {
                newcomer += 1;
                one(bench, &mut subject, newcomer)
            });
        }
        bench.load.leave();
        drop(subject);
        bench.load.forget();
    }
}

/// A round. Those that were lost by the change before come again, so that each change meets as many.
fn one(bench: &mut Bench, subject: &mut Subject, newcomer: usize) -> Measured {
    let (load, scale) = (&mut bench.load, &bench.scale);
    let target = subject.target(false);
    load.leave();
    load.gather(&target, SESSIONS, GATHER_AT_A_TIME, scale.change_rules);
    load.take_seen();
    let sender = format!("{NEWCOMER}{newcomer}");
    let engine = newcomer % ENGINES;
    let mut change = subject.admit(&sender, engine);
    let message = message(150);
    let plan = Plan {
        message: &message,
        per_second: PACE,
        length: LOOK * 2,
        spins: false,
    };
    let look = nanos(LOOK);
    let (mut committed, mut applied, mut asked) = (None, None, 0);
    let begun = load.now();
    let exchanged = load.exchange(&plan, &mut |load, since| {
        if since < look {
            return;
        }
        let at = *committed.get_or_insert_with(|| {
            change.commit();
            load.now()
        });
        if let Some(trip) = load.seen().answered.first() {
            applied.get_or_insert((trip.due + trip.took).saturating_sub(at));
        } else if load.now() >= at + asked * nanos(ASK) {
            asked += 1;
            load.ask(&target, &sender);
        }
    });
    let committed = committed.unwrap_or(u64::MAX);
    let longest = |is: &dyn Fn(&Trip) -> bool| {
        let trips = exchanged.trips.iter().filter(|trip| is(trip));
        trips.map(|trip| trip.took).max().unwrap_or(0)
    };
    let warm = begun + nanos(scale.warm);
    let before = longest(&|trip| trip.due >= warm && trip.due < committed);
    let after = longest(&|trip| trip.due >= committed);
    let parts: Vec<u32> = subject.parts().into_iter().map(|(_, pid)| pid).collect();
    let seen = load.take_seen();
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
