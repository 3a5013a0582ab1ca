//! What does a counterparty hear whose Logon reaches no engine? One FIX Logout that says why, and the end of the
//! connection.
//!
//! Reads with the parser of the gateway, so that both agree on what a Logon is. Keeps no state between connections: no
//! sequence numbers, no sessions. Never prints a field's value, never answers what is not a Logon, and bounds every
//! connection in time and bytes, and their number.

mod intake;
pub mod logout;
pub mod proxy;
pub mod server;
pub mod text;

pub use server::{Config, Ending, Limits, Outcome, ProxyProtocol, Report, Unanswered, serve};
pub use text::Text;
