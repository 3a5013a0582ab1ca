//! What happens when the filter itself fails? One connection closes, and nothing else.
//!
//! INVARIANT: every callback from Envoy that runs code of ours does so inside [`contained`]. A panic that left a
//! callback would take the whole VM with it, and every session of its worker. (But for the two comparisons of [`crate::passing`], which
//! cannot panic.)
//!
//! Never prints a panic's message: it may have been made from a field's value. Its place in the source is enough.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

use crate::{host, worker};

thread_local! {
    /// Where the last panic began.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Replaces the hook that would print a panic's message. The new one calls nothing of the host: a panic inside a hook
/// cannot be caught.
pub(crate) fn keep_quiet() {
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(|place| format!("{}:{}", place.file(), place.line()));
        PLACE.with(|kept| {
            if let (Ok(mut kept), Some(place)) = (kept.try_borrow_mut(), place) {
                *kept = place;
            }
        });
    }));
}

/// Runs a callback's body. `None` when it panicked; that is counted and logged.
pub(crate) fn contained<T>(callback: &'static str, body: impl FnOnce() -> T) -> Option<T> {
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => Some(value),
        Err(message) => {
            // Dropping it could panic again, and it may hold what must not be seen.
            std::mem::forget(message);
            worker::count_panic();
            let place = PLACE.with(|kept| {
                kept.try_borrow_mut()
                    .map(|mut kept| std::mem::take(&mut *kept))
            });
            let place = place.unwrap_or_default();
            host::log_error(&format!("a panic in {callback} was contained ({place})"));
            None
        }
    }
}
