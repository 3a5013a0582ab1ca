//! Which are the other replicas? The endpoints of their own Service.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::client::listened;
use super::{Patience, watch_config};
use crate::message::Message;
use crate::receive::peers::Peers;
use crate::source::kubernetes::Watch;
use crate::source::kubernetes::trouble::{Cause, Now, Troubles};
use crate::wait::{at, millis, tell_another};
use crate::world::{Kind, SERVICE_NAME_LABEL};

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

/// Replicas that are followed.
#[derive(Debug)]
pub struct Following {
    /// What stands in the way, to be told by [`crate::message::Standing`]. That the API server is away is not among it: the watches of
    /// the source tell that.
    pub troubles: watch::Receiver<Vec<Message>>,
    /// Does not end.
    pub task: JoinHandle<()>,
}

/// Keeps the peers as the API server has them. While it is away, they stay.
#[must_use]
pub fn follow(client: Client, watched: Watched, peers: Arc<Peers>) -> Following {
    let (sender, troubles) = watch::channel(Vec::new());
    let task = tokio::spawn(keep(client, watched, peers, sender));
    Following { troubles, task }
}

async fn keep(
    client: Client,
    watched: Watched,
    peers: Arc<Peers>,
    sender: watch::Sender<Vec<Message>>,
) {
    // The watcher keeps it to itself that a watch has begun, until something changes.
    let (begun, mut begins) = mpsc::channel(1);
    let client = listened(client, move || {
        // One that was not looked at yet says as much.
        let _ = begun.try_send(());
        ready(())
    });
    let slices: Api<EndpointSlice> = Api::namespaced(client, &watched.namespace);
    let of_service = format!("{SERVICE_NAME_LABEL}={}", watched.service);
    let events = watcher(slices, watch_config().labels(&of_service));
    // That a list is about to be asked for is no success.
    let events = events.filter(|event| ready(!matches!(event, Ok(Event::Init))));
    let mut events = pin!(events.backoff(Patience::default()));
    let which = Watch {
        kind: Kind::EndpointSlice,
        namespace: Some(watched.namespace.as_str().into()),
    };
    let mut known: BTreeMap<String, BTreeSet<SocketAddr>> = BTreeMap::new();
    let mut fresh = BTreeMap::new();
    let started = Instant::now();
    let now_ms = || millis(started.elapsed());
    let mut standing = Troubles::default();
    loop {
        let now = now_ms();
        let messages: Vec<Message> = standing.messages(now).into_iter().map(ours).collect();
        tell_another(&sender, messages);
        let due = standing.due_ms(now);
        let due = due.map(|ms| started + Duration::from_millis(ms));
        let event = tokio::select! {
            () = at(due) => continue,
            Some(()) = begins.recv() => {
                standing.works(&which);
                continue;
            }
            event = events.next() => match event {
                Some(event) => event,
                // It ends with the process alone.
                None => return,
            },
        };
        match event {
            Err(error) => {
                fresh.clear();
                let now = Now {
                    wall: Timestamp::now(),
                    ms: now_ms(),
                };
                match Cause::of(&error) {
                    None | Some(Cause::Unreachable(_)) => {}
                    Some(cause) => standing.failed(&which, cause, now),
                }
                continue;
            }
            Ok(Event::Init) => {}
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
        }
        peers.set(&known.values().flatten().copied().collect());
    }
}

/// What it means here.
fn ours(message: Message) -> Message {
    let watch = message.object.unwrap_or_default();
    Message {
        object: Some(format!("the other replicas, by the {watch}")),
        meanwhile:
            "what gateways report reaches only the replicas that were known, and it is tried again"
                .to_owned(),
        ..message
    }
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
