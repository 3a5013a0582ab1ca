//! How does a test make the filter fail, on command and in every way in which it could?
//!
//! Compiled with the feature `test-faults` alone: a module that is shipped has nothing of this (a test of the repository
//! looks).
//!
//! A Logon asks by its `SenderCompID`: the fault's name, for a fault at once (`49=TRAP`), or with a moment behind it
//! (`49=TRAP-ON-TICK`). A Logon need not be whole for that.

use std::cell::RefCell;
use std::hint::black_box;

use fixgw_core::table::Table;

use crate::host;

/// How the filter fails.
#[derive(Clone, Copy)]
enum Fault {
    /// What is contained.
    Panic,
    /// What nothing inside a VM can catch: an instruction that cannot be carried out.
    Trap,
    /// The end of the module's own stack, in its memory.
    Stack,
    /// The end of the stack on which V8 keeps the calls.
    Calls,
    /// The end of the memory that the module may have.
    Memory,
    /// No fault that ends anything, but nobody else is served meanwhile.
    Spin,
}

impl Fault {
    const ALL: [(&'static [u8], Self); 6] = [
        (b"PANIC", Self::Panic),
        (b"TRAP", Self::Trap),
        (b"STACK", Self::Stack),
        (b"CALLS", Self::Calls),
        (b"MEMORY", Self::Memory),
        (b"SPIN", Self::Spin),
    ];
}

/// When it fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// While the Logon that asks is handled.
    Now,
    /// At this VM's next tick.
    Tick,
    /// While the end of a connection is handled.
    Close,
    /// Whenever this VM takes a table that has the route [`BROKEN_ROUTE`].
    Table,
}

impl Moment {
    const LATER: [(&'static [u8], Self); 3] = [
        (b"-ON-TICK", Self::Tick),
        (b"-ON-CLOSE", Self::Close),
        (b"-ON-TABLE", Self::Table),
    ];
}

/// Namespace and name of the route that a VM fails on which was asked to.
const BROKEN_ROUTE: (&str, &str) = ("trading", "fault");
/// How long [`Fault::Spin`] takes.
const SPIN_MS: u64 = 200;
/// What a call takes of the module's own stack, for [`Fault::Stack`]: a hundred of them are more than it has.
const FRAME_BYTES: usize = 16 * 1024;
/// What [`Fault::Memory`] asks for at once.
const CHUNK_BYTES: usize = 1024 * 1024;

thread_local! {
    static ARMED: RefCell<Vec<(Moment, Fault)>> = const { RefCell::new(Vec::new()) };
}

/// A connection has sent this.
pub(crate) fn on_data(buffer: &[u8]) {
    let Some((moment, fault)) = asked(buffer) else {
        return;
    };
    if moment == Moment::Now {
        strike(fault);
    } else {
        ARMED.with_borrow_mut(|armed| armed.push((moment, fault)));
    }
}

/// This VM ticks.
pub(crate) fn on_tick() {
    strike_at(Moment::Tick);
}

/// A connection is gone.
pub(crate) fn on_close() {
    strike_at(Moment::Close);
}

/// This VM takes a table.
pub(crate) fn on_table(table: &Table) {
    let (namespace, name) = BROKEN_ROUTE;
    let armed = ARMED.with_borrow(|armed| {
        let armed = armed.iter().find(|(moment, _)| *moment == Moment::Table);
        armed.map(|(_, fault)| *fault)
    });
    if let Some(fault) = armed
        && table.route_named(namespace, name).is_some()
    {
        strike(fault);
    }
}

fn asked(buffer: &[u8]) -> Option<(Moment, Fault)> {
    let mut fields = buffer.split(|byte| *byte == 1);
    let asked = fields.find_map(|field| field.strip_prefix(b"49="))?;
    let (name, fault) = Fault::ALL
        .into_iter()
        .find(|(name, _)| asked.starts_with(name))?;
    let rest = asked.strip_prefix(name)?;
    if rest.is_empty() {
        return Some((Moment::Now, fault));
    }
    let mut moments = Moment::LATER.into_iter();
    let (_, moment) = moments.find(|(name, _)| rest == *name)?;
    Some((moment, fault))
}

/// Once for each time that it was asked for.
fn strike_at(moment: Moment) {
    let fault = ARMED.with_borrow_mut(|armed| {
        let place = armed.iter().position(|(at, _)| *at == moment)?;
        Some(armed.swap_remove(place).1)
    });
    if let Some(fault) = fault {
        strike(fault);
    }
}

fn strike(fault: Fault) {
    match fault {
        Fault::Panic => assert!(black_box(false), "the test build was asked to"),
        Fault::Trap => core::arch::wasm32::unreachable(),
        Fault::Stack => {
            black_box(use_stack(0));
        }
        Fault::Calls => {
            black_box(use_calls(0));
        }
        Fault::Memory => loop {
            // Written to: memory that was only asked for costs nothing.
            std::mem::forget(black_box(vec![1_u8; CHUNK_BYTES]));
        },
        Fault::Spin => {
            let begun = host::monotonic_ms().unwrap_or(0);
            while host::monotonic_ms().unwrap_or(u64::MAX) < begun.saturating_add(SPIN_MS) {}
        }
    }
}

#[inline(never)]
#[allow(
    unconditional_recursion,
    reason = "it ends where the stack does, and the VM with it"
)]
fn use_stack(depth: u8) -> u8 {
    let frame = black_box([depth; FRAME_BYTES]);
    // What is done with the frame after the call keeps it.
    let deeper = use_stack(depth.wrapping_add(1));
    frame
        .last()
        .map_or(deeper, |last| last.wrapping_add(deeper))
}

#[inline(never)]
#[allow(
    unconditional_recursion,
    reason = "it ends where the stack does, and the VM with it"
)]
fn use_calls(depth: usize) -> usize {
    // What is done with the answer keeps it a call.
    use_calls(black_box(depth.wrapping_add(1))).wrapping_add(depth)
}
