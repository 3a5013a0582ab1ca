//! How do the replicas of a control plane learn what gateways tell one of them? Whoever takes a report passes it on to the others,
//! so each knows of every VM: what it uses, before something of that is removed, and who is connected. Beside it stands what its
//! gateway refused, and how long ago the API server answered who passes it on.
//!
//! INVARIANT: a report that was passed on is not passed on again, and no gateway waits for a replica that does not answer for
//! longer than [`PASS_TIMEOUT`], and not at each report.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
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
/// The metadata key of how many milliseconds ago the API server answered who passes the report on.
const SILENCE: &str = "fixgw-silence-ms";
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
    hearing: Mutex<Hearing>,
    stands_aside: watch::Sender<bool>,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            by_address: Mutex::default(),
            rejections: watch::Sender::default(),
            started: Instant::now(),
            hearing: Mutex::default(),
            stands_aside: watch::Sender::default(),
        }
    }
}

/// Who hears the API server, and whose word for it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hearing {
    aside: Aside,
    /// Addresses of replicas that have come since the API server answered us.
    come_since: BTreeSet<IpAddr>,
}

impl Hearing {
    fn heard(&mut self, at_ms: u64) {
        let before = self.aside;
        self.aside.heard(at_ms);
        if self.aside != before {
            self.come_since.clear();
        }
    }

    fn told(&mut self, caller: Option<IpAddr>, is_known: bool, silence_ms: u64, now_ms: u64) {
        let Some(caller) = caller else { return };
        if !is_known && self.aside.is_behind(now_ms) && self.come_since.len() < PEERS_MAX {
            self.come_since.insert(caller);
        }
        if is_known || self.come_since.contains(&caller) {
            self.aside.told(silence_ms, now_ms);
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
        self.of_hearing(|hearing, _| hearing.heard(at_ms));
    }

    /// Whether this replica stands aside, because another one hears the API server and this one does not.
    #[must_use]
    pub fn stands_aside(&self) -> watch::Receiver<bool> {
        self.stands_aside.subscribe()
    }

    /// Looks whether this replica stands aside; time alone can change it.
    pub fn look(&self) {
        let now = self.of_hearing(|hearing, now_ms| hearing.aside.stands_aside(now_ms));
        tell_another(&self.stands_aside, now);
    }

    fn of_hearing<T>(&self, what: impl FnOnce(&mut Hearing, u64) -> T) -> T {
        let now_ms = millis(self.started.elapsed());
        // Nothing panics while it is held.
        let mut hearing = self.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        what(&mut hearing, now_ms)
    }

    /// What one of them tells beside a report of this gateway. When the API server answered it is believed of those alone that we know,
    /// for who says so can make us send our gateways away. While one that we know is ahead of us, who passes reports on is a replica that
    /// has come since, and that we cannot hear of: it is believed, too, until the API server answers us.
    pub fn heard_beside<T>(&self, node: &str, request: &Request<T>) {
        let silence = request.metadata().get(SILENCE);
        let silence = silence.and_then(|ms| ms.to_str().ok()?.parse().ok());
        if let Some(silence_ms) = silence {
            let caller = request.remote_addr().map(|it| it.ip().to_canonical());
            let is_known = caller.is_some_and(|caller| self.knows(caller));
            self.of_hearing(|hearing, now_ms| hearing.told(caller, is_known, silence_ms, now_ms));
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
            silence_ms: self.of_hearing(|hearing, now_ms| hearing.aside.silence_ms(now_ms)),
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

    /// Whether it is the address of one of them; from which port it calls, nobody knows.
    fn knows(&self, caller: IpAddr) -> bool {
        self.peers().keys().any(|peer| peer.ip() == caller)
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
    silence_ms: u64,
}

/// None: it did not answer, or could not take the report.
async fn told(channel: Channel, report: VmReport, beside: Beside) -> Option<u64> {
    let mut request = Request::new(report);
    request
        .metadata_mut()
        .insert(PASSED_ON, MetadataValue::from_static("1"));
    request
        .metadata_mut()
        .insert(SILENCE, MetadataValue::from(beside.silence_ms));
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tonic::transport::server::TcpConnectInfo;

    use super::*;

    /// Connections to the others need a runtime.
    #[tokio::test]
    async fn only_another_replica_is_believed_that_the_api_server_answers_it() {
        let replica: SocketAddr = ([10, 0, 0, 2], 18_000).into();
        let peers = Peers {
            started: Instant::now().checked_sub(Duration::from_mins(1)).unwrap(),
            ..Peers::default()
        };
        peers.set(&BTreeSet::from([replica]));
        let told = |from: &str, silence: &'static str| {
            let mut request = Request::new(());
            request.extensions_mut().insert(TcpConnectInfo {
                local_addr: None,
                remote_addr: Some(SocketAddr::new(from.parse::<IpAddr>().unwrap(), 40_000)),
            });
            let silence = MetadataValue::from_static(silence);
            request.metadata_mut().insert(SILENCE, silence);
            peers.heard_beside("gw", &request);
            peers.of_hearing(|hearing, _| hearing.clone())
        };
        let nothing = Hearing::default();
        assert_eq!(told("10.0.0.3", "0"), nothing);
        for wrong in ["", "-1", "now", "99999999999999999999"] {
            assert_eq!(told("10.0.0.2", wrong), nothing, "{wrong}");
        }
        assert_ne!(told("::ffff:10.0.0.2", "0"), nothing);
        // It is replaced while we hear nothing of that.
        let come_since = |hearing: &Hearing| hearing.come_since.len();
        assert_eq!(come_since(&told("10.0.0.3", "0")), 1);
        peers.set(&BTreeSet::new());
        assert_ne!(told("10.0.0.3", "0").aside, Aside::default());
        peers.api_server_heard(Instant::now());
        assert_eq!(come_since(&told("10.0.0.3", "0")), 0);
    }
}
