//! On which machine was a run made, when, and of which revision?

use std::fmt::Write as _;
use std::process::Command;

/// What is told of any run, a row each: its name, and what it is.
#[must_use]
pub fn of_run(command: &str, seconds: u64) -> Vec<(String, String)> {
    let rows = [
        ("command", format!("`{command}`")),
        ("date", said("date", &["-u", "+%Y-%m-%d"])),
        ("took", format!("{} min", seconds.div_ceil(60))),
        ("revision", revision()),
        ("machine", machine()),
        ("kernel", said("uname", &["-sr"])),
    ];
    rows.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The rows, as Markdown.
#[must_use]
pub fn table(rows: &[(String, String)]) -> String {
    let mut text = "| | |\n| --- | --- |\n".to_owned();
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

fn revision() -> String {
    let root = fixgw_e2e::tool::repository().display().to_string();
    // In a user namespace the clone may seem to be somebody else's.
    let of = |arguments: &[&str]| {
        let here = ["-c", "safe.directory=*", "-C", &root];
        said("git", &[&here, arguments].concat())
    };
    let revision = of(&["rev-parse", "--short=12", "HEAD"]);
    // What a run writes is no change of what it measured.
    let sources = [
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ".",
        ":!docs/benchmarks",
    ];
    let changed = !of(&sources).is_empty();
    if changed {
        format!("{revision}, with changes")
    } else {
        revision
    }
}

fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |name: &str| -> Vec<&str> {
        let lines = text.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.split_once(": "));
        values.map(|(_, value)| value.trim()).collect()
    };
    let models = of("model name");
    let model = models.first().copied().unwrap_or("unknown");
    let is_guest = |flags: &&str| flags.split(' ').any(|flag| flag == "hypervisor");
    let guest = of("flags").first().is_some_and(is_guest);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kb = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kb = kb.and_then(|kb| kb.trim().trim_end_matches(" kB").parse::<u64>().ok());
    format!(
        "{} × {model}{}, {} GiB",
        models.len(),
        if guest { " (a virtual machine)" } else { "" },
        kb.unwrap_or(0).div_ceil(1_024 * 1_024)
    )
}
