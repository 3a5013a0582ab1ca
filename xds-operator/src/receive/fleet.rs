//! What is known of the proxies as a whole? Pure: what the server tells whoever asks.

use std::collections::BTreeMap;

use super::sessions::Sessions;
use super::vms::VmView;

/// What is known of the proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// By `node.id`.
    pub proxies: BTreeMap<String, ProxyView>,
}

impl Fleet {
    /// The revision that every live VM of every proxy uses, if it is one and the same. None without a VM.
    #[must_use]
    pub fn revision_in_use(&self) -> Option<u64> {
        let mut revisions = self
            .proxies
            .values()
            .flat_map(|proxy| &proxy.vms)
            .map(|vm| vm.table_revision);
        let first = revisions.next()?;
        revisions.all(|revision| revision == first).then_some(first)
    }
}

/// What is known of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyView {
    /// Open streams: none while it is away, two for the moment of a reconnect.
    pub streams: usize,
    /// The table that it acknowledged last.
    pub acknowledged: Option<u64>,
    /// The readiness that its VMs are to use by now. Each stream counts for itself, so another proxy's number says nothing
    /// about it. None: that depends on an answer, or it asks nobody here.
    pub readiness: Option<u64>,
    /// Its live VMs.
    pub vms: Vec<VmView>,
}

/// Who is connected, by `node.id`.
pub type AllSessions = BTreeMap<String, Sessions>;
