//! How is time counted and waited for, and how is told only what is another? For the ends that do I/O; what is pure is given the time.

use std::future::pending;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, millis)
}

/// Waits until then; for ever without a time.
pub async fn at(due: Option<impl Into<Instant>>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

/// Tells it to those who watch, if it is another than what was told last.
pub fn tell_another<T: PartialEq>(watched: &watch::Sender<T>, now: T) {
    watched.send_if_modified(|told| {
        let another = *told != now;
        if another {
            *told = now;
        }
        another
    });
}
