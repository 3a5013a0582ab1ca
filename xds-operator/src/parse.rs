//! How does the gateway read these bytes? `fixgw parse`, for the counterparty desk and the on-call.
//!
//! Reads with the parser of the filter, so its answer is the gateway's. Shows no secret unless told to
//! (`--reveal`): the tags that the gateway always redacts, malformed and unfinished fields, and bytes that are not FIX
//! at all. Never guesses what bytes were meant to be, only in which form they were pasted, and says what it guessed.

mod account;
mod input;
mod jsonl;
mod table;

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use account::{Account, Verdict};
use input::Guess;

/// Bytes of one input. A Logon has at most 8 KiB; this is room for what was captured around it.
pub const INPUT_BYTES_MAX: usize = 1024 * 1024;

/// `fixgw parse`
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ParseArgs {
    /// The first bytes of a connection; `-` or nothing is standard input
    #[arg(value_name = "FILE", conflicts_with = "jsonl")]
    pub file: Option<PathBuf>,
    /// Read lines of JSON with `id` and `raw_hex`, and print one object for each
    #[arg(long, value_name = "FILE", conflicts_with_all = ["format", "json"])]
    pub jsonl: Option<PathBuf>,
    /// In which form the bytes are given
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Show passwords, data fields and everything else as it is
    #[arg(long)]
    pub reveal: bool,
}

const AFTER_HELP: &str = "\
Examples:
  fixgw parse logon.bin                       the bytes of a capture
  pbpaste | fixgw parse                       8=FIX.4.4|9=72|35=A|… from a mail or a log
  xxd -p logon.bin | fixgw parse --format hex
  fixgw parse --json logon.bin | jq .verdict
  fixgw parse --jsonl cases.jsonl --reveal    one answer for each line

Exit codes: 0 a Logon (with --jsonl: every line was read), 1 no Logon or not a whole one (with --jsonl: a line could not
be read; the others were), 2 wrong options, or the input could not be read.";

/// How bytes are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Guessed, and told on standard error
    Auto,
    /// As they were on the wire
    Raw,
    /// Hexadecimal digits; blanks, line breaks and colons between them do not count
    Hex,
    /// Text with `|` for SOH
    Pipe,
    /// Text with `^A` for SOH
    Caret,
}

impl Format {
    const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Raw => "raw",
            Self::Hex => "hex",
            Self::Pipe => "pipe",
            Self::Caret => "caret",
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("cannot read `{file}`: {source}", file = .file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("cannot read standard input: {0}")]
    Stdin(io::Error),
    #[error(
        "the input has more than {INPUT_BYTES_MAX} bytes; give the first bytes of the connection, for example by `head -c 65536`"
    )]
    TooLong,
    #[error("{0}")]
    Hex(input::HexError),
    /// Nobody reads what is printed.
    #[error("cannot write: {0}")]
    Write(io::Error),
}

/// Where a run reads and writes.
pub struct Streams<'s> {
    /// Standard input.
    pub stdin: &'s mut dyn Read,
    /// Answers.
    pub stdout: &'s mut dyn Write,
    /// What was guessed, and what went wrong.
    pub stderr: &'s mut dyn Write,
    /// Whether answers may be coloured.
    pub colour: bool,
}

/// Runs `fixgw parse` on the process's own streams; in colour only at a terminal.
#[must_use]
pub fn run(args: &ParseArgs) -> ExitCode {
    let stdout = io::stdout();
    let colour =
        stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    run_on(
        args,
        &mut Streams {
            stdin: &mut io::stdin().lock(),
            stdout: &mut io::BufWriter::new(stdout.lock()),
            stderr: &mut io::stderr().lock(),
            colour,
        },
    )
}

/// Runs `fixgw parse` on given streams.
#[must_use]
pub fn run_on(args: &ParseArgs, streams: &mut Streams<'_>) -> ExitCode {
    let done = match &args.jsonl {
        Some(file) => jsonl(file, args.reveal, streams),
        None => one(args, streams),
    };
    let done = done.and_then(|code| {
        streams
            .stdout
            .flush()
            .map(|()| code)
            .map_err(ParseError::Write)
    });
    match done {
        Ok(code) => code,
        // Whoever closed the pipe has seen enough.
        Err(ParseError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::from(2)
        }
        Err(error) => {
            let _ = writeln!(streams.stderr, "fixgw parse: {error}");
            ExitCode::from(2)
        }
    }
}

fn jsonl(file: &Path, reveal: bool, streams: &mut Streams<'_>) -> Result<ExitCode, ParseError> {
    let (stdout, stderr) = (&mut *streams.stdout, &mut *streams.stderr);
    let bad = if is_stdin(Some(file)) {
        jsonl::run(
            &mut BufReader::new(&mut *streams.stdin),
            reveal,
            stdout,
            stderr,
        )
    } else {
        jsonl::run(&mut BufReader::new(open(file)?), reveal, stdout, stderr)
    };
    match bad {
        Ok(0) => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::from(1)),
        Err(jsonl::Failed::Write(error)) => Err(ParseError::Write(error)),
        Err(jsonl::Failed::Read(source)) => Err(ParseError::File {
            file: file.to_owned(),
            source,
        }),
    }
}

/// Bytes that somebody gave, undone from the form in which they were written down.
pub(crate) struct Given {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// The form.
    pub(crate) format: Format,
    /// What a person should know about how they came about.
    pub(crate) remarks: Vec<String>,
}

/// Reads a file, or standard input when there is none or it is `-`.
///
/// # Errors
/// When it cannot be read, is longer than [`INPUT_BYTES_MAX`], or is not written in the form that was asked for.
pub(crate) fn given(
    file: Option<&Path>,
    format: Format,
    stdin: &mut dyn Read,
) -> Result<Given, ParseError> {
    let given = match file {
        Some(path) if !is_stdin(file) => bounded(open(path)?).map_err(|error| match error {
            Bounded::TooLong => ParseError::TooLong,
            Bounded::Read(source) => ParseError::File {
                file: path.to_owned(),
                source,
            },
        })?,
        _ => bounded(stdin).map_err(|error| match error {
            Bounded::TooLong => ParseError::TooLong,
            Bounded::Read(source) => ParseError::Stdin(source),
        })?,
    };
    let mut remarks = Vec::new();
    let format = match format {
        Format::Auto => {
            let Guess { format, because } = input::guess(&given);
            remarks.push(format!(
                "read as {}: {because}; --format says otherwise",
                format.label()
            ));
            format
        }
        format => format,
    };
    let (bytes, remark) = input::decode(format, given).map_err(ParseError::Hex)?;
    remarks.extend(remark.map(str::to_owned));
    Ok(Given {
        bytes,
        format,
        remarks,
    })
}

fn one(args: &ParseArgs, streams: &mut Streams<'_>) -> Result<ExitCode, ParseError> {
    let file = args.file.as_deref();
    let Given {
        bytes,
        format,
        remarks,
    } = given(file, args.format, &mut *streams.stdin)?;
    for remark in remarks {
        let _ = writeln!(streams.stderr, "fixgw parse: {remark}");
    }
    let account = Account::of(&bytes);
    let written = if args.json {
        let id = file.map_or_else(|| "-".into(), Path::to_string_lossy);
        writeln!(
            streams.stdout,
            "{}",
            jsonl::whole(&id, format, &account, args.reveal)
        )
    } else {
        table::write(&account, args.reveal, streams.colour, streams.stdout)
    };
    written.map_err(ParseError::Write)?;
    Ok(match account.verdict {
        Verdict::Logon => ExitCode::SUCCESS,
        Verdict::NotLogon | Verdict::NeedMore => ExitCode::from(1),
    })
}

fn is_stdin(file: Option<&Path>) -> bool {
    file.is_none_or(|file| file.as_os_str() == "-")
}

fn open(file: &Path) -> Result<File, ParseError> {
    File::open(file).map_err(|source| ParseError::File {
        file: file.to_owned(),
        source,
    })
}

enum Bounded {
    TooLong,
    Read(io::Error),
}

fn bounded(from: impl Read) -> Result<Vec<u8>, Bounded> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(INPUT_BYTES_MAX)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    from.take(bound)
        .read_to_end(&mut bytes)
        .map_err(Bounded::Read)?;
    if bytes.len() > INPUT_BYTES_MAX {
        return Err(Bounded::TooLong);
    }
    Ok(bytes)
}
