//! What would a gateway that starts with these objects take of them? For the commands that ask about it without running
//! one; pure.

use std::collections::BTreeMap;

use crate::pipeline::accept;
use crate::pipeline::hold::ConflictPolicy;
use crate::pipeline::set::Accepted;
use crate::pipeline::validate::{self, Valid};
use crate::world::{ObjectName, World};

/// FIXSessions that are named where several are left out.
const NAMED_MAX: usize = 5;

/// What it would take.
#[derive(Debug)]
pub struct Taken {
    /// Its routes.
    pub accepted: Accepted,
    /// FIXSessions that it would not take, with what they are where they are well formed: then they are in a conflict.
    pub left_out: BTreeMap<ObjectName, Option<Valid>>,
}

impl Taken {
    /// Of all that was read.
    ///
    /// # Errors
    /// When a gateway would take nothing, in words.
    pub fn of(world: &World) -> Result<Self, String> {
        let validated = validate::validate(&world.rules.sessions);
        let well_formed = validated.rules.clone();
        // With nothing before, the policy makes no difference.
        let policy = ConflictPolicy::default();
        let acceptance = accept::accept(None, &world.rules, validated, policy);
        let accepted = acceptance
            .accepted
            .ok_or("a gateway would take none of these objects; `fixgw check` says why")?;
        let faulty = world.rules.faults.list.iter();
        let faulty = faulty.filter_map(|fault| fault.object.as_ref());
        let written = faulty
            .map(|(_, name)| name)
            .chain(world.rules.sessions.keys());
        let left_out = written.filter(|name| !accepted.sessions.contains_key(*name));
        let left_out = left_out
            .map(|name| (name.clone(), well_formed.get(name).cloned()))
            .collect();
        Ok(Self { accepted, left_out })
    }

    /// What it would not take, in words: the first few names, and how many more there are.
    #[must_use]
    pub fn left_out(&self) -> Option<String> {
        let mut shown: Vec<String> = self
            .left_out
            .keys()
            .take(NAMED_MAX)
            .map(|name| format!("FIXSession {name}"))
            .collect();
        let more = self.left_out.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            shown.push(format!("{more} more"));
        }
        let named = shown.join(", ");
        (!shown.is_empty()).then(|| {
            format!("left out, because invalid or in conflict: {named}; `fixgw check` says why")
        })
    }
}
