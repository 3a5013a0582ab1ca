//! Do live sessions notice how many others there are, and how they behave?

use std::time::Duration;

use fixgw_e2e::hostile::{CROWD, Conduct, Crowd};
use fixgw_e2e::memory::Memory;
use fixgw_e2e::process::wait_until;
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
