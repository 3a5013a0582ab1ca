//! Does the code keep to the arrows of docs/ARCHITECTURE.md?
//!
//! Each rule carries the sentence that says it there; a rule whose sentence is gone from the document fails, so the two cannot drift apart.

use std::collections::BTreeSet;
use std::path::Path;

use fixgw_repo_tests::crates::Crates;
use fixgw_repo_tests::{files, paths};

use crate::none;

/// What one of our crates may be built from.
struct CrateRule {
    sentence: &'static str,
    name: &'static str,
    platform: &'static str,
    /// Of our own crates, these.
    ours: &'static [&'static str],
    /// Of others, none whose name begins so, however deep.
    never: &'static [&'static str],
}

const NATIVE: &str = "x86_64-unknown-linux-gnu";
const WASM: &str = "wasm32-unknown-unknown";

const CRATE_RULES: &[CrateRule] = &[
    CrateRule {
        sentence: "`fixgw-core` depends on no other crate of ours, and on nothing that does I/O.",
        name: "fixgw-core",
        platform: NATIVE,
        ours: &[],
        never: &[
            "tokio",
            "mio",
            "socket2",
            "rustix",
            "libc",
            "tonic",
            "hyper",
            "kube",
            "opentelemetry",
            "proxy-wasm",
            "notify",
            "getrandom",
        ],
    },
    CrateRule {
        sentence: "`fixgw-filter` depends on `fixgw-core` alone of ours, and never on an async runtime, a gRPC or Kubernetes library, or telemetry.",
        name: "fixgw-filter",
        platform: WASM,
        ours: &["fixgw-core"],
        never: &[
            "tokio",
            "mio",
            "socket2",
            "tonic",
            "hyper",
            "h2",
            "kube",
            "k8s-openapi",
            "opentelemetry",
            "envoy-types",
            "getrandom",
            "wasm-bindgen",
            "js-sys",
        ],
    },
    CrateRule {
        sentence: "`fixgw-reject-engine` depends on `fixgw-core` alone of ours.",
        name: "fixgw-reject-engine",
        platform: NATIVE,
        ours: &["fixgw-core"],
        never: &["tonic", "kube", "k8s-openapi", "envoy-types", "proxy-wasm"],
    },
    CrateRule {
        sentence: "`fixgw-operator` depends on `fixgw-core` alone of ours: it starts the other parts as programs.",
        name: "fixgw-operator",
        platform: NATIVE,
        ours: &["fixgw-core"],
        never: &["proxy-wasm"],
    },
    CrateRule {
        sentence: "`fixgw-fuzz` depends on `fixgw-core`, `fixgw-operator` and `fixgw-readings` of ours; libFuzzer comes in by a feature that nothing else asks for.",
        name: "fixgw-fuzz",
        platform: NATIVE,
        ours: &["fixgw-core", "fixgw-operator", "fixgw-readings"],
        never: &["proxy-wasm", "libfuzzer-sys"],
    },
    CrateRule {
        sentence: "`fixgw-bench` depends on `fixgw-e2e` alone of ours: it measures programs from outside.",
        name: "fixgw-bench",
        platform: NATIVE,
        ours: &["fixgw-e2e"],
        never: &["proxy-wasm"],
    },
    CrateRule {
        sentence: "`fixgw-readings`, the second opinion of the tests, depends on no other crate: it shares no code with the core.",
        name: "fixgw-readings",
        platform: NATIVE,
        ours: &[],
        never: &[""],
    },
];

/// What modules may not name. A path is meant with all that lies below it.
struct ModuleRule {
    sentence: &'static str,
    /// The crate's sources.
    sources: &'static str,
    /// The modules that the rule is about; empty: all of them.
    modules: &'static [&'static str],
    /// The modules among them that it is not about.
    but: &'static [&'static str],
    /// Paths that begin so.
    never: &'static [&'static str],
    /// Paths that end so, for what is called by a shorter name after an import.
    never_ending: &'static [&'static str],
}

/// Everything that does I/O, waits, or reads a clock.
const IMPURE: &[&str] = &[
    "tokio",
    "tokio_stream",
    "tonic",
    "notify",
    "rustix",
    "socket2",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "crate::wait",
];
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now"];

const MODULE_RULES: &[ModuleRule] = &[
    ModuleRule {
        sentence: "The stages of the pipeline and what speaks the protocols (`api`, `tcp_timeout`, `certificate`, `world`, `pipeline`, `xds::session`, `xds::rollout`, `xds::resources`, `receive::decision`, `receive::vms`, `receive::sessions`, `receive::fleet`, `receive::lag`, `receive::aside`, `kubernetes::table::encoding`, `kubernetes::lease::machine`, `status` but for its two ends) are pure: no I/O, no waiting, no clock.",
        sources: "xds-operator/src",
        modules: &[
            "api",
            "tcp_timeout",
            "certificate",
            "world",
            "pipeline",
            "xds::session",
            "xds::rollout",
            "xds::resources",
            "receive::decision",
            "receive::vms",
            "receive::sessions",
            "receive::fleet",
            "receive::lag",
            "receive::aside",
            "kubernetes::table::encoding",
            "kubernetes::lease::machine",
            "status",
        ],
        but: &["status::socket", "status::ask"],
        never: IMPURE,
        never_ending: CLOCKS,
    },
    ModuleRule {
        sentence: "Nothing but `main`, the commands (`up`, `control`, `operator`, `gateway`, `status::ask`, `check`, `explain`, `diff`), `serving` and the other ends names an end that does I/O (`source`, `kubernetes`, `state`, `probes`, `status::socket`, `receive::logs`, `receive::report`, `receive::peers`, `xds::server`).",
        sources: "xds-operator/src",
        modules: &[],
        but: &[
            "",
            "up",
            "control",
            "operator",
            "gateway",
            "serving",
            "kubernetes",
            "probes",
            "status::ask",
            "status::socket",
            "check",
            "explain",
            "diff",
            "cli",
            "source",
            "state",
            "receive",
            "xds::server",
        ],
        never: &[
            "crate::source",
            "crate::kubernetes",
            "crate::state",
            "crate::probes",
            "crate::status::socket",
            "crate::receive::logs",
            "crate::receive::report",
            "crate::receive::peers",
            "crate::xds::server",
        ],
        never_ending: &[],
    },
    ModuleRule {
        sentence: "`fixgw-core` reads no clock and names nothing of `std`.",
        sources: "filter/core/src",
        modules: &[],
        but: &[],
        never: &["std"],
        never_ending: CLOCKS,
    },
    ModuleRule {
        sentence: "One module of the filter, `host`, talks to the host.",
        sources: "filter/src",
        modules: &[],
        but: &["host"],
        never: &["proxy_wasm::hostcalls"],
        never_ending: &[],
    },
];

/// A field's value leaves its type only here; who else formats one goes through redaction.
const REVEAL_SENTENCE: &str = "`FieldValue::reveal` is called in `fixgw-core`, in `fixgw parse` and where the reject engine writes its Logout, nowhere else.";
const REVEAL_IN: &[&str] = &[
    "filter/core/src",
    "xds-operator/src/parse",
    "reject-engine/src/logout",
];

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl ModuleRule {
    fn is_about(&self, module: &str) -> bool {
        let is_any = |modules: &[&str]| {
            modules.iter().any(|above| {
                if above.is_empty() {
                    module.is_empty()
                } else {
                    is_below(module, above)
                }
            })
        };
        (self.modules.is_empty() || is_any(self.modules)) && !is_any(self.but)
    }

    fn broken_by(&self, path: &str) -> bool {
        self.never.iter().any(|never| is_below(path, never))
            || self
                .never_ending
                .iter()
                .any(|never| path == *never || path.ends_with(&format!("::{never}")))
    }
}

/// A module of tests, as its file's name says.
fn is_test_module(module: &[String]) -> bool {
    module
        .iter()
        .any(|segment| segment == "tests" || segment.ends_with("_tests"))
}

#[test]
fn crates_depend_on_what_they_may() {
    let mut found = Vec::new();
    for rule in CRATE_RULES {
        let crates = Crates::for_platform(rule.platform);
        for other in crates.direct(rule.name) {
            if other.ours && !rule.ours.contains(&other.name.as_str()) {
                found.push(format!("{} → {}: {}", rule.name, other.name, rule.sentence));
            }
        }
        for behind in crates.behind(rule.name) {
            if rule
                .never
                .iter()
                .any(|never| behind.name.starts_with(never))
            {
                found.push(format!(
                    "{} → … → {}: {}",
                    rule.name, behind.name, rule.sentence
                ));
            }
        }
    }
    none(&found, "arrows between crates that must not be");
}

#[test]
fn every_crate_of_the_product_has_a_rule() {
    let crates = Crates::for_platform(NATIVE);
    let ours: BTreeSet<&str> = crates
        .iter()
        .filter(|found| found.ours)
        .map(|found| found.name.as_str())
        .collect();
    let ruled: BTreeSet<&str> = CRATE_RULES
        .iter()
        .map(|rule| rule.name)
        .chain(["fixgw-e2e", "fixgw-repo-tests"])
        .collect();
    assert_eq!(
        ours, ruled,
        "left: the workspace, right: the rules; a new crate needs a rule, and a decision record"
    );
}

#[test]
fn modules_name_what_they_may() {
    let mut found = Vec::new();
    for rule in MODULE_RULES {
        let mut seen = BTreeSet::new();
        for file in files::under(rule.sources, "rs") {
            let segments = paths::module(&file, rule.sources);
            let module = segments.join("::");
            if !rule.is_about(&module) || is_test_module(&segments) {
                continue;
            }
            seen.insert(module);
            for path in paths::of_file(&file, rule.sources)
                .paths
                .iter()
                .filter(|path| rule.broken_by(path))
            {
                found.push(format!(
                    "{} names `{path}`: {}",
                    file.display(),
                    rule.sentence
                ));
            }
        }
        for named in rule
            .modules
            .iter()
            .filter(|named| !seen.iter().any(|module| is_below(module, named)))
        {
            found.push(format!(
                "there is no module `{named}` in {} any more: {}",
                rule.sources, rule.sentence
            ));
        }
    }
    none(&found, "arrows between modules that must not be");
}

#[test]
fn values_are_revealed_where_they_may() {
    let mut found = Vec::new();
    for sources in [
        "filter/core/src",
        "filter/src",
        "xds-operator/src",
        "reject-engine/src",
    ] {
        for file in files::under(sources, "rs") {
            if is_test_module(&paths::module(&file, sources)) || may_reveal(&file) {
                continue;
            }
            let named = paths::of_file(&file, sources);
            if named.methods.iter().any(|method| method == "reveal")
                || named
                    .paths
                    .iter()
                    .any(|path| path.ends_with("FieldValue::reveal"))
            {
                found.push(format!("{}: {REVEAL_SENTENCE}", file.display()));
            }
        }
    }
    none(&found, "values that leave their type");
}

fn may_reveal(file: &Path) -> bool {
    let file = file.to_str().expect("file names are UTF-8");
    REVEAL_IN.iter().any(|place| {
        file.strip_prefix(place)
            .is_some_and(|rest| rest.starts_with(['/', '.', '_']))
    })
}

#[test]
fn the_rules_are_those_of_the_document() {
    let document = files::text("docs/ARCHITECTURE.md".as_ref()).expect("the document is text");
    // Its lines may be broken anywhere.
    let document = document.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentences = CRATE_RULES
        .iter()
        .map(|rule| rule.sentence)
        .chain(MODULE_RULES.iter().map(|rule| rule.sentence))
        .chain([REVEAL_SENTENCE]);
    let found: Vec<String> = sentences
        .filter(|sentence| !document.contains(sentence))
        .map(str::to_owned)
        .collect();
    none(&found, "sentences that docs/ARCHITECTURE.md should hold");
}

#[test]
fn rules_can_be_broken() {
    let pure = &MODULE_RULES[0];
    assert!(
        pure.is_about("xds::session")
            && pure.is_about("pipeline::settle")
            && !pure.is_about("xds::server")
    );
    assert!(
        pure.broken_by("tokio::spawn")
            && pure.broken_by("std::fs")
            && pure.broken_by("std::time::Instant::now")
    );
    assert!(!pure.broken_by("tokio_util::x") && !pure.broken_by("std::net::SocketAddr"));
    let ends = &MODULE_RULES[1];
    assert!(
        ends.is_about("pipeline")
            && !ends.is_about("")
            && !ends.is_about("up")
            && ends.broken_by("crate::source::directory")
    );
    assert!(
        may_reveal("xds-operator/src/parse/mod.rs".as_ref())
            && !may_reveal("xds-operator/src/parser.rs".as_ref())
    );
}
