//! Where do the names of Services lead, for who is in a pod?
//!
//! There is no DNS server, and no proxy behind a Service's own address: a name leads to the addresses of its ready endpoints, as that of
//! a headless Service does, by a hosts file that is replaced in one step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::follow::Change;
use crate::inside::HOST;

/// The hosts files, one for each namespace: there, a Service's name alone is enough.
pub(super) struct Names {
    directory: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By namespace and name.
    slices: BTreeMap<(String, String), Slice>,
    namespaces: BTreeSet<String>,
}

struct Slice {
    service: String,
    /// Each with the host name that a StatefulSet gives.
    addresses: Vec<(String, Option<String>)>,
}

impl Names {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            known: Mutex::default(),
        }
    }

    /// The directory with the file `hosts` for pods of this namespace.
    pub(super) fn directory(&self, namespace: &str) -> PathBuf {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.namespaces.insert(namespace.to_owned()) {
            self.write(&known);
        }
        self.directory.join(namespace)
    }

    /// Takes in a change of EndpointSlices.
    pub(super) fn hear(&self, change: Change) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::All(objects) => {
                known.slices = objects
                    .iter()
                    .map(|object| (key(object), slice(object)))
                    .collect();
            }
            Change::Deleted(object) => {
                known.slices.remove(&key(&object));
            }
            Change::There(object) => {
                known.slices.insert(key(&object), slice(&object));
            }
        }
        self.write(&known);
    }

    fn write(&self, known: &Known) {
        for namespace in &known.namespaces {
            let mut hosts = format!(
                "127.0.0.1 localhost\n{HOST} kubernetes.default.svc kubernetes.default kubernetes.default.svc.cluster.local\n"
            );
            for ((of, _), slice) in &known.slices {
                for (address, pod) in &slice.addresses {
                    let name = format!("{}.{of}", slice.service);
                    let _ = write!(
                        hosts,
                        "{address} {name}.svc.cluster.local {name}.svc {name}"
                    );
                    if of == namespace {
                        let _ = write!(hosts, " {}", slice.service);
                    }
                    if let Some(pod) = pod {
                        let _ = write!(hosts, " {pod}.{name}.svc.cluster.local {pod}.{name}");
                    }
                    hosts.push('\n');
                }
            }
            let directory = self.directory.join(namespace);
            std::fs::create_dir_all(&directory).expect("a directory can be made");
            let draft = directory.join(".hosts");
            std::fs::write(&draft, hosts).expect("the directory takes a file");
            std::fs::rename(&draft, directory.join("hosts")).expect("a file can be renamed");
        }
    }
}

fn key(object: &Value) -> (String, String) {
    let text = |key: &str| {
        object["metadata"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("namespace"), text("name"))
}

fn slice(object: &Value) -> Slice {
    let service = object["metadata"]["labels"]["kubernetes.io/service-name"].as_str();
    let endpoints = object["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false);
    let addresses = ready.filter_map(|endpoint| {
        let address = endpoint["addresses"][0].as_str()?;
        let pod = endpoint["hostname"].as_str().map(str::to_owned);
        Some((address.to_owned(), pod))
    });
    Slice {
        service: service.unwrap_or_default().to_owned(),
        addresses: addresses.collect(),
    }
}
