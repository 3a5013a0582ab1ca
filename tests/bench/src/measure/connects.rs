//! What does it cost that a counterparty connects and logs on, and how many can?

use super::Measured;
use crate::load::Pace;
use crate::metrics::{
    CONNECTS, CONNECTS_TLS, CPU_AT_MOST, CPU_PER_CONNECT, ERRORS, GENERATOR_SATURATED, P50, P99,
    PER_SECOND, SATURATED,
};
use crate::rounds::{Bench, named};
use crate::sample::Watch;
use crate::statistics::percentile;
use crate::subject::Subject;
use crate::units::{count, micros};

/// Connections a second, while it is measured what one costs.
const CONNECTS_PACE: u32 = 1_000;
/// Connections at a time, while it is measured how many there can be.
const CONNECTS_AT_A_TIME: usize = 64;

/// Connections of counterparties that so many rules know.
pub(crate) fn measure(bench: &mut Bench, subjects: &[Subject], rules: usize, tls: bool) {
    let table = if tls { CONNECTS_TLS } else { CONNECTS };
    let load = format!("{rules} rules");
    let (rounds, all) = (bench.scale.rounds, named(subjects, !tls));
    for (_, subject) in &all {
        settle(bench, subject, rules, tls);
    }
    bench.turns((table, &load), rounds, &all, |bench, subject| {
        round(bench, subject, rules, tls)
    });
}

/// Lets a subject see thousands, of which nothing is measured: what runs the filter compiles what it meets often once more, and takes
/// seconds for it.
fn settle(bench: &mut Bench, subject: &Subject, rules: usize, tls: bool) {
    let (target, length) = (subject.target(tls), bench.scale.settle);
    let pace = Pace::AtATime(CONNECTS_AT_A_TIME);
    bench
        .load
        .visit(&target, pace, rules, length, &mut |_, _| {});
    bench.load.take_seen();
}

fn round(bench: &mut Bench, subject: &Subject, rules: usize, tls: bool) -> Measured {
    let target = subject.target(tls);
    let mut visit = |pace| {
        let mut watch = Watch::over(subject, &bench.setting.cores, &bench.scale);
        let length = watch.length();
        let load = &mut bench.load;
        load.visit(&target, pace, rules, length, &mut |load, since| {
            watch.look(load, since);
        });
        (watch.spent(), load.take_seen())
    };
    let (paced, seen) = visit(Pace::PerSecond(CONNECTS_PACE));
    let mut all = paced.map_or_else(Vec::new, |paced| paced.costs(CPU_PER_CONNECT));
    let mut took: Vec<u64> = seen.answered.iter().map(|(begun, at)| at - begun).collect();
    took.sort_unstable();
    all.push((P50, micros(percentile(&took, 0.5))));
    all.push((P99, micros(percentile(&took, 0.99))));
    let (full, seen_full) = visit(Pace::AtATime(CONNECTS_AT_A_TIME));
    if let Some(full) = full {
        all.extend(full.costs(CPU_AT_MOST).first());
        all.push((PER_SECOND, full.per_second()));
        all.extend(full.subject_share().map(|share| (SATURATED, share)));
        all.push((GENERATOR_SATURATED, full.own_share()));
    }
    let errors = [&seen, &seen_full].map(|seen| seen.refused + seen.misrouted);
    all.push((ERRORS, count(errors.iter().sum())));
    all
}
