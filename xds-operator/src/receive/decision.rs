//! What does a decision record say, for a person (a line) or for a program (JSON)?
//!
//! Pure. Values were redacted where the record was made; here nothing is taken out and nothing is guessed, but control
//! characters are shown as escapes: a counterparty's bytes must not move the reader's cursor.

use std::fmt::Write as _;

use fixgw_core::decision::{Severity, attribute};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Attributes of one record that are taken in; the core writes a dozen, and one for each field that it shows.
const ATTRIBUTES_MAX: usize = 256;

/// A decision record as it was received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedDecision {
    /// Nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// How grave it is: `INFO`, …
    pub severity: &'static str,
    /// What became of the connection: `ROUTE`, … Of a record that is no decision, its event name.
    pub decision: String,
    /// Why: `matched`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// `namespace/name` of the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Cluster that the connection goes to, or would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Address and port of the counterparty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The route's source range that holds that address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_range: Option<String>,
    /// Address and port of the load balancer that spoke for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Name of the listener.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub listener: String,
    /// Name that the TLS client asked for (SNI).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Version of TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<String>,
    /// Subject of the client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// Envoy's number of the connection.
    pub connection_id: u64,
    /// The table that decided; 0: none.
    pub revision: u64,
    /// What a person should know beside the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Received bytes, redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<String>,
    /// Number of received bytes.
    pub received_bytes: u64,
    /// Label and value of the fields that decided, or else of those that identify the counterparty.
    #[serde(serialize_with = "in_order")]
    pub fields: Vec<(String, String)>,
}

impl ReceivedDecision {
    /// Reads a log record. What it does not know it leaves out.
    #[must_use]
    pub fn decode(record: &LogRecord) -> Self {
        let time_unix_nano = if record.time_unix_nano == 0 {
            record.observed_time_unix_nano
        } else {
            record.time_unix_nano
        };
        let decision = if record.event_name.is_empty() {
            record.body.as_ref().map(text).unwrap_or_default()
        } else {
            record.event_name.clone()
        };
        let severity = severity(record.severity_number).label();
        let mut received = Self {
            time_unix_nano,
            severity,
            decision,
            ..Self::default()
        };
        for attribute in record.attributes.iter().take(ATTRIBUTES_MAX) {
            received.take(attribute);
        }
        received
    }

    fn take(&mut self, attribute: &KeyValue) {
        let Some(value) = &attribute.value else {
            return;
        };
        match attribute.key.as_str() {
            attribute::DECISION => self.decision = text(value),
            attribute::REASON => self.reason = text(value),
            attribute::ROUTE => self.route = Some(text(value)),
            attribute::TARGET => self.target = Some(text(value)),
            attribute::SOURCE => self.source = text(value),
            attribute::SOURCE_RANGE => self.source_range = Some(text(value)),
            attribute::PROXY => self.proxy = Some(text(value)),
            attribute::LISTENER => self.listener = text(value),
            attribute::SERVER_NAME => self.server_name = Some(text(value)),
            attribute::TLS_VERSION => self.tls_version = Some(text(value)),
            attribute::CLIENT_CERTIFICATE => self.client_certificate = Some(text(value)),
            attribute::CONNECTION_ID => self.connection_id = number(value),
            attribute::REVISION => self.revision = number(value),
            attribute::DETAIL => self.detail = Some(text(value)),
            attribute::RECEIVED => self.received = Some(text(value)),
            attribute::RECEIVED_BYTES => self.received_bytes = number(value),
            key => {
                if let Some(label) = key.strip_prefix(attribute::FIELD_PREFIX) {
                    self.fields.push((label.to_owned(), text(value)));
                }
            }
        }
    }

    /// One line for a person: when (UTC), how grave, what, where to, by which fields, from where, why.
    #[must_use]
    pub fn line(&self, colour: bool) -> String {
        let mut line = clock(self.time_unix_nano);
        let paint = if colour { paint(self.severity) } else { "" };
        let plain = if paint.is_empty() { "" } else { "\x1b[0m" };
        let _ = write!(
            line,
            " {paint}{:<5}{plain} {}",
            self.severity,
            Shown(&self.decision)
        );
        if let Some(route) = &self.route {
            let _ = write!(line, " {}", Shown(route));
        }
        if let Some(target) = &self.target {
            let _ = write!(line, " → {}", Shown(target));
        }
        let mut gap = "  ";
        for (label, value) in &self.fields {
            let _ = write!(line, "{gap}{}={}", Shown(label), Quoted(value));
            gap = " ";
        }
        if !self.source.is_empty() {
            let _ = write!(line, "  from {}", Shown(&self.source));
            if let Some(range) = &self.source_range {
                let _ = write!(line, " in {}", Shown(range));
            }
        }
        if let Some(proxy) = &self.proxy {
            let _ = write!(line, " via {}", Shown(proxy));
        }
        if !self.listener.is_empty() {
            let _ = write!(line, " on {}", Shown(&self.listener));
        }
        if let Some(version) = &self.tls_version {
            let _ = write!(line, ", {}", Shown(version));
        }
        if let Some(name) = &self.server_name {
            let _ = write!(line, " for {}", Quoted(name));
        }
        if let Some(subject) = &self.client_certificate {
            let _ = write!(line, " by {}", Shown(subject));
        }
        if !self.reason.is_empty() {
            let _ = write!(line, " ({}", Shown(&self.reason));
            if self.revision > 0 {
                let _ = write!(line, ", revision {}", self.revision);
            }
            line.push(')');
        }
        if let Some(detail) = &self.detail {
            let _ = write!(line, ": {}", Shown(detail));
        }
        if let Some(received) = &self.received {
            let _ = write!(
                line,
                "  received {} bytes: {}",
                self.received_bytes,
                Shown(received)
            );
        }
        line
    }

    /// One line of JSON for a program.
    #[must_use]
    pub fn json(&self) -> String {
        // Strings and numbers only: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Text with its control characters escaped.
struct Shown<'a>(&'a str);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Text that the counterparty chose: in quotes where it could be taken for the words of the line around it.
struct Quoted<'a>(&'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.contains([' ', '"']) {
            write!(f, "\"{}\"", Shown(&self.0.replace('"', "\\\"")))
        } else {
            write!(f, "{}", Shown(self.0))
        }
    }
}

/// As a map that keeps the order, which is that of the route's fields.
fn in_order<S: Serializer>(fields: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(fields.len()))?;
    for (label, value) in fields {
        map.serialize_entry(label, value)?;
    }
    map.end()
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(
            Value::ArrayValue(_)
            | Value::KvlistValue(_)
            | Value::BytesValue(_)
            | Value::StringValueStrindex(_),
        )
        | None => String::new(),
    }
}

fn number(value: &AnyValue) -> u64 {
    match &value.value {
        // The core's numbers are unsigned; OTLP has signed ones only.
        Some(Value::IntValue(number)) => number.cast_unsigned(),
        Some(Value::StringValue(text)) => text.parse().unwrap_or_default(),
        Some(_) | None => 0,
    }
}

/// OTLP has four numbers for each of our severities, and TRACE, which we have not.
const fn severity(number: i32) -> Severity {
    match number {
        ..=8 => Severity::Debug,
        9..=12 => Severity::Info,
        13..=16 => Severity::Warn,
        17..=20 => Severity::Error,
        21.. => Severity::Critical,
    }
}

/// The colour of a severity's label, on every line that people read.
pub(crate) fn paint(severity: &str) -> &'static str {
    match severity {
        "INFO" => "\x1b[32m",
        "WARN" => "\x1b[33m",
        "ERROR" => "\x1b[31m",
        "CRITICAL" => "\x1b[1;31m",
        _ => "\x1b[2m",
    }
}

/// `14:02:11.123Z`
fn clock(unix_nano: u64) -> String {
    let ms = unix_nano / 1_000_000;
    let (s, ms) = (ms / 1_000, ms % 1_000);
    format!(
        "{:02}:{:02}:{:02}.{ms:03}Z",
        s / 3_600 % 24,
        s / 60 % 60,
        s % 60
    )
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;

    fn record(severity_number: i32, texts: &[(&str, &str)], numbers: &[(&str, i64)]) -> LogRecord {
        let value = |value| Some(AnyValue { value: Some(value) });
        let texts = texts.iter().map(|(key, text)| KeyValue {
            key: (*key).to_owned(),
            value: value(Value::StringValue((*text).to_owned())),
            ..KeyValue::default()
        });
        let numbers = numbers.iter().map(|(key, number)| KeyValue {
            key: (*key).to_owned(),
            value: value(Value::IntValue(*number)),
            ..KeyValue::default()
        });
        LogRecord {
            time_unix_nano: 1_763_906_531_123_456_789,
            severity_number,
            event_name: attribute::EVENT_DECISION.to_owned(),
            attributes: texts.chain(numbers).collect(),
            ..LogRecord::default()
        }
    }

    fn routed() -> LogRecord {
        record(
            9,
            &[
                ("fixgw.decision", "ROUTE"),
                ("fixgw.reason", "matched"),
                ("fixgw.route", "trading/algo-vwap"),
                ("fixgw.target", "trading/algo-engine-svc:9876"),
                ("fixgw.source", "127.0.0.1:51234"),
                ("fixgw.listener", "main"),
                ("fixgw.field.SenderCompID49", "BROKER_A"),
                ("fixgw.field.AlgoStrategy20001", "[REDACTED]"),
            ],
            &[
                ("fixgw.revision", 1_763_906_500_000),
                ("fixgw.connection_id", 4),
                ("fixgw.received_bytes", 120),
            ],
        )
    }

    fn unmatched(sender: &str) -> LogRecord {
        record(
            13,
            &[
                ("fixgw.decision", "CLOSED"),
                ("fixgw.reason", "no_match"),
                ("fixgw.source", "127.0.0.1:51234"),
                ("fixgw.listener", "main"),
                ("fixgw.field.SenderCompID49", sender),
                ("fixgw.received", "8=FIX.4.4|554=[REDACTED]|"),
            ],
            &[("fixgw.revision", 7), ("fixgw.received_bytes", 88)],
        )
    }

    #[test]
    fn a_routed_logon_is_one_line() {
        assert_eq!(
            ReceivedDecision::decode(&routed()).line(false),
            "14:02:11.123Z INFO  ROUTE trading/algo-vwap → trading/algo-engine-svc:9876  SenderCompID49=BROKER_A \
             AlgoStrategy20001=[REDACTED]  from 127.0.0.1:51234 on main (matched, revision 1763906500000)"
        );
    }

    #[test]
    fn a_logon_through_a_load_balancer_names_both() {
        let mut record = routed();
        record.attributes.push(KeyValue {
            key: attribute::PROXY.to_owned(),
            value: Some(AnyValue {
                value: Some(Value::StringValue("192.0.2.1:40000".to_owned())),
            }),
            ..KeyValue::default()
        });
        let decision = ReceivedDecision::decode(&record);
        let line = decision.line(false);
        assert!(
            line.contains("  from 127.0.0.1:51234 via 192.0.2.1:40000 on main (matched"),
            "{line}"
        );
        assert!(decision.json().contains(r#""proxy":"192.0.2.1:40000""#));
    }

    #[test]
    fn an_unmatched_logon_shows_what_was_received() {
        assert_eq!(
            ReceivedDecision::decode(&unmatched("NOBODY")).line(false),
            "14:02:11.123Z WARN  CLOSED  SenderCompID49=NOBODY  from 127.0.0.1:51234 on main (no_match, revision 7)  \
             received 88 bytes: 8=FIX.4.4|554=[REDACTED]|"
        );
    }

    #[test]
    fn what_tls_said_stands_behind_the_listener_and_in_the_json() {
        let mut record = routed();
        for (key, text) in [
            ("fixgw.server_name", "gw.example"),
            ("fixgw.tls_version", "TLSv1.3"),
            ("fixgw.client_certificate", "CN=BROKER_A"),
        ] {
            record.attributes.push(KeyValue {
                key: key.to_owned(),
                value: Some(AnyValue {
                    value: Some(Value::StringValue(text.to_owned())),
                }),
                ..KeyValue::default()
            });
        }
        let decision = ReceivedDecision::decode(&record);
        let line = decision.line(false);
        assert!(
            line.contains(" on main, TLSv1.3 for gw.example by CN=BROKER_A (matched"),
            "{line}"
        );
        let json = decision.json();
        assert!(
            json.contains(
                r#""serverName":"gw.example","tlsVersion":"TLSv1.3","clientCertificate":"CN=BROKER_A""#
            ),
            "{json}"
        );
    }

    #[test]
    fn colour_is_the_callers_choice_and_changes_nothing_else() {
        let decision = ReceivedDecision::decode(&unmatched("NOBODY"));
        let coloured = decision.line(true);
        assert!(coloured.contains("\x1b[33mWARN \x1b[0m"), "{coloured}");
        assert_eq!(
            coloured.replace("\x1b[33m", "").replace("\x1b[0m", ""),
            decision.line(false)
        );
    }

    #[test]
    fn a_counterpartys_bytes_cannot_move_the_cursor() {
        let line = ReceivedDecision::decode(&unmatched("\x1b[2J\nINFO\u{9b}1m")).line(false);
        assert!(!line.chars().any(char::is_control), "{line}");
        assert!(line.contains(r"\u{1b}[2J\nINFO\u{9b}1m"), "{line}");
    }

    #[test]
    fn json_keeps_the_order_of_the_fields() {
        assert_eq!(
            ReceivedDecision::decode(&routed()).json(),
            r#"{"timeUnixNano":1763906531123456789,"severity":"INFO","decision":"ROUTE","reason":"matched","route":"trading/algo-vwap","target":"trading/algo-engine-svc:9876","source":"127.0.0.1:51234","listener":"main","connectionId":4,"revision":1763906500000,"receivedBytes":120,"fields":{"SenderCompID49":"BROKER_A","AlgoStrategy20001":"[REDACTED]"}}"#
        );
    }

    #[test]
    fn a_record_that_is_no_decision_shows_its_event() {
        let foreign = LogRecord {
            event_name: "fixgw.panic".to_owned(),
            severity_number: 17,
            ..LogRecord::default()
        };
        assert_eq!(
            ReceivedDecision::decode(&foreign).line(false),
            "00:00:00.000Z ERROR fixgw.panic"
        );
        let empty = ReceivedDecision::decode(&LogRecord::default());
        assert_eq!(empty.line(false), "00:00:00.000Z DEBUG ");
    }
}
