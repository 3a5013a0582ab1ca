//! Does a release live through install, upgrade and uninstall on a real API server, and what stays of it?

use std::path::Path;
use std::process::Output;

use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::fixture::NAMESPACE;
use fixgw_e2e::process::wait_until;
use serde_json::json;
use tempfile::TempDir;

use super::{OWN_NAMESPACE, RELEASE, chart, helm};
use crate::{DEFINITIONS, sessions};

const DEFINITION: &str = "fixsessions.fixgateway.io";

fn run(server: &ApiServer, args: &[&str]) -> Output {
    let (mut command, _own) = helm();
    command.env("KUBECONFIG", server.kubeconfig());
    command.args(["--namespace", OWN_NAMESPACE]).args(args);
    command.output().unwrap()
}

fn succeed(server: &ApiServer, args: &[&str]) -> String {
    let output = run(server, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let copied = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            std::fs::create_dir(&copied).unwrap();
            copy(&entry, &copied);
        } else {
            std::fs::copy(&entry, &copied).unwrap();
        }
    }
}

fn deployment(server: &ApiServer, name: &str) -> serde_json::Value {
    let path = format!("/apis/apps/v1/namespaces/{OWN_NAMESPACE}/deployments/{RELEASE}-{name}");
    let found = server.get(&path);
    assert_eq!(found.code, 200, "{}", found.message());
    found.body
}

#[test]
fn a_release_goes_and_its_definition_stays_with_every_route() {
    let server = ApiServer::start();
    let chart = chart();
    // As an older version would have brought it.
    let older = TempDir::with_prefix("fixgw-e2e-").unwrap();
    copy(&chart, older.path());
    let file = older.path().join("templates/crds/fixsession-crd.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("- fixs\n", "- fixold\n")).unwrap();
    let (chart, older) = (chart.to_str().unwrap(), older.path().to_str().unwrap());
    let notes = succeed(&server, &["install", RELEASE, older, "--create-namespace"]);
    assert!(
        notes.contains("create secret tls fix-gateway-tls"),
        "{notes}"
    );
    assert!(
        notes.contains("fix-plain  port 9877  without TLS"),
        "{notes}"
    );
    let before = deployment(&server, "gateway");
    assert_eq!(before["spec"]["replicas"], 3);

    // A route, as somebody else writes it.
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    assert_eq!(
        server
            .create("/api/v1/namespaces", Sent::Json(&namespace))
            .code,
        201
    );
    let route = std::fs::read_to_string(
        Path::new(chart).join("../../crds/examples/equities-single-field.yaml"),
    )
    .unwrap();
    wait_until("FIXSessions to be served", || {
        (server.get(&sessions()).code == 200).then_some(())
    });
    let made = server.create(&sessions(), Sent::Yaml(&route));
    assert_eq!(made.code, 201, "{}", made.message());

    // The upgrade brings the definition; the gateway's pods, whose part does not change, are left alone.
    let path = format!("{DEFINITIONS}/{DEFINITION}");
    let short = |server: &ApiServer| server.get(&path).body["spec"]["names"]["shortNames"].clone();
    assert_eq!(short(&server), json!(["fixold"]));
    succeed(
        &server,
        &["upgrade", RELEASE, chart, "--set", "operator.replicas=3"],
    );
    assert_eq!(short(&server), json!(["fixs"]));
    let after = deployment(&server, "gateway");
    assert_eq!(before["spec"]["template"], after["spec"]["template"]);
    assert_eq!(deployment(&server, "operator")["spec"]["replicas"], 3);

    let said = succeed(&server, &["uninstall", RELEASE]);
    assert!(
        said.contains("kept due to the resource policy") && said.contains(DEFINITION),
        "{said}"
    );
    let deployments = format!("/apis/apps/v1/namespaces/{OWN_NAMESPACE}/deployments");
    assert_eq!(server.get(&deployments).body["items"], json!([]));
    // A definition that has just changed is served again a moment later.
    let kept = wait_until("FIXSessions to be served again", || {
        let kept = server.get(&sessions());
        (kept.code == 200).then_some(kept.body)
    });
    assert_eq!(kept["items"].as_array().unwrap().len(), 1, "{kept}");

    // The same release takes it up again; another one is told that it is not its own.
    succeed(&server, &["install", RELEASE, chart]);
    let other = run(&server, &["install", "other", chart]);
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(
        !other.status.success() && said.contains(DEFINITION),
        "{said}"
    );
    succeed(
        &server,
        &["install", "other", chart, "--set", "crds.enabled=false"],
    );
}
