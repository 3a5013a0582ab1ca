//! How much processor time has somebody had, and how much memory has he?
//!
//! From `/proc`. Of a process, all threads count, to the nanosecond; softirqs, in which loopback connections do much of their work, are
//! counted to whom they interrupt, which is who sent.

use std::path::Path;
use std::time::Duration;

/// Processor time of these processes so far.
///
/// # Panics
/// One of them has ended: what it used would be missing.
#[must_use]
pub fn of_processes(pids: &[u32]) -> Duration {
    let of =
        |pid: &u32| of_tasks(*pid).expect("the processes of a subject run while it is looked at");
    pids.iter().map(of).sum()
}

fn of_tasks(pid: u32) -> Option<Duration> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let tasks = tasks.filter_map(Result::ok);
    Some(tasks.map(|task| ran(&task.path())).sum())
}

fn ran(task: &Path) -> Duration {
    let schedule = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let ran = schedule.split_ascii_whitespace().next();
    Duration::from_nanos(ran.and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// How long these processors had nothing to do so far, in all: the kernel measures it, and tells hundredths of a second. What the machine
/// below this one took away is no part of it.
#[must_use]
pub fn idle(cores: &[usize]) -> Duration {
    let all = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    cores.iter().map(|core| idle_of(&all, *core)).sum()
}

fn idle_of(all: &str, core: usize) -> Duration {
    let name = format!("cpu{core} ");
    let line = all.lines().find_map(|line| line.strip_prefix(&name));
    // Behind user, nice and system stand idle and iowait.
    let fields = line
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(3)
        .take(2);
    let hundredths: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * hundredths)
}

/// Processor time so far of everybody in these namespaces: the comparison itself and all subjects. One that has ended has none.
#[must_use]
pub fn of_everybody_here() -> Duration {
    all().into_iter().filter_map(of_tasks).sum()
}

/// Memory of these processes in KiB, what they share counted once (PSS).
#[must_use]
pub fn memory_kb(pids: &[u32]) -> u64 {
    let of = |pid: &u32| field(&format!("/proc/{pid}/smaps_rollup"), "Pss:");
    pids.iter().map(of).sum()
}

/// The most memory that these processes have had since [`forget_peaks`], in KiB (RSS, what they share counted for each).
#[must_use]
pub fn peak_kb(pids: &[u32]) -> u64 {
    let of = |pid: &u32| field(&format!("/proc/{pid}/status"), "VmHWM:");
    pids.iter().map(of).sum()
}

/// From now on [`peak_kb`] counts anew.
pub fn forget_peaks(pids: &[u32]) {
    for pid in pids {
        // One that has ended has no peak.
        let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

fn field(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_ascii_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The processes of a process group.
#[must_use]
pub fn group(leader: u32) -> Vec<u32> {
    let mut found = all();
    found.retain(|pid| group_of(*pid) == Some(leader));
    found.sort_unstable();
    found
}

fn all() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.collect()
}

fn group_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold blanks; behind it are state, parent, group. A zombie has no memory or time.
    let mut rest = stat.rsplit(") ").next()?.split(' ');
    (rest.next()? != "Z").then_some(())?;
    rest.nth(1)?.parse().ok()
}
