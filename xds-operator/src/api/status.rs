//! What does the gateway say of a FIXSession, in its `status`?
//!
//! Keys that `fixgw status` has too are called and mean the same. No field of any Logon stands here but those of `match`, as
//! their `redact` and `log` let them be shown.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::{Deserialize, Serialize};

/// Type of the condition: the FIXSession is part of the rules in force as it stands.
pub const ACCEPTED: &str = "Accepted";
/// Type of the condition: there is the Service that it leads to, and it has the port.
pub const TARGET_RESOLVABLE: &str = "TargetResolvable";
/// Type of the condition: an engine is ready there.
pub const ENDPOINTS_READY: &str = "EndpointsReady";
/// Type of the condition: another FIXSession and this one could both be best for one Logon. Only there when it is so.
pub const CONFLICTED: &str = "Conflicted";
/// Type of the condition: every gateway routes by it.
pub const PROGRAMMED: &str = "Programmed";

/// What the gateway says of the route. Nobody else writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FIXSessionStatus {
    /// The `metadata.generation` that all of this is about. Smaller than the object's: the last change has not been looked at yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`: the route is part of the rules in force as it stands; if not, reason and message say what is wrong with it, or
    /// which other route it conflicts with, and whether its last accepted form stays in force. `TargetResolvable`: there is the
    /// Service that it leads to, and it has the port. `EndpointsReady`: an engine is ready there. `Programmed`: every gateway routes
    /// by it. `Conflicted` is only there when it is so: another route and this one could both be best for one Logon.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(schema_with = "super::crd::conditions"))]
    pub conditions: Vec<Condition>,
    /// What the route matches, in one line: redacted values as `[REDACTED]`, fields with `log: false` left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#match: Option<String>,
    /// Where the route leads, as `SERVICE:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many endpoints of the target are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints_ready: Option<u32>,
    /// The route's connections, over all gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
    /// Revision of the rules by which the route came into force as it stands. A gateway that uses this one or a later one routes by
    /// it; `fixgw status` says which one each gateway uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// When a Logon took the route last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_connection: Option<String>,
}

impl FIXSessionStatus {
    /// The condition of a type.
    #[must_use]
    pub fn condition(&self, of: &str) -> Option<&Condition> {
        self.conditions.iter().find(|it| it.type_ == of)
    }
}

/// Connections of a route, by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// Sessions that an engine has.
    pub active: u64,
    /// Those of them whose engine is not one that the route leads to now. They go on.
    pub on_old_target: u64,
    /// Connections that wait for a ready endpoint.
    pub held: u64,
    /// Connections that are tried at an endpoint that has not taken them yet.
    pub connecting: u64,
    /// Sessions that an engine has although the FIXSession is being deleted. They go on.
    pub orphaned: u64,
}
