//! What shall stand in a status, what of it must be written, and how soon? Pure.
//!
//! Most of what shall stand there stands there already: it is compared as it is, and written out only where it is not.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::status::{
    ACCEPTED, CONFLICTED, Connections, ENDPOINTS_READY, FIXSessionStatus, PROGRAMMED,
    TARGET_RESOLVABLE,
};
use crate::message::clean_text;

/// Characters of a condition's message. Kubernetes takes 32 KiB; a screen takes less.
pub(super) const MESSAGE_CHARS_MAX: usize = 2_048;

pub(super) const YES: &str = "True";
pub(super) const NO: &str = "False";
pub(super) const UNKNOWN: &str = "Unknown";

/// A condition while it is made: reason and message.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: Cow<'static, str>,
}

impl Said {
    pub(super) fn new(
        status: &'static str,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let message = match message.into() {
            Cow::Borrowed(ours) => Cow::Borrowed(ours),
            // Something in it is another's.
            Cow::Owned(text) => Cow::Owned(clean_text(&text, MESSAGE_CHARS_MAX)),
        };
        Self {
            status,
            reason,
            message,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        self.status == YES
    }
}

/// Whether something else may soon be so, so that writing this now is hardly worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// It stays until something happens.
    Firm,
    /// Gateways are about to take a table.
    Moments,
    /// Gateways routed by it, and have not said for a while that they do: they are gone, or begin anew, or we do.
    Unheard,
}

/// What shall stand there. Most of it stands there already, so a status is made of it only to be written.
#[derive(Clone, Debug)]
pub struct Wanted<'k> {
    pub(super) generation: i64,
    pub(super) conditions: Vec<(&'static str, Said)>,
    pub(super) r#match: Option<Cow<'k, str>>,
    pub(super) target: Option<Cow<'k, str>>,
    pub(super) endpoints_ready: Option<u32>,
    pub(super) connections: Connections,
    pub(super) revision: Option<u64>,
    pub(super) last_connection: Option<Cow<'k, str>>,
    /// What stands there.
    pub(super) before: &'k FIXSessionStatus,
    /// How long it may be so.
    pub lasting: Lasting,
}

impl Wanted<'_> {
    /// All of it. `now` is for conditions that change now.
    #[must_use]
    pub fn status(&self, now: k8s_openapi::jiff::Timestamp) -> FIXSessionStatus {
        let conditions = self.conditions.iter().map(|(of, said)| {
            let last = self
                .before
                .condition(of)
                .filter(|last| last.status == said.status);
            Condition {
                type_: (*of).to_owned(),
                status: said.status.to_owned(),
                observed_generation: Some(self.generation),
                last_transition_time: last
                    .map_or(Time(now), |last| last.last_transition_time.clone()),
                reason: said.reason.to_owned(),
                message: said.message.to_string(),
            }
        });
        let text = |text: &Option<Cow<'_, str>>| text.as_ref().map(ToString::to_string);
        FIXSessionStatus {
            observed_generation: Some(self.generation),
            conditions: conditions.collect(),
            r#match: text(&self.r#match),
            target: text(&self.target),
            endpoints_ready: self.endpoints_ready,
            connections: Some(self.connections),
            revision: self.revision,
            last_connection: text(&self.last_connection),
        }
    }

    /// What must be written of it, if anything must.
    #[must_use]
    pub fn need(&self) -> Option<Need> {
        Outline::of_wanted(self).need(&Outline::of(self.before))
    }
}

/// What makes a write necessary. The first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A condition, or what is shown of the object.
    Conditions,
    /// Counts alone.
    Counts,
}

/// Whether what stands there must be written, for what.
#[must_use]
pub fn need(stands: &FIXSessionStatus, wanted: &FIXSessionStatus) -> Option<Need> {
    Outline::of(wanted).need(&Outline::of(stands))
}

/// What counts of a status. Since when a condition is so does not, and conditions that are not ours are others' own.
#[derive(PartialEq)]
struct Outline<'s> {
    conditions: Conditions<'s>,
    counts: (Option<u32>, Option<Connections>, Option<&'s str>),
}

/// Status, reason, message and generation.
type Line<'s> = (&'s str, &'s str, &'s str, Option<i64>);

#[derive(PartialEq)]
struct Conditions<'s> {
    observed_generation: Option<i64>,
    r#match: Option<&'s str>,
    target: Option<&'s str>,
    revision: Option<u64>,
    /// Those that are [`OURS`].
    of: [Option<Line<'s>>; OURS.len()],
}

/// The conditions that are ours.
const OURS: [&str; 5] = [
    ACCEPTED,
    CONFLICTED,
    TARGET_RESOLVABLE,
    ENDPOINTS_READY,
    PROGRAMMED,
];

impl<'s> Outline<'s> {
    fn of(status: &'s FIXSessionStatus) -> Self {
        let of = |of: &str| {
            let it = status.condition(of)?;
            Some((
                &*it.status,
                &*it.reason,
                &*it.message,
                it.observed_generation,
            ))
        };
        Self {
            conditions: Conditions {
                observed_generation: status.observed_generation,
                r#match: status.r#match.as_deref(),
                target: status.target.as_deref(),
                revision: status.revision,
                of: OURS.map(of),
            },
            counts: (
                status.endpoints_ready,
                status.connections,
                status.last_connection.as_deref(),
            ),
        }
    }

    fn of_wanted(wanted: &'s Wanted<'_>) -> Self {
        let generation = Some(wanted.generation);
        let of = |of: &str| {
            let mut all = wanted.conditions.iter();
            let (_, it) = all.find(|(type_, _)| *type_ == of)?;
            Some((it.status, it.reason, &*it.message, generation))
        };
        Self {
            conditions: Conditions {
                observed_generation: generation,
                r#match: wanted.r#match.as_deref(),
                target: wanted.target.as_deref(),
                revision: wanted.revision,
                of: OURS.map(of),
            },
            counts: (
                wanted.endpoints_ready,
                Some(wanted.connections),
                wanted.last_connection.as_deref(),
            ),
        }
    }

    fn need(&self, stands: &Self) -> Option<Need> {
        if self.conditions != stands.conditions {
            return Some(Need::Conditions);
        }
        (self.counts != stands.counts).then_some(Need::Counts)
    }
}
