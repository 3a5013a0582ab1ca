//! What became of a Logon, and why? One typed record per decision, made here and written by one sink.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value};

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To the target of an exact or wildcard route.
    Route,
    /// To the target of a default route.
    DefaultRoute,
    /// To the reject engine.
    RejectEngine,
    /// It waits until its target is ready.
    Held,
    /// Closed.
    Closed,
}

impl Decision {
    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Route => "ROUTE",
            Self::DefaultRoute => "DEFAULT_ROUTE",
            Self::RejectEngine => "REJECT_ENGINE",
            Self::Held => "HELD",
            Self::Closed => "CLOSED",
        }
    }

    /// Every decision.
    pub const ALL: [Self; 5] = [
        Self::Route,
        Self::DefaultRoute,
        Self::RejectEngine,
        Self::Held,
        Self::Closed,
    ];

    /// The decision of a label.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|decision| decision.label() == label)
    }
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The route's conditions hold.
    Matched,
    /// No route's conditions hold.
    NoMatch,
    /// Engines could read the message differently, and the route would differ.
    AmbiguousField,
    /// Two routes of one rank match. Cannot happen with an accepted table.
    AmbiguousRoute,
    /// The first bytes are not FIX.
    NotFix,
    /// A FIX message, but no Logon.
    NotLogon,
    /// Longer than its bound.
    LogonTooLarge,
    /// More fields than their bound.
    TooManyFields,
    /// No complete Logon in time.
    LogonTimeout,
    /// The counterparty closed before its Logon was complete.
    IncompleteLogon,
    /// A PROXY protocol header from an address that may not send one.
    UntrustedProxy,
    /// The TLS handshake came to nothing.
    TlsHandshakeFailed,
    /// The route's target has no ready endpoint.
    NoReadyEndpoint,
    /// No endpoint became ready in the time for which a connection is held.
    HoldTimeout,
    /// As many connections are held as may be.
    HoldLimit,
    /// The counterparty left while it was held.
    LeftWhileHeld,
    /// The target counts as ready, and none of its endpoints took the connection in time.
    TargetUnreachable,
    /// The counterparty left while its target was tried again and again.
    LeftWhileConnecting,
    /// The worker has no table yet.
    NoTable,
    /// A fault in the filter, contained to this connection.
    InternalError,
}

impl Reason {
    /// Every reason, for docs and tests.
    pub const ALL: [Self; 20] = [
        Self::Matched,
        Self::NoMatch,
        Self::AmbiguousField,
        Self::AmbiguousRoute,
        Self::NotFix,
        Self::NotLogon,
        Self::LogonTooLarge,
        Self::TooManyFields,
        Self::LogonTimeout,
        Self::IncompleteLogon,
        Self::UntrustedProxy,
        Self::TlsHandshakeFailed,
        Self::NoReadyEndpoint,
        Self::HoldTimeout,
        Self::HoldLimit,
        Self::LeftWhileHeld,
        Self::TargetUnreachable,
        Self::LeftWhileConnecting,
        Self::NoTable,
        Self::InternalError,
    ];

    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::NoMatch => "no_match",
            Self::AmbiguousField => "ambiguous_field",
            Self::AmbiguousRoute => "ambiguous_route",
            Self::NotFix => "not_fix",
            Self::NotLogon => "not_logon",
            Self::LogonTooLarge => "logon_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::LogonTimeout => "logon_timeout",
            Self::IncompleteLogon => "incomplete_logon",
            Self::UntrustedProxy => "untrusted_proxy",
            Self::TlsHandshakeFailed => "tls_handshake_failed",
            Self::NoReadyEndpoint => "no_ready_endpoint",
            Self::HoldTimeout => "hold_timeout",
            Self::HoldLimit => "hold_limit",
            Self::LeftWhileHeld => "left_while_held",
            Self::TargetUnreachable => "target_unreachable",
            Self::LeftWhileConnecting => "left_while_connecting",
            Self::NoTable => "no_table",
            Self::InternalError => "internal_error",
        }
    }

    /// The reason of a label.
    #[must_use]
    pub fn from_label(label: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.label().as_bytes() == label)
    }

    /// How grave it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Matched => Severity::Info,
            Self::NoMatch
            | Self::AmbiguousField
            | Self::NotFix
            | Self::NotLogon
            | Self::LogonTooLarge
            | Self::TooManyFields
            | Self::LogonTimeout
            | Self::IncompleteLogon
            | Self::UntrustedProxy
            | Self::TlsHandshakeFailed
            | Self::LeftWhileHeld
            | Self::LeftWhileConnecting => Severity::Warn,
            Self::NoReadyEndpoint
            | Self::TargetUnreachable
            | Self::NoTable
            | Self::InternalError => Severity::Error,
            Self::AmbiguousRoute | Self::HoldTimeout | Self::HoldLimit => Severity::Critical,
        }
    }
}

/// How grave a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For developers.
    Debug,
    /// The ordinary course.
    Info,
    /// Someone may want to look.
    Warn,
    /// Something does not work.
    Error,
    /// Someone must act.
    Critical,
}

impl Severity {
    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    /// `OpenTelemetry`'s `SeverityNumber` (logs data model, "Field: `SeverityNumber`"): CRITICAL is FATAL there.
    #[must_use]
    pub const fn otlp_number(self) -> u8 {
        match self {
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
            Self::Critical => 21,
        }
    }
}

/// Names of a record's attributes, as the filter writes and every sink reads them.
pub mod attribute {
    /// Event name of a decision record.
    pub const EVENT_DECISION: &str = "fixgw.decision";
    /// [`super::Decision::label`]
    pub const DECISION: &str = "fixgw.decision";
    /// [`super::Reason::label`]
    pub const REASON: &str = "fixgw.reason";
    /// `namespace/name` of the route
    pub const ROUTE: &str = "fixgw.route";
    /// Cluster that the connection goes to
    pub const TARGET: &str = "fixgw.target";
    /// Address and port of the counterparty
    pub const SOURCE: &str = "fixgw.source";
    /// The route's source range that holds that address
    pub const SOURCE_RANGE: &str = "fixgw.source_range";
    /// Address and port of the load balancer that spoke for the counterparty
    pub const PROXY: &str = "fixgw.proxy";
    /// Name of the listener
    pub const LISTENER: &str = "fixgw.listener";
    /// Name that the TLS client asked for (SNI)
    pub const SERVER_NAME: &str = "fixgw.server_name";
    /// Version of TLS
    pub const TLS_VERSION: &str = "fixgw.tls_version";
    /// Subject of the client certificate
    pub const CLIENT_CERTIFICATE: &str = "fixgw.client_certificate";
    /// Envoy's number of the connection
    pub const CONNECTION_ID: &str = "fixgw.connection_id";
    /// Revision of the table that decided
    pub const REVISION: &str = "fixgw.revision";
    /// What a person should know beside the reason
    pub const DETAIL: &str = "fixgw.detail";
    /// Received bytes, redacted
    pub const RECEIVED: &str = "fixgw.received";
    /// Number of received bytes
    pub const RECEIVED_BYTES: &str = "fixgw.received_bytes";
    /// Prefix of one attribute per field: `fixgw.field.SenderCompID49`
    pub const FIELD_PREFIX: &str = "fixgw.field.";
}

/// An attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute<'r> {
    /// Text.
    Text(&'r str),
    /// A number that fits OTLP's signed 64 bits.
    Number(u64),
}

/// Where a connection came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Address and port of the counterparty.
    pub source: String,
    /// Address and port of the load balancer that spoke for it.
    pub proxy: Option<String>,
    /// Name of the listener.
    pub listener: String,
    /// Envoy's number of the connection.
    pub connection_id: u64,
    /// What TLS said of it; on a plaintext listener nothing. Every text in it has passed [`crate::redact::peer_text`].
    pub tls: Tls,
}

/// What is known of a connection through TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Name that the client asked for (SNI). Nothing proves that it meant this gateway.
    pub server_name: Option<String>,
    /// Version, once the handshake is done.
    pub version: Option<String>,
    /// Subject of the client certificate, once the handshake has proven it.
    pub client_certificate: Option<String>,
}

/// One decision. Every text in it has passed [`crate::redact`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// What became of it.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// `namespace/name` of the route, where one was decided.
    pub route: Option<String>,
    /// Cluster that the connection goes to, or would have.
    pub target: Option<String>,
    /// Label and disclosed value of the fields that decided, or else of those that identify the counterparty.
    pub fields: Vec<(String, String)>,
    /// The route's longest source range that holds the counterparty's address, where it has any.
    pub source_range: Option<String>,
    /// Revision of the table; 0 when there was none.
    pub revision: u64,
    /// What a person should know beside the reason.
    pub detail: Option<String>,
    /// Received bytes, redacted, where no route was decided.
    pub received: Option<String>,
    /// Number of received bytes.
    pub received_bytes: u64,
}

impl DecisionRecord {
    /// How grave it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.reason.severity()
    }

    /// What became of the same Logon after that.
    pub(crate) fn became(&self, decision: Decision, reason: Reason, detail: String) -> Self {
        Self {
            decision,
            reason,
            detail: Some(detail),
            ..self.clone()
        }
    }

    /// Hands every attribute but the fields to `write`, then the fields by [`DecisionRecord::fields`].
    pub fn attributes<'r>(
        &'r self,
        origin: &'r Origin,
        mut write: impl FnMut(&'static str, Attribute<'r>),
    ) {
        write(attribute::DECISION, Attribute::Text(self.decision.label()));
        write(attribute::REASON, Attribute::Text(self.reason.label()));
        write(attribute::SOURCE, Attribute::Text(&origin.source));
        write(attribute::LISTENER, Attribute::Text(&origin.listener));
        write(
            attribute::CONNECTION_ID,
            Attribute::Number(origin.connection_id),
        );
        write(attribute::REVISION, Attribute::Number(self.revision));
        write(
            attribute::RECEIVED_BYTES,
            Attribute::Number(self.received_bytes),
        );
        let optional = [
            (attribute::PROXY, &origin.proxy),
            (attribute::SERVER_NAME, &origin.tls.server_name),
            (attribute::TLS_VERSION, &origin.tls.version),
            (
                attribute::CLIENT_CERTIFICATE,
                &origin.tls.client_certificate,
            ),
            (attribute::ROUTE, &self.route),
            (attribute::TARGET, &self.target),
            (attribute::SOURCE_RANGE, &self.source_range),
            (attribute::DETAIL, &self.detail),
            (attribute::RECEIVED, &self.received),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                write(name, Attribute::Text(value));
            }
        }
    }
}

/// A record as one JSON object, for a log of lines: the attributes under their names, and the severity.
#[must_use]
pub fn json_line(record: &DecisionRecord, origin: &Origin) -> String {
    let mut line = Map::new();
    line.insert("severity".to_string(), record.severity().label().into());
    record.attributes(origin, |name, value| {
        let value = match value {
            Attribute::Text(text) => Value::from(text),
            Attribute::Number(number) => Value::from(number),
        };
        line.insert(name.to_string(), value);
    });
    for (label, value) in &record.fields {
        let name = format!("{}{label}", attribute::FIELD_PREFIX);
        line.insert(name, Value::from(value.as_str()));
    }
    Value::Object(line).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_label() {
        for reason in Reason::ALL {
            assert_eq!(
                Reason::from_label(reason.label().as_bytes()).unwrap(),
                reason
            );
        }
    }
}
