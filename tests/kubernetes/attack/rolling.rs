//! What if replicas differ: while a new version takes the place of the old one, and when one of them is behind?

use std::time::Duration;

use fixgw_e2e::cluster::{RELEASE_NAMESPACE, RunningPod};
use fixgw_e2e::echo::EchoEngine;
use fixgw_e2e::inside::inside;
use fixgw_e2e::process::{EVENT_WAIT_MAX, wait_until};
use serde_json::json;

use super::scene::{PROBE, STANDS_ASIDE, Scene, attacked, host, service, sized};

/// So often it is looked whether something was taken back.
const ROUNDS: usize = 20;
/// A replica stands aside 34 s after it was answered last, at the latest.
const ASIDE_MAX: Duration = Duration::from_mins(1);
const OPERATOR: &str = "/apis/apps/v1/namespaces/fix-system/deployments/fix-gateway-operator";

/// Kills a replica, and waits until it was started again.
fn start_again(scene: &Scene<'_>, replica: &RunningPod) {
    let before = scene.process_of(replica);
    before.kill();
    wait_until("a replica to be started again", || {
        (scene.process_of(replica).pid() != before.pid()).then_some(())
    });
}

#[test]
fn replicas_that_replace_each_other_and_one_that_is_behind_take_nothing_back() {
    inside(|| {
        let times = sized(1, 5);
        let fault = format!("operator rolled {times} times, and a replica that is behind");
        attacked(&fault, &[], |scene| {
            let mut engines = ["after", "before"].iter().cycle();
            for time in 0..times {
                let before = scene.operators();
                // The new ones are told apart by a setting of theirs.
                let quiet = format!("operator.settle.quietMs={}", 200 - time);
                let annotation = json!({ "roll": quiet });
                scene.patch(OPERATOR, &json!({ "spec": { "template": { "metadata": { "annotations": annotation } } } }));
                let mut changed = 0;
                wait_until(
                    "the new replicas to have taken the place of the old",
                    || {
                        // Changes go on, whoever leads.
                        let engine = engines.next().unwrap();
                        scene.change_to(engine);
                        changed += 1;
                        let now = scene.release.pods("operator");
                        let all_new = now
                            .iter()
                            .all(|pod| before.iter().all(|(old, _)| old.uid != pod.uid));
                        (all_new && now.len() == before.len()).then_some(())
                    },
                );
                println!("{changed} changes while they were replaced");
                scene
                    .cluster
                    .wait_rolled_out(RELEASE_NAMESPACE, "deployment/fix-gateway-operator");
            }
            scene.change_to("before");

            // All gateways come to one replica: the other cannot serve.
            let replicas = scene.operators();
            let [(behind, _), (other, _)] = &replicas[..] else {
                panic!("two replicas: {}", replicas.len());
            };
            let before = scene.holder().unwrap();
            scene.relay.freeze(behind.address.into());
            start_again(scene, behind);
            let _ = scene.wait_other_leader(&before, EVENT_WAIT_MAX);
            scene.change_to("after");
            scene.relay.thaw(behind.address.into());
            let object = "deployment/fix-gateway-operator";
            scene.cluster.wait_rolled_out(RELEASE_NAMESPACE, object);

            // It hears nothing any more, and does not know it; then the other publishes, and goes.
            scene.relay.freeze(behind.address.into());
            let old = scene.revision();
            scene.lead_probe("before");
            scene.wait_leads(PROBE, "before");
            let revision = scene.revision();
            assert!(revision > old);
            scene.relay.freeze(other.address.into());
            start_again(scene, other);
            for _ in 0..ROUNDS {
                scene.assert_leads(PROBE, "before");
                scene.flock.wait_rounds(1);
            }
            assert_eq!(scene.revision(), revision);

            // They have come to it: what it hears now, and it alone, counts.
            scene.relay.thaw(behind.address.into());
            scene.change_to("after");
            scene.relay.thaw(other.address.into());
            scene.cluster.wait_rolled_out(RELEASE_NAMESPACE, object);
            scene.change_to("before");
        });
    });
}

#[test]
fn a_replica_that_alone_hears_nothing_sends_its_gateways_to_the_other_and_serves_again_when_it_hears()
 {
    inside(|| {
        attacked(
            "one replica of two hears the API server no more",
            &[],
            |scene| {
                // All gateways come to one replica.
                let replicas = scene.operators();
                let [(hearing, _), (deaf, process)] = &replicas[..] else {
                    panic!("two replicas: {}", replicas.len());
                };
                let before = scene.holder().unwrap();
                start_again(scene, hearing);
                let _ = scene.wait_other_leader(&before, EVENT_WAIT_MAX);
                let object = "deployment/fix-gateway-operator";
                scene.cluster.wait_rolled_out(RELEASE_NAMESPACE, object);

                scene.relay.freeze(deaf.address.into());
                let deaf_alone = [(deaf.clone(), process.clone())];
                scene.wait_said_within(ASIDE_MAX, &deaf_alone, STANDS_ASIDE);
                scene.cluster.wait_object(
                    &format!("/api/v1/namespaces/{}/pods/{}", deaf.name.0, deaf.name.1),
                    "not to be ready",
                    |pod| {
                        let mut conditions = pod["status"]["conditions"].as_array()?.iter();
                        let ready = conditions.find(|condition| condition["type"] == "Ready")?;
                        (ready["status"] == "False").then_some(())
                    },
                );
                // A target has another address, of which the deaf one does not know.
                let moved = EchoEngine::start_on("moved", host());
                let [_, slice] = service("before", moved.address());
                scene.apply(&[slice]);
                scene.wait_leads(PROBE, "moved");
                scene.change_to("after");

                scene.relay.thaw(deaf.address.into());
                scene.wait_said(&deaf_alone, "this replica serves gateways again");
                scene.cluster.wait_rolled_out(RELEASE_NAMESPACE, object);
                scene.lead_probe("before");
                scene.wait_leads(PROBE, "moved");
            },
        );
    });
}
