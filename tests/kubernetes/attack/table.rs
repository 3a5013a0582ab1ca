//! What if somebody lays hands on the published table?

use fixgw_e2e::api::Sent;
use fixgw_e2e::cluster::RELEASE_NAMESPACE;
use fixgw_e2e::inside::inside;
use fixgw_e2e::process::wait_until;
use serde_json::{Value, json};

use super::scene::{POINTER, PROBE, Scene, attacked};

/// The chunks that the pointer names, as they are.
fn chunks(scene: &Scene<'_>) -> Vec<Value> {
    let named = scene.get(POINTER)["data"]["chunks"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/v1/namespaces/{RELEASE_NAMESPACE}/configmaps");
    let all = scene.get(&format!(
        "{path}?labelSelector=fixgateway.io/table=fix-gateway-table"
    ));
    let maps = all["items"].as_array().unwrap().iter().filter(|map| {
        let name = map["metadata"]["name"].as_str().unwrap();
        let id = name.rsplit('-').next().unwrap();
        map["metadata"]["name"] != "fix-gateway-table" && named.contains(id)
    });
    let found: Vec<Value> = maps.cloned().collect();
    assert!(found.len() > 1, "a table has chunks: {named}");
    found
}

fn path(map: &Value) -> String {
    let name = map["metadata"]["name"].as_str().unwrap();
    format!("/api/v1/namespaces/{RELEASE_NAMESPACE}/configmaps/{name}")
}

/// Waits until an object is there with the content that it had, as another one than `than`.
fn wait_restored(scene: &Scene<'_>, was: &Value, than: &Value) {
    wait_until("the ConfigMap to be put back", || {
        scene.flock.assert_sound();
        let now = scene.cluster.api().get(&path(was));
        let is = now.code == 200
            && now.body["metadata"]["uid"] != than["metadata"]["uid"]
            && now.body["binaryData"] == was["binaryData"]
            && now.body["data"] == was["data"];
        is.then_some(())
    });
}

#[test]
fn a_pointer_and_chunks_that_are_deleted_or_altered_are_refused_told_and_put_back() {
    inside(|| {
        attacked(
            "pointer deleted, chunks deleted and altered",
            &[],
            |scene| {
                let replicas = scene.operators();
                let revision = scene.revision();

                let pointer = scene.get(POINTER);
                scene.delete(POINTER);
                scene.wait_said(
                    &replicas,
                    "the ConfigMap fix-system/fix-gateway-table is gone",
                );
                wait_restored(scene, &pointer, &pointer);
                scene.wait_said(
                    &replicas,
                    "the ConfigMap fix-system/fix-gateway-table was gone, and is put back",
                );
                assert_eq!(scene.revision(), revision);
                scene.assert_leads(PROBE, "before");

                // What it says is not what was published.
                scene.patch(POINTER, &json!({ "data": { "revision": "1" } }));
                scene.wait_said(
                    &replicas,
                    "the ConfigMap fix-system/fix-gateway-table is not as it was published",
                );
                wait_until("the pointer to be put right", || {
                    (scene.revision() == revision).then_some(())
                });
                scene.assert_leads(PROBE, "before");

                for chunk in chunks(scene) {
                    scene.delete(&path(&chunk));
                    wait_restored(scene, &chunk, &chunk);
                    let name = chunk["metadata"]["name"].as_str().unwrap();
                    scene.wait_said(
                        &replicas,
                        &format!("the ConfigMap fix-system/{name} was gone, and is put back"),
                    );
                }
                scene.assert_leads(PROBE, "before");

                // It cannot be altered in place; so somebody makes another one under its name.
                for chunk in chunks(scene) {
                    let name = chunk["metadata"]["name"].as_str().unwrap();
                    let mut altered = json!({
                        "apiVersion": "v1", "kind": "ConfigMap", "immutable": true,
                        "metadata": { "name": name, "labels": chunk["metadata"]["labels"] },
                    });
                    altered["binaryData"] = json!({ "chunk": "QUxURVJFRA==" });
                    let maps = format!("/api/v1/namespaces/{RELEASE_NAMESPACE}/configmaps");
                    // The operators hear of both at once, or the one that is gone would be told.
                    for (pod, _) in &replicas {
                        scene.relay.freeze(pod.address.into());
                    }
                    scene.delete(&path(&chunk));
                    let made = scene.cluster.api().create(&maps, Sent::Json(&altered));
                    assert_eq!(made.code, 201, "{}", made.message());
                    for (pod, _) in &replicas {
                        scene.relay.thaw(pod.address.into());
                    }
                    let made = made.body;
                    wait_restored(scene, &chunk, &made);
                    let told = format!(
                        "the ConfigMap fix-system/{name} was not as it was published, and is put back"
                    );
                    scene.wait_said(&replicas, &told);
                }
                assert_eq!(scene.revision(), revision);
                scene.assert_leads(PROBE, "before");
                scene.change_to("after");
            },
        );
    });
}
