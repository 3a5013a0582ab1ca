//! What does the control plane know of a cluster: as objects come, change and go, and while the API server is away or refuses?

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::fixture::NAMESPACE;
use fixgw_e2e::process::{EVENT_WAIT_MAX, journal, wait_until};
use fixgw_operator::message::Message;
use fixgw_operator::source::kubernetes::{Following, Lifecycle, Namespaces, Observed, follow};
use fixgw_operator::world::{Kind, ObjectName};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{DEFINITIONS, GROUP, read, sessions, with_definition};

const SERVICES: &str = "/api/v1/namespaces/trading/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/trading/endpointslices";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
/// Who has the rights that a test gives him, and no other.
const OPERATOR: &str = "operator";

/// One who follows an API server.
struct Follower {
    runtime: Arc<Runtime>,
    following: Following,
    /// Every state that was given, but for those that were replaced before anybody looked.
    given: Arc<Mutex<Vec<Observed>>>,
}

impl Follower {
    /// With every right.
    fn of(server: &ApiServer) -> Self {
        let runtime = runtime();
        let at = server.address();
        Self::with(&runtime, &server.kubeconfig(), at, None, Namespaces::All)
    }

    fn with(
        runtime: &Arc<Runtime>,
        kubeconfig: &Path,
        at: SocketAddr,
        user: Option<&str>,
        namespaces: Namespaces,
    ) -> Self {
        let mut config = Kubeconfig::read_from(kubeconfig).unwrap();
        let cluster = config.clusters[0].cluster.as_mut().unwrap();
        cluster.server = Some(format!("https://{at}"));
        let auth = config.auth_infos[0].auth_info.as_mut().unwrap();
        auth.impersonate = user.map(str::to_owned);
        let following = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(config, &options);
            let client = kube::Client::try_from(config.await.unwrap()).unwrap();
            follow(client, namespaces)
        });
        let given = Arc::<Mutex<Vec<Observed>>>::default();
        let (mut observed, list) = (following.observed.clone(), given.clone());
        runtime.spawn(async move {
            while observed.changed().await.is_ok() {
                let now = observed.borrow_and_update().clone();
                let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
                list.extend(now);
            }
        });
        Self {
            runtime: Arc::clone(runtime),
            following,
            given,
        }
    }

    /// Waits until what is observed `is` so.
    fn wait(&self, what: &str, is: impl Fn(&Observed) -> bool) -> Observed {
        let is = |now: &Option<Observed>| now.as_ref().is_some_and(&is);
        let observed = self.following.observed.clone();
        self.wait_in(observed, what, is).unwrap()
    }

    /// Waits until what stands in the way `is` so.
    fn wait_troubles(&self, what: &str, is: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        let troubles = self.following.troubles.clone();
        self.wait_in(troubles, what, |all| is(all))
    }

    fn wait_in<T: Clone>(
        &self,
        mut of: watch::Receiver<T>,
        what: &str,
        is: impl FnMut(&T) -> bool,
    ) -> T {
        let found = self
            .runtime
            .block_on(async { timeout(EVENT_WAIT_MAX, of.wait_for(is)).await });
        let Ok(found) = found else {
            panic!(
                "waited in vain for {what}: {:?}, {:?}\n{}",
                self.following.observed.borrow(),
                self.following.troubles.borrow(),
                journal()
            );
        };
        found.unwrap().clone()
    }

    fn now(&self) -> Observed {
        self.following.observed.borrow().clone().unwrap()
    }

    fn given(&self) -> Vec<Observed> {
        let given = self.given.lock();
        given.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn runtime() -> Arc<Runtime> {
    Arc::new(Runtime::new().unwrap())
}

/// A relay in front of an API server that can be shut.
struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Gate {
    fn before(server: SocketAddr, runtime: &Runtime) -> Self {
        let (open, is_open) = watch::channel(true);
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut is_open = is_open.clone();
                if !*is_open.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(server).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_open.changed() => {}
                    }
                });
            }
        });
        Self { address, open }
    }

    /// Ends every connection, and takes none from now on.
    fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Ends every connection, and takes new ones.
    fn cut(&self) {
        self.open.send_replace(true);
    }
}

fn create(server: &ApiServer, path: &str, object: &Value) -> Value {
    let made = server.create(path, Sent::Json(object));
    assert_eq!(made.code, 201, "{object}: {}", made.message());
    made.body
}

fn delete(server: &ApiServer, path: &str) {
    let deleted = server.delete(path);
    assert_eq!(deleted.code, 200, "{path}: {}", deleted.message());
}

fn session(name: &str, service: &str) -> Value {
    json!({
        "apiVersion": "fixgateway.io/v1alpha1", "kind": "FIXSession",
        "metadata": { "name": name },
        "spec": {
            "matchFields": { "SenderCompID49": { "value": name } },
            "target": { "service": { "name": service, "port": 9876 } },
        },
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "ports": [{ "port": 9876 }] },
    })
}

fn slice(name: &str, service: &str, host: u8) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": name, "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4",
        "ports": [{ "name": "", "port": 9876 }],
        "endpoints": [{ "addresses": [format!("10.1.0.{host}")], "conditions": { "ready": true } }],
    })
}

fn named(name: &str) -> ObjectName {
    ObjectName::new(NAMESPACE, name)
}

fn routes(observed: &Observed) -> Vec<&str> {
    let sessions = observed.world.rules.sessions.keys();
    sessions.map(|name| &*name.name).collect()
}

fn has_route(name: &str) -> impl Fn(&Observed) -> bool {
    let name = named(name);
    move |now| now.world.rules.sessions.contains_key(&name)
}

#[test]
fn objects_come_change_and_go() {
    let (server, _) = with_definition();
    let follower = Follower::of(&server);
    let first = follower.wait("the first lists", |_| true);
    assert_eq!(routes(&first), Vec::<&str>::new());

    let made = create(&server, &sessions(), &session("algo", "engine"));
    create(&server, SERVICES, &service("engine"));
    create(&server, SLICES, &slice("engine-1", "engine", 7));
    let now = follower.wait("all three objects", |now| {
        has_route("algo")(now)
            && now.world.endpoints.services.contains_key(&named("engine"))
            && now.world.endpoints.slices.contains_key(&named("engine-1"))
    });
    let route = &now.world.rules.sessions[&named("algo")];
    let identity = route.identity.as_ref().unwrap();
    assert_eq!(made["metadata"]["uid"].as_str(), Some(&*identity.uid));
    assert_eq!(identity.generation, 1);
    let ready = &now.world.endpoints.slices[&named("engine-1")].object.ready;
    assert_eq!(ready.len(), 1);

    // A status, which is what the control plane itself writes.
    let mut object = made;
    object["status"] = json!({ "revision": 42, "observedGeneration": 1 });
    let path = format!("{}/algo", sessions());
    let written = server.replace(&format!("{path}/status"), &object);
    assert_eq!(written.code, 200, "{}", written.message());
    let next = follower.wait("the status", |now| {
        now.held[&named("algo")].status.revision == Some(42)
    });
    assert!(Arc::ptr_eq(&now.world.rules, &next.world.rules));
    assert!(Arc::ptr_eq(&now.world.endpoints, &next.world.endpoints));

    object = written.body;
    object["spec"]["target"]["service"]["port"] = json!(9877);
    object["metadata"]["finalizers"] = json!(["example.com/kept"]);
    assert_eq!(server.replace(&path, &object).code, 200);
    let now = follower.wait("the change", |now| {
        now.world.rules.sessions[&named("algo")]
            .object
            .target
            .service
            .port
            == 9877
            && now.held[&named("algo")].identity.generation == 2
    });
    let identity = now.held[&named("algo")].identity.clone();
    assert_eq!(
        now.world.rules.sessions[&named("algo")].identity,
        Some(identity)
    );

    // A route that is being deleted does not route.
    delete(&server, &path);
    let now = follower.wait("the deletion to begin", |now| routes(now).is_empty());
    let held = follower.wait("it to be held as deleting", |now| {
        now.held[&named("algo")].lifecycle == Lifecycle::Deleting
    });
    assert_eq!(now.world.rules.faults.list, []);
    assert_eq!(held.held.len(), 1);
    let mut object = server.get(&path).body;
    object["metadata"]["finalizers"] = json!([]);
    assert_eq!(server.replace(&path, &object).code, 200);
    delete(&server, &format!("{SLICES}/engine-1"));
    delete(&server, &format!("{SERVICES}/engine"));
    follower.wait("everything to be gone", |now| {
        now.held.is_empty()
            && now.world.endpoints.slices.is_empty()
            && !now.world.endpoints.services.contains_key(&named("engine"))
    });
    assert_eq!(*follower.following.troubles.borrow(), []);
    assert!(!follower.following.task.is_finished());
}

#[test]
fn an_object_that_cannot_be_read_stops_nothing_and_shows_no_value() {
    let (server, said) = with_definition();
    // As if it had been stored before there was a schema.
    let name = said.body["metadata"]["name"].as_str().unwrap();
    let path = format!("{DEFINITIONS}/{name}");
    wait_until("the schema to be taken away", || {
        let mut definition = server.get(&path).body;
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        (server.replace(&path, &definition).code == 200).then_some(())
    });
    let mut bad = session("bad", "engine");
    bad["spec"]["matchFields"]["SenderCompID49"] =
        json!({ "value": { "hunter2": "hunter2" }, "log": false });
    wait_until("the object to be stored", || {
        let made = server.create(&sessions(), Sent::Json(&bad));
        (made.code == 201).then_some(())
    });
    create(&server, &sessions(), &session("good", "engine"));
    let follower = Follower::of(&server);
    let first = follower.wait("the first lists", |_| true);
    let is_as_it_should = |now: &Observed| {
        let faults = &now.world.rules.faults;
        assert!(faults.cover(Kind::FIXSession, &named("bad"), None));
        assert_eq!(faults.list.len(), 1, "{faults:?}");
        let field = faults.list[0].field.as_deref();
        assert_eq!(field, Some("spec.matchFields.SenderCompID49.value"));
        assert!(!format!("{now:?}").contains("hunter2"));
    };
    is_as_it_should(&first);
    assert_eq!(routes(&first), ["good"]);
    assert_eq!(first.held.len(), 2);

    // While it is watched.
    create(&server, &sessions(), &session("later", "engine"));
    is_as_it_should(&follower.wait("another one", has_route("later")));
    let mut object = server.get(&format!("{}/later", sessions())).body;
    object["spec"] = json!("hunter2");
    let replaced = server.replace(&format!("{}/later", sessions()), &object);
    assert_eq!(replaced.code, 200, "{}", replaced.message());
    let now = follower.wait("that one to be a fault", |now| {
        now.world.rules.faults.list.len() == 2
    });
    assert_eq!(routes(&now), ["good"]);
    let mut odd = slice("odd", "engine", 1);
    odd["addressType"] = json!("FQDN");
    odd["endpoints"] = json!([{ "addresses": ["engine.example.com"] }]);
    create(&server, SLICES, &odd);
    let mut annotated = service("engine");
    annotated["metadata"]["annotations"] = json!({ "fixgateway.io/proxy-protocol": "v3" });
    create(&server, SERVICES, &annotated);
    let now = follower.wait("both other kinds to be faults", |now| {
        now.world.endpoints.faults.list.len() == 2
    });
    assert!(!now.world.endpoints.services.contains_key(&named("engine")));

    delete(&server, &format!("{}/bad", sessions()));
    object["spec"] = session("later", "engine")["spec"].clone();
    object["metadata"] = replaced.body["metadata"].clone();
    assert_eq!(
        server
            .replace(&format!("{}/later", sessions()), &object)
            .code,
        200
    );
    let now = follower.wait("both to be mended", |now| {
        now.world.rules.faults.list.is_empty()
    });
    assert_eq!(routes(&now), ["good", "later"]);
    assert_eq!(*follower.following.troubles.borrow(), []);
}

#[test]
fn what_was_known_stays_while_the_api_server_is_away_and_what_was_missed_is_one_change() {
    let (mut server, _) = with_definition();
    let runtime = runtime();
    let gate = Gate::before(server.address(), &runtime);
    for name in ["kept", "changed", "deleted"] {
        create(&server, &sessions(), &session(name, "engine"));
    }
    let kubeconfig = server.kubeconfig();
    let follower = Follower::with(&runtime, &kubeconfig, gate.address, None, Namespaces::All);
    follower.wait("the three routes", |now| routes(now).len() == 3);

    // Watches that are cut again and again are taken up where they were.
    for number in 0..10 {
        gate.cut();
        let name = format!("during-{number}");
        create(&server, &sessions(), &session(&name, "engine"));
        follower.wait("a route made while watches are cut", has_route(&name));
    }
    let counts: Vec<usize> = follower
        .given()
        .iter()
        .map(|now| routes(now).len())
        .collect();
    assert!(counts.is_sorted(), "a cut takes nothing away: {counts:?}");
    let before = follower.now();

    server.stop();
    gate.cut();
    let told = follower.wait_troubles("the loss to be told", |all| !all.is_empty());
    let line = told[0].to_string();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        line.starts_with("WARN: API server: cannot be reached since 20"),
        "{line}"
    );
    assert_eq!(follower.now(), before);

    // It comes back to others first, and by then has forgotten what the watches begin at.
    gate.shut();
    server.start_again();
    for number in 0..10 {
        delete(&server, &format!("{}/during-{number}", sessions()));
    }
    delete(&server, &format!("{}/deleted", sessions()));
    create(&server, &sessions(), &session("new", "engine"));
    let path = format!("{}/changed", sessions());
    let mut object = server.get(&path).body;
    object["spec"]["target"]["service"]["name"] = json!("other");
    assert_eq!(server.replace(&path, &object).code, 200);
    server.stop();
    server.start_again();
    assert_eq!(follower.now(), before);
    let seen = follower.given().len();
    gate.cut();
    let now = follower.wait("what was missed", has_route("new"));
    assert_eq!(routes(&now), ["changed", "kept", "new"]);
    let target = &now.world.rules.sessions[&named("changed")].object.target;
    assert_eq!(target.service.name, "other");
    let kept = |now: &Observed| now.world.rules.sessions[&named("kept")].clone();
    assert!(Arc::ptr_eq(&kept(&before), &kept(&now)));
    follower.wait_troubles("the return to be told", <[Message]>::is_empty);
    // Rules as they were, and rules as they are: nothing between, and never nothing.
    for given in follower.given().split_off(seen) {
        let rules = &given.world.rules;
        assert!(
            *rules == before.world.rules || *rules == now.world.rules,
            "{:?}",
            routes(&given)
        );
    }
    create(&server, &sessions(), &session("after", "engine"));
    follower.wait("a route made afterwards", has_route("after"));
}

/// Gives [`OPERATOR`] these kinds to read, in one namespace or in all.
fn grant(server: &ApiServer, namespace: Option<&str>) {
    let rules = json!([
        { "apiGroups": ["fixgateway.io"], "resources": ["fixsessions"], "verbs": ["list", "watch"] },
        { "apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"] },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
    ]);
    let (path, prefix) = match namespace {
        None => (RBAC.to_owned(), "Cluster"),
        Some(namespace) => (format!("{RBAC}/namespaces/{namespace}"), ""),
    };
    let lower = prefix.to_lowercase();
    let object = |kind: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{prefix}{kind}"),
            "metadata": { "name": OPERATOR },
        })
    };
    let mut role = object("Role");
    role["rules"] = rules;
    create(server, &format!("{path}/{lower}roles"), &role);
    let mut binding = object("RoleBinding");
    let group = "rbac.authorization.k8s.io";
    binding["subjects"] = json!([{ "kind": "User", "name": OPERATOR, "apiGroup": group }]);
    binding["roleRef"] =
        json!({ "kind": format!("{prefix}Role"), "name": OPERATOR, "apiGroup": group });
    create(server, &format!("{path}/{lower}rolebindings"), &binding);
}

fn lines(messages: &[Message]) -> String {
    let lines: Vec<_> = messages.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn what_is_missing_or_refused_is_told_with_what_to_do_and_taken_up_when_it_is_there() {
    let server = ApiServer::start();
    let runtime = runtime();
    let gate = Gate::before(server.address(), &runtime);
    let kubeconfig = server.kubeconfig();
    let follower = Follower::with(
        &runtime,
        &kubeconfig,
        gate.address,
        Some(OPERATOR),
        Namespaces::All,
    );
    let told = follower.wait_troubles("three refusals", |all| all.len() == 3);
    for words in [
        "watch of FIXSessions: the API server refuses it since 20",
        "cannot list resource \"services\"",
        "`list` and `watch` on `endpointslices` of API group `discovery.k8s.io` by a ClusterRole",
    ] {
        assert!(lines(&told).contains(words), "{}", lines(&told));
    }
    grant(&server, None);
    let told = follower.wait_troubles("no CRD", |all| {
        all.len() == 1 && !lines(all).contains("refuses")
    });
    let words = "install the CRD `fixsessions.fixgateway.io`";
    assert!(lines(&told).contains(words), "{}", lines(&told));
    assert_eq!(*follower.following.observed.borrow(), None);
    let crd = read("crds/fixsession-crd.yaml");
    assert_eq!(server.create(DEFINITIONS, Sent::Yaml(&crd)).code, 201);
    follower.wait("the first lists", |_| true);
    follower.wait_troubles("an end of it", <[Message]>::is_empty);

    for name in [NAMESPACE, "fx", "others"] {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        create(&server, "/api/v1/namespaces", &namespace);
        let path = format!("{GROUP}/namespaces/{name}/fixsessions");
        create(&server, &path, &session("algo", "engine"));
    }
    let before = follower.wait("a route in each namespace", |now| {
        now.world.rules.sessions.len() == 3
    });

    // Watches that have begun go on; they are refused when they are asked for anew.
    delete(&server, &format!("{RBAC}/clusterrolebindings/{OPERATOR}"));
    gate.cut();
    let told = follower.wait_troubles("three refusals", |all| all.len() == 3);
    assert!(
        lines(&told).contains("cannot watch resource"),
        "{}",
        lines(&told)
    );
    create(&server, &sessions(), &session("unseen", "engine"));
    assert_eq!(follower.now(), before);

    // With two namespaces, two Roles do.
    for namespace in [NAMESPACE, "fx"] {
        grant(&server, Some(namespace));
    }
    let namespaces = Namespaces::These(vec![NAMESPACE.to_owned(), "fx".to_owned()]);
    let user = Some(OPERATOR);
    let of_two = Follower::with(&runtime, &kubeconfig, gate.address, user, namespaces);
    let now = of_two.wait("the lists of both", |_| true);
    let names: Vec<_> = now
        .world
        .rules
        .sessions
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["fx/algo", "trading/algo", "trading/unseen"]);
    let path = format!("{GROUP}/namespaces/others/fixsessions");
    create(&server, &path, &session("not-ours", "engine"));
    delete(&server, &format!("{GROUP}/namespaces/fx/fixsessions/algo"));
    let now = of_two.wait("the deletion", |now| now.held.len() == 2);
    assert!(now.held.keys().all(|name| &*name.namespace == NAMESPACE));
    assert_eq!(*of_two.following.troubles.borrow(), []);

    delete(&server, &format!("{RBAC}/clusterroles/{OPERATOR}"));
    grant(&server, None);
    follower.wait("what was not seen", has_route("unseen"));
    follower.wait_troubles("an end of it", <[Message]>::is_empty);
}
