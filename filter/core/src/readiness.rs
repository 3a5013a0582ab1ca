//! Which targets have no ready endpoint? Small, changes often, and must not resend the table.
//!
//! An image lists the targets that are *not* ready; what is not listed is ready.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::image::{self, HEADER_BYTES, LoadError};
use crate::limits;
use crate::rule::Target;

/// First eight bytes of a readiness image.
pub const MAGIC: [u8; 8] = *b"FIXGWRD1";
/// Version of the layout.
pub const FORMAT: u32 = 1;

/// The targets that have no ready endpoint, with the version of that answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    version: u64,
    not_ready: BTreeSet<String>,
}

impl Readiness {
    /// An image of the targets that are not ready. Deterministic: the same set gives the same bytes.
    #[must_use]
    pub fn encode<'a>(version: u64, not_ready: impl IntoIterator<Item = &'a Target>) -> Vec<u8> {
        let names: BTreeSet<&str> = not_ready.into_iter().map(Target::as_str).collect();
        let mut body = Vec::new();
        for name in names {
            let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
            body.extend_from_slice(&length.to_le_bytes());
            body.extend_from_slice(name.as_bytes());
        }
        image::seal(MAGIC, FORMAT, version, &body)
    }

    /// Reads an image.
    ///
    /// # Errors
    /// What follows from the bytes alone: magic, format, bounds, checksum.
    pub fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        let version = image::open(bytes, MAGIC, FORMAT, limits::READINESS_BYTES_MAX)?;
        let mut not_ready = BTreeSet::new();
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            let length = image::u32_at(bytes, at).ok_or(LoadError::Bounds)? as usize;
            let start = at + 4;
            let end = start.checked_add(length).ok_or(LoadError::Bounds)?;
            let name = bytes.get(start..end).ok_or(LoadError::Bounds)?;
            let name = core::str::from_utf8(name).map_err(|_| LoadError::Bounds)?;
            if not_ready.len() >= limits::TARGETS_MAX {
                return Err(LoadError::Bounds);
            }
            not_ready.insert(String::from(name));
            at = end;
        }
        Ok(Self { version, not_ready })
    }

    /// The version that an image states. Nothing else of it is checked.
    #[must_use]
    pub fn stated_version(image: &[u8]) -> Option<u64> {
        image::stated_revision(image, MAGIC)
    }

    /// The version that the control plane gave it.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether a target has a ready endpoint.
    #[must_use]
    pub fn is_ready(&self, target: &str) -> bool {
        !self.not_ready.contains(target)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_ready() {
        let down = Target::service("trading", "algo", 9876);
        let image = Readiness::encode(7, [&down]);
        let readiness = Readiness::load(&image).unwrap();
        assert_eq!(readiness.version(), 7);
        assert!(!readiness.is_ready(down.as_str()));
        assert!(readiness.is_ready("trading/other:1"));
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let image = Readiness::encode(7, [&Target::service("trading", "algo", 9876)]);
        for at in (0..image.len()).filter(|at| !(12..16).contains(at)) {
            let mut bad = image.clone();
            *bad.get_mut(at).unwrap() ^= 0x40;
            assert!(Readiness::load(&bad).is_err(), "byte {at}");
        }
        for end in 0..image.len() {
            assert!(
                Readiness::load(image.get(..end).unwrap()).is_err(),
                "cut at {end}"
            );
        }
    }
}
