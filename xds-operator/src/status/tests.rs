//! What a status says, and what is told of orphans.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use fixgw_core::decision::{Decision, Reason, Severity};
use fixgw_core::rule::{FieldSpec, Hold, RouteName, Rule, RuleSpec, Target};

use super::notices::Notices;
use super::*;
use crate::receive::fleet::ProxyView;
use crate::receive::sessions::OfTarget;
use crate::receive::vms::VmView;

/// A table of routes in the namespace `t`, each with its target.
fn table(revision: u64, routes: &[(&str, &str)]) -> Table {
    let rules = routes.iter().map(|(name, target)| {
        let field = FieldSpec {
            value: Some((*name).to_owned()),
            ..FieldSpec::default()
        };
        let spec = RuleSpec {
            name: RouteName {
                namespace: "t".to_owned(),
                name: (*name).to_owned(),
            },
            match_fields: vec![("SenderCompID49".to_owned(), field)],
            source_ranges: None,
            default: false,
            priority: None,
            target: Target::service("t", target, 1),
            hold: Hold::default(),
        };
        Rule::new(spec).unwrap()
    });
    Table::compile(&rules.collect::<Vec<_>>(), revision).unwrap()
}

fn snapshot(table: &Table) -> Snapshot {
    let endpoints = table.targets().map(|target| {
        let address = "127.0.0.1:1".parse().unwrap();
        (Target::cluster(target.to_owned()), vec![address])
    });
    Snapshot {
        table_image: Arc::from(table.image()),
        revision: table.revision(),
        endpoints: endpoints.collect(),
        proxy_protocol: BTreeMap::new(),
        tcp_timeouts: BTreeMap::new(),
    }
}

/// One gateway that uses a revision, with live sessions by route and target.
fn sessions(revision: u64, live: &[(&str, &str, u64)]) -> AllSessions {
    let mut own = Sessions {
        revision: Some(revision),
        vms: 3,
        ..Sessions::default()
    };
    for (route, target, active) in live {
        let of = own.routes.entry(format!("t/{route}").into()).or_default();
        let counts = OfTarget {
            connecting: 0,
            active: *active,
        };
        of.targets.insert(format!("t/{target}:1"), counts);
        of.logon_unix_ms = 5_000;
        of.decided = Some(Decided {
            unix_ms: 5_000,
            decision: Decision::Route,
            reason: Reason::Matched,
        });
    }
    AllSessions::from([("gw".to_owned(), own)])
}

fn fleet() -> Fleet {
    let vm = VmView {
        table_revision: 7,
        ..VmView::default()
    };
    let proxy = ProxyView {
        streams: 1,
        acknowledged: Some(7),
        readiness: None,
        vms: vec![vm; 3],
    };
    Fleet {
        proxies: BTreeMap::from([("gw".to_owned(), proxy)]),
    }
}

#[test]
fn sessions_of_a_deleted_route_are_orphans_and_those_of_a_moved_one_are_at_the_old_target() {
    let table = table(7, &[("a", "x"), ("b", "y"), ("idle", "x")]);
    let all = sessions(
        7,
        &[
            ("a", "x", 2),
            ("b", "x", 3),
            ("b", "y", 1),
            ("gone", "z", 4),
        ],
    );
    let status = Status::new(&table, &snapshot(&table), &fleet(), &all, 9_000);
    let rows: Vec<_> = status
        .routes
        .iter()
        .map(|route| {
            let Counts {
                active,
                on_old_target,
                orphaned,
                ..
            } = route.counts;
            (
                route.route.as_str(),
                route.target.as_deref(),
                active,
                on_old_target,
                orphaned,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("t/a", Some("t/x:1"), 2, 0, 0),
            ("t/b", Some("t/y:1"), 4, 3, 0),
            ("t/gone", None, 0, 0, 4),
            ("t/idle", Some("t/x:1"), 0, 0, 0),
        ]
    );
    let gateway = &status.gateways[0];
    assert_eq!(
        (gateway.revision, gateway.vms, gateway.vms_counted),
        (7, 3, 3)
    );
    let Counts {
        active, orphaned, ..
    } = gateway.counts;
    assert_eq!((active, orphaned), (6, 4));
    assert_eq!(
        gateway.counts.last_logon.as_deref(),
        Some("1970-01-01T00:00:05Z")
    );
    assert_eq!(status.routes[0].endpoints_ready, 1);
    let json = serde_json::to_vec(&status).unwrap();
    assert_eq!(serde_json::from_slice::<Status>(&json).unwrap(), status);
}

#[test]
fn the_tables_for_people_are_these() {
    let table = table(7, &[("a", "x"), ("idle", "x")]);
    let all = sessions(7, &[("a", "x", 2), ("gone", "z", 4)]);
    let mut status = Status::new(&table, &snapshot(&table), &fleet(), &all, 9_000);
    status.gateways[0].vms_counted = 2;
    let mut shown = Vec::new();
    let now = jiff::Timestamp::from_millisecond(130_000).unwrap();
    text::write(&status, now, &mut shown).unwrap();
    let wanted = "\
revision 7, 1970-01-01T00:00:09Z

GATEWAY  REVISION  VMS     ACTIVE  OLD TARGET  HELD  CONNECTING  ORPHANED  LAST LOGON  LAST DECISION
gw       7         2 of 3  2       0           0     0           4         2 min ago   ROUTE matched, 2 min ago

ROUTE   TARGET     ENDPOINTS  ACTIVE  OLD TARGET  HELD  CONNECTING  ORPHANED  LAST LOGON  LAST DECISION
t/a     t/x:1      1          2       0           0     0           0         2 min ago   ROUTE matched, 2 min ago
t/gone  (deleted)  -          0       0           0     0           4         2 min ago   ROUTE matched, 2 min ago
t/idle  t/x:1      1          0       0           0     0           0         -           -
";
    assert_eq!(String::from_utf8(shown).unwrap(), wanted);
}

fn said(notices: &mut Notices, table: &Table, all: &AllSessions) -> Vec<(Severity, String)> {
    let messages = notices.observe(table, all).into_iter();
    messages
        .map(|message| (message.severity, message.to_string()))
        .collect()
}

#[test]
fn orphans_are_told_once_when_every_worker_uses_the_table_and_once_more_when_their_route_is_back() {
    let mut notices = Notices::default();
    let (before, after) = (table(7, &[("a", "x")]), table(8, &[]));
    let live = |revision| sessions(revision, &[("a", "x", 2)]);
    assert_eq!(said(&mut notices, &before, &live(7)), []);
    // One worker has not taken it yet.
    assert_eq!(said(&mut notices, &after, &live(7)), []);
    let told = said(&mut notices, &after, &live(8));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, Severity::Error);
    assert!(
        told[0].1.contains("FIXSession t/a") && told[0].1.contains("2 live sessions"),
        "{told:?}"
    );
    assert_eq!(
        said(&mut notices, &after, &sessions(8, &[("a", "x", 1)])),
        []
    );
    // Not heard for a while.
    assert_eq!(said(&mut notices, &after, &AllSessions::new()), []);
    assert_eq!(said(&mut notices, &after, &live(8)), []);
    // A VM that was made anew has not told everything yet.
    let mut partly = sessions(8, &[]);
    partly.get_mut("gw").unwrap().vms_missing = 1;
    assert_eq!(said(&mut notices, &after, &partly), []);
    assert_eq!(said(&mut notices, &after, &live(8)), []);
    let back = said(&mut notices, &table(9, &[("a", "x")]), &live(9));
    assert_eq!(back.len(), 1);
    assert_eq!(back[0].0, Severity::Info);
    assert_eq!(said(&mut notices, &table(9, &[("a", "x")]), &live(9)), []);
}

#[test]
fn sessions_at_an_old_target_are_told_once_for_each_move() {
    let mut notices = Notices::default();
    let live = |revision| sessions(revision, &[("a", "x", 2)]);
    assert_eq!(said(&mut notices, &table(7, &[("a", "x")]), &live(7)), []);
    let to_y = table(8, &[("a", "y")]);
    let told = said(&mut notices, &to_y, &live(8));
    assert!(
        told[0].1.contains("t/y:1") && told[0].1.contains("2 live sessions"),
        "{told:?}"
    );
    assert_eq!(said(&mut notices, &to_y, &live(8)), []);
    assert_eq!(
        said(&mut notices, &table(9, &[("a", "z")]), &live(9)).len(),
        1
    );
    assert_eq!(said(&mut notices, &table(10, &[("a", "x")]), &live(10)), []);
    assert_eq!(
        said(&mut notices, &table(11, &[("a", "y")]), &live(11)).len(),
        1
    );
}
