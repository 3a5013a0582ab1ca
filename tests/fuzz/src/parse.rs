//! What a person pastes into `fixgw parse`.

use std::fmt::Write as _;
use std::path::PathBuf;

use fixgw_operator::parse::{Format, ParseArgs, Streams, run_on};

/// Larger ones cost time and show nothing new.
const BYTES_MAX: usize = 2_048;

/// Input of anything, in every form, shown in every way: lines of text that cannot move a cursor, or of JSON.
pub fn parse(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    for format in [
        Format::Auto,
        Format::Raw,
        Format::Hex,
        Format::Pipe,
        Format::Caret,
    ] {
        for (json, reveal) in [(false, false), (false, true), (true, false), (true, true)] {
            let args = ParseArgs {
                file: None,
                jsonl: None,
                format,
                json,
                reveal,
            };
            is_told(&args, bytes, json);
        }
    }
    // The lines of JSON that tests read, and whatever else stands in such a file.
    let mut hex = String::new();
    for byte in bytes {
        write!(hex, "{byte:02x}").unwrap();
    }
    let line = format!("{{\"id\": \"a\", \"raw_hex\": \"{hex}\"}}\n");
    for input in [line.as_bytes(), bytes] {
        for reveal in [false, true] {
            let args = ParseArgs {
                file: None,
                jsonl: Some(PathBuf::from("-")),
                format: Format::Auto,
                json: false,
                reveal,
            };
            is_told(&args, input, true);
        }
    }
}

fn is_told(args: &ParseArgs, mut stdin: &[u8], json: bool) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        stdin: &mut stdin,
        stdout: &mut stdout,
        stderr: &mut stderr,
        colour: false,
    };
    let _ = run_on(args, &mut streams);
    let (said, remarks) = (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    );
    let breaks = |char: char| char.is_control() && char != '\n';
    assert!(!said.contains(breaks), "{said:?}");
    assert!(!remarks.contains(breaks), "{remarks:?}");
    if json {
        for line in said.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}
