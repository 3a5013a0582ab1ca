//! Which files does the repository hold?

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the repository that is being tested: asked for when the test runs, because checkouts can share what was built.
#[must_use]
pub fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&package)
        .ancestors()
        .nth(2)
        .expect("the crate lies two levels deep")
        .to_owned()
}

/// Every file that is tracked, or new and not ignored, relative to the top; sorted.
#[must_use]
pub fn all() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut files: Vec<PathBuf> = String::from_utf8(output.stdout)
        .expect("file names are UTF-8")
        .split_terminator('\0')
        .map(PathBuf::from)
        // One that is deleted and not yet committed is still listed.
        .filter(|file| root().join(file).is_file())
        .collect();
    files.sort();
    files.dedup();
    assert!(!files.is_empty(), "the repository holds no file");
    files
}

/// The files under `directory` whose names end in `.extension`.
#[must_use]
pub fn under(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut files = all();
    files.retain(|file| {
        file.starts_with(directory) && file.extension().is_some_and(|found| found == extension)
    });
    files
}

/// The text of one file; `None` if it is not text.
#[must_use]
pub fn text(file: &Path) -> Option<String> {
    String::from_utf8(std::fs::read(root().join(file)).expect("a listed file can be read")).ok()
}
