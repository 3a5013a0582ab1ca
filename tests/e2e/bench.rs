//! Does the comparison with peers work? What it says is for people, and for a quiet machine.

use std::time::Duration;

use fixgw_e2e::process::Process;
use fixgw_e2e::tool;
use tempfile::TempDir;

/// How long its shortest form may take where many tests run.
const TIME_MAX: Duration = Duration::from_mins(2);

/// What is in `results.csv` after the shortest comparison of these, and in README.md.
fn compared(arguments: &[&str]) -> (String, String) {
    let out = TempDir::with_prefix("fixgw-e2e-").unwrap();
    let program = tool::program("fixgw-bench-peers");
    let comparison = Process::start("the comparison", program, |command| {
        command.args(["--scale", "smoke"]).args(arguments);
        command.arg("--out").arg(out.path());
    });
    let status = comparison.wait_exit_within(TIME_MAX);
    let said = String::from_utf8_lossy(&comparison.output().bytes()).into_owned();
    assert!(status.success(), "{status}: {said}");
    let written = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
    (written("results.csv"), written("README.md"))
}

#[test]
fn the_shortest_comparison_compares_a_gateway_with_plain_envoy() {
    let (results, page) = compared(&[]);
    for figure in [
        "messages,\"150 B, 16 sessions\",gateway,CPU per message,µs,",
        "messages,\"150 B, 16 sessions\",direct,p99.9,µs,",
        "connects,10 rules,gateway,CPU per connect + Logon,µs,",
        "connects,10 rules,Envoy,errors,,1,0,0,0",
        "connects,10 rules,gateway,errors,,1,0,0,0",
        "messages,\"150 B, 16 sessions\",gateway,errors,,1,0,0,0",
    ] {
        assert!(results.contains(figure), "no `{figure}` in {results}");
    }
    assert!(!page.contains('@'), "all places are filled: {page}");
}

#[test]
fn every_setting_of_envoys_that_can_be_compared_lets_counterparties_log_on() {
    let (results, _) = compared(&["--tuned", "--table", "connects"]);
    for subject in [
        "Envoy",
        "\"Envoy, 2 workers\"",
        "\"Envoy, 2 workers, by hash\"",
        "\"Envoy, 2 workers, one socket\"",
        "\"Envoy, 2 workers, pinned\"",
        "gateway",
        "\"gateway, 2 workers\"",
    ] {
        let figure = format!("connects,10 rules,{subject},errors,,1,0,0,0");
        assert!(results.contains(&figure), "no `{figure}` in {results}");
    }
}
