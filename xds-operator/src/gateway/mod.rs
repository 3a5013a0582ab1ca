//! How does one process become a gateway whose control plane runs elsewhere? `fixgw gateway` reads a file, makes Envoy's
//! configuration of it, and becomes Envoy: for a container, where something else supervises.
//!
//! INVARIANT: nothing of ours runs beside Envoy. The process keeps its id, signals reach Envoy, and its end is Envoy's.

pub mod config;
mod secrets;

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;

use crate::certificate::Fault;
use crate::envoy::admin::Admin;
use crate::envoy::bootstrap::probes::FILES_MAX as PROBE_FILES_MAX;
use crate::envoy::bootstrap::{self, ListenerPlan, Plan, TemplateError};
use crate::envoy::capacity::{self, Capacity, CapacityError};
use crate::envoy::{files, processors};
use crate::said::complain;
use config::{Config, ConfigError, FILE_BYTES_MAX};

/// `fixgw gateway`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw gateway --config /etc/fixgw/gateway.yaml
  fixgw gateway --config gateway.yaml --print | jq '.static_resources.listeners[].name'

The file, with every key (those with a default may be left out):
  listeners:
  - name: fix-tls
    port: 9876
    tls: { directory: /etc/fixgw/tls/fix-tls, minVersion: \"1.2\", clientCa: ca.crt, cipherSuites: [] }
    proxyProtocol: { headers: required, trusted: [10.0.0.0/24] }
  controlPlane: { host: fix-gateway-operator, port: 18000 }
  rejectEngine: { host: fix-gateway-reject-engine, port: 18001 }   # left out: such Logons are closed
  address: 0.0.0.0              # where all listeners listen; \"::\" is for IPv6 and IPv4
  holdTimeout: 30s
  maxHeldConnections: 1
  maxHeldConnectionsPerPod: 500
  connectTimeout: 30s
  tcpTimeout: 30s
  idleTimeout: 0s               # 0s: no session ends for being idle
  adminPort: 9901               # on loopback
  probePort: 9902               # GET /live and /ready: for the kubelet alone
  metricsPort: 9903             # GET /stats/prometheus
  workers: 2                    # left out: one for each processor
  connectionsMax: 10000         # left out: as many as there are files for
  runDirectory: /run/fixgw      # can be written

Exit codes: those of Envoy, which it becomes; 2 it could not start.")]
pub struct GatewayArgs {
    /// The file
    #[arg(long, value_name = "PATH")]
    pub config: PathBuf,
    /// What the control plane knows this gateway by; unique among its gateways [default: this host's name]
    #[arg(long, value_name = "ID", env = "POD_NAME")]
    pub node_id: Option<String>,
    /// Print Envoy's configuration as JSON, and start nothing. Certificates are not looked at
    #[arg(long)]
    pub print: bool,
    /// Envoy 1.40 [default: beside fixgw, else on PATH]
    #[arg(long, value_name = "PATH", env = "FIXGW_ENVOY")]
    pub envoy: Option<PathBuf>,
    /// The filter's module [default: beside fixgw, else in ../lib/fixgw from there]
    #[arg(long, value_name = "PATH", env = "FIXGW_FILTER_WASM")]
    pub filter: Option<PathBuf>,
    /// How much Envoy writes to standard error
    #[arg(long, value_name = "LEVEL", default_value = "warning",
        value_parser = ["trace", "debug", "info", "warning", "error", "critical", "off"])]
    pub envoy_log_level: String,
}

/// Why there is no gateway.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// The file cannot be read.
    #[error("`{0}` cannot be read ({1}); check the path of --config and its permissions")]
    Unreadable(String, io::Error),
    /// The file is too large.
    #[error("`{0}` has more than {FILE_BYTES_MAX} bytes; give the file of `fixgw gateway --help`")]
    TooLarge(String),
    /// The file is no text.
    #[error("`{0}` is not UTF-8; write it again")]
    NotText(String),
    /// Something in the file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener's certificate is not fit.
    #[error("listener `{listener}`: {fault}")]
    Certificate {
        /// The listener.
        listener: String,
        /// Why.
        fault: Fault,
    },
    /// No name for this gateway.
    #[error("this host has no name that could be the gateway's; give one with --node-id")]
    NoName,
    /// No Envoy.
    #[error("Envoy was not found at `{0}`; give its path with --envoy")]
    Envoy(String),
    /// No filter.
    #[error("there is no WebAssembly module at `{0}`; give its path with --filter")]
    Filter(String),
    /// Too few files may be open.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// More connections than there are files for.
    #[error(
        "`connectionsMax` is {wanted}, and this process may open files for {possible} connections; write less, or raise the limit to \
         open files"
    )]
    Connections {
        /// How many are wanted.
        wanted: u64,
        /// How many there are files for.
        possible: u64,
    },
    /// A file for Envoy cannot be written.
    #[error(
        "`{0}` cannot be written ({1}); `runDirectory` is a directory that can be written, in a container an emptyDir"
    )]
    Write(String, io::Error),
    /// The bootstrap could not be made.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Envoy did not start.
    #[error("Envoy (`{0}`) could not be started: {1}; check that it may be executed")]
    Exec(String, io::Error),
}

/// Becomes Envoy, or says why not.
#[must_use]
pub fn run(args: &GatewayArgs) -> ExitCode {
    match become_envoy(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("fixgw gateway: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Returns where there was only something to print.
fn become_envoy(args: &GatewayArgs) -> Result<(), GatewayError> {
    let config = read(&args.config)?;
    let node_id = node_id(args)?;
    let workers = config.workers.unwrap_or_else(processors);
    if args.print {
        let capacity = capacity::look(workers.into(), PROBE_FILES_MAX)?;
        let filter = filter_path(args);
        let bootstrap = bootstrap(&config, node_id, connections(&config, capacity)?, filter)?;
        println!("{bootstrap:#}");
        return Ok(());
    }
    let wanted = args.envoy.clone();
    let wanted = wanted.unwrap_or_else(|| either(&files::beside("envoy"), Path::new("envoy")));
    let envoy =
        files::program(&wanted).ok_or_else(|| GatewayError::Envoy(wanted.display().to_string()))?;
    let filter = filter_path(args);
    let filter =
        files::module(&filter).ok_or_else(|| GatewayError::Filter(filter.display().to_string()))?;
    let capacity = capacity::make(workers.into(), PROBE_FILES_MAX)?;
    let bootstrap = bootstrap(&config, node_id, connections(&config, capacity)?, filter)?;
    let now = Timestamp::now();
    for listener in &config.listeners {
        for warning in secrets::judge(listener, now)? {
            complain(format_args!("fixgw gateway: {warning}"));
        }
        for (path, content) in secrets::files(listener, &config.run_directory) {
            put(&path, &content)?;
        }
    }
    let path = config.run_directory.join("bootstrap.json");
    put(&path, bootstrap.to_string().as_bytes())?;
    let error = Command::new(&envoy)
        .arg("-c")
        .arg(&path)
        .arg("--concurrency")
        .arg(workers.to_string())
        // Nothing takes over from it, and it needs no shared memory then.
        .arg("--disable-hot-restart")
        .args(["-l", &args.envoy_log_level])
        .exec();
    Err(GatewayError::Exec(envoy.display().to_string(), error))
}

fn read(path: &Path) -> Result<Config, GatewayError> {
    let shown = path.display().to_string();
    let bytes = files::read(path, FILE_BYTES_MAX as u64)
        .map_err(|error| GatewayError::Unreadable(shown.clone(), error))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(GatewayError::TooLarge(shown));
    }
    let text = String::from_utf8(bytes).map_err(|_| GatewayError::NotText(shown.clone()))?;
    Ok(config::read(&shown, &text)?)
}

fn node_id(args: &GatewayArgs) -> Result<String, GatewayError> {
    let named = args.node_id.clone().filter(|id| !id.is_empty());
    // Of a pod, its name.
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    named
        .or_else(|| host().map(|name| name.trim().to_owned()))
        .filter(|name| !name.is_empty())
        .ok_or(GatewayError::NoName)
}

fn filter_path(args: &GatewayArgs) -> PathBuf {
    let name = "fixgw_filter.wasm";
    let installed = files::beside("../lib/fixgw").join(name);
    let given = args.filter.clone();
    given.unwrap_or_else(|| either(&files::beside(name), &installed))
}

/// The first, if it is there.
fn either(first: &Path, second: &Path) -> PathBuf {
    if first.exists() { first } else { second }.to_owned()
}

fn connections(config: &Config, capacity: Capacity) -> Result<u64, GatewayError> {
    let possible = capacity.connections;
    match config.connections_max {
        Some(wanted) if wanted > possible => Err(GatewayError::Connections { wanted, possible }),
        wanted => Ok(wanted.unwrap_or(possible)),
    }
}

fn bootstrap(
    config: &Config,
    node_id: String,
    connections: u64,
    filter: PathBuf,
) -> Result<Value, GatewayError> {
    let listeners = config.listeners.iter().map(|listener| ListenerPlan {
        name: listener.name.clone(),
        bind: listener.bind,
        tls: secrets::plan(listener, &config.run_directory),
        proxy_protocol: listener.proxy_protocol.clone(),
    });
    let plan = Plan {
        node_id,
        listeners: listeners.collect(),
        control_plane: config.control_plane.clone(),
        reject_engine: config.reject_engine.clone(),
        filter,
        admin: Admin::Port(config.admin),
        probes: Some(config.probes),
        connections,
        tcp_timeout: config.tcp_timeout,
        idle_timeout_ms: config.idle_timeout_ms,
        hold: config.hold,
    };
    Ok(bootstrap::render(&plan)?)
}

fn put(path: &Path, content: &[u8]) -> Result<(), GatewayError> {
    files::put(path, content)
        .map_err(|error| GatewayError::Write(path.display().to_string(), error))
}
