//! What does an API server hold beside what is wanted? Which FIXSessions there are, and what their status says now.
//!
//! Whoever writes a status writes it on change only, so he must know what is there. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Identity, ObjectName, World};
use crate::api::status::FIXSessionStatus;

/// All that an API server says at one time; whole, and cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// What is wanted.
    pub world: World,
    /// What is there. A status that changes alone changes nothing else.
    pub held: Arc<HeldStatuses>,
}

/// Every FIXSession that the API server has, those that could not be read and those that are being deleted as well.
pub type HeldStatuses = BTreeMap<ObjectName, HeldStatus>;

/// A FIXSession as the API server has it, but for its `spec`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldStatus {
    /// Which it is, and in which form.
    pub identity: Identity,
    /// Whether it stays.
    pub lifecycle: Lifecycle,
    /// Its status; of one that is no such status, the empty one.
    pub status: Arc<FIXSessionStatus>,
}

/// Whether an object stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// It does.
    Live,
    /// It has a `deletionTimestamp`, and a finalizer keeps it. It routes no more.
    Deleting,
}
