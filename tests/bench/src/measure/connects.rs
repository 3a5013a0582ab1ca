//! What does it cost that a counterparty connects and logs on, and how many can?

use super::{Measured, round_trips};
use crate::load::Pace;
use crate::metrics::{
    CONNECTS, CONNECTS_TLS, CPU_AT_MOST, CPU_PER_CONNECT, ERRORS, GENERATOR_SATURATED, P999,
    PER_SECOND, SATURATED,
};
use crate::rounds::{Bench, named};
use crate::sample::Watch;
use crate::subject::Subject;
use crate::units::count;

/// Connections a second, while it is measured what one costs.
const CONNECTS_PACE: u32 = 1_000;
/// Connections at a time, while it is measured how many there can be.
const CONNECTS_AT_A_TIME: usize = 64;

/// Connections of counterparties that so many rules know. Each round has subjects that were started for it: what differs from start to start
/// belongs to the spread.
pub(crate) fn measure(bench: &mut Bench, rules: usize, tls: bool) {
    let table = if tls { CONNECTS_TLS } else { CONNECTS };
    let load = format!("{rules} rules");
    for number in 0..bench.scale.rounds {
        let subjects = bench.started(rules);
        let all = named(&subjects, !tls);
        for (_, subject) in &all {
            settle(bench, subject, rules, tls);
        }
        bench.say(&format!("{table}: {load}"));
        for (name, subject) in &all {
            bench.round((table, &load), name, number, |bench| {
                round(bench, subject, rules, tls)
            });
        }
    }
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
        let begun = load.now();
        load.visit(&target, pace, rules, length, &mut |load, since| {
            watch.look(load, since);
        });
        (begun, watch.spent(), load.take_seen())
    };
    let (begun, paced, seen) = visit(Pace::PerSecond(CONNECTS_PACE));
    let mut all = paced.map_or_else(Vec::new, |paced| paced.costs(CPU_PER_CONNECT));
    // Too few for a thousandth.
    let told = round_trips(&seen.answered, begun, &bench.scale);
    all.extend(told.into_iter().filter(|(metric, _)| *metric != P999));
    let (_, full, seen_full) = visit(Pace::AtATime(CONNECTS_AT_A_TIME));
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
