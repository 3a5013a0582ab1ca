//! What is settable on the data listeners' plugin? A JSON object that never changes while Envoy runs: bounds, clusters
//! and, where there is no control plane, the routes themselves ([`crate::inline`]).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::inline::{self, InlineRoutes};
use crate::limits;
use crate::redact::{Disclosure, DisclosurePolicy};
use crate::wire::{ReadLimits, Tag};

/// Settings of the data root. Every key may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Bytes of one Logon.
    pub logon_bytes_max: u32,
    /// Fields of one Logon.
    pub logon_fields_max: u32,
    /// Milliseconds from accept to a complete Logon.
    pub logon_timeout_ms: u32,
    /// Milliseconds that a connection is held until its target is ready, if its route does not say otherwise.
    pub hold_timeout_ms: u32,
    /// Milliseconds for which a target that counts as ready is tried again when it refuses.
    pub connect_timeout_ms: u32,
    /// Connections that are held for one route, if it does not say otherwise.
    pub max_held_connections: u32,
    /// Connections that are held in all, over all workers.
    pub max_held_connections_per_pod: u32,
    /// Cluster of the reject engine; without one, what cannot be routed is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_cluster: Option<String>,
    /// Cluster that decision records go to; without one, they are written into Envoy's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_cluster: Option<String>,
    /// Cluster that reports go to; without one, none are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_cluster: Option<String>,
    /// Tags that are redacted everywhere, beside those that always are.
    pub redact_tags: Vec<u32>,
    /// The routes, if no control plane brings them.
    #[serde(skip_serializing)]
    pub routes: Option<InlineRoutes>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            logon_bytes_max: limits::LOGON_BYTES_MAX,
            logon_fields_max: limits::LOGON_FIELDS_MAX,
            logon_timeout_ms: limits::LOGON_TIMEOUT_MS,
            hold_timeout_ms: limits::HOLD_TIMEOUT_MS,
            connect_timeout_ms: limits::CONNECT_TIMEOUT_MS,
            max_held_connections: limits::HELD_PER_ROUTE_MAX,
            max_held_connections_per_pod: limits::HELD_PER_POD_MAX,
            reject_cluster: None,
            decision_cluster: None,
            control_cluster: None,
            redact_tags: Vec::new(),
            routes: None,
        }
    }
}

impl Settings {
    /// Reads the JSON. No bytes at all are the defaults.
    ///
    /// # Errors
    /// What is wrong and where, as one sentence that names no value.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(json).map_err(|error| {
            let what = inline::without_values(&error);
            if error.is_data() {
                return what;
            }
            let (line, column) = (error.line(), error.column());
            format!("{what} at line {line} column {column}")
        })
    }

    /// Bounds of one Logon.
    #[must_use]
    pub const fn read_limits(&self) -> ReadLimits {
        ReadLimits {
            bytes_max: self.logon_bytes_max as usize,
            fields_max: self.logon_fields_max as usize,
        }
    }
}

impl DisclosurePolicy for Settings {
    fn configured(&self, tag: Tag) -> Disclosure {
        if self.redact_tags.contains(&tag.get()) {
            Disclosure::Redacted
        } else {
            Disclosure::Shown
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named() {
        let error = Settings::parse(br#"{"logonByteMax": 1}"#).unwrap_err();
        assert!(error.contains("logonByteMax"), "{error}");
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        let error = Settings::parse(b"{\n  \"redactTags\": [58,]\n}").unwrap_err();
        assert_eq!(error, "trailing comma at line 2 column 21");
    }

    #[test]
    fn what_is_left_out_has_its_default_and_a_round_trip_changes_nothing() {
        let settings = Settings::parse(br#"{"rejectCluster":"r","redactTags":[58]}"#).unwrap();
        assert_eq!(settings.logon_bytes_max, 8192);
        let again = Settings::parse(&serde_json::to_vec(&settings).unwrap()).unwrap();
        assert_eq!(settings, again);
        assert_eq!(Settings::parse(b"").unwrap(), Settings::default());
    }
}
