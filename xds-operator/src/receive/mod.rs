//! What do proxies tell about themselves and about Logons?
//!
//! Decision records arrive as OTLP log records ([`logs`], [`decision`]), what a VM uses as reports ([`report`],
//! [`vms`]), who is connected in the same reports ([`sessions`]); [`lag`] says which VM stays behind, [`peers`] passes reports on
//! to other replicas, and [`aside`] is what they say of themselves beside it. Decoding, rendering and the
//! accounts are pure; only [`logs`] and [`report`] are services.
//!
//! Never sees a field's value that the core did not let out: redaction happened before it was sent.

pub mod aside;
pub mod decision;
pub mod fleet;
pub mod lag;
pub mod logs;
pub mod peers;
pub mod rejections;
pub mod report;
pub mod sessions;
pub mod vms;
