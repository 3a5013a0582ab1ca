//! Does an engine take the connection that was let go to it?
//!
//! Envoy counts attempts, this keeps the time. A target that counts as ready and refuses is tried again, each time at the next
//! of its endpoints, until the time is over. Should the target cease to be ready meanwhile, Envoy would give up at once, for it
//! tries no empty cluster: then the connection is *parked*, at a cluster that nobody can answer for, and counts as held. The same
//! when its route leads elsewhere, or is deleted: no Logon goes to an engine that is its route's no more. When its route has a
//! target that is ready, the next attempt goes there. What the counterparty sent stays with Envoy all the while, and
//! arrives once.
//!
//! A state machine without I/O, as [`crate::connection`]: what Envoy says of the upstream goes in, a [`Step`] comes out.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use crate::connection::{Step, View};
use crate::decision::{Decision, DecisionRecord, Reason};
use crate::held::{self, Caps, Full, Place};
use crate::rule::Hold;
use crate::sessions::Standing;

/// Milliseconds in which an engine that is there takes a connection. Who has finished sending by then, and is not taken, has left.
const TAKEN_MS: u64 = 200;

/// What Envoy says of a connection's way to its engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// Whether an endpoint has taken it.
    pub is_connected: bool,
    /// Attempts that were begun.
    pub attempts: u64,
    /// Where the last one went, and why it failed; empty while none has failed.
    pub failure: String,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The counterparty.
    Left,
    /// Envoy, for it gave up.
    GivenUp,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Envoy tries its target.
    Trying,
    /// Its target ceased to be ready, and it asks for a place among those that are held.
    Asking {
        caps: Caps,
        timeout_ms: u64,
        attempts: u64,
    },
    /// It has one. `attempts` is the number of the one that may still be on its way to the target.
    Parked {
        since_ms: u64,
        timeout_ms: u64,
        attempts: u64,
    },
    /// An engine has it, or it is closed.
    Over,
}

/// A connection whose bytes were let go, until an engine has it.
#[derive(Clone, Debug)]
pub struct Connecting {
    state: State,
    /// What was decided: its route, and the target that is tried.
    record: DecisionRecord,
    /// How its route lets it wait: as the rules were when it was decided.
    hold: Hold,
    timeout_ms: u64,
    /// When it was seen first: that its time begins with a tick is at most a tick too late.
    since_ms: Option<u64>,
    has_finished: bool,
}

impl Connecting {
    /// A connection that goes by this record. `has_finished`: its FIN came with its Logon.
    #[must_use]
    pub fn new(record: DecisionRecord, view: View<'_>, has_finished: bool) -> Self {
        let hold = name(&record).and_then(|(namespace, name)| {
            let table = view.table?;
            Some(table.hold(table.route_named(namespace, name)?))
        });
        Self {
            state: State::Trying,
            record,
            hold: hold.unwrap_or_default(),
            timeout_ms: view.settings.connect_timeout_ms.into(),
            since_ms: None,
            has_finished,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let Some(route) = self.record.route.clone() else {
            return Standing::Unrouted;
        };
        match self.state {
            State::Trying | State::Asking { .. } => Standing::Connecting {
                route,
                target: self.record.target.clone().unwrap_or_default(),
            },
            State::Parked { .. } => Standing::Held { route },
            State::Over => Standing::Unrouted,
        }
    }

    /// The counterparty has finished sending. Where its engine takes it, that is a half-close; as long as none does, it is all
    /// that is heard of a counterparty that leaves.
    pub const fn finished(&mut self) {
        self.has_finished = true;
    }

    /// Time has passed, or the readiness may have changed.
    pub fn progressed(&mut self, now_ms: u64, view: View<'_>, upstream: &Upstream) -> Step {
        if let State::Over = self.state {
            return Step::Wait;
        }
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        if upstream.is_connected {
            return self.taken(now_ms.saturating_sub(since_ms), upstream.attempts);
        }
        match self.state {
            State::Over | State::Asking { .. } => Step::Wait,
            State::Parked { .. } if self.has_finished => self.close(held::left()),
            State::Parked {
                since_ms,
                timeout_ms,
                attempts,
            } => {
                let waited = now_ms.saturating_sub(since_ms);
                // The attempt that was on its way when it was parked could still reach an endpoint that is none of the target's.
                let target =
                    held_target(&self.record, view).filter(|_| upstream.attempts > attempts);
                match target {
                    Some(target) => self.unpark(now_ms, waited, target, view.revision()),
                    None if waited >= timeout_ms => self.close(held::over(waited)),
                    None => Step::Wait,
                }
            }
            State::Trying => self.keep_trying(now_ms.saturating_sub(since_ms), view, upstream),
        }
    }

    fn keep_trying(&mut self, waited: u64, view: View<'_>, upstream: &Upstream) -> Step {
        // Most engines take it the next moment, and answer though it has finished.
        if self.has_finished && (upstream.attempts > 1 || waited >= TAKEN_MS) {
            return self.close(left_while_connecting(upstream));
        }
        if has_lost_target(&self.record, view) {
            let settings = view.settings;
            let timeout_ms = self.hold.timeout_ms.unwrap_or(settings.hold_timeout_ms);
            let caps = Caps::new(self.hold, settings);
            self.state = State::Asking {
                caps,
                timeout_ms: timeout_ms.into(),
                attempts: upstream.attempts,
            };
            let route = self.record.route.clone().unwrap_or_default();
            return Step::Ask { route, caps };
        }
        if waited < self.timeout_ms {
            return Step::Wait;
        }
        let tried = tried(upstream);
        let detail = format!("no endpoint took the connection within {waited} ms; {tried}");
        self.close((Reason::TargetUnreachable, detail))
    }

    /// The answer to [`Step::Ask`].
    pub fn placed(&mut self, now_ms: u64, answer: Result<Place, Full>) -> Step {
        let State::Asking {
            caps,
            timeout_ms,
            attempts,
        } = self.state
        else {
            return Step::Wait;
        };
        let place = match answer {
            Ok(place) => place,
            Err(full) => return self.close((Reason::HoldLimit, full.to_string())),
        };
        self.state = State::Parked {
            since_ms: now_ms,
            timeout_ms,
            attempts,
        };
        let detail = place.held_for_up_to(timeout_ms, caps);
        Step::Park {
            record: Box::new(
                self.record
                    .became(Decision::Held, Reason::NoReadyEndpoint, detail),
            ),
        }
    }

    fn unpark(&mut self, now_ms: u64, waited: u64, target: String, revision: u64) -> Step {
        self.state = State::Trying;
        self.since_ms = Some(now_ms);
        self.record.target = Some(target.clone());
        self.record.revision = revision;
        let detail = format!("held for {waited} ms");
        Step::Connect {
            cluster: target,
            record: Box::new(
                self.record
                    .became(self.record.decision, self.record.reason, detail),
            ),
        }
    }

    fn taken(&mut self, waited: u64, attempts: u64) -> Step {
        self.state = State::Over;
        let route = self.record.route.clone();
        let tried_again = route.is_some() && attempts > 1;
        let record = tried_again.then(|| {
            let detail = format!("connected after {waited} ms, at attempt {attempts}");
            Box::new(
                self.record
                    .became(self.record.decision, self.record.reason, detail),
            )
        });
        Step::Live {
            route,
            target: self.record.target.clone().unwrap_or_default(),
            record,
        }
    }

    /// It was closed, by someone else. A record if no engine had it.
    pub fn ended(&mut self, end: End, upstream: &Upstream) -> Option<Box<DecisionRecord>> {
        let state = core::mem::replace(&mut self.state, State::Over);
        if upstream.is_connected {
            return None;
        }
        let (reason, detail) = match (state, end) {
            (State::Over, _) => return None,
            (State::Parked { .. }, End::Left) => held::left(),
            (State::Trying | State::Asking { .. }, End::Left) => left_while_connecting(upstream),
            (_, End::GivenUp) => (Reason::TargetUnreachable, tried(upstream)),
        };
        Some(Box::new(self.record.became(
            Decision::Closed,
            reason,
            detail,
        )))
    }

    fn close(&mut self, (reason, detail): (Reason, String)) -> Step {
        self.state = State::Over;
        Step::Close {
            record: Some(Box::new(self.record.became(
                Decision::Closed,
                reason,
                detail,
            ))),
        }
    }
}

fn left_while_connecting(upstream: &Upstream) -> (Reason, String) {
    let tried = tried(upstream);
    let detail = format!("the counterparty closed the connection before an engine had it; {tried}");
    (Reason::LeftWhileConnecting, detail)
}

fn tried(upstream: &Upstream) -> String {
    let Upstream {
        attempts, failure, ..
    } = upstream;
    match (*attempts, failure.as_str()) {
        (0, "") => "Envoy had no endpoint to try".to_string(),
        (_, "") => format!("attempts: {attempts}"),
        _ => format!("attempts: {attempts}, the last one at {failure}"),
    }
}

/// Whether its target is its route's no more, or has ceased to be ready.
fn has_lost_target(record: &DecisionRecord, view: View<'_>) -> bool {
    let Some(target) = record.target.as_deref().filter(|_| record.route.is_some()) else {
        return false;
    };
    let is_ready = view.readiness.is_none_or(|ready| ready.is_ready(target));
    let leads_there = name(record).zip(view.table).is_none_or(|(name, table)| {
        let route = table.route_named(name.0, name.1);
        route.and_then(|route| table.target(route)) == Some(target)
    });
    !is_ready || !leads_there
}

/// Where a parked connection can go now.
fn held_target(record: &DecisionRecord, view: View<'_>) -> Option<String> {
    let (namespace, name) = name(record)?;
    view.ready_target(namespace, name)
}

/// Namespace and name of its route. (Inline routes may have no namespace; their targets are always ready.)
fn name(record: &DecisionRecord) -> Option<(&str, &str)> {
    record.route.as_deref()?.split_once('/')
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::readiness::Readiness;
    use crate::rule::Rule;
    use crate::rule::testing::spec;
    use crate::table::Table;
    use alloc::vec::Vec;

    struct Gateway {
        settings: Settings,
        table: Table,
        readiness: Readiness,
    }

    impl Gateway {
        /// One route, `t/a`, whose target is ready.
        fn new() -> Self {
            let spec = spec("a", &[("SenderCompID49", "A")], None);
            Self {
                settings: Settings::default(),
                table: Table::compile(&[Rule::new(spec).unwrap()], 7).unwrap(),
                readiness: Readiness::load(&Readiness::encode(1, &[])).unwrap(),
            }
        }

        fn view(&self) -> View<'_> {
            View {
                table: Some(&self.table),
                readiness: Some(&self.readiness),
                settings: &self.settings,
            }
        }

        fn target(&self) -> String {
            self.table.targets().next().unwrap().to_string()
        }

        fn ready(&mut self, is_ready: bool) {
            let target = crate::rule::Target::cluster(self.target());
            let not_ready: Vec<_> = (!is_ready).then_some(target).into_iter().collect();
            self.readiness = Readiness::load(&Readiness::encode(2, &not_ready)).unwrap();
        }

        fn connecting(&self, route: Option<&str>, has_finished: bool) -> Connecting {
            let record = DecisionRecord {
                decision: Decision::Route,
                reason: Reason::Matched,
                route: route.map(ToString::to_string),
                target: Some(self.target()),
                fields: Vec::new(),
                source_range: None,
                revision: 7,
                detail: None,
                received: None,
                received_bytes: 1,
            };
            Connecting::new(record, self.view(), has_finished)
        }
    }

    fn refused(attempts: u64) -> Upstream {
        Upstream {
            is_connected: false,
            attempts,
            failure: "127.0.0.1:1: refused".to_string(),
        }
    }

    fn taken(attempts: u64) -> Upstream {
        Upstream {
            is_connected: true,
            attempts,
            failure: String::new(),
        }
    }

    fn closed(step: Step) -> (Reason, String) {
        match step {
            Step::Close {
                record: Some(record),
            } => (record.reason, record.detail.unwrap()),
            other => panic!("wanted a close, found {other:?}"),
        }
    }

    #[test]
    fn an_engine_that_takes_it_at_once_is_no_news_and_one_that_does_later_is() {
        let gateway = Gateway::new();
        let live = |attempts| {
            let mut connecting = gateway.connecting(Some("t/a"), false);
            match connecting.progressed(5, gateway.view(), &taken(attempts)) {
                Step::Live { record, .. } => record,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(live(1), None);
        let record = live(4).unwrap();
        let detail = "connected after 0 ms, at attempt 4";
        assert_eq!(record.detail.as_deref(), Some(detail));
    }

    #[test]
    fn who_is_refused_is_closed_when_the_time_is_over_at_the_reject_engine_too() {
        let gateway = Gateway::new();
        for route in [Some("t/a"), None] {
            let mut connecting = gateway.connecting(route, false);
            for now_ms in [1_000, 30_999] {
                let step = connecting.progressed(now_ms, gateway.view(), &refused(3));
                assert_eq!(step, Step::Wait);
            }
            let step = connecting.progressed(31_000, gateway.view(), &refused(9));
            let (reason, detail) = closed(step);
            assert_eq!(reason, Reason::TargetUnreachable);
            assert!(detail.contains("attempts: 9, the last one at 127.0.0.1:1: refused"));
            let after = connecting.progressed(32_000, gateway.view(), &refused(9));
            assert_eq!(after, Step::Wait);
        }
    }

    #[test]
    fn a_fin_waits_for_the_first_attempt_and_counts_as_leaving_when_that_has_failed() {
        let gateway = Gateway::new();
        let mut connecting = gateway.connecting(Some("t/a"), true);
        let first = connecting.progressed(0, gateway.view(), &Upstream::default());
        assert_eq!(first, Step::Wait);
        let (reason, _) = closed(connecting.progressed(100, gateway.view(), &refused(2)));
        assert_eq!(reason, Reason::LeftWhileConnecting);
        let mut half_closed = gateway.connecting(Some("t/a"), true);
        let step = half_closed.progressed(0, gateway.view(), &taken(1));
        assert!(matches!(step, Step::Live { .. }));
    }

    #[test]
    fn it_is_parked_when_its_target_is_lost_and_goes_back_when_the_attempt_from_before_is_over() {
        let mut gateway = Gateway::new();
        let mut connecting = gateway.connecting(Some("t/a"), false);
        gateway.ready(false);
        let step = connecting.progressed(0, gateway.view(), &refused(3));
        assert!(matches!(step, Step::Ask { .. }), "{step:?}");
        let place = Place { route: 1, pod: 1 };
        let step = connecting.placed(10, Ok(place));
        assert!(matches!(step, Step::Park { .. }), "{step:?}");
        assert!(matches!(connecting.standing(), Standing::Held { .. }));
        gateway.ready(true);
        // The third attempt may still be on its way to the target that was.
        let step = connecting.progressed(500, gateway.view(), &refused(3));
        assert_eq!(step, Step::Wait);
        let step = connecting.progressed(600, gateway.view(), &refused(4));
        let Step::Connect { cluster, record } = step else {
            panic!("{step:?}");
        };
        assert_eq!(cluster, gateway.target());
        assert_eq!(record.detail.as_deref(), Some("held for 590 ms"));
        let mut full = gateway.connecting(Some("t/a"), false);
        gateway.ready(false);
        full.progressed(0, gateway.view(), &refused(2));
        let (reason, _) = closed(full.placed(0, Err(Full::Route(1))));
        assert_eq!(reason, Reason::HoldLimit);
    }

    #[test]
    fn who_has_finished_is_not_taken_for_long_after_the_first_attempt_began() {
        let gateway = Gateway::new();
        let mut connecting = gateway.connecting(Some("t/a"), true);
        let first = Upstream {
            attempts: 1,
            ..Upstream::default()
        };
        assert_eq!(connecting.progressed(0, gateway.view(), &first), Step::Wait);
        assert_eq!(
            connecting.progressed(199, gateway.view(), &first),
            Step::Wait
        );
        let (reason, _) = closed(connecting.progressed(200, gateway.view(), &first));
        assert_eq!(reason, Reason::LeftWhileConnecting);
    }

    #[test]
    fn it_goes_with_its_route_where_that_leads_and_waits_where_that_is_deleted() {
        let mut gateway = Gateway::new();
        let mut connecting = gateway.connecting(Some("t/a"), false);
        let mut moved = spec("a", &[("SenderCompID49", "A")], None);
        moved.target = crate::rule::Target::service("t", "elsewhere", 1);
        for (rules, wanted) in [
            (Vec::new(), None),
            (
                alloc::vec![Rule::new(moved).unwrap()],
                Some("t/elsewhere:1"),
            ),
        ] {
            gateway.table = Table::compile(&rules, 8).unwrap();
            let step = connecting.progressed(0, gateway.view(), &refused(3));
            if let Step::Ask { .. } = step {
                let place = Place { route: 1, pod: 1 };
                let step = connecting.placed(0, Ok(place));
                assert!(matches!(step, Step::Park { .. }));
            }
            let step = connecting.progressed(100, gateway.view(), &refused(4));
            match (step, wanted) {
                (Step::Wait, None) => {}
                (Step::Connect { cluster, .. }, Some(wanted)) => assert_eq!(cluster, wanted),
                (step, _) => panic!("{step:?}"),
            }
        }
    }

    #[test]
    fn who_ends_before_an_engine_had_it_is_told_by_who_ended_it() {
        let gateway = Gateway::new();
        let ended = |end, upstream: &Upstream| {
            let record = gateway.connecting(Some("t/a"), false).ended(end, upstream);
            record.map(|record| record.reason)
        };
        assert_eq!(
            ended(End::Left, &refused(2)),
            Some(Reason::LeftWhileConnecting)
        );
        assert_eq!(
            ended(End::GivenUp, &refused(2)),
            Some(Reason::TargetUnreachable)
        );
        assert_eq!(ended(End::Left, &taken(1)), None);
    }
}
