//! What does only the kernel know of TCP connections, and do only with it?
//!
//! A FIX peer reconnects by itself; only the kernel can say that a connection is still the same one.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use rustix::process::Resource;
use socket2::{Domain, SockRef, Socket, Type};

use crate::tool;

/// `ESTABLISHED` in `/proc/net/tcp`.
const STATE_ESTABLISHED: &str = "01";

/// What a connection waits for in `/proc/net/tcp`: its keepalive.
const TIMER_KEEPALIVE: &str = "02";

/// The times of `/proc/net/tcp` are in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// Has the kernel drop what arrives at the socket on standard input with a TTL below 255 (`IP_MINTTL`, 21 on Linux): all
/// that this machine sends. No crate that we have sets this option, and `unsafe` is forbidden.
const DROP_ALL: &str =
    "import socket; socket.socket(fileno=0).setsockopt(socket.IPPROTO_IP, 21, 255)";

/// Local and remote address of a connection.
pub type FourTuple = (SocketAddr, SocketAddr);

/// The established IPv4 connections of a process, in whichever network it is; none if it has ended.
#[must_use]
pub fn established(pid: u32) -> BTreeSet<FourTuple> {
    let inodes = socket_inodes(pid);
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let connections = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, remote, state, inode) = (
            columns.get(1)?,
            columns.get(2)?,
            columns.get(3)?,
            columns.get(9)?,
        );
        (*state == STATE_ESTABLISHED && inodes.contains(*inode))
            .then(|| Some((address(local)?, address(remote)?)))?
    });
    connections.collect()
}

fn socket_inodes(pid: u32) -> HashSet<String> {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return HashSet::new();
    };
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    links
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect()
}

/// `0100007F:2694` → `127.0.0.1:9876`: the address is printed as one little-endian number.
fn address(hex: &str) -> Option<SocketAddr> {
    let (ip, port) = hex.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.swap_bytes());
    Some(SocketAddr::from((ip, u16::from_str_radix(port, 16).ok()?)))
}

/// Connects from one of this machine's addresses: on Linux, any of 127.0.0.0/8 is.
///
/// # Errors
/// It is refused, or takes longer.
pub fn connect_from(
    source: IpAddr,
    address: SocketAddr,
    within: Duration,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&address.into(), within)?;
    Ok(socket.into())
}

/// What one end of a connection, on which nothing is under way, does to learn whether the other one is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// When it asks next.
    pub asks_in: Duration,
    /// How often it has asked since the last answer.
    pub unanswered: u32,
}

/// The keepalive of the end at `local`; none while bytes are under way, or without keepalive.
#[must_use]
pub fn keepalive((local, remote): FourTuple) -> Option<Keepalive> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux lists its connections");
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let ends = (address(columns.get(1)?)?, address(columns.get(2)?)?);
        let (timer, ticks) = columns.get(5)?.split_once(':')?;
        if ends != (local, remote) || timer != TIMER_KEEPALIVE {
            return None;
        }
        Some(Keepalive {
            asks_in: TICK * u32::from_str_radix(ticks, 16).ok()?,
            unanswered: columns.get(8)?.parse().ok()?,
        })
    })
}

/// From now on this end of an IPv4 connection answers nothing, as when its host is gone: the kernel drops what arrives for
/// it. That needs no rights; a network of the test's own, or a filter, would need some that a container may not have.
pub fn fall_silent(stream: &TcpStream) {
    let socket = stream.try_clone().expect("a socket can be cloned");
    let told = Command::new(tool::python())
        .args(["-c", DROP_ALL])
        .stdin(OwnedFd::from(socket))
        .status();
    assert!(
        told.is_ok_and(|status| status.success()),
        "IP_MINTTL is set"
    );
}

/// Ends a connection with a reset, as some health checks do.
pub fn reset(stream: TcpStream) {
    let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    linger.expect("a TCP socket can be told not to linger");
    drop(stream);
}

/// A port on the loopback address that nothing listens on, for a test of what refuses connections.
#[must_use]
pub fn unused_port() -> SocketAddr {
    let probe = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    probe.local_addr().expect("a listener has an address")
}

/// A port that is taken, and where connections are refused.
pub struct KeptPort {
    socket: Socket,
    address: SocketAddr,
}

impl KeptPort {
    /// Takes one.
    #[must_use]
    pub fn keep() -> Self {
        Self::bound(Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made"))
    }

    /// Takes one that programs can share who ask for that (`SO_REUSEPORT`), and nobody else.
    #[must_use]
    pub fn keep_to_share() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        rustix::net::sockopt::set_socket_reuseport(&socket, true)
            .expect("a socket can share its port");
        Self::bound(socket)
    }

    fn bound(socket: Socket) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a port is free");
        let address = socket.local_addr().expect("it has an address");
        let address = address.as_socket().expect("it is an IP address");
        Self { socket, address }
    }

    /// Where.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections are taken from now on.
    #[must_use]
    pub fn listen(self) -> TcpListener {
        self.socket
            .listen(128)
            .expect("a socket that was bound can listen");
        self.socket.into()
    }
}

/// Lets this process open as many files as the system allows it: it has both ends of thousands of connections.
pub fn raise_open_files() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(Resource::Nofile, limit).expect("up to the hard limit it may");
}
