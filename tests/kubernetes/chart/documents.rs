//! Do the commands and values of docs/kubernetes.md work, in their order, on a real API server?

use std::path::Path;
use std::process::Command;

use fixgw_e2e::api::Sent;
use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::fixture::NAMESPACE;
use fixgw_e2e::tls::{Authority, Files, GATEWAY};
use fixgw_e2e::tool;
use serde_json::json;
use tempfile::TempDir;

use super::template;
use crate::{DEFINITIONS, read};

const DOCUMENT: &str = "docs/kubernetes.md";

/// How the file of values begins that the commands name.
const VALUES: &str = "# my-values.yaml\n";

/// The blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let text = read(DOCUMENT);
    let mark = format!("```{language}\n");
    let parts = text.split(&mark).skip(1);
    let found: Vec<String> = parts
        .map(|part| part.split("```").next().unwrap().to_owned())
        .collect();
    assert!(found.len() >= 3, "{found:?}");
    found
}

#[test]
fn every_block_of_values_is_taken() {
    let file = tempfile::NamedTempFile::with_prefix("fixgw-e2e-").unwrap();
    for values in blocks("yaml") {
        std::fs::write(&file, &values).unwrap();
        let output = template(Some(file.path()), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{values}{said}");
    }
}

#[test]
fn every_command_works_in_its_order() {
    let server = ApiServer::start();
    let place = TempDir::with_prefix("fixgw-e2e-").unwrap();
    let link = |from: &Path, to: &str| {
        std::os::unix::fs::symlink(from, place.path().join(to)).unwrap();
    };
    link(&tool::repository().join("helm"), "helm");
    std::fs::create_dir(place.path().join("bin")).unwrap();
    link(&tool::helm(), "bin/helm");
    link(&tool::kubectl(), "bin/kubectl");
    link(&tool::program("fixgw"), "bin/fixgw");
    link(&tool::repository().join("crds/examples"), "fixsessions");
    let namespace = json!({ "metadata": { "name": NAMESPACE } });
    let made = server.create("/api/v1/namespaces", Sent::Json(&namespace));
    assert_eq!(made.code, 201, "{}", made.message());
    let files = Files::of(&Authority::new("CA").issue(GATEWAY));
    link(&files.certificate(), "tls.crt");
    link(&files.key(), "tls.key");
    let values = blocks("yaml");
    let values = values.iter().find(|values| values.starts_with(VALUES));
    std::fs::write(place.path().join("my-values.yaml"), values.unwrap()).unwrap();

    let path = std::env::var("PATH").unwrap();
    for block in blocks("bash") {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &block])
            .current_dir(place.path())
            // kubectl and Helm keep what they learn of a server there.
            .env("HOME", place.path())
            .env("KUBECONFIG", server.kubeconfig())
            .env(
                "PATH",
                format!("{}:{path}", place.path().join("bin").display()),
            )
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}{said}");
    }
    let definition = format!("{DEFINITIONS}/fixsessions.fixgateway.io");
    assert_eq!(server.get(&definition).code, 404);
}
