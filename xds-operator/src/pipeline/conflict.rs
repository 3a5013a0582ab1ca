//! How is a conflict told? Pure: what the detector found becomes messages, in the words of a person who has to mend it.

use fixgw_core::conflict::Conflict;
use fixgw_core::decision::Severity;

use super::set::Candidate;
use super::set::Valid;
use crate::api::FIXSessionSpec;
use crate::message::{About, Message, Origin};
use crate::world::{Kind, ObjectName};

/// The two routes of a conflict: the one that it is told by, and the other one.
#[derive(Debug)]
pub(super) struct Ends {
    /// The one that is new or edited, if only one is: that is the one to look at.
    pub(super) name: ObjectName,
    /// The other one.
    pub(super) other: ObjectName,
    turned: bool,
}

impl Ends {
    pub(super) fn of(conflict: &Conflict, is_changed: impl Fn(&ObjectName) -> bool) -> Self {
        let first = ObjectName::from(&conflict.first);
        let second = ObjectName::from(&conflict.second);
        let turned = is_changed(&first) && !is_changed(&second);
        let (name, other) = if turned {
            (first, second)
        } else {
            (second, first)
        };
        Self {
            name,
            other,
            turned,
        }
    }

    /// The same, told by the other one.
    pub(super) fn reversed(&self) -> Self {
        Self {
            name: self.other.clone(),
            other: self.name.clone(),
            turned: !self.turned,
        }
    }

    /// What is wrong with the one that it is told by.
    fn what(&self, conflict: &Conflict, other: &str) -> String {
        if self.turned {
            conflict.turned().what(other)
        } else {
            conflict.what(other)
        }
    }
}

/// A conflict of what is written.
pub(super) fn message(
    conflict: &Conflict,
    ends: &Ends,
    candidate: &Candidate,
    meanwhile: String,
) -> Message {
    let other = said(&ends.other);
    let there = candidate.get(&ends.other).and_then(origin_in);
    let there = there.map_or_else(String::new, |origin| format!("; {other} is at {origin}"));
    let mend = format!("{}{there}", conflict.mend());
    Message {
        what: ends.what(conflict, &other),
        mend,
        witness: Some(conflict.witness.clone()),
        ..about(&ends.name, candidate.get(&ends.name), meanwhile)
    }
}

/// A conflict that is there only because something waits for another one.
pub(super) fn follows(
    conflict: &Conflict,
    ends: &Ends,
    other: &str,
    candidate: &Candidate,
    meanwhile: String,
    cause: &str,
) -> Message {
    Message {
        severity: Severity::Error,
        what: ends.what(conflict, other),
        mend: format!("{cause}: mend that one, and this one is gone"),
        witness: Some(conflict.witness.clone()),
        ..about(&ends.name, candidate.get(&ends.name), meanwhile)
    }
}

/// One of the conflicts that are not told one by one.
pub(super) fn unlisted(name: &ObjectName, candidate: &Candidate, meanwhile: String) -> Message {
    Message {
        what: "takes a Logon that another route takes too, with the same rank".to_owned(),
        mend: "mend the conflicts that are told first, and this one will be told".to_owned(),
        ..about(name, candidate.get(name), meanwhile)
    }
}

/// The route that a conflict is with waits.
pub(super) fn waits(other: &ObjectName) -> String {
    format!("{} waits because of another conflict", said(other))
}

/// The route that would decide a conflict waits.
pub(super) fn would_decide(decider: Option<ObjectName>) -> String {
    let decider = decider.map_or_else(|| "another route".to_owned(), |name| said(&name));
    format!("{decider} would decide between them, and waits because of another conflict")
}

/// A route was changed or deleted that two others need.
pub(super) fn no_longer_decides(
    name: &ObjectName,
    written: Option<&Valid>,
    last: Option<&Valid>,
    first: &str,
    second: &str,
) -> Message {
    let (how, waits) = match written {
        Some(_) => ("no longer decides", "its change waits"),
        None => ("is deleted, so nothing decides", "its deletion waits"),
    };
    let what = format!("{how} between {first} and {second}, which take the same Logon");
    let meanwhile = format!("{waits}, and its last accepted form stays in force");
    let mend = "mend the conflict, and it takes effect".to_owned();
    let mut message = Message {
        severity: Severity::Error,
        what,
        mend,
        ..about(name, written, meanwhile)
    };
    if written.is_none() {
        // Where it was, as far as that can still be found.
        let origin = last.and_then(|last| last.session.origin.as_ref());
        message.origin = origin.map(|origin| Origin::file(origin.file.clone()));
    }
    message
}

/// There are more than are shown.
pub(super) fn more(what: String, kept: &str) -> Message {
    Message {
        what,
        mend: "mend the first ones and the next will be told".to_owned(),
        ..about_all(kept)
    }
}

/// A set that cannot be compiled because there is too much of it.
pub(super) fn bound(what: &str, max: usize, held: bool) -> Message {
    Message {
        about: About::Bound,
        severity: Severity::Critical,
        origin: None,
        object: None,
        field: None,
        what: format!("the routes make a table of more than {max} {what}"),
        meanwhile: if held {
            "the table in force stays as it is"
        } else {
            "no route is in force"
        }
        .to_owned(),
        mend: "delete routes, or split them over two gateways".to_owned(),
        witness: None,
    }
}

/// Whatever is put back makes something else conflict.
pub(super) fn no_end(kept: &str) -> Message {
    Message {
        what: "too many objects depend on each other for those in a conflict to wait alone"
            .to_owned(),
        mend: "mend the conflicts that are told before".to_owned(),
        ..about_all(kept)
    }
}

/// What is in force when nothing new is.
pub(super) const fn whole(anything_before: bool) -> &'static str {
    if anything_before {
        "the table in force stays as it is, and every other change and deletion waits, until this is mended"
    } else {
        "no route is in force"
    }
}

/// `FIXSession trading/algo`
pub(super) fn said(name: &ObjectName) -> String {
    format!("{} {name}", Kind::FIXSession.label())
}

fn about(name: &ObjectName, valid: Option<&Valid>, meanwhile: String) -> Message {
    Message {
        severity: Severity::Critical,
        about: About::Conflict,
        origin: valid.and_then(origin_in),
        object: Some(said(name)),
        field: valid.map(|valid| where_alike(&valid.session.object).to_owned()),
        what: String::new(),
        meanwhile,
        mend: String::new(),
        witness: None,
    }
}

fn about_all(kept: &str) -> Message {
    Message {
        severity: Severity::Critical,
        about: About::Conflict,
        origin: None,
        object: None,
        field: None,
        what: String::new(),
        meanwhile: kept.to_owned(),
        mend: String::new(),
        witness: None,
    }
}

fn origin_in(valid: &Valid) -> Option<Origin> {
    let session = &valid.session;
    session.origin_of(where_alike(&session.object))
}

/// The field that makes a route like another one.
fn where_alike(spec: &FIXSessionSpec) -> &'static str {
    if spec.default {
        "spec.priority"
    } else if spec.match_fields.is_empty() {
        "spec.sourceRanges"
    } else {
        "spec.matchFields"
    }
}
