//! How does a gateway let its sessions end before it goes? `fixgw drain`, for the hook that runs before a container is stopped:
//! no new connections, and the live ones go on until they end by themselves, or a time is over.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use crate::api;
use crate::envoy::admin::{self, Admin, Unanswered};
use crate::message::count;
use crate::said::complain;

/// How often Envoy is asked how many connections are live.
const LOOK: Duration = Duration::from_millis(250);
/// How often is said what is waited for.
const TELL: Duration = Duration::from_secs(10);
/// After how many refused connections, one after the other, there is no Envoy to ask. One that is there and does not answer is asked
/// until the time is over: its main thread can be busy, and who gave up would have every session cut.
const REFUSED_MAX: u32 = 5;

/// `fixgw drain`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw drain --timeout 5m
  fixgw drain --admin 127.0.0.1:9901 --timeout 30s && echo nobody is connected

From then on the listeners refuse new connections; there is no way back but a new gateway. Held connections are served on.

Exit codes: 0 nobody is connected any more, 1 the time is over and some are, 2 Envoy could not be asked:
nothing listens at --admin, or nothing answered until the time was over.")]
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
    /// Envoy could not be asked.
    Unknown(Unanswered),
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
        Ok(Drained::Unknown(why)) => {
            let admin = args.admin;
            match why {
                Unanswered::Refused => complain(format_args!(
                    "fixgw drain: nothing listens at {admin}; give the address of Envoy's admin interface with --admin"
                )),
                Unanswered::Silent => complain(format_args!(
                    "fixgw drain: Envoy's admin interface at {admin} has not answered in time; give a longer --timeout if Envoy is \
                     busy, or its address with --admin"
                )),
            }
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
    let begun = Instant::now();
    let mut told: Option<Instant> = None;
    let mut asked_to_drain = false;
    let mut refused = 0;
    loop {
        let live = if asked_to_drain {
            admin::live_connections(&admin).await
        } else {
            match admin::drain_listeners(&admin).await {
                Ok(()) => {
                    asked_to_drain = true;
                    continue;
                }
                Err(why) => Err(why),
            }
        };
        refused = match live {
            Err(Unanswered::Refused) => refused + 1,
            Ok(_) | Err(Unanswered::Silent) => 0,
        };
        let left = args.timeout.saturating_sub(begun.elapsed());
        match live {
            Ok(0) => return Drained::Wholly,
            Ok(live) if left.is_zero() => return Drained::NotInTime(live),
            Err(why) if left.is_zero() || refused == REFUSED_MAX => return Drained::Unknown(why),
            Ok(live) if told.is_none_or(|told| told.elapsed() >= TELL) => {
                told = Some(Instant::now());
                tell(&format!(
                    "no new connections are taken; waiting for {} to end, for {} s at most",
                    count(live, "live connection"),
                    left.as_secs_f64().ceil()
                ));
            }
            Ok(_) | Err(_) => {}
        }
        sleep(LOOK.min(left)).await;
    }
}

/// Where nobody reads, nothing is lost.
fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Where nothing is answered so many times, and then that nobody is connected.
    async fn answers_after(silent: u32) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut asked = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                asked += 1;
                if asked > silent {
                    let _ = stream.read(&mut [0; 1_024]).await;
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                        .await;
                }
            }
        });
        address
    }

    fn of(admin: SocketAddr, timeout: Duration) -> DrainArgs {
        DrainArgs { admin, timeout }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_asked_until_the_time_is_over() {
        let admin = answers_after(2 * REFUSED_MAX).await;
        let hour = Duration::from_hours(1);
        assert_eq!(drain(&of(admin, hour)).await, Drained::Wholly);
        let never = answers_after(u32::MAX).await;
        let drained = drain(&of(never, LOOK)).await;
        assert_eq!(drained, Drained::Unknown(Unanswered::Silent));
    }

    #[tokio::test]
    async fn where_nothing_listens_it_ends_soon() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = listener.local_addr().unwrap();
        drop(listener);
        let drained = drain(&of(nobody, Duration::from_hours(1))).await;
        assert_eq!(drained, Drained::Unknown(Unanswered::Refused));
    }
}
