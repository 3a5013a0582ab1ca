//! How does a test start a program, hear what it says, and be sure that it is gone afterwards?
//!
//! A program's standard output and error are kept whole, in the order of their lines; a line of standard
//! output that is a JSON object is an event. Tests wait for events, never for time to pass.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

/// How long any single event may take. Far above what is ever needed, because it only decides how soon
/// a failing test fails, and a busy machine must not fail a good one.
pub const EVENT_WAIT_MAX: Duration = Duration::from_secs(40);

/// How long a program may take to end once it was told to.
pub const EXIT_WAIT_MAX: Duration = Duration::from_secs(20);

/// How often a condition that no event announces (a file of `/proc`, the end of a process) is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How many lines of a program are shown when a test fails.
const LINES_SHOWN_MAX: usize = 120;

thread_local! {
    static JOURNAL: RefCell<Journal> = RefCell::default();
}

/// What the programs of this test have printed, for the message of a failing test. Each thread has one of its own, unless it is
/// given another's.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Weak<Output>>>>);

impl Journal {
    /// That of this thread.
    #[must_use]
    pub fn here() -> Self {
        JOURNAL.with_borrow(Self::clone)
    }

    /// From now on this thread writes into it.
    pub fn keep_here(self) {
        JOURNAL.set(self);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Output>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of the two streams a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

#[derive(Default)]
struct Heard {
    lines: Vec<(Stream, Vec<u8>)>,
    events: Vec<Value>,
    open_streams: usize,
}

/// All that a program has printed so far.
pub struct Output {
    name: String,
    heard: Mutex<Heard>,
    changed: Condvar,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(self: &Arc<Self>, stream: Stream, source: impl Read + Send + 'static) {
        self.lock().open_streams += 1;
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(source.read_until(b'\n', &mut line), Ok(1..)) {
                let event = (stream == Stream::Out && line.first() == Some(&b'{'))
                    .then(|| serde_json::from_slice::<Value>(&line).ok())
                    .flatten();
                let mut heard = output.lock();
                heard.events.extend(event);
                heard.lines.push((stream, std::mem::take(&mut line)));
                output.changed.notify_all();
            }
            output.lock().open_streams -= 1;
            output.changed.notify_all();
        });
    }

    /// Every byte that was printed, both streams.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.lock()
            .lines
            .iter()
            .flat_map(|(_, line)| line.iter().copied())
            .collect()
    }

    /// The text of one stream.
    #[must_use]
    pub fn text(&self, wanted: Stream) -> String {
        let heard = self.lock();
        let of_stream = heard.lines.iter().filter(|(stream, _)| *stream == wanted);
        of_stream
            .map(|(_, line)| String::from_utf8_lossy(line).into_owned())
            .collect()
    }

    fn shown(&self) -> String {
        let heard = self.lock();
        let skipped = heard.lines.len().saturating_sub(LINES_SHOWN_MAX);
        let mut shown = format!(
            "--- {} ({} lines, {skipped} not shown)\n",
            self.name,
            heard.lines.len()
        );
        for (stream, line) in heard.lines.iter().skip(skipped) {
            let mark = if *stream == Stream::Err { '!' } else { ' ' };
            let _ = writeln!(shown, "{mark} {}", String::from_utf8_lossy(line).trim_end());
        }
        shown
    }
}

/// What every program that this thread started has printed, for a failing test.
#[must_use]
pub fn journal() -> String {
    let outputs = Journal::here();
    let outputs = outputs.lock();
    let there = outputs.iter().filter_map(Weak::upgrade);
    there.map(|output| output.shown()).collect()
}

/// Waits until `look` finds something, for conditions that no event announces.
pub fn wait_until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_until_for(EVENT_WAIT_MAX, what, look)
}

/// [`wait_until`] with a bound of one's own.
pub fn wait_until_for<T>(bound: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + bound;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < end,
            "waited {bound:?} in vain for {what}\n{}",
            journal()
        );
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Where so many threads wait for each other. Unlike a barrier it has a bound: a thread that failed fails the others.
pub struct Gathering {
    wanted: usize,
    arrived: AtomicUsize,
}

impl Gathering {
    /// For so many threads.
    #[must_use]
    pub fn of(wanted: usize) -> Self {
        Self {
            wanted,
            arrived: AtomicUsize::new(0),
        }
    }

    /// Waits until all are there.
    pub fn arrive(&self) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        wait_until("the other threads", || {
            (self.arrived.load(Ordering::Acquire) >= self.wanted).then_some(())
        });
    }
}

/// Says so when it goes, in whichever way: threads that work until then must also end when their test fails.
pub struct Ending<'a>(pub &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A program that a test started. Its process group is killed when this is dropped.
pub struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
    input: Mutex<Option<ChildStdin>>,
    output: Arc<Output>,
    /// Then its number may be another's.
    killed: AtomicBool,
}

impl Process {
    /// Starts `program`; `arrange` adds arguments, environment and the like.
    pub fn start(
        name: &str,
        program: impl AsRef<OsStr>,
        arrange: impl FnOnce(&mut Command),
    ) -> Self {
        // `setpriv` asks for the signal at the parent's death and then becomes the program: the pid stays.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program.as_ref());
        arrange(&mut command);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let output = Arc::new(Output {
            name: name.to_owned(),
            heard: Mutex::default(),
            changed: Condvar::new(),
        });
        output.collect(
            Stream::Out,
            child.stdout.take().expect("standard output is a pipe"),
        );
        output.collect(
            Stream::Err,
            child.stderr.take().expect("standard error is a pipe"),
        );
        Journal::here().lock().push(Arc::downgrade(&output));
        let input = Mutex::new(child.stdin.take());
        Self {
            name: name.to_owned(),
            pid: child.id(),
            child: Mutex::new(child),
            input,
            output,
            killed: AtomicBool::new(false),
        }
    }

    /// The name that the test gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has printed.
    #[must_use]
    pub fn output(&self) -> &Arc<Output> {
        &self.output
    }

    /// Writes one line to its standard input.
    pub fn say(&self, line: &Value) {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let input = input.as_mut().expect("standard input is open");
        writeln!(input, "{line}").unwrap_or_else(|error| {
            panic!("{} does not listen: {error}\n{}", self.name, journal())
        });
    }

    /// All events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.output.lock().events.clone()
    }

    /// How many events there are so far; what comes later is found by [`Self::wait_after`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.output.lock().events.len()
    }

    /// The first event, from the very first on, that `is` it.
    pub fn wait_for(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.wait_after(0, what, is)
    }

    /// The first event after `mark` that `is` it.
    pub fn wait_after(&self, mark: usize, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.wait_all(what, |events| {
            events
                .get(mark..)
                .and_then(|later| later.iter().find(|event| is(event)))
                .cloned()
        })
    }

    /// Waits until `find` finds something in the events so far.
    pub fn wait_all<T>(&self, what: &str, find: impl Fn(&[Value]) -> Option<T>) -> T {
        let end = Instant::now() + EVENT_WAIT_MAX;
        let mut heard = self.output.lock();
        loop {
            if let Some(found) = find(&heard.events) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || heard.open_streams == 0 {
                drop(heard);
                assert!(
                    !left.is_zero(),
                    "{}: waited in vain for {what}\n{}",
                    self.name,
                    journal()
                );
                let last_words = self.output.text(Stream::Err);
                let last_words = last_words
                    .lines()
                    .last()
                    .unwrap_or("it said nothing")
                    .to_owned();
                panic!(
                    "{} ended before {what}: {last_words}\n{}",
                    self.name,
                    journal()
                );
            }
            // A program that ends closes its streams, which is a change too.
            (heard, _) = self
                .output
                .changed
                .wait_timeout(heard, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until a line of either stream contains `text`, and returns the line.
    pub fn wait_line(&self, text: &str) -> String {
        wait_until(&format!("a line of {} with `{text}`", self.name), || {
            let heard = self.output.lock();
            let mut lines = heard
                .lines
                .iter()
                .map(|(_, line)| String::from_utf8_lossy(line));
            lines
                .find(|line| line.contains(text))
                .map(std::borrow::Cow::into_owned)
        })
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        signal_pid(self.pid(), signal);
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.poll_exit().is_none()
    }

    /// How it ended, if it has.
    pub fn poll_exit(&self) -> Option<ExitStatus> {
        self.child().try_wait().expect("a child can be waited for")
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it and all that it started, now. Nothing happens to one that has ended.
    pub fn kill(&self) {
        let mut child = self.child();
        if self.killed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Ok(Some(pid)) = i32::try_from(self.pid).map(Pid::from_raw) {
            // The group may hold children of a program that has itself ended.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
        let _ = child.wait();
    }

    /// Waits until it has ended by itself and all of its output was read.
    pub fn wait_exit(&self) -> ExitStatus {
        self.wait_exit_within(EXIT_WAIT_MAX)
    }

    /// [`Self::wait_exit`] with a bound of one's own.
    pub fn wait_exit_within(&self, bound: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let status = wait_until_for(bound, &what, || self.poll_exit());
        wait_until_for(EXIT_WAIT_MAX, &what, || {
            (self.output.lock().open_streams == 0).then_some(())
        });
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to one process that a program of this test started.
pub fn signal_pid(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id is positive");
    rustix::process::kill_process(pid, signal).expect("the process is there and ours");
}

/// Whether a process is there and not a zombie.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The command's name stands in parentheses and may hold blanks; the state follows it.
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.starts_with(['Z', 'X']))
}

/// The event's name, or an empty string.
#[must_use]
pub fn kind(event: &Value) -> &str {
    text(event, "event")
}

/// A text field of an event, or an empty string.
#[must_use]
pub fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event.get(key).and_then(Value::as_str).unwrap_or_default()
}
