//! Where does a comparison run, so that nothing disturbs it and nothing of it stays behind?
//!
//! In new namespaces: a network of its own, with all ports and room for thousands of connections that come at once, and processes of its own,
//! which the kernel ends with the first of them, however that ends. That needs no rights. One processor is the subject's; the load
//! generator and the engines, which are this process, have another.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Set where the namespaces are there.
const INSIDE: &str = "FIXGW_BENCH_INSIDE";

/// What the first process does: waits for the comparison, and ends at a signal.
const FIRST: &str = "trap 'exit 130' INT TERM HUP; \"$0\" \"$@\" & wait $!";

/// What the network of its own is told: ports enough that none comes again within a minute, and room for a storm.
const NETWORK: [(&str, &str); 3] = [
    ("net/ipv4/ip_local_port_range", "10000 65535"),
    ("net/core/somaxconn", "16384"),
    ("net/ipv4/tcp_max_syn_backlog", "16384"),
];

/// Which processor is whose.
#[derive(Clone, Debug)]
pub struct Cores {
    /// The load generator's and the engines'.
    pub generator: usize,
    /// The subject's.
    pub subject: Vec<usize>,
}

impl Cores {
    /// Both.
    #[must_use]
    pub fn all(&self) -> Vec<usize> {
        [&[self.generator], &self.subject[..]].concat()
    }
}

/// Goes on in namespaces of its own. It becomes another process image, so this is the first thing that it does.
pub fn enter() {
    if std::env::var_os(INSIDE).is_some() {
        set_up();
        return;
    }
    let this = std::env::current_exe().expect("a running program has a file");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount"]);
    // `unshare` itself may be killed: what it started asks to be killed then.
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    // The first process of a namespace hears no signal that it does not ask for, so a shell asks; all others end with it.
    command.args(["sh", "-c", FIRST]).arg(this);
    command.args(std::env::args_os().skip(1));
    let error = command.env(INSIDE, "yes").exec();
    panic!("`unshare` cannot be run: {error}");
}

fn set_up() {
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(
        up.is_ok_and(|status| status.success()),
        "`ip link set lo up` works in a network of one's own: is iproute2 installed?"
    );
    for (name, value) in NETWORK {
        std::fs::write(format!("/proc/sys/{name}"), value)
            .unwrap_or_else(|error| panic!("{name} of a network of one's own: {error}"));
    }
    fixgw_e2e::socket::raise_open_files();
}

/// Takes the first processor for this process and all threads that it starts from now on; the last ones, so many of them, are the
/// subject's.
#[must_use]
pub fn take_cores(subject: usize) -> Cores {
    let all = sched_getaffinity(None).expect("Linux says which processors there are");
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| all.is_set(*cpu))
        .collect();
    assert!(
        subject > 0 && subject < allowed.len(),
        "a comparison needs a processor for itself and {subject} for the subject: this process may use {}",
        allowed.len()
    );
    let mut mine = CpuSet::new();
    mine.set(allowed[0]);
    sched_setaffinity(None, &mine).expect("a process may have fewer processors");
    Cores {
        generator: allowed[0],
        subject: allowed[allowed.len() - subject..].to_vec(),
    }
}
