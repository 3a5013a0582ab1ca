//! What does the built filter ask of Envoy, and what does it offer?

use std::collections::BTreeSet;
use std::path::PathBuf;

use fixgw_repo_tests::files;
use wasmparser::{Parser, Payload};

/// The most that the filter may weigh: Envoy compiles it on its main thread, about 1 ms for each kilobyte.
const BYTES_MAX: usize = 500_000;

/// The host functions of the proxy-wasm ABI 0.2.1, in the module `env`, that Envoy 1.40 registers.
const ENVOY: &[&str] = &[
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_buffer_status",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_size",
    "proxy_get_header_map_value",
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_header_map_pairs",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
];

/// What Envoy offers of `wasi_snapshot_preview1`, files left out: a filter that opens files is not ours.
const WASI: &[&str] = &[
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_write",
    "proc_exit",
    "random_get",
];

/// The most that a worker's VM may use, in the 64 KiB pages of WebAssembly: `MEMORY_BYTES_MAX` of scripts/build-filter.
const MEMORY_PAGES_MAX: u64 = 512 * 1024 / 64;

/// What the module that fails on request says, and no other one.
const FAULT: &[u8] = b"the test build was asked to";

/// With it, every byte of an engine would pass through the VM.
const NEVER_EXPORTED: &str = "proxy_on_upstream_data";

struct Module {
    bytes: Vec<u8>,
    memory_pages_max: Option<u64>,
    imports: BTreeSet<(String, String)>,
    exports: BTreeSet<String>,
}

fn bytes_of(variable: &str, name: &str) -> Vec<u8> {
    let path = std::env::var_os(variable).map_or_else(
        || files::root().join("target/filter").join(name),
        PathBuf::from,
    );
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `scripts/build-filter` makes it",
            path.display()
        )
    })
}

fn built() -> Module {
    let bytes = bytes_of("FIXGW_FILTER_WASM", "fixgw_filter.wasm");
    let mut module = Module {
        bytes: bytes.clone(),
        memory_pages_max: None,
        imports: BTreeSet::new(),
        exports: BTreeSet::new(),
    };
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload.expect("the filter is a WebAssembly module") {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.expect("an import can be read");
                    module
                        .imports
                        .insert((import.module.to_owned(), import.name.to_owned()));
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    module.memory_pages_max = memory.expect("a memory can be read").maximum;
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    module
                        .exports
                        .insert(export.expect("an export can be read").name.to_owned());
                }
            }
            _ => {}
        }
    }
    module
}

/// The list that the linker keeps to.
fn wanted() -> BTreeSet<String> {
    files::text("scripts/filter-exports.txt".as_ref())
        .expect("the list is text")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_filter_imports_only_what_envoy_offers() {
    let module = built();
    assert!(
        !module.imports.is_empty(),
        "a filter that asks nothing of Envoy does nothing"
    );
    for (from, name) in &module.imports {
        let offered = match from.as_str() {
            "env" => ENVOY,
            "wasi_snapshot_preview1" => WASI,
            _ => &[],
        };
        assert!(
            offered.contains(&name.as_str()),
            "Envoy would refuse the filter: it imports `{from}.{name}`"
        );
    }
}

#[test]
fn the_filter_exports_what_the_list_says_and_nothing_else() {
    assert_eq!(
        built().exports,
        wanted(),
        "left: the module, right: scripts/filter-exports.txt"
    );
}

#[test]
fn the_bytes_of_engines_never_enter_the_filter() {
    assert!(
        !wanted().contains(NEVER_EXPORTED),
        "{NEVER_EXPORTED} is on the list"
    );
    assert!(
        !built().exports.contains(NEVER_EXPORTED),
        "{NEVER_EXPORTED} is exported"
    );
}

#[test]
fn the_filter_is_small() {
    let bytes = built().bytes.len();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes, of at most {BYTES_MAX}");
}

#[test]
fn the_memory_of_a_vm_is_bounded() {
    assert_eq!(built().memory_pages_max, Some(MEMORY_PAGES_MAX));
}

#[test]
fn the_filter_that_is_shipped_fails_on_nobodys_request() {
    let fails = |bytes: &[u8]| bytes.windows(FAULT.len()).any(|part| part == FAULT);
    let faults = bytes_of("FIXGW_FILTER_FAULTS_WASM", "fixgw_filter_test_faults.wasm");
    assert!(fails(&faults), "the one that does is known by this");
    assert!(!fails(&built().bytes));
}
