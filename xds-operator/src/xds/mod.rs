//! What is a proxy to be given, in which order, and how does it get there?
//!
//! [`Snapshot`] → [`resources`] (Envoy's own types) → [`rollout`] (the order, per proxy) → [`session`] (delta ADS, per
//! stream) → [`server`] (the wire). All but the last are pure: no socket, no task, no clock; time is passed in.
//!
//! Never decides what the routes are, and never rolls a proxy back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use fixgw_core::rule::Target;

use crate::api::ProxyVersion;
use crate::tcp_timeout::TcpTimeout;

pub mod resources;
pub mod rollout;
pub mod server;
pub mod session;

/// What should be served: one published table and the endpoints as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The compiled table, as `Table::image` makes it; the revision is inside.
    pub table_image: Arc<[u8]>,
    /// The table's revision.
    pub revision: u64,
    /// Every target that the table names, with its ready endpoints. None: the target is not ready.
    pub endpoints: BTreeMap<Target, Vec<SocketAddr>>,
    /// Targets whose engines are told the counterparty's address by a PROXY protocol header, with its version.
    pub proxy_protocol: BTreeMap<Target, ProxyVersion>,
    /// Targets whose Service says itself after how long a connection ends whose host is gone.
    pub tcp_timeouts: BTreeMap<Target, TcpTimeout>,
}
