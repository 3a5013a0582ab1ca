//! Did a session go on unbroken?
//!
//! QuickFIX reconnects and resends by itself, so equal counts of messages prove nothing. A session is
//! unbroken when there was no onLogout on either side, the counterparty's connection has the same four
//! addresses, the engine accepted this session once, and every message sent was received once, in order.

use std::collections::BTreeSet;

use crate::peer::{Peer, Session};
use crate::process::{kind, text};
use crate::socket::{FourTuple, established};
use crate::tap::Tap;

/// A live session and all that can be said of it.
pub struct LiveSession<'a> {
    session: Session,
    counterparty: &'a Peer,
    engine: &'a Peer,
    tap: &'a Tap,
    addresses: BTreeSet<FourTuple>,
    sent: (u64, u64),
}

impl Drop for LiveSession<'_> {
    /// A message that did not arrive may have been lost on either side of the tap: this tells on which.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for passage in self.tap.passages() {
            if self.session.is_begun_by(&passage.to_engine) {
                let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\u{1}', "|");
                let (to, from) = (shown(&passage.to_engine), shown(&passage.from_engine));
                eprintln!("--- through the tap, to the engine: {to}\n--- and from it: {from}");
            }
        }
    }
}

/// How many messages each side has received over an unbroken session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// From the counterparty to the engine.
    pub to_engine: u64,
    /// From the engine to the counterparty.
    pub to_counterparty: u64,
}

impl<'a> LiveSession<'a> {
    /// Waits until both sides are logged on and remembers the connection.
    pub fn begin(
        session: &Session,
        counterparty: &'a Peer,
        engine: &'a Peer,
        tap: &'a Tap,
    ) -> Self {
        counterparty.wait_logon(&session.at_counterparty());
        engine.wait_logon(&session.at_engine());
        let addresses = established(counterparty.process().pid());
        assert_eq!(
            addresses.len(),
            1,
            "a counterparty with one session has one connection: {addresses:?}"
        );
        Self {
            session: session.clone(),
            counterparty,
            engine,
            tap,
            addresses,
            sent: (0, 0),
        }
    }

    /// Sends `count` messages each way and waits until they have arrived.
    pub fn exchange(&mut self, count: u64) {
        let (at_counterparty, at_engine) =
            (self.session.at_counterparty(), self.session.at_engine());
        self.sent = (
            self.counterparty.send(&at_counterparty, count),
            self.engine.send(&at_engine, count),
        );
        self.engine.wait_received(&at_engine, self.sent.0);
        self.counterparty
            .wait_received(&at_counterparty, self.sent.1);
    }

    /// Waits until both sides have logged on a second time, to prove that the proof would notice.
    pub fn wait_reconnected(&self) {
        for (peer, session) in [
            (self.counterparty, self.session.at_counterparty()),
            (self.engine, self.session.at_engine()),
        ] {
            peer.process().wait_all("the second logon", |events| {
                let logons = events
                    .iter()
                    .filter(|event| kind(event) == "logon" && text(event, "session") == session);
                (logons.count() == 2).then_some(())
            });
        }
    }

    /// What speaks against the session having gone on unbroken; empty when nothing does.
    #[must_use]
    pub fn breaks(&self) -> Vec<String> {
        let mut breaks = Vec::new();
        let sides = [
            (
                "the counterparty",
                self.counterparty,
                self.session.at_counterparty(),
                self.sent.1,
            ),
            (
                "the engine",
                self.engine,
                self.session.at_engine(),
                self.sent.0,
            ),
        ];
        for (side, peer, session, sent_to_it) in sides {
            let events = peer.process().events();
            let count = |what: &str| {
                events
                    .iter()
                    .filter(|event| kind(event) == what && text(event, "session") == session)
                    .count()
            };
            for (what, wanted) in [("logon", 1), ("logout", 0), ("resent", 0)] {
                let seen = count(what);
                if seen != wanted {
                    breaks.push(format!("{side} saw {what} {seen} times, not {wanted}"));
                }
            }
            let received = peer.received(&session);
            if received != (1..=sent_to_it).collect::<Vec<_>>() {
                breaks.push(format!(
                    "{side} was sent 1 to {sent_to_it} and received {received:?}"
                ));
            }
        }
        let addresses = established(self.counterparty.process().pid());
        if addresses != self.addresses {
            breaks.push(format!(
                "the connection was {:?} and is {addresses:?}",
                self.addresses
            ));
        }
        let passages = self.tap.passages();
        let own: Vec<_> = passages
            .iter()
            .filter(|passage| self.session.is_begun_by(&passage.to_engine))
            .collect();
        if own.len() != 1 {
            breaks.push(format!(
                "the engine accepted this session {} times",
                own.len()
            ));
        }
        if own.iter().any(|passage| passage.ended) {
            breaks.push("a connection to the engine has ended".to_owned());
        }
        breaks
    }

    /// Exchanges one more message each way and fails unless the session has gone on unbroken.
    pub fn assert_unbroken(&mut self) -> Exchanged {
        self.exchange(1);
        let breaks = self.breaks();
        assert!(
            breaks.is_empty(),
            "the session is broken: {breaks:#?}\n{}",
            crate::process::journal()
        );
        Exchanged {
            to_engine: self.sent.0,
            to_counterparty: self.sent.1,
        }
    }

    /// Logs out and waits until both sides have seen it.
    pub fn log_out(self) {
        let (at_counterparty, at_engine) =
            (self.session.at_counterparty(), self.session.at_engine());
        self.counterparty.log_out(&at_counterparty);
        self.counterparty.wait_logout(&at_counterparty);
        self.engine.wait_logout(&at_engine);
    }
}
