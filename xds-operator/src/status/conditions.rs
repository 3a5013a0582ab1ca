//! What shall stand in the status of each FIXSession? What was decided, what is served and what the gateways say in, a
//! [`FIXSessionStatus`] out; pure.

use std::sync::Arc;

use crate::pipeline::accept::Verdicts;
use crate::pipeline::publish::Published;
use crate::pipeline::resolve::Endpoints;
use crate::receive::fleet::{AllSessions, Fleet};
use crate::world::RulesHalf;
use crate::xds::rollout::Happened;

/// What the replica that leads has decided of the rules. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Decided {
    /// Those that were looked at last, with the identities of their objects.
    pub rules: Arc<RulesHalf>,
    /// What is held against objects in them (`Acceptance::verdicts`).
    pub verdicts: Arc<Verdicts>,
}

/// Whether what is accepted is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Publication {
    /// It is, within moments.
    #[default]
    Running,
    /// Somebody paused it: what is written now is not looked at. In his words, which may be none.
    Paused(String),
    /// It cannot be; why.
    Failing(String),
}

/// What is served here. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Served {
    /// The table in force, and what it was made of.
    pub published: Arc<Published>,
    /// Services and EndpointSlices as they count now.
    pub endpoints: Arc<Endpoints>,
}

/// What gateways refused and have not taken since, by `node.id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    of_nodes: std::collections::BTreeSet<String>,
}

impl Rejections {
    /// Takes in what happened at a gateway; whether that changed anything.
    pub fn observe(&mut self, node: &str, happened: &Happened) -> bool {
        let _ = (node, happened, &self.of_nodes);
        false
    }
}

/// All that statuses are made of.
#[derive(Clone, Debug)]
pub struct Known {
    /// By the leader; none: nothing yet.
    pub decided: Option<Decided>,
    /// Whether that goes on.
    pub publication: Publication,
    /// Here; none: no table was published yet.
    pub served: Option<Served>,
    /// The gateways.
    pub fleet: Arc<Fleet>,
    /// Who is connected.
    pub sessions: Arc<AllSessions>,
    /// What the gateways refused.
    pub rejections: Arc<Rejections>,
}
