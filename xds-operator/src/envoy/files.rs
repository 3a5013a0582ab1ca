//! Which files does an Envoy need, and how are they found, read and put into their places?

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::certificate::{Content, FILE_BYTES_MAX, Material};

/// A program by its path, or by its name on `PATH`.
#[must_use]
pub fn program(wanted: &Path) -> Option<PathBuf> {
    let executable = |path: &Path| {
        let mode = path.metadata().ok()?.permissions().mode();
        (mode & 0o111 != 0).then(|| existing(path)).flatten()
    };
    if wanted.components().count() > 1 {
        return executable(wanted);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(OsStr::new(&path))
        .find_map(|directory| executable(&directory.join(wanted)))
}

/// The filter's module at a path, if a WebAssembly module is there.
#[must_use]
pub fn module(path: &Path) -> Option<PathBuf> {
    existing(path).filter(|path| is_module(path))
}

/// The path of a file beside this program.
#[must_use]
pub fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().ok();
    own.as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."))
        .join(name)
}

fn existing(path: &Path) -> Option<PathBuf> {
    path.is_file().then(|| path.canonicalize().ok()).flatten()
}

/// Whether a file begins as a WebAssembly module does (core specification, "Modules", magic).
fn is_module(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut magic))
        .is_ok_and(|()| magic == *b"\0asm")
}

/// Puts a file into its place in one step, readable by this user alone.
///
/// # Errors
/// It cannot be written there.
pub fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut draft = NamedTempFile::new_in(directory)?;
    draft.write_all(bytes)?;
    draft.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What a look at the files of a certificate or client CA finds.
#[must_use]
pub fn contents(material: &Material) -> Vec<Content> {
    let files = material.files().into_iter();
    files
        .map(|path| read(path, FILE_BYTES_MAX as u64).map_err(|why| why.to_string()))
        .collect()
}

/// A file, and no more of it than shows that it has more than `bytes_max`.
///
/// # Errors
/// It is no file, or cannot be read.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // Before it is opened: the opening of a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    let limit = bytes_max.saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
