//! What can be asked of `fixgw` on the command line?

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use fixgw_core::range::SourceRange;

use crate::parse::ParseArgs;
use crate::said::Form;
use crate::up::proxy_protocol::Headers;
use crate::world::ExtraEndpoint;

/// FIX gateway: one address for many FIX engines.
#[derive(Debug, Parser)]
#[command(name = "fixgw", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a gateway over a directory of FIXSession, Service and EndpointSlice objects
    Up(UpArgs),
    /// Run the control plane alone, for an Envoy that was started elsewhere
    Control(ControlArgs),
    /// Show how the gateway reads bytes
    Parse(ParseArgs),
    /// Become a program that ends with its parent
    #[command(hide = true)]
    Child(ChildArgs),
}

/// The objects and what is served of them.
#[derive(Clone, Debug, Args)]
pub struct SourceArgs {
    /// Directory of YAML files with FIXSession, Service and EndpointSlice objects; edits apply live
    pub directory: PathBuf,
    /// An endpoint for every port of a Service, beside its EndpointSlices; repeatable
    #[arg(long = "endpoint", value_name = "NAMESPACE/SERVICE=HOST:PORT")]
    pub endpoints: Vec<ExtraEndpoint>,
    /// Where the last accepted table is kept [default: below $XDG_STATE_HOME/fix-gateway]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Milliseconds without a change after which changes take effect
    #[arg(long, value_name = "MS", default_value_t = 250)]
    pub settle_quiet_ms: u64,
    /// Milliseconds after which changes take effect though more of them arrive
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    pub settle_max_ms: u64,
}

/// `fixgw up`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw up examples/quickstart --listen main=127.0.0.1:9878
  fixgw up rules --endpoint trading/algo-engine-svc=127.0.0.1:9876
  fixgw up rules --json | jq 'select(.event == \"decision\")'

Exit codes: 0 stopped by Ctrl-C or SIGTERM, 1 a part of the gateway failed, 2 it could not start.")]
pub struct UpArgs {
    /// The objects.
    #[command(flatten)]
    pub source: SourceArgs,
    /// A listener; repeatable. Port 0 takes a free one
    #[arg(
        long = "listen",
        value_name = "NAME=ADDR:PORT",
        default_value = "main=127.0.0.1:9878"
    )]
    pub listeners: Vec<Listener>,
    /// Take PROXY protocol headers (v1 and v2) from load balancers, on every listener
    #[arg(long, value_enum, value_name = "WHEN")]
    pub proxy_protocol: Option<Headers>,
    /// Addresses of the load balancers that may send them; repeatable, or with commas between. From anybody else they
    /// are refused
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub proxy_trusted: Vec<SourceRange>,
    /// Worker threads of Envoy [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
    /// Close what cannot be routed, without a FIX Logout that says why
    #[arg(long)]
    pub no_reject: bool,
    /// Text of the Logout for a Logon that matches no route
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "No matching session configuration"
    )]
    pub reject_text: String,
    /// Address of Envoy's admin interface [default: a Unix socket that only the gateway uses]
    #[arg(long, value_name = "ADDR:PORT")]
    pub admin: Option<SocketAddr>,
    /// One JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
    /// Envoy 1.40
    #[arg(
        long,
        value_name = "PATH",
        env = "FIXGW_ENVOY",
        default_value = "envoy"
    )]
    pub envoy: PathBuf,
    /// The filter's module [default: beside fixgw]
    #[arg(long, value_name = "PATH", env = "FIXGW_FILTER_WASM")]
    pub filter: Option<PathBuf>,
    /// The reject engine [default: beside fixgw]
    #[arg(long, value_name = "PATH")]
    pub reject_engine: Option<PathBuf>,
    /// How much Envoy writes to its own log in the state directory
    #[arg(long, value_name = "LEVEL", default_value = "warning",
        value_parser = ["trace", "debug", "info", "warning", "error", "critical", "off"])]
    pub envoy_log_level: String,
}

/// `fixgw control`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw control rules --xds 127.0.0.1:18000 --filter /etc/envoy/fixgw_filter.wasm
  envoy -c envoy/gateway.yaml      # in another terminal; its control plane cluster leads to that port

Exit codes: 0 stopped by Ctrl-C or SIGTERM, 1 it failed, 2 it could not start.")]
pub struct ControlArgs {
    /// The objects.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Where proxies reach the control plane; `stdin` takes a listening socket that stands there as standard input
    #[arg(
        long,
        value_name = "ADDR:PORT|stdin",
        default_value = "127.0.0.1:18000"
    )]
    pub xds: Xds,
    /// The filter's module, as the proxies see it
    #[arg(long, value_name = "PATH", env = "FIXGW_FILTER_WASM")]
    pub filter: PathBuf,
    /// How events are written
    #[arg(long, value_enum, default_value_t = Form::Text)]
    pub output: Form,
    /// VMs that a whole proxy has (its workers and its main thread), where that is known
    #[arg(long, value_name = "N", hide = true, default_value_t = 1)]
    pub vms: usize,
}

/// `fixgw child`
#[derive(Clone, Debug, Args)]
pub struct ChildArgs {
    /// Process id of the parent.
    #[arg(long)]
    pub parent: u32,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

impl SourceArgs {
    /// The quiet time and the longest time of the settle window.
    #[must_use]
    pub const fn settle(&self) -> (Duration, Duration) {
        (
            Duration::from_millis(self.settle_quiet_ms),
            Duration::from_millis(self.settle_max_ms),
        )
    }

    /// The state directory: given, or one below the user's that is named after the directory of objects.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        if let Some(state_dir) = &self.state_dir {
            return state_dir.clone();
        }
        let home = |rest: &str| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(rest));
        let base = std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| home(".local/state"))
            .unwrap_or_else(std::env::temp_dir);
        let directory = self
            .directory
            .canonicalize()
            .unwrap_or_else(|_| self.directory.clone());
        let name = directory.to_string_lossy().replace('/', "-");
        base.join("fix-gateway").join(name.trim_start_matches('-'))
    }
}

/// `NAME=ADDR:PORT`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in decision records and metrics.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

impl FromStr for Listener {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write it as NAME=ADDR:PORT, for example main=127.0.0.1:9878";
        let (name, address) = text.split_once('=').ok_or(form)?;
        if name.is_empty() || name.starts_with("fixgw-") {
            return Err(format!(
                "a listener's name is not empty and does not begin with `fixgw-`; {form}"
            ));
        }
        let address = address
            .parse()
            .map_err(|_| format!("`{address}` is no address with a port; {form}"))?;
        Ok(Self {
            name: name.to_owned(),
            address,
        })
    }
}

/// Where the control plane listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Xds {
    /// On a port.
    Address(SocketAddr),
    /// On the socket that stands there as standard input, so that the port survives a restart.
    Stdin,
}

impl FromStr for Xds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "stdin" {
            return Ok(Self::Stdin);
        }
        text.parse()
            .map(Self::Address)
            .map_err(|_| format!("`{text}` is neither an address with a port nor `stdin`"))
    }
}
