//! Which status is written next, and when? What shall stand there and what stands there in, one write after the other out; pure,
//! time is passed in.
//!
//! A write waits for its place among [`WRITES_PER_SECOND_MAX`]: conditions come before counts, and who has waited longest before
//! who came later. What is written is what shall stand there at that moment, so many changes of one object are one write.
//!
//! INVARIANT: what differs is written in the end, or goes on being tried: nothing is kept but names, so nothing can grow old.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::conditions::{self, Counting, Known, Since, View, Whose};
use super::transitions::{self, Note};
use super::wanted::{Lasting, Need, need};
use crate::api::status::FIXSessionStatus;
use crate::world::ObjectName;
use crate::world::held::{HeldStatus, HeldStatuses};

/// Writes in any second. An API server with ten thousand objects has other things to do.
pub const WRITES_PER_SECOND_MAX: usize = 50;
/// Writes that are under way at once: with an answer in 20 ms, these are more than are allowed a second.
pub const WRITES_AT_ONCE_MAX: usize = 8;
/// Milliseconds between two writes of one object that are about counts alone.
pub const COUNTS_APART_MS: u64 = 1_000;
/// Milliseconds until it is written that gateways have not taken a table yet: also on a busy machine they have by then, and one
/// write says all.
pub const MOMENTS_MS: u64 = 4_000;
/// Milliseconds until it is written that gateways do not route any more by what they routed by, and until counts are believed
/// while some VM has not told all: after a restart of the control plane they say who they are and what they have. A VM counts as
/// gone after five seconds.
pub const UNHEARD_MS: u64 = 8_000;
/// Milliseconds from a replica's beginning within which gateways may be there that it does not know: they look for the replicas'
/// addresses every five seconds, and their VMs report every second.
pub const YOUNG_MS: u64 = 7_000;
/// Milliseconds after which a write that is not seen on the API server is held against what is seen there.
const SEEN_AGAIN_MS: u64 = 5_000;
/// Milliseconds until a write is tried again: the first time, and at most.
const RETRY_MS: u64 = 500;
const RETRY_MS_MAX: u64 = 5_000;
/// The same for an object whose status alone cannot be written.
const RETRY_OBJECT_MS_MAX: u64 = 300_000;

const SECOND_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
struct Dirty {
    need: Need,
    lasting: Lasting,
    since_ms: u64,
}

/// What was written and is not seen yet.
#[derive(Debug)]
struct Sent {
    uid: Arc<str>,
    status: Arc<FIXSessionStatus>,
    at_ms: u64,
}

/// An object whose status was not taken.
#[derive(Debug)]
struct Refused {
    uid: Arc<str>,
    retry: Retry,
}

#[derive(Clone, Copy, Debug, Default)]
struct Retry {
    failures: u32,
    not_before_ms: u64,
}

impl Retry {
    fn failed(&mut self, now_ms: u64, longest_ms: u64) {
        let wait = RETRY_MS.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.not_before_ms = now_ms.saturating_add(wait.min(longest_ms));
    }
}

/// One status to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Of which object.
    pub name: ObjectName,
    /// Of this one, and not of one that was made anew under its name.
    pub uid: Arc<str>,
    /// All of it.
    pub status: Arc<FIXSessionStatus>,
    /// What to tell once it is written.
    pub notes: Vec<Note>,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It stands there now, with what others may have written beside it.
    Written(Box<FIXSessionStatus>),
    /// The object is gone, or another one of its name is there: that is seen in a moment.
    Gone,
    /// This one was refused, and others need not be.
    Refused,
    /// The API server did not take it, and would take no other one.
    Failed,
}

/// Which statuses differ, and what is under way.
#[derive(Debug, Default)]
pub struct Planner {
    since: Since,
    dirty: BTreeMap<ObjectName, Dirty>,
    under_way: BTreeMap<ObjectName, Write>,
    sent: BTreeMap<ObjectName, Sent>,
    refused: BTreeMap<ObjectName, Refused>,
    /// For all of them: how often it failed, and until when none is written.
    pause: Retry,
    /// When the last writes ended, the oldest first. Any moment from its beginning to its end may be the one at which a write counts
    /// for the API server, so each keeps its place for a second after its end.
    ended: VecDeque<u64>,
    /// When each object was written in the last second.
    written: BTreeMap<ObjectName, u64>,
    /// Since when somebody has not told all.
    unheard_since_ms: Option<u64>,
}

impl Planner {
    /// One that plans from this moment on. Who led before may have written as many as are allowed a second until just now, so the
    /// first write is a second later.
    #[must_use]
    pub fn begin(now_ms: u64) -> Self {
        let pause = Retry {
            failures: 0,
            not_before_ms: now_ms.saturating_add(SECOND_MS),
        };
        Self {
            pause,
            ..Self::default()
        }
    }

    /// Looks at everything. To be called when anything has changed.
    pub fn look(&mut self, known: &Known, now_ms: u64) {
        self.since.look(known);
        let held = &known.observed.held;
        self.forget(held, now_ms);
        self.unheard_since_ms = if conditions::is_heard(known) {
            None
        } else {
            self.unheard_since_ms.or(Some(now_ms))
        };
        let counting = self.counting(now_ms);
        let mut view = View::new(known, &self.since, Whose::All, counting);
        let mut before = std::mem::take(&mut self.dirty);
        for (name, object) in held.iter() {
            let stands = stands(&self.sent, name, object);
            let Some(wanted) = view.of(name, object, stands) else {
                continue;
            };
            let Some(need) = wanted.need() else {
                continue;
            };
            let last = before.remove(name).filter(|last| last.need == need);
            let dirty = Dirty {
                need,
                lasting: wanted.lasting,
                since_ms: last.map_or(now_ms, |last| last.since_ms),
            };
            self.dirty.insert(name.clone(), dirty);
        }
    }

    fn counting(&self, now_ms: u64) -> Counting {
        match self.unheard_since_ms {
            Some(since) if now_ms.saturating_sub(since) < UNHEARD_MS => Counting::Kept,
            Some(_) | None => Counting::Told,
        }
    }

    /// When to call [`Planner::look`] again, though nothing has changed.
    #[must_use]
    pub fn look_again_ms(&self, now_ms: u64) -> Option<u64> {
        let believed = self.unheard_since_ms.map(|since| since + UNHEARD_MS);
        let sent = self.sent.values().map(|sent| sent.at_ms + SEEN_AGAIN_MS);
        sent.chain(believed.filter(|at| *at > now_ms)).min()
    }

    /// Drops what is over.
    fn forget(&mut self, held: &HeldStatuses, now_ms: u64) {
        self.written
            .retain(|_, at| now_ms.saturating_sub(*at) < COUNTS_APART_MS);
        self.sent.retain(|name, sent| {
            let object = held.get(name);
            let object = object.filter(|object| object.identity.uid == sent.uid);
            object.is_some_and(|object| need(&object.status, &sent.status).is_some())
                && now_ms.saturating_sub(sent.at_ms) < SEEN_AGAIN_MS
        });
        self.refused.retain(|name, refused| {
            let object = held.get(name);
            object.is_some_and(|object| object.identity.uid == refused.uid)
        });
    }

    /// The writes that may begin now.
    pub fn take(&mut self, known: &Known, now_ms: u64, now: Timestamp) -> Vec<Write> {
        let names = self.due(now_ms);
        if names.is_empty() {
            return Vec::new();
        }
        let mut writes = Vec::new();
        let counting = self.counting(now_ms);
        let mut view = View::new(known, &self.since, Whose::These(&names), counting);
        for name in &names {
            let Some(dirty) = self.dirty.remove(name) else {
                continue;
            };
            let Some(object) = known.observed.held.get(name) else {
                continue;
            };
            let stands = stands(&self.sent, name, object);
            let Some(wanted) = view.of(name, object, stands) else {
                continue;
            };
            let Some(need) = wanted.need() else {
                continue;
            };
            let dirty = Dirty {
                need,
                lasting: wanted.lasting,
                ..dirty
            };
            if self.due_ms(name, dirty) > now_ms {
                // What it waited for has come, and something else with it.
                self.dirty.insert(name.clone(), dirty);
                continue;
            }
            let status = wanted.status(now);
            let write = Write {
                name: name.clone(),
                uid: object.identity.uid.clone(),
                notes: transitions::notes(stands, &status),
                status: Arc::new(status),
            };
            self.under_way.insert(name.clone(), write.clone());
            writes.push(write);
        }
        writes
    }

    /// How many writes may have counted within the last second.
    fn of_this_second(&self) -> usize {
        self.under_way.len() + self.ended.len()
    }

    /// As many as may begin, in their order.
    fn due(&mut self, now_ms: u64) -> Vec<ObjectName> {
        while self
            .ended
            .front()
            .is_some_and(|at| now_ms.saturating_sub(*at) >= SECOND_MS)
        {
            self.ended.pop_front();
        }
        // What fails is tried with one.
        let at_once = if self.pause.failures > 0 {
            1
        } else {
            WRITES_AT_ONCE_MAX
        };
        let room = WRITES_PER_SECOND_MAX
            .saturating_sub(self.of_this_second())
            .min(at_once.saturating_sub(self.under_way.len()));
        if room == 0 || now_ms < self.pause.not_before_ms {
            return Vec::new();
        }
        let waiting = self.dirty.iter();
        let mut due: Vec<(Need, u64, &ObjectName)> = waiting
            .filter(|(name, dirty)| {
                !self.under_way.contains_key(*name) && self.due_ms(name, **dirty) <= now_ms
            })
            .map(|(name, dirty)| (dirty.need, dirty.since_ms, name))
            .collect();
        if due.len() > room {
            due.select_nth_unstable(room - 1);
        }
        due.truncate(room);
        due.into_iter().map(|(_, _, name)| name.clone()).collect()
    }

    /// When an object's write may begin, if there is room.
    fn due_ms(&self, name: &ObjectName, dirty: Dirty) -> u64 {
        let patience = match dirty.lasting {
            Lasting::Firm => 0,
            Lasting::Moments => MOMENTS_MS,
            Lasting::Unheard => UNHEARD_MS,
        };
        let apart = match dirty.need {
            Need::Conditions => 0,
            Need::Counts => self
                .written
                .get(name)
                .map_or(0, |at| at.saturating_add(COUNTS_APART_MS)),
        };
        let refused = self.refused.get(name);
        let refused = refused.map_or(0, |it| it.retry.not_before_ms);
        let patient = dirty.since_ms.saturating_add(patience);
        patient.max(apart).max(refused)
    }

    /// When to call [`Planner::take`] next, if nothing happens until then; a moment that is over means now.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        // Then an answer comes first.
        let is_full = self.under_way.len() >= WRITES_AT_ONCE_MAX;
        if is_full || self.pause.failures > 0 && !self.under_way.is_empty() {
            return None;
        }
        let waiting = self.dirty.iter();
        let first = waiting
            .filter(|(name, _)| !self.under_way.contains_key(*name))
            .map(|(name, dirty)| self.due_ms(name, *dirty))
            .min()?;
        let room = if self.of_this_second() < WRITES_PER_SECOND_MAX {
            0
        } else {
            self.ended
                .front()
                .map_or(0, |at| at.saturating_add(SECOND_MS))
        };
        Some(first.max(room).max(self.pause.not_before_ms))
    }

    /// What became of a write.
    pub fn done(&mut self, name: &ObjectName, outcome: &Outcome, now_ms: u64) {
        let Some(write) = self.under_way.remove(name) else {
            return;
        };
        self.ended.push_back(now_ms);
        if !matches!(outcome, Outcome::Written(_)) {
            // Looked at once more before it is tried again.
            let dirty = Dirty {
                need: Need::Conditions,
                lasting: Lasting::Firm,
                since_ms: now_ms,
            };
            self.dirty.entry(name.clone()).or_insert(dirty);
        }
        match outcome {
            Outcome::Written(result) => {
                self.pause = Retry::default();
                self.written.insert(name.clone(), now_ms);
                // Another one holds on to what shall not stand there: to write it at once again would help nobody.
                if need(result, &write.status).is_some() {
                    self.put_off(name, &write.uid, now_ms, RETRY_OBJECT_MS_MAX);
                } else {
                    self.refused.remove(name);
                }
                let sent = Sent {
                    uid: write.uid,
                    status: write.status,
                    at_ms: now_ms,
                };
                self.sent.insert(name.clone(), sent);
            }
            Outcome::Gone | Outcome::Refused => {
                self.pause = Retry::default();
                self.put_off(name, &write.uid, now_ms, RETRY_OBJECT_MS_MAX);
            }
            Outcome::Failed => {
                self.pause.failed(now_ms, RETRY_MS_MAX);
                // So that the next one to be tried is another.
                self.put_off(name, &write.uid, now_ms, RETRY_MS_MAX);
            }
        }
    }

    fn put_off(&mut self, name: &ObjectName, uid: &Arc<str>, now_ms: u64, longest_ms: u64) {
        let refused = self.refused.entry(name.clone());
        let refused = refused.or_insert_with(|| Refused {
            uid: uid.clone(),
            retry: Retry::default(),
        });
        refused.retry.failed(now_ms, longest_ms);
    }

    /// How many objects wait to be written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.dirty.len()
    }
}

/// What stands on the API server, as far as is known: what was written a moment ago is not seen at once.
fn stands<'a>(
    sent: &'a BTreeMap<ObjectName, Sent>,
    name: &ObjectName,
    object: &'a HeldStatus,
) -> &'a FIXSessionStatus {
    let sent = sent.get(name);
    let sent = sent.filter(|sent| sent.uid == object.identity.uid);
    sent.map_or(&*object.status, |sent| &*sent.status)
}

#[cfg(test)]
mod tests;
