//! Is the file in the repository what the types say, and what Kubernetes takes for a `CustomResourceDefinition`?
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::*;
use crate::api::{API_VERSION, duration_ms};

/// `UPDATE=1` writes them: `make generate`.
#[test]
fn the_files_are_what_the_types_say() {
    for (name, wanted) in files() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, wanted).unwrap();
            continue;
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        // Told by its first line, for the whole fills screens.
        let differs = found
            .lines()
            .zip(wanted.lines())
            .position(|(found, wanted)| found != wanted);
        let line = differs.map_or_else(|| "its end".to_owned(), |at| format!("line {}", at + 1));
        assert!(
            found == wanted,
            "{name} is stale from {line} on: `make generate` writes it"
        );
    }
}

#[test]
fn helm_is_told_what_is_not_its_own() {
    let template = chart_yaml("\nmetadata:\n  name: a\nrule: '{{x}} in {y}'\n");
    assert_eq!(
        template,
        "{{- if .Values.crds.enabled }}\n\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n  name: a\n\
         rule: '{{ \"{{\" }}x}} in {y}'\n{{- end }}\n"
    );
}

#[test]
fn it_is_a_definition_as_kubernetes_types_have_it() {
    let read: Value = serde_saphyr::from_str(&yaml()).unwrap();
    assert!(read == definition(), "YAML says something else");
    // What the types do not know is gone after a turn through them.
    let typed: CustomResourceDefinition = serde_json::from_value(read.clone()).unwrap();
    let turned = serde_json::to_value(&typed).unwrap();
    assert!(floats(turned) == floats(read), "the types lose something");
    let version = &typed.spec.versions[0].name;
    assert_eq!(format!("{}/{version}", typed.spec.group), API_VERSION);
}

/// Kubernetes' types have bounds as floating-point numbers.
fn floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(values) => values.into_iter().map(floats).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, floats(value)))
            .collect(),
        other => other,
    }
}

/// Every schema of the definition, with its path.
fn walk(path: &str, schema: &Value, see: &mut impl FnMut(&str, &Value)) {
    see(path, schema);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, below) in properties {
            walk(&format!("{path}.{name}"), below, see);
        }
    }
    for (key, step) in [("items", "[]"), ("additionalProperties", "*")] {
        if let Some(below) = schema.get(key) {
            walk(&format!("{path}.{step}"), below, see);
        }
    }
}

#[test]
fn everything_that_can_be_written_is_explained() {
    walk("", &schema(), &mut |path, schema| {
        let last = path.rsplit('.').next().unwrap();
        let text = schema["description"].as_str().unwrap_or_default();
        let is_sentence =
            text.ends_with('.') && text.starts_with(|c: char| c.is_uppercase() || c == '`');
        assert!(last == "[]" || is_sentence, "{path}: {text:?}");
        assert!(!text.contains("[`"), "{path} has a link of Rust's: {text}");
    });
}

/// An API server would write a default into the objects, where it stays when the gateway's changes.
#[test]
fn no_default_is_written_into_objects() {
    walk("", &schema(), &mut |path, schema| {
        assert_eq!(schema.get("default"), None, "{path}");
    });
}

#[test]
fn bounds_are_those_of_the_gateway_and_the_descriptions_name_them() {
    let mut schema = schema();
    for (path, bound, wanted) in [
        (
            "spec.matchFields",
            "maxProperties",
            limits::ROUTE_FIELDS_MAX,
        ),
        (
            "spec.matchFields.*.value",
            "maxLength",
            limits::RULE_VALUE_BYTES_MAX,
        ),
        ("spec.sourceRanges", "maxItems", limits::ROUTE_RANGES_MAX),
        ("spec.target.service.port", "maximum", u16::MAX.into()),
        (
            "spec.maxHeldConnections",
            "maximum",
            HELD_CONNECTIONS_MAX as usize,
        ),
    ] {
        let schema = at(&mut schema, path);
        assert_eq!(schema[bound], wanted, "{path}");
        let text = schema["description"].as_str().unwrap();
        assert!(
            text.contains(&wanted.to_string()),
            "{path} does not say {wanted}: {text}"
        );
    }
    let pattern = at(&mut schema, "spec.matchFields.*.pattern");
    assert_eq!(
        pattern["maxLength"],
        limits::RULE_VALUE_BYTES_MAX + "*".len()
    );
    assert_eq!(
        at(&mut schema, "spec.target.service.name")["maxLength"],
        LABEL_BYTES_MAX
    );
    let keys = at(&mut schema, "spec.matchFields")["x-kubernetes-validations"][0]["rule"].clone();
    let keys = keys.as_str().unwrap();
    let (bytes, digits) = (limits::FIELD_KEY_BYTES_MAX, limits::TAG_DIGITS_MAX);
    assert!(keys.contains(&format!("size(k) <= {bytes} ")), "{keys}");
    assert!(
        keys.contains(&format!("[1-9][0-9]{{0,{}}}$", digits - 1)),
        "{keys}"
    );
    assert_eq!(
        duration_ms("1h"),
        Ok(HOLD_TIMEOUT_MS_MAX),
        "the description says 1h"
    );
    assert_eq!(duration_ms("59m59s999ms"), Ok(HOLD_TIMEOUT_MS_MAX - 1));
}

/// What a route may not match is listed in a rule: all of it, as far as the specification's tags go.
#[test]
fn no_tag_with_secrets_is_beyond_the_last_that_is_looked_at() {
    let beyond = (SECRET_TAG_MAX + 1)..=(10 * SECRET_TAG_MAX);
    let found = beyond
        .filter_map(Tag::new)
        .find(|tag| always_redacted(*tag));
    assert_eq!(found.map(Tag::get), None);
}
