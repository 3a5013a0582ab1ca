//! Which connections of this VM are held, in the list that all VMs of one Envoy share?
//!
//! INVARIANT: nobody is held without a place, so the caps hold over all workers exactly.

use fixgw_core::held::{self, Caps, Full, Held, Place};

use crate::host;
use crate::worker;

/// Tries to change the list before it counts as contended. Two workers that change it 200,000 times at once need less than
/// two tries for a change.
const TRIES_MAX: usize = 64;

/// Makes the list if there is none: a guard does not protect the creation of a key. The first VM of an Envoy is configured
/// before there is another one.
pub(crate) fn prepare() {
    if host::shared(held::KEY).is_none() {
        let _ = host::share(held::KEY, &Held::default().write(), None);
    }
}

/// Takes a place for a connection of a route.
pub(crate) fn enter(route: &str, caps: Caps) -> Result<Place, Full> {
    let now_ms = host::monotonic_ms().map_err(|host::HostError| Full::Contended)?;
    let vm = vm_id();
    for _ in 0..TRIES_MAX {
        let (bytes, guard) = host::shared(held::KEY).unwrap_or_default();
        let mut list = Held::read(&bytes);
        forget_the_dead(&mut list, vm, now_ms);
        let counts = list.enter(vm, route, now_ms, caps)?;
        if host::share(held::KEY, &list.write(), guard).is_ok() {
            return Ok(counts);
        }
    }
    Err(Full::Contended)
}

/// Puts this VM's share right. What could not be done in time is done at the next tick.
pub(crate) fn settle() {
    let Ok(now_ms) = host::monotonic_ms() else {
        return;
    };
    let vm = vm_id();
    for _ in 0..TRIES_MAX {
        let own = worker::with(|worker| worker.held());
        let (bytes, guard) = host::shared(held::KEY).unwrap_or_default();
        let mut list = Held::read(&bytes);
        if list.is_settled(vm, now_ms, &own) {
            return;
        }
        forget_the_dead(&mut list, vm, now_ms);
        list.settle(vm, now_ms, &own);
        if host::share(held::KEY, &list.write(), guard).is_ok() {
            return;
        }
    }
}

/// Not right after a break: where Envoy as a whole stood still, the others are as little dead as this VM, and have not run yet.
fn forget_the_dead(list: &mut Held, vm: u64, now_ms: u64) {
    if worker::with(|worker| worker.judges_others(now_ms)) {
        list.forget_the_dead(vm, now_ms);
    }
}

/// This VM's number, drawn now if nobody has asked for it before.
pub(crate) fn vm_id() -> u64 {
    if !worker::with(|worker| worker.is_named()) {
        let (vm_id, node_id) = (host::random(), host::node_id());
        worker::with(|worker| worker.name(vm_id, node_id));
    }
    worker::with(|worker| worker.vm_id())
}
