//! Which VMs are there, and what do they use?
//!
//! Pure: time is passed in. Bounded: whoever can reach the port can report.

use std::collections::BTreeMap;

use fixgw_core::report::VmReport;

use crate::receive::sessions::{Sessions, VmSessions};
use crate::xds::rollout::{Now, VmState};

/// VMs kept account of. A proxy has one for each worker and one more; 1,024 proxies with 64 workers come close.
pub const VMS_MAX: usize = 65_536;
/// Routes and targets kept account of, over all VMs that have connections of them: 10,000 routes in each of 25 VMs. What comes
/// beyond that is not counted, and it is said that something is missing.
pub const ROUTES_MAX: usize = 500_000;
/// Bytes of a `node.id`: longer ones would make the account's bound worthless.
const NODE_ID_BYTES_MAX: usize = 512;

/// Whether a proxy can be told from others by this.
#[must_use]
pub fn is_node_id(node_id: &str) -> bool {
    !node_id.is_empty()
        && node_id.len() <= NODE_ID_BYTES_MAX
        && !node_id.chars().any(char::is_control)
}

/// What a report led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing new but that it lives.
    Heartbeat,
    /// It uses what it used; some of its counts went up.
    Counted,
    /// A new VM, or one that uses something else than before.
    Changed,
    /// There is no room for another VM; it is not kept account of.
    Full,
    /// It does not say whose it is.
    Nameless,
}

/// What is known of one live VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmView {
    /// Which VM.
    pub vm_id: u64,
    /// The table that it uses; 0: none.
    pub table_revision: u64,
    /// The readiness that it uses; 0: none.
    pub readiness_version: u64,
    /// Connections closed without having sent a byte, since its birth.
    pub silent_connections: u64,
    /// TLS handshakes that came to nothing.
    pub failed_handshakes: u64,
    /// Decision records that it dropped.
    pub records_dropped: u64,
    /// Panics that it caught.
    pub panics: u64,
}

/// The account of VMs.
#[derive(Debug, Default)]
pub struct Registry {
    vms: BTreeMap<String, BTreeMap<u64, Entry>>,
    count: usize,
    /// Routes and targets that are kept account of, over all VMs.
    routes: usize,
}

#[derive(Debug)]
struct Entry {
    state: VmState,
    view: VmView,
    sessions: VmSessions,
}

impl Registry {
    /// Takes a report in.
    pub fn take(&mut self, report: &VmReport, now: Now) -> Taken {
        if !is_node_id(&report.node_id) {
            return Taken::Nameless;
        }
        let (state, view) = read(report, now);
        let of_node = self.vms.get_mut(&report.node_id);
        if let Some(held) = of_node.and_then(|vms| vms.get_mut(&report.vm_id)) {
            let uses = held.uses();
            held.state = state;
            let before = std::mem::replace(&mut held.view, view);
            return match (uses == held.uses(), before == view) {
                (false, _) => Taken::Changed,
                (true, false) => Taken::Counted,
                (true, true) => Taken::Heartbeat,
            };
        }
        if self.count >= VMS_MAX {
            return Taken::Full;
        }
        self.count += 1;
        let entry = Entry {
            state,
            view,
            sessions: VmSessions::default(),
        };
        self.vms
            .entry(report.node_id.clone())
            .or_default()
            .insert(report.vm_id, entry);
        Taken::Changed
    }

    /// Takes in what a report of a VM says of its connections. The number of the report that is had of this VM then, and
    /// whether anything changed.
    pub fn take_sessions(&mut self, report: VmReport) -> (u64, bool) {
        let of_node = self.vms.get_mut(&report.node_id);
        let Some(entry) = of_node.and_then(|vms| vms.get_mut(&report.vm_id)) else {
            return (0, false);
        };
        let sessions = &mut entry.sessions;
        let others = self.routes.saturating_sub(sessions.len());
        let taken = sessions.take(report, ROUTES_MAX.saturating_sub(others));
        self.routes = others + sessions.len();
        taken
    }

    /// The connections of each proxy, over all of its VMs.
    #[must_use]
    pub fn sessions(&self) -> BTreeMap<String, Sessions> {
        let nodes = self.vms.iter();
        let nodes = nodes.map(|(node, vms)| {
            let mut sessions = Sessions::default();
            for entry in vms.values() {
                sessions.add(&entry.sessions, entry.view.table_revision);
            }
            (node.clone(), sessions)
        });
        nodes.collect()
    }

    /// Forgets the VMs that are not live, and says which.
    pub fn forget_silent(&mut self, now: Now) -> Vec<(String, u64)> {
        let (mut gone, mut routes) = (Vec::new(), 0);
        for (node, vms) in &mut self.vms {
            vms.retain(|vm_id, entry| {
                let live = entry.state.is_live(now);
                if !live {
                    gone.push((node.clone(), *vm_id));
                    routes += entry.sessions.len();
                }
                live
            });
        }
        self.vms.retain(|_, vms| !vms.is_empty());
        self.count = self.count.saturating_sub(gone.len());
        self.routes = self.routes.saturating_sub(routes);
        gone
    }

    /// The VMs of one proxy.
    #[must_use]
    pub fn of(&self, node_id: &str) -> Vec<VmState> {
        self.vms
            .get(node_id)
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(|entry| entry.state)
            .collect()
    }

    /// The VMs of every proxy.
    pub fn by_node(&self) -> impl Iterator<Item = (&str, Vec<VmView>)> {
        self.vms.iter().map(|(node, vms)| {
            (
                node.as_str(),
                vms.values().map(|entry| entry.view).collect(),
            )
        })
    }
}

const fn read(report: &VmReport, now: Now) -> (VmState, VmView) {
    let &VmReport {
        vm_id,
        table_revision,
        readiness_version,
        silent_connections,
        failed_handshakes,
        records_dropped,
        panics,
        ..
    } = report;
    let state = VmState {
        vm_id,
        table_revision,
        readiness_version,
        heard_at: now.monotonic,
    };
    let view = VmView {
        vm_id,
        table_revision,
        readiness_version,
        silent_connections,
        failed_handshakes,
        records_dropped,
        panics,
    };
    (state, view)
}

impl Entry {
    const fn uses(&self) -> (u64, u64) {
        (self.state.table_revision, self.state.readiness_version)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            monotonic: Duration::from_millis(ms),
            unix_ms: 0,
        }
    }

    fn report(node: &str, vm_id: u64, table_revision: u64) -> VmReport {
        VmReport {
            node_id: node.to_owned(),
            vm_id,
            table_revision,
            ..VmReport::default()
        }
    }

    #[test]
    fn tells_a_change_from_a_heartbeat() {
        let mut registry = Registry::default();
        assert_eq!(registry.take(&report("a", 1, 7), at(0)), Taken::Changed);
        assert_eq!(
            registry.take(&report("a", 1, 7), at(1_000)),
            Taken::Heartbeat
        );
        assert_eq!(registry.take(&report("a", 1, 8), at(1_100)), Taken::Changed);
        let counted = VmReport {
            panics: 1,
            ..report("a", 1, 8)
        };
        assert_eq!(registry.take(&counted, at(1_100)), Taken::Counted);
        assert_eq!(registry.take(&report("b", 1, 8), at(1_100)), Taken::Changed);
        assert_eq!(registry.of("a").len(), 1);
        assert_eq!(registry.of("a")[0].heard_at, Duration::from_millis(1_100));
    }

    #[test]
    fn forgets_a_vm_after_five_silent_seconds() {
        let mut registry = Registry::default();
        registry.take(&report("a", 1, 7), at(0));
        registry.take(&report("a", 2, 7), at(3_000));
        assert_eq!(registry.forget_silent(at(4_999)), []);
        assert_eq!(registry.forget_silent(at(5_000)), [("a".to_owned(), 1)]);
        assert_eq!(registry.forget_silent(at(8_000)), [("a".to_owned(), 2)]);
        assert_eq!(registry.by_node().count(), 0);
    }

    #[test]
    fn keeps_account_of_a_bounded_number_of_vms() {
        let mut registry = Registry::default();
        for vm_id in 0..VMS_MAX as u64 {
            assert_eq!(registry.take(&report("a", vm_id, 7), at(0)), Taken::Changed);
        }
        assert_eq!(registry.take(&report("b", 1, 7), at(0)), Taken::Full);
        assert_eq!(
            registry.take(&report("a", 1, 7), at(5_000)),
            Taken::Heartbeat
        );
        assert_eq!(registry.forget_silent(at(6_000)).len(), VMS_MAX - 1);
        assert_eq!(registry.take(&report("b", 1, 7), at(6_000)), Taken::Changed);
    }

    #[test]
    fn a_report_without_a_name_is_refused() {
        let mut registry = Registry::default();
        assert_eq!(registry.take(&report("", 1, 7), at(0)), Taken::Nameless);
        assert_eq!(
            registry.take(&report(&"n".repeat(513), 1, 7), at(0)),
            Taken::Nameless
        );
    }
}
