//! Are the objects that the chart makes such as Kubernetes takes? Asked of kubeconform, with the schemas that an API server
//! publishes, and of the API server itself, without keeping anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::process::wait_until;
use fixgw_e2e::tool;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{NAMESPACES, Object, cases, directory, render};
use crate::{DEFINITIONS, read};

/// An API server with the namespaces that the values speak of, and what the chart has of others' definitions.
fn server() -> ApiServer {
    let server = ApiServer::start();
    for name in NAMESPACES {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let made = server.create("/api/v1/namespaces", Sent::Json(&namespace));
        assert_eq!(made.code, 201, "{}", made.message());
    }
    let definition = std::fs::read_to_string(directory("certificate-crd.yaml")).unwrap();
    for definition in [definition, read("crds/fixsession-crd.yaml")] {
        let made = server.create(DEFINITIONS, Sent::Yaml(&definition));
        assert_eq!(made.code, 201, "{}", made.message());
    }
    wait_until("certificates to be served", || {
        let path = "/openapi/v3/apis/cert-manager.io/v1";
        (server.get(path).code == 200).then_some(())
    });
    server
}

#[test]
fn an_api_server_takes_every_object() {
    let server = server();
    let mut wrong = Vec::new();
    for (name, values) in cases() {
        for object in render(&values) {
            // It is there already, and only one can be.
            if object.is_definition() {
                continue;
            }
            let path = format!("{}?dryRun=All&fieldValidation=Strict", object.collection());
            let said = server.ask(
                "POST",
                &path,
                Some(Sent::Yaml(&object.text)),
                "application/json",
            );
            let what = format!("{name}: {} {}", object.kind(), object.name());
            if said.code != 201 {
                wrong.push(format!("{what}: {} {}", said.code, said.message()));
            }
            wrong.extend(
                said.warnings
                    .iter()
                    .map(|warning| format!("{what}: {warning}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn kubeconform_finds_nothing() {
    let server = server();
    let schemas = TempDir::with_prefix("fixgw-e2e-").unwrap();
    let mut published = BTreeMap::new();
    for (name, values) in cases() {
        let objects = render(&values);
        for object in &objects {
            write_schema(&server, &mut published, object, schemas.path());
        }
        let file = schemas.path().join("objects.yaml");
        let texts: Vec<&str> = objects.iter().map(|object| object.text.as_str()).collect();
        std::fs::write(&file, texts.join("---\n")).unwrap();
        let (found, said) = kubeconform(schemas.path(), &file);
        assert!(found, "{name}: {said}");
        let summary = format!("{} resources found", objects.len());
        assert!(
            said.contains(&summary) && said.contains("Skipped: 0"),
            "{name}: {said}"
        );
    }
}

/// That the schemas are such as can find something.
#[test]
fn kubeconform_finds_what_is_not_known() {
    let server = server();
    let schemas = TempDir::with_prefix("fixgw-e2e-").unwrap();
    let objects = render(&directory("values/defaults.yaml"));
    let gateway = objects
        .iter()
        .find(|object| object.is("Deployment", "fix-gateway-gateway"))
        .unwrap();
    write_schema(&server, &mut BTreeMap::new(), gateway, schemas.path());
    let file = schemas.path().join("objects.yaml");
    for (from, to, words) in [
        (
            "terminationGracePeriodSeconds: 330",
            "terminationGracePeriod: 330",
            "terminationGracePeriod",
        ),
        ("containerPort: 9876", "containerPort: fix", "containerPort"),
    ] {
        assert!(gateway.text.contains(from));
        std::fs::write(&file, gateway.text.replace(from, to)).unwrap();
        let (fine, said) = kubeconform(schemas.path(), &file);
        assert!(!fine && said.contains(words), "{said}");
    }
}

fn kubeconform(schemas: &Path, file: &Path) -> (bool, String) {
    let output = Command::new(tool::kubeconform())
        .args(["-strict", "-summary", "-schema-location"])
        .arg(schemas.join("{{.ResourceKind}}{{.KindSuffix}}.json"))
        .arg(file)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// Writes the schema of an object's kind where kubeconform looks for it: what the API server publishes, closed to fields that it does
/// not know.
fn write_schema(
    server: &ApiServer,
    published: &mut BTreeMap<String, Value>,
    object: &Object,
    into: &Path,
) {
    let version = object.text_of("/apiVersion");
    let (path, suffix) = match version.split_once('/') {
        Some((group, number)) => {
            let group = group.split('.').next().unwrap();
            (
                format!("/openapi/v3/apis/{version}"),
                format!("{group}-{number}"),
            )
        }
        None => (format!("/openapi/v3/api/{version}"), version.to_owned()),
    };
    let document = published.entry(path.clone()).or_insert_with(|| {
        let mut document = server.get(&path).body;
        close(&mut document["components"]["schemas"]);
        document
    });
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let is_of_kind = |schema: &Value| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds
            .into_iter()
            .flatten()
            .any(|kind| kind["kind"] == object.kind())
    };
    let (name, _) = schemas
        .iter()
        .find(|(_, schema)| is_of_kind(schema))
        .unwrap_or_else(|| panic!("{path} has no {}", object.kind()));
    let schema = json!({ "$ref": format!("#/components/schemas/{name}"), "components": { "schemas": schemas } });
    let file = format!("{}-{suffix}.json", object.kind().to_lowercase());
    std::fs::write(into.join(file), schema.to_string()).unwrap();
}

/// Closes every object whose fields are known.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let open = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
            if map.get("properties").is_some_and(Value::is_object)
                && !map.contains_key("additionalProperties")
                && !open
            {
                map.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            Map::values_mut(map).for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
