//! `fixgw pause` and `fixgw resume`: lets changes of FIXSessions in a cluster wait until they are complete, and then take effect as
//! one.
//!
//! It is an annotation of the published table's ConfigMap and nothing else, so `kubectl annotate` does the same.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use kube::Client;

use super::table::{Paused, TableStore};
use super::{ConnectError, RequestError, connect};
use crate::said::complain;

/// The name of the published table, where nobody gives another.
pub const TABLE: &str = "fix-gateway-table";

/// Which published table is meant.
#[derive(Clone, Debug, Args)]
pub struct TableArgs {
    /// The operator's namespace [default: the context's]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The ConfigMap that the operator publishes by, if it was started with another `--table`
    #[arg(long, value_name = "NAME", default_value = TABLE)]
    pub table: String,
    /// The context of the kubeconfig [default: its current one; without a kubeconfig, the cluster that this runs in]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// `fixgw pause`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw pause -n fix-gateway
  fixgw pause -n fix-gateway --reason \"release 2026-12, until 18:00\"
  kubectl annotate -n fix-gateway configmap fix-gateway-table fixgateway.io/paused=\"release 2026-12\"

What is published stays in force, engines may come and go, and live sessions go on; changes of FIXSessions wait.

Exit codes: 0 it is paused, 1 the cluster refused or did not answer, 2 there is no way to a cluster.")]
pub struct PauseArgs {
    /// Which table.
    #[command(flatten)]
    pub table: TableArgs,
    /// Why, for whoever finds it paused
    #[arg(long, value_name = "TEXT", default_value = "fixgw pause")]
    pub reason: String,
}

/// `fixgw resume`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw resume -n fix-gateway
  kubectl annotate -n fix-gateway configmap fix-gateway-table fixgateway.io/paused-

Exit codes: 0 it is not paused (any more), 1 the cluster refused or did not answer, 2 there is no way to a cluster.")]
pub struct ResumeArgs {
    /// Which table.
    #[command(flatten)]
    pub table: TableArgs,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum PauseError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(
        "the ConfigMap {object} could not be annotated: {source}{}",
        advice(source)
    )]
    Request {
        object: String,
        source: RequestError,
    },
    #[error("{0}")]
    Runtime(#[from] io::Error),
}

impl PauseError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Connect(_) => 2,
            Self::Request { .. } | Self::Runtime(_) => 1,
        }
    }
}

fn advice(error: &RequestError) -> &'static str {
    match error.code() {
        Some(401 | 403) => {
            "; it needs the right to get, create and patch ConfigMaps in that namespace"
        }
        Some(404) => "; give the operator's namespace with -n",
        _ => "",
    }
}

/// Stops publication.
#[must_use]
pub fn pause(args: &PauseArgs) -> ExitCode {
    ended(
        "pause",
        run(&args.table, async |store| {
            store.pause(&args.reason).await?;
            Ok(format!(
                "publication is paused by the ConfigMap {}; what is published stays in force, and changes of FIXSessions wait for \
             `fixgw resume`",
                store.pointer()
            ))
        }),
    )
}

/// Lets it go on.
#[must_use]
pub fn resume(args: &ResumeArgs) -> ExitCode {
    ended(
        "resume",
        run(&args.table, async |store| {
            let pointer = store.pointer();
            Ok(match store.resume().await? {
                None => format!("publication is not paused by the ConfigMap {pointer}"),
                Some(Paused { reason }) => {
                    format!("publication goes on; the ConfigMap {pointer} had paused it: {reason}")
                }
            })
        }),
    )
}

fn run(
    args: &TableArgs,
    what: impl AsyncFnOnce(&TableStore) -> Result<String, RequestError>,
) -> Result<String, PauseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client: Client = connect(args.context.as_deref()).await?;
        let namespace = args.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        let store = TableStore::new(client, &namespace, &args.table);
        let done = what(&store).await;
        done.map_err(|source| PauseError::Request {
            object: store.pointer(),
            source,
        })
    })
}

fn ended(command: &str, done: Result<String, PauseError>) -> ExitCode {
    match done {
        Ok(said) => {
            // Whoever does not read it misses it, and nothing else.
            let _ = writeln!(io::stdout(), "{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(format_args!("fixgw {command}: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
