//! Do live sessions notice those who wait for an engine, and are those counted and connected as they should be?

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route};
use fixgw_e2e::gateway::Gateway;
use fixgw_e2e::memory::Memory;
use fixgw_e2e::process::{Ending, kind, text, wait_until};
use fixgw_e2e::raw::RawClient;
use serde_json::Value;

use crate::scene::{Home, sized};

/// The CompID of those who wait.
const WAITER: &str = "WAITER";

fn logon() -> Vec<u8> {
    fix::logon("FIX.4.4", WAITER, "VENUE", &[])
}

/// The route of those who wait, to a Service of this name without an endpoint.
fn put_route(directory: &Directory, engine: &str, at_most: u32) {
    let route = Route::new("waiter", engine).value("SenderCompID49", WAITER);
    directory.put(&route.held_at_most(at_most).held_for("10m"));
    directory.put_service(engine, &[]);
}

/// A client that has sent its Logon.
fn waiter(gateway: &Gateway) -> RawClient {
    let mut client = RawClient::connect(gateway.address());
    client.send_unless_closed(&logon());
    client
}

/// How many decisions of this reason there were about those who wait.
fn decided(gateway: &Gateway, reason: &str) -> usize {
    let is = |event: &&Value| {
        kind(event) == "decision"
            && text(event, "reason") == reason
            && text(event, "route") == "trading/waiter"
    };
    gateway.process().events().iter().filter(is).count()
}

/// Each of them is connected to this engine, which gets its Logon once.
fn assert_connected(clients: &mut [RawClient], engine: &EchoEngine, name: &str) {
    let logon = logon();
    for client in clients.iter_mut() {
        assert_eq!(client.take_greeting(), name);
        assert_eq!(client.take(logon.len()), logon);
    }
    let received = engine.received();
    assert_eq!(received.len(), clients.len(), "connections at the engine");
    assert!(received.iter().all(|bytes| *bytes == logon));
}

#[test]
fn five_hundred_are_held_at_once_the_next_is_refused_and_all_are_connected_when_the_engine_comes() {
    const HELD: usize = 500;
    let home = Home::new();
    put_route(&home.directory, "late", 500);
    let gateway = home.setup().start();
    home.attacked(
        "500 held at once, the 501st refused",
        &gateway,
        |directory, flock| {
            let mut clients: Vec<RawClient> = (0..HELD).map(|_| waiter(&gateway)).collect();
            wait_until("all to be held", || {
                flock.assert_sound();
                (decided(&gateway, "no_ready_endpoint") == HELD).then_some(())
            });
            let mut surplus = waiter(&gateway);
            assert_eq!(surplus.take_to_end(), b"");
            let record = gateway.decision_about(surplus.address());
            assert_eq!(text(&record, "reason"), "hold_limit", "{record}");
            let engine = EchoEngine::start("late");
            directory.put_service("late", &[engine.address()]);
            assert_connected(&mut clients, &engine, "late");
        },
    );
}

/// Who may wait at once in the storm.
const CAP: usize = 10;
/// Clients that come again as soon as they are refused.
const CLIENTS: usize = 20;

#[test]
fn the_caps_hold_under_a_storm_of_reconnects_and_no_place_is_lost() {
    let reconnects = sized(600, 2_000);
    let home = Home::new();
    put_route(&home.directory, "late", 10);
    let gateway = home.setup().start();
    home.attacked(
        &format!("the caps under a storm of {reconnects} reconnects"),
        &gateway,
        |directory, flock| {
            // Whoever has a place keeps it, so that there is exactly one for each of the first, whatever the order.
            let mut held: Vec<RawClient> = std::thread::scope(|scope| {
                let storm = || {
                    let mut held = Vec::new();
                    for _ in 0..reconnects / CLIENTS {
                        let mut client = waiter(&gateway);
                        let record = gateway.decision_about(client.address());
                        if text(&record, "decision") == "HELD" {
                            held.push(client);
                        } else {
                            assert_eq!(text(&record, "reason"), "hold_limit", "{record}");
                            assert_eq!(client.take_to_end(), b"");
                        }
                    }
                    held
                };
                let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(storm)).collect();
                let held = clients
                    .into_iter()
                    .flat_map(|client| client.join().unwrap());
                held.collect()
            });
            flock.assert_sound();
            assert_eq!(held.len(), CAP, "of all that came");
            // They leave, half of them with a reset, and as many find a place.
            for (number, client) in held.drain(..).enumerate() {
                if number % 2 == 0 {
                    client.reset();
                } else {
                    drop(client);
                }
            }
            wait_until("the places to be free", || {
                (decided(&gateway, "left_while_held") == CAP).then_some(())
            });
            held.extend((0..CAP).map(|_| waiter(&gateway)));
            wait_until("the places to be taken", || {
                (decided(&gateway, "no_ready_endpoint") == 2 * CAP).then_some(())
            });
            let mut surplus = waiter(&gateway);
            assert_eq!(surplus.take_to_end(), b"");
            let engine = EchoEngine::start("late");
            directory.put_service("late", &[engine.address()]);
            assert_connected(&mut held, &engine, "late");
        },
    );
}

#[test]
fn an_engine_that_is_ready_and_not_ready_in_turn_gets_each_that_waits_for_it_once() {
    /// How long it is either.
    const TURN: Duration = Duration::from_millis(100);
    let length = sized(Duration::from_secs(4), Duration::from_mins(1));
    let home = Home::new();
    put_route(&home.directory, "flapping", 100);
    let gateway = home.setup().start();
    let engine = EchoEngine::start("flapping");
    home.attacked(
        &format!(
            "an engine ready and not ready every 100 ms for {} s",
            length.as_secs()
        ),
        &gateway,
        |directory, flock| {
            let over = AtomicBool::new(false);
            let connected = std::thread::scope(|scope| {
                let arrive = || {
                    let logon = logon();
                    let mut connected = 0_usize;
                    while !over.load(Ordering::Acquire) {
                        let mut client = waiter(&gateway);
                        assert_eq!(client.take_greeting(), "flapping");
                        assert_eq!(client.take(logon.len()), logon);
                        connected += 1;
                    }
                    connected
                };
                let _over = Ending(&over);
                let arriving: Vec<_> = (0..4).map(|_| scope.spawn(arrive)).collect();
                let begun = Instant::now();
                let mut turns = 0_u32;
                while begun.elapsed() < length {
                    let ready = [engine.address()];
                    directory.put_service(
                        "flapping",
                        if turns.is_multiple_of(2) { &ready } else { &[] },
                    );
                    turns += 1;
                    // The pause is the attack.
                    std::thread::sleep(TURN);
                    flock.assert_sound();
                }
                over.store(true, Ordering::Release);
                directory.put_service("flapping", &[engine.address()]);
                arriving
                    .into_iter()
                    .map(|client| client.join().expect("each is connected"))
                    .sum::<usize>()
            });
            let received = engine.received();
            assert_eq!(received.len(), connected, "connections at the engine");
            assert!(received.iter().all(|bytes| *bytes == logon()));
            let held = decided(&gateway, "no_ready_endpoint");
            println!("{connected} came, {held} of them were held");
            assert!(held > 0, "nobody was ever held");
        },
    );
}

#[test]
fn ten_megabytes_behind_a_logon_that_is_held_cost_no_memory_and_arrive_once() {
    const MORE: usize = 10_000_000;
    /// What Envoy may keep for it: far less than it sends.
    const KEPT_MAX_KB: u64 = 2 * 1_024;
    let home = Home::new();
    put_route(&home.directory, "late", 1);
    let gateway = home.setup().start();
    home.attacked(
        "10 MB right behind a Logon that is held",
        &gateway,
        |directory, flock| {
            let memory = Memory::of("envoy", gateway.child("envoy"));
            let mut client = waiter(&gateway);
            let _ = gateway.decision_about(client.address());
            let more: Vec<u8> = (0_u32..).flat_map(u32::to_le_bytes).take(MORE).collect();
            let mut writer = client.writer();
            let sent = more.clone();
            let sending = std::thread::spawn(move || writer.write_all(&sent).unwrap());
            flock.wait_rounds(20);
            assert!(!sending.is_finished(), "the gateway has taken all of it");
            let grown = memory.now_kb().saturating_sub(memory.before_kb());
            assert!(grown < KEPT_MAX_KB, "Envoy has grown by {grown} kB");
            let engine = EchoEngine::start("late");
            directory.put_service("late", &[engine.address()]);
            let wanted = [logon(), more].concat();
            assert_eq!(client.take_greeting(), "late");
            assert!(
                client.take(wanted.len()) == wanted,
                "the echo is not what was sent"
            );
            assert!(
                engine.wait_received(wanted.len()) == wanted,
                "the engine has other bytes"
            );
            sending.join().unwrap();
        },
    );
}
