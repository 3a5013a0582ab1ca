//! Does each proxy get what it should, in the right order? Exchanges with one proxy, as scripts: a case is a file in
//! `golden/xds/scripts`. What is done is written by hand, what follows is golden (`UPDATE=1` rewrites it).
//!
//! ```text
//! # a comment
//! goal 100 t/a:1=10.0.0.1:9 t/b:1=      a snapshot: revision, targets with their endpoints; `t/a:1=v2=10.0.0.1:9` with
//!                                       a PROXY protocol header
//! > cds subscribe t/a:1=held            the proxy says: TYPE subscribe NAME | NAME=held (what it accepted last)
//!                                       | NAME=VERSION; TYPE unsubscribe NAME; TYPE ack; TYPE nack TEXT; TYPE stale
//! vm 1 uses 100 1000                    a VM reports: revision, readiness (`last`: the one sent last)
//! vm 1 lives                            a VM reports the same again
//! wait 5000                             milliseconds pass
//! reconnect                             the stream breaks, and a new one is opened
//! < cds +t/a:1 -t/b:1                   golden: a response
//! ! …                                   golden: what people are told
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::{
    TypedExtensionConfig, address, socket_address, transport_socket,
};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, lb_endpoint};
use envoy_types::pb::envoy::extensions::filters::network::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::BytesValue;
use envoy_types::pb::google::rpc::Status;
use fixgw_core::readiness::Readiness;
use fixgw_core::rule::Target;
use fixgw_operator::api::ProxyVersion;
use fixgw_operator::xds::Snapshot;
use fixgw_operator::xds::resources::{Goal, WasmVm};
use fixgw_operator::xds::rollout::{Now, Rollout, Seen, Step, VmState};
use fixgw_operator::xds::server::What;
use fixgw_operator::xds::session::Kind;
use prost::Message;

macro_rules! scripts {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        const SCRIPTS: &[&str] = &[$(stringify!($name)),*];
        $($(#[$meta])* #[test] fn $name() { check(stringify!($name)); })*
    };
}

scripts! {
    first_connect,
    first_connect_with_an_empty_table,
    a_named_endpoint_that_does_not_exist,
    cluster_ack_withheld_no_table_goes_out,
    endpoint_ack_withheld_no_table_goes_out,
    a_target_without_endpoints_waits_for_its_cluster_too,
    a_target_that_was_never_sent_is_not_sent_when_it_is_gone,
    readiness_goes_before_the_table,
    a_new_target_before_the_table_that_names_it,
    resubscribe_is_answered_again,
    unsubscribe_ends_updates,
    a_rejected_version_is_not_sent_again,
    what_was_refused_is_taken_back,
    a_part_that_was_taken_with_a_refusal_is_taken_back,
    a_newer_readiness_is_outbid,
    one_bad_cluster_does_not_keep_the_others,
    a_rejected_target_counts_as_not_ready,
    a_rejected_table_keeps_what_the_old_one_needs,
    endpoints_again_after_their_cluster,
    a_changed_cluster_gets_its_endpoints_again,
    endpoints_change_without_a_table,
    a_reconnect_sends_nothing_that_is_held,
    a_reconnect_reports_what_was_removed,
    a_reconnect_with_other_versions_is_brought_up_to_date,
    removal_waits_for_every_vm,
    removal_waits_for_vms_to_be_heard,
    removal_goes_on_when_a_heartbeat_expires,
    the_last_endpoint_waits_for_readiness,
    the_last_endpoint_comes_back_in_time,
    an_endpoint_that_comes_back_too_late,
    a_newer_goal_supersedes,
    a_target_that_comes_back_before_its_removal,
    a_proxy_that_holds_a_newer_table_is_not_rolled_back,
    a_replica_that_is_behind_empties_nothing,
    a_stale_ack_says_nothing,
    an_unknown_type_is_answered_with_nothing,
    a_discovered_filter_is_never_removed,
}

#[test]
fn every_script_is_run() {
    for path in files() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if SCRIPTS.contains(&name.as_str()) {
            continue;
        }
        assert!(
            std::env::var_os("UPDATE").is_some(),
            "`{}` belongs to no test; list it, or let `UPDATE=1` delete it",
            path.display()
        );
        fs::remove_file(path).unwrap();
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/xds/scripts")
}

fn files() -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
}

fn check(name: &str) {
    let path = directory().join(name).with_extension("script");
    let script =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let played = play(&script);
    assert!(
        !played.contains("\n? "),
        "{}: cannot go on\n{played}",
        path.display()
    );
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, played).unwrap();
    } else {
        assert!(
            script == played,
            "{}: expected\n{script}\nplayed\n{played}",
            path.display()
        );
    }
}

/// The script with what really followed each line.
fn play(script: &str) -> String {
    let mut stage = Stage::new();
    let mut played = String::new();
    for line in script.lines() {
        if line.starts_with('<') || line.starts_with('!') {
            continue;
        }
        writeln!(played, "{line}").unwrap();
        let does = line.trim();
        if does.is_empty() || does.starts_with('#') {
            continue;
        }
        match stage.act(does) {
            Ok(step) => played.push_str(&stage.show(step)),
            Err(reason) => {
                writeln!(played, "? {reason}").unwrap();
                return played;
            }
        }
    }
    played
}

/// A proxy's side of the stream, the clock, and the VMs.
struct Stage {
    rollout: Option<Rollout>,
    goal: Option<Arc<Goal>>,
    now: Now,
    vms: BTreeMap<u64, VmState>,
    /// The response of each type that was not answered yet.
    open: BTreeMap<String, DeltaDiscoveryResponse>,
    /// What the proxy accepted, over all streams.
    held: BTreeMap<(String, String), String>,
    targets: BTreeSet<String>,
    readiness: u64,
}

impl Stage {
    fn new() -> Self {
        Self {
            rollout: None,
            goal: None,
            now: Now {
                monotonic: Duration::from_secs(100),
                unix_ms: 1_000,
            },
            vms: BTreeMap::new(),
            open: BTreeMap::new(),
            held: BTreeMap::new(),
            targets: BTreeSet::new(),
            readiness: 0,
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            now: self.now,
            vms: self.vms.values().copied().collect(),
        }
    }

    fn act(&mut self, line: &str) -> Result<Step, String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
        match verb {
            "goal" => Ok(self.goal(&words)),
            ">" => self.say(&words),
            "vm" => Ok(self.vm(&words)),
            "wait" => Ok(self.wait(words[0].parse().unwrap())),
            "reconnect" => Ok(self.connect()),
            _ => panic!("`{line}`: unknown verb"),
        }
    }

    fn connect(&mut self) -> Step {
        self.open.clear();
        self.rollout = Some(Rollout::new(
            vm().into(),
            self.goal.clone().unwrap(),
            self.now,
        ));
        Step::default()
    }

    /// The first goal opens the stream.
    fn goal(&mut self, words: &[&str]) -> Step {
        let goal = Arc::new(Goal::new(&snapshot(words), &vm().into()));
        self.targets.extend(goal.targets.keys().cloned());
        self.goal = Some(goal.clone());
        let seen = self.seen();
        match &mut self.rollout {
            Some(rollout) => rollout.supersede(goal, &seen),
            None => self.connect(),
        }
    }

    fn vm(&mut self, words: &[&str]) -> Step {
        let vm_id = words[0].parse().unwrap();
        let heard_at = self.now.monotonic;
        match words[1..] {
            ["lives"] => self.vms.get_mut(&vm_id).unwrap().heard_at = heard_at,
            ["uses", revision, readiness] => {
                let table_revision = revision.parse().unwrap();
                let readiness_version = if readiness == "last" {
                    self.readiness
                } else {
                    readiness.parse().unwrap()
                };
                let state = VmState {
                    vm_id,
                    table_revision,
                    readiness_version,
                    heard_at,
                };
                self.vms.insert(vm_id, state);
            }
            _ => panic!("`{words:?}`: unknown report"),
        }
        self.look()
    }

    fn wait(&mut self, ms: u64) -> Step {
        self.now.monotonic += Duration::from_millis(ms);
        self.now.unix_ms += ms;
        self.look()
    }

    fn look(&mut self) -> Step {
        let seen = self.seen();
        self.rollout.as_mut().unwrap().look(&seen)
    }

    fn say(&mut self, words: &[&str]) -> Result<Step, String> {
        let (kind, says, rest) = (words[0], words[1], &words[2..]);
        let mut request = DeltaDiscoveryRequest {
            type_url: type_url(kind),
            ..Default::default()
        };
        match says {
            "subscribe" => {
                for word in rest {
                    let (name, version) = word.split_once('=').unwrap_or((word, ""));
                    let key = (kind.to_owned(), name.to_owned());
                    let version = if version == "held" {
                        &self.held[&key]
                    } else {
                        version
                    };
                    // A wildcard stands for itself: what is held goes beside it, not into the subscription.
                    if kind != "cds" || version.is_empty() {
                        request.resource_names_subscribe.push(name.to_owned());
                    }
                    if !version.is_empty() {
                        request
                            .initial_resource_versions
                            .insert(name.to_owned(), version.to_owned());
                    }
                }
            }
            "unsubscribe" => {
                let names = rest.iter().map(|&name| name.to_owned());
                request.resource_names_unsubscribe.extend(names);
            }
            "ack" => {
                let response = self
                    .open
                    .remove(kind)
                    .ok_or("there is no response to answer")?;
                self.accept(kind, &response);
                request.response_nonce = response.nonce;
            }
            "nack" => {
                let response = self
                    .open
                    .remove(kind)
                    .ok_or("there is no response to answer")?;
                request.response_nonce = response.nonce;
                request.error_detail = Some(Status {
                    code: 13,
                    message: rest.join(" "),
                    details: Vec::new(),
                });
            }
            "stale" => request.response_nonce.push('0'),
            _ => panic!("`{words:?}`: the proxy says what?"),
        }
        let seen = self.seen();
        self.rollout
            .as_mut()
            .unwrap()
            .request(request, &seen)
            .map_err(|excess| excess.to_string())
    }

    fn accept(&mut self, kind: &str, response: &DeltaDiscoveryResponse) {
        for resource in &response.resources {
            self.held.insert(
                (kind.to_owned(), resource.name.clone()),
                resource.version.clone(),
            );
        }
        for name in &response.removed_resources {
            self.held.remove(&(kind.to_owned(), name.clone()));
        }
    }

    fn show(&mut self, step: Step) -> String {
        let mut shown = String::new();
        for happened in step.happened {
            writeln!(shown, "! {}", What::Rollout(happened)).unwrap();
        }
        for response in step.responses {
            let kind = short(&response.type_url);
            write!(shown, "< {kind}").unwrap();
            for resource in &response.resources {
                write!(shown, " {}", self.show_resource(kind, resource)).unwrap();
            }
            for name in &response.removed_resources {
                write!(shown, " -{name}").unwrap();
            }
            writeln!(shown).unwrap();
            let known = self.open.insert(kind.to_owned(), response);
            assert!(
                known.is_none(),
                "a second {kind} response before the first was answered"
            );
        }
        shown
    }

    fn show_resource(&mut self, kind: &str, resource: &Resource) -> String {
        let body = &resource.resource.as_ref().unwrap().value;
        match kind {
            "cds" => format!("+{}{}", resource.name, header(body)),
            "eds" => format!("{}={}", resource.name, addresses(body)),
            "ecds" => self.show_filter(resource, &plugin_bytes(body)),
            _ => panic!("a resource of type {kind}"),
        }
    }

    fn show_filter(&mut self, resource: &Resource, bytes: &[u8]) -> String {
        let number = resource.version.split_once('-').unwrap().0;
        if resource.name == "fix-routes" {
            return format!("fix-routes@{number}");
        }
        let readiness = Readiness::load(bytes).unwrap();
        self.readiness = readiness.version();
        assert_eq!(number, self.readiness.to_string());
        let not_ready: Vec<&str> = self
            .targets
            .iter()
            .map(String::as_str)
            .filter(|name| !readiness.is_ready(name))
            .collect();
        format!(
            "fix-readiness@{number} not ready: [{}]",
            not_ready.join(" ")
        )
    }
}

fn vm() -> WasmVm {
    WasmVm::from_file("/filter.wasm")
}

/// `100 t/a:1=10.0.0.1:9,10.0.0.2:9 t/b:1=`
fn snapshot(words: &[&str]) -> Snapshot {
    let revision: u64 = words[0].parse().unwrap();
    let parts = |word: &&str| -> (Target, Option<ProxyVersion>, String) {
        let (name, rest) = word.split_once('=').unwrap();
        let (version, addresses) = rest.split_once('=').unwrap_or(("", rest));
        (
            Target::cluster(name.to_owned()),
            ProxyVersion::parse(version),
            addresses.to_owned(),
        )
    };
    let target = |word: &&str| {
        let (target, _, addresses) = parts(word);
        let addresses = addresses.split(',').filter(|address| !address.is_empty());
        (
            target,
            addresses.map(|address| address.parse().unwrap()).collect(),
        )
    };
    Snapshot {
        table_image: format!("table {revision}").into_bytes().into(),
        revision,
        endpoints: words[1..].iter().map(target).collect(),
        proxy_protocol: words[1..]
            .iter()
            .map(parts)
            .filter_map(|(target, version, _)| Some((target, version?)))
            .collect(),
        tcp_timeouts: std::collections::BTreeMap::new(),
    }
}

fn type_url(kind: &str) -> String {
    match kind {
        "cds" => Kind::Cluster.type_url(),
        "eds" => Kind::Endpoints.type_url(),
        "ecds" => Kind::Filter.type_url(),
        "lds" => "type.googleapis.com/envoy.config.listener.v3.Listener".to_owned(),
        _ => panic!("`{kind}`: unknown type"),
    }
}

fn short(type_url: &str) -> &'static str {
    match Kind::of_type_url(type_url) {
        Some(Kind::Cluster) => "cds",
        Some(Kind::Endpoints) => "eds",
        Some(Kind::Filter) => "ecds",
        None => "lds",
    }
}

/// `=v2` for a cluster with a PROXY protocol header.
fn header(body: &[u8]) -> String {
    let Some(socket) = Cluster::decode(body).unwrap().transport_socket else {
        return String::new();
    };
    let Some(transport_socket::ConfigType::TypedConfig(any)) = socket.config_type else {
        panic!()
    };
    let header = ProxyProtocolUpstreamTransport::decode(&*any.value).unwrap();
    format!(
        "={}",
        header
            .config
            .unwrap()
            .version()
            .as_str_name()
            .to_lowercase()
    )
}

fn addresses(body: &[u8]) -> String {
    let assignment = ClusterLoadAssignment::decode(body).unwrap();
    let endpoints = assignment
        .endpoints
        .into_iter()
        .flat_map(|locality| locality.lb_endpoints);
    let shown = endpoints.map(|endpoint| {
        let Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)) = endpoint.host_identifier else {
            panic!()
        };
        let Some(address::Address::SocketAddress(socket)) = endpoint.address.unwrap().address
        else {
            panic!()
        };
        let Some(socket_address::PortSpecifier::PortValue(port)) = socket.port_specifier else {
            panic!()
        };
        format!("{}:{port}", socket.address)
    });
    shown.collect::<Vec<_>>().join(",")
}

fn plugin_bytes(body: &[u8]) -> Vec<u8> {
    let config = TypedExtensionConfig::decode(body).unwrap();
    let wasm = Wasm::decode(&*config.typed_config.unwrap().value).unwrap();
    BytesValue::decode(&*wasm.config.unwrap().configuration.unwrap().value)
        .unwrap()
        .value
}
