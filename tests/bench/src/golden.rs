//! Is what is made the same as what was reviewed? `UPDATE=1` writes it anew.

use std::path::Path;

/// Compares with the file of this name under `testdata`.
pub(crate) fn check(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        return std::fs::write(&path, made).expect("the golden file can be written");
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(made, reviewed, "{name}: UPDATE=1 writes it anew");
}
