//! What do commands say of input that is too much, or mostly good?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

fn check(paths: &[&Path]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fixgw"))
        .arg("check")
        .args(paths)
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), out)
}

fn session(name: &str, sender: &str) -> String {
    format!(
        "apiVersion: fixgateway.io/v1alpha1\nkind: FIXSession\nmetadata: {{ name: {name} }}\nspec:\n  \
         matchFields: {{ SenderCompID49: {{ value: {sender} }} }}\n  target: {{ service: {{ name: s, port: 1 }} }}\n"
    )
}

#[test]
fn of_ten_thousand_files_the_three_broken_ones_are_named_and_the_others_checked() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..10_000 {
        let text = match number {
            17 => "apiVersion: [\n".to_owned(),
            4_711 => session("s4711", "7"),
            9_999 => session("s9999", "BROKER_0"),
            _ => session(&format!("s{number}"), &format!("BROKER_{number}")),
        };
        let file = directory.path().join(format!("{number:05}.yaml"));
        fs::write(file, text).unwrap();
    }
    let (code, out) = check(&[directory.path()]);
    assert_eq!(code, 1);
    let errors: Vec<&str> = out
        .lines()
        .filter(|line| line.contains(": ERROR: ") || line.contains(": CRITICAL: "))
        .collect();
    for (file, what) in [
        ("00017.yaml", "is not valid YAML here"),
        ("04711.yaml", "put it in quotes"),
        (
            "09999.yaml",
            "takes the same Logons as FIXSession default/s0",
        ),
    ] {
        let told = |line: &&&str| line.contains(file) && line.contains(what);
        assert_eq!(errors.iter().filter(told).count(), 1, "{file}: {errors:?}");
    }
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(out.ends_with("9998 routes: 3 errors, 1 warning\n"), "{out}");
}

#[test]
fn a_file_of_a_hundred_megabytes_is_refused_with_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let large = directory.path().join("large.yaml");
    fs::File::create(&large)
        .unwrap()
        .set_len(100_000_000)
        .unwrap();
    fs::write(directory.path().join("a.yaml"), session("a", "A")).unwrap();
    for paths in [vec![directory.path()], vec![&*large]] {
        let (code, out) = check(&paths);
        assert_eq!(code, 1);
        assert!(
            out.contains("large.yaml: ERROR: is larger than 16777216 bytes; split it\n"),
            "{out}"
        );
    }
}

#[test]
fn more_than_a_directory_may_hold_is_refused_with_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..3 {
        let file = directory.path().join(format!("{number}.yaml"));
        fs::File::create(file)
            .unwrap()
            .set_len(100_000_000)
            .unwrap();
    }
    let (code, out) = check(&[directory.path()]);
    assert_eq!(code, 1);
    assert!(out.contains("or 268435456 bytes of YAML"), "{out}");
}

#[test]
fn what_is_printed_to_nobody_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..5_000 {
        let file = directory.path().join(format!("{number}.yaml"));
        fs::write(file, "apiVersion: [\n").unwrap();
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_fixgw"))
        .arg("check")
        .arg(directory.path())
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1), "it was checked all the same");
}
