//! What does an API server say now, and when does it say something else?
//!
//! Watches FIXSessions, Services and EndpointSlices, and gives complete [`Observed`]s only. What was known stays while the API
//! server is away, or refuses; it is tried again for ever. `read` takes in one object, `gather` makes one state of all, `trouble`
//! says what stands in the way: those are pure, and here is the I/O.

mod gather;
mod read;
pub(crate) mod trouble;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Api;
use kube::runtime::utils::StreamBackoff;
use kube::runtime::watcher;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::StreamExt as _;

pub(crate) use self::gather::Watch;
use self::gather::{Gathered, Gathers, Listing, Step, Targets};
use self::read::Watched;
use self::trouble::{Cause, Now, Troubles};
use crate::api::{self, FIXSessionSpec};
use crate::kubernetes::client::listened;
use crate::kubernetes::{Patience, watch_config};
use crate::message::Message;
use crate::wait::{at, millis, tell_another};
pub use crate::world::held::{HeldStatus, HeldStatuses, Lifecycle, Observed};
use crate::world::{EndpointSlice, ObjectName, Objects, Service};

/// Namespaces that are followed one by one. Each has three watches of its own; whoever has more lets the operator see all.
pub const NAMESPACES_MAX: usize = 100;
/// Objects of one page of a list, as kubectl and client-go have it: larger ones take memory, smaller ones take time.
const PAGE_OBJECTS_MAX: u32 = 500;
/// Changes on their way from the watches. Beyond it they wait, and in the end the API server does.
const QUEUE_MAX: usize = 64;

/// Whose objects are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// Those of every namespace, which takes a `ClusterRole`.
    All,
    /// Those of these, which takes a Role in each. Of none, nothing is followed.
    These(Vec<String>),
}

/// Why some texts are no [`Namespaces`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespacesError {
    /// Not a name that Kubernetes takes.
    #[error("`{0}` is no name of a namespace; use lower-case letters, digits and `-`, 63 at most")]
    Name(String),
    /// Too many.
    #[error(
        "more than {NAMESPACES_MAX} namespaces cannot be watched one by one; give the operator a ClusterRole and leave the list out"
    )]
    TooMany,
}

impl TryFrom<Vec<String>> for Namespaces {
    type Error = NamespacesError;

    /// No name at all means all of them.
    fn try_from(names: Vec<String>) -> Result<Self, NamespacesError> {
        if let Some(wrong) = names.iter().find(|name| !api::is_label(name)) {
            return Err(NamespacesError::Name(wrong.clone()));
        }
        let names: BTreeSet<String> = names.into_iter().collect();
        match names.len() {
            0 => Ok(Self::All),
            1..=NAMESPACES_MAX => Ok(Self::These(names.into_iter().collect())),
            _ => Err(NamespacesError::TooMany),
        }
    }
}

impl Namespaces {
    fn each(&self) -> Vec<Option<Arc<str>>> {
        match self {
            Self::All => vec![None],
            Self::These(names) => {
                let names: BTreeSet<&String> = names.iter().collect();
                names
                    .into_iter()
                    .map(|it| Some(it.as_str().into()))
                    .collect()
            }
        }
    }
}

/// An API server that is followed. It ends with its last receiver of `observed`.
#[derive(Debug)]
pub struct Following {
    /// What it says now; `None` until every watch has had its first list.
    pub observed: watch::Receiver<Option<Observed>>,
    /// What stands in the way, all of it at any time: to be told by [`crate::message::Standing`].
    pub troubles: watch::Receiver<Vec<Message>>,
    /// Which Services the routes in force lead to. From when it is said, a World holds those and the ones that FIXSessions name, and
    /// the changes of all others cost nothing; before that it holds every one.
    pub in_force: watch::Sender<Option<Arc<BTreeSet<ObjectName>>>>,
    /// Ends when something is wrong with our own machinery, and nothing is followed any more.
    pub task: JoinHandle<()>,
}

/// The Services that these lead to.
#[must_use]
pub fn services_of(sessions: &Objects<FIXSessionSpec>) -> BTreeSet<ObjectName> {
    let services = sessions.iter().map(|(name, session)| {
        ObjectName::new(&name.namespace, &session.object.target.service.name)
    });
    services.collect()
}

/// Follows the objects of these namespaces. Must be called within a runtime.
#[must_use]
#[allow(
    clippy::needless_pass_by_value,
    reason = "a client is a handle, and is given away"
)]
pub fn follow(client: kube::Client, namespaces: Namespaces) -> Following {
    let (told, inbox) = mpsc::channel(QUEUE_MAX);
    let mut follower = Follower {
        watches: JoinSet::new(),
        all: Vec::new(),
    };
    for namespace in namespaces.each() {
        follower.start::<FIXSessionSpec>(&client, namespace.clone(), Told::Session, &told);
        follower.start::<Service>(&client, namespace.clone(), Told::Service, &told);
        follower.start::<EndpointSlice>(&client, namespace, Told::Slice, &told);
    }
    let (observed, observed_now) = watch::channel(None);
    let (troubles, troubles_now) = watch::channel(Vec::new());
    let (in_force, in_force_now) = watch::channel(None);
    let task = tokio::spawn(follower.run(inbox, observed, troubles, in_force_now));
    Following {
        observed: observed_now,
        troubles: troubles_now,
        in_force,
        task,
    }
}

/// What a watch tells.
enum Told {
    Session(Step<FIXSessionSpec>),
    Service(Step<Service>),
    Slice(Step<EndpointSlice>),
    /// It has begun, or goes on.
    Works,
    Failed(Cause),
}

type Tell = mpsc::Sender<(Watch, Told)>;

/// The watches, and where they meet.
struct Follower {
    watches: JoinSet<()>,
    all: Vec<Watch>,
}

impl Follower {
    fn start<F: Gathers>(
        &mut self,
        client: &kube::Client,
        namespace: Option<Arc<str>>,
        step: fn(Step<F>) -> Told,
        tell: &Tell,
    ) {
        let which = Watch {
            kind: F::KIND,
            namespace,
        };
        let works = Arc::new(AtomicBool::new(false));
        let begun = {
            let (which, tell, works) = (which.clone(), tell.clone(), works.clone());
            move || {
                works.store(true, Ordering::Release);
                let (which, tell) = (which.clone(), tell.clone());
                // Fails when nobody follows any more.
                async move { drop(tell.send((which, Told::Works)).await) }
            }
        };
        let client = listened(client.clone(), begun);
        let api: Api<Watched<F>> = match &which.namespace {
            None => Api::all(client),
            Some(namespace) => Api::namespaced(client, namespace),
        };
        // A watch that is cut is taken up at once. The longest wait is how late what changed meanwhile is known.
        let backoff = Patience::while_not(works);
        self.all.push(which.clone());
        self.watches
            .spawn(pass_on(api, which, backoff, step, tell.clone()));
    }

    /// Ends with the last receiver of `observed`, or with any of the watches.
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<(Watch, Told)>,
        observed: watch::Sender<Option<Observed>>,
        troubles: watch::Sender<Vec<Message>>,
        mut in_force: watch::Receiver<Option<Targets>>,
    ) {
        let started = Instant::now();
        let now_ms = || millis(started.elapsed());
        let mut gathered = Gathered::new(self.all, now_ms());
        let mut standing = Troubles::default();
        loop {
            let now = now_ms();
            if let Some(all) = gathered.give(now) {
                observed.send_replace(Some(all));
            }
            let messages = standing.messages(now);
            tell_another(&troubles, messages);
            let due = gathered.due_ms().into_iter().chain(standing.due_ms(now));
            let due = due.min().map(|ms| started + Duration::from_millis(ms));
            let targets = async {
                // Whoever lets go of his end has said all that he had to say.
                if in_force.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = at(due) => {}
                () = targets => {
                    let targets = in_force.borrow_and_update().clone();
                    gathered.in_force(targets, now_ms());
                }
                told = inbox.recv() => match told {
                    Some((watch, told)) => {
                        let now = Now { wall: Timestamp::now(), ms: now_ms() };
                        take(&mut gathered, &mut standing, &watch, told, now);
                    }
                    None => return,
                },
                _ = self.watches.join_next() => return,
                () = observed.closed() => return,
            }
        }
    }
}

fn take(gathered: &mut Gathered, troubles: &mut Troubles, watch: &Watch, told: Told, now: Now) {
    match told {
        Told::Failed(cause) => return troubles.failed(watch, cause, now),
        Told::Works => {}
        Told::Session(step) => gathered.take(watch, step, now.ms),
        Told::Service(step) => gathered.take(watch, step, now.ms),
        Told::Slice(step) => gathered.take(watch, step, now.ms),
    }
    troubles.works(watch);
}

/// Passes on what one watch says, for ever.
async fn pass_on<F: Gathers>(
    api: Api<Watched<F>>,
    which: Watch,
    backoff: Patience,
    step: fn(Step<F>) -> Told,
    tell: Tell,
) {
    let config = watch_config().page_size(PAGE_OBJECTS_MAX);
    let events = StreamBackoff::new(watcher::watcher(api, config), backoff);
    tokio::pin!(events);
    let mut listing = Listing::new();
    while let Some(event) = events.next().await {
        let told = match event {
            Ok(event) => listing.event(event).map(step),
            Err(error) => Cause::of(&error).map(Told::Failed),
        };
        if let Some(told) = told
            && tell.send((which.clone(), told)).await.is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_all_of_them_or_a_list_of_names() {
        let of = |names: &[&str]| {
            Namespaces::try_from(names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), Ok(Namespaces::All));
        let two = Namespaces::These(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(of(&["b", "a", "b"]), Ok(two));
        assert_eq!(of(&["A"]), Err(NamespacesError::Name("A".to_owned())));
        let many = (0..=NAMESPACES_MAX).map(|n| format!("n{n}"));
        assert_eq!(
            Namespaces::try_from(many.collect::<Vec<_>>()),
            Err(NamespacesError::TooMany)
        );
    }
}
