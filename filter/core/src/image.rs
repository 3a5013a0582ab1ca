//! How are tables and readiness laid out as bytes? Little-endian words at fixed places, checked sums over all of it.
//!
//! Reading is total: every access is bounds-checked and answers `None` beyond the end. Nothing is decoded into other
//! structures, so that a worker that takes over a new table pays for one copy and one checksum, not for building maps.

use alloc::vec::Vec;

/// Bytes before the body: magic (8), format (4), zero (4), revision (8), checksum (8).
pub(crate) const HEADER_BYTES: usize = 32;

/// Why an image is refused. It follows from the bytes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Does not begin with the magic.
    Magic,
    /// A format that this build does not know.
    Format(u32),
    /// Longer than its bound, or a part lies outside.
    Bounds,
    /// The checksum is another.
    Checksum,
}

impl LoadError {
    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Magic => "magic",
            Self::Format(_) => "format",
            Self::Bounds => "bounds",
            Self::Checksum => "checksum",
        }
    }
}

impl core::fmt::Display for LoadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic => f.write_str("the image does not begin as one of the gateway's"),
            Self::Format(format) => write!(
                f,
                "the image has format {format}, which this version does not know"
            ),
            Self::Bounds => {
                f.write_str("a part of the image lies outside of it, or it exceeds its bound")
            }
            Self::Checksum => f.write_str("the image's checksum does not match its bytes"),
        }
    }
}

impl core::error::Error for LoadError {}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(word.try_into().ok()?))
}

/// Puts a header before a body.
pub(crate) fn seal(magic: [u8; 8], format: u32, revision: u64, body: &[u8]) -> Vec<u8> {
    let mut image = Vec::with_capacity(HEADER_BYTES + body.len());
    image.extend_from_slice(&magic);
    image.extend_from_slice(&format.to_le_bytes());
    image.extend_from_slice(&0_u32.to_le_bytes());
    image.extend_from_slice(&revision.to_le_bytes());
    image.extend_from_slice(&checksum(format, revision, body).to_le_bytes());
    image.extend_from_slice(body);
    image
}

/// Checks a header and gives the revision.
pub(crate) fn open(
    image: &[u8],
    magic: [u8; 8],
    format: u32,
    bytes_max: usize,
) -> Result<u64, LoadError> {
    if image.get(..8) != Some(&magic) {
        return Err(LoadError::Magic);
    }
    let found = u32_at(image, 8).ok_or(LoadError::Bounds)?;
    if found != format {
        return Err(LoadError::Format(found));
    }
    let revision = u64_at(image, 16).ok_or(LoadError::Bounds)?;
    let stated = u64_at(image, 24).ok_or(LoadError::Bounds)?;
    let body = image.get(HEADER_BYTES..).ok_or(LoadError::Bounds)?;
    if image.len() > bytes_max {
        return Err(LoadError::Bounds);
    }
    if checksum(format, revision, body) != stated {
        return Err(LoadError::Checksum);
    }
    Ok(revision)
}

/// The revision that an image states. Nothing else of it is checked.
pub(crate) fn stated_revision(image: &[u8], magic: [u8; 8]) -> Option<u64> {
    if image.get(..8) != Some(&magic) {
        return None;
    }
    u64_at(image, 16)
}

fn checksum(format: u32, revision: u64, body: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(body, revision ^ (u64::from(format) << 56))
}
