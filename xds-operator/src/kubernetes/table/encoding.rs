//! Which bytes does a published table travel in? Pure.

/// What a pointer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The table's revision.
    pub revision: u64,
    /// Over the revision and all chunks.
    pub digest: String,
    /// The chunks, in order.
    pub chunks: Vec<ChunkId>,
}

/// A chunk's name, which follows from its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(String);

/// Why bytes that are as they were written are no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// The table itself.
    #[error("its image is refused: {0}")]
    Image(String),
    /// An object.
    #[error("its FIXSessions cannot be read")]
    Sessions,
    /// Pointer and table do not belong together.
    #[error("its image has revision {0}")]
    Revision(u64),
}

/// What would not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// So many.
    #[error("it would need {0} ConfigMaps, and {max} are allowed; use fewer FIXSessions", max = CHUNKS_MAX)]
    Chunks(usize),
}

/// ConfigMaps of one table.
pub const CHUNKS_MAX: usize = 2_048;
