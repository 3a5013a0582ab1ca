//! What does a [`Snapshot`] look like in Envoy's own types?
//!
//! Pure: the same snapshot gives the same bytes. A resource's version says what is in it, never when it was made: after
//! a restart a counter could match what a proxy holds by accident, and nothing would be sent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, UpstreamConnectionOptions, circuit_breakers, cluster,
};
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, AsyncDataSource, BackoffStrategy, BindConfig,
    ConfigSource, DataSource, ProxyProtocolConfig, SocketAddress, SocketOption, TcpKeepalive,
    TransportSocket, TypedExtensionConfig, address, async_data_source, config_source, data_source,
    proxy_protocol_config, socket_address, socket_option, transport_socket,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use envoy_types::pb::envoy::extensions::filters::network::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::wasm::v3::{
    FailurePolicy, PluginConfig, ReloadConfig, VmConfig, plugin_config,
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{Any, BytesValue, Duration, UInt32Value};
use envoy_types::util::pack_any;
use fixgw_core::names;
use fixgw_core::readiness::Readiness;
use fixgw_core::rule::Target;
use prost::{Message, Name};
use xxhash_rust::xxh3::xxh3_128;

use super::Snapshot;
use crate::api::ProxyVersion;
use crate::tcp_timeout::{Keepalive, TcpTimeout};

/// The runtime that Envoy's release binaries carry.
const WASM_RUNTIME: &str = "envoy.wasm.runtime.v8";

/// First pause before a trapped VM is made anew. INVARIANT: never under 2 ms: Envoy 1.40 takes its jitter modulo half
/// of it and dies of SIGFPE.
const RELOAD_BASE_MS: u16 = 10;
/// Longest pause before a trapped VM is made anew: what a counterparty's reconnect timer would not notice.
const RELOAD_MAX_MS: u16 = 1_000;

/// One attempt to connect to an engine. On one network an engine that has not answered by then is not there.
const CONNECT_TIMEOUT_MS: u16 = 1_000;
/// Sessions of one cluster. Envoy's default (1,024) would close session 1,025 at once; this is above any process's
/// file descriptors.
const CONNECTIONS_MAX: u32 = 1_000_000;
/// Bytes that wait in Envoy for an engine that does not read, as many as for a counterparty (the data listeners say the same). Its
/// default, 1 MiB, would be gigabytes when the engine of a thousand sessions hangs.
const BUFFER_BYTES_MAX: u32 = 65_536;
/// `IPPROTO_TCP`: socket options are numbers in Envoy's configuration, and Envoy's own (Linux) are meant.
const IPPROTO_TCP: i64 = 6;
/// `TCP_USER_TIMEOUT` on Linux.
const TCP_USER_TIMEOUT: i64 = 18;

/// What the proxies of a control plane have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySettings {
    /// Their plugins' VM.
    pub vm: WasmVm,
    /// Connections that each proxy keeps to one target, those included whose counterparty has gone and whose bytes the
    /// engine has not read yet.
    pub target_connections_max: u32,
    /// After how long a connection to an engine ends whose host is gone, where its Service does not say so itself.
    pub tcp_timeout: TcpTimeout,
}

impl From<WasmVm> for ProxySettings {
    /// Without a bound that anyone meets.
    fn from(vm: WasmVm) -> Self {
        Self {
            vm,
            target_connections_max: CONNECTIONS_MAX,
            tcp_timeout: TcpTimeout::DEFAULT,
        }
    }
}

/// The VM that the gateway's plugins share. INVARIANT: the same in the data listeners' static configuration and here;
/// otherwise Envoy makes two VMs, and the table never reaches the streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmVm {
    /// `vm_id`.
    pub vm_id: String,
    /// Where the module comes from.
    pub code: WasmCode,
}

impl WasmVm {
    /// The gateway's VM with its module in a file that Envoy can read.
    #[must_use]
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self {
            vm_id: names::VM_ID.to_owned(),
            code: WasmCode::File(path.into()),
        }
    }
}

/// Where a Wasm module comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WasmCode {
    /// A file on the proxy's machine.
    File(PathBuf),
    /// The bytes themselves.
    Inline(Arc<[u8]>),
}

/// A resource as it goes over the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// Made from its content.
    pub version: String,
    /// Its content.
    pub body: Any,
}

impl Resource {
    fn new<T: Message + Name>(name: String, content: &T) -> Self {
        let body = pack(content);
        let version = content_hash(&body.value);
        Self {
            name,
            version,
            body,
        }
    }

    /// One whose version also tells the number of what it carries, so that a proxy that comes back says which it holds.
    fn numbered<T: Message + Name>(name: &str, number: u64, content: &T) -> Self {
        let resource = Self::new(name.to_owned(), content);
        Self {
            version: format!("{number}-{}", resource.version),
            ..resource
        }
    }
}

/// The number in a version of the table or the readiness; none if it was not made here.
#[must_use]
pub fn number_of(version: &str) -> Option<u64> {
    version
        .split_once('-')
        .and_then(|(number, _)| number.parse().ok())
}

/// How the connections to a target are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The version of the PROXY protocol header before its engines' first byte, if there is one.
    pub proxy_protocol: Option<ProxyVersion>,
    /// After how long one ends whose host is gone.
    pub tcp_timeout: TcpTimeout,
    /// How many there may be.
    pub connections_max: u32,
}

/// One target of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetResources {
    /// Which.
    pub target: Target,
    /// What its cluster was made of.
    pub settings: ClusterSettings,
    /// Its cluster.
    pub cluster: Arc<Resource>,
    /// Its endpoints, perhaps none.
    pub endpoints: Arc<Resource>,
    /// Its endpoints, were there none.
    pub no_endpoints: Arc<Resource>,
}

impl TargetResources {
    /// `before`: what was made of the same target before, if it was there.
    fn new(
        target: &Target,
        addresses: &[SocketAddr],
        settings: ClusterSettings,
        before: Option<&Self>,
    ) -> Self {
        let cluster = before
            .filter(|before| before.settings == settings)
            .map_or_else(
                || Arc::new(cluster(target, settings)),
                |before| before.cluster.clone(),
            );
        let no_endpoints = before.map_or_else(
            || Arc::new(endpoints(target.as_str(), &[])),
            |before| before.no_endpoints.clone(),
        );
        let endpoints = if addresses.is_empty() {
            no_endpoints.clone()
        } else {
            Arc::new(endpoints(target.as_str(), addresses))
        };
        Self {
            target: target.clone(),
            settings,
            cluster,
            endpoints,
            no_endpoints,
        }
    }

    /// Whether it has an endpoint.
    #[must_use]
    pub fn has_endpoints(&self) -> bool {
        self.endpoints.version != self.no_endpoints.version
    }
}

/// A snapshot in Envoy's types, made once and shared by every proxy's rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// The table's revision.
    pub revision: u64,
    /// The table.
    pub table: Arc<Resource>,
    /// Its targets by their clusters' names.
    pub targets: BTreeMap<String, TargetResources>,
}

impl Goal {
    /// Translates a snapshot.
    #[must_use]
    pub fn new(snapshot: &Snapshot, settings: &ProxySettings) -> Self {
        let table = table(snapshot.revision, &snapshot.table_image, &settings.vm);
        let nothing = Self {
            revision: snapshot.revision,
            table: Arc::new(table),
            targets: BTreeMap::new(),
        };
        nothing.next(snapshot, settings)
    }

    /// Translates the snapshot that follows, for the same VM. Endpoints change far more often than the rest, which is
    /// shared with what was made before: a revision names one table for good, and a target with its settings one cluster.
    #[must_use]
    pub fn next(&self, snapshot: &Snapshot, settings: &ProxySettings) -> Self {
        let table = if snapshot.revision == self.revision {
            self.table.clone()
        } else {
            Arc::new(table(
                snapshot.revision,
                &snapshot.table_image,
                &settings.vm,
            ))
        };
        let target = |(target, addresses): (&Target, &Vec<SocketAddr>)| {
            let name = target.as_str();
            let own_timeout = snapshot.tcp_timeouts.get(target).copied();
            let settings = ClusterSettings {
                proxy_protocol: snapshot.proxy_protocol.get(target).copied(),
                tcp_timeout: own_timeout.unwrap_or(settings.tcp_timeout),
                connections_max: settings.target_connections_max,
            };
            let before = self.targets.get(name);
            let made = TargetResources::new(target, addresses, settings, before);
            (name.to_owned(), made)
        };
        Self {
            revision: snapshot.revision,
            table,
            targets: snapshot.endpoints.iter().map(target).collect(),
        }
    }
}

/// The cluster of a target. Its endpoints come over the same stream.
#[must_use]
pub fn cluster(target: &Target, settings: ClusterSettings) -> Resource {
    let content = Cluster {
        name: target.as_str().to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Eds.into(),
        )),
        eds_cluster_config: Some(cluster::EdsClusterConfig {
            eds_config: Some(ads()),
            service_name: String::new(),
        }),
        connect_timeout: Some(milliseconds(CONNECT_TIMEOUT_MS)),
        lb_policy: cluster::LbPolicy::RoundRobin.into(),
        common_lb_config: Some(cluster::CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            ..Default::default()
        }),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![circuit_breakers::Thresholds {
                max_connections: Some(count(settings.connections_max)),
                max_pending_requests: Some(count(CONNECTIONS_MAX)),
                max_requests: Some(count(CONNECTIONS_MAX)),
                max_retries: Some(count(CONNECTIONS_MAX)),
                ..Default::default()
            }],
            ..Default::default()
        }),
        per_connection_buffer_limit_bytes: Some(count(BUFFER_BYTES_MAX)),
        upstream_connection_options: Some(UpstreamConnectionOptions {
            tcp_keepalive: Some(keepalive(settings.tcp_timeout)),
            ..Default::default()
        }),
        upstream_bind_config: Some(BindConfig {
            socket_options: vec![user_timeout(settings.tcp_timeout)],
            ..Default::default()
        }),
        // With a shared pool, sessions that wait for one host share its failed attempts.
        // INVARIANT: with it, a connection whose header names one counterparty could carry another's session, too.
        connection_pool_per_downstream_connection: true,
        transport_socket: settings.proxy_protocol.map(header_before_bytes),
        ..Default::default()
    };
    Resource::new(target.as_str().to_owned(), &content)
}

/// The endpoints of a cluster: the same ones in any order, or twice, are the same resource.
#[must_use]
pub fn endpoints(cluster_name: &str, addresses: &[SocketAddr]) -> Resource {
    let addresses: BTreeSet<SocketAddr> = addresses.iter().copied().collect();
    let localities = if addresses.is_empty() {
        Vec::new()
    } else {
        vec![LocalityLbEndpoints {
            lb_endpoints: addresses.into_iter().map(lb_endpoint).collect(),
            ..Default::default()
        }]
    };
    let content = ClusterLoadAssignment {
        cluster_name: cluster_name.to_owned(),
        endpoints: localities,
        ..Default::default()
    };
    Resource::new(cluster_name.to_owned(), &content)
}

/// The plugin that carries the table.
#[must_use]
pub fn table(revision: u64, image: &[u8], vm: &WasmVm) -> Resource {
    let content = plugin(
        names::RESOURCE_ROUTES,
        names::ROOT_ROUTES,
        image.to_vec(),
        vm,
    );
    Resource::numbered(names::RESOURCE_ROUTES, revision, &content)
}

/// The plugin that carries the readiness.
#[must_use]
pub fn readiness<'a>(
    version: u64,
    not_ready: impl IntoIterator<Item = &'a Target>,
    vm: &WasmVm,
) -> Resource {
    let image = Readiness::encode(version, not_ready);
    let content = plugin(names::RESOURCE_READINESS, names::ROOT_READINESS, image, vm);
    Resource::numbered(names::RESOURCE_READINESS, version, &content)
}

fn plugin(name: &str, root_id: &str, image: Vec<u8>, vm: &WasmVm) -> TypedExtensionConfig {
    let config = PluginConfig {
        name: name.to_owned(),
        root_id: root_id.to_owned(),
        vm: Some(plugin_config::Vm::VmConfig(vm_config(vm))),
        configuration: Some(pack(&BytesValue { value: image })),
        failure_policy: FailurePolicy::FailReload.into(),
        reload_config: Some(ReloadConfig {
            backoff: Some(BackoffStrategy {
                base_interval: Some(milliseconds(RELOAD_BASE_MS)),
                max_interval: Some(milliseconds(RELOAD_MAX_MS)),
            }),
        }),
        ..Default::default()
    };
    TypedExtensionConfig {
        name: name.to_owned(),
        typed_config: Some(pack_any(Wasm {
            config: Some(config),
        })),
    }
}

fn vm_config(vm: &WasmVm) -> VmConfig {
    let code = match &vm.code {
        WasmCode::File(path) => {
            data_source::Specifier::Filename(path.to_string_lossy().into_owned())
        }
        WasmCode::Inline(bytes) => data_source::Specifier::InlineBytes(bytes.to_vec()),
    };
    let code = DataSource {
        specifier: Some(code),
        ..Default::default()
    };
    VmConfig {
        vm_id: vm.vm_id.clone(),
        runtime: WASM_RUNTIME.to_owned(),
        code: Some(AsyncDataSource {
            specifier: Some(async_data_source::Specifier::Local(code)),
        }),
        ..Default::default()
    }
}

fn ads() -> ConfigSource {
    ConfigSource {
        // Without a limit: a cluster that became active before its endpoints are known would be an empty one.
        initial_fetch_timeout: Some(milliseconds(0)),
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(
            AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

fn lb_endpoint(address: SocketAddr) -> LbEndpoint {
    let socket = SocketAddress {
        protocol: socket_address::Protocol::Tcp.into(),
        address: address.ip().to_string(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(u32::from(
            address.port(),
        ))),
        ..Default::default()
    };
    LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(Address {
                address: Some(address::Address::SocketAddress(socket)),
            }),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Plain bytes with a header before the first one, and no TLVs: what a load balancer before us or `tcp_proxy` adds is not
/// for engines.
fn header_before_bytes(version: ProxyVersion) -> TransportSocket {
    let version = match version {
        ProxyVersion::V1 => proxy_protocol_config::Version::V1,
        ProxyVersion::V2 => proxy_protocol_config::Version::V2,
    };
    let plain = transport_socket("envoy.transport_sockets.raw_buffer", &RawBuffer {});
    let header = ProxyProtocolUpstreamTransport {
        config: Some(ProxyProtocolConfig {
            version: version.into(),
            ..Default::default()
        }),
        transport_socket: Some(plain),
        ..Default::default()
    };
    transport_socket("envoy.transport_sockets.upstream_proxy_protocol", &header)
}

fn transport_socket<T: Message + Name>(name: &str, content: &T) -> TransportSocket {
    TransportSocket {
        name: name.to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack(content))),
    }
}

fn keepalive(timeout: TcpTimeout) -> TcpKeepalive {
    let Keepalive {
        time_s,
        interval_s,
        probes,
    } = timeout.keepalive();
    TcpKeepalive {
        keepalive_probes: Some(count(probes)),
        keepalive_time: Some(count(time_s)),
        keepalive_interval: Some(count(interval_s)),
    }
}

fn user_timeout(timeout: TcpTimeout) -> SocketOption {
    SocketOption {
        description: "TCP_USER_TIMEOUT".to_owned(),
        level: IPPROTO_TCP,
        name: TCP_USER_TIMEOUT,
        state: socket_option::SocketState::StatePrebind.into(),
        value: Some(socket_option::Value::IntValue(
            timeout.user_timeout_ms().into(),
        )),
        ..Default::default()
    }
}

fn count(value: u32) -> UInt32Value {
    UInt32Value { value }
}

fn milliseconds(value: u16) -> Duration {
    let (seconds, rest) = (value / 1_000, value % 1_000);
    Duration {
        seconds: i64::from(seconds),
        nanos: i32::from(rest) * 1_000_000,
    }
}

fn pack<T: Message + Name>(content: &T) -> Any {
    Any {
        type_url: T::type_url(),
        value: content.encode_to_vec(),
    }
}

fn content_hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}
