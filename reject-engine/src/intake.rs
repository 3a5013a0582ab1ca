//! What has one connection said so far, and what follows from it?
//!
//! A state machine without I/O and without a clock: bytes in, a [`Step`] out; the server performs it. Keeps at most the
//! bounds' worth of bytes, and gives nothing of them out but the Logout.

use std::net::SocketAddr;
use std::time::SystemTime;

use fixgw_core::decision::Reason;
use fixgw_core::wire::{self, NotLogon, ReadLimits};

use crate::logout::logout;
use crate::proxy::{self, Fault};
use crate::server::ProxyProtocol;
use crate::text::Text;

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// More bytes are needed.
    Wait,
    /// Send this, then close.
    Answer(Vec<u8>),
    /// Close without an answer.
    Close(Unanswered),
}

/// Why a connection got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It said nothing and left: a health check.
    Silent,
    /// Its PROXY header is missing or wrong.
    Proxy(Fault),
    /// Its first bytes are not FIX.
    NotFix,
    /// Its first message is FIX, but no Logon that an engine could have sent.
    NotLogon,
    /// Its first message did not end within the bound on bytes.
    TooLarge,
    /// It left before its first message was complete.
    Incomplete,
    /// Its time was over.
    Timeout,
    /// Reading or writing failed.
    Broken,
    /// There were too many connections already.
    Full,
}

impl Unanswered {
    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Proxy(fault) => fault.label(),
            Self::NotFix => "not_fix",
            Self::NotLogon => "not_logon",
            Self::TooLarge => "logon_too_large",
            Self::Incomplete => "incomplete_logon",
            Self::Timeout => "timeout",
            Self::Broken => "connection_broken",
            Self::Full => "too_many_connections",
        }
    }
}

/// One connection's bytes, and what the header in front of them said.
pub(crate) struct Intake {
    buffer: Vec<u8>,
    /// Bytes of the header; `None` while it is awaited.
    header: Option<usize>,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) reason: Option<Reason>,
    limits: ReadLimits,
}

impl Intake {
    pub(crate) const fn new(proxy_protocol: ProxyProtocol, bytes_max: usize) -> Self {
        let (header, reason) = match proxy_protocol {
            ProxyProtocol::Required => (None, None),
            // Nobody says why; whoever sends every Logon here has no configuration for any.
            ProxyProtocol::Off => (Some(0), Some(Reason::NoMatch)),
        };
        Self {
            buffer: Vec::new(),
            header,
            source: None,
            reason,
            limits: ReadLimits {
                bytes_max,
                // The bound on bytes bounds them too, and a Logon with too many fields for the gateway gets its answer here.
                fields_max: usize::MAX,
            },
        }
    }

    /// FIX bytes so far: those behind the header.
    pub(crate) fn received(&self) -> usize {
        self.buffer.len().saturating_sub(self.header.unwrap_or(0))
    }

    /// Bytes have arrived.
    pub(crate) fn take(&mut self, bytes: &[u8], text: &Text, now: SystemTime) -> Step {
        self.buffer.extend_from_slice(bytes);
        let header = match self.header {
            Some(header) => header,
            None => match proxy::read(&self.buffer) {
                proxy::Reading::Incomplete => return Step::Wait,
                proxy::Reading::Invalid(fault) => return Step::Close(Unanswered::Proxy(fault)),
                proxy::Reading::Header(header) => {
                    self.source = header.source;
                    self.reason = header.reason;
                    *self.header.insert(header.length)
                }
            },
        };
        let message = self.buffer.get(header..).unwrap_or_default();
        match wire::read(message, &self.limits) {
            wire::Reading::Incomplete => Step::Wait,
            wire::Reading::NotLogon(why) => Step::Close(match why {
                NotLogon::NotFix(_) => Unanswered::NotFix,
                NotLogon::MsgType => Unanswered::NotLogon,
                NotLogon::TooLarge | NotLogon::TooManyFields => Unanswered::TooLarge,
            }),
            wire::Reading::Logon(logon) => {
                match logout(&logon, text.for_reason(self.reason), now) {
                    Some(answer) => Step::Answer(answer),
                    None => Step::Close(Unanswered::NotLogon),
                }
            }
        }
    }

    /// The counterparty has finished sending before its Logon was complete.
    pub(crate) fn end(&self) -> Unanswered {
        if self.received() == 0 && (self.header.is_some() || self.buffer.is_empty()) {
            Unanswered::Silent
        } else if self.header.is_none() {
            Unanswered::Proxy(Fault::Length)
        } else {
            Unanswered::Incomplete
        }
    }
}
