//! The control plane alone: `fixgw control`, for an Envoy that was started elsewhere.

use std::net::SocketAddr;
use std::path::Path;

use crate::fixture::{Directory, NAMESPACE};
use crate::process::Process;
use crate::tool;

/// Starts one over a directory for gateways with so many VMs, which listens there and keeps its state there; waits for nothing.
#[must_use]
pub fn start(
    directory: &Directory,
    endpoints: &[(String, SocketAddr)],
    address: SocketAddr,
    state: &Path,
    vms: u64,
) -> Process {
    Process::start("fixgw control", tool::program("fixgw"), |command| {
        command.arg("control").arg(directory.path());
        command.args(["--output", "json", "--settle-quiet-ms", "10"]);
        command.arg("--xds").arg(address.to_string());
        command.arg("--filter").arg(tool::filter());
        command.arg("--state-dir").arg(state);
        command.arg("--vms").arg(vms.to_string());
        for (service, address) in endpoints {
            command
                .arg("--endpoint")
                .arg(format!("{NAMESPACE}/{service}={address}"));
        }
    })
}
