//! What stands in the status of each FIXSession, and which Events are told of it? A scene is what was decided, served and heard;
//! the statuses of its objects are compared with `golden/status/SCENE.txt`.
//!
//! `UPDATE=1 cargo test -p fixgw-operator --test status_golden` rewrites what differs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use fixgw_operator::api::FIXSessionSpec;
use fixgw_operator::api::status::{Connections, FIXSessionStatus};
use fixgw_operator::pipeline::accept::{Acceptance, Verdict, Waits, accept};
use fixgw_operator::pipeline::hold::ConflictPolicy;
use fixgw_operator::pipeline::publish::Published;
use fixgw_operator::pipeline::resolve::Endpoints;
use fixgw_operator::pipeline::set::Accepted;
use fixgw_operator::pipeline::validate::validate;
use fixgw_operator::receive::fleet::{Fleet, ProxyView};
use fixgw_operator::receive::rejections::Rejections;
use fixgw_operator::receive::sessions::{OfTarget, Sessions};
use fixgw_operator::receive::vms::VmView;
use fixgw_operator::status::conditions::{
    Counting, Decided, Known, Publication, Served, Since, View, Whose,
};
use fixgw_operator::status::transitions;
use fixgw_operator::world::held::{HeldStatus, HeldStatuses, Lifecycle, Observed};
use fixgw_operator::world::{
    EndpointSlice, Fault, Faults, Identity, Kind, Located, ObjectName, Objects, Place, Places,
    RulesHalf, Scope, Service, ServicePort, World,
};
use fixgw_operator::xds::rollout::{Follows, Happened};

/// Stands in every value that must not be shown, and in no status.
const SECRET: &str = "SECRET";

/// The table that was in force before, and the one that is published now.
const BEFORE: u64 = 1_000;
const NOW: u64 = 2_000;

fn name(of: &str) -> ObjectName {
    ObjectName::new("trading", of)
}

fn located<T>(object: T, generation: i64, uid: &str) -> Arc<Located<T>> {
    Arc::new(Located {
        object,
        origin: None,
        places: Places::default(),
        identity: Some(Identity {
            uid: uid.into(),
            generation,
        }),
    })
}

/// `name: generation: spec`
type Written<'a> = &'a [(&'a str, i64, &'a str)];

fn objects(written: Written<'_>) -> Objects<FIXSessionSpec> {
    let objects = written.iter().map(|(of, generation, spec)| {
        let spec: FIXSessionSpec = serde_saphyr::from_str(spec).expect(spec);
        (name(of), located(spec, *generation, of))
    });
    objects.collect()
}

/// A route of one value to a Service.
fn route(value: &str, service: &str) -> String {
    format!(
        "{{matchFields: {{SenderCompID49: {{value: {value}}}}}, target: {{service: {{name: {service}, port: 9876}}}}}}"
    )
}

/// Everything, as a scene begins with it: the objects, in force and looked at, with an engine for `engine` and two gateways.
struct Scene {
    rules: RulesHalf,
    accepted: Option<Accepted>,
    verdicts: BTreeMap<ObjectName, Verdict>,
    known: Known,
    held: HeldStatuses,
}

impl Scene {
    fn new(before: Option<Written<'_>>, now: Written<'_>, policy: ConflictPolicy) -> Self {
        let before = before.map(|before| {
            let half = RulesHalf {
                sessions: objects(before).into(),
                ..RulesHalf::default()
            };
            let first = accept(None, &half, validate(&half.sessions), policy);
            let accepted = first.accepted.expect("what was before was accepted");
            Accepted {
                table: accepted.table.with_revision(BEFORE),
                ..accepted
            }
        });
        let rules = RulesHalf {
            sessions: objects(now).into(),
            ..RulesHalf::default()
        };
        Self::of(before, rules, policy)
    }

    fn of(before: Option<Accepted>, rules: RulesHalf, policy: ConflictPolicy) -> Self {
        let Acceptance {
            accepted, verdicts, ..
        } = accept(before.as_ref(), &rules, validate(&rules.sessions), policy);
        let accepted = match (accepted, before) {
            (Some(accepted), Some(before)) if accepted.table.same_routes(&before.table) => {
                Some(before)
            }
            (Some(accepted), _) => Some(Accepted {
                table: accepted.table.with_revision(NOW),
                ..accepted
            }),
            (None, before) => before,
        };
        let held = rules.sessions.iter().map(|(name, session)| {
            let held = HeldStatus {
                identity: session.identity.clone().unwrap(),
                lifecycle: Lifecycle::Live,
                status: Arc::default(),
            };
            (name.clone(), held)
        });
        let scene = Self {
            held: held.collect(),
            rules,
            accepted,
            verdicts,
            known: Known::default(),
        };
        scene.gateways(&[("gw-a", &[NOW, NOW]), ("gw-b", &[NOW])])
    }

    fn gateways(mut self, gateways: &[(&str, &[u64])]) -> Self {
        let proxies = gateways.iter().map(|(node, revisions)| {
            let vms = revisions.iter().map(|revision| VmView {
                table_revision: *revision,
                ..VmView::default()
            });
            let proxy = ProxyView {
                streams: 1,
                acknowledged: None,
                readiness: None,
                vms: vms.collect(),
            };
            ((*node).to_owned(), proxy)
        });
        self.known.fleet = Arc::new(Fleet {
            proxies: proxies.collect(),
        });
        self
    }

    /// What a gateway has: of a route, connecting, active and held, with the engine of a Service.
    fn sessions(mut self, gateway: &str, of: &[(&str, &str, u64, u64, u64)]) -> Self {
        let all = Arc::make_mut(&mut self.known.sessions);
        let own: &mut Sessions = all.entry(gateway.to_owned()).or_default();
        for (route, service, connecting, active, held) in of {
            let of = own
                .routes
                .entry(format!("trading/{route}").into())
                .or_default();
            let target = OfTarget {
                connecting: *connecting,
                active: *active,
            };
            of.targets.insert(format!("trading/{service}:9876"), target);
            of.held += held;
            of.logon_unix_ms = 1_795_766_412_345;
        }
        self
    }

    fn rejects(mut self, gateway: &str, names: &[&str], text: &str) -> Self {
        let happened = Happened::Rejected {
            kind: fixgw_operator::xds::session::Kind::Cluster,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            text: text.to_owned(),
            follows: Follows::NotSentAgain,
        };
        let rejections: &mut Rejections = Arc::make_mut(&mut self.known.rejections);
        assert!(rejections.observe(gateway, &happened));
        self
    }

    fn publication(mut self, publication: Publication) -> Self {
        self.known.publication = publication;
        self
    }

    fn held(mut self, of: &str, change: impl FnOnce(&mut HeldStatus)) -> Self {
        change(self.held.entry(name(of)).or_insert_with(|| HeldStatus {
            identity: Identity {
                uid: of.into(),
                generation: 1,
            },
            lifecycle: Lifecycle::Live,
            status: Arc::default(),
        }));
        self
    }

    fn known(self) -> Known {
        let rules = Arc::new(self.rules);
        let served = self.accepted.map(|accepted| Served {
            published: Arc::new(Published {
                table: accepted.table,
                sessions: accepted.sessions,
            }),
            endpoints: Arc::new(endpoints()),
        });
        Known {
            observed: Observed {
                world: World {
                    rules: rules.clone(),
                    ..World::default()
                },
                held: Arc::new(self.held),
            },
            decided: Some(Decided {
                rules,
                verdicts: Arc::new(self.verdicts),
                accepted: served.as_ref().map(|served| served.published.clone()),
            }),
            served,
            ..self.known
        }
    }
}

/// Services: `engine` with two endpoints, `starting` with none that is ready, `bare` without any, `elsewhere` outside.
fn endpoints() -> Endpoints {
    let service = |external| Service {
        ports: vec![ServicePort {
            name: String::new(),
            port: 9876,
        }],
        external,
        proxy_protocol: None,
        tcp_timeout: None,
    };
    let services = ["engine", "starting", "bare", "elsewhere"];
    let services = services.map(|of| (name(of), located(service(of == "elsewhere"), 1, of)));
    let slice = |of: &str, ready: &[u8], listed| EndpointSlice {
        service: of.to_owned(),
        ports: vec![ServicePort {
            name: String::new(),
            port: 9876,
        }],
        ready: ready.iter().map(|n| [10, 0, 0, *n].into()).collect(),
        listed,
    };
    let slices = [slice("engine", &[1, 2], 2), slice("starting", &[], 3)];
    let slices = slices.map(|slice| (name(&slice.service.clone()), located(slice, 1, "")));
    Endpoints {
        services: services.into(),
        slices: slices.into(),
        extra: Vec::new(),
        place: Place::Cluster,
    }
}

/// The status of each object, and what is told of it where nothing stood there before.
fn shown(known: &Known) -> String {
    let mut since = Since::default();
    since.look(known);
    let now = "2026-11-27T06:31:02Z".parse().unwrap();
    let mut view = View::new(known, &since, Whose::All, Counting::Told);
    let mut text = String::new();
    for (name, held) in known.observed.held.iter() {
        let Some(wanted) = view.of(name, held, &held.status) else {
            writeln!(text, "{name} is left as it is\n").unwrap();
            continue;
        };
        let status = wanted.status(now);
        let FIXSessionStatus {
            observed_generation,
            conditions,
            r#match,
            target,
            endpoints_ready,
            connections,
            revision,
            last_connection,
        } = status.clone();
        let generation = observed_generation.unwrap();
        writeln!(
            text,
            "{name}, generation {generation}, {:?}",
            wanted.lasting
        )
        .unwrap();
        for it in conditions {
            assert_eq!(it.observed_generation, observed_generation);
            assert_eq!(it.last_transition_time.0, now);
            let (of, status, reason, message) = (it.type_, it.status, it.reason, it.message);
            writeln!(text, "  {of}={status} {reason}: {message}").unwrap();
        }
        for (what, said) in [
            ("match", r#match),
            ("target", target),
            (
                "endpointsReady",
                endpoints_ready.map(|ready| ready.to_string()),
            ),
            ("revision", revision.map(|revision| revision.to_string())),
            ("lastConnection", last_connection),
        ] {
            if let Some(said) = said {
                writeln!(text, "  {what}: {said}").unwrap();
            }
        }
        if connections != Some(Connections::default()) {
            writeln!(text, "  {:?}", connections.unwrap()).unwrap();
        }
        for note in transitions::notes(&held.status, &status) {
            writeln!(
                text,
                "  Event {:?} {}: {}",
                note.weight, note.reason, note.text
            )
            .unwrap();
        }
        text.push('\n');
    }
    text
}

type Scenes = Vec<(&'static str, Scene)>;

const HOLD_TABLE: ConflictPolicy = ConflictPolicy::HoldTable;
const HOLD_CONFLICTING: ConflictPolicy = ConflictPolicy::HoldConflicting;
const HOST_BITS: &str =
    "{sourceRanges: [10.0.0.1/8], priority: 1, target: {service: {name: engine, port: 9876}}}";
const PASSWORD: &str = "{matchFields: {Password554: {value: SECRET}, Nonsense: {value: SECRET}}, target: {service: {name: engine, port: 9876}}}";

/// What a route may match, with values of which some may not be shown.
const ALL_KINDS: Written<'_> = &[
    (
        "values",
        3,
        "{matchFields: {SenderCompID49: {value: BROKER_A}, AlgoStrategy20001: {value: SECRET, redact: true}, ComplianceID9001: {value: SECRET, log: false}}, target: {service: {name: engine, port: 9876}}}",
    ),
    (
        "patterns",
        1,
        "{matchFields: {SenderCompID49: {pattern: BROK*}, Desk5001: {pattern: SECRET*, redact: true}, Flag5002: {pattern: '*'}}, priority: 7, target: {service: {name: engine, port: 9876}}}",
    ),
    (
        "hidden",
        1,
        "{matchFields: {ComplianceID9001: {value: SECRET, log: false}}, target: {service: {name: engine, port: 9876}}}",
    ),
    (
        "ranges",
        1,
        "{sourceRanges: [10.0.0.0/8, 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16], priority: 9, target: {service: {name: engine, port: 9876}}}",
    ),
    (
        "default",
        1,
        "{default: true, priority: 1, target: {service: {name: engine, port: 9876}}}",
    ),
];

/// A route whose values may not be shown.
const HUSHED: &str = "{matchFields: {Algo20001: {value: SECRET, redact: true}, Hidden9001: {pattern: SECRET*, log: false}}, priority: 3, target: {service: {name: engine, port: 9876}}}";

fn of_gateways_and_targets() -> Scenes {
    let (a, b) = (route("A", "engine"), route("B", "engine"));
    let a_moved = route("A", "starting");
    let one: Written<'_> = &[("a", 1, &a)];
    let two: Written<'_> = &[("a", 1, &a), ("b", 1, &b)];
    let moved: Written<'_> = &[("a", 2, &a_moved), ("b", 1, &b)];
    let counted = [
        ("values", "engine", 1, 5, 0),
        ("values", "starting", 0, 2, 0),
    ];
    let wrong_port =
        "{matchFields: {SenderCompID49: {value: P}}, target: {service: {name: engine, port: 1}}}";
    let targets: Written<'_> = &[
        ("missing", 1, &route("M", "nobody")),
        ("starting", 1, &route("S", "starting")),
        ("bare", 1, &route("B", "bare")),
        ("outside", 1, &route("O", "elsewhere")),
        ("port", 1, wrong_port),
    ];
    let refused = "Unable to create\nWasm plugin";
    vec![
        (
            "programmed",
            Scene::new(None, ALL_KINDS, HOLD_TABLE)
                .sessions("gw-a", &counted)
                .sessions("gw-b", &[("values", "engine", 0, 3, 4)]),
        ),
        (
            "pending",
            Scene::new(Some(one), two, HOLD_TABLE).gateways(&[
                ("gw-a", &[NOW, BEFORE]),
                ("gw-b", &[NOW]),
                ("gw-new", &[0, 0]),
            ]),
        ),
        (
            "no-gateway",
            Scene::new(None, one, HOLD_TABLE).gateways(&[("gw-new", &[0])]),
        ),
        (
            "rejected",
            Scene::new(Some(one), two, HOLD_TABLE)
                .gateways(&[("gw-a", &[BEFORE]), ("gw-b", &[NOW])])
                .rejects("gw-a", &["fix-routes"], refused),
        ),
        (
            "rejected-target",
            Scene::new(Some(one), moved, HOLD_TABLE).rejects(
                "gw-b",
                &["trading/starting:9876"],
                "no such thing",
            ),
        ),
        ("targets", Scene::new(None, targets, HOLD_TABLE)),
    ]
}

fn of_rules() -> Scenes {
    let (a, b, c) = (
        route("A", "engine"),
        route("B", "engine"),
        route("C", "engine"),
    );
    let one: Written<'_> = &[("a", 1, &a)];
    let two: Written<'_> = &[("a", 1, &a), ("b", 1, &b)];
    let wrong: Written<'_> = &[
        ("a", 2, HOST_BITS),
        ("new", 1, HOST_BITS),
        ("password", 1, PASSWORD),
    ];
    let with_hushed: Written<'_> = &[("a", 1, &a), ("b", 1, &b), ("hushed", 1, HUSHED)];
    let twice: Written<'_> = &[
        ("a", 1, &a),
        ("a-too", 1, &a),
        ("b", 2, &c),
        ("hushed", 1, HUSHED),
        ("hushed-too", 1, HUSHED),
    ];
    let crossed: Written<'_> = &[("a", 2, &b), ("b", 2, &a), ("c", 1, &a)];
    let at_first: Written<'_> = &[("a", 1, &a), ("a-too", 1, &a), ("b", 1, &b)];
    let alone: Written<'_> = &[("a", 1, &a), ("b", 2, &c), ("a-too", 1, &a)];
    let mut too_many = Scene::new(Some(one), two, HOLD_TABLE);
    too_many.accepted = Scene::new(None, one, HOLD_TABLE).accepted;
    let bound = "the routes make a table of more than 9 routes; the table in force stays as it is: delete routes";
    let verdict = Verdict {
        waits: Some(Waits::Bound(bound.into())),
        ..Verdict::default()
    };
    too_many.verdicts.insert(name("b"), verdict);
    vec![
        ("invalid", Scene::new(Some(one), wrong, HOLD_TABLE)),
        ("unreadable", unreadable(one)),
        ("conflict", Scene::new(Some(with_hushed), twice, HOLD_TABLE)),
        (
            "conflict-of-last-form",
            Scene::new(Some(two), crossed, HOLD_CONFLICTING),
        ),
        ("conflict-at-first", Scene::new(None, at_first, HOLD_TABLE)),
        (
            "conflict-held-alone",
            Scene::new(Some(two), alone, HOLD_CONFLICTING),
        ),
        ("bound", too_many),
    ]
}

fn unreadable(before: Written<'_>) -> Scene {
    let mut faults = Faults::default();
    faults.push(Fault {
        origin: None,
        object: Some((Kind::FIXSession, name("a"))),
        field: Some("spec.colour".to_owned()),
        what: "there is no such field".to_owned(),
        scope: Scope::Object,
    });
    let before = Scene::new(None, before, HOLD_TABLE).accepted;
    let rules = RulesHalf {
        faults,
        ..RulesHalf::default()
    };
    Scene::of(before, rules, HOLD_TABLE).held("a", |_| {})
}

fn of_the_course_of_things() -> Scenes {
    let (a, b) = (route("A", "engine"), route("B", "engine"));
    let one: Written<'_> = &[("a", 1, &a)];
    let two: Written<'_> = &[("a", 1, &a), ("b", 1, &b)];
    let mut failing = Scene::new(Some(one), two, HOLD_TABLE)
        .publication(Publication::Failing("the API server is away".to_owned()));
    failing.accepted = Scene::new(None, one, HOLD_TABLE).accepted;
    // Another way to write it makes the same table, which is not published again.
    let long = a.replace("target", "holdTimeout: 60s, target");
    let again = a.replace("target", "holdTimeout: 1m, target");
    let unchanged = || Scene::new(Some(one), one, HOLD_TABLE);
    let shown = FIXSessionStatus {
        r#match: Some("SenderCompID49=A".to_owned()),
        ..FIXSessionStatus::default()
    };
    vec![
        ("failing", failing),
        (
            "paused",
            unchanged()
                .gateways(&[("gw-a", &[BEFORE])])
                .held("new", |_| {})
                .held("changed", |held| held.identity.generation = 4)
                .publication(Publication::Paused("migration".to_owned())),
        ),
        (
            "newer-form",
            unchanged().held("a", |held| held.identity.generation = 2),
        ),
        (
            "made-anew",
            unchanged().held("a", |held| held.identity.uid = "another".into()),
        ),
        (
            "written-otherwise",
            Scene::new(Some(&[("a", 1, &long)]), &[("a", 2, &again)], HOLD_TABLE)
                .gateways(&[("gw-a", &[BEFORE])]),
        ),
        (
            "deleting",
            Scene::new(Some(one), &[("b", 1, &b)], HOLD_TABLE)
                .held("a", |held| {
                    held.lifecycle = Lifecycle::Deleting;
                    held.identity.generation = 2;
                    held.status = Arc::new(shown);
                })
                .sessions("gw-a", &[("a", "engine", 0, 2, 0)]),
        ),
    ]
}

#[test]
fn the_status_of_each_object_is_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/status");
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    let mut expected: Vec<String> = Vec::new();
    let scenes = [
        of_gateways_and_targets(),
        of_rules(),
        of_the_course_of_things(),
    ];
    for (scene, made) in scenes.into_iter().flatten() {
        let found = shown(&made.known());
        let file = directory.join(format!("{scene}.txt"));
        expected.push(format!("{scene}.txt"));
        assert!(!found.contains(SECRET), "{scene} shows a secret:\n{found}");
        if fs::read_to_string(&file).ok().as_ref() == Some(&found) {
            continue;
        }
        if update {
            fs::write(&file, found).unwrap();
        } else {
            wrong.push(format!("{}:\n{found}", file.display()));
        }
    }
    for file in fs::read_dir(&directory).unwrap() {
        let file = file.unwrap().file_name().to_string_lossy().into_owned();
        if !expected.contains(&file) {
            wrong.push(format!("{file} is of no scene"));
        }
    }
    assert!(
        wrong.is_empty(),
        "differ; UPDATE=1 rewrites:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_condition_that_stays_keeps_its_time_and_says_nothing_again() {
    let a = route("A", "engine");
    let mut known = Scene::new(None, &[("a", 1, &a)], ConflictPolicy::HoldTable).known();
    let mut since = Since::default();
    since.look(&known);
    let status = |known: &Known, now: &str| {
        let now = now.parse().unwrap();
        let mut view = View::new(known, &since, Whose::All, Counting::Told);
        let held = &known.observed.held[&name("a")];
        view.of(&name("a"), held, &held.status).unwrap().status(now)
    };
    let first = status(&known, "2026-11-27T06:00:00Z");
    let held = Arc::make_mut(&mut known.observed.held);
    held.get_mut(&name("a")).unwrap().status = Arc::new(first.clone());
    let again = status(&known, "2026-11-27T07:00:00Z");
    assert_eq!(again, first);
    assert_eq!(transitions::notes(&first, &again), []);
    known.fleet = Arc::default();
    let alone = status(&known, "2026-11-27T07:00:00Z");
    let times: Vec<(String, String)> = alone
        .conditions
        .iter()
        .map(|it| (it.type_.clone(), it.last_transition_time.0.to_string()))
        .collect();
    let (old, new) = ("2026-11-27T06:00:00Z", "2026-11-27T07:00:00Z");
    let wanted = [
        ("Accepted", old),
        ("TargetResolvable", old),
        ("EndpointsReady", old),
        ("Programmed", new),
    ];
    assert_eq!(times, wanted.map(|(of, at)| (of.to_owned(), at.to_owned())));
}

#[test]
fn a_route_that_did_not_change_stays_programmed_while_gateways_take_a_newer_table() {
    let (a, b) = (route("A", "engine"), route("B", "engine"));
    let policy = ConflictPolicy::HoldTable;
    let known = Scene::new(None, &[("a", 1, &a)], policy).known();
    let mut since = Since::default();
    since.look(&known);
    // `a` was published with NOW. A later table adds `b`, and a gateway does not use it yet.
    let mut later = Scene::new(None, &[("a", 1, &a), ("b", 1, &b)], policy);
    let accepted = later.accepted.as_mut().unwrap();
    accepted.table = accepted.table.with_revision(NOW + 5);
    let later = later.known();
    since.look(&later);
    let now = "2026-11-27T06:00:00Z".parse().unwrap();
    let mut view = View::new(&later, &since, Whose::All, Counting::Told);
    let reasons = ["a", "b"].map(|of| {
        let held = &later.observed.held[&name(of)];
        let wanted = view.of(&name(of), held, &held.status).unwrap();
        let status = wanted.status(now);
        (status.conditions[3].reason.clone(), status.revision)
    });
    let wanted = [("Programmed", NOW), ("Pending", NOW + 5)];
    assert_eq!(
        reasons,
        wanted.map(|(reason, revision)| (reason.to_owned(), Some(revision)))
    );
    // Another replica that takes over knows it by the status that stands there.
    let mut taken_over = later.clone();
    let held = &later.observed.held[&name("a")];
    let status = view.of(&name("a"), held, &held.status).unwrap().status(now);
    let all = Arc::make_mut(&mut taken_over.observed.held);
    all.get_mut(&name("a")).unwrap().status = Arc::new(status);
    let mut anew = Since::default();
    anew.look(&taken_over);
    let mut view = View::new(&taken_over, &anew, Whose::All, Counting::Told);
    let held = &taken_over.observed.held[&name("a")];
    let again = view.of(&name("a"), held, &held.status).unwrap().status(now);
    assert_eq!(again, *held.status);
}

#[test]
fn a_heartbeat_is_no_news() {
    let a = route("A", "engine");
    let known = Scene::new(None, &[("a", 1, &a)], HOLD_TABLE).known();
    let with = |change: fn(&mut VmView)| {
        let mut known = known.clone();
        let fleet = Arc::make_mut(&mut known.fleet);
        change(&mut fleet.proxies.get_mut("gw-a").unwrap().vms[0]);
        known
    };
    assert!(with(|vm| vm.silent_connections += 1).says_the_same_as(&known));
    assert!(!with(|vm| vm.table_revision -= 1).says_the_same_as(&known));
    let mut connected = known.clone();
    let sessions = Arc::make_mut(&mut connected.sessions);
    sessions.insert("gw-a".to_owned(), Sessions::default());
    assert!(!connected.says_the_same_as(&known));
}

#[test]
fn each_reason_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(root.join("src/status/conditions.rs")).unwrap();
    let (_, reasons) = source.split_once("pub mod reason {").unwrap();
    let (reasons, _) = reasons.split_once("\n}").unwrap();
    let reasons: Vec<&str> = reasons.split('"').skip(1).step_by(2).collect();
    assert!(reasons.len() > 20, "{reasons:?}");
    let document = fs::read_to_string(root.join("../docs/status.md")).unwrap();
    for reason in reasons {
        assert!(document.contains(&format!("`{reason}`")), "{reason}");
    }
}
