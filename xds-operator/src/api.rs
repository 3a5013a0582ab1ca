//! What does a FIXSession look like to the one who writes it?
//!
//! The types of `fixgateway.io/v1alpha1`, field for field, and the step from there to the core's [`RuleSpec`]. Whether
//! what was written makes sense is asked by the core and by `pipeline::validate`. Never reads a file, never knows
//! where an object came from.
//!
//! The documentation of the types in a FIXSession is what `kubectl explain` shows: it speaks to those who write routes.
//! `crd` makes `crds/fixsession-crd.yaml` of them.

#[cfg(test)]
mod crd;
pub mod status;

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
/// The same within its group.
pub const VERSION: &str = "v1alpha1";
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

/// The names of the FIXSession in an API server's paths and for `kubectl`.
pub const PLURAL: &str = "fixsessions";

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

/// Which Logons the route takes, where they go, and how long a connection may wait for its engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FIXSessionSpec {
    /// Fields of the Logon, all of which must match; 16 at most. A key is the field's name in `PascalCase` followed by its tag
    /// number, as in `SenderCompID49` or `AlgoStrategy20001`. The number is what is matched; the name is for people and logs.
    ///
    /// Of a repeated tag the first value counts, and an empty field counts as absent. Tags 9, 10 and 35 cannot be matched, nor can
    /// those that carry secrets (passwords, and every data field, such as 96).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_fields: BTreeMap<String, MatchField>,
    /// Where the counterparty must come from: CIDR blocks without bits beyond their length, such as `10.0.0.0/8` or
    /// `2001:db8::/32`; 64 at most, and the address must be in one of them. Without it, from anywhere.
    ///
    /// It is a condition like any other, not access control: a Logon from elsewhere falls through to the next route. Source ranges
    /// may stand alone, beside `matchFields`, or on a default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ranges: Option<Vec<String>>,
    /// Whether this is a default route, which takes what no other route takes. A default route has a `priority` and no
    /// `matchFields`. A Logon that no default route takes either is refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub default: bool,
    /// Which of several routes wins: the one with the larger number, among routes with a pattern or of source ranges alone, and
    /// among default routes. It is required for those, and not allowed for a route of values only, whose rank is its number of
    /// fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Where the Logon goes, and every byte that follows it.
    pub target: TargetSpec,
    /// How many connections may wait at once for a ready endpoint of the target, from 0 to 500; one more is refused. Without it, as
    /// many as the gateway says, 1 as a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_held_connections: Option<u32>,
    /// How long a connection may wait for a ready endpoint of the target, from `1ms` to `1h`: whole numbers with their units, such
    /// as `30s`, `1m30s` or `500ms`. Without it, for as long as the gateway says, 30 s as a rule. Engines refuse a Logon that is
    /// older than 2 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_timeout: Option<String>,
}

/// What must hold for one field of the Logon: exactly one of `value` and `pattern`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchField {
    /// The field equals this, byte for byte: 1 to 128 bytes. Numbers are put in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `*`: the field is there and not empty. `PREFIX*`: it begins with these 1 to 128 bytes, which may be all of it. A route with
    /// a pattern needs a `priority`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Whether the field's value is shown as `[REDACTED]` wherever the gateway tells of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub redact: bool,
    /// Whether the gateway may tell of the field at all, true if it is not said. With `false` it is in no log, record or status.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub log: bool,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// A port of a Service in the FIXSession's own namespace. Its ready endpoints are the engines. A Service that is not there yet
    /// is no error: connections wait for it.
    pub service: ServiceSpec,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// The Service's name.
    pub name: String,
    /// The Service's port by number, from 1 to 65535: `port`, not `targetPort`.
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
