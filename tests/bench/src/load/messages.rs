//! When is which message sent?
//!
//! Either at moments that were set beforehand (an open loop), whatever became of those before: a round trip counts from that
//! moment, so a subject that pauses meets all messages that were due meanwhile, not one (no coordinated omission). Or each when the
//! one before is back (a closed loop), for what a message takes without waking up.

use std::time::Duration;

use super::seen::Exchanged;
use super::{DRAIN_MAX, Load, nanos};

/// Messages at a pace.
pub struct Plan<'a> {
    /// What is sent, again and again.
    pub message: &'a [u8],
    /// So many of them a second, all sessions together.
    pub per_second: u32,
    /// For so long.
    pub length: Duration,
    /// Whether the thread never sleeps.
    pub spins: bool,
}

impl Load {
    /// Sends messages over all sessions in turn, as the plan says. `hook` is called all the while, and
    /// at the end, with the time since the start.
    pub fn exchange(&mut self, plan: &Plan<'_>, hook: &mut dyn FnMut(&mut Self, u64)) -> Exchanged {
        plan.message.clone_into(&mut self.message);
        self.trips.clear();
        let gap = 1_000_000_000 / u64::from(plan.per_second);
        let start = self.now();
        let end = start + nanos(plan.length);
        let worked = self.worked();
        let (mut due, mut turn) = (start, 0);
        loop {
            let now = self.now();
            if now >= end {
                break;
            }
            let mut sent = false;
            while due <= now {
                if let Some(place) = self.sessions.get(turn % self.sessions.len().max(1)) {
                    self.say(*place, due);
                    sent = true;
                }
                turn += 1;
                due += gap;
            }
            let wait = if plan.spins {
                Duration::ZERO
            } else {
                Duration::from_nanos(due.saturating_sub(self.now()))
            };
            self.timed_turn(wait, now, sent);
            hook(self, now - start);
        }
        let length = self.now() - start;
        hook(self, length);
        let missing = self.drain();
        Exchanged {
            trips: std::mem::take(&mut self.trips),
            missing,
            worked: self.worked().saturating_sub(worked),
            length: Duration::from_nanos(length),
        }
    }

    /// Waits for what is under way, and says how many messages never came back.
    fn drain(&mut self) -> usize {
        let missing = |load: &Self| load.clients.iter().map(|client| client.due.len()).sum();
        let patience = self.now() + nanos(DRAIN_MAX);
        while missing(self) > 0_usize && self.now() < patience {
            self.turn(Duration::from_millis(5));
        }
        missing(self)
    }

    /// Sends messages back to back: one is under way on each session, and the next goes when it is back. `hook` is called all the
    /// while, and at the end, with the time since the start. Says how many messages never came back.
    pub fn back_to_back(
        &mut self,
        message: &[u8],
        length: Duration,
        hook: &mut dyn FnMut(&mut Self, u64),
    ) -> usize {
        message.clone_into(&mut self.message);
        self.trips.clear();
        let start = self.now();
        for session in 0..self.sessions.len() {
            let now = self.now();
            self.say(self.sessions[session], now);
        }
        self.answers = true;
        while self.now() - start < nanos(length) {
            let now = self.now();
            self.timed_turn(Duration::ZERO, now, false);
            let since = self.now() - start;
            hook(self, since);
        }
        let since = self.now() - start;
        hook(self, since);
        self.answers = false;
        let missing = self.drain();
        self.trips.clear();
        missing
    }
}
