//! How does a gateway let its sessions end before it goes? `fixgw drain`, for the hook that runs before a container is stopped:
//! no new connections, and the live ones go on until they end by themselves, or a time is over.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use crate::api;
use crate::envoy::admin::{self, Admin};
use crate::message::count;
use crate::said::complain;

/// How often Envoy is asked how many connections are live.
const LOOK: Duration = Duration::from_millis(250);
/// How often is said what is waited for.
const TELL: Duration = Duration::from_secs(10);
/// How often Envoy is asked to drain: its main thread can be busy with a large table for a moment.
const ASKED_MAX: u32 = 5;

/// `fixgw drain`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw drain --timeout 5m
  fixgw drain --admin 127.0.0.1:9901 --timeout 30s && echo nobody is connected

From then on the listeners refuse new connections; there is no way back but a new gateway. Held connections are served on.

Exit codes: 0 nobody is connected any more, 1 the time is over and some are, 2 Envoy could not be asked.")]
pub struct DrainArgs {
    /// Address of Envoy's admin interface
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9901")]
    pub admin: SocketAddr,
    /// How long to wait for live connections to end, up to 168h
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = timeout_ms)]
    pub timeout: Duration,
}

/// Longest wait: a week, which no session outlasts.
const TIMEOUT_MS_MAX: u64 = 7 * 24 * 3_600_000;

fn timeout_ms(text: &str) -> Result<Duration, String> {
    match api::milliseconds(text).map_err(|error| error.to_string())? {
        ms if ms > TIMEOUT_MS_MAX => Err("at most 168h".to_owned()),
        ms => Ok(Duration::from_millis(ms)),
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    Wholly,
    /// So many connections are left.
    NotInTime(u64),
    /// Envoy does not answer.
    Unknown,
}

/// Drains, and waits.
#[must_use]
pub fn run(args: &DrainArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let drained = runtime.map(|runtime| runtime.block_on(drain(args)));
    match drained {
        Ok(Drained::Wholly) => {
            tell("nobody is connected any more");
            ExitCode::SUCCESS
        }
        Ok(Drained::NotInTime(left)) => {
            let left = count(left, "connection");
            complain(format_args!("fixgw drain: {left} did not end in time"));
            ExitCode::from(1)
        }
        Ok(Drained::Unknown) => {
            let admin = args.admin;
            complain(format_args!(
                "fixgw drain: Envoy's admin interface does not answer at {admin}; give its address with --admin"
            ));
            ExitCode::from(2)
        }
        Err(error) => {
            complain(format_args!("fixgw drain: {error}"));
            ExitCode::from(2)
        }
    }
}

async fn drain(args: &DrainArgs) -> Drained {
    let admin = Admin::Port(args.admin);
    let mut asked = 0;
    while admin::drain_listeners(&admin).await.is_none() {
        asked += 1;
        if asked == ASKED_MAX {
            return Drained::Unknown;
        }
        sleep(LOOK).await;
    }
    let begun = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        let live = admin::live_connections(&admin).await;
        let left = args.timeout.saturating_sub(begun.elapsed());
        match live {
            Some(0) => return Drained::Wholly,
            Some(live) if left.is_zero() => return Drained::NotInTime(live),
            None if left.is_zero() => return Drained::Unknown,
            Some(live) if told.is_none_or(|told| told.elapsed() >= TELL) => {
                told = Some(Instant::now());
                tell(&format!(
                    "no new connections are taken; waiting for {} to end, for {} s at most",
                    count(live, "live connection"),
                    left.as_secs_f64().ceil()
                ));
            }
            Some(_) | None => {}
        }
        sleep(LOOK.min(left)).await;
    }
}

/// Where nobody reads, nothing is lost.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
