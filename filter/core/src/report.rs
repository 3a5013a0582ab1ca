//! What does a worker tell the control plane about itself?
//!
//! Sent by gRPC from each VM's data root: on change, and as a heartbeat. The control plane removes nothing that a VM
//! with a live heartbeat may still use, and adds up who is connected from what [`crate::sessions`] puts in.

/// gRPC service.
pub const SERVICE: &str = "fixgw.report.v1.ReportService";
/// Its one method.
pub const METHOD: &str = "Report";
/// Milliseconds between heartbeats.
pub const HEARTBEAT_MS: u64 = 1_000;
/// Milliseconds without a report after which a VM counts as gone. Five heartbeats: a busy machine delays some.
pub const LIVE_MS: u64 = 5_000;

/// Milliseconds between two reports, where only connections came or went.
pub const COUNTS_MS: u64 = 200;

/// What one VM uses, and what changed about its connections.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VmReport {
    /// Envoy's `node.id`.
    #[prost(string, tag = "1")]
    pub node_id: alloc::string::String,
    /// Random at the VM's birth: a reloaded VM is another one.
    #[prost(fixed64, tag = "2")]
    pub vm_id: u64,
    /// Revision of the table in use; 0 when there is none.
    #[prost(uint64, tag = "3")]
    pub table_revision: u64,
    /// Version of the readiness in use; 0 when there is none.
    #[prost(uint64, tag = "4")]
    pub readiness_version: u64,
    /// Connections closed without having sent a byte, since the VM's birth.
    #[prost(uint64, tag = "5")]
    pub silent_connections: u64,
    /// Decision records dropped because the collector was away or too slow.
    #[prost(uint64, tag = "6")]
    pub records_dropped: u64,
    /// Panics caught.
    #[prost(uint64, tag = "7")]
    pub panics: u64,
    /// Tables and readiness that were ignored, because the VM had newer ones.
    #[prost(uint64, tag = "8")]
    pub stale_configurations: u64,
    /// TLS handshakes that came to nothing, with a reason; each has a decision record, too.
    #[prost(uint64, tag = "9")]
    pub failed_handshakes: u64,
    /// What follows is what changed since the report of this number; 0: it is everything, or the beginning of it.
    #[prost(uint64, tag = "10")]
    pub since: u64,
    /// Number of this report among those with news; as `since` where there is none.
    #[prost(uint64, tag = "11")]
    pub number: u64,
    /// Routes whose connections changed, as they are now.
    #[prost(message, repeated, tag = "12")]
    pub routes: alloc::vec::Vec<RouteReport>,
    /// Whether the rest follows with the next report.
    #[prost(bool, tag = "13")]
    pub more: bool,
}

/// The connections of one route in one VM.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RouteReport {
    /// `namespace/name`; empty for what no route took.
    #[prost(string, tag = "1")]
    pub route: alloc::string::String,
    /// Those that wait for their target.
    #[prost(uint32, tag = "2")]
    pub held: u32,
    /// The others, by target.
    #[prost(message, repeated, tag = "3")]
    pub targets: alloc::vec::Vec<TargetReport>,
    /// When a Logon took it last: milliseconds since 1970; 0: none did.
    #[prost(uint64, tag = "4")]
    pub logon_unix_ms: u64,
    /// The last decision ([`crate::decision::Decision::label`]); empty: none.
    #[prost(string, tag = "5")]
    pub decision: alloc::string::String,
    /// Its reason ([`crate::decision::Reason::label`]).
    #[prost(string, tag = "6")]
    pub reason: alloc::string::String,
    /// When that was: milliseconds since 1970.
    #[prost(uint64, tag = "7")]
    pub decided_unix_ms: u64,
}

/// Connections of a route to one target.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TargetReport {
    /// Cluster; empty for several that are not told one by one.
    #[prost(string, tag = "1")]
    pub target: alloc::string::String,
    /// Those that no endpoint has taken yet.
    #[prost(uint32, tag = "2")]
    pub connecting: u32,
    /// Those that an engine has.
    #[prost(uint32, tag = "3")]
    pub live: u32,
}

/// What the control plane has of a VM.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct VmReportAnswer {
    /// Number of the last report that it has taken in; 0: none, or not the one that this one follows, so everything is to be
    /// told again.
    #[prost(uint64, tag = "1")]
    pub number: u64,
}
