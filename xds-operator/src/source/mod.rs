//! Where do objects come from? Reading happens here and nowhere else in the front half of the control plane.
//!
//! [`yaml`] is pure (text → objects with their places), [`directory`] does the I/O, and [`once`] for commands that look once.
//! [`kubernetes`] follows an API server.

pub mod directory;
pub mod kubernetes;
pub mod node;
pub mod once;
pub mod yaml;
