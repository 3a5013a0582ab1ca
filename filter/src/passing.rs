//! How do the bytes of decided connections pass without the SDK? Nearly all calls of Envoy are for them, so they come before everything,
//! the SDK's look for their context too.
//!
//! INVARIANT: a connection passes here only from its decision until its context is forgotten.

use fixgw_core::passing::Passing;
use proxy_wasm::types::Action;

/// Places, 64 KiB in all.
const PLACES: usize = 16 * 1_024;

thread_local! {
    static PASSING: Passing<PLACES> = const { Passing::new() };
}

/// From now on the bytes of the connection with this context pass, if its place is free.
pub(crate) fn begin(id: u32) {
    PASSING.with(|passing| passing.begin(id));
}

/// From now on they are looked at.
pub(crate) fn end(id: u32) {
    PASSING.with(|passing| passing.end(id));
}

#[allow(
    unsafe_code,
    reason = "the SDK's callback is found by its name, and ours is exported in its place"
)]
mod callback {
    use super::{Action, PASSING};

    unsafe extern "C" {
        safe fn proxy_on_downstream_data(id: u32, size: usize, end: bool) -> Action;
    }

    /// Envoy calls this. The end of the counterparty's bytes is always looked at.
    #[unsafe(no_mangle)]
    extern "C" fn fixgw_on_downstream_data(id: u32, size: usize, end: bool) -> Action {
        if !end && PASSING.with(|passing| passing.holds(id)) {
            return Action::Continue;
        }
        proxy_on_downstream_data(id, size, end)
    }

    // A name of the module's exports that two functions want cannot be given by the linker's arguments.
    core::arch::global_asm!(".export_name fixgw_on_downstream_data, proxy_on_downstream_data");
}
