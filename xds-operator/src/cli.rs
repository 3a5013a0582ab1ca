//! What can be asked of `fixgw` on the command line?

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{ArgPredicate, PossibleValuesParser};
use clap::{Args, Parser, Subcommand};
use fixgw_core::limits;
use fixgw_core::range::SourceRange;

use crate::api;
use crate::check::CheckArgs;
use crate::diff::DiffArgs;
use crate::drain::DrainArgs;
use crate::envoy::proxy_protocol::Headers;
use crate::envoy::settings::{
    CIPHER_SUITES, TlsVersion, connect_timeout, hold_timeout, idle_timeout, is_kept_name,
};
use crate::explain::ExplainArgs;
use crate::gateway::GatewayArgs;
use crate::kubernetes::pause::{self, PauseArgs, ResumeArgs};
use crate::parse::ParseArgs;
use crate::pipeline::hold::ConflictPolicy;
use crate::pipeline::settle::Times;
use crate::said::Form;
use crate::state;
use crate::status::ask::StatusArgs;
use crate::tcp_timeout::TcpTimeout;
use crate::world::ExtraEndpoint;
use crate::xds::resources::{ProxySettings, WasmVm};

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
    Up(Box<UpArgs>),
    /// Run the control plane alone, for an Envoy that was started elsewhere
    Control(ControlArgs),
    /// Run the control plane of a Kubernetes cluster, one replica of several
    Operator(OperatorArgs),
    /// Become the Envoy of a gateway whose control plane runs elsewhere
    Gateway(GatewayArgs),
    /// Have a gateway take no new connections, and wait until the live ones have ended
    Drain(DrainArgs),
    /// Say who is connected, held and orphaned at a running gateway
    Status(StatusArgs),
    /// Say whether a gateway would take a directory of objects, and everything that speaks against it
    Check(CheckArgs),
    /// Say which route takes a Logon, why, and what the others miss
    Explain(ExplainArgs),
    /// Say which routes differ between two sets of objects, and which Logons go elsewhere
    Diff(DiffArgs),
    /// Show how the gateway reads bytes
    Parse(ParseArgs),
    /// Let changes of FIXSessions in a cluster wait, so that many of them take effect at once
    Pause(PauseArgs),
    /// Let changes that waited take effect, all at once
    Resume(ResumeArgs),
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
    /// When what is written takes effect.
    #[command(flatten)]
    pub decide: DecideArgs,
}

/// When changes take effect, and what does while routes conflict.
#[derive(Clone, Copy, Debug, Args)]
pub struct DecideArgs {
    /// Milliseconds without a change after which changes take effect
    #[arg(long, value_name = "MS", default_value_t = 250)]
    pub settle_quiet_ms: u64,
    /// Milliseconds after which changes take effect though more of them arrive
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    pub settle_max_ms: u64,
    /// What waits while two routes conflict
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_name = "POLICY",
        default_value_t
    )]
    pub conflict_policy: ConflictPolicy,
}

/// `fixgw up`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw up examples/quickstart --listen main=127.0.0.1:9878
  fixgw up rules --endpoint trading/algo-engine-svc=127.0.0.1:9876
  fixgw up rules --listen-tls main=0.0.0.0:9879 --cert tls.crt --key tls.key --client-ca brokers.pem
  fixgw up rules --json | jq 'select(.event == \"decision\")'

Ctrl-C or SIGTERM: no new connections are taken, and it ends when the live ones have; a second one ends it at once.

Exit codes: 0 stopped by Ctrl-C or SIGTERM, 1 a part of the gateway failed, 2 it could not start.")]
pub struct UpArgs {
    /// The objects.
    #[command(flatten)]
    pub source: SourceArgs,
    /// A listener without TLS; repeatable. Port 0 takes a free one. With --listen-tls there is none unless it is given
    #[arg(
        long = "listen",
        value_name = "NAME=ADDR:PORT",
        default_value = "main=127.0.0.1:9878",
        default_value_if("tls_listeners", ArgPredicate::IsPresent, None)
    )]
    pub listeners: Vec<Listener>,
    /// Take PROXY protocol headers (v1 and v2) from load balancers, on every listener
    #[arg(long, value_enum, value_name = "WHEN")]
    pub proxy_protocol: Option<Headers>,
    /// Addresses of the load balancers that may send them; repeatable, or with commas between. From anybody else they
    /// are refused
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub proxy_trusted: Vec<SourceRange>,
    /// Listeners with TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// What holds for connections that wait for their engine.
    #[command(flatten)]
    pub hold: HoldArgs,
    /// How long a stop waits for live connections to end [default: until they have]
    #[arg(long = "drain-timeout", value_name = "DURATION", value_parser = hold_timeout)]
    pub drain_timeout_ms: Option<u32>,
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
    /// When connections end that nobody has closed.
    #[command(flatten)]
    pub ends: EndArgs,
}

/// Connections whose target has no ready endpoint, or whose endpoints refuse, wait for it.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Hold")]
pub struct HoldArgs {
    /// How long a connection waits for a ready endpoint, if its route does not say otherwise
    #[arg(long = "hold-timeout", value_name = "DURATION", default_value = "30s", value_parser = hold_timeout)]
    pub timeout_ms: u32,
    /// How many wait at once for one route, if it does not say otherwise; 0: none
    #[arg(long = "max-held-connections", value_name = "N", default_value_t = limits::HELD_PER_ROUTE_MAX,
        value_parser = clap::value_parser!(u32).range(..=500))]
    pub per_route_max: u32,
    /// How many wait at once in all
    #[arg(long = "max-held-connections-per-pod", value_name = "N", default_value_t = limits::HELD_PER_POD_MAX,
        value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub per_pod_max: u32,
    /// How long a ready engine that refuses is tried again, at each of its endpoints in turn; up to 5m
    #[arg(long = "connect-timeout", value_name = "DURATION", default_value = "30s", value_parser = connect_timeout)]
    pub connect_timeout_ms: u32,
}

/// Connections end by themselves where nobody is left to close them.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "End")]
pub struct EndArgs {
    /// After how long a connection ends whose host, an engine's or a counterparty's, does not answer any more; from 5s to
    /// 15m. A Service says otherwise for its engines with the annotation fixgateway.io/tcp-timeout
    #[arg(long, value_name = "DURATION", default_value_t = TcpTimeout::DEFAULT)]
    pub tcp_timeout: TcpTimeout,
    /// After how long a session ends on which neither side sends anything [default: it does not end]
    #[arg(long = "idle-timeout", value_name = "DURATION", value_parser = idle_timeout)]
    pub idle_timeout_ms: Option<u32>,
}

/// Listeners with TLS, and what they show and ask for. The files are read again when they change: new connections get
/// what is new, live sessions go on.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// A listener with TLS; repeatable. Needs --cert and --key
    #[arg(
        id = "tls_listeners",
        long = "listen-tls",
        value_name = "NAME=ADDR:PORT",
        requires_all = ["certificate", "key"]
    )]
    pub listeners: Vec<Listener>,
    /// Certificate of all listeners with TLS, with its intermediate ones behind it (PEM)
    #[arg(long = "cert", value_name = "PATH", requires = "tls_listeners")]
    pub certificate: Option<PathBuf>,
    /// Key of the certificate, not encrypted (PEM; RSA of 2048 to 4096 bits, or ECDSA P-256 or P-384)
    #[arg(long, value_name = "PATH", requires = "tls_listeners")]
    pub key: Option<PathBuf>,
    /// Certificate authorities that clients' certificates must come from (PEM); without it none is asked for
    #[arg(long, value_name = "PATH", requires = "tls_listeners")]
    pub client_ca: Option<PathBuf>,
    /// Lowest version of TLS that is taken
    #[arg(
        long = "tls-min",
        value_enum,
        value_name = "VERSION",
        default_value_t = TlsVersion::V1_2,
        requires = "tls_listeners"
    )]
    pub minimum: TlsVersion,
    /// Cipher suites for TLS 1.2, separated by colons, the preferred one first; those of TLS 1.3 are fixed
    #[arg(
        long = "tls-ciphers",
        value_name = "A:B…",
        value_delimiter = ':',
        requires = "tls_listeners",
        value_parser = PossibleValuesParser::new(CIPHER_SUITES)
    )]
    pub cipher_suites: Vec<String>,
}

impl UpArgs {
    /// All listeners, those without TLS first.
    pub fn all_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().chain(&self.tls.listeners)
    }
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
    /// What holds for every proxy.
    #[command(flatten)]
    pub proxies: ProxyArgs,
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

impl DecideArgs {
    /// The settle window.
    #[must_use]
    pub fn times(&self) -> Times {
        Times {
            quiet_ms: self.settle_quiet_ms,
            longest_ms: self.settle_max_ms,
            ..Times::default()
        }
    }
}

/// What holds for every proxy.
#[derive(Clone, Copy, Debug, Args)]
pub struct ProxyArgs {
    /// Connections that each proxy keeps to one target, beyond which a Logon for it is closed
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub target_connections_max: u32,
    /// After how long a connection ends whose engine's host does not answer any more; from 5s to 15m. A Service says
    /// otherwise with the annotation fixgateway.io/tcp-timeout
    #[arg(long, value_name = "DURATION", default_value_t = TcpTimeout::DEFAULT)]
    pub tcp_timeout: TcpTimeout,
}

impl ProxyArgs {
    /// With the filter's module, as the proxies see it.
    #[must_use]
    pub fn settings(&self, filter: PathBuf) -> ProxySettings {
        ProxySettings {
            vm: WasmVm::from_file(filter),
            target_connections_max: self.target_connections_max,
            tcp_timeout: self.tcp_timeout,
        }
    }
}

/// `fixgw operator`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw operator --namespace fix --filter /usr/local/lib/fixgw/fixgw_filter.wasm
  fixgw operator --namespace fix --watch-namespace trading --watch-namespace clearing --context staging --filter fixgw_filter.wasm

The API server is the one of KUBECONFIG (or ~/.kube/config), and in a pod the cluster's own.

Exit codes: 0 stopped by SIGINT or SIGTERM, 1 it failed, 2 it could not start.")]
pub struct OperatorArgs {
    /// Where the table, its parts and the Lease are kept
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", value_parser = label)]
    pub namespace: String,
    /// Name of the ConfigMap that says which table is in force; its parts have names that begin with it
    #[arg(long, value_name = "NAME", default_value = pause::TABLE, value_parser = table_name)]
    pub table: String,
    /// Name of the Lease that says which replica writes
    #[arg(long, value_name = "NAME", default_value = "fix-gateway-operator", value_parser = name)]
    pub lease: String,
    /// Where the Lease is kept [default: where the table is]
    #[arg(long, value_name = "NAMESPACE", value_parser = label)]
    pub lease_namespace: Option<String>,
    /// Name of this replica, another than every other's [default: the host's]
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub identity: Option<String>,
    /// A namespace whose FIXSessions count; repeatable [default: those of all namespaces]
    #[arg(long = "watch-namespace", value_name = "NAMESPACE", value_parser = label)]
    pub watch_namespaces: Vec<String>,
    /// The Service in the table's namespace whose endpoints are the replicas: what gateways report to one is passed on to the others
    #[arg(long, value_name = "SERVICE", value_parser = label)]
    pub peers: Option<String>,
    /// The address of this replica among them
    #[arg(long, value_name = "IP", env = "POD_IP")]
    pub pod_ip: Option<IpAddr>,
    /// Where gateways reach the control plane
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:18000")]
    pub xds: SocketAddr,
    /// Where /readyz and /livez are answered
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8081")]
    pub probes: SocketAddr,
    /// The filter's module, as the gateways see it
    #[arg(long, value_name = "PATH", env = "FIXGW_FILTER_WASM")]
    pub filter: PathBuf,
    /// Directory where `fixgw status` is answered [default: it is not]
    #[arg(long, value_name = "DIR")]
    pub status_dir: Option<PathBuf>,
    /// Context of KUBECONFIG [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// When changes take effect.
    #[command(flatten)]
    pub decide: DecideArgs,
    /// What holds for every proxy.
    #[command(flatten)]
    pub proxies: ProxyArgs,
    /// How events are written
    #[arg(long, value_enum, default_value_t = Form::Text)]
    pub output: Form,
}

/// Bytes of a table's name: the names of its parts add to it.
const TABLE_NAME_BYTES_MAX: usize = 200;

fn label(text: &str) -> Result<String, String> {
    let wrong = || "lower-case letters, digits and `-`, 63 at most".to_owned();
    let text = api::is_label(text).then(|| text.to_owned());
    text.ok_or_else(wrong)
}

fn name(text: &str) -> Result<String, String> {
    let wrong = || "lower-case letters, digits, `-` and `.`, 253 at most".to_owned();
    let text = api::is_name(text).then(|| text.to_owned());
    text.ok_or_else(wrong)
}

fn table_name(text: &str) -> Result<String, String> {
    match text.len() {
        0..=TABLE_NAME_BYTES_MAX => name(text),
        _ => Err(format!("{TABLE_NAME_BYTES_MAX} characters at most")),
    }
}

impl SourceArgs {
    /// The state directory: given, or one below the user's that is named after the directory of objects.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        let given = self.state_dir.clone();
        given.unwrap_or_else(|| state::directory_for(&self.directory))
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
        if name.is_empty() || is_kept_name(name) {
            return Err(format!(
                "a listener's name is not empty, not `admin`, and does not begin with `fixgw-`; {form}"
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

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    fn up(line: &str) -> Result<Box<UpArgs>, String> {
        let words = ["fixgw", "up", "rules"]
            .into_iter()
            .chain(line.split_whitespace());
        match Cli::try_parse_from(words) {
            Ok(Cli {
                command: Command::Up(args),
            }) => Ok(args),
            Ok(_) => panic!("not `up`"),
            Err(error) => {
                assert_eq!(error.exit_code(), 2, "{error}");
                Err(error.to_string())
            }
        }
    }

    const TLS: &str = "--listen-tls tls=127.0.0.1:9879 --cert c --key k";

    #[test]
    fn there_is_a_plaintext_listener_unless_one_with_tls_is_asked_for() {
        let names = |line: &str| -> Vec<String> {
            let args = up(line).unwrap();
            args.all_listeners().map(|l| l.name.clone()).collect()
        };
        assert_eq!(names(""), ["main"]);
        assert_eq!(names(TLS), ["tls"]);
        assert_eq!(
            names(&format!(
                "{TLS} --listen plain=127.0.0.1:1 --listen-tls b=127.0.0.1:2"
            )),
            ["plain", "tls", "b"]
        );
    }

    #[test]
    fn a_conflict_policy_is_known_by_the_name_that_is_handed_on() {
        let policy = |line: &str| up(line).map(|args| args.source.decide.conflict_policy);
        assert_eq!(policy("").unwrap(), ConflictPolicy::HoldTable);
        for wanted in ConflictPolicy::value_variants() {
            let found = policy(&format!("--conflict-policy {}", wanted.label()));
            assert_eq!(found.unwrap(), *wanted);
        }
        let lower = policy("--conflict-policy holdconflicting").unwrap();
        assert_eq!(lower, ConflictPolicy::HoldConflicting);
        let refused = policy("--conflict-policy OldestWins").unwrap_err();
        assert!(refused.contains("HoldTable, HoldConflicting"), "{refused}");
    }

    #[test]
    fn tls_options_need_each_other() {
        for (line, missing) in [
            ("--listen-tls tls=127.0.0.1:1", "--cert"),
            ("--listen-tls tls=127.0.0.1:1 --cert c", "--key"),
            ("--listen-tls tls=127.0.0.1:1 --key k", "--cert"),
            ("--cert c", "--listen-tls"),
            ("--key k", "--listen-tls"),
            ("--client-ca ca", "--listen-tls"),
            ("--tls-min 1.3", "--listen-tls"),
            ("--tls-min 1.2", "--listen-tls"),
            ("--tls-ciphers ECDHE-RSA-AES128-GCM-SHA256", "--listen-tls"),
        ] {
            let refused = up(line).unwrap_err();
            assert!(refused.contains(missing), "{line}: {refused}");
        }
    }

    #[test]
    fn times_after_which_connections_end_have_bounds_that_are_told() {
        let ends = up("").unwrap().ends;
        assert_eq!(ends.tcp_timeout, TcpTimeout::DEFAULT);
        assert_eq!(ends.idle_timeout_ms, None);
        let ends = up("--tcp-timeout 10s --idle-timeout 2h").unwrap().ends;
        assert_eq!(ends.tcp_timeout.to_string(), "10s");
        assert_eq!(ends.idle_timeout_ms, Some(7_200_000));
        for (line, wanted) in [
            ("--tcp-timeout 4s", "lasts from 5s to 15m"),
            ("--tcp-timeout 30", "a number with its unit"),
            ("--idle-timeout 999ms", "from 1s to 168h"),
            ("--idle-timeout 169h", "from 1s to 168h"),
            ("--idle-timeout 1200h", "from 1s to 168h"),
            ("--idle-timeout off", "a number with its unit"),
        ] {
            let refused = up(line).unwrap_err();
            assert!(refused.contains(wanted), "{line}: {refused}");
        }
    }

    #[test]
    fn a_version_and_a_cipher_suite_must_be_known() {
        assert!(
            up(&format!("{TLS} --tls-min 1.1"))
                .unwrap_err()
                .contains("1.2, 1.3")
        );
        let refused = up(&format!("{TLS} --tls-ciphers RC4-SHA")).unwrap_err();
        assert!(refused.contains("ECDHE-RSA-AES128-GCM-SHA256"), "{refused}");
        let two = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256";
        let args = up(&format!("{TLS} --tls-ciphers {two}")).unwrap();
        assert_eq!(args.tls.cipher_suites.join(":"), two);
    }
}
