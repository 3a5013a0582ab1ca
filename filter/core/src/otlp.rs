//! What does a decision record look like as an OTLP log record?
//!
//! The subset of the OpenTelemetry protocol that the filter writes, as prost messages. Field numbers are those of
//! `opentelemetry/proto/{logs,common,resource,collector/logs}/v1/*.proto`, which the specification keeps stable. The
//! `opentelemetry-proto` crate cannot be used inside Envoy (it brings imports that Envoy refuses), so a test of the
//! control plane decodes what is written here with that crate.
//!
//! Never sees a field's value that has not passed [`crate::redact`]: a [`DecisionRecord`] holds disclosed text only.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use prost::Message;

use crate::decision::{Attribute, DecisionRecord, Origin, attribute};

/// gRPC service that takes log records.
pub const SERVICE: &str = "opentelemetry.proto.collector.logs.v1.LogsService";
/// Its one method.
pub const METHOD: &str = "Export";
/// Instrumentation scope of the records.
pub const SCOPE: &str = "fixgw.filter";
/// `service.name` of the records' resource.
pub const SERVICE_NAME: &str = "fix-gateway";

/// `ExportLogsServiceRequest`.
#[derive(Clone, PartialEq, Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    /// `LogRecord`s that were encoded before: on the wire, a repeated message and repeated bytes are the same.
    #[prost(bytes = "vec", repeated, tag = "2")]
    log_records: Vec<Vec<u8>>,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct LogRecord {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    severity_number: i32,
    #[prost(string, tag = "3")]
    severity_text: String,
    #[prost(message, optional, tag = "5")]
    body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "11")]
    observed_time_unix_nano: u64,
    #[prost(string, tag = "12")]
    event_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

fn text(value: &str) -> AnyValue {
    AnyValue {
        value: Some(Value::Text(value.to_string())),
    }
}

fn number(value: u64) -> AnyValue {
    AnyValue {
        value: Some(Value::Number(i64::try_from(value).unwrap_or(i64::MAX))),
    }
}

fn key_value(key: &str, value: Attribute<'_>) -> KeyValue {
    let value = match value {
        Attribute::Text(value) => text(value),
        Attribute::Number(value) => number(value),
    };
    KeyValue {
        key: key.to_string(),
        value: Some(value),
    }
}

/// One encoded `LogRecord` of a decision that was taken at `unix_nanos`.
#[must_use]
pub fn log_record(record: &DecisionRecord, origin: &Origin, unix_nanos: u64) -> Vec<u8> {
    let mut attributes = Vec::new();
    record.attributes(origin, |key, value| {
        attributes.push(key_value(key, value));
    });
    for (label, value) in &record.fields {
        let key = format!("{}{label}", attribute::FIELD_PREFIX);
        attributes.push(key_value(&key, Attribute::Text(value)));
    }
    let severity = record.severity();
    let body = format!("{} {}", record.decision.label(), record.reason.label());
    let message = LogRecord {
        time_unix_nano: unix_nanos,
        severity_number: i32::from(severity.otlp_number()),
        severity_text: severity.label().to_string(),
        body: Some(text(&body)),
        attributes,
        observed_time_unix_nano: unix_nanos,
        event_name: attribute::EVENT_DECISION.to_string(),
    };
    message.encode_to_vec()
}

/// An encoded export request with records made by [`log_record`]. `node_id` says which Envoy speaks.
#[must_use]
pub fn export_request(node_id: &str, log_records: &[Vec<u8>]) -> Vec<u8> {
    let attributes = vec![
        key_value("service.name", Attribute::Text(SERVICE_NAME)),
        key_value("service.instance.id", Attribute::Text(node_id)),
    ];
    let request = ExportRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes }),
            scope_logs: vec![ScopeLogs {
                scope: Some(Scope {
                    name: SCOPE.to_string(),
                    version: env!("CARGO_PKG_VERSION").to_string(),
                }),
                log_records: log_records.to_vec(),
            }],
        }],
    };
    request.encode_to_vec()
}
