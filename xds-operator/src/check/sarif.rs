//! What does a code review read? Findings as a SARIF log (OASIS, "Static Analysis Results Interchange Format (SARIF) Version
//! 2.1.0").
//!
//! The few objects that findings need are written here: the crate that has all of the format brings three versions of syn.

use std::collections::BTreeSet;

use fixgw_core::decision::Severity;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::message::{About, Message, Origin};
use crate::said::ShownWitness;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
const VERSION: &str = "2.1.0";

/// A log of one run (section 3.13).
#[derive(Debug, Serialize)]
pub(super) struct Log<'m> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'m>; 1],
}

/// Section 3.14. Columns count characters, as messages do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'m> {
    tool: Tool,
    column_kind: &'static str,
    results: Vec<Finding<'m>>,
}

#[derive(Debug, Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    short_description: Text,
}

#[derive(Debug, Serialize)]
struct Text {
    text: String,
}

/// Section 3.27.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding<'m> {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Text,
    locations: [Location<'m>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

/// Section 3.8: what the format has no place for.
#[derive(Debug, Serialize)]
struct Properties {
    witness: ShownWitness,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location<'m> {
    physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logical_locations: Vec<LogicalLocation<'m>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Debug, Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation<'m> {
    fully_qualified_name: &'m str,
    kind: &'static str,
}

/// Findings as a log.
pub(super) fn log<'m>(messages: &'m [Message], shown: &str, reveal: bool) -> Log<'m> {
    // Those that were broken.
    let rules: BTreeSet<About> = messages.iter().map(|message| message.about).collect();
    let rules: Vec<About> = rules.into_iter().collect();
    // A result without a place makes code hosts refuse the whole log: what is about the set stands where the first finding does.
    let first = messages.iter().find_map(|message| message.origin.clone());
    let nowhere = first.map_or_else(
        || Origin::file(shown.into()),
        |first| Origin::file(first.file),
    );
    let told = rules.iter().map(|about| Rule {
        id: about.label(),
        short_description: Text {
            text: about.describe().to_owned(),
        },
    });
    Log {
        schema: SCHEMA,
        version: VERSION,
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "fixgw",
                    semantic_version: env!("CARGO_PKG_VERSION"),
                    rules: told.collect(),
                },
            },
            column_kind: "unicodeCodePoints",
            results: messages
                .iter()
                .map(|message| finding(message, &rules, &nowhere, reveal))
                .collect(),
        }],
    }
}

fn finding<'m>(
    message: &'m Message,
    rules: &[About],
    nowhere: &Origin,
    reveal: bool,
) -> Finding<'m> {
    let object = message.object.as_deref();
    let mut text: Vec<&str> = object.into_iter().chain(message.field.as_deref()).collect();
    let said = message.text();
    text.push(&said);
    let is_it = |about: &About| *about == message.about;
    Finding {
        rule_id: message.about.label(),
        rule_index: rules.iter().position(is_it).unwrap_or_default(),
        level: level(message.severity),
        message: Text {
            text: text.join(": "),
        },
        locations: [location(message.origin.as_ref().unwrap_or(nowhere), object)],
        properties: message.witness.as_ref().map(|witness| Properties {
            witness: ShownWitness::new(witness, reveal),
        }),
    }
}

/// Section 3.27.10.
const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::Error => "error",
        Severity::Warn => "warning",
        Severity::Info | Severity::Debug => "note",
    }
}

fn location<'m>(origin: &Origin, object: Option<&'m str>) -> Location<'m> {
    Location {
        physical_location: PhysicalLocation {
            artifact_location: ArtifactLocation {
                uri: uri(&origin.file),
            },
            // A file as a whole is shown at its beginning.
            region: Region {
                start_line: origin.line.max(1),
                start_column: origin.column.max(1),
            },
        },
        logical_locations: object
            .map(|name| LogicalLocation {
                fully_qualified_name: name,
                kind: "object",
            })
            .into_iter()
            .collect(),
    }
}

/// A path as a URI reference (RFC 3986, section 4.2): what may not stand there as it is, and a colon, which would make a
/// scheme of what is before it, is percent-encoded.
fn uri(path: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    let path = path.strip_prefix("./").unwrap_or(path);
    utf8_percent_encode(path, KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_uri_reference() {
        for (path, wanted) in [
            ("./rules/a.yaml", "rules/a.yaml"),
            ("/tmp/a b.yaml", "/tmp/a%20b.yaml"),
            ("c:/é.yaml", "c%3A/%C3%A9.yaml"),
        ] {
            assert_eq!(uri(path), wanted);
        }
    }
}
