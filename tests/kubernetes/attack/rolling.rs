//! What if replicas differ: while a new version takes the place of the old one, and when one of them is behind?

use fixgw_e2e::cluster::{RELEASE_NAMESPACE, RunningPod};
use fixgw_e2e::inside::inside;
use fixgw_e2e::process::{EVENT_WAIT_MAX, wait_until};
use serde_json::json;

use super::scene::{PROBE, Scene, attacked, sized};

/// So often it is looked whether something was taken back.
const ROUNDS: usize = 20;
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
