//! Does `fixgw parse` say what it should, in every form, and no secret unless told to?
//!
//! Cases are files in `tests/golden/parse`: `NAME.case` holds the options, a line `---`, and the input; `NAME.out` what
//! came of it (`UPDATE=1` rewrites them; review the diff).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use fixgw_operator::parse::{INPUT_BYTES_MAX, ParseArgs, Streams, run_on};
use serde_json::Value;

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: ParseArgs,
}

struct Output {
    code: ExitCode,
    stdout: String,
    stderr: String,
}

impl Output {
    fn exited(&self, code: u8) -> bool {
        format!("{:?}", self.code) == format!("{:?}", ExitCode::from(code))
    }
}

fn parse(options: &[&str], mut input: &[u8]) -> Output {
    let command = Command::try_parse_from(["parse"].iter().chain(options)).unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = run_on(
        &command.args,
        &mut Streams {
            stdin: &mut input,
            stdout: &mut stdout,
            stderr: &mut stderr,
            colour: false,
        },
    );
    Output {
        code,
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parse")
}

fn case_names(extension: &str) -> BTreeSet<String> {
    std::fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn cases_come_out_as_their_files_say() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut differ = Vec::new();
    for name in case_names("case") {
        let case = std::fs::read(golden().join(format!("{name}.case"))).unwrap();
        let line = case.windows(4).position(|bytes| bytes == b"---\n").unwrap();
        let options = std::str::from_utf8(&case[..line]).unwrap();
        let options: Vec<&str> = options.split_whitespace().collect();
        let got = parse(&options, &case[line + 4..]);
        let code = (0..=2).find(|&code| got.exited(code)).unwrap();
        let mut shown = format!("exit code {code}\n");
        for (stream, text) in [("stderr", &got.stderr), ("stdout", &got.stdout)] {
            if !text.is_empty() {
                write!(shown, "--- {stream}\n{text}").unwrap();
            }
        }
        let file = golden().join(format!("{name}.out"));
        if update {
            std::fs::write(&file, &shown).unwrap();
        }
        if std::fs::read_to_string(&file).unwrap_or_default() != shown {
            differ.push(format!("{}:\n{shown}", file.display()));
        }
    }
    assert!(
        differ.is_empty(),
        "UPDATE=1 rewrites:\n{}",
        differ.join("\n")
    );
    assert_eq!(
        case_names("case"),
        case_names("out"),
        "an output without a case"
    );
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../filter/core/testdata/logons.jsonl")
}

/// What the corpus leaves out is said all the same.
fn expected(case: &Value) -> Value {
    let expect = &case["expect"];
    let or = |key: &str, other: Value| expect.get(key).cloned().unwrap_or(other);
    serde_json::json!({
        "id": case["id"],
        "verdict": expect["verdict"],
        "fields": expect["fields"],
        "repeated": or("repeated", serde_json::json!({})),
        "malformed_fields": or("malformed_fields", 0.into()),
        "consumed": or("consumed", Value::Null),
        "body_length_ok": or("body_length_ok", Value::Null),
        "checksum_ok": or("checksum_ok", Value::Null),
    })
}

#[test]
fn the_whole_corpus_is_answered_line_by_line() {
    let file = corpus();
    let got = parse(&["--jsonl", file.to_str().unwrap(), "--reveal"], b"");
    assert!(got.exited(0) && got.stderr.is_empty(), "{}", got.stderr);
    let cases = std::fs::read_to_string(&file).unwrap();
    assert_eq!(cases.lines().count(), got.stdout.lines().count());
    for (case, answer) in cases.lines().zip(got.stdout.lines()) {
        let case: Value = serde_json::from_str(case).unwrap();
        let mut answer: Value = serde_json::from_str(answer).unwrap();
        let reason = answer.as_object_mut().unwrap().remove("reason").unwrap();
        assert_eq!(answer, expected(&case));
        assert_eq!(
            reason.is_null(),
            case["expect"]["verdict"] == "logon",
            "{}",
            case["id"]
        );
        let said = matches!(
            reason.as_str(),
            None | Some("not_fix" | "not_logon" | "incomplete_logon")
        );
        assert!(said, "{reason}");
    }
}

#[test]
fn standard_input_may_hold_the_lines() {
    let file = corpus();
    let from_file = parse(&["--jsonl", file.to_str().unwrap(), "--reveal"], b"");
    let from_stdin = parse(
        &["--jsonl", "-", "--reveal"],
        &std::fs::read(&file).unwrap(),
    );
    assert_eq!(from_file.stdout, from_stdin.stdout);
}

#[test]
fn single_cases_agree_with_the_lines_in_every_format() {
    let cases = std::fs::read_to_string(corpus()).unwrap();
    for case in cases.lines() {
        let case: Value = serde_json::from_str(case).unwrap();
        let hex = case["raw_hex"].as_str().unwrap();
        let raw: Vec<u8> = hex
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        let mut forms = vec![("hex", hex.as_bytes().to_vec()), ("raw", raw.clone())];
        // Where the separator stands for itself somewhere, or blanks are at the ends, text cannot say it.
        if raw.ends_with(&[1])
            && raw.starts_with(b"8=")
            && !raw.contains(&b'|')
            && !raw.contains(&b'^')
        {
            let text = |separator: &[u8]| {
                let parts: Vec<&[u8]> = raw.split(|&byte| byte == 1).collect();
                parts.join(separator)
            };
            forms.push(("pipe", text(b"|")));
            forms.push(("caret", text(b"^A")));
        }
        for (format, input) in forms {
            let got = parse(&["--json", "--reveal", "--format", format], &input);
            let answer: Value = serde_json::from_str(&got.stdout).unwrap();
            let mut expected = expected(&case);
            for (key, value) in expected.as_object_mut().unwrap() {
                if key != "id" {
                    assert_eq!(
                        *value,
                        answer[key.as_str()],
                        "{} as {format}: {key}",
                        case["id"]
                    );
                }
            }
            assert!(got.exited(u8::from(answer["verdict"] != "logon")));
        }
    }
}

/// A value that stands in no output by chance.
const SECRET: &str = "zq9Kestrel";

#[test]
fn no_secret_is_shown_unless_told_to() {
    let logons = [
        format!("8=FIX.4.4|35=A|554={SECRET}|925={SECRET}|10=000|"),
        format!("8=FIX.4.4|35=A|95=10|96={SECRET}|1401=3|1402={SECRET}|89={SECRET}|10=000|"),
        format!("8=FIX.4.4|35=A|554={SECRET}|554={SECRET}2|10=000|"),
        format!(
            "8=FIX.4.4|35=A|0554={SECRET}|554{SECRET}|+554={SECRET}|4294967850={SECRET}|10=000|"
        ),
        format!("8=FIX.4.4|35=A|554={SECRET}"),
        format!("8=FIX.4.4|35=A|95=99|96={SECRET}|10=000|"),
        format!("8=FIX.4.4|35=D|554={SECRET}|10=000|"),
        format!("LOGIN {SECRET}|"),
    ];
    for text in logons {
        let raw = text.replace('|', "\u{1}");
        let hex: String = raw
            .bytes()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let line = format!("{{\"id\":1,\"raw_hex\":\"{hex}\"}}\n");
        let secret_hex: String = SECRET
            .bytes()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let ways: [(&[&str], &str); 7] = [
            (&[], &raw),
            (&[], &text),
            (&[], &hex),
            (&["--json"], &raw),
            (&["--jsonl", "-"], &line),
            (&["--format", "hex"], &text),
            (&["--jsonl", "-"], &text),
        ];
        for (options, input) in ways {
            let got = parse(options, input.as_bytes());
            let all = got.stdout + &got.stderr;
            assert!(
                !all.contains(SECRET) && !all.contains(&secret_hex),
                "{options:?} of {text}:\n{all}"
            );
            assert!(!all.is_empty());
        }
        let revealed = parse(&["--reveal"], raw.as_bytes());
        assert!(
            revealed.stdout.contains(SECRET),
            "--reveal of {text}:\n{}",
            revealed.stdout
        );
    }
}

#[test]
fn a_bad_line_is_named_and_the_others_are_answered() {
    let lines = "{\"id\":\"a\",\"raw_hex\":\"383d\"}\nno JSON\n\n{\"id\":\"b\"}\n{\"id\":\"c\",\"raw_hex\":\"38x\"}\n{\"id\":\"d\",\"raw_hex\":\"383\"}\n{\"raw_hex\":\"38\"}\n\u{ff}\n{\"id\":\"e\",\"raw_hex\":\"\",\"more\":[1]}";
    let got = parse(&["--jsonl", "-", "--reveal"], lines.as_bytes());
    assert!(got.exited(1));
    let ids: Vec<Value> = got
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    assert_eq!(ids, ["a", "e"]);
    let named: Vec<&str> = got
        .stderr
        .lines()
        .map(|line| {
            line.strip_prefix("fixgw parse: line ")
                .unwrap()
                .split(':')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(named, ["2", "4", "5", "6", "7", "8"], "{}", got.stderr);
}

#[test]
fn input_is_bounded_and_says_what_to_do() {
    let much = vec![b'x'; INPUT_BYTES_MAX + 1];
    let got = parse(&[], &much);
    assert!(
        got.exited(2) && got.stderr.contains("head -c"),
        "{}",
        got.stderr
    );
    assert!(parse(&["--format", "raw"], &much[1..]).exited(1));

    let long = format!(
        "{{\"id\":1,\"raw_hex\":\"{}\"}}\n{{\"id\":2,\"raw_hex\":\"38\"}}\n",
        "38".repeat(2 * INPUT_BYTES_MAX)
    );
    let got = parse(&["--jsonl", "-"], long.as_bytes());
    assert!(
        got.exited(1) && got.stderr.contains("line 1: "),
        "{}",
        got.stderr
    );
    assert!(got.stdout.starts_with("{\"id\":2,") && got.stdout.lines().count() == 1);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for options in [["no/such/file"].as_slice(), &["--jsonl", "no/such/file"]] {
        let got = parse(options, b"");
        assert!(
            got.exited(2) && got.stderr.contains("`no/such/file`"),
            "{}",
            got.stderr
        );
    }
}
