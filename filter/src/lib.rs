//! The proxy-wasm network filter of FIX gateway: a thin shell round `fixgw-core`.
//!
//! Envoy calls, the core decides, one place ([`stream`]) performs. Everything that talks to Envoy is in [`host`];
//! what a VM knows is in [`worker`]; what Envoy configures and ticks is in [`root`]; decided connections stop at [`passing`].
//!
//! Never holds logic that could be tested without Envoy (that is the core's), never lets a panic out of a callback
//! ([`contain`]), never writes a FIX byte, and never logs a field's value.

// The module is built with a standard library of its own, which needs the nightly features anyway.
#![feature(asm_experimental_arch)]

mod calls;
mod contain;
#[cfg(feature = "test-faults")]
mod fault;
mod host;
mod passing;
mod places;
mod root;
mod stream;
mod updates;
mod worker;

/// Envoy calls this once in each VM, before anything else.
#[allow(
    unsafe_code,
    reason = "the entry point of a reactor module is found by its name"
)]
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    contain::keep_quiet();
    proxy_wasm::set_root_context(root::new_root);
}
