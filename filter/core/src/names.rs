//! What are the things called that Envoy, the filter and the control plane must name alike?

/// The Wasm VM shared by every plugin of the gateway: same `vm_id`, same code, so one VM per worker.
pub const VM_ID: &str = "fixgw";
/// Root of the data listeners' plugin. Its configuration never changes.
pub const ROOT_DATA: &str = "data";
/// Root of the control listener's plugin that receives the table.
pub const ROOT_ROUTES: &str = "routes";
/// Root of the control listener's plugin that receives the readiness.
pub const ROOT_READINESS: &str = "readiness";

/// ECDS resource that carries the table.
pub const RESOURCE_ROUTES: &str = "fix-routes";
/// ECDS resource that carries the readiness of targets.
pub const RESOURCE_READINESS: &str = "fix-readiness";

/// Listener without a socket that carries the discovered plugins.
pub const LISTENER_CONTROL: &str = "fixgw-control";

/// `tcp_proxy`'s own cluster. INVARIANT: it never has an endpoint, so what was not routed reaches nobody.
pub const CLUSTER_UNROUTED: &str = "fixgw-unrouted";
/// Where `tcp_proxy` tries a connection whose target has ceased to be ready. INVARIANT: its one endpoint is an address at which
/// nobody can listen, so that every attempt fails and the next one is made.
pub const CLUSTER_PARKED: &str = "fixgw-parked";
/// The control plane: xDS, decision records, reports.
pub const CLUSTER_CONTROL_PLANE: &str = "fixgw-control-plane";
/// The reject engine.
pub const CLUSTER_REJECT_ENGINE: &str = "fixgw-reject-engine";

/// Envoy's filter state that `tcp_proxy` takes its cluster from.
pub const FILTER_STATE_CLUSTER: &str = "envoy.tcp_proxy.cluster";
/// Filter state in which a filter chain says how a connection came ([`crate::path`]); no such state where the listener
/// takes no PROXY protocol headers.
pub const FILTER_STATE_PATH: &str = "fixgw.path";
/// Property that the filter sets with the label of the reason; Envoy keeps it as `wasm.fixgw.reason`.
pub const PROPERTY_REASON: &str = "fixgw.reason";
/// PROXY v2 TLV that carries the reason's label to the reject engine. First of the range that the PROXY protocol
/// leaves to applications (`PP2_TYPE_MIN_CUSTOM`, 0xE0 to 0xEF).
pub const PROXY_TLV_REASON: u8 = 0xE0;
