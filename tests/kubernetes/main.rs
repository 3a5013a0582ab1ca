//! Does a real API server take the CRD, and do with it what the documents say? Does it keep a published table, a Lease, and
//! what is said of each object in its status?
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod attack;
mod chart;
mod cluster;
mod definition;
mod installed;
mod lease;
mod peers;
mod refusal;
mod source;
mod status;
mod table;

use fixgw_e2e::api::{Answer, Sent};
use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::process::wait_until;
use fixgw_e2e::{fixture::NAMESPACE, tool};
use serde_json::json;

/// The API group's version.
const GROUP: &str = "/apis/fixgateway.io/v1alpha1";

/// Where definitions are.
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn sessions() -> String {
    format!("{GROUP}/namespaces/{NAMESPACE}/fixsessions")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(tool::repository().join(file)).expect("the file is there, and text")
}

/// An API server that knows FIXSessions, with the namespace of the examples; and what it said to the definition.
fn with_definition() -> (ApiServer, Answer) {
    let server = ApiServer::start();
    let said = server.create(DEFINITIONS, Sent::Yaml(&read("crds/fixsession-crd.yaml")));
    assert_eq!(said.code, 201, "{}", said.message());
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE },
    });
    let made = server.create("/api/v1/namespaces", Sent::Json(&namespace));
    assert_eq!(made.code, 201, "{}", made.message());
    // A definition takes effect a moment after it was taken.
    wait_until("FIXSessions to be served", || {
        (server.get(&sessions()).code == 200).then_some(())
    });
    (server, said)
}

/// A client with every right; to be made inside a runtime.
async fn client(server: &ApiServer) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    kube::Client::try_from(config.await.unwrap()).unwrap()
}

/// Runs a test's other half.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(test)
}

/// What a channel shows once it is so, within the bound of every wait.
async fn shown<T: Clone + std::fmt::Debug>(
    what: &str,
    channel: &mut tokio::sync::watch::Receiver<T>,
    is_so: impl FnMut(&T) -> bool,
) -> T {
    let waited = tokio::time::timeout(fixgw_e2e::process::EVENT_WAIT_MAX, channel.wait_for(is_so));
    let waited = waited.await.map(|shown| shown.unwrap().clone());
    waited.unwrap_or_else(|_| panic!("waited in vain for {what}: {:?}", *channel.borrow()))
}
