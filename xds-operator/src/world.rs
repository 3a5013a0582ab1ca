//! What is wanted, as far as it can be read? The objects of one source, each with its origin, and what could not be
//! read beside them.
//!
//! The same for a directory and for a cluster. Pure: a `World` is read elsewhere, and is never changed once made. It
//! has two halves that travel at different speeds: the rules settle first, endpoints do not wait for them.
//!
//! INVARIANT: what could not be read is never mistaken for what was deleted: it is named in [`Faults`].

pub mod held;

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::fmt;
use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use fixgw_core::rule::RouteName;
use k8s_openapi::api::core::v1 as core_v1;
use k8s_openapi::api::discovery::v1 as discovery_v1;
use serde::{Deserialize, Serialize};

use crate::api::{
    self, FIXSessionSpec, PROXY_PROTOCOL_ANNOTATION, ProxyVersion, TCP_TIMEOUT_ANNOTATION,
};
use crate::message::Origin;
use crate::tcp_timeout::{TcpTimeout, TcpTimeoutError};

/// Label of an EndpointSlice that names its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// `namespace/name` of an object. Cheap to clone: every stage keeps all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectName {
    /// From its parts.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The name of the route that a FIXSession of this name is.
    #[must_use]
    pub fn route(&self) -> RouteName {
        RouteName {
            namespace: self.namespace.to_string(),
            name: self.name.to_string(),
        }
    }
}

impl From<&RouteName> for ObjectName {
    fn from(name: &RouteName) -> Self {
        Self::new(&name.namespace, &name.name)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A map that is looked into by ascending names, each time from where it was left: over all names this walks it once, and compares each
/// name twice instead of a dozen times.
pub(crate) struct Alongside<'m, T>(Peekable<btree_map::Iter<'m, ObjectName, T>>);

impl<'m, T> Alongside<'m, T> {
    pub(crate) fn new(map: &'m BTreeMap<ObjectName, T>) -> Self {
        Self(map.iter().peekable())
    }

    /// What has this name. Those before it are passed over.
    pub(crate) fn get(&mut self, name: &ObjectName) -> Option<&'m T> {
        while self.0.next_if(|(next, _)| *next < name).is_some() {}
        self.0.next_if(|(next, _)| *next == name).map(|(_, it)| it)
    }
}

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A route.
    FIXSession,
    /// Where routes lead.
    Service,
    /// Who answers there.
    EndpointSlice,
}

impl Kind {
    /// As it is written in `kind`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::FIXSession => api::KIND,
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
        }
    }
}

/// Where the fields of an object were written, by their path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places(BTreeMap<Box<str>, (u32, u32)>);

impl Places {
    /// Keeps one.
    pub fn insert(&mut self, path: &str, line: u32, column: u32) {
        self.0.insert(path.into(), (line, column));
    }

    /// Line and column of a field, else of the nearest field that holds it.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<(u32, u32)> {
        let mut path = path;
        loop {
            if let Some(&place) = self.0.get(path) {
                return Some(place);
            }
            path = path.rsplit_once('.')?.0;
        }
    }
}

/// An object with the place where it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located<T> {
    /// The object.
    pub object: T,
    /// Where it begins; an object of a cluster has no such place.
    pub origin: Option<Origin>,
    /// Where its fields are.
    #[serde(default)]
    pub places: Places,
    /// Which form of which object it is; an object of a file has no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// Which form of which object of a cluster: what is said of it later is said of exactly that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `metadata.uid`. An object that is made anew under the same name is another one.
    pub uid: Arc<str>,
    /// `metadata.generation`. It moves with the `spec` alone.
    pub generation: i64,
}

impl<T> Located<T> {
    /// Where a field was written.
    #[must_use]
    pub fn origin_of(&self, path: &str) -> Option<Origin> {
        let origin = self.origin.as_ref()?;
        let Some((line, column)) = self.places.find(path) else {
            return Some(origin.clone());
        };
        Some(Origin {
            file: origin.file.clone(),
            line,
            column,
        })
    }
}

/// Objects of one kind.
pub type Objects<T> = BTreeMap<ObjectName, Arc<Located<T>>>;

/// A Service, as far as it is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its TCP ports.
    pub ports: Vec<ServicePort>,
    /// It is only another name for a host outside (`type: ExternalName`).
    pub external: bool,
    /// Its engines are told the counterparty's address by a header of this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyVersion>,
    /// After how long a connection to one of its engines ends whose host is gone, if not after the gateway's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_timeout: Option<TcpTimeout>,
}

/// A TCP port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// The name that EndpointSlices know it by; empty for an only port.
    pub name: String,
    /// The number.
    pub port: u16,
}

/// Why a Service cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Not a version.
    #[error(
        "`{0}` is no version of the PROXY protocol; write `v1` or `v2`, or leave the annotation out for no header"
    )]
    ProxyProtocol(String),
    /// Not a time.
    #[error("`{0}` does not do: {1}; leave the annotation out for the gateway's own")]
    TcpTimeout(String, TcpTimeoutError),
    /// An annotation that looks like ours.
    #[error(
        "there is no such annotation; there are `{PROXY_PROTOCOL_ANNOTATION}` and `{TCP_TIMEOUT_ANNOTATION}`"
    )]
    Annotation(String),
}

impl ServiceError {
    /// The annotation that is wrong.
    #[must_use]
    pub fn annotation(&self) -> &str {
        match self {
            Self::ProxyProtocol(_) => PROXY_PROTOCOL_ANNOTATION,
            Self::TcpTimeout(..) => TCP_TIMEOUT_ANNOTATION,
            Self::Annotation(key) => key,
        }
    }
}

/// The annotations of a Service that mean something to us.
#[derive(Default)]
struct Annotations {
    proxy_protocol: Option<ProxyVersion>,
    tcp_timeout: Option<TcpTimeout>,
}

impl Annotations {
    fn read(annotations: &BTreeMap<String, String>) -> Result<Self, ServiceError> {
        let mut read = Self::default();
        let ours = |key: &str| key.split('/').next() == Some(api::GROUP);
        for (key, text) in annotations.iter().filter(|(key, _)| ours(key)) {
            match key.as_str() {
                PROXY_PROTOCOL_ANNOTATION => {
                    let version = ProxyVersion::parse(text);
                    let wrong = || ServiceError::ProxyProtocol(text.clone());
                    read.proxy_protocol = Some(version.ok_or_else(wrong)?);
                }
                TCP_TIMEOUT_ANNOTATION => {
                    let wrong = |error| ServiceError::TcpTimeout(text.clone(), error);
                    read.tcp_timeout = Some(text.parse().map_err(wrong)?);
                }
                _ => return Err(ServiceError::Annotation(key.clone())),
            }
        }
        Ok(read)
    }
}

impl TryFrom<core_v1::Service> for Service {
    type Error = ServiceError;

    fn try_from(service: core_v1::Service) -> Result<Self, ServiceError> {
        let annotations = service.metadata.annotations.unwrap_or_default();
        let annotations = Annotations::read(&annotations)?;
        let spec = service.spec.unwrap_or_default();
        let ports = spec.ports.unwrap_or_default();
        let tcp = ports
            .into_iter()
            .filter(|port| is_tcp(port.protocol.as_deref()));
        Ok(Self {
            ports: tcp
                .filter_map(|port| {
                    Some(ServicePort {
                        name: port.name.unwrap_or_default(),
                        port: u16::try_from(port.port).ok()?,
                    })
                })
                .collect(),
            external: spec.type_.as_deref() == Some("ExternalName"),
            proxy_protocol: annotations.proxy_protocol,
            tcp_timeout: annotations.tcp_timeout,
        })
    }
}

/// An EndpointSlice, as far as it is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// The Service whose endpoints these are, in the slice's own namespace.
    pub service: String,
    /// Its TCP ports.
    pub ports: Vec<ServicePort>,
    /// Addresses of the endpoints that are ready, and no other.
    pub ready: Vec<IpAddr>,
    /// How many endpoints it lists in all.
    pub listed: usize,
}

/// Why an EndpointSlice cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SliceError {
    /// Without the label it belongs to nobody.
    #[error("names no Service; it needs the label `{SERVICE_NAME_LABEL}`")]
    NoService,
    /// Host names are resolved by nobody here.
    #[error("`addressType` is `{0}`; IPv4 and IPv6 are read")]
    AddressType(String),
    /// Not an address.
    #[error("`{0}` is not an IP address")]
    Address(String),
}

impl SliceError {
    /// The field that is wrong.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        match self {
            Self::NoService => "metadata.labels",
            Self::AddressType(_) => "addressType",
            Self::Address(_) => "endpoints",
        }
    }
}

impl TryFrom<discovery_v1::EndpointSlice> for EndpointSlice {
    type Error = SliceError;

    fn try_from(slice: discovery_v1::EndpointSlice) -> Result<Self, SliceError> {
        let mut labels = slice.metadata.labels.unwrap_or_default();
        let service = labels
            .remove(SERVICE_NAME_LABEL)
            .filter(|name| !name.is_empty())
            .ok_or(SliceError::NoService)?;
        if !matches!(slice.address_type.as_str(), "IPv4" | "IPv6") {
            return Err(SliceError::AddressType(slice.address_type));
        }
        let ports = slice.ports.unwrap_or_default();
        let tcp = ports
            .into_iter()
            .filter(|port| is_tcp(port.protocol.as_deref()));
        let endpoints = slice.endpoints.unwrap_or_default();
        let listed = endpoints.len();
        let mut ready = Vec::new();
        for endpoint in endpoints {
            for address in endpoint.addresses {
                let ip = IpAddr::from_str(&address).map_err(|_| SliceError::Address(address))?;
                // Unknown counts as ready, as Kubernetes says of this condition.
                if endpoint.conditions.as_ref().and_then(|it| it.ready) != Some(false) {
                    ready.push(ip);
                }
            }
        }
        Ok(Self {
            service,
            ports: tcp
                .filter_map(|port| {
                    Some(ServicePort {
                        name: port.name.unwrap_or_default(),
                        port: u16::try_from(port.port?).ok()?,
                    })
                })
                .collect(),
            ready,
            listed,
        })
    }
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

/// `--endpoint NAMESPACE/SERVICE=HOST:PORT`: an endpoint of every port of that Service, whether or not there is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExtraEndpoint {
    /// The Service.
    pub service: ObjectName,
    /// Who answers.
    pub address: SocketAddr,
}

/// As it is written on the command line.
impl fmt::Display for ExtraEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.service, self.address)
    }
}

/// Why a text is no [`ExtraEndpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtraEndpointError {
    /// No `=`, or no `/` before it.
    #[error("`{0}` is not NAMESPACE/SERVICE=HOST:PORT, as in `trading/algo-engine=127.0.0.1:9876`")]
    Form(String),
    /// Not a name that Kubernetes takes.
    #[error(
        "`{0}` is no name of a namespace or Service; use lower-case letters, digits and `-`, 63 at most"
    )]
    Name(String),
    /// No port after the host.
    #[error("`{0}` has no port; write HOST:PORT with a port from 1 to 65535")]
    Port(String),
    /// A host that is no address.
    #[error("`{0}` is not an IP address; write one (names are not resolved), IPv6 in brackets")]
    Host(String),
}

impl FromStr for ExtraEndpoint {
    type Err = ExtraEndpointError;

    fn from_str(text: &str) -> Result<Self, ExtraEndpointError> {
        let form = || ExtraEndpointError::Form(text.to_owned());
        let (service, address) = text.split_once('=').ok_or_else(form)?;
        let (namespace, name) = service.split_once('/').ok_or_else(form)?;
        if let Some(wrong) = [namespace, name]
            .into_iter()
            .find(|part| !api::is_label(part))
        {
            return Err(ExtraEndpointError::Name(wrong.to_owned()));
        }
        let no_port = || ExtraEndpointError::Port(address.to_owned());
        let (host, port) = address.rsplit_once(':').ok_or_else(no_port)?;
        let port = port
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(no_port)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let ip = match (host, bare) {
            ("localhost", _) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            (_, Some(v6)) => IpAddr::V6(
                v6.parse()
                    .map_err(|_| ExtraEndpointError::Host(host.to_owned()))?,
            ),
            // Without brackets it is not clear where an IPv6 address ends.
            (_, None) => IpAddr::V4(
                host.parse()
                    .map_err(|_| ExtraEndpointError::Host(host.to_owned()))?,
            ),
        };
        Ok(Self {
            service: ObjectName::new(namespace, name),
            address: SocketAddr::new(ip, port),
        })
    }
}

/// What could not be read, or read but not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub origin: Option<Origin>,
    /// Which object, as far as it could be told.
    pub object: Option<(Kind, ObjectName)>,
    /// Which field.
    pub field: Option<String>,
    /// What is wrong, and what to do about it.
    pub what: String,
    /// What counts instead.
    pub scope: Scope,
}

/// How much a fault takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One object.
    Object,
    /// One object of the file, and it cannot be told which.
    Unnamed,
    /// The file or directory as a whole.
    File,
    /// Nothing: a remark.
    Nothing,
}

/// What could not be read, so that it is not mistaken for what was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// One by one, in the order of files.
    pub list: Vec<Fault>,
    /// Objects whose name is known.
    pub objects: BTreeSet<(Kind, ObjectName)>,
    /// Files and directories (these end with `/`) of which something could not be read.
    pub files: BTreeSet<Arc<str>>,
}

impl Faults {
    /// Adds one.
    pub fn push(&mut self, fault: Fault) {
        match (fault.scope, &fault.object, &fault.origin) {
            (Scope::Object, Some(object), _) => {
                self.objects.insert(object.clone());
            }
            (Scope::File | Scope::Unnamed, _, Some(origin))
            | (Scope::Object, None, Some(origin)) => {
                self.files.insert(origin.file.clone());
            }
            (Scope::Nothing, _, _) | (Scope::File | Scope::Unnamed | Scope::Object, _, None) => {}
        }
        self.list.push(fault);
    }

    /// Whether an object that is not in the world may be there all the same.
    #[must_use]
    pub fn cover(&self, kind: Kind, name: &ObjectName, origin: Option<&Origin>) -> bool {
        let file_covers = |file: &str| {
            self.files.contains(file)
                || self
                    .files
                    .iter()
                    .any(|wide| wide.ends_with('/') && file.starts_with(&**wide))
        };
        self.objects.contains(&(kind, name.clone()))
            || origin.is_some_and(|origin| file_covers(&origin.file))
    }
}

/// What holds publication back on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pause {
    /// A file in the directory.
    File(Origin),
    /// An annotation.
    Annotation {
        /// Of which object: `ConfigMap namespace/name`.
        object: String,
        /// What it says.
        reason: String,
    },
}

impl Pause {
    /// The file.
    #[must_use]
    pub const fn file(&self) -> Option<&Origin> {
        match self {
            Self::File(origin) => Some(origin),
            Self::Annotation { .. } => None,
        }
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::Annotation { object, .. } => Some(object),
        }
    }
}

/// The half that settles before it counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesHalf {
    /// Every FIXSession that could be read.
    pub sessions: Arc<Objects<FIXSessionSpec>>,
    /// What could not.
    pub faults: Faults,
    /// Publication waits until somebody says go on; what says so.
    pub paused: Option<Pause>,
}

/// Where objects are written, for advice on what to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In files; endpoints can be given on the command line, too.
    #[default]
    Directory,
    /// At an API server, where controllers write EndpointSlices.
    Cluster,
}

/// The half that counts at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointsHalf {
    /// Every Service that could be read.
    pub services: Objects<Service>,
    /// Every EndpointSlice that could be read.
    pub slices: Objects<EndpointSlice>,
    /// From the command line.
    pub extra: Vec<ExtraEndpoint>,
    /// Where they are written.
    pub place: Place,
    /// What could not be read.
    pub faults: Faults,
}

impl EndpointsHalf {
    /// Whether everything that counted `before` counts here, too: engines came, and none went.
    #[must_use]
    pub fn only_adds_to(&self, before: &Self) -> bool {
        let keeps = |(name, old): (&ObjectName, &Arc<Located<EndpointSlice>>)| {
            self.slices
                .get(name)
                .is_some_and(|new| Arc::ptr_eq(old, new) || new.object.only_adds_to(&old.object))
        };
        let same_service = |(name, old): (&ObjectName, &Arc<Located<Service>>)| {
            let new = self.services.get(name);
            new.is_some_and(|new| Arc::ptr_eq(old, new) || new.object == old.object)
        };
        self.extra == before.extra
            && before.services.iter().all(same_service)
            && before.slices.iter().all(keeps)
    }
}

impl EndpointSlice {
    fn only_adds_to(&self, before: &Self) -> bool {
        self.service == before.service
            && self.ports == before.ports
            && before
                .ready
                .iter()
                .all(|address| self.ready.contains(address))
    }
}

/// All that one source says at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// FIXSessions.
    pub rules: Arc<RulesHalf>,
    /// Services and their endpoints.
    pub endpoints: Arc<EndpointsHalf>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn extra_endpoints_are_read_or_refused_with_what_to_write() {
        let good: ExtraEndpoint = "trading/algo=127.0.0.1:9876".parse().unwrap();
        assert_eq!(good.service, ObjectName::new("trading", "algo"));
        assert_eq!(good.address.to_string(), "127.0.0.1:9876");
        let v6: ExtraEndpoint = "t/a=[::1]:1".parse().unwrap();
        assert_eq!(v6.address.to_string(), "[::1]:1");
        assert!("t/a=localhost:1".parse::<ExtraEndpoint>().is_ok());
        for (text, wanted) in [
            ("trading/algo", "is not NAMESPACE/SERVICE=HOST:PORT"),
            ("algo=127.0.0.1:1", "is not NAMESPACE/SERVICE=HOST:PORT"),
            ("Trading/algo=127.0.0.1:1", "`Trading` is no name"),
            ("t/a:9876=127.0.0.1:1", "`a:9876` is no name"),
            ("t/a=127.0.0.1", "`127.0.0.1` has no port"),
            ("t/a=127.0.0.1:0", "has no port"),
            ("t/a=127.0.0.1:65536", "has no port"),
            ("t/a=engine.local:1", "`engine.local` is not an IP address"),
            ("t/a=::1:1", "IPv6 in brackets"),
        ] {
            let error = text.parse::<ExtraEndpoint>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn a_field_without_a_place_of_its_own_is_found_at_the_one_that_holds_it() {
        let mut places = Places::default();
        places.insert("spec", 4, 1);
        places.insert("spec.priority", 5, 3);
        assert_eq!(places.find("spec.priority"), Some((5, 3)));
        assert_eq!(places.find("spec.target.service"), Some((4, 1)));
        assert_eq!(places.find("metadata"), None);
    }

    #[test]
    fn a_broken_directory_covers_what_was_in_it() {
        let mut faults = Faults::default();
        faults.push(Fault {
            origin: Some(Origin::file("d/sub/".into())),
            object: None,
            field: None,
            what: String::new(),
            scope: Scope::File,
        });
        let at = |file: &str| Some(Origin::file(file.into()));
        let name = ObjectName::new("t", "a");
        assert!(faults.cover(Kind::Service, &name, at("d/sub/a.yaml").as_ref()));
        assert!(!faults.cover(Kind::Service, &name, at("d/a.yaml").as_ref()));
    }
}
