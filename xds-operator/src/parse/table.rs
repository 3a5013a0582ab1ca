//! How is an account told to a person? A table of the fields in their order, then what follows from them.

use std::io::{self, Write};

use fixgw_core::decision::Reason;
use fixgw_core::wire::{self, Field, Framing, SOH, Tag};

use super::account::{Account, Row, Verdict};
use crate::names;

/// Columns of a value before its note moves to the right of the others'.
const VALUE_COLUMNS: usize = 24;

/// Marks of a terminal; none where there is no terminal.
struct Marks {
    good: &'static str,
    bad: &'static str,
    faint: &'static str,
    end: &'static str,
}

const COLOUR: Marks = Marks {
    good: "\x1b[32m",
    bad: "\x1b[31m",
    faint: "\x1b[2m",
    end: "\x1b[0m",
};
const PLAIN: Marks = Marks {
    good: "",
    bad: "",
    faint: "",
    end: "",
};

/// Writes the whole account.
pub(super) fn write(
    account: &Account<'_>,
    reveal: bool,
    colour: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let marks = if colour { &COLOUR } else { &PLAIN };
    if account.looks_like.is_none() && !account.bytes.is_empty() {
        writeln!(
            out,
            "{faint}{:>6}  {:>9}  {:<23}  {:<VALUE_COLUMNS$}  note{end}",
            "offset",
            "tag",
            "name",
            "value",
            faint = marks.faint,
            end = marks.end
        )?;
        for row in &account.rows {
            write_row(account, row, reveal, marks, out)?;
        }
        write_rest(account, reveal, marks, out)?;
        writeln!(out)?;
    } else if reveal && !account.bytes.is_empty() {
        writeln!(out, "{}\n", account.bytes.escape_ascii())?;
    }
    write_summary(account, marks, out)
}

fn write_row(
    account: &Account<'_>,
    row: &Row<'_>,
    reveal: bool,
    marks: &Marks,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (offset, tag, name, value, note) = match row {
        Row::Field { field, occurrence } => (
            field.start,
            field.tag.get().to_string(),
            names::of(field.tag.get()),
            Account::line(field.tag, field.value, reveal),
            note(account, field, *occurrence),
        ),
        Row::Malformed { offset, length } => (
            *offset,
            String::new(),
            "",
            hidden(account, *offset, *length, reveal),
            "malformed: no tag=value, passed over".to_owned(),
        ),
    };
    let line = format!("{offset:>6}  {tag:>9}  {name:<23}  {value:<VALUE_COLUMNS$}");
    if note.is_empty() {
        writeln!(out, "{}", line.trim_end())
    } else {
        writeln!(out, "{line}  {}{note}{}", marks.faint, marks.end)
    }
}

/// Bytes that may be a part of a password in a field that is none: their number only.
fn hidden(account: &Account<'_>, offset: usize, length: usize, reveal: bool) -> String {
    let bytes = offset
        .checked_add(length)
        .and_then(|end| account.bytes.get(offset..end));
    match bytes {
        Some(bytes) if reveal => bytes.escape_ascii().to_string(),
        Some(_) | None => format!("<{}>", count(length, "byte")),
    }
}

fn write_rest(
    account: &Account<'_>,
    reveal: bool,
    marks: &Marks,
    out: &mut dyn Write,
) -> io::Result<()> {
    let length = account.bytes.len().saturating_sub(account.walked);
    if length == 0 || account.consumed.is_some() {
        return Ok(());
    }
    writeln!(
        out,
        "{:>6}  {:>9}  {:<23}  {:<VALUE_COLUMNS$}  {}unfinished{}",
        account.walked,
        "",
        "",
        hidden(account, account.walked, length, reveal),
        marks.faint,
        marks.end
    )
}

fn note(account: &Account<'_>, field: &Field<'_>, occurrence: usize) -> String {
    let mut notes = Vec::new();
    let length_tag = wire::length_field_of(field.tag).map_or(0, Tag::get);
    match field.framing {
        Framing::Soh => {}
        Framing::Length => notes.push(format!(
            "data: {} by its length ({length_tag}){}",
            count(field.value.len(), "byte"),
            if field.value.reveal().contains(&SOH) {
                ", with SOH in it"
            } else {
                ""
            }
        )),
        Framing::DataBySoh => notes.push(format!(
            "data without a right length ({length_tag}) before it: ended by SOH"
        )),
    }
    let times = account.counts.get(&field.tag.get()).copied().unwrap_or(1);
    if times > 1 {
        let counts = if occurrence == 1 {
            ": this one counts"
        } else {
            ""
        };
        notes.push(format!("{occurrence} of {times}{counts}"));
    }
    if field.value.is_empty() {
        notes.push("empty: no rule matches it".to_owned());
    }
    notes.join("; ")
}

fn write_summary(account: &Account<'_>, marks: &Marks, out: &mut dyn Write) -> io::Result<()> {
    let mark = match account.verdict {
        Verdict::Logon => marks.good,
        Verdict::NotLogon => marks.bad,
        Verdict::NeedMore => "",
    };
    let mut say = |name: &str, mark: &str, text: &str| {
        writeln!(
            out,
            "{name:<12}{mark}{text}{}",
            if mark.is_empty() { "" } else { marks.end }
        )
    };
    say("verdict", mark, account.verdict.label())?;
    say("why", "", &account.why())?;
    let total = account.bytes.len();
    match account.consumed {
        None => say("received", "", &count(total, "byte"))?,
        Some(consumed) if consumed == total => say(
            "message",
            "",
            &format!("{}, all that there is", count(total, "byte")),
        )?,
        Some(consumed) => say(
            "message",
            "",
            &format!(
                "{consumed} of {}; the rest follows it to the engine",
                count(total, "byte")
            ),
        )?,
    }
    if let Some(trailer) = account.trailer {
        let (mark, text) = judged(
            trailer.body_length_ok,
            marks,
            account.body_bytes().map(|right| right.to_string()),
        );
        say("BodyLength", mark, &text)?;
        let (mark, text) = judged(
            trailer.checksum_ok,
            marks,
            account.sum().map(|right| format!("{right:03}")),
        );
        say("CheckSum", mark, &text)?;
    }
    if account.malformed > 0 {
        say("malformed", "", &count(account.malformed, "field"))?;
    }
    for (_, oddity) in account.oddities() {
        say("oddity", "", oddity)?;
    }
    say_gateway(account, marks, &mut say)
}

fn judged(right: bool, marks: &Marks, should_be: Option<String>) -> (&'static str, String) {
    match (right, should_be) {
        (true, _) => (marks.good, "right".to_owned()),
        (false, Some(should_be)) => (
            marks.bad,
            format!("wrong: it should be {should_be}; engines check it, the gateway does not"),
        ),
        (false, None) => (
            marks.bad,
            "missing; engines check it, the gateway does not".to_owned(),
        ),
    }
}

fn say_gateway(
    account: &Account<'_>,
    marks: &Marks,
    say: &mut dyn FnMut(&str, &str, &str) -> io::Result<()>,
) -> io::Result<()> {
    match (account.verdict, &account.refusal) {
        (_, Some(refusal)) => {
            let does = if refusal.reason == Reason::NotFix {
                "closes the connection"
            } else {
                "refuses it"
            };
            let text = format!("{does} ({}): {}", refusal.reason.label(), refusal.detail);
            say("gateway", marks.bad, &text)
        }
        (Verdict::NeedMore, None) => say(
            "gateway",
            "",
            "waits for the rest, at most logonTimeoutMs (10 s unless set)",
        ),
        (Verdict::NotLogon | Verdict::Logon, None) if account.oddities.is_empty() => {
            say("gateway", marks.good, "routes it by its rules")
        }
        (Verdict::NotLogon | Verdict::Logon, None) => say(
            "gateway",
            "",
            "routes it by its rules, unless engines that read the oddities differently would see another route (then ambiguous_field)",
        ),
    }
}

fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}
