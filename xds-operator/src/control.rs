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
use std::time::{Duration, Instant};

use fixgw_core::decision::Severity;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::{ControlArgs, Xds};
use crate::pipeline::{Outcome, Pipeline, Saved};
use crate::program;
use crate::said::{Said, Speaker};
use crate::serving::{Inlet, Plan, Serving};
use crate::source::directory::{Directory, DirectoryError};
use crate::state::{StateDirectory, StateError};
use crate::wait::{at, millis, unix_ms};
use crate::world::World;
use crate::xds::Snapshot;
use crate::xds::server::ServeError;

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
    program::run(control(args), ControlError::exit_code)
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
    let decide = args.source.decide;
    let mut stage = Stage {
        pipeline: Pipeline::new(decide.times(), decide.conflict_policy, saved),
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
    let plan = Plan {
        settings: args.proxies.settings(filter),
        vms: args.vms,
        status_dir: Some(args.source.state_dir()),
        peers: None,
    };
    let mut serving = Serving::start(listener, plan, first, &speaker);
    // Of proxies that others serve too, a newer table may be another's.
    if args.xds == Xds::Stdin {
        stage.held = serving.held.clone();
    }
    let inlet = serving.inlet.clone();
    tokio::select! {
        ended = serving.ended() => return Ok(ended?),
        () = stage.run(&inlet) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    serving.stop().await?;
    drop(stage);
    speaker.finish().await;
    Ok(())
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
    async fn run(&mut self, inlet: &Inlet) {
        loop {
            self.wait().await;
            if let Some(snapshot) = self.advance() {
                inlet.serve(snapshot);
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
        let held = async {
            // Without proxies of our own, nobody tells.
            if self.held.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let woken = tokio::select! {
            () = at(due) => Woken::Due,
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
