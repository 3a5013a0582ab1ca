//! What stands between us and an API server, since when, and who can mend it? Pure: time is passed in.
//!
//! A watch that is cut and taken up again is no news; what lasts is told once, and told as over once. That nobody answers
//! concerns all watches, and is one message; what is refused is a message for each of them.

use std::collections::BTreeMap;
use std::error::Error as _;

use fixgw_core::decision::Severity;
use jiff::Timestamp;
use kube::Error as ClientError;
use kube::core::Status;
use kube::runtime::watcher::Error;

use super::gather::Watch;
use crate::api;
use crate::message::Message;
use crate::world::Kind;

/// What is over so soon is not told: connections are cut whenever an API server is rolled.
pub(crate) const TOLD_AFTER_MS: u64 = 2_000;

/// Two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For people.
    pub(crate) wall: Timestamp,
    /// That never goes back.
    pub(crate) ms: u64,
}

/// Why a watch tells nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nobody answers.
    Unreachable(String),
    /// We are not who we say we are.
    Unauthorized,
    /// We may not.
    Forbidden(String),
    /// There is no such kind.
    NotServed,
    /// It answers, with an error.
    Failing(String),
}

impl Cause {
    /// Why a watch failed; `None` when it is only to be listed anew.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        match error {
            Error::InitialListFailed(error)
            | Error::WatchStartFailed(error)
            | Error::WatchFailed(error) => Self::of_client(error),
            Error::WatchError(status) => Self::of_status(status),
            Error::NoResourceVersion => Some(Self::unreadable()),
        }
    }

    fn of_client(error: &ClientError) -> Option<Self> {
        match error {
            ClientError::Api(status) => Self::of_status(status),
            ClientError::Auth(_) => Some(Self::Unauthorized),
            // The library's text may quote the answer.
            ClientError::SerdeError(_)
            | ClientError::FromUtf8(_)
            | ClientError::LinesCodecMaxLineLengthExceeded => Some(Self::unreadable()),
            other => Some(Self::Unreachable(innermost(other))),
        }
    }

    fn of_status(status: &Status) -> Option<Self> {
        match status.code {
            401 => Some(Self::Unauthorized),
            403 => Some(Self::Forbidden(status.message.clone())),
            404 => Some(Self::NotServed),
            // What it has forgotten is listed anew.
            410 => None,
            code => Some(Self::Failing(format!("{code}: {}", status.message))),
        }
    }

    fn unreadable() -> Self {
        Self::Failing("its answer cannot be read".to_owned())
    }
}

/// What a chain of errors began with: the others only say who passed it on.
fn innermost(error: &ClientError) -> String {
    let mut inner = error.source();
    let mut text = error.to_string();
    while let Some(error) = inner {
        text = error.to_string();
        inner = error.source();
    }
    text
}

#[derive(Clone)]
struct Trouble {
    since: Now,
    cause: Cause,
}

impl Trouble {
    const fn is_away(&self) -> bool {
        matches!(self.cause, Cause::Unreachable(_))
    }

    const fn told_ms(&self) -> u64 {
        self.since.ms.saturating_add(TOLD_AFTER_MS)
    }
}

/// What stands.
#[derive(Default)]
pub(crate) struct Troubles {
    /// That nobody answers, from the first watch that noticed to the last.
    away: Option<Trouble>,
    of: BTreeMap<Watch, Trouble>,
}

impl Troubles {
    /// A watch failed.
    pub(crate) fn failed(&mut self, watch: &Watch, cause: Cause, now: Now) {
        let same = |trouble: &Trouble| {
            std::mem::discriminant(&trouble.cause) == std::mem::discriminant(&cause)
        };
        // It fails again with every try, and not always in the same words.
        if !self.of.get(watch).is_some_and(same) {
            let trouble = Trouble { since: now, cause };
            if self.away.is_none() && trouble.is_away() {
                self.away = Some(trouble.clone());
            }
            self.of.insert(watch.clone(), trouble);
        }
        self.look_who_is_away();
    }

    /// A watch is there again.
    pub(crate) fn works(&mut self, watch: &Watch) {
        self.of.remove(watch);
        self.look_who_is_away();
    }

    fn look_who_is_away(&mut self) {
        if !self.of.values().any(Trouble::is_away) {
            self.away = None;
        }
    }

    /// When [`Troubles::messages`] gives something else, if nothing changes until then.
    pub(crate) fn due_ms(&self, now_ms: u64) -> Option<u64> {
        let all = self.of.values().chain(&self.away);
        all.map(Trouble::told_ms)
            .filter(|told| *told > now_ms)
            .min()
    }

    /// All that stands and is to be told.
    pub(crate) fn messages(&self, now_ms: u64) -> Vec<Message> {
        let told = |trouble: &&Trouble| trouble.told_ms() <= now_ms;
        let away = self.away.as_ref().filter(told);
        let away = away.and_then(|trouble| message(None, trouble));
        let of = self.of.iter().filter(|(_, trouble)| told(trouble));
        away.into_iter()
            .chain(of.filter_map(|(watch, trouble)| message(Some(watch), trouble)))
            .collect()
    }
}

/// `None`: somebody else's to tell.
fn message(watch: Option<&Watch>, trouble: &Trouble) -> Option<Message> {
    let since = trouble.since.wall.strftime("%Y-%m-%dT%H:%M:%SZ");
    let told = |severity, what, mend: String| Message {
        object: Some(watch.map_or_else(|| "API server".to_owned(), shown)),
        meanwhile: "what was known of the cluster stays, and it is tried again".to_owned(),
        mend,
        ..Message::course(severity, what)
    };
    match (&trouble.cause, watch) {
        (Cause::Unreachable(why), None) => Some(told(
            Severity::Warn,
            format!("cannot be reached since {since} ({why})"),
            String::new(),
        )),
        (Cause::Unreachable(_), Some(_)) | (_, None) => None,
        (Cause::Unauthorized, Some(_)) => Some(told(
            Severity::Error,
            format!("the API server does not take our credentials since {since}"),
            "give the operator a service account whose token is valid, or mend the kubeconfig"
                .to_owned(),
        )),
        (Cause::Forbidden(why), Some(watch)) => Some(told(
            Severity::Error,
            format!("the API server refuses it since {since} ({why})"),
            grant(watch),
        )),
        (Cause::NotServed, Some(watch)) => Some(told(
            Severity::Error,
            format!("the API server knows no such objects since {since}"),
            install(watch.kind),
        )),
        (Cause::Failing(why), Some(_)) => Some(told(
            Severity::Warn,
            format!("the API server fails since {since} ({why})"),
            String::new(),
        )),
    }
}

fn shown(watch: &Watch) -> String {
    let kind = watch.kind.label();
    match &watch.namespace {
        None => format!("watch of {kind}s"),
        Some(namespace) => format!("watch of {kind}s in namespace {namespace}"),
    }
}

fn grant(watch: &Watch) -> String {
    let (group, plural) = match watch.kind {
        Kind::FIXSession => (api::GROUP, api::PLURAL),
        Kind::Service => ("", "services"),
        Kind::EndpointSlice => ("discovery.k8s.io", "endpointslices"),
    };
    let by = watch.namespace.as_ref().map_or_else(
        || "a ClusterRole".to_owned(),
        |namespace| format!("a Role in namespace {namespace}"),
    );
    format!(
        "grant the operator's service account `list` and `watch` on `{plural}` of API group `{group}` by {by}"
    )
}

fn install(kind: Kind) -> String {
    match kind {
        Kind::FIXSession => format!(
            "install the CRD `{}.{}`, which the chart does with `crds.enabled: true`",
            api::PLURAL,
            api::GROUP
        ),
        Kind::Service | Kind::EndpointSlice => {
            "run the gateway on Kubernetes 1.29 or later".to_owned()
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;
    use crate::message::Standing;

    fn watch(kind: Kind) -> Watch {
        Watch {
            kind,
            namespace: None,
        }
    }

    fn at(ms: u64) -> Now {
        Now {
            wall: Timestamp::from_millisecond(1_795_761_062_000 + i64::try_from(ms).unwrap())
                .unwrap(),
            ms,
        }
    }

    fn away() -> Cause {
        Cause::Unreachable("Connection refused (os error 111)".to_owned())
    }

    fn lines(messages: &[Message]) -> Vec<String> {
        messages.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_api_server_that_is_away_is_told_once_and_its_return_once() {
        let mut troubles = Troubles::default();
        let mut standing = Standing::default();
        let (a, b) = (watch(Kind::FIXSession), watch(Kind::Service));
        troubles.failed(&a, away(), at(0));
        troubles.failed(&b, away(), at(900));
        assert_eq!(troubles.messages(1_999), []);
        assert_eq!(troubles.due_ms(1_000), Some(2_000));
        let told = standing.change(troubles.messages(2_000));
        assert_eq!(
            lines(&told),
            [
                "WARN: API server: cannot be reached since 2026-11-27T06:31:02Z (Connection refused (os error 111)); \
              what was known of the cluster stays, and it is tried again"
            ]
        );
        for again in 3..60 {
            let other = Cause::Unreachable("timed out".to_owned());
            troubles.failed(&a, other, at(again * 1_000));
            assert_eq!(standing.change(troubles.messages(again * 1_000)), []);
        }
        // Not all of them notice at the same time.
        troubles.works(&a);
        assert_eq!(standing.change(troubles.messages(60_000)), []);
        troubles.works(&b);
        let over = standing.change(troubles.messages(61_000));
        assert_eq!(over.len(), 1);
        assert_eq!(over[0].severity, Severity::Info);
        assert!(
            over[0]
                .what
                .starts_with("resolved: cannot be reached since 2026")
        );
        assert_eq!(troubles.due_ms(61_000), None);
    }

    #[test]
    fn a_connection_that_is_cut_and_made_again_is_no_news() {
        let mut troubles = Troubles::default();
        for second in 0..100 {
            let now = at(second * 1_000);
            troubles.failed(&watch(Kind::Service), away(), now);
            troubles.works(&watch(Kind::Service));
            assert_eq!(troubles.messages(now.ms + 10_000), []);
        }
    }

    #[test]
    fn a_refusal_says_what_to_grant_and_where() {
        let mut troubles = Troubles::default();
        let of = Watch {
            kind: Kind::EndpointSlice,
            namespace: Some("trading".into()),
        };
        let status = Status {
            code: 403,
            message: "User \"x\" cannot list resource \"endpointslices\"".to_owned(),
            ..Status::default()
        };
        let error = Error::InitialListFailed(ClientError::Api(Box::new(status)));
        troubles.failed(&of, Cause::of(&error).unwrap(), at(0));
        let line = lines(&troubles.messages(5_000)).concat();
        for words in [
            "ERROR: watch of EndpointSlices in namespace trading: the API server refuses it since 2026-11-27T06:31:02Z",
            "cannot list resource",
            "grant the operator's service account `list` and `watch` on `endpointslices` of API group `discovery.k8s.io` by a Role in \
             namespace trading",
        ] {
            assert!(line.contains(words), "{line}");
        }
    }

    #[test]
    fn what_was_forgotten_is_no_trouble_and_what_is_not_installed_says_so() {
        let of = |code| {
            let status = Status {
                code,
                ..Status::default()
            };
            Cause::of(&Error::WatchError(Box::new(status)))
        };
        assert_eq!(of(410), None);
        assert_eq!(of(401), Some(Cause::Unauthorized));
        assert_eq!(of(500), Some(Cause::Failing("500: ".to_owned())));
        let mut troubles = Troubles::default();
        troubles.failed(&watch(Kind::FIXSession), of(404).unwrap(), at(0));
        let line = lines(&troubles.messages(5_000)).concat();
        assert!(
            line.contains("install the CRD `fixsessions.fixgateway.io`"),
            "{line}"
        );
    }
}
