//! Is the definition established, does every example apply, and does kubectl have something to show?

use fixgw_e2e::api::Sent;
use fixgw_e2e::process::wait_until;
use fixgw_e2e::tool;
use serde_json::{Value, json};

use crate::{DEFINITIONS, GROUP, sessions, with_definition};

#[test]
fn the_definition_is_established_and_every_example_applies() {
    let (server, said) = with_definition();
    assert_eq!(said.warnings, Vec::<String>::new());
    let name = said.body["metadata"]["name"].as_str().unwrap();
    let definition = server.get(&format!("{DEFINITIONS}/{name}"));
    let conditions = definition.body["status"]["conditions"].as_array().unwrap();
    let mut conditions: Vec<_> = conditions
        .iter()
        .map(|condition| {
            (
                condition["type"].as_str().unwrap(),
                condition["status"].as_str().unwrap(),
            )
        })
        .collect();
    conditions.sort_unstable();
    // What Kubernetes holds against a schema would stand here, too.
    assert_eq!(
        conditions,
        [("Established", "True"), ("NamesAccepted", "True")]
    );

    let mut applied = 0;
    let examples = std::fs::read_dir(tool::repository().join("crds/examples")).unwrap();
    for file in examples.map(|file| file.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        for document in text.split("\n---\n") {
            let said = server.create(&sessions(), Sent::Yaml(document));
            assert_eq!(said.code, 201, "{}: {}", file.display(), said.message());
            assert_eq!(said.warnings, Vec::<String>::new(), "{}", file.display());
            applied += 1;
        }
    }
    let listed = server.get(&sessions());
    assert_eq!(listed.body["kind"], "FIXSessionList");
    assert_eq!(listed.body["items"].as_array().unwrap().len(), applied);
    assert!(applied >= 6, "{applied} objects");
}

#[test]
fn kubectl_finds_it_by_its_short_name_and_shows_its_status() {
    let (server, _) = with_definition();
    let discovered = server.get(GROUP);
    let resources = discovered.body["resources"].as_array().unwrap();
    let of = |name: &str| resources.iter().find(|resource| resource["name"] == name);
    let resource = of("fixsessions").unwrap();
    assert_eq!(resource["shortNames"], json!(["fixs"]));
    assert_eq!(resource["categories"], json!(["fix"]));
    assert_eq!(resource["singularName"], "fixsession");
    assert!(of("fixsessions/status").is_some(), "{resources:?}");

    let mut session = json!({
        "apiVersion": "fixgateway.io/v1alpha1",
        "kind": "FIXSession",
        "metadata": { "name": "algo" },
        "spec": {
            "matchFields": { "SenderCompID49": { "value": "BROKER_A" } },
            "target": { "service": { "name": "algo-engine", "port": 9876 } },
        },
    });
    let made = server.create(&sessions(), Sent::Json(&session));
    assert_eq!(made.code, 201, "{}", made.message());
    // The gateway's own, so that people's changes leave it alone.
    let condition = |of: &str, status: &str| {
        json!({
            "type": of, "status": status, "reason": "Because", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-11-27T06:31:02Z",
        })
    };
    session["metadata"] = made.body["metadata"].clone();
    session["status"] = json!({
        "observedGeneration": 1,
        "conditions": [condition("Accepted", "True"), condition("Programmed", "False")],
        "match": "SenderCompID49=BROKER_A",
        "target": "algo-engine:9876",
        "endpointsReady": 2,
        "connections": { "active": 9, "onOldTarget": 1, "held": 3, "connecting": 4, "orphaned": 5 },
        "revision": 1_795_766_412_345_u64,
        "lastConnection": "2026-11-27T06:31:02Z",
    });
    let path = format!("{}/algo", sessions());
    let replaced = server.replace(&format!("{path}/status"), &session);
    assert_eq!(replaced.code, 200, "{}", replaced.message());
    assert_eq!(
        replaced.body["status"], session["status"],
        "the schema drops nothing of it"
    );

    let shown = server.get_table(&sessions());
    let columns = shown.body["columnDefinitions"].as_array().unwrap();
    let cells = shown.body["rows"][0]["cells"].as_array().unwrap();
    let in_form = |wide: bool| -> Vec<(&str, &Value)> {
        let columns = columns.iter().zip(cells);
        columns
            .filter(|(column, _)| wide || column["priority"] == 0)
            .map(|(column, cell)| (column["name"].as_str().unwrap(), cell))
            .collect()
    };
    let names = |wide| {
        in_form(wide)
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(false),
        [
            "Name",
            "Match",
            "Target",
            "Accepted",
            "Programmed",
            "Endpoints",
            "Active",
            "Age"
        ]
    );
    let wide = in_form(true);
    for (name, wanted) in [
        ("Match", json!("SenderCompID49=BROKER_A")),
        ("Target", json!("algo-engine:9876")),
        ("Accepted", json!("True")),
        ("Programmed", json!("False")),
        ("Endpoints", json!(2)),
        ("Active", json!(9)),
        ("Held", json!(3)),
        ("Orphaned", json!(5)),
        ("Revision", json!(1_795_766_412_345_u64)),
    ] {
        let found = wide.iter().find(|(column, _)| *column == name);
        assert_eq!(found.map(|(_, cell)| *cell), Some(&wanted), "{name}");
    }
    // An age, by now.
    let last = wide.iter().find(|(column, _)| *column == "Last Connection");
    assert!(last.unwrap().1.is_string(), "{wide:?}");

    // And it is nobody else's: the object's own path leaves it as it is.
    let mut stripped = replaced.body.clone();
    stripped["status"] = json!({});
    assert_eq!(
        server.replace(&path, &stripped).body["status"],
        session["status"]
    );
}

#[test]
fn kubectl_explain_has_a_sentence_for_every_field() {
    let (server, said) = with_definition();
    let written = &said.body["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let published = wait_until("the description of FIXSessions to be published", || {
        let document = server.get("/openapi/v3/apis/fixgateway.io/v1alpha1");
        let schema = &document.body["components"]["schemas"]["io.fixgateway.v1alpha1.FIXSession"];
        schema.is_object().then(|| schema.clone())
    });
    assert_eq!(published["description"], written["description"]);
    for part in ["spec", "status"] {
        let (published, written) = (&published["properties"][part], &written["properties"][part]);
        assert_eq!(published["description"], written["description"]);
        for (name, schema) in written["properties"].as_object().unwrap() {
            let description = &published["properties"][name]["description"];
            assert_eq!(*description, schema["description"], "{part}.{name}");
            assert!(description.is_string(), "{part}.{name}");
        }
    }
}
