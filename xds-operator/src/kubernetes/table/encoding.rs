//! Which bytes does a published table travel in? Chunks, each named after its bytes, and a commit that says which of them
//! belong together; pure.
//!
//! The table's image is cut in pieces. The FIXSessions are cut by a hash of their names: a part that grows too large is halved
//! by the next bit, and the others stay as they are. So what one changed object changes is one small chunk of FIXSessions, and
//! the image.
//!
//! INVARIANT: the same table gives the same bytes. What is read back is what was written, byte for byte, or it is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use fixgw_core::limits;
use fixgw_core::table::Table;
use ring::digest::{SHA256, digest};
use xxhash_rust::xxh3::xxh3_64;

use crate::api::FIXSessionSpec;
use crate::pipeline::publish::Published;
use crate::world::{Alongside, Located, ObjectName, Objects};

/// Version of what is written here. A reader refuses another one.
pub const FORMAT: &str = "1";
/// Bytes of an image's piece: so few that not much is written when one route leads elsewhere, which changes one piece and the
/// first, and so many that a new route, which changes all, is not written in dozens of requests.
const PIECE_BYTES: usize = 256 * 1024;
/// Bytes of a chunk before they are packed. A ConfigMap takes 1 MiB, and bytes that cannot be packed grow by less than a
/// hundredth.
const PLAIN_BYTES_MAX: usize = 512 * 1024;
/// FIXSessions of one chunk: few enough that writing them is quick, and so many that 200,000 make about a thousand chunks.
const CHUNK_SESSIONS_MAX: usize = 256;
/// Bytes of a chunk as it is stored.
pub const CHUNK_BYTES_MAX: usize = 700 * 1024;
/// ConfigMaps of one table: the largest image has 384 pieces, and 200,000 FIXSessions are in 1,024 to 1,500 chunks.
pub const CHUNKS_MAX: usize = 3_072;
/// Bytes that say how many there are after unpacking.
const LENGTH_BYTES: usize = 4;
/// Characters of a chunk's name: 160 bits, so that nobody can make two chunks of one name.
const ID_CHARACTERS: usize = 40;

/// The pointer's keys.
const KEY_FORMAT: &str = "format";
const KEY_REVISION: &str = "revision";
const KEY_DIGEST: &str = "digest";
const KEY_CHUNKS: &str = "chunks";

/// A FIXSession as it travels.
type Entry = (ObjectName, Arc<Located<FIXSessionSpec>>);

/// What is in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A piece of the table's image.
    Table,
    /// Some of its FIXSessions.
    Sessions,
}

impl Part {
    /// As it is written.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Sessions => "sessions",
        }
    }
}

/// A chunk's name, which follows from its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(Arc<str>);

impl ChunkId {
    /// The name of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut name = hexadecimal(bytes);
        name.truncate(ID_CHARACTERS);
        Self(name.into())
    }

    fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == ID_CHARACTERS && text.bytes().all(is_hex)).then(|| Self(text.into()))
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower case.
fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, bytes).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A chunk that is to be written.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// What is in it.
    pub part: Part,
    /// Its name.
    pub id: ChunkId,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

impl Chunk {
    fn pack(part: Part, plain: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(LENGTH_BYTES + plain.len() / 2);
        // No chunk is larger than its bound, which is far below 4 GiB.
        bytes.extend_from_slice(&u32::try_from(plain.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&lz4_flex::block::compress(plain));
        Self {
            part,
            id: ChunkId::of(&bytes),
            bytes: bytes.into(),
        }
    }
}

/// What a pointer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The table's revision.
    pub revision: u64,
    /// Over the revision and the names of all chunks, and so over their bytes.
    pub digest: Arc<str>,
    /// The chunks, in order.
    pub chunks: Arc<[(Part, ChunkId)]>,
}

impl Commit {
    fn new(revision: u64, chunks: Vec<(Part, ChunkId)>) -> Self {
        let (_, digest) = chunk_lines(revision, &chunks);
        Self {
            revision,
            digest: digest.into(),
            chunks: chunks.into(),
        }
    }

    /// As it stands in the pointer.
    #[must_use]
    pub fn data(&self) -> BTreeMap<String, String> {
        let (lines, digest) = chunk_lines(self.revision, &self.chunks);
        [
            (KEY_FORMAT, FORMAT.to_owned()),
            (KEY_REVISION, self.revision.to_string()),
            (KEY_DIGEST, digest),
            (KEY_CHUNKS, lines),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Reads it; `None` when nothing was published yet.
    ///
    /// # Errors
    /// When it is not as it was written, or by a release that this one does not understand.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Option<Self>, CommitError> {
        let keys = [KEY_FORMAT, KEY_REVISION, KEY_DIGEST, KEY_CHUNKS];
        if !keys.iter().any(|key| data.contains_key(*key)) {
            return Ok(None);
        }
        let value = |key: &'static str| {
            let value = data.get(key).map(String::as_str);
            value.ok_or(CommitError::Absent(key))
        };
        let format = value(KEY_FORMAT)?;
        if format != FORMAT {
            // Whatever it is, it is short.
            return Err(CommitError::Format(format.chars().take(20).collect()));
        }
        let text = value(KEY_REVISION)?;
        let revision = text.parse().ok().filter(|it: &u64| it.to_string() == text);
        let revision = revision.ok_or(CommitError::Revision)?;
        let chunks = value(KEY_CHUNKS)?.lines().map(|line| {
            let (label, id) = line.split_once(' ').ok_or(CommitError::Chunks)?;
            let parts = [Part::Table, Part::Sessions];
            let part = parts.into_iter().find(|part| part.label() == label);
            part.zip(ChunkId::parse(id)).ok_or(CommitError::Chunks)
        });
        let chunks: Vec<_> = chunks.take(CHUNKS_MAX + 1).collect::<Result<_, _>>()?;
        if chunks.len() > CHUNKS_MAX {
            return Err(CommitError::TooMany);
        }
        let commit = Self::new(revision, chunks);
        // The lines are compared as well: what is written otherwise is not as it was written.
        if *commit.digest == *value(KEY_DIGEST)?
            && commit.data().get(KEY_CHUNKS) == data.get(KEY_CHUNKS)
        {
            Ok(Some(commit))
        } else {
            Err(CommitError::Digest)
        }
    }
}

/// The lines of a commit's chunks, and the digest over them.
fn chunk_lines(revision: u64, chunks: &[(Part, ChunkId)]) -> (String, String) {
    let mut lines = String::with_capacity(chunks.len() * (ID_CHARACTERS + 10));
    for (part, id) in chunks {
        let _ = writeln!(lines, "{} {id}", part.label());
    }
    let digest = hexadecimal(format!("{FORMAT}\n{revision}\n{lines}").as_bytes());
    (lines, digest)
}

/// Why a pointer's data are no commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Of another release.
    #[error("its format is `{0}`")]
    Format(String),
    /// A key that is always there.
    #[error("`{0}` is gone")]
    Absent(&'static str),
    /// No number.
    #[error("its revision is no number")]
    Revision,
    /// Not a list of chunks.
    #[error("its chunks are no names of chunks")]
    Chunks,
    /// More than any table has.
    #[error("it names more than {CHUNKS_MAX} chunks")]
    TooMany,
    /// One of them was edited.
    #[error("its digest is another")]
    Digest,
}

/// A chunk that was read, and is what its name says.
#[derive(Clone, Debug)]
pub enum Content {
    /// A piece of the image.
    Piece(Vec<u8>),
    /// FIXSessions.
    Sessions(Vec<Entry>),
}

/// Why bytes that are as they were written are no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// A chunk that cannot be unpacked.
    #[error("the chunk {0} cannot be unpacked")]
    Packed(ChunkId),
    /// A chunk whose FIXSessions cannot be read.
    #[error("the FIXSessions of the chunk {0} cannot be read")]
    Sessions(ChunkId),
    /// More than any table has.
    #[error("its image has more than {max} bytes", max = limits::TABLE_BYTES_MAX)]
    TooLarge,
    /// One FIXSession twice.
    #[error("the FIXSession {0} is in it twice")]
    Twice(ObjectName),
    /// The table itself.
    #[error("its image is refused: {0}")]
    Image(String),
    /// Pointer and table do not belong together.
    #[error("its image has revision {0}")]
    Revision(u64),
}

/// What would not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// So many.
    #[error("it would need {0} ConfigMaps, and {CHUNKS_MAX} are allowed; use fewer FIXSessions")]
    Chunks(usize),
    /// One object alone.
    #[error(
        "the FIXSession {0} has more than {PLAIN_BYTES_MAX} bytes; give it fewer fields and ranges"
    )]
    Session(ObjectName),
}

/// Reads a chunk whose bytes have this name.
///
/// # Errors
/// When they are none of ours all the same.
pub fn open(part: Part, id: &ChunkId, bytes: &[u8]) -> Result<Content, Corrupt> {
    let packed = || Corrupt::Packed(id.clone());
    let (length, block) = bytes
        .split_first_chunk::<LENGTH_BYTES>()
        .ok_or_else(packed)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > PLAIN_BYTES_MAX {
        return Err(packed());
    }
    let plain = lz4_flex::block::decompress(block, length).map_err(|_| packed())?;
    if plain.len() != length {
        return Err(packed());
    }
    match part {
        Part::Table => Ok(Content::Piece(plain)),
        Part::Sessions => serde_json::from_slice(&plain)
            .map(Content::Sessions)
            .map_err(|_| Corrupt::Sessions(id.clone())),
    }
}

/// Puts a table together.
///
/// # Errors
/// When its chunks do not make one. A chunk that is not among `contents` counts as one that cannot be unpacked.
pub fn assemble(commit: &Commit, contents: &Contents) -> Result<Published, Corrupt> {
    let mut image = Vec::new();
    let mut sessions = Objects::new();
    for (part, id) in commit.chunks.iter() {
        match (part, contents.get(id).map(Arc::as_ref)) {
            (Part::Table, Some(Content::Piece(piece))) => {
                if image.len() + piece.len() > limits::TABLE_BYTES_MAX {
                    return Err(Corrupt::TooLarge);
                }
                image.extend_from_slice(piece);
            }
            (Part::Sessions, Some(Content::Sessions(entries))) => {
                for (name, session) in entries {
                    if sessions.insert(name.clone(), session.clone()).is_some() {
                        return Err(Corrupt::Twice(name.clone()));
                    }
                }
            }
            (Part::Table | Part::Sessions, _) => return Err(Corrupt::Packed(id.clone())),
        }
    }
    let table = Table::load(image).map_err(|error| Corrupt::Image(error.to_string()))?;
    if table.revision() != commit.revision {
        return Err(Corrupt::Revision(table.revision()));
    }
    Ok(Published {
        sessions: Arc::new(sessions),
        table,
    })
}

/// A table as it is written.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// What the pointer will say.
    pub commit: Commit,
    /// All chunks, in that order.
    pub chunks: Vec<Chunk>,
}

/// Chunks that were read, by their names.
pub type Contents = BTreeMap<ChunkId, Arc<Content>>;

/// What was encoded last, so that only what has changed is encoded again.
#[derive(Debug, Default)]
pub struct Memo {
    published: Option<Arc<Published>>,
    pieces: Vec<Chunk>,
    chunks: BTreeMap<Place, Chunk>,
}

/// All names whose hash begins so; and which run of them, where even whole hashes do not part them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    prefix: u64,
    bits: u32,
    run: usize,
}

/// Makes chunks of a table.
///
/// # Errors
/// When it does not fit; the memo is empty then.
pub fn encode(published: &Arc<Published>, memo: &mut Memo) -> Result<Encoded, Excess> {
    let before = std::mem::take(memo);
    let mut named: Vec<Named<'_>> = published
        .sessions
        .iter()
        .map(|entry| (hash(entry.0), entry))
        .collect();
    // By hash, and names of one hash in their own order: the sort is stable.
    named.sort_by_key(|(hash, _)| *hash);
    let none = Objects::new();
    let sessions = before.published.as_ref().map_or(&none, |it| &*it.sessions);
    let changed = changed(sessions, &published.sessions);
    let mut chunks = BTreeMap::new();
    let mut cutter = Cutter {
        changed: &changed,
        before: &before.chunks,
        chunks: &mut chunks,
    };
    cutter.cut(
        &named,
        Place {
            prefix: 0,
            bits: 0,
            run: 0,
        },
    )?;
    let old_image = before.published.as_ref().map(|it| it.table.image());
    let old_pieces = old_image.unwrap_or_default().chunks(PIECE_BYTES);
    let mut old_pieces = old_pieces.zip(&before.pieces);
    let image = published.table.image().chunks(PIECE_BYTES);
    let pieces: Vec<Chunk> = image
        .map(|piece| match old_pieces.next() {
            Some((old, chunk)) if old == piece => chunk.clone(),
            Some(_) | None => Chunk::pack(Part::Table, piece),
        })
        .collect();
    let all: Vec<Chunk> = pieces.iter().chain(chunks.values()).cloned().collect();
    if all.len() > CHUNKS_MAX {
        return Err(Excess::Chunks(all.len()));
    }
    *memo = Memo {
        published: Some(published.clone()),
        pieces,
        chunks,
    };
    let ids = all.iter().map(|chunk| (chunk.part, chunk.id.clone()));
    Ok(Encoded {
        commit: Commit::new(published.table.revision(), ids.collect()),
        chunks: all,
    })
}

fn hash(name: &ObjectName) -> u64 {
    xxh3_64(format!("{}/{}", name.namespace, name.name).as_bytes())
}

/// Hashes of the names that are in one of two sets alone, or differ.
fn changed(before: &Objects<FIXSessionSpec>, now: &Objects<FIXSessionSpec>) -> BTreeSet<u64> {
    let (mut others, mut olds) = (Alongside::new(now), Alongside::new(before));
    let gone = before.keys().filter(|name| others.get(name).is_none());
    let new = now.iter().filter(|(name, session)| {
        let same =
            |old: &Arc<Located<FIXSessionSpec>>| Arc::ptr_eq(old, session) || old == *session;
        !olds.get(name).is_some_and(same)
    });
    gone.chain(new.map(|(name, _)| name)).map(hash).collect()
}

/// A FIXSession with the hash of its name.
type Named<'a> = (u64, (&'a ObjectName, &'a Arc<Located<FIXSessionSpec>>));

struct Cutter<'a> {
    changed: &'a BTreeSet<u64>,
    before: &'a BTreeMap<Place, Chunk>,
    chunks: &'a mut BTreeMap<Place, Chunk>,
}

impl Cutter<'_> {
    /// Cuts what is at a place. As deep as a hash has bits, and then by number.
    fn cut(&mut self, named: &[Named<'_>], place: Place) -> Result<(), Excess> {
        if named.is_empty() {
            return Ok(());
        }
        if let Some(chunk) = self.unchanged(place) {
            self.chunks.insert(place, chunk);
            return Ok(());
        }
        if named.len() <= CHUNK_SESSIONS_MAX {
            let entries: Vec<_> = named.iter().map(|(_, entry)| entry).collect();
            let plain = serde_json::to_vec(&entries).unwrap_or_default();
            if plain.len() <= PLAIN_BYTES_MAX && !plain.is_empty() {
                self.chunks
                    .insert(place, Chunk::pack(Part::Sessions, &plain));
                return Ok(());
            }
            if let [(_, (name, _))] = named {
                return Err(Excess::Session((*name).clone()));
            }
        }
        if place.bits == u64::BITS {
            let (first, rest) = named.split_at(named.len() / 2);
            let run = |offset: usize| Place {
                run: place.run * 2 + offset,
                ..place
            };
            self.cut(first, run(1))?;
            return self.cut(rest, run(2));
        }
        let bit = 1_u64 << (u64::BITS - 1 - place.bits);
        let half = |prefix| Place {
            prefix,
            bits: place.bits + 1,
            run: 0,
        };
        let middle = named.partition_point(|(hash, _)| hash & bit == 0);
        let (low, high) = named.split_at(middle);
        self.cut(low, half(place.prefix))?;
        self.cut(high, half(place.prefix | bit))
    }

    /// The chunk that was at this place before, if nothing of it has changed.
    fn unchanged(&self, place: Place) -> Option<Chunk> {
        let chunk = self.before.get(&place).filter(|_| place.run == 0)?;
        let last = place.prefix | u64::MAX.checked_shr(place.bits).unwrap_or(0);
        let touched = self.changed.range(place.prefix..=last).next().is_some();
        (!touched).then(|| chunk.clone())
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use crate::pipeline::hold::ConflictPolicy;
    use crate::pipeline::settle::Times;
    use crate::pipeline::{Pipeline, Saved};
    use crate::world::{RulesHalf, World};

    fn session(sender: &str, port: u16) -> Arc<Located<FIXSessionSpec>> {
        let spec = format!(
            r#"{{"matchFields":{{"SenderCompID49":{{"value":"{sender}"}}}},"target":{{"service":{{"name":"e","port":{port}}}}}}}"#
        );
        Arc::new(Located {
            object: serde_json::from_str(&spec).unwrap(),
            origin: None,
            places: crate::world::Places::default(),
            identity: None,
        })
    }

    fn sessions(count: usize) -> Objects<FIXSessionSpec> {
        let named = (0..count).map(|n| {
            let name = ObjectName::new("trading", &format!("route-{n:06}"));
            (name, session(&format!("BROKER_{n:06}"), 9876))
        });
        named.collect()
    }

    fn published(sessions: Objects<FIXSessionSpec>, revision: u64) -> Arc<Published> {
        let rules = RulesHalf {
            sessions: Arc::new(sessions),
            ..RulesHalf::default()
        };
        let world = World {
            rules: Arc::new(rules),
            ..World::default()
        };
        let mut pipeline = Pipeline::new(Times::default(), ConflictPolicy::default(), None);
        pipeline.observe(&world, 0);
        let Saved {
            table, sessions, ..
        } = pipeline.advance(1_000, revision).saved.unwrap();
        Arc::new(Published { sessions, table })
    }

    fn read(encoded: &Encoded) -> Result<Published, Corrupt> {
        let opened = encoded.chunks.iter().map(|chunk| {
            assert_eq!(ChunkId::of(&chunk.bytes), chunk.id);
            let content = open(chunk.part, &chunk.id, &chunk.bytes)?;
            Ok((chunk.id.clone(), Arc::new(content)))
        });
        assemble(&encoded.commit, &opened.collect::<Result<_, _>>()?)
    }

    fn ids(encoded: &Encoded) -> BTreeSet<ChunkId> {
        encoded
            .chunks
            .iter()
            .map(|chunk| chunk.id.clone())
            .collect()
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        for count in [1, 300, 5_000] {
            let published = published(sessions(count), 77);
            let encoded = encode(&published, &mut Memo::default()).unwrap();
            let again = read(&encoded).unwrap();
            assert_eq!(again.sessions, published.sessions);
            assert_eq!(again.table.image(), published.table.image());
            let commit = Commit::read(&encoded.commit.data()).unwrap().unwrap();
            assert_eq!(commit, encoded.commit);
            let largest = encoded.chunks.iter().map(|chunk| chunk.bytes.len()).max();
            assert!(largest.unwrap() <= CHUNK_BYTES_MAX);
        }
    }

    #[test]
    fn any_changed_or_missing_byte_of_a_chunk_gives_it_another_name() {
        let encoded = encode(&published(sessions(3), 77), &mut Memo::default()).unwrap();
        assert_eq!(encoded.chunks.len(), 2);
        for chunk in &encoded.chunks {
            for at in 0..chunk.bytes.len() {
                let mut bad = chunk.bytes.to_vec();
                bad[at] ^= 0x20;
                assert_ne!(ChunkId::of(&bad), chunk.id, "byte {at}");
                // Whoever looked at it all the same would not fall over.
                let _ = open(chunk.part, &chunk.id, &bad);
                assert_ne!(ChunkId::of(&chunk.bytes[..at]), chunk.id, "cut at {at}");
                assert!(
                    open(chunk.part, &chunk.id, &chunk.bytes[..at]).is_err(),
                    "cut at {at}"
                );
            }
        }
    }

    #[test]
    fn a_pointer_of_which_anything_was_edited_is_refused() {
        let encoded = encode(&published(sessions(600), 77), &mut Memo::default()).unwrap();
        let good = encoded.commit.data();
        let with = |key: &str, value: &str| {
            let mut data = good.clone();
            data.insert(key.to_owned(), value.to_owned());
            Commit::read(&data)
        };
        for key in ["revision", "digest", "chunks"] {
            let value = &good[key];
            for at in 0..value.len() {
                let mut bad = value.clone().into_bytes();
                bad[at] = if bad[at] == b'1' { b'2' } else { b'1' };
                let bad = String::from_utf8(bad).unwrap();
                assert!(with(key, &bad).is_err(), "{key}: {bad}");
                assert!(
                    with(key, value.get(..at).unwrap()).is_err(),
                    "{key} cut at {at}"
                );
            }
            let mut data = good.clone();
            data.remove(key);
            let (key, _) = good.get_key_value(key).unwrap();
            let error = Commit::read(&data).unwrap_err().to_string();
            assert_eq!(error, format!("`{key}` is gone"));
        }
        assert!(with("revision", "077").is_err());
        assert!(with("chunks", good["chunks"].trim_end()).is_err());
        let (first, rest) = good["chunks"].split_once('\n').unwrap();
        assert!(
            with("chunks", &format!("{rest}{first}\n")).is_err(),
            "another order"
        );
        assert_eq!(
            with("format", "2"),
            Err(CommitError::Format("2".to_owned()))
        );
        let many = good["chunks"].repeat(CHUNKS_MAX);
        assert_eq!(with("chunks", &many), Err(CommitError::TooMany));
        // What people add is not ours.
        assert!(with("note", "x").unwrap().is_some());
        assert_eq!(Commit::read(&BTreeMap::new()), Ok(None));
    }

    #[test]
    fn the_same_table_gives_the_same_bytes_whatever_was_encoded_before() {
        let mut memo = Memo::default();
        let mut all = sessions(2_000);
        for step in 0..6_usize {
            let name = |n: usize| ObjectName::new("trading", &format!("route-{n:06}"));
            match step {
                0 => {}
                1 => drop(all.remove(&name(7))),
                2 => drop(all.insert(name(8), session("OTHER", 1))),
                3 => all.extend(sessions(2_600)),
                4 => all.retain(|name, _| name.name.ends_with('3')),
                // Equal, and not the same in memory.
                _ => {
                    all = all
                        .iter()
                        .map(|(name, it)| (name.clone(), Arc::new((**it).clone())))
                        .collect();
                }
            }
            let published = published(all.clone(), 77);
            let with_memo = encode(&published, &mut memo).unwrap();
            let fresh = encode(&published, &mut Memo::default()).unwrap();
            assert_eq!(with_memo.commit, fresh.commit, "step {step}");
            assert_eq!(read(&with_memo).unwrap().sessions, published.sessions);
        }
    }

    #[test]
    fn one_changed_object_makes_one_small_chunk_of_fixsessions_new() {
        let mut memo = Memo::default();
        let mut all = sessions(5_000);
        let first = encode(&published(all.clone(), 77), &mut memo).unwrap();
        all.insert(
            ObjectName::new("trading", "route-000042"),
            session("NEW", 1),
        );
        let second = encode(&published(all, 78), &mut memo).unwrap();
        let new: Vec<&Chunk> = second
            .chunks
            .iter()
            .filter(|chunk| !ids(&first).contains(&chunk.id))
            .collect();
        let of_sessions: Vec<_> = new.iter().filter(|it| it.part == Part::Sessions).collect();
        assert_eq!(of_sessions.len(), 1);
        assert!(
            of_sessions[0].bytes.len() < 16 * 1024,
            "{}",
            of_sessions[0].bytes.len()
        );
        assert!(second.chunks.len() > 30, "{}", second.chunks.len());
    }

    #[test]
    fn chunks_that_do_not_belong_together_make_no_table() {
        let one = encode(&published(sessions(3), 77), &mut Memo::default()).unwrap();
        let other = encode(&published(sessions(3), 78), &mut Memo::default()).unwrap();
        // A pointer that somebody made by the rules, of a table and another revision.
        let mixed = Encoded {
            commit: Commit::new(79, other.commit.chunks.to_vec()),
            chunks: other.chunks.clone(),
        };
        assert_eq!(read(&mixed).unwrap_err(), Corrupt::Revision(78));
        let twice = [&one.chunks[..], &one.chunks[1..]].concat();
        let twice = Encoded {
            commit: Commit::new(
                77,
                twice.iter().map(|it| (it.part, it.id.clone())).collect(),
            ),
            chunks: twice,
        };
        assert!(matches!(read(&twice).unwrap_err(), Corrupt::Twice(_)));
        let without = Encoded {
            commit: Commit::new(77, vec![one.commit.chunks[1].clone()]),
            chunks: vec![one.chunks[1].clone()],
        };
        assert!(matches!(read(&without).unwrap_err(), Corrupt::Image(_)));
        let absent = Encoded {
            commit: one.commit.clone(),
            chunks: Vec::new(),
        };
        assert!(matches!(read(&absent).unwrap_err(), Corrupt::Packed(_)));
    }

    #[test]
    fn a_chunk_that_would_be_huge_when_unpacked_is_refused() {
        let chunk = Chunk::pack(Part::Table, &vec![0; PLAIN_BYTES_MAX + 1]);
        let refused = open(Part::Table, &chunk.id, &chunk.bytes).unwrap_err();
        assert_eq!(refused, Corrupt::Packed(chunk.id));
        let bytes = [&u32::MAX.to_le_bytes()[..], &[0xff; 64]].concat();
        let id = ChunkId::of(&bytes);
        assert_eq!(
            open(Part::Table, &id, &bytes).unwrap_err(),
            Corrupt::Packed(id)
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut all = sessions(2);
        let name = ObjectName::new("trading", "route-000001");
        let mut large = (*all[&name]).clone();
        // Far beyond what an API server takes: a hold time of half a MiB.
        large.object.hold_timeout = Some("1".repeat(PLAIN_BYTES_MAX));
        let table = published(all.clone(), 77).table.clone();
        all.insert(name.clone(), Arc::new(large));
        let published = Arc::new(Published {
            table,
            sessions: Arc::new(all),
        });
        let excess = encode(&published, &mut Memo::default()).unwrap_err();
        assert_eq!(excess, Excess::Session(name));
    }
}
