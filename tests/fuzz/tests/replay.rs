//! Do the laws of the fuzz targets hold for every file of the corpus, and for files that are a little different?
//!
//! No fuzzer here: the same changes in every run. `FIXGW_FUZZ_CHANGES` asks for more of them, each time the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

use fixgw_fuzz::{Mutator, TARGETS, Target};

/// Says which bytes they were when a law is broken.
struct Running<'b> {
    target: &'static str,
    what: String,
    bytes: &'b [u8],
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "{}, {}: b\"{}\"",
                self.target,
                self.what,
                self.bytes.escape_ascii()
            );
        }
    }
}

fn run(target: Target, what: String, bytes: &[u8]) {
    let _running = Running {
        target: target.name,
        what,
        bytes,
    };
    (target.run)(bytes);
}

fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).unwrap()
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let directory = Path::new(&package).join("corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn replay(name: &str) {
    let target = target(name);
    let files = corpus(name);
    assert!(files.len() >= 12, "the corpus of {name} has lost files");
    run(target, "no bytes".to_owned(), b"");
    for (path, bytes) in &files {
        run(target, path.display().to_string(), bytes);
    }
    let asked = std::env::var("FIXGW_FUZZ_CHANGES").ok();
    let changes = asked.map_or(target.changes, |text| text.parse().unwrap());
    let mut mutator = Mutator::new(1);
    for number in 0..changes {
        let mut bytes = files[mutator.below(files.len())].1.clone();
        let other = &files[mutator.below(files.len())].1;
        mutator.change(&mut bytes, other, target.words);
        run(target, format!("change {number}"), &bytes);
    }
}

#[test]
fn the_first_bytes_of_a_connection_are_read_alike_however_they_are_cut_and_show_no_secret() {
    replay("logon");
}

#[test]
fn a_logon_that_is_routed_is_so_in_every_reading() {
    replay("readings");
}

#[test]
fn an_image_is_refused_or_answers() {
    replay("table");
}

#[test]
fn a_file_of_the_directory_is_read_or_told_of() {
    replay("yaml");
}

#[test]
fn what_is_pasted_is_told_in_lines() {
    replay("parse");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let mut found: Vec<String> = fs::read_dir(Path::new(&package).join("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}
