//! What does Envoy start with? `envoy/gateway.yaml`, edited as data: the file that people read and run by hand is the
//! one that `fixgw up` uses.

use std::net::SocketAddr;
use std::path::PathBuf;

use fixgw_core::config::Settings;
use fixgw_core::names;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::admin::Admin;
use super::proxy_protocol::ProxyProtocol;

const TEMPLATE: &str = include_str!("../../../envoy/gateway.yaml");
const WASM_FILTER: &str = "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm";

/// What differs from one gateway to the next.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Unique among the proxies of a control plane.
    pub node_id: String,
    /// Names and addresses of the data listeners.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Where the control plane listens.
    pub control_plane: SocketAddr,
    /// Where the reject engine listens; none: what cannot be routed is closed.
    pub reject_engine: Option<SocketAddr>,
    /// The filter's code.
    pub filter: PathBuf,
    /// Where the admin interface listens.
    pub admin: Admin,
    /// Which load balancers stand before the data listeners; none: a header is no header there.
    pub proxy_protocol: Option<ProxyProtocol>,
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
    render_listeners(&mut bootstrap, plan).ok_or(TemplateError("data listener with the filter"))?;
    set_endpoint(
        &mut bootstrap,
        names::CLUSTER_CONTROL_PLANE,
        plan.control_plane,
    )
    .ok_or(TemplateError("cluster of the control plane"))?;
    if let Some(reject_engine) = plan.reject_engine {
        set_endpoint(&mut bootstrap, names::CLUSTER_REJECT_ENGINE, reject_engine)
            .ok_or(TemplateError("cluster of the reject engine"))?;
    }
    Ok(bootstrap)
}

fn render_listeners(bootstrap: &mut Value, plan: &Plan) -> Option<()> {
    let listeners = at(bootstrap, &["static_resources", "listeners"])?.as_array_mut()?;
    let is_control = |listener: &Value| named(listener, names::LISTENER_CONTROL);
    let template = listeners
        .iter()
        .find(|listener| !is_control(listener))?
        .clone();
    listeners.retain(is_control);
    for (name, address) in &plan.listeners {
        let mut listener = template.clone();
        *at(&mut listener, &["name"])? = json!(name);
        *at(&mut listener, &["address"])? = socket_address(*address);
        let chain = at(&mut listener, &["filter_chains"])?
            .as_array_mut()?
            .first_mut()?;
        // The filter reads the listener's name here.
        chain
            .as_object_mut()?
            .insert("name".to_owned(), json!(name));
        let filters = at(chain, &["filters"])?.as_array_mut()?;
        let is_wasm = |filter: &Value| {
            filter
                .pointer("/typed_config/@type")
                .and_then(Value::as_str)
                == Some(WASM_FILTER)
        };
        let wasm = filters.iter_mut().find(|filter| is_wasm(filter))?;
        let plugin = at(wasm, &["typed_config", "config"])?;
        *at(plugin, &["vm_config", "code", "local", "filename"])? = json!(plan.filter);
        plugin
            .as_object_mut()?
            .insert("configuration".to_owned(), settings(plan));
        listeners.push(match &plan.proxy_protocol {
            Some(proxy_protocol) => proxy_protocol.take_headers(&listener)?,
            None => listener,
        });
    }
    Some(())
}

fn settings(plan: &Plan) -> Value {
    let control = Some(names::CLUSTER_CONTROL_PLANE.to_owned());
    let settings = Settings {
        reject_cluster: plan
            .reject_engine
            .map(|_| names::CLUSTER_REJECT_ENGINE.to_owned()),
        decision_cluster: control.clone(),
        control_cluster: control,
        ..Settings::default()
    };
    json!({
        "@type": "type.googleapis.com/google.protobuf.StringValue",
        "value": serde_json::to_string(&settings).unwrap_or_default(),
    })
}

fn set_endpoint(bootstrap: &mut Value, cluster: &str, address: SocketAddr) -> Option<()> {
    let clusters = at(bootstrap, &["static_resources", "clusters"])?.as_array_mut()?;
    let cluster = clusters.iter_mut().find(|found| named(found, cluster))?;
    *at(cluster, &["load_assignment", "endpoints"])? = json!([{
        "lb_endpoints": [{ "endpoint": { "address": socket_address(address) } }],
    }]);
    Some(())
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
    use super::*;

    #[test]
    fn each_listener_is_named_in_its_filter_chain_and_carries_the_same_plugin() {
        let plan = Plan {
            node_id: "n-1".to_owned(),
            listeners: vec![
                ("main".to_owned(), "127.0.0.1:0".parse().unwrap()),
                ("second".to_owned(), "[::1]:9878".parse().unwrap()),
            ],
            control_plane: "127.0.0.1:18000".parse().unwrap(),
            reject_engine: Some("127.0.0.1:18001".parse().unwrap()),
            filter: "/lib/filter.wasm".into(),
            admin: Admin::Socket("/run/admin.sock".into()),
            proxy_protocol: None,
        };
        let bootstrap = render(&plan).unwrap();
        let text = bootstrap.to_string();
        assert_eq!(bootstrap["node"]["id"], "n-1");
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
