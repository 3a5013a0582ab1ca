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
use crate::limits;
use crate::readiness::Readiness;
use crate::redact::{self, Disclosure, DisclosurePolicy, FieldValue};
use crate::rule::Class;
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
    fn revision(&self) -> u64 {
        self.table.map_or(0, Table::revision)
    }
}

impl DisclosurePolicy for View<'_> {
    fn configured(&self, tag: Tag) -> Disclosure {
        let table = self
            .table
            .map_or(Disclosure::Shown, |table| table.configured(tag));
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for a complete Logon; how many bytes have been seen.
    Waiting(usize),
    /// Connected, rejected or closed.
    Decided,
}

/// One connection, from accept to decision.
#[derive(Clone, Debug)]
pub struct Connection {
    state: State,
    deadline_ms: u64,
}

impl Connection {
    /// A connection accepted at `now_ms` (monotonic). The Logon's deadline runs from here.
    #[must_use]
    pub fn accepted(now_ms: u64, settings: &Settings) -> Self {
        Self {
            state: State::Waiting(0),
            deadline_ms: now_ms.saturating_add(u64::from(settings.logon_timeout_ms)),
        }
    }

    /// Whether it still waits for its Logon.
    #[must_use]
    pub fn waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Bytes have arrived: `buffer` is everything so far. `end` when the counterparty has finished sending.
    pub fn received(&mut self, view: View<'_>, buffer: &[u8], end: bool) -> Step {
        let State::Waiting(_) = self.state else {
            return Step::Wait;
        };
        self.state = State::Waiting(buffer.len());
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
            Reading::Logon(logon) => self.decide(view, &logon, buffer),
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64, view: View<'_>) -> Step {
        let State::Waiting(bytes) = self.state else {
            return Step::Wait;
        };
        if now_ms < self.deadline_ms {
            return Step::Wait;
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

    fn decide(&mut self, view: View<'_>, logon: &Logon<'_>, buffer: &[u8]) -> Step {
        let Some(table) = view.table else {
            return self.close(undecided(view, Reason::NoTable, None, buffer));
        };
        match agreement::evaluate(table, logon) {
            Verdict::Route(route, slots) => self.connect(view, table, route, &slots, buffer.len()),
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
            .map(|(namespace, name)| format!("{namespace}/{name}"));
        record.target = Some(cluster.clone());
        record.fields = deciding_fields(view, table, route, slots);
        if view
            .readiness
            .is_some_and(|readiness| readiness.is_ready(&cluster))
        {
            return Step::Connect { cluster, record };
        }
        record.decision = Decision::Closed;
        record.reason = Reason::NoReadyEndpoint;
        Step::Close {
            record: Some(record),
        }
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
                    record,
                }
            }
            None => self.close(record),
        }
    }

    fn close(&mut self, record: Box<DecisionRecord>) -> Step {
        self.state = State::Decided;
        Step::Close {
            record: Some(record),
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
) -> Box<DecisionRecord> {
    Box::new(DecisionRecord {
        decision,
        reason,
        route: None,
        target: None,
        fields: Vec::new(),
        revision: view.revision(),
        detail,
        received: None,
        received_bytes: bytes as u64,
    })
}

/// A record where no route was decided: the fields that identify the counterparty, and the bytes, redacted.
fn undecided(
    view: View<'_>,
    reason: Reason,
    detail: Option<String>,
    buffer: &[u8],
) -> Box<DecisionRecord> {
    let mut record = record(view, Decision::Closed, reason, detail, buffer.len());
    let mut seen: Vec<Tag> = Vec::new();
    for item in wire::Fields::new(buffer) {
        let Item::Field(field) = item else { continue };
        if seen.len() >= limits::RECORD_FIELDS_MAX || seen.contains(&field.tag) {
            continue;
        }
        let Some(label) = identifying_label(view.table, field.tag) else {
            continue;
        };
        seen.push(field.tag);
        if let Some(value) = field.value.disclose(redact::disclosure(&view, field.tag)) {
            record.fields.push((label, value.to_string()));
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
) -> Vec<(String, String)> {
    table
        .conditions(route)
        .filter_map(|condition| {
            let (tag, _) = table.slot_label(condition.slot)?;
            let disclosure = condition
                .disclosure
                .max(redact::disclosure(view.settings, tag));
            let value = FieldValue::new(slots.get(condition.slot)?).disclose(disclosure)?;
            Some((condition.label.to_string(), value.to_string()))
        })
        .collect()
}
