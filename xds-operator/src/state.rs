//! What outlives a restart of the control plane on one machine? The last accepted table and the objects that it was
//! made of, as one file in the state directory.
//!
//! Written whole or not at all (temporary file, fsync, rename), checked whole when read. One process at a time.
//!
//! INVARIANT: what is loaded is what was saved, byte for byte, or it is refused; it is never repaired or guessed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fixgw_core::table::{LoadError, Table};
use serde::{Deserialize, Serialize};

use crate::api::FIXSessionSpec;
use crate::pipeline::Saved;
use crate::pipeline::resolve::Endpoints;
use crate::world::{EndpointSlice, Located, ObjectName, Objects, Place, Service};

/// First eight bytes of the file.
pub const MAGIC: [u8; 8] = *b"FIXGWST1";
/// Version of the layout.
pub const FORMAT: u32 = 1;
/// Name of the file.
pub const FILE: &str = "accepted.state";
/// Name of the file that says who uses the directory.
pub const LOCK: &str = "lock";
/// Bytes of the file: the largest table, and five times as much for its objects.
pub const BYTES_MAX: u64 = 576 * 1024 * 1024;

/// Bytes before the objects: magic (8), format (4), zero (4), bytes of the objects (8), checksum (8).
const HEADER_BYTES: usize = 32;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Not to be written.
    #[error(
        "the state directory `{path}` cannot be written ({}); give the gateway's user the right to write there, \
         or choose another with `--state-dir`", source.kind()
    )]
    Unwritable {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody else's.
    #[error(
        "the state directory `{0}` is in use by another `fixgw`; stop that one, or choose another with `--state-dir`"
    )]
    InUse(String),
    /// Not to be read.
    #[error("the state file `{path}` cannot be read ({}); give the gateway's user the right to read it", source.kind())]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Changed since it was written.
    #[error(
        "the state file `{path}` is damaged ({what}); it was set aside with the ending `.refused`, and the directory of \
         FIXSessions counts alone"
    )]
    Damaged {
        /// Which.
        path: String,
        /// How.
        what: String,
    },
    /// Written by another release.
    #[error(
        "the state file `{path}` was written by a release that this one does not understand (format {format}); it was \
         set aside with the ending `.refused`, and the directory of FIXSessions counts alone"
    )]
    Format {
        /// Which.
        path: String,
        /// What was found.
        format: u32,
    },
}

/// The objects as they are written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    /// The directory that the files of the origins lie in, as it was called then.
    directory: String,
    sessions: Vec<(ObjectName, Arc<Located<FIXSessionSpec>>)>,
    services: Vec<(ObjectName, Arc<Located<Service>>)>,
    slices: Vec<(ObjectName, Arc<Located<EndpointSlice>>)>,
}

/// Where the state of a directory of objects is kept if nobody says.
#[must_use]
pub fn directory_for(directory: &Path) -> PathBuf {
    let home = |rest: &str| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(rest));
    let base = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| home(".local/state"))
        .unwrap_or_else(std::env::temp_dir);
    let directory = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    let name = directory.to_string_lossy().replace('/', "-");
    base.join("fix-gateway").join(name.trim_start_matches('-'))
}

/// A state directory in use by this process.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    /// Holds the lock as long as it is open.
    _lock: File,
}

impl StateDirectory {
    /// Creates it if need be, and takes it for this process.
    ///
    /// # Errors
    /// When it cannot be written, or another process has it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let shown = || path.display().to_string();
        let unwritable = |source| StateError::Unwritable {
            path: shown(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unwritable)?;
        let lock = private().open(path.join(LOCK)).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse(shown())),
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        // The right to write into the directory is wanted now, not at the first change.
        let probe = path.join(format!("{FILE}.new"));
        private()
            .open(&probe)
            .and_then(|_| fs::remove_file(&probe))
            .map_err(unwritable)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// What was saved last; `None` when nothing was. `directory` is what the files' directory is called now.
    ///
    /// A file that is refused is set aside, so that the next start finds none and people can look at it.
    ///
    /// # Errors
    /// When the file is there and is not what was saved.
    pub fn load(&self, directory: &str) -> Result<Option<Saved>, StateError> {
        let path = self.path.join(FILE);
        let shown = path.display().to_string();
        let mut bytes = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) => decode(&bytes, directory, &shown)
                .map(Some)
                .inspect_err(|_| {
                    // Should that fail too, the next save replaces it; nothing is lost that could be used.
                    let _ = fs::rename(&path, self.path.join(format!("{FILE}.refused")));
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Unreadable {
                path: shown,
                source,
            }),
        }
    }

    /// Puts this in the place of what was saved before. When it returns, it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written; what was saved before is still there.
    pub fn save(&self, saved: &Saved, directory: &str) -> Result<(), StateError> {
        let unwritable = |source| StateError::Unwritable {
            path: self.path.display().to_string(),
            source,
        };
        let bytes = encode(saved, directory).map_err(unwritable)?;
        let new = self.path.join(format!("{FILE}.new"));
        let write = || {
            let mut file = private().truncate(true).open(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, self.path.join(FILE))?;
            // The rename itself is on the disk when the directory is.
            File::open(&self.path)?.sync_all()
        };
        write().map_err(unwritable)
    }
}

/// Rules may hold values that are redacted elsewhere, so only the owner reads the file.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options
}

fn encode(saved: &Saved, directory: &str) -> io::Result<Vec<u8>> {
    let content = Content {
        directory: directory.to_owned(),
        sessions: entries(&saved.sessions),
        services: entries(&saved.endpoints.services),
        slices: entries(&saved.endpoints.slices),
    };
    let objects = serde_json::to_vec(&content)?;
    let image = saved.table.image();
    let mut body = Vec::with_capacity(HEADER_BYTES + objects.len() + image.len());
    body.extend_from_slice(&MAGIC);
    body.extend_from_slice(&FORMAT.to_le_bytes());
    body.extend_from_slice(&0_u32.to_le_bytes());
    body.extend_from_slice(&(objects.len() as u64).to_le_bytes());
    body.extend_from_slice(&checksum(&objects, image).to_le_bytes());
    body.extend_from_slice(&objects);
    body.extend_from_slice(image);
    Ok(body)
}

fn decode(bytes: &[u8], directory: &str, shown: &str) -> Result<Saved, StateError> {
    let damaged = |what: &str| StateError::Damaged {
        path: shown.to_owned(),
        what: what.to_owned(),
    };
    if bytes.get(..8) != Some(&MAGIC) {
        return Err(damaged("it does not begin as one"));
    }
    let format = bytes
        .get(8..12)
        .and_then(|word| word.try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or_else(|| damaged("it ends too early"))?;
    if format != FORMAT {
        return Err(StateError::Format {
            path: shown.to_owned(),
            format,
        });
    }
    let word = |at: usize| {
        let word = bytes.get(at..at + 8)?;
        word.try_into().ok().map(u64::from_le_bytes)
    };
    let (objects, image, stated) = word(16)
        .zip(word(24))
        .and_then(|(length, stated)| {
            let rest = bytes.get(HEADER_BYTES..)?;
            let (objects, image) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((objects, image, stated))
        })
        .ok_or_else(|| damaged("it ends too early"))?;
    if checksum(objects, image) != stated {
        return Err(damaged("its checksum is another"));
    }
    let mut content: Content =
        serde_json::from_slice(objects).map_err(|_| damaged("its objects cannot be read"))?;
    let table = Table::load(image.to_vec()).map_err(|error| match error {
        LoadError::Format(format) => StateError::Format {
            path: shown.to_owned(),
            format,
        },
        LoadError::Magic | LoadError::Bounds | LoadError::Checksum => damaged(&error.to_string()),
    })?;
    rebase(&mut content, directory);
    Ok(Saved {
        table,
        sessions: Arc::new(content.sessions.into_iter().collect()),
        endpoints: Endpoints {
            services: content.services.into_iter().collect(),
            slices: content.slices.into_iter().collect(),
            extra: Vec::new(),
            place: Place::Directory,
        },
    })
}

fn entries<T>(objects: &Objects<T>) -> Vec<(ObjectName, Arc<Located<T>>)> {
    objects
        .iter()
        .map(|(name, object)| (name.clone(), object.clone()))
        .collect()
}

/// The same directory may be called `rules` today and `./rules` tomorrow; its files must be known again.
fn rebase(content: &mut Content, directory: &str) {
    let Content {
        directory: before,
        sessions,
        services,
        slices,
    } = content;
    if before == directory {
        return;
    }
    moved(sessions, before, directory);
    moved(services, before, directory);
    moved(slices, before, directory);
}

fn moved<T: Clone>(objects: &mut [(ObjectName, Arc<Located<T>>)], before: &str, now: &str) {
    for (_, object) in objects {
        if let Some(origin) = &mut Arc::make_mut(object).origin
            && let Some(rest) = origin.file.strip_prefix(before)
        {
            origin.file = format!("{now}{rest}").into();
        }
    }
}

fn checksum(objects: &[u8], image: &[u8]) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(&(objects.len() as u64).to_le_bytes());
    hash.update(objects);
    hash.update(image);
    hash.digest()
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use crate::pipeline::Pipeline;
    use crate::pipeline::hold::ConflictPolicy;
    use crate::pipeline::settle::Times;
    use crate::source::directory::Directory;

    const ROUTE: &str = "apiVersion: fixgateway.io/v1alpha1
kind: FIXSession
metadata: { name: a, namespace: t }
spec:
  matchFields: { SenderCompID49: { value: A } }
  target: { service: { name: engine, port: 1 } }
";

    fn saved(directory: &Path) -> Saved {
        fs::write(directory.join("a.yaml"), ROUTE).unwrap();
        let mut directory = Directory::open(directory, Vec::new()).unwrap();
        let mut pipeline = Pipeline::new(Times::default(), ConflictPolicy::default(), None);
        pipeline.observe(&directory.read(), 0);
        pipeline.advance(1_000, 77).saved.unwrap()
    }

    #[test]
    fn what_is_loaded_is_what_was_saved() {
        let rules = tempfile::tempdir().unwrap();
        let home = tempfile::tempdir().unwrap();
        let saved = saved(rules.path());
        let state = StateDirectory::open(&home.path().join("deep/er")).unwrap();
        assert!(state.load("x").unwrap().is_none());
        state.save(&saved, "x").unwrap();
        state.save(&saved, "x").unwrap();
        let loaded = state.load("x").unwrap().unwrap();
        assert_eq!(loaded.sessions, saved.sessions);
        assert_eq!(loaded.table.image(), saved.table.image());
        assert_eq!(loaded.table.revision(), 77);
    }

    #[test]
    fn any_changed_or_missing_byte_is_refused() {
        let rules = tempfile::tempdir().unwrap();
        let bytes = encode(&saved(rules.path()), "x").unwrap();
        // Bytes 12 to 16 mean nothing yet.
        for at in (0..bytes.len()).filter(|at| !(12..16).contains(at)) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x20;
            assert!(decode(&bad, "x", "f").is_err(), "byte {at}");
        }
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end], "x", "f").is_err(), "cut at {end}");
        }
        let mut newer = bytes;
        newer[8] = 9;
        let error = decode(&newer, "x", "f").unwrap_err().to_string();
        assert!(error.contains("format 9"), "{error}");
    }

    #[test]
    fn a_file_that_is_refused_is_set_aside_and_the_next_start_finds_none() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(home.path()).unwrap();
        fs::write(home.path().join(FILE), "not a state").unwrap();
        let error = state.load("x").unwrap_err().to_string();
        assert!(
            error.contains("is damaged") && error.contains(".refused"),
            "{error}"
        );
        assert!(state.load("x").unwrap().is_none());
        assert!(home.path().join(format!("{FILE}.refused")).exists());
    }

    #[test]
    fn a_directory_that_is_called_otherwise_now_is_known_again() {
        let rules = tempfile::tempdir().unwrap();
        let saved = saved(rules.path());
        let before = rules.path().display().to_string();
        let bytes = encode(&saved, &before).unwrap();
        let loaded = decode(&bytes, "./rules", "f").unwrap();
        let session = loaded.sessions.values().next().unwrap();
        assert_eq!(&*session.origin.as_ref().unwrap().file, "./rules/a.yaml");
    }

    #[test]
    fn a_second_process_is_told_so_and_a_file_in_the_way_too() {
        let home = tempfile::tempdir().unwrap();
        let _first = StateDirectory::open(home.path()).unwrap();
        let error = StateDirectory::open(home.path()).unwrap_err().to_string();
        assert!(error.contains("in use by another"), "{error}");
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let error = StateDirectory::open(&file.join("x"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot be written"), "{error}");
    }
}
