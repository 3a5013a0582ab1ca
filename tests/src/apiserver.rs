//! A real Kubernetes API server with its store, and nothing else of a cluster: for what it alone decides.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

use crate::api::Api;
pub use crate::api::{Answer, Sent};
use crate::process::{Process, wait_until};
use crate::socket::KeptPort;
use crate::tls::{Authority, Files, GATEWAY};
use crate::tool;

/// Whoever shows it may do everything.
const TOKEN: &str = "fixgw-e2e";

/// An API server with an empty store.
pub struct ApiServer {
    // Dropped in this order: the server before its store, and that before its files.
    server: Option<Process>,
    _etcd: Process,
    files: ServerFiles,
    port: KeptPort,
    api: Api,
}

/// What a store and an API server keep in files; they outlive the processes.
pub(crate) struct ServerFiles {
    directory: TempDir,
    certificate: Files,
    authority: Arc<Authority>,
    audit: Audit,
}

/// Whether the server writes down who asked for what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audit {
    Off,
    On,
}

/// Who tells the API server which service account somebody is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accounts {
    /// Nobody: a pod is taken without one.
    Ignored,
    /// The server: pods get tokens of their accounts.
    Served,
}

impl ServerFiles {
    /// A directory and a certificate that has these names and addresses beside [`GATEWAY`].
    pub(crate) fn new(names: &[&str]) -> Self {
        let authority = Authority::new("API server's CA");
        let names = [&[GATEWAY], names].concat();
        let certificate = Files::of(&authority.issue_for(&names));
        let tokens = certificate.path("tokens.csv");
        certificate.put(&tokens, &format!("{TOKEN},tester,1,\"system:masters\"\n"));
        certificate.put(&certificate.client_ca(), &authority.pem());
        Self {
            directory: TempDir::with_prefix("fixgw-e2e-")
                .expect("a temporary directory can be made"),
            certificate,
            authority: Arc::new(authority),
            audit: Audit::Off,
        }
    }

    /// From the next start of the server on there are these users, too, who may do everything; what each asks for is written down.
    fn watch(&mut self, users: &[&str]) {
        let lines = users.iter();
        let lines: Vec<String> = lines
            .map(|user| format!("{TOKEN}-{user},{user},{user},\"system:masters\"\n"))
            .collect();
        let tokens = self.certificate.path("tokens.csv");
        let own = std::fs::read_to_string(&tokens).expect("it was written");
        self.certificate.put(&tokens, &(own + &lines.concat()));
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [{ "level": "Metadata", "users": users }, { "level": "None" }],
        });
        self.certificate
            .put(&self.audit_policy(), &policy.to_string());
        self.audit = Audit::On;
    }

    fn audit_policy(&self) -> PathBuf {
        self.path("audit-policy.json")
    }

    fn audit_log(&self) -> PathBuf {
        self.path("audit.log")
    }

    /// Who may do everything.
    pub(crate) fn administrator(&self, address: SocketAddr) -> Api {
        Api::new(Arc::clone(&self.authority), address, TOKEN)
    }

    /// A path that nothing else uses.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.certificate.path(name)
    }

    /// The certificate of who signed the server's.
    pub(crate) fn authority(&self) -> PathBuf {
        self.certificate.client_ca()
    }

    /// What signs the tokens of service accounts.
    pub(crate) fn account_key(&self) -> PathBuf {
        self.certificate.key()
    }

    /// A socket in a directory of its own needs no port, and nobody else reaches it.
    fn store(&self) -> String {
        format!("unix://{}/etcd.sock", self.directory.path().display())
    }

    /// The store, with what it held when it ended.
    pub(crate) fn start_store(&self) -> Process {
        // One that was killed leaves them.
        for socket in ["etcd.sock", "peer.sock"] {
            let _ = std::fs::remove_file(self.directory.path().join(socket));
        }
        Process::start("etcd", tool::etcd(), |command| {
            let peer = format!("unix://{}/peer.sock", self.directory.path().display());
            // Nobody is told of these, but they must look like addresses.
            let nobody = "http://localhost:1";
            command
                .arg("--data-dir")
                .arg(self.directory.path().join("data"));
            command.args([
                "--listen-client-urls",
                &self.store(),
                "--advertise-client-urls",
                nobody,
            ]);
            command.args(["--listen-peer-urls", &peer]);
            command.args(["--initial-advertise-peer-urls", nobody]);
            command.arg(format!("--initial-cluster=default={nobody}"));
            command.args(["--unsafe-no-fsync", "--log-level=warn"]);
        })
    }

    /// The server, over that store.
    pub(crate) fn start_server(&self, address: SocketAddr, accounts: Accounts) -> Process {
        Process::start("kube-apiserver", tool::kube_apiserver(), |command| {
            let mut flag = |name: &str, value: &dyn AsRef<Path>| {
                let mut argument = std::ffi::OsString::from(format!("--{name}="));
                argument.push(value.as_ref());
                command.arg(argument);
            };
            flag("etcd-servers", &self.store());
            flag("secure-port", &address.port().to_string());
            flag("bind-address", &address.ip().to_string());
            flag("advertise-address", &address.ip().to_string());
            flag("cert-dir", &self.directory.path());
            flag("tls-cert-file", &self.certificate.certificate());
            flag("tls-private-key-file", &self.certificate.key());
            flag("token-auth-file", &self.certificate.path("tokens.csv"));
            flag("service-account-key-file", &self.certificate.certificate());
            flag("service-account-signing-key-file", &self.account_key());
            if self.audit == Audit::On {
                flag("audit-policy-file", &self.audit_policy());
                flag("audit-log-path", &self.audit_log());
            }
            command.args([
                "--permit-port-sharing",
                "--endpoint-reconciler-type=none",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.96.0.0/16",
            ]);
            // Without the second nobody takes from a node that it is not ready yet.
            command.arg(match accounts {
                Accounts::Ignored => "--disable-admission-plugins=ServiceAccount",
                Accounts::Served => "--disable-admission-plugins=TaintNodesByCondition",
            });
        })
    }
}

/// Waits until it answers.
pub(crate) fn wait_ready(api: &Api) {
    wait_until("the API server to be ready", || {
        let answer = api.try_ask("GET", "/readyz", None, "*/*")?;
        (answer.code == 200).then_some(())
    });
}

impl ApiServer {
    /// Starts one and waits until it is ready.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(ServerFiles::new(&[]))
    }

    /// As [`Self::start`], for who wants to know what these users ask of it; each may do everything.
    #[must_use]
    pub fn start_watched(users: &[&str]) -> Self {
        let mut files = ServerFiles::new(&[]);
        files.watch(users);
        Self::start_with(files)
    }

    fn start_with(files: ServerFiles) -> Self {
        let port = KeptPort::keep_to_share();
        let mut started = Self {
            _etcd: files.start_store(),
            server: None,
            api: files.administrator(port.address()),
            files,
            port,
        };
        started.start_again();
        started
    }

    /// Ends it, and leaves its store as it is.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it over the same store, at the same address, and waits until it is ready.
    pub fn start_again(&mut self) {
        self.server = Some(self.files.start_server(self.address(), Accounts::Ignored));
        wait_ready(&self.api);
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// A file by which programs reach it, with every right.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        let path = self.files.path("kubeconfig");
        self.write_kubeconfig(&path);
        path
    }

    /// The same for a user that is watched.
    #[must_use]
    pub fn kubeconfig_of(&self, user: &str) -> PathBuf {
        let path = self.files.path(&format!("kubeconfig-{user}"));
        let api = self.with_token(&format!("{TOKEN}-{user}"));
        api.write_kubeconfig(&path);
        path
    }

    /// Where it writes down what watched users ask for: an audit event a line.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.files.audit_log()
    }
}

impl std::ops::Deref for ApiServer {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}
