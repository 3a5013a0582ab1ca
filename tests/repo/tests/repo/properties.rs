//! Do docs/properties.md and docs/failure-modes.md name tests that exist?

use std::collections::BTreeSet;
use std::path::Path;

use fixgw_repo_tests::{files, paths};

use crate::none;

const DOCUMENT: &str = "docs/properties.md";
const FAILURES: &str = "docs/failure-modes.md";
/// Where the tests of our crates lie: those of the sources, and each directory of test programs. In the first kind of program every
/// file is one, in the second all files are one, of the directory's name.
const PLACES: &[(&str, &str)] = &[
    ("fixgw-core", "filter/core"),
    ("fixgw-operator", "xds-operator"),
    ("fixgw-reject-engine", "reject-engine"),
    ("fixgw-fuzz", "tests/fuzz"),
];
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("fixgw-e2e", "e2e", "tests/e2e"),
    ("fixgw-e2e", "faults", "tests/faults"),
    ("fixgw-repo-tests", "repo", "tests/repo/tests/repo"),
];

/// The functions of a file with a `test` attribute.
fn tests_of(text: &str) -> Vec<&str> {
    let mut is_test = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, after)) = line.split_once("fn ")
            && is_test
        {
            found.extend(after.split(['(', '<']).next());
            is_test = false;
        }
    }
    found
}

/// Every test, as `cargo test -p` takes it.
fn all() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let text = |file: &Path| files::text(file).expect("a source file is text");
    for (name, directory) in PLACES {
        let sources = format!("{directory}/src");
        for file in files::under(&sources, "rs") {
            let mut module = paths::module(&file, &sources);
            if module.last().is_none_or(|last| last != "tests") {
                module.push("tests".to_owned());
            }
            let module = module.join("::");
            all.extend(
                tests_of(&text(&file))
                    .iter()
                    .map(|test| format!("{name} {module}::{test}")),
            );
        }
        let programs = format!("{directory}/tests");
        for file in files::under(&programs, "rs") {
            if file.parent() != Some(Path::new(&programs)) {
                continue;
            }
            let program = file.file_stem().and_then(|stem| stem.to_str());
            let program = program.expect("file names are UTF-8");
            all.extend(
                tests_of(&text(&file))
                    .iter()
                    .map(|test| format!("{name} --test {program} {test}")),
            );
        }
    }
    for (name, program, directory) in PROGRAMS {
        for file in files::under(directory, "rs") {
            let module = paths::module(&file, directory).join("::");
            all.extend(
                tests_of(&text(&file))
                    .iter()
                    .map(|test| format!("{name} --test {program} {module}::{test}")),
            );
        }
    }
    all
}

/// The tests that a line names.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.starts_with("fixgw-") && code.contains(' '))
}

#[test]
fn every_law_has_a_test_that_exists() {
    let document = files::text(DOCUMENT.as_ref()).expect("the document is text");
    let all = all();
    let mut found = Vec::new();
    let mut laws = 0;
    let mut is_law = false;
    for (number, line) in document.lines().enumerate() {
        if line.starts_with('#') {
            is_law = false;
        } else if line.starts_with("| law ") {
            is_law = true;
        } else if is_law && line.starts_with("| ") && !line.starts_with("| --") {
            laws += 1;
            if named(line).next().is_none() {
                found.push(format!("{DOCUMENT}:{}: a law without a test", number + 1));
            }
        }
        for test in named(line).filter(|test| !all.contains(*test)) {
            found.push(format!("{DOCUMENT}:{}: there is no `{test}`", number + 1));
        }
    }
    assert!(laws > 40, "{DOCUMENT} has {laws} laws");
    none(&found, "laws");
}

/// The tests that a line of [`FAILURES`] names: those of the end-to-end program by module and name alone.
fn shown_by(line: &str) -> impl Iterator<Item = String> {
    let codes = line.split('`').skip(1).step_by(2);
    codes.filter(|code| code.contains("::")).map(|code| {
        if code.contains(' ') {
            code.to_owned()
        } else {
            format!("fixgw-e2e --test e2e {code}")
        }
    })
}

#[test]
fn every_failure_has_a_test_that_exists() {
    let document = files::text(FAILURES.as_ref()).expect("the document is text");
    let all = all();
    let mut found = Vec::new();
    let mut failures = 0;
    let mut is_failure = false;
    for (number, line) in document.lines().enumerate() {
        let place = format!("{FAILURES}:{}", number + 1);
        if line.starts_with("| what fails ") {
            is_failure = true;
        } else if !line.starts_with('|') {
            is_failure = false;
        } else if is_failure && !line.starts_with("| --") {
            failures += 1;
            let last = line.trim_end_matches(['|', ' ']).rsplit(" | ").next();
            let shown = shown_by(last.unwrap_or_default()).next().is_some();
            if !shown && !last.unwrap_or_default().starts_with("the same") {
                found.push(format!("{place}: a failure without a test"));
            }
        }
        for test in shown_by(line).filter(|test| !all.contains(test)) {
            found.push(format!("{place}: there is no `{test}`"));
        }
    }
    assert!(failures > 20, "{FAILURES} has {failures} failures");
    none(&found, "failures");
}

#[test]
fn tests_and_their_names_are_read() {
    let text = "#[test]\nfn a() {}\n fn b() {}\n#[tokio::test(flavor = \"x\")]\n#[cfg(x)]\nasync fn c() {}\n    #[test]\n    fn d(x in y()) {}";
    assert_eq!(tests_of(text), ["a", "c", "d"]);
    assert_eq!(
        named("| x `y` `fixgw-core a::b`: `fixgw check`, `fixgw-e2e --test e2e c::d` |")
            .collect::<Vec<_>>(),
        ["fixgw-core a::b", "fixgw-e2e --test e2e c::d"]
    );
    assert!(
        all().contains("fixgw-repo-tests --test repo properties::tests_and_their_names_are_read")
    );
}
