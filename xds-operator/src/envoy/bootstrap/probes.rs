//! Where is a gateway asked whether it is ready, and for its statistics? `envoy/probes.yaml`, edited as data: two listeners that
//! pass three paths on and nothing else of the admin interface.

use serde_json::{Value, json};

use super::{Bind, TemplateError, at, bound_address, socket_address};
use crate::envoy::admin::Admin;

const TEMPLATE: &str = include_str!("../../../../envoy/probes.yaml");

/// Where a gateway is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// By the kubelet, whether it lives and is ready.
    pub probes: Bind,
    /// By Prometheus, for its statistics.
    pub metrics: Bind,
}

/// Connections that both take at a time; the bounds stand in the file, and a test holds them together.
const CONNECTIONS_MAX: u64 = 64;
/// Files of each: its own, one to the admin interface, and that one's other end.
const FILES_OF_A_CONNECTION: u64 = 3;
/// Files that probes need at most, beside those of counterparties.
pub const FILES_MAX: u64 = CONNECTIONS_MAX * FILES_OF_A_CONNECTION;

/// Adds the listeners, and the cluster of the admin interface.
///
/// # Errors
/// The template lacks a part.
pub(super) fn add(bootstrap: &mut Value, ports: Ports, admin: &Admin) -> Result<(), TemplateError> {
    const FILE: &str = "listeners and cluster for probes (`envoy/probes.yaml`)";
    let mut template: Value =
        serde_saphyr::from_str(TEMPLATE).map_err(|_| TemplateError("valid `probes.yaml`"))?;
    edit(&mut template, ports, admin)
        .and_then(|()| {
            for listener in template.get_mut("listeners")?.as_array_mut()? {
                push(bootstrap, "listeners", listener.take())?;
            }
            push(bootstrap, "clusters", template.get_mut("cluster")?.take())
        })
        .ok_or(TemplateError(FILE))
}

fn push(bootstrap: &mut Value, list: &str, entry: Value) -> Option<()> {
    let entries = at(bootstrap, &["static_resources", list])?.as_array_mut()?;
    entries.push(entry);
    Some(())
}

fn edit(template: &mut Value, ports: Ports, admin: &Admin) -> Option<()> {
    for (listener, bind) in [
        ("/listeners/0/address", ports.probes),
        ("/listeners/1/address", ports.metrics),
    ] {
        *template.pointer_mut(listener)? = bound_address(bind);
    }
    let admin = match admin {
        Admin::Socket(path) => json!({ "pipe": { "path": path } }),
        Admin::Port(address) => socket_address(*address),
    };
    let endpoint = "/cluster/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address";
    *template.pointer_mut(endpoint)? = admin;
    Some(())
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
    fn the_bound_of_the_file_is_the_one_that_files_are_kept_for() {
        let template: Value = serde_saphyr::from_str(TEMPLATE).unwrap();
        let listeners = template["listeners"].as_array().unwrap().iter();
        let bound = "/filter_chains/0/filters/0/typed_config/max_connections";
        let bounds = listeners.map(|listener| listener.pointer(bound).unwrap().as_u64().unwrap());
        assert_eq!(bounds.sum::<u64>(), CONNECTIONS_MAX);
        let breaker = "/cluster/circuit_breakers/thresholds/0/max_connections";
        assert_eq!(template.pointer(breaker), Some(&json!(CONNECTIONS_MAX)));
    }

    #[test]
    fn every_route_wants_its_whole_path_and_get() {
        let template: Value = serde_saphyr::from_str(TEMPLATE).unwrap();
        let listeners = template["listeners"].as_array().unwrap().iter();
        let routes = "/filter_chains/0/filters/1/typed_config/route_config/virtual_hosts/0/routes";
        let routes =
            listeners.flat_map(|listener| listener.pointer(routes).unwrap().as_array().unwrap());
        let routes: Vec<&Value> = routes.collect();
        assert_eq!(routes.len(), 3);
        for route in routes {
            let headers = json!([
                { "name": ":method", "string_match": { "exact": "GET" } },
                { "name": ":path", "string_match": { "exact": route["match"]["path"] } },
            ]);
            assert_eq!(route["match"]["headers"], headers);
        }
    }
}
