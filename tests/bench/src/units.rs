//! In which units does a figure stand?
//!
//! Pure.

use std::time::Duration;

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
/// A number, as a figure.
pub(crate) fn count_u64(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
/// A number, as a figure.
pub(crate) fn count(count: usize) -> f64 {
    count as f64
}

/// Microseconds.
pub(crate) fn micros(nanos: u64) -> f64 {
    count_u64(nanos) / 1e3
}

/// Milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// MiB.
pub(crate) fn mib(kb: u64) -> f64 {
    count_u64(kb) / 1_024.0
}
