//! Gateways whose parts a test starts one by one, as `docs/running.md` has it: `envoy/gateway.yaml` and `fixgw control`. So the
//! control plane can be taken away, and something else put in its place, and several gateways can ask one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::control;
use crate::fixture::Directory;
use crate::gateway::{VMS, WORKERS, statistics};
use crate::process::{Process, kind, wait_until};
use crate::socket::unused_port;
use crate::tool;

/// The name of the listener in the file.
pub const LISTENER: &str = "fix";

/// The parts.
pub struct Apart {
    envoys: Vec<Envoy>,
    control: Mutex<Option<Process>>,
    endpoints: Vec<(String, SocketAddr)>,
    control_plane: SocketAddr,
    files: TempDir,
}

/// The Envoy of one gateway.
struct Envoy {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
}

/// The `node.id` of a gateway; they count from 0.
#[must_use]
pub fn node_id(gateway: usize) -> String {
    format!("fixgw-gateway-{gateway}")
}

impl Envoy {
    /// Waits for nothing.
    fn start(gateway: usize, control_plane: SocketAddr, files: &Path) -> Self {
        let [address, admin] = [(); 2].map(|()| unused_port());
        let path = tool::repository().join("envoy/gateway.yaml");
        let text = std::fs::read_to_string(path).expect("the file is there");
        let module = tool::filter().display().to_string();
        let port = |address: SocketAddr| format!("port_value: {}", address.port());
        let edits = [
            ("fixgw-gateway-0", node_id(gateway)),
            ("/etc/fixgw/fixgw_filter.wasm", module),
            ("address: 0.0.0.0", "address: 127.0.0.1".to_owned()),
            ("port_value: 9880", port(address)),
            ("port_value: 9901", port(admin)),
            ("port_value: 18000", port(control_plane)),
            // Without one, what no route takes is closed.
            ("\"rejectCluster\": \"fixgw-reject-engine\",", String::new()),
            (
                "max_active_downstream_connections: 250000",
                "max_active_downstream_connections: 4000".to_owned(),
            ),
        ];
        let text = edits.iter().fold(text, |text, (old, new)| {
            assert!(text.contains(old), "the file has `{old}`");
            text.replace(old, new)
        });
        let file = files.join(format!("{}.yaml", node_id(gateway)));
        std::fs::write(&file, text).expect("the directory takes a file");
        let process = Process::start(&node_id(gateway), tool::envoy(), |command| {
            let workers = WORKERS.to_string();
            command.args([
                "--concurrency",
                &workers,
                "--disable-hot-restart",
                "-l",
                "warning",
                "-c",
            ]);
            command.arg(file);
        });
        Self {
            process,
            address,
            admin,
        }
    }
}

impl Apart {
    /// Starts the parts of one gateway over a directory, and waits until every VM has its table.
    #[must_use]
    pub fn start(directory: &Directory, endpoints: &[(&str, SocketAddr)]) -> Self {
        Self::start_several(1, directory, endpoints)
    }

    /// The same for so many gateways that ask one control plane.
    #[must_use]
    pub fn start_several(
        gateways: usize,
        directory: &Directory,
        endpoints: &[(&str, SocketAddr)],
    ) -> Self {
        let files = TempDir::with_prefix("fixgw-e2e-").expect("a temporary directory can be made");
        let control_plane = unused_port();
        let envoys =
            (0..gateways).map(|gateway| Envoy::start(gateway, control_plane, files.path()));
        let endpoints = endpoints.iter();
        let apart = Self {
            envoys: envoys.collect(),
            control: Mutex::new(None),
            endpoints: endpoints
                .map(|(name, address)| ((*name).to_owned(), *address))
                .collect(),
            control_plane,
            files,
        };
        apart.start_control(directory);
        for envoy in &apart.envoys {
            wait_until("Envoy to listen", || {
                std::net::TcpStream::connect(envoy.address).ok()
            });
        }
        apart
    }

    fn control(&self) -> MutexGuard<'_, Option<Process>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the control plane, and waits until every VM uses what it serves.
    pub fn start_control(&self, directory: &Directory) {
        let state = self.files.path().join("state");
        let process = control::start(
            directory,
            &self.endpoints,
            self.control_plane,
            &state,
            self.envoys.len() as u64 * VMS,
        );
        process.wait_for("`applied`", |event| kind(event) == "applied");
        *self.control() = Some(process);
    }

    /// Does something that changes the table, and waits until every VM uses the new one.
    pub fn apply(&self, change: impl FnOnce()) {
        let control = self.control();
        let control = control.as_ref().expect("the control plane runs");
        let mark = control.mark();
        let revision = |event: &serde_json::Value| event["revision"].as_u64();
        let applied = |event: &serde_json::Value| {
            (kind(event) == "applied")
                .then(|| revision(event))
                .flatten()
        };
        let before = control.events().iter().filter_map(applied).max();
        change();
        control.wait_after(mark, "a newer revision to be applied", |event| {
            applied(event) > before
        });
    }

    /// Kills the control plane, and says where it listened.
    pub fn end_control(&self) -> SocketAddr {
        drop(self.control().take());
        self.control_plane
    }

    /// The newest revision that was applied.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let control = self.control();
        let events = control.as_ref().expect("the control plane runs").events();
        let applied = events.iter().filter(|event| kind(event) == "applied");
        applied
            .filter_map(|event| event["revision"].as_u64())
            .max()
            .expect("it waited for one")
    }

    /// Where counterparties of the first gateway connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.first().address
    }

    fn first(&self) -> &Envoy {
        self.envoys.first().expect("there is a gateway")
    }

    /// The process of the first gateway's Envoy.
    #[must_use]
    pub fn envoy_pid(&self) -> u32 {
        self.first().process.pid()
    }

    /// Sends a signal to a gateway's Envoy.
    pub fn signal(&self, gateway: usize, signal: Signal) {
        let envoy = self.envoys.get(gateway).expect("there is such a gateway");
        envoy.process.signal(signal);
    }

    /// Looks at what the control plane says.
    pub fn hear<T>(&self, look: impl FnOnce(&Process) -> T) -> T {
        look(self.control().as_ref().expect("the control plane runs"))
    }

    /// The control plane's process.
    #[must_use]
    pub fn control_pid(&self) -> u32 {
        self.control()
            .as_ref()
            .expect("the control plane runs")
            .pid()
    }

    /// The counters and gauges of the first gateway's Envoy whose names hold a match of this regular expression.
    #[must_use]
    pub fn statistics_of(&self, names: &str) -> BTreeMap<String, u64> {
        statistics(self.first().admin, names)
    }
}
