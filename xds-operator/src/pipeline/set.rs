//! What is a set of routes, before it is accepted and after? Pure.
//!
//! INVARIANT: a set that is accepted compiles; no two of its routes conflict.

use std::collections::BTreeMap;

use fixgw_core::rule::Rule;
use fixgw_core::table::{CompileError, Table};

use super::validate::Valid;
use crate::api::FIXSessionSpec;
use crate::world::{ObjectName, Objects};

/// A set of routes that is in force.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The FIXSessions, in the form that counts.
    pub sessions: Objects<FIXSessionSpec>,
    /// Their table. Its revision is 0 until it is published.
    pub table: Table,
}

impl Accepted {
    pub(super) fn new(candidate: Candidate, table: Table) -> Self {
        let sessions = candidate.into_iter();
        Self {
            sessions: sessions
                .map(|(name, valid)| (name, valid.session))
                .collect(),
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
