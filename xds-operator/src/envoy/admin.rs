//! What does Envoy's admin interface say? Asked over a Unix socket in the run directory, so that it needs no port,
//! unless the user wants it on one.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Method;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Bytes of an answer: the addresses of a thousand listeners are 100 kB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the admin interface listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// A Unix socket.
    Socket(PathBuf),
    /// A port.
    Port(SocketAddr),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing listens there.
    Refused,
    /// Something does, or may, and says nothing in time: Envoy's main thread is busy.
    Silent,
}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Of a port, and of a socket.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
            _ => Self::Silent,
        }
    }
}

/// The listeners that take connections, with their addresses; `None` while Envoy does not answer.
pub async fn listeners(admin: &Admin) -> Option<BTreeMap<String, String>> {
    addresses(&ask(admin, "/listeners?format=json").await?)
}

/// What Envoy counts of connections that it refuses by itself, and of VMs that it made anew, by name; `None` while Envoy does not answer.
pub async fn refusal_statistics(admin: &Admin) -> Option<BTreeMap<String, u64>> {
    // A regular expression with `|`, which a URL writes so.
    let path = "/stats?filter=proxy_proto%7Cdownstream_pre_cx_timeout%7Cdownstream_global_cx_overflow%7Cvm_reload_success";
    Some(counters(&ask(admin, path).await?))
}

/// Has the data listeners take no more connections; those that are live go on, held ones too. (The graceful form would go on
/// taking new ones.)
///
/// # Errors
/// It is not known whether they do.
pub async fn drain_listeners(admin: &Admin) -> Result<(), Unanswered> {
    send(admin, Method::POST, "/drain_listeners?inboundonly")
        .await
        .map(drop)
}

/// How many counterparties are connected.
///
/// # Errors
/// Envoy does not answer.
pub async fn live_connections(admin: &Admin) -> Result<u64, Unanswered> {
    let path = "/stats?filter=^listener%5C..*downstream_cx_active$";
    let answer = send(admin, Method::GET, path).await?;
    Ok(live(&counters(&answer)))
}

/// Over the data listeners: without the admin interface, our own (`fixgw-…`) and what Envoy counts again for each worker.
fn live(counters: &BTreeMap<String, u64>) -> u64 {
    let of_listener = |name: &str| {
        name.starts_with("listener.")
            && name.ends_with(".downstream_cx_active")
            && !name.starts_with("listener.admin.")
            && !name.starts_with("listener.fixgw-")
            && !name.contains(".worker_")
    };
    let own = counters.iter().filter(|(name, _)| of_listener(name));
    own.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// What Envoy made of the versions of a secret that it discovers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretState {
    /// The version in use.
    pub version: String,
    /// How many versions it refused.
    pub refused: u64,
}

/// The state of a secret; `None` while Envoy does not answer. `name` stands in a regular expression as it is.
pub async fn secret(admin: &Admin, name: &str) -> Option<SecretState> {
    let path = format!("/stats?format=json&filter=^sds.{name}.");
    secret_state(&ask(admin, &path).await?, name)
}

fn secret_state(body: &[u8], name: &str) -> Option<SecretState> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let statistics = body.get("stats")?.as_array()?;
    let value = |of: &str| {
        let name = format!("sds.{name}.{of}");
        let named = |entry: &&serde_json::Value| {
            entry.get("name").and_then(serde_json::Value::as_str) == Some(&name)
        };
        statistics.iter().find(named)?.get("value")
    };
    Some(SecretState {
        version: value("version_text")?.as_str()?.to_owned(),
        refused: value("update_rejected")?.as_u64()?,
    })
}

async fn ask(admin: &Admin, path: &str) -> Option<Vec<u8>> {
    send(admin, Method::GET, path).await.ok()
}

async fn send(admin: &Admin, method: Method, path: &str) -> Result<Vec<u8>, Unanswered> {
    let asked = async {
        let answer = match admin {
            Admin::Socket(socket) => {
                let stream = UnixStream::connect(socket).await?;
                exchange(stream, method, path).await
            }
            Admin::Port(address) => {
                let stream = TcpStream::connect(address).await?;
                exchange(stream, method, path).await
            }
        };
        answer.ok_or(Unanswered::Silent)
    };
    let answer = timeout(ANSWER_TIMEOUT, asked).await;
    answer.unwrap_or(Err(Unanswered::Silent))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
) -> Option<Vec<u8>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "admin")
        .body(Empty::<Bytes>::new());
    let asked = async {
        let answer = sender.send_request(request.ok()?).await.ok()?;
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .ok()?;
        Some(body.to_bytes().to_vec())
    };
    let mut asked = pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        // Who closes right after his answer has answered.
        _ = connection => asked.await,
    }
}

/// `name: number` on each line; what is no number is left out.
fn counters(body: &[u8]) -> BTreeMap<String, u64> {
    let body = String::from_utf8_lossy(body);
    let lines = body.lines().filter_map(|line| line.rsplit_once(": "));
    lines
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

fn addresses(body: &[u8]) -> Option<BTreeMap<String, String>> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let statuses = body.get("listener_statuses")?.as_array()?;
    let listeners = statuses.iter().filter_map(|status| {
        let name = status.get("name")?.as_str()?;
        let socket = status.get("local_address")?.get("socket_address")?;
        let ip: std::net::IpAddr = socket.get("address")?.as_str()?.parse().ok()?;
        let port = u16::try_from(socket.get("port_value")?.as_u64()?).ok()?;
        Some((
            name.to_owned(),
            std::net::SocketAddr::new(ip, port).to_string(),
        ))
    });
    Some(listeners.collect())
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_what_is_no_number_is_left_out() {
        let found = counters(b"proxy_proto.main.versions.v1.error: 3\nhistogram: P0(nan,1)\n\n");
        assert_eq!(found.len(), 1);
        assert_eq!(found["proxy_proto.main.versions.v1.error"], 3);
    }

    #[test]
    fn live_connections_are_those_of_the_data_listeners_counted_once() {
        let found = counters(
            b"listener.127.0.0.1_9878.downstream_cx_active: 3\nlistener.[__1]_9879.downstream_cx_active: 2\n\
              listener.127.0.0.1_9878.worker_0.downstream_cx_active: 3\nlistener.admin.downstream_cx_active: 1\n\
              listener.fixgw-probes.downstream_cx_active: 1\n",
        );
        assert_eq!(live(&found), 5);
    }

    #[test]
    fn the_state_of_a_secret_is_read() {
        let body = br#"{"stats":[
            {"name":"sds.a.update_rejected","value":1},{"name":"sds.a.version_text","value":"2"},
            {"name":"sds.b.version_text","value":"7"},{"histograms":{}}]}"#;
        let state = SecretState {
            version: "2".to_owned(),
            refused: 1,
        };
        assert_eq!(secret_state(body, "a"), Some(state));
        assert_eq!(secret_state(body, "b"), None);
        assert_eq!(secret_state(b"no json", "a"), None);
    }

    #[test]
    fn addresses_are_read_and_what_has_none_is_left_out() {
        let body = br#"{"listener_statuses":[
            {"name":"main","local_address":{"socket_address":{"address":"127.0.0.1","port_value":9878}}},
            {"name":"six","local_address":{"socket_address":{"address":"::1","port_value":1}}},
            {"name":"fixgw-control"}]}"#;
        let found = addresses(body).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found["main"], "127.0.0.1:9878");
        assert_eq!(found["six"], "[::1]:1");
        assert_eq!(addresses(b"no json"), None);
    }
}
