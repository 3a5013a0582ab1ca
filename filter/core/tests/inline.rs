//! Does the JSON that the documents show mean what they say?
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use fixgw_core::config::Settings;

#[test]
fn the_configuration_in_the_documents_is_taken_as_it_stands() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/existing-envoy.md");
    let document = std::fs::read_to_string(document).unwrap();
    let blocks: Vec<&str> = document
        .split("```json\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), 1);
    for block in blocks {
        let settings = Settings::parse(block.as_bytes()).unwrap();
        let table = settings.routes.unwrap().table().unwrap();
        assert_eq!(table.route_count(), 3);
        assert_eq!(settings.redact_tags, [58]);
    }
}
