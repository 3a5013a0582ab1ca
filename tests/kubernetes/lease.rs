//! Does one of several replicas lead, by a Lease on a real API server, whatever becomes of the others, the Lease and the server?

use std::time::{Duration, Instant};

use fixgw_e2e::apiserver::ApiServer;
use fixgw_e2e::process::{EVENT_WAIT_MAX, Process, wait_until};
use fixgw_e2e::tool;
use fixgw_operator::kubernetes::lease::{Candidate, Leadership, LeaseName, Role, apply};
use kube::Client;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{client, run, shown};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/operator";
/// A leader that was killed is replaced within this.
const FAIL_OVER_MAX: Duration = Duration::from_secs(15);

fn candidate(client: &Client, identity: &str) -> Candidate {
    let name = LeaseName {
        namespace: "default".to_owned(),
        name: "operator".to_owned(),
        identity: identity.to_owned(),
    };
    apply(client.clone(), name)
}

fn leads(leadership: &Leadership) -> bool {
    leadership.may_write(Instant::now())
}

fn held_by(server: &ApiServer) -> Value {
    server.get(LEASE).body["spec"]["holderIdentity"].clone()
}

#[test]
fn the_other_replica_leads_after_the_first_has_given_it_back_was_killed_or_robbed() {
    let server = ApiServer::start();
    run(async {
        let client = client(&server).await;
        let mut a = candidate(&client, "a");
        let of_a = shown("a to lead", &mut a.leadership, leads).await;
        assert_eq!(of_a.transitions, 1);
        assert!(held_by(&server).as_str().unwrap().starts_with("a_"));
        let mut b = candidate(&client, "b");
        let holder = of_a.holder.clone();
        let of_b = shown("b to know", &mut b.leadership, |it| it.holder == holder).await;
        assert_eq!(of_b.role, Role::Follower);

        // Given back: at once.
        let begun = Instant::now();
        a.release.send(()).unwrap();
        let of_b = shown("b to lead", &mut b.leadership, leads).await;
        println!("given back: the other leads after {:?}", begun.elapsed());
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(of_b.transitions, 2);
        tokio::time::timeout(EVENT_WAIT_MAX, a.task)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(a.leadership.borrow().role, Role::Follower);

        // Killed: it says nothing, not even that it is dead; its task is, and that shows.
        let mut c = candidate(&client, "c");
        let holder = of_b.holder.clone();
        shown("c to know", &mut c.leadership, |it| it.holder == holder).await;
        let begun = Instant::now();
        b.task.abort();
        assert!(b.task.await.unwrap_err().is_cancelled());
        assert_eq!(
            b.leadership.borrow().role,
            Role::Follower,
            "who is dead does not lead"
        );
        let of_c = shown("c to lead", &mut c.leadership, leads).await;
        println!("killed: the other leads after {:?}", begun.elapsed());
        assert!(begun.elapsed() <= FAIL_OVER_MAX, "{:?}", begun.elapsed());
        assert_eq!(of_c.transitions, 3);

        // Robbed: it stops at once, and leads again when the thief is silent.
        let mut stolen = server.get(LEASE).body;
        stolen["spec"]["holderIdentity"] = json!("thief");
        stolen["spec"]["leaseDurationSeconds"] = json!(1);
        let mut answer = server.replace(LEASE, &stolen);
        while answer.code == 409 {
            stolen["metadata"] = server.get(LEASE).body["metadata"].clone();
            answer = server.replace(LEASE, &stolen);
        }
        assert_eq!(answer.code, 200, "{}", answer.message());
        let begun = Instant::now();
        let robbed = shown("c to stop", &mut c.leadership, |it| !leads(it)).await;
        println!("robbed: it stops after {:?}", begun.elapsed());
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(robbed.holder.as_deref(), Some("thief"));
        shown("c to lead again", &mut c.leadership, leads).await;

        // Deleted: it is made anew.
        assert_eq!(server.delete(LEASE).code, 200);
        shown("c to lead by a new one", &mut c.leadership, |it| {
            it.transitions == 1 && leads(it)
        })
        .await;
        assert!(held_by(&server).as_str().unwrap().starts_with("c_"));
    });
}

#[test]
fn a_leader_whose_api_server_is_gone_leads_no_more_after_its_deadline() {
    let server = ApiServer::start();
    run(async {
        let client = client(&server).await;
        let mut a = candidate(&client, "a");
        shown("a to lead", &mut a.leadership, leads).await;
        let begun = Instant::now();
        drop(server);
        let of_a = shown("a to stop", &mut a.leadership, |it| {
            it.role == Role::Follower
        })
        .await;
        println!("API server gone: it stops after {:?}", begun.elapsed());
        assert!(!leads(&of_a));
        assert!(
            begun.elapsed() <= Duration::from_secs(12),
            "{:?}",
            begun.elapsed()
        );
        let said = tokio::time::timeout(EVENT_WAIT_MAX, a.complaints.recv())
            .await
            .unwrap();
        assert!(said.unwrap().contains("default/operator"), "it is said");
    });
}

/// A replica that is stopped has given the Lease back when it ends, whether it serves already or waits for its first table.
#[test]
fn a_stopped_operator_ends_after_the_lease_was_given_back() {
    for is_ready in [false, true] {
        let server = if is_ready {
            crate::with_definition().0
        } else {
            // Without the CRD there is no first table.
            ApiServer::start()
        };
        let kubeconfig = server.kubeconfig();
        let operator = Process::start("fixgw operator", tool::program("fixgw"), |command| {
            command
                .args(["operator", "--namespace=default", "--lease=operator"])
                .args(["--identity=a", "--filter=/filter.wasm", "--output=json"])
                .args(["--xds=127.0.0.1:0", "--probes=127.0.0.1:0"])
                .env("KUBECONFIG", &kubeconfig);
        });
        let holder = || held_by(&server).as_str().map(str::to_owned);
        wait_until("it to lead", || holder().filter(|it| it.starts_with("a_")));
        if is_ready {
            let table = "/api/v1/namespaces/default/configmaps/fix-gateway-table";
            wait_until("a table", || (server.get(table).code == 200).then_some(()));
        }
        operator.signal(Signal::TERM);
        assert!(operator.wait_exit().success());
        assert_eq!(holder(), None, "it was ready: {is_ready}");
    }
}
