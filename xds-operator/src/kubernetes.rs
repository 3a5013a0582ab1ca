//! What does the control plane keep in a cluster, beside what people write there? The published table, and who may write it.

pub mod lease;
pub mod table;
