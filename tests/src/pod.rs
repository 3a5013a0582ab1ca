//! A gateway as a container runs it: `fixgw gateway`, which becomes Envoy, with its control planes started beside it.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::gateway::WORKERS;
use crate::process::{Process, wait_until};
use crate::raw::RawClient;
use crate::socket::unused_port;
use crate::tls::Issued;
use crate::tool;

/// The name of the listener without TLS.
pub const LISTENER: &str = "fix-plain";
/// The name that [`Setup::names`] gives to control planes.
pub const CONTROL_PLANE: &str = "control-plane.fixgw.test";

/// What a gateway is started with.
pub struct Setup {
    control_plane: (String, u16),
    reject_engine: Option<SocketAddr>,
    listeners: Vec<(String, SocketAddr, String)>,
    more: String,
    names: Vec<SocketAddr>,
    node: String,
    files: TempDir,
}

impl Setup {
    /// With a control plane at an address, and one listener.
    #[must_use]
    pub fn asking(control_plane: SocketAddr) -> Self {
        let setup = Self {
            control_plane: (control_plane.ip().to_string(), control_plane.port()),
            reject_engine: None,
            listeners: Vec::new(),
            more: String::new(),
            names: Vec::new(),
            node: "pod-0".to_owned(),
            files: TempDir::with_prefix("fixgw-e2e-").expect("a temporary directory can be made"),
        };
        setup.listener(LISTENER, "")
    }

    /// With a control plane at every one of these addresses, which have one port, by one name.
    #[must_use]
    pub fn asking_all(control_planes: &[SocketAddr]) -> Self {
        let [first, ..] = control_planes else {
            panic!("there is a control plane");
        };
        let mut setup = Self::asking(*first);
        CONTROL_PLANE.clone_into(&mut setup.control_plane.0);
        setup.names = control_planes.to_vec();
        setup
    }

    /// With another name.
    #[must_use]
    pub fn node(mut self, id: &str) -> Self {
        id.clone_into(&mut self.node);
        self
    }

    /// With a reject engine.
    #[must_use]
    pub fn reject_engine(mut self, address: SocketAddr) -> Self {
        self.reject_engine = Some(address);
        self
    }

    /// One more listener, with more keys in flow style: `tls: { … }`.
    #[must_use]
    pub fn listener(mut self, name: &str, keys: &str) -> Self {
        let keys = keys.to_owned();
        self.listeners.push((name.to_owned(), unused_port(), keys));
        self
    }

    /// More keys of the file, each on a line.
    #[must_use]
    pub fn keys(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self
    }

    /// Starts it and waits for nothing.
    #[must_use]
    pub fn spawn(self) -> Pod {
        use std::fmt::Write as _;
        let [admin, probes, metrics] = [(); 3].map(|()| unused_port());
        let mut file = "listeners:\n".to_owned();
        for (name, address, keys) in &self.listeners {
            let _ = writeln!(
                file,
                "- {{ name: {name}, port: {}, {keys} }}",
                address.port()
            );
        }
        let (host, port) = &self.control_plane;
        let _ = writeln!(file, "controlPlane: {{ host: {host:?}, port: {port} }}");
        if let Some(address) = self.reject_engine {
            let (ip, port) = (address.ip(), address.port());
            let _ = writeln!(file, "rejectEngine: {{ host: {ip}, port: {port} }}");
        }
        let run = self.files.path().join("run");
        std::fs::create_dir(&run).expect("a directory can be made");
        let _ = write!(
            file,
            "address: 127.0.0.1\nadminPort: {}\nprobePort: {}\nmetricsPort: {}\nworkers: {WORKERS}\nrunDirectory: {}\n{}",
            admin.port(),
            probes.port(),
            metrics.port(),
            run.display(),
            self.more
        );
        let config = self.files.path().join("gateway.yaml");
        std::fs::write(&config, file).expect("the directory takes a file");
        let process = self.start(&config);
        Pod {
            process,
            listeners: self.listeners,
            admin,
            probes,
            metrics,
            files: self.files,
        }
    }

    fn start(&self, config: &Path) -> Process {
        let gateway = ["gateway", "--node-id", &self.node, "--config"];
        if self.names.is_empty() {
            return Process::start("fixgw gateway", tool::program("fixgw"), |command| {
                command.args(gateway).arg(config);
            });
        }
        // Names are read from a file that this process alone sees. No rights are needed for that.
        let hosts = self.files.path().join("hosts");
        let lines = self.names.iter();
        let lines: Vec<String> = lines
            .map(|address| format!("{} {CONTROL_PLANE}\n", address.ip()))
            .collect();
        std::fs::write(&hosts, lines.concat()).expect("the directory takes a file");
        Process::start("fixgw gateway", "unshare", |command| {
            let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
            command.args(["-rm", "sh", "-c", script]).arg(hosts);
            command
                .arg(tool::program("fixgw"))
                .args(gateway)
                .arg(config);
        })
    }

    /// Starts it and waits until it is ready.
    #[must_use]
    pub fn start_ready(self) -> Pod {
        let pod = self.spawn();
        pod.wait_ready();
        pod
    }
}

/// A running gateway.
pub struct Pod {
    process: Process,
    listeners: Vec<(String, SocketAddr, String)>,
    admin: SocketAddr,
    probes: SocketAddr,
    metrics: SocketAddr,
    files: TempDir,
}

impl Pod {
    /// Waits until its probe says that it is ready.
    pub fn wait_ready(&self) {
        wait_until("the gateway to be ready", || {
            std::net::TcpStream::connect(self.probes).ok()?;
            self.probe("GET /ready")
                .starts_with("HTTP/1.1 200")
                .then_some(())
        });
    }

    /// The process that began as `fixgw gateway`.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where the listener without TLS listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address_of(LISTENER)
    }

    /// Where a listener listens.
    #[must_use]
    pub fn address_of(&self, listener: &str) -> SocketAddr {
        let mut listeners = self.listeners.iter();
        let found = listeners.find(|(name, ..)| name == listener);
        found.expect("there is such a listener").1
    }

    /// Where the admin interface listens.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where probes are answered.
    #[must_use]
    pub const fn probes(&self) -> SocketAddr {
        self.probes
    }

    /// Where it has its files.
    #[must_use]
    pub fn run_directory(&self) -> PathBuf {
        self.files.path().join("run")
    }

    /// Where statistics are given out.
    #[must_use]
    pub const fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// What the port for probes answers to `METHOD PATH`.
    #[must_use]
    pub fn probe(&self, request: &str) -> String {
        Self::ask(self.probes, request)
    }

    /// What a port answers to `METHOD PATH`.
    #[must_use]
    pub fn ask(port: SocketAddr, request: &str) -> String {
        let mut client = RawClient::connect(port);
        client.send(
            format!("{request} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        String::from_utf8_lossy(&client.take_to_end()).into_owned()
    }

    /// `fixgw drain` at this gateway.
    #[must_use]
    pub fn drain(&self, timeout: &str) -> Process {
        Process::start("fixgw drain", tool::program("fixgw"), |command| {
            command.args(["drain", "--timeout", timeout, "--admin"]);
            command.arg(self.admin.to_string());
        })
    }
}

/// A Secret as a kubelet mounts it: its files are links through `..data`, a link to the version in use, which is what a change
/// renames.
pub struct MountedSecret {
    root: TempDir,
    version: std::cell::Cell<u32>,
}

impl MountedSecret {
    /// With a certificate and its key, and a client CA.
    #[must_use]
    pub fn of(issued: &Issued, client_ca: &str) -> Self {
        let root = TempDir::with_prefix("fixgw-e2e-secret-").expect("a directory can be made");
        let secret = Self {
            root,
            version: std::cell::Cell::new(0),
        };
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            let link = secret.directory().join(name);
            symlink(format!("..data/{name}"), link).expect("a link can be made");
        }
        secret.put(issued, client_ca);
        secret
    }

    /// Where it is mounted.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.root.path()
    }

    /// The keys of a listener that uses it.
    #[must_use]
    pub fn keys(&self, client_ca: &str) -> String {
        let directory = self.directory().display();
        format!("tls: {{ directory: {directory}, clientCa: {client_ca} }}")
    }

    /// Replaces it, as a kubelet does: all files in one step.
    pub fn put(&self, issued: &Issued, client_ca: &str) {
        self.version.set(self.version.get() + 1);
        let version = format!("..version-{}", self.version.get());
        let directory = self.directory().join(&version);
        std::fs::create_dir(&directory).expect("a directory can be made");
        for (name, text) in [
            ("tls.crt", issued.certificate.as_str()),
            ("tls.key", &issued.key),
            ("ca.crt", client_ca),
        ] {
            std::fs::write(directory.join(name), text).expect("the directory takes a file");
        }
        let draft = self.directory().join("..data_tmp");
        symlink(version, &draft).expect("a link can be made");
        std::fs::rename(draft, self.directory().join("..data")).expect("a link can be renamed");
    }
}
