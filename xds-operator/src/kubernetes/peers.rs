//! Which are the other replicas? The endpoints of their own Service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::StreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::task::JoinHandle;

use crate::receive::peers::Peers;
use crate::world::SERVICE_NAME_LABEL;

/// Whose endpoints they are.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// Our own address, which is none of a peer.
    pub us: Option<IpAddr>,
    /// Where they take reports, if the Service's ports do not say.
    pub port: u16,
}

/// Keeps the peers as the API server has them. While it is away, they stay.
pub fn follow(client: Client, watched: Watched, peers: Arc<Peers>) -> JoinHandle<()> {
    let slices: Api<EndpointSlice> = Api::namespaced(client, &watched.namespace);
    let of_service = format!("{SERVICE_NAME_LABEL}={}", watched.service);
    let config = watcher::Config::default().labels(&of_service);
    tokio::spawn(async move {
        let mut events = watcher(slices, config).default_backoff().boxed();
        let mut known: BTreeMap<String, BTreeSet<SocketAddr>> = BTreeMap::new();
        let mut fresh = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => fresh.clear(),
                Ok(Event::InitApply(slice)) => {
                    fresh.insert(slice.name_any(), addresses(&slice, &watched));
                }
                Ok(Event::InitDone) => known = std::mem::take(&mut fresh),
                Ok(Event::Apply(slice)) => {
                    known.insert(slice.name_any(), addresses(&slice, &watched));
                }
                Ok(Event::Delete(slice)) => {
                    known.remove(&slice.name_any());
                }
                // Tried again by the watcher; the watches of the source tell of it.
                Err(_) => continue,
            }
            peers.set(&known.values().flatten().copied().collect());
        }
    })
}

/// Also those that are not ready: they are about to serve, and must know then.
fn addresses(slice: &EndpointSlice, watched: &Watched) -> BTreeSet<SocketAddr> {
    let ports = slice.ports.iter().flatten().filter_map(|port| port.port);
    let mut ports = ports.filter_map(|port| u16::try_from(port).ok());
    let port = ports.next().unwrap_or(watched.port);
    let endpoints = slice.endpoints.iter().flatten();
    let addresses = endpoints.flat_map(|endpoint| &endpoint.addresses);
    addresses
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .filter(|address| Some(*address) != watched.us)
        .map(|address| SocketAddr::new(address, port))
        .collect()
}
