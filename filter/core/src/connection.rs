//! What happens next on a connection?
//!
//! A state machine without I/O: events in (bytes, a tick with the time, the end), a [`Step`] out. The filter performs
//! the step; tests drive it without Envoy. Once a connection is decided, nothing here looks at its bytes again.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::agreement::{self, Verdict};
use crate::config::Settings;
use crate::decision::{Decision, DecisionRecord, Reason};
use crate::handshake;
use crate::held::{self, Caps, Full, Place};
use crate::limits;
use crate::path::Path;
use crate::range::SourceAddress;
use crate::readiness::Readiness;
use crate::redact::{self, Disclosure, DisclosurePolicy, FieldValue};
use crate::rule::Class;
use crate::sessions::Standing;
use crate::table::{RouteRef, Slots, Table};
use crate::wire::{self, Item, Logon, NotLogon, Reading, Tag};

/// What a worker knows when an event arrives.
#[derive(Clone, Copy)]
pub struct View<'v> {
    /// The current table.
    pub table: Option<&'v Table>,
    /// The current readiness. Before the first one has arrived, nothing counts as ready.
    pub readiness: Option<&'v Readiness>,
    /// Settings of the data root.
    pub settings: &'v Settings,
}

impl View<'_> {
    pub(crate) fn revision(&self) -> u64 {
        self.table.map_or(0, Table::revision)
    }

    /// Where a held connection can go now. A route that was deleted has no target, until it is back.
    pub(crate) fn ready_target(&self, namespace: &str, name: &str) -> Option<String> {
        let table = self.table?;
        let target = table.target(table.route_named(namespace, name)?)?;
        self.readiness?.is_ready(target).then(|| target.to_string())
    }
}

impl DisclosurePolicy for View<'_> {
    fn configured(&self, tag: Tag) -> Disclosure {
        // Without a table nobody knows what its routes redact or hide.
        let table = self
            .table
            .map_or(Disclosure::Redacted, |table| table.configured(tag));
        table.max(self.settings.configured(tag))
    }
}

/// What the filter does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: more bytes or time are needed, or the connection is decided already.
    Wait,
    /// Let the bytes go to this cluster.
    Connect {
        /// The cluster.
        cluster: String,
        /// What was decided.
        record: Box<DecisionRecord>,
    },
    /// Ask for a place among the held connections, and tell the connection by [`Connection::placed`].
    Ask {
        /// `namespace/name` of its route.
        route: String,
        /// How many places there are.
        caps: Caps,
    },
    /// Keep it paused: it is held.
    Hold {
        /// What was decided.
        record: Box<DecisionRecord>,
    },
    /// Its bytes were let go, and its target has ceased to be ready: have Envoy try a cluster that nobody answers for.
    Park {
        /// What was decided.
        record: Box<DecisionRecord>,
    },
    /// An engine has it.
    Live {
        /// `namespace/name` of its route; none at the reject engine.
        route: Option<String>,
        /// Its target.
        target: String,
        /// What is to be told, if its engine was tried more than once.
        record: Option<Box<DecisionRecord>>,
    },
    /// Let the bytes go to the reject engine, with the record's reason.
    Reject {
        /// The reject engine's cluster.
        cluster: String,
        /// What was decided.
        record: Box<DecisionRecord>,
    },
    /// Close. Without a record the connection said nothing: counted, not logged.
    Close {
        /// What was decided.
        record: Option<Box<DecisionRecord>>,
    },
}

/// What is known of a connection when it is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// When: milliseconds of a clock that never goes back. Behind listener filters that is earlier than now.
    pub accepted_ms: u64,
    /// Where from, if that is an IP address.
    pub source: Option<SourceAddress>,
}

#[derive(Clone, Debug)]
enum State {
    /// Waits for a complete Logon; how many bytes have been seen.
    Waiting(usize),
    /// Its target is not ready, and it asks for a place among those that are held.
    Asking(Box<Matched>),
    /// It has one.
    Held(Box<Matched>),
    /// Connected, rejected or closed.
    Decided,
}

/// A Logon that a route takes whose target is not ready.
#[derive(Clone, Debug)]
struct Matched {
    /// Namespace and name of its route. It stays this one's whatever becomes of the rules.
    route: (String, String),
    /// What was decided, as it is told in the end.
    record: DecisionRecord,
    caps: Caps,
    timeout_ms: u64,
    since_ms: u64,
}

impl Matched {
    const fn deadline_ms(&self) -> u64 {
        self.since_ms.saturating_add(self.timeout_ms)
    }

    fn closed(self, reason: Reason, detail: String) -> Step {
        Step::Close {
            record: Some(Box::new(self.record.became(
                Decision::Closed,
                reason,
                detail,
            ))),
        }
    }

    fn held_for(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.since_ms)
    }
}

/// One connection, from accept to decision.
#[derive(Clone, Debug)]
pub struct Connection {
    state: State,
    deadline_ms: u64,
    source: Option<SourceAddress>,
    /// Why it is refused whatever it sends.
    refusal: Option<String>,
}

impl Connection {
    /// A connection that was accepted. The Logon's deadline runs from here.
    #[must_use]
    pub fn accepted(arrival: Arrival, settings: &Settings) -> Self {
        let timeout_ms = u64::from(settings.logon_timeout_ms);
        Self {
            state: State::Waiting(0),
            deadline_ms: arrival.accepted_ms.saturating_add(timeout_ms),
            source: arrival.source,
            refusal: None,
        }
    }

    /// As it came by a path that may be refused: then nothing that it sends is looked at.
    #[must_use]
    pub fn by(self, path: &Path) -> Self {
        Self {
            refusal: path.refusal(),
            ..self
        }
    }

    /// Whether it is paused still: it waits for its Logon, or for its target.
    #[must_use]
    pub const fn waiting(&self) -> bool {
        !matches!(self.state, State::Decided)
    }

    /// `namespace/name` of the route that it is held for.
    #[must_use]
    pub fn held_for(&self) -> Option<&str> {
        match &self.state {
            State::Held(held) => held.record.route.as_deref(),
            State::Waiting(_) | State::Asking(_) | State::Decided => None,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.held_for()
            .map_or(Standing::Unrouted, |route| Standing::Held {
                route: route.to_string(),
            })
    }

    /// Bytes have arrived: `buffer` is everything so far. `end` when the counterparty has finished sending.
    pub fn received(&mut self, view: View<'_>, buffer: &[u8], end: bool) -> Step {
        match self.state {
            State::Waiting(_) => {}
            // A FIN is all that is heard of a counterparty that leaves: nobody would answer its Logon.
            State::Held(_) | State::Asking(_) if end => return self.leave(),
            State::Held(_) | State::Asking(_) | State::Decided => return Step::Wait,
        }
        self.state = State::Waiting(buffer.len());
        if self.refusal.is_some() && !buffer.is_empty() {
            return self.refuse(view, buffer.len());
        }
        let limits = view.settings.read_limits();
        match wire::read(buffer, &limits) {
            Reading::Incomplete if !end => Step::Wait,
            Reading::Incomplete if buffer.is_empty() => {
                self.state = State::Decided;
                Step::Close { record: None }
            }
            Reading::Incomplete => {
                self.close(undecided(view, Reason::IncompleteLogon, None, buffer))
            }
            Reading::NotLogon(NotLogon::NotFix(looks_like)) => {
                // Bytes that are not FIX may hold a password of another protocol: none of them is shown.
                let detail = Some(looks_like.hint().to_string());
                self.close(record(
                    view,
                    Decision::Closed,
                    Reason::NotFix,
                    detail,
                    buffer.len(),
                ))
            }
            Reading::NotLogon(why) => {
                let (reason, detail) = unusable(why, view.settings);
                self.reject(view, reason, detail, buffer)
            }
            Reading::Logon(logon) => match self.decide(view, &logon, buffer) {
                // Its FIN came with its Logon, and will not come again.
                Step::Ask { .. } if end => self.leave(),
                step => step,
            },
        }
    }

    /// Whether [`Connection::tick`] would end it: it waits, and its time is over.
    #[must_use]
    pub const fn is_due(&self, now_ms: u64) -> bool {
        match &self.state {
            State::Waiting(_) => now_ms >= self.deadline_ms,
            State::Held(held) => now_ms >= held.deadline_ms(),
            State::Asking(_) | State::Decided => false,
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64, view: View<'_>) -> Step {
        if let State::Held(_) = self.state {
            return self.woken(now_ms, view);
        }
        let State::Waiting(bytes) = self.state else {
            return Step::Wait;
        };
        if !self.is_due(now_ms) {
            return Step::Wait;
        }
        if self.refusal.is_some() {
            return self.refuse(view, bytes);
        }
        let detail = format!(
            "no complete Logon within {} ms",
            view.settings.logon_timeout_ms
        );
        self.close(record(
            view,
            Decision::Closed,
            Reason::LogonTimeout,
            Some(detail),
            bytes,
        ))
    }

    /// The answer to [`Step::Ask`].
    pub fn placed(&mut self, now_ms: u64, answer: Result<Place, Full>) -> Step {
        let State::Asking(mut matched) = core::mem::replace(&mut self.state, State::Decided) else {
            return Step::Wait;
        };
        let place = match answer {
            Ok(place) => place,
            Err(full) => return matched.closed(Reason::HoldLimit, full.to_string()),
        };
        matched.since_ms = now_ms;
        let detail = place.held_for_up_to(matched.timeout_ms, matched.caps);
        let record = matched
            .record
            .became(Decision::Held, Reason::NoReadyEndpoint, detail);
        self.state = State::Held(matched);
        Step::Hold {
            record: Box::new(record),
        }
    }

    /// The table or the readiness may have changed. A held connection goes to its route's target as soon as that is ready,
    /// and is closed when its time is over.
    pub fn woken(&mut self, now_ms: u64, view: View<'_>) -> Step {
        let State::Held(held) = &self.state else {
            return Step::Wait;
        };
        let target = view.ready_target(&held.route.0, &held.route.1);
        if target.is_none() && !self.is_due(now_ms) {
            return Step::Wait;
        }
        let State::Held(mut held) = core::mem::replace(&mut self.state, State::Decided) else {
            return Step::Wait;
        };
        held.record.revision = view.revision();
        let waited = held.held_for(now_ms);
        let Some(cluster) = target else {
            let (reason, detail) = held::over(waited);
            return held.closed(reason, detail);
        };
        held.record.target = Some(cluster.clone());
        let detail = format!("held for {waited} ms");
        let record = held
            .record
            .became(held.record.decision, Reason::Matched, detail);
        Step::Connect {
            cluster,
            record: Box::new(record),
        }
    }

    fn leave(&mut self) -> Step {
        match core::mem::replace(&mut self.state, State::Decided) {
            State::Held(held) | State::Asking(held) => {
                let (reason, detail) = held::left();
                held.closed(reason, detail)
            }
            State::Waiting(_) | State::Decided => Step::Wait,
        }
    }

    /// The counterparty is gone without a FIN. A record if it said something that was no whole Logon, or if TLS failed:
    /// `failure` is what Envoy says of its transport socket then.
    pub fn gone(&mut self, view: View<'_>, failure: &[u8]) -> Option<Box<DecisionRecord>> {
        if let State::Held(_) | State::Asking(_) = self.state {
            return match self.leave() {
                Step::Close { record } => record,
                _ => None,
            };
        }
        let State::Waiting(bytes) = self.state else {
            return None;
        };
        self.state = State::Decided;
        let detail = handshake::in_words(failure);
        let reason = match (bytes, &detail) {
            (0, None) => return None,
            // Bytes come through after a handshake only.
            (0, Some(_)) => Reason::TlsHandshakeFailed,
            (1.., _) => Reason::IncompleteLogon,
        };
        Some(Box::new(record(
            view,
            Decision::Closed,
            reason,
            detail,
            bytes,
        )))
    }

    /// A fault in the filter on this connection: it alone is closed.
    pub fn failed(&mut self, view: View<'_>) -> Step {
        self.close(record(
            view,
            Decision::Closed,
            Reason::InternalError,
            None,
            0,
        ))
    }

    /// Closes, and shows nothing of what a stranger sent.
    fn refuse(&mut self, view: View<'_>, bytes: usize) -> Step {
        let detail = self.refusal.take();
        let reason = Reason::UntrustedProxy;
        self.close(record(view, Decision::Closed, reason, detail, bytes))
    }

    fn decide(&mut self, view: View<'_>, logon: &Logon<'_>, buffer: &[u8]) -> Step {
        let Some(table) = view.table else {
            return self.close(undecided(view, Reason::NoTable, None, buffer));
        };
        match agreement::evaluate(table, logon, self.source) {
            Verdict::Route(route, slots) => {
                let fields = deciding_fields(view, table, route, &slots, logon);
                self.connect(view, table, route, &slots, fields, buffer.len())
            }
            Verdict::NoMatch => self.reject(view, Reason::NoMatch, None, buffer),
            Verdict::AmbiguousRoute => {
                self.close(undecided(view, Reason::AmbiguousRoute, None, buffer))
            }
            Verdict::AmbiguousField(what) => {
                self.reject(view, Reason::AmbiguousField, Some(what.to_string()), buffer)
            }
        }
    }

    fn connect(
        &mut self,
        view: View<'_>,
        table: &Table,
        route: RouteRef,
        slots: &Slots<'_>,
        fields: Vec<(String, String)>,
        bytes: usize,
    ) -> Step {
        self.state = State::Decided;
        let cluster = table.target(route).unwrap_or_default().to_string();
        let default = table
            .route_rank(route)
            .is_some_and(|rank| rank.class == Class::Default);
        let decision = if default {
            Decision::DefaultRoute
        } else {
            Decision::Route
        };
        let mut record = record(view, decision, Reason::Matched, None, bytes);
        record.route = table
            .route_name(route)
            .map(|(namespace, name)| match namespace {
                "" => name.to_string(),
                _ => format!("{namespace}/{name}"),
            });
        record.target = Some(cluster.clone());
        record.fields = fields;
        record.source_range = table
            .matching_range(route, slots)
            .map(|range| range.to_string());
        if view
            .readiness
            .is_some_and(|readiness| readiness.is_ready(&cluster))
        {
            return Step::Connect {
                cluster,
                record: Box::new(record),
            };
        }
        self.ask(view, table, route, record)
    }

    fn ask(
        &mut self,
        view: View<'_>,
        table: &Table,
        route: RouteRef,
        record: DecisionRecord,
    ) -> Step {
        let hold = table.hold(route);
        let settings = view.settings;
        let caps = Caps::new(hold, settings);
        let (namespace, name) = table.route_name(route).unwrap_or_default();
        let asks = Step::Ask {
            route: record.route.clone().unwrap_or_default(),
            caps,
        };
        self.state = State::Asking(Box::new(Matched {
            route: (namespace.to_string(), name.to_string()),
            record,
            caps,
            timeout_ms: hold.timeout_ms.unwrap_or(settings.hold_timeout_ms).into(),
            since_ms: 0,
        }));
        asks
    }

    fn reject(
        &mut self,
        view: View<'_>,
        reason: Reason,
        detail: Option<String>,
        buffer: &[u8],
    ) -> Step {
        let mut record = undecided(view, reason, detail, buffer);
        match &view.settings.reject_cluster {
            Some(cluster) => {
                self.state = State::Decided;
                record.decision = Decision::RejectEngine;
                record.target = Some(cluster.clone());
                Step::Reject {
                    cluster: cluster.clone(),
                    record: Box::new(record),
                }
            }
            None => self.close(record),
        }
    }

    fn close(&mut self, record: DecisionRecord) -> Step {
        self.state = State::Decided;
        Step::Close {
            record: Some(Box::new(record)),
        }
    }
}

fn unusable(why: NotLogon, settings: &Settings) -> (Reason, Option<String>) {
    match why {
        NotLogon::NotFix(looks_like) => (Reason::NotFix, Some(looks_like.hint().to_string())),
        NotLogon::MsgType => (
            Reason::NotLogon,
            Some("the first message is not a Logon (35=A)".to_string()),
        ),
        NotLogon::TooLarge => (
            Reason::LogonTooLarge,
            Some(format!("more than {} bytes", settings.logon_bytes_max)),
        ),
        NotLogon::TooManyFields => (
            Reason::TooManyFields,
            Some(format!("more than {} fields", settings.logon_fields_max)),
        ),
    }
}

fn record(
    view: View<'_>,
    decision: Decision,
    reason: Reason,
    detail: Option<String>,
    bytes: usize,
) -> DecisionRecord {
    DecisionRecord {
        decision,
        reason,
        route: None,
        target: None,
        fields: Vec::new(),
        source_range: None,
        revision: view.revision(),
        detail,
        received: None,
        received_bytes: bytes as u64,
    }
}

/// A record where no route was decided: the fields that identify the counterparty, and the bytes, redacted.
fn undecided(
    view: View<'_>,
    reason: Reason,
    detail: Option<String>,
    buffer: &[u8],
) -> DecisionRecord {
    let mut record = record(view, Decision::Closed, reason, detail, buffer.len());
    let mut seen: Vec<Tag> = Vec::new();
    for item in redact::certain(&mut wire::Fields::new(buffer)) {
        let Item::Field(field) = item else { continue };
        if seen.len() >= limits::RECORD_FIELDS_MAX || seen.contains(&field.tag) {
            continue;
        }
        let Some(label) = identifying_label(view.table, field.tag) else {
            continue;
        };
        seen.push(field.tag);
        let disclosure = redact::disclosure(&view, field.tag);
        if let Some(value) = redact::recorded(field.value, disclosure) {
            record.fields.push((label, value));
        }
    }
    record.received = Some(redact::received(buffer, &view));
    record
}

/// Fields that say who wants to speak to whom (FIX session layer, standard header), for records that no route decided.
const IDENTITY: [(u32, &str); 7] = [
    (8, "BeginString8"),
    (49, "SenderCompID49"),
    (50, "SenderSubID50"),
    (142, "SenderLocationID142"),
    (56, "TargetCompID56"),
    (57, "TargetSubID57"),
    (143, "TargetLocationID143"),
];

fn identifying_label(table: Option<&Table>, tag: Tag) -> Option<String> {
    let by_table = || {
        let table = table?;
        let (_, label) = table.slot_label(table.slot_of(tag)?)?;
        Some(label.to_string())
    };
    let by_name = || {
        IDENTITY
            .iter()
            .find(|entry| entry.0 == tag.get())
            .map(|entry| entry.1.to_string())
    };
    by_table().or_else(by_name)
}

fn deciding_fields(
    view: View<'_>,
    table: &Table,
    route: RouteRef,
    slots: &Slots<'_>,
    logon: &Logon<'_>,
) -> Vec<(String, String)> {
    table
        .conditions(route)
        .filter_map(|condition| {
            let (tag, _) = table.slot_label(condition.slot)?;
            let certain = redact::is_certain(logon.message(), tag);
            let floor = if certain {
                Disclosure::Shown
            } else {
                Disclosure::Redacted
            };
            let disclosure = condition
                .disclosure
                .max(redact::disclosure(view.settings, tag))
                .max(floor);
            let value = FieldValue::new(slots.get(condition.slot)?);
            Some((
                condition.label.to_string(),
                redact::recorded(value, disclosure)?,
            ))
        })
        .collect()
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use crate::rule::testing::spec;
    use crate::rule::{Rule, Target};

    struct Gateway {
        table: Table,
        readiness: Readiness,
        settings: Settings,
    }

    impl Gateway {
        fn new() -> Self {
            let rules = [
                Rule::new(spec("broker", &[("SenderCompID49", "BROKER_A")], None)).unwrap(),
                Rule::new(spec("down", &[("SenderCompID49", "DOWN")], None)).unwrap(),
            ];
            let down = Target::service("t", "down", 9876);
            Self {
                table: Table::compile(&rules, 7).unwrap(),
                readiness: Readiness::load(&Readiness::encode(1, [&down])).unwrap(),
                settings: Settings {
                    reject_cluster: Some("reject".to_string()),
                    ..Settings::default()
                },
            }
        }

        fn view(&self) -> View<'_> {
            View {
                table: Some(&self.table),
                readiness: Some(&self.readiness),
                settings: &self.settings,
            }
        }

        fn receive(&self, bytes: &[u8]) -> Step {
            Connection::accepted(Arrival::default(), &self.settings).received(
                self.view(),
                bytes,
                false,
            )
        }
    }

    fn logon(sender: &str) -> Vec<u8> {
        let body = format!("35=A|49={sender}|56=G|34=1|554=hunter2|");
        format!("8=FIX.4.4|9={}|{body}10=000|", body.len())
            .replace('|', "\u{1}")
            .into_bytes()
    }

    fn at(accepted_ms: u64) -> Arrival {
        Arrival {
            accepted_ms,
            ..Arrival::default()
        }
    }

    fn closed(step: Step) -> (Reason, Box<DecisionRecord>) {
        match step {
            Step::Close {
                record: Some(record),
            } => (record.reason, record),
            other => panic!("wanted a close, found {other:?}"),
        }
    }

    #[test]
    fn connects_when_the_last_byte_arrives_and_not_before() {
        let gateway = Gateway::new();
        let bytes = logon("BROKER_A");
        let mut connection = Connection::accepted(Arrival::default(), &gateway.settings);
        for end in 1..bytes.len() {
            let step = connection.received(gateway.view(), bytes.get(..end).unwrap(), false);
            assert_eq!(step, Step::Wait, "after {end} bytes");
        }
        let Step::Connect { cluster, record } = connection.received(gateway.view(), &bytes, false)
        else {
            panic!("not connected");
        };
        assert_eq!(cluster, "t/broker:9876");
        assert_eq!(
            record.fields,
            [("SenderCompID49".to_string(), "BROKER_A".to_string())]
        );
        assert_eq!(record.revision, 7);
        assert_eq!(
            connection.received(gateway.view(), b"more", false),
            Step::Wait
        );
        assert_eq!(connection.tick(u64::MAX, gateway.view()), Step::Wait);
    }

    #[test]
    fn who_comes_from_elsewhere_falls_through_to_the_next_route_and_the_record_names_the_range() {
        let field = [("SenderCompID49", "BROKER_A")];
        let rules = [
            Rule::new(spec("anywhere", &field, None)).unwrap(),
            Rule::new(spec("office", &field, None).from(&["10.0.0.0/8", "10.1.0.0/16"])).unwrap(),
        ];
        let gateway = Gateway {
            table: Table::compile(&rules, 7).unwrap(),
            ..Gateway::new()
        };
        for (source, target, range) in [
            ("10.1.2.3:1", "t/office:9876", Some("10.1.0.0/16")),
            ("[::ffff:10.2.2.3]:1", "t/office:9876", Some("10.0.0.0/8")),
            ("[2001:db8::1]:1", "t/anywhere:9876", None),
            ("/run/socket", "t/anywhere:9876", None),
        ] {
            let arrival = Arrival {
                source: SourceAddress::of_socket(source),
                ..Arrival::default()
            };
            let mut connection = Connection::accepted(arrival, &gateway.settings);
            let step = connection.received(gateway.view(), &logon("BROKER_A"), false);
            let Step::Connect { cluster, record } = step else {
                panic!("not connected from {source}");
            };
            assert_eq!(cluster, target, "{source}");
            assert_eq!(record.source_range.as_deref(), range, "{source}");
        }
    }

    #[test]
    fn shows_no_value_while_it_cannot_know_what_the_routes_redact() {
        let gateway = Gateway::new();
        let view = View {
            table: None,
            ..gateway.view()
        };
        let step = Connection::accepted(Arrival::default(), &gateway.settings).received(
            view,
            &logon("BROKER_A"),
            false,
        );
        let (reason, record) = closed(step);
        assert_eq!(reason, Reason::NoTable);
        assert!(record.received.is_some());
        assert!(!format!("{record:?}").contains("BROKER_A"));
    }

    #[test]
    fn who_goes_away_silently_leaves_no_record() {
        let gateway = Gateway::new();
        let mut silent = Connection::accepted(Arrival::default(), &gateway.settings);
        assert_eq!(silent.gone(gateway.view(), b""), None);
        let mut half = Connection::accepted(Arrival::default(), &gateway.settings);
        half.received(gateway.view(), b"8=FIX", false);
        let record = half.gone(gateway.view(), b"").unwrap();
        assert_eq!(record.reason, Reason::IncompleteLogon);
        assert_eq!(record.received_bytes, 5);
        assert_eq!(half.gone(gateway.view(), b""), None);
    }

    #[test]
    fn a_handshake_that_failed_is_told_and_one_that_succeeded_leaves_the_logon_to_blame() {
        let gateway = Gateway::new();
        let failure =
            b"TLS_error:|1:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end";
        let mut failed = Connection::accepted(Arrival::default(), &gateway.settings);
        let record = failed.gone(gateway.view(), failure).unwrap();
        assert_eq!(record.reason, Reason::TlsHandshakeFailed);
        assert!(record.detail.unwrap().contains("WRONG_VERSION_NUMBER"));
        let mut half = Connection::accepted(Arrival::default(), &gateway.settings);
        half.received(gateway.view(), b"8=FIX", false);
        let record = half.gone(gateway.view(), failure).unwrap();
        assert_eq!(record.reason, Reason::IncompleteLogon);
        assert!(record.detail.is_some());
    }

    #[test]
    fn rejects_what_matches_nothing_and_shows_no_password() {
        let gateway = Gateway::new();
        let Step::Reject { record, .. } = gateway.receive(&logon("NOBODY")) else {
            panic!("not rejected")
        };
        assert_eq!(record.reason, Reason::NoMatch);
        assert!(record.received.as_ref().unwrap().contains("554=[REDACTED]"));
        assert!(!format!("{record:?}").contains("hunter2"));
    }

    #[test]
    fn what_decided_is_not_shown_where_it_may_be_a_part_of_a_data_field() {
        let gateway = Gateway::new();
        let body = "35=A|96=part1|49=BROKER_A|";
        let bytes = format!("8=FIX.4.4|9={}|{body}10=000|", body.len()).replace('|', "\u{1}");
        let Step::Connect { record, .. } = gateway.receive(bytes.as_bytes()) else {
            panic!("not connected")
        };
        let shown = "[REDACTED]".to_string();
        assert_eq!(record.fields, [("SenderCompID49".to_string(), shown)]);
    }

    #[test]
    fn a_field_that_swallowed_the_password_behind_it_shows_its_length_only() {
        let gateway = Gateway::new();
        let Step::Reject { record, .. } = gateway.receive(&logon("NOBODY\u{2}554=hunter2")) else {
            panic!("not rejected")
        };
        let shown = format!("{record:?}");
        assert!(
            shown.contains("<18 bytes>") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn closes_what_matches_nothing_when_there_is_no_reject_engine() {
        let mut gateway = Gateway::new();
        gateway.settings.reject_cluster = None;
        assert_eq!(closed(gateway.receive(&logon("NOBODY"))).0, Reason::NoMatch);
    }

    /// A connection that asked for a place, its request, and the gateway.
    fn asking(gateway: &Gateway, view: View<'_>, sender: &str) -> (Connection, String, Caps) {
        let mut connection = Connection::accepted(Arrival::default(), &gateway.settings);
        match connection.received(view, &logon(sender), false) {
            Step::Ask { route, caps } => (connection, route, caps),
            other => panic!("wanted a request, found {other:?}"),
        }
    }

    fn held(gateway: &Gateway, now_ms: u64) -> Connection {
        let (mut connection, ..) = asking(gateway, gateway.view(), "DOWN");
        let place = Place { route: 1, pod: 3 };
        let Step::Hold { record } = connection.placed(now_ms, Ok(place)) else {
            panic!("not held");
        };
        assert_eq!(
            (record.decision, record.reason),
            (Decision::Held, Reason::NoReadyEndpoint)
        );
        assert_eq!(record.severity(), crate::decision::Severity::Error);
        assert_eq!(
            record.detail.as_deref(),
            Some(
                "held for up to 30000 ms, as 1 of at most 1 of this route and 3 of at most 500 in all"
            )
        );
        assert_eq!(connection.held_for(), Some("t/down"));
        connection
    }

    fn ready(gateway: &mut Gateway) {
        gateway.readiness = Readiness::load(&Readiness::encode(2, [])).unwrap();
    }

    #[test]
    fn what_has_no_ready_endpoint_asks_for_a_place_and_is_held() {
        let gateway = Gateway::new();
        let (_, route, caps) = asking(&gateway, gateway.view(), "DOWN");
        assert_eq!(route, "t/down");
        let wanted = Caps {
            route_max: 1,
            pod_max: 500,
        };
        assert_eq!(caps, wanted);
        let mut connection = held(&gateway, 1_000);
        // More bytes, ticks and news that change nothing.
        assert_eq!(
            connection.received(gateway.view(), b"more", false),
            Step::Wait
        );
        assert_eq!(connection.tick(30_999, gateway.view()), Step::Wait);
        assert_eq!(connection.woken(30_999, gateway.view()), Step::Wait);
        assert!(connection.waiting() && !connection.is_due(30_999));
    }

    #[test]
    fn before_the_first_readiness_nothing_counts_as_ready_and_without_a_table_nothing_is_held() {
        let gateway = Gateway::new();
        let early = View {
            readiness: None,
            ..gateway.view()
        };
        asking(&gateway, early, "BROKER_A");
        let earlier = View {
            table: None,
            ..gateway.view()
        };
        let step = Connection::accepted(Arrival::default(), &gateway.settings).received(
            earlier,
            &logon("BROKER_A"),
            false,
        );
        assert_eq!(closed(step).0, Reason::NoTable);
    }

    #[test]
    fn a_held_one_goes_to_its_routes_target_as_soon_as_that_is_ready() {
        let mut gateway = Gateway::new();
        let mut connection = held(&gateway, 1_000);
        // Its route leads elsewhere by then.
        let mut moved = spec("down", &[("SenderCompID49", "DOWN")], None);
        moved.target = Target::service("t", "other", 1);
        gateway.table = Table::compile(&[Rule::new(moved).unwrap()], 8).unwrap();
        ready(&mut gateway);
        let Step::Connect { cluster, record } = connection.woken(3_500, gateway.view()) else {
            panic!("not connected");
        };
        assert_eq!((&*cluster, record.revision), ("t/other:1", 8));
        assert_eq!(record.target.as_deref(), Some("t/other:1"));
        assert_eq!(
            (record.decision, record.reason, record.detail.as_deref()),
            (Decision::Route, Reason::Matched, Some("held for 2500 ms"))
        );
        assert!(!connection.waiting());
        assert_eq!(connection.woken(4_000, gateway.view()), Step::Wait);
        assert_eq!(connection.received(gateway.view(), b"", true), Step::Wait);
    }

    #[test]
    fn a_held_one_whose_route_is_gone_waits_until_it_is_back_or_its_time_is_over() {
        let mut gateway = Gateway::new();
        ready(&mut gateway);
        let down = Gateway::new();
        let mut connection = held(&down, 0);
        let table = gateway.table.clone();
        gateway.table = Table::compile(&[], 9).unwrap();
        assert_eq!(connection.woken(10, gateway.view()), Step::Wait);
        let mut other = held(&down, 0);
        gateway.table = table;
        assert!(matches!(
            connection.woken(20, gateway.view()),
            Step::Connect { .. }
        ));
        gateway.table = Table::compile(&[], 9).unwrap();
        let (reason, record) = closed(other.tick(30_000, gateway.view()));
        assert_eq!(reason, Reason::HoldTimeout);
        assert_eq!(record.severity(), crate::decision::Severity::Critical);
    }

    #[test]
    fn a_held_one_is_closed_when_its_own_time_is_over() {
        let mut gateway = Gateway::new();
        let mut short = spec("down", &[("SenderCompID49", "DOWN")], None);
        short.hold = crate::rule::Hold {
            connections_max: Some(7),
            timeout_ms: Some(100),
        };
        gateway.table = Table::compile(&[Rule::new(short).unwrap()], 8).unwrap();
        let (mut connection, _, caps) = asking(&gateway, gateway.view(), "DOWN");
        assert_eq!(caps.route_max, 7);
        connection.placed(1_000, Ok(Place { route: 1, pod: 1 }));
        assert!(!connection.is_due(1_099) && connection.is_due(1_100));
        let (reason, record) = closed(connection.tick(1_100, gateway.view()));
        assert_eq!(reason, Reason::HoldTimeout);
        assert_eq!(record.target.as_deref(), Some("t/down:9876"));
        assert_eq!(
            record.detail.as_deref(),
            Some("held for 100 ms, and no endpoint became ready")
        );
    }

    #[test]
    fn who_finds_no_place_is_closed_and_who_leaves_is_told_once() {
        let gateway = Gateway::new();
        let (mut full, ..) = asking(&gateway, gateway.view(), "DOWN");
        let (reason, record) = closed(full.placed(0, Err(Full::Route(1))));
        assert_eq!(reason, Reason::HoldLimit);
        assert_eq!(record.severity(), crate::decision::Severity::Critical);
        assert!(!full.waiting());
        let mut left = held(&gateway, 0);
        let (reason, _) = closed(left.received(gateway.view(), b"", true));
        assert_eq!(reason, Reason::LeftWhileHeld);
        assert_eq!(left.gone(gateway.view(), b""), None);
        let mut at_once = Connection::accepted(Arrival::default(), &gateway.settings);
        let (reason, _) = closed(at_once.received(gateway.view(), &logon("DOWN"), true));
        assert_eq!(reason, Reason::LeftWhileHeld);
        let mut reset = held(&gateway, 0);
        let record = reset.gone(gateway.view(), b"").unwrap();
        assert_eq!(record.reason, Reason::LeftWhileHeld);
        assert!(!reset.waiting() && reset.held_for().is_none());
    }

    #[test]
    fn refuses_what_is_not_fix_at_the_first_byte_and_shows_none_of_it() {
        let gateway = Gateway::new();
        for (bytes, hint) in [
            (b"\x16".as_slice(), "TLS"),
            (b"GET / HTTP/1.1".as_slice(), "HTTP"),
            (b"PROXY TCP4".as_slice(), "PROXY"),
            (b"\0\0\0\x62\xf0\x00".as_slice(), "Framing Header"),
            (b"8=FIX.4.4|".as_slice(), "printable separator"),
            (b"hello".as_slice(), "8=FIX"),
        ] {
            let (reason, record) = closed(gateway.receive(bytes));
            assert_eq!(reason, Reason::NotFix);
            assert!(
                record.detail.as_ref().unwrap().contains(hint),
                "{:?}",
                record.detail
            );
            assert_eq!(record.received, None);
        }
    }

    #[test]
    fn a_connection_that_says_nothing_and_leaves_has_no_record() {
        let gateway = Gateway::new();
        let mut connection = Connection::accepted(Arrival::default(), &gateway.settings);
        assert_eq!(
            connection.received(gateway.view(), b"", true),
            Step::Close { record: None }
        );
    }

    #[test]
    fn a_logon_cut_short_by_the_counterparty_is_closed_with_that_reason() {
        let gateway = Gateway::new();
        let mut connection = Connection::accepted(Arrival::default(), &gateway.settings);
        let step = connection.received(gateway.view(), b"8=FIX.4.4\x0135=A\x01554=hunt", true);
        let (reason, record) = closed(step);
        assert_eq!(reason, Reason::IncompleteLogon);
        assert!(!format!("{record:?}").contains("hunt"));
    }

    #[test]
    fn the_deadline_runs_from_accept() {
        let gateway = Gateway::new();
        let mut connection = Connection::accepted(at(1_000), &gateway.settings);
        assert_eq!(
            connection.received(gateway.view(), b"8=FIX", false),
            Step::Wait
        );
        assert_eq!(connection.tick(10_999, gateway.view()), Step::Wait);
        assert_eq!(
            closed(connection.tick(11_000, gateway.view())).0,
            Reason::LogonTimeout
        );
        assert!(!connection.waiting());
    }

    fn stranger() -> Path {
        Path::Untrusted {
            source: "192.0.2.1:1".to_string(),
            claimed: Some("203.0.113.7:1111".to_string()),
        }
    }

    #[test]
    fn a_header_from_who_may_not_send_one_is_refused_before_a_byte_is_looked_at() {
        let gateway = Gateway::new();
        for bytes in [logon("BROKER_A"), logon("NOBODY"), b"8".to_vec()] {
            let mut connection =
                Connection::accepted(Arrival::default(), &gateway.settings).by(&stranger());
            let (reason, record) = closed(connection.received(gateway.view(), &bytes, false));
            assert_eq!(reason, Reason::UntrustedProxy);
            assert!(record.detail.unwrap().contains("203.0.113.7:1111"));
            assert_eq!((record.received, record.fields), (None, Vec::new()));
            assert_eq!(record.received_bytes, bytes.len() as u64);
            assert!(!connection.waiting());
        }
    }

    #[test]
    fn such_a_header_is_counted_only_if_nothing_follows_it_and_told_at_the_deadline() {
        let gateway = Gateway::new();
        let stranger =
            || Connection::accepted(Arrival::default(), &gateway.settings).by(&stranger());
        let silent = Step::Close { record: None };
        assert_eq!(stranger().received(gateway.view(), b"", true), silent);
        assert_eq!(stranger().gone(gateway.view(), b""), None);
        let (reason, _) = closed(stranger().tick(10_000, gateway.view()));
        assert_eq!(reason, Reason::UntrustedProxy);
    }

    #[test]
    fn what_is_over_a_bound_goes_to_the_reject_engine_with_that_reason() {
        let mut gateway = Gateway::new();
        gateway.settings.logon_bytes_max = 32;
        gateway.settings.logon_fields_max = 3;
        let reason = |step: Step| match step {
            Step::Reject { record, .. } => record.reason,
            other => panic!("wanted a reject, found {other:?}"),
        };
        assert_eq!(
            reason(gateway.receive(&logon("BROKER_A"))),
            Reason::TooManyFields
        );
        gateway.settings.logon_fields_max = 30;
        assert_eq!(
            reason(gateway.receive(&logon("BROKER_A"))),
            Reason::LogonTooLarge
        );
        gateway.settings.logon_bytes_max = 8192;
        let heartbeat = logon("BROKER_A")
            .iter()
            .map(|b| if *b == b'A' { b'0' } else { *b })
            .collect::<Vec<_>>();
        assert_eq!(reason(gateway.receive(&heartbeat)), Reason::NotLogon);
    }
}
