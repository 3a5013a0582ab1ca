//! Which connections end that nobody has closed, and which do not?
//!
//! A host that is gone is played by a socket of the test that drops whatever arrives for it: it acknowledges nothing,
//! answers no probe and resets nothing.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use fixgw_e2e::fix;
use fixgw_e2e::fixture::{self, Directory, Route};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::peer::{Peer, Session};
use fixgw_e2e::process::{text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::socket::keepalive;
use fixgw_e2e::tap::Tap;
use fixgw_e2e::unbroken::LiveSession;

/// The shortest that there is.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
const SHORT: &str = "5s";
/// The longest that there is: so late that no test sees it act.
const LONG: &str = "15m";

fn logon() -> Vec<u8> {
    fix::logon("FIX.4.4", "BROKER", "VENUE", &[])
}

/// An engine whose connections the test itself holds.
struct Engine(TcpListener);

impl Engine {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// Both ends of a session, which has begun.
struct Ends {
    counterparty: RawClient,
    engine: RawClient,
}

impl Ends {
    /// Bytes arrive both ways.
    fn exchange(&mut self) {
        self.counterparty.send(b"order");
        assert_eq!(self.engine.take(5), b"order");
        self.engine.send(b"fill");
        assert_eq!(self.counterparty.take(4), b"fill");
    }
}

/// Begins a session, with the index of the engine that has it.
fn begin_at_any(gateway: &Gateway, engines: &[Engine]) -> (Ends, usize) {
    let mut counterparty = RawClient::connect(gateway.address());
    counterparty.send(&logon());
    let (mut engine, index) = wait_until("the session at an engine", || {
        let mut indices = 0..;
        engines.iter().find_map(|engine| {
            let index = indices.next()?;
            Some((RawClient::accepted(&engine.0)?, index))
        })
    });
    assert_eq!(engine.take(logon().len()), logon());
    let ends = Ends {
        counterparty,
        engine,
    };
    (ends, index)
}

fn begin(gateway: &Gateway, engine: &Engine) -> Ends {
    begin_at_any(gateway, std::slice::from_ref(engine)).0
}

/// A gateway with BROKER at the engines of one Service.
fn gateway<const N: usize>(engines: &[Engine], arguments: [&str; N]) -> (Directory, Gateway) {
    let directory =
        Directory::of(&[Route::new("broker", "engine").value("SenderCompID49", "BROKER")]);
    let addresses: Vec<_> = engines.iter().map(Engine::address).collect();
    directory.put_service("engine", &addresses);
    let gateway = Setup::over(&directory).arguments(arguments).start();
    (directory, gateway)
}

/// What the other side sends to a host that is gone.
#[derive(Clone, Copy, Debug)]
enum Sends {
    /// Nothing, so that keepalive has to notice.
    Nothing,
    /// Bytes at once: while they are under way, keepalive does not act.
    AtOnce,
    /// Bytes when keepalive has asked already, in vain.
    AfterAProbe,
}

const ALL_WAYS: [Sends; 3] = [Sends::Nothing, Sends::AtOnce, Sends::AfterAProbe];

/// One end's host goes, and the other end sees the connection end in time.
fn ends_in_time(gone: &RawClient, mut other: RawClient, sends: Sends) {
    let since = Instant::now();
    gone.fall_silent();
    match sends {
        Sends::Nothing => {}
        Sends::AtOnce => other.send(b"is anybody there?"),
        Sends::AfterAProbe => {
            wait_until("a probe without an answer", || {
                let asked = keepalive(gone.from_the_other_end())?.unanswered > 0;
                asked.then_some(())
            });
            other.send(b"is anybody there?");
        }
    }
    other.take_to_end();
    let passed = since.elapsed();
    assert!(passed <= TCP_TIMEOUT, "{sends:?}: {passed:?}");
}

#[test]
fn a_session_whose_engines_host_is_gone_ends_in_time_and_those_of_others_go_on() {
    let engines = [Engine::start(), Engine::start()];
    let (_directory, gateway) = gateway(&engines, ["--tcp-timeout", SHORT]);
    let (mut at_gone, mut others) = (Vec::new(), Vec::new());
    wait_until("sessions at both engines", || {
        match begin_at_any(&gateway, &engines) {
            (ends, 0) => at_gone.push(ends),
            (ends, _) => others.push(ends),
        }
        (at_gone.len() >= ALL_WAYS.len() && !others.is_empty()).then_some(())
    });
    // Its host is gone for these; for whoever else is there it has come back.
    others.extend(at_gone.split_off(ALL_WAYS.len()));
    std::thread::scope(|scope| {
        for (ends, sends) in at_gone.into_iter().zip(ALL_WAYS) {
            scope.spawn(move || ends_in_time(&ends.engine, ends.counterparty, sends));
        }
    });
    for ends in &mut others {
        ends.exchange();
    }
}

#[test]
fn a_session_whose_counterpartys_host_is_gone_ends_in_time_at_the_engine_and_the_others_go_on() {
    let engine = Engine::start();
    let (_directory, gateway) = gateway(std::slice::from_ref(&engine), ["--tcp-timeout", SHORT]);
    let gone = ALL_WAYS.map(|sends| (begin(&gateway, &engine), sends));
    let mut other = begin(&gateway, &engine);
    std::thread::scope(|scope| {
        for (ends, sends) in gone {
            scope.spawn(move || ends_in_time(&ends.counterparty, ends.engine, sends));
        }
    });
    other.exchange();
}

#[test]
fn a_held_counterparty_whose_host_is_gone_gives_its_place_back_in_time() {
    let (_directory, gateway) = gateway(&[], ["--tcp-timeout", SHORT, "--hold-timeout", "1m"]);
    let mut counterparty = RawClient::connect(gateway.address());
    counterparty.send(&logon());
    let record = gateway.decision_about(counterparty.address());
    assert_eq!(text(&record, "decision"), "HELD", "{record}");
    let since = Instant::now();
    counterparty.fall_silent();
    wait_until("the record about its end", || {
        let records = gateway.decisions_about(counterparty.address());
        let ended = |record| text(record, "reason") == "left_while_held";
        records.iter().any(ended).then_some(())
    });
    assert!(since.elapsed() <= TCP_TIMEOUT, "{:?}", since.elapsed());
}

fn annotate(directory: &Directory, service: &str, timeout: Option<&str>) {
    let yaml = timeout.map_or_else(
        || fixture::service_yaml(service),
        |timeout| {
            let annotation = format!("fixgateway.io/tcp-timeout: {timeout}");
            fixture::annotated_service_yaml(service, &annotation)
        },
    );
    directory.write(&format!("{service}-service"), &yaml);
}

#[test]
fn a_service_says_for_its_own_engines_after_how_long_a_session_ends() {
    let (quick, slow) = (Engine::start(), Engine::start());
    let directory = Directory::of(&[
        Route::new("broker", "quick").value("SenderCompID49", "BROKER"),
        Route::new("fund", "slow").value("SenderCompID49", "FUND"),
    ]);
    directory.put_service("quick", &[quick.address()]);
    directory.put_service("slow", &[slow.address()]);
    annotate(&directory, "quick", Some(SHORT));
    let gateway = Setup::over(&directory)
        .arguments(["--tcp-timeout", LONG])
        .start();
    let mut fund = RawClient::connect(gateway.address());
    fund.send(&fix::logon("FIX.4.4", "FUND", "VENUE", &[]));
    let at_slow = wait_until("the session at an engine", || RawClient::accepted(&slow.0));
    let broker = begin(&gateway, &quick);
    at_slow.fall_silent();
    ends_in_time(&broker.engine, broker.counterparty, Sends::Nothing);
    assert!(fund.is_open());
}

/// Begins sessions until the kernel asks after the engine for the first time when this many seconds were silent.
fn begin_with(gateway: &Gateway, engine: &Engine, time_s: u64) -> Ends {
    wait_until(&format!("a probe after {time_s} s"), || {
        let ends = begin(gateway, engine);
        let asks_in = wait_until("the Logon to be acknowledged", || {
            Some(keepalive(ends.engine.from_the_other_end())?.asks_in)
        });
        let second = Duration::from_secs(time_s - 1)..=Duration::from_secs(time_s);
        second.contains(&asks_in).then_some(ends)
    })
}

#[test]
fn a_tcp_timeout_that_comes_changes_and_goes_ends_no_session_and_holds_for_new_ones() {
    let session = Session::new("FIX.4.4", "FUND", "LIVE");
    let fix_engine = Peer::engine("engine", std::slice::from_ref(&session));
    let (tap, engine) = (Tap::before(fix_engine.address()), Engine::start());
    let directory = Directory::of(&[
        Route::new("fund", "fix").value("SenderCompID49", "FUND"),
        Route::new("broker", "engine").value("SenderCompID49", "BROKER"),
    ]);
    directory.put_service("fix", &[tap.address()]);
    directory.put_service("engine", &[engine.address()]);
    let gateway = Setup::over(&directory).start();
    let counterparty = Peer::counterparty(
        "counterparty",
        gateway.address(),
        std::slice::from_ref(&session),
    );
    let mut quickfix = LiveSession::begin(&session, &counterparty, &fix_engine, &tap);
    // 7 s are those of the default.
    let mut live = vec![begin_with(&gateway, &engine, 7)];
    for (timeout, time_s) in [(Some("15m"), 160), (Some("10s"), 1), (None, 7)] {
        for service in ["fix", "engine"] {
            annotate(&directory, service, timeout);
        }
        live.push(begin_with(&gateway, &engine, time_s));
        for ends in &mut live {
            ends.exchange();
        }
        quickfix.exchange(5);
    }
    quickfix.assert_unbroken();
}

#[test]
fn an_endpoint_that_leaves_the_list_or_turns_not_ready_closes_nothing() {
    let engines = [Engine::start(), Engine::start()];
    let (directory, gateway) = gateway(&engines, ["--tcp-timeout", SHORT]);
    let mut live = begin_until_at(&gateway, &engines, &[0, 1]);
    let addresses = engines.each_ref().map(Engine::address);
    let both = fixture::slices_yaml("engine", &addresses);
    let second_alone = fixture::slices_yaml("engine", &addresses[1..]);
    let first_not_ready = both.replacen("ready: true", "ready: false", 1);
    let not_ready = both.replace("ready: true", "ready: false");
    for (slices, new_ones_at) in [
        (second_alone.as_str(), [1].as_slice()),
        (&both, &[0, 1]),
        (&first_not_ready, &[1]),
        (&both, &[0, 1]),
        (&not_ready, &[]),
        (&both, &[0, 1]),
        ("", &[]),
        (&both, &[0, 1]),
    ] {
        let mark = gateway.mark();
        directory.write("engine-endpoints", slices);
        if new_ones_at.is_empty() {
            gateway.wait_applied(mark);
        } else {
            live.extend(begin_until_at(&gateway, &engines, new_ones_at));
        }
        for ends in &mut live {
            ends.exchange();
        }
    }
}

/// More sessions than there are endpoints, times workers: each endpoint gets its turn.
const A_ROUND: usize = 8;

/// Begins sessions, round by round, until one round is at exactly these engines.
fn begin_until_at(gateway: &Gateway, engines: &[Engine], wanted: &[usize]) -> Vec<Ends> {
    let mut begun = Vec::new();
    wait_until(&format!("sessions at {wanted:?}"), || {
        let round = (0..A_ROUND).map(|_| begin_at_any(gateway, engines));
        let (ends, at): (Vec<_>, BTreeSet<_>) = round.unzip();
        begun.extend(ends);
        at.iter().eq(wanted).then_some(())
    });
    begun
}

/// A megabyte that differs from another seed's.
fn megabyte(seed: u32) -> Vec<u8> {
    (seed..seed + 250_000).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_side_that_has_ended_its_direction_still_receives_and_no_last_byte_is_lost() {
    let engine = Engine::start();
    let (_directory, gateway) = gateway(std::slice::from_ref(&engine), []);
    for engine_ends_first in [false, true] {
        let ends = begin(&gateway, &engine);
        let (mut first, mut second) = if engine_ends_first {
            (ends.engine, ends.counterparty)
        } else {
            (ends.counterparty, ends.engine)
        };
        for seed in [1, 2] {
            let mut writer = first.writer();
            let sending = std::thread::spawn(move || {
                writer.write_all(&megabyte(seed)).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let received = second.take_to_end();
            assert!(received == megabyte(seed), "{} bytes", received.len());
            sending.join().unwrap();
            // The other direction is as it was, and gets its megabyte after that end.
            std::mem::swap(&mut first, &mut second);
        }
    }
}

#[test]
fn a_session_on_which_nothing_is_sent_ends_where_an_idle_timeout_is_set_and_a_talking_one_goes_on()
{
    let engine = Engine::start();
    let (_directory, gateway) = gateway(std::slice::from_ref(&engine), ["--idle-timeout", "1s"]);
    let mut idle = begin(&gateway, &engine);
    let mut talking = begin(&gateway, &engine);
    wait_until("the end of the idle session", || {
        talking.exchange();
        (!idle.counterparty.is_open()).then_some(())
    });
    assert_eq!(idle.engine.take_to_end(), b"");
    talking.exchange();
}
