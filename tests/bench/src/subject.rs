//! Who is compared, how is each of them set up and started, and how are its rules changed?
//!
//! Each does the same: routes counterparties by `SenderCompID` to the engine that its rules name, on one processor, with one worker. Plain
//! Envoy and the direct connection have no rules: they say what is left without the gateway's job.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_e2e::fixture::{Route, service_yaml, slices_yaml};
use fixgw_e2e::process::{Process, journal, kind, signal_pid, text};
use fixgw_e2e::socket::unused_port;
use fixgw_e2e::tls::{Authority, GATEWAY};
use fixgw_e2e::tool;
use rustix::process::{Resource, Signal, getrlimit};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;

use crate::cpu;
use crate::load::{ENGINES, Load, NEWCOMER, SENDER, Target};

const HAPROXY: &str = include_str!("../config/haproxy.cfg");
const NGINX: &str = include_str!("../config/nginx.conf");
const NGINX_SCRIPT: &str = include_str!("../config/fix.js");
const ENVOY: &str = include_str!("../config/envoy.yaml");
/// How Envoy is told to drive its sockets by `io_uring`.
const IO_URING: &str = "default_socket_interface: envoy.extensions.network.socket_interface.default_socket_interface
bootstrap_extensions: [{ name: envoy.extensions.network.socket_interface.default_socket_interface, typed_config: { '@type': type.googleapis.com/envoy.extensions.network.socket_interface.v3.DefaultSocketInterface, io_uring_options: {} } }]";

/// How long a subject may take to answer its first Logon.
const START_MAX: Duration = Duration::from_mins(1);
/// How many of the gateway's rules stand in one file: a file has 16 MiB at most.
const RULES_A_FILE: usize = 10_000;
/// How often it is asked.
const START_LOOK: Duration = Duration::from_millis(5);

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No subject at all: counterparties connect to an engine.
    Direct,
    /// HAProxy, by `fix_tag_value`.
    HaProxy,
    /// nginx, by njs.
    Nginx,
    /// Envoy's `tcp_proxy`.
    Envoy(Tuning),
    /// The whole gateway.
    Gateway(Workers),
}

/// How many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// As everybody has in the comparison.
    One,
    /// To see what one more takes.
    Two,
}

/// Which of Envoy's settings that could make it faster are used: those of adr-005, phase 1, that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// One worker; with more, `exact_balance` gives each as many connections.
    None,
    /// Two workers.
    TwoWorkers,
    /// Two workers, a socket for each: the kernel's hash says who gets a connection.
    TwoHashed,
    /// Two workers on one socket: who is awake first takes a connection.
    TwoOneSocket,
    /// Two workers, each on a processor of its own, where there is one.
    TwoPinned,
    /// One worker, whose sockets are driven by `io_uring`.
    IoUring,
}

impl Tuning {
    /// What it sets of a listener.
    const fn listener(self) -> &'static str {
        match self {
            Self::None | Self::TwoWorkers | Self::TwoPinned | Self::IoUring => {
                "connection_balance_config: { exact_balance: {} }"
            }
            Self::TwoHashed => "enable_reuse_port: true",
            Self::TwoOneSocket => "enable_reuse_port: false",
        }
    }

    /// What it sets of the whole Envoy.
    const fn bootstrap(self) -> &'static str {
        match self {
            Self::TwoPinned => "enable_worker_cpu_affinity: true",
            Self::IoUring => IO_URING,
            Self::None | Self::TwoWorkers | Self::TwoHashed | Self::TwoOneSocket => "",
        }
    }

    const fn workers(self) -> &'static str {
        match self {
            Self::None | Self::IoUring => "1",
            Self::TwoWorkers | Self::TwoHashed | Self::TwoOneSocket | Self::TwoPinned => "2",
        }
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Direct,
        Self::HaProxy,
        Self::Nginx,
        Self::Envoy(Tuning::None),
        Self::Gateway(Workers::One),
    ];

    /// Those that show what Envoy's settings do: plain Envoy and the gateway as they are, and with each.
    pub const TUNED: [Self; 8] = [
        Self::Envoy(Tuning::None),
        Self::Envoy(Tuning::IoUring),
        Self::Envoy(Tuning::TwoWorkers),
        Self::Envoy(Tuning::TwoHashed),
        Self::Envoy(Tuning::TwoOneSocket),
        Self::Envoy(Tuning::TwoPinned),
        Self::Gateway(Workers::One),
        Self::Gateway(Workers::Two),
    ];

    /// Its name in every table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Envoy(Tuning::None) => crate::metrics::REFERENCE,
            Self::Envoy(Tuning::TwoWorkers) => "Envoy, 2 workers",
            Self::Envoy(Tuning::TwoHashed) => "Envoy, 2 workers, by hash",
            Self::Envoy(Tuning::TwoOneSocket) => "Envoy, 2 workers, one socket",
            Self::Envoy(Tuning::TwoPinned) => "Envoy, 2 workers, pinned",
            Self::Envoy(Tuning::IoUring) => "Envoy, io_uring",
            Self::Gateway(Workers::One) => "gateway",
            Self::Gateway(Workers::Two) => "gateway, 2 workers",
        }
    }

    /// Whether it has rules.
    #[must_use]
    pub const fn routes(self) -> bool {
        matches!(self, Self::HaProxy | Self::Nginx | Self::Gateway(_))
    }

    /// Whether it can be had here; if not, why.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn found(self) -> Result<(), String> {
        let (program, variable) = match self {
            Self::HaProxy => ("HAProxy", "FIXGW_HAPROXY"),
            Self::Nginx => ("nginx", "FIXGW_NGINX"),
            Self::Direct | Self::Envoy(_) | Self::Gateway(_) => return Ok(()),
        };
        let path = std::env::var_os(variable).filter(|path| !path.is_empty());
        match path {
            Some(path) if Path::new(&path).exists() => Ok(()),
            _ => Err(format!(
                "{program} is left out: it cannot be had here (`{variable}` says where it is)"
            )),
        }
    }

    /// What it says its version is.
    #[must_use]
    pub fn version(self) -> String {
        let (program, flag) = match self {
            Self::Direct => return "—".to_owned(),
            Self::HaProxy => (tool::haproxy(), "-v"),
            Self::Nginx => (nginx(), "-v"),
            Self::Envoy(_) => (tool::envoy(), "--version"),
            Self::Gateway(_) => (tool::program("fixgw"), "--version"),
        };
        let output = Command::new(program).arg(flag).output();
        let output = output.expect("it tells its version");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let line = said.lines().find(|line| !line.trim().is_empty());
        let line = line.unwrap_or_default().trim();
        // Of a path before it, nothing is of interest.
        line.rsplit_once("version: ")
            .map_or(line, |(_, version)| version)
            .to_owned()
    }
}

fn nginx() -> PathBuf {
    PathBuf::from(std::env::var_os("FIXGW_NGINX").unwrap_or_default())
}

/// Who may log on, and where that leads: the CompID, and the number of the engine.
#[derive(Clone, Debug)]
pub struct Rules(Vec<(String, usize)>);

impl Rules {
    /// So many of the [`Load`]'s counterparties.
    #[must_use]
    pub fn of(count: usize) -> Self {
        let rule = |number| (format!("{SENDER}{number}"), number % ENGINES);
        Self((0..count).map(rule).collect())
    }

    /// Exactly these.
    #[must_use]
    pub fn exactly(rules: Vec<(String, usize)>) -> Self {
        Self(rules)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The same, so many at a time.
    fn parts(&self, size: usize) -> impl Iterator<Item = Self> {
        self.0.chunks(size).map(|part| Self(part.to_vec()))
    }

    fn lines(&self, mut line: impl FnMut(&str, usize) -> String) -> String {
        self.0
            .iter()
            .map(|(sender, engine)| line(sender, *engine))
            .collect()
    }

    fn with(&self, sender: &str, engine: usize) -> Self {
        let mut rules = self.clone();
        rules.0.push((sender.to_owned(), engine));
        rules
    }
}

/// How a change of the rules reaches a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As its documents advise for a running one: HAProxy's runtime socket, our directory; nginx has none but to be reloaded.
    Live,
    /// The configuration is read again by new processes; the old ones go when their last session has.
    Reload,
    /// The same, and the old ones go after [`HARD_STOP`] at the latest.
    ReloadAndStop,
}

/// How long old processes may stay with [`Way::ReloadAndStop`].
pub const HARD_STOP: Duration = Duration::from_secs(2);

/// How a subject is started.
#[derive(Clone)]
pub struct Setting {
    /// The processors that it has.
    pub cores: Vec<usize>,
    /// Its rules.
    pub rules: Rules,
    /// How they will be changed.
    pub way: Way,
    /// The certificate, its key, and what trusts it.
    pub identity: Arc<Identity>,
    /// Where the engines are.
    pub engines: Vec<SocketAddr>,
}

/// A certificate, and counterparties that trust it.
pub struct Identity {
    certificate: String,
    key: String,
    client: Arc<ClientConfig>,
}

impl Identity {
    /// A new one. TLS 1.3, one group and one suite, which all have: a subject's choice among several would be compared with another one's. No
    /// resumption: each connection pays for its handshake.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let authority = Authority::new("bench");
        let issued = authority.issue(GATEWAY);
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes());
        let mut roots = RootCertStore::empty();
        roots
            .add(root.expect("our own PEM"))
            .expect("a CA can be trusted");
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![ring::kx_group::X25519],
            ..ring::default_provider()
        });
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has TLS 1.3")
            .with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(Self {
            certificate: issued.certificate,
            key: issued.key,
            client: Arc::new(config),
        })
    }
}

/// A change that is ready to be made: what takes long is done.
pub struct Change {
    commit: Box<dyn FnMut()>,
}

impl Change {
    /// Makes it.
    pub fn commit(&mut self) {
        (self.commit)();
    }
}

/// One that runs.
pub struct Subject {
    kind: Kind,
    setting: Setting,
    plain: SocketAddr,
    secure: SocketAddr,
    process: Option<Process>,
    files: TempDir,
    pids: Vec<(String, u32)>,
}

impl Subject {
    /// Starts it, and waits until it answers a Logon. Says how long that took.
    pub fn start(kind: Kind, setting: &Setting, load: &mut Load) -> (Self, Duration) {
        let files = TempDir::with_prefix("fixgw-bench-").expect("a directory can be made");
        let mut subject = Self {
            kind,
            setting: setting.clone(),
            plain: unused_port(),
            secure: unused_port(),
            process: None,
            files,
            pids: Vec::new(),
        };
        subject.write_files();
        if kind == Kind::Direct {
            subject.plain = load.direct();
            return (subject, Duration::ZERO);
        }
        let begun = Instant::now();
        subject.process = Some(subject.spawn());
        subject.wait_answered(load);
        let took = begun.elapsed();
        load.take_seen();
        subject.pids = subject.parts();
        (subject, took)
    }

    /// Who it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where counterparties connect.
    #[must_use]
    pub fn target(&self, tls: bool) -> Target {
        Target {
            address: if tls { self.secure } else { self.plain },
            tls: tls.then(|| Arc::clone(&self.setting.identity.client)),
            routes: self.kind.routes(),
        }
    }

    /// All of its processes, as they were when it was started.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.pids.iter().map(|(_, pid)| *pid).collect()
    }

    /// Those of one part: of the gateway, `envoy`, or all others.
    #[must_use]
    pub fn part(&self, is_envoy: bool) -> Vec<u32> {
        let wanted = self
            .pids
            .iter()
            .filter(|(name, _)| (name == "envoy") == is_envoy);
        wanted.map(|(_, pid)| *pid).collect()
    }

    /// All of its processes now.
    #[must_use]
    pub fn parts(&self) -> Vec<(String, u32)> {
        let Some(process) = &self.process else {
            return Vec::new();
        };
        if matches!(self.kind, Kind::Gateway(_)) {
            let events = self.events();
            let children = events.iter().filter(|event| kind(event) == "child");
            let children = children.filter_map(|event| {
                let pid = u32::try_from(event["pid"].as_u64()?).ok()?;
                Some((text(event, "name").to_owned(), pid))
            });
            let mut parts: Vec<(String, u32)> = children.collect();
            parts.push(("up".to_owned(), process.pid()));
            return parts;
        }
        let group = cpu::group(process.pid());
        group
            .into_iter()
            .map(|pid| (self.kind.name().to_owned(), pid))
            .collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("the directory takes a file");
    }

    fn write_files(&self) {
        let setting = &self.setting;
        let identity = &setting.identity;
        self.put("tls.crt", &identity.certificate);
        self.put("tls.key", &identity.key);
        let filled = |text: &str| self.filled(text);
        match self.kind {
            Kind::Direct => {}
            Kind::HaProxy => {
                self.put(
                    "both.pem",
                    &format!("{}{}", identity.certificate, identity.key),
                );
                self.put("rules.map", &haproxy_map(&setting.rules));
                let mut text = filled(HAPROXY);
                for (number, engine) in setting.engines.iter().enumerate() {
                    let _ = write!(text, "backend e{number}\n    server e{number} {engine}\n");
                }
                self.put("haproxy.cfg", &text);
            }
            Kind::Nginx => {
                self.put("rules.map", &nginx_map(&setting.rules));
                self.put("fix.js", NGINX_SCRIPT);
                self.put("nginx.conf", &filled(NGINX));
            }
            Kind::Envoy(_) => self.put("envoy.yaml", &filled(ENVOY)),
            Kind::Gateway(_) => {
                let rules = self.file("rules");
                std::fs::create_dir(&rules).expect("the directory takes another");
                for (number, engine) in setting.engines.iter().enumerate() {
                    let name = format!("e{number}");
                    let text = format!("{}{}", service_yaml(&name), slices_yaml(&name, &[*engine]));
                    self.put(&format!("rules/{name}.yaml"), &text);
                }
                let route = |sender: &str, engine: usize| format!("---\n{}", route(sender, engine));
                for (number, part) in setting.rules.parts(RULES_A_FILE).enumerate() {
                    self.put(&format!("rules/routes-{number}.yaml"), &part.lines(route));
                }
            }
        }
    }

    /// A configuration with what varies.
    fn filled(&self, text: &str) -> String {
        let files = open_files();
        let stop = self.setting.way == Way::ReloadAndStop;
        let seconds = HARD_STOP.as_secs();
        let hard_stop = match (self.kind, stop) {
            (Kind::HaProxy, true) => format!("hard-stop-after {seconds}s"),
            (Kind::Nginx, true) => format!("worker_shutdown_timeout {seconds}s;"),
            _ => String::new(),
        };
        let upstream = |(number, engine): (usize, &SocketAddr)| {
            format!("upstream e{number} {{ server {engine}; }}\n    ")
        };
        let engines: String = self
            .setting
            .engines
            .iter()
            .enumerate()
            .map(upstream)
            .collect();
        let endpoint = |engine: &SocketAddr| {
            format!(
                "{{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }} }}",
                engine.ip(),
                engine.port()
            )
        };
        let endpoints: Vec<String> = self.setting.engines.iter().map(endpoint).collect();
        let endpoints = endpoints.join(", ");
        let modules = nginx();
        let modules = modules
            .parent()
            .and_then(Path::parent)
            .unwrap_or(Path::new("/usr"));
        let modules = modules.join("lib/nginx/modules");
        let tuning = match self.kind {
            Kind::Envoy(tuning) => tuning,
            Kind::Direct | Kind::HaProxy | Kind::Nginx | Kind::Gateway(_) => Tuning::None,
        };
        // HAProxy counts counterparties, nginx both ends of each.
        let connections = match self.kind {
            Kind::HaProxy => files / 2 - 500,
            _ => files - 100,
        };
        let edits = [
            ("@CONNECTIONS@", connections.to_string()),
            ("@FILES_MAX@", files.to_string()),
            ("@FILES@", self.files.path().display().to_string()),
            ("@HARD_STOP@", hard_stop),
            ("@LISTEN@", self.plain.to_string()),
            ("@LISTEN_TLS@", self.secure.to_string()),
            ("@MODULES@", modules.display().to_string()),
            ("@ENGINES@", engines),
            ("@PORT@", self.plain.port().to_string()),
            ("@PORT_TLS@", self.secure.port().to_string()),
            ("@LISTENER@", tuning.listener().to_owned()),
            ("@BOOTSTRAP@", tuning.bootstrap().to_owned()),
            ("@ENDPOINTS@", endpoints),
        ];
        edits.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
    }

    fn spawn(&self) -> Process {
        let output = self.file("output");
        let cores: Vec<String> = self.setting.cores.iter().map(ToString::to_string).collect();
        // Its output goes into a file: nothing of ours reads along while it is measured.
        Process::start(self.kind.name(), "sh", |command| {
            command.args(["-c", "exec \"$@\" >\"$0\""]).arg(&output);
            command.args(["taskset", "-c", &cores.join(",")]);
            match self.kind {
                Kind::Direct => {}
                Kind::HaProxy => {
                    command
                        .arg(tool::haproxy())
                        .arg("-W")
                        .arg("-f")
                        .arg(self.file("haproxy.cfg"));
                }
                Kind::Nginx => {
                    command.arg(nginx()).arg("-p").arg(self.files.path());
                    command
                        .arg("-c")
                        .arg(self.file("nginx.conf"))
                        .arg("-e")
                        .arg("stderr");
                }
                Kind::Envoy(tuning) => {
                    command.arg(tool::envoy()).args([
                        "--concurrency",
                        tuning.workers(),
                        "--disable-hot-restart",
                    ]);
                    command
                        .args(["-l", "warning", "-c"])
                        .arg(self.file("envoy.yaml"));
                }
                Kind::Gateway(workers) => self.arrange_gateway(workers, command),
            }
        })
    }

    fn arrange_gateway(&self, workers: Workers, command: &mut Command) {
        command
            .arg(tool::program("fixgw"))
            .arg("up")
            .arg(self.file("rules"));
        let workers = match workers {
            Workers::One => "1",
            Workers::Two => "2",
        };
        command.arg("--json").args(["--workers", workers]);
        command.arg("--listen").arg(format!("main={}", self.plain));
        command
            .arg("--listen-tls")
            .arg(format!("secure={}", self.secure));
        command
            .arg("--cert")
            .arg(self.file("tls.crt"))
            .arg("--key")
            .arg(self.file("tls.key"));
        command.args(["--tls-min", "1.3"]);
        command.arg("--state-dir").arg(self.file("state"));
        command
            .arg("--envoy")
            .arg(tool::envoy())
            .arg("--filter")
            .arg(tool::filter());
        command
            .arg("--reject-engine")
            .arg(tool::program("fixgw-reject-engine"));
    }

    fn wait_answered(&self, load: &mut Load) {
        let end = Instant::now() + START_MAX;
        let process = self.process.as_ref().expect("it was started");
        let target = self.target(false);
        while !load.is_answered(&target, Duration::from_secs(2)) {
            assert!(
                process.is_running() && Instant::now() < end,
                "{} answers no Logon:\n{}{}",
                self.kind.name(),
                journal(),
                std::fs::read_to_string(self.file("output")).unwrap_or_default(),
            );
            std::thread::sleep(START_LOOK);
        }
    }

    /// What the gateway has said so far.
    fn events(&self) -> Vec<Value> {
        let output = std::fs::read_to_string(self.file("output")).unwrap_or_default();
        let events = output
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        events.collect()
    }

    /// The change by which one counterparty more may log on, ready to be made.
    #[must_use]
    pub fn admit(&mut self, sender: &str, engine: usize) -> Change {
        let setting = &mut self.setting;
        setting.rules = setting.rules.with(sender, engine);
        let commit: Box<dyn FnMut()> = match (self.kind, self.setting.way) {
            (Kind::Direct | Kind::Envoy(_), _) => Box::new(|| {}),
            (Kind::HaProxy, Way::Live) => {
                let socket = self.file("admin.sock");
                let map = self.file("rules.map").display().to_string();
                let line = format!("add map {map} {sender} e{engine}\n");
                Box::new(move || {
                    let mut socket = UnixStream::connect(&socket).expect("HAProxy listens");
                    socket
                        .write_all(line.as_bytes())
                        .expect("HAProxy takes a command");
                })
            }
            (Kind::HaProxy, _) => self.reload(&haproxy_map(&self.setting.rules), Signal::USR2),
            (Kind::Nginx, _) => self.reload(&nginx_map(&self.setting.rules), Signal::HUP),
            (Kind::Gateway(_), _) => {
                let name = route_name(sender);
                self.put(".draft", &route(sender, engine));
                let (draft, file) = (
                    self.file(".draft"),
                    self.file(&format!("rules/{name}.yaml")),
                );
                Box::new(move || std::fs::rename(&draft, &file).expect("a file can be renamed"))
            }
        };
        Change { commit }
    }

    fn reload(&self, map: &str, signal: Signal) -> Box<dyn FnMut()> {
        self.put(".draft", map);
        let (draft, file) = (self.file(".draft"), self.file("rules.map"));
        let pid = self.process.as_ref().expect("it runs").pid();
        Box::new(move || {
            std::fs::rename(&draft, &file).expect("a file can be renamed");
            signal_pid(pid, signal);
        })
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // HAProxy's and nginx's workers are in the group that is killed; the gateway's parts end with it.
        if let Some(process) = &self.process {
            process.kill();
        }
    }
}

/// How many files a process may open here.
#[must_use]
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

fn haproxy_map(rules: &Rules) -> String {
    rules.lines(|sender, engine| format!("{sender} e{engine}\n"))
}

/// nginx's maps ignore case and refuse the second of two names that differ by it alone: it is left out.
fn nginx_map(rules: &Rules) -> String {
    let mut known = BTreeSet::new();
    rules.lines(|sender, engine| {
        if known.insert(sender.to_lowercase()) {
            format!("\"{sender}\" e{engine};\n")
        } else {
            String::new()
        }
    })
}

/// Names of objects have neither capitals nor much else.
fn route_name(sender: &str) -> String {
    let name = sender.to_lowercase();
    if [SENDER, NEWCOMER]
        .iter()
        .any(|known| sender.starts_with(known))
        && is_label(&name)
    {
        return name;
    }
    let mut name = "corpus-".to_owned();
    for byte in sender.bytes() {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

fn is_label(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn route(sender: &str, engine: usize) -> String {
    Route::new(&route_name(sender), &format!("e{engine}"))
        .value("SenderCompID49", sender)
        .yaml()
}
