//! Directories of FIXSession, Service and EndpointSlice files, as a user would write them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The namespace of everything that the tests write.
pub const NAMESPACE: &str = "trading";

/// The port that every test Service has; its endpoints listen elsewhere.
pub const SERVICE_PORT: u16 = 9876;

/// A directory that goes away with the test.
pub struct Directory {
    root: TempDir,
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl Directory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            root: TempDir::with_prefix("fixgw-e2e-").expect("a temporary directory can be made"),
        }
    }

    /// A directory with these routes, each in a file of its own.
    #[must_use]
    pub fn of(routes: &[Route]) -> Self {
        let directory = Self::new();
        for route in routes {
            directory.put(route);
        }
        directory
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The file of an object of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.yaml"))
    }

    /// Writes a route into its file, in one step as an editor does.
    pub fn put(&self, route: &Route) {
        self.write(&route.name, &route.yaml());
    }

    /// Writes a file in one step: no reader sees half of it.
    pub fn write(&self, name: &str, text: &str) {
        let draft = self.path().join(format!(".{name}.draft"));
        std::fs::write(&draft, text).expect("the directory takes a file");
        std::fs::rename(&draft, self.file(name)).expect("a file can be renamed in its directory");
    }

    /// Deletes the file of an object.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.file(name)).expect("the file is there");
    }

    /// Writes a Service and an EndpointSlice with these ready endpoints.
    pub fn put_service(&self, name: &str, endpoints: &[SocketAddr]) {
        self.write(&format!("{name}-service"), &service_yaml(name));
        self.write(&format!("{name}-endpoints"), &slices_yaml(name, endpoints));
    }
}

/// A Service with the port that the tests' routes name.
#[must_use]
pub fn service_yaml(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: {NAMESPACE} }}\n\
         spec:\n  ports:\n    - {{ name: fix, port: {SERVICE_PORT} }}\n"
    )
}

/// As [`service_yaml`], for a Service whose engines want a PROXY protocol header of this version.
#[must_use]
pub fn proxied_service_yaml(name: &str, version: &str) -> String {
    annotated_service_yaml(name, &format!("fixgateway.io/proxy-protocol: {version}"))
}

/// As [`service_yaml`], with an annotation.
#[must_use]
pub fn annotated_service_yaml(name: &str, annotation: &str) -> String {
    service_yaml(name).replace(
        " }\nspec:",
        &format!(", annotations: {{ {annotation} }} }}\nspec:"),
    )
}

/// EndpointSlices of a Service: one for each endpoint, since a slice has one port for all of its addresses.
#[must_use]
pub fn slices_yaml(service: &str, endpoints: &[SocketAddr]) -> String {
    let mut yaml = String::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let _ = write!(
            yaml,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-{index}\n  \
             namespace: {NAMESPACE}\n  labels: {{ kubernetes.io/service-name: {service} }}\naddressType: IPv4\n\
             ports:\n  - {{ name: fix, protocol: TCP, port: {port} }}\nendpoints:\n  - addresses: [{ip}]\n    \
             conditions: {{ ready: true }}\n",
            port = endpoint.port(),
            ip = endpoint.ip(),
        );
    }
    yaml
}

/// So many FIXSessions that no Logon of a test meets, for one file: a table's size is what they are for.
#[must_use]
pub fn other_routes_yaml(count: usize, service: &str) -> String {
    let route = |number| {
        Route::new(&format!("other-{number}"), service)
            .value("SenderCompID49", &format!("OTHER{number}"))
            .yaml()
    };
    let routes: Vec<String> = (0..count).map(route).collect();
    routes.join("---\n")
}

/// A FIXSession.
#[derive(Clone, Debug)]
pub struct Route {
    name: String,
    conditions: Vec<String>,
    ranges: Vec<String>,
    default: bool,
    priority: Option<u32>,
    service: String,
    hold: Vec<String>,
}

impl Route {
    /// A route of this name to the Service `service`.
    #[must_use]
    pub fn new(name: &str, service: &str) -> Self {
        Self {
            name: name.to_owned(),
            conditions: Vec::new(),
            ranges: Vec::new(),
            default: false,
            priority: None,
            service: service.to_owned(),
            hold: Vec::new(),
        }
    }

    /// A field that equals `value`.
    #[must_use]
    pub fn value(self, field: &str, value: &str) -> Self {
        self.condition(field, &format!("value: {value:?}"))
    }

    /// A field that equals `value`, which no telemetry may show.
    #[must_use]
    pub fn redacted_value(self, field: &str, value: &str) -> Self {
        self.condition(field, &format!("value: {value:?}, redact: true"))
    }

    /// A field that equals `value` and stands in no telemetry at all.
    #[must_use]
    pub fn unlogged_value(self, field: &str, value: &str) -> Self {
        self.condition(field, &format!("value: {value:?}, log: false"))
    }

    /// A field that fits a pattern: `*` or `PREFIX*`.
    #[must_use]
    pub fn pattern(self, field: &str, pattern: &str) -> Self {
        self.condition(field, &format!("pattern: {pattern:?}"))
    }

    /// A field that fits a pattern, whose value no telemetry may show.
    #[must_use]
    pub fn redacted_pattern(self, field: &str, pattern: &str) -> Self {
        self.condition(field, &format!("pattern: {pattern:?}, redact: true"))
    }

    /// A field that fits a pattern and stands in no telemetry at all.
    #[must_use]
    pub fn unlogged_pattern(self, field: &str, pattern: &str) -> Self {
        self.condition(field, &format!("pattern: {pattern:?}, log: false"))
    }

    fn condition(mut self, field: &str, condition: &str) -> Self {
        self.conditions
            .push(format!("    {field}: {{ {condition} }}\n"));
        self
    }

    /// A range that the counterparty's address may be in.
    #[must_use]
    pub fn from(mut self, range: &str) -> Self {
        self.ranges.push(range.to_owned());
        self
    }

    /// The priority of a wildcard route.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = Some(priority);
        self
    }

    /// At most so many connections wait for its target.
    #[must_use]
    pub fn held_at_most(mut self, connections: u32) -> Self {
        self.hold
            .push(format!("  maxHeldConnections: {connections}\n"));
        self
    }

    /// Each waits so long.
    #[must_use]
    pub fn held_for(mut self, duration: &str) -> Self {
        self.hold.push(format!("  holdTimeout: {duration}\n"));
        self
    }

    /// A default route of this priority.
    #[must_use]
    pub fn default_route(mut self, priority: u32) -> Self {
        self.default = true;
        self.priority(priority)
    }

    /// The object.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut yaml = format!(
            "apiVersion: fixgateway.io/v1alpha1\nkind: FIXSession\n\
             metadata: {{ name: {}, namespace: {NAMESPACE} }}\nspec:\n",
            self.name
        );
        if self.default {
            yaml.push_str("  default: true\n");
        }
        if let Some(priority) = self.priority {
            let _ = writeln!(yaml, "  priority: {priority}");
        }
        if !self.conditions.is_empty() {
            yaml.push_str("  matchFields:\n");
            yaml.extend(self.conditions.iter().map(String::as_str));
        }
        if !self.ranges.is_empty() {
            let _ = writeln!(yaml, "  sourceRanges: {:?}", self.ranges);
        }
        let _ = writeln!(
            yaml,
            "  target: {{ service: {{ name: {}, port: {SERVICE_PORT} }} }}",
            self.service
        );
        yaml.extend(self.hold.iter().map(String::as_str));
        yaml
    }
}
