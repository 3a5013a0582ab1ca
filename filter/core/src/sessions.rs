//! Which connections does this VM have, for which routes, and what has the control plane not been told of yet?
//!
//! Every count follows from where its connections stand, so none can leak as long as each change of a standing passes through
//! [`Sessions::moved`]. The control plane is told what has changed since a report that it has; when it does not have that one
//! (it was started again, or another replica took it), it is told everything.
//!
//! Pure: time is passed in, and [`Sessions::fill`] hands out what is to be sent.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use prost::Message as _;

use crate::decision::{Decision, DecisionRecord, Reason};
use crate::held::{self, OfRoute};
use crate::limits;
use crate::report::{RouteReport, TargetReport, VmReport};

/// Routes of one report.
pub const REPORT_ROUTES_MAX: usize = 1_024;
/// Bytes of one report's routes: the control plane takes twice as many.
pub const REPORT_BYTES_MAX: usize = 256 * 1024;
/// Targets of one route in a report. It has one, and for as long as sessions live there, the ones before: whoever moves a route
/// more often than that in a day is told of the others in one sum.
pub const TARGETS_TOLD_MAX: usize = 16;
/// What the others are called.
pub const OTHER_TARGETS: &str = "";

/// For which route a connection counts, and as what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// For none: it waits for its Logon, is at the reject engine, or is over.
    #[default]
    Unrouted,
    /// It waits for its target.
    Held {
        /// `namespace/name`
        route: String,
    },
    /// Its target is tried.
    Connecting {
        /// `namespace/name`
        route: String,
        /// Cluster.
        target: String,
    },
    /// An engine has it.
    Live {
        /// `namespace/name`
        route: String,
        /// Cluster.
        target: String,
    },
}

/// What one route has.
#[derive(Clone, Debug, Default)]
struct Account {
    held: u32,
    targets: BTreeMap<String, OfTarget>,
    logon_unix_ms: u64,
    decided: Option<(Decision, Reason, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OfTarget {
    connecting: u32,
    live: u32,
}

impl Account {
    fn is_empty(&self) -> bool {
        self.held == 0 && self.targets.is_empty()
    }

    fn report(&self, route: &str) -> RouteReport {
        let (decision, reason, decided_unix_ms) = self.decided.map_or(("", "", 0), |decided| {
            let (decision, reason, unix_ms) = decided;
            (decision.label(), reason.label(), unix_ms)
        });
        let mut targets: Vec<TargetReport> = Vec::new();
        for (target, of) in &self.targets {
            match targets.get_mut(TARGETS_TOLD_MAX) {
                Some(others) => {
                    others.connecting = others.connecting.saturating_add(of.connecting);
                    others.live = others.live.saturating_add(of.live);
                }
                None => targets.push(TargetReport {
                    target: if targets.len() < TARGETS_TOLD_MAX {
                        target.clone()
                    } else {
                        OTHER_TARGETS.to_string()
                    },
                    connecting: of.connecting,
                    live: of.live,
                }),
            }
        }
        RouteReport {
            route: route.to_string(),
            held: self.held,
            targets,
            logon_unix_ms: self.logon_unix_ms,
            decision: decision.to_string(),
            reason: reason.to_string(),
            decided_unix_ms,
        }
    }
}

/// The connections of one VM, by route, and what is known of it at the control plane.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// Of each route that had a decision. `""`: what no route took.
    routes: BTreeMap<String, Account>,
    held: BTreeMap<String, u32>,
    /// Routes that changed since they were told.
    changed: BTreeSet<String>,
    /// Number of the last report that was made, and of the last one that the control plane has.
    made: u64,
    known: u64,
    /// A report that is under way: its number and its routes.
    under_way: Option<(u64, Vec<String>)>,
}

impl Sessions {
    /// A connection stands elsewhere than before.
    pub fn moved(&mut self, before: &Standing, after: &Standing) {
        if before != after {
            self.count(before, |number| number.saturating_sub(1));
            self.count(after, |number| number.saturating_add(1));
        }
    }

    fn count(&mut self, standing: &Standing, change: impl Fn(u32) -> u32) {
        let route = match standing {
            Standing::Unrouted => return,
            Standing::Held { route }
            | Standing::Connecting { route, .. }
            | Standing::Live { route, .. } => route,
        };
        let account = self.account(route);
        match standing {
            Standing::Unrouted => {}
            Standing::Held { .. } => {
                account.held = change(account.held);
                let held = account.held;
                if held == 0 {
                    self.held.remove(route);
                } else {
                    self.held.insert(route.clone(), held);
                }
            }
            Standing::Connecting { target, .. } | Standing::Live { target, .. } => {
                let of = account.targets.entry(target.clone()).or_default();
                match standing {
                    Standing::Live { .. } => of.live = change(of.live),
                    _ => of.connecting = change(of.connecting),
                }
                if of.live == 0 && of.connecting == 0 {
                    account.targets.remove(target);
                }
            }
        }
    }

    /// The account of a route, which changes.
    fn account(&mut self, route: &str) -> &mut Account {
        if !self.routes.contains_key(route) && self.routes.len() >= limits::ROUTES_MAX {
            // What was decided for routes long gone; the control plane is told anew who is left.
            self.routes.retain(|_, account| !account.is_empty());
            self.forget_what_is_known();
        }
        if !self.changed.contains(route) {
            self.changed.insert(route.to_string());
        }
        self.routes.entry(route.to_string()).or_default()
    }

    /// Something was decided.
    pub fn decided(&mut self, record: &DecisionRecord, unix_ms: u64) {
        let account = self.account(record.route.as_deref().unwrap_or_default());
        account.decided = Some((record.decision, record.reason, unix_ms));
        if let Decision::Route | Decision::DefaultRoute = record.decision {
            account.logon_unix_ms = unix_ms;
        }
    }

    /// How many are held for each route.
    #[must_use]
    pub fn held(&self) -> Vec<OfRoute> {
        held::of_counts(&self.held)
    }

    /// Whether any is held.
    #[must_use]
    pub fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether there is something to tell.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.changed.is_empty() || self.known == 0
    }

    /// Puts what has changed into a report, as much as one takes.
    pub fn fill(&mut self, report: &mut VmReport) {
        // Nobody waits for an answer any more.
        self.answered(None);
        report.since = self.known;
        report.number = self.known;
        if !self.has_news() {
            return;
        }
        self.made = self.made.saturating_add(1);
        report.number = self.made;
        let mut taken = Vec::new();
        let mut bytes = 0_usize;
        while taken.len() < REPORT_ROUTES_MAX && bytes < REPORT_BYTES_MAX {
            let Some(route) = self.changed.pop_first() else {
                break;
            };
            if let Some(account) = self.routes.get(&route) {
                let told = account.report(&route);
                bytes = bytes.saturating_add(told.encoded_len());
                report.routes.push(told);
            }
            taken.push(route);
        }
        report.more = !self.changed.is_empty();
        self.under_way = Some((self.made, taken));
    }

    /// The report that is under way was answered: the control plane has the one of this number; `None`: it has not come.
    pub fn answered(&mut self, has: Option<u64>) {
        let Some((number, taken)) = self.under_way.take() else {
            if has.is_some_and(|has| has != self.known) {
                self.forget_what_is_known();
            }
            return;
        };
        match has {
            Some(has) if has == number => self.known = number,
            Some(_) => self.forget_what_is_known(),
            None => self.changed.extend(taken),
        }
    }

    fn forget_what_is_known(&mut self) {
        self.known = 0;
        self.changed = self.routes.keys().cloned().collect();
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    fn live(route: &str, target: &str) -> Standing {
        Standing::Live {
            route: route.to_string(),
            target: target.to_string(),
        }
    }

    fn held(route: &str) -> Standing {
        Standing::Held {
            route: route.to_string(),
        }
    }

    fn begin(sessions: &mut Sessions, standing: &Standing) {
        sessions.moved(&Standing::Unrouted, standing);
    }

    fn end(sessions: &mut Sessions, standing: &Standing) {
        sessions.moved(standing, &Standing::Unrouted);
    }

    fn told(sessions: &mut Sessions) -> VmReport {
        let mut report = VmReport::default();
        sessions.fill(&mut report);
        report
    }

    #[test]
    fn each_counts_for_its_route_and_target_as_what_it_is() {
        let mut sessions = Sessions::default();
        begin(&mut sessions, &live("t/a", "t/x:1"));
        begin(&mut sessions, &live("t/a", "t/x:1"));
        begin(&mut sessions, &live("t/a", "t/y:1"));
        let connecting = Standing::Connecting {
            route: "t/b".to_string(),
            target: "t/x:1".to_string(),
        };
        begin(&mut sessions, &held("t/b"));
        sessions.moved(&held("t/b"), &connecting);
        begin(&mut sessions, &held("t/b"));
        let report = told(&mut sessions);
        let counts = |of: &TargetReport| (of.target.clone(), of.connecting, of.live);
        let of =
            |index: usize| -> Vec<_> { report.routes[index].targets.iter().map(counts).collect() };
        assert_eq!(
            of(0),
            [("t/x:1".to_string(), 0, 2), ("t/y:1".to_string(), 0, 1)]
        );
        assert_eq!(of(1), [("t/x:1".to_string(), 1, 0)]);
        assert_eq!((report.routes[0].held, report.routes[1].held), (0, 1));
        assert_eq!(sessions.held(), held::by_route(["t/b"].into_iter()));
    }

    #[test]
    fn only_what_changed_is_told_again() {
        let mut sessions = Sessions::default();
        begin(&mut sessions, &live("t/a", "x"));
        begin(&mut sessions, &live("t/b", "x"));
        let first = told(&mut sessions);
        assert_eq!((first.since, first.number, first.routes.len()), (0, 1, 2));
        sessions.answered(Some(1));
        sessions.moved(&live("t/a", "x"), &live("t/a", "x"));
        assert!(!sessions.has_news());
        let heartbeat = told(&mut sessions);
        assert_eq!((heartbeat.since, heartbeat.number), (1, 1));
        sessions.answered(Some(1));
        end(&mut sessions, &live("t/b", "x"));
        let second = told(&mut sessions);
        assert_eq!((second.since, second.number), (1, 2));
        assert_eq!(second.routes.len(), 1);
        assert_eq!(second.routes[0].targets, vec![]);
    }

    #[test]
    fn what_did_not_arrive_is_told_again_and_who_knows_nothing_is_told_everything() {
        let mut sessions = Sessions::default();
        begin(&mut sessions, &live("t/a", "x"));
        told(&mut sessions);
        sessions.answered(None);
        assert_eq!(told(&mut sessions).routes.len(), 1);
        sessions.answered(Some(2));
        begin(&mut sessions, &live("t/b", "x"));
        told(&mut sessions);
        sessions.answered(Some(0));
        let again = told(&mut sessions);
        assert_eq!((again.since, again.number, again.routes.len()), (0, 4, 2));
        // Another replica answers a heartbeat.
        sessions.answered(Some(4));
        told(&mut sessions);
        sessions.answered(Some(0));
        assert!(sessions.has_news());
    }

    #[test]
    fn a_report_is_bounded_and_the_rest_follows() {
        let mut sessions = Sessions::default();
        for index in 0..=REPORT_ROUTES_MAX {
            begin(&mut sessions, &live(&format!("t/{index}"), "x"));
        }
        let first = told(&mut sessions);
        assert!(first.more && first.routes.len() == REPORT_ROUTES_MAX);
        sessions.answered(Some(1));
        assert!(sessions.has_news());
        let rest = told(&mut sessions);
        assert_eq!((rest.since, rest.routes.len(), rest.more), (1, 1, false));
        for index in 0..40 {
            begin(&mut sessions, &live("t/moved", &format!("t/{index}:1")));
        }
        sessions.answered(Some(2));
        let report = told(&mut sessions);
        let targets = &report.routes[0].targets;
        assert_eq!(targets.len(), TARGETS_TOLD_MAX + 1);
        assert_eq!(targets.iter().map(|target| target.live).sum::<u32>(), 40);
    }

    #[test]
    fn routes_that_are_long_gone_make_room() {
        let mut sessions = Sessions::default();
        begin(&mut sessions, &live("t/live", "x"));
        for index in 0..limits::ROUTES_MAX {
            sessions.account(&format!("t/{index}"));
        }
        assert!(sessions.routes.len() <= limits::ROUTES_MAX);
        assert!(sessions.routes.contains_key("t/live"));
    }
}
