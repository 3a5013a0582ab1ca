//! What should the proxies hold, and how does it get there? The control plane of FIX gateway.

pub mod api;
pub mod certificate;
pub mod check;
pub mod cli;
pub mod control;
pub mod diff;
pub mod explain;
pub mod kubernetes;
pub mod message;
mod names;
pub mod operator;
pub mod parse;
pub mod pipeline;
pub mod probes;
pub mod receive;
pub mod said;
pub mod serving;
pub mod source;
pub mod state;
pub mod status;
pub mod taken;
pub mod tcp_timeout;
pub mod up;
pub mod world;
pub mod xds;
