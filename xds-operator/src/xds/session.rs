//! What has a proxy asked for on one delta-ADS stream, what does it hold, and what is it sent next?
//!
//! The protocol only, without an order between the types (that is [`super::rollout`]'s question): requests in, at most
//! one response per type out at a time. No socket, no task, no clock.
//!
//! Invariants:
//! - A named endpoint subscription is always answered, if need be with none: a cluster waits for it.
//! - A rejected version is not sent again until its content changes, or the proxy asks for the resource anew.
//! - After a rejection nobody knows which version the proxy holds, until it accepts one: Envoy takes the good clusters of a
//!   response that it refuses.
//! - Endpoints are sent again after their cluster was sent: the new cluster has none of its own. That must not wait for
//!   the acknowledgement: Envoy acknowledges clusters when they have their endpoints.
//! - A discovered filter is never removed: new connections would be closed, and the VM would go away.
//! - A type that we do not serve is answered with nothing, so that nobody waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::{ControlPlane, TypedExtensionConfig};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource,
};
use prost::Name;
use thiserror::Error;

use super::resources::{self, Resource};

/// Names that one stream may ask for, of one type: as many as a table may have targets, and some that have left it.
pub const SUBSCRIPTIONS_MAX: usize = 131_072;
/// Bytes of a name: namespace, service and port have 133 at most.
pub const NAME_BYTES_MAX: usize = 512;
/// Parts of a rejected response that may be rejected in their turn while the culprit is looked for. Beyond that it is
/// not one resource that is wrong but what we make of all of them, and asking on would only fill the proxy's log.
const TRIALS_MAX: u32 = 64;
/// "Everything of this type."
const WILDCARD: &str = "*";

/// A type of resource that we serve. They are offered in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// CDS
    Cluster,
    /// EDS
    Endpoints,
    /// ECDS
    Filter,
}

impl Kind {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Cluster, Self::Endpoints, Self::Filter];

    /// Its type URL.
    #[must_use]
    pub fn type_url(self) -> String {
        match self {
            Self::Cluster => Cluster::type_url(),
            Self::Endpoints => ClusterLoadAssignment::type_url(),
            Self::Filter => TypedExtensionConfig::type_url(),
        }
    }

    /// The type of a type URL; none if it is not served.
    #[must_use]
    pub fn of_type_url(type_url: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.type_url() == type_url)
    }

    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Endpoints => "endpoints",
            Self::Filter => "filter",
        }
    }

    /// Resources in one response. Envoy takes about 0.7 ms for each new cluster and does nothing else on its main thread
    /// meanwhile (with 4,000 at once the main thread's VM missed its heartbeats); endpoints are far cheaper. The filters
    /// go one by one: each is a plugin of its own, and readiness comes first.
    const fn batch_max(self) -> usize {
        match self {
            Self::Cluster => 100,
            Self::Endpoints => 1_000,
            Self::Filter => 1,
        }
    }
}

/// What a proxy may be shown of one type right now.
#[derive(Clone, Debug, Default)]
pub struct View<'a> {
    /// What it should hold.
    pub set: BTreeMap<&'a str, &'a Arc<Resource>>,
    /// What becomes of anything else that it holds.
    pub others: Others,
}

/// What becomes of resources that are not in a [`View`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// The proxy keeps them as they are.
    #[default]
    Stay,
    /// They are gone.
    Go,
}

/// Something that a request told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// These versions were accepted.
    Acknowledged {
        /// Of this type.
        kind: Kind,
        /// Name and version.
        resources: Vec<(String, String)>,
        /// Those of them of which a version was rejected before.
        mended: Vec<String>,
    },
    /// These were rejected; the proxy goes on with what it had.
    Rejected {
        /// Of this type.
        kind: Kind,
        /// Their names.
        names: Vec<String>,
        /// The proxy's words.
        text: String,
        /// Whether they are sent once more in smaller parts, to find the culprit.
        in_parts: bool,
    },
}

/// What a request led to.
#[derive(Debug, Default)]
pub struct Heard {
    /// What it told.
    pub told: Option<Told>,
    /// The answer to a type that we do not serve.
    pub foreign: Option<DeltaDiscoveryResponse>,
}

/// A proxy asked for more than there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Excess {
    /// More names than [`SUBSCRIPTIONS_MAX`].
    #[error("more than {SUBSCRIPTIONS_MAX} resources of one type asked for on one stream")]
    Subscriptions,
    /// A name longer than [`NAME_BYTES_MAX`].
    #[error("a resource name longer than {NAME_BYTES_MAX} bytes")]
    Name,
}

/// How far a resource has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The proxy holds this very version.
    Accepted,
    /// The proxy refused this very version.
    Rejected,
    /// Neither yet.
    Pending,
}

/// One stream.
#[derive(Debug, Default)]
pub struct Session {
    clusters: Subscription,
    endpoints: Subscription,
    filters: Subscription,
    /// Responses so far; the nonce, and the order between types.
    responses: u64,
}

impl Session {
    /// A stream on which nothing was said yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a request: subscriptions, an acknowledgement, a rejection, or several of these.
    ///
    /// # Errors
    /// The proxy asked for more than there can be; the stream should end.
    pub fn request(&mut self, request: DeltaDiscoveryRequest) -> Result<Heard, Excess> {
        let Some(kind) = Kind::of_type_url(&request.type_url) else {
            return Ok(Heard {
                told: None,
                foreign: self.answer_foreign(request),
            });
        };
        let settled = self.subscription_mut(kind).settle(kind, &request);
        self.subscription_mut(kind).subscribe(kind, request)?;
        let Some((told, sent_in)) = settled else {
            return Ok(Heard::default());
        };
        if kind == Kind::Cluster {
            self.send_endpoints_again(&told, sent_in);
        }
        Ok(Heard {
            told: Some(told),
            foreign: None,
        })
    }

    /// The next response of a type, if the view differs from what the proxy holds and none is on its way.
    pub fn respond(
        &mut self,
        kind: Kind,
        view: &View<'_>,
        system_version: u64,
    ) -> Option<DeltaDiscoveryResponse> {
        if kind == Kind::Endpoints {
            self.send_endpoints_of_clusters_on_their_way();
        }
        let number = self.responses + 1;
        let (resources, removed) = self.subscription_mut(kind).next(kind, view, number)?;
        self.responses = number;
        Some(DeltaDiscoveryResponse {
            system_version_info: system_version.to_string(),
            resources: resources.iter().map(|resource| wire(resource)).collect(),
            type_url: kind.type_url(),
            removed_resources: removed,
            nonce: number.to_string(),
            control_plane: Some(ControlPlane {
                identifier: "fixgw".to_owned(),
            }),
            ..Default::default()
        })
    }

    /// How far a version of a resource has come.
    #[must_use]
    pub fn progress(&self, kind: Kind, resource: &Resource) -> Progress {
        match self.subscription(kind).held.get(&resource.name) {
            Some(held) if held.accepted.as_deref() == Some(&resource.version) => Progress::Accepted,
            Some(held) if held.rejected.as_deref() == Some(&resource.version) => Progress::Rejected,
            Some(_) | None => Progress::Pending,
        }
    }

    /// The version of a resource that the proxy said it holds.
    #[must_use]
    pub fn accepted(&self, kind: Kind, name: &str) -> Option<&str> {
        self.subscription(kind)
            .held
            .get(name)
            .and_then(|held| held.accepted.as_deref())
    }

    /// Whether the proxy may hold any version of a resource: it accepted one, or one is on its way.
    #[must_use]
    pub fn may_hold(&self, kind: Kind, name: &str) -> bool {
        self.subscription(kind).held.contains_key(name)
    }

    /// The version of a resource that is on its way to the proxy, and not answered yet.
    #[must_use]
    pub fn on_its_way(&self, kind: Kind, name: &str) -> Option<&str> {
        let sent = self.subscription(kind).in_flight.as_ref()?;
        sent.resources.get(name).map(String::as_str)
    }

    /// The names of a type that the proxy may hold.
    pub fn held(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.subscription(kind).held.keys().map(String::as_str)
    }

    /// Whether the proxy asked for a resource on this stream.
    #[must_use]
    pub fn subscribes(&self, kind: Kind, name: &str) -> bool {
        self.subscription(kind).covers(name)
    }

    const fn subscription(&self, kind: Kind) -> &Subscription {
        match kind {
            Kind::Cluster => &self.clusters,
            Kind::Endpoints => &self.endpoints,
            Kind::Filter => &self.filters,
        }
    }

    const fn subscription_mut(&mut self, kind: Kind) -> &mut Subscription {
        match kind {
            Kind::Cluster => &mut self.clusters,
            Kind::Endpoints => &mut self.endpoints,
            Kind::Filter => &mut self.filters,
        }
    }

    /// A cluster that is made anew waits for endpoints that the proxy holds already, and its acknowledgement with it.
    fn send_endpoints_of_clusters_on_their_way(&mut self) {
        let Some(sent) = &self.clusters.in_flight else {
            return;
        };
        for name in sent.resources.keys() {
            let held = self.endpoints.held.get(name);
            if held.is_some_and(|held| held.sent_in < sent.number) {
                self.endpoints.asked.insert(name.clone());
            }
        }
    }

    /// After an answer about clusters, as before it; what the proxy said it holds meanwhile is found here. A rejected
    /// response counts too, for Envoy may have taken a part of it.
    fn send_endpoints_again(&mut self, told: &Told, sent_in: u64) {
        let names: Vec<&String> = match told {
            Told::Acknowledged { resources, .. } => {
                resources.iter().map(|(name, _)| name).collect()
            }
            Told::Rejected { names, .. } => names.iter().collect(),
        };
        for name in names {
            let held = self.endpoints.held.get(name);
            if held.is_some_and(|held| held.sent_in < sent_in) {
                self.endpoints.asked.insert(name.clone());
            }
        }
    }

    fn answer_foreign(&mut self, request: DeltaDiscoveryRequest) -> Option<DeltaDiscoveryResponse> {
        let answers = !request.response_nonce.is_empty();
        let names: Vec<String> = request
            .resource_names_subscribe
            .into_iter()
            .filter(|name| name != WILDCARD)
            .collect();
        if answers && names.is_empty() {
            return None;
        }
        self.responses += 1;
        Some(DeltaDiscoveryResponse {
            type_url: request.type_url,
            removed_resources: names,
            nonce: self.responses.to_string(),
            ..Default::default()
        })
    }
}

/// What the proxy has of one resource.
#[derive(Debug, Default)]
struct Held {
    /// The version that it said it holds.
    accepted: Option<String>,
    /// The version that it refused last.
    rejected: Option<String>,
    /// It refused a response with it since it accepted a version: it may have taken a part of that.
    in_doubt: bool,
    /// The response that carried it last; 0: one of an earlier stream.
    sent_in: u64,
}

/// A response that the proxy has not answered.
#[derive(Debug)]
struct InFlight {
    number: u64,
    /// Versions by name.
    resources: BTreeMap<String, String>,
}

/// One type on one stream.
#[derive(Debug, Default)]
struct Subscription {
    /// Whether anything was asked of this type.
    started: bool,
    wildcard: bool,
    names: BTreeSet<String>,
    /// Asked for and not sent since: to be sent whatever the version.
    asked: BTreeSet<String>,
    /// A first question for everything is answered even with nothing.
    owes_answer: bool,
    held: BTreeMap<String, Held>,
    in_flight: Option<InFlight>,
    /// Parts of a rejected response, to be tried one after the other.
    suspects: VecDeque<Vec<String>>,
    /// Rejections since the last response that was not a part of another.
    trials: u32,
}

impl Subscription {
    fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Takes in an acknowledgement or a rejection, with the number of the response that it is about. One that is not
    /// about the response on its way is stale and says nothing.
    fn settle(&mut self, kind: Kind, request: &DeltaDiscoveryRequest) -> Option<(Told, u64)> {
        let sent = self
            .in_flight
            .take_if(|sent| sent.number.to_string() == request.response_nonce)?;
        let told = match &request.error_detail {
            Some(error) => self.rejected(kind, &sent, error.message.clone()),
            None => self.acknowledged(kind, &sent),
        };
        Some((told, sent.number))
    }

    fn acknowledged(&mut self, kind: Kind, sent: &InFlight) -> Told {
        let mut mended = Vec::new();
        for (name, version) in &sent.resources {
            // Unsubscribed in the meantime: the proxy has forgotten it.
            if let Some(held) = self.held.get_mut(name) {
                held.accepted = Some(version.clone());
                held.in_doubt = false;
                mended.extend(held.rejected.take().map(|_| name.clone()));
            }
        }
        Told::Acknowledged {
            kind,
            resources: sent.resources.clone().into_iter().collect(),
            mended,
        }
    }

    fn rejected(&mut self, kind: Kind, sent: &InFlight, text: String) -> Told {
        let names: Vec<String> = sent.resources.keys().cloned().collect();
        self.trials += 1;
        // A rejection is about a response, not about a resource. So that one bad resource does not keep the others from
        // the proxy, they are sent again in halves until it stands alone.
        let in_parts = names.len() > 1 && self.trials <= TRIALS_MAX;
        for (name, version) in &sent.resources {
            if let Some(held) = self.held.get_mut(name) {
                held.in_doubt = true;
                if !in_parts {
                    held.rejected = Some(version.clone());
                }
            }
        }
        if in_parts {
            let (left, right) = names.split_at(names.len() / 2);
            self.suspects.push_front(right.to_vec());
            self.suspects.push_front(left.to_vec());
        }
        Told::Rejected {
            kind,
            names,
            text,
            in_parts,
        }
    }

    fn subscribe(&mut self, kind: Kind, request: DeltaDiscoveryRequest) -> Result<(), Excess> {
        let first = !self.started;
        self.started = true;
        let subscribe = request.resource_names_subscribe;
        let mut held = request.initial_resource_versions;
        if first {
            // Without names, the first question of a type means everything (clusters only: the others are named).
            let everything = subscribe.is_empty() && kind == Kind::Cluster;
            self.wildcard = everything || subscribe.iter().any(|name| name == WILDCARD);
            self.owes_answer = self.wildcard && held.is_empty();
        } else {
            held.clear();
        }
        for name in request.resource_names_unsubscribe {
            self.unsubscribe(&name);
        }
        for name in subscribe {
            if name.len() > NAME_BYTES_MAX {
                return Err(Excess::Name);
            }
            if name == WILDCARD {
                self.ask_for_everything(first);
            } else {
                if !held.contains_key(&name) {
                    self.asked.insert(name.clone());
                }
                self.names.insert(name);
            }
        }
        for (name, version) in held {
            if self.covers(&name) && name.len() <= NAME_BYTES_MAX {
                self.held.insert(
                    name,
                    Held {
                        accepted: Some(version),
                        ..Held::default()
                    },
                );
            }
        }
        if self.names.len().max(self.held.len()) > SUBSCRIPTIONS_MAX {
            return Err(Excess::Subscriptions);
        }
        Ok(())
    }

    fn ask_for_everything(&mut self, first: bool) {
        self.wildcard = true;
        if !first {
            self.asked.extend(self.held.keys().cloned());
            self.owes_answer = true;
        }
    }

    fn unsubscribe(&mut self, name: &str) {
        if name == WILDCARD {
            self.wildcard = false;
            let names = &self.names;
            self.held.retain(|name, _| names.contains(name));
            return;
        }
        self.names.remove(name);
        self.asked.remove(name);
        if !self.wildcard {
            self.held.remove(name);
        }
    }

    /// What to send next, and remembers it as sent: resources, or else names to remove.
    fn next(
        &mut self,
        kind: Kind,
        view: &View<'_>,
        number: u64,
    ) -> Option<(Vec<Arc<Resource>>, Vec<String>)> {
        if self.in_flight.is_some() || !self.started {
            return None;
        }
        let resources = self.next_resources(kind, view);
        let removed = if resources.is_empty() {
            self.removed(kind, view)
        } else {
            Vec::new()
        };
        if resources.is_empty() && removed.is_empty() && !self.owes_answer {
            return None;
        }
        self.owes_answer = false;
        for resource in &resources {
            self.asked.remove(&resource.name);
            self.held.entry(resource.name.clone()).or_default().sent_in = number;
        }
        for name in &removed {
            self.asked.remove(name);
            self.held.remove(name);
        }
        let sent = resources
            .iter()
            .map(|resource| (resource.name.clone(), resource.version.clone()))
            .collect();
        self.in_flight = Some(InFlight {
            number,
            resources: sent,
        });
        Some((resources, removed))
    }

    fn next_resources(&mut self, kind: Kind, view: &View<'_>) -> Vec<Arc<Resource>> {
        // Bounded: each turn takes a part away, and only a rejection adds two.
        while let Some(part) = self.suspects.pop_front() {
            let due: Vec<_> = part
                .iter()
                .filter_map(|name| self.due(kind, name, view))
                .collect();
            if !due.is_empty() {
                return due;
            }
        }
        self.trials = 0;
        if !self.wildcard {
            let names = self.names.iter().map(String::as_str);
            return self.due_of(kind, names, view);
        }
        let unknown =
            |name: &&String| kind == Kind::Endpoints && !view.set.contains_key(name.as_str());
        let held = self.held.keys().filter(unknown);
        let asked = self
            .asked
            .iter()
            .filter(|name| unknown(name) && !self.held.contains_key(*name));
        let others = held.chain(asked).map(String::as_str);
        self.due_of(kind, view.set.keys().copied().chain(others), view)
    }

    fn due_of<'n>(
        &self,
        kind: Kind,
        names: impl Iterator<Item = &'n str>,
        view: &View<'_>,
    ) -> Vec<Arc<Resource>> {
        names
            .filter_map(|name| self.due(kind, name, view))
            .take(kind.batch_max())
            .collect()
    }

    /// A resource that the proxy asked for and does not surely hold in this version, unless it refused that version. So what it
    /// accepted before it refused another version is sent again when it is wanted again, and its answer ends the refusal.
    fn due(&self, kind: Kind, name: &str, view: &View<'_>) -> Option<Arc<Resource>> {
        if !self.covers(name) {
            return None;
        }
        let asked = self.asked.contains(name);
        let held = self.held.get(name);
        let resource = match view.set.get(name) {
            Some(&resource) => resource.clone(),
            // Unknown, or known no more. Endpoints are answered all the same.
            None if kind == Kind::Endpoints
                && (asked || view.others == Others::Go || held.is_none()) =>
            {
                Arc::new(resources::endpoints(name, &[]))
            }
            None => return None,
        };
        let is = |version: &Option<String>| version.as_deref() == Some(&resource.version);
        let has =
            held.is_some_and(|held| is(&held.accepted) && !held.in_doubt || is(&held.rejected));
        (asked || !has).then_some(resource)
    }

    fn removed(&self, kind: Kind, view: &View<'_>) -> Vec<String> {
        match kind {
            Kind::Cluster => {
                let gone = |name: &&String| {
                    let stays = view.others == Others::Stay && self.held.contains_key(*name);
                    !stays && !view.set.contains_key(name.as_str())
                };
                let asked = self.asked.iter().filter(|name| self.names.contains(*name));
                let gone: BTreeSet<&String> = self.held.keys().chain(asked).filter(gone).collect();
                gone.into_iter().cloned().collect()
            }
            // Endpoints leave by an empty assignment, and by the proxy's own unsubscribing.
            // INVARIANT: a discovered filter is never removed.
            Kind::Endpoints | Kind::Filter => Vec::new(),
        }
    }
}

fn wire(resource: &Resource) -> WireResource {
    WireResource {
        name: resource.name.clone(),
        version: resource.version.clone(),
        resource: Some(resource.body.clone()),
        ..Default::default()
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    //! Bounds; what is said and answered is played in `tests/xds_scripts.rs`.
    use envoy_types::pb::google::rpc::Status;
    use fixgw_core::rule::Target;

    use super::*;
    use crate::tcp_timeout::TcpTimeout;

    fn ask(kind: Kind, names: impl Iterator<Item = String>) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: kind.type_url(),
            resource_names_subscribe: names.collect(),
            ..Default::default()
        }
    }

    fn clusters(count: usize) -> Vec<Arc<Resource>> {
        let target = |index| Target::service("t", &format!("engine-{index:04}"), 1);
        let settings = resources::ClusterSettings {
            proxy_protocol: None,
            tcp_timeout: TcpTimeout::DEFAULT,
            connections_max: 1,
        };
        (0..count)
            .map(|index| Arc::new(resources::cluster(&target(index), settings)))
            .collect()
    }

    fn view(clusters: &[Arc<Resource>]) -> View<'_> {
        View {
            set: clusters
                .iter()
                .map(|cluster| (cluster.name.as_str(), cluster))
                .collect(),
            others: Others::Go,
        }
    }

    #[test]
    fn refuses_more_names_than_there_can_be() {
        let mut session = Session::new();
        let names = |from: usize, to: usize| (from..to).map(|index| index.to_string());
        let all = ask(Kind::Endpoints, names(0, SUBSCRIPTIONS_MAX));
        assert!(session.request(all).is_ok());
        let again = ask(Kind::Endpoints, names(0, 1));
        assert!(session.request(again).is_ok());
        let more = ask(
            Kind::Endpoints,
            names(SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_MAX + 1),
        );
        assert_eq!(session.request(more).unwrap_err(), Excess::Subscriptions);
    }

    #[test]
    fn refuses_a_long_name() {
        let name = |length| ask(Kind::Endpoints, std::iter::once("n".repeat(length)));
        assert!(Session::new().request(name(NAME_BYTES_MAX)).is_ok());
        let refused = Session::new().request(name(NAME_BYTES_MAX + 1));
        assert_eq!(refused.unwrap_err(), Excess::Name);
    }

    #[test]
    fn sends_many_clusters_in_batches() {
        let mut session = Session::new();
        let clusters = clusters(250);
        let view = view(&clusters);
        session
            .request(ask(Kind::Cluster, std::iter::empty()))
            .unwrap();
        let mut batches = Vec::new();
        while let Some(response) = session.respond(Kind::Cluster, &view, 1) {
            batches.push(response.resources.len());
            let ack = DeltaDiscoveryRequest {
                response_nonce: response.nonce,
                ..ask(Kind::Cluster, std::iter::empty())
            };
            session.request(ack).unwrap();
        }
        assert_eq!(batches, [100, 100, 50]);
    }

    #[test]
    fn a_proxy_that_refuses_everything_is_left_alone() {
        let mut session = Session::new();
        let clusters = clusters(1_000);
        let view = view(&clusters);
        session
            .request(ask(Kind::Cluster, std::iter::empty()))
            .unwrap();
        let mut refusals = 0;
        while let Some(response) = session.respond(Kind::Cluster, &view, 1) {
            refusals += 1;
            let nack = DeltaDiscoveryRequest {
                response_nonce: response.nonce,
                error_detail: Some(Status::default()),
                ..ask(Kind::Cluster, std::iter::empty())
            };
            session.request(nack).unwrap();
        }
        // Ten batches, each taken apart until the bound, and what is left of it by then.
        assert!(refusals <= 10 * (TRIALS_MAX + 16), "{refusals}");
        for resource in &clusters {
            assert_eq!(
                session.progress(Kind::Cluster, resource),
                Progress::Rejected
            );
        }
    }
}
