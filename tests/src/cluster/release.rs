//! The chart, installed as a user installs it: by helm, with a Secret of his own.

use std::net::SocketAddr;

use serde_json::json;

use super::{Cluster, Image, RunningPod};
use crate::tls::{Authority, GATEWAY};
use crate::tool;

/// Where it is installed.
pub const RELEASE_NAMESPACE: &str = "fix-system";

/// What every object's name begins with.
pub const RELEASE: &str = "fix-gateway";

/// The listener without TLS.
pub const PLAIN_PORT: u16 = 9877;
/// The listener with TLS.
pub const TLS_PORT: u16 = 9876;

/// The images that the chart's pods and the tests' engines are made of.
#[must_use]
pub fn images() -> Vec<Image> {
    vec![
        Image::operator(),
        Image::gateway(),
        Image::reject_engine(),
        Image::quickfix_engine(),
    ]
}

/// A release of the chart.
pub struct Release<'a> {
    cluster: &'a Cluster,
    /// Who issued the gateway's certificate, for [`GATEWAY`].
    pub authority: Authority,
}

impl<'a> Release<'a> {
    /// Installs it with the chart's values, but those that are `set` (`KEY=VALUE`), and waits for nothing.
    #[must_use]
    pub fn install(cluster: &'a Cluster, set: &[&str]) -> Self {
        cluster.create_namespace(RELEASE_NAMESPACE);
        let authority = Authority::new("the gateway's CA");
        let issued = authority.issue(GATEWAY);
        cluster.apply_all(&[json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "name": "fix-gateway-tls", "namespace": RELEASE_NAMESPACE },
            "stringData": { "tls.crt": issued.certificate, "tls.key": issued.key },
        })]);
        let release = Self { cluster, authority };
        let _ = release.helm("install", set).succeeded();
        release
    }

    /// Installs it again, with these values.
    pub fn upgrade(&self, set: &[&str]) {
        let _ = self.helm("upgrade", set).succeeded();
    }

    fn helm(&self, verb: &str, set: &[&str]) -> super::Said {
        let chart = tool::repository().join("helm/fix-gateway");
        let chart = chart.display().to_string();
        let mut arguments = vec![verb, RELEASE, &chart, "--namespace", RELEASE_NAMESPACE];
        for value in set {
            arguments.extend(["--set", value]);
        }
        self.cluster.helm(&arguments)
    }

    /// Waits until every workload runs as it is described.
    pub fn wait_rolled_out(&self) {
        for component in ["operator", "reject-engine", "gateway"] {
            self.cluster.wait_rolled_out(
                RELEASE_NAMESPACE,
                &format!("deployment/{RELEASE}-{component}"),
            );
        }
    }

    /// The pods of a component that run now, in the order of their names.
    #[must_use]
    pub fn pods(&self, component: &str) -> Vec<RunningPod> {
        let prefix = format!("{RELEASE}-{component}-");
        self.cluster
            .wait_pods(&format!("a pod of {component}"), |pods| {
                let pods = pods.iter().filter(|pod| {
                    pod.name.0 == RELEASE_NAMESPACE && pod.name.1.starts_with(&prefix)
                });
                let mut found: Vec<RunningPod> = pods.map(|pod| (*pod).clone()).collect();
                found.sort_by(|one, other| one.name.cmp(&other.name));
                (!found.is_empty()).then_some(found)
            })
    }

    /// Where a counterparty connects without TLS: one of the gateway's pods, as the load balancer would choose.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.pods("gateway")[0].at(PLAIN_PORT)
    }
}
