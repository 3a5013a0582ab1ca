//! What does Envoy start with? `envoy/gateway.yaml`, edited as data: the file that people read and run by hand is the
//! one that `fixgw up` and `fixgw gateway` use.

pub mod probes;
pub mod tls;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use fixgw_core::config::Settings;
use fixgw_core::names;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::admin::Admin;
use super::proxy_protocol::ProxyProtocol;
use crate::tcp_timeout::{Keepalive, TcpTimeout};
use tls::{Overlay, TlsPlan};

const TEMPLATE: &str = include_str!("../../../envoy/gateway.yaml");
/// The bound of connections, as RFC 6901 points to it.
const CONNECTIONS: &str =
    "/overload_manager/resource_monitors/0/typed_config/max_active_downstream_connections";
/// Bytes that nobody acknowledges, in what has socket options: those of the kernel that `envoy/gateway.yaml` sets.
const USER_TIMEOUT: &str = "/socket_options/0/int_value";
const WASM_FILTER: &str = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm";
const TCP_PROXY: &str =
    "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

const DNS_CLUSTER: &str = "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster";
/// How often a name is asked for.
const DNS_REFRESH: &str = "5s";
/// First pause after a name that had no address: a control plane that starts with its gateways is found soon.
const DNS_FAILURE_PAUSE: &str = "0.5s";

/// What differs from one gateway to the next.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Unique among the proxies of a control plane.
    pub node_id: String,
    /// The data listeners.
    pub listeners: Vec<ListenerPlan>,
    /// Where the control plane listens.
    pub control_plane: Upstream,
    /// Where the reject engine listens; none: what cannot be routed is closed.
    pub reject_engine: Option<Upstream>,
    /// The filter's code.
    pub filter: PathBuf,
    /// Where the admin interface listens.
    pub admin: Admin,
    /// Where probes are answered, and statistics given out; none: nowhere.
    pub probes: Option<probes::Ports>,
    /// How many counterparties may be connected at a time.
    pub connections: u64,
    /// After how long a connection ends whose host is gone.
    pub tcp_timeout: TcpTimeout,
    /// After how long a session ends on which nothing is sent; none: it does not.
    pub idle_timeout_ms: Option<u32>,
    /// What holds for connections that wait for their target, where a route does not say otherwise.
    pub hold: HoldPlan,
}

/// A data listener.
#[derive(Clone, Debug)]
pub struct ListenerPlan {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub bind: Bind,
    /// With TLS; none: without.
    pub tls: Option<TlsPlan>,
    /// Which load balancers stand before it; none: a header is no header there.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// Where a listener listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// At this address alone.
    Address(SocketAddr),
    /// At every address of this machine, IPv6 and IPv4, with this port.
    Everywhere(u16),
}

/// Where a part is that Envoy connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// At an address.
    Address(SocketAddr),
    /// At every address that a name has, asked for again and again.
    Name {
        /// The name.
        host: String,
        /// The port, at each of them.
        port: u16,
    },
}

/// How many connections wait for their target, and how long.
#[derive(Clone, Copy, Debug)]
pub struct HoldPlan {
    /// Milliseconds.
    pub timeout_ms: u32,
    /// For one route.
    pub per_route_max: u32,
    /// In all.
    pub per_pod_max: u32,
    /// Milliseconds for which a ready target that refuses is tried again.
    pub connect_timeout_ms: u32,
}

/// The template is not as this version expects it. It is part of the program, so a test keeps this from happening.
#[derive(Debug, Error)]
#[error("`envoy/gateway.yaml` has no {0}")]
pub struct TemplateError(&'static str);

/// The bootstrap as JSON.
///
/// # Errors
/// The template lacks a part.
pub fn render(plan: &Plan) -> Result<Value, TemplateError> {
    let mut bootstrap: Value =
        serde_saphyr::from_str(TEMPLATE).map_err(|_| TemplateError("valid YAML"))?;
    *at(&mut bootstrap, &["node", "id"]).ok_or(TemplateError("node id"))? = json!(plan.node_id);
    *at(&mut bootstrap, &["admin", "address"]).ok_or(TemplateError("admin address"))? =
        match &plan.admin {
            Admin::Socket(path) => json!({ "pipe": { "path": path } }),
            Admin::Port(address) => socket_address(*address),
        };
    *bootstrap
        .pointer_mut(CONNECTIONS)
        .ok_or(TemplateError("bound of connections"))? = json!(plan.connections);
    render_listeners(&mut bootstrap, plan)?;
    reject_tcp_timeout(&mut bootstrap, plan.tcp_timeout)
        .ok_or(TemplateError("TCP timeout of the reject engine"))?;
    set_upstream(
        &mut bootstrap,
        names::CLUSTER_CONTROL_PLANE,
        &plan.control_plane,
    )
    .ok_or(TemplateError("cluster of the control plane"))?;
    if let Some(reject_engine) = &plan.reject_engine {
        set_upstream(&mut bootstrap, names::CLUSTER_REJECT_ENGINE, reject_engine)
            .ok_or(TemplateError("cluster of the reject engine"))?;
    }
    if let Some(ports) = plan.probes {
        probes::add(&mut bootstrap, ports, &plan.admin)?;
    }
    Ok(bootstrap)
}

fn render_listeners(bootstrap: &mut Value, plan: &Plan) -> Result<(), TemplateError> {
    const PART: &str = "data listener with the filter";
    let listeners = at(bootstrap, &["static_resources", "listeners"])
        .and_then(Value::as_array_mut)
        .ok_or(TemplateError(PART))?;
    let is_control = |listener: &Value| named(listener, names::LISTENER_CONTROL);
    let template = listeners
        .iter()
        .find(|listener| !is_control(listener))
        .ok_or(TemplateError(PART))?
        .clone();
    listeners.retain(is_control);
    for wanted in &plan.listeners {
        let overlay = wanted.tls.as_ref().map(Overlay::new).transpose()?;
        let made = listener(&template, plan, wanted, overlay.as_ref());
        listeners.push(made.ok_or(TemplateError(PART))?);
    }
    Ok(())
}

fn listener(
    template: &Value,
    plan: &Plan,
    wanted: &ListenerPlan,
    overlay: Option<&Overlay>,
) -> Option<Value> {
    let mut listener = template.clone();
    *at(&mut listener, &["name"])? = json!(wanted.name);
    // Statistics are found by the listener's name then, not by an address that may have port 0.
    *at(&mut listener, &["stat_prefix"])? = json!(wanted.name);
    *at(&mut listener, &["address"])? = bound_address(wanted.bind);
    *at(&mut listener, &["tcp_keepalive"])? = keepalive(plan.tcp_timeout);
    *listener.pointer_mut(USER_TIMEOUT)? = json!(plan.tcp_timeout.user_timeout_ms());
    let chain = at(&mut listener, &["filter_chains"])?
        .as_array_mut()?
        .first_mut()?;
    // The filter reads the listener's name here.
    chain
        .as_object_mut()?
        .insert("name".to_owned(), json!(wanted.name));
    let filters = at(chain, &["filters"])?.as_array_mut()?;
    if let Some(ms) = plan.idle_timeout_ms {
        let proxy = filters.iter_mut().find(|filter| is_of(filter, TCP_PROXY))?;
        *at(proxy, &["typed_config", "idle_timeout"])? = json!(seconds(ms));
    }
    let wasm = filters
        .iter_mut()
        .find(|filter| is_of(filter, WASM_FILTER))?;
    let plugin = at(wasm, &["typed_config", "config"])?;
    *at(plugin, &["vm_config", "code", "local", "filename"])? = json!(plan.filter);
    plugin
        .as_object_mut()?
        .insert("configuration".to_owned(), settings(plan));
    if let Some(overlay) = overlay {
        overlay.lay_over(&mut listener)?;
    }
    match &wanted.proxy_protocol {
        Some(proxy_protocol) => proxy_protocol.take_headers(&listener),
        None => Some(listener),
    }
}

fn is_of(filter: &Value, kind: &str) -> bool {
    filter
        .pointer("/typed_config/@type")
        .and_then(Value::as_str)
        == Some(kind)
}

/// The reject engine's cluster is static; those of the engines come from the control plane.
fn reject_tcp_timeout(bootstrap: &mut Value, timeout: TcpTimeout) -> Option<()> {
    let clusters = at(bootstrap, &["static_resources", "clusters"])?.as_array_mut()?;
    let mut clusters = clusters.iter_mut();
    let cluster = clusters.find(|found| named(found, names::CLUSTER_REJECT_ENGINE))?;
    *at(cluster, &["upstream_connection_options", "tcp_keepalive"])? = keepalive(timeout);
    let socket = at(cluster, &["upstream_bind_config"])?;
    *socket.pointer_mut(USER_TIMEOUT)? = json!(timeout.user_timeout_ms());
    Some(())
}

fn keepalive(timeout: TcpTimeout) -> Value {
    let Keepalive {
        time_s,
        interval_s,
        probes,
    } = timeout.keepalive();
    json!({
        "keepalive_time": time_s,
        "keepalive_interval": interval_s,
        "keepalive_probes": probes,
    })
}

/// A duration as protobuf's JSON has it.
fn seconds(ms: u32) -> String {
    format!("{}.{:03}s", ms / 1_000, ms % 1_000)
}

fn settings(plan: &Plan) -> Value {
    let control = Some(names::CLUSTER_CONTROL_PLANE.to_owned());
    let settings = Settings {
        reject_cluster: plan
            .reject_engine
            .as_ref()
            .map(|_| names::CLUSTER_REJECT_ENGINE.to_owned()),
        decision_cluster: control.clone(),
        control_cluster: control,
        hold_timeout_ms: plan.hold.timeout_ms,
        max_held_connections: plan.hold.per_route_max,
        max_held_connections_per_pod: plan.hold.per_pod_max,
        connect_timeout_ms: plan.hold.connect_timeout_ms,
        ..Settings::default()
    };
    json!({
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": serde_json::to_string(&settings).unwrap_or_default(),
    })
}

fn set_upstream(bootstrap: &mut Value, cluster: &str, upstream: &Upstream) -> Option<()> {
    let clusters = at(bootstrap, &["static_resources", "clusters"])?.as_array_mut()?;
    let cluster = clusters.iter_mut().find(|found| named(found, cluster))?;
    let address = match upstream {
        Upstream::Address(address) => socket_address(*address),
        Upstream::Name { host, port } => {
            let kept = cluster.as_object_mut()?;
            kept.remove("type")?;
            // Every address of the name is an endpoint, so that one replica that is gone leaves the others.
            let discovered = json!({
                "name": "envoy.cluster.dns",
                "typed_config": {
                    "@type": DNS_CLUSTER,
                    "dns_lookup_family": "V4_PREFERRED",
                    "dns_refresh_rate": DNS_REFRESH,
                    "dns_failure_refresh_rate": { "base_interval": DNS_FAILURE_PAUSE, "max_interval": DNS_REFRESH },
                },
            });
            kept.insert("cluster_type".to_owned(), discovered);
            json!({ "socket_address": { "address": host, "port_value": port } })
        }
    };
    *at(cluster, &["load_assignment", "endpoints"])? = json!([{
        "lb_endpoints": [{ "endpoint": { "address": address } }],
    }]);
    Some(())
}

fn bound_address(bind: Bind) -> Value {
    match bind {
        Bind::Address(address) => socket_address(address),
        Bind::Everywhere(port) => {
            let mut everywhere = socket_address(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
            if let Some(socket) = at(&mut everywhere, &["socket_address", "ipv4_compat"]) {
                *socket = json!(true);
            }
            everywhere
        }
    }
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn named(value: &Value, name: &str) -> bool {
    value.get("name").and_then(Value::as_str) == Some(name)
}

/// The value at a path of keys, made as empty objects where they are missing.
fn at<'v>(value: &'v mut Value, path: &[&str]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, key| {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        Some(value.as_object_mut()?.entry(*key).or_insert(Value::Null))
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::tls::SecretFile;
    use super::*;

    fn listening(name: &str, address: &str) -> ListenerPlan {
        ListenerPlan {
            name: name.to_owned(),
            bind: Bind::Address(address.parse().unwrap()),
            tls: None,
            proxy_protocol: None,
        }
    }

    fn at_address(address: &str) -> Upstream {
        Upstream::Address(address.parse().unwrap())
    }

    fn plan() -> Plan {
        Plan {
            node_id: "n-1".to_owned(),
            listeners: vec![
                listening("main", "127.0.0.1:0"),
                listening("second", "[::1]:9878"),
            ],
            control_plane: at_address("127.0.0.1:18000"),
            reject_engine: Some(at_address("127.0.0.1:18001")),
            filter: "/lib/filter.wasm".into(),
            admin: Admin::Socket("/run/admin.sock".into()),
            probes: None,
            connections: 400,
            tcp_timeout: TcpTimeout::DEFAULT,
            idle_timeout_ms: None,
            hold: HoldPlan {
                timeout_ms: 30_000,
                per_route_max: 1,
                per_pod_max: 500,
                connect_timeout_ms: 30_000,
            },
        }
    }

    /// The listener of this name, with the TLS context of each of its filter chains.
    fn listener(bootstrap: &Value, name: &str) -> (Value, Vec<Value>) {
        let listeners = bootstrap["static_resources"]["listeners"].as_array();
        let found = listeners.unwrap().iter().find(|l| l["name"] == name);
        let chains = found.unwrap()["filter_chains"].as_array().unwrap();
        let context = |chain: &Value| chain["transport_socket"]["typed_config"].clone();
        (found.unwrap().clone(), chains.iter().map(context).collect())
    }

    fn with_tls(client_ca: Option<&str>, cipher_suites: &[&str]) -> Value {
        let file = |secret: &str, path: &str| SecretFile {
            secret: secret.to_owned(),
            path: path.into(),
        };
        let mut plan = plan();
        plan.listeners.push(ListenerPlan {
            tls: Some(TlsPlan {
                certificate: file(tls::SECRET_CERTIFICATE, "/run/certificate.json"),
                client_ca: client_ca.map(|path| file(tls::SECRET_CLIENT_CA, path)),
                minimum: crate::envoy::settings::TlsVersion::V1_3,
                cipher_suites: cipher_suites
                    .iter()
                    .map(|&suite| suite.to_owned())
                    .collect(),
            }),
            ..listening("secure", "127.0.0.1:0")
        });
        render(&plan).unwrap()
    }

    #[test]
    fn only_a_listener_with_tls_has_a_transport_socket_and_an_inspector() {
        let bootstrap = with_tls(None, &[]);
        let (plain, contexts) = listener(&bootstrap, "main");
        assert_eq!(contexts, [Value::Null]);
        assert_eq!(plain["listener_filters"], Value::Null);
        let (secure, contexts) = listener(&bootstrap, "secure");
        assert_eq!(contexts.len(), 1);
        assert_eq!(
            secure["listener_filters"][0]["name"],
            "envoy.filters.listener.tls_inspector"
        );
        assert_eq!(secure["listener_filters_timeout"], "10s");
        // What the filter sees of it is the same.
        assert_eq!(
            secure["filter_chains"][0]["filters"],
            plain["filter_chains"][0]["filters"]
        );
    }

    #[test]
    fn the_time_for_the_first_bytes_is_that_of_the_logon() {
        let (secure, _) = listener(&with_tls(None, &[]), "secure");
        let seconds = Settings::default().logon_timeout_ms / 1_000;
        assert_eq!(secure["listener_filters_timeout"], format!("{seconds}s"));
    }

    #[test]
    fn a_client_certificate_is_asked_for_where_a_client_ca_is_given_and_only_there() {
        let asks = |bootstrap: &Value| {
            listener(bootstrap, "secure").1[0]["require_client_certificate"].clone()
        };
        let without = with_tls(None, &[]);
        assert_eq!(asks(&without), Value::Null);
        assert!(!without.to_string().contains("fixgw-client-ca"));
        let with = with_tls(Some("/run/ca.json"), &[]);
        assert_eq!(asks(&with), true);
        assert!(with.to_string().contains("/run/ca.json"));
    }

    #[test]
    fn nothing_is_resumed_and_versions_and_suites_are_those_asked_for() {
        let suites = ["ECDHE-RSA-AES128-GCM-SHA256"];
        let (_, contexts) = listener(&with_tls(Some("/run/ca.json"), &suites), "secure");
        let context = &contexts[0];
        assert_eq!(context["disable_stateless_session_resumption"], true);
        assert_eq!(context["disable_stateful_session_resumption"], true);
        let parameters = &context["common_tls_context"]["tls_params"];
        assert_eq!(parameters["tls_minimum_protocol_version"], "TLSv1_3");
        assert_eq!(parameters["cipher_suites"], json!(suites));
        let secrets = &context["common_tls_context"]["tls_certificate_sds_secret_configs"];
        assert_eq!(secrets[0]["name"], tls::SECRET_CERTIFICATE);
        assert_eq!(
            secrets[0]["sds_config"]["path_config_source"]["path"],
            "/run/certificate.json"
        );
        let validation = &context["common_tls_context"]["validation_context_sds_secret_config"];
        assert_eq!(validation["name"], tls::SECRET_CLIENT_CA);
    }

    /// Every keepalive and user timeout that stands in a bootstrap.
    fn tcp_timeouts(bootstrap: &Value) -> Vec<(Value, Value)> {
        let lists = ["listeners", "clusters"].map(|list| &bootstrap["static_resources"][list]);
        let parts = lists.into_iter().flat_map(|list| list.as_array().unwrap());
        parts
            .flat_map(|part| [part, &part["upstream_connection_options"]].map(|of| (part, of)))
            .filter(|(_, of)| of["tcp_keepalive"].is_object())
            .map(|(part, of)| {
                let user_timeout = part
                    .pointer(USER_TIMEOUT)
                    .or(part["upstream_bind_config"].pointer(USER_TIMEOUT));
                (of["tcp_keepalive"].clone(), user_timeout.unwrap().clone())
            })
            .collect()
    }

    fn idle_timeouts(bootstrap: &Value) -> Vec<Value> {
        let listeners = bootstrap["static_resources"]["listeners"].as_array();
        let chains = listeners.unwrap().iter().map(|l| &l["filter_chains"][0]);
        chains
            .flat_map(|chain| chain["filters"].as_array().unwrap())
            .filter(|filter| is_of(filter, TCP_PROXY))
            .map(|filter| filter["typed_config"]["idle_timeout"].clone())
            .collect()
    }

    #[test]
    fn every_listener_and_the_reject_engine_have_the_tcp_timeout() {
        let tcp_timeout: TcpTimeout = "10s".parse().unwrap();
        let wanted = (keepalive(tcp_timeout), json!(4_000));
        let made = render(&Plan {
            tcp_timeout,
            ..plan()
        });
        assert_eq!(tcp_timeouts(&made.unwrap()), vec![wanted; 3]);
    }

    #[test]
    fn the_files_as_they_stand_have_the_default_timeouts() {
        let wanted = (
            keepalive(TcpTimeout::DEFAULT),
            json!(TcpTimeout::DEFAULT.user_timeout_ms()),
        );
        for (file, places) in [
            (TEMPLATE, 2),
            (include_str!("../../../envoy/existing.yaml"), 3),
        ] {
            let file: Value = serde_saphyr::from_str(file).unwrap();
            assert_eq!(tcp_timeouts(&file), vec![wanted.clone(); places]);
            assert_eq!(idle_timeouts(&file), ["0s"]);
        }
    }

    #[test]
    fn no_session_ends_for_being_idle_unless_that_is_asked_for() {
        assert_eq!(idle_timeouts(&render(&plan()).unwrap()), ["0s", "0s"]);
        let asked = Plan {
            idle_timeout_ms: Some(90_500),
            ..plan()
        };
        assert_eq!(
            idle_timeouts(&render(&asked).unwrap()),
            ["90.500s", "90.500s"]
        );
    }

    #[test]
    fn each_listener_is_named_in_its_filter_chain_and_carries_the_same_plugin() {
        let plan = plan();
        let bootstrap = render(&plan).unwrap();
        let text = bootstrap.to_string();
        assert_eq!(bootstrap["node"]["id"], "n-1");
        assert_eq!(bootstrap.pointer(CONNECTIONS), Some(&json!(400)));
        let listeners = bootstrap["static_resources"]["listeners"]
            .as_array()
            .unwrap();
        assert_eq!(listeners.len(), 3);
        let data: Vec<_> = listeners
            .iter()
            .filter(|l| l["name"] != names::LISTENER_CONTROL)
            .collect();
        for listener in &data {
            assert_eq!(listener["filter_chains"][0]["name"], listener["name"]);
            assert_eq!(listener["stat_prefix"], listener["name"]);
        }
        assert_eq!(
            data[0]["filter_chains"][0]["filters"],
            data[1]["filter_chains"][0]["filters"]
        );
        assert!(
            text.contains("18001") && text.contains("18000") && text.contains("/lib/filter.wasm")
        );
        // Without a reject engine the filter does not know of one.
        let without = render(&Plan {
            reject_engine: None,
            ..plan
        })
        .unwrap()
        .to_string();
        assert!(!without.contains("rejectCluster"));
    }
}
