//! How long does it take, and how much memory, when everybody comes at once?

use super::Measured;
use crate::cpu;
use crate::metrics::{CPU_PER_CONNECT, ERRORS, GENERATOR_SHARE, LAST_ON, PEAK, STORM};
use crate::rounds::{Bench, named};
use crate::scale::RULES;
use crate::subject::{Kind, Subject, open_files};
use crate::units::{count, mib, millis};

/// As many as the scale says, or as there are files for.
pub(crate) fn measure(bench: &mut Bench, subjects: &[Subject]) {
    let wanted = bench.scale.storm;
    let counterparties = wanted.min(most());
    if counterparties < wanted {
        bench.say(&format!(
            "a process may open {} files here, enough for {counterparties} counterparties at once and not for {wanted}",
            open_files(),
        ));
    }
    let load = format!("{counterparties} at once");
    let (rounds, all) = (bench.scale.rounds, named(subjects, true));
    bench.turns((STORM, &load), rounds, &all, |bench, subject| {
        round(bench, subject, counterparties)
    });
}

fn round(bench: &mut Bench, subject: &Subject, counterparties: usize) -> Measured {
    let load = &mut bench.load;
    let pids = subject.pids();
    cpu::forget_peaks(&pids);
    let target = subject.target(false);
    let before = cpu::of_processes(&pids);
    let worked = load.worked();
    let took = load.gather(&target, counterparties, counterparties, RULES);
    let cpu = cpu::of_processes(&pids).saturating_sub(before);
    let live = load.live();
    let seen = load.take_seen();
    let busy = load.worked().saturating_sub(worked).as_secs_f64() / took.as_secs_f64();
    let mut all = Vec::new();
    // Of a storm in which somebody was lost, that is what there is to tell.
    if live == counterparties {
        all.push((LAST_ON, millis(took)));
    }
    if live > 0 && subject.kind() != Kind::Direct {
        all.push((PEAK, mib(cpu::peak_kb(&pids))));
        let each = cpu.as_secs_f64() * 1e6 / count(counterparties);
        all.push((CPU_PER_CONNECT, each));
    }
    all.push((GENERATOR_SHARE, (100.0 * busy).min(100.0)));
    all.push((ERRORS, count(counterparties - live + seen.misrouted)));
    load.leave();
    load.take_seen();
    all
}

/// How many counterparties fit: of the files that a process may open the gateway, as `envoy/gateway.yaml` says why, gives a quarter to
/// counterparties.
pub(super) fn most() -> usize {
    let files = usize::try_from(open_files()).unwrap_or(usize::MAX);
    files.saturating_sub(200) / 4 / 100 * 100
}
