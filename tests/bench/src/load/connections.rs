//! How do connections come, and how do they go?

use std::time::Duration;

use super::client::Purpose;
use super::text::{self, SENDER};
use super::{DRAIN_MAX, Load, SETTLE_MAX, Target, nanos};

/// How connections come.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many a second, whatever becomes of them.
    PerSecond(u32),
    /// So many at a time, the next when one is done.
    AtATime(usize),
}

impl Load {
    /// So many sessions more, this many on their way at a time. Says how long it took until the last was logged on; what was refused
    /// stands in what was [`Self::seen`].
    pub fn gather(
        &mut self,
        target: &Target,
        count: usize,
        at_a_time: usize,
        rules: usize,
    ) -> Duration {
        self.routes = target.routes;
        let start = self.now();
        let end = start + nanos(SETTLE_MAX);
        let first = (self.seen.answered.len(), self.seen.refused);
        let done = |load: &Self| load.seen.answered.len() - first.0 + load.seen.refused - first.1;
        let mut begun = 0;
        let mut last = start;
        while done(self) < count && self.now() < end {
            let (now, before) = (self.now(), begun);
            while begun < count && begun < done(self) + at_a_time {
                let (logon, now) = (self.logon(begun % rules), self.now());
                let place = self.connect(target, &logon, Purpose::Session, now);
                self.sessions.extend(place);
                begun += 1;
            }
            let known = self.seen.answered.len();
            self.timed_turn(Duration::ZERO, now, begun > before);
            if self.seen.answered.len() > known {
                last = self.now();
            }
        }
        Duration::from_nanos(last - start)
    }

    /// Connections that log on and go, at a pace, from counterparties of this many rules. `hook` is called all the while, and at
    /// the end, with the time since the start.
    pub fn visit(
        &mut self,
        target: &Target,
        pace: Pace,
        rules: usize,
        length: Duration,
        hook: &mut dyn FnMut(&mut Self, u64),
    ) {
        self.routes = target.routes;
        let start = self.now();
        let (mut begun, mut due) = (0_usize, start);
        let under_way = |load: &Self| load.clients.count() - load.sessions.len();
        loop {
            let now = self.now();
            if now - start >= nanos(length) {
                break;
            }
            let before = begun;
            let mut next = |load: &mut Self, due| {
                let logon = load.logon(begun % rules);
                load.connect(target, &logon, Purpose::Visit, due);
                begun += 1;
            };
            match pace {
                Pace::PerSecond(count) => {
                    while due <= now {
                        next(self, due);
                        due += 1_000_000_000 / u64::from(count);
                    }
                }
                Pace::AtATime(count) => {
                    while under_way(self) < count {
                        let now = self.now();
                        next(self, now);
                    }
                }
            }
            self.timed_turn(Duration::ZERO, now, begun > before);
            hook(self, now - start);
        }
        let length = self.now() - start;
        hook(self, length);
        let end = self.now() + nanos(DRAIN_MAX);
        while under_way(self) > 0 && self.now() < end {
            self.turn(Duration::from_millis(10));
        }
        // They count here, and not where the next subject is measured.
        self.seen.refused += self.clients.drop_all(|it| it.purpose == Purpose::Visit);
        self.quiet();
    }

    /// One more connection that logs on and goes, by a CompID of its own. It is waited for by whoever looks at what was seen.
    pub fn ask(&mut self, target: &Target, sender: &str) {
        let logon = text::logon(sender);
        let now = self.now();
        self.connect(target, &logon, Purpose::Visit, now);
    }

    /// Whether a Logon is answered now.
    pub fn is_answered(&mut self, target: &Target, within: Duration) -> bool {
        let before = (self.seen.answered.len(), self.seen.refused);
        let (logon, now) = (self.logon(0), self.now());
        let place = self.connect(target, &logon, Purpose::Visit, now);
        let end = self.now() + nanos(within);
        while (self.seen.answered.len(), self.seen.refused) == before && self.now() < end {
            self.turn(Duration::from_millis(1));
        }
        let answered = self.seen.answered.len() > before.0;
        if !answered && let Some(place) = place {
            self.clients.take(place);
        }
        answered
    }

    /// Ends all sessions, and waits until the engines have heard of it.
    pub fn leave(&mut self) {
        self.sessions.clear();
        self.clients.drop_all(|_| true);
        self.quiet();
        self.seen.lost = 0;
    }

    /// Waits until no engine has a connection that nobody has any more.
    fn quiet(&mut self) {
        let end = self.now() + nanos(DRAIN_MAX);
        while self.ends.count() > self.sessions.len() && self.now() < end {
            self.turn(Duration::from_millis(10));
        }
    }

    /// The engines forget what they have: of a subject that is gone.
    pub fn forget(&mut self) {
        self.leave();
        self.ends.drop_all(|_| true);
        self.take_seen();
    }

    /// The Logon of the counterparty of this number.
    fn logon(&mut self, number: usize) -> Vec<u8> {
        for known in self.logons.len()..=number {
            let sender = format!("{SENDER}{known}");
            self.logons.push(text::logon(&sender));
        }
        self.logons[number].clone()
    }
}
