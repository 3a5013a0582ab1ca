//! Is what serves in the control plane's place believed, when it talks nonsense?

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fixgw_core::rule::{Hold, RouteName, Rule, RuleSpec, Target};
use fixgw_core::table::Table;
use fixgw_e2e::apart::Apart;
use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::impostor::Impostor;
use fixgw_e2e::process::{Ending, wait_until};
use fixgw_e2e::socket::reset;
use fixgw_e2e::tool;

use crate::scene::{Home, PROBE, assert_in_force, engine_of, probe_to};

/// A listener that does the same to each connection until it is dropped.
struct Babbler {
    address: SocketAddr,
    met: Arc<AtomicUsize>,
    over: Arc<AtomicUsize>,
}

impl Babbler {
    fn start(address: SocketAddr, babble: fn(TcpStream)) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let (met, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, ends) = (Arc::clone(&met), Arc::clone(&over));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::Acquire) > 0 {
                    return;
                }
                counted.fetch_add(1, Ordering::AcqRel);
                babble(stream);
            }
        });
        Self { address, met, over }
    }
}

impl Drop for Babbler {
    fn drop(&mut self) {
        self.over.store(1, Ordering::Release);
        // Wakes the accepting thread, and waits until the port is free.
        let _ = TcpStream::connect(self.address);
        wait_until("the port to be free", || {
            TcpListener::bind(self.address).ok()
        });
    }
}

/// What is sent by who does not speak the protocol.
const BABBLE: [fn(TcpStream); 4] = [
    reset,
    |mut stream| drop(stream.write_all(&(0..=255).cycle().take(10_000).collect::<Vec<u8>>())),
    |mut stream| drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")),
    // The preface of HTTP/2 as a server sends it (an empty SETTINGS frame), and then a frame of the largest length.
    |mut stream| {
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 255, 255, 255, 0, 0, 0, 0, 0, 1]);
        let _ = stream.read(&mut [0; 64]);
    },
];

/// A table of no route, of this revision.
fn empty_table(revision: u64) -> Table {
    Table::compile(&[], revision).unwrap()
}

/// A table that leads the probe, and everybody else, to a target that nobody serves.
fn default_table(revision: u64) -> Table {
    let spec = RuleSpec {
        name: RouteName {
            namespace: "t".to_owned(),
            name: "everybody".to_owned(),
        },
        match_fields: Vec::new(),
        source_ranges: None,
        default: true,
        priority: Some(1),
        target: Target::service("t", "nowhere", 1),
        hold: Hold::default(),
    };
    Table::compile(&[Rule::new(spec).unwrap()], revision).unwrap()
}

#[test]
fn a_control_plane_that_serves_nonsense_is_not_believed_and_the_honest_one_counts_again() {
    let home = Home::new();
    let (before, after) = (EchoEngine::start("before"), EchoEngine::start("after"));
    home.directory.put(&probe_to("before"));
    let endpoints = [
        ("fold", home.fold()),
        ("engine", home.engine()),
        ("before", before.address()),
        ("after", after.address()),
    ];
    let gateway = Apart::start(&home.directory, &endpoints);
    home.attacked(
        "control plane that serves nonsense",
        &gateway,
        |directory, flock| {
            let revision = gateway.revision();
            let address = gateway.end_control();
            for babble in BABBLE {
                let babbler = Babbler::start(address, babble);
                wait_until("Envoy to come", || {
                    (babbler.met.load(Ordering::Acquire) > 2).then_some(())
                });
                flock.assert_sound();
            }
            assert_in_force(&gateway, "before");
            let newer = revision + 1;
            let mut damaged = default_table(newer).image().to_vec();
            *damaged.last_mut().unwrap() ^= 1;
            let cut = &damaged[..damaged.len() / 2];
            let older = empty_table(revision - 1);
            let rejected = || "rejected".to_owned();
            let lies: [(&[u8], String); 4] = [
                (b"no table at all", rejected()),
                (&damaged, rejected()),
                (cut, rejected()),
                // Envoy takes it, for it says that it is newer; the workers look into it.
                (
                    older.image(),
                    format!("acknowledged revision {}", newer + 3),
                ),
            ];
            for (number, (image, answer)) in (newer..).zip(lies) {
                let over = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    // Not for a moment: a worker that took it could take the right one back at its next tick.
                    let asking = scope.spawn(|| {
                        while !over.load(Ordering::Acquire) {
                            assert_eq!(engine_of(&gateway, PROBE), "before");
                        }
                    });
                    let _over = Ending(&over);
                    let impostor = Impostor::serve(address, &tool::filter(), number, image);
                    impostor.wait_told(&answer);
                    flock.wait_rounds(3);
                    over.store(true, Ordering::Release);
                    asking.join().expect("it is not believed");
                });
                assert_in_force(&gateway, "before");
            }
            gateway.start_control(directory);
            gateway.apply(|| directory.put(&probe_to("after")));
            assert_in_force(&gateway, "after");
        },
    );
}
