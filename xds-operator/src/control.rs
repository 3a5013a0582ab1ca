//! How does a directory become what the proxies hold? `fixgw control`: the source, the pipeline and the server, wired.
//!
//! INVARIANT: what is accepted is saved before it is served, so that a restart never serves less than was in force. What cannot be
//! saved is served all the same, and tried again until it can; a restart before that publishes anew what the directory says.
//! Nothing here waits for a reader of its lines: what nobody reads in time is dropped, and said.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fixgw_core::decision::Severity;
use fixgw_core::table::Table;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::cli::{ControlArgs, Xds};
use crate::message::count;
use crate::pipeline::settle::Times;
use crate::pipeline::{Outcome, Pipeline, Saved};
use crate::receive::fleet::{AllSessions, Fleet, ProxyView};
use crate::receive::lag::Lag;
use crate::said::{Counts, Said, Speaker};
use crate::source::directory::{Directory, DirectoryError};
use crate::state::{StateDirectory, StateError};
use crate::status::notices::Notices;
use crate::status::{self, Status};
use crate::world::World;
use crate::xds::Snapshot;
use crate::xds::resources::{ProxySettings, WasmVm};
use crate::xds::rollout::{Follows, Happened};
use crate::xds::server::{Event, Outputs, ServeError, Server, What};

/// How often VMs are looked at of which nothing new is heard.
const LOOK: Duration = Duration::from_secs(1);
/// Milliseconds that a revision may be ahead of this machine's clock: revisions begin with the time, and clocks differ.
const REVISION_AHEAD_MS: u64 = 24 * 3_600 * 1_000;
/// How long until a state that could not be saved is tried again.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// Why there is no control plane.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The objects cannot be read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The state cannot be kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The port is in use, or the address is none of this machine's.
    #[error("cannot listen on {address} ({source}); free the port, or give another one with --xds")]
    Port {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The filter's module is not there.
    #[error(
        "the filter was not found at `{0}`; run scripts/build-filter, or give its path with --filter"
    )]
    Filter(String),
    /// The server failed while it ran.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The own machinery failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl ControlError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Directory(_) | Self::State(_) | Self::Port { .. } | Self::Filter(_) => 2,
            Self::Serve(_) | Self::Io(_) => 1,
        }
    }
}

/// Runs the control plane until SIGINT or SIGTERM.
#[must_use]
pub fn run(args: &ControlArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = runtime.map_err(ControlError::from).and_then(|runtime| {
        let ended = runtime.block_on(control(args));
        // Whoever does not take his lines must not keep us.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fixgw: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn control(args: &ControlArgs) -> Result<(), ControlError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let filter = args
        .filter
        .canonicalize()
        .map_err(|_| ControlError::Filter(args.filter.display().to_string()))?;
    let mut directory = Directory::open(&args.source.directory, args.source.endpoints.clone())?;
    let shown = directory.shown().to_owned();
    let state = StateDirectory::open(&args.source.state_dir())?;
    let listener = listen(&args.xds)?;
    let speaker = Speaker::start(args.output);
    let saved = match state.load(&shown) {
        Ok(saved) => saved,
        // Kept for people to look at; the directory alone must do.
        Err(error) => {
            speaker.say(&Said::gateway(Severity::Error, error.to_string()));
            None
        }
    };
    if saved.as_ref().is_some_and(Saved::has_routes) {
        directory.doubt_emptiness();
    }
    let (quiet, longest) = args.source.settle();
    let times = Times {
        quiet_ms: millis(quiet),
        longest_ms: millis(longest),
        ..Times::default()
    };
    let mut stage = Stage {
        pipeline: Pipeline::new(times, args.source.conflict_policy, saved),
        worlds: directory.follow(),
        state,
        unsaved: None,
        held: watch::channel(0).1,
        shown,
        speaker: speaker.clone(),
        started: Instant::now(),
    };
    // The port answers only when there is something to serve: until then proxies wait in its queue.
    let first = tokio::select! {
        first = stage.first() => first,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let revision = watch::Sender::new(first.revision);
    let (snapshots, served) = watch::channel(first);
    let published = served.clone();
    let settings = ProxySettings {
        vm: WasmVm::from_file(filter),
        target_connections_max: args.target_connections_max,
        tcp_timeout: args.tcp_timeout,
    };
    let (server, outputs) = Server::new(settings, served);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = server.serve(listener, async {
        let _ = stopped.await;
    });
    let held = watch::Sender::new(0);
    // Of proxies that others serve too, a newer table may be another's.
    if args.xds == Xds::Stdin {
        stage.held = held.subscribe();
    }
    let status = status::socket::open(&args.source.state_dir());
    let (fleet, sessions) = (outputs.fleet.clone(), outputs.sessions.clone());
    let mut told = tell(outputs, revision.subscribe(), held, args.vms, &speaker);
    told.push(tokio::spawn(notice(
        published.clone(),
        sessions.clone(),
        speaker.clone(),
    )));
    match status {
        Ok(socket) => told.push(tokio::spawn(status::socket::serve(socket, move || {
            status_now(&published, &fleet, &sessions)
        }))),
        Err(error) => speaker.say(&Said::gateway(
            Severity::Warn,
            format!("`fixgw status` cannot be answered ({error}); all else works"),
        )),
    }
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = stage.run(&snapshots, &revision) => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    let _ = stop.send(());
    serving.await?;
    // What was decided is told before the end.
    for task in told {
        task.abort();
    }
    status::socket::close(&args.source.state_dir());
    drop(stage);
    speaker.finish().await;
    ended
}

fn listen(xds: &Xds) -> Result<TcpListener, ControlError> {
    let refused = |source| {
        let address = match xds {
            Xds::Address(address) => address.to_string(),
            Xds::Stdin => "the socket on standard input".to_owned(),
        };
        ControlError::Port { address, source }
    };
    let listener = match xds {
        Xds::Address(address) => bind(*address),
        Xds::Stdin => io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map(std::net::TcpListener::from),
    };
    listener
        .and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        })
        .map_err(refused)
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    std::net::TcpListener::bind(address)
}

/// The pipeline with its two ends: the source and the state directory.
struct Stage {
    pipeline: Pipeline,
    worlds: watch::Receiver<World>,
    state: StateDirectory,
    unsaved: Option<Unsaved>,
    /// The newest revision that proxies hold; of our own proxies only.
    held: watch::Receiver<u64>,
    shown: String,
    speaker: Speaker,
    started: Instant,
}

/// What could not be saved.
struct Unsaved {
    saved: Saved,
    /// When to try again.
    due: Instant,
}

impl Stage {
    /// The first thing to serve.
    async fn first(&mut self) -> Arc<Snapshot> {
        self.observe();
        loop {
            if let Some(snapshot) = self.advance() {
                return snapshot;
            }
            self.wait().await;
        }
    }

    /// Serves what changes, until the source ends.
    async fn run(
        &mut self,
        snapshots: &watch::Sender<Arc<Snapshot>>,
        revision: &watch::Sender<u64>,
    ) {
        loop {
            self.wait().await;
            if let Some(snapshot) = self.advance() {
                revision.send_replace(snapshot.revision);
                snapshots.send_replace(snapshot);
            }
        }
    }

    /// Until the source says something, a proxy holds something newer, or something is due.
    async fn wait(&mut self) {
        let pipeline = self
            .pipeline
            .deadline_ms()
            .map(|due| self.started + Duration::from_millis(due));
        let unsaved = self.unsaved.as_ref().map(|unsaved| unsaved.due);
        let due = pipeline.into_iter().chain(unsaved).min();
        let due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let held = async {
            // Without proxies of our own, nobody tells.
            if self.held.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let woken = tokio::select! {
            () = due => Woken::Due,
            () = held => Woken::Held,
            changed = self.worlds.changed() => changed.map_or(Woken::Alone, |()| Woken::Source),
        };
        match woken {
            Woken::Due => {}
            Woken::Held => {
                let held = *self.held.borrow_and_update();
                self.pipeline.surpass(held);
            }
            Woken::Source => self.observe(),
            // The source's thread is gone: what is served stays, and nothing more can change.
            Woken::Alone => {
                self.speaker.say(&Said::gateway(
                    Severity::Critical,
                    "the directory is no longer followed; the table in force stays, restart the control plane",
                ));
                std::future::pending::<()>().await;
            }
        }
    }

    fn observe(&mut self) {
        let world = self.worlds.borrow_and_update().clone();
        self.pipeline.observe(&world, self.now_ms());
    }

    fn advance(&mut self) -> Option<Arc<Snapshot>> {
        let wall = unix_ms();
        let Outcome {
            messages,
            snapshot,
            saved,
        } = self.pipeline.advance(self.now_ms(), wall);
        match saved {
            Some(saved) => self.save(saved),
            None => self.save_again(),
        }
        for message in messages {
            self.speaker.say(&message.into());
        }
        snapshot
    }

    fn save(&mut self, saved: Saved) {
        let kept = self.keep(saved);
        if let Err(error) = kept {
            let meanwhile = "what is in force stays in force, and is saved once that is mended";
            let told = format!("{error}; {meanwhile}");
            self.speaker.say(&Said::gateway(Severity::Error, told));
        }
    }

    /// Tried again in silence: it was told.
    fn save_again(&mut self) {
        let is_due = |unsaved: &mut Unsaved| unsaved.due <= Instant::now();
        if let Some(unsaved) = self.unsaved.take_if(is_due)
            && self.keep(unsaved.saved).is_ok()
        {
            let told = "the table in force is saved again";
            self.speaker.say(&Said::gateway(Severity::Info, told));
        }
    }

    /// Saves it, or keeps it for the next time.
    fn keep(&mut self, saved: Saved) -> Result<(), StateError> {
        let kept = self.state.save(&saved, &self.shown);
        self.unsaved = kept.is_err().then(|| Unsaved {
            saved,
            due: Instant::now() + SAVE_AGAIN,
        });
        kept
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

/// What ended a wait.
enum Woken {
    Due,
    Held,
    Source,
    Alone,
}

/// Tells what the server hears: decisions, events, and when every VM uses what is served.
fn tell(
    outputs: Outputs,
    revision: watch::Receiver<u64>,
    held: watch::Sender<u64>,
    vms: usize,
    speaker: &Speaker,
) -> Vec<JoinHandle<()>> {
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
                of_events.say(&Said::gateway(severity(&event), event.to_string()));
            }
        }),
        tokio::spawn(async move {
            while let Some(decision) = decisions.recv().await {
                of_decisions.say(&Said::Decision(Box::new(decision)));
            }
        }),
        tokio::spawn(async move {
            let mut told = None;
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
                let now = applied(&now, served, vms);
                if let Some((revision, readiness, vms)) = now
                    && told != Some((revision, readiness))
                {
                    told = Some((revision, readiness));
                    of_fleet.say(&Said::Applied {
                        revision,
                        readiness,
                        vms,
                    });
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

/// Revision, readiness and number of VMs, when all of them use the same, it is what is served, and none is missing.
fn applied(fleet: &Fleet, served: u64, vms_wanted: usize) -> Option<(u64, u64, usize)> {
    let mut vms = fleet.proxies.values().flat_map(|proxy| &proxy.vms);
    let first = vms.next()?;
    let same = vms.all(|vm| {
        (vm.table_revision, vm.readiness_version) == (first.table_revision, first.readiness_version)
    });
    let count = fleet.proxies.values().map(|proxy| proxy.vms.len()).sum();
    let whole = same
        && first.table_revision == served
        && first.readiness_version > 0
        && count >= vms_wanted;
    whole.then_some((first.table_revision, first.readiness_version, count))
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
        What::Connected { .. }
        | What::VmUses { .. }
        | What::VmGone { .. }
        | What::Rollout(Happened::TableAcknowledged { .. } | Happened::Removed { .. }) => {
            Severity::Debug
        }
    }
}

/// Milliseconds since 1970.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::vms::VmView;

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
}
