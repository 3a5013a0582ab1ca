//! Does the test control plane do what the other tests take for granted?

use std::collections::BTreeSet;

use fixgw_e2e::api::Sent;
use fixgw_e2e::cluster::{Cluster, Image, Part, RunningPod, engines};
use fixgw_e2e::fixture::NAMESPACE;
use fixgw_e2e::inside::inside;
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::{is_alive, wait_until};
use serde_json::{Value, json};

const ENGINE: &str = "equities-engine";
const PORT: u16 = 9876;

/// A cluster with a namespace and so many QuickFIX engines, all of them ready.
fn with_engines(replicas: u32, session: &Session) -> Cluster {
    let cluster = Cluster::start(vec![Image::quickfix_engine()]);
    cluster.create_namespace(NAMESPACE);
    cluster.apply_all(&engines(
        NAMESPACE,
        ENGINE,
        PORT,
        replicas,
        std::slice::from_ref(session),
    ));
    cluster.wait_rolled_out(NAMESPACE, &format!("statefulset/{ENGINE}"));
    cluster
}

fn session() -> Session {
    Session::new("FIX.4.4", "EQ_BROKER", "VENUE").reset_on_logon()
}

/// The addresses that the real controller lists as ready.
fn ready_addresses(cluster: &Cluster) -> BTreeSet<String> {
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices");
    let answer = cluster.api().get(&path);
    let slices = answer.body["items"].as_array().unwrap();
    let endpoints = slices
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready
        .map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_owned())
        .collect()
}

fn pod(cluster: &Cluster, ordinal: u32) -> RunningPod {
    cluster.wait_pod(NAMESPACE, &format!("{ENGINE}-{ordinal}"))
}

#[test]
fn pods_of_a_stateful_set_are_listed_and_are_replaced_one_after_the_other() {
    inside(|| {
        let session = session();
        let cluster = with_engines(2, &session);
        let before = [pod(&cluster, 0), pod(&cluster, 1)];
        let addresses = before.each_ref().map(|pod| pod.address.to_string());
        wait_until("both to be listed", || {
            (ready_addresses(&cluster) == BTreeSet::from(addresses.clone())).then_some(())
        });

        // They are what they are said to be.
        let counterparty =
            Peer::counterparty("broker", before[1].at(PORT), std::slice::from_ref(&session));
        counterparty.wait_logon(&session.at_counterparty());
        before[1].engine().wait_logon(&session.at_engine());
        assert_eq!(before[0].engine().logons(&session.at_engine()), 0);

        // The first is not touched before the second is ready again.
        let _ = cluster
            .kubectl(&[
                "rollout",
                "restart",
                "-n",
                NAMESPACE,
                &format!("statefulset/{ENGINE}"),
            ])
            .succeeded();
        let uid = before[1].uid.clone();
        let replaced = cluster.wait_pods("the second pod to be another", |pods| {
            let mut pods = pods.iter().filter(|pod| pod.name.1 == before[1].name.1);
            pods.find(|pod| pod.uid != uid).map(|pod| (*pod).clone())
        });
        assert!(is_alive(before[0].process().pid()));
        assert_ne!(replaced.address, before[1].address);
        cluster.wait_rolled_out(NAMESPACE, &format!("statefulset/{ENGINE}"));
        let after = [pod(&cluster, 0), pod(&cluster, 1)];
        assert_eq!(after[1].uid, replaced.uid);
        assert_ne!(after[0].uid, before[0].uid);
        for pod in &before {
            assert!(!is_alive(pod.process().pid()), "{} still runs", pod.name.1);
        }
        let addresses = after.each_ref().map(|pod| pod.address.to_string());
        wait_until("the new ones to be listed", || {
            (ready_addresses(&cluster) == BTreeSet::from(addresses.clone())).then_some(())
        });
    });
}

#[test]
fn an_account_may_what_its_role_says_and_nothing_else() {
    inside(|| {
        let cluster = Cluster::start(vec![]);
        cluster.create_namespace(NAMESPACE);
        let rules = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"] }]);
        let object = |kind: &str, more: Value| {
            let version = if kind == "ServiceAccount" {
                "v1"
            } else {
                "rbac.authorization.k8s.io/v1"
            };
            let mut object = json!({
                "apiVersion": version, "kind": kind, "metadata": { "name": "reader", "namespace": NAMESPACE },
            });
            for (key, value) in more.as_object().unwrap() {
                object[key] = value.clone();
            }
            object
        };
        let manifests = [
            object("ServiceAccount", json!({})),
            object("Role", json!({ "rules": rules })),
            object(
                "RoleBinding",
                json!({
                    "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
                    "subjects": [{ "kind": "ServiceAccount", "name": "reader" }],
                }),
            ),
        ];
        cluster.apply_all(&manifests);
        let reader = cluster.account(NAMESPACE, "reader");
        let of = |namespace: &str, kind: &str| {
            reader
                .get(&format!("/api/v1/namespaces/{namespace}/{kind}"))
                .code
        };
        wait_until("the role to be known", || {
            (of(NAMESPACE, "configmaps") == 200).then_some(())
        });
        assert_eq!(of(NAMESPACE, "secrets"), 403);
        assert_eq!(of("default", "configmaps"), 403);
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        let object =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
        assert_eq!(reader.create(&path, Sent::Json(&object)).code, 403);
    });
}

#[test]
fn what_was_stored_and_what_runs_outlives_a_restart_of_the_control_plane() {
    inside(|| {
        let session = session();
        let cluster = with_engines(1, &session);
        let before = pod(&cluster, 0);
        let counterparty =
            Peer::counterparty("broker", before.at(PORT), std::slice::from_ref(&session));
        counterparty.wait_logon(&session.at_counterparty());
        for part in [Part::Controllers, Part::ApiServer, Part::Etcd] {
            cluster.end(part);
        }
        let path = format!("/api/v1/namespaces/{NAMESPACE}");
        assert!(cluster.api().try_ask("GET", &path, None, "*/*").is_none());
        for part in [Part::Etcd, Part::ApiServer, Part::Controllers] {
            cluster.begin(part);
        }
        let scale = ["scale", "-n", NAMESPACE, "--replicas=2"];
        let workload = format!("statefulset/{ENGINE}");
        let _ = cluster
            .kubectl(&[&scale[..], &[&workload]].concat())
            .succeeded();
        cluster.wait_rolled_out(NAMESPACE, &workload);
        assert_eq!(ready_addresses(&cluster).len(), 2);
        // The pod from before is the one that it was, and its session knows nothing of it all.
        assert_eq!(pod(&cluster, 0).uid, before.uid);
        let sent = counterparty.send(&session.at_counterparty(), 1);
        before.engine().wait_received(&session.at_engine(), sent);
        assert_eq!(counterparty.logons(&session.at_counterparty()), 1);
    });
}
