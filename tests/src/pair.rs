//! What does a live session see, measured from both of its ends in one thread?
//!
//! A pair is a session through a gateway whose counterparty and engine are the same thread: no other thread stands between the
//! sending of a message and its arrival. It says nothing by itself. For figures; whether every byte of a session was right is for
//! a [`crate::flock`].

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::fix;
use crate::process::{EVENT_WAIT_MAX, journal};

/// The CompID of the counterparties.
pub const SENDER: &str = "PAIR";

/// Where the engines' ends of pairs are accepted.
pub struct Meeting {
    listener: TcpListener,
    address: SocketAddr,
}

impl Default for Meeting {
    fn default() -> Self {
        Self::open()
    }
}

impl Meeting {
    /// Listens on a port of its own.
    #[must_use]
    pub fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        Self { listener, address }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A session through whatever listens at `address`, logged on. Nobody else may come to this meeting meanwhile.
    #[must_use]
    pub fn pair(&self, address: SocketAddr) -> Pair {
        let mut counterparty = prepared(TcpStream::connect(address));
        let logon = fix::logon("FIX.4.4", SENDER, "VENUE", &[]);
        counterparty
            .write_all(&logon)
            .expect("the connection takes a Logon");
        let engine = prepared(self.listener.accept().map(|(engine, _)| engine));
        let mut pair = Pair {
            counterparty,
            engine,
        };
        take(&mut pair.engine, &logon);
        pair
    }
}

/// Both ends of a live session.
pub struct Pair {
    counterparty: TcpStream,
    engine: TcpStream,
}

impl Pair {
    /// One message to the engine, and the same one back, which is waited for. Fails when anything else arrives.
    pub fn exchange(&mut self, message: &[u8]) {
        let (counterparty, engine) = (&mut self.counterparty, &mut self.engine);
        counterparty
            .write_all(message)
            .expect("the session is live");
        take(engine, message);
        engine.write_all(message).expect("the session is live");
        take(counterparty, message);
    }
}

fn prepared(stream: std::io::Result<TcpStream>) -> TcpStream {
    let stream = stream.expect("a connection can be made");
    stream
        .set_nodelay(true)
        .and_then(|()| stream.set_read_timeout(Some(EVENT_WAIT_MAX)))
        .expect("a socket takes these options");
    stream
}

fn take(stream: &mut TcpStream, wanted: &[u8]) {
    let mut bytes = vec![0; wanted.len()];
    if let Err(error) = stream.read_exact(&mut bytes) {
        panic!("a live session brought nothing: {error}\n{}", journal());
    }
    assert_eq!(bytes, wanted, "what arrives is what was sent");
}
