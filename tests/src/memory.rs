//! How much memory does a process have, now and at most?

/// A process's memory, from here on.
pub struct Memory {
    name: &'static str,
    pid: u32,
    before_kb: u64,
}

impl Memory {
    /// What this process has now.
    #[must_use]
    pub fn of(name: &'static str, pid: u32) -> Self {
        Self {
            name,
            pid,
            before_kb: status_kb(pid, "VmRSS"),
        }
    }

    /// Which process it is.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it had at the beginning.
    #[must_use]
    pub const fn before_kb(&self) -> u64 {
        self.before_kb
    }

    /// What it has now.
    #[must_use]
    pub fn now_kb(&self) -> u64 {
        status_kb(self.pid, "VmRSS")
    }

    /// The most that it ever had.
    #[must_use]
    pub fn highest_kb(&self) -> u64 {
        status_kb(self.pid, "VmHWM")
    }
}

/// A line of `/proc/PID/status`, in kB.
fn status_kb(pid: u32, line: &str) -> u64 {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(path).expect("the process is there");
    let mut lines = status.lines();
    let found = lines.find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
    let number = found.expect("Linux says it");
    let number = number.trim().trim_end_matches(" kB");
    number.parse().expect("a number of kB")
}
