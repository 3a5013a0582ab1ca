//! A session of a light engine, of which every byte is counted on both ends, and whose worker is known.

use std::net::SocketAddr;

use crate::echo::EchoEngine;
use crate::fix;
use crate::gateway::Gateway;
use crate::process::wait_until;
use crate::raw::RawClient;

/// A session that was routed.
pub struct CountedSession<'a> {
    client: RawClient,
    engine: &'a EchoEngine,
    worker: usize,
    /// Which of the engine's connections it is.
    index: usize,
    sent: Vec<u8>,
}

/// Who sends the next byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    /// The counterparty.
    Counterparty,
    /// The engine.
    Engine,
}

impl<'a> CountedSession<'a> {
    /// On one worker, for this counterparty, with this engine; `None` if Envoy closed it, as it does until a VM that failed is
    /// back. Nobody else may begin a session with this engine meanwhile.
    #[must_use]
    pub fn attempt(
        gateway: &Gateway,
        worker: usize,
        sender: &str,
        engine: &'a EchoEngine,
    ) -> Option<Self> {
        let index = engine.received().len();
        let mut client = gateway.connect_on(worker);
        let logon = fix::logon("FIX.4.4", sender, "VENUE", &[]);
        client.send_unless_closed(&logon);
        let wanted = [engine.greeting(), logon.clone()].concat();
        let answer = client.take_at_most(wanted.len());
        if answer.is_empty() {
            return None;
        }
        assert_eq!(
            String::from_utf8_lossy(&answer),
            String::from_utf8_lossy(&wanted)
        );
        Some(Self {
            client,
            engine,
            worker,
            index,
            sent: logon,
        })
    }

    /// The same, where nothing speaks against it.
    #[must_use]
    pub fn begin(gateway: &Gateway, worker: usize, sender: &str, engine: &'a EchoEngine) -> Self {
        Self::attempt(gateway, worker, sender, engine).expect("the worker routes")
    }

    /// The counterparty's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.client.address()
    }

    /// The worker that it is on.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Bytes both ways, each seen once and in order at its end; whatever else had arrived would be seen, too.
    pub fn exchange(&mut self) {
        let bytes = format!("<{}>", self.sent.len()).into_bytes();
        self.sent.extend_from_slice(&bytes);
        self.client.send(&bytes);
        assert_eq!(self.client.take(bytes.len()), bytes);
        self.engine.say(self.index, b"engine");
        assert_eq!(self.client.take(6), b"engine");
        self.assert_whole();
    }

    /// The engine has what was sent, and nothing else.
    fn assert_whole(&self) {
        let received = self.engine.received();
        assert_eq!(
            received.get(self.index),
            Some(&self.sent),
            "what the engine has of session {}",
            self.index
        );
        assert_eq!(self.client.received(), b"", "more than was sent");
    }

    /// It is open until somebody sends a byte; then both ends see its end, and nobody the byte.
    pub fn ends_at_its_next_byte(mut self, speaks: Speaks) {
        assert!(self.client.is_open(), "nobody has sent anything");
        match speaks {
            Speaks::Counterparty => self.client.send(b"x"),
            Speaks::Engine => self.engine.say(self.index, b"x"),
        }
        assert_eq!(self.client.take_to_end(), b"");
        let (engine, index) = (self.engine, self.index);
        wait_until("the end of the session at its engine", || {
            engine.has_ended(index).then_some(())
        });
        self.assert_whole();
    }
}
