//! What does `fixgw check` say of a directory, and with which exit code?

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn case(name: &str) -> PathBuf {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pipeline");
    cases.join(name).join("input")
}

/// Exit code, and what stands on standard output and standard error.
fn check(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fixgw"))
        .arg("check")
        .arg(directory)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| {
        let shown = directory.display().to_string();
        String::from_utf8(bytes).unwrap().replace(&shown, "rules")
    };
    let (out, error) = (text(output.stdout), text(output.stderr));
    (output.status.code().unwrap(), out, error)
}

#[test]
fn a_directory_that_a_gateway_would_take_is_one_line() {
    let (code, out, error) = check(&case("all_kinds_of_routes"), &["--deny-warnings"]);
    assert_eq!((code, &*error), (0, ""));
    assert_eq!(out, "5 routes: 0 errors, 0 warnings\n");
}

#[test]
fn a_conflict_is_told_with_its_proof_and_with_nothing_that_is_redacted() {
    let (code, out, _) = check(&case("conflict_of_overlaps"), &[]);
    assert_eq!(code, 1);
    let line = "rules/a.yaml:6:5: CRITICAL: FIXSession trading/desk: spec.matchFields: and FIXSession trading/broker take the \
                same Logon with equally many fields, TargetSubID57 here and SenderCompID49 there: 35=A|49=BROKER_A|57=DESK_7|; \
                give one of them one more field, or say who shall have it by a route with SenderCompID49 and TargetSubID57; \
                FIXSession trading/broker is at rules/a.yaml:14:5\n";
    assert!(out.contains(line), "{out}");
    assert!(out.ends_with("9 routes: 7 errors, 0 warnings\n"), "{out}");
    assert!(!out.contains("SECRET"), "{out}");
    assert!(!out.contains("in force"), "nothing runs here: {out}");
}

#[test]
fn warnings_count_only_when_they_are_denied() {
    let directory = case("targets_that_do_not_resolve");
    let (code, out, _) = check(&directory, &[]);
    assert_eq!(code, 0);
    assert!(out.ends_with("5 routes: 0 errors, 5 warnings\n"), "{out}");
    assert_eq!(check(&directory, &["--deny-warnings"]).0, 1);
}

#[test]
fn each_finding_is_a_json_line_and_the_counts_come_last() {
    let (code, out, _) = check(&case("bad_values"), &["--json"]);
    assert_eq!(code, 1);
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (last, findings) = lines.split_last().unwrap();
    assert_eq!(last["event"], "checked");
    assert_eq!(last["errors"], findings.len());
    for finding in findings {
        assert_eq!(finding["event"], "object");
        assert!(
            finding["line"].is_u64() && finding["message"].is_string(),
            "{finding}"
        );
    }
}

#[test]
fn an_empty_directory_says_so_and_none_is_another_exit_code() {
    let empty = tempfile::tempdir().unwrap();
    let (code, out, _) = check(empty.path(), &[]);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "rules: WARN: there is no FIXSession here, so no route; files end with `.yaml` or `.yml`\n\
         0 routes: 0 errors, 1 warning\n"
    );
    let (code, out, error) = check(&empty.path().join("none"), &[]);
    assert_eq!((code, &*out), (2, ""));
    assert!(error.starts_with("fixgw: "), "{error}");
}
