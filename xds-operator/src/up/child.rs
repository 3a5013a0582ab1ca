//! How are the parts of one gateway started, watched and ended, so that none outlives it?

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Time that a part has to end by itself before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A command that ends with this process, whatever ends it. INVARIANT: spawned from the main thread only, since the
/// kernel sends the signal when the *thread* that started the child ends.
///
/// # Errors
/// The own program cannot be found.
pub fn command(program: &Path) -> std::io::Result<Command> {
    // The child ties itself to us before it becomes the program: that needs no unsafe code between fork and exec.
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("child")
        .arg("--parent")
        .arg(std::process::id().to_string())
        .arg("--")
        .arg(program);
    // Ctrl-C at the terminal reaches the supervisor only, which ends the parts in order.
    command
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    Ok(command)
}

/// `fixgw child`: ties this process to its parent and becomes the program.
#[must_use]
pub fn become_program(
    parent: u32,
    program: &PathBuf,
    arguments: &[std::ffi::OsString],
) -> std::io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    let is_parent =
        |pid: Pid| u32::try_from(pid.as_raw_nonzero().get()).is_ok_and(|pid| pid == parent);
    if !getppid().is_some_and(is_parent) {
        return std::io::Error::other("the gateway ended before its part was started");
    }
    std::process::Command::new(program).args(arguments).exec()
}

/// Asks a part to end, and kills it if it does not.
pub async fn end(child: &mut Child) {
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by now; then there is nothing to ask.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(END_TIMEOUT, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
