//! A client that sends exactly the bytes it is given, in exactly the writes it is given.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::process::{EVENT_WAIT_MAX, journal};
use crate::socket::{FourTuple, connect_from, fall_silent, reset};

/// A plain TCP connection.
pub struct RawClient {
    stream: TcpStream,
    received: Vec<u8>,
}

impl RawClient {
    /// Connects.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}\n{}", journal()));
        Self::over(stream)
    }

    /// Connects from one of this machine's addresses: on Linux, any of 127.0.0.0/8 is.
    #[must_use]
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let stream = connect_from(source, address, EVENT_WAIT_MAX).unwrap_or_else(|error| {
            panic!(
                "cannot connect from {source} to {address}: {error}\n{}",
                journal()
            )
        });
        Self::over(stream)
    }

    /// The next connection to a listener, which is non-blocking, if there is one: the other end of what clients are.
    #[must_use]
    pub fn accepted(listener: &TcpListener) -> Option<Self> {
        match listener.accept() {
            Ok((stream, _)) => {
                stream
                    .set_nonblocking(false)
                    .expect("a socket can be made blocking");
                Some(Self::over(stream))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("cannot accept: {error}"),
        }
    }

    fn over(stream: TcpStream) -> Self {
        stream
            .set_nodelay(true)
            .expect("a TCP socket has no delay if told so");
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// The address of this end.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.stream
            .local_addr()
            .expect("a connected socket has an address")
    }

    /// The other end's address and this one's, as the other end's kernel lists them.
    #[must_use]
    pub fn from_the_other_end(&self) -> FourTuple {
        let other = self.stream.peer_addr();
        (
            other.expect("a connected socket has a peer"),
            self.address(),
        )
    }

    /// Answers nothing any more, as when its host is gone.
    pub fn fall_silent(&self) {
        fall_silent(&self.stream);
    }

    /// All bytes in one write.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("the connection takes bytes");
    }

    /// All bytes in one write; a peer that has closed by now is no failure.
    pub fn send_unless_closed(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// One write, and one segment, for each byte.
    pub fn send_one_by_one(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(std::slice::from_ref(byte));
        }
    }

    /// Its sending side, for a thread of its own.
    #[must_use]
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a socket can be cloned")
    }

    /// Ends its own direction.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Goes away with a reset, as some health checks do.
    pub fn reset(self) {
        reset(self.stream);
    }

    /// Everything received so far and not yet taken.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Waits for `count` more bytes and takes them.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let end = Instant::now() + EVENT_WAIT_MAX;
        while self.received.len() < count {
            assert!(
                self.read_before(end),
                "closed after {} of {count} bytes: {:?}\n{}",
                self.received.len(),
                String::from_utf8_lossy(&self.received),
                journal()
            );
        }
        self.received.drain(..count).collect()
    }

    /// Waits for `count` more bytes, or for the end if that comes before them, and takes what there is.
    pub fn take_at_most(&mut self, count: usize) -> Vec<u8> {
        let end = Instant::now() + EVENT_WAIT_MAX;
        while self.received.len() < count && self.read_before(end) {}
        let count = count.min(self.received.len());
        self.received.drain(..count).collect()
    }

    /// Waits for the greeting of a light engine and returns its name.
    pub fn take_greeting(&mut self) -> String {
        let end = Instant::now() + EVENT_WAIT_MAX;
        loop {
            if let Some(length) = self.received.iter().position(|byte| *byte == b']') {
                let greeting: Vec<u8> = self.received.drain(..=length).collect();
                let greeting = String::from_utf8(greeting).expect("an engine's name is text");
                return greeting.trim_matches(['[', ']']).to_owned();
            }
            assert!(
                self.read_before(end),
                "closed before any engine answered: {:?}\n{}",
                String::from_utf8_lossy(&self.received),
                journal()
            );
        }
    }

    /// Waits for the first bytes, or the end, and takes what there is.
    pub fn take_some(&mut self) -> Vec<u8> {
        let end = Instant::now() + EVENT_WAIT_MAX;
        while self.received.is_empty() && self.read_before(end) {}
        std::mem::take(&mut self.received)
    }

    /// Waits until the other side closes and takes what was received before that.
    pub fn take_to_end(&mut self) -> Vec<u8> {
        let end = Instant::now() + EVENT_WAIT_MAX;
        while self.read_before(end) {}
        std::mem::take(&mut self.received)
    }

    /// Whether the other side has neither ended nor reset the connection at this moment.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stream
            .set_nonblocking(true)
            .expect("a socket can be made non-blocking");
        let looked = self.stream.peek(&mut [0]);
        self.stream
            .set_nonblocking(false)
            .expect("a socket can be made blocking");
        match looked {
            Ok(count) => count > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }

    /// Reads once; false at the end of the stream or a reset.
    fn read_before(&mut self, end: Instant) -> bool {
        let left = end
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        self.stream
            .set_read_timeout(Some(left))
            .expect("the bound is not zero");
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!(
                    "waited in vain for bytes or an end, received so far {:?}\n{}",
                    String::from_utf8_lossy(&self.received),
                    journal()
                )
            }
            Err(_) => false,
        }
    }
}
