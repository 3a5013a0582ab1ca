//! What does an API server say as a whole, after each change that its watches tell? Pure: time is passed in.
//!
//! A list counts when it is complete, and then as one change. Changes are gathered for a moment, and what did not change stays the
//! same `Arc`. Every Service and EndpointSlice is kept in the form that is needed of it, but a World holds those alone that a
//! FIXSession leads to, or a route in force (as soon as somebody says which those are): all others may change as they like.
//!
//! INVARIANT: what could not be read is never mistaken for what was deleted, and what is not listed yet never for what is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::runtime::watcher::Event;

use super::read::{Form, Seen, Watched};
use crate::api::FIXSessionSpec;
use crate::source::node::Wrong;
use crate::world::held::{HeldStatus, HeldStatuses, Lifecycle, Observed};
use crate::world::{
    EndpointSlice, EndpointsHalf, Fault, Faults, Kind, Located, ObjectName, Objects, Place,
    RulesHalf, Scope, Service,
};

/// Between two Worlds for changes of FIXSessions. The first change is given at once, for it settles later; each World costs its share
/// of the whole.
pub(super) const RULES_MS: u64 = 50;
/// Changes of Services and EndpointSlices. Somebody may be held for an engine, and one roll-out step touches several objects.
pub(super) const ENDPOINTS_MS: u64 = 5;
/// The same for what is said of FIXSessions: it is compared with what shall be said, and nobody waits for it.
pub(super) const HELD_MS: u64 = 50;

/// Services that routes lead to.
pub(super) type Targets = Arc<BTreeSet<ObjectName>>;

/// One of the watches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watch {
    /// Whose.
    pub(crate) kind: Kind,
    /// Where; everywhere if it is not said.
    pub(crate) namespace: Option<Arc<str>>,
}

/// What a watch tells.
pub(super) enum Step<F> {
    /// All that is there.
    Whole(Vec<Seen<F>>),
    /// An object as it is now.
    Is(Seen<F>),
    /// An object is there no more.
    Gone(ObjectName),
}

/// Makes steps of the events of one watch: a list, in however many pages, is one.
pub(super) struct Listing<F> {
    pages: Vec<Seen<F>>,
}

impl<F> Listing<F> {
    pub(super) const fn new() -> Self {
        Self { pages: Vec::new() }
    }

    pub(super) fn event(&mut self, event: Event<Watched<F>>) -> Option<Step<F>> {
        match event {
            // A list that was broken off before its end counts for nothing.
            Event::Init => {
                self.pages = Vec::new();
                None
            }
            Event::InitApply(watched) => {
                self.pages.push(watched.seen);
                None
            }
            Event::InitDone => Some(Step::Whole(std::mem::take(&mut self.pages))),
            Event::Apply(watched) => Some(Step::Is(watched.seen)),
            Event::Delete(watched) => Some(Step::Gone(watched.seen.name)),
        }
    }
}

/// When a change that is gathered counts.
#[derive(Default)]
struct Due {
    at_ms: Option<u64>,
    given_ms: Option<u64>,
}

impl Due {
    fn at(&mut self, now_ms: u64) {
        self.at_ms = Some(now_ms);
    }

    fn within(&mut self, ms: u64, now_ms: u64) {
        self.at_ms.get_or_insert(now_ms.saturating_add(ms));
    }

    /// At once, unless something was given a moment ago.
    fn apart(&mut self, ms: u64, now_ms: u64) {
        let again = self.given_ms.map_or(0, |given| given.saturating_add(ms));
        self.at_ms.get_or_insert(now_ms.max(again));
    }

    fn take(&mut self, now_ms: u64) -> bool {
        let is_due = self.at_ms.take_if(|at| *at <= now_ms).is_some();
        if is_due {
            self.given_ms = Some(now_ms);
        }
        is_due
    }
}

/// An object that could not be read.
#[derive(PartialEq, Eq)]
struct Unread {
    fault: Fault,
    /// The Service that it is about.
    service: Option<ObjectName>,
}

/// All that was told so far.
pub(super) struct Gathered {
    /// Watches whose first list is not complete.
    unlisted: BTreeSet<Watch>,
    sessions: Arc<Objects<FIXSessionSpec>>,
    services: Objects<Service>,
    slices: Objects<EndpointSlice>,
    held: HeldStatuses,
    unread: BTreeMap<(Kind, ObjectName), Unread>,
    /// Services that FIXSessions lead to, and how many do.
    named: BTreeMap<ObjectName, usize>,
    /// Those that routes in force lead to. Until it is said, it may be any.
    in_force: Option<Targets>,
    rules_due: Due,
    endpoints_due: Due,
    held_due: Due,
    given: Option<Observed>,
}

/// A kind that is gathered.
pub(super) trait Gathers: Form {
    /// Takes an object as it is now; `None`: there is none of this name.
    fn take(gathered: &mut Gathered, name: ObjectName, seen: Option<Seen<Self>>, now_ms: u64);

    /// Whether it is known, in whichever way.
    fn names(gathered: &Gathered) -> Vec<ObjectName>;
}

impl Gathers for FIXSessionSpec {
    fn take(gathered: &mut Gathered, name: ObjectName, seen: Option<Seen<Self>>, now_ms: u64) {
        let held = seen.as_ref().map(|seen| HeldStatus {
            identity: seen.identity.clone(),
            lifecycle: seen.lifecycle,
            status: seen.status.clone().unwrap_or_default(),
        });
        if set(&mut gathered.held, &name, held) {
            gathered.held_due.apart(HELD_MS, now_ms);
        }
        // What is being deleted routes no more.
        let seen = seen.filter(|seen| seen.lifecycle == Lifecycle::Live);
        let session = gathered.read(&name, seen, now_ms);
        let target = |session: &Arc<Located<Self>>| {
            let service = &session.object.target.service.name;
            ObjectName::new(&name.namespace, service)
        };
        let before = gathered.sessions.get(&name).map(target);
        let next = session.as_ref().map(target);
        // Whoever was given them keeps them as they are: that is a copy of all, and only for a change.
        if gathered.sessions.get(&name) != session.as_ref() {
            set(Arc::make_mut(&mut gathered.sessions), &name, session);
            gathered.rules_due.apart(RULES_MS, now_ms);
        }
        if before != next {
            let counts = &mut gathered.named;
            let added = next.is_some_and(|next| {
                let count = counts.entry(next).or_default();
                *count += 1;
                *count == 1
            });
            let gone = before.is_some_and(|before| {
                let Some(count) = counts.get_mut(&before) else {
                    return false;
                };
                *count -= 1;
                *count == 0 && counts.remove(&before).is_some()
            });
            if added || gone {
                gathered.endpoints_due.within(ENDPOINTS_MS, now_ms);
            }
        }
    }

    fn names(gathered: &Gathered) -> Vec<ObjectName> {
        gathered.held.keys().cloned().collect()
    }
}

impl Gathers for Service {
    fn take(gathered: &mut Gathered, name: ObjectName, seen: Option<Seen<Self>>, now_ms: u64) {
        let service = gathered.read(&name, seen, now_ms);
        if set(&mut gathered.services, &name, service) && gathered.concerns(&name) {
            gathered.endpoints_due.within(ENDPOINTS_MS, now_ms);
        }
    }

    fn names(gathered: &Gathered) -> Vec<ObjectName> {
        let known = gathered.services.keys();
        known.chain(gathered.unread(Self::KIND)).cloned().collect()
    }
}

impl Gathers for EndpointSlice {
    fn take(gathered: &mut Gathered, name: ObjectName, seen: Option<Seen<Self>>, now_ms: u64) {
        let slice = gathered.read(&name, seen, now_ms);
        let service =
            |slice: &Arc<Located<Self>>| ObjectName::new(&name.namespace, &slice.object.service);
        let before = gathered.slices.get(&name).map(service);
        let next = slice.as_ref().map(service);
        if set(&mut gathered.slices, &name, slice) {
            let concerns = |service| gathered.concerns(&service);
            if before.into_iter().chain(next).any(concerns) {
                gathered.endpoints_due.within(ENDPOINTS_MS, now_ms);
            }
        }
    }

    fn names(gathered: &Gathered) -> Vec<ObjectName> {
        let known = gathered.slices.keys();
        known.chain(gathered.unread(Self::KIND)).cloned().collect()
    }
}

/// Puts it in its place, or nothing; whether that changed anything. What is the same stays the same allocation.
fn set<T: PartialEq>(
    objects: &mut BTreeMap<ObjectName, T>,
    name: &ObjectName,
    object: Option<T>,
) -> bool {
    match (objects.get_mut(name), object) {
        (None, None) => false,
        (Some(_), None) => objects.remove(name).is_some(),
        (Some(before), Some(object)) if *before == object => false,
        (Some(before), Some(object)) => {
            *before = object;
            true
        }
        (None, Some(object)) => objects.insert(name.clone(), object).is_none(),
    }
}

impl Gathered {
    /// Nothing is known yet, and these will tell.
    pub(super) fn new(watches: impl IntoIterator<Item = Watch>, now_ms: u64) -> Self {
        let mut gathered = Self {
            unlisted: watches.into_iter().collect(),
            sessions: Arc::default(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            held: BTreeMap::new(),
            unread: BTreeMap::new(),
            named: BTreeMap::new(),
            in_force: None,
            rules_due: Due::default(),
            endpoints_due: Due::default(),
            held_due: Due::default(),
            given: None,
        };
        gathered.all_due(now_ms);
        gathered
    }

    /// Takes what a watch tells.
    pub(super) fn take<F: Gathers>(&mut self, watch: &Watch, step: Step<F>, now_ms: u64) {
        match step {
            Step::Is(seen) => F::take(self, seen.name.clone(), Some(seen), now_ms),
            Step::Gone(name) => F::take(self, name, None, now_ms),
            Step::Whole(all) => {
                let here = |name: &ObjectName| {
                    let namespace = watch.namespace.as_deref();
                    namespace.is_none_or(|namespace| namespace == &*name.namespace)
                };
                let mut gone: BTreeSet<ObjectName> =
                    F::names(self).into_iter().filter(here).collect();
                for seen in all {
                    gone.remove(&seen.name);
                    F::take(self, seen.name.clone(), Some(seen), now_ms);
                }
                for name in gone {
                    F::take(self, name, None, now_ms);
                }
                if self.unlisted.remove(watch) && self.unlisted.is_empty() {
                    self.all_due(now_ms);
                }
            }
        }
    }

    /// Takes which Services routes in force lead to.
    pub(super) fn in_force(&mut self, targets: Option<Targets>, now_ms: u64) {
        if self.in_force != targets {
            self.in_force = targets;
            self.endpoints_due.within(ENDPOINTS_MS, now_ms);
        }
    }

    /// When [`Gathered::give`] will give something, if nothing changes until then.
    pub(super) fn due_ms(&self) -> Option<u64> {
        if !self.unlisted.is_empty() {
            return None;
        }
        let due = [&self.rules_due, &self.endpoints_due, &self.held_due];
        due.into_iter().filter_map(|due| due.at_ms).min()
    }

    /// All that is known, when some of it is due and is not as it was given last.
    pub(super) fn give(&mut self, now_ms: u64) -> Option<Observed> {
        if !self.unlisted.is_empty() {
            return None;
        }
        let first = self.given.is_none();
        let mut next = self.given.clone().unwrap_or_default();
        let mut changed = first;
        if self.rules_due.take(now_ms) {
            changed |= renew(&mut next.world.rules, self.rules_half());
        }
        if self.endpoints_due.take(now_ms) {
            changed |= renew(&mut next.world.endpoints, self.endpoints_half());
        }
        if self.held_due.take(now_ms) && *next.held != self.held {
            next.held = Arc::new(self.held.clone());
            changed = true;
        }
        if !changed {
            return None;
        }
        self.given = Some(next.clone());
        Some(next)
    }

    fn all_due(&mut self, now_ms: u64) {
        self.rules_due.at(now_ms);
        self.endpoints_due.at(now_ms);
        self.held_due.at(now_ms);
    }

    /// The object, if it could be read; keeps what is wrong with it if not.
    fn read<F: Form>(
        &mut self,
        name: &ObjectName,
        seen: Option<Seen<F>>,
        now_ms: u64,
    ) -> Option<Arc<Located<F>>> {
        let (object, unread) = match seen {
            None => (None, None),
            Some(Seen {
                form: Ok(form),
                identity,
                ..
            }) => (form.map(|form| Arc::new(form.located(&identity))), None),
            Some(Seen {
                form: Err(wrong),
                service,
                ..
            }) => {
                let fault = fault(F::KIND, name, wrong);
                (None, Some(Unread { fault, service }))
            }
        };
        let key = (F::KIND, name.clone());
        let changed = match unread {
            None => self.unread.remove(&key).is_some(),
            Some(unread) if self.unread.get(&key) == Some(&unread) => false,
            Some(unread) => {
                self.unread.insert(key, unread);
                true
            }
        };
        match F::KIND {
            _ if !changed => {}
            Kind::FIXSession => self.rules_due.apart(RULES_MS, now_ms),
            Kind::Service | Kind::EndpointSlice => {
                self.endpoints_due.within(ENDPOINTS_MS, now_ms);
            }
        }
        object
    }

    fn unread(&self, kind: Kind) -> impl Iterator<Item = &ObjectName> {
        let names = self.unread.keys();
        names.filter_map(move |(of, name)| (*of == kind).then_some(name))
    }

    /// Whether a World holds what is about this Service.
    fn concerns(&self, service: &ObjectName) -> bool {
        let in_force = self.in_force.as_ref();
        in_force.is_none_or(|targets| targets.contains(service)) || self.named.contains_key(service)
    }

    fn rules_half(&self) -> RulesHalf {
        let mut faults = Faults::default();
        for ((kind, _), unread) in &self.unread {
            if *kind == Kind::FIXSession {
                faults.push(unread.fault.clone());
            }
        }
        RulesHalf {
            sessions: self.sessions.clone(),
            faults,
            // Said by the table object, which is no source.
            paused: None,
        }
    }

    fn endpoints_half(&self) -> EndpointsHalf {
        let mut faults = Faults::default();
        for ((kind, _), unread) in &self.unread {
            if *kind == Kind::FIXSession {
                continue;
            }
            faults.push(unread.fault.clone());
            // Others may have uses of their own for such a thing; but it is never mistaken for deleted.
            let named = |service: &ObjectName| self.named.contains_key(service);
            if !unread.service.as_ref().is_some_and(named) {
                faults.list.pop();
            }
        }
        let wanted = self.in_force.as_ref().map(|targets| {
            let names = targets.iter().chain(self.named.keys());
            names
                .map(|name| (&*name.namespace, &*name.name))
                .collect::<BTreeSet<_>>()
        });
        let is_wanted = |namespace: &str, service: &str| {
            let wanted = wanted.as_ref();
            wanted.is_none_or(|wanted| wanted.contains(&(namespace, service)))
        };
        let services = self.services.iter();
        let slices = self.slices.iter();
        EndpointsHalf {
            services: services
                .filter(|(name, _)| is_wanted(&name.namespace, &name.name))
                .map(|(name, service)| (name.clone(), service.clone()))
                .collect(),
            slices: slices
                .filter(|(name, slice)| is_wanted(&name.namespace, &slice.object.service))
                .map(|(name, slice)| (name.clone(), slice.clone()))
                .collect(),
            extra: Vec::new(),
            place: Place::Cluster,
            faults,
        }
    }
}

/// Keeps the half that is there if the other one says the same; whether it did not.
fn renew<H: PartialEq>(half: &mut Arc<H>, next: H) -> bool {
    if **half == next {
        return false;
    }
    *half = Arc::new(next);
    true
}

fn fault(kind: Kind, name: &ObjectName, wrong: Wrong) -> Fault {
    Fault {
        origin: None,
        object: Some((kind, name.clone())),
        field: Some(wrong.path).filter(|path| !path.is_empty()),
        what: wrong.what,
        scope: Scope::Object,
    }
}

#[cfg(test)]
mod tests;
