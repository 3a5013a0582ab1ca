//! How is an account told to a program? One JSON object, by the corpus's keys.
//!
//! Keys and their meaning are an interface (`filter/core/testdata/README.md`): a key that has nothing to say is there
//! all the same, with `null`, `{}` or 0.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};

use fixgw_core::decision::Reason;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Format;
use super::account::{Account, Row};
use super::input;

/// Bytes of one line: hexadecimal of [`super::INPUT_BYTES_MAX`] bytes, and room for other keys.
const LINE_BYTES_MAX: usize = 2 * super::INPUT_BYTES_MAX + 64 * 1024;

/// What is read of a line.
#[derive(Deserialize)]
struct Case {
    id: Value,
    raw_hex: String,
}

/// What is printed for one.
#[derive(Serialize)]
struct Answer<'a> {
    id: &'a Value,
    verdict: &'static str,
    fields: BTreeMap<u32, String>,
    repeated: BTreeMap<u32, Vec<String>>,
    malformed_fields: usize,
    consumed: Option<usize>,
    body_length_ok: Option<bool>,
    checksum_ok: Option<bool>,
    reason: Option<&'static str>,
}

/// The same with what only `--json` says.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    answer: Answer<'a>,
    why: String,
    format: &'static str,
    received: usize,
    oddities: Vec<&'static str>,
    refused: Option<Refused>,
}

#[derive(Serialize)]
struct Refused {
    reason: &'static str,
    detail: String,
}

/// Why the lines could not be gone through.
pub(super) enum Failed {
    Read(io::Error),
    Write(io::Error),
}

impl<'a> Answer<'a> {
    fn of(id: &'a Value, account: &Account<'_>, reveal: bool) -> Self {
        let mut fields = BTreeMap::new();
        let mut repeated: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for row in &account.rows {
            let Row::Field { field, occurrence } = row else {
                continue;
            };
            let tag = field.tag.get();
            let value = Account::latin1(field, reveal);
            if account.counts.get(&tag).is_some_and(|&count| count > 1) {
                repeated.entry(tag).or_default().push(value.clone());
            }
            if *occurrence == 1 {
                fields.insert(tag, value);
            }
        }
        Self {
            id,
            verdict: account.verdict.label(),
            fields,
            repeated,
            malformed_fields: account.malformed,
            consumed: account.consumed,
            body_length_ok: account.trailer.map(|trailer| trailer.body_length_ok),
            checksum_ok: account.trailer.map(|trailer| trailer.checksum_ok),
            reason: account.reason().map(Reason::label),
        }
    }
}

/// One object for `--json`.
pub(super) fn whole(id: &str, format: Format, account: &Account<'_>, reveal: bool) -> String {
    let id = Value::from(id);
    json(&Whole {
        answer: Answer::of(&id, account, reveal),
        why: account.why(),
        format: format.label(),
        received: account.bytes.len(),
        oddities: account
            .oddities()
            .into_iter()
            .map(|(label, _)| label)
            .collect(),
        refused: account.refusal.as_ref().map(|refusal| Refused {
            reason: refusal.reason.label(),
            detail: refusal.detail.clone(),
        }),
    })
}

fn json(of: &impl Serialize) -> String {
    // Fails only for keys that are no strings or numbers, and there is none.
    let text = serde_json::to_string(of).unwrap_or_default();
    if !text.contains(char::is_control) {
        return text;
    }
    // JSON need not escape DEL and the controls beyond ASCII, and terminals obey some of them. They can stand in strings only.
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            let _ = write!(escaped, "\\u{:04x}", u32::from(letter));
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// Goes through the lines; says how many could not be read.
pub(super) fn run(
    lines: &mut dyn BufRead,
    reveal: bool,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<usize, Failed> {
    let mut bad = 0_usize;
    let mut number = 0_usize;
    loop {
        let line = match next_line(lines).map_err(Failed::Read)? {
            Line::End => return Ok(bad),
            Line::TooLong => Err(format!("has more than {LINE_BYTES_MAX} bytes")),
            Line::Whole(line) => Ok(line),
        };
        number += 1;
        let answer = match &line {
            Ok(line) if line.trim_ascii().is_empty() => continue,
            Ok(line) => answer(line, reveal),
            Err(what) => Err(what.clone()),
        };
        match answer {
            Ok(answer) => writeln!(stdout, "{answer}").map_err(Failed::Write)?,
            Err(what) => {
                bad += 1;
                // Nobody to tell it to: the exit code still does.
                let _ = writeln!(stderr, "fixgw parse: line {number}: {what}");
            }
        }
    }
}

fn answer(line: &[u8], reveal: bool) -> Result<String, String> {
    // serde_json's message may quote the line, which may hold a password.
    let case: Case = serde_json::from_slice(line).map_err(|error| {
        format!(
            "is no JSON object with `id` and `raw_hex` (column {})",
            error.column()
        )
    })?;
    let bytes = input::unhex(&case.raw_hex).map_err(|error| format!("`raw_hex`: {error}"))?;
    Ok(json(&Answer::of(&case.id, &Account::of(&bytes), reveal)))
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

fn next_line(lines: &mut dyn BufRead) -> io::Result<Line> {
    let bound = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    if (&mut *lines).take(bound).read_until(b'\n', &mut line)? == 0 {
        return Ok(Line::End);
    }
    if line.len() < LINE_BYTES_MAX || line.ends_with(b"\n") {
        return Ok(Line::Whole(line));
    }
    // The rest of it is passed over piece by piece, so that its length takes no memory.
    loop {
        line.clear();
        (&mut *lines).take(bound).read_until(b'\n', &mut line)?;
        if line.is_empty() || line.ends_with(b"\n") {
            return Ok(Line::TooLong);
        }
    }
}
