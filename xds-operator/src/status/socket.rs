//! Where does a running control plane answer `fixgw status`? At a socket in its state directory, which only its user may
//! reach: whoever connects gets one JSON object and the end.
//!
//! Never waits for a reader for longer than [`WRITE_TIMEOUT`], and the control plane never waits for it.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Status;

/// Name of the socket.
pub const SOCKET: &str = "status.sock";
/// Readers at once; the next ones wait.
const READERS_MAX: usize = 64;
/// Time that one reader has.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time that a control plane has to answer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an error of the listener, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of an answer: 200,000 routes of some 600 bytes each.
const STATUS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A path to the socket that is short enough for a socket's address (108 bytes), however long the directory's is. It holds as
/// long as the directory is open.
fn near(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}

/// Opens the socket in a state directory that this process has.
///
/// # Errors
/// It cannot be made.
pub fn open(state: &Path) -> io::Result<UnixListener> {
    fs::create_dir_all(state)?;
    let directory = File::open(state)?;
    let path = near(&directory);
    // One of a process that was killed. The directory is ours, so nobody listens there.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket of this process, so that nobody takes the gateway for one that is started again.
pub fn close(state: &Path) {
    let _ = fs::remove_file(state.join(SOCKET));
}

/// Answers whoever connects, for ever.
pub async fn serve(listener: UnixListener, status: impl Fn() -> Status + Send + Sync + 'static) {
    let status = Arc::new(status);
    let readers = Arc::new(Semaphore::new(READERS_MAX));
    loop {
        let Ok(permit) = readers.clone().acquire_owned().await else {
            return;
        };
        let Ok((mut reader, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let status = status.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let mut answer = serde_json::to_vec(&status()).unwrap_or_default();
            answer.push(b'\n');
            let written = async {
                reader.write_all(&answer).await?;
                reader.shutdown().await
            };
            // A reader that goes away or does not read has had his time.
            let _ = timeout(WRITE_TIMEOUT, written).await;
        });
    }
}

/// Asks the control plane that has a state directory.
///
/// # Errors
/// None has it, it does not answer, or what it says is no status.
pub fn ask(state: &Path) -> io::Result<Status> {
    let directory = File::open(state)?;
    let stream = StdUnixStream::connect(near(&directory))?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut answer = Vec::new();
    stream.take(STATUS_BYTES_MAX).read_to_end(&mut answer)?;
    serde_json::from_slice(&answer).map_err(io::Error::from)
}
