//! How long does a live session pause while a table of 10,000 routes is replaced? Told, never asserted.
//!
//! On each worker there are a few live sessions. Once in a millisecond a small message goes out on one of them, through Envoy's
//! worker thread to the engine, and the same one back, through that thread again: a round trip. Each worker has one of them under
//! way at a time. One thread for each worker holds both ends of its sessions, so that no hand-over within the harness is in the
//! figure; what the loop takes by itself, without the gateway, comes first.
//!
//! - A round trip counts from when it was due, where the one before was still under way then: a pause of 5 ms is five late
//!   messages, not one. Where the harness slept, it counts from when its thread woke: how late that is, is the machine's.
//! - Intervals with a change and without one take turns. One with a change lasts from saving the file until every worker
//!   uses the new table, and [`AFTERMATH`] longer; the one behind it, without, lasts as long. So whatever else the machine does
//!   meets both alike. As one bad moment of the machine decides over p99.9 all the same, the longest round trips of the intervals
//!   are compared, too, by their medians: that is what each change does. [`CHANGES`] of them make a round.
//! - How much longer a worker's thread waited for a processor than in the interval behind it, by the kernel's own account.
//! - What a change costs each by itself is measured while nobody sends a message: how much longer a thread ran than in the interval
//!   behind it. A pause that a worker's thread makes by itself is no longer than that; all above it is waiting.
//! - Where there are few processors, they are what a session waits for: the control plane compares the routes, and Envoy's main
//!   thread tries the table out, in a VM that it makes for that. So the same is measured again with a control plane that gives way
//!   to everybody else (`SCHED_IDLE`), as if it ran on another machine.
//!
//! The programs are those of `FIXGW_BIN_DIR`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking and divides counts"
)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fixgw_e2e::figure::Told;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route, other_routes_yaml};
use fixgw_e2e::gateway::{Gateway, Setup, WORKERS};
use fixgw_e2e::pair::{self, Meeting, Pair};
use fixgw_e2e::process::Ending;

/// Routes of the table.
const ROUTES: usize = 10_000;
/// Rounds of each comparison.
const ROUNDS: usize = 5;
/// Changes of the table in each of them, so as many intervals of each kind.
const CHANGES: usize = 6;
/// Live sessions of each worker.
const SESSIONS: usize = 4;
/// From one message of a worker to the next.
const PACE: Duration = Duration::from_millis(1);
/// What belongs to a change after every worker uses it: the copy for VMs that come back, the end of the old table.
const AFTERMATH: Duration = Duration::from_millis(300);
/// How long the loop runs without the gateway.
const ALONE: Duration = Duration::from_secs(5);

/// Whom the others are compared to, and the others.
const NO_CHANGE: &str = "no change";
const A_CHANGE: &str = "a change";
const ALONE_SUBJECT: &str = "without the gateway";
const MAIN_THREAD: &str = "Envoy's main thread";

/// One round trip: when it was due, and how long it took from then.
struct Trip {
    due: Instant,
    took: Duration,
}

/// Whose time is looked at.
#[derive(Clone, Copy)]
enum Who {
    Worker,
    Main,
    ControlPlane,
}

/// What some threads did so far.
#[derive(Clone, Copy, Default)]
struct Spent {
    /// With a processor.
    ran: Duration,
    /// Waiting for one.
    waited: Duration,
}

/// What threads did so far, by the kernel.
#[derive(Clone, Copy, Default)]
struct Account {
    worker: Spent,
    main: Spent,
    control_plane: Spent,
}

impl Account {
    fn of(processes: Processes) -> Self {
        let mut account = Self::default();
        for (pid, is_control_plane) in [(processes.envoy, false), (processes.control_plane, true)] {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
            for task in tasks.filter_map(Result::ok) {
                // One that ends meanwhile has nothing more to say.
                let read =
                    |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
                let spent = if is_control_plane {
                    &mut account.control_plane
                } else if read("comm").starts_with("wrk:") {
                    &mut account.worker
                } else if task.file_name().to_str() == Some(&pid.to_string()) {
                    &mut account.main
                } else {
                    continue;
                };
                let schedule = read("schedstat");
                let mut nanos = schedule.split_ascii_whitespace();
                let mut next = || {
                    let nanos = nanos.next().and_then(|nanos| nanos.parse().ok());
                    Duration::from_nanos(nanos.unwrap_or(0))
                };
                spent.ran += next();
                spent.waited += next();
            }
        }
        account
    }

    const fn spent(&self, who: Who) -> Spent {
        match who {
            Who::Worker => self.worker,
            Who::Main => self.main,
            Who::ControlPlane => self.control_plane,
        }
    }
}

#[derive(Clone, Copy)]
struct Processes {
    envoy: u32,
    control_plane: u32,
}

/// A time that has begun.
struct Begun {
    from: Instant,
    account: Account,
    processes: Processes,
}

impl Begun {
    fn now(processes: Processes) -> Self {
        let account = Account::of(processes);
        let from = Instant::now();
        Self {
            from,
            account,
            processes,
        }
    }

    /// Lets time go by until it is so long: that is what is measured.
    fn pass(self, length: Duration) -> Interval {
        let until = self.from + length;
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        Interval {
            from: self.from,
            to: Instant::now(),
            before: self.account,
            after: Account::of(self.processes),
        }
    }
}

/// A time in which something went on.
struct Interval {
    from: Instant,
    to: Instant,
    before: Account,
    after: Account,
}

impl Interval {
    fn length(&self) -> Duration {
        self.to - self.from
    }

    fn longest_ms(&self, trips: &[Trip]) -> f64 {
        let figures = figures(trips, std::slice::from_ref(self));
        *figures.last().expect("there are messages in each interval")
    }

    /// What these threads did in it, milliseconds: with a processor, and waiting for one. Of the workers', one.
    fn spent_ms(&self, who: Who) -> (f64, f64) {
        let threads = match who {
            Who::Worker => WORKERS as f64,
            Who::Main | Who::ControlPlane => 1.0,
        };
        let (before, after) = (self.before.spent(who), self.after.spent(who));
        let ms =
            |before, after: Duration| after.saturating_sub(before).as_secs_f64() * 1e3 / threads;
        (ms(before.ran, after.ran), ms(before.waited, after.waited))
    }
}

fn main() {
    let meeting = Meeting::open();
    let directory = Directory::of(&[edited("engine")]);
    directory.put(&Route::new("pair", "engine").value("SenderCompID49", pair::SENDER));
    directory.write("others", &other_routes_yaml(ROUTES, "engine"));
    let gateway = Setup::over(&directory)
        .endpoint("engine", meeting.address())
        .endpoint("other", meeting.address())
        .arguments(["--settle-quiet-ms", "0"])
        .admin()
        .start();
    let processes = Processes {
        envoy: gateway.child("envoy"),
        control_plane: gateway.child("control"),
    };
    let mut direct: Vec<Vec<Pair>> = (0..WORKERS)
        .map(|_| {
            let pairs = (0..SESSIONS).map(|_| meeting.pair(meeting.address()));
            pairs.collect()
        })
        .collect();
    let (alone, trips) = measured(&mut direct, || [Begun::now(processes).pass(ALONE)]);
    tell("the loop alone", ALONE_SUBJECT, &[figures(&trips, &alone)]);
    drop(direct);

    let mut sessions = sessions(&meeting, &gateway);
    tell_costs(&turns(&gateway, &directory, processes));
    for control_plane in [ControlPlane::Beside, ControlPlane::GivingWay] {
        control_plane.arrange(processes);
        let (turns, trips) = measured(&mut sessions, || turns(&gateway, &directory, processes));
        compare(control_plane.label(), &turns, &trips);
    }
}

/// How the control plane shares the machine with Envoy.
#[derive(Clone, Copy)]
enum ControlPlane {
    /// As `fixgw up` starts it.
    Beside,
    /// It runs when nobody else wants to.
    GivingWay,
}

impl ControlPlane {
    const fn label(self) -> &'static str {
        match self {
            Self::Beside => "the control plane beside it",
            Self::GivingWay => "a control plane that gives way",
        }
    }

    fn arrange(self, processes: Processes) {
        match self {
            Self::Beside => {}
            Self::GivingWay => {
                let control_plane = processes.control_plane.to_string();
                let told = Command::new("chrt")
                    .args(["--all-tasks", "--idle", "--pid", "0", &control_plane])
                    .status();
                assert!(told.is_ok_and(|status| status.success()), "chrt works");
            }
        }
    }
}

/// The route that each change edits.
fn edited(service: &str) -> Route {
    Route::new("edited", service).value("SenderCompID49", "EDITED")
}

/// An interval with a change, and the one behind it, without.
type Turn = (Interval, Interval);

fn compare(load: &str, turns: &[Turn], trips: &[Trip]) {
    let rounds = || turns.chunks(CHANGES);
    let of = |which: fn(&Turn) -> &Interval| -> Vec<Vec<f64>> {
        let round = |turns: &[Turn]| figures(trips, turns.iter().map(which));
        rounds().map(round).collect()
    };
    tell(load, NO_CHANGE, &of(|(_, unchanged)| unchanged));
    tell(load, A_CHANGE, &of(|(changed, _)| changed));
    let longest = |interval: &Interval| interval.longest_ms(trips);
    let medians = |which: fn(&Turn) -> &Interval| -> Vec<f64> {
        let round = |turns: &[Turn]| median(turns.iter().map(|turn| longest(which(turn))));
        rounds().map(round).collect()
    };
    let told = told(load, "longest of an interval");
    told.of(NO_CHANGE, &medians(|(_, unchanged)| unchanged));
    told.of(A_CHANGE, &medians(|(changed, _)| changed));
    let waits = |turns| {
        added_ms(turns, |interval: &Interval| {
            interval.spent_ms(Who::Worker).1
        })
    };
    let told = Told {
        metric: "a worker's thread waits for a processor",
        to: None,
        ..told
    };
    told.of(A_CHANGE, &rounds().map(waits).collect::<Vec<f64>>());
}

/// What each does for a change, with changes and times without one while nobody sends anything.
fn tell_costs(turns: &[Turn]) {
    for (who, subject) in [
        (Who::Worker, "a worker's thread"),
        (Who::Main, MAIN_THREAD),
        (Who::ControlPlane, "the control plane"),
    ] {
        let costs = |turns| added_ms(turns, |interval: &Interval| interval.spent_ms(who).0);
        let told = Told {
            table: "cost of a change",
            load: "10000 routes",
            metric: "time with a processor",
            unit: "ms",
            to: Some(MAIN_THREAD),
        };
        let rounds: Vec<f64> = turns.chunks(CHANGES).map(costs).collect();
        told.of(subject, &rounds);
    }
}

/// Round trips of a live session.
const fn told<'t>(load: &'t str, metric: &'t str) -> Told<'t> {
    Told {
        table: "pause",
        load,
        metric,
        unit: "ms",
        to: Some(NO_CHANGE),
    }
}

/// What the round trips of each round took.
fn tell(load: &str, subject: &str, rounds: &[Vec<f64>]) {
    for (metric, part) in [
        ("p50", 0.5),
        ("p99", 0.99),
        ("p99.9", 0.999),
        ("longest", 1.0),
    ] {
        let figures: Vec<f64> = rounds.iter().map(|figures| at(figures, part)).collect();
        told(load, metric).of(subject, &figures);
    }
}

/// How much more of something an interval with a change has, the median.
fn added_ms(turns: &[Turn], of: impl Fn(&Interval) -> f64) -> f64 {
    let added = turns
        .iter()
        .map(|(changed, unchanged)| of(changed) - of(unchanged));
    median(added)
}

/// Sessions of each worker, by worker.
fn sessions(meeting: &Meeting, gateway: &Gateway) -> Vec<Vec<Pair>> {
    let address = gateway.address();
    let mut sessions: Vec<Vec<Pair>> = (0..WORKERS).map(|_| Vec::new()).collect();
    for _ in 0..sessions.len() * SESSIONS {
        let (pair, worker) = gateway.worker_of(|| meeting.pair(address));
        sessions[worker].push(pair);
    }
    for (worker, sessions) in sessions.iter().enumerate() {
        // Envoy gives a connection to the worker that has the fewest.
        assert_eq!(sessions.len(), SESSIONS, "sessions of worker {worker}");
    }
    sessions
}

/// Changes and times without one, in turn.
fn turns(gateway: &Gateway, directory: &Directory, processes: Processes) -> Vec<Turn> {
    let turn = |change| {
        let service = if change % 2 == 0 { "other" } else { "engine" };
        let mut begun = Begun::now(processes);
        gateway.apply(|| {
            begun = Begun::now(processes);
            directory.put(&edited(service));
        });
        let applied = begun.from.elapsed();
        let changed = begun.pass(applied + AFTERMATH);
        let unchanged = Begun::now(processes).pass(changed.length());
        (changed, unchanged)
    };
    (0..ROUNDS * CHANGES).map(turn).collect()
}

/// The round trips on these sessions, one thread for each worker, while `meanwhile` goes on.
fn measured<T>(workers: &mut [Vec<Pair>], meanwhile: impl FnOnce() -> T) -> (T, Vec<Trip>) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ending = Ending(&over);
        let pingers: Vec<_> = workers
            .iter_mut()
            .map(|sessions| scope.spawn(|| ping(sessions, &over)))
            .collect();
        let done = meanwhile();
        drop(ending);
        let trips = pingers.into_iter();
        let trips = trips.flat_map(|pinger| pinger.join().expect("every session lives"));
        (done, trips.collect())
    })
}

/// One message after the other, a session after the other.
fn ping(sessions: &mut [Pair], over: &AtomicBool) -> Vec<Trip> {
    let message = fix::order("FIX.4.4", pair::SENDER, "VENUE", 2, 1);
    let mut trips = Vec::new();
    let mut due = Instant::now();
    let count = sessions.len();
    for turn in 0.. {
        if over.load(Ordering::Acquire) {
            break;
        }
        due += PACE;
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            std::thread::sleep(left);
            due = Instant::now();
        }
        sessions[turn % count].exchange(&message);
        trips.push(Trip {
            due,
            took: due.elapsed(),
        });
    }
    trips
}

/// What the round trips took that were due in these intervals, in milliseconds, the longest last.
fn figures<'i>(trips: &[Trip], intervals: impl IntoIterator<Item = &'i Interval>) -> Vec<f64> {
    let intervals: Vec<&Interval> = intervals.into_iter().collect();
    let within = |trip: &&Trip| {
        let mut intervals = intervals.iter();
        intervals.any(|interval| interval.from <= trip.due && trip.due < interval.to)
    };
    let trips = trips.iter().filter(within);
    let mut figures: Vec<f64> = trips.map(|trip| trip.took.as_secs_f64() * 1e3).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn at(figures: &[f64], part: f64) -> f64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is within it"
    )]
    let index = (figures.len() as f64 * part) as usize;
    figures[index.min(figures.len() - 1)]
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
