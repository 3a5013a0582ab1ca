//! In which order does one proxy get what it should hold?
//!
//! clusters → endpoints → both acknowledged → readiness → table → removals. Nothing is remembered of a plan: on every
//! event the proxy's state is compared with the newest goal, so that a newer goal simply takes the older one's place.
//!
//! Invariants:
//! - A table goes out only when each target's cluster and endpoints are acknowledged (or refused by the proxy: such a
//!   target counts as not ready, and does not keep the others waiting).
//! - A target is called ready only after the proxy acknowledged endpoints for it, and its last endpoint leaves only
//!   after every live VM reported a readiness that calls it not ready: no Logon meets an empty cluster.
//! - A cluster leaves only when every live VM reported the table that does not name it. An acknowledgement is not
//!   enough: workers apply it later. A VM that is not known yet is waited for.
//! - A proxy that holds a newer table is not rolled back: it keeps all that it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use fixgw_core::names::{RESOURCE_READINESS, RESOURCE_ROUTES};
use fixgw_core::report::LIVE_MS;
use fixgw_core::rule::Target;

use super::resources::{self, Goal, ProxySettings, Resource, TargetResources, number_of};
use super::session::{Excess, Kind, Others, Progress, Session, Told, View};

/// How long a VM counts as live after its last report, and how long a new stream waits for the VMs to be heard.
pub const LIVE: Duration = Duration::from_millis(LIVE_MS);

/// Envoy's words when a Wasm plugin could not be made.
const PLUGIN_REFUSED: &str = "Unable to create Wasm plugin";

/// The time, passed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment; never goes back.
    pub monotonic: Duration,
    /// Milliseconds since 1970, for the versions of readiness.
    pub unix_ms: u64,
}

/// What one VM of the proxy last said about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmState {
    /// Which VM.
    pub vm_id: u64,
    /// The table that it uses; 0: none.
    pub table_revision: u64,
    /// The readiness that it uses; 0: none.
    pub readiness_version: u64,
    /// When it said so.
    pub heard_at: Duration,
}

impl VmState {
    /// Whether it counts as live.
    #[must_use]
    pub fn is_live(&self, now: Now) -> bool {
        now.monotonic.saturating_sub(self.heard_at) < LIVE
    }
}

/// What is known at the moment of an event. Passed whole each time: a list of VMs that was kept would grow old, and a
/// live VM would look like a dead one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The time.
    pub now: Now,
    /// What the proxy's VMs last said.
    pub vms: Vec<VmState>,
}

impl Seen {
    fn live(&self) -> impl Iterator<Item = &VmState> {
        self.vms.iter().filter(|vm| vm.is_live(self.now))
    }
}

/// What happened, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// The proxy accepted a table, or came back with one. Its workers may not use it yet.
    TableAcknowledged {
        /// The table.
        revision: u64,
    },
    /// The proxy refused something and goes on with what it had.
    Rejected {
        /// The type.
        kind: Kind,
        /// The resources in the response.
        names: Vec<String>,
        /// The proxy's words.
        text: String,
        /// What follows from it.
        follows: Follows,
    },
    /// The proxy accepted what it had refused before in another version.
    Mended {
        /// The type.
        kind: Kind,
        /// The resources.
        names: Vec<String>,
    },
    /// The proxy holds a newer table than ours: we wait.
    Behind {
        /// What it holds.
        held: u64,
        /// What we would serve.
        ours: u64,
    },
    /// Clusters were removed: no live VM uses a table that names them.
    Removed {
        /// The clusters.
        clusters: Vec<String>,
    },
}

/// What follows from a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// The version is not sent again.
    NotSentAgain,
    /// The response is sent again in smaller parts, to find the culprit.
    SentInParts,
    /// The proxy could not make a plugin of it. Either this one is bad, or the proxy can make none any more.
    PluginRefused,
    /// The proxy could not make a plugin twice in a row. Once a worker has refused what the main thread had accepted,
    /// Envoy makes no plugin of that VM until it is restarted.
    MustRestart,
}

/// What to do now.
#[derive(Debug, Default)]
pub struct Step {
    /// To send, in this order.
    pub responses: Vec<DeltaDiscoveryResponse>,
    /// To tell.
    pub happened: Vec<Happened>,
}

/// One proxy on one stream.
#[derive(Debug)]
pub struct Rollout {
    settings: ProxySettings,
    session: Session,
    goal: Arc<Goal>,
    opened_at: Duration,
    /// Targets that left the table and may still be in use.
    retired: BTreeMap<String, TargetResources>,
    /// The endpoints that each target was last meant to have.
    offered: BTreeMap<String, Arc<Resource>>,
    readiness: Option<Offer>,
    table: Option<Arc<Resource>>,
    /// Discovered filters refused since one was accepted.
    plugins_refused: u32,
    told_table: Option<u64>,
    told_behind: Option<u64>,
}

/// A readiness as it was last offered.
#[derive(Debug)]
struct Offer {
    version: u64,
    resource: Arc<Resource>,
    /// What is not ready, with the version that said so first.
    not_ready: BTreeMap<String, u64>,
}

/// What readiness may say of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Ready,
    NotReady,
    /// It depends on an answer that is not there yet.
    Open,
}

impl Rollout {
    /// A stream that was just opened.
    #[must_use]
    pub fn new(settings: ProxySettings, goal: Arc<Goal>, now: Now) -> Self {
        Self {
            settings,
            session: Session::new(),
            goal,
            opened_at: now.monotonic,
            retired: BTreeMap::new(),
            offered: BTreeMap::new(),
            readiness: None,
            table: None,
            plugins_refused: 0,
            told_table: None,
            told_behind: None,
        }
    }

    /// The proxy said something.
    ///
    /// # Errors
    /// It asked for more than there can be; the stream should end.
    pub fn request(&mut self, request: DeltaDiscoveryRequest, seen: &Seen) -> Result<Step, Excess> {
        let mut step = Step::default();
        let heard = self.session.request(request)?;
        step.responses.extend(heard.foreign);
        step.happened
            .extend(heard.told.and_then(|told| self.judge(told)));
        let table = self
            .session
            .accepted(Kind::Filter, RESOURCE_ROUTES)
            .and_then(number_of);
        if table != self.told_table {
            self.told_table = table;
            step.happened
                .extend(table.map(|revision| Happened::TableAcknowledged { revision }));
        }
        self.advance(seen, &mut step);
        Ok(step)
    }

    /// There is a newer goal.
    pub fn supersede(&mut self, goal: Arc<Goal>, seen: &Seen) -> Step {
        for (name, target) in &self.goal.targets {
            if !goal.targets.contains_key(name) && self.session.may_hold(Kind::Cluster, name) {
                self.retired.insert(name.clone(), target.clone());
            }
        }
        self.retired
            .retain(|name, _| !goal.targets.contains_key(name));
        self.goal = goal;
        self.look(seen)
    }

    /// Nobody said anything to this stream, but VMs may have, or a heartbeat may have expired.
    pub fn look(&mut self, seen: &Seen) -> Step {
        let mut step = Step::default();
        self.advance(seen, &mut step);
        step
    }

    /// Whether something waits for reports of VMs, or for their heartbeats to expire.
    #[must_use]
    pub fn waits_for_vms(&self) -> bool {
        let leaving = || {
            self.session
                .held(Kind::Cluster)
                .any(|name| !self.goal.targets.contains_key(name))
        };
        let draining = |(name, target): (&String, &TargetResources)| {
            !target.has_endpoints() && !self.holds_no_endpoints(name, target)
        };
        self.told_behind.is_some() || leaving() || self.goal.targets.iter().any(draining)
    }

    /// The readiness that every VM of the proxy is to use, at least; none while what it says depends on an answer. A proxy that holds a
    /// newer table than ours is offered none, so any will do.
    #[must_use]
    pub fn readiness(&self) -> Option<u64> {
        if self.told_behind.is_some() {
            return Some(0);
        }
        let offer = self.readiness.as_ref()?;
        let targets = &self.goal.targets;
        let is_open = |(name, target): (&String, &TargetResources)| {
            self.standing(name, target) == Standing::Open
        };
        (!targets.iter().any(is_open)).then_some(offer.version)
    }

    fn judge(&mut self, told: Told) -> Option<Happened> {
        let (kind, names, text, in_parts) = match told {
            Told::Rejected {
                kind,
                names,
                text,
                in_parts,
            } => (kind, names, text, in_parts),
            Told::Acknowledged { kind, mended, .. } => {
                if kind == Kind::Filter {
                    self.plugins_refused = 0;
                }
                let is_mended = !mended.is_empty();
                return is_mended.then_some(Happened::Mended {
                    kind,
                    names: mended,
                });
            }
        };
        let follows = if kind == Kind::Filter && text.contains(PLUGIN_REFUSED) {
            self.plugins_refused += 1;
            if self.plugins_refused == 1 {
                Follows::PluginRefused
            } else {
                Follows::MustRestart
            }
        } else if in_parts {
            Follows::SentInParts
        } else {
            Follows::NotSentAgain
        };
        Some(Happened::Rejected {
            kind,
            names,
            text,
            follows,
        })
    }

    fn advance(&mut self, seen: &Seen, step: &mut Step) {
        let behind = self.behind(seen);
        self.tell_behind(behind, step);
        let removals = behind.is_none() && self.table_is_used_by_all(seen);
        if removals {
            self.retired.clear();
        }
        self.send_clusters(removals, step);
        self.offer_endpoints(seen);
        // What is held from before and of which nothing is known stays as it is, until its cluster goes.
        let endpoints = View {
            set: by_name(self.offered.values()),
            others: Others::Stay,
        };
        send(
            &mut self.session,
            Kind::Endpoints,
            &endpoints,
            &self.goal,
            step,
        );
        if behind.is_none() {
            self.offer_readiness(seen);
            self.offer_table();
            let readiness = self.readiness.as_ref().map(|offer| &offer.resource);
            let filters = View {
                set: by_name(self.table.iter().chain(readiness)),
                others: Others::Stay,
            };
            send(&mut self.session, Kind::Filter, &filters, &self.goal, step);
        }
    }

    fn send_clusters(&mut self, removals: bool, step: &mut Step) {
        let targets = self.goal.targets.values().chain(self.retired.values());
        let view = View {
            set: by_name(targets.map(|target| &target.cluster)),
            others: if removals { Others::Go } else { Others::Stay },
        };
        let before = step.responses.len();
        send(&mut self.session, Kind::Cluster, &view, &self.goal, step);
        let sent = step.responses.get(before..).unwrap_or_default();
        for response in sent
            .iter()
            .filter(|sent| !sent.removed_resources.is_empty())
        {
            let clusters = response.removed_resources.clone();
            step.happened.push(Happened::Removed { clusters });
        }
    }

    /// The revision that the proxy holds, if it is newer than ours.
    fn behind(&self, seen: &Seen) -> Option<u64> {
        let acknowledged = self
            .session
            .accepted(Kind::Filter, RESOURCE_ROUTES)
            .and_then(number_of);
        let in_use = seen.live().map(|vm| vm.table_revision);
        in_use
            .chain(acknowledged)
            .max()
            .filter(|held| *held > self.goal.revision)
    }

    fn tell_behind(&mut self, behind: Option<u64>, step: &mut Step) {
        if behind != self.told_behind
            && let Some(held) = behind
        {
            step.happened.push(Happened::Behind {
                held,
                ours: self.goal.revision,
            });
        }
        self.told_behind = behind;
    }

    /// Whether every live VM uses our table. Every live VM reports within [`LIVE`]; before that there may be one that
    /// we have not heard of.
    fn table_is_used_by_all(&self, seen: &Seen) -> bool {
        self.vms_are_known(seen)
            && self.session.progress(Kind::Filter, &self.goal.table) == Progress::Accepted
            && seen
                .live()
                .all(|vm| vm.table_revision == self.goal.revision)
    }

    fn vms_are_known(&self, seen: &Seen) -> bool {
        seen.now.monotonic.saturating_sub(self.opened_at) >= LIVE
    }

    fn offer_endpoints(&mut self, seen: &Seen) {
        for (name, target) in &self.goal.targets {
            let offered = self.offered.get(name);
            let wanted = if target.has_endpoints() || self.may_empty(name, target, seen) {
                Some(&target.endpoints)
            } else if offered == Some(&target.no_endpoints) {
                // Decided before it was known that the proxy holds some.
                None
            } else {
                offered
            };
            if wanted != offered {
                match wanted.cloned() {
                    Some(wanted) => self.offered.insert(name.clone(), wanted),
                    None => self.offered.remove(name),
                };
            }
        }
        let (goal, retired) = (&self.goal, &self.retired);
        self.offered
            .retain(|name, _| goal.targets.contains_key(name) || retired.contains_key(name));
    }

    /// Whether a target's last endpoint may leave, or there is none.
    fn may_empty(&self, name: &str, target: &TargetResources, seen: &Seen) -> bool {
        self.holds_no_endpoints(name, target) || self.is_drained(name, seen)
    }

    fn holds_no_endpoints(&self, name: &str, target: &TargetResources) -> bool {
        !self.session.may_hold(Kind::Endpoints, name)
            || (self.session.progress(Kind::Endpoints, &target.no_endpoints) == Progress::Accepted
                && self.session.on_its_way(Kind::Endpoints, name).is_none())
    }

    /// Whether no live VM takes the target for ready any more.
    fn is_drained(&self, name: &str, seen: &Seen) -> bool {
        let Some(since) = self
            .readiness
            .as_ref()
            .and_then(|offer| offer.not_ready.get(name))
        else {
            return false;
        };
        let acknowledged = self
            .session
            .accepted(Kind::Filter, RESOURCE_READINESS)
            .and_then(number_of);
        self.vms_are_known(seen)
            && acknowledged.is_some_and(|version| version >= *since)
            && seen.live().all(|vm| vm.readiness_version >= *since)
    }

    fn standing(&self, name: &str, target: &TargetResources) -> Standing {
        if !target.has_endpoints() {
            return Standing::NotReady;
        }
        let has_cluster = self.session.accepted(Kind::Cluster, name).is_some();
        // Both what it holds and what it may hold the next moment.
        let none = &target.no_endpoints.version;
        let held = self.session.accepted(Kind::Endpoints, name);
        let next = self.session.on_its_way(Kind::Endpoints, name);
        let has_endpoints = held.is_some_and(|held| held != none) && next != Some(none);
        let refused = self.session.progress(Kind::Cluster, &target.cluster) == Progress::Rejected
            && !has_cluster
            || self.session.progress(Kind::Endpoints, &target.endpoints) == Progress::Rejected;
        match (has_cluster && has_endpoints, refused) {
            (true, _) => Standing::Ready,
            (false, true) => Standing::NotReady,
            (false, false) => Standing::Open,
        }
    }

    /// Makes a new readiness if what it says has changed, or if somebody made a newer one: workers keep the newest.
    /// Not before the proxy asked for it, for then it says what it holds.
    fn offer_readiness(&mut self, seen: &Seen) {
        if !self.session.subscribes(Kind::Filter, RESOURCE_READINESS) {
            return;
        }
        let mut not_ready = BTreeSet::new();
        let was = |name: &str| {
            self.readiness
                .as_ref()
                .is_some_and(|offer| offer.not_ready.contains_key(name))
        };
        for (name, target) in &self.goal.targets {
            match self.standing(name, target) {
                Standing::Ready => {}
                Standing::NotReady => {
                    not_ready.insert(name.clone());
                }
                // The first readiness says something of every target; a later one goes on saying what it said. A
                // target that is new is in no table yet.
                Standing::Open if self.readiness.is_none() => return,
                Standing::Open => {
                    if was(name) {
                        not_ready.insert(name.clone());
                    }
                }
            }
        }
        not_ready.extend(self.retired.keys().filter(|name| was(name)).cloned());
        let newest = self.newest_readiness(seen);
        if self
            .readiness
            .as_ref()
            .is_some_and(|offer| offer.version < newest)
        {
            self.readiness = None;
        }
        let said = self.readiness.as_ref().map(|offer| offer.not_ready.keys());
        if !said.is_some_and(|said| said.eq(not_ready.iter())) {
            let version = seen.now.unix_ms.max(newest.saturating_add(1));
            let held = self
                .held_readiness(&not_ready)
                .filter(|held| held.version == newest);
            self.readiness = Some(held.unwrap_or_else(|| self.offer(version, &not_ready)));
        }
    }

    fn newest_readiness(&self, seen: &Seen) -> u64 {
        let offered = self.readiness.as_ref().map(|offer| offer.version);
        let held = self
            .session
            .accepted(Kind::Filter, RESOURCE_READINESS)
            .and_then(number_of);
        let used = seen.live().map(|vm| vm.readiness_version);
        used.chain(offered).chain(held).max().unwrap_or_default()
    }

    /// The readiness that the proxy holds, if it says just this: after a reconnect it is not sent again.
    fn held_readiness(&self, not_ready: &BTreeSet<String>) -> Option<Offer> {
        let held = self.session.accepted(Kind::Filter, RESOURCE_READINESS)?;
        let offer = self.offer(number_of(held)?, not_ready);
        (offer.resource.version == held).then_some(offer)
    }

    fn offer(&self, version: u64, not_ready: &BTreeSet<String>) -> Offer {
        let targets: Vec<Target> = not_ready.iter().cloned().map(Target::cluster).collect();
        let since = |name: &String| {
            let before = self
                .readiness
                .as_ref()
                .and_then(|offer| offer.not_ready.get(name));
            before.copied().unwrap_or(version)
        };
        Offer {
            version,
            resource: Arc::new(resources::readiness(version, &targets, &self.settings.vm)),
            not_ready: not_ready
                .iter()
                .map(|name| (name.clone(), since(name)))
                .collect(),
        }
    }

    /// Lets the goal's table go out if all that it needs is there.
    fn offer_table(&mut self) {
        if self
            .table
            .as_ref()
            .is_some_and(|table| Arc::ptr_eq(table, &self.goal.table))
        {
            return;
        }
        let readiness_is_settled = self.readiness.as_ref().map_or(
            !self.session.subscribes(Kind::Filter, RESOURCE_READINESS),
            |offer| self.is_settled(Kind::Filter, &offer.resource),
        );
        if readiness_is_settled
            && self
                .goal
                .targets
                .iter()
                .all(|(name, target)| self.may_be_named(name, target))
        {
            self.table = Some(self.goal.table.clone());
        }
    }

    /// Whether a table may name the target: the proxy answered about its cluster and its endpoints.
    fn may_be_named(&self, name: &str, target: &TargetResources) -> bool {
        self.is_settled(Kind::Cluster, &target.cluster)
            && match self.standing(name, target) {
                Standing::Ready => true,
                Standing::Open => false,
                Standing::NotReady => {
                    // A cluster that was refused asks for no endpoints.
                    self.session.accepted(Kind::Cluster, name).is_none()
                        || self.session.accepted(Kind::Endpoints, name).is_some()
                        || self.is_settled(Kind::Endpoints, &target.endpoints)
                }
            }
    }

    fn is_settled(&self, kind: Kind, resource: &Resource) -> bool {
        self.session.progress(kind, resource) != Progress::Pending
    }
}

fn by_name<'a>(
    resources: impl Iterator<Item = &'a Arc<Resource>>,
) -> BTreeMap<&'a str, &'a Arc<Resource>> {
    resources
        .map(|resource| (resource.name.as_str(), resource))
        .collect()
}

fn send(session: &mut Session, kind: Kind, view: &View<'_>, goal: &Goal, step: &mut Step) {
    step.responses
        .extend(session.respond(kind, view, goal.revision));
}
