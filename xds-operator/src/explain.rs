//! Why does a Logon go where it goes? `fixgw explain`, for whoever asks why a session was not routed.
//!
//! Decides with the filter's own code over what a gateway would take of the objects, and says of each route what holds and
//! what does not. Shows no more of the Logon and the routes than a decision record would, unless told to (`--reveal`).

mod answer;
mod text;

use std::io::{self, IsTerminal as _, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use fixgw_core::wire::SOH;

use crate::parse::{self, Format, Given};
use crate::source::once;
use crate::taken::Taken;
use answer::{Answer, Asked};

/// `fixgw explain`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw explain rules --logon logon.bin --source 10.1.2.3
  echo '8=FIX.4.4|9=58|35=A|49=BROKER_A|56=GATEWAY|…|10=123|' | fixgw explain rules --logon -
  echo '35=A|49=BROKER_A|57=DESK_7|' | fixgw explain rules --logon -     what is not there is filled in
  fixgw explain rules --logon logon.hex --format hex --all
  fixgw explain rules --logon logon.bin --json | jq '.routes[] | select(.verdict == \"misses\")'

Exit codes: 0 a route takes it, 1 none does, or it is no Logon, 2 something could not be read.")]
pub struct ExplainArgs {
    /// Directories of YAML files, or files, with FIXSession objects; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The first bytes of the connection; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub logon: PathBuf,
    /// Address that the counterparty comes from; without it no route with `sourceRanges` matches
    #[arg(long, value_name = "IP")]
    pub source: Option<IpAddr>,
    /// In which form the bytes are given
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
    /// Say of every route what holds and what does not
    #[arg(long)]
    pub all: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show every value, redacted, hidden and secret ones too
    #[arg(long)]
    pub reveal: bool,
}

/// Explains, and prints.
#[must_use]
pub fn run(args: &ExplainArgs) -> ExitCode {
    match explain(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fixgw explain: {error}");
            ExitCode::from(2)
        }
    }
}

fn explain(args: &ExplainArgs) -> Result<ExitCode, String> {
    let twice = args.paths.iter().chain([&args.logon]);
    if twice.filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err("standard input can be the objects or the Logon, not both".to_owned());
    }
    let read = once::read(&args.paths).map_err(|error| error.to_string())?;
    let given = logon(&args.logon, args.format)?;
    for remark in &given.remarks {
        eprintln!("fixgw explain: {remark}");
    }
    let taken = Taken::of(&read.world)?;
    if let Some(left_out) = taken.left_out() {
        eprintln!("fixgw explain: {left_out}");
    }
    let asked = Asked {
        bytes: &given.bytes,
        source: args.source,
        all: args.all,
        reveal: args.reveal,
    };
    let answer = Answer::new(&taken.accepted, &asked);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let told = if args.json {
        serde_json::to_writer(&mut out, &answer)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        text::write(&answer, &mut out)
    };
    match told.and_then(|()| out.flush()) {
        // Who reads no further has had enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(ExitCode::from(u8::from(!answer.is_routed()))),
    }
}

/// The Logon's bytes. Pasted text that begins with its `MsgType` is made a whole message.
fn logon(file: &Path, format: Format) -> Result<Given, String> {
    if file.as_os_str() == "-" && io::stdin().is_terminal() {
        eprintln!("fixgw explain: reading the Logon from the terminal; end it with Ctrl-D");
    }
    let given = parse::given(Some(file), format, &mut io::stdin().lock());
    let mut given = given.map_err(|error| error.to_string())?;
    if given.bytes.starts_with(b"35=A\x01") && given.format != Format::Raw {
        given.bytes = whole(&given.bytes);
        given.remarks.push(
            "it begins with 35=A: BeginString FIX.4.4, BodyLength and CheckSum are filled in"
                .to_owned(),
        );
    }
    Ok(given)
}

/// A message from its body.
fn whole(body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    if body.last() != Some(&SOH) {
        body.push(SOH);
    }
    let mut message = format!("8=FIX.4.4\x019={}\x01", body.len()).into_bytes();
    message.extend(body);
    let sum = message
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    message.extend(format!("10={sum:03}\x01").into_bytes());
    message
}
