//! A light engine: says its name once, then sends back every byte that it receives.
//!
//! Not a FIX engine. It is for tests of who reaches whom and with which bytes, where two hundred
//! QuickFIX processes would test the machine instead.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::process::wait_until;
use crate::socket::KeptPort;

#[derive(Default)]
struct Log {
    /// What each accepted connection has sent, in the order of acceptance.
    connections: Mutex<Vec<Vec<u8>>>,
    /// Their sockets, in the same order.
    sockets: Mutex<Vec<TcpStream>>,
    /// Which of them have ended.
    ended: Mutex<BTreeSet<usize>>,
    stopping: AtomicBool,
}

/// A listening light engine.
pub struct EchoEngine {
    name: String,
    address: SocketAddr,
    log: Arc<Log>,
}

impl EchoEngine {
    /// Starts one on a port of its own.
    #[must_use]
    pub fn start(name: &str) -> Self {
        Self::start_on(name, Ipv4Addr::LOCALHOST)
    }

    /// The same on another of this machine's addresses.
    #[must_use]
    pub fn start_on(name: &str, address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port is free");
        Self::serve(name, listener)
    }

    /// Starts one at an address that was kept for it.
    #[must_use]
    pub fn start_at(name: &str, kept: KeptPort) -> Self {
        Self::serve(name, kept.listen())
    }

    fn serve(name: &str, listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("a listener has an address");
        let log = Arc::new(Log::default());
        let engine = Self {
            name: name.to_owned(),
            address,
            log: Arc::clone(&log),
        };
        let greeting = engine.greeting();
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                if log.stopping.load(Ordering::Acquire) {
                    return;
                }
                let (log, greeting) = (Arc::clone(&log), greeting.clone());
                std::thread::spawn(move || log.serve(stream, &greeting));
            }
        });
        engine
    }

    /// What it says before the first echo.
    #[must_use]
    pub fn greeting(&self) -> Vec<u8> {
        format!("[{}]", self.name).into_bytes()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes of each connection that it has accepted.
    #[must_use]
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.log
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sends something on a connection by itself.
    pub fn say(&self, connection: usize, bytes: &[u8]) {
        let sockets = self.log.sockets.lock();
        let mut socket = &sockets.unwrap_or_else(PoisonError::into_inner)[connection];
        socket.write_all(bytes).expect("the connection takes bytes");
    }

    /// Whether the other side has ended a connection.
    #[must_use]
    pub fn has_ended(&self, connection: usize) -> bool {
        let ended = self.log.ended.lock();
        ended
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&connection)
    }

    /// Waits until it has exactly one connection that has sent `count` bytes or more, and returns them.
    #[must_use]
    pub fn wait_received(&self, count: usize) -> Vec<u8> {
        wait_until(&format!("{count} bytes at engine {}", self.name), || {
            self.received()
                .into_iter()
                .find(|bytes| bytes.len() >= count)
        })
    }
}

impl Drop for EchoEngine {
    fn drop(&mut self) {
        self.log.stopping.store(true, Ordering::Release);
        // Wakes the accepting thread, which then sees that it is to stop.
        let _ = TcpStream::connect(self.address);
    }
}

impl Log {
    fn serve(&self, mut stream: TcpStream, greeting: &[u8]) {
        let index = {
            let mut connections = self
                .connections
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            connections.push(Vec::new());
            let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            sockets.push(stream.try_clone().expect("a socket can be cloned"));
            connections.len() - 1
        };
        let mut answer = greeting.to_vec();
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let bytes = &buffer[..count];
            self.connections
                .lock()
                .unwrap_or_else(PoisonError::into_inner)[index]
                .extend_from_slice(bytes);
            answer.extend_from_slice(bytes);
            if stream.write_all(&answer).is_err() {
                break;
            }
            answer.clear();
        }
        let _ = stream.shutdown(Shutdown::Both);
        let ended = self.ended.lock();
        ended.unwrap_or_else(PoisonError::into_inner).insert(index);
    }
}
