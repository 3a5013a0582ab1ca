//! When does a connection end whose other host does not answer any more?
//!
//! One duration in, what the kernel is to be told out: listeners and clusters ask here, so that they agree. Pure.
//!
//! While no byte is under way, keepalive asks the other host; while bytes are, it does not, and the user timeout counts
//! from the first that nobody acknowledges. A counterparty that speaks shortly before keepalive would have given up has the
//! second wait follow the first, so each of them has less than half of the time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::api::{self, DurationError};

/// After how long a connection ends whose other host is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct TcpTimeout {
    ms: u32,
}

/// How the kernel asks whether the other host is there, in whole seconds, because it takes no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub time_s: u32,
    /// Pause between the probes.
    pub interval_s: u32,
    /// Probes without an answer until the connection is over.
    pub probes: u32,
}

/// Why a text is no [`TcpTimeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TcpTimeoutError {
    /// Not a duration.
    #[error(transparent)]
    Form(#[from] DurationError),
    /// Shorter or longer than the kernel can do, or than makes sense.
    #[error(
        "a TCP timeout lasts from {} to {}",
        TcpTimeout::LOWEST,
        TcpTimeout::HIGHEST
    )]
    Range,
}

impl TcpTimeout {
    /// Shortest: one second of silence and one probe that has a second for its answer are the least that whole seconds
    /// allow, and each wait has four ninths.
    pub const LOWEST: Self = Self { ms: 5_000 };
    /// Longest: about where Linux gives up by itself (`tcp_retries2`) while bytes are under way.
    pub const HIGHEST: Self = Self { ms: 15 * 60_000 };
    /// Unless it is set.
    pub const DEFAULT: Self = Self { ms: 30_000 };

    /// Probes, where there is time for as many: two may be lost.
    const PROBES: u32 = 3;

    /// How long each of the two waits may take. The kernel's timers fire up to an eighth late, so two times four ninths,
    /// and an eighth of that, are the whole; what the seconds leave over is for the first retransmission.
    const fn wait_s(self) -> u32 {
        self.ms * 4 / 9 / 1_000
    }

    /// What ends a connection on which nothing is sent.
    #[must_use]
    pub const fn keepalive(self) -> Keepalive {
        let wait_s = self.wait_s();
        // The first second is silence, and there must be one for each probe.
        let probes = if wait_s > Self::PROBES {
            Self::PROBES
        } else {
            wait_s - 1
        };
        // A fifth for each, and what is left before the first: a line that drops a packet now and then is asked again.
        let interval_s = if wait_s < 5 { 1 } else { wait_s / 5 };
        Keepalive {
            time_s: wait_s - probes * interval_s,
            interval_s,
            probes,
        }
    }

    /// What ends a connection on which something was sent: `TCP_USER_TIMEOUT`. INVARIANT: no longer than keepalive takes,
    /// because Linux then lets keepalive go on until this is over, too.
    #[must_use]
    pub const fn user_timeout_ms(self) -> u32 {
        self.wait_s() * 1_000
    }
}

impl TryFrom<u64> for TcpTimeout {
    type Error = TcpTimeoutError;

    fn try_from(ms: u64) -> Result<Self, TcpTimeoutError> {
        u32::try_from(ms)
            .ok()
            .filter(|ms| (Self::LOWEST.ms..=Self::HIGHEST.ms).contains(ms))
            .map(|ms| Self { ms })
            .ok_or(TcpTimeoutError::Range)
    }
}

impl From<TcpTimeout> for u64 {
    fn from(timeout: TcpTimeout) -> Self {
        timeout.ms.into()
    }
}

impl FromStr for TcpTimeout {
    type Err = TcpTimeoutError;

    fn from_str(text: &str) -> Result<Self, TcpTimeoutError> {
        Self::try_from(api::milliseconds(text)?)
    }
}

/// As it is written.
impl fmt::Display for TcpTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ms % 60_000, self.ms % 1_000) {
            (0, _) => write!(f, "{}m", self.ms / 60_000),
            (_, 0) => write!(f, "{}s", self.ms / 1_000),
            (_, _) => write!(f, "{}ms", self.ms),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn of(text: &str) -> TcpTimeout {
        text.parse().unwrap()
    }

    #[test]
    fn the_kernel_is_told_whole_seconds_that_are_less_than_half_of_the_time() {
        for (text, time_s, interval_s, probes, user_timeout_ms) in [
            ("5s", 1, 1, 1, 2_000),
            ("7s", 1, 1, 2, 3_000),
            ("10s", 1, 1, 3, 4_000),
            ("30s", 7, 2, 3, 13_000),
            ("1m", 11, 5, 3, 26_000),
            ("15m", 160, 80, 3, 400_000),
        ] {
            let keepalive = Keepalive {
                time_s,
                interval_s,
                probes,
            };
            assert_eq!(of(text).keepalive(), keepalive, "{text}");
            assert_eq!(of(text).user_timeout_ms(), user_timeout_ms, "{text}");
        }
    }

    #[test]
    fn both_waits_one_after_the_other_with_the_kernels_lateness_are_within_the_time() {
        for ms in (TcpTimeout::LOWEST.ms..=TcpTimeout::HIGHEST.ms).step_by(100) {
            let timeout = TcpTimeout { ms };
            let Keepalive {
                time_s,
                interval_s,
                probes,
            } = timeout.keepalive();
            assert!(time_s.min(interval_s).min(probes) >= 1, "{timeout}");
            let silence_ms = (time_s + interval_s * probes) * 1_000;
            assert!(timeout.user_timeout_ms() <= silence_ms, "{timeout}");
            let worst_ms = (silence_ms + timeout.user_timeout_ms()) / 8 * 9;
            assert!(worst_ms <= ms, "{timeout}: {worst_ms}");
            // What the kernel takes.
            assert!(time_s <= 32_767 && interval_s <= 32_767 && probes <= 127);
        }
    }

    #[test]
    fn what_is_too_short_or_too_long_or_no_duration_is_refused_with_what_to_write() {
        for (text, wanted) in [
            ("4999ms", "a TCP timeout lasts from 5s to 15m"),
            ("0s", "a TCP timeout lasts from 5s to 15m"),
            ("15m1ms", "a TCP timeout lasts from 5s to 15m"),
            (
                "99999999999999999999s",
                "a TCP timeout lasts from 5s to 15m",
            ),
            ("10", "a duration is a number with its unit, as in `30s`"),
            ("", "a duration is a number with its unit, as in `30s`"),
        ] {
            let error = text.parse::<TcpTimeout>().unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{text:?}: {error}");
        }
    }

    #[test]
    fn it_is_shown_as_it_can_be_written() {
        for text in ["5s", "7500ms", "30s", "90s", "2m", "15m"] {
            assert_eq!(of(text).to_string(), text);
        }
    }
}
