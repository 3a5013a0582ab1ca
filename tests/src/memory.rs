//! How much memory does a process have, now and at most, and how much processor time has it had?

/// Clock ticks of `/proc/PID/stat` in a second, on every Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;

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

/// Seconds of processor time that a process has had.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let rest = stat.rsplit(") ").next().expect("it has a name");
    let field = |index: usize| {
        let text = rest.split(' ').nth(index).expect("it has so many fields");
        text.parse::<f64>().expect("it is a number")
    };
    // utime and stime; the state is the third field of the file, and the first here.
    (field(11) + field(12)) / TICKS_PER_SECOND
}
