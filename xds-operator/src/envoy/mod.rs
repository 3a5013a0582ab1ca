//! How is an Envoy set up and asked, whoever starts it? What `fixgw up` and `fixgw gateway` have in common.
//!
//! Everything about one Envoy: what it starts with, how many connections it takes, and what its admin interface says. Who
//! supervises it, and where its control plane is, are no questions of these modules.

pub mod admin;
pub mod bootstrap;
pub mod capacity;
pub mod files;
pub mod proxy_protocol;
pub mod settings;

/// Workers, where nobody says how many: one for each processor that this process may use. (The standard library counts
/// those of its affinity and of its control group's quota.)
#[must_use]
pub fn processors() -> u32 {
    std::thread::available_parallelism()
        .ok()
        .and_then(|n| u32::try_from(n.get()).ok())
        .unwrap_or(2)
}
