//! What do the commands that look once and end say? A case is a directory of files and the commands that are run in it;
//! what they print, and their exit codes, are compared with `expected.txt`.
//!
//! `UPDATE=1 cargo test -p fixgw-operator --test commands` rewrites what differs. A line of the file `commands` is
//! arguments of `fixgw`, with `< FILE` at its end for standard input. Times are left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

fn cases() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/commands");
    let mut cases: Vec<PathBuf> = fs::read_dir(all)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    cases
}

/// Runs one line in a case; gives standard output, standard error and the exit code.
fn run(case: &Path, line: &str) -> (String, String, i32) {
    let (arguments, stdin) = match line.split_once(" < ") {
        Some((arguments, file)) => (arguments, Some(case.join(file))),
        None => (line, None),
    };
    let output = Command::new(env!("CARGO_BIN_EXE_fixgw"))
        .args(arguments.split(' '))
        .current_dir(case)
        .stdin(stdin.map_or_else(Stdio::null, |file| fs::File::open(file).unwrap().into()))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is text");
    (
        without_time(&text(output.stdout)),
        text(output.stderr),
        output.status.code().unwrap(),
    )
}

/// JSON lines without what differs from run to run.
fn without_time(out: &str) -> String {
    let line = |line: &str| match line.find("\"time\":\"") {
        Some(start) => {
            let (before, rest) = line.split_at(start);
            let end = rest.find(',').unwrap();
            let (_, after) = rest.split_at(end + 1);
            format!("{before}{after}\n")
        }
        None => format!("{line}\n"),
    };
    out.lines().map(line).collect()
}

fn told(case: &Path) -> String {
    let mut told = String::new();
    for line in fs::read_to_string(case.join("commands")).unwrap().lines() {
        let (out, error, code) = run(case, line);
        writeln!(told, "$ fixgw {line}").unwrap();
        told += &out;
        for line in error.lines() {
            writeln!(told, "[stderr] {line}").unwrap();
        }
        writeln!(told, "[exit {code}]\n").unwrap();
    }
    told
}

#[test]
fn each_command_says_what_is_expected() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let found = told(&case);
        let expected = case.join("expected.txt");
        if fs::read_to_string(&expected).ok().as_ref() == Some(&found) {
            continue;
        }
        if update {
            fs::write(&expected, found).unwrap();
        } else {
            wrong.push(format!("{}:\n{found}", expected.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "differ; UPDATE=1 rewrites:\n{}",
        wrong.join("\n")
    );
}

/// No case's redacted or hidden values are told, in whatever form, unless they are asked for. They all hold `SECRET`.
#[test]
fn nothing_that_is_redacted_is_told_unless_it_is_asked_for() {
    for case in cases() {
        for line in fs::read_to_string(case.join("commands")).unwrap().lines() {
            let (out, error, _) = run(&case, line);
            let told = out.contains("SECRET") || error.contains("SECRET");
            let asked = line.contains("--reveal");
            assert!(
                !told || asked,
                "{}: fixgw {line}: {out}{error}",
                case.display()
            );
        }
    }
}

/// Reads a schema from a file, and logs from standard input, one a line.
const VALIDATOR: &str = "
import json, sys, fastjsonschema
valid = fastjsonschema.compile(json.load(open(sys.argv[1])))
for line in sys.stdin:
    valid(json.loads(line))
";

/// The schema is OASIS's, of SARIF 2.1.0.
#[test]
fn every_sarif_log_keeps_to_its_schema() {
    let mut logs: Vec<Value> = Vec::new();
    for case in cases() {
        for line in fs::read_to_string(case.join("commands")).unwrap().lines() {
            if line.contains("sarif") {
                let (out, _, _) = run(&case, line);
                logs.push(serde_json::from_str(&out).unwrap());
            }
        }
    }
    assert!(logs.len() >= 3, "only {} logs are looked at", logs.len());
    assert_eq!(validated(&logs), Ok(()));
    logs[0]["runs"][0]["results"] = serde_json::json!([{ "level": "fatal" }]);
    assert!(validated(&logs).is_err(), "the schema refuses nothing");
}

fn validated(logs: &[Value]) -> Result<(), String> {
    let schema =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/sarif-schema-2.1.0.json");
    let python = std::env::var_os("FIXGW_PYTHON").expect("tests run through scripts/env");
    let lines: Vec<String> = logs.iter().map(Value::to_string).collect();
    let mut validator = Command::new(python)
        .args(["-c", VALIDATOR])
        .arg(schema)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    validator
        .stdin
        .take()
        .unwrap()
        .write_all(lines.join("\n").as_bytes())
        .unwrap();
    let output = validator.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
