//! The whole gateway: `fixgw up` with its Envoy, control plane and reject engine.
//!
//! What it says in JSON lines is awaited here; the flags and the names of events are in this one place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::{Directory, NAMESPACE};
use crate::process::{Process, is_alive, kind, signal_pid, text, wait_until};
use crate::raw::RawClient;
use crate::socket::unused_port;
use crate::tls::Files;
use crate::tool;

/// At least two workers, because what one of them does must not depend on the other.
pub const WORKERS: u64 = 2;
/// VMs of one gateway: its workers', and that of Envoy's main thread.
pub const VMS: u64 = WORKERS + 1;

/// The listener with TLS, where there is one.
pub const TLS_LISTENER: &str = "secure";

/// The listener that most tests use.
pub const LISTENER: &str = "main";

/// So many connections are made for one on a certain worker. It takes one more than the others have more of.
const CONNECTIONS_FOR_A_WORKER_MAX: usize = 64;

/// What `fixgw up` is started with.
pub struct Setup {
    directory: PathBuf,
    endpoints: Vec<(String, SocketAddr)>,
    listeners: Vec<String>,
    envoy: PathBuf,
    filter: PathBuf,
    reject_engine: PathBuf,
    state: Option<PathBuf>,
    admin: Option<SocketAddr>,
    json: bool,
    temporary: Option<PathBuf>,
    files: Option<usize>,
    more: Vec<OsString>,
}

impl Setup {
    /// Over the objects of a directory, with one listener and the filter that is shipped.
    #[must_use]
    pub fn over(directory: &Directory) -> Self {
        Self::over_path(directory.path())
    }

    /// Over a path, which need not be there.
    #[must_use]
    pub fn over_path(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            endpoints: Vec::new(),
            listeners: vec![format!("{LISTENER}=127.0.0.1:0")],
            envoy: tool::envoy(),
            filter: tool::filter(),
            reject_engine: tool::program("fixgw-reject-engine"),
            state: None,
            admin: None,
            json: true,
            temporary: None,
            files: None,
            more: Vec::new(),
        }
    }

    /// `--endpoint`: one more endpoint of a Service of the tests' namespace.
    #[must_use]
    pub fn endpoint(mut self, service: &str, address: SocketAddr) -> Self {
        self.endpoints.push((service.to_owned(), address));
        self
    }

    /// One more listener.
    #[must_use]
    pub fn listener(mut self, name: &str, address: SocketAddr) -> Self {
        self.listeners.push(format!("{name}={address}"));
        self
    }

    /// A listener with TLS and the certificate of these files.
    #[must_use]
    pub fn tls(self, files: &Files) -> Self {
        let (certificate, key) = (files.certificate(), files.key());
        self.arguments(["--listen-tls", &format!("{TLS_LISTENER}=127.0.0.1:0")])
            .arguments(["--cert", &certificate.display().to_string()])
            .arguments(["--key", &key.display().to_string()])
    }

    /// Clients with a certificate of these files' client CA only.
    #[must_use]
    pub fn client_ca(self, files: &Files) -> Self {
        self.arguments(["--client-ca", &files.client_ca().display().to_string()])
    }

    /// No listener but those in the arguments.
    #[must_use]
    pub fn without_listener(mut self) -> Self {
        self.listeners.clear();
        self
    }

    /// Where it keeps its temporary files.
    #[must_use]
    pub fn temporary(mut self, directory: &Path) -> Self {
        self.temporary = Some(directory.to_owned());
        self
    }

    /// How many files each of its processes may open, and cannot raise.
    #[must_use]
    pub fn files(mut self, limit: usize) -> Self {
        self.files = Some(limit);
        self
    }

    /// Another Envoy, for a test of its absence.
    #[must_use]
    pub fn envoy(mut self, envoy: &Path) -> Self {
        envoy.clone_into(&mut self.envoy);
        self
    }

    /// Another build of the filter.
    #[must_use]
    pub fn filter(mut self, filter: &Path) -> Self {
        filter.clone_into(&mut self.filter);
        self
    }

    /// Another reject engine.
    #[must_use]
    pub fn reject_engine(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.reject_engine);
        self
    }

    /// A state directory that outlives this gateway.
    #[must_use]
    pub fn state(mut self, directory: &Path) -> Self {
        self.state = Some(directory.to_owned());
        self
    }

    /// With Envoy's admin interface, for [`Gateway::statistics`].
    #[must_use]
    pub fn admin(mut self) -> Self {
        self.admin = Some(unused_port());
        self
    }

    /// More arguments, which stand after the others.
    #[must_use]
    pub fn arguments<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.more.extend(arguments.map(OsString::from));
        self
    }

    /// Starts it and waits for nothing.
    #[must_use]
    pub fn spawn(self) -> Gateway {
        let own_state =
            TempDir::with_prefix("fixgw-e2e-state-").expect("a temporary directory can be made");
        let state = self.state.unwrap_or_else(|| own_state.path().join("state"));
        let fixgw = tool::program("fixgw");
        let program = self.files.map_or(fixgw.as_path(), |_| Path::new("prlimit"));
        let process = Process::start("fixgw up", program, |command| {
            if let Some(limit) = self.files {
                // It becomes the program, so that the pid stays.
                command.arg(format!("--nofile={limit}:{limit}"));
                command.arg("--").arg(&fixgw);
            }
            command.arg("up").arg(&self.directory);
            if self.json {
                command.arg("--json");
            }
            for listener in &self.listeners {
                command.arg("--listen").arg(listener);
            }
            for (service, address) in &self.endpoints {
                command
                    .arg("--endpoint")
                    .arg(format!("{NAMESPACE}/{service}={address}"));
            }
            command
                .arg("--state-dir")
                .arg(&state)
                .arg("--workers")
                .arg(WORKERS.to_string());
            command
                .arg("--envoy")
                .arg(&self.envoy)
                .arg("--filter")
                .arg(&self.filter);
            command.arg("--reject-engine").arg(&self.reject_engine);
            if let Some(admin) = self.admin {
                command.arg("--admin").arg(admin.to_string());
            }
            command.args(&self.more);
            if let Some(temporary) = &self.temporary {
                command.env("TMPDIR", temporary);
            }
        });
        Gateway {
            process,
            state,
            admin: self.admin,
            _own_state: own_state,
        }
    }

    /// Starts it with lines for people instead of JSON, and waits until it takes connections.
    #[must_use]
    pub fn start_for_people(mut self) -> (Gateway, SocketAddr) {
        // Nothing of what it says may be parsed here, so its port is chosen beforehand.
        let address = unused_port();
        self.listeners = vec![format!("{LISTENER}={address}")];
        self.json = false;
        let gateway = self.spawn();
        wait_until("the gateway to listen", || {
            std::net::TcpStream::connect(address).ok()
        });
        (gateway, address)
    }

    /// Starts it and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Gateway {
        let gateway = self.spawn();
        gateway.wait_ready();
        gateway
    }
}

/// A running gateway.
pub struct Gateway {
    process: Process,
    state: PathBuf,
    admin: Option<SocketAddr>,
    _own_state: TempDir,
}

impl Gateway {
    /// The supervisor.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The supervisor, to wait for its end.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Waits until every worker has a table and the listeners listen.
    pub fn wait_ready(&self) -> Value {
        self.process
            .wait_for("`ready`", |event| kind(event) == "ready")
    }

    /// Where the usual listener listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address_of(LISTENER)
    }

    /// Where a listener listens.
    #[must_use]
    pub fn address_of(&self, listener: &str) -> SocketAddr {
        let listening = self
            .process
            .wait_for(&format!("the address of listener {listener}"), |event| {
                kind(event) == "listening" && text(event, "name") == listener
            });
        text(&listening, "address")
            .parse()
            .expect("`address` is an address with a port")
    }

    /// The present number of events, for the waits that follow.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.process.mark()
    }

    /// All decisions so far.
    #[must_use]
    pub fn decisions(&self) -> Vec<Value> {
        self.process
            .events()
            .into_iter()
            .filter(|event| kind(event) == "decision")
            .collect()
    }

    /// Waits for the decision about the connection from `source`.
    #[must_use]
    pub fn decision_about(&self, source: SocketAddr) -> Value {
        self.decision_after(0, source)
    }

    /// Waits for the decision after `mark` about the connection from `source`: over hundreds of connections, a port comes
    /// again.
    #[must_use]
    pub fn decision_after(&self, mark: usize, source: SocketAddr) -> Value {
        let source = source.to_string();
        self.process
            .wait_after(mark, &format!("the decision about {source}"), |event| {
                kind(event) == "decision" && text(event, "source") == source
            })
    }

    /// All decisions about the connection from `source`, so far.
    #[must_use]
    pub fn decisions_about(&self, source: SocketAddr) -> Vec<Value> {
        let source = source.to_string();
        self.decisions()
            .into_iter()
            .filter(|event| text(event, "source") == source)
            .collect()
    }

    /// Waits until every worker uses a revision that was published after `mark`.
    pub fn wait_applied(&self, mark: usize) -> Value {
        self.process
            .wait_after(mark, "`applied`", |event| kind(event) == "applied")
    }

    /// Does something to the directory that changes the table, and waits until every worker uses the new one.
    pub fn apply(&self, change: impl FnOnce()) -> Value {
        let mark = self.mark();
        let revision = |event: &Value| event["revision"].as_u64().unwrap_or_default();
        let before = self
            .process
            .events()
            .iter()
            .filter(|event| kind(event) == "applied")
            .map(revision)
            .max();
        change();
        // A change of endpoints alone is applied too, and sooner: the revision is what tells them apart.
        self.process
            .wait_after(mark, "a newer revision to be applied", |event| {
                kind(event) == "applied" && Some(revision(event)) > before
            })
    }

    /// Waits for a message about the gateway itself after `mark`, of this severity and with this text in it.
    pub fn wait_said(&self, mark: usize, severity: &str, part: &str) -> Value {
        self.process
            .wait_after(mark, &format!("{severity} with `{part}`"), |event| {
                kind(event) == "gateway"
                    && text(event, "severity") == severity
                    && text(event, "message").contains(part)
            })
    }

    /// Waits for a message about an object after `mark`.
    pub fn wait_object(&self, mark: usize, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.process
            .wait_after(mark, what, |event| kind(event) == "object" && is(event))
    }

    /// The process id of the child of this name that was started last.
    #[must_use]
    pub fn child(&self, name: &str) -> u32 {
        self.process
            .wait_all(&format!("the child {name}"), |events| {
                let mut children = events.iter().rev();
                let child =
                    children.find(|event| kind(event) == "child" && text(event, "name") == name)?;
                u32::try_from(child["pid"].as_u64()?).ok()
            })
    }

    /// The process ids of all children that it ever started.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        let events = self.process.events();
        let children = events.iter().filter(|event| kind(event) == "child");
        children
            .filter_map(|event| u32::try_from(event["pid"].as_u64()?).ok())
            .collect()
    }

    /// Kills a child with SIGKILL and waits until it is gone.
    pub fn kill_child(&self, name: &str) {
        let pid = self.child(name);
        signal_pid(pid, Signal::KILL);
        wait_until(&format!("the end of {name}"), || {
            (!is_alive(pid)).then_some(())
        });
    }

    /// Envoy's counters and gauges: name and value.
    #[must_use]
    pub fn statistics(&self) -> BTreeMap<String, u64> {
        self.statistics_of("")
    }

    /// Those of [`Self::statistics`] whose names hold a match of this regular expression.
    #[must_use]
    pub fn statistics_of(&self, names: &str) -> BTreeMap<String, u64> {
        let admin = self
            .admin
            .expect("the gateway was set up with an admin interface");
        statistics(admin, names)
    }

    /// Connections to the usual listener that each worker has taken so far.
    fn taken_by_workers(&self) -> Vec<u64> {
        let counts = self.statistics_of(&format!("listener.{LISTENER}.worker_"));
        (0..WORKERS)
            .map(|worker| {
                counts[&format!("listener.{LISTENER}.worker_{worker}.downstream_cx_total")]
            })
            .collect()
    }

    /// Connects to the usual listener, and says which worker took it. Nobody else may connect meanwhile.
    #[must_use]
    pub fn connect(&self) -> (RawClient, usize) {
        self.worker_of(|| RawClient::connect(self.address()))
    }

    /// The worker that took the connection which `connect` makes: its count moves. Nobody else may connect meanwhile.
    pub fn worker_of<T>(&self, connect: impl FnOnce() -> T) -> (T, usize) {
        let before = self.taken_by_workers();
        let connected = connect();
        let worker = wait_until("a worker to take a connection", || {
            let now = self.taken_by_workers();
            (0..now.len()).find(|worker| now[*worker] > before[*worker])
        });
        (connected, worker)
    }

    /// Connects to the usual listener, on one worker: Envoy gives a connection to the worker that has the fewest.
    #[must_use]
    pub fn connect_on(&self, worker: usize) -> RawClient {
        // They end when the right one is there; until then, each makes its worker less likely.
        let mut others = Vec::new();
        for _ in 0..CONNECTIONS_FOR_A_WORKER_MAX {
            let (client, taken_by) = self.connect();
            if taken_by == worker {
                return client;
            }
            others.push(client);
        }
        panic!("worker {worker} took none of {CONNECTIONS_FOR_A_WORKER_MAX} connections");
    }

    /// Stops it by two signals, so that live connections are not waited for. Waits until it and all of its
    /// children are gone.
    pub fn stop(&mut self) {
        // Two of one kind that come together may count as one.
        self.process.signal(Signal::INT);
        self.process.signal(Signal::TERM);
        let status = self.process.wait_exit();
        assert!(
            status.success(),
            "fixgw up ended with {status}\n{}",
            crate::process::journal()
        );
        for pid in self.children() {
            wait_until("the end of a child", || (!is_alive(pid)).then_some(()));
        }
    }
}

/// The counters and gauges of the Envoy whose admin interface listens there: those whose names hold a match of this regular
/// expression.
#[must_use]
pub fn statistics(admin: SocketAddr, names: &str) -> BTreeMap<String, u64> {
    let mut client = RawClient::connect(admin);
    let filter = if names.is_empty() {
        String::new()
    } else {
        format!("?filter={names}")
    };
    let request =
        format!("GET /stats{filter} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    client.send(request.as_bytes());
    let answer = client.take_to_end();
    let answer = String::from_utf8_lossy(&answer);
    let lines = answer.lines().filter_map(|line| line.rsplit_once(": "));
    lines
        .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
        .collect()
}
