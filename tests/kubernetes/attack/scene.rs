//! What have all attacks in common? An installed chart, sessions that must go on, counterparties who ask what the table says, and
//! the line that each adds to the table of `make faults-kubernetes`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_e2e::api::Sent;
use fixgw_e2e::cluster::{Cluster, PLAIN_PORT, Release, RunningPod, images};
use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::NAMESPACE;
use fixgw_e2e::flock::{self, Account, Flock, Fold};
use fixgw_e2e::inside::HOST;
use fixgw_e2e::memory::Memory;
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::{EVENT_WAIT_MAX, Process, journal, wait_until, wait_until_for};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::told;
use fixgw_e2e::unbroken::LiveSession;
use serde_json::{Value, json};

use super::relay::Relay;
use crate::{GROUP, sessions};

/// The CompID of the QuickFIX counterparty.
const QUICKFIX: &str = "QUICKFIX";
/// The CompID of those who ask what the table says. Others begin so.
pub(super) const PROBE: &str = "PROBE";
/// What a replica says that sends its gateways to another one.
pub(super) const STANDS_ASIDE: &str = "does not hear the API server, and another one does";
/// Connections of a probe to each gateway: so many that no worker is left out.
const PROBES: usize = 4;
/// Port of each Service.
pub(super) const SERVICE_PORT: u16 = 9876;
/// Where the relay listens.
pub(super) const RELAY_PORT: u16 = 6444;
/// What an operator may have, by the figures of ten thousand objects.
pub(super) const OPERATOR_KB_MAX: u64 = 150 * 1_024;
/// What a gateway may have grown by.
const GROWTH_KB_MAX: u64 = 24 * 1_024;

/// The pointer to the published table.
pub(super) const POINTER: &str = "/api/v1/namespaces/fix-system/configmaps/fix-gateway-table";
/// The Lease of who writes.
pub(super) const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/fix-system/leases/fix-gateway-operator";

/// The short form of a measure, or the full one where that was asked for.
pub(super) fn sized<T>(short: T, full: T) -> T {
    match std::env::var("FIXGW_FAULTS").as_deref() {
        Err(_) => short,
        Ok("full") => full,
        Ok(other) => panic!("FIXGW_FAULTS is `full` or is not set, not `{other}`"),
    }
}

/// An installed chart under live sessions.
pub(super) struct Scene<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) release: &'a Release<'a>,
    pub(super) flock: &'a Flock,
    pub(super) relay: &'a Relay,
}

pub(super) fn host() -> Ipv4Addr {
    HOST.parse().unwrap()
}

/// A Service without pods, whose one endpoint is in the test itself.
pub(super) fn service(name: &str, address: SocketAddr) -> [Value; 2] {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "clusterIP": "None", "ports": [{ "name": "fix", "port": SERVICE_PORT }] },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": name, "namespace": NAMESPACE, "labels": { "kubernetes.io/service-name": name },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "fix", "port": address.port(), "protocol": "TCP" }],
        "endpoints": [{ "addresses": [address.ip().to_string()], "conditions": { "ready": true } }],
    });
    [service, slice]
}

/// A FIXSession that leads this CompID to this Service.
pub(super) fn route(name: &str, sender: &str, service: &str) -> Value {
    json!({
        "apiVersion": "fixgateway.io/v1alpha1", "kind": "FIXSession",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "matchFields": { "SenderCompID49": { "value": sender } },
            "target": { "service": { "name": service, "port": SERVICE_PORT } },
        },
    })
}

fn flock_route() -> Value {
    let mut route = route("flock", "", "fold");
    let pattern = format!("{}*", flock::PREFIX);
    route["spec"]["matchFields"]["SenderCompID49"] = json!({ "pattern": pattern });
    route["spec"]["priority"] = 1.into();
    route
}

/// Plays an attack on an installed chart under live sessions, and fails unless all of them have gone on unbroken.
pub(super) fn attacked(fault: &str, set: &[&str], attack: impl FnOnce(&Scene<'_>)) {
    let cluster = Cluster::start(images());
    cluster.create_namespace(NAMESPACE);
    let at = |port| SocketAddr::from((host(), port));
    let relay = Relay::start(at(RELAY_PORT), at(6443));
    let fold = Fold::open_on(host());
    let session = Session::new("FIX.4.4", QUICKFIX, "VENUE");
    let engine = Peer::engine("engine", std::slice::from_ref(&session));
    let tap = Tap::before_on(host(), engine.address());
    let engines = ["before", "after"].map(|name| EchoEngine::start_on(name, host()));
    // With the zero helm takes it for a text, as a variable must be.
    let port = format!("operator.extraEnv[0].value=0{RELAY_PORT}");
    let own = [
        "gateway.replicas=2",
        "defaultRejectEngine.replicas=1",
        "operator.extraEnv[0].name=KUBERNETES_SERVICE_PORT",
        &port,
    ];
    let release = Release::install(&cluster, &[&own[..], set].concat());
    let mut services = [
        service("fold", fold.address()),
        service("engine", tap.address()),
    ]
    .concat();
    for engine in &engines {
        let name = String::from_utf8(engine.greeting()).unwrap();
        services.extend(service(name.trim_matches(['[', ']']), engine.address()));
    }
    cluster.apply_all(&services);
    release.wait_rolled_out();
    let routes = [
        flock_route(),
        route("quickfix", QUICKFIX, "engine"),
        route("probe", PROBE, "before"),
    ];
    cluster.apply_all(&routes);
    for name in ["flock", "quickfix", "probe"] {
        wait_programmed(&cluster, name);
    }
    assert!(relay.accepted() > 0, "the operators come by the relay");

    let gateways = release.pods("gateway");
    let [first, second] = &gateways[..] else {
        panic!("two gateways");
    };
    let counterparty = Peer::counterparty(
        "counterparty",
        second.at(PLAIN_PORT),
        std::slice::from_ref(&session),
    );
    let mut live = LiveSession::begin(&session, &counterparty, &engine, &tap);
    let flock = fold.gather(first.at(PLAIN_PORT), sized(100, 200));
    live.exchange(5);
    flock.wait_rounds(5);
    let scene = Scene {
        cluster: &cluster,
        release: &release,
        flock: &flock,
        relay: &relay,
    };
    scene.assert_leads(PROBE, "before");
    let of_gateways = || {
        let all = gateways
            .iter()
            .map(|pod| Memory::of("envoy", pod.process().pid()).before_kb());
        all.max().unwrap()
    };
    let before = of_gateways();
    let begun = Instant::now();
    attack(&scene);
    let took = begun.elapsed();
    live.exchange(5);
    flock.wait_rounds(5);
    let after = wait_until("the memory of the gateways to be what it was", || {
        Some(of_gateways()).filter(|after| *after < before + GROWTH_KB_MAX)
    });
    let operators = release.pods("operator");
    let operators = operators
        .iter()
        .map(|pod| Memory::of("operator", pod.process().pid()).highest_kb());
    let operators = operators.max().unwrap();
    let account = flock.end();
    let quickfix = live.assert_unbroken();
    account.assert_unbroken();
    for engine in &engines {
        assert_only_probes(engine);
    }
    let messages = (
        account.to_engine + quickfix.to_engine,
        account.to_clients + quickfix.to_counterparty,
    );
    told::attack(&line(
        fault,
        &account,
        messages,
        (before, after),
        operators,
        took,
    ));
    assert!(
        operators < OPERATOR_KB_MAX,
        "an operator had {operators} kB"
    );
}

/// Whoever came to this engine was one of those who were led there.
fn assert_only_probes(engine: &EchoEngine) {
    for bytes in engine.received() {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // Who connects to wake it sends nothing.
        let sender = text
            .split('\u{1}')
            .find_map(|field| field.strip_prefix("49="));
        assert!(
            sender.is_none_or(|sender| sender.starts_with(PROBE)),
            "{text}"
        );
    }
}

fn line(
    fault: &str,
    account: &Account,
    (to_engine, to_counterparty): (u64, u64),
    (before, after): (u64, u64),
    operators: u64,
    took: Duration,
) -> String {
    format!(
        "| {fault} | {} | {to_engine} / {to_counterparty} | {} | {} / {} | {} → {} MB | {} MB | {} ms | {} s |",
        account.sessions + 1,
        account.broken,
        account.lost,
        account.foreign,
        before / 1_024,
        after / 1_024,
        operators / 1_024,
        account.pause.as_millis(),
        took.as_secs()
    )
}

/// The condition of an object, if it is about the object as it is now.
pub(super) fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    let mut conditions = conditions.iter();
    let found = conditions.find(|condition| condition["type"] == kind)?;
    (found["observedGeneration"] == object["metadata"]["generation"]).then_some(found)
}

/// Waits until every gateway routes by an object as it is now.
pub(super) fn wait_programmed(cluster: &Cluster, name: &str) {
    let path = format!("{}/{name}", sessions());
    cluster.wait_object(&path, "to be programmed", |object| {
        (condition(object, "Programmed")?["status"] == "True").then_some(())
    });
}

/// Whether a Logon of `sender` reaches this engine.
fn reaches(gateway: SocketAddr, sender: &str, engine: &str) -> bool {
    let mut client = RawClient::connect(gateway);
    client.send(&fix::logon("FIX.4.4", sender, "VENUE", &[]));
    let wanted = format!("[{engine}]").into_bytes();
    client.take_at_most(wanted.len()) == wanted
}

impl Scene<'_> {
    /// Lets the sessions go on for so long: what takes time is the attack itself.
    pub(super) fn pass_time(&self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.flock.wait_rounds(1);
        }
    }

    /// Every gateway's pod.
    pub(super) fn gateways(&self) -> Vec<RunningPod> {
        self.release.pods("gateway")
    }

    /// Fails unless a Logon of `sender` reaches this engine through every gateway.
    pub(super) fn assert_leads(&self, sender: &str, engine: &str) {
        for gateway in self.gateways() {
            self.assert_leads_by(&gateway, sender, engine);
        }
    }

    /// As [`Self::assert_leads`], through one gateway.
    pub(super) fn assert_leads_by(&self, gateway: &RunningPod, sender: &str, engine: &str) {
        self.flock.assert_sound();
        for _ in 0..PROBES {
            let reached = reaches(gateway.at(PLAIN_PORT), sender, engine);
            let gateway = &gateway.name.1;
            assert!(reached, "{sender} to {engine} by {gateway}\n{}", journal());
        }
    }

    /// Waits until it does: for when nobody can say that it should by now.
    pub(super) fn wait_leads(&self, sender: &str, engine: &str) {
        for gateway in self.gateways() {
            self.wait_leads_by(&gateway, sender, engine);
        }
    }

    /// As [`Self::wait_leads`], through one gateway.
    pub(super) fn wait_leads_by(&self, gateway: &RunningPod, sender: &str, engine: &str) {
        let what = format!("{sender} to reach {engine} by {}", gateway.name.1);
        wait_until(&what, || {
            self.flock.assert_sound();
            let mut all = (0..PROBES).map(|_| reaches(gateway.at(PLAIN_PORT), sender, engine));
            all.all(|reached| reached).then_some(())
        });
    }

    /// Writes these objects, as a user does.
    pub(super) fn apply(&self, objects: &[Value]) {
        self.cluster.apply_all(objects);
    }

    /// Leads the probe somewhere else, and says nothing of when that counts.
    pub(super) fn lead_probe(&self, engine: &str) {
        self.apply(&[route("probe", PROBE, engine)]);
    }

    /// Leads the probe somewhere else, and fails unless it counts everywhere once its status says so.
    pub(super) fn change_to(&self, engine: &str) {
        self.lead_probe(engine);
        wait_programmed(self.cluster, "probe");
        self.assert_leads(PROBE, engine);
    }

    /// An object as it is now.
    pub(super) fn get(&self, path: &str) -> Value {
        let answer = self.cluster.api().get(path);
        assert_eq!(answer.code, 200, "{path}: {}", answer.message());
        answer.body
    }

    /// The revision of the published table.
    pub(super) fn revision(&self) -> u64 {
        let pointer = self.get(POINTER);
        let revision = pointer["data"]["revision"].as_str();
        revision.unwrap().parse().unwrap()
    }

    /// Who holds the Lease; each start of a replica is another.
    pub(super) fn holder(&self) -> Option<String> {
        let answer = self
            .cluster
            .api()
            .try_ask("GET", LEASE, None, "application/json")?;
        let holder = answer.body["spec"]["holderIdentity"].as_str();
        holder.map(str::to_owned)
    }

    /// The processes of the operator's replicas, the leader's first, as they are now.
    pub(super) fn operators(&self) -> Vec<(RunningPod, Arc<Process>)> {
        let holder = wait_until("a leader", || self.holder());
        let mut pods = self.release.pods("operator");
        pods.sort_by_key(|pod| !holder.starts_with(&pod.name.1));
        assert!(
            holder.starts_with(&pods[0].name.1),
            "{holder} is one of them"
        );
        pods.into_iter()
            .map(|pod| {
                let process = Arc::clone(pod.process());
                (pod, process)
            })
            .collect()
    }

    /// The process of a pod, as it is now.
    pub(super) fn process_of(&self, pod: &RunningPod) -> Arc<Process> {
        let (namespace, name) = &pod.name;
        let pod = self.cluster.wait_pod(namespace, name);
        Arc::clone(pod.process())
    }

    /// Waits until somebody else leads.
    pub(super) fn wait_other_leader(&self, before: &str, within: Duration) -> String {
        wait_until_for(within, "another leader", || {
            self.holder()
                .filter(|holder| holder != before && !holder.is_empty())
        })
    }

    /// Changes some fields of an object.
    pub(super) fn patch(&self, path: &str, patch: &Value) {
        let answer = self.cluster.api().patch(path, Sent::Merge(patch));
        assert_eq!(answer.code, 200, "{path}: {}", answer.message());
    }

    /// Deletes an object.
    pub(super) fn delete(&self, path: &str) {
        let answer = self.cluster.api().delete(path);
        assert_eq!(answer.code, 200, "{path}: {}", answer.message());
    }

    /// Waits until one of these processes has said this.
    pub(super) fn wait_said(&self, processes: &[(RunningPod, Arc<Process>)], text: &str) {
        self.wait_said_within(EVENT_WAIT_MAX, processes, text);
    }

    /// As [`Self::wait_said`], for what takes its time.
    pub(super) fn wait_said_within(
        &self,
        most: Duration,
        processes: &[(RunningPod, Arc<Process>)],
        text: &str,
    ) {
        wait_until_for(most, &format!("an operator to say `{text}`"), || {
            self.flock.assert_sound();
            processes
                .iter()
                .any(|(_, process)| said(process, text))
                .then_some(())
        });
    }
}

/// Whether it has said this.
pub(super) fn said(process: &Process, text: &str) -> bool {
    String::from_utf8_lossy(&process.output().bytes()).contains(text)
}

/// The path of a FIXSession.
pub(super) fn session_path(name: &str) -> String {
    format!("{GROUP}/namespaces/{NAMESPACE}/fixsessions/{name}")
}
