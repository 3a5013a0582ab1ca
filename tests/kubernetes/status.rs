//! Do statuses and Events get to a real API server: once for each change, to the object that they are about, by the leader alone,
//! and beside what others write there?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::fixture::NAMESPACE;
use fixgw_e2e::process::{EVENT_WAIT_MAX, wait_until};
use fixgw_operator::kubernetes::lease::{self, Leadership, LeaseName, Role};
use fixgw_operator::kubernetes::status::{Inputs, Names, Writing, write};
use fixgw_operator::message::Message;
use fixgw_operator::pipeline::accept::accept;
use fixgw_operator::pipeline::hold::ConflictPolicy;
use fixgw_operator::pipeline::publish::Published;
use fixgw_operator::pipeline::resolve::Endpoints;
use fixgw_operator::pipeline::validate::validate;
use fixgw_operator::receive::fleet::{AllSessions, Fleet, ProxyView};
use fixgw_operator::receive::rejections::Rejections;
use fixgw_operator::receive::sessions::OfTarget;
use fixgw_operator::receive::vms::VmView;
use fixgw_operator::source::kubernetes::{Namespaces, Observed, follow};
use fixgw_operator::status::conditions::{Decided, Publication, Served};
use fixgw_operator::status::planner::YOUNG_MS;
use fixgw_operator::world::RulesHalf;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::{sessions, with_definition};

/// Stands in every value that must not be shown.
const SECRET: &str = "SECRET";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
/// Who may do what the operator does, but for what a test forbids.
const OPERATOR: &str = "operator";

/// A replica, but for its proxies: what it decides follows from what is there as soon as it is seen.
struct Replica {
    runtime: Runtime,
    publication: watch::Sender<Publication>,
    sessions: watch::Sender<Arc<AllSessions>>,
    writing: Writing,
    leadership: watch::Receiver<Leadership>,
    /// Gives the Lease back.
    release: Option<oneshot::Sender<()>>,
    /// Nothing is refused; without who would say so, the writer ends.
    _rejections: watch::Sender<Arc<Rejections>>,
}

fn client_as(server: &ApiServer, user: Option<&str>) -> impl Future<Output = Client> + use<> {
    let mut config = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let auth = config.auth_infos[0].auth_info.as_mut().unwrap();
    auth.impersonate = user.map(str::to_owned);
    async move {
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(config, &options);
        Client::try_from(config.await.unwrap()).unwrap()
    }
}

impl Replica {
    /// Its statuses are written as this user.
    fn start(server: &ApiServer, identity: &str, user: Option<&str>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let publication = watch::Sender::new(Publication::Running);
        let (served, fleet) = (watch::Sender::new(None), watch::Sender::default());
        let (sessions, rejections) = (watch::Sender::default(), watch::Sender::default());
        let (writing, lease) = runtime.block_on(async {
            let client = client_as(server, None).await;
            let lease = LeaseName {
                namespace: NAMESPACE.to_owned(),
                name: "operator".to_owned(),
                identity: identity.to_owned(),
            };
            let lease = lease::apply(client.clone(), lease);
            let following = follow(client, Namespaces::All);
            let decided = watch::Sender::new(None);
            let inputs = Inputs {
                leadership: lease.leadership.clone(),
                observed: following.observed.clone(),
                decided: decided.subscribe(),
                publication: publication.subscribe(),
                served: served.subscribe(),
                fleet: fleet.subscribe(),
                sessions: sessions.subscribe(),
                rejections: rejections.subscribe(),
                // All gateways that there are have found it.
                serves_since: Instant::now()
                    .checked_sub(Duration::from_millis(YOUNG_MS))
                    .unwrap(),
            };
            let names = Names {
                namespace: NAMESPACE.to_owned(),
                table: "table".to_owned(),
                instance: identity.to_owned(),
            };
            tokio::spawn(decide(
                following.observed,
                publication.clone(),
                decided,
                served,
                fleet,
            ));
            let writing = write(client_as(server, user).await, inputs, names);
            (writing, lease)
        });
        Self {
            runtime,
            publication,
            sessions,
            writing,
            leadership: lease.leadership,
            release: Some(lease.release),
            _rejections: rejections,
        }
    }

    /// What stands in the way, once there is something or nothing.
    fn troubles(&self, is: impl Fn(&Vec<Message>) -> bool) -> Vec<Message> {
        let mut troubles = self.writing.troubles.clone();
        let shown = self.runtime.block_on(async {
            let shown = timeout(EVENT_WAIT_MAX, troubles.wait_for(is)).await;
            shown.map(|now| now.unwrap().clone())
        });
        shown.unwrap_or_else(|_| panic!("waited in vain: {:?}", self.writing.troubles.borrow()))
    }

    /// The gateway has so many sessions of a route.
    fn connect(&self, route: &str, active: u64) {
        self.sessions.send_modify(|all| {
            let own = Arc::make_mut(all).entry("gw".to_owned()).or_default();
            let of = own.routes.entry(format!("{NAMESPACE}/{route}").into());
            let target = OfTarget {
                connecting: 0,
                active,
            };
            let of = of.or_default();
            of.targets
                .insert(format!("{NAMESPACE}/engine:9876"), target);
            of.logon_unix_ms = 1_795_766_412_345;
        });
    }
}

/// Decides and publishes whatever is seen, and has one gateway that takes it at once.
async fn decide(
    mut observed: watch::Receiver<Option<Observed>>,
    publication: watch::Sender<Publication>,
    decided: watch::Sender<Option<Decided>>,
    served: watch::Sender<Option<Served>>,
    fleet: watch::Sender<Arc<Fleet>>,
) {
    let mut published: Option<Arc<Published>> = None;
    let mut rules: Option<Arc<RulesHalf>> = None;
    let mut running = publication.subscribe();
    loop {
        let now = observed.borrow_and_update().clone();
        let is_new = |now: &Observed| {
            rules.as_ref() != Some(&now.world.rules)
                && !matches!(*publication.borrow(), Publication::Paused(_))
        };
        if let Some(now) = now.filter(is_new) {
            let half = now.world.rules;
            let validated = validate(&half.sessions);
            let accepted = accept(
                published.as_deref(),
                &half,
                validated,
                ConflictPolicy::HoldTable,
            );
            if let Some(set) = accepted.accepted {
                let last = published.as_ref().map_or(0, |last| last.table.revision());
                let table = set.table.with_revision(last + 1);
                published = Some(Arc::new(Published { table, ..set }));
            }
            decided.send_replace(Some(Decided {
                rules: half.clone(),
                verdicts: Arc::new(accepted.verdicts),
                accepted: published.clone(),
            }));
            rules = Some(half);
            if let Some(published) = &published {
                served.send_replace(Some(Served {
                    published: published.clone(),
                    endpoints: Arc::new(Endpoints::default()),
                }));
                let vm = VmView {
                    table_revision: published.table.revision(),
                    ..VmView::default()
                };
                let proxy = ProxyView {
                    streams: 1,
                    acknowledged: None,
                    readiness: None,
                    vms: vec![vm],
                };
                fleet.send_replace(Arc::new(Fleet {
                    proxies: [("gw".to_owned(), proxy)].into(),
                }));
            }
        }
        let ended = tokio::select! {
            changed = observed.changed() => changed.is_err(),
            changed = running.changed() => changed.is_err(),
        };
        if ended {
            return;
        }
    }
}

fn route(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "fixgateway.io/v1alpha1",
        "kind": "FIXSession",
        "metadata": { "name": name },
        "spec": {
            "matchFields": {
                "SenderCompID49": { "value": value },
                "Algo20001": { "value": format!("{SECRET}_REDACTED"), "redact": true },
                "Hidden9001": { "value": format!("{SECRET}_HIDDEN"), "log": false },
            },
            "target": { "service": { "name": "engine", "port": 9876 } },
        },
    })
}

fn create(server: &ApiServer, object: &Value) -> Value {
    let made = server.create(&sessions(), Sent::Json(object));
    assert_eq!(made.code, 201, "{}", made.message());
    made.body
}

fn get(server: &ApiServer, name: &str) -> Value {
    server.get(&format!("{}/{name}", sessions())).body
}

/// Reason of each condition.
fn reasons(object: &Value) -> BTreeMap<String, String> {
    let conditions = object["status"]["conditions"].as_array();
    let reasons = conditions.into_iter().flatten().map(|it| {
        let text = |key: &str| it[key].as_str().unwrap().to_owned();
        (text("type"), text("reason"))
    });
    reasons.collect()
}

/// Once a condition has this reason, about the form that is there.
fn until(server: &ApiServer, name: &str, of: &str, reason: &str) -> Value {
    wait_until(&format!("{of} of {name} to be {reason}"), || {
        let object = get(server, name);
        let is_about_it =
            object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let is = reasons(&object).get(of).is_some_and(|it| it == reason);
        (is && is_about_it).then_some(object)
    })
}

/// Reasons of the Events that tell of an object, with their notes.
fn events(server: &ApiServer, kind: &str, name: &str) -> Vec<(String, String)> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
    let listed = server.get(&path);
    let of = listed.body["items"].as_array().unwrap().iter();
    let of = of.filter(|it| it["regarding"]["kind"] == kind && it["regarding"]["name"] == name);
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    of.map(|it| (text(it, "reason"), text(it, "note")))
        .collect()
}

fn until_event(server: &ApiServer, kind: &str, name: &str, reason: &str) {
    wait_until(&format!("an Event {reason} of {name}"), || {
        let events = events(server, kind, name);
        events.iter().any(|(it, _)| it == reason).then_some(())
    });
}

#[test]
fn a_status_is_written_once_for_a_change_and_shown_and_holds_no_secret() {
    let (server, _) = with_definition();
    create(&server, &route("algo", "BROKER_A"));
    let mut replica = Replica::start(&server, "a", None);
    let first = until(&server, "algo", "Programmed", "Programmed");
    let wanted = [
        ("Accepted", "Accepted"),
        ("EndpointsReady", "TargetMissing"),
        ("Programmed", "Programmed"),
        ("TargetResolvable", "TargetMissing"),
    ];
    let wanted = wanted.map(|(of, reason)| (of.to_owned(), reason.to_owned()));
    assert_eq!(reasons(&first), wanted.into());
    let row = server.get_table(&sessions()).body["rows"][0]["cells"].clone();
    let shown: Vec<&Value> = row.as_array().unwrap().iter().take(7).collect();
    let matched = json!("Algo20001=[REDACTED] SenderCompID49=BROKER_A");
    let cells = [
        json!("algo"),
        matched,
        json!("engine:9876"),
        json!("True"),
        json!("True"),
        json!(0),
        json!(0),
    ];
    assert_eq!(shown, cells.iter().collect::<Vec<_>>());
    for reason in ["Accepted", "TargetMissing", "Programmed"] {
        until_event(&server, "FIXSession", "algo", reason);
    }

    // Another one's is written, and this one's is left alone: nothing of it has changed.
    create(&server, &route("other", "BROKER_B"));
    until(&server, "other", "Programmed", "Programmed");
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    assert_eq!(version(&get(&server, "algo")), version(&first));

    // Counts: of the one that they are of.
    replica.connect("algo", 3);
    let counted = wait_until("the count to be written", || {
        let object = get(&server, "algo");
        (object["status"]["connections"]["active"] == 3).then_some(object)
    });
    assert_eq!(
        counted["status"]["conditions"],
        first["status"]["conditions"]
    );
    assert_eq!(
        counted["status"]["lastConnection"],
        "2026-11-27T08:00:12.345Z"
    );
    // A new replica finds it as it should be.
    replica.release.take().unwrap().send(()).unwrap();
    let again = Replica::start(&server, "b", None);
    again.connect("algo", 3);
    // The first one would say something else, and may not.
    let mut leadership = replica.leadership.clone();
    let follows = replica.runtime.block_on(async {
        let follows = leadership.wait_for(|now| now.role == Role::Follower);
        timeout(EVENT_WAIT_MAX, follows).await.is_ok()
    });
    assert!(follows, "it gave the Lease back");
    replica.connect("algo", 9);
    create(&server, &route("third", "BROKER_C"));
    until(&server, "third", "Programmed", "Programmed");
    assert_eq!(version(&get(&server, "algo")), version(&counted));

    // A conflict is told on both, with its witness, and what may not be shown is not.
    create(&server, &route("twin", "BROKER_A"));
    until(&server, "twin", "Accepted", "Conflict");
    let algo = until(&server, "algo", "Conflicted", "Conflict");
    assert_eq!(reasons(&algo)["Accepted"], "Accepted");
    until_event(&server, "FIXSession", "algo", "Conflict");
    until_event(&server, "FIXSession", "twin", "Conflict");
    let gone = server.delete(&format!("{}/twin", sessions()));
    assert_eq!(gone.code, 200, "{}", gone.message());
    wait_until("the conflict to be over", || {
        (!reasons(&get(&server, "algo")).contains_key("Conflicted")).then_some(())
    });
    until_event(&server, "FIXSession", "algo", "ConflictResolved");
    let mut listed = server.get(&sessions()).body;
    for object in listed["items"].as_array_mut().unwrap() {
        object["spec"] = json!(null);
        object["metadata"]["managedFields"] = json!(null);
    }
    let path = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
    let events = server.get(&path).body.to_string();
    assert!(
        events.contains("BROKER_A"),
        "what may be shown is: {events}"
    );
    for text in [listed.to_string(), events] {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert_eq!(*again.writing.troubles.borrow(), []);
}

#[test]
fn what_others_write_stays_or_is_put_right_and_one_made_anew_is_another() {
    let (server, _) = with_definition();
    create(&server, &route("algo", "BROKER_A"));
    let replica = Replica::start(&server, "a", None);
    let mut object = until(&server, "algo", "Programmed", "Programmed");
    // Somebody has a condition of his own there, and meddles with one of ours.
    let conditions = object["status"]["conditions"].as_array_mut().unwrap();
    let accepted = conditions.iter_mut().find(|it| it["type"] == "Accepted");
    accepted.unwrap()["message"] = json!("so says another");
    conditions.push(json!({
        "type": "Audited", "status": "True", "reason": "Seen", "message": "",
        "lastTransitionTime": "2026-11-27T06:31:02Z",
    }));
    let path = format!("{}/algo/status", sessions());
    let replaced = server.replace(&path, &object);
    assert_eq!(replaced.code, 200, "{}", replaced.message());
    let right = wait_until("the condition to be put right", || {
        let object = get(&server, "algo");
        let conditions = object["status"]["conditions"].as_array().unwrap().iter();
        let mut ours = conditions.filter(|it| it["type"] == "Accepted");
        (ours.next()?["message"] != "so says another").then_some(object)
    });
    assert_eq!(reasons(&right)["Audited"], "Seen");

    // Deleted, and made anew with something wrong in it that no API server knows.
    let gone = server.delete(&format!("{}/algo", sessions()));
    assert_eq!(gone.code, 200, "{}", gone.message());
    let mut wrong = route("algo", "BROKER_A");
    wrong["spec"]["sourceRanges"] = json!(["10.0.0.1/8"]);
    let anew = create(&server, &wrong);
    assert_ne!(anew["metadata"]["uid"], right["metadata"]["uid"]);
    let invalid = until(&server, "algo", "Accepted", "Invalid");
    assert_eq!(invalid["metadata"]["uid"], anew["metadata"]["uid"]);
    assert!(!reasons(&invalid).contains_key("Audited"));
    until_event(&server, "FIXSession", "algo", "Invalid");
    assert_eq!(*replica.writing.troubles.borrow(), []);
}

#[test]
fn paused_is_told_on_the_table_and_on_what_waits() {
    let (server, _) = with_definition();
    let table = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "table" } });
    let maps = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    assert_eq!(server.create(&maps, Sent::Json(&table)).code, 201);
    create(&server, &route("algo", "BROKER_A"));
    let replica = Replica::start(&server, "a", None);
    until(&server, "algo", "Programmed", "Programmed");
    let paused = Publication::Paused("migration".to_owned());
    replica.publication.send_replace(paused);
    create(&server, &route("later", "BROKER_B"));
    until(&server, "later", "Programmed", "Paused");
    until_event(&server, "ConfigMap", "table", "Paused");
    replica.publication.send_replace(Publication::Running);
    until(&server, "later", "Programmed", "Programmed");
    until_event(&server, "ConfigMap", "table", "Resumed");
}

#[test]
fn without_the_right_to_write_it_is_said_which_one_is_missing_and_when_it_works_again() {
    let (server, _) = with_definition();
    create(&server, &route("algo", "BROKER_A"));
    let replica = Replica::start(&server, "a", Some(OPERATOR));
    let troubles = replica.troubles(|troubles| !troubles.is_empty());
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    let told = troubles[0].to_string();
    for wanted in [
        "`trading`",
        "`patch` on `fixsessions/status`",
        "`fixgateway.io`",
    ] {
        assert!(told.contains(wanted), "{told}");
    }
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": OPERATOR },
        "rules": [{
            "apiGroups": ["fixgateway.io"], "resources": ["fixsessions/status"], "verbs": ["patch"],
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": OPERATOR },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": OPERATOR },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OPERATOR }],
    });
    let made = server.create(&format!("{RBAC}/clusterroles"), Sent::Json(&role));
    assert_eq!(made.code, 201, "{}", made.message());
    let path = format!("{RBAC}/clusterrolebindings");
    let made = server.create(&path, Sent::Json(&binding));
    assert_eq!(made.code, 201, "{}", made.message());
    until(&server, "algo", "Programmed", "Programmed");
    replica.troubles(Vec::is_empty);
}
