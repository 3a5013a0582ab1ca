//! What should the proxies hold, and how does it get there? The control plane of FIX gateway.

pub mod receive;
pub mod xds;
