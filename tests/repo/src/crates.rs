//! Which crates are there, and which depends on which?

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::files;

/// One crate of one version.
#[derive(Debug, Clone)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, as an SPDX expression.
    pub license: Option<String>,
    /// Whether it is a member of this workspace.
    pub ours: bool,
    /// What it is built from: the identifiers of its dependencies, those of its tests left out.
    dependencies: Vec<String>,
}

/// The crates of the lock file.
#[derive(Debug)]
pub struct Crates(BTreeMap<String, Crate>);

impl Crates {
    /// All crates, those for other platforms too.
    #[must_use]
    pub fn for_every_platform() -> Self {
        Self::read(&[])
    }

    /// The crates that are built for one platform, such as `wasm32-unknown-unknown`.
    #[must_use]
    pub fn for_platform(platform: &str) -> Self {
        Self::read(&["--filter-platform", platform])
    }

    fn read(more: &[&str]) -> Self {
        let output = Command::new(std::env::var_os("CARGO").expect("cargo runs the tests"))
            .args(["metadata", "--format-version", "1", "--locked", "--quiet"])
            .args(more)
            .current_dir(files::root())
            .output()
            .expect("cargo tells the metadata");
        assert!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value =
            serde_json::from_slice(&output.stdout).expect("the metadata are JSON");
        let ours: BTreeSet<&str> = strings(&metadata["workspace_members"]).collect();
        let packages: BTreeMap<&str, &Value> = array(&metadata["packages"])
            .map(|package| (string(&package["id"]), package))
            .collect();
        let crates = array(&metadata["resolve"]["nodes"]).map(|node| {
            let id = string(&node["id"]);
            let package = packages[id];
            let found = Crate {
                name: string(&package["name"]).to_owned(),
                version: string(&package["version"]).to_owned(),
                license: package["license"].as_str().map(str::to_owned),
                ours: ours.contains(id),
                dependencies: array(&node["deps"])
                    .filter(|dependency| {
                        array(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev")
                    })
                    .map(|dependency| string(&dependency["pkg"]).to_owned())
                    .collect(),
            };
            (id.to_owned(), found)
        });
        Self(crates.collect())
    }

    /// Every crate.
    pub fn iter(&self) -> impl Iterator<Item = &Crate> {
        self.0.values()
    }

    /// The versions of each crate, by name.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for found in self.iter() {
            versions
                .entry(&found.name)
                .or_default()
                .insert(&found.version);
        }
        versions
    }

    /// What one of our crates names in its own manifest.
    #[must_use]
    pub fn direct(&self, name: &str) -> Vec<&Crate> {
        self.our(name)
            .dependencies
            .iter()
            .map(|id| &self.0[id])
            .collect()
    }

    /// What one of our crates is built from, however deep.
    #[must_use]
    pub fn behind(&self, name: &str) -> Vec<&Crate> {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = self
            .our(name)
            .dependencies
            .iter()
            .map(String::as_str)
            .collect();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.0[id].dependencies.iter().map(String::as_str));
            }
        }
        seen.into_iter().map(|id| &self.0[id]).collect()
    }

    fn our(&self, name: &str) -> &Crate {
        self.iter()
            .find(|found| found.ours && found.name == name)
            .unwrap_or_else(|| panic!("there is no crate `{name}` in the workspace"))
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value
        .as_array()
        .expect("cargo's metadata have a list here")
        .iter()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    array(value).map(string)
}

fn string(value: &Value) -> &str {
    value.as_str().expect("cargo's metadata have a text here")
}
