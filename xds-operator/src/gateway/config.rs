//! What does the file of `fixgw gateway` say? Text in, a configuration out in which everything holds that can be told from
//! the file alone; pure.
//!
//! INVARIANT: the file holds no secret, only where one lies, so nothing of it need be hidden.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use fixgw_core::limits;
use fixgw_core::range::SourceRange;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::api;
use crate::envoy::bootstrap::probes::Ports;
use crate::envoy::bootstrap::{Bind, HoldPlan, Upstream};
use crate::envoy::proxy_protocol::{Headers, ProxyProtocol};
use crate::envoy::settings::{self, TlsVersion};
use crate::source::node::{self, Node, Value, Wrong};
use crate::tcp_timeout::TcpTimeout;

/// Bytes of the file. A listener has about 200.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Listeners. Each is a socket of each worker.
pub const LISTENERS_MAX: usize = 64;
/// Workers, as for `fixgw up`.
const WORKERS_MAX: u32 = 1_024;
/// Held connections, as for `fixgw up`.
const HELD_PER_ROUTE_MAX: u32 = 500;
const HELD_PER_POD_MAX: u32 = 10_000;

/// What is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}:{column}: {field}{what}")]
pub struct ConfigError {
    file: String,
    line: u32,
    column: u32,
    /// With its colon, or nothing.
    field: String,
    what: String,
}

/// What the file says.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data listeners; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// The control plane.
    pub control_plane: Upstream,
    /// The reject engine; none: what cannot be routed is closed.
    pub reject_engine: Option<Upstream>,
    /// What holds for connections that wait.
    pub hold: HoldPlan,
    /// After how long a connection ends whose host is gone.
    pub tcp_timeout: TcpTimeout,
    /// After how long a session ends on which nothing is sent; none: it does not.
    pub idle_timeout_ms: Option<u32>,
    /// Where Envoy's admin interface listens: on loopback.
    pub admin: SocketAddr,
    /// Where probes are answered, and statistics given out.
    pub probes: Ports,
    /// Workers; none: one for each processor.
    pub workers: Option<u32>,
    /// Connections of counterparties; none: as many as there are files for.
    pub connections_max: Option<u64>,
    /// Where files are written for Envoy.
    pub run_directory: PathBuf,
}

/// A data listener.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub bind: Bind,
    /// With TLS; none: without.
    pub tls: Option<TlsConfig>,
    /// Which load balancers stand before it.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Where the Secret is mounted.
    pub directory: PathBuf,
    /// Lowest version.
    pub minimum: TlsVersion,
    /// The file there that clients' certificates are judged by; none: none is asked for.
    pub client_ca: Option<String>,
    /// Cipher suites of TLS 1.2; none: Envoy's own choice.
    pub cipher_suites: Vec<String>,
}

/// Reads the file's text; `file` is its name, for messages.
///
/// # Errors
/// The first thing that is wrong.
pub fn read(file: &str, text: &str) -> Result<Config, ConfigError> {
    let error = |wrong: Wrong| ConfigError {
        file: file.to_owned(),
        line: wrong.place.line,
        column: wrong.place.column,
        field: if wrong.path.is_empty() {
            String::new()
        } else {
            format!("{}: ", wrong.path)
        },
        what: wrong.what,
    };
    let documents = node::documents(text).map_err(|wrong| {
        let what = format!("is not valid YAML here: {}", wrong.what);
        error(Wrong { what, ..wrong })
    })?;
    let mut full = documents
        .iter()
        .filter(|document| !matches!(document.value, Value::Null));
    let (Some(root), None) = (full.next(), full.next()) else {
        let what = "holds one YAML document; write `listeners:` and `controlPlane:` into it";
        return Err(error(Wrong {
            place: node::Place { line: 1, column: 1 },
            path: String::new(),
            what: what.to_owned(),
        }));
    };
    if let Some(wrong) = root.bad_keys().into_iter().next() {
        return Err(error(wrong));
    }
    let written: File = root.parse().map_err(error)?;
    Checked { root }.config(written).map_err(error)
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    listeners: Vec<ListenerFile>,
    control_plane: UpstreamFile,
    reject_engine: Option<UpstreamFile>,
    #[serde(default)]
    address: Address,
    #[serde(default = "hold_timeout")]
    hold_timeout: HoldTimeout,
    #[serde(default = "held_per_route")]
    max_held_connections: u32,
    #[serde(default = "held_per_pod")]
    max_held_connections_per_pod: u32,
    #[serde(default = "connect_timeout")]
    connect_timeout: ConnectTimeout,
    #[serde(default)]
    tcp_timeout: TcpTimeoutText,
    #[serde(default)]
    idle_timeout: IdleTimeout,
    #[serde(default = "admin_port")]
    admin_port: Port,
    #[serde(default = "probe_port")]
    probe_port: Port,
    #[serde(default = "metrics_port")]
    metrics_port: Port,
    workers: Option<u32>,
    connections_max: Option<u64>,
    #[serde(default = "run_directory")]
    run_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListenerFile {
    name: Name,
    port: Port,
    tls: Option<TlsFile>,
    proxy_protocol: Option<ProxyProtocolFile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TlsFile {
    directory: PathBuf,
    #[serde(default)]
    min_version: MinVersion,
    #[serde(default)]
    client_ca: ClientCa,
    #[serde(default)]
    cipher_suites: Vec<CipherSuite>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProxyProtocolFile {
    headers: HeadersWord,
    trusted: Vec<Range>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpstreamFile {
    host: Host,
    port: Port,
}

/// A type of one field: what it is read from, and how. What is wrong is said without what was written.
macro_rules! field {
    ($(#[$about:meta])* $name:ident($inner:ty) from $raw:ty: $read:expr) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        struct $name($inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let read: fn($raw) -> Result<$inner, String> = $read;
                read(<$raw>::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
            }
        }
    };
}

field!(Name(String) from String: |name| {
    if api::is_label(&name) && !settings::is_kept_name(&name) {
        Ok(name)
    } else {
        Err("has lower-case letters, digits and `-` only, 63 of them at most, is not `admin`, and does not begin with `fixgw-`".to_owned())
    }
});
field!(Port(u16) from u16: |port| match port {
    0 => Err("is a port that others can be told; write one from 1 to 65535".to_owned()),
    port => Ok(port),
});
field!(Host(String) from String: |host| {
    if host.parse::<IpAddr>().is_ok() || is_host_name(&host) {
        Ok(host)
    } else {
        Err("is a host name or an address, without a port, as in `fix-gateway-operator.fix.svc`".to_owned())
    }
});
field!(
    /// Where all listeners listen.
    Address(IpAddr) from String: |address| address.parse().map_err(|_| {
        "is an address of this machine: `0.0.0.0` for IPv4, `\"::\"` for IPv6 and IPv4 alike".to_owned()
    })
);
field!(HoldTimeout(u32) from String: |text| settings::hold_timeout(&text));
field!(ConnectTimeout(u32) from String: |text| settings::connect_timeout(&text));
field!(TcpTimeoutText(TcpTimeout) from String: |text| text.parse().map_err(|error: crate::tcp_timeout::TcpTimeoutError| error.to_string()));
field!(#[derive(Default)] IdleTimeout(Option<u32>) from String: |text| match api::milliseconds(&text) {
    Ok(0) => Ok(None),
    _ => settings::idle_timeout(&text).map(Some),
});
field!(MinVersion(TlsVersion) from String: |version| match version.as_str() {
    "1.2" => Ok(TlsVersion::V1_2),
    "1.3" => Ok(TlsVersion::V1_3),
    _ => Err("is `\"1.2\"` or `\"1.3\"`, in quotes; older versions are broken".to_owned()),
});
field!(#[derive(Default)] ClientCa(Option<String>) from String: |file| match file.as_str() {
    "none" => Ok(None),
    "" | "." | ".." => Err(CLIENT_CA.to_owned()),
    name if name.contains('/') => Err(CLIENT_CA.to_owned()),
    _ => Ok(Some(file)),
});
field!(CipherSuite(String) from String: |suite| {
    if settings::CIPHER_SUITES.contains(&suite.as_str()) {
        Ok(suite)
    } else {
        Err(format!("is a cipher suite of TLS 1.2, one of {}", settings::CIPHER_SUITES.join(", ")))
    }
});
field!(HeadersWord(Headers) from String: |word| match word.as_str() {
    "required" => Ok(Headers::Required),
    "optional" => Ok(Headers::Optional),
    _ => Err("is `required`, or `optional` if some counterparties connect without the load balancer".to_owned()),
});
field!(Range(SourceRange) from String: |range| range.parse().map_err(|_| {
    "is a range of addresses without host bits, as in `10.0.0.0/24`".to_owned()
}));

const CLIENT_CA: &str = "is `none`, or the name of a file in the directory, usually `ca.crt`";

impl Default for Address {
    fn default() -> Self {
        Self(Ipv4Addr::UNSPECIFIED.into())
    }
}

impl Default for TcpTimeoutText {
    fn default() -> Self {
        Self(TcpTimeout::DEFAULT)
    }
}

impl Default for MinVersion {
    fn default() -> Self {
        Self(TlsVersion::V1_2)
    }
}

const fn hold_timeout() -> HoldTimeout {
    HoldTimeout(limits::HOLD_TIMEOUT_MS)
}

const fn connect_timeout() -> ConnectTimeout {
    ConnectTimeout(limits::CONNECT_TIMEOUT_MS)
}

const fn held_per_route() -> u32 {
    limits::HELD_PER_ROUTE_MAX
}

const fn held_per_pod() -> u32 {
    limits::HELD_PER_POD_MAX
}

const fn admin_port() -> Port {
    Port(9901)
}

const fn probe_port() -> Port {
    Port(9902)
}

const fn metrics_port() -> Port {
    Port(9903)
}

fn run_directory() -> PathBuf {
    PathBuf::from("/run/fixgw")
}

/// RFC 1123, and a dot at the end that says that nothing is to be added.
fn is_host_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    api::is_name(&name.to_ascii_lowercase())
}

/// What no field can tell by itself.
struct Checked<'n> {
    root: &'n Node,
}

impl Checked<'_> {
    fn wrong(&self, path: &str, what: impl Into<String>) -> Wrong {
        let place = self.root.places_below("").find(path);
        let (line, column) = place.unwrap_or((self.root.place.line, self.root.place.column));
        Wrong {
            place: node::Place { line, column },
            path: path.to_owned(),
            what: what.into(),
        }
    }

    fn config(&self, file: File) -> Result<Config, Wrong> {
        self.count("listeners", file.listeners.len(), LISTENERS_MAX)?;
        self.names(&file)?;
        self.ports(&file)?;
        self.bound(
            "maxHeldConnections",
            file.max_held_connections,
            0..=HELD_PER_ROUTE_MAX,
        )?;
        self.bound(
            "maxHeldConnectionsPerPod",
            file.max_held_connections_per_pod,
            0..=HELD_PER_POD_MAX,
        )?;
        if let Some(workers) = file.workers {
            self.bound("workers", workers, 1..=WORKERS_MAX)?;
        }
        if file.connections_max == Some(0) {
            return Err(self.wrong(
                "connectionsMax",
                "is at least 1; leave it out for as many as there are files for",
            ));
        }
        let address = file.address.0;
        let mut listeners = Vec::new();
        for (index, listener) in file.listeners.into_iter().enumerate() {
            listeners.push(self.listener(index, listener, address)?);
        }
        Ok(Config {
            listeners,
            control_plane: upstream(file.control_plane),
            reject_engine: file.reject_engine.map(upstream),
            hold: HoldPlan {
                timeout_ms: file.hold_timeout.0,
                per_route_max: file.max_held_connections,
                per_pod_max: file.max_held_connections_per_pod,
                connect_timeout_ms: file.connect_timeout.0,
            },
            tcp_timeout: file.tcp_timeout.0,
            idle_timeout_ms: file.idle_timeout.0,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, file.admin_port.0)),
            probes: Ports {
                probes: bind(address, file.probe_port.0),
                metrics: bind(address, file.metrics_port.0),
            },
            workers: file.workers,
            connections_max: file.connections_max,
            run_directory: file.run_directory,
        })
    }

    fn listener(
        &self,
        index: usize,
        listener: ListenerFile,
        address: IpAddr,
    ) -> Result<ListenerConfig, Wrong> {
        let tls = listener.tls.map(|tls| TlsConfig {
            directory: tls.directory,
            minimum: tls.min_version.0,
            client_ca: tls.client_ca.0,
            cipher_suites: tls.cipher_suites.into_iter().map(|suite| suite.0).collect(),
        });
        if let Some(tls) = &tls
            && tls.minimum == TlsVersion::V1_3
            && !tls.cipher_suites.is_empty()
        {
            let path = format!("listeners[{index}].tls.cipherSuites");
            let what = "is about TLS 1.2, which `minVersion: \"1.3\"` does not take; leave one of them out";
            return Err(self.wrong(&path, what));
        }
        let proxy_protocol = listener.proxy_protocol.map(|it| ProxyProtocol {
            headers: it.headers.0,
            trusted: it.trusted.into_iter().map(|range| range.0).collect(),
            // As long as for a Logon: who has sent neither by then will not.
            timeout: Duration::from_millis(limits::LOGON_TIMEOUT_MS.into()),
        });
        if proxy_protocol
            .as_ref()
            .is_some_and(|it| it.trusted.is_empty())
        {
            let path = format!("listeners[{index}].proxyProtocol.trusted");
            let what = "names nobody, and anybody could claim any address otherwise; write the addresses of your load \
                        balancers, as in `[10.0.0.0/24]`";
            return Err(self.wrong(&path, what));
        }
        Ok(ListenerConfig {
            name: listener.name.0,
            bind: bind(address, listener.port.0),
            tls,
            proxy_protocol,
        })
    }

    fn count(&self, path: &str, count: usize, max: usize) -> Result<(), Wrong> {
        if (1..=max).contains(&count) {
            return Ok(());
        }
        let what = format!(
            "has 1 to {max}, and here are {count}; write one for each address that counterparties know, as in \
             `- {{ name: fix, port: 9876 }}`"
        );
        Err(self.wrong(path, what))
    }

    fn bound(
        &self,
        path: &str,
        value: u32,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<(), Wrong> {
        if range.contains(&value) {
            return Ok(());
        }
        let what = format!("is from {} to {}", range.start(), range.end());
        Err(self.wrong(path, what))
    }

    fn names(&self, file: &File) -> Result<(), Wrong> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, listener) in file.listeners.iter().enumerate() {
            if let Some(first) = seen.insert(&listener.name.0, index) {
                let what =
                    format!("is the name of listeners[{first}], too; give each one of its own");
                return Err(self.wrong(&format!("listeners[{index}].name"), what));
            }
        }
        Ok(())
    }

    fn ports(&self, file: &File) -> Result<(), Wrong> {
        let listeners = file.listeners.iter().enumerate();
        let listeners =
            listeners.map(|(index, it)| (format!("listeners[{index}].port"), it.port.0));
        let own = [
            ("adminPort".to_owned(), file.admin_port.0),
            ("probePort".to_owned(), file.probe_port.0),
            ("metricsPort".to_owned(), file.metrics_port.0),
        ];
        let mut seen: BTreeMap<u16, String> = BTreeMap::new();
        for (path, port) in listeners.chain(own) {
            if let Some(first) = seen.get(&port) {
                let what = format!("is {port}, and so is {first}; give each another one");
                return Err(self.wrong(&path, what));
            }
            seen.insert(port, path);
        }
        Ok(())
    }
}

fn bind(address: IpAddr, port: u16) -> Bind {
    if address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        Bind::Everywhere(port)
    } else {
        Bind::Address(SocketAddr::new(address, port))
    }
}

fn upstream(file: UpstreamFile) -> Upstream {
    let (host, port) = (file.host.0, file.port.0);
    match host.parse() {
        Ok(ip) => Upstream::Address(SocketAddr::new(ip, port)),
        Err(_) => Upstream::Name { host, port },
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests;
