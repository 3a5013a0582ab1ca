//! Does a replica find the others on a real API server, and say what it lacks to find them?

use std::sync::Arc;

use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use fixgw_operator::kubernetes::peers::{Watched, follow};
use fixgw_operator::message::Message;
use fixgw_operator::receive::peers::Peers;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::{run, shown};

/// Who has the rights that the test gives him, and no other.
const OPERATOR: &str = "operator";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";

async fn operator(server: &ApiServer) -> kube::Client {
    let mut config = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let auth = config.auth_infos[0].auth_info.as_mut().unwrap();
    auth.impersonate = Some(OPERATOR.to_owned());
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(config, &options);
    kube::Client::try_from(config.await.unwrap()).unwrap()
}

fn create(server: &ApiServer, path: &str, object: &Value) {
    let said = server.create(path, Sent::Json(object));
    assert_eq!(said.code, 201, "{}", said.message());
}

/// A role of what the operator may do with EndpointSlices.
fn role(verbs: &[&str]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": OPERATOR },
        "rules": [{ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs }],
    })
}

#[test]
fn what_the_watch_of_the_other_replicas_lacks_is_told_until_it_is_granted() {
    let server = ApiServer::start();
    run(async {
        let watched = Watched {
            namespace: "default".to_owned(),
            service: "fix-gateway-operator".to_owned(),
            us: None,
            port: 18_000,
        };
        let client = operator(&server).await;
        let mut others = follow(client, watched, Arc::new(Peers::default()));
        let says = |words: &'static str| {
            move |all: &Vec<Message>| all.len() == 1 && all[0].to_string().contains(words)
        };
        let refused = says("cannot list resource \"endpointslices\"");
        let told = shown("a refusal", &mut others.troubles, refused).await;
        let told = told[0].to_string();
        for words in [
            "ERROR: the other replicas, by the watch of EndpointSlices in namespace default: the API server refuses it",
            "what gateways report reaches only the replicas that were known",
            "grant the operator's service account `list` and `watch` on `endpointslices`",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }

        create(&server, ROLES, &role(&["list", "watch"]));
        let subject =
            json!({ "kind": "User", "name": OPERATOR, "apiGroup": "rbac.authorization.k8s.io" });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": OPERATOR },
            "subjects": [subject],
            "roleRef": { "kind": "Role", "name": OPERATOR, "apiGroup": "rbac.authorization.k8s.io" },
        });
        create(&server, BINDINGS, &binding);
        // Nothing has changed by which it could be noticed.
        shown("an end of it", &mut others.troubles, Vec::is_empty).await;
        assert!(!others.task.is_finished());
    });
}
