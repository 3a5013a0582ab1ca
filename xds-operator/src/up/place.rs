//! Is everything there that a gateway needs? Asked before anything is started; each lack is one sentence that says
//! what to do.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixgw_core::limits;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use thiserror::Error;

use crate::cli::UpArgs;
use crate::envoy::files::{beside, module, program};
use crate::envoy::proxy_protocol::ProxyProtocol;

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
    /// Held while this gateway runs.
    _ports: Vec<OwnedFd>,
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
        let filter =
            module(&filter).ok_or_else(|| PlaceError::Filter(filter.display().to_string()))?;
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
        let ports = ports(args)?;
        Ok(Self {
            envoy,
            filter,
            reject_engine,
            state_dir,
            proxy_protocol,
            _lock: lock,
            _ports: ports,
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
        Err(Errno::WOULDBLOCK) => Err(PlaceError::StateInUse(path())),
        Err(error) => Err(refused(error.into())),
    }
}

/// The addresses of all listeners, held for Envoy. Envoy asks the kernel to share its ports, for its workers; by itself
/// it would share one with another gateway's Envoy, too, and each would get a part of the connections.
fn ports(args: &UpArgs) -> Result<Vec<OwnedFd>, PlaceError> {
    let mut held = Vec::new();
    for (index, listener) in args.all_listeners().enumerate() {
        if args
            .all_listeners()
            .take(index)
            .any(|earlier| earlier.name == listener.name)
        {
            return Err(PlaceError::SameName(listener.name.clone()));
        }
        let refused = |errno: Errno| PlaceError::Port {
            name: listener.name.clone(),
            address: listener.address,
            source: errno.into(),
        };
        let socket = hold(listener.address).map_err(refused)?;
        // Which port Envoy will choose in place of 0 is not known yet.
        if listener.address.port() != 0 {
            held.push(socket);
        }
    }
    Ok(held)
}

/// Binds an address and never listens there, so that no client is accepted before Envoy is there to accept it.
///
/// INVARIANT: from then on only a socket that asks to share its port, of the same user, can be bound there. Envoy's do;
/// another gateway's `hold` does not.
fn hold(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let socket = match bind(address, false) {
        // Perhaps only connections of an earlier gateway that the kernel has not forgotten. They give way to this; a
        // listener does not.
        Err(Errno::ADDRINUSE) => bind(address, true)?,
        bound => bound?,
    };
    // Else others who set it could bind as well, as long as nobody listens.
    sockopt::set_socket_reuseaddr(&socket, false)?;
    // Not before the bind, which would then share with any Envoy that listens there by now.
    sockopt::set_socket_reuseport(&socket, true)?;
    Ok(socket)
}

fn bind(address: SocketAddr, reuse: bool) -> rustix::io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        // As Envoy does: a listener on `[::]` is for IPv6 alone.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, reuse)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    /// Addresses of each kind that a listener may have, with one where clients find it.
    const ADDRESSES: [(IpAddr, IpAddr); 4] = [
        (
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        ),
        (
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        ),
        (
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ),
        (
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ),
    ];

    /// Connections that are spread over the sockets of a port.
    const CONNECTIONS: usize = 32;

    /// Some port, held, with its addresses for a listener and for clients.
    fn held((ip, client): (IpAddr, IpAddr)) -> (OwnedFd, SocketAddr, SocketAddr) {
        let socket = hold(SocketAddr::new(ip, 0)).unwrap();
        let address: SocketAddr = rustix::net::getsockname(&socket)
            .unwrap()
            .try_into()
            .unwrap();
        (socket, address, SocketAddr::new(client, address.port()))
    }

    /// As each worker of Envoy does it.
    fn listen_as_envoy(address: SocketAddr) -> TcpListener {
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true).unwrap();
        }
        sockopt::set_socket_reuseaddr(&socket, true).unwrap();
        sockopt::set_socket_reuseport(&socket, true).unwrap();
        rustix::net::bind(&socket, &address).unwrap();
        rustix::net::listen(&socket, 128).unwrap();
        socket.into()
    }

    #[track_caller]
    fn nobody_else_gets(address: SocketAddr) {
        let stranger = TcpListener::bind(address).map_err(|error| error.kind());
        assert_eq!(stranger.err(), Some(ErrorKind::AddrInUse), "{address}");
        assert_eq!(
            hold(address).err(),
            Some(Errno::ADDRINUSE),
            "{address}: another gateway"
        );
    }

    #[test]
    fn nobody_is_accepted_at_a_held_address_and_nobody_else_gets_it() {
        for kind in ADDRESSES {
            let (_held, address, client) = held(kind);
            let refused = TcpStream::connect(client).map_err(|error| error.kind());
            assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
            nobody_else_gets(address);
        }
    }

    #[test]
    fn envoy_gets_a_held_address_and_every_connection_to_it() {
        for kind in ADDRESSES {
            let (_held, address, client) = held(kind);
            let workers = [listen_as_envoy(address), listen_as_envoy(address)];
            nobody_else_gets(address);
            let clients: Vec<TcpStream> = (0..CONNECTIONS)
                .map(|_| TcpStream::connect(client).unwrap())
                .collect();
            let mut accepted = 0;
            for worker in &workers {
                worker.set_nonblocking(true).unwrap();
                while worker.accept().is_ok() {
                    accepted += 1;
                }
            }
            assert_eq!(accepted, clients.len(), "{address}");
        }
    }

    #[test]
    fn a_listener_is_found_that_would_share_its_port() {
        let (held, address, _) = held((Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()));
        let _worker = listen_as_envoy(address);
        drop(held);
        nobody_else_gets(address);
    }

    #[test]
    fn connections_of_an_earlier_gateway_do_not_keep_a_port() {
        let earlier = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = earlier.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        // Who closes first keeps the connection for a minute.
        drop(earlier.accept().unwrap());
        drop(client);
        drop(earlier);
        assert_eq!(bind(address, false).err(), Some(Errno::ADDRINUSE));
        let _held = hold(address).unwrap();
        nobody_else_gets(address);
        let _worker = listen_as_envoy(address);
        nobody_else_gets(address);
    }
}
