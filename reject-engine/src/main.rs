//! The reject engine as a program: options, the lines that it prints, and its clean stop.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use fixgw_reject_engine::{Config, Ending, Limits, Outcome, ProxyProtocol, Text, Unanswered};
use fixgw_reject_engine::{server, text};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Lines that wait to be printed. What does not fit is dropped and counted: a reader that stalls must not stall answers.
const LINES_MAX: usize = 4096;

/// Answers a FIX Logon that reaches no engine with one Logout that says why, and closes.
///
/// Envoy connects to it as to an engine and puts a PROXY protocol v2 header in front of the counterparty's bytes: it
/// says who the counterparty is and why its Logon was not routed. What is not a Logon is closed without an answer.
///
/// Prints the address that it listens on, then a line for each connection: who, why, how many bytes. No line
/// holds anything of what a counterparty sent.
#[derive(Parser)]
#[command(name = "fixgw-reject-engine", version, about, long_about, after_help = AFTER_HELP)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// What the Logout says (58) when nothing matches the Logon; other reasons have texts of their own
    #[arg(long, value_name = "TEXT", default_value = text::TEXT_DEFAULT)]
    text: Text,
    /// Connections at once; further ones are closed
    #[arg(long, value_name = "N", default_value_t = server::CONNECTIONS_MAX as u64, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    max_connections: u64,
    /// From accept to the last byte of the answer
    #[arg(long, value_name = "MS", default_value_t = server::TIMEOUT_MS, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    timeout_ms: u64,
    /// FIX bytes of one connection
    #[arg(long, value_name = "N", default_value_t = server::BYTES_MAX as u64, value_parser = clap::value_parser!(u64).range(64..=16_777_216))]
    max_bytes: u64,
    /// Whether a PROXY protocol v2 header stands in front of each connection's bytes
    #[arg(long, value_name = "WHETHER", value_enum, default_value_t = Proxy::Required)]
    proxy_protocol: Proxy,
    /// Print lines of JSON
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  fixgw-reject-engine --listen 127.0.0.1:9870
  fixgw-reject-engine --listen 127.0.0.1:0 --proxy-protocol off --text 'Session moved to fix2.example'

Exit codes: 0 stopped by SIGTERM or SIGINT, 1 could not start, 2 wrong options.";

#[derive(Clone, Copy, ValueEnum)]
enum Proxy {
    /// Closed without one; Envoy writes it
    Required,
    /// Counterparties connect without Envoy
    Off,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (lines, printer) = printer();
    let started = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot start: {error}"))
        .and_then(|runtime| runtime.block_on(run(args, lines)));
    let code = match started {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "fixgw-reject-engine: {message}");
            ExitCode::FAILURE
        }
    };
    // The sender is gone by now, so the printer ends when it has printed what is left.
    let _ = printer.join();
    code
}

async fn run(args: Args, lines: Lines) -> Result<(), String> {
    let address = args.listen;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on `{address}`: {error}; choose another address with --listen")
    })?;
    let bound = listener.local_addr().map_err(|error| error.to_string())?;
    // Handlers are in place before the address is printed: whoever reads it may stop the program at once.
    let stop = stop().map_err(|error| format!("signals cannot be handled: {error}"))?;
    let json = args.json;
    lines.print(if json {
        serde_json::json!({ "event": "listening", "address": bound.to_string() }).to_string()
    } else {
        format!("listening on {bound}")
    });
    let config = Config {
        text: args.text,
        limits: Limits {
            connections_max: usize::try_from(args.max_connections).unwrap_or(usize::MAX),
            timeout: Duration::from_millis(args.timeout_ms),
            bytes_max: usize::try_from(args.max_bytes).unwrap_or(usize::MAX),
            ..Limits::default()
        },
        proxy_protocol: match args.proxy_protocol {
            Proxy::Required => ProxyProtocol::Required,
            Proxy::Off => ProxyProtocol::Off,
        },
        report: Arc::new(move |outcome| {
            if let Some(line) = line(outcome, json) {
                lines.print(line);
            }
        }),
    };
    fixgw_reject_engine::serve(listener, config, stop).await;
    Ok(())
}

fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// One line for an outcome; none for a connection that said nothing.
fn line(outcome: &Outcome, json: bool) -> Option<String> {
    let Outcome {
        source,
        received_bytes,
        ending,
    } = outcome;
    match ending {
        Ending::Closed(Unanswered::Silent) => None,
        Ending::Answered { reason, sent_bytes } => {
            let reason = reason.map_or("unknown", |reason| reason.label());
            Some(if json {
                serde_json::json!({
                    "event": "answered", "source": source.to_string(), "reason": reason,
                    "received_bytes": received_bytes, "sent_bytes": sent_bytes,
                })
                .to_string()
            } else {
                format!(
                    "answered {source} reason={reason} received_bytes={received_bytes} sent_bytes={sent_bytes}"
                )
            })
        }
        Ending::Closed(why) => Some(if json {
            serde_json::json!({
                "event": "closed", "source": source.to_string(), "why": why.label(),
                "received_bytes": received_bytes,
            })
            .to_string()
        } else {
            format!(
                "closed {source} why={} received_bytes={received_bytes}",
                why.label()
            )
        }),
    }
}

/// Hands lines to the thread that prints them.
struct Lines {
    sender: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    fn print(&self, line: String) {
        if self.sender.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn printer() -> (Lines, std::thread::JoinHandle<()>) {
    let (sender, receiver) = sync_channel(LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let lines = Lines {
        sender,
        dropped: Arc::clone(&dropped),
    };
    (
        lines,
        std::thread::spawn(move || print(&receiver, &dropped)),
    )
}

fn print(lines: &Receiver<String>, dropped: &AtomicU64) {
    let mut out = io::stdout();
    for line in lines {
        // Nobody reads any more: answers go on, lines do not.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        let dropped = dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = writeln!(
                io::stderr(),
                "fixgw-reject-engine: {dropped} lines were not printed: standard output is read too slowly"
            );
        }
    }
}
