//! What did a subject use, and get done, while it was warm?
//!
//! Processors and counts are looked at twice: when the load has gone on for a while, and at its end. All that is told is what lies between.

use std::time::{Duration, Instant};

use crate::cpu;
use crate::figures::Metric;
use crate::load::{Load, nanos};
use crate::measure::Measured;
use crate::metrics::{CONTROL_CPU, OTHERS_SHARE, SUBJECT_SHARE};
use crate::scale::Scale;
use crate::subject::{Kind, Subject};
use crate::units::count;

/// What a load lasts beyond its second look: that takes a moment, too.
const BEYOND: Duration = Duration::from_millis(20);

/// One moment.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    cpu: Duration,
    envoy: Duration,
    own: Duration,
    idle: Duration,
    done: usize,
}

/// A stretch of a load in which a subject is looked at.
pub(crate) struct Watch<'s> {
    subject: &'s Subject,
    cores: &'s [usize],
    times: [Duration; 2],
    looks: Vec<Look>,
}

impl<'s> Watch<'s> {
    pub(crate) fn over(subject: &'s Subject, cores: &'s [usize], scale: &Scale) -> Self {
        Self {
            subject,
            cores,
            times: [scale.warm, scale.warm + scale.window],
            looks: Vec::new(),
        }
    }

    /// How long the load must last.
    pub(crate) fn length(&self) -> Duration {
        self.times[1] + BEYOND
    }

    /// Looks, if it is time. The load calls it all the while.
    pub(crate) fn look(&mut self, load: &Load, since: u64) {
        let time = self.times.get(self.looks.len());
        if time.is_some_and(|time| since >= nanos(*time)) {
            let pids = self.subject.pids();
            self.looks.push(Look {
                cpu: cpu::of_processes(&pids),
                envoy: cpu::of_processes(&self.subject.part(true)),
                own: load.worked(),
                idle: cpu::idle(self.cores),
                at: Instant::now(),
                done: load.done(),
            });
        }
    }

    /// What lies between the two looks; `None` where the machine stood still for so long that there was no second one.
    pub(crate) fn spent(self) -> Option<Spent> {
        let [first, last] = self.looks[..] else {
            return None;
        };
        Some(Spent {
            kind: self.subject.kind(),
            cores: self.cores.len(),
            length: last.at - first.at,
            cpu: last.cpu.saturating_sub(first.cpu),
            envoy: last.envoy.saturating_sub(first.envoy),
            own: last.own.saturating_sub(first.own),
            idle: last.idle.saturating_sub(first.idle),
            done: last.done - first.done,
        })
    }
}

/// What was used, and done.
pub(crate) struct Spent {
    kind: Kind,
    /// How many processors the subject has.
    cores: usize,
    length: Duration,
    /// Of the subject.
    cpu: Duration,
    /// Of it, Envoy's.
    envoy: Duration,
    /// In which the generator had something to do.
    own: Duration,
    /// Nobody's, of the subject's processors.
    idle: Duration,
    /// Messages that came back, or Logons that were answered.
    done: usize,
}

impl Spent {
    /// What each cost the subject, and of it what was not Envoy's. A direct connection has no subject.
    pub(crate) fn costs(&self, each: Metric<'static>) -> Measured {
        let per_one = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count(self.done.max(1));
        match self.kind {
            Kind::Direct => Vec::new(),
            Kind::Gateway(_) => vec![
                (each, per_one(self.cpu)),
                (CONTROL_CPU, per_one(self.cpu.saturating_sub(self.envoy))),
            ],
            Kind::HaProxy | Kind::Nginx | Kind::Envoy(_) => vec![(each, per_one(self.cpu))],
        }
    }

    /// How many were done in a second.
    pub(crate) fn per_second(&self) -> f64 {
        count(self.done) / self.length.as_secs_f64()
    }

    /// How full the subject's processors were, % of one; with a direct connection there is none.
    pub(crate) fn subject_share(&self) -> Option<f64> {
        (self.kind != Kind::Direct).then(|| self.share(self.cpu))
    }

    /// How much of that time the generator had something to do, %.
    pub(crate) fn own_share(&self) -> f64 {
        self.share(self.own)
    }

    /// How full the subject's processors were, and how much of them others used.
    pub(crate) fn shares(&self) -> Measured {
        let Some(subject) = self.subject_share() else {
            return Vec::new();
        };
        let others = 100.0 * count(self.cores) - self.share(self.idle) - subject;
        vec![(SUBJECT_SHARE, subject), (OTHERS_SHARE, others.max(0.0))]
    }

    fn share(&self, of: Duration) -> f64 {
        100.0 * of.as_secs_f64() / self.length.as_secs_f64()
    }
}
