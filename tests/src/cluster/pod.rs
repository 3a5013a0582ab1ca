//! What becomes of one pod: its programs are started, probed, started again and ended, and its status says so.
//!
//! Differs from a real kubelet where a test would only wait longer: probes come at least every [`PROBE_INTERVAL_MAX`] and without an
//! initial delay, and what ended is started again soon. Volumes are written once, and again when a test asks for it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::kubelet::{Message, Shared};
use super::names::Names;
use super::sandbox::{Container, Mount, Network, Writing, start_beside, write_volume};
use crate::api::Sent;
use crate::inside::HOST;
use crate::process::Process;

/// The longest time between two probes.
const PROBE_INTERVAL_MAX: Duration = Duration::from_millis(250);

/// How often a pod is looked after.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Before what ended is started again: at once, then so long, and each time twice as long up to the bound.
const RESTART_DELAY: Duration = Duration::from_millis(200);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(5);

/// Bytes of an answer to a probe that are read.
const PROBE_ANSWER_BYTES_MAX: usize = 4096;

/// Where a container's volumes are.
type Volumes = BTreeMap<String, PathBuf>;

/// A pod that runs on one of the nodes.
pub(super) struct Pod {
    shared: Arc<Shared>,
    /// As the API server has it.
    object: Value,
    network: Network,
    directory: PathBuf,
    volumes: Volumes,
    generation: u64,
    containers: Vec<Running>,
    written: Value,
    ready_since: Option<jiff::Timestamp>,
    started: jiff::Timestamp,
}

struct Running {
    spec: Value,
    name: String,
    environment: Vec<(String, String)>,
    process: Option<Arc<Process>>,
    restarts: u32,
    start_at: Instant,
    readiness: Probe,
    liveness: Probe,
    startup: Probe,
    hook: Option<Process>,
    stopping: Stopping,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    Hook,
    Signalled,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Success,
    Failure,
}

/// What a probe has shown so far.
struct Probe {
    spec: Value,
    due: Instant,
    failures: u64,
    successes: u64,
    passed: bool,
}

impl Drop for Running {
    /// Somebody else may still listen to what it said.
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            process.kill();
        }
    }
}

impl Probe {
    fn new(spec: &Value, passed: bool) -> Self {
        Self {
            spec: spec.clone(),
            due: Instant::now(),
            failures: 0,
            successes: 0,
            passed: passed || spec.is_null(),
        }
    }

    fn is_due(&self) -> bool {
        !self.spec.is_null() && Instant::now() >= self.due
    }

    fn take(&mut self, outcome: Outcome) {
        let threshold = |key: &str, default| self.spec[key].as_u64().unwrap_or(default);
        match outcome {
            Outcome::Success => {
                self.failures = 0;
                self.successes += 1;
                if self.successes >= threshold("successThreshold", 1) {
                    self.passed = true;
                }
            }
            Outcome::Failure => {
                self.successes = 0;
                self.failures += 1;
                if self.failures >= threshold("failureThreshold", 3) {
                    self.passed = false;
                }
            }
        }
        let period = Duration::from_secs(threshold("periodSeconds", 10));
        self.due = Instant::now() + period.min(PROBE_INTERVAL_MAX);
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.spec["timeoutSeconds"].as_u64().unwrap_or(1))
    }
}

impl Pod {
    /// Has it until it is gone.
    pub(super) fn look_after(shared: Arc<Shared>, object: Value, inbox: &Receiver<Message>) {
        let uid = text(&object["metadata"]["uid"]).to_owned();
        let name = format!("{}/{}", namespace(&object), name(&object));
        let address = shared.next_address();
        let directory = shared.scratch.join(&uid);
        let pod = Self {
            network: Network::new(&name, address),
            shared,
            object,
            volumes: Volumes::new(),
            directory,
            generation: 0,
            containers: Vec::new(),
            written: Value::Null,
            ready_since: None,
            started: jiff::Timestamp::now(),
        };
        let shared = Arc::clone(&pod.shared);
        pod.run(inbox);
        shared.forget(&uid);
    }

    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            match inbox.recv_timeout(LOOK_INTERVAL) {
                Ok(Message::Seen(object)) => self.object = object,
                Ok(Message::Refresh(done)) => {
                    if let Err(message) = self.write_volumes() {
                        self.complain(&message);
                    }
                    let _ = done.send(());
                }
                Ok(Message::Gone) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let deleted = !self.object["metadata"]["deletionTimestamp"].is_null();
            if self.containers.is_empty() {
                if deleted {
                    return self.delete();
                }
                match self.begin() {
                    Ok(()) => {}
                    Err(message) => {
                        self.complain(&message);
                        continue;
                    }
                }
            }
            if deleted {
                return self.end(inbox);
            }
            self.look();
            self.write_status();
        }
    }

    /// Said once: what a pod waits for.
    fn complain(&mut self, message: &str) {
        self.shared
            .say(&format!("{}: {message}", name(&self.object)));
    }

    /// Volumes, then what runs before, then the containers. An error is tried again.
    fn begin(&mut self) -> Result<(), String> {
        self.write_volumes()?;
        for spec in list(&self.object["spec"]["initContainers"]).to_owned() {
            let environment = self.environment(&spec)?;
            let process = self.start(&spec, &environment)?;
            let status = process.wait_exit();
            if !status.success() {
                return Err(format!("{} ended with {status}", text(&spec["name"])));
            }
        }
        for spec in list(&self.object["spec"]["containers"]).to_owned() {
            let environment = self.environment(&spec)?;
            let startup = spec["startupProbe"].is_null();
            self.containers.push(Running {
                name: text(&spec["name"]).to_owned(),
                environment,
                process: None,
                restarts: 0,
                start_at: Instant::now(),
                readiness: Probe::new(&spec["readinessProbe"], false),
                liveness: Probe::new(&spec["livenessProbe"], true),
                startup: Probe::new(&spec["startupProbe"], startup),
                hook: None,
                stopping: Stopping::No,
                spec,
            });
        }
        Ok(())
    }

    /// Starts what is to be started, and probes what is to be probed.
    fn look(&mut self) {
        let mut containers = std::mem::take(&mut self.containers);
        for container in &mut containers {
            if let Some(process) = &container.process {
                if process.is_running() {
                    self.probe(container);
                    continue;
                }
                if text(&self.object["spec"]["restartPolicy"]) != "Always" {
                    continue;
                }
                let again = RESTART_DELAY * 2_u32.saturating_pow(container.restarts);
                let again = if container.restarts == 0 {
                    Duration::ZERO
                } else {
                    again.min(RESTART_DELAY_MAX)
                };
                self.shared
                    .say(&format!("{}: {} ended", name(&self.object), container.name));
                container.start_at = Instant::now() + again;
                container.restarts += 1;
                container.process = None;
                container.readiness = Probe::new(&container.spec["readinessProbe"], false);
                container.readiness.passed = false;
                container.liveness = Probe::new(&container.spec["livenessProbe"], true);
                container.startup = Probe::new(&container.spec["startupProbe"], false);
            }
            if container.process.is_none() && Instant::now() >= container.start_at {
                match self.start(&container.spec, &container.environment) {
                    Ok(process) => {
                        let process = Arc::new(process);
                        container.process = Some(Arc::clone(&process));
                        if container.spec["readinessProbe"].is_null() {
                            container.readiness.passed = true;
                        }
                        self.shared.started(
                            namespace(&self.object),
                            name(&self.object),
                            text(&self.object["metadata"]["uid"]),
                            self.network.address(),
                            &container.name,
                            process,
                        );
                    }
                    Err(message) => {
                        self.shared
                            .say(&format!("{}: {message}", name(&self.object)));
                        container.start_at = Instant::now() + RESTART_DELAY_MAX;
                    }
                }
            }
        }
        self.containers = containers;
    }

    fn probe(&self, container: &mut Running) {
        if !container.startup.passed {
            if container.startup.is_due() {
                let outcome = self.ask(container, &container.startup);
                container.startup.take(outcome);
            }
            return;
        }
        if container.readiness.is_due() {
            let outcome = self.ask(container, &container.readiness);
            container.readiness.take(outcome);
        }
        if container.stopping == Stopping::No && container.liveness.is_due() {
            let outcome = self.ask(container, &container.liveness);
            container.liveness.take(outcome);
            if !container.liveness.passed {
                self.shared.say(&format!(
                    "{}: {} is not live: it is killed",
                    name(&self.object),
                    container.name
                ));
                if let Some(process) = &container.process {
                    process.kill();
                }
            }
        }
    }

    fn ask(&self, container: &Running, probe: &Probe) -> Outcome {
        let done = if !probe.spec["httpGet"].is_null() {
            self.ask_http(container, &probe.spec["httpGet"], probe.timeout())
        } else if !probe.spec["tcpSocket"].is_null() {
            self.socket(container, &probe.spec["tcpSocket"], probe.timeout())
                .is_some()
        } else if !probe.spec["exec"].is_null() {
            let words = strings(&probe.spec["exec"]["command"]);
            let process = start_in(container, "probe", &words);
            let end = Instant::now() + probe.timeout();
            loop {
                match process.as_ref().map(Process::poll_exit) {
                    None => break false,
                    Some(Some(status)) => break status.success(),
                    Some(None) if Instant::now() >= end => break false,
                    Some(None) => std::thread::sleep(LOOK_INTERVAL),
                }
            }
        } else {
            panic!("a probe of a kind that is not played: {}", probe.spec);
        };
        if done {
            Outcome::Success
        } else {
            Outcome::Failure
        }
    }

    fn socket(&self, container: &Running, how: &Value, timeout: Duration) -> Option<TcpStream> {
        let ports = list(&container.spec["ports"]);
        let port = how["port"].as_u64().or_else(|| {
            let named = ports.iter().find(|port| port["name"] == how["port"]);
            named.and_then(|port| port["containerPort"].as_u64())
        });
        let port = u16::try_from(port.expect("a probe has a port")).expect("a port");
        let address = SocketAddr::new(IpAddr::V4(self.network.address()), port);
        let socket = TcpStream::connect_timeout(&address, timeout).ok()?;
        socket.set_read_timeout(Some(timeout)).ok()?;
        Some(socket)
    }

    fn ask_http(&self, container: &Running, how: &Value, timeout: Duration) -> bool {
        let asked = || {
            let mut socket = self.socket(container, how, timeout)?;
            let path = how["path"].as_str().unwrap_or("/");
            let host = self.network.address();
            // Not 1.0, which some servers refuse.
            write!(
                socket,
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kube-probe/1.36\r\nConnection: close\r\n\r\n"
            )
            .ok()?;
            let mut answer = [0; PROBE_ANSWER_BYTES_MAX];
            let length = socket.read(&mut answer).ok()?;
            let text = String::from_utf8_lossy(&answer[..length]).into_owned();
            text.split(' ').nth(1)?.parse::<u16>().ok()
        };
        asked().is_some_and(|code| (200..400).contains(&code))
    }

    /// Its hooks, the signal, the end of its grace period, and then the object goes as well.
    fn end(mut self, inbox: &Receiver<Message>) {
        let end = self.grace_end();
        let mut containers = std::mem::take(&mut self.containers);
        for container in &mut containers {
            let hook = &container.spec["lifecycle"]["preStop"];
            container.stopping = Stopping::Hook;
            if !hook["exec"].is_null() {
                container.hook = start_in(container, "hook", &strings(&hook["exec"]["command"]));
            } else if !hook.is_null() {
                panic!("a hook of a kind that is not played: {hook}");
            }
        }
        self.containers = containers;
        let mut end = end;
        loop {
            let late = Instant::now() >= end;
            let mut containers = std::mem::take(&mut self.containers);
            let mut running = 0;
            for container in &mut containers {
                let Some(process) = &container.process else {
                    continue;
                };
                if !process.is_running() {
                    container.readiness.passed = false;
                    continue;
                }
                running += 1;
                if late {
                    process.kill();
                    continue;
                }
                if container.stopping == Stopping::Hook
                    && container
                        .hook
                        .as_ref()
                        .is_none_or(|hook| !hook.is_running())
                {
                    process.signal(Signal::TERM);
                    container.stopping = Stopping::Signalled;
                }
                self.probe(container);
            }
            self.containers = containers;
            if running == 0 {
                return self.delete();
            }
            self.write_status();
            match inbox.recv_timeout(LOOK_INTERVAL) {
                // Somebody may have less patience than who deleted it.
                Ok(Message::Seen(object)) => {
                    self.object = object;
                    end = end.min(self.grace_end());
                }
                Ok(Message::Refresh(done)) => {
                    let _ = done.send(());
                }
                Ok(Message::Gone) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn grace_end(&self) -> Instant {
        let seconds = self.object["metadata"]["deletionGracePeriodSeconds"].as_u64();
        Instant::now() + Duration::from_secs(seconds.unwrap_or(30))
    }

    fn delete(mut self) {
        self.containers.clear();
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
            "preconditions": { "uid": self.object["metadata"]["uid"] },
        });
        while !self.shared.ended() {
            let answer =
                self.shared
                    .api
                    .try_ask("DELETE", &self.path(), Some(Sent::Json(&options)), "*/*");
            // Gone already, or another of this name: as good.
            if answer.is_some_and(|answer| matches!(answer.code, 200 | 202 | 404 | 409)) {
                return;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    fn path(&self) -> String {
        format!(
            "/api/v1/namespaces/{}/pods/{}",
            namespace(&self.object),
            name(&self.object)
        )
    }

    fn start(&self, spec: &Value, environment: &[(String, String)]) -> Result<Process, String> {
        let images = self.shared.images.iter();
        let image = images
            .filter(|image| image.is_of(spec))
            .max_by_key(|image| image.name_length())
            .ok_or_else(|| format!("nobody said what is in {}", spec["image"]))?;
        let mut mounts: Vec<Mount> = image
            .files
            .iter()
            .map(|(inside, here)| Mount {
                inside: inside.clone(),
                here: here.clone(),
                writing: Writing::Refused,
            })
            .collect();
        for mount in list(&spec["volumeMounts"]) {
            let volume = self.volumes.get(text(&mount["name"]));
            let volume = volume.ok_or_else(|| format!("no volume is named {}", mount["name"]))?;
            let read_only = mount["readOnly"].as_bool().unwrap_or_default();
            mounts.push(Mount {
                inside: PathBuf::from(text(&mount["mountPath"])),
                here: volume.join(text(&mount["subPath"])),
                writing: if read_only {
                    Writing::Refused
                } else {
                    Writing::Allowed
                },
            });
        }
        let expand = |word: String| {
            environment.iter().fold(word, |word, (name, value)| {
                word.replace(&format!("$({name})"), value)
            })
        };
        let command = strings(&spec["command"]);
        let words = if command.is_empty() {
            image.entrypoint.clone()
        } else {
            command
        };
        let words = words.into_iter().chain(strings(&spec["args"]));
        let read_only = spec["securityContext"]["readOnlyRootFilesystem"].as_bool();
        Ok(self.network.start(Container {
            name: format!(
                "{}/{}: {}",
                namespace(&self.object),
                name(&self.object),
                text(&spec["name"])
            ),
            hostname: name(&self.object),
            mounts,
            root: if read_only == Some(true) {
                Writing::Refused
            } else {
                Writing::Allowed
            },
            resolver: Names::configuration(namespace(&self.object)),
            address: self.network.address(),
            environment,
            words: words.map(expand).collect(),
            place: &self.shared.place,
        }))
    }

    fn environment(&self, spec: &Value) -> Result<Vec<(String, String)>, String> {
        let mut environment = vec![
            ("KUBERNETES_SERVICE_HOST".to_owned(), HOST.to_owned()),
            (
                "KUBERNETES_SERVICE_PORT".to_owned(),
                self.shared.server_port.to_string(),
            ),
            (
                "KUBERNETES_SERVICE_PORT_HTTPS".to_owned(),
                self.shared.server_port.to_string(),
            ),
        ];
        for source in list(&spec["envFrom"]) {
            let object = self.read("configmaps", &source["configMapRef"]["name"])?;
            for (key, value) in object["data"].as_object().into_iter().flatten() {
                environment.push((key.clone(), text(value).to_owned()));
            }
        }
        for variable in list(&spec["env"]) {
            let from = &variable["valueFrom"];
            let value = if !from["fieldRef"].is_null() {
                self.field(text(&from["fieldRef"]["fieldPath"]))?
            } else if !from["configMapKeyRef"].is_null() {
                let reference = &from["configMapKeyRef"];
                let object = self.read("configmaps", &reference["name"])?;
                text(&object["data"][text(&reference["key"])]).to_owned()
            } else if !from["resourceFieldRef"].is_null() {
                resource(spec, text(&from["resourceFieldRef"]["resource"]))
            } else if from.is_null() {
                text(&variable["value"]).to_owned()
            } else {
                return Err(format!("a variable of a kind that is not played: {from}"));
            };
            let expanded = environment.iter().fold(value, |value, (name, other)| {
                value.replace(&format!("$({name})"), other)
            });
            environment.push((text(&variable["name"]).to_owned(), expanded));
        }
        Ok(environment)
    }

    fn field(&self, path: &str) -> Result<String, String> {
        let metadata = &self.object["metadata"];
        let found = match path {
            "metadata.name" => text(&metadata["name"]),
            "metadata.namespace" => text(&metadata["namespace"]),
            "metadata.uid" => text(&metadata["uid"]),
            "spec.nodeName" => text(&self.object["spec"]["nodeName"]),
            "spec.serviceAccountName" => text(&self.object["spec"]["serviceAccountName"]),
            "status.podIP" | "status.podIPs" => return Ok(self.network.address().to_string()),
            "status.hostIP" => HOST,
            _ => {
                let key = |kind: &str| path.strip_prefix(kind)?.strip_suffix("']");
                if let Some(key) = key("metadata.labels['") {
                    text(&metadata["labels"][key])
                } else if let Some(key) = key("metadata.annotations['") {
                    text(&metadata["annotations"][key])
                } else {
                    return Err(format!("a field that is not played: {path}"));
                }
            }
        };
        Ok(found.to_owned())
    }

    fn read(&self, kind: &str, name: &Value) -> Result<Value, String> {
        let path = format!(
            "/api/v1/namespaces/{}/{kind}/{}",
            namespace(&self.object),
            text(name)
        );
        let answer = self
            .shared
            .api
            .try_ask("GET", &path, None, "application/json");
        match answer {
            Some(answer) if answer.code == 200 => Ok(answer.body),
            Some(answer) => Err(answer.message().to_owned()),
            None => Err(format!("no answer about {path}")),
        }
    }

    fn write_volumes(&mut self) -> Result<(), String> {
        self.generation += 1;
        let mut volumes = Volumes::new();
        for volume in list(&self.object["spec"]["volumes"]) {
            let name = text(&volume["name"]).to_owned();
            let directory = self.directory.join(&name);
            std::fs::create_dir_all(&directory).expect("a directory can be made");
            let kinds = ["configMap", "secret", "projected", "downwardAPI"];
            if let Some(kind) = kinds.iter().find(|kind| !volume[**kind].is_null()) {
                let sources = if *kind == "projected" {
                    list(&volume["projected"]["sources"]).to_owned()
                } else {
                    // A Secret's name is said otherwise there.
                    let mut source = volume[*kind].clone();
                    if let Some(name) = source["secretName"].as_str().map(str::to_owned) {
                        source["name"] = name.into();
                    }
                    vec![json!({ *kind: source })]
                };
                let mode = volume[*kind]["defaultMode"].as_u64().unwrap_or(0o644);
                let mode = u32::try_from(mode).expect("a mode");
                let mut files = Vec::new();
                for source in sources {
                    self.collect(&source, mode, &mut files)?;
                }
                write_volume(&directory, &files, self.generation);
            } else if volume["emptyDir"].is_null() {
                return Err(format!("a volume of a kind that is not played: {volume}"));
            }
            volumes.insert(name, directory);
        }
        self.volumes = volumes;
        Ok(())
    }

    fn collect(
        &self,
        source: &Value,
        mode: u32,
        files: &mut Vec<(String, Vec<u8>, u32)>,
    ) -> Result<(), String> {
        for (kind, path) in [("configMap", "configmaps"), ("secret", "secrets")] {
            let given = &source[kind];
            if given.is_null() {
                continue;
            }
            let object = match self.read(path, &given["name"]) {
                Ok(object) => object,
                Err(_) if given["optional"] == true => continue,
                Err(message) => return Err(message),
            };
            let mut entries = BTreeMap::new();
            for (key, value) in object["data"].as_object().into_iter().flatten() {
                let bytes = if kind == "secret" {
                    bytes(value)
                } else {
                    text(value).as_bytes().to_vec()
                };
                entries.insert(key.clone(), bytes);
            }
            for (key, value) in object["binaryData"].as_object().into_iter().flatten() {
                entries.insert(key.clone(), bytes(value));
            }
            for item in list(&given["items"]) {
                let key = text(&item["key"]);
                let bytes = entries.get(key).ok_or_else(|| format!("no key {key}"))?;
                files.push((text(&item["path"]).to_owned(), bytes.clone(), mode));
            }
            if given["items"].is_null() {
                files.extend(entries.into_iter().map(|(key, bytes)| (key, bytes, mode)));
            }
        }
        for item in list(&source["downwardAPI"]["items"]) {
            let value = self.field(text(&item["fieldRef"]["fieldPath"]))?;
            files.push((text(&item["path"]).to_owned(), value.into_bytes(), mode));
        }
        let token = &source["serviceAccountToken"];
        if !token.is_null() {
            let mut spec = json!({
                "expirationSeconds": token["expirationSeconds"],
                "boundObjectRef": {
                    "apiVersion": "v1", "kind": "Pod",
                    "name": self.object["metadata"]["name"], "uid": self.object["metadata"]["uid"],
                },
            });
            if !token["audience"].is_null() {
                spec["audiences"] = json!([token["audience"]]);
            }
            let account = text(&self.object["spec"]["serviceAccountName"]);
            let given = self
                .shared
                .api
                .request_token(namespace(&self.object), account, &spec)?;
            files.push((text(&token["path"]).to_owned(), given.into_bytes(), mode));
        }
        Ok(())
    }

    /// Only when it is another one; again and again while nobody takes it.
    fn write_status(&mut self) {
        let ready = |container: &Running| {
            let running = container
                .process
                .as_ref()
                .is_some_and(|process| process.is_running());
            running && container.startup.passed && container.readiness.passed
        };
        let all_ready = self.containers.iter().all(ready);
        let yes = |is: bool| if is { "True" } else { "False" };
        let states = self.containers.iter().map(|container| {
            let running = container.process.as_ref().is_some_and(|process| process.is_running());
            let state = if running {
                json!({ "running": {} })
            } else {
                json!({ "waiting": { "reason": "CrashLoopBackOff" } })
            };
            json!({
                "name": container.name, "image": container.spec["image"], "imageID": "", "ready": ready(container),
                "started": running && container.startup.passed, "restartCount": container.restarts, "state": state,
            })
        });
        let ended: Vec<bool> = self
            .containers
            .iter()
            .filter_map(|container| container.process.as_ref()?.poll_exit())
            .map(|status| status.success())
            .collect();
        let never_again = text(&self.object["spec"]["restartPolicy"]) != "Always";
        let phase = if never_again && ended.len() == self.containers.len() {
            if ended.iter().all(|success| *success) {
                "Succeeded"
            } else {
                "Failed"
            }
        } else {
            "Running"
        };
        let address = self.network.address().to_string();
        let mut status = json!({
            "phase": phase, "podIP": address, "podIPs": [{ "ip": address }],
            "hostIP": HOST, "hostIPs": [{ "ip": HOST }],
            "containerStatuses": states.collect::<Vec<_>>(),
        });
        let seen = json!([status, all_ready]);
        if seen == self.written {
            return;
        }
        if !all_ready || self.ready_since.is_none() {
            self.ready_since = Some(jiff::Timestamp::now());
        }
        let condition = |kind: &str, status: bool, since: &jiff::Timestamp| json!({ "type": kind, "status": yes(status), "lastTransitionTime": whole_seconds(since) });
        let since = self.ready_since.unwrap_or(self.started);
        status["startTime"] = whole_seconds(&self.started).into();
        status["conditions"] = json!([
            condition("PodScheduled", true, &self.started),
            condition("Initialized", true, &self.started),
            condition("ContainersReady", all_ready, &since),
            condition("Ready", all_ready, &since),
        ]);
        let patch =
            json!({ "metadata": { "uid": self.object["metadata"]["uid"] }, "status": status });
        let path = format!("{}/status", self.path());
        let answer = self.shared.api.try_ask(
            "PATCH",
            &path,
            Some(Sent::StrategicMerge(&patch)),
            "application/json",
        );
        match answer {
            Some(answer) if answer.code == 200 => self.written = seen,
            // It has been deleted, and somebody will say so.
            Some(answer) if answer.code == 404 || answer.code == 409 => {}
            Some(answer) => self.complain(answer.message()),
            None => {}
        }
    }
}

fn start_in(container: &Running, what: &str, words: &[String]) -> Option<Process> {
    let process = container.process.as_ref()?;
    let name = format!("{} {what}", process.name());
    Some(start_beside(
        &name,
        process.pid(),
        &container.environment,
        words,
    ))
}

/// In whole processors or bytes, as a container without a divisor sees it.
fn resource(spec: &Value, resource: &str) -> String {
    let amount = match resource.split_once('.') {
        Some((kind, name)) => text(&spec["resources"][kind][name]).to_owned(),
        None => String::new(),
    };
    for (unit, factor) in [
        ("Ki", 1_u64 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("k", 1000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
    ] {
        if let Some(number) = amount.strip_suffix(unit) {
            return (number.parse::<u64>().unwrap_or_default() * factor).to_string();
        }
    }
    match amount.strip_suffix('m') {
        Some(milli) => milli
            .parse::<u64>()
            .unwrap_or_default()
            .div_ceil(1000)
            .to_string(),
        None => amount,
    }
}

fn whole_seconds(time: &jiff::Timestamp) -> String {
    let seconds = jiff::Timestamp::from_second(time.as_second());
    seconds.expect("a time of now").to_string()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings(value: &Value) -> Vec<String> {
    list(value)
        .iter()
        .map(|word| text(word).to_owned())
        .collect()
}

fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

fn namespace(object: &Value) -> &str {
    text(&object["metadata"]["namespace"])
}

fn bytes(value: &Value) -> Vec<u8> {
    let bytes: ByteString =
        serde_json::from_value(value.clone()).expect("the API server writes base64");
    bytes.0
}
