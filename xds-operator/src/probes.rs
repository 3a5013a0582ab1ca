//! Is this replica ready, and does it live? Two answers over HTTP, for the kubelet.
//!
//! Ready: the table is loaded, every watch has had its first list, and no other replica hears the API server while this one does not.
//! Who leads makes no difference. Live: no task has ended that must not.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What is known of the replica's own parts.
#[derive(Debug, Default)]
pub struct Health {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    phase: Phase,
    /// Whether gateways are better served by others.
    stands_aside: bool,
    /// Tasks that have ended.
    dead: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Starting,
    Ready,
    Stopping,
}

impl Health {
    /// Proxies are served.
    pub fn ready(&self) {
        self.known().phase = Phase::Ready;
    }

    /// Whether gateways are better served by others.
    pub fn stands_aside(&self, now: bool) {
        self.known().stands_aside = now;
    }

    /// They will not be for long.
    pub fn stopping(&self) {
        self.known().phase = Phase::Stopping;
    }

    /// Lives only as long as this task does.
    pub fn watch(self: &Arc<Self>, name: &'static str, task: JoinHandle<()>) {
        let health = self.clone();
        tokio::spawn(async move {
            let _ = task.await;
            let mut known = health.known();
            if known.phase != Phase::Stopping {
                known.dead.push(name);
            }
        });
    }

    fn readiness(&self) -> (StatusCode, String) {
        let known = self.known();
        match known.phase {
            Phase::Ready if known.stands_aside => (
                StatusCode::SERVICE_UNAVAILABLE,
                "does not hear the API server, and another replica does\n".to_owned(),
            ),
            Phase::Ready => (StatusCode::OK, "ready\n".to_owned()),
            Phase::Starting => (
                StatusCode::SERVICE_UNAVAILABLE,
                "waits for a published table and for the first lists of the API server\n"
                    .to_owned(),
            ),
            Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stops\n".to_owned()),
        }
    }

    fn liveness(&self) -> (StatusCode, String) {
        let known = self.known();
        if known.dead.is_empty() {
            return (StatusCode::OK, "live\n".to_owned());
        }
        let dead = known.dead.join(", ");
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("ended and must not have: {dead}\n"),
        )
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers `/readyz` and `/livez`, for as long as the process lives.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
) -> Result<Infallible, std::io::Error> {
    let answers = Router::new()
        .route(
            "/readyz",
            get(async |State(health): State<Arc<Health>>| health.readiness()),
        )
        .route(
            "/livez",
            get(async |State(health): State<Arc<Health>>| health.liveness()),
        )
        .with_state(health);
    axum::serve(listener, answers).await?;
    Err(std::io::Error::other("the probes are no longer answered"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_is_the_end_of_liveness_but_not_while_stopping() {
        let health = Arc::new(Health::default());
        assert_eq!(health.readiness().0, StatusCode::SERVICE_UNAVAILABLE);
        health.ready();
        assert_eq!(health.readiness().0, StatusCode::OK);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        health.watch("the Lease", tokio::spawn(async { drop(ended.await) }));
        tokio::task::yield_now().await;
        assert_eq!(health.liveness().0, StatusCode::OK);
        drop(end);
        while health.liveness().0 == StatusCode::OK {
            tokio::task::yield_now().await;
        }
        assert!(health.liveness().1.contains("the Lease"));
        let stopping = Arc::new(Health::default());
        stopping.stopping();
        stopping.watch("x", tokio::spawn(async {}));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(stopping.liveness().0, StatusCode::OK);
    }
}
