//! Why does a Logon go where it goes? `fixgw explain`, for whoever asks why a session was not routed.
//!
//! Decides with the filter's own code over what a gateway would take of the objects, and says of each route what holds and
//! what does not. Shows no more of the Logon and the routes than a decision record would, unless told to (`--reveal`).

mod answer;
mod text;

use std::io::{self, IsTerminal as _, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use fixgw_core::wire::SOH;
use fixgw_core::witness;

use crate::parse::{self, Format, Given};
use crate::said::complain;
use crate::source::once;
use crate::taken::Taken;
use answer::{Answer, Asked};

/// `fixgw explain`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw explain rules --logon logon.bin --source 10.1.2.3
  echo '35=A|49=BROKER_A|57=DESK_7|' | fixgw explain rules --logon -     the rest of the message is filled in
  fixgw explain rules --logon line-of-an-engines-log.txt                 what stands before 8=FIX is left out
  fixgw explain rules --logon logon.hex --format hex --all
  fixgw explain rules --logon logon.bin --json | jq '.routes[] | select(.verdict == \"misses\")'

Exit codes: 0 a route takes it, 1 none does, or it is no Logon, 2 something could not be read, so that the answer may be another.")]
pub struct ExplainArgs {
    /// Directories of YAML files, or files, with FIXSession objects; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The first bytes of the connection; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub logon: PathBuf,
    /// Address that the counterparty comes from; without it no route with `sourceRanges` matches
    #[arg(long, value_name = "IP")]
    pub source: Option<Source>,
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

/// An address, alone or with a port as records have it.
#[derive(Clone, Copy, Debug)]
pub struct Source(pub IpAddr);

impl FromStr for Source {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_port = || text.parse::<SocketAddr>().map(|socket| socket.ip());
        let address = text.parse().or_else(|_| with_port());
        address
            .map(Self)
            .map_err(|_| "wants an IP address, as in `10.1.2.3` or `2001:db8::1`")
    }
}

/// Explains, and prints.
#[must_use]
pub fn run(args: &ExplainArgs) -> ExitCode {
    match explain(args) {
        Ok(code) => code,
        Err(error) => {
            complain(format_args!("fixgw explain: {error}"));
            ExitCode::from(2)
        }
    }
}

fn explain(args: &ExplainArgs) -> Result<ExitCode, String> {
    let twice = args.paths.iter().chain([&args.logon]);
    if twice.filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err("standard input can be the objects or the Logon, not both".to_owned());
    }
    let read = once::read(&args.paths, Vec::new()).map_err(|error| error.to_string())?;
    let given = logon(&args.logon, args.format)?;
    for remark in &given.remarks {
        complain(format_args!("fixgw explain: {remark}"));
    }
    let taken = Taken::of(&read.world)?;
    let asked = Asked {
        bytes: &given.bytes,
        source: args.source.map(|Source(source)| source),
        all: args.all,
        reveal: args.reveal,
    };
    let answer = Answer::new(&taken, &read.world.endpoints, &asked);
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
        Ok(()) | Err(_) if !answer.unread.is_empty() => Ok(ExitCode::from(2)),
        Ok(()) | Err(_) => Ok(ExitCode::from(u8::from(!answer.is_routed()))),
    }
}

/// The Logon's bytes. Of pasted text, what stands before the message is left out, and what is missing is filled in.
fn logon(file: &Path, format: Format) -> Result<Given, String> {
    if file.as_os_str() == "-" && io::stdin().is_terminal() {
        complain(format_args!(
            "fixgw explain: reading the Logon from the terminal; end it with Ctrl-D"
        ));
    }
    let given = parse::given(Some(file), format, &mut io::stdin().lock());
    let mut given = given.map_err(|error| error.to_string())?;
    if let Some(bytes) = behind_a_stamp(&given.bytes) {
        given.bytes = bytes.to_vec();
        given
            .remarks
            .push("what stands before `8=FIX` is left out".to_owned());
    }
    if let Some((bytes, why)) = filled_in(&given) {
        given.bytes = bytes;
        given.remarks.push(format!(
            "{why}: what is missing of BeginString, BodyLength and CheckSum is filled in"
        ));
    }
    Ok(given)
}

/// The message behind what a log writes before it. A control character there is no log's.
fn behind_a_stamp(bytes: &[u8]) -> Option<&[u8]> {
    let begin = memchr::memmem::find(bytes, b"8=FIX").filter(|begin| *begin > 0)?;
    let (stamp, message) = bytes.split_at(begin);
    let is_text = stamp.iter().all(|byte| !byte.is_ascii_control());
    is_text.then_some(message)
}

/// A message of which only the fields that matter were pasted, or whose values a log has redacted.
fn filled_in(given: &Given) -> Option<(Vec<u8>, &'static str)> {
    let redacted = memchr::memmem::find(&given.bytes, b"=[REDACTED]\x01").is_some();
    let fields: Vec<&[u8]> = given.bytes.split_inclusive(|byte| *byte == SOH).collect();
    let (begin, rest) = match fields.as_slice() {
        [begin, rest @ ..] if begin.starts_with(b"8=FIX") => (begin.to_vec(), rest),
        all => (b"8=FIX.4.4\x01".to_vec(), all),
    };
    let has_length = rest.first().is_some_and(|field| field.starts_with(b"9="));
    let body = if has_length { rest.get(1..)? } else { rest };
    let is_logon = body.first().is_some_and(|field| *field == b"35=A\x01");
    let why = match (redacted, has_length) {
        (true, _) => "values are redacted in it",
        // Bytes off the wire are what they are.
        (false, false) if given.format != Format::Raw => "it is not whole",
        (false, _) => return None,
    };
    let is_sum = |field: &&&[u8]| !field.starts_with(b"10=");
    let body: Vec<u8> = body
        .iter()
        .take_while(is_sum)
        .copied()
        .flatten()
        .copied()
        .collect();
    is_logon.then(|| (whole(begin, body), why))
}

/// A message from its first field and its body, which may lack its last SOH.
fn whole(begin: Vec<u8>, mut body: Vec<u8>) -> Vec<u8> {
    if body.last() != Some(&SOH) {
        body.push(SOH);
    }
    witness::framed(begin, &body)
}
