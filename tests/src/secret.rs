//! Does a secret stand anywhere in what was printed or written, in any of the ways it could be written?

use std::path::Path;

/// Every way in which `secret` could stand in an output: as it is, as hex, as base64 (at each of the three
/// offsets at which it can begin inside longer data).
#[must_use]
pub fn disguises(secret: &str) -> Vec<(String, Vec<u8>)> {
    let pairs: Vec<String> = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let hex = pairs.concat();
    let spaced = pairs.join(" ");
    let escaped = format!("\\x{}", pairs.join("\\x"));
    let decimal: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    let mut disguises = vec![
        ("text".to_owned(), secret.to_owned()),
        ("hex".to_owned(), hex.clone()),
        ("upper-case hex".to_owned(), hex.to_uppercase()),
        ("spaced hex".to_owned(), spaced),
        ("escaped hex".to_owned(), escaped),
        ("a list of bytes".to_owned(), decimal.join(", ")),
        ("a short list of bytes".to_owned(), decimal.join(",")),
    ];
    for offset in 0..3 {
        disguises.push((
            format!("base64 at offset {offset}"),
            base64_inner(secret.as_bytes(), offset),
        ));
    }
    disguises
        .into_iter()
        .map(|(name, text)| (name, text.into_bytes()))
        .collect()
}

/// The characters of base64 that do not depend on what stands before and after `bytes`.
fn base64_inner(bytes: &[u8], offset: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded: Vec<u8> = std::iter::repeat_n(0, offset)
        .chain(bytes.iter().copied())
        .collect();
    let bit = |index: usize| {
        padded
            .get(index / 8)
            .is_some_and(|byte| byte >> (7 - index % 8) & 1 == 1)
    };
    let first = (offset * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    (first..last)
        .map(|character| {
            (0..6).fold(0, |value, place| {
                value << 1 | usize::from(bit(character * 6 + place))
            })
        })
        .map(|value| char::from(ALPHABET[value]))
        .collect()
}

/// Fails if any of `secrets` stands in `output` in any disguise.
pub fn assert_absent(name: &str, output: &[u8], secrets: &[&str]) {
    for secret in secrets {
        for (disguise, needle) in disguises(secret) {
            assert!(
                !contains(output, &needle),
                "{name} holds the secret `{secret}` as {disguise}:\n{}",
                String::from_utf8_lossy(output)
            );
        }
    }
}

/// [`assert_absent`] for every file under a directory.
pub fn assert_absent_from_files(directory: &Path, secrets: &[&str]) {
    for entry in std::fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            assert_absent_from_files(&path, secrets);
        } else if path.is_file() {
            let bytes = std::fs::read(&path).expect("the file can be read");
            assert_absent(&path.display().to_string(), &bytes, secrets);
        }
    }
}

/// Whether `needle` stands in `haystack`.
#[must_use]
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}
