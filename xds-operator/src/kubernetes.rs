//! What does the control plane keep in a cluster, beside what people write there? The published table, who may write it, and what
//! is said of each object in its status.

pub mod events;
pub mod lease;
pub mod status;
pub mod table;
