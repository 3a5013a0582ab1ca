//! How does one machine run a whole gateway? `fixgw up` supervises three parts: Envoy, the control plane
//! (`fixgw control`, over a socket that survives its restart) and the reject engine.
//!
//! INVARIANT: the end of the control plane or of the reject engine ends no session; each is started again. Every part
//! ends with the supervisor, whatever ends that.

mod certificates;
pub mod child;
mod place;
pub mod refused;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use fixgw_core::decision::Severity;
use serde::Deserialize;
use tempfile::TempDir;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::cli::{Listener, UpArgs};
use crate::envoy::admin::{self, Admin};
use crate::envoy::bootstrap::{self, Bind, HoldPlan, ListenerPlan, Plan, Upstream};
use crate::envoy::capacity::{self, Capacity};
use crate::envoy::processors;
use crate::message::count;
use crate::said::{Form, Said, Speaker};
use crate::wait::at;
use certificates::Certificates;
use refused::Tally;

/// Time from the start of Envoy until every worker has a table. Compiling the filter takes a busy machine seconds.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// How often Envoy is asked for its listeners while it starts.
const LOOK: Duration = Duration::from_millis(50);
/// First pause before a part is started again; doubled each time it ends at once.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before a part is started again.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(5);
/// A part that ran for so long has not ended "at once".
const RAN_WELL: Duration = Duration::from_secs(10);
/// Time that the reject engine has to say its address.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no gateway (any more).
#[derive(Debug, Error)]
pub enum UpError {
    /// Something that it needs is missing or in use; nothing was started.
    #[error(transparent)]
    Place(#[from] place::PlaceError),
    /// Too few files may be open.
    #[error(transparent)]
    Capacity(#[from] capacity::CapacityError),
    /// The listeners with TLS lack what they need.
    #[error(transparent)]
    Certificate(#[from] certificates::CertificateError),
    /// A part could not be started.
    #[error("{name} could not be started: {source}; check that it is there and may be executed")]
    Start {
        /// Which.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The control plane refused; it has said why.
    #[error("the control plane could not start")]
    Control,
    /// Envoy ended, and its sessions with it.
    #[error("Envoy ended ({status}){last}; its log is `{log}`, start again when that is mended")]
    Envoy {
        /// How.
        status: ExitStatus,
        /// The last line of its log.
        last: String,
        /// Where its log is.
        log: String,
        /// Whether it had begun to serve.
        served: bool,
    },
    /// Not ready in time.
    #[error("the gateway was not ready within {} s; Envoy's log is `{log}`", START_TIMEOUT.as_secs())]
    NotReady {
        /// Where Envoy's log is.
        log: String,
    },
    /// The own machinery failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bootstrap could not be made.
    #[error(transparent)]
    Template(#[from] bootstrap::TemplateError),
}

impl UpError {
    /// 2: it could not start. 1: it failed while it ran.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Place(_)
            | Self::Capacity(_)
            | Self::Certificate(_)
            | Self::Start { .. }
            | Self::Control
            | Self::Template(_)
            | Self::Envoy { served: false, .. } => 2,
            Self::Envoy { .. } | Self::NotReady { .. } | Self::Io(_) => 1,
        }
    }
}

/// Runs a gateway until Ctrl-C or SIGTERM.
#[must_use]
pub fn run(args: &UpArgs) -> ExitCode {
    // One thread: the kernel ties the parts to the thread that starts them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = runtime
        .map_err(UpError::from)
        .and_then(|runtime| runtime.block_on(supervise(args)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, UpError::Control) {
                eprintln!("fixgw: {error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

async fn supervise(args: &UpArgs) -> Result<(), UpError> {
    // Before anything is started, so that Ctrl-C never leaves a part behind.
    let mut signals = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let mut gateway = tokio::select! {
        gateway = Gateway::start(args) => gateway?,
        () = asked_to_stop(&mut signals) => return Ok(()),
    };
    let ended = gateway.watch(&mut signals).await;
    gateway.stop().await;
    ended
}

async fn asked_to_stop((interrupt, terminate): &mut (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// What of a line of the control plane's is looked at. Each connection makes one, so nothing of it is copied that need not be.
#[derive(Default, Deserialize)]
struct Relayed<'l> {
    #[serde(borrow, default)]
    event: Cow<'l, str>,
    #[serde(default)]
    revision: Option<u64>,
    #[serde(borrow, default)]
    severity: Cow<'l, str>,
    /// For people.
    #[serde(borrow, default, rename = "line_text")]
    text: Cow<'l, str>,
}

/// The gateway takes no new connections, and waits for those that are live.
#[derive(Clone, Copy, Debug)]
struct Drain {
    /// `None`: until they are gone.
    until: Option<Instant>,
}

/// A part that is started again when it ends.
struct Part {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    started: Instant,
    pause: Duration,
}

impl Part {
    fn new(mut child: Child, name: &'static str, pause: Duration) -> Result<Self, UpError> {
        let out = child.stdout.take().ok_or_else(|| UpError::Start {
            name,
            source: io::Error::other("it has no standard output"),
        })?;
        Ok(Self {
            child,
            lines: BufReader::new(out).lines(),
            started: Instant::now(),
            pause,
        })
    }

    /// The pause before the next start, after this one ended.
    fn next_pause(&self) -> Duration {
        if self.started.elapsed() > RAN_WELL {
            RESTART_PAUSE
        } else {
            (self.pause * 2).min(RESTART_PAUSE_MAX)
        }
    }
}

struct Gateway<'a> {
    args: &'a UpArgs,
    voice: Speaker,
    place: place::Place,
    /// Holds the bootstrap, the admin socket and what Envoy discovers there; removed at the end.
    _run: TempDir,
    certificates: Option<Certificates>,
    admin: Admin,
    control_socket: TcpListener,
    envoy: Child,
    envoy_log: PathBuf,
    control: Part,
    /// When the control plane is started again; none while it runs.
    control_due: Option<Instant>,
    reject: Option<(Part, SocketAddr)>,
    /// When the reject engine is started again; none while it runs.
    reject_due: Option<Instant>,
    workers: u64,
    /// How much Envoy takes on.
    capacity: Capacity,
    applied: Option<u64>,
    draining: Option<Drain>,
    ready: bool,
    started: Instant,
}

impl<'a> Gateway<'a> {
    async fn start(args: &'a UpArgs) -> Result<Self, UpError> {
        let voice = Speaker::start(if args.json { Form::Json } else { Form::Text });
        let mut place = place::Place::find(args)?;
        let workers = u64::from(args.workers.unwrap_or_else(processors));
        // Before any part is started: each inherits the limit to files.
        let capacity = capacity::make(workers, 0)?;
        // For this user alone: private keys pass through it.
        let run = tempfile::Builder::new()
            .prefix("fixgw-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        let certificates = Certificates::begin(&args.tls, run.path())?;
        // Envoy reads the module again at every update of the table. A file that is rebuilt meanwhile would make the next
        // table go to a VM where no connection is; nobody touches a copy.
        let module = run.path().join("fixgw_filter.wasm");
        std::fs::copy(&place.filter, &module)?;
        place.filter = module;
        let control_socket = TcpListener::bind("127.0.0.1:0")?;
        let control = start_control(
            args,
            &place,
            &control_socket,
            workers,
            capacity,
            RESTART_PAUSE,
        )?;
        tell_child(&voice, "control", &control.child);
        let reject = match &place.reject_engine {
            Some(program) => {
                let (part, address) = start_reject(args, program).await?;
                tell_child(&voice, "reject-engine", &part.child);
                Some((part, address))
            }
            None => None,
        };
        let admin = args
            .admin
            .map_or_else(|| Admin::Socket(run.path().join("admin.sock")), Admin::Port);
        let tls = certificates.as_ref().map(|kept| kept.plan(&args.tls));
        let planned = |listener: &Listener, tls| ListenerPlan {
            name: listener.name.clone(),
            bind: Bind::Address(listener.address),
            tls,
            proxy_protocol: place.proxy_protocol.clone(),
        };
        let plain = args.listeners.iter().map(|it| planned(it, None));
        let secure = args.tls.listeners.iter();
        let secure = secure.map(|it| planned(it, tls.clone()));
        let plan = Plan {
            node_id: format!("fixgw-up-{}", std::process::id()),
            listeners: plain.chain(secure).collect(),
            control_plane: Upstream::Address(control_socket.local_addr()?),
            reject_engine: reject
                .as_ref()
                .map(|(_, address)| Upstream::Address(*address)),
            filter: place.filter.clone(),
            admin: admin.clone(),
            probes: None,
            connections: capacity.connections,
            tcp_timeout: args.ends.tcp_timeout,
            idle_timeout_ms: args.ends.idle_timeout_ms,
            hold: HoldPlan {
                timeout_ms: args.hold.timeout_ms,
                per_route_max: args.hold.per_route_max,
                per_pod_max: args.hold.per_pod_max,
                connect_timeout_ms: args.hold.connect_timeout_ms,
            },
        };
        let bootstrap_path = run.path().join("bootstrap.json");
        std::fs::write(&bootstrap_path, bootstrap::render(&plan)?.to_string())?;
        let envoy_log = place.state_dir.join("envoy.log");
        let envoy = start_envoy(args, &place.envoy, &bootstrap_path, &envoy_log, workers)?;
        tell_child(&voice, "envoy", &envoy);
        Ok(Self {
            args,
            voice,
            place,
            _run: run,
            certificates,
            admin,
            control_socket,
            envoy,
            envoy_log,
            control,
            control_due: None,
            reject,
            reject_due: None,
            workers,
            capacity,
            applied: None,
            ready: false,
            draining: None,
            started: Instant::now(),
        })
    }

    /// Until a signal, the end of Envoy, or a start that fails.
    async fn watch(&mut self, signals: &mut (Signal, Signal)) -> Result<(), UpError> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = asked_to_stop(signals) => {
                    if self.draining.is_some() || !self.begin_to_drain().await {
                        return Ok(());
                    }
                }
                status = self.envoy.wait() => return Err(self.envoy_ended(status?)),
                line = self.control.lines.next_line(), if self.control_due.is_none() => match line {
                    Ok(Some(line)) => self.relay(&line),
                    Ok(None) | Err(_) => self.control_ended().await?,
                },
                () = at(self.control_due) => self.restart_control(),
                line = next_line(&mut self.reject), if self.reject_due.is_none() => {
                    // What it says of each answer stands in the decision record already.
                    if line.is_none() {
                        self.reject_ended().await?;
                    }
                }
                () = at(self.reject_due) => self.restart_reject(),
                () = at(self.certificates.as_ref().map(Certificates::due)) => {
                    self.look_at_certificates().await?;
                }
                _ = look.tick(), if !self.ready || self.draining.is_some() => {
                    if self.draining.is_none() {
                        self.look().await?;
                    } else if self.is_drained().await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes no new connections from now on. False when nobody is connected, so that there is nothing to wait for.
    async fn begin_to_drain(&mut self) -> bool {
        if !self.ready || admin::drain_listeners(&self.admin).await.is_err() {
            return false;
        }
        let live = admin::live_connections(&self.admin).await.unwrap_or(0);
        if live == 0 {
            return false;
        }
        let timeout = self
            .args
            .drain_timeout_ms
            .map(|ms| Duration::from_millis(ms.into()));
        let how_long = timeout.map_or_else(String::new, |timeout| {
            format!(", for {} s at most", timeout.as_secs_f64())
        });
        self.say(&Said::gateway(
            Severity::Warn,
            format!(
                "stopping: no new connections are taken; waiting for {} to end{how_long}, and a second signal ends them at once",
                count(live, "live connection")
            ),
        ));
        self.draining = Some(Drain {
            until: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
        });
        true
    }

    /// Whether there is nothing left to wait for.
    async fn is_drained(&mut self) -> bool {
        let live = admin::live_connections(&self.admin).await;
        let over = self.draining.as_ref().and_then(|drain| drain.until);
        let over = over.is_some_and(|until| Instant::now() >= until);
        match live {
            Ok(0) => true,
            Ok(live) if over => {
                self.say(&Said::gateway(
                    Severity::Warn,
                    format!("{} did not end in time", count(live, "connection")),
                ));
                true
            }
            Ok(_) | Err(_) => over,
        }
    }

    /// Passes on what the control plane says, and notes when the workers have a table.
    fn relay(&mut self, line: &str) {
        let said: Relayed<'_> = serde_json::from_str(line).unwrap_or_default();
        if said.event == "applied" {
            self.applied = said.revision;
        }
        self.voice
            .relay(line.to_owned(), &said.severity, &said.text);
    }

    async fn look_at_certificates(&mut self) -> Result<(), UpError> {
        if let Some(certificates) = &mut self.certificates {
            for said in certificates.look(&self.admin).await? {
                self.voice.say(&said);
            }
        }
        Ok(())
    }

    /// Whether the listeners are there, with their certificates, and the workers have a table.
    async fn look(&mut self) -> Result<(), UpError> {
        let certified = self
            .certificates
            .as_ref()
            .is_none_or(Certificates::are_taken);
        if certified
            && let Some(revision) = self.applied
            && let Some(found) = admin::listeners(&self.admin).await
            && let Some(addresses) = self.addresses(&found)
        {
            self.ready = true;
            for (name, address) in addresses {
                self.say(&Said::Listening { name, address });
            }
            self.say(&Said::Ready {
                revision,
                workers: self.workers,
            });
            self.count_refused();
        } else if self.started.elapsed() > START_TIMEOUT {
            return Err(UpError::NotReady {
                log: self.envoy_log.display().to_string(),
            });
        }
        Ok(())
    }

    /// Tells from now on what Envoy refuses by itself.
    fn count_refused(&self) {
        let header_time = self.place.proxy_protocol.as_ref().map(|it| it.timeout);
        let plain = self.args.listeners.iter().map(|it| (it, header_time));
        // Behind TLS, who sends nothing gets to the filter, which tells it.
        let tls = self.args.tls.listeners.iter().map(|it| (it, None));
        let listeners = plain.chain(tls).map(|(it, time)| (it.name.clone(), time));
        let tally = Tally::new(listeners, self.capacity.connections);
        // It ends with the runtime.
        tokio::spawn(refused::watch(
            self.admin.clone(),
            tally,
            self.voice.clone(),
        ));
    }

    fn addresses(&self, found: &BTreeMap<String, String>) -> Option<Vec<(String, String)>> {
        let listeners = self.args.all_listeners();
        listeners
            .map(|listener| Some((listener.name.clone(), found.get(&listener.name)?.clone())))
            .collect()
    }

    fn envoy_ended(&self, status: ExitStatus) -> UpError {
        let log = std::fs::read_to_string(&self.envoy_log).unwrap_or_default();
        // A record begins with its time; what follows on lines of its own explains nothing by itself.
        let last = log.lines().rfind(|line| line.starts_with('['));
        UpError::Envoy {
            status,
            last: last.map(|line| format!(": {line}")).unwrap_or_default(),
            log: self.envoy_log.display().to_string(),
            served: self.ready,
        }
    }

    async fn control_ended(&mut self) -> Result<(), UpError> {
        let status = self.control.child.wait().await?;
        // It says itself why it refuses. INVARIANT: once there may be sessions, that ends none of them.
        if status.code() == Some(2) && !self.ready {
            return Err(UpError::Control);
        }
        self.say_ended("control plane", status);
        self.control.pause = self.control.next_pause();
        self.control_due = Some(Instant::now() + self.control.pause);
        Ok(())
    }

    fn restart_control(&mut self) {
        let (place, socket) = (&self.place, &self.control_socket);
        let pause = self.control.pause;
        match start_control(self.args, place, socket, self.workers, self.capacity, pause) {
            Ok(part) => {
                tell_child(&self.voice, "control", &part.child);
                self.control = part;
                self.control_due = None;
            }
            Err(error) => {
                self.say(&Said::gateway(Severity::Error, error.to_string()));
                self.control_due = Some(Instant::now() + RESTART_PAUSE_MAX);
            }
        }
    }

    async fn reject_ended(&mut self) -> Result<(), UpError> {
        let Some((part, _)) = &mut self.reject else {
            return Ok(());
        };
        let status = part.child.wait().await?;
        part.pause = part.next_pause();
        self.reject_due = Some(Instant::now() + part.pause);
        self.say_ended("reject engine", status);
        Ok(())
    }

    fn restart_reject(&mut self) {
        let (Some((part, address)), Some(program)) = (&mut self.reject, &self.place.reject_engine)
        else {
            return;
        };
        // The same address as before, which Envoy knows.
        match spawn_reject(self.args, program, *address, part.pause) {
            Ok(again) => {
                tell_child(&self.voice, "reject-engine", &again.child);
                *part = again;
                self.reject_due = None;
            }
            Err(error) => {
                self.voice
                    .say(&Said::gateway(Severity::Error, error.to_string()));
                self.reject_due = Some(Instant::now() + RESTART_PAUSE_MAX);
            }
        }
    }

    fn say_ended(&self, name: &str, status: ExitStatus) {
        self.say(&Said::gateway(
            Severity::Error,
            format!("the {name} ended ({status}); sessions and routing go on, it is started again"),
        ));
    }

    async fn stop(mut self) {
        // Envoy first: what still arrives is then refused by the kernel rather than by half a gateway.
        child::end(&mut self.envoy).await;
        child::end(&mut self.control.child).await;
        if let Some((part, _)) = &mut self.reject {
            child::end(&mut part.child).await;
        }
        self.say(&Said::Stopped {});
        self.voice.finish().await;
    }

    fn say(&self, said: &Said) {
        self.voice.say(said);
    }
}

fn tell_child(voice: &Speaker, name: &'static str, child: &Child) {
    if let Some(pid) = child.id() {
        voice.say(&Said::Child { name, pid });
    }
}

async fn next_line(reject: &mut Option<(Part, SocketAddr)>) -> Option<String> {
    match reject {
        Some((part, _)) => part.lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

fn start_control(
    args: &UpArgs,
    place: &place::Place,
    socket: &TcpListener,
    workers: u64,
    capacity: Capacity,
    pause: Duration,
) -> Result<Part, UpError> {
    let refused = |source| UpError::Start {
        name: "the control plane",
        source,
    };
    let own = std::env::current_exe().map_err(refused)?;
    let mut command = child::command(&own).map_err(refused)?;
    command
        .arg("control")
        .arg(&args.source.directory)
        .args(["--xds", "stdin"]);
    command.args(["--output", if args.json { "json" } else { "both" }]);
    command
        .arg("--filter")
        .arg(&place.filter)
        .arg("--state-dir")
        .arg(&place.state_dir);
    for endpoint in &args.source.endpoints {
        command.arg("--endpoint").arg(endpoint.to_string());
    }
    command
        .arg("--settle-quiet-ms")
        .arg(args.source.decide.settle_quiet_ms.to_string());
    command
        .arg("--settle-max-ms")
        .arg(args.source.decide.settle_max_ms.to_string());
    command
        .arg("--conflict-policy")
        .arg(args.source.decide.conflict_policy.label());
    command
        .arg("--target-connections-max")
        .arg(capacity.target_connections.to_string())
        .arg("--tcp-timeout")
        .arg(args.ends.tcp_timeout.to_string());
    // One for each worker, and the main thread's.
    command.arg("--vms").arg((workers + 1).to_string());
    let socket: OwnedFd = socket.try_clone().map_err(refused)?.into();
    command.stdin(Stdio::from(socket)).stdout(Stdio::piped());
    Part::new(
        command.spawn().map_err(refused)?,
        "the control plane",
        pause,
    )
}

fn spawn_reject(
    args: &UpArgs,
    program: &Path,
    address: SocketAddr,
    pause: Duration,
) -> Result<Part, UpError> {
    let name = "the reject engine";
    let refused = |source| UpError::Start { name, source };
    let mut command = child::command(program).map_err(refused)?;
    command
        .arg("--listen")
        .arg(address.to_string())
        .arg("--text")
        .arg(&args.reject_text);
    command.stdout(Stdio::piped());
    Part::new(command.spawn().map_err(refused)?, name, pause)
}

/// A reject engine on a free port, with its address: the last word of its first line.
async fn start_reject(args: &UpArgs, program: &Path) -> Result<(Part, SocketAddr), UpError> {
    let refused = |source| UpError::Start {
        name: "the reject engine",
        source,
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut part = spawn_reject(args, program, any, RESTART_PAUSE)?;
    let first = timeout(ADDRESS_TIMEOUT, part.lines.next_line())
        .await
        .map_err(|late| refused(late.into()))?;
    let address = first?
        .as_deref()
        .and_then(|line| line.rsplit(' ').next()?.parse().ok());
    let silent = || refused(io::Error::other("it did not say its address"));
    Ok((part, address.ok_or_else(silent)?))
}

fn start_envoy(
    args: &UpArgs,
    envoy: &Path,
    bootstrap: &Path,
    log: &Path,
    workers: u64,
) -> Result<Child, UpError> {
    let refused = |source| UpError::Start {
        name: "Envoy",
        source,
    };
    // The log of the run before is kept beside it: one file, so that it cannot grow without a bound over restarts.
    let _ = std::fs::rename(log, log.with_extension("log.1"));
    let mut command = child::command(envoy).map_err(refused)?;
    command
        .arg("-c")
        .arg(bootstrap)
        .arg("--concurrency")
        .arg(workers.to_string());
    // Gateways side by side on one machine must not meet in Envoy's shared memory.
    command
        .arg("--disable-hot-restart")
        .arg("--log-path")
        .arg(log)
        .args(["-l", &args.envoy_log_level]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(refused)
}
