//! How do proxies reach the rollouts, and what is heard of them?
//!
//! One port: delta ADS, the decision records (OTLP logs) and the reports of the VMs. A thin shell: what is sent, and
//! when, is decided in [`super::rollout`].
//!
//! Never closes a session, never waits for a listener of its events: what nobody takes in time is dropped and counted.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use fixgw_core::report::{VmReport, VmReportAnswer};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::LogsServiceServer;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::Snapshot;
use super::resources::{Goal, ProxySettings};
use super::rollout::{Follows, Happened, Now, Rollout, Seen, Step};
use super::session::Excess;
use crate::receive::decision::ReceivedDecision;
use crate::receive::fleet::{AllSessions, Fleet, ProxyView};
use crate::receive::logs::LogSink;
use crate::receive::peers::Peers;
use crate::receive::report::{ReportServer, TakeReports};
use crate::receive::vms::{Registry, Taken, is_node_id};
use crate::wait::{tell_another, unix_ms};

/// Proxies served at once. A proxy has one stream, and a second one for the moment of a reconnect.
pub const STREAMS_MAX: usize = 1_024;
/// Calls at once on one connection: a stream, and from each worker a batch of records and a report.
const CALLS_PER_CONNECTION_MAX: u32 = 1_024;
/// Bytes of a request. The largest is the first one of a proxy that comes back and lists what it holds: the bound on
/// subscriptions times the length of a usual name and of a version.
const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Responses that wait for one proxy's socket: one of each type, and some for types that we do not serve. Beyond that
/// its requests wait.
const RESPONSES_WAITING_MAX: usize = 8;
/// Events that wait to be told.
const EVENTS_WAITING_MAX: usize = 4_096;
/// Decision records that wait to be printed: a Logon storm of 10,000 sessions passes.
const DECISIONS_WAITING_MAX: usize = 16_384;
/// Time that a new stream has to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How often heartbeats are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Silence after which a proxy's connection is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// What a proxy is told whose replica does not hear the API server, while another one does.
const STANDS_ASIDE: &str =
    "this replica does not hear the API server, and another one does; ask that one";
/// Time that open calls have to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Something to tell people, about one proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The proxy's `node.id`.
    pub node: String,
    /// What happened.
    pub what: What,
}

/// What happened to a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It opened a stream.
    Connected {
        /// From here.
        peer: Option<SocketAddr>,
    },
    /// Its stream ended.
    Disconnected,
    /// Its stream was ended, for it asked too much.
    Refused {
        /// Why.
        reason: String,
    },
    /// Its rollout went on.
    Rollout(Happened),
    /// A VM uses another table or readiness than before.
    VmUses {
        /// Which VM.
        vm_id: u64,
        /// The table; 0: none.
        table_revision: u64,
        /// The readiness; 0: none.
        readiness_version: u64,
    },
    /// A VM has not been heard for the length of five heartbeats.
    VmGone {
        /// Which VM.
        vm_id: u64,
    },
}

impl What {
    /// Whether something does not work.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Rollout(Happened::Rejected { .. } | Happened::Behind { .. })
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy `{}` {}", self.node, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected { peer: Some(peer) } => write!(f, "connected from {peer}"),
            Self::Connected { peer: None } => f.write_str("connected"),
            Self::Disconnected => f.write_str("disconnected; it goes on with what it has"),
            Self::Refused { reason } => write!(f, "was refused: {reason}"),
            Self::Rollout(happened) => happened.fmt(f),
            Self::VmUses {
                vm_id,
                table_revision,
                readiness_version,
            } => {
                write!(
                    f,
                    "uses revision {table_revision}, readiness {readiness_version} in VM {vm_id:016x}"
                )
            }
            Self::VmGone { vm_id } => write!(f, "has lost VM {vm_id:016x}"),
        }
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableAcknowledged { revision } => write!(f, "acknowledged revision {revision}"),
            Self::Rejected {
                kind,
                names,
                text,
                follows,
            } => {
                write!(
                    f,
                    "rejected {} {}: {text}; ",
                    kind.label(),
                    Shortened(names)
                )?;
                f.write_str(match follows {
                    Follows::NotSentAgain => "it goes on with what it had; not sent again until it changes",
                    Follows::SentInParts => "it goes on with what it had; they are sent again in smaller parts",
                    Follows::PluginRefused => {
                        "it goes on with what it had; not sent again until it changes (the proxy's log says why)"
                    }
                    Follows::MustRestart => {
                        "it goes on with what it had; this proxy must be restarted to take a newer one"
                    }
                })
            }
            Self::Mended { kind, names } => write!(
                f,
                "accepted {} {}, which it had rejected before",
                kind.label(),
                Shortened(names)
            ),
            Self::Behind { held, ours } => write!(
                f,
                "holds revision {held}, newer than ours ({ours}); it keeps that one, and gets ours when a newer one is \
                 published"
            ),
            Self::Removed { clusters } => write!(f, "no longer has {}", Shortened(clusters)),
        }
    }
}

/// The first names of a list that may be long.
struct Shortened<'a>(&'a [String]);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (index, name) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}`{name}`")?;
        }
        match self.0.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, " and {more} more"),
        }
    }
}

/// What a server tells.
#[derive(Debug)]
pub struct Outputs {
    /// What happened.
    pub events: mpsc::Receiver<Event>,
    /// What became of Logons.
    pub decisions: mpsc::Receiver<ReceivedDecision>,
    /// What is known of the proxies; changes when something in it does.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// Who is connected, by proxy.
    pub sessions: watch::Receiver<Arc<AllSessions>>,
    /// What nobody took in time.
    pub dropped: Arc<Dropped>,
}

/// Counts of what was dropped because nobody took it in time.
#[derive(Debug, Default)]
pub struct Dropped {
    /// Events.
    pub events: AtomicU64,
    /// Decision records.
    pub decisions: Arc<AtomicU64>,
}

/// The port could not be served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The listener failed.
    #[error("the control plane's port failed; stop what else uses it and start again")]
    Transport(#[source] tonic::transport::Error),
    /// Its task is gone.
    #[error("the control plane's server ended ({0}); please report it")]
    Ended(String),
}

/// The control plane's server.
#[derive(Debug)]
pub struct Server {
    settings: ProxySettings,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    goals: watch::Sender<Arc<Goal>>,
    shared: Arc<Shared>,
    peers: Option<Arc<Peers>>,
}

impl Server {
    /// A server of the snapshots, with what it will tell.
    #[must_use]
    pub fn new(
        settings: ProxySettings,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        peers: Option<Arc<Peers>>,
    ) -> (Self, Outputs) {
        let (events_in, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let (decisions_in, decisions) = mpsc::channel(DECISIONS_WAITING_MAX);
        let (fleet_in, fleet) = watch::channel(Arc::new(Fleet::default()));
        let (sessions_in, sessions) = watch::channel(Arc::default());
        let goal = Arc::new(Goal::new(&snapshots.borrow(), &settings));
        let dropped = Arc::new(Dropped::default());
        let shared = Arc::new(Shared {
            started: Instant::now(),
            events: events_in,
            decisions: decisions_in,
            dropped: dropped.clone(),
            known: Mutex::new(Known::default()),
            fleet: fleet_in,
            sessions: sessions_in,
            stop: watch::Sender::new(false),
            stands_aside: peers.as_deref().map_or_else(
                || watch::Sender::new(false).subscribe(),
                Peers::stands_aside,
            ),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        });
        let server = Self {
            settings,
            snapshots,
            goals: watch::Sender::new(goal),
            shared,
            peers,
        };
        (
            server,
            Outputs {
                events,
                decisions,
                fleet,
                sessions,
                dropped,
            },
        )
    }

    /// Serves until `stop` is done. Streams end within a second after that.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let Self {
            settings,
            mut snapshots,
            goals,
            shared,
            peers,
        } = self;
        let ads = AdsService {
            settings: settings.clone(),
            goals: goals.subscribe(),
            shared: shared.clone(),
        };
        let ads =
            AggregatedDiscoveryServiceServer::new(ads).max_decoding_message_size(REQUEST_BYTES_MAX);
        let logs = LogsServiceServer::new(LogSink::new(
            shared.decisions.clone(),
            shared.dropped.decisions.clone(),
        ));
        let mut stopped = shared.stop.subscribe();
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
            .add_service(ads)
            .add_service(logs)
            .add_service(ReportServer::new(shared.clone(), peers))
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                async move {
                    let _ = stopped.wait_for(|stop| *stop).await;
                },
            );
        tokio::pin!(serving, stop);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                served = &mut serving => return served.map_err(ServeError::Transport),
                () = &mut stop => break,
                Ok(()) = snapshots.changed() => {
                    let goal = goals.borrow().next(&snapshots.borrow_and_update(), &settings);
                    goals.send_replace(Arc::new(goal));
                }
                _ = look.tick() => shared.look(),
            }
        }
        shared.stop.send_replace(true);
        // A proxy that does not let go of its connection must not keep us.
        match timeout(STOP_TIMEOUT, serving).await {
            Ok(served) => served.map_err(ServeError::Transport),
            Err(_) => Ok(()),
        }
    }
}

/// What all calls share.
#[derive(Debug)]
struct Shared {
    started: Instant,
    events: mpsc::Sender<Event>,
    decisions: mpsc::Sender<ReceivedDecision>,
    dropped: Arc<Dropped>,
    known: Mutex<Known>,
    fleet: watch::Sender<Arc<Fleet>>,
    sessions: watch::Sender<Arc<AllSessions>>,
    stop: watch::Sender<bool>,
    /// Whether other replicas serve better than we do.
    stands_aside: watch::Receiver<bool>,
    streams: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Known {
    vms: Registry,
    streams: BTreeMap<String, StreamsOf>,
    /// Counts went up since the fleet was published last. They do so all the time, and are published at the next look.
    counted: bool,
    /// Connections came or went since the sessions were published last.
    sessions_changed: bool,
}

impl Known {
    fn wake(&self, node: &str) {
        if let Some(streams) = self.streams.get(node) {
            streams.vms_changed.send_replace(());
        }
    }
}

/// The streams of one proxy. Forgotten with the last one.
#[derive(Debug, Default)]
struct StreamsOf {
    open: usize,
    acknowledged: Option<u64>,
    readiness: Option<u64>,
    vms_changed: watch::Sender<()>,
}

impl Shared {
    fn now(&self) -> Now {
        Now {
            monotonic: self.started.elapsed(),
            unix_ms: unix_ms(),
        }
    }

    fn seen(&self, node: &str) -> Seen {
        let vms = self.known().vms.of(node);
        Seen {
            now: self.now(),
            vms,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is held; if it did, what is known is still whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, node: &str, what: What) {
        if self
            .events
            .try_send(Event {
                node: node.to_owned(),
                what,
            })
            .is_err()
        {
            self.dropped.events.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn publish_fleet(&self, known: &Known) {
        let mut proxies: BTreeMap<String, ProxyView> = BTreeMap::new();
        for (node, streams) in &known.streams {
            let proxy = proxies.entry(node.clone()).or_default();
            proxy.streams = streams.open;
            proxy.acknowledged = streams.acknowledged;
            proxy.readiness = streams.readiness;
        }
        for (node, vms) in known.vms.by_node() {
            proxies.entry(node.to_owned()).or_default().vms = vms;
        }
        let fleet = Fleet { proxies };
        tell_another(&self.fleet, Arc::new(fleet));
    }

    fn stream_changed<T>(&self, node: &str, change: impl FnOnce(&mut StreamsOf) -> T) -> T {
        let mut known = self.known();
        let streams = known.streams.entry(node.to_owned()).or_default();
        let changed = change(streams);
        if streams.open == 0 {
            known.streams.remove(node);
        }
        self.publish_fleet(&known);
        changed
    }

    /// Forgets silent VMs, and publishes what was only counted.
    fn look(&self) {
        let mut known = self.known();
        let gone = known.vms.forget_silent(self.now());
        if std::mem::take(&mut known.sessions_changed) || !gone.is_empty() {
            self.sessions.send_replace(Arc::new(known.vms.sessions()));
        }
        if gone.is_empty() && !std::mem::take(&mut known.counted) {
            return;
        }
        self.publish_fleet(&known);
        for (node, vm_id) in gone {
            known.wake(&node);
            self.tell(&node, What::VmGone { vm_id });
        }
    }
}

impl TakeReports for Shared {
    fn take(&self, report: VmReport) -> Result<VmReportAnswer, Status> {
        let mut known = self.known();
        match known.vms.take(&report, self.now()) {
            Taken::Heartbeat => {}
            Taken::Counted => known.counted = true,
            Taken::Changed => {
                self.publish_fleet(&known);
                known.wake(&report.node_id);
                known.sessions_changed = true;
                let &VmReport {
                    vm_id,
                    table_revision,
                    readiness_version,
                    ..
                } = &report;
                self.tell(
                    &report.node_id,
                    What::VmUses {
                        vm_id,
                        table_revision,
                        readiness_version,
                    },
                );
            }
            Taken::Full => {
                return Err(Status::resource_exhausted(
                    "more VMs than the control plane keeps account of",
                ));
            }
            Taken::Nameless => {
                return Err(Status::invalid_argument(
                    "a report needs the proxy's node id, up to 512 bytes",
                ));
            }
        }
        let (number, changed) = known.vms.take_sessions(report);
        known.sessions_changed |= changed;
        Ok(VmReportAnswer { number })
    }
}

/// Delta ADS.
#[derive(Debug)]
struct AdsService {
    settings: ProxySettings,
    goals: watch::Receiver<Arc<Goal>>,
    shared: Arc<Shared>,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for AdsService {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented(
            "only delta ADS is served; set `api_type: DELTA_GRPC` in the proxy's `ads_config`",
        ))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        if *self.shared.stands_aside.borrow() {
            return Err(Status::unavailable(STANDS_ASIDE));
        }
        let permit = self.shared.streams.clone().try_acquire_owned();
        let permit = permit.map_err(|_| {
            Status::resource_exhausted("more proxies than one control plane serves")
        })?;
        let peer = request.remote_addr();
        let (responses, outgoing) = mpsc::channel(RESPONSES_WAITING_MAX);
        let stream = AdsStream {
            settings: self.settings.clone(),
            goals: self.goals.clone(),
            shared: self.shared.clone(),
            responses,
            _permit: permit,
        };
        tokio::spawn(stream.run(request.into_inner(), peer));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// One proxy's stream.
struct AdsStream {
    settings: ProxySettings,
    goals: watch::Receiver<Arc<Goal>>,
    shared: Arc<Shared>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    _permit: OwnedSemaphorePermit,
}

/// Why a stream goes on.
enum Wake {
    Request(Box<DeltaDiscoveryRequest>),
    Goal,
    Vms,
    Aside,
    End,
}

impl AdsStream {
    async fn run(
        mut self,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        peer: Option<SocketAddr>,
    ) {
        let Ok(Ok(Some(first))) = timeout(HELLO_TIMEOUT, requests.message()).await else {
            return;
        };
        let node = first
            .node
            .as_ref()
            .map(|node| node.id.clone())
            .unwrap_or_default();
        if !is_node_id(&node) {
            let refusal =
                Status::invalid_argument("the first request must carry the proxy's `node.id`");
            let _ = self.responses.send(Err(refusal)).await;
            return;
        }
        let shared = self.shared.clone();
        let vms = shared.stream_changed(&node, |streams| {
            streams.open += 1;
            streams.vms_changed.subscribe()
        });
        shared.tell(&node, What::Connected { peer });
        if let Err(excess) = self.drive(&node, first, requests, vms).await {
            let reason = excess.to_string();
            let refusal = Status::resource_exhausted(reason.clone());
            shared.tell(&node, What::Refused { reason });
            let _ = self.responses.send(Err(refusal)).await;
        }
        shared.stream_changed(&node, |streams| {
            streams.open = streams.open.saturating_sub(1);
        });
        shared.tell(&node, What::Disconnected);
    }

    /// Until the stream ends, or the proxy asks too much.
    async fn drive(
        &mut self,
        node: &str,
        first: DeltaDiscoveryRequest,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        mut vms: watch::Receiver<()>,
    ) -> Result<(), Excess> {
        let mut stopped = self.shared.stop.subscribe();
        let mut aside = self.shared.stands_aside.clone();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let goal = self.goals.borrow_and_update().clone();
        let mut rollout = Rollout::new(self.settings.clone(), goal, self.shared.now());
        let mut wake = Wake::Request(Box::new(first));
        let mut offered = None;
        loop {
            let seen = self.shared.seen(node);
            let step = match wake {
                Wake::Request(request) => rollout.request(*request, &seen)?,
                Wake::Goal => rollout.supersede(self.goals.borrow_and_update().clone(), &seen),
                Wake::Vms => rollout.look(&seen),
                Wake::Aside => {
                    let refusal = Status::unavailable(STANDS_ASIDE);
                    let _ = self.responses.send(Err(refusal)).await;
                    return Ok(());
                }
                Wake::End => return Ok(()),
            };
            // Before it is sent: a VM that reports it must not be ahead of what is known.
            let readiness = rollout.readiness();
            if std::mem::replace(&mut offered, readiness) != readiness {
                self.shared
                    .stream_changed(node, |streams| streams.readiness = readiness);
            }
            if !perform(step, node, &self.shared, &self.responses).await {
                return Ok(());
            }
            wake = tokio::select! {
                // Newer goals first: what they supersede need not be sent.
                biased;
                _ = stopped.wait_for(|stop| *stop) => Wake::End,
                Ok(_) = aside.wait_for(|aside| *aside) => Wake::Aside,
                Ok(()) = self.goals.changed() => Wake::Goal,
                request = requests.message() => match request {
                    Ok(Some(request)) => Wake::Request(Box::new(request)),
                    Ok(None) | Err(_) => Wake::End,
                },
                Ok(()) = vms.changed() => Wake::Vms,
                _ = look.tick(), if rollout.waits_for_vms() => Wake::Vms,
            };
        }
    }
}

/// Sends and tells; false when the proxy is gone.
async fn perform(
    step: Step,
    node: &str,
    shared: &Shared,
    responses: &mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
) -> bool {
    for happened in step.happened {
        if let Happened::TableAcknowledged { revision } = happened {
            shared.stream_changed(node, |streams| streams.acknowledged = Some(revision));
        }
        shared.tell(node, What::Rollout(happened));
    }
    for response in step.responses {
        if responses.send(Ok(response)).await.is_err() {
            return false;
        }
    }
    true
}
