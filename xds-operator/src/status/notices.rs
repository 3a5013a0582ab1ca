//! What is to be said of live sessions whose route was deleted or leads elsewhere now? Pure.
//!
//! Each is said once for a gateway, when all of its workers use the table that made it so: then no more are added.

use std::collections::BTreeMap;
use std::sync::Arc;

use fixgw_core::decision::Severity;
use fixgw_core::table::Table;

use super::{on_old_target, target_of};
use crate::message::{About, MESSAGES_MAX, Message, count};
use crate::receive::fleet::AllSessions;
use crate::world::Kind;

/// What was said of a route at a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// It was deleted, and so many sessions of it go on.
    Orphaned,
    /// It leads here now, and some of its sessions are elsewhere.
    Moved(String),
}

/// What was said.
#[derive(Debug, Default)]
pub struct Notices {
    /// By gateway, and by route.
    told: BTreeMap<String, BTreeMap<Arc<str>, Told>>,
}

impl Notices {
    /// What is new. The account is bounded by the routes that VMs may tell of.
    pub fn observe(&mut self, table: &Table, all: &AllSessions) -> Vec<Message> {
        let mut messages = Vec::new();
        // What a VM has not told is not over: after a break it tells everything anew. A gateway that is not heard any more may be
        // heard again, and its sessions are what they were.
        let whole = all.iter().filter(|(_, own)| own.vms_missing == 0);
        for (node, sessions) in whole {
            let told = self.told.remove(node).unwrap_or_default();
            let mut stands = BTreeMap::new();
            let is_in_force = sessions
                .revision
                .is_some_and(|used| used >= table.revision());
            for (route, of) in &sessions.routes {
                let active = of.active();
                if active == 0 || route.is_empty() {
                    continue;
                }
                let before = told.get(route);
                if !is_in_force {
                    stands.extend(before.map(|before| (route.clone(), before.clone())));
                    continue;
                }
                let now = match target_of(table, route) {
                    None => Some(Told::Orphaned),
                    Some(target) if on_old_target(of, target) > 0 => {
                        Some(Told::Moved(target.to_owned()))
                    }
                    Some(_) => None,
                };
                if before != now.as_ref() {
                    let was_orphaned = before == Some(&Told::Orphaned);
                    messages.extend(was_orphaned.then(|| is_back(node, route, active)));
                    messages.extend(match &now {
                        Some(Told::Orphaned) => Some(orphaned(node, route, active)),
                        Some(Told::Moved(target)) => {
                            Some(moved(node, route, target, on_old_target(of, target)))
                        }
                        None => None,
                    });
                }
                stands.extend(now.map(|now| (route.clone(), now)));
            }
            if !stands.is_empty() {
                self.told.insert(node.clone(), stands);
            }
        }
        bounded(messages)
    }
}

/// As many as anybody reads, and how many more there are.
fn bounded(mut messages: Vec<Message>) -> Vec<Message> {
    let more = messages.len().saturating_sub(MESSAGES_MAX);
    if more > 0 {
        messages.truncate(MESSAGES_MAX);
        let what = format!("the same is so of {more} more FIXSessions");
        let mut last = message(Severity::Error, "", what, "`fixgw status` names them");
        last.object = None;
        messages.push(last);
    }
    messages
}

fn message(severity: Severity, route: &str, what: String, mend: &str) -> Message {
    Message {
        severity,
        about: About::Sessions,
        origin: None,
        object: Some(format!("{} {route}", Kind::FIXSession.label())),
        field: None,
        what,
        meanwhile: String::new(),
        mend: mend.to_owned(),
        witness: None,
    }
}

fn orphaned(node: &str, route: &str, active: u64) -> Message {
    message(
        Severity::Error,
        route,
        format!(
            "it was deleted, and {} of it at gateway `{node}` {}",
            count(active, "live session"),
            if active == 1 {
                "goes on as an orphan"
            } else {
                "go on as orphans"
            }
        ),
        "create it again and they are its own again, or end them at their engine; new Logons follow the rules as they are",
    )
}

fn is_back(node: &str, route: &str, active: u64) -> Message {
    let what = format!(
        "it is back, and {} at gateway `{node}` {} its own again",
        count(active, "live session"),
        if active == 1 { "is" } else { "are" }
    );
    message(Severity::Info, route, what, "")
}

fn moved(node: &str, route: &str, target: &str, old: u64) -> Message {
    message(
        Severity::Warn,
        route,
        format!(
            "it leads to {target} now, and {} of it at gateway `{node}` {} with the engine before",
            count(old, "live session"),
            if old == 1 { "stays" } else { "stay" }
        ),
        "each goes to the new one with its next Logon",
    )
}
