//! How are connections answered? Each in a task of its own, within its time and its bytes, and not more of them at once
//! than the bound says.
//!
//! INVARIANT: whatever a counterparty does, its connection is gone after [`Limits::timeout`] and [`Limits::linger`].

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fixgw_core::decision::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::intake::{Intake, Step};
use crate::text::Text;

pub use crate::intake::Unanswered;

/// Connections at once. Each takes some 10 KiB; a storm of Logons that match nothing must not take the machine.
pub const CONNECTIONS_MAX: usize = 1024;
/// Milliseconds from accept to the last byte of the answer. Envoy sends a Logon that is already complete, so this is
/// for what a counterparty still sends of one that is too large.
pub const TIMEOUT_MS: u64 = 5_000;
/// FIX bytes of one connection. Four times what the gateway takes as a Logon, so that one refused for its size still
/// gets its answer.
pub const BYTES_MAX: usize = 32 * 1024;
/// Milliseconds to wait for the counterparty to close after the answer. Closing at once with bytes unread would reset
/// the connection, and the answer could be lost; `QuickFIX` answers with a Logout of its own and closes.
pub const LINGER_MS: u64 = 2_000;
/// Milliseconds that connections get to end when the server stops.
pub const STOP_MS: u64 = 500;

/// Bytes read after the answer before the server stops listening to them.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one read.
const READ_BYTES: usize = 4 * 1024;
/// Pause after `accept` failed: it fails at once and again when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whether a PROXY protocol v2 header stands in front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Yes, and a connection without one is closed.
    Required,
    /// No: counterparties connect themselves.
    Off,
}

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections_max: usize,
    /// From accept to the last byte of the answer.
    pub timeout: Duration,
    /// From there until the counterparty has closed.
    pub linger: Duration,
    /// FIX bytes of one connection.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            timeout: Duration::from_millis(TIMEOUT_MS),
            linger: Duration::from_millis(LINGER_MS),
            bytes_max: BYTES_MAX,
        }
    }
}

/// Where outcomes go. Called from the connections' tasks: it must not block.
pub type Report = Arc<dyn Fn(&Outcome) + Send + Sync>;

/// What the server does.
#[derive(Clone)]
pub struct Config {
    /// Text where nothing matched.
    pub text: Text,
    /// Bounds.
    pub limits: Limits,
    /// Whether headers are expected.
    pub proxy_protocol: ProxyProtocol,
    /// Where outcomes go.
    pub report: Report,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            text: Text::default(),
            limits: Limits::default(),
            proxy_protocol: ProxyProtocol::Required,
            report: Arc::new(|_| {}),
        }
    }
}

/// What became of one connection. Holds nothing that a counterparty sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The counterparty, as the header says, or else whoever connected.
    pub source: SocketAddr,
    /// FIX bytes received.
    pub received_bytes: usize,
    /// How it ended.
    pub ending: Ending,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a Logout.
    Answered {
        /// Why; `None` where the gateway did not say, or not in words that this version knows.
        reason: Option<Reason>,
        /// Bytes of the Logout.
        sent_bytes: usize,
    },
    /// Without one.
    Closed(Unanswered),
}

/// Answers connections until `shutdown` is ready; then stops accepting, and returns when the connections have ended,
/// [`STOP_MS`] later at the latest.
pub async fn serve(listener: TcpListener, config: Config, shutdown: impl Future<Output = ()>) {
    let config = Arc::new(config);
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // It was gone before it was accepted, or there are no descriptors left: the others go on.
            Err(_) => sleep(ACCEPT_PAUSE).await,
            Ok((stream, peer)) if tasks.len() < config.limits.connections_max => {
                tasks.spawn(connection(stream, peer, Arc::clone(&config)));
            }
            Ok((_, peer)) => (config.report)(&Outcome {
                source: peer,
                received_bytes: 0,
                ending: Ending::Closed(Unanswered::Full),
            }),
        }
    }
    drop(listener);
    let ended = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(Duration::from_millis(STOP_MS), ended).await;
    tasks.shutdown().await;
}

async fn connection(mut stream: TcpStream, peer: SocketAddr, config: Arc<Config>) {
    let mut intake = Intake::new(config.proxy_protocol, config.limits.bytes_max);
    let conversation = converse(&mut stream, &mut intake, &config.text);
    let ending = match timeout(config.limits.timeout, conversation).await {
        Ok(Ok(ending)) => ending,
        Ok(Err(_)) => Ending::Closed(Unanswered::Broken),
        Err(_) => Ending::Closed(Unanswered::Timeout),
    };
    (config.report)(&Outcome {
        source: intake.source.unwrap_or(peer),
        received_bytes: intake.received(),
        ending,
    });
    if let Ending::Answered { .. } = ending {
        // Failure means that the counterparty is gone, which is what this waits for.
        let _ = timeout(config.limits.linger, until_closed(&mut stream)).await;
    }
}

async fn converse(stream: &mut TcpStream, intake: &mut Intake, text: &Text) -> io::Result<Ending> {
    let mut chunk = [0_u8; READ_BYTES];
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(Ending::Closed(intake.end()));
        }
        match intake.take(
            chunk.get(..count).unwrap_or_default(),
            text,
            SystemTime::now(),
        ) {
            Step::Wait => {}
            Step::Close(why) => return Ok(Ending::Closed(why)),
            Step::Answer(answer) => {
                stream.write_all(&answer).await?;
                // The half-close: nothing follows. The answer is on its way already, so failure changes nothing.
                let _ = stream.shutdown().await;
                return Ok(Ending::Answered {
                    reason: intake.reason,
                    sent_bytes: answer.len(),
                });
            }
        }
    }
}

async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    let mut chunk = [0_u8; READ_BYTES];
    let mut left = LINGER_BYTES_MAX;
    while left > 0 {
        match stream.read(&mut chunk).await? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}
