//! Does Envoy take the files of `envoy/` as they stand? (Other tests run edited copies; `tls.yaml` and `probes.yaml` are parts
//! that `tls` and `pod` test within one.)

use std::process::Command;

use fixgw_e2e::fixture::Directory;
use fixgw_e2e::tool;

/// Where the file says that the module is.
const MODULE: &str = "/etc/fixgw/fixgw_filter.wasm";

#[test]
fn each_file_is_valid_as_it_stands() {
    let files = std::fs::read_dir(tool::repository().join("envoy")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let whole: Vec<_> = paths
        .filter(|path| !path.ends_with("tls.yaml") && !path.ends_with("probes.yaml"))
        .collect();
    assert_eq!(whole.len(), 2, "{whole:?}");
    for path in whole {
        is_valid(&std::fs::read_to_string(path).unwrap());
    }
}

fn is_valid(bootstrap: &str) {
    assert_eq!(
        bootstrap.matches(MODULE).count(),
        1,
        "one place names the module"
    );
    let directory = Directory::new();
    directory.write(
        "gateway",
        &bootstrap.replace(MODULE, &tool::filter().display().to_string()),
    );
    let validation = Command::new(tool::envoy())
        .args(["--mode", "validate", "--log-level", "warning", "-c"])
        .arg(directory.file("gateway"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&validation.stderr);
    assert!(validation.status.success(), "{said}");
    // Deprecated or ignored settings are warnings.
    assert!(!said.contains("[warning]"), "{said}");
}
