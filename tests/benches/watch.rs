//! What does following a cluster cost: memory, CPU and the time of the first lists? Told, never asserted.
//!
//! A process that does nothing else follows a real API server that holds [`SESSIONS`] FIXSessions with a status each, to [`USED`]
//! Services, and [`OTHER`] Services that no route leads to, each Service with an EndpointSlice. Its memory is the resident one
//! (`VmRSS`, at most `VmHWM`), so what its allocator keeps is in it; its CPU is that of `/proc/PID/stat`, as a part of one core, over
//! [`LOOK`]. It counts the states that it is given, and keeps the last two, as the control plane does.
//!
//! The changes are made at [`CHANGES_PER_SECOND`]: what a route says, what is said of it, and the endpoints of Services that nobody
//! needs, before and after the process knew which routes are in force.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking and divides counts"
)]

use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::figure::Told;
use fixgw_e2e::many::{all, client, made, object, resource};
use fixgw_e2e::memory::{Memory, cpu_seconds};
use fixgw_e2e::process::{Process, wait_until};
use fixgw_e2e::tool;
use fixgw_operator::source::kubernetes::{Namespaces, Observed, follow};
use fixgw_operator::world::ObjectName;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// FIXSessions.
const SESSIONS: usize = 10_000;
/// Services that they lead to.
const USED: usize = 500;
/// Other Services.
const OTHER: usize = 5_000;
/// How long each kind of change is watched.
const LOOK: Duration = Duration::from_secs(20);
/// Changes in each second of it.
const CHANGES_PER_SECOND: u64 = 50;
/// What is promised of the whole operator, MiB.
const MEMORY_MIB_MAX: f64 = 150.0;
/// Whom the others are compared to, and who is measured.
const AT_MOST: &str = "at most";
const STATUSES: &str = "statuses are written";
const FOLLOWER: &str = "the follower";
/// Namespace of all objects.
const NAMESPACE: &str = "bench";

fn main() {
    let mut arguments = std::env::args().skip(1);
    if let (Some("follow"), Some(kubeconfig)) = (arguments.next().as_deref(), arguments.next()) {
        return follow_it(Path::new(&kubeconfig));
    }
    let mut server = ApiServer::start();
    let crd = tool::repository().join("crds/fixsession-crd.yaml");
    let crd = std::fs::read_to_string(crd).expect("the CRD is there");
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(server.create(definitions, Sent::Yaml(&crd)).code, 201);
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let made = server.create("/api/v1/namespaces", Sent::Json(&namespace));
    assert_eq!(made.code, 201);
    wait_until("FIXSessions to be served", || {
        let path = format!("/apis/fixgateway.io/v1alpha1/namespaces/{NAMESPACE}/fixsessions");
        (server.get(&path).code == 200).then_some(())
    });
    let kubeconfig = server.kubeconfig();
    let runtime = Arc::new(Runtime::new().expect("a runtime can be had"));
    let cluster = Cluster::of(&kubeconfig, &runtime);
    cluster.fill();

    let this = std::env::current_exe().expect("this program has a path");
    let process = Process::start("follower", this, |command| {
        command.arg("follow").arg(&kubeconfig);
    });
    let memory = Memory::of("follower", process.pid());
    let listed = process.wait_for("the first lists", |event| event["event"] == "listed");
    let lists = Told {
        metric: "time",
        unit: "ms",
        ..following("first lists")
    };
    lists.of(FOLLOWER, &[listed["ms"].as_f64().unwrap_or(f64::NAN)]);
    tell_memory("first lists", &memory);
    let mut follower = Watched { process, asked: 0 };
    follower.look("nothing changes", || std::thread::sleep(LOOK));
    follower.look(STATUSES, || cluster.change(Change::Status));
    follower.look("routes are changed", || cluster.change(Change::Route));
    follower.look("endpoints of other Services change", || {
        cluster.change(Change::OtherEndpoints);
    });
    follower.process.say(&json!({ "ask": "in_force" }));
    follower.look("the same, once it is said what is in force", || {
        cluster.change(Change::OtherEndpoints);
    });
    tell_memory("changes", &memory);
    server.stop();
    server.start_again();
    cluster.touch();
    follower.seen("the state after a restart of the API server", |seen| {
        seen["touched"] == true
    });
    tell_memory("a restart of the API server", &memory);
}

const fn following(load: &str) -> Told<'_> {
    Told {
        table: "following",
        load,
        metric: "",
        unit: "",
        to: None,
    }
}

fn tell_memory(load: &str, memory: &Memory) {
    let mib = |kb: u64| kb as f64 / 1_024.0;
    let told = |metric| Told {
        metric,
        unit: "MiB",
        to: Some(AT_MOST),
        ..following(load)
    };
    for (metric, kb) in [
        ("memory", memory.now_kb()),
        ("most memory so far", memory.highest_kb()),
    ] {
        told(metric).of(AT_MOST, &[MEMORY_MIB_MAX]);
        told(metric).of(FOLLOWER, &[mib(kb)]);
    }
}

/// The process that follows.
struct Watched {
    process: Process,
    asked: u64,
}

impl Watched {
    fn look(&mut self, what: &str, act: impl FnOnce()) {
        let states = |seen: &Value| {
            ["states", "rules", "endpoints"].map(|key| seen[key].as_u64().unwrap_or(0))
        };
        let before = states(&self.seen("what it has seen", |_| true));
        let (cpu, start) = (cpu_seconds(self.process.pid()), Instant::now());
        act();
        let took = start.elapsed().as_secs_f64();
        let cpu = cpu_seconds(self.process.pid()) - cpu;
        let after = states(&self.seen("what it has seen", |_| true));
        let [states, rules, endpoints] = [0, 1, 2].map(|it| after[it] - before[it]);
        let load = Told {
            metric: "CPU",
            unit: "% of a core",
            to: Some(STATUSES),
            ..following("50 changes a second")
        };
        load.of(what, &[100.0 * cpu / took]);
        for (metric, states) in [
            ("states", states),
            ("of rules", rules),
            ("of endpoints", endpoints),
        ] {
            let told = Told {
                metric,
                unit: "",
                to: None,
                ..load
            };
            told.of(what, &[states as f64]);
        }
    }

    /// Asks until it has seen that.
    fn seen(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, || {
            self.asked += 1;
            let number = self.asked;
            self.process
                .say(&json!({ "ask": "seen", "number": number }));
            let seen = self
                .process
                .wait_for(what, |event| event["number"] == number);
            is(&seen).then_some(seen)
        })
    }
}

/// The other process: follows, and answers questions.
fn follow_it(kubeconfig: &Path) {
    let runtime = Runtime::new().expect("a runtime can be had");
    let started = Instant::now();
    let following = runtime.block_on(async {
        let client = client(kubeconfig).await;
        follow(client, Namespaces::All)
    });
    let mut observed = following.observed.clone();
    runtime
        .block_on(async { observed.wait_for(Option::is_some).await.map(|_| ()) })
        .expect("it is followed");
    println!(
        "{}",
        json!({ "event": "listed", "ms": started.elapsed().as_millis() })
    );
    let counted = Arc::new(std::sync::Mutex::new(Counted::default()));
    let count = counted.clone();
    let mut observed = following.observed.clone();
    runtime.spawn(async move {
        while observed.changed().await.is_ok() {
            let now = observed.borrow_and_update().clone();
            count.lock().expect("nobody panics").take(now);
        }
    });
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input is text");
        let asked: Value = serde_json::from_str(&line).expect("it is JSON");
        if asked["ask"] == "in_force" {
            let used = (0..USED).map(|n| ObjectName::new(NAMESPACE, &used(n)));
            let targets = Some(Arc::new(used.collect()));
            following.in_force.send_replace(targets);
            continue;
        }
        let seen = counted
            .lock()
            .expect("nobody panics")
            .tell(&asked["number"]);
        println!("{seen}");
    }
}

#[derive(Default)]
struct Counted {
    last: [Option<Observed>; 2],
    states: u64,
    rules: u64,
    endpoints: u64,
}

impl Counted {
    fn take(&mut self, now: Option<Observed>) {
        let before = self.last[1].as_ref().zip(now.as_ref());
        self.states += 1;
        if let Some((before, now)) = before {
            let (before, now) = (&before.world, &now.world);
            self.rules += u64::from(!Arc::ptr_eq(&before.rules, &now.rules));
            self.endpoints += u64::from(!Arc::ptr_eq(&before.endpoints, &now.endpoints));
        }
        self.last.rotate_left(1);
        self.last[1] = now;
    }

    fn tell(&self, number: &Value) -> Value {
        let touched = ObjectName::new(NAMESPACE, "touched");
        let sessions = self.last[1].as_ref().map(|now| &now.world.rules.sessions);
        json!({
            "number": number, "states": self.states, "rules": self.rules, "endpoints": self.endpoints,
            "touched": sessions.is_some_and(|sessions| sessions.contains_key(&touched)),
        })
    }
}

fn used(n: usize) -> String {
    format!("used-{n}")
}

fn other(n: usize) -> String {
    format!("other-{n}")
}

fn session(n: usize, holds: u32) -> Value {
    json!({
        "metadata": { "name": format!("route-{n}"), "labels": { "team": "equities" } },
        "spec": {
            "matchFields": {
                "SenderCompID49": { "value": format!("BROKER_{n}") },
                "TargetCompID56": { "value": "VENUE" },
            },
            "target": { "service": { "name": used(n % USED), "port": 9876 } },
            "maxHeldConnections": holds,
        },
    })
}

fn status(revision: u64) -> Value {
    let condition = |of: &str| {
        json!({
            "type": of, "status": "True", "reason": "AsWritten", "observedGeneration": 1,
            "message": "the route is in force as it is written", "lastTransitionTime": "2026-11-27T06:31:02Z",
        })
    };
    let types = [
        "Accepted",
        "TargetResolvable",
        "EndpointsReady",
        "Programmed",
    ];
    let conditions = types.map(condition);
    json!({
        "observedGeneration": 1,
        "conditions": conditions,
        "match": "SenderCompID49=BROKER_1 TargetCompID56=VENUE",
        "target": "used-1:9876",
        "endpointsReady": 1,
        "connections": { "active": 1, "onOldTarget": 0, "held": 0, "connecting": 0, "orphaned": 0 },
        "revision": revision,
        "lastConnection": "2026-11-27T06:31:02Z",
    })
}

fn service(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "clusterIP": "None", "selector": { "app": name }, "ports": [{ "port": 9876 }] },
    })
}

fn slice(service: &str, ready: bool) -> Value {
    let endpoint = |host: u8| json!({ "addresses": [format!("10.0.0.{host}")], "conditions": { "ready": ready }, "nodeName": "node-1" });
    json!({
        "metadata": { "name": format!("{service}-abcde"), "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4", "ports": [{ "name": "", "port": 9876 }], "endpoints": [endpoint(1), endpoint(2)],
    })
}

/// What is changed.
#[derive(Clone, Copy)]
enum Change {
    Status,
    Route,
    OtherEndpoints,
}

/// Whoever writes.
struct Cluster {
    runtime: Arc<Runtime>,
    sessions: Api<DynamicObject>,
    services: Api<DynamicObject>,
    slices: Api<DynamicObject>,
    of: [ApiResource; 3],
}

impl Cluster {
    fn of(kubeconfig: &Path, runtime: &Arc<Runtime>) -> Self {
        let client = runtime.block_on(client(kubeconfig));
        let of = [
            resource("fixgateway.io", "v1alpha1", "FIXSession", "fixsessions"),
            resource("", "v1", "Service", "services"),
            resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
        ];
        let [sessions, services, slices] = of
            .each_ref()
            .map(|of| Api::namespaced_with(client.clone(), NAMESPACE, of));
        Self {
            runtime: Arc::clone(runtime),
            sessions,
            services,
            slices,
            of,
        }
    }

    fn fill(&self) {
        let [session_of, service_of, slice_of] = &self.of;
        let names = || (0..USED).map(used).chain((0..OTHER).map(other));
        self.runtime.block_on(async {
            all(names().map(|name| {
                let made = made(self.services.clone(), object(service_of, service(&name)));
                async move { drop(made.await) }
            }))
            .await;
            all(names().map(|name| {
                let made = made(self.slices.clone(), object(slice_of, slice(&name, true)));
                async move { drop(made.await) }
            }))
            .await;
            all((0..SESSIONS).map(|n| {
                let sessions = self.sessions.clone();
                let route = object(session_of, session(n, 1));
                async move {
                    let mut made = made(sessions.clone(), route).await;
                    made.data["status"] = status(1);
                    write_status(&sessions, &made).await;
                }
            }))
            .await;
        });
    }

    /// A FIXSession that was not there before.
    fn touch(&self) {
        let mut route = session(SESSIONS, 1);
        route["metadata"]["name"] = json!("touched");
        let route = object(&self.of[0], route);
        self.runtime.block_on(made(self.sessions.clone(), route));
    }

    fn change(&self, change: Change) {
        self.runtime.block_on(async {
            let mut tick = interval(Duration::from_millis(1_000 / CHANGES_PER_SECOND));
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let count = LOOK.as_secs() * CHANGES_PER_SECOND;
            let mut hands = JoinSet::new();
            for n in 0..usize::try_from(count).expect("a small number") {
                tick.tick().await;
                let (sessions, slices) = (self.sessions.clone(), self.slices.clone());
                hands.spawn(async move {
                    match change {
                        Change::Status => {
                            let mut route = got(&sessions, &format!("route-{n}")).await;
                            let revision = route.data["status"]["revision"].as_u64();
                            route.data["status"] = status(revision.unwrap_or(0) + 1);
                            write_status(&sessions, &route).await;
                        }
                        Change::Route => {
                            let mut route = got(&sessions, &format!("route-{n}")).await;
                            route.data["spec"]["maxHeldConnections"] = json!(2);
                            replaced(&sessions, &route).await;
                        }
                        Change::OtherEndpoints => {
                            let mut slice = got(&slices, &format!("{}-abcde", other(n))).await;
                            let ready = &mut slice.data["endpoints"][0]["conditions"]["ready"];
                            *ready = json!(*ready != true);
                            replaced(&slices, &slice).await;
                        }
                    }
                });
            }
            hands.join_all().await;
        });
    }
}

async fn got(api: &Api<DynamicObject>, name: &str) -> DynamicObject {
    api.get(name).await.expect("it is there")
}

async fn replaced(api: &Api<DynamicObject>, object: &DynamicObject) {
    let name = object.metadata.name.as_deref().expect("it has a name");
    let replaced = api.replace(name, &PostParams::default(), object).await;
    replaced.expect("it is taken");
}

async fn write_status(api: &Api<DynamicObject>, object: &DynamicObject) {
    let name = object.metadata.name.as_deref().expect("it has a name");
    let parameters = PostParams::default();
    let written = api.replace_status(name, &parameters, object).await;
    written.expect("it is taken");
}
