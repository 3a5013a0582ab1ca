//! Whose bytes pass without a look? Nearly all calls of Envoy are for them, so they come before everything, the SDK's look for their
//! context too.
//!
//! INVARIANT: a connection stands here only from its decision until its context is forgotten. Who is not found is looked at, which
//! comes to the same.

use std::cell::Cell;

use proxy_wasm::types::Action;

/// Places, 64 KiB in all. A connection has one, by its context's number, and Envoy numbers them one after the other; where another one
/// stands already, it goes without.
const PLACES: usize = 16 * 1_024;

thread_local! {
    /// The contexts' numbers. Envoy begins with 1.
    static PASSING: [Cell<u32>; PLACES] = const { [const { Cell::new(0) }; PLACES] };
}

fn with_place<T>(id: u32, what: impl FnOnce(&Cell<u32>) -> T) -> Option<T> {
    let place = usize::try_from(id).ok()? % PLACES;
    PASSING.with(|all| all.get(place).map(what))
}

/// From now on its bytes pass.
pub(crate) fn begin(id: u32) {
    with_place(id, |place| {
        if place.get() == 0 {
            place.set(id);
        }
    });
}

/// From now on they are looked at.
pub(crate) fn end(id: u32) {
    with_place(id, |place| {
        if place.get() == id {
            place.set(0);
        }
    });
}

#[allow(
    unsafe_code,
    reason = "the SDK's callback is found by its name, and ours is exported in its place"
)]
mod callback {
    use super::{Action, with_place};

    unsafe extern "C" {
        safe fn proxy_on_downstream_data(id: u32, size: usize, end: bool) -> Action;
    }

    /// Envoy calls this. The end of the counterparty's bytes is always looked at.
    #[unsafe(no_mangle)]
    extern "C" fn fixgw_on_downstream_data(id: u32, size: usize, end: bool) -> Action {
        if !end && id != 0 && with_place(id, |place| place.get() == id) == Some(true) {
            return Action::Continue;
        }
        proxy_on_downstream_data(id, size, end)
    }

    // A name of the module's exports that two functions want cannot be given by the linker's arguments.
    core::arch::global_asm!(".export_name fixgw_on_downstream_data, proxy_on_downstream_data");
}
