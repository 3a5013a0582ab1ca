//! Does the server keep its word on a real connection? Clients over loopback against the three services of one port.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
};
use envoy_types::pb::google::rpc::Status as WireStatus;
use fixgw_core::report::{METHOD, SERVICE, VmReport, VmReportAnswer};
use fixgw_core::rule::Target;
use fixgw_operator::receive::decision::ReceivedDecision;
use fixgw_operator::xds::Snapshot;
use fixgw_operator::xds::resources::WasmVm;
use fixgw_operator::xds::rollout::Happened;
use fixgw_operator::xds::server::{Event, Outputs, Server, What};
use fixgw_operator::xds::session::Kind;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// Long enough for any machine; met only when a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_proxy_gets_what_it_needs_in_order() {
    let mut plane = Plane::start(snapshot(100, &[("t/a:1", "10.0.0.1:9")])).await;
    let mut proxy = Proxy::connect(&plane, "proxy-1").await;
    proxy.boot().await;
    assert!(matches!(
        plane.event().await,
        What::Connected { peer: Some(_) }
    ));
    assert_eq!(
        plane.event().await,
        What::Rollout(Happened::TableAcknowledged { revision: 100 })
    );
    let readiness = |plane: &Plane| plane.outputs.fleet.borrow().proxies["proxy-1"].readiness;
    let first = readiness(&plane);
    assert!(first.is_some());

    plane.publish(snapshot(
        101,
        &[("t/a:1", "10.0.0.1:9"), ("t/b:1", "10.0.0.2:9")],
    ));
    assert_eq!(proxy.next(Kind::Cluster).await, ["t/b:1"]);
    assert_eq!(readiness(&plane), None, "it may refuse the new target");
    proxy.ack(Kind::Cluster).await;
    proxy.subscribe(Kind::Endpoints, &["t/b:1"]).await;
    assert_eq!(proxy.next(Kind::Endpoints).await, ["t/b:1"]);
    proxy.ack(Kind::Endpoints).await;
    assert_eq!(proxy.next(Kind::Filter).await, ["fix-routes"]);
    proxy.ack(Kind::Filter).await;
    assert_eq!(
        plane.event().await,
        What::Rollout(Happened::TableAcknowledged { revision: 101 })
    );
    let fleet = plane.outputs.fleet.borrow().clone();
    assert_eq!(fleet.proxies["proxy-1"].acknowledged, Some(101));
    assert_eq!(fleet.proxies["proxy-1"].streams, 1);
    assert_eq!(fleet.proxies["proxy-1"].readiness, first);

    drop(proxy);
    assert_eq!(plane.event().await, What::Disconnected);
    assert!(plane.outputs.fleet.borrow().proxies.is_empty());
}

#[tokio::test]
async fn a_rejections_text_reaches_the_operator() {
    let mut plane = Plane::start(snapshot(100, &[("t/a:1", "10.0.0.1:9")])).await;
    let mut proxy = Proxy::connect(&plane, "proxy-1").await;
    proxy.subscribe(Kind::Cluster, &[]).await;
    assert!(matches!(plane.event().await, What::Connected { .. }));
    assert_eq!(proxy.next(Kind::Cluster).await, ["t/a:1"]);
    proxy.nack(Kind::Cluster, "no such thing").await;
    let What::Rollout(Happened::Rejected { names, text, .. }) = plane.event().await else {
        panic!()
    };
    assert_eq!(
        (names, text),
        (vec!["t/a:1".to_owned()], "no such thing".to_owned())
    );
}

#[tokio::test]
async fn what_vms_report_is_known_and_forgotten() {
    let mut plane = Plane::start(snapshot(100, &[])).await;
    let report = |vm_id, table_revision| VmReport {
        node_id: "proxy-1".to_owned(),
        vm_id,
        table_revision,
        readiness_version: 5,
        panics: 1,
        ..VmReport::default()
    };
    plane.report(report(1, 100)).await.unwrap();
    plane.report(report(1, 100)).await.unwrap();
    plane.report(report(2, 99)).await.unwrap();
    for (vm_id, table_revision) in [(1, 100), (2, 99)] {
        assert_eq!(
            plane.event().await,
            What::VmUses {
                vm_id,
                table_revision,
                readiness_version: 5
            }
        );
    }
    assert_eq!(plane.outputs.fleet.borrow().revision_in_use(), None);
    plane.report(report(2, 100)).await.unwrap();
    assert_eq!(plane.outputs.fleet.borrow().revision_in_use(), Some(100));
    assert_eq!(
        plane.outputs.fleet.borrow().proxies["proxy-1"].vms[0].panics,
        1
    );
    let refused = plane.report(VmReport::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_report_lets_a_removal_go_on() {
    let plane = Plane::start(snapshot(100, &[("t/a:1", "10.0.0.1:9")])).await;
    let report = |table_revision| VmReport {
        node_id: "proxy-1".to_owned(),
        vm_id: 1,
        table_revision,
        readiness_version: 1,
        ..VmReport::default()
    };
    let mut proxy = Proxy::connect(&plane, "proxy-1").await;
    proxy.boot().await;
    plane.report(report(100)).await.unwrap();
    plane.publish(snapshot(101, &[]));
    assert_eq!(proxy.next(Kind::Filter).await, ["fix-routes"]);
    proxy.ack(Kind::Filter).await;
    // The stream waits until every live VM would have been heard, so this takes five seconds: heartbeats go on.
    let removed = proxy.next(Kind::Cluster);
    tokio::pin!(removed);
    let mut heartbeat = tokio::time::interval(Duration::from_secs(1));
    let removed = loop {
        tokio::select! {
            removed = &mut removed => break removed,
            _ = heartbeat.tick() => plane.report(report(101)).await.unwrap(),
        }
    };
    assert_eq!(removed, ["-t/a:1"]);
}

#[tokio::test]
async fn decision_records_arrive() {
    let mut plane = Plane::start(snapshot(100, &[])).await;
    plane.export(3).await;
    for _ in 0..3 {
        let decision = timeout(PATIENCE, plane.outputs.decisions.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(decision.decision, "ROUTE");
        assert_eq!(decision.severity, "INFO");
    }
}

#[tokio::test]
async fn records_that_nobody_takes_are_dropped_and_counted() {
    let plane = Plane::start(snapshot(100, &[])).await;
    let mut rejected = 0;
    for _ in 0..20 {
        rejected += plane.export(1_000).await;
    }
    assert_eq!(rejected, 20_000 - 16_384);
    let dropped = plane
        .outputs
        .dropped
        .decisions
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(dropped, 20_000 - 16_384);
}

#[tokio::test]
async fn a_stream_without_a_name_is_refused() {
    let plane = Plane::start(snapshot(100, &[])).await;
    let mut proxy = Proxy::connect(&plane, "").await;
    proxy.subscribe(Kind::Cluster, &[]).await;
    assert_eq!(proxy.refusal().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stream_that_asks_for_too_much_is_ended() {
    let mut plane = Plane::start(snapshot(100, &[])).await;
    let mut proxy = Proxy::connect(&plane, "proxy-1").await;
    proxy.subscribe(Kind::Endpoints, &[&"n".repeat(513)]).await;
    assert!(matches!(plane.event().await, What::Connected { .. }));
    assert_eq!(proxy.refusal().await.code(), Code::ResourceExhausted);
    assert!(matches!(plane.event().await, What::Refused { .. }));
    assert_eq!(plane.event().await, What::Disconnected);
}

#[tokio::test]
async fn only_delta_is_served() {
    let plane = Plane::start(snapshot(100, &[])).await;
    let mut client = AggregatedDiscoveryServiceClient::new(plane.channel.clone());
    let requests = tokio_stream::iter([DiscoveryRequest::default()]);
    let refused = client
        .stream_aggregated_resources(requests)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("DELTA_GRPC"), "{refused}");
}

#[tokio::test]
async fn stopping_ends_the_streams() {
    let plane = Plane::start(snapshot(100, &[])).await;
    let mut proxy = Proxy::connect(&plane, "proxy-1").await;
    proxy.subscribe(Kind::Cluster, &[]).await;
    proxy.next(Kind::Cluster).await;
    plane.stop.send(()).unwrap();
    assert!(
        timeout(PATIENCE, proxy.responses.message())
            .await
            .unwrap()
            .unwrap()
            .is_none()
    );
    timeout(PATIENCE, plane.serving).await.unwrap().unwrap();
}

/// A control plane on a free port.
struct Plane {
    snapshots: watch::Sender<Arc<Snapshot>>,
    outputs: Outputs,
    channel: Channel,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Plane {
    async fn start(first: Snapshot) -> Self {
        let (snapshots, receiver) = watch::channel(Arc::new(first));
        let (server, outputs) =
            Server::new(WasmVm::from_file("/filter.wasm").into(), receiver, None);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            server.serve(listener, stopped).await.unwrap();
        });
        let channel = Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        Self {
            snapshots,
            outputs,
            channel,
            stop,
            serving,
        }
    }

    fn publish(&self, snapshot: Snapshot) {
        self.snapshots.send(Arc::new(snapshot)).unwrap();
    }

    async fn event(&mut self) -> What {
        let Event { node, what } = timeout(PATIENCE, self.outputs.events.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(node, "proxy-1");
        what
    }

    async fn report(&self, report: VmReport) -> Result<(), Status> {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let path = format!("/{SERVICE}/{METHOD}").parse().unwrap();
        let codec = ProstCodec::<VmReport, VmReportAnswer>::default();
        client
            .unary(Request::new(report), path, codec)
            .await
            .map(|_| ())
    }

    /// Sends so many records, and returns how many were not taken.
    async fn export(&self, records: usize) -> i64 {
        let decision = KeyValue {
            key: "fixgw.decision".to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue("ROUTE".to_owned())),
            }),
            ..KeyValue::default()
        };
        let record = LogRecord {
            severity_number: 9,
            attributes: vec![decision],
            ..LogRecord::default()
        };
        assert_eq!(ReceivedDecision::decode(&record).decision, "ROUTE");
        let logs = ScopeLogs {
            log_records: vec![record; records],
            ..ScopeLogs::default()
        };
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                scope_logs: vec![logs],
                ..ResourceLogs::default()
            }],
        };
        let answer = LogsServiceClient::new(self.channel.clone())
            .export(request)
            .await
            .unwrap()
            .into_inner();
        answer
            .partial_success
            .map_or(0, |partial| partial.rejected_log_records)
    }
}

/// A proxy's end of one stream.
struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    node: Option<Node>,
    nonce: String,
}

impl Proxy {
    async fn connect(plane: &Plane, node_id: &str) -> Self {
        let mut client = AggregatedDiscoveryServiceClient::new(plane.channel.clone());
        let (requests, outgoing) = mpsc::channel(8);
        let responses = client
            .delta_aggregated_resources(ReceiverStream::new(outgoing))
            .await
            .unwrap()
            .into_inner();
        let node = Some(Node {
            id: node_id.to_owned(),
            cluster: "fixgw".to_owned(),
            ..Node::default()
        });
        Self {
            requests,
            responses,
            node,
            nonce: String::new(),
        }
    }

    async fn send(&mut self, kind: Kind, request: DeltaDiscoveryRequest) {
        let request = DeltaDiscoveryRequest {
            type_url: kind.type_url(),
            node: self.node.take(),
            ..request
        };
        self.requests.send(request).await.unwrap();
    }

    async fn subscribe(&mut self, kind: Kind, names: &[&str]) {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        self.send(
            kind,
            DeltaDiscoveryRequest {
                resource_names_subscribe: names,
                ..Default::default()
            },
        )
        .await;
    }

    async fn ack(&mut self, kind: Kind) {
        let response_nonce = self.nonce.clone();
        self.send(
            kind,
            DeltaDiscoveryRequest {
                response_nonce,
                ..Default::default()
            },
        )
        .await;
    }

    async fn nack(&mut self, kind: Kind, text: &str) {
        let response_nonce = self.nonce.clone();
        let error_detail = Some(WireStatus {
            code: 13,
            message: text.to_owned(),
            details: Vec::new(),
        });
        self.send(
            kind,
            DeltaDiscoveryRequest {
                response_nonce,
                error_detail,
                ..Default::default()
            },
        )
        .await;
    }

    /// The names in the next response, which must be of this type.
    async fn next(&mut self, kind: Kind) -> Vec<String> {
        let response = timeout(PATIENCE, self.responses.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(response.type_url, kind.type_url());
        self.nonce = response.nonce;
        let removed = response
            .removed_resources
            .into_iter()
            .map(|name| format!("-{name}"));
        response
            .resources
            .into_iter()
            .map(|resource| resource.name)
            .chain(removed)
            .collect()
    }

    async fn refusal(&mut self) -> Status {
        timeout(PATIENCE, self.responses.message())
            .await
            .unwrap()
            .unwrap_err()
    }

    /// As Envoy starts, with the one target `t/a:1`.
    async fn boot(&mut self) {
        self.subscribe(Kind::Cluster, &[]).await;
        assert_eq!(self.next(Kind::Cluster).await, ["t/a:1"]);
        self.ack(Kind::Cluster).await;
        self.subscribe(Kind::Endpoints, &["t/a:1"]).await;
        assert_eq!(self.next(Kind::Endpoints).await, ["t/a:1"]);
        self.ack(Kind::Endpoints).await;
        self.subscribe(Kind::Filter, &["fix-readiness", "fix-routes"])
            .await;
        assert_eq!(self.next(Kind::Filter).await, ["fix-readiness"]);
        self.ack(Kind::Filter).await;
        assert_eq!(self.next(Kind::Filter).await, ["fix-routes"]);
        self.ack(Kind::Filter).await;
    }
}

fn snapshot(revision: u64, targets: &[(&str, &str)]) -> Snapshot {
    let target = |&(name, address): &(&str, &str)| {
        (
            Target::cluster(name.to_owned()),
            vec![address.parse().unwrap()],
        )
    };
    Snapshot {
        table_image: format!("table {revision}").into_bytes().into(),
        revision,
        endpoints: targets.iter().map(target).collect(),
        proxy_protocol: std::collections::BTreeMap::new(),
        tcp_timeouts: std::collections::BTreeMap::new(),
    }
}
