//! How do statuses get to the API server? Server-side apply on the status subresource, by the replica that leads.
//!
//! Nobody waits for this: it takes what it writes from watch channels, and what it cannot write it tries again. What is written
//! next is the question of [`planner`](crate::status::planner).
//!
//! INVARIANT: nothing is written by who does not lead. When leadership is lost, what is under way is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_core::decision::Severity;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::events::{Regarding, Teller};
use super::lease::{Leadership, Role};
use super::{FIELD_MANAGER, bounded};
use crate::api::status::FIXSessionStatus;
use crate::api::{API_VERSION, GROUP, KIND, PLURAL};
use crate::message::{Message, clean_text};
use crate::receive::fleet::{AllSessions, Fleet};
use crate::receive::rejections::Rejections;
use crate::status::conditions::{Decided, Known, Publication, Served};
use crate::status::planner::{Outcome, Planner, Write, YOUNG_MS};
use crate::status::transitions;
use crate::wait::{at, millis, tell_another};
use crate::world::ObjectName;
use crate::world::held::Observed;

/// Between two looks at everything: what changes meanwhile is looked at together.
const LOOKS_APART: Duration = Duration::from_millis(250);
/// So many times as long as a look has taken, there is none: looks take a twentieth of a processor at most.
const LOOK_SHARE: u32 = 20;
/// Troubles that are told at once.
const TROUBLES_MAX: usize = 16;
/// Characters of what the API server says.
const SAID_CHARS_MAX: usize = 512;

/// Where everything comes from that statuses are made of.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Whether we may write.
    pub leadership: watch::Receiver<Leadership>,
    /// The source: what is there, and what its status says.
    pub observed: watch::Receiver<Option<Observed>>,
    /// The rules half of the pipeline.
    pub decided: watch::Receiver<Option<Decided>>,
    /// Whether what is accepted is published. It is known before anything is observed: how it is when leadership begins is no news.
    pub publication: watch::Receiver<Publication>,
    /// The serving half of the pipeline.
    pub served: watch::Receiver<Option<Served>>,
    /// `Outputs::fleet`
    pub fleet: watch::Receiver<Arc<Fleet>>,
    /// `Outputs::sessions`
    pub sessions: watch::Receiver<Arc<AllSessions>>,
    /// What gateways refused.
    pub rejections: watch::Receiver<Arc<Rejections>>,
    /// Since when gateways can find this replica.
    pub serves_since: Instant,
}

impl Inputs {
    /// Everything as it is now; none before anything was observed.
    fn known(&mut self) -> Option<Known> {
        let observed = self.observed.borrow_and_update().clone()?;
        let young = Instant::now() < self.grown_up();
        Some(Known {
            observed,
            decided: self.decided.borrow_and_update().clone(),
            publication: self.publication.borrow_and_update().clone(),
            served: self.served.borrow_and_update().clone(),
            fleet: self.fleet.borrow_and_update().clone(),
            sessions: self.sessions.borrow_and_update().clone(),
            rejections: self.rejections.borrow_and_update().clone(),
            young,
        })
    }

    fn grown_up(&self) -> Instant {
        self.serves_since + Duration::from_millis(YOUNG_MS)
    }

    /// Until something is otherwise than it was when we were looked at, young or not.
    async fn changed(&mut self, were_young: bool) -> Result<(), watch::error::RecvError> {
        let grown_up = were_young.then(|| self.grown_up());
        tokio::select! {
            changed = self.observed.changed() => changed,
            changed = self.decided.changed() => changed,
            changed = self.publication.changed() => changed,
            changed = self.served.changed() => changed,
            changed = self.fleet.changed() => changed,
            changed = self.sessions.changed() => changed,
            changed = self.rejections.changed() => changed,
            () = at(grown_up) => Ok(()),
        }
    }
}

/// Whose Events are told beside those of FIXSessions, and in whose name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The namespace of the `ConfigMap` that points to the table.
    pub namespace: String,
    /// Its name.
    pub table: String,
    /// This replica.
    pub instance: String,
}

/// A writer at work.
#[derive(Debug)]
pub struct Writing {
    /// What stands in the way, all of it at any time: to be told by [`crate::message::Standing`].
    pub troubles: watch::Receiver<Vec<Message>>,
    /// Ends when what it is fed by ends, or when something is wrong with our own machinery.
    pub task: JoinHandle<()>,
}

/// Writes statuses and Events while this replica leads. Must be called within a runtime.
#[must_use]
pub fn write(client: Client, mut inputs: Inputs, names: Names) -> Writing {
    let (troubles, troubles_now) = watch::channel(Vec::new());
    let task = tokio::spawn(async move {
        let mut leadership = inputs.leadership.clone();
        loop {
            let leads = |leadership: &Leadership| matches!(leadership.role, Role::Leader(_));
            let Ok(now) = leadership.wait_for(leads).await.map(|now| now.clone()) else {
                return;
            };
            let leader = Leader::begin(&client, &names, &troubles, now);
            let ended = tokio::select! {
                // Whatever is under way is dropped with it.
                changed = follower(&mut leadership) => changed,
                () = leader.lead(&mut inputs) => return,
            };
            troubles.send_replace(Vec::new());
            if ended.is_err() {
                return;
            }
        }
    });
    Writing {
        troubles: troubles_now,
        task,
    }
}

/// Until another one leads, or this one anew.
async fn follower(
    leadership: &mut watch::Receiver<Leadership>,
) -> Result<(), watch::error::RecvError> {
    let before = leadership.borrow_and_update().role.clone();
    leadership
        .wait_for(|now| now.role != before)
        .await
        .map(|_| ())
}

/// One time of leading.
struct Leader<'w> {
    client: Client,
    troubles: &'w watch::Sender<Vec<Message>>,
    leadership: Leadership,
    teller: Teller,
    telling: JoinHandle<()>,
    table: ObjectName,
    started: Instant,
    planner: Planner,
    known: Option<Known>,
    writes: JoinSet<(ObjectName, Written)>,
    under_way: Vec<Write>,
    /// What stands in the way, and what the API server said of it.
    standing: BTreeMap<Of, String>,
    /// The next look at everything is not before this.
    look_after: Instant,
    look: Look,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Due,
    NotDue,
}

/// What the API server said to a write.
enum Written {
    Taken(Box<FIXSessionStatus>),
    Gone,
    /// Not this one.
    Refused(String),
    /// We may not write any.
    Forbidden(String),
    Unreachable(String),
}

/// What ended a wait.
enum Woken {
    Changed,
    Ended,
    Written(ObjectName, Written),
    Due,
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.telling.abort();
    }
}

impl<'w> Leader<'w> {
    fn begin(
        client: &Client,
        names: &Names,
        troubles: &'w watch::Sender<Vec<Message>>,
        leadership: Leadership,
    ) -> Self {
        let (teller, telling) = Teller::start(client.clone(), &names.instance);
        Self {
            client: client.clone(),
            troubles,
            leadership,
            teller,
            telling,
            table: ObjectName::new(&names.namespace, &names.table),
            started: Instant::now(),
            planner: Planner::begin(0),
            known: None,
            writes: JoinSet::new(),
            under_way: Vec::new(),
            standing: BTreeMap::new(),
            look_after: Instant::now(),
            look: Look::Due,
        }
    }

    /// Until what it is fed by ends.
    async fn lead(mut self, inputs: &mut Inputs) {
        loop {
            if self.look == Look::Due && self.look_after <= Instant::now() {
                self.look_at(inputs);
            }
            self.begin_writes();
            match self.wait(inputs).await {
                Woken::Changed => self.look = Look::Due,
                Woken::Due => {}
                Woken::Written(name, written) => self.take(&name, written),
                Woken::Ended => return,
            }
        }
    }

    async fn wait(&mut self, inputs: &mut Inputs) -> Woken {
        let due = at(self.due());
        let look = self.look;
        let were_young = self.known.as_ref().is_some_and(|known| known.young);
        let changed = async {
            match look {
                Look::NotDue => inputs.changed(were_young).await,
                // It is looked at soon anyway.
                Look::Due => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(written) = self.writes.join_next() => match written {
                Ok((name, written)) => Woken::Written(name, written),
                Err(_) => Woken::Ended,
            },
            changed = changed => changed.map_or(Woken::Ended, |()| Woken::Changed),
            () = due => Woken::Due,
        }
    }

    /// When something is to be done by itself.
    fn due(&self) -> Option<Instant> {
        let at = |ms| self.started + Duration::from_millis(ms);
        let write = self.planner.deadline_ms().map(at);
        // Without the right to write there is nothing to hurry for.
        let write = write.map(|write| {
            if self.leadership.may_write(Instant::now()) {
                write
            } else {
                write.max(Instant::now() + LOOKS_APART)
            }
        });
        let again = self.planner.look_again_ms(self.now_ms()).map(at);
        let look = match self.look {
            Look::Due => Some(self.look_after),
            Look::NotDue => again.map(|again| again.max(self.look_after)),
        };
        write.into_iter().chain(look).min()
    }

    fn look_at(&mut self, inputs: &mut Inputs) {
        self.look = Look::NotDue;
        let Some(known) = inputs.known() else {
            return;
        };
        let now_ms = self.now_ms();
        let again = self.planner.look_again_ms(now_ms);
        if again.is_none_or(|again| again > now_ms)
            && let Some(last) = &mut self.known
            && last.says_the_same_as(&known)
        {
            *last = known;
            return;
        }
        let began = Instant::now();
        self.planner.look(&known, self.now_ms());
        self.look_after = Instant::now() + LOOKS_APART.max(began.elapsed() * LOOK_SHARE);
        let held = &known.observed.held;
        self.standing.retain(|of, _| match of {
            Of::Object(name) => held.contains_key(name),
            Of::Server | Of::Namespace(_) => true,
        });
        self.complain();
        if let Some(before) = self.known.replace(known)
            && let Some(now) = &self.known
            && let Some(note) = transitions::of_publication(&before.publication, &now.publication)
        {
            self.teller.tell(Regarding::Table(self.table.clone()), note);
        }
    }

    fn begin_writes(&mut self) {
        let now_ms = self.now_ms();
        if self
            .planner
            .look_again_ms(now_ms)
            .is_some_and(|again| again <= now_ms)
        {
            self.look = Look::Due;
        }
        let Some(known) = &self.known else {
            return;
        };
        // A process that was stopped learns late that its time is over.
        if !self.leadership.may_write(Instant::now()) {
            return;
        }
        for write in self.planner.take(known, now_ms, jiff::Timestamp::now()) {
            let client = self.client.clone();
            let (name, uid, status) = (write.name.clone(), write.uid.clone(), write.status.clone());
            self.under_way.push(write);
            self.writes.spawn(async move {
                let written = apply(client, &name, &uid, &status).await;
                (name, written)
            });
        }
    }

    fn take(&mut self, name: &ObjectName, written: Written) {
        let at = self.under_way.iter().position(|write| write.name == *name);
        let write = at.map(|at| self.under_way.swap_remove(at));
        let (outcome, trouble) = match written {
            Written::Taken(status) => {
                if let Some(Write { notes, uid, .. }) = write {
                    for note in notes {
                        let regarding = Regarding::Session(name.clone(), uid.to_string());
                        self.teller.tell(regarding, note);
                    }
                }
                (Outcome::Written(status), None)
            }
            Written::Gone => (Outcome::Gone, None),
            Written::Refused(said) => (Outcome::Refused, Some((Of::Object(name.clone()), said))),
            Written::Forbidden(said) => {
                let of = Of::Namespace(name.namespace.clone());
                (Outcome::Failed, Some((of, said)))
            }
            Written::Unreachable(said) => (Outcome::Failed, Some((Of::Server, said))),
        };
        self.planner.done(name, &outcome, self.now_ms());
        let answered = !matches!(&trouble, Some((Of::Server, _)));
        let allowed = answered && !matches!(&trouble, Some((Of::Namespace(_), _)));
        self.standing.retain(|of, _| match of {
            Of::Server => !answered,
            Of::Namespace(namespace) => !(allowed && *namespace == name.namespace),
            Of::Object(object) => !(allowed && object == name),
        });
        if let Some((of, said)) = trouble
            && self.standing.len() < TROUBLES_MAX
        {
            // In the words that it was told with first.
            self.standing.entry(of).or_insert(said);
        }
        self.complain();
    }

    /// Says what stands in the way.
    fn complain(&self) {
        let stands: Vec<Message> = self.standing.iter().map(Of::message).collect();
        tell_another(self.troubles, stands);
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

/// What cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    /// Anything: the API server does not answer.
    Server,
    /// What is in this namespace: we have no right to.
    Namespace(Arc<str>),
    /// This one.
    Object(ObjectName),
}

impl Of {
    fn message((of, said): (&Self, &String)) -> Message {
        let (object, what, mend) = match of {
            Self::Server => (
                None,
                "statuses of FIXSessions cannot be written".to_owned(),
                "the API server is tried again".to_owned(),
            ),
            Self::Namespace(namespace) => (
                None,
                format!("statuses of FIXSessions in namespace `{namespace}` may not be written"),
                format!(
                    "grant the operator's service account the verb `patch` on `{PLURAL}/status` in the API group `{GROUP}` there"
                ),
            ),
            Self::Object(name) => (
                Some(format!("{KIND} {name}")),
                "its status was refused by the API server".to_owned(),
                "it is tried again now and then".to_owned(),
            ),
        };
        Message {
            object,
            meanwhile: format!("routing goes on ({})", clean_text(said, SAID_CHARS_MAX)),
            mend,
            ..Message::course(Severity::Warn, what)
        }
    }
}

/// Writes one status. Fields and conditions that are others' stay; ours are put right.
async fn apply(client: Client, name: &ObjectName, uid: &str, status: &FIXSessionStatus) -> Written {
    let resource = ApiResource {
        group: GROUP.to_owned(),
        version: API_VERSION
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned(),
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        plural: PLURAL.to_owned(),
    };
    let sessions: Api<DynamicObject> = Api::namespaced_with(client, &name.namespace, &resource);
    // With its uid, one that was made anew under its name is not given the status of the one before.
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": { "name": name.name, "namespace": name.namespace, "uid": uid },
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&object);
    match bounded(sessions.patch_status(&name.name, &params, &patch)).await {
        Ok(object) => {
            let status = object.data.get("status").cloned().unwrap_or_default();
            // One that is none is not what was written.
            Written::Taken(Box::new(serde_json::from_value(status).unwrap_or_default()))
        }
        Err(error) => match error.code() {
            Some(404 | 409) => Written::Gone,
            Some(401 | 403) => Written::Forbidden(error.to_string()),
            Some(400 | 413 | 415 | 422) => Written::Refused(error.to_string()),
            Some(_) | None => Written::Unreachable(error.to_string()),
        },
    }
}
