//! Does what the filter writes by hand mean the same to the OpenTelemetry protocol's own types?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use fixgw_core::decision::{Decision, DecisionRecord, Origin, Reason, Tls, attribute};
use fixgw_core::otlp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;

fn record() -> DecisionRecord {
    DecisionRecord {
        decision: Decision::RejectEngine,
        reason: Reason::NoMatch,
        route: None,
        target: Some("fixgw-reject-engine".to_owned()),
        fields: vec![("SenderCompID49".to_owned(), "BROKER_A".to_owned())],
        source_range: Some("192.0.2.0/24".to_owned()),
        revision: 7,
        detail: None,
        received: Some("8=FIX.4.4|554=[REDACTED]|".to_owned()),
        received_bytes: 93,
    }
}

fn origin() -> Origin {
    Origin {
        proxy: Some("192.0.2.1:40000".to_owned()),
        source: "192.0.2.7:40001".to_owned(),
        listener: "fix".to_owned(),
        connection_id: u64::MAX,
        tls: Tls {
            server_name: Some("gw.example".to_owned()),
            version: Some("TLSv1.3".to_owned()),
            client_certificate: Some("CN=BROKER_A".to_owned()),
        },
    }
}

fn text(value: Option<AnyValue>) -> String {
    match value.unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        _ => String::new(),
    }
}

fn map(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes
        .into_iter()
        .map(|attribute| (attribute.key, text(attribute.value)))
        .collect()
}

#[test]
fn every_part_of_a_record_is_found_where_the_protocol_has_it() {
    let encoded = otlp::log_record(&record(), &origin(), 1_795_446_393_649_439_000);
    let request = otlp::export_request("gateway-0", &[encoded.clone(), encoded]);
    let mut request = ExportLogsServiceRequest::decode(request.as_slice()).unwrap();

    let mut resource = request.resource_logs.pop().unwrap();
    assert!(request.resource_logs.is_empty());
    let about = map(resource.resource.unwrap().attributes);
    assert_eq!(about.get("service.name").unwrap(), "fix-gateway");
    assert_eq!(about.get("service.instance.id").unwrap(), "gateway-0");

    let mut scope = resource.scope_logs.pop().unwrap();
    assert!(resource.scope_logs.is_empty());
    assert_eq!(scope.scope.unwrap().name, otlp::SCOPE);
    assert_eq!(scope.log_records.len(), 2);

    let log = scope.log_records.pop().unwrap();
    assert_eq!(log.time_unix_nano, 1_795_446_393_649_439_000);
    assert_eq!(log.observed_time_unix_nano, log.time_unix_nano);
    assert_eq!(
        (log.severity_number, log.severity_text.as_str()),
        (13, "WARN")
    );
    assert_eq!(log.event_name, attribute::EVENT_DECISION);
    assert_eq!(text(log.body), "REJECT_ENGINE no_match");
    let expected = [
        (attribute::SERVER_NAME, "gw.example".to_owned()),
        (attribute::TLS_VERSION, "TLSv1.3".to_owned()),
        (attribute::CLIENT_CERTIFICATE, "CN=BROKER_A".to_owned()),
        (attribute::CONNECTION_ID, i64::MAX.to_string()),
        (attribute::DECISION, "REJECT_ENGINE".to_owned()),
        (attribute::LISTENER, "fix".to_owned()),
        (attribute::PROXY, "192.0.2.1:40000".to_owned()),
        (attribute::REASON, "no_match".to_owned()),
        (attribute::RECEIVED, "8=FIX.4.4|554=[REDACTED]|".to_owned()),
        (attribute::RECEIVED_BYTES, "93".to_owned()),
        (attribute::REVISION, "7".to_owned()),
        (attribute::SOURCE, "192.0.2.7:40001".to_owned()),
        (attribute::SOURCE_RANGE, "192.0.2.0/24".to_owned()),
        (attribute::TARGET, "fixgw-reject-engine".to_owned()),
        ("fixgw.field.SenderCompID49", "BROKER_A".to_owned()),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value));
    assert_eq!(map(log.attributes), BTreeMap::from(expected));
}
