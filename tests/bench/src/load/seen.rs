//! What is counted of connections and messages?

use std::time::Duration;

/// What was seen of connections since it was last taken.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Each Logon that an engine answered: when the connection was due, and how long it took from then until the answer was there.
    pub answered: Vec<Trip>,
    /// Connections that ended, brought something else, or were given up, before that.
    pub refused: usize,
    /// Sessions that ended, or brought something else, after that.
    pub lost: usize,
    /// Logons that reached another engine than the counterparty's.
    pub misrouted: usize,
}

/// One round trip, of a message or of a connection's Logon: when it was due, and how long it took from then.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    /// Nanoseconds since the load began.
    pub due: u64,
    /// Nanoseconds.
    pub took: u64,
}

/// What became of the messages of a [`Plan`].
#[derive(Debug, Default)]
pub struct Exchanged {
    /// Each round trip, in the order in which they came back.
    pub trips: Vec<Trip>,
    /// Messages that never came back.
    pub missing: usize,
    /// Time in which the thread had something to do.
    pub worked: Duration,
    /// The whole time.
    pub length: Duration,
}
