//! What shall the proxies be given? The published table and the endpoints in, a [`Snapshot`] out, with a remark on
//! every target that nobody answers for; pure.
//!
//! A target without endpoints stays in the snapshot: its route is registered and comes alive by itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use fixgw_core::decision::Severity;
use fixgw_core::rule::Target;
use fixgw_core::table::Table;

use super::resolve::{Asked, Endpoints, Resolver, Unresolved};
use crate::api::FIXSessionSpec;
use crate::message::{About, Message};
use crate::world::{Kind, Located, ObjectName, Objects, Place};
use crate::xds::Snapshot;

/// Makes a snapshot, and says which targets have nobody. `image` is the table's, shared between snapshots.
#[must_use]
pub fn translate(
    table: &Table,
    image: Arc<[u8]>,
    sessions: &Objects<FIXSessionSpec>,
    endpoints: &Endpoints,
) -> (Snapshot, Vec<Message>) {
    let resolver = Resolver::new(endpoints);
    let mut resolved: BTreeMap<Target, Vec<SocketAddr>> = BTreeMap::new();
    let mut proxy_protocol = BTreeMap::new();
    let mut tcp_timeouts = BTreeMap::new();
    let mut unanswered: BTreeMap<Target, Unresolved> = BTreeMap::new();
    for name in table.targets() {
        let target = Target::cluster(name.to_owned());
        let asked = Asked::parse(name);
        let answer = asked.map_or(Err(Unresolved::NoService), |asked| resolver.resolve(asked));
        if let Some(version) = asked.and_then(|asked| resolver.proxy_protocol(asked)) {
            proxy_protocol.insert(target.clone(), version);
        }
        if let Some(timeout) = asked.and_then(|asked| resolver.tcp_timeout(asked)) {
            tcp_timeouts.insert(target.clone(), timeout);
        }
        let addresses = answer.unwrap_or_else(|reason| {
            unanswered.insert(target.clone(), reason);
            Vec::new()
        });
        resolved.insert(target, addresses);
    }
    let messages = unanswered_messages(&unanswered, sessions, endpoints.place);
    let snapshot = Snapshot {
        table_image: image,
        revision: table.revision(),
        endpoints: resolved,
        proxy_protocol,
        tcp_timeouts,
    };
    (snapshot, messages)
}

/// What is told of the targets that nobody answers for, and of the routes that lead there.
fn unanswered_messages(
    unanswered: &BTreeMap<Target, Unresolved>,
    sessions: &Objects<FIXSessionSpec>,
    place: Place,
) -> Vec<Message> {
    // To write the target of each route takes longer than all else here, and mostly there is nothing to tell.
    if unanswered.is_empty() {
        return Vec::new();
    }
    let mut users: BTreeMap<Target, Vec<(&ObjectName, &Located<FIXSessionSpec>)>> = BTreeMap::new();
    for (name, session) in sessions {
        let target = session.object.target(&name.namespace);
        if unanswered.contains_key(&target) {
            users.entry(target).or_default().push((name, session));
        }
    }
    let messages = unanswered.iter().map(|(target, reason)| {
        let users = users.get(target).map_or(&[][..], Vec::as_slice);
        unresolved_message(target.as_str(), reason, users, place)
    });
    messages.collect()
}

/// Why nobody answers for a target, and what would mend it; `None` when somebody does.
#[must_use]
pub fn unanswered(target: &str, endpoints: &Endpoints) -> Option<(String, String)> {
    let asked = Asked::parse(target);
    let answer = asked.map_or(Err(Unresolved::NoService), |asked| {
        Resolver::new(endpoints).resolve(asked)
    });
    answer
        .err()
        .map(|reason| in_words(target, &reason, endpoints.place))
}

/// Why nobody answers for a target, and what would mend it.
pub(crate) fn in_words(target: &str, reason: &Unresolved, place: Place) -> (String, String) {
    let (service, port) = target.rsplit_once(':').unwrap_or((target, ""));
    match reason {
        Unresolved::NoService => (
            format!("there is no Service {service}"),
            match place {
                Place::Directory => format!(
                    "add it with its EndpointSlice, or start with `--endpoint {service}=HOST:PORT`"
                ),
                Place::Cluster => "create it".to_owned(),
            },
        ),
        Unresolved::External => (
            format!("the Service {service} is of type ExternalName and has no endpoints"),
            match place {
                Place::Directory => "make it a Service with an EndpointSlice",
                Place::Cluster => "make it a Service of another type, such as ClusterIP",
            }
            .to_owned(),
        ),
        Unresolved::NoPort(ports) => (
            format!("the Service {service} has no TCP port {port}"),
            match ports.as_slice() {
                [] => "add the port to the Service".to_owned(),
                ports => {
                    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                    format!(
                        "its ports are {}; use one of them or add this one",
                        ports.join(", ")
                    )
                }
            },
        ),
        Unresolved::NoSlice => (
            format!("the Service {service} has no EndpointSlice"),
            format!(
                "add one with the label `{}`",
                crate::world::SERVICE_NAME_LABEL
            ),
        ),
        Unresolved::NoSlicePort(name) if name.is_empty() => (
            format!(
                "no EndpointSlice of the Service {service} has a TCP port without a name, as port {port} is"
            ),
            "give the port the same name in both, or none in both".to_owned(),
        ),
        Unresolved::NoSlicePort(name) => (
            format!(
                "no EndpointSlice of the Service {service} has a TCP port named `{name}`, as port {port} is"
            ),
            "give the port the same name in both".to_owned(),
        ),
        Unresolved::NoneReady(0) => (
            format!("the Service {service} lists no endpoint for port {port}"),
            "start its engine".to_owned(),
        ),
        Unresolved::NoneReady(listed) => (
            format!(
                "no endpoint of the Service {service} is ready for port {port}, of {listed} listed"
            ),
            "look at its engine".to_owned(),
        ),
    }
}

fn unresolved_message(
    target: &str,
    reason: &Unresolved,
    users: &[(&ObjectName, &Located<FIXSessionSpec>)],
    place: Place,
) -> Message {
    let (what, mend) = in_words(target, reason, place);
    let more = match users.len() {
        0 | 1 => "the route is registered, and its Logons wait for it".to_owned(),
        2 => "this and 1 more route are registered, and their Logons wait for it".to_owned(),
        many => format!(
            "this and {} more routes are registered, and their Logons wait for it",
            many - 1
        ),
    };
    let first = users.first();
    Message {
        about: About::Target,
        severity: Severity::Warn,
        origin: first.and_then(|(_, session)| session.origin_of(reason.path())),
        object: first.map(|(name, _)| format!("{} {name}", Kind::FIXSession.label())),
        field: first.map(|_| reason.path().to_owned()),
        what,
        meanwhile: String::new(),
        mend: format!("{mend}; {more}"),
        witness: None,
    }
}
