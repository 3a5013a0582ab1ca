//! Crowds of clients that would wear a gateway out: how many came, and what became of them?
//!
//! Each crowd is one thread and connects from a loopback address of its own, so that the gateway's records tell it from the
//! honest clients beside it. Nothing here awaits an event: to take time, and to come often, is what such clients do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::fix;
use crate::socket::{connect_from, reset};

/// Clients of a crowd that stays; each whose connection is closed comes back.
pub const CROWD: usize = 1_000;
/// Resets a second.
pub const RESETS_A_SECOND: u32 = 2_000;
/// A byte a second: each client has its turn once in it.
const ROUND: Duration = Duration::from_secs(1);
/// Pauses in a round.
const PAUSES: u32 = 50;
/// Turns between two of them.
const TURNS: usize = CROWD / PAUSES as usize;
/// A client that cannot connect in this time counts as turned away.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// What its clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Send a Logon, a byte a second.
    Drip,
    /// Say nothing.
    Silence,
    /// Reset the connection as soon as it is there.
    Reset,
}

impl Conduct {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Drip, Self::Silence, Self::Reset];

    /// As it is named on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drip => "drip",
            Self::Silence => "silence",
            Self::Reset => "reset",
        }
    }

    /// Where its clients connect from.
    #[must_use]
    pub const fn source(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, 0, 66, 1 + self as u8))
    }
}

/// What became of a crowd's clients so far.
#[derive(Debug, Default)]
pub struct Toll {
    opened: AtomicU64,
    turned_away: AtomicU64,
    closed: AtomicU64,
}

impl Toll {
    /// Connections that were established.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Attempts that were not.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Acquire)
    }

    /// Connections that the gateway has closed.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.closed.load(Ordering::Acquire)
    }
}

/// A crowd at work. It goes when this is dropped.
pub struct Crowd {
    conduct: Conduct,
    toll: Arc<Toll>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Lets one loose.
    #[must_use]
    pub fn against(address: SocketAddr, conduct: Conduct) -> Self {
        let toll = Arc::new(Toll::default());
        let stop = Arc::new(AtomicBool::new(false));
        let crowd = Work {
            address,
            conduct,
            toll: Arc::clone(&toll),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::spawn(move || match conduct {
            Conduct::Reset => crowd.reset(),
            Conduct::Drip | Conduct::Silence => crowd.stay(),
        });
        Self {
            conduct,
            toll,
            stop,
            thread: Some(thread),
        }
    }

    /// What its clients do.
    #[must_use]
    pub fn conduct(&self) -> Conduct {
        self.conduct
    }

    /// What became of them so far.
    #[must_use]
    pub fn toll(&self) -> &Toll {
        &self.toll
    }

    /// Calls it back, with every connection that it has, and waits until it is gone.
    pub fn disperse(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a crowd only connects and writes");
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// One client that stays, and how much of its Logon it has sent.
struct Client {
    stream: TcpStream,
    sent: usize,
}

struct Work {
    address: SocketAddr,
    conduct: Conduct,
    toll: Arc<Toll>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = connect_from(self.conduct.source(), self.address, CONNECT_MAX).ok();
        let count = match stream {
            Some(_) => &self.toll.opened,
            None => &self.toll.turned_away,
        };
        count.fetch_add(1, Ordering::AcqRel);
        stream
    }

    fn stay(&self) {
        let logon = fix::logon("FIX.4.4", "SLOW", "VENUE", &[(58, &"x".repeat(500))]);
        let mut clients: Vec<Option<Client>> = (0..CROWD).map(|_| self.enter()).collect();
        while !self.stopped() {
            let round = Instant::now();
            let slices = clients.chunks_mut(TURNS).zip(1_u32..);
            for (slice, turn) in slices {
                for place in slice {
                    let stays = place
                        .as_mut()
                        .is_some_and(|client| self.turn(client, &logon));
                    if !stays {
                        *place = self.enter();
                    }
                }
                if self.stopped() {
                    break;
                }
                let due = ROUND * turn / PAUSES;
                std::thread::sleep(due.saturating_sub(round.elapsed()));
            }
        }
    }

    fn enter(&self) -> Option<Client> {
        let stream = self.connect()?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_nonblocking(true))
            .expect("a socket can be made non-blocking, and without delay");
        Some(Client { stream, sent: 0 })
    }

    /// Sends the next byte, if that is what it does; false when the gateway has closed.
    fn turn(&self, client: &mut Client, logon: &[u8]) -> bool {
        let open = match client.stream.read(&mut [0]) {
            Ok(count) => count > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        let written = self.conduct != Conduct::Drip || {
            let next = &logon[client.sent..=client.sent];
            client.sent += 1;
            client.stream.write(next).is_ok()
        };
        if !(open && written) {
            self.toll.closed.fetch_add(1, Ordering::AcqRel);
        }
        open && written
    }

    fn reset(&self) {
        let begin = Instant::now();
        for count in 1_u32.. {
            if self.stopped() {
                return;
            }
            if let Some(stream) = self.connect() {
                reset(stream);
            }
            // In bunches of a hundredth of a second: a pause for each would be longer than it should.
            if count.is_multiple_of(RESETS_A_SECOND / 100) {
                let due = Duration::from_secs(1) * count / RESETS_A_SECOND;
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
            }
        }
    }
}
