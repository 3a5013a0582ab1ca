//! Where are the programs that the tests start?
//!
//! `make test` builds or fetches them and says where they are through the environment.
//! Must never fall back to a program that happens to be on the machine: a test that ran against
//! something else than it claims proves nothing.

use std::path::{Path, PathBuf};

/// The Envoy binary.
#[must_use]
pub fn envoy() -> PathBuf {
    from_environment("FIXGW_ENVOY")
}

/// The HAProxy binary, for the comparison with it alone: `scripts/attack-haproxy` says where it is.
#[must_use]
pub fn haproxy() -> PathBuf {
    from_environment("FIXGW_HAPROXY")
}

/// A Kubernetes API server.
#[must_use]
pub fn kube_apiserver() -> PathBuf {
    from_environment("FIXGW_KUBE_APISERVER")
}

/// The store of an API server.
#[must_use]
pub fn etcd() -> PathBuf {
    from_environment("FIXGW_ETCD")
}

/// The controllers of a Kubernetes control plane.
#[must_use]
pub fn kube_controller_manager() -> PathBuf {
    from_environment("FIXGW_KUBE_CONTROLLER_MANAGER")
}

/// What people put objects into a cluster with.
#[must_use]
pub fn kubectl() -> PathBuf {
    from_environment("FIXGW_KUBECTL")
}

/// What installs a chart.
#[must_use]
pub fn helm() -> PathBuf {
    from_environment("FIXGW_HELM")
}

/// What holds manifests against the schemas of Kubernetes, without a cluster.
#[must_use]
pub fn kubeconform() -> PathBuf {
    from_environment("FIXGW_KUBECONFORM")
}

/// The Python interpreter that can import `quickfix`.
#[must_use]
pub fn python() -> PathBuf {
    from_environment("FIXGW_PYTHON")
}

/// The filter as it is shipped.
#[must_use]
pub fn filter() -> PathBuf {
    from_environment("FIXGW_FILTER_WASM")
}

/// The filter of the test build, which fails when a Logon asks it to: `filter/src/fault.rs` says how.
#[must_use]
pub fn filter_with_faults() -> PathBuf {
    from_environment("FIXGW_FILTER_FAULTS_WASM")
}

/// One of our own programs.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    existing(
        "FIXGW_BIN_DIR",
        from_environment("FIXGW_BIN_DIR").join(name),
    )
}

/// A script of `tests/peers`.
#[must_use]
pub fn peer_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(name)
}

/// The top of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the repository")
}

fn from_environment(variable: &str) -> PathBuf {
    let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) else {
        panic!(
            "`{variable}` is not set; `make test` sets it, and so does `eval $(scripts/env)` in a shell"
        );
    };
    existing(variable, PathBuf::from(value))
}

fn existing(variable: &str, path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "`{variable}` leads to `{}`, which is not there; `make test` builds or fetches it",
        path.display()
    );
    path
}
