//! Are many changes at once one change?

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fixgw_e2e::api::Api;
use fixgw_e2e::cluster::RELEASE_NAMESPACE;
use fixgw_e2e::inside::inside;
use fixgw_e2e::process::wait_until;
use fixgw_e2e::tool;
use serde_json::Value;

use super::scene::{
    POINTER, PROBE, Scene, attacked, condition, route, session_path, wait_programmed,
};
use crate::sessions;

/// Objects that are one change.
const MANY: usize = 1_000;

/// Every revision that was ever published, from here on.
struct Revisions {
    seen: Arc<Mutex<BTreeSet<u64>>>,
    ended: Arc<AtomicBool>,
}

impl Revisions {
    fn watch(api: &Api, pointer: &Value) -> Self {
        let revision = |object: &Value| {
            let text = object["data"]["revision"].as_str();
            text.and_then(|text| text.parse::<u64>().ok())
        };
        let seen = Arc::new(Mutex::new(BTreeSet::from_iter(revision(pointer))));
        let ended = Arc::new(AtomicBool::new(false));
        let mut at = pointer["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned();
        let watched = Self {
            seen: Arc::clone(&seen),
            ended: Arc::clone(&ended),
        };
        let api = api.clone();
        std::thread::spawn(move || {
            let maps = format!("/api/v1/namespaces/{RELEASE_NAMESPACE}/configmaps");
            while !ended.load(Ordering::Acquire) {
                let from = at.clone();
                let _ = api.watch(&maps, &from, |change| {
                    let object = &change["object"];
                    assert_ne!(change["type"], "ERROR", "something was missed: {change}");
                    let version = object["metadata"]["resourceVersion"].as_str();
                    version.unwrap().clone_into(&mut at);
                    if object["metadata"]["name"] == "fix-gateway-table" {
                        seen.lock().unwrap().extend(revision(object));
                    }
                    !ended.load(Ordering::Acquire)
                });
            }
        });
        watched
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Drop for Revisions {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

fn fixgw(scene: &Scene<'_>, arguments: &[&str]) -> String {
    let said = Command::new(tool::program("fixgw"))
        .args(arguments)
        .args(["-n", RELEASE_NAMESPACE])
        .env("KUBECONFIG", scene.cluster.kubeconfig())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        said.status.success(),
        "{}{}",
        text(&said.stdout),
        text(&said.stderr)
    );
    text(&said.stdout)
}

fn has_event(scene: &Scene<'_>, reason: &str) -> Option<()> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{RELEASE_NAMESPACE}/events");
    let events = scene.get(&path);
    let mut events = events["items"].as_array()?.iter();
    events
        .any(|event| event["reason"] == reason && event["regarding"]["name"] == "fix-gateway-table")
        .then_some(())
}

#[test]
fn a_swap_is_one_revision_and_so_are_a_thousand_objects_that_were_applied_while_publication_was_paused()
 {
    inside(|| {
        attacked(
            &format!("two targets swapped at once, and {MANY} objects in one revision"),
            &[],
            |scene| {
                let names = [("a", "PROBE_A"), ("b", "PROBE_B")];
                let lead = |engines: [&str; 2]| {
                    let routes = names
                        .iter()
                        .zip(engines)
                        .map(|((name, sender), engine)| route(name, sender, engine));
                    scene.apply(&routes.collect::<Vec<_>>());
                    for (name, _) in names {
                        wait_programmed(scene.cluster, name);
                    }
                    for ((_, sender), engine) in names.iter().zip(engines) {
                        scene.assert_leads(sender, engine);
                    }
                };
                lead(["before", "after"]);
                let revisions = Revisions::watch(scene.cluster.api(), &scene.get(POINTER));
                lead(["after", "before"]);
                assert_eq!(revisions.count(), 2, "the one before, and the swap");

                let said = fixgw(scene, &["pause", "--reason", "a thousand"]);
                println!("{said}");
                wait_until("an Event to say so", || has_event(scene, "Paused"));
                let many: Vec<Value> = (0..MANY)
                    .map(|n| route(&format!("many-{n}"), &format!("PROBE_{n}"), "before"))
                    .chain([route("probe", PROBE, "after")])
                    .collect();
                scene.apply(&many);
                for name in ["many-0", "probe"] {
                    scene
                        .cluster
                        .wait_object(&session_path(name), "to be paused", |object| {
                            (condition(object, "Accepted")?["reason"] == "Paused").then_some(())
                        });
                }
                scene.assert_leads(PROBE, "before");
                assert_eq!(revisions.count(), 2, "nothing while it is paused");
                let _ = fixgw(scene, &["resume"]);
                wait_programmed(scene.cluster, "probe");
                scene.assert_leads(PROBE, "after");
                let last = format!("PROBE_{}", MANY - 1);
                scene.assert_leads(&last, "before");
                wait_until("an Event to say so", || has_event(scene, "Resumed"));
                wait_until("every one of them to be programmed", || {
                    scene.flock.assert_sound();
                    let all = scene.get(&sessions());
                    let mut all = all["items"].as_array()?.iter();
                    all.all(|object| {
                        condition(object, "Programmed")
                            .is_some_and(|found| found["status"] == "True")
                    })
                    .then_some(())
                });
                assert_eq!(revisions.count(), 3, "and one for all of them");
            },
        );
    });
}
