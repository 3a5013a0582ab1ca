//! A real Kubernetes API server with its store: what is asked of it, and what it answers.
//!
//! Nothing else of a cluster is there: no controller, no node, no kubectl. Objects are YAML as people write it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use rustls::StreamOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{EVENT_WAIT_MAX, Process, journal, wait_until};
use crate::socket::KeptPort;
use crate::tls::{Authority, Client, Files, GATEWAY};
use crate::tool;

/// Bytes of one answer. The largest, an `OpenAPI` document, has some hundred thousand.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Whoever shows it may do everything.
const TOKEN: &str = "fixgw-e2e";

/// An API server with an empty store.
pub struct ApiServer {
    // Dropped in this order: the server before its store, and that before its files.
    server: Option<Process>,
    _etcd: Process,
    files: Files,
    directory: TempDir,
    _port: KeptPort,
    authority: Authority,
    address: SocketAddr,
}

/// What it said.
#[derive(Debug)]
pub struct Answer {
    /// HTTP's status code.
    pub code: u16,
    /// What kubectl would print as warnings.
    pub warnings: Vec<String>,
    /// The object, list or Status; a text that is not JSON is a string.
    pub body: Value,
}

/// In which form an object is sent.
#[derive(Clone, Copy)]
pub enum Sent<'a> {
    /// As people write it.
    Yaml(&'a str),
    /// As programs do.
    Json(&'a Value),
}

/// A socket in a directory of its own needs no port, and nobody else reaches it.
fn store(directory: &TempDir) -> String {
    format!("unix://{}/etcd.sock", directory.path().display())
}

impl ApiServer {
    /// Starts one and waits until it is ready.
    #[must_use]
    pub fn start() -> Self {
        let directory =
            TempDir::with_prefix("fixgw-e2e-").expect("a temporary directory can be made");
        let authority = Authority::new("API server's CA");
        let files = Files::of(&authority.issue(GATEWAY));
        let tokens = files.path("tokens.csv");
        files.put(&tokens, &format!("{TOKEN},tester,1,\"system:masters\"\n"));
        let store = store(&directory);
        let etcd = Process::start("etcd", tool::etcd(), |command| {
            let peer = format!("unix://{}/peer.sock", directory.path().display());
            // Nobody is told of these, but they must look like addresses.
            let nobody = "http://localhost:1";
            command.arg("--data-dir").arg(directory.path().join("data"));
            command.args([
                "--listen-client-urls",
                &store,
                "--advertise-client-urls",
                nobody,
            ]);
            command.args(["--listen-peer-urls", &peer]);
            command.args(["--initial-advertise-peer-urls", nobody]);
            command.arg(format!("--initial-cluster=default={nobody}"));
            command.args(["--unsafe-no-fsync", "--log-level=warn"]);
        });
        let port = KeptPort::keep_to_share();
        let address = port.address();
        let mut started = Self {
            server: None,
            _etcd: etcd,
            files,
            directory,
            _port: port,
            authority,
            address,
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
        let (directory, files) = (&self.directory, &self.files);
        let server = Process::start("kube-apiserver", tool::kube_apiserver(), |command| {
            command.arg(format!("--etcd-servers={}", store(directory)));
            command.arg(format!("--secure-port={}", self.address.port()));
            command.args(["--permit-port-sharing", "--bind-address=127.0.0.1"]);
            command.args([
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
            ]);
            command.arg("--cert-dir").arg(directory.path());
            command.arg("--tls-cert-file").arg(files.certificate());
            command.arg("--tls-private-key-file").arg(files.key());
            command
                .arg("--token-auth-file")
                .arg(files.path("tokens.csv"));
            command.args([
                "--authorization-mode=RBAC",
                "--disable-admission-plugins=ServiceAccount",
            ]);
            command.arg("--service-account-issuer=https://localhost");
            command
                .arg("--service-account-key-file")
                .arg(files.certificate());
            command
                .arg("--service-account-signing-key-file")
                .arg(files.key());
            command.arg("--service-cluster-ip-range=10.0.0.0/24");
        });
        self.server = Some(server);
        wait_until("the API server to be ready", || {
            let answer = self.try_ask("GET", "/readyz", None, "*/*")?;
            (answer.code == 200).then_some(())
        });
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file by which programs reach it, with every right.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        let ca = self.files.path("api-ca.crt");
        self.files.put(&ca, &self.authority.pem());
        let path = self.files.path("kubeconfig");
        let named = |key: &str, value: Value| json!([{ "name": "test", key: value }]);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": named("cluster", json!({
                "server": format!("https://{}", self.address),
                "tls-server-name": GATEWAY,
                "certificate-authority": ca,
            })),
            "users": named("user", json!({ "token": TOKEN })),
            "contexts": named("context", json!({ "cluster": "test", "user": "test" })),
        });
        self.files.put(&path, &config.to_string());
        path
    }

    /// Reads.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None, "application/json")
    }

    /// Reads a list in the form that kubectl prints.
    #[must_use]
    pub fn get_table(&self, path: &str) -> Answer {
        self.ask(
            "GET",
            path,
            None,
            "application/json;as=Table;g=meta.k8s.io;v=v1",
        )
    }

    /// Makes an object; like kubectl, lets no field pass that is not known.
    #[must_use]
    pub fn create(&self, path: &str, object: Sent<'_>) -> Answer {
        let path = format!("{path}?fieldValidation=Strict");
        self.ask("POST", &path, Some(object), "application/json")
    }

    /// Puts an object, or a part of it, in the place of the one that is there.
    #[must_use]
    pub fn replace(&self, path: &str, object: &Value) -> Answer {
        self.ask("PUT", path, Some(Sent::Json(object)), "application/json")
    }

    /// Deletes.
    #[must_use]
    pub fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None, "application/json")
    }

    fn ask(&self, method: &str, path: &str, object: Option<Sent<'_>>, accept: &str) -> Answer {
        self.try_ask(method, path, object, accept)
            .unwrap_or_else(|| panic!("no answer to {method} {path}\n{}", journal()))
    }

    /// None: nobody listens, or it ended meanwhile.
    fn try_ask(
        &self,
        method: &str,
        path: &str,
        object: Option<Sent<'_>>,
        accept: &str,
    ) -> Option<Answer> {
        let (kind, body) = match object {
            None => ("application/json", String::new()),
            Some(Sent::Yaml(text)) => ("application/yaml", text.to_owned()),
            Some(Sent::Json(value)) => ("application/json", value.to_string()),
        };
        let socket = TcpStream::connect(self.address).ok()?;
        let bound = Some(EVENT_WAIT_MAX);
        socket
            .set_read_timeout(bound)
            .expect("the bound is not zero");
        let client = Client::trusting(&self.authority);
        let mut stream = StreamOwned::new(client.connection(), socket);
        // HTTP/1.0: one answer, in one piece, and the end of the connection.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {GATEWAY}\r\nAuthorization: Bearer {TOKEN}\r\nAccept: {accept}\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut answer)
            .ok()?;
        Some(Answer::read(&String::from_utf8(answer).ok()?))
    }
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .expect("an answer of HTTP has a head");
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let warnings = head
            .lines()
            .filter_map(|line| line.strip_prefix("Warning: "));
        Self {
            code: code.expect("an answer of HTTP has a code"),
            warnings: warnings.map(str::to_owned).collect(),
            body: serde_json::from_str(body).unwrap_or_else(|_| body.into()),
        }
    }

    /// Why it was refused, in words.
    #[must_use]
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The fields that were refused, each with what was said of it.
    #[must_use]
    pub fn causes(&self) -> Vec<(&str, &str)> {
        let causes = self.body["details"]["causes"].as_array();
        causes
            .into_iter()
            .flatten()
            .map(|cause| {
                let text = |key: &str| cause[key].as_str().unwrap_or_default();
                (text("field"), text("message"))
            })
            .collect()
    }
}
