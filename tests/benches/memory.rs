//! How much memory does a held connection take, and does the memory grow with the number of changes? Told, never asserted.
//!
//! What is looked at is the resident memory of the processes (`VmRSS`), so what their allocators keep is in it, and what the kernel
//! keeps for sockets is not.
//!
//! - Held connections: what Envoy has with [`HELD`] of them more than without, less the bytes that it has read from them
//!   and keeps (its own statistics say how many), for each of them. Once they have sent a Logon only, and once 64 KiB behind it.
//!   There are as many others before: those take what Envoy's allocator had free from its start, which would hide some.
//! - Changes: Envoy and the control plane before the first change of a table of 10,000 routes, and after each hundred, under 1,000
//!   live sessions that say nothing; each of them must still carry a message at the end. Each change is used by every worker before the
//!   next one is made. Until the first change there was only one table at a time, and from then on there are two for a moment at
//!   each: that is a step, once, and so growth is told from the start and from change 4 on.
//!
//! `FIXGW_MEMORY_CHANGES` says how many changes; [`CHANGES`] unless it is set.
//!
//! The programs are those of `FIXGW_BIN_DIR`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking and divides counts"
)]

use fixgw_e2e::figure::Told;
use fixgw_e2e::fix;
use fixgw_e2e::fixture::{Directory, Route, other_routes_yaml};
use fixgw_e2e::gateway::{Gateway, Setup};
use fixgw_e2e::memory::Memory;
use fixgw_e2e::pair::{self, Meeting, Pair};
use fixgw_e2e::process::{text, wait_until};
use fixgw_e2e::raw::RawClient;
use fixgw_e2e::socket::raise_open_files;

/// Held connections: as many as a gateway holds unless it is told otherwise.
const HELD: usize = 500;
/// Those before, and those that are measured.
const GROUPS: [&str; 2] = ["FIRST", "SECOND"];
/// Bytes that Envoy has read from counterparties and keeps, by its own account.
const BUFFERED: &str = "tcp.fix.downstream_cx_rx_bytes_buffered";
/// What each sends behind its Logon in the end.
const MORE_BYTES: usize = 64 * 1_024;
/// Routes of the table.
const ROUTES: usize = 10_000;
/// Live sessions that say nothing.
const SESSIONS: usize = 1_000;
/// Changes of the table, unless `FIXGW_MEMORY_CHANGES` says otherwise.
const CHANGES: usize = 1_000;
/// Changes from one look at the memory to the next.
const STEP: usize = 100;
/// Changes after which a control plane and an Envoy have had two tables at a time, which they always have from then on.
const WARM: usize = 4;
/// What is promised of a held connection, KiB.
const HELD_KIB_MAX: f64 = 32.0;
const AT_WARM: &str = "after the fourth";
const AT_MOST: &str = "at most";
/// The parts whose memory is looked at.
const PARTS: [&str; 2] = ["envoy", "control"];

fn main() {
    raise_open_files();
    held();
    changed();
}

fn held() {
    let most = u32::try_from(HELD).expect("a small number");
    let directory = Directory::new();
    for sender in GROUPS {
        let route = Route::new(&sender.to_lowercase(), "late").value("SenderCompID49", sender);
        directory.put(&route.held_at_most(most).held_for("10m"));
    }
    directory.put_service("late", &[]);
    let gateway = Setup::over(&directory)
        .arguments(["--max-held-connections-per-pod", &(2 * HELD).to_string()])
        .admin()
        .start();
    let [first, second] = GROUPS.map(|sender| fix::logon("FIX.4.4", sender, "VENUE", &[]));
    let more = vec![b'x'; MORE_BYTES];
    let mut others = hold(&gateway, &first);
    say(&mut others, &more);
    let before = Taken::by(&gateway, HELD * more.len());
    let mut clients = hold(&gateway, &second);
    let logons = Taken::by(&gateway, HELD * (more.len() + second.len()));
    logons.tell("a Logon", &before);
    say(&mut clients, &more);
    let full = Taken::by(&gateway, 2 * HELD * more.len());
    full.tell("a Logon and 64 KiB more", &before);
}

/// So many more that are held.
fn hold(gateway: &Gateway, logon: &[u8]) -> Vec<RawClient> {
    let held = || {
        let decisions = gateway.decisions();
        let decisions = decisions.iter();
        let held = decisions.filter(|record| text(record, "decision") == "HELD");
        held.count()
    };
    let before = held();
    let mut clients: Vec<RawClient> = (0..HELD)
        .map(|_| RawClient::connect(gateway.address()))
        .collect();
    say(&mut clients, logon);
    wait_until("all to be held", || (held() == before + HELD).then_some(()));
    clients
}

fn say(clients: &mut [RawClient], bytes: &[u8]) {
    for client in clients {
        client.send(bytes);
    }
}

/// What Envoy has, and how much of that are bytes of connections.
struct Taken {
    memory: u64,
    bytes: u64,
}

impl Taken {
    /// Once it has read so many bytes, or more.
    fn by(gateway: &Gateway, bytes: usize) -> Self {
        let bytes = wait_until("Envoy to read what it takes", || {
            let read = gateway.statistics_of(BUFFERED).get(BUFFERED).copied();
            let read = read.unwrap_or(0);
            (read >= bytes as u64).then_some(read)
        });
        let memory = Memory::of("envoy", gateway.child("envoy"));
        Self {
            memory: memory.now_kb() * 1_024,
            bytes,
        }
    }

    fn tell(&self, load: &str, before: &Self) {
        let each = |bytes: u64| bytes as f64 / 1_024.0 / HELD as f64;
        let (memory, bytes) = (self.memory - before.memory, self.bytes - before.bytes);
        let told = Told {
            table: "held connections",
            load,
            metric: "memory over its bytes",
            unit: "KiB",
            to: Some(AT_MOST),
        };
        told.of(AT_MOST, &[HELD_KIB_MAX]);
        told.of(&format!("each of {HELD}"), &[each(memory) - each(bytes)]);
        let bytes_told = Told {
            metric: "bytes",
            to: None,
            ..told
        };
        bytes_told.of(&format!("each of {HELD}"), &[each(bytes)]);
    }
}

fn changed() {
    let changes = changes();
    let meeting = Meeting::open();
    let edited = |service| Route::new("edited", service).value("SenderCompID49", "EDITED");
    let directory = Directory::of(&[edited("engine")]);
    directory.put(&Route::new("pair", "engine").value("SenderCompID49", pair::SENDER));
    directory.write("others", &other_routes_yaml(ROUTES, "engine"));
    let gateway = Setup::over(&directory)
        .endpoint("engine", meeting.address())
        .endpoint("other", meeting.address())
        .arguments(["--settle-quiet-ms", "0"])
        .start();
    let mut sessions: Vec<Pair> = (0..SESSIONS)
        .map(|_| meeting.pair(gateway.address()))
        .collect();
    let look = || PARTS.map(|part| Memory::of(part, gateway.child(part)));
    let before = look();
    let mut warm = look();
    let mut grown: Vec<[f64; PARTS.len()]> = Vec::new();
    for change in 1..=changes {
        let service = if change % 2 == 0 { "engine" } else { "other" };
        gateway.apply(|| directory.put(&edited(service)));
        if change == WARM {
            warm = look();
        } else if change % STEP == 0 || change == changes {
            grown.push(PARTS.map(|part| mib(&Memory::of(part, gateway.child(part)))));
        }
    }
    for (place, part) in PARTS.into_iter().enumerate() {
        let told = Told {
            table: "changes",
            load: part,
            metric: "memory",
            unit: "MiB",
            to: Some(AT_WARM),
        };
        told.of("before the first", &[mib(&before[place])]);
        told.of(AT_WARM, &vec![mib(&warm[place]); grown.len()]);
        let grown: Vec<f64> = grown.iter().map(|parts| parts[place]).collect();
        told.of("after each hundred", &grown);
        if let Some(last) = grown.last() {
            told.of("after the last", &[*last]);
        }
    }
    let message = fix::order("FIX.4.4", pair::SENDER, "VENUE", 2, 1);
    for session in &mut sessions {
        session.exchange(&message);
    }
}

fn mib(memory: &Memory) -> f64 {
    memory.before_kb() as f64 / 1_024.0
}

fn changes() -> usize {
    std::env::var("FIXGW_MEMORY_CHANGES").map_or(CHANGES, |changes| {
        changes
            .parse()
            .expect("FIXGW_MEMORY_CHANGES is a number of changes")
    })
}
