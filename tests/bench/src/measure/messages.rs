//! What does a message cost over live sessions, and how long is it on its way?

use super::{GATHER_AT_A_TIME, Measured, round_trips};
use crate::load::{Plan, message};
use crate::metrics::{
    CPU_BACK_TO_BACK, CPU_PER_MESSAGE, ERRORS, GENERATOR_SHARE, MESSAGES, MESSAGES_PER_SECOND,
    MESSAGES_TLS,
};
use crate::rounds::{Bench, named};
use crate::sample::Watch;
use crate::scale::RULES;
use crate::subject::Subject;
use crate::units::count;

/// Messages a second, all sessions together: a fraction of what any subject can do.
const fn pace(sessions: usize) -> u32 {
    if sessions == 1 { 5_000 } else { 10_000 }
}

/// Each size of message over each number of sessions.
pub(crate) fn measure(bench: &mut Bench, subjects: &[Subject], tls: bool) {
    let scale = &bench.scale;
    let (table, sizes, counts) = if tls {
        let first = scale.sizes.iter().take(1).copied().collect();
        (MESSAGES_TLS, first, scale.sessions_tls.clone())
    } else {
        (MESSAGES, scale.sizes.clone(), scale.sessions.clone())
    };
    for size in sizes {
        let message = message(size);
        for sessions in &counts {
            let load = format!("{size} B, {sessions} sessions");
            let (rounds, all) = (bench.scale.rounds, named(subjects, !tls));
            bench.turns((table, &load), rounds, &all, |bench, subject| {
                round(bench, subject, tls, &message, *sessions)
            });
        }
    }
}

fn round(
    bench: &mut Bench,
    subject: &Subject,
    tls: bool,
    message: &[u8],
    sessions: usize,
) -> Measured {
    let cores = &bench.setting.cores;
    let (load, scale) = (&mut bench.load, &bench.scale);
    load.gather(&subject.target(tls), sessions, GATHER_AT_A_TIME, RULES);
    let missing_sessions = sessions - load.live();
    let mut paced = Watch::over(subject, cores, scale);
    let plan = Plan {
        message,
        per_second: pace(sessions),
        length: paced.length(),
        spins: true,
    };
    let begun = load.now();
    let exchanged = load.exchange(&plan, &mut |load, since| paced.look(load, since));
    let mut full = Watch::over(subject, cores, scale);
    let missing = load.back_to_back(message, full.length(), &mut |load, since| {
        full.look(load, since);
    });
    let seen = load.take_seen();
    load.leave();
    let (paced, full) = (paced.spent(), full.spent());
    let mut all: Measured = Vec::new();
    if let Some(paced) = &paced {
        all.extend(paced.costs(CPU_PER_MESSAGE));
    }
    all.extend(round_trips(&exchanged.trips, begun, scale));
    if let Some(full) = full {
        all.extend(full.costs(CPU_BACK_TO_BACK).first());
        all.push((MESSAGES_PER_SECOND, full.per_second()));
    }
    if let Some(paced) = paced {
        all.extend(paced.shares());
    }
    let busy = exchanged.worked.as_secs_f64() / exchanged.length.as_secs_f64();
    all.push((GENERATOR_SHARE, 100.0 * busy));
    let errors = missing_sessions + exchanged.missing + missing + seen.lost + seen.misrouted;
    all.push((ERRORS, count(errors)));
    all
}
