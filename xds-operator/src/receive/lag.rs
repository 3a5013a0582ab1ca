//! Which VMs hold on to an old table?
//!
//! Pure: time is passed in. As many VMs are watched as are kept account of.

use std::collections::BTreeMap;
use std::time::Duration;

use fixgw_core::decision::Severity;

use crate::receive::fleet::Fleet;
use crate::xds::rollout::LIVE;

/// How long a VM may use an older table than the served one. It takes milliseconds; five heartbeats, as long as a VM is
/// waited for in all else.
const LAG_MAX: Duration = LIVE;

/// The VMs that use an older table than the served one.
#[derive(Debug, Default)]
pub struct Lag {
    vms: BTreeMap<(String, u64), Behind>,
}

#[derive(Clone, Copy, Debug)]
struct Behind {
    revision: u64,
    since: Duration,
    told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    NotYet,
    Told,
}

impl Lag {
    /// What there is to say now: each VM once, and once more when it has followed.
    pub fn look(&mut self, fleet: &Fleet, served: u64, now: Duration) -> Vec<(Severity, String)> {
        let mut said = Vec::new();
        let mut before = std::mem::take(&mut self.vms);
        for (node, proxy) in &fleet.proxies {
            for vm in &proxy.vms {
                let key = (node.clone(), vm.vm_id);
                let known = before.remove(&key);
                let (id, uses) = (vm.vm_id, vm.table_revision);
                if uses >= served {
                    if known.is_some_and(|behind| behind.told == Told::Told) {
                        let line = format!("proxy `{node}`: VM {id:016x} uses revision {uses} now");
                        said.push((Severity::Info, line));
                    }
                    continue;
                }
                let mut behind = known
                    .filter(|behind| behind.revision == uses)
                    .unwrap_or(Behind {
                        revision: uses,
                        since: now,
                        told: Told::NotYet,
                    });
                if behind.told == Told::NotYet && now.saturating_sub(behind.since) >= LAG_MAX {
                    behind.told = Told::Told;
                    let line = format!(
                        "proxy `{node}`: VM {id:016x} still uses revision {uses}, not {served}: Logons on its worker follow \
                         the older table, live sessions go on; it tries again by itself, and the proxy's log says why it could not"
                    );
                    said.push((Severity::Error, line));
                }
                self.vms.insert(key, behind);
            }
        }
        said
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::receive::fleet::ProxyView;
    use crate::receive::vms::VmView;

    fn fleet(revisions: [u64; 2]) -> Fleet {
        let vm = |(vm_id, table_revision): (u64, u64)| VmView {
            vm_id,
            table_revision,
            ..VmView::default()
        };
        let vms = (1..).zip(revisions).map(vm).collect();
        let proxy = ProxyView {
            vms,
            ..ProxyView::default()
        };
        Fleet {
            proxies: BTreeMap::from([("a".to_owned(), proxy)]),
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_vm_that_stays_behind_is_told_once_and_once_more_when_it_has_followed() {
        let mut lag = Lag::default();
        assert_eq!(lag.look(&fleet([7, 7]), 7, seconds(0)), []);
        assert_eq!(lag.look(&fleet([8, 7]), 8, seconds(1)), []);
        assert_eq!(lag.look(&fleet([8, 7]), 8, seconds(5)), []);
        // That there is an even newer one by now gives it no more time.
        let said = lag.look(&fleet([9, 7]), 9, seconds(6));
        let [(Severity::Error, line)] = &*said else {
            panic!("{said:?}");
        };
        assert!(
            line.starts_with("proxy `a`: VM 0000000000000002 still uses revision 7, not 9:"),
            "{line}"
        );
        assert_eq!(lag.look(&fleet([9, 7]), 9, seconds(60)), []);
        let line = "proxy `a`: VM 0000000000000002 uses revision 9 now".to_owned();
        assert_eq!(
            lag.look(&fleet([9, 9]), 9, seconds(61)),
            [(Severity::Info, line)]
        );
        assert_eq!(lag.look(&fleet([9, 9]), 9, seconds(62)), []);
    }

    #[test]
    fn a_vm_that_follows_slowly_is_none_that_stays_behind() {
        let mut lag = Lag::default();
        for second in 0..60 {
            assert_eq!(
                lag.look(&fleet([second, second]), second + 1, seconds(second)),
                []
            );
        }
    }
}
