//! What does the change of one route of ten thousand cost a replica, and where does it go? Printed, never asserted.
//!
//! In one process, without an API server: what is observed is made here. Median of [`ROUNDS`] changes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking and prints rounded figures"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fixgw_operator::api::{FIXSessionSpec, MatchField, ServiceSpec, TargetSpec};
use fixgw_operator::kubernetes::table::encoding::{Memo, encode};
use fixgw_operator::pipeline::hold::ConflictPolicy;
use fixgw_operator::pipeline::replica::Replica;
use fixgw_operator::pipeline::settle::Times;
use fixgw_operator::world::{Located, ObjectName, Objects, Places, RulesHalf, World};

/// FIXSessions.
const SESSIONS: usize = 10_000;
/// Services that they lead to.
const SERVICES: usize = 500;
/// Changes.
const ROUNDS: u64 = 50;

fn session(number: usize, service: usize) -> Arc<Located<FIXSessionSpec>> {
    let field = |value: String| MatchField {
        value: Some(value),
        pattern: None,
        redact: false,
        log: true,
    };
    let fields = [
        ("SenderCompID49", field(format!("BROKER_{number}"))),
        ("TargetCompID56", field("GATEWAY".to_owned())),
    ];
    let object = FIXSessionSpec {
        match_fields: fields.map(|(key, field)| (key.to_owned(), field)).into(),
        source_ranges: None,
        default: false,
        priority: None,
        target: TargetSpec {
            service: ServiceSpec {
                name: format!("engine-{service}"),
                port: 9_876,
            },
        },
        max_held_connections: None,
        hold_timeout: None,
    };
    Arc::new(Located {
        object,
        origin: None,
        places: Places::default(),
        identity: None,
    })
}

fn name(number: usize) -> ObjectName {
    ObjectName::new("bench", &format!("session-{number:05}"))
}

fn world(sessions: &Objects<FIXSessionSpec>) -> World {
    let rules = RulesHalf {
        sessions: sessions.clone(),
        ..RulesHalf::default()
    };
    World {
        rules: Arc::new(rules),
        ..World::default()
    }
}

fn main() {
    let mut sessions: Objects<FIXSessionSpec> = (0..SESSIONS)
        .map(|number| (name(number), session(number, number % SERVICES)))
        .collect();
    let [mut leader, mut follower] =
        [(); 2].map(|()| Replica::new(Times::default(), ConflictPolicy::default()));
    let mut memo = Memo::default();
    leader.lead(0, 0);
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..=ROUNDS {
        let number = usize::try_from(round).unwrap() * 7 % SESSIONS;
        sessions.insert(name(number), session(number, (number + 1) % SERVICES));
        let now = round * 1_000;
        let mut begun = Instant::now();
        let mut took = |part: &'static str, begun: &mut Instant| {
            let all = times.entry(part).or_default();
            if round > 0 {
                all.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            *begun = Instant::now();
        };
        let world = world(&sessions);
        took("1 observed", &mut begun);
        leader.observe(&world, now);
        took("2 compared by the leader", &mut begun);
        let _ = leader.advance(now + 500, now + 500);
        took("3 decided", &mut begun);
        let published = leader.proposal().unwrap().clone();
        let encoded = encode(&published, &mut memo).unwrap();
        took("4 encoded", &mut begun);
        leader.published(&published, now + 500);
        let pass = leader.advance(now + 500, now + 500);
        assert!(pass.snapshot.is_some());
        took("5 served by the leader", &mut begun);
        follower.observe(&world, now);
        let _ = follower.advance(now + 500, now + 500);
        took("6 compared by the follower", &mut begun);
        follower.published(&published, now + 500);
        let pass = follower.advance(now + 500, now + 500);
        assert!(pass.snapshot.is_some());
        took("7 served by the follower", &mut begun);
        drop((world, encoded, published, pass));
        took("8 forgotten", &mut begun);
    }
    println!("one route of {SESSIONS} led elsewhere, ms (median of {ROUNDS})");
    for (part, mut times) in times {
        times.sort_by(f64::total_cmp);
        println!("  {part:<32}{:8.2}", times[times.len() / 2]);
    }
}
