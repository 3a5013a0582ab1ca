//! Does the operator keep up with a large set that changes all the while, and say the truth of each object soon after?

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fixgw_e2e::api::{Api, Sent};
use fixgw_e2e::inside::inside;
use fixgw_e2e::memory::Memory;
use fixgw_e2e::process::wait_until_for;
use serde_json::{Value, json};

use super::scene::{Scene, attacked, condition, route, session_path, sized};
use crate::sessions;

/// Changes in a second.
const RATE: u32 = 50;
/// Statuses that may be written in a second.
const WRITES_MAX: usize = 50;
/// In which they are counted.
const WINDOW: Duration = Duration::from_secs(5);
/// Threads that write, each one request at a time.
const WRITERS: usize = 4;
/// What it may take beside the writes until all is said.
const SLACK: Duration = Duration::from_secs(10);

/// What somebody who watches all FIXSessions sees.
#[derive(Default)]
struct Watched {
    /// The generation of each, as it was seen last.
    generations: BTreeMap<String, u64>,
    /// When each status was written.
    writes: Vec<Instant>,
}

fn watch(api: &Api, ended: &Arc<AtomicBool>) -> Arc<Mutex<Watched>> {
    let watched = Arc::new(Mutex::new(Watched::default()));
    let (api, ended, seen) = (api.clone(), Arc::clone(ended), Arc::clone(&watched));
    let list = api.get(&sessions()).body;
    let mut at = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    std::thread::spawn(move || {
        while !ended.load(Ordering::Acquire) {
            let from = at.clone();
            let _ = api.watch(&sessions(), &from, |change| {
                let metadata = &change["object"]["metadata"];
                let version = metadata["resourceVersion"].as_str();
                version.unwrap().clone_into(&mut at);
                let name = metadata["name"].as_str().unwrap_or_default().to_owned();
                let generation = metadata["generation"].as_u64().unwrap_or_default();
                let mut seen = seen.lock().unwrap();
                if seen.generations.insert(name, generation) == Some(generation) {
                    seen.writes.push(Instant::now());
                }
                !ended.load(Ordering::Acquire)
            });
        }
    });
    watched
}

/// The most writes within [`WINDOW`].
fn most_in_a_window(writes: &[Instant]) -> usize {
    let count = |since: &Instant| {
        let within = writes.iter();
        within
            .filter(|at| *at >= since && **at - *since < WINDOW)
            .count()
    };
    writes.iter().map(count).max().unwrap_or(0)
}

/// Does something so many times, by several threads, so many times in a second at most.
fn repeat(scene: &Scene<'_>, count: usize, rate: Option<u32>, act: impl Fn(&Api, usize) + Sync) {
    let begun = Instant::now();
    let api = scene.cluster.api();
    std::thread::scope(|threads| {
        for writer in 0..WRITERS {
            let act = &act;
            threads.spawn(move || {
                for number in (writer..count).step_by(WRITERS) {
                    if let Some(rate) = rate {
                        let due =
                            begun + Duration::from_secs(1) * u32::try_from(number).unwrap() / rate;
                        // A rate is time, and nothing announces it.
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    }
                    act(api, number);
                }
            });
        }
    });
}

/// Whether every object's status is about it as it is, and says that it is in force.
fn all_is_said(scene: &Scene<'_>) -> bool {
    let all = scene.get(&sessions());
    let mut all = all["items"].as_array().unwrap().iter();
    all.all(|object| {
        let is =
            |kind: &str| condition(object, kind).is_some_and(|found| found["status"] == "True");
        is("Accepted") && is("Programmed")
    })
}

#[test]
fn a_large_set_that_changes_all_the_while_is_followed_and_told_in_time() {
    inside(|| {
        let objects = sized(500, 5_000);
        let time = Duration::from_secs(sized(20, 300));
        let fault = format!(
            "{objects} FIXSessions, {RATE} changes a second for {} s",
            time.as_secs()
        );
        attacked(&fault, &[], |scene| {
            let ended = Arc::new(AtomicBool::new(false));
            let watched = watch(scene.cluster.api(), &ended);
            let name = |number: usize| format!("many-{number}");
            let sender = |number: usize| format!("PROBE_{number}");
            repeat(scene, objects, None, |api, number| {
                let object = route(&name(number), &sender(number), "before");
                let made = api.create(&sessions(), Sent::Json(&object));
                assert_eq!(made.code, 201, "{}", made.message());
            });
            let in_time = |what: &str, written: usize| {
                let bound = Duration::from_secs((written / WRITES_MAX) as u64) + SLACK;
                let since = Instant::now();
                wait_until_for(bound, what, || all_is_said(scene).then_some(()));
                println!(
                    "{what}: {} ms after the last change",
                    since.elapsed().as_millis()
                );
            };
            in_time("every new object to be told of", objects);

            let begun = Instant::now();
            let changes = usize::try_from(time.as_secs()).unwrap() * usize::try_from(RATE).unwrap();
            repeat(scene, changes, Some(RATE), |api, number| {
                let engine = if (number / objects).is_multiple_of(2) {
                    "after"
                } else {
                    "before"
                };
                let target = json!({ "spec": { "target": { "service": { "name": engine } } } });
                let path = session_path(&name(number * 7 % objects));
                let done = api.patch(&path, Sent::Merge(&target));
                assert_eq!(done.code, 200, "{}", done.message());
            });
            println!("{changes} changes in {} ms", begun.elapsed().as_millis());
            in_time("every object to be told of again", objects.min(changes));
            scene.flock.assert_sound();
            for number in [0, objects / 2, objects - 1] {
                let object: Value = scene.get(&session_path(&name(number)));
                let engine = object["spec"]["target"]["service"]["name"]
                    .as_str()
                    .unwrap();
                scene.assert_leads(&sender(number), engine);
            }
            ended.store(true, Ordering::Release);
            let watched = watched.lock().unwrap();
            let most = most_in_a_window(&watched.writes);
            let all = watched.writes.len();
            println!("{all} statuses written, {most} within {WINDOW:?} at most");
            // They do not arrive quite as they were written.
            let seconds = usize::try_from(WINDOW.as_secs()).unwrap();
            assert!(
                most <= WRITES_MAX * (seconds + 1),
                "{most} within {WINDOW:?}"
            );
            // One for each object and change; a few are of who is connected.
            assert!(
                all <= objects + changes + WRITES_MAX,
                "{all} writes for {objects} objects and {changes} changes"
            );
            for (pod, process) in scene.operators() {
                let memory = Memory::of("operator", process.pid());
                println!("{}: {} kB", pod.name.1, memory.highest_kb());
            }
        });
    });
}
