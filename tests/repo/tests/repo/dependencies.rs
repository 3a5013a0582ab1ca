//! Which crates may be built in, under which licences?

use fixgw_repo_tests::crates::Crates;

use crate::none;

/// Two versions of these would not understand each other's types, or would each bring a protocol stack of their own.
const ONE_VERSION: &[&str] = &[
    "tonic",
    "prost",
    "rustls",
    "k8s-openapi",
    "tokio",
    "hyper",
    "h2",
    "envoy-types",
];

/// Cryptography comes from one place, without a C library of the system.
const NEVER: &[&str] = &["aws-lc", "openssl", "native-tls"];
/// It only looks for the system's certificates.
const HARMLESS: &str = "openssl-probe";

/// Two versions of others cost only size, as long as somebody has looked: the crate, and who keeps the older one.
const TWICE: &[(&str, &str)] = &[
    ("base64", "serde-saphyr is ahead of the rest"),
    ("getrandom", "ring is behind the rest"),
    ("hashbrown", "indexmap and wasmparser are not in step"),
    ("syn", "derive macros move to version 3 one by one"),
];

/// Licences that an Apache-2.0 product may be built with.
const LICENSES: &[&str] = &[
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // For data: Mozilla's list of certificate authorities, which comes with the Kubernetes client on some platforms.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[test]
fn the_crates_that_must_agree_have_one_version() {
    let crates = Crates::for_every_platform();
    let versions = crates.versions();
    let found: Vec<String> = ONE_VERSION
        .iter()
        .filter_map(|name| {
            versions
                .get(name)
                .filter(|versions| versions.len() > 1)
                .map(|versions| format!("{name}: {versions:?}"))
        })
        .collect();
    none(&found, "more than one version");
}

#[test]
fn no_cryptography_of_the_system_is_built_in() {
    let found: Vec<String> = Crates::for_every_platform()
        .iter()
        .filter(|found| found.name != HARMLESS)
        .filter(|found| NEVER.iter().any(|never| found.name.starts_with(never)))
        .map(|found| format!("{} {}", found.name, found.version))
        .collect();
    none(&found, "not to be built in");
}

#[test]
fn crates_that_are_there_twice_are_known() {
    let crates = Crates::for_platform("x86_64-unknown-linux-gnu");
    let versions = crates.versions();
    let unknown = versions
        .iter()
        .filter(|(name, versions)| {
            versions.len() > 1 && !TWICE.iter().any(|(known, _)| known == *name)
        })
        .map(|(name, versions)| format!("{name} is there twice: {versions:?}"));
    let gone = TWICE
        .iter()
        .filter(|(name, _)| versions.get(name).is_none_or(|versions| versions.len() < 2))
        .map(|(name, _)| format!("{name} is there once by now: take it off the list"));
    let found: Vec<String> = unknown.chain(gone).collect();
    none(&found, "duplicates");
}

#[test]
fn licences_are_allowed() {
    let found: Vec<String> = Crates::for_every_platform()
        .iter()
        .filter(|found| !found.license.as_deref().is_some_and(is_allowed))
        .map(|found| format!("{} {}: {:?}", found.name, found.version, found.license))
        .collect();
    none(&found, "licences that are not on the list");
}

#[test]
fn licence_expressions_are_understood() {
    for allowed in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "(MIT OR GPL-3.0-only) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["GPL-3.0-only", "MIT AND AGPL-3.0-only", "no licence", ""] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

fn is_allowed(license: &str) -> bool {
    // Lax: `MIT/Apache-2.0` is how older crates write OR.
    spdx::Expression::parse_mode(license, spdx::ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|requirement| {
            requirement
                .license
                .id()
                .is_some_and(|id| LICENSES.contains(&id.name))
        })
    })
}
