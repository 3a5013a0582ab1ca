//! May each service account do what it must, and nothing else? Asked of the API server, with the chart's own Roles in it.

use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use serde_json::json;

use super::{NAMESPACES, OWN_NAMESPACE, directory, render};

/// Whether somebody may do something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Yes,
    No,
}
use Answer::{No, Yes};

/// `VERB GROUP/RESOURCE[/SUBRESOURCE] [NAME]` in a namespace; the core group is empty.
struct Question(&'static str, &'static str, Answer);

/// An API server with the Roles and bindings that the chart makes of a file of values.
fn server(values: &str) -> ApiServer {
    let server = ApiServer::start();
    for name in NAMESPACES {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        assert_eq!(
            server
                .create("/api/v1/namespaces", Sent::Json(&namespace))
                .code,
            201
        );
    }
    let mut made = 0;
    for object in render(&directory("values").join(values)) {
        if object.text_of("/apiVersion").starts_with("rbac.") || object.kind() == "ServiceAccount" {
            let said = server.create(&object.collection(), Sent::Yaml(&object.text));
            assert_eq!(said.code, 201, "{}", said.message());
            made += 1;
        }
    }
    assert!(made > 3, "{made}");
    server
}

fn ask(server: &ApiServer, account: &str, wanted: &[Question]) {
    let mut wrong = Vec::new();
    for Question(namespace, what, answer) in wanted {
        let mut words = what.split(' ');
        let (verb, resource, name) = (
            words.next().unwrap(),
            words.next().unwrap(),
            words.next().unwrap_or_default(),
        );
        let mut parts = resource.splitn(3, '/');
        let (group, resource, part) = (
            parts.next().unwrap(),
            parts.next().unwrap(),
            parts.next().unwrap_or_default(),
        );
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{OWN_NAMESPACE}:{account}"),
                "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{OWN_NAMESPACE}"), "system:authenticated"],
                "resourceAttributes": {
                    "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": part, "name": name,
                },
            },
        });
        let said = server.create(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            Sent::Json(&review),
        );
        assert_eq!(said.code, 201, "{}", said.message());
        let allowed = if said.body["status"]["allowed"] == true {
            Yes
        } else {
            No
        };
        if allowed != *answer {
            wrong.push(format!(
                "{account} in `{namespace}`: {what}: {allowed:?}, wanted {answer:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What nobody of the chart may do, wherever it is installed.
const NEVER: &[Question] = &[
    Question("fix", "get /secrets", No),
    Question("trading", "get /secrets", No),
    Question("trading", "get /configmaps", No),
    Question("trading", "update fixgateway.io/fixsessions", No),
    Question("trading", "create fixgateway.io/fixsessions", No),
    Question("trading", "delete fixgateway.io/fixsessions", No),
    Question("trading", "patch fixgateway.io/fixsessions", No),
    Question("trading", "update /services", No),
    Question("trading", "create discovery.k8s.io/endpointslices", No),
    Question("fix", "create /pods", No),
    Question("fix", "create /pods/exec", No),
    Question("fix", "get /pods", No),
    Question("fix", "create rbac.authorization.k8s.io/rolebindings", No),
    Question(
        "",
        "update apiextensions.k8s.io/customresourcedefinitions",
        No,
    ),
    Question("", "list /nodes", No),
    Question("", "list /namespaces", No),
];

#[test]
fn the_operator_of_all_namespaces_may_what_it_must() {
    let server = server("defaults.yaml");
    ask(&server, "fix-gateway-operator", NEVER);
    ask(
        &server,
        "fix-gateway-operator",
        &[
            // Cluster-wide, as its watches ask.
            Question("", "list fixgateway.io/fixsessions", Yes),
            Question("", "watch fixgateway.io/fixsessions", Yes),
            Question("", "list /services", Yes),
            Question("", "watch /services", Yes),
            Question("", "list discovery.k8s.io/endpointslices", Yes),
            Question("", "watch discovery.k8s.io/endpointslices", Yes),
            Question("trading", "patch fixgateway.io/fixsessions/status a", Yes),
            Question("trading", "create events.k8s.io/events", Yes),
            Question("trading", "patch events.k8s.io/events a", Yes),
            Question("fix", "create /configmaps", Yes),
            Question("fix", "update /configmaps fix-gateway-table", Yes),
            Question("fix", "patch /configmaps fix-gateway-table", Yes),
            Question("fix", "list /configmaps", Yes),
            Question("fix", "watch /configmaps", Yes),
            Question("fix", "delete /configmaps fix-gateway-table-0123", Yes),
            Question("fix", "create coordination.k8s.io/leases", Yes),
            Question(
                "fix",
                "watch coordination.k8s.io/leases fix-gateway-operator",
                Yes,
            ),
            Question(
                "fix",
                "get coordination.k8s.io/leases fix-gateway-operator",
                Yes,
            ),
            Question(
                "fix",
                "update coordination.k8s.io/leases fix-gateway-operator",
                Yes,
            ),
            Question(
                "fix",
                "patch coordination.k8s.io/leases fix-gateway-operator",
                Yes,
            ),
            Question("fix", "update coordination.k8s.io/leases another", No),
            Question("trading", "create coordination.k8s.io/leases", No),
        ],
    );
    for account in ["fix-gateway-gateway", "fix-gateway-reject-engine"] {
        ask(&server, account, NEVER);
        ask(
            &server,
            account,
            &[
                Question("trading", "get fixgateway.io/fixsessions", No),
                Question("fix", "get /configmaps fix-gateway-table", No),
                Question("fix", "create /events", No),
            ],
        );
    }
}

#[test]
fn the_operator_of_some_namespaces_may_nothing_in_others() {
    let server = server("watch-namespaces.yaml");
    ask(&server, "fix-gateway-operator", NEVER);
    ask(
        &server,
        "fix-gateway-operator",
        &[
            Question("", "list fixgateway.io/fixsessions", No),
            Question("", "list /services", No),
            Question("trading", "list fixgateway.io/fixsessions", Yes),
            Question("rates", "watch fixgateway.io/fixsessions", Yes),
            Question("rates", "list /services", Yes),
            Question("rates", "list discovery.k8s.io/endpointslices", Yes),
            Question("rates", "patch fixgateway.io/fixsessions/status a", Yes),
            Question("rates", "create events.k8s.io/events", Yes),
            Question("leases", "list fixgateway.io/fixsessions", No),
            Question("fix", "list fixgateway.io/fixsessions", No),
            // The other replicas.
            Question("fix", "list discovery.k8s.io/endpointslices", Yes),
            Question("fix", "watch discovery.k8s.io/endpointslices", Yes),
            Question("fix", "list /services", No),
            Question("leases", "list discovery.k8s.io/endpointslices", No),
            Question("fix", "update /configmaps fix-gateway-table", Yes),
            Question("leases", "create coordination.k8s.io/leases", Yes),
            Question(
                "leases",
                "update coordination.k8s.io/leases fix-fix-gateway-operator",
                Yes,
            ),
            Question(
                "leases",
                "update coordination.k8s.io/leases fix-gateway-operator",
                No,
            ),
            Question("fix", "create coordination.k8s.io/leases", No),
        ],
    );
}
