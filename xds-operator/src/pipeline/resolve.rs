//! Which endpoints does a target have? Service port → port of its EndpointSlices → ready addresses, as Kubernetes
//! has it; pure.
//!
//! What could not be read counts as it was before, so that a slip in one file takes no engine away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use fixgw_core::decision::Severity;

use crate::api::ProxyVersion;
use crate::message::{About, Message};
use crate::tcp_timeout::TcpTimeout;
use crate::world::{
    EndpointSlice, EndpointsHalf, ExtraEndpoint, Faults, Kind, Located, ObjectName, Objects, Place,
    Service,
};

/// Services and slices in the form that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Services.
    pub services: Objects<Service>,
    /// EndpointSlices.
    pub slices: Objects<EndpointSlice>,
    /// From the command line.
    pub extra: Vec<ExtraEndpoint>,
    /// Where they are written.
    pub place: Place,
}

impl Endpoints {
    /// Takes over what is there now, with the last form of what cannot be read; and what to say about that.
    #[must_use]
    pub fn next(&self, half: &EndpointsHalf) -> (Self, Vec<Message>) {
        let next = Self {
            services: carry(Kind::Service, &self.services, &half.services, &half.faults),
            slices: carry(
                Kind::EndpointSlice,
                &self.slices,
                &half.slices,
                &half.faults,
            ),
            extra: half.extra.clone(),
            place: half.place,
        };
        let told = half.faults.list.iter().map(|fault| {
            let known = fault
                .object
                .as_ref()
                .is_some_and(|(kind, name)| match kind {
                    Kind::Service => next.services.contains_key(name),
                    Kind::EndpointSlice => next.slices.contains_key(name),
                    Kind::FIXSession => false,
                });
            Message {
                about: About::Invalid,
                severity: Severity::Error,
                origin: fault.origin.clone(),
                object: fault
                    .object
                    .as_ref()
                    .map(|(kind, name)| format!("{} {name}", kind.label())),
                field: fault.field.clone(),
                what: fault.what.clone(),
                mend: String::new(),
                meanwhile: if known {
                    "it counts as it was before until this is mended"
                } else {
                    "it is left out until this is mended, and the other objects count"
                }
                .to_owned(),
                witness: None,
            }
        });
        let messages = told.collect();
        (next, messages)
    }
}

fn carry<T>(kind: Kind, before: &Objects<T>, now: &Objects<T>, faults: &Faults) -> Objects<T> {
    let covered = |(name, object): &(&ObjectName, &Arc<Located<T>>)| {
        !now.contains_key(*name) && faults.cover(kind, name, object.origin.as_ref())
    };
    let kept = before.iter().filter(covered);
    now.iter()
        .chain(kept)
        .map(|(name, object)| (name.clone(), object.clone()))
        .collect()
}

/// Why a target has no endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No such Service.
    NoService,
    /// A Service without endpoints of its own.
    External,
    /// The Service has other ports.
    NoPort(Vec<u16>),
    /// Nobody says who answers.
    NoSlice,
    /// The slices do not have the Service's port.
    NoSlicePort(String),
    /// So many endpoints, and none is ready.
    NoneReady(usize),
}

impl Unresolved {
    /// The field of the FIXSession that leads there.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        match self {
            Self::NoPort(_) => "spec.target.service.port",
            Self::NoService | Self::External => "spec.target.service.name",
            Self::NoSlice | Self::NoSlicePort(_) | Self::NoneReady(_) => "spec.target.service",
        }
    }
}

/// A Service's port, asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked<'t> {
    /// Namespace.
    pub namespace: &'t str,
    /// Service.
    pub service: &'t str,
    /// Port.
    pub port: u16,
}

impl<'t> Asked<'t> {
    /// The parts of a target's name, `namespace/service:port`.
    #[must_use]
    pub fn parse(target: &'t str) -> Option<Self> {
        let (namespace, rest) = target.split_once('/')?;
        let (service, port) = rest.rsplit_once(':')?;
        Some(Self {
            namespace,
            service,
            port: port.parse().ok()?,
        })
    }
}

/// Finds slices by their Service without walking all of them for each target.
#[derive(Debug)]
pub struct Resolver<'e> {
    endpoints: &'e Endpoints,
    slices: BTreeMap<(&'e str, &'e str), Vec<&'e EndpointSlice>>,
}

impl<'e> Resolver<'e> {
    /// An index over the endpoints.
    #[must_use]
    pub fn new(endpoints: &'e Endpoints) -> Self {
        let mut slices: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
        for (name, slice) in &endpoints.slices {
            slices
                .entry((&name.namespace, &slice.object.service))
                .or_default()
                .push(&slice.object);
        }
        Self { endpoints, slices }
    }

    /// The ready addresses, ascending, each once; with the reason if there is none.
    ///
    /// # Errors
    /// Why there is no address.
    pub fn resolve(&self, asked: Asked<'_>) -> Result<Vec<SocketAddr>, Unresolved> {
        let name = ObjectName::new(asked.namespace, asked.service);
        let extra = self
            .endpoints
            .extra
            .iter()
            .filter(|extra| extra.service == name);
        let mut found: BTreeSet<SocketAddr> = extra.map(|extra| extra.address).collect();
        match self.in_slices(&name, asked) {
            Ok(addresses) => found.extend(addresses),
            Err(reason) if found.is_empty() => return Err(reason),
            Err(_) => {}
        }
        Ok(found.into_iter().collect())
    }

    /// The version of the header that the target's engines want, if they want one.
    #[must_use]
    pub fn proxy_protocol(&self, asked: Asked<'_>) -> Option<ProxyVersion> {
        self.service(asked)?.proxy_protocol
    }

    /// After how long a connection to one of the target's engines ends whose host is gone, if it says so itself.
    #[must_use]
    pub fn tcp_timeout(&self, asked: Asked<'_>) -> Option<TcpTimeout> {
        self.service(asked)?.tcp_timeout
    }

    fn service(&self, asked: Asked<'_>) -> Option<&Service> {
        let name = ObjectName::new(asked.namespace, asked.service);
        Some(&self.endpoints.services.get(&name)?.object)
    }

    fn in_slices(
        &self,
        name: &ObjectName,
        asked: Asked<'_>,
    ) -> Result<Vec<SocketAddr>, Unresolved> {
        let service = self
            .endpoints
            .services
            .get(name)
            .ok_or(Unresolved::NoService)?;
        let service = &service.object;
        if service.external {
            return Err(Unresolved::External);
        }
        let port = service
            .ports
            .iter()
            .find(|port| port.port == asked.port)
            .ok_or_else(|| {
                Unresolved::NoPort(service.ports.iter().map(|port| port.port).collect())
            })?;
        let slices = self
            .slices
            .get(&(&*name.namespace, &*name.name))
            .ok_or(Unresolved::NoSlice)?;
        let mut ports = 0;
        let mut listed = 0;
        let mut ready = Vec::new();
        for slice in slices {
            // The slice's port is the pod's; it is the same port when the names agree.
            let same = slice
                .ports
                .iter()
                .filter(|candidate| candidate.name == port.name);
            for candidate in same {
                ports += 1;
                listed += slice.listed;
                ready.extend(
                    slice
                        .ready
                        .iter()
                        .map(|ip| SocketAddr::new(*ip, candidate.port)),
                );
            }
        }
        match (ready.is_empty(), ports) {
            (false, _) => Ok(ready),
            (true, 0) => Err(Unresolved::NoSlicePort(port.name.clone())),
            (true, _) => Err(Unresolved::NoneReady(listed)),
        }
    }
}
