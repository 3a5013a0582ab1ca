//! What is asked of a Kubernetes API server, and what does it answer?
//!
//! One request on each connection, in the name of whoever's token it is. Objects are YAML as people write it, or JSON.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::process::{EVENT_WAIT_MAX, journal};
use crate::tls::{Authority, Client, GATEWAY};

/// Bytes of one answer. The largest, an `OpenAPI` document, has some hundred thousand.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An API server, as one of its users sees it.
#[derive(Clone)]
pub struct Api {
    authority: Arc<Authority>,
    address: SocketAddr,
    token: String,
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
    /// Some of its fields; the others stay as they are. Lists are replaced.
    Merge(&'a Value),
    /// Some of its fields; what is in lists is told apart by its key. Only of Kubernetes' own kinds.
    StrategicMerge(&'a Value),
}

impl Api {
    /// The server at this address, whose certificate of that authority is for [`GATEWAY`], for whoever has the token.
    #[must_use]
    pub fn new(authority: Arc<Authority>, address: SocketAddr, token: &str) -> Self {
        Self {
            authority,
            address,
            token: token.to_owned(),
        }
    }

    /// The same server for somebody else.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self::new(Arc::clone(&self.authority), self.address, token)
    }

    /// Writes a file by which programs reach it, in the same name.
    pub fn write_kubeconfig(&self, path: &Path) {
        let ca = path.with_extension("ca");
        std::fs::write(&ca, self.authority.pem()).expect("the directory takes a file");
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
            "users": named("user", json!({ "token": self.token })),
            "contexts": named("context", json!({ "cluster": "test", "user": "test" })),
        });
        std::fs::write(path, config.to_string()).expect("the directory takes a file");
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

    /// Changes some fields of an object.
    #[must_use]
    pub fn patch(&self, path: &str, patch: Sent<'_>) -> Answer {
        self.ask("PATCH", path, Some(patch), "application/json")
    }

    /// Deletes an object.
    #[must_use]
    pub fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None, "application/json")
    }

    /// Asks, and fails when there is no answer.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, object: Option<Sent<'_>>, accept: &str) -> Answer {
        self.try_ask(method, path, object, accept)
            .unwrap_or_else(|| panic!("no answer to {method} {path}\n{}", journal()))
    }

    /// None: nobody listens, or it ended meanwhile.
    #[must_use]
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        object: Option<Sent<'_>>,
        accept: &str,
    ) -> Option<Answer> {
        let mut answer = Vec::new();
        let stream = self.send(method, path, object, accept)?;
        stream
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut answer)
            .ok()?;
        Some(Answer::read(&String::from_utf8(answer).ok()?))
    }

    /// A token of a service account; `spec` is that of a TokenRequest.
    ///
    /// # Errors
    /// What the server said.
    pub fn request_token(
        &self,
        namespace: &str,
        account: &str,
        spec: &Value,
    ) -> Result<String, String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec,
        });
        let answer = self.try_ask(
            "POST",
            &path,
            Some(Sent::Json(&request)),
            "application/json",
        );
        let answer = answer.ok_or("no answer about a token")?;
        let token = answer.body["status"]["token"].as_str().map(str::to_owned);
        token.ok_or_else(|| answer.message().to_owned())
    }

    /// Hears of every change from a revision on, each an object with `type` and `object`, until `hear` has had enough (false) or the
    /// server ends it, which it does after a while. None: it said nothing at all.
    pub fn watch(
        &self,
        path: &str,
        revision: &str,
        mut hear: impl FnMut(Value) -> bool,
    ) -> Option<()> {
        let seconds = EVENT_WAIT_MAX.as_secs() / 2;
        let path = format!("{path}?watch=true&resourceVersion={revision}&timeoutSeconds={seconds}");
        let stream = self.send("GET", &path, None, "application/json")?;
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.by_ref().find(String::is_empty)?;
        for line in lines {
            let Ok(change) = serde_json::from_str(&line) else {
                break;
            };
            if !hear(change) {
                break;
            }
        }
        Some(())
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        object: Option<Sent<'_>>,
        accept: &str,
    ) -> Option<StreamOwned<ClientConnection, TcpStream>> {
        let (kind, body) = match object {
            None => ("application/json", String::new()),
            Some(Sent::Yaml(text)) => ("application/yaml", text.to_owned()),
            Some(Sent::Json(value)) => ("application/json", value.to_string()),
            Some(Sent::Merge(value)) => ("application/merge-patch+json", value.to_string()),
            Some(Sent::StrategicMerge(value)) => {
                ("application/strategic-merge-patch+json", value.to_string())
            }
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
            "{method} {path} HTTP/1.0\r\nHost: {GATEWAY}\r\nAuthorization: Bearer {}\r\nAccept: {accept}\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        Some(stream)
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
