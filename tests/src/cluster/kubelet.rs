//! Who puts pods on nodes and runs them?
//!
//! One thread plays the scheduler and hands each pod to a thread of its own ([`super::pod`]), which plays the kubelet. They do what they
//! do by the real API server: they bind, patch status and delete, and forget nothing while it is away.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::follow::{Change, follow};
use super::image::Image;
use super::names::Names;
use super::pod::Pod;
use crate::api::{Api, Sent};
use crate::process::{EVENT_WAIT_MAX, Journal, Process, journal};

/// The nodes that there are.
pub const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// How often it is looked whether it is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Lines of what the nodes did that are kept for a failing test.
const SAID_MAX: usize = 200;

/// What all pods share.
pub(super) struct Shared {
    pub(super) api: Api,
    pub(super) images: Vec<Image>,
    pub(super) scratch: PathBuf,
    pub(super) place: PathBuf,
    pub(super) names: Names,
    pub(super) server_port: u16,
    ended: Arc<AtomicBool>,
    addresses: AtomicU16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By uid.
    pods: BTreeMap<String, RunningPod>,
    said: Vec<String>,
}

/// A pod whose containers have been started.
#[derive(Clone)]
pub struct RunningPod {
    /// Its namespace and name.
    pub name: (String, String),
    /// Which of all that had or will have this name.
    pub uid: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The processes that run in it, by the containers' names: those started last.
    pub containers: BTreeMap<String, Arc<Process>>,
}

/// To a pod.
pub(super) enum Message {
    /// The API server has it like this.
    Seen(Value),
    /// The API server has it no more.
    Gone,
    /// Its volumes are to be written again; then to be answered.
    Refresh(Sender<()>),
}

/// Those who play the nodes.
pub(super) struct Kubelet {
    pub(super) shared: Arc<Shared>,
    workers: Workers,
    main: Option<JoinHandle<()>>,
}

type Workers = Arc<Mutex<BTreeMap<String, (Sender<Message>, JoinHandle<()>)>>>;

/// By uid: the owner's uid, and the node.
type Placed = BTreeMap<String, (String, String)>;

impl Shared {
    pub(super) fn next_address(&self) -> Ipv4Addr {
        let [third, fourth] = self.addresses.fetch_add(1, Ordering::AcqRel).to_be_bytes();
        Ipv4Addr::new(10, 77, third, fourth)
    }

    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For who reads why a test failed.
    pub(super) fn say(&self, message: &str) {
        let mut state = self.state();
        if state.said.last().is_none_or(|last| last != message) && state.said.len() < SAID_MAX {
            state.said.push(message.to_owned());
        }
    }

    pub(super) fn started(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        address: Ipv4Addr,
        container: &str,
        process: Arc<Process>,
    ) {
        let mut state = self.state();
        let pod = state
            .pods
            .entry(uid.to_owned())
            .or_insert_with(|| RunningPod {
                name: (namespace.to_owned(), name.to_owned()),
                uid: uid.to_owned(),
                address,
                containers: BTreeMap::new(),
            });
        pod.containers.insert(container.to_owned(), process);
        self.changed.notify_all();
    }

    pub(super) fn forget(&self, uid: &str) {
        self.state().pods.remove(uid);
        self.changed.notify_all();
    }

    /// Waits until the pods that run now show something.
    pub(super) fn wait<T>(&self, what: &str, find: impl Fn(&[&RunningPod]) -> Option<T>) -> T {
        let end = Instant::now() + EVENT_WAIT_MAX;
        let mut state = self.state();
        loop {
            let pods: Vec<&RunningPod> = state.pods.values().collect();
            if let Some(found) = find(&pods) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited in vain for {what}\n{}\n{}",
                state.said.join("\n"),
                journal()
            );
            (state, _) = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn said(&self) -> String {
        self.state().said.join("\n")
    }
}

impl Kubelet {
    pub(super) fn start(api: &Api, images: Vec<Image>, scratch: &Path, server_port: u16) -> Self {
        let [place, pods] = ["root", "pods"].map(|name| {
            let directory = scratch.join(name);
            std::fs::create_dir_all(&directory).expect("a directory can be made");
            directory
        });
        let ended = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            api: api.clone(),
            images,
            scratch: pods,
            place,
            names: Names::serve(),
            server_port,
            ended: Arc::clone(&ended),
            // 10.77.1.0 and onwards; the test itself has 10.77.0.1.
            addresses: AtomicU16::new(0x0101),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let (sender, heard) = channel();
        follow(
            api.clone(),
            "/api/v1/pods",
            Arc::clone(&ended),
            move |change| {
                let _ = sender.send(change);
            },
        );
        let names = Arc::clone(&shared);
        let slices = "/apis/discovery.k8s.io/v1/endpointslices";
        follow(api.clone(), slices, ended, move |change| {
            names.names.hear(change);
        });
        let workers = Workers::default();
        let main = {
            let (shared, workers) = (Arc::clone(&shared), Arc::clone(&workers));
            let journal = Journal::here();
            std::thread::spawn(move || {
                run(&shared, &heard, &workers, &journal);
            })
        };
        Self {
            shared,
            workers,
            main: Some(main),
        }
    }

    /// Writes the volumes of all pods again.
    pub(super) fn refresh(&self) {
        let (sender, done) = channel();
        let mut asked = 0;
        for (worker, _) in lock(&self.workers).values() {
            if worker.send(Message::Refresh(sender.clone())).is_ok() {
                asked += 1;
            }
        }
        for _ in 0..asked {
            let _ = done.recv_timeout(EVENT_WAIT_MAX);
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        if let Some(main) = self.main.take() {
            let _ = main.join();
        }
        let workers = std::mem::take(&mut *lock(&self.workers));
        let mut failed = Vec::new();
        for (uid, (sender, thread)) in workers {
            drop(sender);
            if thread.join().is_err() {
                failed.push(uid);
            }
        }
        if std::thread::panicking() {
            eprintln!(
                "--- the nodes\n{}\n--- the names\n{}",
                self.shared.said(),
                self.shared.names.shown()
            );
        } else {
            assert!(failed.is_empty(), "who played the nodes failed");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(shared: &Arc<Shared>, heard: &Receiver<Change>, workers: &Workers, journal: &Journal) {
    // By uid: whose it is, and where.
    let mut placed: Placed = BTreeMap::new();
    while !shared.ended() {
        let Ok(change) = heard.recv_timeout(LOOK_INTERVAL) else {
            continue;
        };
        match change {
            Change::All(objects) => {
                let there: Vec<&str> = objects.iter().map(uid).collect();
                placed.retain(|uid, _| there.contains(&uid.as_str()));
                lock(workers).retain(|uid, (sender, _)| {
                    let is_there = there.contains(&uid.as_str());
                    if !is_there {
                        let _ = sender.send(Message::Gone);
                    }
                    is_there
                });
                for object in objects {
                    see(shared, object, &mut placed, workers, journal);
                }
            }
            Change::Deleted(object) => {
                placed.remove(uid(&object));
                if let Some((sender, _)) = lock(workers).remove(uid(&object)) {
                    let _ = sender.send(Message::Gone);
                }
            }
            Change::There(object) => see(shared, object, &mut placed, workers, journal),
        }
    }
}

fn see(
    shared: &Arc<Shared>,
    object: Value,
    placed: &mut Placed,
    workers: &Workers,
    journal: &Journal,
) {
    if matches!(
        object["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    ) {
        return;
    }
    let owner = object["metadata"]["ownerReferences"][0]["uid"].as_str();
    let owner = owner.unwrap_or_default().to_owned();
    let uid = uid(&object).to_owned();
    let Some(node) = object["spec"]["nodeName"].as_str() else {
        let node = choose(&object, &owner, placed);
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": { "name": object["metadata"]["name"], "uid": uid },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/binding",
            object["metadata"]["namespace"].as_str().unwrap_or_default(),
            object["metadata"]["name"].as_str().unwrap_or_default()
        );
        // What fails is seen again with all others.
        let _ = shared
            .api
            .try_ask("POST", &path, Some(Sent::Json(&binding)), "*/*");
        placed.insert(uid, (owner, node));
        return;
    };
    placed.insert(uid.clone(), (owner, node.to_owned()));
    let mut workers = lock(workers);
    if let Some((sender, _)) = workers.get(&uid) {
        let _ = sender.send(Message::Seen(object));
        return;
    }
    let (sender, inbox) = channel();
    let (shared, journal) = (Arc::clone(shared), journal.clone());
    let thread = std::thread::spawn(move || {
        journal.keep_here();
        Pod::look_after(shared, object, &inbox);
    });
    workers.insert(uid, (sender, thread));
}

/// The node that a DaemonSet wants, or the one with the fewest pods of the same owner.
fn choose(object: &Value, owner: &str, placed: &Placed) -> String {
    let required = &object["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"][0];
    let wanted = required["matchFields"].as_array().into_iter().flatten();
    let mut wanted = wanted.filter(|field| field["key"] == "metadata.name");
    if let Some(node) = wanted.find_map(|field| field["values"][0].as_str()) {
        return node.to_owned();
    }
    let load = |node: &&str| {
        let on = placed.values().filter(|(_, on)| on == node);
        let same = on.clone().filter(|(of, _)| of == owner);
        (same.count(), on.count())
    };
    let node = NODES.iter().min_by_key(|node| load(node));
    node.expect("there are nodes").to_string()
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}
