//! How do the replicas of a control plane learn what gateways tell one of them? Whoever takes a report passes it on to the others,
//! so each knows of every VM: what it uses, before something of that is removed, and who is connected. Beside it stands what its
//! gateway refused, and whether who passes it on hears the API server.
//!
//! INVARIANT: a report that was passed on is not passed on again, and no gateway waits for a replica that does not answer for
//! longer than [`PASS_TIMEOUT`], and not at each report.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fixgw_core::report::{METHOD, SERVICE, VmReport, VmReportAnswer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::aside::Aside;
use super::rejections::Rejections;
use crate::wait::{millis, tell_another};

/// The metadata key of a report that was passed on.
pub const PASSED_ON: &str = "fixgw-passed-on";
/// The metadata key of what the report's gateway has refused, as the replica that it asks knows it.
const REJECTED: &str = "fixgw-rejected-bin";
/// The metadata key that is there when who passes the report on hears the API server.
const HEARS: &str = "fixgw-hears";
/// Replicas beside this one. Nobody needs so many.
pub const PEERS_MAX: usize = 16;
/// How long one is waited for: a gateway's next report waits, too.
pub const PASS_TIMEOUT: Duration = Duration::from_millis(300);
/// How long one that did not answer is passed over.
pub const SILENT: Duration = Duration::from_secs(1);

/// The other replicas.
#[derive(Debug)]
pub struct Peers {
    by_address: Mutex<BTreeMap<SocketAddr, Peer>>,
    rejections: watch::Sender<Arc<Rejections>>,
    started: Instant,
    aside: Mutex<Aside>,
    stands_aside: watch::Sender<bool>,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            by_address: Mutex::default(),
            rejections: watch::Sender::default(),
            started: Instant::now(),
            aside: Mutex::default(),
            stands_aside: watch::Sender::default(),
        }
    }
}

#[derive(Clone, Debug)]
struct Peer {
    channel: Channel,
    /// Until when it is passed over.
    silent_until: Option<Instant>,
}

impl Peers {
    /// These are all, from now on.
    pub fn set(&self, addresses: &BTreeSet<SocketAddr>) {
        let mut peers = self.peers();
        peers.retain(|address, _| addresses.contains(address));
        for address in addresses.iter().take(PEERS_MAX) {
            peers.entry(*address).or_insert_with(|| Peer::at(*address));
        }
    }

    /// What gateways refused, of which the replicas tell each other.
    #[must_use]
    pub fn rejections(&self) -> watch::Sender<Arc<Rejections>> {
        self.rejections.clone()
    }

    /// The API server has answered us, at that moment.
    pub fn api_server_heard(&self, at: Instant) {
        let at_ms = millis(at.saturating_duration_since(self.started));
        self.of_aside(|aside, _| aside.heard(at_ms));
    }

    /// Whether this replica stands aside, because another one hears the API server and this one does not.
    #[must_use]
    pub fn stands_aside(&self) -> watch::Receiver<bool> {
        self.stands_aside.subscribe()
    }

    /// Looks whether this replica stands aside; time alone can change it.
    pub fn look(&self) {
        let now = self.of_aside(|aside, now_ms| aside.stands_aside(now_ms));
        tell_another(&self.stands_aside, now);
    }

    fn of_aside<T>(&self, what: impl FnOnce(&mut Aside, u64) -> T) -> T {
        let now_ms = millis(self.started.elapsed());
        // Nothing panics while it is held.
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        what(&mut aside, now_ms)
    }

    /// What one of them tells beside a report of this gateway.
    pub fn heard_beside<T>(&self, node: &str, request: &Request<T>) {
        if request.metadata().contains_key(HEARS) {
            self.of_aside(Aside::told);
        }
        let told = request.metadata().get_bin(REJECTED);
        if let Some(told) = told.and_then(|told| told.to_bytes().ok()) {
            self.rejections
                .send_if_modified(|known| Arc::make_mut(known).heard(node, &told));
        }
    }

    /// Hands a report to all of them. Gives the lowest number of a report that they know: what follows it, one of them lacks.
    pub async fn pass_on(self: &Arc<Self>, report: &VmReport) -> Option<u64> {
        let now = Instant::now();
        let beside = Beside {
            rejected: self.rejections.borrow().to_tell(&report.node_id),
            hears: self.of_aside(|aside, now_ms| aside.hears(now_ms)),
        };
        let mut answers = JoinSet::new();
        for (address, peer) in self.peers().iter() {
            if peer.silent_until.is_none_or(|until| until <= now) {
                let (peers, address) = (self.clone(), *address);
                let answer = told(peer.channel.clone(), report.clone(), beside.clone());
                answers.spawn(async move {
                    let answer = answer.await;
                    peers.heard(address, answer.is_some());
                    answer
                });
            }
        }
        let answers = answers.join_all().await;
        answers.into_iter().flatten().min()
    }

    fn heard(&self, address: SocketAddr, answered: bool) {
        if let Some(peer) = self.peers().get_mut(&address) {
            peer.silent_until = (!answered).then(|| Instant::now() + SILENT);
        }
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Peer>> {
        // Nothing panics while it is held.
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    fn at(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from(
            tonic::transport::Uri::from_maybe_shared(format!("http://{address}"))
                .unwrap_or_default(),
        );
        Self {
            channel: endpoint
                .connect_timeout(PASS_TIMEOUT)
                .timeout(PASS_TIMEOUT)
                .connect_lazy(),
            silent_until: None,
        }
    }
}

/// What stands beside a report that is passed on.
#[derive(Clone)]
struct Beside {
    rejected: Option<Vec<u8>>,
    hears: bool,
}

/// None: it did not answer, or could not take the report.
async fn told(channel: Channel, report: VmReport, beside: Beside) -> Option<u64> {
    let mut request = Request::new(report);
    request
        .metadata_mut()
        .insert(PASSED_ON, MetadataValue::from_static("1"));
    if beside.hears {
        let hears = MetadataValue::from_static("1");
        request.metadata_mut().insert(HEARS, hears);
    }
    if let Some(rejected) = beside.rejected {
        let rejected = MetadataValue::from_bytes(&rejected);
        request.metadata_mut().insert_bin(REJECTED, rejected);
    }
    let path = PathAndQuery::try_from(format!("/{SERVICE}/{METHOD}")).ok()?;
    let mut grpc = tonic::client::Grpc::new(channel);
    let codec: ProstCodec<VmReport, VmReportAnswer> = ProstCodec::default();
    let call = async {
        grpc.ready().await.ok()?;
        grpc.unary(request, path, codec).await.ok()
    };
    let answer = tokio::time::timeout(PASS_TIMEOUT, call).await.ok()??;
    Some(answer.into_inner().number)
}
