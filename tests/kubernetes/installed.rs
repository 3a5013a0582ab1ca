//! Does what the chart installs do the main job, with the accounts and the configuration that the chart gives it?

use fixgw_e2e::cluster::{Cluster, Release, engines, images};
use fixgw_e2e::fixture::NAMESPACE;
use fixgw_e2e::inside::inside;
use fixgw_e2e::peer::{Peer, Session};

use crate::read;

const PORT: u16 = 9876;

#[test]
fn an_installed_chart_routes_sessions_to_the_engines_of_a_stateful_set() {
    inside(|| {
        let session = Session::new("FIX.4.4", "EQ_BROKER", "VENUE").reset_on_logon();
        let sessions = std::slice::from_ref(&session);
        let cluster = Cluster::start(images());
        cluster.create_namespace(NAMESPACE);
        let release = Release::install(&cluster, &["gateway.replicas=1"]);
        cluster.apply_all(&engines(NAMESPACE, "equities-engine", PORT, 1, sessions));
        release.wait_rolled_out();
        let example = read("crds/examples/equities-single-field.yaml");
        let _ = cluster.apply(&example).succeeded();
        let name = "fixsession/equities-single-field";
        let _ = cluster
            .kubectl(&[
                "wait",
                "-n",
                NAMESPACE,
                "--for=condition=Programmed",
                "--timeout=40s",
                name,
            ])
            .succeeded();
        let counterparty = Peer::counterparty("broker", release.gateway(), sessions);
        counterparty.wait_logon(&session.at_counterparty());
        let engine = cluster.wait_pod(NAMESPACE, "equities-engine-0").engine();
        engine.wait_logon(&session.at_engine());
    });
}
