//! What do counterparties and engines do to a subject, and what do they see of it?
//!
//! One thread is all counterparties and all engines: nothing stands between the sending of a message and its arrival but the subject.
//! `connections` says how connections come, `messages` when which message is sent, `client` and `engine` are the two ends of a
//! connection, `seen` is what is counted.
//!
//! While messages and connections are timed the thread never sleeps: it has a processor of its own, and its waking up would be in every
//! figure; whoever sends to one that sleeps pays for it.

mod client;
mod connections;
mod engine;
mod messages;
mod seen;
mod slots;
mod socket;
mod text;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::Socket;

pub use connections::Pace;
pub use messages::Plan;
pub use seen::{Exchanged, Seen, Trip};
pub use text::{NEWCOMER, SENDER, message};

use client::Client;
use engine::End;
use slots::Slots;
use socket::Who;

/// How many engines there are behind a subject. The rules spread counterparties over them.
pub const ENGINES: usize = 4;
/// What one look at the sockets brings at most.
const READY_MAX: usize = 1_024;
/// What one read brings at most.
const READ_MAX: usize = 64 * 1_024;
/// How long a set of sessions may take to be logged on, or to be gone.
const SETTLE_MAX: Duration = Duration::from_mins(1);
/// How long what is under way is waited for once nothing more is sent.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Where to connect, and how.
#[derive(Clone)]
pub struct Target {
    /// The subject's address.
    pub address: SocketAddr,
    /// With TLS, where it is asked for.
    pub tls: Option<Arc<ClientConfig>>,
    /// Whether it routes: then each counterparty must reach its own engine.
    pub routes: bool,
}

/// All counterparties and all engines.
pub struct Load {
    poll: OwnedFd,
    begun: Instant,
    engines: Vec<(Socket, SocketAddr)>,
    clients: Slots<Client>,
    ends: Slots<End>,
    sessions: Vec<usize>,
    logons: Vec<Vec<u8>>,
    answer: Vec<u8>,
    /// What is sent at present, and so comes back.
    message: Vec<u8>,
    trips: Vec<Trip>,
    seen: Seen,
    /// Nanoseconds in which it slept.
    slept: u64,
    /// Nanoseconds in which it had something to do.
    worked: u64,
    routes: bool,
    /// Whether the next message goes when one is back.
    answers: bool,
    server: ServerName<'static>,
    buffer: Vec<u8>,
}

impl Default for Load {
    fn default() -> Self {
        Self::begin()
    }
}

impl Load {
    /// Its engines listen.
    #[must_use]
    pub fn begin() -> Self {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("Linux has epoll");
        let engines: Vec<(Socket, SocketAddr)> =
            (0..=ENGINES).map(|_| engine::listening()).collect();
        for (place, (socket, _)) in engines.iter().enumerate() {
            let data = Who::Engine(place).data();
            epoll::add(&poll, socket, data, EventFlags::IN).expect("a listener can be watched");
        }
        let server = ServerName::try_from(fixgw_e2e::tls::GATEWAY).expect("a name");
        Self {
            poll,
            begun: Instant::now(),
            engines,
            clients: Slots::default(),
            ends: Slots::default(),
            sessions: Vec::new(),
            logons: Vec::new(),
            answer: text::answer(),
            message: Vec::new(),
            trips: Vec::new(),
            seen: Seen::default(),
            slept: 0,
            worked: 0,
            routes: false,
            answers: false,
            server,
            buffer: vec![0; READ_MAX],
        }
    }

    /// Where the engines listen.
    #[must_use]
    pub fn engines(&self) -> Vec<SocketAddr> {
        let engines = self.engines.iter().take(ENGINES);
        engines.map(|(_, address)| *address).collect()
    }

    /// Where one more listens, for connections with no subject between: theirs take no ports away from those of the subjects.
    #[must_use]
    pub fn direct(&self) -> SocketAddr {
        let (_, address) = self.engines.last().expect("there is one");
        *address
    }

    /// Nanoseconds since the load began.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// What was seen since it was last asked.
    pub fn take_seen(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }

    /// What was done so far, for whoever takes the difference: messages that came back, and Logons that were answered.
    #[must_use]
    pub fn done(&self) -> usize {
        self.trips.len() + self.seen.answered.len()
    }

    /// What was seen since it was last taken.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Sessions that are logged on.
    #[must_use]
    pub fn live(&mut self) -> usize {
        let sessions = std::mem::take(&mut self.sessions);
        let is_live = |place: &&usize| self.clients.get(**place).is_some_and(|it| it.is_live);
        let live = sessions.iter().filter(is_live).count();
        self.sessions = sessions;
        live
    }

    /// Time so far in which the thread had something to do, while messages or connections were timed.
    #[must_use]
    pub const fn worked(&self) -> Duration {
        Duration::from_nanos(self.worked)
    }

    /// A turn of a load that is timed: `begun` is when it began, and `has_sent` whether something was sent since.
    fn timed_turn(&mut self, wait: Duration, begun: u64, has_sent: bool) {
        let slept = self.slept;
        if self.turn(wait) || has_sent {
            self.worked += self.now() - begun - (self.slept - slept);
        }
    }

    /// Looks once at the sockets, for so long at most. Says whether there was something.
    fn turn(&mut self, wait: Duration) -> bool {
        let mut events = Vec::with_capacity(READY_MAX);
        let timeout = Timespec::try_from(wait).expect("a wait is short");
        let before = self.now();
        match epoll::wait(&self.poll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("sockets cannot be waited for: {error}"),
        }
        if !wait.is_zero() {
            self.slept += self.now() - before;
        }
        let has_come = !events.is_empty();
        for event in &events {
            // A packed struct: no reference to what is in it.
            let (flags, data) = (event.flags, event.data);
            let can_send = flags.contains(EventFlags::OUT);
            let can_read = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
            match Who::of(data) {
                Who::Engine(engine) => self.accept(engine),
                Who::End(place) => {
                    if can_send {
                        self.flush_end(place);
                    }
                    if can_read {
                        self.serve(place);
                    }
                }
                Who::Client(place) => {
                    if can_send {
                        self.flush_client(place);
                    }
                    if can_read {
                        self.hear(place);
                    }
                }
            }
        }
        self.clients.settle();
        self.ends.settle();
        has_come
    }
}

/// Durations are long and clocks are short: nothing here lasts for centuries.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
