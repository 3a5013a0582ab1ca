//! Do live sessions notice how many others there are, and how they behave?

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fixgw_e2e::fix;
use fixgw_e2e::fixture::Route;
use fixgw_e2e::hostile::{CROWD, Conduct, Crowd};
use fixgw_e2e::memory::Memory;
use fixgw_e2e::process::{Ending, wait_until};
use fixgw_e2e::socket::raise_open_files;

use crate::scene::{Home, pass_time, sized};

#[test]
fn a_thousand_who_send_a_byte_a_second_take_bounded_memory_and_break_no_session() {
    /// What each may keep: `per_connection_buffer_limit_bytes`.
    const KEPT_MAX_KB: u64 = 64;
    let length = sized(Duration::from_secs(3), Duration::from_mins(2));
    let home = Home::new();
    let gateway = home.setup().start();
    home.attacked(
        &format!(
            "{CROWD} connections that send a byte a second, for {} s",
            length.as_secs()
        ),
        &gateway,
        |_, flock| {
            let memory = Memory::of("envoy", gateway.child("envoy"));
            let mut crowd = Crowd::against(gateway.address(), Conduct::Drip);
            wait_until("the crowd to be there", || {
                (crowd.toll().opened() >= CROWD as u64).then_some(())
            });
            pass_time(flock, length);
            crowd.disperse();
            let grown = memory.highest_kb().saturating_sub(memory.before_kb());
            assert!(
                grown < KEPT_MAX_KB * CROWD as u64,
                "Envoy has grown by {grown} kB"
            );
            println!("Envoy has grown by {grown} kB at most");
        },
    );
}

/// How many send to the engine that reads nothing.
const TALKERS: usize = 20;

#[test]
fn an_engine_that_reads_nothing_costs_its_own_sessions_and_no_other() {
    /// What is kept for one of them: both buffers of Envoy, and what it reads at once.
    const KEPT_MAX_KB: u64 = 256;
    let length = sized(Duration::from_secs(3), Duration::from_mins(1));
    let deaf = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let home = Home::new();
    home.directory
        .put(&Route::new("deaf", "deaf").value("SenderCompID49", "TALKER"));
    let gateway = home
        .setup()
        .endpoint("deaf", deaf.local_addr().unwrap())
        .start();
    home.attacked(
        &format!("an engine that reads nothing for {} s", length.as_secs()),
        &gateway,
        |_, flock| {
            let memory = Memory::of("envoy", gateway.child("envoy"));
            let logon = fix::logon("FIX.4.4", "TALKER", "VENUE", &[]);
            let talker = || {
                let mut talker = TcpStream::connect(gateway.address()).unwrap();
                talker.write_all(&logon).unwrap();
                let (accepted, _) = deaf.accept().unwrap();
                talker.set_nonblocking(true).unwrap();
                (talker, accepted)
            };
            let mut talkers: Vec<_> = (0..TALKERS).map(|_| talker()).collect();
            let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                let _over = Ending(&over);
                scope.spawn(|| {
                    let bytes = vec![b'x'; 64 * 1_024];
                    while !over.load(Ordering::Acquire) {
                        for (talker, _) in &mut talkers {
                            match talker.write(&bytes) {
                                Ok(count) => drop(sent.fetch_add(count, Ordering::AcqRel)),
                                // After 30 s the kernel gives such a connection up, as it is told to.
                                Err(error) => assert!(
                                    matches!(
                                        error.kind(),
                                        ErrorKind::WouldBlock
                                            | ErrorKind::ConnectionReset
                                            | ErrorKind::BrokenPipe
                                    ),
                                    "{error}"
                                ),
                            }
                        }
                        std::thread::sleep(Duration::from_millis(10));
                    }
                });
                pass_time(flock, length);
            });
            let grown = memory.highest_kb().saturating_sub(memory.before_kb());
            println!(
                "{} bytes were sent to it, Envoy has grown by {grown} kB at most",
                sent.into_inner()
            );
            assert!(
                grown < KEPT_MAX_KB * TALKERS as u64,
                "Envoy has grown by {grown} kB"
            );
        },
    );
}

#[test]
fn three_thousand_sessions_live_with_one_engine() {
    // Envoy's default circuit breaker would close session 1,025.
    let sessions = sized(1_101, 3_001);
    raise_open_files();
    let home = Home::new();
    let gateway = home.setup().start();
    let address = gateway.address();
    let breath = Duration::from_secs(1);
    home.attacked_by(
        &format!("{sessions} live sessions with one engine"),
        &gateway,
        |_, fold| fold.gather_slow(address, sessions, breath),
        |_, flock| {
            flock.wait_rounds(sized(3, 30));
        },
    );
}
