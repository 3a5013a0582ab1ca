//! What if the replica that writes is gone, or does not know that another one does, or all are gone at once?

use std::time::{Duration, Instant};

use fixgw_e2e::cluster::RELEASE_NAMESPACE;
use fixgw_e2e::inside::inside;
use fixgw_e2e::process::wait_until;
use serde_json::json;

use super::scene::{
    LEASE, PROBE, attacked, condition, route, said, session_path, sized, wait_programmed,
};

/// How long the Lease of one who is gone keeps others from writing.
const FAILOVER_MAX: Duration = Duration::from_secs(15);

#[test]
fn a_leader_that_is_killed_or_robbed_of_its_lease_is_followed_by_another_and_nothing_is_lost() {
    inside(|| {
        let times = sized(1, 5);
        let fault = format!("the leader killed {times} times, and its Lease stolen");
        attacked(&fault, &[], |scene| {
            let mut engines = ["after", "before"].iter().cycle();
            for _ in 0..times {
                let engine = engines.next().unwrap();
                let before = scene.holder().unwrap();
                let (pod, process) = scene.operators().remove(0);
                process.kill();
                let since = Instant::now();
                scene.lead_probe(engine);
                let now = scene.wait_other_leader(&before, FAILOVER_MAX);
                println!("another leads after {} ms", since.elapsed().as_millis());
                assert!(
                    !now.starts_with(&pod.name.1),
                    "{now}, who knows it no longer"
                );
                wait_programmed(scene.cluster, "probe");
                scene.assert_leads(PROBE, engine);
            }

            // Somebody writes his own name in it.
            let replicas = scene.operators();
            let revision = scene.revision();
            scene.patch(LEASE, &json!({ "spec": { "holderIdentity": "thief" } }));
            let since = Instant::now();
            scene.wait_said(&replicas[..1], "this replica leads no more");
            let engine = engines.next().unwrap();
            scene.lead_probe(engine);
            // The thief does not renew it. Until it has run out, nobody writes.
            let is_stolen = || scene.holder().as_deref() == Some("thief");
            while is_stolen() {
                let now = scene.revision();
                let probe = scene.get(&session_path("probe"));
                if !is_stolen() {
                    // What was read may be of the time after it.
                    break;
                }
                assert_eq!(now, revision, "somebody writes");
                let programmed = condition(&probe, "Programmed");
                assert!(
                    programmed.is_none(),
                    "somebody says of the change: {programmed:?}"
                );
                scene.flock.wait_rounds(1);
            }
            println!(
                "the Lease is taken back after {} ms",
                since.elapsed().as_millis()
            );
            wait_programmed(scene.cluster, "probe");
            scene.assert_leads(PROBE, engine);
            assert!(scene.revision() > revision);
        });
    });
}

#[test]
fn a_conflict_that_stands_while_all_replicas_are_killed_holds_the_last_good_table_for_new_gateways_too()
 {
    inside(|| {
        attacked(
            "all operators killed while a conflict stands",
            &[],
            |scene| {
                let revision = scene.revision();
                scene.apply(&[route("twin", PROBE, "after")]);
                for (name, kind, status) in [
                    ("probe", "Conflicted", "True"),
                    ("twin", "Accepted", "False"),
                ] {
                    let path = session_path(name);
                    scene
                        .cluster
                        .wait_object(&path, "to be in conflict", |object| {
                            let found = condition(object, kind)?;
                            (found["status"] == status && found["reason"] == "Conflict")
                                .then_some(())
                        });
                }
                let killed = scene.operators();
                for (_, process) in &killed {
                    process.kill();
                }
                scene.assert_leads(PROBE, "before");
                let again = scene
                    .cluster
                    .wait_pods("the operators to be started again", |pods| {
                        let pods = pods.iter().filter(|pod| {
                            let was = killed.iter().find(|(was, _)| was.uid == pod.uid);
                            was.is_some_and(|(_, process)| pod.process().pid() != process.pid())
                        });
                        let pods: Vec<_> = pods.map(|pod| (*pod).clone()).collect();
                        (pods.len() == killed.len()).then_some(pods)
                    });
                let scale = [
                    "scale",
                    "-n",
                    RELEASE_NAMESPACE,
                    "--replicas=3",
                    "deployment/fix-gateway-gateway",
                ];
                let _ = scene.cluster.kubectl(&scale).succeeded();
                scene
                    .cluster
                    .wait_rolled_out(RELEASE_NAMESPACE, "deployment/fix-gateway-gateway");
                assert_eq!(scene.gateways().len(), 3);
                scene.assert_leads(PROBE, "before");
                assert_eq!(scene.revision(), revision);

                // The next leader finds the conflict, too.
                wait_until("one of them to lead", || {
                    again
                        .iter()
                        .any(|pod| said(pod.process(), "this replica leads"))
                        .then_some(())
                });
                scene.assert_leads(PROBE, "before");
                assert_eq!(scene.revision(), revision);
                scene.delete(&session_path("probe"));
                wait_programmed(scene.cluster, "twin");
                scene.assert_leads(PROBE, "after");
            },
        );
    });
}
