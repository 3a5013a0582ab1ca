//! `fixgw status`: asks a running gateway, and shows what it says.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{Status, socket, text};
use crate::said::complain;
use crate::state;

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(1);
/// Begins a terminal's screen anew (ECMA-48: cursor to the first line, erase to the end).
const FRESH_SCREEN: &str = "\x1b[H\x1b[J";

/// `fixgw status`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw status examples/quickstart
  fixgw status rules --watch
  fixgw status --state-dir /var/lib/fixgw --route trading/algo-vwap
  fixgw status rules --json | jq '.routes[] | select(.orphaned > 0)'

Exit codes: 0 the gateway answered, 2 none runs there, or it does not answer.")]
pub struct StatusArgs {
    /// The directory that the gateway runs over, as it was given to `fixgw up` or `fixgw control`
    #[arg(required_unless_present = "state_dir")]
    pub directory: Option<PathBuf>,
    /// Its state directory, if that was given too
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Only this route; repeatable
    #[arg(long = "route", value_name = "NAMESPACE/NAME")]
    pub routes: Vec<String>,
    /// Go on, and show it every second
    #[arg(long)]
    pub watch: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Asks, and shows.
#[must_use]
pub fn run(args: &StatusArgs) -> ExitCode {
    let directory = match (&args.state_dir, &args.directory) {
        (Some(given), _) => given.clone(),
        (None, Some(directory)) => state::directory_for(directory),
        (None, None) => return ExitCode::from(2),
    };
    loop {
        let shown = socket::ask(&directory)
            .map_err(|error| in_words(&error, &directory, args))
            .and_then(|status| show(status, args));
        match shown {
            Ok(Shown::Yes) if !args.watch => return ExitCode::SUCCESS,
            // Who reads no further has had enough.
            Ok(Shown::Unread) => return ExitCode::SUCCESS,
            Ok(Shown::Yes) => {}
            Err(error) => {
                complain(format_args!("fixgw status: {error}"));
                if !args.watch {
                    return ExitCode::from(2);
                }
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether somebody reads.
enum Shown {
    Yes,
    Unread,
}

fn show(mut status: Status, args: &StatusArgs) -> Result<Shown, String> {
    if !args.routes.is_empty() {
        let missing = |name: &&String| !status.routes.iter().any(|route| route.route == **name);
        if let Some(name) = args.routes.iter().find(missing) {
            return Err(format!(
                "there is no route `{name}`; a route is called NAMESPACE/NAME, as its FIXSession"
            ));
        }
        status
            .routes
            .retain(|route| args.routes.contains(&route.route));
    }
    let mut out = io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer(&mut out, &status)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        if args.watch && out.is_terminal() {
            let _ = out.write_all(FRESH_SCREEN.as_bytes());
        }
        text::write(&status, jiff::Timestamp::now(), &mut out)
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(Shown::Yes),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Shown::Unread),
        Err(error) => Err(error.to_string()),
    }
}

fn in_words(error: &io::Error, state: &Path, args: &StatusArgs) -> String {
    let state = state.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            let over = args.directory.as_ref();
            let over = over.map_or_else(String::new, |directory| {
                format!(" over `{}`", directory.display())
            });
            format!(
                "no gateway runs{over}: there is nobody in its state directory `{state}`; give the directory that it was \
                 started with, and its --state-dir if it had one"
            )
        }
        // The last two: it ended while it was asked.
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::UnexpectedEof => format!(
            "nobody answers in `{state}`: the gateway was killed, or its control plane is just being started again, and then live sessions go on; try again in a moment"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("`{state}` is another user's ({error}); ask as the user that runs the gateway")
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!(
            "the control plane of `{state}` does not answer; see whether its process is stopped, live sessions go on"
        ),
        _ => format!("the control plane of `{state}` could not be asked: {error}"),
    }
}
