//! How long until a subject answers, and how much memory does it take?

use super::{GATHER_AT_A_TIME, Measured};
use crate::cpu;
use crate::metrics::{MEMORY, MEMORY_NOT_ENVOY, PER_SESSION, START, START_UP};
use crate::rounds::Bench;
use crate::subject::{Kind, Rules, Subject};
use crate::units::{count, count_u64, mib, millis};

/// Sessions that show what one takes.
const MEMORY_SESSIONS: usize = 2_000;

/// With the fewest rules, and with the most.
pub(crate) fn measure(bench: &mut Bench) {
    let (first, last) = (bench.scale.rules.first(), bench.scale.rules.last());
    let mut sizes: Vec<usize> = first.into_iter().chain(last).copied().collect();
    sizes.dedup();
    let kinds = bench.kinds.iter().filter(|kind| **kind != Kind::Direct);
    let all: Vec<(&str, Kind)> = kinds.map(|kind| (kind.name(), *kind)).collect();
    for rules in sizes {
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
    if Some(&rules) == bench.scale.rules.first() {
        let target = subject.target(false);
        load.gather(&target, MEMORY_SESSIONS, GATHER_AT_A_TIME, rules);
        let live = load.live();
        let more = cpu::memory_kb(&subject.pids()).saturating_sub(memory);
        all.push((PER_SESSION, count_u64(more) / count(live.max(1))));
        load.leave();
    }
    drop(subject);
    load.forget();
    all
}
