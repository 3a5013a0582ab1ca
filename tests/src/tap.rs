//! How many connections did an engine accept, from whom, and what went through each?
//!
//! A relay in front of a QuickFIX engine, which itself tells none of this. It passes bytes, half-closes and
//! closes on as they come.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::process::wait_until;

/// One connection through a tap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Who connected.
    pub peer: Option<SocketAddr>,
    /// What the peer sent.
    pub to_engine: Vec<u8>,
    /// What the engine sent.
    pub from_engine: Vec<u8>,
    /// Whether either side has ended its direction.
    pub ended: bool,
}

#[derive(Default)]
struct Log {
    passages: Mutex<Vec<Passage>>,
    sockets: Mutex<Vec<TcpStream>>,
    stopping: AtomicBool,
}

impl Log {
    fn passages(&self) -> MutexGuard<'_, Vec<Passage>> {
        self.passages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A relay that counts and records.
pub struct Tap {
    address: SocketAddr,
    log: Arc<Log>,
}

impl Tap {
    /// Starts one in front of `engine`.
    #[must_use]
    pub fn before(engine: SocketAddr) -> Self {
        Self::before_on(Ipv4Addr::LOCALHOST, engine)
    }

    /// The same on another of this machine's addresses.
    #[must_use]
    pub fn before_on(address: Ipv4Addr, engine: SocketAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let log = Arc::new(Log::default());
        let tap = Self {
            address,
            log: Arc::clone(&log),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                if log.stopping.load(Ordering::Acquire) {
                    return;
                }
                relay(&log, stream, engine);
            }
        });
        tap
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every connection so far, ended ones too.
    #[must_use]
    pub fn passages(&self) -> Vec<Passage> {
        self.log.passages().clone()
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.log.passages().len()
    }

    /// Waits until a connection has brought so many bytes for the engine.
    pub fn wait_received(&self, index: usize, count: usize) {
        wait_until(&format!("{count} bytes for the engine"), || {
            self.log
                .passages()
                .get(index)
                .is_some_and(|passage| passage.to_engine.len() >= count)
                .then_some(())
        });
    }

    /// Waits until a connection has ended.
    pub fn wait_ended(&self, index: usize) {
        wait_until("the end of a connection at the engine", || {
            self.log
                .passages()
                .get(index)
                .is_some_and(|passage| passage.ended)
                .then_some(())
        });
    }

    /// Cuts every connection that is open now, to prove that a test would notice.
    pub fn cut(&self) {
        for socket in self
            .log
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.log.stopping.store(true, Ordering::Release);
        self.cut();
        // Wakes the accepting thread, which then sees that it is to stop.
        let _ = TcpStream::connect(self.address);
    }
}

fn relay(log: &Arc<Log>, peer: TcpStream, engine: SocketAddr) {
    let index = {
        let mut passages = log.passages();
        passages.push(Passage {
            peer: peer.peer_addr().ok(),
            ..Passage::default()
        });
        passages.len() - 1
    };
    let Ok(engine) = TcpStream::connect(engine) else {
        log.passages()[index].ended = true;
        return;
    };
    let _ = (peer.set_nodelay(true), engine.set_nodelay(true));
    let clone = |socket: &TcpStream| socket.try_clone().expect("a socket can be cloned");
    log.sockets
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend([clone(&peer), clone(&engine)]);
    let ways = [
        (
            clone(&peer),
            clone(&engine),
            (|passage| &mut passage.to_engine) as fn(&mut Passage) -> &mut Vec<u8>,
        ),
        (engine, peer, |passage| &mut passage.from_engine),
    ];
    for (from, to, record) in ways {
        let log = Arc::clone(log);
        std::thread::spawn(move || pass(&log, index, from, to, record));
    }
}

fn pass(
    log: &Log,
    index: usize,
    mut from: TcpStream,
    mut to: TcpStream,
    record: fn(&mut Passage) -> &mut Vec<u8>,
) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let end = match from.read(&mut buffer) {
            Ok(0) => Shutdown::Write,
            Ok(count) => {
                let bytes = &buffer[..count];
                record(&mut log.passages()[index]).extend_from_slice(bytes);
                if to.write_all(bytes).is_ok() {
                    continue;
                }
                Shutdown::Both
            }
            Err(_) => Shutdown::Both,
        };
        log.passages()[index].ended = true;
        let _ = to.shutdown(end);
        return;
    }
}
