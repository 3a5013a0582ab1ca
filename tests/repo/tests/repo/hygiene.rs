//! What must not stand in the repository's files?

use std::path::Path;
use std::process::Command;

use fixgw_repo_tests::files;

use crate::none;

/// Lines that hold one of `words`, in every text file but generated ones.
fn lines_with(words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files::all() {
        if file
            .extension()
            .is_some_and(|extension| extension == "lock")
        {
            continue;
        }
        for (number, line) in files::text(&file).unwrap_or_default().lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: `{word}`", file.display(), number + 1));
            }
        }
    }
    found
}

/// The words in two parts, so that this file does not hold them.
fn words(parts: &[(&str, &str)]) -> Vec<String> {
    parts
        .iter()
        .map(|(first, second)| format!("{first}{second}"))
        .collect()
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    let mut paths = words(&[("/ho", "me/"), ("/ro", "ot/"), ("/Us", "ers/")]);
    let here = files::root();
    let here = here.to_str().expect("the path of the repository is UTF-8");
    // Deep enough to be told from a word: a clone in `/src` says nothing.
    if here.matches('/').count() > 1 {
        paths.push(format!("{here}/"));
    }
    none(&lines_with(&paths), "absolute paths");
}

#[test]
fn no_package_registry_is_named() {
    let hosts = words(&[
        ("py", "pi.org"),
        ("pythonhosted", ".org"),
        ("static.crates", ".io"),
        ("index.crates", ".io"),
        ("registry.npmjs", ".org"),
        ("proxy.golang", ".org"),
        ("sum.golang", ".org"),
        ("deb.debian", ".org"),
        ("security.debian", ".org"),
    ]);
    none(
        &lines_with(&hosts),
        "whoever builds this chooses where packages come from",
    );
}

#[test]
fn nothing_refers_to_what_is_not_in_the_repository() {
    none(
        &lines_with(&words(&[("../sha", "red")])),
        "outside of the repository",
    );
}

#[test]
fn nothing_is_left_open() {
    let words = words(&[("TO", "DO"), ("FIX", "ME"), ("#[ign", "ore")]);
    none(&lines_with(&words), "left open");
}

#[test]
fn every_rust_module_begins_with_its_question() {
    let found: Vec<String> = files::under("", "rs")
        .into_iter()
        .filter(|file| !files::text(file).is_some_and(|text| text.starts_with("//!")))
        .map(|file| file.display().to_string())
        .collect();
    none(&found, "modules that do not begin with `//!`");
}

#[test]
fn shell_scripts_are_well_formed() {
    let scripts: Vec<_> = files::all()
        .into_iter()
        .filter(|file| is_shell(file))
        .collect();
    assert!(!scripts.is_empty(), "there is no shell script");
    let mut found = Vec::new();
    for script in scripts {
        let output = Command::new("bash")
            .arg("-n")
            .arg(files::root().join(&script))
            .output()
            .expect("bash reads a script");
        if !output.status.success() {
            found.push(format!(
                "{}: {}",
                script.display(),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        let text = files::text(&script).expect("a script is text");
        let is_run = text.starts_with("#!");
        if is_run
            && script.starts_with("scripts")
            && !text.contains("set -euo pipefail")
            && !text.contains("set -uo pipefail")
        {
            found.push(format!(
                "{}: goes on after a command that failed: `set -euo pipefail`",
                script.display()
            ));
        }
        if is_run && !is_executable(&files::root().join(&script)) {
            found.push(format!("{}: is not executable", script.display()));
        }
    }
    none(&found, "shell scripts");
}

fn is_shell(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "sh")
        || files::text(file).is_some_and(|text| {
            text.lines()
                .next()
                .is_some_and(|line| line.starts_with("#!") && line.ends_with("sh"))
        })
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .expect("a listed file is there")
        .permissions()
        .mode()
        & 0o111
        != 0
}
