//! What does the control plane keep in a cluster, beside what people write there? The published table, who may write it, and what
//! is said of each object in its status.

pub mod events;
pub mod lease;
pub mod peers;
pub mod status;
pub mod table;

use kube::Client;
use kube::config::{Config, KubeConfigOptions, KubeconfigError};

/// Why there is no way to an API server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not in a cluster, and nothing says where one is.
    #[error("found no API server ({0}); set KUBECONFIG, or run it in a pod with a service account")]
    Config(String),
    /// What was said of it cannot be used.
    #[error("cannot speak to the API server ({0}); look at the kubeconfig")]
    Client(String),
}

/// The API server of KUBECONFIG, or else the one of the cluster that we run in.
///
/// # Errors
/// When there is none, or its description cannot be used.
pub async fn client(context: Option<&str>) -> Result<Client, ClientError> {
    let config = match context {
        None => Config::infer()
            .await
            .map_err(|error| ClientError::Config(error.to_string())),
        Some(context) => named(context)
            .await
            .map_err(|error| ClientError::Config(error.to_string())),
    }?;
    Client::try_from(config).map_err(|error| ClientError::Client(error.to_string()))
}

async fn named(context: &str) -> Result<Config, KubeconfigError> {
    let options = KubeConfigOptions {
        context: Some(context.to_owned()),
        ..KubeConfigOptions::default()
    };
    Config::from_kubeconfig(&options).await
}

/// What this machine, or pod, is called.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
