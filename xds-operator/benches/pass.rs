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
use fixgw_operator::receive::fleet::{Fleet, ProxyView};
use fixgw_operator::receive::vms::VmView;
use fixgw_operator::status::conditions::{Counting, Decided, Known, Served, Since, View, Whose};
use fixgw_operator::status::planner::Planner;
use fixgw_operator::world::held::{HeldStatus, Lifecycle};
use fixgw_operator::world::{
    EndpointSlice, EndpointsHalf, Identity, Located, ObjectName, Objects, Places, RulesHalf,
    Service, ServicePort, World,
};

/// FIXSessions.
const SESSIONS: usize = 10_000;
/// Services that they lead to.
const SERVICES: usize = 500;
/// Changes.
const ROUNDS: u64 = 50;

fn located<T>(object: T, identity: Option<Identity>) -> Arc<Located<T>> {
    Arc::new(Located {
        object,
        origin: None,
        places: Places::default(),
        identity,
    })
}

fn session(number: usize, service: usize, generation: i64) -> Arc<Located<FIXSessionSpec>> {
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
    let identity = Identity {
        uid: number.to_string().into(),
        generation,
    };
    located(object, Some(identity))
}

/// Services with an endpoint each.
fn endpoints() -> Arc<EndpointsHalf> {
    let mut all = EndpointsHalf::default();
    for number in 0..SERVICES {
        let name = ObjectName::new("bench", &format!("engine-{number}"));
        let ports = vec![ServicePort {
            name: String::new(),
            port: 9_876,
        }];
        let service = Service {
            ports: ports.clone(),
            external: false,
            proxy_protocol: None,
            tcp_timeout: None,
        };
        let slice = EndpointSlice {
            service: name.name.to_string(),
            ports,
            ready: vec![[10, 0, 0, 1].into()],
            listed: 1,
        };
        all.services.insert(name.clone(), located(service, None));
        all.slices.insert(name, located(slice, None));
    }
    Arc::new(all)
}

/// What the statuses are made of, with every one of them as it shall be.
fn known(replica: &Replica, world: &World, before: &Known) -> Known {
    let looked_at = replica.looked_at().unwrap();
    let (published, endpoints) = replica.served().unwrap();
    let vm = VmView {
        table_revision: published.table.revision(),
        ..VmView::default()
    };
    let proxy = ProxyView {
        streams: 1,
        acknowledged: None,
        readiness: None,
        vms: vec![vm],
    };
    let mut known = Known {
        decided: Some(Decided {
            rules: looked_at.rules.clone(),
            verdicts: looked_at.verdicts.clone(),
            accepted: looked_at.accepted.cloned(),
        }),
        served: Some(Served {
            published: published.clone(),
            endpoints: endpoints.clone(),
        }),
        fleet: Arc::new(Fleet {
            proxies: [("gateway".to_owned(), proxy)].into(),
        }),
        ..before.clone()
    };
    known.observed.world = world.clone();
    let held = Arc::make_mut(&mut known.observed.held);
    for (name, session) in world.rules.sessions.iter() {
        let identity = session.identity.clone().unwrap();
        let new = || HeldStatus {
            identity: identity.clone(),
            lifecycle: Lifecycle::Live,
            status: Arc::default(),
        };
        held.entry(name.clone()).or_insert_with(new).identity = identity.clone();
    }
    known
}

/// Writes every status as it shall be.
fn write_all(known: &mut Known) {
    let mut since = Since::default();
    since.look(known);
    let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
    let mut held = known.observed.held.clone();
    let mut view = View::new(known, &since, Whose::All, Counting::Told);
    for (name, object) in Arc::make_mut(&mut held) {
        let before = object.status.clone();
        let wanted = view.of(name, object, &before).unwrap();
        object.status = Arc::new(wanted.status(now));
    }
    known.observed.held = held;
}

fn name(number: usize) -> ObjectName {
    ObjectName::new("bench", &format!("session-{number:05}"))
}

fn world(sessions: &Arc<Objects<FIXSessionSpec>>, endpoints: &Arc<EndpointsHalf>) -> World {
    let rules = RulesHalf {
        sessions: sessions.clone(),
        ..RulesHalf::default()
    };
    World {
        rules: Arc::new(rules),
        endpoints: endpoints.clone(),
    }
}

fn main() {
    let sessions = (0..SESSIONS).map(|it| (name(it), session(it, it % SERVICES, 1)));
    let mut sessions: Arc<Objects<FIXSessionSpec>> = Arc::new(sessions.collect());
    let [mut leader, mut follower] =
        [(); 2].map(|()| Replica::new(Times::default(), ConflictPolicy::default()));
    let endpoints = endpoints();
    let mut memo = Memo::default();
    let (mut planner, mut statuses) = (Planner::default(), Known::default());
    leader.lead(0, 0);
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..=ROUNDS {
        let number = usize::try_from(round).unwrap() * 7 % SESSIONS;
        let changed = session(number, (number + 1) % SERVICES, 2);
        let now = round * 1_000;
        let mut begun = Instant::now();
        let mut took = |part: &'static str, begun: &mut Instant| {
            let all = times.entry(part).or_default();
            if round > 0 {
                all.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            *begun = Instant::now();
        };
        Arc::make_mut(&mut sessions).insert(name(number), changed);
        let world = world(&sessions, &endpoints);
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
        statuses = known(&leader, &world, &statuses);
        begun = Instant::now();
        planner.look(&statuses, now);
        took("8 statuses looked at", &mut begun);
        assert!(
            round == 0 || planner.waiting() == 1,
            "{}",
            planner.waiting()
        );
        write_all(&mut statuses);
        planner.look(&statuses, now);
        begun = Instant::now();
        drop((world, encoded, published, pass));
        took("9 forgotten", &mut begun);
    }
    println!("one route of {SESSIONS} led elsewhere, ms (median of {ROUNDS})");
    for (part, mut times) in times {
        times.sort_by(f64::total_cmp);
        println!("  {part:<32}{:8.2}", times[times.len() / 2]);
    }
}
