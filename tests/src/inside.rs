//! How does a test get a network and a mount view of its own, without being root?
//!
//! It runs a second time, as a program of its own, in new namespaces in which it is root: there it adds addresses, mounts what pods see,
//! and takes the same ports as the test beside it. All of it, the programs too, is gone when that program ends.

use std::env;
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, Stream};

/// Set where the namespaces are there.
const INSIDE: &str = "FIXGW_E2E_INSIDE";

/// How long one test may take in there. Each of its waits has a bound of its own; this one is for what waits for nothing.
const TEST_TIME_MAX: Duration = Duration::from_mins(15);

/// The name of the bridge between the pods.
pub(crate) const BRIDGE: &str = "pods";

/// The address of the test itself, and so of the API server and the counterparties.
pub const HOST: &str = "10.77.0.1";

/// Runs the test in namespaces of its own. To be all that the test function does, because it is by that function's name that it is found.
pub fn inside<F: FnOnce()>(test: F) {
    if env::var_os(INSIDE).is_some() {
        set_up();
        return test();
    }
    // `kubernetes::file::test::{{closure}}`
    let name = std::any::type_name::<F>()
        .trim_end_matches("::{{closure}}")
        .split_once("::")
        .map(|(_, name)| name)
        .expect("a test is a function in a crate");
    let this = env::current_exe().expect("a running program has a file");
    let process = Process::start("the test inside", "unshare", |command| {
        arrange(command, &this);
        command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    });
    let status = process.wait_exit_within(TEST_TIME_MAX);
    let said = String::from_utf8_lossy(&process.output().bytes()).into_owned();
    assert!(
        status.success(),
        "{name} failed in namespaces of its own ({status}):\n{said}"
    );
    // A name that is none runs nothing, and that succeeds.
    let out = process.output().text(Stream::Out);
    assert!(
        out.contains("test result: ok. 1 passed"),
        "no test is named {name}:\n{said}"
    );
}

/// For a program: goes on in namespaces of its own. It becomes another process image, so this is the first thing that it does.
pub fn enter() {
    if env::var_os(INSIDE).is_some() {
        return set_up();
    }
    let this = env::current_exe().expect("a running program has a file");
    let mut command = Command::new("unshare");
    arrange(&mut command, &this);
    let error = command.args(env::args_os().skip(1)).exec();
    panic!("`unshare` cannot be run: {error}");
}

fn arrange(command: &mut Command, program: &Path) {
    command.args(["--user", "--map-root-user", "--net", "--mount", "--uts"]);
    // What asked for the signal before the namespaces may have lost it by them.
    command
        .args(["--", "setpriv", "--pdeathsig", "KILL", "--"])
        .arg(program);
    command.env(INSIDE, "yes");
}

fn set_up() {
    ip(&["link", "set", "lo", "up"]);
    ip(&["link", "add", BRIDGE, "type", "bridge"]);
    ip(&["addr", "add", &format!("{HOST}/16"), "dev", BRIDGE]);
    ip(&["link", "set", BRIDGE, "up"]);
}

/// From now on the test has this address, too.
pub fn add_address(address: IpAddr) {
    ip(&["addr", "add", &format!("{address}/16"), "dev", BRIDGE]);
}

/// From now on nothing that the test itself sends from this port reaches this address, and nobody is told.
pub fn lose_packets(port: u16, to: IpAddr) {
    ip(&[&["rule", "add"][..], &words(&swallowed(port, to))].concat());
}

/// From now on it does.
pub fn find_packets(port: u16, to: IpAddr) {
    ip(&[&["rule", "del"][..], &words(&swallowed(port, to))].concat());
}

fn swallowed(port: u16, to: IpAddr) -> String {
    format!("to {to} ipproto tcp sport {port} blackhole")
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Changes the network of the test.
pub(crate) fn ip(arguments: &[&str]) {
    let done = Command::new("ip")
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!("`ip` cannot be run ({error}): `scripts/setup kubernetes` installs it")
        });
    assert!(
        done.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stderr)
    );
}
