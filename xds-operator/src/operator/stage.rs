//! What does a replica do when something happens? [`Replica`] with what it hears, and what it tells.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_core::decision::Severity;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::DecideArgs;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::table::{Pointed, Pointer, PublishError, TableStore};
use crate::pipeline::publish::Published;
use crate::pipeline::replica::{Pass, Replica};
use crate::said::{Said, Speaker};
use crate::serving::{Inlet, millis, unix_ms};
use crate::status::conditions::{Decided, Publication, Served};
use crate::world::held::Observed;
use crate::world::{Pause, RulesHalf, World};
use crate::xds::Snapshot;

/// How long until a table that could not be published is tried again: the first time, and at most.
const PUBLISH_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// What it hears.
pub(super) struct Heard {
    pub(super) observed: watch::Receiver<Option<Observed>>,
    pub(super) pointed: watch::Receiver<Option<Pointed>>,
    pub(super) leadership: watch::Receiver<Leadership>,
}

/// What it tells, for statuses.
pub(super) struct Told {
    pub(super) decided: watch::Receiver<Option<Decided>>,
    pub(super) publication: watch::Receiver<Publication>,
    pub(super) served: watch::Receiver<Option<Served>>,
}

/// The replica with what it hears and what it tells.
pub(super) struct Stage {
    replica: Replica,
    /// Whether the replica was told that it leads.
    leads: bool,
    observed: watch::Receiver<Option<Observed>>,
    pointed: watch::Receiver<Option<Pointed>>,
    leadership: watch::Receiver<Leadership>,
    /// The pointer, as messages name it.
    table: String,
    store: TableStore,
    /// The pointer as we know it.
    pointer: Option<Pointer>,
    publishing: Option<Publishing>,
    refusal: Option<Refusal>,
    decided: watch::Sender<Option<Decided>>,
    publication: watch::Sender<Publication>,
    served: watch::Sender<Option<Served>>,
    speaker: Speaker,
    started: Instant,
}

/// A table on its way, and what becomes of it.
struct Publishing {
    table: Arc<Published>,
    result: JoinHandle<Result<Pointer, PublishError>>,
}

/// Why the last table was not published.
struct Refusal {
    /// When to try again.
    due: Instant,
    /// How long to wait after the next one.
    pause: Duration,
}

/// What ended a wait.
enum Woken {
    Due,
    Observed,
    Pointed,
    Leadership,
    Published(Result<Pointer, PublishError>),
}

impl Stage {
    /// One that knows nothing yet. `table` is what messages call the pointer.
    pub(super) fn new(
        decide: DecideArgs,
        heard: Heard,
        store: TableStore,
        table: String,
        speaker: Speaker,
    ) -> Self {
        let Heard {
            observed,
            pointed,
            leadership,
        } = heard;
        Self {
            replica: Replica::new(decide.times(), decide.conflict_policy),
            leads: false,
            observed,
            pointed,
            leadership,
            table,
            store,
            pointer: None,
            publishing: None,
            refusal: None,
            decided: watch::Sender::new(None),
            publication: watch::Sender::new(Publication::Running),
            served: watch::Sender::new(None),
            speaker,
            started: Instant::now(),
        }
    }

    pub(super) fn told(&self) -> Told {
        Told {
            decided: self.decided.subscribe(),
            publication: self.publication.subscribe(),
            served: self.served.subscribe(),
        }
    }

    /// The first thing to serve.
    pub(super) async fn first(&mut self) -> Arc<Snapshot> {
        loop {
            if let Some(snapshot) = self.step().await {
                return snapshot;
            }
        }
    }

    /// Serves what changes.
    pub(super) async fn run(&mut self, inlet: &Inlet) {
        loop {
            if let Some(snapshot) = self.step().await {
                inlet.serve(snapshot);
            }
        }
    }

    /// Waits for the next event, and does what follows from it.
    async fn step(&mut self) -> Option<Arc<Snapshot>> {
        match self.wait().await {
            Woken::Due | Woken::Leadership => {}
            Woken::Observed => self.observe(),
            Woken::Pointed => self.point(),
            Woken::Published(result) => self.published(result).await,
        }
        self.take_lead();
        let Pass {
            messages,
            snapshot,
            news,
        } = self.replica.advance(self.now_ms(), unix_ms());
        for message in messages {
            self.speaker.say(&message.into());
        }
        if news.decided {
            let looked_at = self.replica.looked_at();
            self.decided
                .send_replace(looked_at.map(|looked_at| Decided {
                    rules: looked_at.rules.clone(),
                    verdicts: looked_at.verdicts.clone(),
                    accepted: looked_at.accepted.cloned(),
                }));
        }
        if news.served
            && let Some((published, endpoints)) = self.replica.served()
        {
            self.served.send_replace(Some(Served {
                published: published.clone(),
                endpoints: endpoints.clone(),
            }));
        }
        self.publish();
        snapshot
    }

    async fn wait(&mut self) -> Woken {
        let settles = self.replica.deadline_ms();
        let settles = settles.map(|due| self.started + Duration::from_millis(due));
        let refusal = self.refusal.as_ref().map(|refusal| refusal.due);
        let due = settles.into_iter().chain(refusal).min();
        let due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let publishing = async {
            match &mut self.publishing {
                Some(publishing) => (&mut publishing.result).await,
                None => std::future::pending().await,
            }
        };
        // A watch whose task is gone says nothing more; that is told by the liveness.
        tokio::select! {
            () = due => Woken::Due,
            Ok(()) = self.observed.changed() => Woken::Observed,
            Ok(()) = self.pointed.changed() => Woken::Pointed,
            Ok(()) = self.leadership.changed() => Woken::Leadership,
            result = publishing => Woken::Published(result.unwrap_or_else(|error| {
                Err(PublishError::Overtaken { pointer: error.to_string(), revision: 0 })
            })),
        }
    }

    /// What the API server says, and whether it is to be published.
    fn observe(&mut self) {
        let observed = self.observed.borrow_and_update().clone();
        let Some(Observed { mut world, .. }) = observed else {
            return;
        };
        let paused = self
            .pointed
            .borrow()
            .as_ref()
            .and_then(|it| it.paused.clone());
        let publication = match &paused {
            Some(paused) => Publication::Paused(paused.reason.clone()),
            None => Publication::Running,
        };
        self.tell_publication(&publication);
        if let Some(paused) = paused {
            world = paused_world(&world, self.table.clone(), paused.reason);
        }
        self.replica.observe(&world, self.now_ms());
    }

    /// What is published.
    fn point(&mut self) {
        let Some(pointed) = self.pointed.borrow_and_update().clone() else {
            return;
        };
        self.take_pointed(pointed);
        self.observe();
    }

    fn take_pointed(&mut self, pointed: Pointed) {
        let is_newest = |pointer: &Pointer| {
            let ours = self.pointer.as_ref().map(Pointer::revision);
            ours.is_none_or(|ours| ours <= pointer.revision())
        };
        // What the watch says can be older than what we have written since; a pointer that is gone is gone.
        if pointed.pointer.as_ref().is_none_or(is_newest) {
            self.pointer = pointed.pointer;
        }
        if let Some(table) = pointed.table {
            self.replica.published(&table, unix_ms());
        }
    }

    /// Begins or ends to lead, when we know what we would lead.
    fn take_lead(&mut self) {
        let may = self
            .leadership
            .borrow_and_update()
            .may_write(Instant::now());
        let knows = self.pointed.borrow().is_some() && self.observed.borrow().is_some();
        let leads = may && knows;
        if leads == self.leads {
            return;
        }
        self.leads = leads;
        self.refusal = None;
        if leads {
            self.say(
                Severity::Info,
                "this replica leads: it publishes tables and writes statuses",
            );
            self.replica.lead(unix_ms());
        } else {
            self.say(
                Severity::Warn,
                "this replica leads no more; what it serves, it goes on to serve",
            );
            self.replica.follow();
        }
    }

    /// Sends what was decided on its way, one table at a time.
    fn publish(&mut self) {
        let is_due = self
            .refusal
            .as_ref()
            .is_none_or(|it| it.due <= Instant::now());
        if self.publishing.is_some() || !is_due {
            return;
        }
        let may = self.leadership.borrow().may_write(Instant::now());
        let Some(table) = self.replica.proposal().filter(|_| may).cloned() else {
            return;
        };
        let (store, pointer, copy) = (self.store.clone(), self.pointer.clone(), table.clone());
        let result = tokio::spawn(async move { store.publish(&copy, pointer.as_ref()).await });
        self.publishing = Some(Publishing { table, result });
    }

    async fn published(&mut self, result: Result<Pointer, PublishError>) {
        let Some(Publishing { table, .. }) = self.publishing.take() else {
            return;
        };
        match result {
            Ok(pointer) => {
                self.pointer = Some(pointer);
                if self.refusal.take().is_some() {
                    self.tell_publication(&Publication::Running);
                }
                self.replica.published(&table, unix_ms());
            }
            Err(PublishError::Overtaken { .. }) => {
                if let Ok(pointed) = self.store.load().await {
                    self.pointer.clone_from(&pointed.pointer);
                    self.take_pointed(pointed);
                    self.replica.overtaken(unix_ms());
                }
                self.refuse(None);
            }
            Err(error) => self.refuse(Some(said(&error))),
        }
    }

    /// Tries again later; says why, once.
    fn refuse(&mut self, why: Option<String>) {
        let (first, longest) = PUBLISH_AGAIN;
        let pause = self.refusal.as_ref().map_or(first, |refusal| refusal.pause);
        self.refusal = Some(Refusal {
            due: Instant::now() + pause,
            pause: (pause * 2).min(longest),
        });
        if let Some(why) = why {
            self.tell_publication(&Publication::Failing(why));
        }
    }

    /// Tells of a change between running and failing; that publication is paused is told by the replica.
    fn tell_publication(&self, publication: &Publication) {
        // A failure lasts until something was published, whatever else is heard.
        if self.refusal.is_some() && *publication == Publication::Running {
            return;
        }
        let before = self.publication.send_replace(publication.clone());
        if before == *publication {
            return;
        }
        match (&before, publication) {
            (_, Publication::Failing(why)) => self.say(Severity::Error, why),
            (Publication::Failing(_), Publication::Running) => {
                self.say(Severity::Info, "tables can be published again");
            }
            _ => {}
        }
    }

    fn say(&self, severity: Severity, what: &str) {
        self.speaker.say(&Said::gateway(severity, what.to_owned()));
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

/// The same, with what holds it back.
fn paused_world(world: &World, object: String, reason: String) -> World {
    let rules = RulesHalf {
        paused: Some(Pause::Annotation { object, reason }),
        ..(*world.rules).clone()
    };
    World {
        rules: Arc::new(rules),
        endpoints: world.endpoints.clone(),
    }
}

/// An error with what caused it.
fn said(error: &PublishError) -> String {
    match error {
        PublishError::Api { source, .. } => format!("{error} ({source})"),
        PublishError::Overtaken { .. } | PublishError::Excess(_) => error.to_string(),
    }
}
