//! Which replica writes? One, by a Lease of the cluster: a task that takes it, renews it, gives it back, and says so.
//!
//! What to do and when is decided in `machine`; here it is done.
//!
//! INVARIANT: who has not renewed in time does not lead, whatever the API server says or does not say. Time is our own and counted
//! from what we have seen; clocks of other machines are not believed.

pub mod machine;

use std::hash::{BuildHasher as _, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;

use self::machine::{Machine, Outcome, Seen, Step, TIMES, Written};
use super::{FIELD_MANAGER, Patience, RequestError, random_below, watch_one};
use crate::wait::millis;

/// How long one request may take: a second attempt shall have time before the deadline.
const REQUEST_MAX: Duration = Duration::from_secs(4);
/// What is told and not taken yet. What does not fit is dropped.
const COMPLAINTS_MAX: usize = 16;
/// How late we may be with what is due, and still believe that what we read was said just now.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Milliseconds by which attempts of several candidates are spread.
const JITTER_MS: u64 = 500;

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

    fn extend(&self, end: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
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
    /// Us. Something is added that no other process has, for two of one name must not both lead.
    pub identity: String,
}

/// A Lease that is asked for. Its task lives until it is released; if it ends earlier, we do not lead and never will.
#[derive(Debug)]
pub struct Candidate {
    /// Who leads.
    pub leadership: watch::Receiver<Leadership>,
    /// When the API server answered last. While it answers that is seldom longer ago than a renewal. If only the watch of the Lease is
    /// silent, it is the duration that its holder has written into it and two requests.
    pub heard: watch::Receiver<Instant>,
    /// What went wrong, and what is well again; each thing once.
    pub complaints: mpsc::Receiver<String>,
    /// Ends when it was released, or by its death.
    pub task: JoinHandle<()>,
    /// Gives the Lease back, if we have it; then the task ends. Dropping it does the same.
    pub release: oneshot::Sender<()>,
}

/// Asks for a Lease, for as long as the process lives.
#[must_use]
pub fn apply(client: Client, name: LeaseName) -> Candidate {
    let (sender, leadership) = watch::channel(Leadership::default());
    let (told, complaints) = mpsc::channel(COMPLAINTS_MAX);
    let (heard, heard_now) = watch::channel(Instant::now());
    let (release, released) = oneshot::channel();
    let suffix = RandomState::new().hash_one(std::process::id());
    let identity = format!("{}_{suffix:016x}", name.identity);
    let office = Office {
        api: Api::namespaced(client, &name.namespace),
        path: format!("{}/{}", name.namespace, name.name),
        name: name.name,
        machine: Machine::new(identity, TIMES),
        started: Instant::now(),
        sender: Announcer(sender),
        heard,
        told,
        failed: None,
    };
    let task = tokio::spawn(office.run(released));
    Candidate {
        leadership,
        heard: heard_now,
        complaints,
        task,
        release,
    }
}

/// Says who leads; whoever ends, in whatever way, does not.
struct Announcer(watch::Sender<Leadership>);

impl Drop for Announcer {
    fn drop(&mut self) {
        self.0
            .send_if_modified(|leadership| std::mem::take(&mut leadership.role) != Role::Follower);
    }
}

struct Office {
    api: Api<Lease>,
    path: String,
    name: String,
    machine: Machine,
    started: Instant,
    sender: Announcer,
    heard: watch::Sender<Instant>,
    told: mpsc::Sender<String>,
    /// What went wrong last, and was told.
    failed: Option<String>,
}

impl Office {
    async fn run(mut self, mut released: oneshot::Receiver<()>) {
        let lease = watch_one(self.api.clone(), &self.name);
        let mut lease = pin!(lease.backoff(Patience::default()));
        loop {
            let step = self.machine.step(self.now_ms(), random_below(JITTER_MS));
            self.announce();
            let Step::Wait(until) = step else {
                tokio::select! {
                    () = self.perform(&step) => {}
                    _ = &mut released => break,
                }
                continue;
            };
            let due = self.started + Duration::from_millis(until);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                heard = lease.next() => if let Some(Ok(heard)) = heard {
                    // Who was stopped reads what was sent long ago.
                    if Instant::now() < due + LATE_MAX {
                        self.heard.send_replace(Instant::now());
                    }
                    let now = self.now_ms();
                    self.machine.hear(heard.and_then(seen), now);
                },
                _ = &mut released => break,
            }
        }
        // Nothing is written any more from here on.
        let step = self.machine.release();
        self.announce();
        if let Some(step) = step {
            self.perform(&step).await;
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// Says who leads, if that has changed.
    fn announce(&self) {
        let now = self.now_ms();
        let until = self.machine.leads_until(now);
        let end = until.map(|until| self.started + Duration::from_millis(until));
        let (holder, transitions) = self.machine.holder();
        self.sender.0.send_if_modified(|leadership| {
            let role = match (&leadership.role, end) {
                (_, None) => Role::Follower,
                (Role::Leader(tenure), Some(end)) => {
                    tenure.extend(end);
                    Role::Leader(tenure.clone())
                }
                (Role::Follower, Some(end)) => Role::Leader(Tenure::until(end)),
            };
            let next = Leadership {
                role,
                holder: holder.map(str::to_owned),
                transitions,
            };
            let changed = *leadership != next;
            *leadership = next;
            changed
        });
    }

    async fn perform(&mut self, step: &Step) {
        let begun = self.now_ms();
        let asked = tokio::time::timeout(self.patience(begun), self.ask(step)).await;
        let asked = asked.unwrap_or(Err(RequestError::Silence));
        if asked.as_ref().map_or_else(is_answer, |_| true) {
            self.heard
                .send_replace(self.started + Duration::from_millis(begun));
        }
        let outcome = match asked {
            Ok(lease) => {
                if self.failed.take().is_some() {
                    self.tell(format!("the Lease {} can be written again", self.path));
                }
                Outcome::Is(lease.and_then(seen))
            }
            Err(error) if error.code() == Some(409) => Outcome::Conflict,
            // It was deleted meanwhile.
            Err(error) if error.code() == Some(404) => Outcome::Conflict,
            Err(error) => {
                self.fail(&error);
                Outcome::Failed
            }
        };
        let now = self.now_ms();
        self.machine.done(step, outcome, begun, now);
    }

    /// How long a request may take: not beyond the time when we have to say that we lead no more.
    fn patience(&self, now: u64) -> Duration {
        let left = self.machine.leads_until(now).map(|until| until - now);
        left.map_or(REQUEST_MAX, |left| {
            REQUEST_MAX.min(Duration::from_millis(left))
        })
    }

    async fn ask(&self, step: &Step) -> Result<Option<Lease>, RequestError> {
        match step {
            Step::Wait(_) => Ok(None),
            Step::Read => Ok(self.api.get_opt(&self.name).await?),
            Step::Create(written) => {
                let lease = json!({ "metadata": { "name": self.name }, "spec": spec(written) });
                let lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
                let parameters = PostParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PostParams::default()
                };
                Ok(Some(self.api.create(&parameters, &lease).await?))
            }
            Step::Replace(version, written) => {
                let metadata = json!({ "resourceVersion": version });
                let patch = json!({ "metadata": metadata, "spec": spec(written) });
                let parameters = PatchParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PatchParams::default()
                };
                let patch = Patch::Merge(patch);
                Ok(Some(self.api.patch(&self.name, &parameters, &patch).await?))
            }
        }
    }

    fn tell(&self, what: String) {
        let _ = self.told.try_send(what);
    }

    fn fail(&mut self, error: &RequestError) {
        let what = match error.code() {
            Some(401 | 403) => format!(
                "the Lease {} may not be used ({error}); give the operator's service account the right to get, watch, create \
                 and patch Leases in its namespace",
                self.path
            ),
            _ => format!(
                "the Lease {} cannot be used ({error}); without it nothing new is published and no status is written, what \
                 was published is served, and this is tried again",
                self.path
            ),
        };
        if self.failed.as_ref() != Some(&what) {
            self.tell(what.clone());
            self.failed = Some(what);
        }
    }
}

/// Whether the API server itself may have said that. What stands before it says that it is away (502, 503, 504) or knows nobody (401), and
/// without its store (500) it knows no more than we do.
fn is_answer(error: &RequestError) -> bool {
    matches!(error.code(), Some(403 | 404 | 409 | 429))
}

/// What is written. The times are for people alone: nobody of us believes them.
fn spec(written: &Written) -> Value {
    let now = Timestamp::now();
    let Some(holder) = &written.holder else {
        return json!({ "holderIdentity": null, "renewTime": null, "acquireTime": null });
    };
    let mut spec = json!({
        "holderIdentity": holder,
        "leaseDurationSeconds": TIMES.duration_ms / 1_000,
        "leaseTransitions": written.transitions,
        "renewTime": micro(now),
    });
    if let (true, Some(spec)) = (written.taken, spec.as_object_mut()) {
        spec.insert("acquireTime".to_owned(), micro(now).into());
    }
    spec
}

/// As Kubernetes writes it: with six digits after the point.
fn micro(time: Timestamp) -> String {
    format!("{time:.6}")
}

fn seen(lease: Lease) -> Option<Seen> {
    let spec = lease.spec.unwrap_or_default();
    Some(Seen {
        version: lease.metadata.resource_version?,
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration_ms: spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(|seconds| seconds.saturating_mul(1_000)),
        transitions: spec.lease_transitions.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn what_stands_before_the_api_server_is_not_its_answer() {
        let is_answer = |code| {
            let status = Status::default().with_code(code);
            is_answer(&RequestError::Kube(kube::Error::Api(status.boxed())))
        };
        assert!([403, 404, 409, 429].into_iter().all(is_answer));
        assert!(![401, 500, 502, 503, 504].into_iter().any(is_answer));
        assert!(!super::is_answer(&RequestError::Silence));
    }
}
