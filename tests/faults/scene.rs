//! What have all attacks in common? The sessions that must go on, the gateway's memory, the proof on every worker, and the
//! line that each adds to the table of `make faults`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fixgw_e2e::apart::{self, Apart};
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::flock::{self, Account, Flock, Fold};
use fixgw_e2e::gateway::{self, Gateway, Setup, WORKERS};
use fixgw_e2e::memory::Memory;
use fixgw_e2e::peer::{Engine, Peer, Session};
use fixgw_e2e::process::{journal, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::told;
use fixgw_e2e::unbroken::LiveSession;

/// Light sessions of an attack. With the one of QuickFIX beside them their number is even, so that each worker has its half, and
/// the next two connections go one to each.
pub(crate) const SESSIONS: usize = 201;
/// The CompID of the QuickFIX counterparty.
const QUICKFIX: &str = "QUICKFIX";
/// The CompID of those who ask what the table says.
pub(crate) const PROBE: &str = "PROBE";
/// What a process's memory may have grown by at the end, in hundredths.
const GROWTH_MAX_PERCENT: f64 = 10.0;
/// What a process may grow by in any case: pages that the allocator took once and keeps, in a process that is small.
const GROWTH_FREE_KB: u64 = 6 * 1_024;

/// A route of the probe.
pub(crate) fn probe_to(engine: &str) -> Route {
    Route::new("probe", engine).value("SenderCompID49", PROBE)
}

/// Lets the sessions go on for so long: what takes time is the attack itself.
pub(crate) fn pass_time(flock: &Flock, time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        flock.wait_rounds(1);
    }
}

/// The short form of a measure, or the full one where that was asked for.
pub(crate) fn sized<T>(short: T, full: T) -> T {
    match std::env::var("FIXGW_FAULTS").as_deref() {
        Err(_) => short,
        Ok("full") => full,
        Ok(other) => panic!("FIXGW_FAULTS is `full` or is not set, not `{other}`"),
    }
}

/// The engines of the sessions that must go on, and the rules that lead there.
pub(crate) struct Home {
    pub(crate) directory: Directory,
    fold: Fold,
    session: Session,
    engine: Engine,
    tap: Tap,
}

impl Home {
    /// With rules for the sessions, in files `flock` and `quickfix`.
    pub(crate) fn new() -> Self {
        let session = Session::new("FIX.4.4", QUICKFIX, "VENUE");
        let engine = Peer::engine("engine", std::slice::from_ref(&session));
        let home = Self {
            directory: Directory::new(),
            fold: Fold::open(),
            tap: Tap::before(engine.address()),
            engine,
            session,
        };
        home.put_routes();
        home
    }

    /// Writes the rules of the sessions.
    pub(crate) fn put_routes(&self) {
        let flock =
            Route::new("flock", "fold").pattern("SenderCompID49", &format!("{}*", flock::PREFIX));
        self.directory.put(&flock.priority(1));
        self.directory
            .put(&Route::new("quickfix", "engine").value("SenderCompID49", QUICKFIX));
    }

    /// Where the light sessions end.
    pub(crate) fn fold(&self) -> SocketAddr {
        self.fold.address()
    }

    /// Where the QuickFIX session ends.
    pub(crate) fn engine(&self) -> SocketAddr {
        self.tap.address()
    }

    /// A gateway over the rules, with the engines' addresses on its command line.
    pub(crate) fn setup(&self) -> Setup {
        Setup::over(&self.directory)
            .endpoint("fold", self.fold())
            .endpoint("engine", self.engine())
            .admin()
    }

    /// Plays an attack under live sessions and fails unless all of them have gone on unbroken.
    pub(crate) fn attacked(
        self,
        fault: &str,
        gateway: &impl Attacked,
        attack: impl FnOnce(&Directory, &Flock),
    ) {
        let address = gateway.address();
        self.attacked_by(
            fault,
            gateway,
            |_, fold| fold.gather(address, SESSIONS),
            attack,
        );
    }

    /// As [`Self::attacked`], with a flock that is gathered otherwise.
    pub(crate) fn attacked_by(
        self,
        fault: &str,
        gateway: &impl Attacked,
        gather: impl FnOnce(&Directory, Fold) -> Flock,
        attack: impl FnOnce(&Directory, &Flock),
    ) {
        let Self {
            directory,
            fold,
            session,
            engine,
            tap,
        } = self;
        let counterparty = Peer::counterparty(
            "counterparty",
            gateway.address(),
            std::slice::from_ref(&session),
        );
        let mut live = LiveSession::begin(&session, &counterparty, &engine, &tap);
        let flock = gather(&directory, fold);
        live.exchange(5);
        flock.wait_rounds(5);
        let before = PARTS.map(|part| Memory::of(part, gateway.pid(part)).before_kb());
        let begun = Instant::now();
        attack(&directory, &flock);
        let took = begun.elapsed();
        live.exchange(5);
        flock.wait_rounds(5);
        let after = PARTS.iter().zip(before).map(|(part, before)| {
            let part = *part;
            wait_until(
                &format!("the memory of {part} to be what it was, {before} kB"),
                || {
                    let now = Memory::of(part, gateway.pid(part)).before_kb();
                    is_within(before, now).then_some(now)
                },
            )
        });
        let after: Vec<u64> = after.collect();
        let account = flock.end();
        let quickfix = live.assert_unbroken();
        account.assert_unbroken();
        let messages = (
            account.to_engine + quickfix.to_engine,
            account.to_clients + quickfix.to_counterparty,
        );
        told::attack(&line(fault, &account, messages, &before, &after, took));
    }
}

/// The parts whose memory is watched.
const PARTS: [&str; 2] = ["envoy", "control"];

fn grown_percent(before_kb: u64, after_kb: u64) -> f64 {
    let [before, after] =
        [before_kb, after_kb].map(|kb| u32::try_from(kb).map_or(f64::MAX, f64::from));
    (after - before) * 100.0 / before
}

fn is_within(before_kb: u64, after_kb: u64) -> bool {
    after_kb <= before_kb + GROWTH_FREE_KB
        || grown_percent(before_kb, after_kb) <= GROWTH_MAX_PERCENT
}

fn line(
    fault: &str,
    account: &Account,
    (to_engine, to_counterparty): (u64, u64),
    before: &[u64],
    after: &[u64],
    took: Duration,
) -> String {
    let mut line = format!(
        "| {fault} | {} | {to_engine} / {to_counterparty} | {} | {} / {}",
        account.sessions + 1,
        account.broken,
        account.lost,
        account.foreign,
    );
    for (before, after) in before.iter().zip(after) {
        let _ = write!(
            line,
            " | {:.1} → {:.1} MB ({:+.0} %)",
            megabytes(*before),
            megabytes(*after),
            grown_percent(*before, *after)
        );
    }
    let _ = write!(
        line,
        " | {} ms | {} s |",
        account.pause.as_millis(),
        took.as_secs()
    );
    line
}

fn megabytes(kb: u64) -> f64 {
    u32::try_from(kb).map_or(f64::MAX, f64::from) / 1_024.0
}

/// What can be attacked.
pub(crate) trait Attacked {
    /// Where counterparties connect.
    fn address(&self) -> SocketAddr;
    /// The process of a part, as it is now.
    fn pid(&self, part: &str) -> u32;
    /// The name of the listener.
    fn listener(&self) -> &str;
    /// Envoy's counters and gauges whose names hold a match of this regular expression.
    fn statistics_of(&self, names: &str) -> BTreeMap<String, u64>;
}

impl Attacked for Gateway {
    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn pid(&self, part: &str) -> u32 {
        self.child(part)
    }

    fn listener(&self) -> &'static str {
        gateway::LISTENER
    }

    fn statistics_of(&self, names: &str) -> BTreeMap<String, u64> {
        self.statistics_of(names)
    }
}

impl Attacked for Apart {
    fn address(&self) -> SocketAddr {
        self.address()
    }

    fn pid(&self, part: &str) -> u32 {
        match part {
            "envoy" => self.envoy_pid(),
            _ => self.control_pid(),
        }
    }

    fn listener(&self) -> &'static str {
        apart::LISTENER
    }

    fn statistics_of(&self, names: &str) -> BTreeMap<String, u64> {
        self.statistics_of(names)
    }
}

/// Which light engine answers a Logon of `sender`, by whichever worker.
pub(crate) fn engine_of(gateway: &impl Attacked, sender: &str) -> String {
    let mut client = RawClient::connect(gateway.address());
    client.send(&fix::logon("FIX.4.4", sender, "VENUE", &[]));
    client.take_greeting()
}

/// Connections that each worker has accepted so far.
fn accepted(gateway: &impl Attacked) -> Vec<u64> {
    let statistics = gateway.statistics_of("worker_.*downstream_cx_total");
    let listener = gateway.listener();
    let of_worker =
        |worker| statistics[&format!("listener.{listener}.worker_{worker}.downstream_cx_total")];
    (0..WORKERS).map(of_worker).collect()
}

/// A connection on each worker, which Envoy's own counts show. While others are ending, the balance may give both to one: then two
/// more are tried.
fn one_on_each_worker(gateway: &impl Attacked) -> Vec<RawClient> {
    wait_until("a connection on each worker", || {
        let before = accepted(gateway);
        let clients: Vec<RawClient> = before
            .iter()
            .map(|_| RawClient::connect(gateway.address()))
            .collect();
        let now = wait_until("the workers to accept them", || {
            let now = accepted(gateway);
            let all = before.iter().sum::<u64>() + WORKERS;
            (now.iter().sum::<u64>() >= all).then_some(now)
        });
        let each = before.iter().map(|count| count + 1);
        now.into_iter().eq(each).then_some(clients)
    })
}

/// Fails unless a Logon of the probe reaches this engine on every worker.
pub(crate) fn assert_in_force(gateway: &impl Attacked, engine: &str) {
    assert_leads(gateway, PROBE, engine);
}

/// Fails unless a Logon of `sender` reaches this engine on every worker.
pub(crate) fn assert_leads(gateway: &impl Attacked, sender: &str, engine: &str) {
    let mut probes = one_on_each_worker(gateway);
    let logon = fix::logon("FIX.4.4", sender, "VENUE", &[]);
    for probe in &mut probes {
        probe.send(&logon);
    }
    for probe in &mut probes {
        assert_eq!(probe.take_greeting(), engine, "{}", journal());
        assert_eq!(probe.take(logon.len()), logon);
    }
}
