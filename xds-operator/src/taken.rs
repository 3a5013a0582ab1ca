//! What would a gateway that starts with these objects take of them? For the commands that ask about it without running
//! one; pure.

use std::collections::BTreeMap;

use fixgw_core::redact::{Disclosure, DisclosurePolicy};
use fixgw_core::wire::Tag;

use crate::pipeline::accept;
use crate::pipeline::hold::ConflictPolicy;
use crate::pipeline::set::Accepted;
use crate::pipeline::set::Valid;
use crate::pipeline::validate;
use crate::world::{Fault, ObjectName, Scope, World};

/// FIXSessions that are named where several are left out.
const NAMED_MAX: usize = 5;

/// What it would take.
#[derive(Debug)]
pub struct Taken {
    /// Its routes.
    pub accepted: Accepted,
    /// FIXSessions that it would not take, with what they are where they are well formed: then they are in a conflict.
    pub left_out: BTreeMap<ObjectName, Option<Valid>>,
    /// What may be shown of each tag, by everything that is written, taken or not.
    pub written: Written,
    /// Files, and objects without a name, that could not be read: where, and why.
    pub unread: Vec<String>,
}

/// What may be shown of each tag: of all FIXSessions, whoever hides it most is heard. Where some could not be read, what no
/// other one asks for is redacted, because they may have said so.
#[derive(Clone, Debug, Default)]
pub struct Written {
    by_tag: BTreeMap<u32, Disclosure>,
    some_unread: bool,
}

impl Written {
    fn of(world: &World) -> Self {
        let sessions = world.rules.sessions.values();
        let fields = sessions.flat_map(|session| &session.object.match_fields);
        let mut by_tag: BTreeMap<u32, Disclosure> = BTreeMap::new();
        for (key, field) in fields {
            let number = key.trim_start_matches(|letter: char| !letter.is_ascii_digit());
            let Ok(tag) = number.parse() else { continue };
            let strictest = by_tag.entry(tag).or_default();
            *strictest = field.disclosure().max(*strictest);
        }
        Self {
            by_tag,
            some_unread: !world.rules.faults.list.is_empty(),
        }
    }
}

impl DisclosurePolicy for Written {
    fn configured(&self, tag: Tag) -> Disclosure {
        let unknown = if self.some_unread && !HEADER.contains(&tag.get()) {
            Disclosure::Redacted
        } else {
            Disclosure::Shown
        };
        self.by_tag.get(&tag.get()).copied().unwrap_or(unknown)
    }
}

/// What frames every message (FIX session layer, standard header and trailer).
const HEADER: [u32; 6] = [8, 9, 10, 34, 35, 52];

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
        let hides = |fault: &&Fault| matches!(fault.scope, Scope::File | Scope::Unnamed);
        let unread = world.rules.faults.list.iter().filter(hides).map(|fault| {
            let place = fault.origin.as_ref().map(ToString::to_string);
            format!("{}: {}", place.unwrap_or_default(), fault.what)
        });
        Ok(Self {
            accepted,
            left_out,
            written: Written::of(world),
            unread: unread.collect(),
        })
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
