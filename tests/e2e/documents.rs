//! Does every command in the documents work?
//!
//! Every `sh` block of the README, `docs/`, `examples/` and `crds/` is run from the top of the repository, with two changes:
//! fixed ports become free ones, and what runs until Ctrl-C gets its Ctrl-C once it is ready. `make` targets, which run
//! this test among others, are asked for what they would do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixgw_e2e::process::Process;
use fixgw_e2e::tool;
use rustix::process::Signal;

/// Ports that the documents name, for people.
const PORTS: [&str; 4] = [":9878", "\\\":9901", "\\\":9902", ":18000"];

/// A block of commands: the document, the line of its first command, its text.
type Block = (PathBuf, usize, String);

fn documents() -> Vec<PathBuf> {
    let root = tool::repository();
    let mut found = vec![root.join("README.md")];
    let mut directories = ["docs", "examples", "crds"]
        .map(|name| root.join(name))
        .to_vec();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn blocks(document: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(document).unwrap();
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim()) {
            (None, "```sh") => open = Some((number + 2, String::new())),
            (Some((start, block)), "```") => {
                found.push((document.to_owned(), *start, std::mem::take(block)));
                open = None;
            }
            (Some((_, block)), _) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

/// The block with free ports.
fn with_free_ports(block: &str) -> String {
    PORTS.iter().fold(block.to_owned(), |block, port| {
        let (before, _) = port.split_at(port.find(|c: char| c.is_ascii_digit()).unwrap());
        block.replace(port, &format!("{before}0"))
    })
}

fn shell(block: &str, home: &Path) -> Command {
    let mut command = Command::new("bash");
    arrange(&mut command, block, home);
    command
}

fn arrange(command: &mut Command, block: &str, home: &Path) {
    command.args(["-euo", "pipefail", "-c", block]);
    command
        .current_dir(tool::repository())
        .env("XDG_STATE_HOME", home);
}

#[test]
fn every_command_in_the_documents_works() {
    let home = tempfile::TempDir::with_prefix("fixgw-e2e-").unwrap();
    let all: Vec<Block> = documents()
        .iter()
        .flat_map(|document| blocks(document))
        .collect();
    assert!(all.len() >= 4, "the documents have commands: {}", all.len());
    for (document, line, block) in all {
        let place = format!("{}:{line}", document.display());
        let block = with_free_ports(&block);
        if block.lines().all(|line| line.starts_with("make ")) {
            let targets = block
                .lines()
                .filter_map(|line| line.split_whitespace().nth(1));
            for target in targets {
                let mut asked = Command::new("make");
                asked
                    .args(["--dry-run", target])
                    .current_dir(tool::repository())
                    .stdout(Stdio::null());
                assert!(asked.status().unwrap().success(), "{place}: make {target}");
            }
        } else if ["fixgw up", "fixgw control"]
            .iter()
            .any(|long| block.contains(long))
        {
            runs_until_interrupted(&place, &block, home.path());
        } else {
            let output = shell(&block, home.path())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "{place} ended with {}: {said}",
                output.status
            );
        }
    }
}

/// The last command of the block becomes the program, so that the interrupt reaches it.
fn runs_until_interrupted(place: &str, block: &str, home: &Path) {
    let (before, last) = block
        .trim_end()
        .rsplit_once('\n')
        .unwrap_or(("", block.trim_end()));
    let block = format!("{before}\nexec {last}");
    let process = Process::start(place, "bash", |command| arrange(command, &block, home));
    process.wait_line(if block.contains("fixgw up") {
        "ready"
    } else {
        "is published"
    });
    process.signal(Signal::INT);
    assert!(process.wait_exit().success(), "{place}");
}

#[test]
fn every_command_tells_its_flags_with_examples() {
    for command in [
        "up", "control", "gateway", "drain", "status", "check", "explain", "diff", "parse",
    ] {
        let help = Command::new(tool::program("fixgw"))
            .args([command, "--help"])
            .output()
            .unwrap();
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(
            help.contains("Examples:") && help.contains("Exit codes"),
            "{command}: {help}"
        );
    }
}
