//! What can be asked of one Envoy, on the command line or in a file, and within which bounds? The texts are people's, and so are the
//! errors.

use crate::api;

/// Longer than anybody takes to notice that an engine has gone: what lasts longer is for `holdTimeout`.
const CONNECT_TIMEOUT_MS_MAX: u32 = 300_000;

/// Milliseconds of a `--connect-timeout`.
pub(crate) fn connect_timeout(text: &str) -> Result<u32, String> {
    match hold_timeout(text)? {
        ms if ms > CONNECT_TIMEOUT_MS_MAX => Err("at most 5m".to_owned()),
        ms => Ok(ms),
    }
}

/// Shortest `--idle-timeout`: FIX counts its heartbeats in seconds.
const IDLE_TIMEOUT_MS_MIN: u64 = 1_000;
/// Longest `--idle-timeout`: a week, which no session outlasts.
const IDLE_TIMEOUT_MS_MAX: u64 = 7 * 24 * 3_600_000;

/// Milliseconds of an `--idle-timeout`.
pub(crate) fn idle_timeout(text: &str) -> Result<u32, String> {
    let ms = api::milliseconds(text).map_err(|error| error.to_string())?;
    u32::try_from(ms)
        .ok()
        .filter(|ms| (IDLE_TIMEOUT_MS_MIN..=IDLE_TIMEOUT_MS_MAX).contains(&u64::from(*ms)))
        .ok_or_else(|| "an idle timeout lasts from 1s to 168h; leave it out for none".to_owned())
}

/// Milliseconds of a `holdTimeout`, and of what is bounded like one.
pub(crate) fn hold_timeout(text: &str) -> Result<u32, String> {
    let ms = api::duration_ms(text).map_err(|error| error.to_string())?;
    u32::try_from(ms).map_err(|error| error.to_string())
}

/// Cipher suites of TLS 1.2 that can be asked for: those of Envoy 1.40 that keep what was sent secret though the key
/// should come out later. The last four are there for old clients.
pub const CIPHER_SUITES: [&str; 10] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
];

/// A version of TLS. Older ones are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsVersion {
    /// TLS 1.2
    #[value(name = "1.2")]
    V1_2,
    /// TLS 1.3
    #[value(name = "1.3")]
    V1_3,
}

/// Whether a listener's name is one that Envoy or the gateway has for its own: their statistics would be taken for each other's.
pub(crate) fn is_kept_name(name: &str) -> bool {
    name == "admin" || name.starts_with("fixgw-")
}
