//! What if the operator's rights are taken away, and given back?

use fixgw_e2e::cluster::RELEASE_NAMESPACE;
use fixgw_e2e::inside::inside;
use fixgw_e2e::process::wait_until;
use serde_json::{Value, json};

use super::scene::{PROBE, Scene, attacked, condition, service, session_path, wait_programmed};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Takes the rights to a resource out of a Role, and ends all watches, for whoever watches was asked once. The Role as it was.
fn forbid(scene: &Scene<'_>, role: &str, resource: &str) -> Value {
    let was = scene.get(role);
    let rules = was["rules"].as_array().unwrap().iter();
    let left: Vec<Value> = rules
        .filter(|rule| {
            !rule["resources"]
                .as_array()
                .unwrap()
                .contains(&resource.into())
        })
        .cloned()
        .collect();
    assert!(left.len() < was["rules"].as_array().unwrap().len());
    scene.patch(role, &json!({ "rules": left }));
    scene.relay.cut();
    json!({ "rules": was["rules"] })
}

#[test]
fn rights_that_are_taken_away_stop_what_needs_them_alone_and_all_is_well_when_they_are_back() {
    inside(|| {
        attacked(
            "rights to the table, to statuses and to endpoints taken away and given back",
            &[],
            |scene| {
                let replicas = scene.operators();
                let own =
                    format!("{RBAC}/namespaces/{RELEASE_NAMESPACE}/roles/fix-gateway-operator");
                let all = format!("{RBAC}/clusterroles/{RELEASE_NAMESPACE}-fix-gateway-operator");

                // Nothing can be published; what was published counts.
                let revision = scene.revision();
                let rights = forbid(scene, &own, "configmaps");
                scene.wait_said(
                    &replicas,
                    "give the operator's service account the right to get and watch ConfigMaps",
                );
                scene.lead_probe("after");
                scene.cluster.wait_object(
                    &session_path("probe"),
                    "to say that it is not published",
                    |object| {
                        let accepted = condition(object, "Accepted")?;
                        (accepted["status"] == "False" && accepted["reason"] == "NotPublished")
                            .then_some(())
                    },
                );
                scene.assert_leads(PROBE, "before");
                assert_eq!(scene.revision(), revision);
                scene.patch(&own, &rights);
                wait_programmed(scene.cluster, "probe");
                scene.assert_leads(PROBE, "after");

                // Nobody is told; it counts all the same.
                let rights = forbid(scene, &all, "fixsessions/status");
                scene.lead_probe("before");
                scene.wait_said(
                    &replicas,
                    "grant the operator's service account the verb `patch` on `fixsessions/status`",
                );
                scene.wait_leads(PROBE, "before");
                assert!(condition(&scene.get(&session_path("probe")), "Programmed").is_none());
                scene.patch(&all, &rights);
                wait_programmed(scene.cluster, "probe");

                // The endpoints stay what they were, and so does all that goes to them.
                let rights = forbid(scene, &all, "endpointslices");
                scene.wait_said(&replicas, "endpointslices");
                scene.change_to("after");
                scene.assert_leads(PROBE, "after");
                // Another address for a target, which nobody may see yet.
                let moved = fixgw_e2e::echo::EchoEngine::start_on("moved", super::scene::host());
                let [_, mut slice] = service("before", moved.address());
                slice["metadata"]["name"] = "before".into();
                scene.apply(&[slice]);
                scene.change_to("before");
                scene.patch(&all, &rights);
                scene.wait_leads(PROBE, "moved");
                wait_until("nobody to be connected", || {
                    (!moved.received().is_empty()).then_some(())
                });
            },
        );
    });
}
