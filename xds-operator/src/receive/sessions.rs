//! Who is connected, according to the VMs?
//!
//! Each VM tells what has changed since a report that the control plane has ([`fixgw_core::sessions`]); what is kept here of a
//! VM is what it has told. Nothing is kept on a disk: after a restart every VM is asked for everything, with its next report.
//!
//! Pure. Bounded: whoever can reach the port can report.

use std::collections::BTreeMap;
use std::sync::Arc;

use fixgw_core::decision::{Decision, Reason};
use fixgw_core::limits;
use fixgw_core::report::{RouteReport, VmReport};

/// Bytes of a route's name, as Kubernetes has its parts, and of a target's (`namespace/service:port`). Longer ones are nobody's.
const NAME_BYTES_MAX: usize = limits::ROUTE_NAME_BYTES_MAX + 6;
/// Targets of one route in one VM: what a VM tells.
const TARGETS_MAX: usize = fixgw_core::sessions::TARGETS_TOLD_MAX + 1;

/// What became of a Logon last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// What.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
}

/// Connections to one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfTarget {
    /// Those that no endpoint has taken yet.
    pub connecting: u64,
    /// Those that an engine has.
    pub active: u64,
}

/// The connections of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfRoute {
    /// Those that wait for their target.
    pub held: u64,
    /// The others, by target.
    pub targets: BTreeMap<String, OfTarget>,
    /// When a Logon took the route last: milliseconds since 1970; 0: none did.
    pub logon_unix_ms: u64,
    /// What was decided last.
    pub decided: Option<Decided>,
}

impl OfRoute {
    /// Those that an engine has, whichever.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.targets.values().map(|of| of.active).sum()
    }

    /// Those that no endpoint has taken yet.
    #[must_use]
    pub fn connecting(&self) -> u64 {
        self.targets.values().map(|of| of.connecting).sum()
    }

    fn add(&mut self, other: &Self) {
        self.held += other.held;
        for (target, of) in &other.targets {
            let own = self.targets.entry(target.clone()).or_default();
            own.connecting += of.connecting;
            own.active += of.active;
        }
        self.logon_unix_ms = self.logon_unix_ms.max(other.logon_unix_ms);
        let decided = [self.decided, other.decided].into_iter().flatten();
        self.decided = decided.max_by_key(|decided| decided.unix_ms);
    }
}

/// Connections by `namespace/name` of their route; `""`: what no route took. The names are shared: all of it is copied some times a second,
/// for whoever looks.
pub type Routes = BTreeMap<Arc<str>, OfRoute>;

/// What one VM has told.
#[derive(Debug, Default)]
pub struct VmSessions {
    /// The last report that was taken in; 0: none.
    number: u64,
    routes: Routes,
    /// What it tells anew, until that is whole: meanwhile what it told before counts.
    anew: Option<Routes>,
    /// Routes and targets of both.
    kept: usize,
    /// Whether all was told once.
    is_whole: bool,
    is_cut: bool,
}

impl VmSessions {
    /// Takes a report in, with room for so many routes and targets. The number of the report that is had then, and whether
    /// anything changed.
    pub fn take(&mut self, report: VmReport, room: usize) -> (u64, bool) {
        if report.since == 0 && report.number != 0 {
            let dropped = self.anew.replace(Routes::new());
            self.kept -= dropped.as_ref().map_or(0, size_of_all);
            self.is_cut = false;
            self.number = 0;
        }
        if report.since != self.number {
            // Something is missing before it.
            return (0, false);
        }
        self.number = report.number;
        let changed = !report.routes.is_empty() || report.since == 0;
        let mut left = room.saturating_sub(self.kept);
        let routes = self.anew.as_mut().unwrap_or(&mut self.routes);
        for told in report.routes {
            let before = routes.get(&*told.route).map_or(0, size);
            if !is_known(&told) {
                self.is_cut = true;
                continue;
            }
            let (route, of) = read(told);
            let size = size(&of);
            let Some(after) = (left + before).checked_sub(size) else {
                self.is_cut = true;
                continue;
            };
            left = after;
            self.kept = self.kept - before + size;
            routes.insert(route, of);
        }
        if !report.more {
            self.is_whole = true;
            if let Some(anew) = self.anew.take() {
                self.kept -= size_of_all(&self.routes);
                self.routes = anew;
            }
        }
        (self.number, changed)
    }

    /// Routes and targets that are kept.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.kept
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a route takes of the room.
fn size(of: &OfRoute) -> usize {
    1 + of.targets.len()
}

fn size_of_all(routes: &Routes) -> usize {
    routes.values().map(size).sum()
}

/// Whether it may be a VM's word: names of objects, which move nobody's cursor, and as many targets as one tells.
fn is_known(told: &RouteReport) -> bool {
    let is_name = |name: &str| name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    let targets = told.targets.iter();
    told.targets.len() <= TARGETS_MAX
        && is_name(&told.route)
        && targets.map(|of| of.target.as_str()).all(is_name)
}

fn read(told: RouteReport) -> (Arc<str>, OfRoute) {
    let targets = told.targets.into_iter().map(|of| {
        let counts = OfTarget {
            connecting: of.connecting.into(),
            active: of.live.into(),
        };
        (of.target, counts)
    });
    let decision = Decision::from_label(&told.decision);
    let reason = Reason::from_label(told.reason.as_bytes());
    let decided = decision.zip(reason).map(|(decision, reason)| Decided {
        unix_ms: told.decided_unix_ms,
        decision,
        reason,
    });
    let of = OfRoute {
        held: told.held.into(),
        targets: targets.collect(),
        logon_unix_ms: told.logon_unix_ms,
        decided,
    };
    (told.route.into(), of)
}

/// The connections of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// Of all of its VMs.
    pub routes: Routes,
    /// Whether some are missing, for there are more than are kept.
    pub is_cut: bool,
    /// The oldest table that one of its VMs uses; 0: one has none.
    pub revision: Option<u64>,
    /// How many VMs have told all of theirs.
    pub vms: usize,
    /// How many have not.
    pub vms_missing: usize,
}

impl Sessions {
    /// Adds what a VM has, which uses this table.
    pub fn add(&mut self, vm: &VmSessions, revision: u64) {
        self.take_in(&vm.routes, Some(revision), vm.is_cut);
        self.vms += usize::from(vm.is_whole);
        self.vms_missing += usize::from(!vm.is_whole);
    }

    /// Adds another proxy's.
    pub fn add_proxy(&mut self, other: &Self) {
        self.take_in(&other.routes, other.revision, other.is_cut);
        self.vms += other.vms;
        self.vms_missing += other.vms_missing;
    }

    fn take_in(&mut self, routes: &Routes, revision: Option<u64>, is_cut: bool) {
        if self.routes.is_empty() {
            self.routes.clone_from(routes);
        } else {
            for (route, of) in routes {
                self.routes.entry(route.clone()).or_default().add(of);
            }
        }
        self.is_cut |= is_cut;
        self.revision = [self.revision, revision].into_iter().flatten().min();
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use fixgw_core::report::TargetReport;

    use super::*;

    fn told(route: &str, live: u32) -> RouteReport {
        RouteReport {
            route: route.to_owned(),
            targets: vec![TargetReport {
                target: "t/x:1".to_owned(),
                connecting: 0,
                live,
            }],
            decision: "ROUTE".to_owned(),
            reason: "matched".to_owned(),
            decided_unix_ms: u64::from(live),
            ..RouteReport::default()
        }
    }

    fn report(since: u64, number: u64, routes: &[RouteReport]) -> VmReport {
        VmReport {
            since,
            number,
            routes: routes.to_vec(),
            ..VmReport::default()
        }
    }

    const ROOM: usize = 10;

    #[test]
    fn what_follows_what_is_known_is_taken_in_and_nothing_else() {
        let mut vm = VmSessions::default();
        assert_eq!(vm.take(report(3, 4, &[told("a", 1)]), ROOM), (0, false));
        assert_eq!(
            vm.take(report(0, 5, &[told("a", 1), told("b", 1)]), ROOM),
            (5, true)
        );
        assert_eq!(vm.take(report(5, 6, &[told("b", 7)]), ROOM), (6, true));
        assert_eq!(vm.take(report(6, 6, &[]), ROOM), (6, false));
        assert_eq!(vm.take(report(5, 7, &[told("b", 9)]), ROOM), (0, false));
        assert_eq!(vm.routes["b"].active(), 7);
        assert_eq!(vm.take(report(0, 8, &[told("b", 2)]), ROOM), (8, true));
        assert_eq!(vm.len(), 2);
    }

    #[test]
    fn a_heartbeat_before_everything_was_told_changes_nothing() {
        let mut vm = VmSessions::default();
        assert_eq!(vm.take(report(0, 1, &[told("a", 1)]), ROOM), (1, true));
        // From a filter that tells nothing of its connections.
        assert_eq!(vm.take(report(0, 0, &[]), ROOM), (0, false));
        assert_eq!(vm.len(), 2);
    }

    #[test]
    fn what_is_kept_is_counted_however_it_came_and_went() {
        let mut vm = VmSessions::default();
        let counted =
            |vm: &VmSessions| size_of_all(&vm.routes) + vm.anew.as_ref().map_or(0, size_of_all);
        let more = |report: VmReport| VmReport {
            more: true,
            ..report
        };
        let gone = |route: &str| RouteReport {
            targets: Vec::new(),
            ..told(route, 0)
        };
        for (step, report) in [
            report(0, 1, &[told("a", 1), told("b", 1)]),
            report(1, 2, &[gone("a"), told("c", 1)]),
            // Told anew, interrupted, and told anew again.
            more(report(0, 3, &[told("a", 1), told("d", 1)])),
            more(report(0, 4, &[told("a", 2)])),
            report(4, 5, &[told("e", 1), told("f", 1)]),
            report(7, 8, &[told("g", 1)]),
        ]
        .into_iter()
        .enumerate()
        {
            vm.take(report, 2 * ROOM);
            assert_eq!(vm.len(), counted(&vm), "after step {step}");
        }
        assert_eq!(vm.len(), 6);
    }

    #[test]
    fn what_is_told_anew_in_parts_counts_when_it_is_whole() {
        let mut vm = VmSessions::default();
        let part = |since, number, name: &str| VmReport {
            more: true,
            ..report(since, number, &[told(name, 1)])
        };
        vm.take(part(0, 1, "a"), ROOM);
        let all = |vm: &VmSessions| {
            let mut all = Sessions::default();
            all.add(vm, 3);
            (all.routes.len(), all.vms, all.vms_missing)
        };
        assert_eq!(all(&vm), (0, 0, 1));
        vm.take(report(1, 2, &[told("b", 1)]), ROOM);
        assert_eq!(all(&vm), (2, 1, 0));
        assert_eq!(vm.take(part(0, 3, "a"), ROOM), (3, true));
        assert_eq!(all(&vm), (2, 1, 0), "what was told before");
        vm.take(report(3, 4, &[]), ROOM);
        assert_eq!(all(&vm), (1, 1, 0));
    }

    #[test]
    fn a_name_that_is_none_is_not_taken_in() {
        for name in ["t/\u{1b}[2J", "t/a\nCRITICAL", &"n".repeat(400)] {
            let mut vm = VmSessions::default();
            vm.take(report(0, 1, &[told(name, 1)]), ROOM);
            assert!(vm.is_empty() && vm.is_cut);
        }
    }

    #[test]
    fn there_is_room_for_so_many_routes_and_it_is_said_when_some_are_missing() {
        let mut vm = VmSessions::default();
        let many: Vec<RouteReport> = ["a", "b", "c"].map(|name| told(name, 1)).to_vec();
        assert_eq!(vm.take(report(0, 1, &many), 5), (1, true));
        let mut all = Sessions::default();
        all.add(&vm, 3);
        assert!(all.is_cut && all.routes.len() == 2);
        vm.take(report(1, 2, &[told("a", 5)]), 4);
        assert_eq!(vm.routes["a"].active(), 5);
    }

    #[test]
    fn vms_are_added_up_and_the_last_decision_is_the_newest() {
        let (mut first, mut second) = (VmSessions::default(), VmSessions::default());
        first.take(report(0, 1, &[told("a", 2)]), ROOM);
        second.take(report(0, 1, &[told("a", 3), told("b", 1)]), ROOM);
        let mut all = Sessions::default();
        all.add(&first, 9);
        all.add(&second, 8);
        assert_eq!((all.routes["a"].active(), all.routes["b"].active()), (5, 1));
        assert_eq!(
            all.routes["a"].decided.map(|decided| decided.unix_ms),
            Some(3)
        );
        assert_eq!((all.revision, all.vms), (Some(8), 2));
    }
}
