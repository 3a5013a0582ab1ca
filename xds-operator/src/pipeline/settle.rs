//! When does a change count? When nothing has changed for a while, or the changes go on for too long.
//!
//! Trailing edge: a set of files that is being written counts when it is complete. Endpoints do not wait for the
//! rules, and engines that come do not wait at all: somebody may be held for them. Time is passed in, in milliseconds of any
//! clock that never goes back; nothing here waits.

use std::sync::Arc;

use crate::world::{EndpointsHalf, Pause, RulesHalf, World};

/// How long changes settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Rules count when they have not changed for so long.
    pub quiet_ms: u64,
    /// And after so long in any case.
    pub longest_ms: u64,
    /// Endpoint changes are only gathered, where an engine goes.
    pub endpoints_ms: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            // A person's save and a script's loop end within it.
            quiet_ms: 250,
            // Longer than a slow `kubectl apply` of many objects pauses, shorter than patience.
            longest_ms: 5_000,
            // One roll-out step touches several slices at once.
            endpoints_ms: 20,
        }
    }
}

/// What has settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The rules, if they changed.
    pub rules: Option<Arc<RulesHalf>>,
    /// The endpoints, if they changed.
    pub endpoints: Option<Arc<EndpointsHalf>>,
}

#[derive(Debug)]
struct Lane<T> {
    released: Option<Arc<T>>,
    waiting: Option<Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    value: Arc<T>,
    first_ms: u64,
    last_ms: u64,
}

impl<T: PartialEq> Lane<T> {
    const fn new() -> Self {
        Self {
            released: None,
            waiting: None,
        }
    }

    fn observe(&mut self, value: Arc<T>, now_ms: u64) {
        // Most of what is observed is about other things, and leaves this half as it is.
        let is_it = |held: &Arc<T>| Arc::ptr_eq(held, &value) || **held == *value;
        if self.released.as_ref().is_some_and(is_it) {
            // Changed and changed back: nothing happened.
            self.waiting = None;
            return;
        }
        match &mut self.waiting {
            Some(waiting) if is_it(&waiting.value) => {}
            Some(waiting) => {
                waiting.value = value;
                waiting.last_ms = now_ms;
            }
            none => {
                *none = Some(Waiting {
                    value,
                    first_ms: now_ms,
                    last_ms: now_ms,
                });
            }
        }
    }

    fn due_ms(&self, quiet_ms: u64, longest_ms: u64) -> Option<u64> {
        self.waiting.as_ref().map(|waiting| {
            let quiet = waiting.last_ms.saturating_add(quiet_ms);
            quiet.min(waiting.first_ms.saturating_add(longest_ms))
        })
    }

    fn release(&mut self) -> Option<Arc<T>> {
        let value = self.waiting.take()?.value;
        self.released = Some(value.clone());
        Some(value)
    }
}

/// Holds changes back until they have settled.
#[derive(Debug)]
pub struct Settle {
    times: Times,
    rules: Lane<RulesHalf>,
    endpoints: Lane<EndpointsHalf>,
    /// Whether the endpoints that wait only add to those that count.
    only_adds: bool,
}

impl Settle {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new(times: Times) -> Self {
        Self {
            times,
            rules: Lane::new(),
            endpoints: Lane::new(),
            only_adds: false,
        }
    }

    /// Takes what a source says now.
    pub fn observe(&mut self, world: &World, now_ms: u64) {
        // What is there when publication goes on counts as a whole, after a quiet time of its own; also what had settled before.
        if self.paused().is_some() && world.rules.paused.is_none() {
            self.rules = Lane::new();
        }
        self.rules.observe(world.rules.clone(), now_ms);
        self.endpoints.observe(world.endpoints.clone(), now_ms);
        // Once for each change: it looks at every slice.
        let (before, next) = (&self.endpoints.released, &self.endpoints.waiting);
        self.only_adds = before
            .as_ref()
            .zip(next.as_ref())
            .is_some_and(|(before, next)| next.value.only_adds_to(before));
    }

    /// When [`Settle::take`] will give something, if nothing changes until then.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        [self.rules_due_ms(), self.endpoints_due_ms()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What has settled by now.
    pub fn take(&mut self, now_ms: u64) -> Settled {
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now_ms);
        let rules = due(self.rules_due_ms());
        let endpoints = due(self.endpoints_due_ms());
        Settled {
            rules: rules.then(|| self.rules.release()).flatten(),
            endpoints: endpoints.then(|| self.endpoints.release()).flatten(),
        }
    }

    /// What holds the rules back on purpose.
    #[must_use]
    pub fn paused(&self) -> Option<&Pause> {
        self.rules.waiting.as_ref()?.value.paused.as_ref()
    }

    /// Whether rules have changed, and will count soon.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        self.rules.waiting.is_some() && self.paused().is_none()
    }

    fn rules_due_ms(&self) -> Option<u64> {
        if self.paused().is_some() {
            return None;
        }
        self.rules
            .due_ms(self.times.quiet_ms, self.times.longest_ms)
    }

    fn endpoints_due_ms(&self) -> Option<u64> {
        // What goes often comes again with the next object.
        let most = if self.only_adds {
            0
        } else {
            self.times.endpoints_ms
        };
        self.endpoints.due_ms(most, most)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::message::Origin;
    use crate::world::{Fault, Faults, Scope};

    fn rules(text: &str) -> Arc<RulesHalf> {
        let mut faults = Faults::default();
        faults.push(Fault {
            origin: None,
            object: None,
            field: None,
            what: text.to_owned(),
            scope: Scope::Nothing,
        });
        Arc::new(RulesHalf {
            faults,
            ..RulesHalf::default()
        })
    }

    fn world(text: &str, endpoint: u16) -> World {
        let extra = format!("t/a=127.0.0.1:{endpoint}").parse().unwrap();
        World {
            rules: rules(text),
            endpoints: Arc::new(EndpointsHalf {
                extra: vec![extra],
                ..EndpointsHalf::default()
            }),
        }
    }

    /// Rules released at each step of one millisecond.
    fn released(settle: &mut Settle, until: std::ops::Range<u64>) -> Vec<u64> {
        until
            .filter(|now| settle.take(*now).rules.is_some())
            .collect()
    }

    #[test]
    fn rules_count_when_they_have_been_quiet() {
        let mut settle = Settle::new(Times::default());
        settle.observe(&world("a", 1), 1_000);
        settle.observe(&world("b", 1), 1_100);
        assert_eq!(settle.take(1_349).rules, None);
        assert_eq!(settle.deadline_ms(), Some(1_350));
        assert_eq!(settle.take(1_350).rules, Some(rules("b")));
        assert_eq!(settle.deadline_ms(), None);
    }

    #[test]
    fn the_same_world_again_does_not_prolong_the_wait() {
        let mut settle = Settle::new(Times::default());
        settle.observe(&world("a", 1), 0);
        settle.observe(&world("a", 1), 200);
        assert_eq!(released(&mut settle, 0..1_000), [250]);
    }

    #[test]
    fn changes_without_end_count_after_the_longest_wait() {
        let mut settle = Settle::new(Times::default());
        let mut seen = Vec::new();
        for now in (0..12_000).step_by(100) {
            settle.observe(&world(&now.to_string(), 1), now);
            seen.extend(released(&mut settle, now..now + 100));
        }
        assert_eq!(seen, [5_000, 10_100]);
    }

    #[test]
    fn a_change_that_is_taken_back_is_none() {
        let mut settle = Settle::new(Times::default());
        settle.observe(&world("a", 1), 0);
        settle.take(300);
        settle.observe(&world("b", 1), 400);
        settle.observe(&world("a", 1), 500);
        assert_eq!(settle.deadline_ms(), None);
    }

    #[test]
    fn endpoints_do_not_wait_for_rules_that_keep_changing() {
        let mut settle = Settle::new(Times::default());
        settle.observe(&world("a", 1), 0);
        settle.take(300);
        settle.observe(&world("b", 1), 400);
        settle.observe(&world("c", 2), 500);
        settle.observe(&world("d", 3), 510);
        assert_eq!(settle.deadline_ms(), Some(520));
        let settled = settle.take(520);
        assert_eq!(settled.rules, None);
        assert_eq!(settled.endpoints, Some(world("d", 3).endpoints));
        assert!(settle.holds_back());
    }

    #[test]
    fn engines_that_come_count_at_once_and_those_that_go_are_gathered() {
        let world = |ready: &[u8]| {
            let slice = crate::world::EndpointSlice {
                service: "a".to_owned(),
                ports: Vec::new(),
                ready: ready.iter().map(|n| [127, 0, 0, *n].into()).collect(),
                listed: 3,
            };
            let name = crate::world::ObjectName::new("t", "a-1");
            let located = crate::world::Located {
                object: slice,
                origin: None,
                places: crate::world::Places::default(),
                identity: None,
            };
            World {
                endpoints: Arc::new(EndpointsHalf {
                    slices: [(name, Arc::new(located))].into(),
                    ..EndpointsHalf::default()
                }),
                ..World::default()
            }
        };
        let mut settle = Settle::new(Times::default());
        settle.observe(&world(&[1]), 0);
        assert!(settle.take(20).endpoints.is_some());
        settle.observe(&world(&[1, 2]), 100);
        assert_eq!(settle.deadline_ms(), Some(100));
        assert!(settle.take(100).endpoints.is_some());
        settle.observe(&world(&[2]), 200);
        assert_eq!(settle.deadline_ms(), Some(220));
        // One goes and another one comes: that is gathered, too.
        settle.observe(&world(&[2, 3]), 210);
        assert_eq!(settle.deadline_ms(), Some(220));
        // What had gone is back.
        settle.observe(&world(&[1, 2, 3]), 215);
        assert!(settle.take(215).endpoints.is_some());
    }

    #[test]
    fn paused_rules_wait_and_endpoints_do_not() {
        let pause = |text: &str, port: u16| {
            let mut world = world(text, port);
            let half = Arc::make_mut(&mut world.rules);
            half.paused = Some(Pause::File(Origin::file("d/.fixgw-pause".into())));
            world
        };
        let mut settle = Settle::new(Times::default());
        settle.observe(&world("a", 1), 0);
        settle.take(300);
        settle.observe(&pause("b", 2), 1_000);
        assert_eq!(settle.deadline_ms(), Some(1_020));
        assert!(settle.take(90_000).rules.is_none());
        assert!(settle.paused().is_some());
        settle.observe(&world("b", 2), 90_100);
        assert_eq!(
            settle.take(90_349).rules,
            None,
            "the last files are on their way"
        );
        assert_eq!(settle.take(90_350).rules, Some(rules("b")));
        // What had settled before the pause and was not published since counts, too.
        settle.observe(&pause("b", 2), 91_000);
        settle.observe(&world("b", 2), 92_000);
        assert_eq!(settle.take(92_250).rules, Some(rules("b")));
    }
}
