//! Does the chart install, with the values that people give it? Does it refuse those that are wrong, and say which?
//!
//! `values/` holds what people write, one file for each question; `rendered/` what the chart makes of it, for review (`UPDATE=1` writes
//! it). The CRD is left out there: it is the generated file, and a test holds it to that.

mod documents;
mod objects;
mod programs;
mod release;
mod rendered;
mod rights;
mod values;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fixgw_e2e::tool;
use serde_json::Value;
use tempfile::TempDir;

/// The release that is rendered and installed.
const RELEASE: &str = "fix-gateway";

/// Its namespace.
const OWN_NAMESPACE: &str = "fix";

/// Where Kubernetes has the namespaces that the values speak of.
const NAMESPACES: [&str; 4] = [OWN_NAMESPACE, "trading", "rates", "leases"];

fn chart() -> PathBuf {
    tool::repository().join("helm/fix-gateway")
}

fn directory(name: &str) -> PathBuf {
    tool::repository().join("tests/kubernetes/chart").join(name)
}

/// Helm, which finds nothing of the user's own.
fn helm() -> (Command, TempDir) {
    let own = TempDir::with_prefix("fixgw-e2e-").unwrap();
    let mut command = Command::new(tool::helm());
    for (name, part) in [
        ("HELM_CACHE_HOME", "cache"),
        ("HELM_CONFIG_HOME", "config"),
        ("HELM_DATA_HOME", "data"),
        ("KUBECONFIG", "kubeconfig"),
    ] {
        command.env(name, own.path().join(part));
    }
    (command, own)
}

/// What `helm template` says to these values, and more arguments.
fn template(values: Option<&Path>, more: &[&str]) -> Output {
    let (mut command, _own) = helm();
    command
        .args(["template", RELEASE])
        .arg(chart())
        .args(["--namespace", OWN_NAMESPACE])
        .args(more);
    if let Some(values) = values {
        command.arg("--values").arg(values);
    }
    command.output().unwrap()
}

/// The objects that the chart makes of a file of values.
fn render(values: &Path) -> Vec<Object> {
    let output = template(Some(values), &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{}: {said}", values.display());
    Object::read_all(&String::from_utf8(output.stdout).unwrap())
}

/// The files of values, with their names.
fn cases() -> Vec<(String, PathBuf)> {
    let files = std::fs::read_dir(directory("values")).unwrap();
    let mut found: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    found.sort();
    assert!(found.len() >= 10, "{found:?}");
    found
}

/// One object that the chart makes.
struct Object {
    /// As Helm writes it.
    text: String,
    value: Value,
}

impl Object {
    fn read_all(text: &str) -> Vec<Self> {
        let documents = text.split("---\n").filter(|text| !text.trim().is_empty());
        documents
            .map(|text| Self {
                text: format!("{}\n", text.trim_end()),
                value: serde_saphyr::from_str(text).unwrap(),
            })
            .collect()
    }

    fn text_of(&self, pointer: &str) -> &str {
        self.value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn kind(&self) -> &str {
        self.text_of("/kind")
    }

    fn name(&self) -> &str {
        self.text_of("/metadata/name")
    }

    fn is(&self, kind: &str, name: &str) -> bool {
        self.kind() == kind && self.name() == name
    }

    fn is_definition(&self) -> bool {
        self.kind() == "CustomResourceDefinition"
    }

    /// The path below which an API server has objects of its kind, and for kinds of a namespace of theirs.
    fn collection(&self) -> String {
        let version = self.text_of("/apiVersion");
        let group = match version.split_once('/') {
            Some(_) => format!("/apis/{version}"),
            None => format!("/api/{version}"),
        };
        let kind = self.kind().to_lowercase();
        let plural = match kind.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => format!("{kind}s"),
        };
        match self.text_of("/metadata/namespace") {
            "" => format!("{group}/{plural}"),
            namespace => format!("{group}/namespaces/{namespace}/{plural}"),
        }
    }
}
