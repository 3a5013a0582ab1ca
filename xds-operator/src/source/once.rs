//! What do these directories and files say, and standard input? For the commands that look once and end.
//!
//! INVARIANT: the bounds of one directory hold for all of it together.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::{self, DirectoryError, Pass};
use crate::message::printable;
use crate::world::{ExtraEndpoint, World};

/// How messages name standard input.
pub const STDIN: &str = "stdin";

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// A directory that cannot be read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Neither directory nor file.
    #[error("there is no directory or file `{0}`")]
    Missing(String),
    /// Standard input, twice.
    #[error("standard input can be read once; give `-` once")]
    StdinTwice,
    /// There, but.
    #[error("`{path}` cannot be read ({})", source.kind())]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// All of it.
    pub world: World,
    /// The paths, as messages name them.
    pub shown: String,
}

/// Reads all of them; `-` is standard input.
///
/// # Errors
/// When one of them cannot be read as a whole. A file within a directory is a fault of the World.
pub fn read(paths: &[PathBuf], extra: Vec<ExtraEndpoint>) -> Result<Read, OnceError> {
    if paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(OnceError::StdinTwice);
    }
    let mut pass = Pass::default();
    let mut contents = Vec::new();
    for path in paths {
        let shown = shown(path);
        let unreadable = |source| OnceError::Unreadable {
            path: shown.clone(),
            source,
        };
        if path.as_os_str() == "-" {
            let content = directory::read_text(io::stdin().lock(), &STDIN.into());
            contents.push(Arc::new(content.map_err(unreadable)?));
            continue;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                fs::read_dir(path).map_err(unreadable)?;
                pass.directory(path, &shown);
            }
            // Whatever can be read as one: a pipe of the shell, too.
            Ok(metadata) => {
                fs::File::open(path).map_err(unreadable)?;
                pass.file(path, &shown, metadata);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(OnceError::Missing(shown));
            }
            Err(error) => return Err(unreadable(error)),
        }
    }
    let all = paths.iter().map(|path| shown(path)).collect::<Vec<_>>();
    let all = all.join(" ");
    for (path, shown, _) in pass.within_bounds(&all) {
        let read = fs::File::open(&path).and_then(|file| directory::read_text(file, &shown));
        let content = read.unwrap_or_else(|error| directory::unreadable(&shown, &error));
        contents.push(Arc::new(content));
    }
    let world = directory::gather(&contents, pass.faults, extra, None, &all);
    Ok(Read { world, shown: all })
}

/// As the person gave it.
fn shown(path: &Path) -> String {
    let shown = printable(&path.display().to_string());
    if shown == "-" {
        return STDIN.to_owned();
    }
    match shown.trim_end_matches('/') {
        "" => shown,
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_as_it_was_given() {
        for (given, wanted) in [
            ("rules/", "rules"),
            ("/", "/"),
            ("-", "stdin"),
            ("a.yaml", "a.yaml"),
        ] {
            assert_eq!(shown(Path::new(given)), wanted);
        }
    }

    #[test]
    fn a_file_that_is_given_twice_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        let session = "apiVersion: fixgateway.io/v1alpha1\nkind: FIXSession\nmetadata: { name: a }\n\
                       spec: { default: true, priority: 1, target: { service: { name: s, port: 1 } } }\n";
        fs::write(&file, session).unwrap();
        let world = read(&[directory.path().to_owned(), file], Vec::new())
            .unwrap()
            .world;
        assert_eq!(world.rules.sessions.len(), 1);
        assert_eq!(world.rules.faults.list, []);
    }
}
