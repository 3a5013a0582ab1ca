//! How are proxies served, and what is heard of them told? What is the same for a control plane of one directory and of a cluster.
//!
//! Nothing here waits for a reader of its lines: what nobody reads in time is dropped, and said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_core::decision::Severity;
use fixgw_core::table::Table;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::message::count;
use crate::receive::fleet::{AllSessions, Fleet, ProxyView};
use crate::receive::lag::Lag;
use crate::receive::peers::Peers;
use crate::receive::rejections::Rejections;
use crate::receive::vms::VmView;
use crate::said::{Counts, Said, Speaker};
use crate::status::notices::Notices;
use crate::status::{self, Status};
use crate::wait::unix_ms;
use crate::xds::Snapshot;
use crate::xds::resources::ProxySettings;
use crate::xds::rollout::{Follows, Happened};
use crate::xds::server::{Event, Outputs, ServeError, Server, What};

/// How often VMs are looked at of which nothing new is heard.
const LOOK: Duration = Duration::from_secs(1);
/// Milliseconds that a revision may be ahead of this machine's clock: revisions begin with the time, and clocks differ.
const REVISION_AHEAD_MS: u64 = 24 * 3_600 * 1_000;

/// What is served, and how it is told.
#[derive(Debug)]
pub struct Plan {
    /// What holds for every proxy.
    pub settings: ProxySettings,
    /// VMs that a whole proxy has, where that is known.
    pub vms: usize,
    /// Where `fixgw status` is answered.
    pub status_dir: Option<PathBuf>,
    /// Who else is told what gateways report.
    pub peers: Option<Arc<Peers>>,
}

/// Takes what is to be served.
#[derive(Clone, Debug)]
pub struct Inlet {
    snapshots: watch::Sender<Arc<Snapshot>>,
    revision: watch::Sender<u64>,
}

impl Inlet {
    /// Serves this from now on.
    pub fn serve(&self, snapshot: Arc<Snapshot>) {
        self.revision.send_replace(snapshot.revision);
        self.snapshots.send_replace(snapshot);
    }
}

/// A server at work.
#[derive(Debug)]
pub struct Serving {
    /// Where it takes what it serves from.
    pub inlet: Inlet,
    /// What is known of the proxies.
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// Who is connected.
    pub sessions: watch::Receiver<Arc<AllSessions>>,
    /// What gateways refused.
    pub rejections: watch::Receiver<Arc<Rejections>>,
    /// The newest revision that proxies hold.
    pub held: watch::Receiver<u64>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<Result<(), ServeError>>,
    told: Vec<JoinHandle<()>>,
    status_dir: Option<PathBuf>,
}

impl Serving {
    /// Begins. Must be called within a runtime.
    #[must_use]
    pub fn start(
        listener: TcpListener,
        plan: Plan,
        first: Arc<Snapshot>,
        speaker: &Speaker,
    ) -> Self {
        let Plan {
            settings,
            vms,
            status_dir,
            peers,
        } = plan;
        let revision = watch::Sender::new(first.revision);
        let (snapshots, served) = watch::channel(first);
        let published = served.clone();
        let (server, outputs) = Server::new(settings, served, peers.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server.serve(listener, async {
            let _ = stopped.await;
        }));
        let held = watch::Sender::new(0);
        let rejections = peers
            .as_deref()
            .map_or_else(watch::Sender::default, Peers::rejections);
        let mut serving = Self {
            fleet: outputs.fleet.clone(),
            sessions: outputs.sessions.clone(),
            rejections: rejections.subscribe(),
            held: held.subscribe(),
            stop: Some(stop),
            server,
            told: tell(outputs, &revision, held, rejections, vms, speaker),
            inlet: Inlet {
                snapshots,
                revision,
            },
            status_dir,
        };
        let noticed = notice(published.clone(), serving.sessions.clone(), speaker.clone());
        serving.told.push(tokio::spawn(noticed));
        if let Some(directory) = serving.status_dir.clone() {
            serving.answer_status(&directory, published, speaker);
        }
        serving
    }

    fn answer_status(
        &mut self,
        directory: &Path,
        published: watch::Receiver<Arc<Snapshot>>,
        speaker: &Speaker,
    ) {
        let (fleet, sessions) = (self.fleet.clone(), self.sessions.clone());
        match status::socket::open(directory) {
            Ok(socket) => {
                let answers = status::socket::serve(socket, move || {
                    status_now(&published, &fleet, &sessions)
                });
                self.told.push(tokio::spawn(answers));
            }
            Err(error) => speaker.say(&Said::gateway(
                Severity::Warn,
                format!("`fixgw status` cannot be answered ({error}); all else works"),
            )),
        }
    }

    /// Waits until the server ends by itself, which it does when something is wrong.
    ///
    /// # Errors
    /// Why.
    pub async fn ended(&mut self) -> Result<(), ServeError> {
        ended((&mut self.server).await)
    }

    /// Ends the server. What was decided until then is told.
    ///
    /// # Errors
    /// It has ended by itself.
    pub async fn stop(mut self) -> Result<(), ServeError> {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let served = ended((&mut self.server).await);
        for task in &self.told {
            task.abort();
        }
        if let Some(directory) = &self.status_dir {
            status::socket::close(directory);
        }
        served
    }
}

fn ended(server: Result<Result<(), ServeError>, tokio::task::JoinError>) -> Result<(), ServeError> {
    server.unwrap_or_else(|error| Err(ServeError::Ended(error.to_string())))
}

/// Tells what the server hears: decisions, events, and when every VM uses what is served.
fn tell(
    outputs: Outputs,
    revision: &watch::Sender<u64>,
    held: watch::Sender<u64>,
    rejections: watch::Sender<Arc<Rejections>>,
    vms: usize,
    speaker: &Speaker,
) -> Vec<JoinHandle<()>> {
    let revision = revision.subscribe();
    let Outputs {
        mut events,
        mut decisions,
        mut fleet,
        ..
    } = outputs;
    let (of_events, of_decisions, of_fleet) = (speaker.clone(), speaker.clone(), speaker.clone());
    vec![
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                rejections.send_if_modified(|known| match &event.what {
                    What::Rollout(happened) => Arc::make_mut(known).observe(&event.node, happened),
                    What::Connected { .. } => Arc::make_mut(known).connected(&event.node),
                    What::Disconnected => Arc::make_mut(known).disconnected(&event.node),
                    What::Refused { .. } | What::VmUses { .. } | What::VmGone { .. } => false,
                });
                of_events.say(&Said::gateway(severity(&event), event.to_string()));
            }
        }),
        tokio::spawn(async move {
            while let Some(decision) = decisions.recv().await {
                of_decisions.say(&Said::Decision(Box::new(decision)));
            }
        }),
        tokio::spawn(async move {
            let mut told = Applied::default();
            let mut told_counts = Counts::default();
            let (mut lag, started) = (Lag::default(), Instant::now());
            let mut look = interval(LOOK);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let changed = tokio::select! {
                    changed = fleet.changed() => changed,
                    _ = look.tick() => Ok(()),
                };
                if changed.is_err() {
                    return;
                }
                let now = fleet.borrow_and_update().clone();
                let served = *revision.borrow();
                for (severity, line) in lag.look(&now, served, started.elapsed()) {
                    of_fleet.say(&Said::gateway(severity, line));
                }
                held.send_if_modified(|held| {
                    let newest = newest(&now, unix_ms()).max(*held);
                    std::mem::replace(held, newest) != newest
                });
                let counts = counts(&now);
                if counts != told_counts {
                    if let Some(line) = panics(told_counts.panics, counts.panics) {
                        of_fleet.say(&Said::gateway(Severity::Error, line));
                    }
                    told_counts = counts;
                    of_fleet.say(&Said::Counts(counts));
                }
                if let Some(now) = applied(&now, served, vms)
                    && now.is_news_after(&told)
                {
                    of_fleet.say(&Said::Applied {
                        revision: now.revision,
                        readiness: now.newest_readiness(),
                        vms: now.vms,
                    });
                    told = now;
                }
            }
        }),
    ]
}

/// Tells of live sessions whose route was deleted or leads elsewhere, when that begins and when it is over.
async fn notice(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    mut sessions: watch::Receiver<Arc<AllSessions>>,
    speaker: Speaker,
) {
    let mut notices = Notices::default();
    let mut table = None;
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let current = table
            .take()
            .filter(|table: &Table| table.revision() == snapshot.revision);
        table = current.or_else(|| Table::load(snapshot.table_image.to_vec()).ok());
        if let Some(table) = &table {
            let all = sessions.borrow_and_update().clone();
            for message in notices.observe(table, &all) {
                speaker.say(&message.into());
            }
        }
        let changed = tokio::select! {
            changed = snapshots.changed() => changed,
            changed = sessions.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

fn status_now(
    snapshots: &watch::Receiver<Arc<Snapshot>>,
    fleet: &watch::Receiver<Arc<Fleet>>,
    sessions: &watch::Receiver<Arc<AllSessions>>,
) -> Status {
    let (snapshot, fleet) = (snapshots.borrow().clone(), fleet.borrow().clone());
    let sessions = sessions.borrow().clone();
    let now = unix_ms();
    match Table::load(snapshot.table_image.to_vec()) {
        Ok(table) => Status::new(&table, &snapshot, &fleet, &sessions, now),
        // It was loaded before it was published.
        Err(_) => Status::default(),
    }
}

/// What people are told when panics were counted. The counts of a VM go with it.
fn panics(before: u64, now: u64) -> Option<String> {
    let new = now.checked_sub(before).filter(|new| *new > 0)?;
    let panics = count(new, "panic");
    Some(format!(
        "{panics} in the filter contained: at most one connection closed for each; please report it, with the line in the proxy's \
         log that says where"
    ))
}

/// The counts of all live VMs.
fn counts(fleet: &Fleet) -> Counts {
    let vms = fleet.proxies.values().flat_map(|proxy| &proxy.vms);
    vms.fold(Counts::default(), |sum, vm| Counts {
        silent_connections: sum.silent_connections.saturating_add(vm.silent_connections),
        failed_handshakes: sum.failed_handshakes.saturating_add(vm.failed_handshakes),
        records_dropped: sum.records_dropped.saturating_add(vm.records_dropped),
        panics: sum.panics.saturating_add(vm.panics),
    })
}

/// The newest revision that a proxy holds which asks us for its configuration. Whoever can reach the port can say a number: one that
/// lies far ahead of the clock is nobody's.
fn newest(fleet: &Fleet, unix_ms: u64) -> u64 {
    let of_proxy = |proxy: &ProxyView| {
        let vms = proxy.vms.iter().map(|vm| vm.table_revision);
        let held = vms.chain(proxy.acknowledged);
        let credible = unix_ms.saturating_add(REVISION_AHEAD_MS);
        held.filter(|revision| *revision <= credible)
            .max()
            .unwrap_or(0)
    };
    let asking = fleet.proxies.values().filter(|proxy| proxy.streams > 0);
    asking.map(of_proxy).max().unwrap_or(0)
}

/// What every VM uses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Applied {
    /// The table's revision.
    revision: u64,
    /// By `node.id`: each proxy's readiness has versions of its own.
    readiness: BTreeMap<String, u64>,
    vms: usize,
}

impl Applied {
    /// Whether it is more than was told: not where a proxy has only gone.
    fn is_news_after(&self, told: &Self) -> bool {
        let mut readiness = self.readiness.iter();
        self.revision != told.revision
            || readiness.any(|(node, version)| told.readiness.get(node) != Some(version))
    }

    fn newest_readiness(&self) -> u64 {
        self.readiness.values().copied().max().unwrap_or_default()
    }
}

/// What is in use, when all VMs use what is served, and none is missing.
fn applied(fleet: &Fleet, served: u64, vms_wanted: usize) -> Option<Applied> {
    let mut readiness = BTreeMap::new();
    let mut vms = 0;
    for (node, proxy) in &fleet.proxies {
        let served = |vm: &VmView| vm.table_revision == served;
        if !proxy.vms.iter().all(served) {
            return None;
        }
        readiness.insert(node.clone(), readiness_of(proxy)?);
        vms += proxy.vms.len();
    }
    (vms > 0 && vms >= vms_wanted).then_some(Applied {
        revision: served,
        readiness,
        vms,
    })
}

/// The readiness that all VMs of a proxy use, if it is one and the same. None for one that asks us and is to have a newer one, or
/// of which no VM was heard yet. What one is to have that asks another replica is known there.
fn readiness_of(proxy: &ProxyView) -> Option<u64> {
    let used = proxy.vms.first()?.readiness_version;
    let same = proxy.vms.iter().all(|vm| vm.readiness_version == used);
    let newest = proxy.streams == 0 || proxy.readiness.is_some_and(|wanted| used >= wanted);
    (same && used > 0 && newest).then_some(used)
}

/// What the course of a rollout says in passing is for programs; what does not work is for people.
const fn severity(event: &Event) -> Severity {
    match &event.what {
        What::Rollout(Happened::Rejected {
            follows: Follows::MustRestart,
            ..
        }) => Severity::Critical,
        What::Refused { .. } | What::Rollout(Happened::Rejected { .. }) => Severity::Error,
        What::Rollout(Happened::Behind { .. }) | What::Disconnected => Severity::Warn,
        What::Rollout(Happened::Mended { .. }) => Severity::Info,
        What::Connected { .. }
        | What::VmUses { .. }
        | What::VmGone { .. }
        | What::Rollout(Happened::TableAcknowledged { .. } | Happened::Removed { .. }) => {
            Severity::Debug
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn only_a_proxy_that_asks_us_and_a_credible_revision_count_as_newest() {
        let fleet = |streams, table_revision| {
            let vm = VmView {
                table_revision,
                ..VmView::default()
            };
            let proxy = ProxyView {
                streams,
                acknowledged: Some(5),
                readiness: None,
                vms: vec![vm],
            };
            Fleet {
                proxies: [("gw".to_owned(), proxy)].into(),
            }
        };
        assert_eq!(newest(&fleet(1, 7_000), 1_000), 7_000);
        assert_eq!(newest(&fleet(0, 7_000), 1_000), 0);
        assert_eq!(newest(&fleet(1, u64::MAX), 1_000), 5);
        assert_eq!(newest(&fleet(1, 1_001 + REVISION_AHEAD_MS), 1_000), 5);
    }

    /// A proxy with so many streams here, which is to have this readiness, and whose VMs use these.
    fn proxy(streams: usize, wanted: Option<u64>, used: &[u64]) -> ProxyView {
        let vm = |readiness_version: &u64| VmView {
            table_revision: 7,
            readiness_version: *readiness_version,
            ..VmView::default()
        };
        ProxyView {
            streams,
            acknowledged: Some(7),
            readiness: wanted,
            vms: used.iter().map(vm).collect(),
        }
    }

    fn fleet(first: ProxyView, second: ProxyView) -> Fleet {
        Fleet {
            proxies: [("first".to_owned(), first), ("second".to_owned(), second)].into(),
        }
    }

    fn is_applied(second: ProxyView) -> bool {
        let fleet = fleet(proxy(1, Some(3), &[3, 3]), second);
        let applied = applied(&fleet, 7, 1);
        assert!(applied.iter().all(|it| it.revision == 7 && it.vms == 4));
        applied.is_some()
    }

    #[test]
    fn a_table_is_applied_when_each_proxy_has_the_readiness_of_its_own_stream() {
        assert!(is_applied(proxy(1, Some(9), &[9, 9])));
        // It brought a newer one along, and the stream has not said so yet.
        assert!(is_applied(proxy(1, Some(8), &[9, 9])));
        assert!(!is_applied(proxy(1, Some(9), &[9, 3])));
        assert!(!is_applied(proxy(1, Some(9), &[3, 3])));
        assert!(!is_applied(proxy(1, None, &[9, 9])), "an answer is missing");
        assert!(!is_applied(proxy(1, Some(9), &[])), "none was heard yet");
        assert!(!is_applied(proxy(1, Some(0), &[0, 0])));
        let mut behind = proxy(1, Some(9), &[9, 9]);
        behind.vms[1].table_revision = 6;
        assert!(!is_applied(behind));
    }

    #[test]
    fn a_table_is_applied_though_another_replica_counts_readiness_otherwise() {
        assert!(is_applied(proxy(0, None, &[9, 9])));
        assert!(!is_applied(proxy(0, None, &[9, 3])));
        assert!(!is_applied(proxy(0, None, &[0, 0])));
    }

    #[test]
    fn a_table_is_not_applied_while_a_vm_is_missing() {
        let fleet = fleet(proxy(1, Some(3), &[3]), proxy(1, Some(9), &[9]));
        assert!(applied(&fleet, 7, 2).is_some());
        assert_eq!(applied(&fleet, 7, 3), None);
        assert_eq!(applied(&Fleet::default(), 7, 0), None);
    }

    #[test]
    fn what_is_applied_is_told_again_for_a_newer_readiness_or_another_proxy_and_not_for_one_that_goes()
     {
        let of = |first: u64, second: Option<u64>| Applied {
            revision: 7,
            readiness: std::iter::once(("first".to_owned(), first))
                .chain(second.map(|version| ("second".to_owned(), version)))
                .collect(),
            vms: 2,
        };
        let told = of(9, Some(3));
        assert!(told.is_news_after(&Applied::default()));
        assert!(!told.is_news_after(&told));
        assert!(of(9, Some(4)).is_news_after(&told));
        assert!(!of(9, None).is_news_after(&told));
        assert!(told.is_news_after(&of(9, None)));
        assert_eq!(told.newest_readiness(), 9);
    }
}
