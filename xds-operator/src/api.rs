//! What does a FIXSession look like to the one who writes it?
//!
//! The types of `fixgateway.io/v1alpha1`, field for field, and the step from there to the core's [`RuleSpec`]. Whether
//! what was written makes sense is asked by the core and by `pipeline::validate`. Never reads a file, never knows
//! where an object came from.

use std::collections::BTreeMap;

use fixgw_core::redact::Disclosure;
use fixgw_core::rule::{FieldSpec, Hold, RouteName, RuleSpec, Target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// API group of the FIXSession.
pub const GROUP: &str = "fixgateway.io";
/// The one version that this release knows.
pub const API_VERSION: &str = "fixgateway.io/v1alpha1";
/// Kind of the FIXSession.
pub const KIND: &str = "FIXSession";

/// Annotation of a Service: its engines are told the counterparty's address by a PROXY protocol header.
pub const PROXY_PROTOCOL_ANNOTATION: &str = "fixgateway.io/proxy-protocol";
/// Annotation of a Service: after how long a connection to an engine ends whose host is gone.
pub const TCP_TIMEOUT_ANNOTATION: &str = "fixgateway.io/tcp-timeout";

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyVersion {
    /// As it is written in the annotation; none for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "v1" => Some(Self::V1),
            "v2" => Some(Self::V2),
            _ => None,
        }
    }
}

/// `maxHeldConnections` when it is not written.
pub const HELD_CONNECTIONS_DEFAULT: u32 = 1;
/// Largest `maxHeldConnections`: the bound of a whole gateway pod, above which a route's own says nothing.
pub const HELD_CONNECTIONS_MAX: u32 = 500;
/// Longest `holdTimeout`. A Logon is refused by engines when its `SendingTime` is older than 120 s; an hour is
/// already beyond what any counterparty waits.
pub const HOLD_TIMEOUT_MS_MAX: u64 = 3_600_000;
/// Bytes of a name (RFC 1123 subdomain), as Kubernetes has it.
pub const NAME_BYTES_MAX: usize = 253;
/// Bytes of a namespace or a Service's name (RFC 1123 label), as Kubernetes has it.
pub const LABEL_BYTES_MAX: usize = 63;

/// A FIXSession as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FIXSession {
    /// `fixgateway.io/v1alpha1`
    pub api_version: String,
    /// `FIXSession`
    pub kind: String,
    /// Name, namespace, labels and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: FIXSessionSpec,
    /// Written by the gateway, so that an object read off a cluster can be put into a directory as it is.
    #[serde(default)]
    #[allow(dead_code, reason = "accepted, and ignored, on purpose")]
    status: Option<Ignored>,
}

/// What is read and forgotten.
#[derive(Clone, Copy, Debug)]
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// What a FIXSession wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FIXSessionSpec {
    /// Conditions on the Logon's fields, by `PascalCase<TagNumber>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_fields: BTreeMap<String, MatchField>,
    /// Where a counterparty must come from: CIDR blocks, `10.0.0.0/8` or `2001:db8::/32`. Without it, from anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ranges: Option<Vec<String>>,
    /// Takes what no other route takes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub default: bool,
    /// Rank among wildcard or default routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Where it leads.
    pub target: TargetSpec,
    /// How many connections may wait for the target at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_held_connections: Option<u32>,
    /// How long a connection may wait: `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_timeout: Option<String>,
}

/// A condition on one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchField {
    /// Equals, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `*` or `PREFIX*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Shown as `[REDACTED]` everywhere.
    #[serde(default, skip_serializing_if = "is_false")]
    pub redact: bool,
    /// In no telemetry at all when false.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub log: bool,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// A Service of the FIXSession's own namespace.
    pub service: ServiceSpec,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// The Service's name.
    pub name: String,
    /// The Service's port (not the pod's).
    pub port: u16,
}

impl FIXSessionSpec {
    /// The Service's port that the route leads to.
    #[must_use]
    pub fn target(&self, namespace: &str) -> Target {
        Target::service(
            namespace,
            &self.target.service.name,
            self.target.service.port,
        )
    }

    /// What it says about connections that wait. A duration that is none is told elsewhere.
    fn hold(&self) -> Hold {
        let timeout_ms = self.hold_timeout.as_deref();
        let timeout_ms = timeout_ms.and_then(|text| duration_ms(text).ok());
        Hold {
            connections_max: self.max_held_connections,
            timeout_ms: timeout_ms.and_then(|ms| u32::try_from(ms).ok()),
        }
    }

    /// The same as the core takes it.
    #[must_use]
    pub fn rule(&self, name: RouteName) -> RuleSpec {
        let target = self.target(&name.namespace);
        RuleSpec {
            name,
            match_fields: self
                .match_fields
                .iter()
                .map(|(key, field)| (key.clone(), field.rule()))
                .collect(),
            source_ranges: self.source_ranges.clone(),
            default: self.default,
            priority: self.priority,
            target,
            hold: self.hold(),
        }
    }
}

impl MatchField {
    /// What may be said of the value, by `redact` and `log`.
    #[must_use]
    pub const fn disclosure(&self) -> Disclosure {
        match (self.log, self.redact) {
            (false, _) => Disclosure::Hidden,
            (true, true) => Disclosure::Redacted,
            (true, false) => Disclosure::Shown,
        }
    }

    fn rule(&self) -> FieldSpec {
        FieldSpec {
            value: self.value.clone(),
            pattern: self.pattern.clone(),
            redact: self.redact,
            hidden: !self.log,
        }
    }
}

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not `NUMBER UNIT` one or more times.
    #[error("a duration is a number with its unit, as in `30s`, `1m30s` or `500ms`")]
    Form,
    /// Nothing, or more than the longest.
    #[error("a hold lasts from 1ms to 1h")]
    Range,
}

/// Milliseconds of a duration that a connection may be held for.
///
/// # Errors
/// Another form, zero, or more than [`HOLD_TIMEOUT_MS_MAX`].
pub fn duration_ms(text: &str) -> Result<u64, DurationError> {
    let total = milliseconds(text)?;
    if total == 0 || total > HOLD_TIMEOUT_MS_MAX {
        return Err(DurationError::Range);
    }
    Ok(total)
}

/// Milliseconds of a duration written as Kubernetes (and Go) writes it: `30s`, `1m30s`, `500ms`. Whole numbers. What is
/// more than a u64 holds is as much as it holds.
///
/// # Errors
/// Another form.
pub fn milliseconds(text: &str) -> Result<u64, DurationError> {
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(DurationError::Form);
    }
    while !rest.is_empty() {
        let (digits, after) = split_at_first(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_at_first(after, |c| c.is_ascii_digit());
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(DurationError::Form),
        };
        if digits.is_empty() {
            return Err(DurationError::Form);
        }
        // They are digits, so only their number can be too large.
        let number: u64 = digits.parse().unwrap_or(u64::MAX);
        total = total.saturating_add(number.saturating_mul(factor));
        rest = after;
    }
    Ok(total)
}

fn split_at_first(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

/// Whether a name is one that Kubernetes takes for a namespace or a Service: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`.
#[must_use]
pub fn is_label(name: &str) -> bool {
    name.len() <= LABEL_BYTES_MAX && has_label_form(name)
}

/// Whether a name is one that Kubernetes takes for an object: labels joined by dots.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && name.split('.').all(has_label_form)
}

fn has_label_form(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

const fn yes() -> bool {
    true
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_true(value: &bool) -> bool {
    *value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubernetes_reads_them() {
        for (text, wanted) in [
            ("30s", Ok(30_000)),
            ("1m30s", Ok(90_000)),
            ("500ms", Ok(500)),
            ("1h", Ok(3_600_000)),
            ("1h1ms", Err(DurationError::Range)),
            ("0s", Err(DurationError::Range)),
            ("99999999999999999999s", Err(DurationError::Range)),
            ("", Err(DurationError::Form)),
            ("30", Err(DurationError::Form)),
            ("s", Err(DurationError::Form)),
            ("-1s", Err(DurationError::Form)),
            ("30 s", Err(DurationError::Form)),
            ("1.5s", Err(DurationError::Form)),
        ] {
            assert_eq!(duration_ms(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        for (name, label, object) in [
            ("algo-engine", true, true),
            ("a.b", false, true),
            ("A", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a..b", false, false),
            ("", false, false),
            ("a/b", false, false),
            ("a:1", false, false),
        ] {
            assert_eq!((is_label(name), is_name(name)), (label, object), "{name:?}");
        }
    }
}
