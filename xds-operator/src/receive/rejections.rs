//! What have gateways refused, and not taken since? Pure.
//!
//! Each gateway asks one replica, and that one hears what it refuses. The others are told with the gateway's reports, so that whoever
//! leads can say it.

use std::collections::{BTreeMap, BTreeSet};

use fixgw_core::names::RESOURCE_ROUTES;
use serde::{Deserialize, Serialize};

use crate::message::clean_text;
use crate::xds::rollout::{Follows, Happened};
use crate::xds::session::Kind;

/// Characters of what a gateway says when it refuses something.
pub const REJECTION_CHARS_MAX: usize = 256;
/// Gateways whose refusals are kept, and resources of each that are.
const REJECTIONS_MAX: usize = 1_024;
/// Resources that other replicas are told of, and the bytes of all that.
const TOLD_MAX: usize = 8;
const TOLD_BYTES_MAX: usize = 6 * 1_024;

/// What gateways refused and have not taken since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    by_node: BTreeMap<String, Rejected>,
    /// Those that ask this replica.
    ours: BTreeSet<String>,
}

/// What other replicas are told of a gateway.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Told {
    /// The routes, in its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    /// Of a target, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    targets: BTreeMap<String, String>,
}

/// What one gateway refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// The routes, in its words.
    pub table: Option<String>,
    /// Of a target, by name: what of it, and the gateway's words.
    pub targets: BTreeMap<String, BTreeMap<Kind, String>>,
}

impl Rejected {
    /// What was refused of this target, in the gateway's words.
    #[must_use]
    pub fn of_target(&self, target: &str) -> Option<&str> {
        self.targets
            .get(target)?
            .values()
            .next()
            .map(String::as_str)
    }

    /// That of these targets is over, whatever it was, or of this kind; whether that changed anything.
    fn is_over(&mut self, names: &[String], of: Option<Kind>) -> bool {
        let mut changed = false;
        for name in names {
            let Some(refused) = self.targets.get_mut(name) else {
                continue;
            };
            let before = refused.len();
            refused.retain(|kind, _| of.is_some_and(|of| of != *kind));
            changed |= refused.len() < before;
            if refused.is_empty() {
                self.targets.remove(name);
            }
        }
        changed
    }
}

impl Rejections {
    /// What a gateway refused.
    #[must_use]
    pub fn of(&self, node: &str) -> Option<&Rejected> {
        self.by_node.get(node)
    }

    /// It asks this replica from now on, and is given everything anew.
    pub fn connected(&mut self, node: &str) -> bool {
        if self.ours.len() < REJECTIONS_MAX {
            self.ours.insert(node.to_owned());
        }
        self.by_node.remove(node).is_some()
    }

    /// It asks this replica no more.
    pub fn disconnected(&mut self, node: &str) -> bool {
        self.ours.remove(node);
        self.by_node.remove(node).is_some()
    }

    /// Takes in what happened at a gateway; whether that changed anything.
    pub fn observe(&mut self, node: &str, happened: &Happened) -> bool {
        match happened {
            // Which of them it is about is seen when they are sent again.
            Happened::Rejected {
                follows: Follows::SentInParts,
                ..
            }
            | Happened::Behind { .. } => false,
            Happened::Rejected {
                kind, names, text, ..
            } => self.reject(node, *kind, names, text),
            Happened::TableAcknowledged { .. } => {
                let known = self.by_node.get_mut(node);
                known.is_some_and(|rejected| rejected.table.take().is_some())
            }
            Happened::Removed { clusters } => self.is_over(node, clusters, None),
            Happened::Mended { kind, names } => self.is_over(node, names, Some(*kind)),
        }
    }

    /// What other replicas are told of a gateway; none: it does not ask this one.
    #[must_use]
    pub fn to_tell(&self, node: &str) -> Option<Vec<u8>> {
        self.ours.get(node)?;
        let rejected = self.by_node.get(node);
        let shortened = rejected.map_or_else(Told::default, |rejected| Told {
            table: rejected.table.clone(),
            targets: rejected
                .targets
                .keys()
                .take(TOLD_MAX)
                .filter_map(|name| Some((name.clone(), rejected.of_target(name)?.to_owned())))
                .collect(),
        });
        serde_json::to_vec(&shortened)
            .ok()
            .filter(|bytes| bytes.len() <= TOLD_BYTES_MAX)
    }

    /// What another replica tells of a gateway that asks it; whether that changed anything.
    pub fn heard(&mut self, node: &str, bytes: &[u8]) -> bool {
        if self.ours.contains(node) || bytes.len() > TOLD_BYTES_MAX {
            return false;
        }
        let Ok(told) = serde_json::from_slice::<Told>(bytes) else {
            return false;
        };
        // Of what kind it was, only who heard it needs to know.
        let targets = told.targets.into_iter();
        let rejected = Rejected {
            table: told.table,
            targets: targets
                .map(|(name, text)| (name, BTreeMap::from([(Kind::Cluster, text)])))
                .collect(),
        };
        if rejected == Rejected::default() {
            return self.by_node.remove(node).is_some();
        }
        if self.by_node.get(node) == Some(&rejected) || !self.has_room_for(node) {
            return false;
        }
        self.by_node.insert(node.to_owned(), rejected);
        true
    }

    fn has_room_for(&self, node: &str) -> bool {
        self.by_node.len() < REJECTIONS_MAX || self.by_node.contains_key(node)
    }

    fn is_over(&mut self, node: &str, names: &[String], of: Option<Kind>) -> bool {
        let known = self.by_node.get_mut(node);
        known.is_some_and(|rejected| rejected.is_over(names, of))
    }

    fn reject(&mut self, node: &str, kind: Kind, names: &[String], text: &str) -> bool {
        if !self.has_room_for(node) {
            return false;
        }
        let text = clean_text(text, REJECTION_CHARS_MAX);
        let rejected = self.by_node.entry(node.to_owned()).or_default();
        for name in names {
            if name == RESOURCE_ROUTES {
                rejected.table = Some(text.clone());
            } else if rejected.targets.len() < REJECTIONS_MAX {
                let target = rejected.targets.entry(name.clone()).or_default();
                target.insert(kind, text.clone());
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind, name: &str) -> Happened {
        Happened::Rejected {
            kind,
            names: vec![name.to_owned()],
            text: "no".to_owned(),
            follows: Follows::NotSentAgain,
        }
    }

    #[test]
    fn what_is_taken_after_all_is_refused_no_more_and_who_is_sent_again_was_not_refused() {
        let mut hears = Rejections::default();
        hears.connected("gw");
        let in_parts = Happened::Rejected {
            kind: Kind::Cluster,
            names: vec!["good".to_owned(), "bad".to_owned()],
            text: "no".to_owned(),
            follows: Follows::SentInParts,
        };
        assert!(!hears.observe("gw", &in_parts));
        assert!(hears.observe("gw", &refused(Kind::Cluster, "bad")));
        let mended = |kind, name: &str| Happened::Mended {
            kind,
            names: vec![name.to_owned()],
        };
        assert!(!hears.observe("gw", &mended(Kind::Cluster, "good")));
        let targets = |rejections: &Rejections| {
            let rejected = rejections.of("gw").cloned().unwrap_or_default();
            rejected.targets.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(targets(&hears), ["bad"]);
        // Something else of the same target.
        assert!(!hears.observe("gw", &mended(Kind::Endpoints, "bad")));
        assert!(hears.observe("gw", &refused(Kind::Endpoints, "bad")));
        assert!(hears.observe("gw", &mended(Kind::Cluster, "bad")));
        assert_eq!(targets(&hears), ["bad"]);
        assert!(hears.observe("gw", &mended(Kind::Endpoints, "bad")));
        assert_eq!(targets(&hears), Vec::<String>::new());
        // A target that is gone is not refused, whatever was.
        hears.observe("gw", &refused(Kind::Cluster, "bad"));
        hears.observe("gw", &refused(Kind::Endpoints, "bad"));
        let removed = Happened::Removed {
            clusters: vec!["bad".to_owned()],
        };
        assert!(hears.observe("gw", &removed));
        assert_eq!(targets(&hears), Vec::<String>::new());
    }

    #[test]
    fn who_hears_a_refusal_tells_the_others_until_it_is_over() {
        let (mut hears, mut leads) = (Rejections::default(), Rejections::default());
        assert!(hears.to_tell("gw").is_none(), "it asks another");
        hears.connected("gw");
        hears.observe("gw", &refused(Kind::Cluster, RESOURCE_ROUTES));
        let told = hears.to_tell("gw").unwrap_or_default();
        assert!(leads.heard("gw", &told));
        assert!(!leads.heard("gw", &told), "no news");
        assert_eq!(leads.of("gw"), hears.of("gw"));
        hears.observe("gw", &Happened::TableAcknowledged { revision: 1 });
        assert!(leads.heard("gw", &hears.to_tell("gw").unwrap_or_default()));
        assert_eq!(leads.of("gw"), None);
        // Of what asks us, nobody else knows better.
        leads.connected("gw");
        assert!(!leads.heard("gw", &told));
        leads.disconnected("gw");
        assert!(leads.heard("gw", &told));
        assert!(!leads.heard("gw", b"{\"table\":1}"));
    }
}
