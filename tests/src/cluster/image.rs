//! What is in the images that pods are started from?
//!
//! No image is built for a test: a container sees the C library of this machine, and the files that its image is said to hold, at the
//! places where it is said to hold them. Nothing else, not even a shell.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::tool;

/// Files by their places in a container, and what it runs.
#[derive(Clone)]
pub struct Image {
    name: &'static str,
    pub(super) files: Vec<(PathBuf, PathBuf)>,
    pub(super) entrypoint: Vec<String>,
}

impl Image {
    /// An image whose repository ends with this name.
    #[must_use]
    pub fn new(name: &'static str, entrypoint: &[&str]) -> Self {
        Self {
            name,
            files: Vec::new(),
            entrypoint: entrypoint.iter().map(|&word| word.to_owned()).collect(),
        }
    }

    /// Holds a file or directory at this place.
    #[must_use]
    pub fn with(mut self, inside: impl Into<PathBuf>, here: impl Into<PathBuf>) -> Self {
        self.files.push((inside.into(), here.into()));
        self
    }

    /// The operator's.
    #[must_use]
    pub fn operator() -> Self {
        Self::new("operator", &["/usr/local/bin/fixgw"])
            .with("/usr/local/bin/fixgw", tool::program("fixgw"))
    }

    /// The gateway's: Envoy, the filter, and who writes Envoy's configuration.
    #[must_use]
    pub fn gateway() -> Self {
        Self::new("gateway", &["/usr/local/bin/fixgw"])
            .with("/usr/local/bin/fixgw", tool::program("fixgw"))
            .with("/usr/local/bin/envoy", tool::envoy())
            .with("/usr/local/lib/fixgw/fixgw_filter.wasm", tool::filter())
    }

    /// The reject engine's.
    #[must_use]
    pub fn reject_engine() -> Self {
        let program = "/usr/local/bin/fixgw-reject-engine";
        Self::new("reject-engine", &[program]).with(program, tool::program("fixgw-reject-engine"))
    }

    /// A QuickFIX engine, whose one argument are its settings ([`crate::peer::Peer::engine_settings`]).
    #[must_use]
    pub fn quickfix_engine() -> Self {
        let python = tool::python();
        let environment = python.parent().and_then(Path::parent).expect("DIR/bin");
        let script = tool::peer_script("engine.py");
        let words = [&python, Path::new("-u"), &script].map(|word| word.display().to_string());
        let peers = script.parent().expect("a script lies somewhere");
        let image = Self::new("quickfix-engine", &[])
            .with(environment, environment)
            .with(peers, peers);
        // That of Debian is in /usr/lib, as the C library is.
        let base = Command::new(&python)
            .args(["-c", "import sys; print(sys.base_prefix)"])
            .output()
            .expect("Python can be run");
        let base = String::from_utf8_lossy(&base.stdout).trim().to_owned();
        let image = if base == "/usr" {
            image
        } else {
            image.with(base.clone(), base)
        };
        Self {
            entrypoint: words.to_vec(),
            ..image
        }
    }

    /// Whether a container is made of it.
    pub(super) fn is_of(&self, container: &Value) -> bool {
        let image = container["image"].as_str().unwrap_or_default();
        let repository = image.split_once('@').map_or(image, |(before, _)| before);
        let repository = match repository.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => before,
            _ => repository,
        };
        repository
            .strip_suffix(self.name)
            .is_some_and(|before| before.is_empty() || before.ends_with(['/', '-']))
    }

    pub(super) fn name_length(&self) -> usize {
        self.name.len()
    }
}
