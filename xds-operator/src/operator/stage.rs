//! What does a replica do when something happens? [`Replica`] with what it hears, and what it tells.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fixgw_core::decision::Severity;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::DecideArgs;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::table::{Fault, Paused, Pointed, Pointer, PublishError, TableStore};
use crate::pipeline::publish::Published;
use crate::pipeline::replica::{Pass, Replica};
use crate::said::{Said, Speaker};
use crate::serving::Inlet;
use crate::status::conditions::{Decided, Publication, Served};
use crate::wait::{at, millis, unix_ms};
use crate::world::held::Observed;
use crate::world::{Pause, RulesHalf, World};
use crate::xds::Snapshot;

/// How long until a table that could not be published is tried again: the first time, and at most.
const PUBLISH_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How long a published table must have been unreadable until a leader that has none decides without it.
const UNREADABLE_MAX: Duration = Duration::from_secs(10);

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
    /// Since when a table that we do not have cannot be read.
    unreadable: Option<Instant>,
    paused: Option<Paused>,
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
    result: JoinHandle<Sent>,
}

/// What became of a table.
enum Sent {
    /// It is in force.
    Published(Pointer),
    /// Somebody else has changed the pointer; what it says now, if that could be read.
    Overtaken(Option<Pointed>),
    /// It is not, and why.
    Refused(String),
}

/// Why the last table was not published.
struct Refusal {
    /// When to try again.
    due: Instant,
    /// How long to wait after the next one.
    pause: Duration,
    /// What to tell of it; none: it has just happened, and may be over the next time.
    why: Option<String>,
}

/// What ended a wait.
enum Woken {
    Due,
    Observed,
    Pointed,
    Leadership,
    Published(Sent),
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
            unreadable: None,
            paused: None,
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
            Woken::Published(sent) => self.published(sent),
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
        self.tell_publication();
        snapshot
    }

    async fn wait(&mut self) -> Woken {
        let settles = self.replica.deadline_ms();
        let settles = settles.map(|due| self.started + Duration::from_millis(due));
        let lasts = self.unreadable.map(|since| since + UNREADABLE_MAX);
        let lasts = lasts.filter(|_| !self.leads);
        let due = settles.into_iter().chain(lasts).chain(self.again()).min();
        let publishing = async {
            match &mut self.publishing {
                Some(publishing) => (&mut publishing.result).await,
                None => std::future::pending().await,
            }
        };
        // A watch whose task is gone says nothing more; that is told by the liveness.
        tokio::select! {
            () = at(due) => Woken::Due,
            Ok(()) = self.observed.changed() => Woken::Observed,
            Ok(()) = self.pointed.changed() => Woken::Pointed,
            Ok(()) = self.leadership.changed() => Woken::Leadership,
            sent = publishing => {
                Woken::Published(sent.unwrap_or_else(|error| Sent::Refused(error.to_string())))
            }
        }
    }

    /// When what was refused is tried again, if it is.
    fn again(&self) -> Option<Instant> {
        let due = self.refusal.as_ref()?.due;
        let waits = self.publishing.is_none() && self.leads && self.replica.proposal().is_some();
        waits.then_some(due)
    }

    /// What the API server says. Before it is known whether publication is paused, nothing of that settles.
    fn observe(&mut self) {
        let observed = self.observed.borrow_and_update().clone();
        let known = self.pointed.borrow().as_ref().is_some_and(|it| it.known);
        let (Some(Observed { mut world, .. }), true) = (observed, known) else {
            return;
        };
        if let Some(paused) = &self.paused {
            world = paused_world(&world, self.table.clone(), paused.reason.clone());
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
        let lasts = has_readable_table(&pointed);
        self.unreadable = match (lasts, self.unreadable) {
            (true, _) => None,
            (false, since) => since.or_else(|| Some(Instant::now())),
        };
        if pointed.known {
            self.paused = pointed.paused;
        }
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

    /// Whether we know what we would lead: what is wanted, and the table that is in force.
    fn knows(&self) -> bool {
        let pointed = self.pointed.borrow();
        let Some(pointed) = pointed.as_ref().filter(|it| it.known) else {
            return false;
        };
        let readable = has_readable_table(pointed)
            // Nobody has it any more, or he would have put it right.
            || is_lost(pointed.fault.as_ref())
                && self.unreadable.is_some_and(|since| since.elapsed() >= UNREADABLE_MAX);
        readable && self.observed.borrow().is_some()
    }

    /// Begins or ends to lead.
    fn take_lead(&mut self) {
        let may = self
            .leadership
            .borrow_and_update()
            .may_write(Instant::now());
        let leads = may && (self.leads || self.knows());
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
            let floor = self.pointer.as_ref().map_or(0, Pointer::revision);
            self.replica.lead(unix_ms(), floor);
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
        if self.publishing.is_some() {
            return;
        }
        let Some(table) = self.replica.proposal().filter(|_| self.leads).cloned() else {
            // Whatever was refused is published meanwhile, or nobody wants it any more.
            self.refusal = None;
            return;
        };
        let waits = |refusal: &Refusal| refusal.due > Instant::now();
        if self.refusal.as_ref().is_some_and(waits) {
            return;
        }
        self.replica.sent(&table);
        let (store, pointer, copy) = (self.store.clone(), self.pointer.clone(), table.clone());
        let leadership = self.leadership.clone();
        let result = tokio::spawn(async move {
            let may = || leadership.borrow().may_write(Instant::now());
            match store.publish_while(&copy, pointer.as_ref(), may).await {
                Ok(pointer) => Sent::Published(pointer),
                Err(PublishError::Overtaken { .. }) => Sent::Overtaken(store.load().await.ok()),
                Err(PublishError::Api { object, source }) => Sent::Refused(format!(
                    "the ConfigMap {object} cannot be written ({source}); the table that was published before stays in force, \
                     and this is tried again"
                )),
                Err(error) => Sent::Refused(error.to_string()),
            }
        });
        self.publishing = Some(Publishing { table, result });
    }

    fn published(&mut self, sent: Sent) {
        let Some(Publishing { table, .. }) = self.publishing.take() else {
            return;
        };
        match sent {
            Sent::Published(pointer) => {
                self.pointer = Some(pointer);
                self.refusal = None;
                self.replica.published(&table, unix_ms());
            }
            Sent::Overtaken(now) => {
                if let Some(pointed) = now {
                    self.pointer.clone_from(&pointed.pointer);
                    self.take_pointed(pointed);
                    self.observe();
                }
                let floor = self.pointer.as_ref().map_or(0, Pointer::revision);
                self.replica.overtaken(unix_ms(), floor);
                // Once is the course of things.
                let again = self.refusal.is_some();
                self.refuse(again.then(|| {
                    format!(
                        "the {} is changed by somebody else again and again; look who writes it",
                        self.table
                    )
                }));
            }
            Sent::Refused(why) => self.refuse(Some(why)),
        }
    }

    /// Tries again later.
    fn refuse(&mut self, why: Option<String>) {
        self.replica.refused();
        let (first, longest) = PUBLISH_AGAIN;
        let pause = self.refusal.as_ref().map_or(first, |refusal| refusal.pause);
        self.refusal = Some(Refusal {
            due: Instant::now() + pause,
            pause: (pause * 2).min(longest),
            why,
        });
    }

    /// Tells of a change between running and failing; that publication is paused is told by the replica.
    fn tell_publication(&self) {
        let why = self
            .refusal
            .as_ref()
            .and_then(|refusal| refusal.why.as_ref());
        let now = match (&self.paused, why) {
            (Some(paused), _) => Publication::Paused(paused.reason.clone()),
            (None, Some(why)) => Publication::Failing(why.clone()),
            (None, None) => Publication::Running,
        };
        if *self.publication.borrow() == now {
            return;
        }
        let before = self.publication.send_replace(now.clone());
        match (&before, &now) {
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

/// Whether the table that the pointer means is here, or it means none. What could not be read for a moment, or is of another release,
/// must not be replaced by what was decided without it.
fn has_readable_table(pointed: &Pointed) -> bool {
    let means = pointed.pointer.as_ref().and_then(|it| it.commit.as_ref());
    let has = pointed.table.as_ref().map(|table| table.table.revision());
    match (&pointed.fault, means) {
        (None | Some(Fault::PointerDeleted { .. }), _) => true,
        (Some(Fault::Format { .. }), _) => false,
        // One that went back, or was altered, is put right by who has the newer one.
        (Some(_), None) => has.is_some(),
        (Some(_), Some(means)) => has.is_some_and(|has| has >= means.revision),
    }
}

/// Whether what is wrong stays so unless somebody puts it right.
const fn is_lost(fault: Option<&Fault>) -> bool {
    matches!(
        fault,
        Some(
            Fault::ChunkMissing { .. }
                | Fault::ChunkAltered { .. }
                | Fault::Unreadable { .. }
                | Fault::PointerAltered { .. }
        )
    )
}
