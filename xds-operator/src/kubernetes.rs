//! What does the control plane keep in a cluster, beside what people write there? The published table, who may write it, and what
//! is said of each object in its status.

pub mod events;
pub mod lease;
pub mod pause;
pub mod peers;
pub mod status;
pub mod table;

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use kube::config::KubeConfigOptions;
use kube::runtime::utils::Backoff;
use kube::{Client, Config};

/// How long one request may take: a host that is gone does not say so.
pub(crate) const REQUEST_MAX: Duration = Duration::from_secs(10);
/// How long until something is tried again, at first and at last.
const AGAIN_MIN: Duration = Duration::from_millis(250);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// By whom a cluster's objects are changed, as `managedFields` say it.
pub(crate) const FIELD_MANAGER: &str = "fixgw-operator";

/// Why no cluster can be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A kubeconfig that is not there or is wrong.
    #[error(
        "there is no way to a cluster ({0}); set KUBECONFIG, or choose a context of it with --context"
    )]
    Config(String),
    /// It names what cannot be used.
    #[error("the cluster's configuration cannot be used ({0})")]
    Client(String),
}

/// A client of the context with this name, else of the current one (KUBECONFIG, `~/.kube/config`), else of the cluster that we
/// run in.
///
/// # Errors
/// When none is configured. Nothing is asked of the API server yet.
pub async fn connect(context: Option<&str>) -> Result<Client, ConnectError> {
    let config = match context {
        Some(context) => {
            let options = KubeConfigOptions {
                context: Some(context.to_owned()),
                ..KubeConfigOptions::default()
            };
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|error| ConnectError::Config(error.to_string()))?
        }
        None => Config::infer()
            .await
            .map_err(|error| ConnectError::Config(error.to_string()))?,
    };
    Client::try_from(config).map_err(|error| ConnectError::Client(in_words(&error)))
}

/// An error of the client for people: what the API server said, or why it could not be asked.
pub(crate) fn in_words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = error.source();
    }
    words
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It was answered so, or could not be asked.
    #[error("{}", in_words(.0))]
    Kube(#[from] kube::Error),
    /// Nobody answered.
    #[error("no answer within {} s", REQUEST_MAX.as_secs())]
    Silence,
}

impl RequestError {
    /// The status code of an answer; none when there was none.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            Self::Kube(_) | Self::Silence => None,
        }
    }
}

/// One request, for as long as one may take.
pub(crate) async fn bounded<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RequestError> {
    match tokio::time::timeout(REQUEST_MAX, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(RequestError::Silence),
    }
}

/// How long to wait before the next attempt: longer each time, within bounds.
#[derive(Debug, Default)]
pub(crate) struct Patience(u32);

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = AGAIN_MIN.saturating_mul(1 << self.0.min(16)).min(AGAIN_MAX);
        self.0 = self.0.saturating_add(1);
        Some(wait)
    }
}

impl Patience {
    /// The next wait.
    pub(crate) fn wait(&mut self) -> Duration {
        self.next().unwrap_or(AGAIN_MAX)
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

/// What this machine, or pod, is called.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_within_its_bounds() {
        let mut patience = Patience::default();
        let waits: Vec<u128> = patience.by_ref().take(7).map(|it| it.as_millis()).collect();
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(Patience(u32::MAX).wait(), AGAIN_MAX);
        patience.reset();
        assert_eq!(patience.wait(), AGAIN_MIN);
    }
}
