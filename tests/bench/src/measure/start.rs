//! How long until a subject answers, and how much memory does it take?

use std::time::{Duration, Instant};

use super::{GATHER_AT_A_TIME, Measured, storm};
use crate::cpu;
use crate::load::Load;
use crate::metrics::{IDLE_CPU, MEMORY, MEMORY_NOT_ENVOY, PER_SESSION, START, START_UP};
use crate::rounds::Bench;
use crate::subject::{Kind, Rules, Subject};
use crate::units::{count, count_u64, mib, millis};

/// Sessions that fill what the start has left free, and then those that show what one more takes.
const MEMORY_SESSIONS: [usize; 2] = [1_000, 3_000];
/// How long it is looked at with no session.
const IDLE: Duration = Duration::from_secs(2);

/// With each number of rules.
pub(crate) fn measure(bench: &mut Bench) {
    let kinds = bench.kinds.iter().filter(|kind| **kind != Kind::Direct);
    let all: Vec<(&str, Kind)> = kinds.map(|kind| (kind.name(), *kind)).collect();
    for rules in bench.scale.rules.clone() {
        bench.setting.rules = Rules::of(rules);
        let (load, starts) = (format!("{rules} rules"), bench.scale.starts);
        bench.turns((START, &load), starts, &all, |bench, kind| {
            round(bench, *kind, rules)
        });
    }
}

fn round(bench: &mut Bench, kind: Kind, rules: usize) -> Measured {
    let load = &mut bench.load;
    let (subject, took) = Subject::start(kind, &bench.setting, load);
    let memory = cpu::memory_kb(&subject.pids());
    let mut all = vec![(START_UP, millis(took)), (MEMORY, mib(memory))];
    if matches!(kind, Kind::Gateway(_)) {
        let others = cpu::memory_kb(&subject.part(false));
        all.push((MEMORY_NOT_ENVOY, mib(others)));
    }
    all.push((IDLE_CPU, idle(&subject)));
    if Some(&rules) == bench.scale.rules.first() {
        all.push((PER_SESSION, per_session(load, &subject, rules)));
        load.leave();
    }
    load.forget();
    bench.leaving.push(subject);
    all
}

/// How much of a processor it uses with nobody there, %.
fn idle(subject: &Subject) -> f64 {
    let (before, begun) = (cpu::of_processes(&subject.pids()), Instant::now());
    std::thread::sleep(IDLE);
    let used = cpu::of_processes(&subject.pids()).saturating_sub(before);
    100.0 * used.as_secs_f64() / begun.elapsed().as_secs_f64()
}

/// What one session more takes, KiB.
fn per_session(load: &mut Load, subject: &Subject, rules: usize) -> f64 {
    let target = subject.target(false);
    let [few, more] = MEMORY_SESSIONS;
    let more = more.min(storm::most().saturating_sub(few));
    load.gather(&target, few, GATHER_AT_A_TIME, rules);
    let (memory, live) = (cpu::memory_kb(&subject.pids()), load.live());
    load.gather(&target, more, GATHER_AT_A_TIME, rules);
    let added = cpu::memory_kb(&subject.pids()).saturating_sub(memory);
    count_u64(added) / count((load.live() - live).max(1))
}
