//! Is everything there that a gateway needs? Asked before anything is started; each lack is one sentence that says
//! what to do.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixgw_core::limits;
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use super::proxy_protocol::ProxyProtocol;
use crate::cli::UpArgs;

/// What is missing or in use.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// No directory of objects.
    #[error("`{0}` is no directory; give the directory that holds your FIXSession files")]
    Directory(String),
    /// The state directory cannot be used.
    #[error(
        "the state directory `{path}` cannot be written ({source}); give another one with --state-dir"
    )]
    State {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another gateway uses the state directory.
    #[error(
        "the state directory `{0}` is in use by another gateway; stop that one, or give another with --state-dir"
    )]
    StateInUse(String),
    /// No Envoy.
    #[error("Envoy was not found at `{0}`; run scripts/setup, or give its path with --envoy")]
    Envoy(String),
    /// No filter.
    #[error(
        "there is no WebAssembly module at `{0}`; run scripts/build-filter, or give its path with --filter"
    )]
    Filter(String),
    /// No reject engine.
    #[error(
        "the reject engine was not found at `{0}`; give its path with --reject-engine, or use --no-reject"
    )]
    RejectEngine(String),
    /// A port is in use, or the address is none of this machine's.
    #[error(
        "cannot listen on {address} for `{name}` ({source}); free the port, or give another with --listen or --listen-tls"
    )]
    Port {
        /// The listener.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// PROXY protocol headers, and nobody may send them.
    #[error(
        "--proxy-protocol needs the addresses of your load balancers, because anybody could claim any address otherwise; \
         add --proxy-trusted, for example --proxy-trusted 10.0.0.0/24"
    )]
    NobodyTrusted,
    /// Load balancers, and no listener takes their headers.
    #[error(
        "--proxy-trusted names load balancers, and no listener takes their headers; add --proxy-protocol required, or \
         --proxy-protocol optional if some counterparties connect without them"
    )]
    TrustedForNothing,
    /// Two listeners of one name.
    #[error("two listeners are named `{0}`; give each a name of its own")]
    SameName(String),
}

/// What was found.
#[derive(Debug)]
pub(super) struct Place {
    /// Envoy.
    pub(super) envoy: PathBuf,
    /// The filter's code.
    pub(super) filter: PathBuf,
    /// The reject engine, if it is wanted.
    pub(super) reject_engine: Option<PathBuf>,
    /// The state directory.
    pub(super) state_dir: PathBuf,
    /// Which load balancers stand before the listeners.
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    /// Held while this gateway runs.
    _lock: File,
}

impl Place {
    /// Looks for everything.
    ///
    /// # Errors
    /// The first thing that is missing or in use.
    pub(super) fn find(args: &UpArgs) -> Result<Self, PlaceError> {
        if !args.source.directory.is_dir() {
            return Err(PlaceError::Directory(
                args.source.directory.display().to_string(),
            ));
        }
        let proxy_protocol = proxy_protocol(args)?;
        let envoy = program(&args.envoy)
            .ok_or_else(|| PlaceError::Envoy(args.envoy.display().to_string()))?;
        let filter = args
            .filter
            .clone()
            .unwrap_or_else(|| beside("fixgw_filter.wasm"));
        let filter = existing(&filter)
            .filter(|path| is_module(path))
            .ok_or_else(|| PlaceError::Filter(filter.display().to_string()))?;
        let reject_engine = if args.no_reject {
            None
        } else {
            let wanted = args
                .reject_engine
                .clone()
                .unwrap_or_else(|| beside("fixgw-reject-engine"));
            let missing = || PlaceError::RejectEngine(wanted.display().to_string());
            Some(program(&wanted).ok_or_else(missing)?)
        };
        let state_dir = args.source.state_dir();
        let lock = lock(&state_dir)?;
        ports(args)?;
        Ok(Self {
            envoy,
            filter,
            reject_engine,
            state_dir,
            proxy_protocol,
            _lock: lock,
        })
    }
}

fn proxy_protocol(args: &UpArgs) -> Result<Option<ProxyProtocol>, PlaceError> {
    match (args.proxy_protocol, args.proxy_trusted.is_empty()) {
        (None, true) => Ok(None),
        (None, false) => Err(PlaceError::TrustedForNothing),
        (Some(_), true) => Err(PlaceError::NobodyTrusted),
        (Some(headers), false) => Ok(Some(ProxyProtocol {
            headers,
            trusted: args.proxy_trusted.clone(),
            // As long as for a Logon: who has sent neither by then will not.
            timeout: Duration::from_millis(u64::from(limits::LOGON_TIMEOUT_MS)),
        })),
    }
}

fn lock(state_dir: &Path) -> Result<File, PlaceError> {
    let path = || state_dir.display().to_string();
    let refused = |source| PlaceError::State {
        path: path(),
        source,
    };
    fs::create_dir_all(state_dir).map_err(refused)?;
    let lock = File::create(state_dir.join("up.lock")).map_err(refused)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(PlaceError::StateInUse(path())),
        Err(error) => Err(refused(error.into())),
    }
}

/// Envoy shares its ports among workers and would share them with a stranger, too: so they are tried here.
fn ports(args: &UpArgs) -> Result<(), PlaceError> {
    let mut tried = Vec::new();
    for (index, listener) in args.all_listeners().enumerate() {
        if args
            .all_listeners()
            .take(index)
            .any(|earlier| earlier.name == listener.name)
        {
            return Err(PlaceError::SameName(listener.name.clone()));
        }
        // Kept until all were tried, so that two listeners of one address are found, too.
        tried.push(
            TcpListener::bind(listener.address).map_err(|source| PlaceError::Port {
                name: listener.name.clone(),
                address: listener.address,
                source,
            })?,
        );
    }
    Ok(())
}

fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().ok();
    own.as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."))
        .join(name)
}

fn existing(path: &Path) -> Option<PathBuf> {
    path.is_file().then(|| path.canonicalize().ok()).flatten()
}

/// Whether a file begins as a WebAssembly module does (core specification, "Modules", magic).
fn is_module(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut magic))
        .is_ok_and(|()| magic == *b"\0asm")
}

/// A program by its path, or by its name on `PATH`.
fn program(wanted: &Path) -> Option<PathBuf> {
    let executable = |path: &Path| {
        let mode = path.metadata().ok()?.permissions().mode();
        (mode & 0o111 != 0).then(|| existing(path)).flatten()
    };
    if wanted.components().count() > 1 {
        return executable(wanted);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(OsStr::new(&path))
        .find_map(|directory| executable(&directory.join(wanted)))
}
