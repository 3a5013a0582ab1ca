//! How is the API server spoken to, so that silence does not go unnoticed? By the library's client, on connections that the kernel probes,
//! and no answer is waited for without a bound.
//!
//! A watch says nothing while nothing changes, for minutes. A host or a NAT that has forgotten its connection says nothing either.

use std::io;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::{Request, Response};
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
/// How long a page of a list, or the beginning of a watch, may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

/// A client for this API server.
///
/// # Errors
/// Its configuration names what cannot be used.
pub(super) fn of(config: Config) -> Result<Client, kube::Error> {
    Ok(bounded(probed(config)?))
}

fn probed(config: Config) -> Result<Client, kube::Error> {
    // What the library alone can do: these are for people's machines.
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return Client::try_from(config);
    }
    // The library's timeouts for connecting and writing are the kernel's here.
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

/// The same client, which does not wait for ever for an answer.
fn bounded(client: Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        async move {
            let is_watch = is_watch(&request);
            let answer = async {
                let answer = client.send(request).await?;
                if is_watch {
                    return Ok(answer);
                }
                // The whole page, for which the library would wait without a bound.
                let (head, body) = answer.into_parts();
                let page = body.collect().await?.to_bytes();
                Ok(Response::from_parts(head, Body::from(page)))
            };
            let answer: Result<Response<Body>, BoxError> =
                match tokio::time::timeout(ANSWER_WAIT_MAX, answer).await {
                    Ok(answer) => answer,
                    Err(_) => Err(Box::new(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("no answer within {} s", ANSWER_WAIT_MAX.as_secs()),
                    ))),
                };
            answer
        }
    });
    Client::new(service, namespace)
}

/// A client that tells when a watch has begun, which the watcher keeps to itself until something changes.
pub(crate) fn listened<F>(client: Client, begun: impl Fn() -> F + Clone + Send + 'static) -> Client
where
    F: Future<Output = ()> + Send,
{
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, begun) = (client.clone(), begun.clone());
        async move {
            let is_watch = is_watch(&request);
            let answer = client.send(request).await;
            if is_watch && answer.as_ref().is_ok_and(|it| it.status().is_success()) {
                begun().await;
            }
            answer
        }
    });
    Client::new(service, namespace)
}

fn is_watch(request: &Request<Body>) -> bool {
    let parameters = request.uri().query().unwrap_or_default();
    parameters.split('&').any(|it| it == "watch=true")
}
