//! How many connections does a gateway on this machine hold? As many as the files allow that its Envoy may open.
//!
//! INVARIANT: Envoy never runs out of files. Envoy 1.40 ends with SIGSEGV when it finds none for a connection to an engine
//! (seen), and every session ends with it: whoever can connect could do that. So the limit to files is raised as far as it
//! goes, and Envoy closes the connection that would be one too many as soon as it is accepted.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

/// Files of one place for a counterparty: its own socket; its engine's; and two more for engines' sockets that stay when
/// their counterparty has gone, until the engine has read the last bytes or the TCP timeout is over. A target keeps twice as many
/// sockets as there are places: so one whose engines read nothing cannot use up the files of all others.
const FILES_OF_A_CONNECTION: u64 = 4;
/// Sockets of one target, for each place.
const TARGET_SOCKETS_OF_A_CONNECTION: u64 = 2;
/// Files of Envoy itself: 22 were seen, and some admin clients come and go.
const FILES_OF_ENVOY: u64 = 128;
/// Files of one worker more: 6 were seen, and each further listener is one.
const FILES_OF_A_WORKER: u64 = 16;
/// More connections than any gateway holds: a bound where the kernel sets none.
const CONNECTIONS_MAX: u64 = 1_000_000;
/// With fewer, a single scanner would keep everyone out.
const CONNECTIONS_MIN: u64 = 64;

/// Too few files.
#[derive(Debug, Error)]
pub enum CapacityError {
    /// Not enough for a gateway.
    #[error(
        "this process may open {files} files, which is enough for {connections} connections; raise the limit, for example \
         with `ulimit -n 65536`, or LimitNOFILE= in a systemd unit"
    )]
    Files {
        /// How many may be open.
        files: u64,
        /// How many connections that makes.
        connections: u64,
    },
    /// The kernel refused to raise the limit as far as it says that it goes.
    #[error("the limit to open files could not be raised to {files}: {source}")]
    Raise {
        /// How far.
        files: u64,
        /// Why.
        source: std::io::Error,
    },
}

/// How much an Envoy takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections of counterparties.
    pub connections: u64,
    /// Connections to one target.
    pub target_connections: u64,
}

/// Raises the limit to open files, for this process and for what it starts or becomes, and says how much an Envoy with so
/// many workers then takes on. `others` is how many files it needs for other things than counterparties.
///
/// # Errors
/// Too few.
pub fn make(workers: u64, others: u64) -> Result<Capacity, CapacityError> {
    let (files, limit) = reachable(workers, others);
    if limit.current.is_some_and(|current| current < files) {
        let raised = Rlimit {
            current: Some(files),
            ..limit
        };
        let refused = |source: Errno| CapacityError::Raise {
            files,
            source: source.into(),
        };
        setrlimit(Resource::Nofile, raised).map_err(refused)?;
    }
    within(workers, others, files)
}

/// What [`make`] would say, without raising anything.
///
/// # Errors
/// Too few.
pub fn look(workers: u64, others: u64) -> Result<Capacity, CapacityError> {
    within(workers, others, reachable(workers, others).0)
}

/// The files that may be open once the limit is raised, and the limit as it is.
fn reachable(workers: u64, others: u64) -> (u64, Rlimit) {
    let wanted = files(workers, CONNECTIONS_MAX).saturating_add(others);
    let limit = getrlimit(Resource::Nofile);
    (limit.maximum.unwrap_or(wanted).min(wanted), limit)
}

fn within(workers: u64, others: u64, files: u64) -> Result<Capacity, CapacityError> {
    let connections = connections(workers, files.saturating_sub(others));
    if connections < CONNECTIONS_MIN {
        return Err(CapacityError::Files { files, connections });
    }
    Ok(Capacity {
        connections,
        target_connections: connections.saturating_mul(TARGET_SOCKETS_OF_A_CONNECTION),
    })
}

const fn own_files(workers: u64) -> u64 {
    FILES_OF_ENVOY.saturating_add(FILES_OF_A_WORKER.saturating_mul(workers))
}

const fn files(workers: u64, connections: u64) -> u64 {
    own_files(workers).saturating_add(connections.saturating_mul(FILES_OF_A_CONNECTION))
}

const fn connections(workers: u64, files: u64) -> u64 {
    files.saturating_sub(own_files(workers)) / FILES_OF_A_CONNECTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_all_connections_and_of_envoy_itself_are_within_the_limit() {
        for (workers, limit) in [(1, 1_024), (2, 20_000), (64, 1_048_576), (3, 999)] {
            let most = connections(workers, limit);
            assert!(files(workers, most) <= limit);
            assert!(files(workers, most + 1) > limit);
        }
        assert_eq!(connections(64, 1_024), 0);
    }
}
