//! What does a worker tell the control plane about itself?
//!
//! Sent by gRPC from each VM's data root: on change, and as a heartbeat. The control plane removes nothing that a VM
//! with a live heartbeat may still use.

/// gRPC service.
pub const SERVICE: &str = "fixgw.report.v1.ReportService";
/// Its one method.
pub const METHOD: &str = "Report";
/// Milliseconds between heartbeats.
pub const HEARTBEAT_MS: u64 = 1_000;
/// Milliseconds without a report after which a VM counts as gone. Five heartbeats: a busy machine delays some.
pub const LIVE_MS: u64 = 5_000;

/// What one VM uses.
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
}

/// Nothing: the control plane answers through xDS.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct VmReportAnswer {}
