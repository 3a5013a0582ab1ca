//! Is what the chart makes of each file of values what was reviewed?

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::json;

use super::{Object, cases, chart, directory, helm, render, template};

#[test]
fn every_set_of_values_gives_what_was_reviewed() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for (name, values) in cases() {
        let file = directory("rendered").join(format!("{name}.yaml"));
        let objects = render(&values);
        let mut text = String::new();
        for object in objects.iter().filter(|object| !object.is_definition()) {
            let _ = write!(text, "---\n{}", object.text);
        }
        known.insert(file.clone());
        if update {
            std::fs::write(&file, &text).unwrap();
            continue;
        }
        let reviewed = std::fs::read_to_string(&file).unwrap_or_default();
        let differs = reviewed
            .lines()
            .zip(text.lines())
            .position(|(was, is)| was != is);
        if reviewed != text {
            let at = differs.unwrap_or(reviewed.lines().count().min(text.lines().count()));
            wrong.push(format!(
                "{}:{}: {:?}",
                file.display(),
                at + 1,
                text.lines().nth(at)
            ));
        }
    }
    for file in std::fs::read_dir(directory("rendered")).unwrap() {
        let file = file.unwrap().path();
        if known.contains(&file) {
            continue;
        }
        if update {
            std::fs::remove_file(&file).unwrap();
        } else {
            wrong.push(format!("{}: there are no values for it", file.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "look at the difference, then UPDATE=1:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_definition_is_the_generated_one_and_stays_when_the_release_goes() {
    let (_, values) = &cases()[0];
    let objects = render(values);
    let definition = objects
        .iter()
        .find(|object| object.is_definition())
        .unwrap();
    let mut value = definition.value.clone();
    let annotations = value["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    assert_eq!(annotations.unwrap()["helm.sh/resource-policy"], "keep");
    let generated: serde_json::Value =
        serde_saphyr::from_str(&crate::read("crds/fixsession-crd.yaml")).unwrap();
    assert!(value == generated, "Helm has made something else of it");
}

#[test]
fn the_chart_is_of_the_programs_version() {
    let chart: serde_json::Value =
        serde_saphyr::from_str(&crate::read("helm/fix-gateway/Chart.yaml")).unwrap();
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], env!("CARGO_PKG_VERSION"), "{key}");
    }
}

/// What an upgrade to a version without a change of the gateway would replace pods for.
#[test]
fn pods_do_not_change_with_the_charts_version_alone() {
    let (_, values) = &cases()[0];
    for object in render(values) {
        let Some(pod) = object.value.pointer("/spec/template/metadata") else {
            continue;
        };
        let text = pod.to_string();
        for label in ["helm.sh/chart", "app.kubernetes.io/version"] {
            assert!(!text.contains(label), "{}: {label}", object.name());
        }
    }
}

/// Where ports of the nodes are taken, a new pod has no room beside the old one: it would wait for ever.
#[test]
fn pods_that_take_ports_of_their_nodes_are_replaced_in_place() {
    for mode in ["deployment", "daemonset"] {
        for (ports, wanted) in [
            ("hostPorts=true", (0, 1)),
            ("hostNetwork=true", (0, 1)),
            ("hostPorts=false", (1, 0)),
        ] {
            let (mode, ports) = (format!("gateway.mode={mode}"), format!("gateway.{ports}"));
            let output = template(None, &["--set", &mode, "--set", &ports]);
            let objects = Object::read_all(&String::from_utf8(output.stdout).unwrap());
            let is_workload = |object: &&Object| {
                ["Deployment", "DaemonSet"].contains(&object.kind())
                    && object.name() == "fix-gateway-gateway"
            };
            let workload = objects.iter().find(is_workload).unwrap();
            let strategies = ["/spec/strategy", "/spec/updateStrategy"];
            let strategy = strategies
                .iter()
                .find_map(|path| workload.value.pointer(path));
            let rolling = &strategy.unwrap()["rollingUpdate"];
            let wanted = json!({ "maxSurge": wanted.0, "maxUnavailable": wanted.1 });
            assert_eq!(*rolling, wanted, "{mode} {ports}");
        }
    }
}

#[test]
fn helm_lint_finds_nothing() {
    for (name, values) in cases() {
        let (mut command, _own) = helm();
        let output = command
            .args(["lint", "--strict"])
            .arg(chart())
            .arg("--values")
            .arg(&values)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{name}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let found: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with('[') && !line.contains("icon is recommended"))
            .collect();
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}
