//! What is to be done about a Lease at this moment? Pure: what was read and written goes in with its time, the next step comes out.
//!
//! Times are milliseconds of a clock of our own that never goes back. Another's renewal counts from when we saw that the Lease
//! had changed, and never from the time that is written in it.
//!
//! INVARIANT: we lead only until [`Times::deadline_ms`] after the beginning of our last renewal that succeeded, and nobody else
//! takes the Lease before [`Times::duration_ms`] after its end.

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// After which a Lease that is not renewed may be taken.
    pub duration_ms: u64,
    /// After which a leader that could not renew does not lead any more.
    pub deadline_ms: u64,
    /// Between renewals.
    pub renew_ms: u64,
    /// Between attempts, when one came to nothing.
    pub retry_ms: u64,
}

/// With a second for taking it, a leader that was killed is replaced within 15 s. A renewal that comes to nothing has a second
/// and a third attempt before the deadline, and a leader that was stopped has 4 s to notice that its time is over.
pub const TIMES: Times = Times {
    duration_ms: 14_000,
    deadline_ms: 10_000,
    renew_ms: 5_000,
    retry_ms: 2_000,
};

/// Longest time that another holder's Lease is believed to last, whatever is written in it.
const HELD_MS_MAX: u64 = 60_000;

/// What is written in a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its version, which changes with every renewal.
    pub version: String,
    /// Who holds it; none: it was given back.
    pub holder: Option<String>,
    /// How long it lasts, as its holder says.
    pub duration_ms: Option<u64>,
    /// How often it went from one to another.
    pub transitions: i32,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until then, or until something is heard.
    Wait(u64),
    /// Read it.
    Read,
    /// Make it.
    Create(Written),
    /// Write it over this version.
    Replace(String, Written),
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The new holder: us, or nobody.
    pub holder: Option<String>,
    /// How often it went from one to another, with this time.
    pub transitions: i32,
    /// Whether the holder is another than before.
    pub taken: bool,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is read, or written: what it is now; none: there is no such Lease.
    Is(Option<Seen>),
    /// Somebody else has written it meanwhile.
    Conflict,
    /// The API server refused, or did not answer.
    Failed,
}

/// A candidate for a Lease.
#[derive(Debug)]
pub struct Machine {
    identity: String,
    times: Times,
    /// What it was when it was seen last, and since when it has been that; none: not known.
    seen: Option<(Option<Seen>, u64)>,
    /// Until when we lead, if nothing is heard; none: we do not.
    leads_until_ms: Option<u64>,
    /// When to try next, after what came to nothing.
    again_ms: u64,
}

impl Machine {
    /// A candidate that knows nothing yet.
    #[must_use]
    pub fn new(identity: String, times: Times) -> Self {
        Self {
            identity,
            times,
            seen: None,
            leads_until_ms: None,
            again_ms: 0,
        }
    }

    /// Until when we lead.
    #[must_use]
    pub fn leads_until(&self, now_ms: u64) -> Option<u64> {
        self.leads_until_ms.filter(|until| now_ms < *until)
    }

    /// Who holds it, and how often it changed hands.
    #[must_use]
    pub fn holder(&self) -> (Option<&str>, i32) {
        let seen = self.seen.as_ref().and_then(|(seen, _)| seen.as_ref());
        seen.map_or((None, 0), |seen| (seen.holder.as_deref(), seen.transitions))
    }

    /// What a watch says it is, which may be late: what is older than what we know does not count.
    pub fn hear(&mut self, heard: Option<Seen>, now_ms: u64) {
        let known = self.seen.as_ref().and_then(|(seen, _)| seen.as_ref());
        let number = |seen: Option<&Seen>| seen?.version.parse::<u64>().ok();
        let (heard_number, known_number) = (number(heard.as_ref()), number(known));
        match (&heard, heard_number.zip(known_number)) {
            (Some(_), Some((heard, known))) if heard <= known => {}
            (Some(heard), _) if heard.holder.as_ref() == Some(&self.identity) => {
                self.see(Some(heard.clone()), now_ms);
            }
            // It is another's, or is gone: we write no more, until reading it has shown otherwise.
            (None | Some(_), _) => {
                self.leads_until_ms = None;
                self.again_ms = now_ms;
                match heard {
                    Some(seen) => self.see(Some(seen), now_ms),
                    None => self.seen = None,
                }
            }
        }
    }

    /// What became of a step that was begun at that time.
    pub fn done(&mut self, step: &Step, outcome: Outcome, begun_ms: u64, now_ms: u64) {
        match outcome {
            Outcome::Is(seen) => {
                let writes = matches!(step, Step::Create(_) | Step::Replace(..));
                let ours = seen
                    .as_ref()
                    .is_some_and(|it| it.holder.as_ref() == Some(&self.identity));
                if writes && ours {
                    self.leads_until_ms = Some(begun_ms + self.times.deadline_ms);
                    self.again_ms = begun_ms + self.times.renew_ms;
                } else {
                    self.again_ms = now_ms;
                }
                if !ours {
                    self.leads_until_ms = None;
                }
                self.see(seen, now_ms);
            }
            // Whoever it was: reading says.
            Outcome::Conflict => {
                self.seen = None;
                self.again_ms = now_ms;
            }
            Outcome::Failed => {
                self.again_ms = now_ms + self.times.retry_ms;
                // What was written may have arrived all the same.
                if !matches!(step, Step::Read) && self.leads_until(now_ms).is_none() {
                    self.seen = None;
                }
            }
        }
    }

    fn see(&mut self, seen: Option<Seen>, now_ms: u64) {
        match &self.seen {
            Some((before, _)) if *before == seen => {}
            Some(_) | None => self.seen = Some((seen, now_ms)),
        }
    }

    /// What to do. `jitter_ms` is added to a wait for another attempt, so that candidates do not come all at once.
    pub fn step(&mut self, now_ms: u64, jitter_ms: u64) -> Step {
        if self.leads_until_ms.is_some_and(|until| until <= now_ms) {
            self.leads_until_ms = None;
        }
        let again = self.again_ms;
        let Some((seen, since)) = &self.seen else {
            return Self::when(again + jitter_ms, now_ms, Step::Read);
        };
        let Some(seen) = seen else {
            return Self::when(
                again + jitter_ms,
                now_ms,
                Step::Create(self.written(1, true)),
            );
        };
        let replace = |transitions, taken| {
            Step::Replace(seen.version.clone(), self.written(transitions, taken))
        };
        match (&seen.holder, self.leads_until_ms) {
            (Some(holder), Some(until)) if *holder == self.identity => {
                // Wakes at the end of our time, too.
                match Self::when(again, now_ms, replace(seen.transitions, false)) {
                    Step::Wait(at) => Step::Wait(at.min(until)),
                    step => step,
                }
            }
            // Ours, though our time was over: nobody has taken it since.
            (Some(holder), _) if *holder == self.identity => {
                Self::when(again + jitter_ms, now_ms, replace(seen.transitions, false))
            }
            (None, _) => {
                let transitions = seen.transitions.saturating_add(1);
                Self::when(again + jitter_ms, now_ms, replace(transitions, true))
            }
            (Some(_), _) => {
                let duration = seen.duration_ms.unwrap_or(self.times.duration_ms);
                let expires = since + duration.min(HELD_MS_MAX);
                let transitions = seen.transitions.saturating_add(1);
                Self::when(expires.max(again), now_ms, replace(transitions, true))
            }
        }
    }

    fn when(at: u64, now_ms: u64, step: Step) -> Step {
        if at <= now_ms { step } else { Step::Wait(at) }
    }

    fn written(&self, transitions: i32, taken: bool) -> Written {
        Written {
            holder: Some(self.identity.clone()),
            transitions,
            taken,
        }
    }

    /// What to write to give it back, if it is ours.
    #[must_use]
    pub fn release(&mut self) -> Option<Step> {
        self.leads_until_ms = None;
        let (seen, _) = self.seen.as_ref()?;
        let seen = seen.as_ref()?;
        let ours = seen.holder.as_ref() == Some(&self.identity);
        ours.then(|| {
            let written = Written {
                holder: None,
                transitions: seen.transitions,
                taken: false,
            };
            Step::Replace(seen.version.clone(), written)
        })
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;

    /// An API server with one Lease.
    #[derive(Default)]
    struct Server {
        version: u64,
        lease: Option<Seen>,
        away: bool,
    }

    impl Server {
        fn put(&mut self, holder: Option<&str>, transitions: i32) {
            self.version += 1;
            self.lease = Some(Seen {
                version: self.version.to_string(),
                holder: holder.map(str::to_owned),
                duration_ms: Some(TIMES.duration_ms),
                transitions,
            });
        }

        fn perform(&mut self, step: &Step) -> Outcome {
            let version = self.lease.as_ref().map(|lease| lease.version.clone());
            match step {
                Step::Wait(_) => panic!("nothing to perform"),
                _ if self.away => return Outcome::Failed,
                Step::Read => {}
                Step::Create(_) if version.is_some() => return Outcome::Conflict,
                Step::Replace(over, _) if version.as_ref() != Some(over) => {
                    return Outcome::Conflict;
                }
                Step::Create(written) | Step::Replace(_, written) => {
                    self.put(written.holder.as_deref(), written.transitions);
                }
            }
            Outcome::Is(self.lease.clone())
        }
    }

    fn machine(identity: &str) -> Machine {
        Machine::new(identity.to_owned(), TIMES)
    }

    /// Lets time go on until then; every machine does what is due, and hears of the Lease if `heard`. Tells whether two ever led.
    fn run(server: &mut Server, machines: &mut [&mut Machine], from: u64, to: u64, heard: bool) {
        for now in (from..=to).step_by(100) {
            for machine in machines.iter_mut() {
                for _ in 0..5 {
                    let step = machine.step(now, 0);
                    if matches!(step, Step::Wait(_)) {
                        break;
                    }
                    let outcome = server.perform(&step);
                    machine.done(&step, outcome, now, now);
                }
                if heard && !server.away {
                    machine.hear(server.lease.clone(), now);
                }
            }
            let leaders = machines.iter().filter(|it| it.leads_until(now).is_some());
            assert!(leaders.count() <= 1, "two lead at {now}");
        }
    }

    fn leads(machine: &Machine, now: u64) -> bool {
        machine.leads_until(now).is_some()
    }

    #[test]
    fn one_of_two_leads_and_renews_and_nobody_writes_more_than_that() {
        let (mut server, mut a, mut b) = (Server::default(), machine("a"), machine("b"));
        run(&mut server, &mut [&mut a, &mut b], 0, 60_000, true);
        assert!(leads(&a, 60_000) && !leads(&b, 60_000));
        assert_eq!(b.holder(), (Some("a"), 1));
        assert_eq!(server.version, 13, "made once, renewed each five seconds");
    }

    #[test]
    fn the_other_leads_soon_after_the_leader_is_gone_though_it_hears_nothing() {
        for heard in [true, false] {
            let (mut server, mut a, mut b) = (Server::default(), machine("a"), machine("b"));
            run(&mut server, &mut [&mut a, &mut b], 0, 32_500, heard);
            assert!(leads(&a, 32_500));
            let over = (32_500..).step_by(100).find(|now| {
                run(&mut server, &mut [&mut b], *now, *now, heard);
                leads(&b, *now)
            });
            let after = over.unwrap() - 32_500;
            // Without a watch it sees each renewal one time of duration later.
            let most = if heard {
                TIMES.duration_ms
            } else {
                2 * TIMES.duration_ms
            };
            assert!(after <= most, "{after}");
            assert_eq!(server.lease.as_ref().unwrap().transitions, 2);
        }
    }

    #[test]
    fn a_clock_that_is_wrong_elsewhere_changes_nothing() {
        // A Lease that somebody renewed says nothing of when; it lasts from when we saw it, whatever time it carries.
        let (mut server, mut b) = (Server::default(), machine("b"));
        server.put(Some("a"), 7);
        run(&mut server, &mut [&mut b], 1_000_000, 1_013_900, true);
        assert!(!leads(&b, 1_013_900));
        run(&mut server, &mut [&mut b], 1_014_000, 1_014_000, true);
        assert!(leads(&b, 1_014_000));
        assert_eq!(b.holder(), (Some("b"), 8));
    }

    #[test]
    fn a_leader_without_an_api_server_stops_at_its_deadline_and_before_anybody_else_begins() {
        let (mut server, mut a) = (Server::default(), machine("a"));
        run(&mut server, &mut [&mut a], 0, 5_000, true);
        server.away = true;
        run(&mut server, &mut [&mut a], 5_100, 14_900, true);
        assert!(leads(&a, 14_999));
        assert!(!leads(&a, 15_000), "even if nobody asks what to do");
        run(&mut server, &mut [&mut a], 15_000, 60_000, true);
        assert!(!leads(&a, 60_000));
        // Nobody was there to take it.
        server.away = false;
        run(&mut server, &mut [&mut a], 60_100, 63_000, true);
        assert!(leads(&a, 63_000));
        assert_eq!(a.holder(), (Some("a"), 1));
    }

    #[test]
    fn a_renewal_counts_from_its_beginning() {
        let mut a = machine("a");
        a.done(&Step::Read, Outcome::Is(None), 0, 0);
        let step = a.step(0, 0);
        let ours = Seen {
            version: "1".to_owned(),
            holder: Some("a".to_owned()),
            duration_ms: None,
            transitions: 1,
        };
        a.done(&step, Outcome::Is(Some(ours)), 1_000, 9_000);
        assert_eq!(a.leads_until(9_000), Some(11_000));
    }

    #[test]
    fn a_stolen_lease_ends_the_lead_at_once_and_so_does_a_deleted_one() {
        for stolen in [true, false] {
            let (mut server, mut a) = (Server::default(), machine("a"));
            run(&mut server, &mut [&mut a], 0, 1_000, true);
            if stolen {
                server.put(Some("thief"), 2);
            } else {
                server.lease = None;
            }
            a.hear(server.lease.clone(), 1_100);
            assert!(!leads(&a, 1_100));
            let step = a.step(1_100, 0);
            assert_eq!(matches!(step, Step::Wait(_)), stolen, "{step:?}");
            // Unheard, it is seen at the next renewal.
            let (mut server, mut a) = (Server::default(), machine("a"));
            run(&mut server, &mut [&mut a], 0, 1_000, false);
            server.put(Some("thief"), 2);
            run(&mut server, &mut [&mut a], 1_100, 5_200, false);
            assert!(!leads(&a, 5_200));
        }
    }

    #[test]
    fn a_watch_that_is_late_takes_nothing_away() {
        let (mut server, mut a) = (Server::default(), machine("a"));
        server.put(Some("other"), 1);
        let old = server.lease.clone();
        server.put(None, 1);
        let given_back = server.lease.clone();
        run(&mut server, &mut [&mut a], 0, 100, false);
        assert!(leads(&a, 100));
        for late in [old, given_back, server.lease.clone()] {
            a.hear(late, 200);
            assert!(leads(&a, 200));
        }
    }

    #[test]
    fn what_is_given_back_is_taken_at_once() {
        let (mut server, mut a, mut b) = (Server::default(), machine("a"), machine("b"));
        run(&mut server, &mut [&mut a, &mut b], 0, 1_000, true);
        let step = a.release().unwrap();
        assert!(!leads(&a, 1_000));
        let outcome = server.perform(&step);
        a.done(&step, outcome, 1_000, 1_000);
        assert_eq!(a.holder(), (None, 1));
        b.hear(server.lease.clone(), 1_100);
        run(&mut server, &mut [&mut b], 1_100, 1_100, true);
        assert!(leads(&b, 1_100));
        assert_eq!(
            b.release().map(|it| matches!(it, Step::Replace(..))),
            Some(true)
        );
        assert_eq!(machine("c").release(), None);
    }

    #[test]
    fn two_that_want_it_at_the_same_moment_are_decided_by_the_api_server() {
        let (mut server, mut a, mut b) = (Server::default(), machine("a"), machine("b"));
        server.put(None, 3);
        for machine in [&mut a, &mut b] {
            let step = machine.step(0, 0);
            let outcome = server.perform(&step);
            machine.done(&step, outcome, 0, 0);
        }
        let (of_a, of_b) = (a.step(0, 0), b.step(0, 0));
        assert!(matches!(
            (&of_a, &of_b),
            (Step::Replace(..), Step::Replace(..))
        ));
        a.done(&of_a, server.perform(&of_a), 0, 0);
        b.done(&of_b, server.perform(&of_b), 0, 0);
        assert!(leads(&a, 0) && !leads(&b, 0));
        assert_eq!(b.step(0, 0), Step::Read);
    }

    #[test]
    fn a_holder_that_says_it_keeps_it_for_ever_is_not_believed() {
        let (mut server, mut b) = (Server::default(), machine("b"));
        server.put(Some("a"), 1);
        if let Some(lease) = &mut server.lease {
            lease.duration_ms = Some(u64::MAX);
        }
        run(&mut server, &mut [&mut b], 0, HELD_MS_MAX, true);
        assert!(leads(&b, HELD_MS_MAX));
    }
}
