//! What does a snapshot look like in Envoy's types? A case is a file in `golden/xds/resources`: the snapshot by hand
//! (`NAME.json`), the resources golden (`NAME.txt`, `UPDATE=1` rewrites them and deletes orphans).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::extensions::filters::network::wasm::v3::Wasm;
use envoy_types::pb::google::protobuf::BytesValue;
use fixgw_core::rule::Target;
use fixgw_operator::api::ProxyVersion;
use fixgw_operator::tcp_timeout::TcpTimeout;
use fixgw_operator::xds::Snapshot;
use fixgw_operator::xds::resources::{self, ClusterSettings, Goal, Resource, WasmCode, WasmVm};
use prost::{Message, Name};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    revision: u64,
    table: String,
    #[serde(default)]
    endpoints: BTreeMap<String, Vec<SocketAddr>>,
    #[serde(default)]
    proxy_protocol: BTreeMap<String, ProxyVersion>,
    #[serde(default)]
    tcp_timeouts: BTreeMap<String, String>,
    #[serde(default)]
    inline_code: Option<String>,
}

impl Case {
    fn snapshot(&self) -> Snapshot {
        let target = |(name, addresses): (&String, &Vec<SocketAddr>)| {
            (Target::cluster(name.clone()), addresses.clone())
        };
        Snapshot {
            table_image: self.table.as_bytes().into(),
            revision: self.revision,
            endpoints: self.endpoints.iter().map(target).collect(),
            proxy_protocol: self
                .proxy_protocol
                .iter()
                .map(|(name, version)| (Target::cluster(name.clone()), *version))
                .collect(),
            tcp_timeouts: self
                .tcp_timeouts
                .iter()
                .map(|(name, text)| (Target::cluster(name.clone()), text.parse().unwrap()))
                .collect(),
        }
    }

    fn vm(&self) -> WasmVm {
        let file = WasmVm::from_file("/var/lib/fixgw/filter.wasm");
        match &self.inline_code {
            Some(code) => WasmVm {
                code: WasmCode::Inline(code.as_bytes().into()),
                ..file
            },
            None => file,
        }
    }
}

#[test]
fn every_snapshot_gives_its_resources() {
    let update = std::env::var_os("UPDATE").is_some();
    let (cases, goldens) = files();
    assert!(!cases.is_empty());
    for case in &cases {
        let path = directory().join(case);
        let snapshot: Case =
            serde_json::from_str(&fs::read_to_string(path.with_extension("json")).unwrap())
                .unwrap();
        let made = render(&snapshot);
        let golden = path.with_extension("txt");
        if update {
            fs::write(golden, made).unwrap();
        } else {
            let wanted = fs::read_to_string(&golden).unwrap_or_default();
            assert!(
                wanted == made,
                "{}: expected\n{wanted}\nmade\n{made}",
                golden.display()
            );
        }
    }
    for orphan in goldens.difference(&cases) {
        assert!(
            update,
            "`{orphan}.txt` belongs to no case; let `UPDATE=1` delete it"
        );
        fs::remove_file(directory().join(orphan).with_extension("txt")).unwrap();
    }
}

#[test]
fn the_same_snapshot_gives_the_same_bytes() {
    let case = |endpoints: &[&str]| Case {
        revision: 7,
        table: "table".to_owned(),
        endpoints: [(
            "t/a:1".to_owned(),
            endpoints
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
        )]
        .into(),
        proxy_protocol: BTreeMap::new(),
        tcp_timeouts: BTreeMap::new(),
        inline_code: None,
    };
    let goal = |case: Case| Goal::new(&case.snapshot(), &case.vm().into());
    let one = goal(case(&["10.0.0.1:9", "10.0.0.2:9"]));
    assert_eq!(one, goal(case(&["10.0.0.2:9", "10.0.0.1:9", "10.0.0.2:9"])));
    assert_ne!(one, goal(case(&["10.0.0.1:9"])));
}

#[test]
fn what_follows_is_the_same_as_what_is_made_anew() {
    let case = |revision: u64, endpoints: &[(&str, &[&str])], annotated: &[&str]| Case {
        revision,
        table: format!("table {revision}"),
        endpoints: endpoints
            .iter()
            .map(|(name, addresses)| {
                let addresses = addresses.iter().map(|address| address.parse().unwrap());
                ((*name).to_owned(), addresses.collect())
            })
            .collect(),
        proxy_protocol: annotated
            .iter()
            .filter(|name| name.ends_with('1'))
            .map(|name| ((*name).to_owned(), ProxyVersion::V2))
            .collect(),
        tcp_timeouts: annotated
            .iter()
            .map(|name| ((*name).to_owned(), "10s".to_owned()))
            .collect(),
        inline_code: None,
    };
    let steps = [
        case(7, &[("t/a:1", &["10.0.0.1:9"]), ("t/b:1", &[])], &[]),
        case(7, &[("t/a:1", &[]), ("t/b:1", &["10.0.0.1:9"])], &["t/a:1"]),
        case(8, &[("t/b:1", &["10.0.0.2:9"]), ("t/c:1", &[])], &["t/b:1"]),
        case(9, &[("t/b:1", &["10.0.0.2:9"])], &[]),
        case(9, &[], &[]),
    ];
    let mut goal = Goal::new(&steps[0].snapshot(), &steps[0].vm().into());
    for step in &steps {
        goal = goal.next(&step.snapshot(), &step.vm().into());
        assert_eq!(goal, Goal::new(&step.snapshot(), &step.vm().into()));
    }
}

#[test]
fn a_version_says_what_is_inside() {
    let vm = WasmVm::from_file("/filter.wasm");
    let target = Target::service("t", "a", 1);
    let settings = ClusterSettings {
        proxy_protocol: None,
        tcp_timeout: TcpTimeout::DEFAULT,
        connections_max: 1_000_000,
    };
    let table = |revision, image: &str| resources::table(revision, image.as_bytes(), &vm).version;
    assert_eq!(table(7, "a"), table(7, "a"));
    assert_ne!(table(7, "a"), table(7, "b"));
    assert_eq!(resources::number_of(&table(7, "a")), Some(7));
    assert_eq!(
        resources::number_of(&resources::readiness(8, [&target], &vm).version),
        Some(8)
    );
    assert_eq!(
        resources::number_of(&resources::cluster(&target, settings).version),
        None
    );
    assert_eq!(resources::number_of("x-1"), None);
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/xds/resources")
}

/// The cases, and the golden files, by their names.
fn files() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut cases, mut goldens) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        match path.extension().unwrap().to_str().unwrap() {
            "json" => cases.insert(name),
            "txt" => goldens.insert(name),
            other => panic!(
                "`{}`: a file ending in `{other}` is neither a case nor golden",
                path.display()
            ),
        };
    }
    (cases, goldens)
}

fn render(case: &Case) -> String {
    let goal = Goal::new(&case.snapshot(), &case.vm().into());
    let mut text = String::new();
    for target in goal.targets.values() {
        section(
            &mut text,
            &target.cluster,
            &Cluster::decode(&*target.cluster.body.value).unwrap(),
        );
        let assignment = ClusterLoadAssignment::decode(&*target.endpoints.body.value).unwrap();
        section(&mut text, &target.endpoints, &assignment);
    }
    let empty = goal
        .targets
        .values()
        .filter(|target| !target.has_endpoints())
        .map(|target| &target.target);
    filter(
        &mut text,
        &resources::readiness(goal.revision + 1, empty, &case.vm()),
    );
    filter(&mut text, &goal.table);
    text
}

fn section(text: &mut String, resource: &Resource, content: &impl Debug) {
    writeln!(
        text,
        "=== {} @ {}\n{}",
        resource.name,
        resource.version,
        shown(content)
    )
    .unwrap();
}

/// A discovered filter, opened down to the bytes that the plugin is given.
fn filter(text: &mut String, resource: &Resource) {
    let config = TypedExtensionConfig::decode(&*resource.body.value).unwrap();
    let any = config.typed_config.unwrap();
    assert_eq!(any.type_url, Wasm::type_url());
    let mut wasm = Wasm::decode(&*any.value).unwrap();
    let configuration = wasm.config.as_mut().unwrap().configuration.take().unwrap();
    assert_eq!(configuration.type_url, BytesValue::type_url());
    let bytes = BytesValue::decode(&*configuration.value).unwrap().value;
    section(text, resource, &wasm);
    writeln!(text, "configuration: \"{}\"\n", bytes.escape_ascii()).unwrap();
}

/// `Debug` without the fields that are not set.
fn shown(content: &impl Debug) -> String {
    let unset = ["None,", "[],", "{},", "\"\",", "false,", "0,"];
    let is_set = |line: &&str| {
        let value = line.split_once(": ").map_or("", |(_, value)| value);
        !unset.contains(&value)
    };
    let debug = format!("{content:#?}");
    debug.lines().filter(is_set).collect::<Vec<_>>().join("\n") + "\n"
}
