//! What is a set of routes, before it is accepted and after? Pure.
//!
//! INVARIANT: a set that is accepted compiles; no two of its routes conflict.

use std::collections::BTreeMap;
use std::sync::Arc;

use fixgw_core::rule::Rule;
use fixgw_core::table::{CompileError, Table};

use crate::api::FIXSessionSpec;
use crate::message::Message;
use crate::world::{Located, ObjectName, Objects, RulesHalf};

/// A FIXSession that is well formed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Valid {
    /// As written.
    pub session: Arc<Located<FIXSessionSpec>>,
    /// As the core takes it.
    pub rule: Rule,
    /// What is to be said of it by itself.
    pub remarks: Arc<[Message]>,
}

/// A set of routes that is in force.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The FIXSessions, in the form that counts.
    pub sessions: Arc<Objects<FIXSessionSpec>>,
    /// Their table. Its revision is 0 until it is published.
    pub table: Table,
}

impl Accepted {
    /// `half` is what the candidate was made of: mostly it is all of it, and then they share it.
    pub(super) fn new(half: &RulesHalf, candidate: &Candidate, table: Table) -> Self {
        let written = half.sessions.iter();
        let is_it = half.sessions.len() == candidate.len()
            && written
                .zip(candidate)
                .all(|((name, session), (candidate, valid))| {
                    name == candidate && Arc::ptr_eq(session, &valid.session)
                });
        if !is_it {
            return Self::of(candidate, table);
        }
        Self {
            sessions: half.sessions.clone(),
            table,
        }
    }

    /// Of a set that is nowhere written.
    pub(super) fn of(candidate: &Candidate, table: Table) -> Self {
        let sessions = candidate.iter();
        let sessions = sessions.map(|(name, valid)| (name.clone(), valid.session.clone()));
        Self {
            sessions: Arc::new(sessions.collect()),
            table,
        }
    }
}

/// A set of routes that are well formed, each by itself.
pub(super) type Candidate = BTreeMap<ObjectName, Valid>;

/// The table of a set. Its revision is given when it is published.
pub(super) fn compile(candidate: &Candidate) -> Result<Table, CompileError> {
    let rules: Vec<Rule> = candidate.values().map(|valid| valid.rule.clone()).collect();
    Table::compile(&rules, 0)
}
