//! How is the API server spoken to, so that a connection that died in silence does not go unnoticed? By the library's client, on
//! connections that the kernel probes.
//!
//! A watch says nothing while nothing changes, for minutes. A host or a NAT that has forgotten its connection says nothing either.

use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::{Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

/// How long a connection may be silent until it is probed, how long until it is probed again, and how often that is done: who is gone
/// is noticed after 25 s.
const SILENT: Duration = Duration::from_secs(10);
const PROBES_APART: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// A client for this API server.
///
/// # Errors
/// Its configuration names what cannot be used.
pub(super) fn of(config: Config) -> Result<Client, kube::Error> {
    // What the library alone can do: these are for people's machines.
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return Client::try_from(config);
    }
    // The library's timeouts for connecting and writing are the kernel's here; whoever asks bounds the answer.
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_keepalive(Some(SILENT));
    connector.set_keepalive_interval(Some(PROBES_APART));
    connector.set_keepalive_retries(Some(PROBES));
    // Nothing is probed while something that was sent is not acknowledged.
    connector.set_tcp_user_timeout(Some(SILENT + PROBES_APART * PROBES));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http: legacy::Client<_, Body> =
        legacy::Client::builder(TokioExecutor::new()).build(connector);
    let retry = config
        .default_retry
        .then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}
