//! The first bytes of a connection: the reader, and the connection that waits for it.

use fixgw_core::connection::{Arrival, Connection, Step, View};
use fixgw_core::decision::{DecisionRecord, Reason};
use fixgw_core::held::Place;
use fixgw_core::redact::{self, Disclosure};
use fixgw_core::wire::{self, Fields, Item, NotLogon, ReadLimits, Reading};

use crate::mutate::Mutator;
use crate::routes::{GATEWAYS, Gateway, sources};

/// So long, every way of cutting it in two is tried; the end of longer ones is cut off. The bounds that bytes can meet are
/// made smaller instead.
const BYTES_MAX: usize = 600;

/// What a stranger sends. However it is cut into reads, it is read and decided alike, and no secret is shown.
pub fn logon(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let tight = ReadLimits {
        bytes_max: 8 + bytes.len() / 2,
        fields_max: 1 + bytes.len() / 16,
    };
    for limits in [ReadLimits::UNBOUNDED, tight] {
        an_answer_stays(bytes, &limits);
    }
    a_walk_covers_its_bytes(bytes);
    for gateway in &*GATEWAYS {
        a_connection_decides_alike(bytes, gateway);
        no_secret_is_shown(bytes, gateway);
    }
}

/// An answer without its borrow. What bytes look like that are no FIX may grow clearer with more.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Logon(usize, String),
    Incomplete,
    NotFix,
    NotLogon(NotLogon),
}

fn answer(bytes: &[u8], limits: &ReadLimits) -> Answer {
    match wire::read(bytes, limits) {
        Reading::Logon(logon) => {
            assert!(bytes.starts_with(logon.message()));
            assert!(logon.message().len() <= limits.bytes_max);
            assert!(logon.fields().count() <= limits.fields_max);
            let odd = format!("{:?} {:?}", logon.oddities(), logon.body_length());
            Answer::Logon(logon.message().len(), odd)
        }
        Reading::Incomplete => Answer::Incomplete,
        Reading::NotLogon(NotLogon::NotFix(_)) => Answer::NotFix,
        Reading::NotLogon(why) => Answer::NotLogon(why),
    }
}

/// What is said of a beginning is said of the whole: so it does not matter how bytes arrive.
fn an_answer_stays(bytes: &[u8], limits: &ReadLimits) {
    let whole = answer(bytes, limits);
    for end in 0..bytes.len() {
        let early = answer(&bytes[..end], limits);
        if early != Answer::Incomplete {
            assert_eq!(early, whole, "given at {end} of {} bytes", bytes.len());
            break;
        }
    }
}

fn a_walk_covers_its_bytes(bytes: &[u8]) {
    let mut walk = Fields::new(bytes);
    let mut at = 0;
    while let Some(item) = walk.next() {
        match item {
            Item::Field(field) => {
                assert_eq!((field.start, field.end), (at, walk.consumed()));
                let head = format!("{}=", field.tag.get());
                let whole = [head.as_bytes(), field.value.reveal(), &[wire::SOH]].concat();
                assert_eq!(bytes[field.start..field.end], whole);
            }
            Item::Malformed(length) => assert_eq!(at + length + 1, walk.consumed()),
        }
        assert!(walk.consumed() > at && walk.consumed() <= bytes.len());
        at = walk.consumed();
    }
    let _ = wire::trailer(bytes);
}

/// Everything that a connection does until it is decided, with these lengths of reads.
fn outcome(bytes: &[u8], gateway: &Gateway, mut length: impl FnMut() -> usize) -> Step {
    let view = View {
        table: Some(&gateway.table),
        readiness: Some(&gateway.readiness),
        settings: &gateway.settings,
    };
    let source = sources().nth(bytes.len() % sources().count()).flatten();
    let arrival = Arrival {
        accepted_ms: 0,
        source,
    };
    let mut connection = Connection::accepted(arrival, &gateway.settings);
    let mut arrived = 0;
    while arrived < bytes.len() {
        arrived = (arrived + length().max(1)).min(bytes.len());
        let step = connection.received(view, &bytes[..arrived], false);
        if let Step::Ask { .. } = step {
            let step = connection.placed(0, Ok(Place { route: 1, pod: 1 }));
            assert!(connection.waiting());
            assert_eq!(connection.received(view, bytes, false), Step::Wait);
            return step;
        }
        if step != Step::Wait {
            assert!(!connection.waiting());
            assert_eq!(connection.received(view, bytes, true), Step::Wait);
            return step;
        }
    }
    let step = connection.received(view, bytes, true);
    assert_ne!(step, Step::Wait, "the counterparty has finished sending");
    step
}

fn record(step: &Step) -> Option<&DecisionRecord> {
    match step {
        // No engine is tried here.
        Step::Wait | Step::Ask { .. } | Step::Park { .. } | Step::Live { .. } => None,
        Step::Connect { record, .. } | Step::Reject { record, .. } | Step::Hold { record } => {
            Some(record)
        }
        Step::Close { record } => record.as_deref(),
    }
}

fn a_connection_decides_alike(bytes: &[u8], gateway: &Gateway) {
    let whole = outcome(bytes, gateway, || bytes.len());
    let seed = bytes.iter().fold(bytes.len() as u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    let mut lengths = Mutator::new(seed);
    for longest in [48, 7] {
        let step = outcome(bytes, gateway, || lengths.below(longest));
        assert_eq!(settled(&step), settled(&whole));
        let (Some(now), Some(all)) = (record(&step), record(&whole)) else {
            continue;
        };
        if all.reason.label() == Reason::NotFix.label() {
            continue;
        }
        assert_eq!(now.detail, all.detail);
        // Beyond a bound, one who has received less has seen fewer fields.
        assert!(all.fields.starts_with(&now.fields));
        if !matches!(all.reason, Reason::LogonTooLarge | Reason::TooManyFields) {
            assert_eq!(now.fields, all.fields);
        }
    }
}

/// What must not depend on how bytes arrive.
fn settled(step: &Step) -> String {
    let kind = match step {
        Step::Wait => "wait",
        Step::Ask { .. } => "ask",
        Step::Hold { .. } | Step::Park { .. } => "hold",
        Step::Live { .. } => "live",
        Step::Connect { .. } => "connect",
        Step::Reject { .. } => "reject",
        Step::Close { .. } => "close",
    };
    let record = record(step).map(|record| {
        let DecisionRecord {
            decision,
            reason,
            route,
            target,
            source_range,
            ..
        } = record;
        (decision, reason, route, target, source_range)
    });
    format!("{kind} {record:?}")
}

/// Other secrets in the same places change nothing of what is shown.
fn no_secret_is_shown(bytes: &[u8], gateway: &Gateway) {
    let view = View {
        table: Some(&gateway.table),
        readiness: None,
        settings: &gateway.settings,
    };
    let others = with_other_secrets(bytes, &view);
    assert_eq!(
        redact::received(bytes, &view),
        redact::received(&others, &view),
        "of {} and {}",
        bytes.escape_ascii(),
        others.escape_ascii()
    );
    let [shown, other] = [bytes, &others].map(|bytes| outcome(bytes, gateway, || bytes.len()));
    if let (Some(shown), Some(other)) = (record(&shown), record(&other))
        // A value that holds a `=` may decide.
        && (shown.reason, &shown.route) == (other.reason, &other.route)
    {
        assert_eq!(shown.fields, other.fields);
        assert_eq!(shown.received, other.received);
    }
}

/// The same bytes with another one for each that must not be shown: values that are redacted or hidden, malformed fields, what
/// holds a `=`, what is unfinished, and what comes after the place up to which fields are certain.
fn with_other_secrets(bytes: &[u8], view: &View<'_>) -> Vec<u8> {
    let mut others = bytes.to_vec();
    // Without SOH or `=`, so that the fields stay what they are.
    let mut hide = |from: usize, to: usize| {
        for byte in &mut others[from..to] {
            *byte = if *byte == b'x' { b'y' } else { b'x' };
        }
    };
    let mut walk = Fields::new(bytes);
    let mut at = 0;
    for item in redact::certain(&mut walk) {
        match item {
            Item::Malformed(length) => {
                let end = at + length;
                let sign = bytes[at..end].iter().position(|byte| *byte == b'=');
                hide(sign.map_or(at, |sign| at + sign + 1), end);
                at = end + 1;
            }
            Item::Field(field) => {
                let value = field.end - 1 - field.value.len();
                let sign = bytes[value..field.end]
                    .iter()
                    .position(|byte| *byte == b'=');
                if redact::disclosure(view, field.tag) > Disclosure::Shown {
                    // How long a data field is decides where the next one begins.
                    if wire::data_field_of(field.tag).is_none() {
                        hide(value, field.end - 1);
                    }
                } else if let Some(sign) = sign {
                    hide(value, value + sign);
                    hide(value + sign + 1, field.end - 1);
                }
                at = field.end;
            }
        }
    }
    hide(at, bytes.len());
    others
}
