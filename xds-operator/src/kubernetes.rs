//! What does the control plane keep in a cluster, beside what people write there? The published table, who may write it, and what
//! is said of each object in its status.

pub(crate) mod client;
pub mod events;
pub mod lease;
pub mod pause;
pub mod peers;
pub mod status;
pub mod table;

use std::error::Error as _;
use std::fmt::Debug;
use std::future::{Future, ready};
use std::hash::{BuildHasher as _, RandomState};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use kube::config::KubeConfigOptions;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

/// How long one request may take: a host that is gone does not say so.
pub(crate) const REQUEST_MAX: Duration = Duration::from_secs(10);
/// Seconds until a watch is asked for anew: at least, and at most. One whose connection is gone is noticed by the kernel's probes
/// ([`client`]); one that an API server has forgotten on a live connection, five seconds after that.
const WATCH_S: RangeInclusive<u32> = 100..=200;
/// How long until something is tried again, at first and at last.
const AGAIN_MIN: Duration = Duration::from_millis(250);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// By whom a cluster's objects are changed and Events are told, as `managedFields` and `reportingController` say it.
pub(crate) const FIELD_MANAGER: &str = "fixgw-operator";

/// Why no cluster can be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A kubeconfig that is not there or is wrong.
    #[error(
        "there is no way to a cluster ({0}); set KUBECONFIG, or choose a context of it with --context"
    )]
    Config(String),
    /// It names what cannot be used.
    #[error("the cluster's configuration cannot be used ({0})")]
    Client(String),
}

/// A client of the context with this name, else of the current one (KUBECONFIG, `~/.kube/config`), else of the cluster that we
/// run in.
///
/// # Errors
/// When none is configured. Nothing is asked of the API server yet.
pub async fn connect(context: Option<&str>) -> Result<Client, ConnectError> {
    let config = match context {
        Some(context) => {
            let options = KubeConfigOptions {
                context: Some(context.to_owned()),
                ..KubeConfigOptions::default()
            };
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|error| ConnectError::Config(error.to_string()))?
        }
        None => Config::infer()
            .await
            .map_err(|error| ConnectError::Config(error.to_string()))?,
    };
    client::of(config).map_err(|error| ConnectError::Client(in_words(&error)))
}

/// An error of the client for people: what the API server said, or why it could not be asked.
pub(crate) fn in_words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = error.source();
    }
    words
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It was answered so, or could not be asked.
    #[error("{}", in_words(.0))]
    Kube(#[from] kube::Error),
    /// Nobody answered.
    #[error("no answer within {} s", REQUEST_MAX.as_secs())]
    Silence,
}

impl RequestError {
    /// The status code of an answer; none when there was none.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            Self::Kube(_) | Self::Silence => None,
        }
    }
}

/// One request, for as long as one may take.
pub(crate) async fn bounded<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RequestError> {
    match tokio::time::timeout(REQUEST_MAX, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(RequestError::Silence),
    }
}

/// The object of this name whenever it changes; `None` when there is none.
pub(crate) fn watch_one<K>(
    api: Api<K>,
    name: &str,
) -> impl Stream<Item = Result<Option<K>, watcher::Error>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    one_of(watcher(api, of_one(name)))
}

fn of_one(name: &str) -> watcher::Config {
    watch_config().fields(&format!("metadata.name={name}"))
}

/// How anything is watched. Each watch has a time of its own, or all of every replica would be asked for within one second.
pub(crate) fn watch_config() -> watcher::Config {
    let beyond = random_below(u64::from(WATCH_S.end() - WATCH_S.start() + 1));
    let seconds = WATCH_S.start() + u32::try_from(beyond).unwrap_or(0);
    watcher::Config::default().timeout(seconds)
}

/// A number below `bound`, so that several of us do not do the same thing at one moment.
fn random_below(bound: u64) -> u64 {
    RandomState::new().hash_one(0) % bound
}

/// A list that does not have the object says that there is none, whether or not its deletion was seen.
fn one_of<K: Send, E: Send>(
    events: impl Stream<Item = Result<Event<K>, E>> + Send,
) -> impl Stream<Item = Result<Option<K>, E>> + Send {
    let told = events.scan(false, |listed, event| {
        let told = match event {
            Ok(Event::Init) => {
                *listed = false;
                None
            }
            Ok(Event::InitApply(object)) => {
                *listed = true;
                Some(Ok(Some(object)))
            }
            Ok(Event::InitDone) => (!*listed).then_some(Ok(None)),
            Ok(Event::Apply(object)) => Some(Ok(Some(object))),
            Ok(Event::Delete(_)) => Some(Ok(None)),
            Err(error) => Some(Err(error)),
        };
        ready(Some(told))
    });
    told.filter_map(ready)
}

/// How long to wait before the next attempt: longer each time, within bounds.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    attempts: u32,
    /// Who says that it worked, if what comes does not.
    works: Option<Arc<AtomicBool>>,
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let works = self.works.as_ref();
        if works.is_some_and(|works| works.swap(false, Ordering::AcqRel)) {
            self.attempts = 0;
        }
        let longer = 1 << self.attempts.min(16);
        self.attempts = self.attempts.saturating_add(1);
        Some(AGAIN_MIN.saturating_mul(longer).min(AGAIN_MAX))
    }
}

impl Patience {
    /// One that begins anew whenever it worked meanwhile, as somebody else says: a watcher says of a list that it is about to ask for
    /// it, whatever comes of it.
    pub(crate) const fn while_not(works: Arc<AtomicBool>) -> Self {
        Self {
            attempts: 0,
            works: Some(works),
        }
    }

    /// The next wait.
    pub(crate) fn wait(&mut self) -> Duration {
        self.next().unwrap_or(AGAIN_MAX)
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        if self.works.is_none() {
            self.attempts = 0;
        }
    }
}

/// What this machine, or pod, is called.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_of_one_object_is_asked_for_anew_before_long() {
        let config = of_one("fix-gateway-table");
        let fields = config.field_selector.as_deref();
        assert_eq!(fields, Some("metadata.name=fix-gateway-table"));
        assert!(config.timeout.is_some_and(|it| WATCH_S.contains(&it)));
    }

    #[tokio::test]
    async fn what_a_list_does_not_have_is_not_there() {
        let (list, done) = (Event::Init, Event::InitDone);
        let events = [
            Ok(list.clone()),
            Ok(done.clone()),
            Ok(Event::Apply("a")),
            Ok(list.clone()),
            Ok(Event::InitApply("b")),
            Ok(done.clone()),
            Err("an error"),
            Ok(Event::Delete("b")),
            Ok(Event::Apply("c")),
            // Its deletion was missed.
            Ok(list),
            Ok(done),
        ];
        let told: Vec<_> = one_of(futures_util::stream::iter(events)).collect().await;
        let wanted = [
            Ok(None),
            Ok(Some("a")),
            Ok(Some("b")),
            Err("an error"),
            Ok(None),
            Ok(Some("c")),
            Ok(None),
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_list_that_is_asked_for_and_fails_is_asked_for_less_and_less_often() {
        let works = Arc::new(AtomicBool::new(false));
        let mut patience = Patience::while_not(works.clone());
        // As `StreamBackoff` does for `Event::Init`, which a watcher gives before it asks.
        let mut asked = || {
            Backoff::reset(&mut patience);
            patience.wait().as_millis()
        };
        let waits = [(); 6].map(|()| asked());
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 5_000]);
        works.store(true, Ordering::Release);
        assert_eq!([asked(), asked()], [250, 500]);
    }

    #[test]
    fn patience_grows_within_its_bounds() {
        let mut patience = Patience::default();
        let waits: Vec<u128> = patience.by_ref().take(7).map(|it| it.as_millis()).collect();
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        patience.attempts = u32::MAX;
        assert_eq!(patience.wait(), AGAIN_MAX);
        patience.reset();
        assert_eq!(patience.wait(), AGAIN_MIN);
        let works = Arc::new(AtomicBool::new(false));
        let mut patience = Patience::while_not(works.clone());
        patience.by_ref().take(7).for_each(drop);
        works.store(true, Ordering::Release);
        assert_eq!(
            [patience.wait(), patience.wait()],
            [AGAIN_MIN, AGAIN_MIN * 2]
        );
    }
}
