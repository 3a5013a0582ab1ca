//! How does a test get a cluster of its own?
//!
//! A real etcd, API server and controller manager, and nodes that the test plays: what a Deployment or StatefulSet describes runs as
//! processes, each pod with a network, an address and a root file system of its own, with the tokens, volumes, variables and probes that
//! the API server says. To be started in a test's own namespaces ([`crate::inside`]): every port and address is free there, and nothing
//! outlives the test.
//!
//! Not played: the network's rules (NetworkPolicy), a Service's own address and load balancers, resource limits, other users than root (who
//! has no privileges in a container).

mod follow;
mod image;
mod kubelet;
mod names;
mod pod;
mod release;
mod sandbox;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;

pub use image::Image;
pub use kubelet::{NODES, RunningPod};
pub use release::{PLAIN_PORT, RELEASE, RELEASE_NAMESPACE, Release, TLS_PORT, images};

use crate::api::{Api, Sent};
use crate::apiserver::{Accounts, ServerFiles, wait_ready};
use crate::inside::HOST;
use crate::peer::{Peer, Session};
use crate::process::{Process, journal, wait_until};
use crate::tool;
use kubelet::Kubelet;

/// Where the API server listens.
const SERVER_PORT: u16 = 6443;

/// The controllers that are needed; the others would only take time.
const CONTROLLERS: &str = "daemonset-controller,deployment-controller,disruption-controller,endpointslice-controller,\
    garbage-collector-controller,horizontal-pod-autoscaler-controller,job-controller,namespace-controller,\
    replicaset-controller,root-ca-certificate-publisher-controller,serviceaccount-controller,statefulset-controller";

/// A part of the control plane, which can be stopped and started again over the same store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The store.
    Etcd,
    /// Who answers.
    ApiServer,
    /// Who makes pods and EndpointSlices.
    Controllers,
}

/// A control plane and its nodes.
pub struct Cluster {
    // Dropped in this order: who asks before who answers.
    kubelet: Kubelet,
    controllers: Mutex<Option<Process>>,
    server: Mutex<Option<Process>>,
    etcd: Mutex<Option<Process>>,
    api: Api,
    files: ServerFiles,
    scratch: TempDir,
}

/// What a program that ended has said.
#[derive(Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub success: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// What it printed, if it succeeded; else the test fails.
    #[must_use]
    pub fn succeeded(self) -> String {
        assert!(
            self.success,
            "it failed: {}{}\n{}",
            self.out,
            self.err,
            journal()
        );
        self.out
    }
}

impl Cluster {
    /// Starts one without any object in it, and waits until it is ready. Pods can be made of these images.
    #[must_use]
    pub fn start(images: Vec<Image>) -> Self {
        let service = "kubernetes.default.svc";
        let files = ServerFiles::new(&[HOST, "kubernetes", "kubernetes.default", service]);
        let address = Self::address();
        let api = files.administrator(address);
        let scratch =
            TempDir::with_prefix("fixgw-e2e-pods-").expect("a temporary directory can be made");
        let etcd = files.start_store();
        let server = files.start_server(address, Accounts::Served);
        wait_ready(&api);
        api.write_kubeconfig(&files.path("kubeconfig"));
        for node in NODES {
            let labels = json!({ "kubernetes.io/hostname": node, "kubernetes.io/os": "linux" });
            let node = json!({
                "apiVersion": "v1", "kind": "Node", "metadata": { "name": node, "labels": labels },
                "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
            });
            assert_eq!(api.create("/api/v1/nodes", Sent::Json(&node)).code, 201);
        }
        let kubelet = Kubelet::start(&api, images, scratch.path(), SERVER_PORT);
        let cluster = Self {
            controllers: Mutex::default(),
            server: Mutex::new(Some(server)),
            etcd: Mutex::new(Some(etcd)),
            kubelet,
            api,
            files,
            scratch,
        };
        cluster.begin(Part::Controllers);
        cluster
    }

    fn address() -> SocketAddr {
        let host: Ipv4Addr = HOST.parse().expect("an address");
        SocketAddr::from((host, SERVER_PORT))
    }

    /// The API server, for somebody with every right: the test itself.
    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.api
    }

    /// The API server, as a service account sees it.
    #[must_use]
    pub fn account(&self, namespace: &str, name: &str) -> Api {
        let token = self.api.request_token(namespace, name, &json!({}));
        let token = token.unwrap_or_else(|message| panic!("no token for {name}: {message}"));
        self.api.with_token(&token)
    }

    /// A file by which programs reach the cluster with every right, as the person does who installs something.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.files.path("kubeconfig")
    }

    /// A file by which programs reach the cluster with a service account's rights.
    #[must_use]
    pub fn kubeconfig_of(&self, namespace: &str, name: &str) -> PathBuf {
        let path = self.files.path(&format!("kubeconfig-{namespace}-{name}"));
        self.account(namespace, name).write_kubeconfig(&path);
        path
    }

    /// Makes a namespace, and waits until pods can be made in it.
    pub fn create_namespace(&self, name: &str) {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let made = self
            .api
            .create("/api/v1/namespaces", Sent::Json(&namespace));
        assert_eq!(made.code, 201, "{}", made.message());
        let path = format!("/api/v1/namespaces/{name}");
        for object in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
            wait_until("a namespace's own objects", || {
                (self.api.get(&format!("{path}/{object}")).code == 200).then_some(())
            });
        }
    }

    /// Runs kubectl with every right.
    #[must_use]
    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        self.run(&tool::kubectl(), arguments, "")
    }

    /// Applies manifests, in whichever number, as a user does.
    #[must_use]
    pub fn apply(&self, manifests: &str) -> Said {
        let arguments = ["apply", "--server-side", "-f", "-"];
        self.run(&tool::kubectl(), &arguments, manifests)
    }

    /// Applies these objects.
    pub fn apply_all(&self, objects: &[Value]) {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let _ = self.apply(&list.to_string()).succeeded();
    }

    /// Runs helm with every right.
    #[must_use]
    pub fn helm(&self, arguments: &[&str]) -> Said {
        self.run(&tool::helm(), arguments, "")
    }

    fn run(&self, program: &Path, arguments: &[&str], input: &str) -> Said {
        let mut child = Command::new(program)
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            // Neither finds, nor leaves, anything in the user's own directory.
            .env("HOME", self.scratch.path())
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be run: {error}", program.display()));
        let mut pipe = child.stdin.take().expect("standard input is a pipe");
        pipe.write_all(input.as_bytes()).expect("it reads");
        drop(pipe);
        let output = child.wait_with_output().expect("a child can be waited for");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said {
            success: output.status.success(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    fn part(&self, part: Part) -> MutexGuard<'_, Option<Process>> {
        let part = match part {
            Part::Etcd => &self.etcd,
            Part::ApiServer => &self.server,
            Part::Controllers => &self.controllers,
        };
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills a part of the control plane.
    pub fn end(&self, part: Part) {
        let process = self.part(part).take();
        assert!(process.is_some(), "{part:?} does not run");
    }

    /// Starts a part of the control plane again, from the thread that the test runs in; waits until it answers.
    pub fn begin(&self, part: Part) {
        let started = match part {
            Part::Etcd => self.files.start_store(),
            Part::ApiServer => self.files.start_server(Self::address(), Accounts::Served),
            Part::Controllers => self.start_controllers(),
        };
        let before = self.part(part).replace(started);
        assert!(before.is_none(), "{part:?} runs already");
        if part == Part::ApiServer {
            wait_ready(&self.api);
        }
    }

    fn start_controllers(&self) -> Process {
        let program = tool::kube_controller_manager();
        Process::start("kube-controller-manager", program, |command| {
            let path = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
            command.args([
                path("kubeconfig", &self.kubeconfig()),
                path(
                    "service-account-private-key-file",
                    &self.files.account_key(),
                ),
                path("root-ca-file", &self.files.authority()),
                format!("--controllers={CONTROLLERS}"),
            ]);
            command.args(["--leader-elect=false", "--secure-port=0"]);
            // A test has no time for politeness.
            command.args(["--kube-api-qps=500", "--kube-api-burst=1000"]);
        })
    }

    /// Waits until a pod of this name runs, and says how to reach it.
    #[must_use]
    pub fn wait_pod(&self, namespace: &str, name: &str) -> RunningPod {
        self.wait_pods(&format!("the pod {name}"), |pods| {
            let mut pods = pods.iter();
            let found = pods.find(|pod| pod.name.0 == namespace && pod.name.1 == name);
            found.map(|pod| (*pod).clone())
        })
    }

    /// Waits until the pods that run now show something.
    pub fn wait_pods<T>(&self, what: &str, find: impl Fn(&[&RunningPod]) -> Option<T>) -> T {
        self.kubelet.shared.wait(what, find)
    }

    /// Waits until an object that is there is as wanted.
    pub fn wait_object<T>(&self, path: &str, what: &str, find: impl Fn(&Value) -> Option<T>) -> T {
        wait_until(&format!("{what}, of {path}"), || {
            let answer = self.api.try_ask("GET", path, None, "application/json")?;
            (answer.code == 200).then_some(())?;
            find(&answer.body)
        })
    }

    /// Waits until a Deployment, StatefulSet or DaemonSet says that all of its pods are of its newest revision, and ready.
    pub fn wait_rolled_out(&self, namespace: &str, object: &str) {
        let bound = format!("--timeout={}s", crate::process::EVENT_WAIT_MAX.as_secs());
        let said = self.kubectl(&["rollout", "status", "-n", namespace, &bound, object]);
        assert!(
            said.success,
            "{object}: {}{}\n{}\n{}",
            said.out,
            said.err,
            self.kubelet.shared.said(),
            journal()
        );
    }

    /// Writes ConfigMaps, Secrets and tokens into the running pods again, which a kubelet does within a minute or two.
    pub fn refresh_volumes(&self) {
        self.kubelet.refresh();
    }
}

impl RunningPod {
    /// The process of its only container.
    #[must_use]
    pub fn process(&self) -> &std::sync::Arc<Process> {
        let mut processes = self.containers.values();
        let process = processes.next().expect("a pod that runs has one");
        assert!(processes.next().is_none(), "more than one container runs");
        process
    }

    /// Where it listens.
    #[must_use]
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.address, port))
    }

    /// The QuickFIX engine in it.
    #[must_use]
    pub fn engine(&self) -> Peer {
        Peer::of(std::sync::Arc::clone(self.process()))
    }
}

/// A headless Service and a StatefulSet of QuickFIX engines, each of which accepts these sessions on this port.
#[must_use]
pub fn engines(
    namespace: &str,
    name: &str,
    port: u16,
    replicas: u32,
    sessions: &[Session],
) -> [Value; 2] {
    let labels = json!({ "app": name });
    let settings = Peer::engine_settings(port, sessions).to_string();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "clusterIP": "None", "selector": labels,
            "ports": [{ "name": "fix", "port": port, "targetPort": "fix" }],
        },
    });
    let container = json!({
        "name": "engine", "image": "example.com/quickfix-engine:test", "args": [settings],
        "ports": [{ "name": "fix", "containerPort": port }],
        "readinessProbe": { "tcpSocket": { "port": "fix" }, "periodSeconds": 1 },
        "volumeMounts": [{ "name": "scratch", "mountPath": "/tmp" }],
    });
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "serviceName": name, "replicas": replicas, "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [container], "volumes": [{ "name": "scratch", "emptyDir": {} }],
                },
            },
        },
    });
    [service, workload]
}
