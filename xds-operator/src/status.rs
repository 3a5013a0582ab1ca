//! Who is connected, held and orphaned, by gateway and by route? Pure: what the VMs told in, a [`Status`] out.
//!
//! [`notices`] says what is worth a line when it begins, [`text`] shows it to people; [`socket`] is where a running control
//! plane answers, and [`ask`] is `fixgw status`. The names of keys are an interface: scripts read them.

pub mod ask;
pub mod conditions;
pub mod notices;
pub mod planner;
pub mod socket;
pub mod text;
pub mod transitions;
pub mod wanted;

use std::collections::BTreeMap;

use fixgw_core::table::Table;
use serde::{Deserialize, Serialize};

use crate::receive::fleet::{AllSessions, Fleet};
use crate::receive::sessions::{Decided, OfRoute, Sessions};
use crate::xds::Snapshot;

/// All that is known of the gateways of one control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// When this was so.
    pub time: String,
    /// Revision of the table that is published.
    pub revision: u64,
    /// The gateways, by `node.id`.
    pub gateways: Vec<OfGateway>,
    /// The routes over all gateways, by namespace and name.
    pub routes: Vec<RouteStatus>,
    /// What became last of a Logon that no route took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_unrouted: Option<LastDecision>,
    /// Whether connections are missing, for there are more routes and VMs than are kept account of.
    pub is_cut: bool,
}

/// One gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfGateway {
    /// Its `node.id`.
    pub gateway: String,
    /// Whether it asks this control plane for its configuration.
    pub connected: bool,
    /// Revision in force: the oldest that one of its VMs uses; 0: one has none.
    pub revision: u64,
    /// VMs that live: one for each worker, and one for Envoy's main thread.
    pub vms: usize,
    /// VMs of these whose connections are counted here. After a restart of the control plane it takes a second until all are.
    pub vms_counted: usize,
    /// What its routes have.
    #[serde(flatten)]
    pub counts: Counts,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// `namespace/name` of its FIXSession.
    pub route: String,
    /// Where it leads; none: it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Endpoints of the target that are ready.
    pub endpoints_ready: usize,
    /// What it has.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Connections, and what was last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Those that an engine has, for a route that is there.
    pub active: u64,
    /// Those of them that are with an engine that their route leads to no more.
    pub on_old_target: u64,
    /// Those that wait for a ready endpoint.
    pub held: u64,
    /// Those that are tried at an endpoint that has not taken them yet.
    pub connecting: u64,
    /// Those that an engine has, and whose route was deleted.
    pub orphaned: u64,
    /// When a Logon took a route last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_logon: Option<String>,
    /// What became of a Logon last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<LastDecision>,
}

/// What became of a Logon, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastDecision {
    /// When.
    pub time: String,
    /// As in the decision records.
    pub decision: String,
    /// As in the decision records.
    pub reason: String,
}

impl LastDecision {
    fn new(decided: Decided) -> Self {
        Self {
            time: time(decided.unix_ms),
            decision: decided.decision.label().to_owned(),
            reason: decided.reason.label().to_owned(),
        }
    }
}

/// What was last, while counts are added up.
#[derive(Default)]
struct Latest {
    logon_unix_ms: u64,
    decided: Option<Decided>,
}

impl Counts {
    /// Adds one route's. `target` is where it leads; none: it was deleted.
    fn add(&mut self, of: &OfRoute, target: Option<&str>, latest: &mut Latest) {
        self.held += of.held;
        self.connecting += of.connecting();
        match target {
            Some(target) => {
                self.active += of.active();
                self.on_old_target += on_old_target(of, target);
            }
            None => self.orphaned += of.active(),
        }
        latest.logon_unix_ms = latest.logon_unix_ms.max(of.logon_unix_ms);
        let decided = [latest.decided, of.decided].into_iter().flatten();
        latest.decided = decided.max_by_key(|decided| decided.unix_ms);
    }

    fn set_latest(&mut self, latest: &Latest) {
        self.last_logon = (latest.logon_unix_ms > 0).then(|| time(latest.logon_unix_ms));
        self.last_decision = latest.decided.map(LastDecision::new);
    }
}

/// Sessions of a route that are with an engine that it leads to no more.
fn on_old_target(of: &OfRoute, target: &str) -> u64 {
    let old = of.targets.iter().filter(|(name, _)| *name != target);
    old.map(|(_, of)| of.active).sum()
}

/// Where a route leads; none: there is none of this name.
fn target_of<'t>(table: &'t Table, route: &str) -> Option<&'t str> {
    let (namespace, name) = route.split_once('/')?;
    table.target(table.route_named(namespace, name)?)
}

fn time(unix_ms: u64) -> String {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |time| time.to_string())
}

impl Status {
    /// What is so at this moment. `table` is the snapshot's.
    #[must_use]
    pub fn new(
        table: &Table,
        snapshot: &Snapshot,
        fleet: &Fleet,
        sessions: &AllSessions,
        unix_ms: u64,
    ) -> Self {
        let mut all = Sessions::default();
        for proxy in sessions.values() {
            all.add_proxy(proxy);
        }
        let last_unrouted = all.routes.remove("").and_then(|of| of.decided);
        Self {
            time: time(unix_ms),
            revision: snapshot.revision,
            gateways: gateways(table, fleet, sessions),
            routes: routes(table, snapshot, &all),
            last_unrouted: last_unrouted.map(LastDecision::new),
            is_cut: all.is_cut,
        }
    }

    /// The sum over all gateways.
    #[must_use]
    pub fn total(&self) -> Counts {
        let gateways = self.gateways.iter();
        gateways.fold(Counts::default(), |sum, gateway| Counts {
            active: sum.active + gateway.counts.active,
            on_old_target: sum.on_old_target + gateway.counts.on_old_target,
            held: sum.held + gateway.counts.held,
            connecting: sum.connecting + gateway.counts.connecting,
            orphaned: sum.orphaned + gateway.counts.orphaned,
            ..sum
        })
    }
}

fn gateways(table: &Table, fleet: &Fleet, sessions: &AllSessions) -> Vec<OfGateway> {
    let gateways = fleet.proxies.iter().map(|(node, proxy)| {
        let mut counts = Counts::default();
        let mut latest = Latest::default();
        let own = sessions.get(node);
        for (route, of) in own.iter().flat_map(|own| &own.routes) {
            counts.add(of, target_of(table, route), &mut latest);
        }
        counts.set_latest(&latest);
        let revisions = proxy.vms.iter().map(|vm| vm.table_revision);
        OfGateway {
            gateway: node.clone(),
            connected: proxy.streams > 0,
            revision: revisions.min().unwrap_or_default(),
            vms: proxy.vms.len(),
            vms_counted: own.map_or(0, |own| own.vms),
            counts,
        }
    });
    gateways.collect()
}

/// The routes of the table, and those that were deleted and have connections still.
fn routes(table: &Table, snapshot: &Snapshot, all: &Sessions) -> Vec<RouteStatus> {
    let mut rows: BTreeMap<String, RouteStatus> = BTreeMap::new();
    for route in table.routes() {
        let Some((namespace, name)) = table.route_name(route) else {
            continue;
        };
        let target = table.target(route).unwrap_or_default();
        let endpoints = snapshot
            .endpoints
            .get(&fixgw_core::rule::Target::cluster(target.to_owned()));
        let route = format!("{namespace}/{name}");
        let row = RouteStatus {
            route: route.clone(),
            target: Some(target.to_owned()),
            endpoints_ready: endpoints.map_or(0, Vec::len),
            counts: Counts::default(),
        };
        rows.insert(route, row);
    }
    for (route, of) in &all.routes {
        let is_gone = !rows.contains_key(&**route);
        if is_gone && of.active() + of.held + of.connecting() == 0 {
            continue;
        }
        let row = rows
            .entry(route.to_string())
            .or_insert_with(|| RouteStatus {
                route: route.to_string(),
                ..RouteStatus::default()
            });
        let mut latest = Latest::default();
        row.counts.add(of, row.target.as_deref(), &mut latest);
        row.counts.set_latest(&latest);
    }
    rows.into_values().collect()
}

#[cfg(test)]
mod tests;
