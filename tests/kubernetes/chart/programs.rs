//! Do the programs take what the chart writes for them: the gateway its file, each of them its arguments and variables?

use std::process::{Command, Output};

use fixgw_e2e::tool;
use serde_json::Value;

use super::{Object, cases, render};

fn strings(value: &Value) -> Vec<&str> {
    let values = value.as_array().into_iter().flatten();
    values.map(|value| value.as_str().unwrap()).collect()
}

fn container(object: &Object) -> Option<&Value> {
    let container = object.value.pointer("/spec/template/spec/containers/0")?;
    Some(container)
}

/// The program of a container, as its image starts it, with the variables that the chart gives it.
fn program(container: &Value) -> Command {
    let name = match container["name"].as_str().unwrap() {
        "reject-engine" => "fixgw-reject-engine",
        _ => "fixgw",
    };
    let mut command = Command::new(tool::program(name));
    command.env_clear();
    for variable in container["env"].as_array().into_iter().flatten() {
        let value = match variable.pointer("/valueFrom/fieldRef/fieldPath") {
            None => "a",
            Some(path) => match path.as_str().unwrap() {
                "metadata.name" => "fix-gateway-operator-0",
                "metadata.namespace" => "fix",
                "status.podIP" => "10.1.0.7",
                path => panic!("{path}"),
            },
        };
        command.env(variable["name"].as_str().unwrap(), value);
    }
    command
}

fn said(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn the_gateway_takes_the_file_that_is_rendered() {
    let directory = tempfile::TempDir::with_prefix("fixgw-e2e-").unwrap();
    let file = directory.path().join("gateway.yaml");
    for (name, values) in cases() {
        let objects = render(&values);
        let config = objects
            .iter()
            .find(|object| object.kind() == "ConfigMap")
            .unwrap();
        let text = config.value["data"]["gateway.yaml"].as_str().unwrap();
        std::fs::write(&file, text).unwrap();
        let output = Command::new(tool::program("fixgw"))
            .args(["gateway", "--print", "--node-id", "a", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", said(&output));
        // Every port of the pod is one that Envoy listens on, and the other way round.
        let bootstrap: Value = serde_json::from_slice(&output.stdout).unwrap();
        let bound = bootstrap["static_resources"]["listeners"]
            .as_array()
            .unwrap();
        let bound = bound
            .iter()
            .filter(|listener| listener["bind_to_port"] != false);
        let mut bound: Vec<&Value> = bound
            .map(|listener| &listener["address"]["socket_address"]["port_value"])
            .collect();
        let pod = objects
            .iter()
            .filter_map(container)
            .find(|container| container["name"] == "gateway");
        let ports = pod.unwrap()["ports"].as_array().unwrap();
        let mut ports: Vec<&Value> = ports.iter().map(|port| &port["containerPort"]).collect();
        bound.sort_by_key(|port| port.as_u64());
        ports.sort_by_key(|port| port.as_u64());
        assert_eq!(bound, ports, "{name}");
    }
}

/// Clap answers `--help` where it stands: what comes before it has been understood by then.
#[test]
fn every_program_takes_its_arguments() {
    let mut asked = 0;
    for (name, values) in cases() {
        for container in render(&values).iter().filter_map(container) {
            let hook = strings(&container["lifecycle"]["preStop"]["exec"]["command"]);
            for args in [strings(&container["args"]), hook] {
                // The hook names the program by its path in the image.
                let args = args.iter().filter(|arg| **arg != "/usr/local/bin/fixgw");
                let args: Vec<_> = args.collect();
                if args.is_empty() {
                    continue;
                }
                let output = program(container).args(&args).arg("--help").output();
                let output = output.unwrap();
                assert!(
                    output.status.success(),
                    "{name}: {args:?}: {}",
                    said(&output)
                );
                asked += 1;
                // And it looks at each variable of the chart's own.
                for variable in container["env"].as_array().into_iter().flatten() {
                    let variable_name = variable["name"].as_str().unwrap();
                    let own = variable.pointer("/valueFrom/fieldRef").is_some();
                    let looks = said(&output).contains(&format!("[env: {variable_name}="));
                    assert!(
                        !own || looks || args[0] == &"drain",
                        "{name}: {variable_name}"
                    );
                }
            }
        }
    }
    assert!(asked > 20, "{asked}");
}
