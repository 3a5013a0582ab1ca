//! Which Events does a change of a status make? The status that stands there and the one that shall in, notes out; pure.
//!
//! Because it is compared with what stands there, a restart tells nothing again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::{Publication, reason};
use crate::api::status::{
    ACCEPTED, CONFLICTED, ENDPOINTS_READY, FIXSessionStatus, PROGRAMMED, TARGET_RESOLVABLE,
};
use crate::message::clean_text;

/// Characters of a note. Kubernetes takes 1,024 bytes, and a character has four at most.
const NOTE_CHARS_MAX: usize = 1_024;
/// Bytes of a note, as Kubernetes has it.
const NOTE_BYTES_MAX: usize = 1_024;

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What one Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody should look.
    pub weight: Weight,
    /// In one word, as the condition's.
    pub reason: &'static str,
    /// In whole sentences.
    pub text: String,
}

impl Note {
    fn new(weight: Weight, reason: &'static str, text: &str) -> Self {
        let mut text = clean_text(text, NOTE_CHARS_MAX);
        while text.len() > NOTE_BYTES_MAX {
            text.pop();
        }
        Self {
            weight,
            reason,
            text,
        }
    }
}

/// What to tell of an object.
#[must_use]
pub fn notes(before: &FIXSessionStatus, after: &FIXSessionStatus) -> Vec<Note> {
    let changed = |of: &str| {
        let now = after.condition(of)?;
        let last = before.condition(of);
        let same =
            last.is_some_and(|last| (&last.status, &last.reason) == (&now.status, &now.reason));
        (!same).then_some((last, now))
    };
    let mut notes = Vec::new();
    if let Some((_, now)) = changed(ACCEPTED) {
        notes.extend(of_accepted(now));
    }
    match (before.condition(CONFLICTED), after.condition(CONFLICTED)) {
        (None, Some(now)) => {
            notes.push(Note::new(Weight::Warning, reason::CONFLICT, &now.message));
        }
        (Some(_), None) => {
            let text = "the route is in no conflict any more";
            notes.push(Note::new(Weight::Normal, reason::CONFLICT_RESOLVED, text));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    for of in [TARGET_RESOLVABLE, ENDPOINTS_READY] {
        if let Some((last, now)) = changed(of) {
            notes.extend(of_target(of, last, now));
        }
    }
    if let Some((_, now)) = changed(PROGRAMMED) {
        notes.extend(of_programmed(now));
    }
    notes
}

fn of_accepted(now: &Condition) -> Option<Note> {
    let (weight, reason) = match now.reason.as_str() {
        reason::ACCEPTED => (Weight::Normal, reason::ACCEPTED),
        reason::INVALID => (Weight::Warning, reason::INVALID),
        reason::TABLE_HELD => (Weight::Warning, reason::TABLE_HELD),
        reason::BOUND => (Weight::Warning, reason::BOUND),
        reason::NOT_PUBLISHED => (Weight::Warning, reason::NOT_PUBLISHED),
        reason::PAUSED => (Weight::Normal, reason::PAUSED),
        // A conflict is told as such, and who deletes an object knows it.
        _ => return None,
    };
    Some(Note::new(weight, reason, &now.message))
}

fn of_target(of: &str, last: Option<&Condition>, now: &Condition) -> Option<Note> {
    let (weight, reason) = match (of, now.reason.as_str()) {
        (TARGET_RESOLVABLE, reason::TARGET_MISSING) => (Weight::Warning, reason::TARGET_MISSING),
        (TARGET_RESOLVABLE, reason::TARGET_EXTERNAL) => (Weight::Warning, reason::TARGET_EXTERNAL),
        (TARGET_RESOLVABLE, reason::PORT_MISSING) => (Weight::Warning, reason::PORT_MISSING),
        // That it was there from the first is no news.
        (TARGET_RESOLVABLE, reason::TARGET_FOUND)
            if last.is_some_and(|it| it.status == "False") =>
        {
            (Weight::Normal, reason::TARGET_FOUND)
        }
        (ENDPOINTS_READY, reason::ENDPOINTS_READY) => (Weight::Normal, reason::ENDPOINTS_READY),
        (ENDPOINTS_READY, reason::NO_ENDPOINTS) => (Weight::Warning, reason::NO_ENDPOINTS),
        _ => return None,
    };
    Some(Note::new(weight, reason, &now.message))
}

fn of_programmed(now: &Condition) -> Option<Note> {
    let (weight, reason) = match now.reason.as_str() {
        reason::PROGRAMMED => (Weight::Normal, reason::PROGRAMMED),
        reason::REJECTED => (Weight::Warning, reason::REJECTED),
        reason::NO_GATEWAY => (Weight::Warning, reason::NO_GATEWAY),
        // It will be programmed in a moment, or something else is told that is why it is not.
        _ => return None,
    };
    Some(Note::new(weight, reason, &now.message))
}

/// What to tell of the table object.
#[must_use]
pub fn of_publication(before: &Publication, after: &Publication) -> Option<Note> {
    let paused = |publication: &Publication| matches!(publication, Publication::Paused(_));
    match (paused(before), after) {
        (false, Publication::Paused(why)) => {
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(": {why}")
            };
            let text = format!("publication is paused, and changes of FIXSessions wait{why}");
            Some(Note::new(Weight::Normal, reason::PAUSED, &text))
        }
        (true, Publication::Running | Publication::Failing(_)) => {
            let text = "publication goes on, and all that was written meanwhile counts at once";
            Some(Note::new(Weight::Normal, reason::RESUMED, text))
        }
        (false, Publication::Running | Publication::Failing(_))
        | (true, Publication::Paused(_)) => None,
    }
}
