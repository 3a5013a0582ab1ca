//! Did others use the machine meanwhile?
//!
//! A round in which they did is made again, for as long as there is time for that.

use std::time::{Duration, Instant};

use crate::cpu;
use crate::scene::Cores;
use crate::units::count;

/// What others than the comparison may use of the machine in a round, as a part of one processor. (The kernel alone takes a tenth,
/// which is nobody's: interrupts, and waking up.) A round in which they used more is made again.
const OTHERS_MAX: f64 = 0.15;
/// How long the comparison waits for others to have done, before such a round.
const OTHERS_WAIT_MAX: Duration = Duration::from_secs(15);
/// How long it waits so, and makes rounds again, in all; from then on rounds stay as they are.
const AGAIN_MAX: Duration = Duration::from_mins(3);
/// How long it looks at a time, while it waits.
const LOOK: Duration = Duration::from_millis(500);

/// Rounds in which others used the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbed {
    /// So many were made again.
    pub again: usize,
    /// So many were not.
    pub stayed: usize,
    /// So many rounds there were in all.
    pub rounds: usize,
}

/// Who has used the processors of the comparison so far.
pub(crate) struct Used {
    /// This comparison.
    ours: Duration,
    /// Nobody.
    idle: Duration,
    /// How many there are.
    cores: usize,
    at: Instant,
}

impl Used {
    /// What others have used of them from then until now, as a part of one.
    fn others_until(&self, now: &Self) -> f64 {
        let length = (now.at - self.at).as_secs_f64();
        let ours = now.ours.saturating_sub(self.ours).as_secs_f64();
        let idle = now.idle.saturating_sub(self.idle).as_secs_f64();
        (count(self.cores) * length - idle - ours) / length
    }
}

/// Whoever looks whether others use the machine.
pub(crate) struct Quiet {
    cores: Vec<usize>,
    /// Whether rounds are made again.
    repeats: bool,
    spent: Duration,
    disturbed: Disturbed,
}

impl Quiet {
    pub(crate) fn on(cores: &Cores, repeats: bool) -> Self {
        Self {
            cores: cores.all(),
            repeats,
            spent: Duration::ZERO,
            disturbed: Disturbed::default(),
        }
    }

    /// How often others have used the machine so far.
    pub(crate) const fn disturbed(&self) -> Disturbed {
        self.disturbed
    }

    /// From now on.
    pub(crate) fn begin(&self) -> Used {
        Used {
            ours: cpu::of_everybody_here(),
            idle: cpu::idle(&self.cores),
            cores: self.cores.len(),
            at: Instant::now(),
        }
    }

    /// Whether a round that began then is to be made again; if so, others have done by now, or were waited for in vain.
    pub(crate) fn wants_again(&mut self, before: &Used) -> bool {
        if before.others_until(&self.begin()) <= OTHERS_MAX {
            self.disturbed.rounds += 1;
            return false;
        }
        if !self.repeats || self.spent > AGAIN_MAX {
            self.disturbed.rounds += 1;
            self.disturbed.stayed += 1;
            return false;
        }
        self.disturbed.again += 1;
        self.wait();
        self.spent += before.at.elapsed();
        true
    }

    fn wait(&self) {
        let end = Instant::now() + OTHERS_WAIT_MAX;
        while Instant::now() < end {
            let before = self.begin();
            std::thread::sleep(LOOK);
            if before.others_until(&self.begin()) < OTHERS_MAX {
                return;
            }
        }
    }
}
