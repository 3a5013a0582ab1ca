//! What shall stand in the status of each FIXSession? What was decided, what is served and what the gateways say in, a
//! [`FIXSessionStatus`] out; pure.
//!
//! INVARIANT: each condition is about exactly the form of the object that was looked at, and says so by its
//! `observedGeneration`. An object of which a newer form is there is left alone until that one was looked at.
//!
//! INVARIANT: no value of `matchFields` gets into a status but through `fixgw_core::redact`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::wanted::{Lasting, MESSAGE_CHARS_MAX, NO, Said, UNKNOWN, Wanted, YES};
use super::{Counts, Latest, target_of};
use crate::api::status::{
    ACCEPTED, CONFLICTED, Connections, ENDPOINTS_READY, FIXSessionStatus, PROGRAMMED,
    TARGET_RESOLVABLE,
};
use crate::api::{FIXSessionSpec, MatchField};
use crate::message::clean_text;
use crate::pipeline::accept::{Verdict, Verdicts, Waits, same_route};
use crate::pipeline::publish::Published;
use crate::pipeline::resolve::{Asked, Endpoints, Resolver, Unresolved};
use crate::pipeline::translate;
use crate::receive::fleet::{AllSessions, Fleet};
use crate::receive::rejections::{REJECTION_CHARS_MAX, Rejected, Rejections};
use crate::receive::sessions::OfRoute;
use crate::world::held::{HeldStatus, Lifecycle, Observed};
use crate::world::{Kind, Located, ObjectName, Objects, Place, RulesHalf};
use fixgw_core::redact::{self, Disclosure, FieldValue};
use fixgw_core::rule::Target;
use fixgw_core::wire::Tag;

/// Reasons of conditions, and of the Events that tell of them. They are an interface: scripts go by them.
pub mod reason {
    /// The route is in force as it stands.
    pub const ACCEPTED: &str = "Accepted";
    /// The object is wrong by itself.
    pub const INVALID: &str = "Invalid";
    /// It and another one could both be best for one Logon.
    pub const CONFLICT: &str = "Conflict";
    /// Others conflict, and the whole table is held.
    pub const TABLE_HELD: &str = "TableHeld";
    /// There is more of something than the gateway takes.
    pub const BOUND: &str = "Bound";
    /// Publication is paused.
    pub const PAUSED: &str = "Paused";
    /// What is accepted could not be published yet.
    pub const NOT_PUBLISHED: &str = "NotPublished";
    /// The object is being deleted.
    pub const DELETING: &str = "Deleting";
    /// The target's Service has the port.
    pub const TARGET_FOUND: &str = "TargetFound";
    /// There is no such Service.
    pub const TARGET_MISSING: &str = "TargetMissing";
    /// The Service is only another name for a host outside.
    pub const TARGET_EXTERNAL: &str = "TargetExternal";
    /// The Service has no such port.
    pub const PORT_MISSING: &str = "PortMissing";
    /// The target has a ready endpoint.
    pub const ENDPOINTS_READY: &str = "EndpointsReady";
    /// It has none.
    pub const NO_ENDPOINTS: &str = "NoEndpoints";
    /// Every gateway routes by it.
    pub const PROGRAMMED: &str = "Programmed";
    /// Some gateways do not yet.
    pub const PENDING: &str = "Pending";
    /// There is no gateway.
    pub const NO_GATEWAY: &str = "NoGateway";
    /// A gateway refused it.
    pub const REJECTED: &str = "Rejected";
    /// It is not accepted as it stands.
    pub const NOT_ACCEPTED: &str = "NotAccepted";
    /// No longer in a conflict: of an Event alone.
    pub const CONFLICT_RESOLVED: &str = "ConflictResolved";
    /// Publication goes on: of an Event alone.
    pub const RESUMED: &str = "Resumed";
}

/// Source ranges that are listed in `match`.
const RANGES_SHOWN_MAX: usize = 3;

/// What the replica that leads has decided of the rules. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Decided {
    /// Those that were looked at last, with the identities of their objects.
    pub rules: Arc<RulesHalf>,
    /// What is held against objects in them (`Acceptance::verdicts`).
    pub verdicts: Arc<Verdicts>,
    /// What is accepted of them, published or about to be.
    pub accepted: Option<Arc<Published>>,
}

/// Whether what is accepted is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Publication {
    /// It is, within moments.
    #[default]
    Running,
    /// Somebody paused it: what is written now is not looked at. In his words, which may be none.
    Paused(String),
    /// It cannot be; why.
    Failing(String),
}

/// What is served here. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Served {
    /// The table in force, and what it was made of.
    pub published: Arc<Published>,
    /// Services and EndpointSlices as they count now.
    pub endpoints: Arc<Endpoints>,
}

/// All that statuses are made of.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What is there.
    pub observed: Observed,
    /// By the leader; none: nothing yet.
    pub decided: Option<Decided>,
    /// Whether that goes on.
    pub publication: Publication,
    /// Here; none: no table was published yet.
    pub served: Option<Served>,
    /// The gateways.
    pub fleet: Arc<Fleet>,
    /// Who is connected.
    pub sessions: Arc<AllSessions>,
    /// What the gateways refused.
    pub rejections: Arc<Rejections>,
    /// Whether gateways may be there that have not found this replica yet, because it has only begun.
    pub young: bool,
}

impl Known {
    /// Whether the same statuses follow from it. Heartbeats of VMs are no news, and come all the time.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let decided = |known: &Self| {
            let decided = known.decided.as_ref()?;
            let accepted = decided.accepted.as_ref().map(Arc::as_ptr);
            let (rules, verdicts) = (&decided.rules, &decided.verdicts);
            Some((Arc::as_ptr(rules), Arc::as_ptr(verdicts), accepted))
        };
        let served = |known: &Self| {
            let served = known.served.as_ref()?;
            let Served {
                published,
                endpoints,
            } = served;
            Some((Arc::as_ptr(published), Arc::as_ptr(endpoints)))
        };
        let revisions = |known: &Self| -> Vec<(String, Option<u64>, Option<u64>)> {
            let proxies = known.fleet.proxies.iter();
            let proxies = proxies.map(|(node, proxy)| {
                let revisions = proxy.vms.iter().map(|vm| vm.table_revision);
                (node.clone(), revisions.clone().min(), revisions.max())
            });
            proxies.collect()
        };
        Arc::ptr_eq(&self.observed.held, &other.observed.held)
            && Arc::ptr_eq(&self.observed.world.rules, &other.observed.world.rules)
            && decided(self) == decided(other)
            && served(self) == served(other)
            && self.publication == other.publication
            && self.young == other.young
            && self.rejections == other.rejections
            && self.sessions == other.sessions
            && revisions(self) == revisions(other)
    }
}

/// Since which revision each route is in force as it stands: every gateway that uses that one or a later one routes by it.
#[derive(Debug, Default)]
pub struct Since {
    published: Option<Arc<Published>>,
    of: BTreeMap<ObjectName, InForce>,
}

#[derive(Debug)]
struct InForce {
    form: Arc<Located<FIXSessionSpec>>,
    revision: u64,
    shown: Shown,
}

/// What is shown of a form. Ten thousand of them are written once, and not at each look.
#[derive(Clone, Debug)]
struct Shown {
    r#match: String,
    /// As `SERVICE:PORT`.
    target: String,
    /// The same, as the table has it.
    cluster: Target,
}

impl Shown {
    fn of(name: &ObjectName, spec: &FIXSessionSpec) -> Self {
        let service = &spec.target.service;
        Self {
            r#match: match_text(spec),
            target: format!("{}:{}", service.name, service.port),
            cluster: spec.target(&name.namespace),
        }
    }
}

impl Since {
    /// Takes in what is published now. What was in force before this replica began is known by the statuses that are there.
    pub fn look(&mut self, known: &Known) {
        let Some(served) = &known.served else {
            return;
        };
        let published = &served.published;
        if self
            .published
            .as_ref()
            .is_some_and(|last| Arc::ptr_eq(last, published))
        {
            return;
        }
        let revision = published.table.revision();
        self.of
            .retain(|name, _| published.sessions.contains_key(name));
        for (name, form) in published.sessions.iter() {
            let last = self.of.get(name);
            if last.is_some_and(|last| Arc::ptr_eq(&last.form, form)) {
                continue;
            }
            let same = last.filter(|last| same_route(name, &last.form, form));
            let in_force = InForce {
                form: form.clone(),
                revision: same.map_or_else(
                    || told(known, name, form, revision).unwrap_or(revision),
                    |last| last.revision,
                ),
                shown: Shown::of(name, &form.object),
            };
            self.of.insert(name.clone(), in_force);
        }
        self.published = Some(published.clone());
    }

    fn revision(&self, name: &ObjectName) -> Option<u64> {
        self.of.get(name).map(|in_force| in_force.revision)
    }

    fn shown<'s>(
        &'s self,
        name: &ObjectName,
        session: &Arc<Located<FIXSessionSpec>>,
    ) -> Cow<'s, Shown> {
        match self.of.get(name) {
            Some(in_force) if Arc::ptr_eq(&in_force.form, session) => {
                Cow::Borrowed(&in_force.shown)
            }
            Some(_) | None => Cow::Owned(Shown::of(name, &session.object)),
        }
    }
}

/// The revision that the object's status says, if that is about the form in force.
fn told(
    known: &Known,
    name: &ObjectName,
    form: &Located<FIXSessionSpec>,
    newest: u64,
) -> Option<u64> {
    let held = known.observed.held.get(name)?;
    let identity = form.identity.as_ref()?;
    let accepted = held.status.condition(ACCEPTED)?;
    let is_about_it = held.identity.uid == identity.uid
        && accepted.status == YES
        && held.status.observed_generation >= Some(identity.generation);
    held.status
        .revision
        .filter(|revision| is_about_it && *revision <= newest)
}

/// Which counts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Those that the gateways tell.
    Told,
    /// Those that stand there, for not everybody has told yet.
    Kept,
}

/// Whether some gateway is known, and every VM of them has told all that it has.
#[must_use]
pub fn is_heard(known: &Known) -> bool {
    let missing = known.sessions.values().any(|proxy| proxy.vms_missing > 0);
    !missing && !gateways(known).is_empty()
}

/// One gateway that takes Logons, or should.
struct Gateway<'k> {
    node: &'k str,
    /// The oldest that one of its VMs uses.
    revision: u64,
    rejected: Option<&'k Rejected>,
}

/// Of which objects statuses are wanted.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'n> {
    /// Of all.
    All,
    /// Of these.
    These(&'n [ObjectName]),
}

/// What is known, in a form to be asked for each object.
pub struct View<'k> {
    known: &'k Known,
    since: &'k Since,
    resolver: Option<Resolver<'k>>,
    resolved: BTreeMap<Target, Result<usize, Unresolved>>,
    gateways: Vec<Gateway<'k>>,
    /// By route, of each proxy.
    sessions: BTreeMap<&'k str, Vec<&'k OfRoute>>,
    counting: Counting,
}

impl<'k> View<'k> {
    /// Of what is known now.
    #[must_use]
    pub fn new(known: &'k Known, since: &'k Since, whose: Whose<'_>, counting: Counting) -> Self {
        Self {
            resolver: known
                .served
                .as_ref()
                .map(|served| Resolver::new(&served.endpoints)),
            resolved: BTreeMap::new(),
            counting,
            gateways: gateways(known),
            sessions: sessions(known, whose),
            known,
            since,
        }
    }

    /// What shall stand in an object's status, whose status is `before`; none: it is to be left as it is, until the form that is
    /// there now was looked at or what was accepted is published.
    pub fn of<'b>(
        &mut self,
        name: &ObjectName,
        held: &HeldStatus,
        before: &'b FIXSessionStatus,
    ) -> Option<Wanted<'b>>
    where
        'k: 'b,
    {
        if held.lifecycle == Lifecycle::Deleting {
            return Some(self.deleting(name, held, before));
        }
        let rules = self.known.decided.as_ref().map(|decided| &*decided.rules);
        let session = rules.and_then(|rules| rules.sessions.get(name));
        match session {
            Some(session) if session.identity.as_ref() == Some(&held.identity) => {
                self.looked_at(name, session, before)
            }
            _ if self.is_unreadable(name) => Some(self.unreadable(name, held, before)),
            // What people write now waits until publication goes on.
            Some(_) | None => match &self.known.publication {
                Publication::Paused(why) => {
                    let why = why.clone();
                    Some(self.paused(name, held, before, &why))
                }
                Publication::Running | Publication::Failing(_) => None,
            },
        }
    }

    /// The object is there, and nobody can tell what it wants; now as when it was looked at.
    fn is_unreadable(&self, name: &ObjectName) -> bool {
        let key = (Kind::FIXSession, name.clone());
        let unread = |rules: &RulesHalf| {
            rules.faults.objects.contains(&key) && !rules.sessions.contains_key(name)
        };
        let decided = self.known.decided.as_ref();
        decided.is_some_and(|decided| unread(&decided.rules))
            && unread(&self.known.observed.world.rules)
    }

    fn verdict(&self, name: &ObjectName) -> Option<&'k Verdict> {
        self.known.decided.as_ref()?.verdicts.get(name)
    }

    /// The form that is in force.
    fn in_force(&self, name: &ObjectName) -> Option<&'k Arc<Located<FIXSessionSpec>>> {
        self.known.served.as_ref()?.published.sessions.get(name)
    }

    /// Whether the form that was looked at is in force: as it was published, or written in another way that makes the same table,
    /// which is not published again.
    fn is_in_force(&self, name: &ObjectName, session: &Arc<Located<FIXSessionSpec>>) -> bool {
        let Some(published) = self.known.served.as_ref().map(|served| &served.published) else {
            return false;
        };
        let is_it = |sessions: &Objects<FIXSessionSpec>| {
            let form = sessions.get(name);
            form.is_some_and(|form| same_route(name, form, session))
        };
        let decided = self.known.decided.as_ref();
        let accepted = decided.and_then(|decided| decided.accepted.as_ref());
        let is_published =
            |accepted: &&Arc<Published>| accepted.table.revision() == published.table.revision();
        is_it(&published.sessions)
            || accepted
                .filter(is_published)
                .is_some_and(|accepted| is_it(&accepted.sessions))
    }

    fn looked_at<'b>(
        &mut self,
        name: &ObjectName,
        session: &Arc<Located<FIXSessionSpec>>,
        before: &'b FIXSessionStatus,
    ) -> Option<Wanted<'b>>
    where
        'k: 'b,
    {
        let accepted = self.accepted(name, session)?;
        let shown = self.since.shown(name, session);
        let target = &shown.cluster;
        let found = self.resolve(target);
        let programmed = self.programmed(name, target, &accepted);
        let (target, unresolved) = (target.as_str(), found.as_ref().err());
        let conditions = [
            (TARGET_RESOLVABLE, resolvable(target, unresolved)),
            (ENDPOINTS_READY, endpoints_ready(target, unresolved)),
            (PROGRAMMED, programmed),
        ];
        let conflicts = self
            .verdict(name)
            .map_or(&[][..], |verdict| &verdict.conflicts);
        let mut all = vec![(ACCEPTED, accepted)];
        all.extend(conditions);
        all.extend(conflicted(conflicts));
        let revision = all
            .first()
            .is_some_and(|(_, accepted)| accepted.is_true())
            .then(|| self.since.revision(name));
        let identity = session.identity.as_ref()?;
        let wanted = self.wanted(name, identity.generation, all, before);
        let (r#match, target) = match shown {
            Cow::Borrowed(Shown {
                r#match, target, ..
            }) => (Cow::Borrowed(&**r#match), Cow::Borrowed(&**target)),
            Cow::Owned(Shown {
                r#match, target, ..
            }) => (Cow::Owned(r#match), Cow::Owned(target)),
        };
        Some(Wanted {
            r#match: Some(r#match),
            target: Some(target),
            endpoints_ready: Some(u32::try_from(found.unwrap_or(0)).unwrap_or(u32::MAX)),
            revision: revision.flatten(),
            ..wanted
        })
    }

    /// Whether it is in force as it stands; none: that is decided within moments.
    fn accepted(&self, name: &ObjectName, session: &Arc<Located<FIXSessionSpec>>) -> Option<Said> {
        let verdict = self.verdict(name);
        let in_force = self.in_force(name);
        let stays = in_force.is_some();
        if let Some(verdict) = verdict.filter(|verdict| !verdict.wrongs.is_empty()) {
            return Some(Said::new(NO, reason::INVALID, wrongs(verdict, stays)));
        }
        let conflicts = verdict.map_or(&[][..], |verdict| &verdict.conflicts);
        if self.is_in_force(name, session) {
            let message = if conflicts.is_empty() {
                "the route is in force as it stands"
            } else {
                "the route is in force as it stands; another one conflicts with it, see Conflicted"
            };
            return Some(Said::new(YES, reason::ACCEPTED, message));
        }
        if !conflicts.is_empty() {
            return Some(Said::new(NO, reason::CONFLICT, conflicts.join(" | ")));
        }
        match verdict.and_then(|verdict| verdict.waits.as_ref()) {
            Some(Waits::Conflict(whose)) => {
                let message = format!("waits, because {whose}; {}", meanwhile(stays));
                Some(Said::new(NO, reason::TABLE_HELD, message))
            }
            Some(Waits::Bound(what)) => {
                let message = format!("{what}; {}", meanwhile(stays));
                Some(Said::new(NO, reason::BOUND, message))
            }
            None => match &self.known.publication {
                Publication::Failing(why) => {
                    let message = format!(
                        "the object is well formed, and the table could not be published yet ({why}); {}",
                        meanwhile(stays)
                    );
                    Some(Said::new(NO, reason::NOT_PUBLISHED, message))
                }
                Publication::Running | Publication::Paused(_) => None,
            },
        }
    }

    fn resolve(&mut self, target: &Target) -> Result<usize, Unresolved> {
        if let Some(known) = self.resolved.get(target) {
            return known.clone();
        }
        let asked = Asked::parse(target.as_str());
        let found = match (&self.resolver, asked) {
            (Some(resolver), Some(asked)) => resolver.resolve(asked).map(|found| found.len()),
            (None, _) | (_, None) => Err(Unresolved::NoService),
        };
        self.resolved.insert(target.clone(), found.clone());
        found
    }

    fn programmed(&self, name: &ObjectName, target: &Target, accepted: &Said) -> Said {
        let since = self.since.revision(name);
        let (true, Some(since)) = (accepted.is_true(), since) else {
            let message = "it is not in force as it stands, see Accepted";
            return Said::new(NO, reason::NOT_ACCEPTED, message);
        };
        let all = self.gateways.len();
        if all == 0 {
            let message = "no gateway is known that could route by it; see whether the gateways run and reach the operator";
            return Said::new(NO, reason::NO_GATEWAY, message);
        }
        for gateway in &self.gateways {
            let Some(rejected) = gateway.rejected else {
                continue;
            };
            let of_table = rejected
                .table
                .as_ref()
                .filter(|_| gateway.revision < since)
                .map(|text| ("the table", text.as_str()));
            let of_target = rejected.of_target(target.as_str());
            let of_target = of_target.map(|text| ("the target", text));
            if let Some((what, text)) = of_table.or(of_target) {
                let node = clean_text(gateway.node, REJECTION_CHARS_MAX);
                let message = format!(
                    "the gateway {node} refused {what}, and goes on with what it had: {text}"
                );
                return Said::new(NO, reason::REJECTED, message);
            }
        }
        let uses = |gateway: &&Gateway<'_>| gateway.revision >= since;
        let count = self.gateways.iter().filter(uses).count();
        if count == all {
            return Said::new(YES, reason::PROGRAMMED, "every gateway routes by it");
        }
        let message = format!("{count} of {all} gateways use revision {since} or a later one");
        Said::new(NO, reason::PENDING, message)
    }

    /// What there is to say of an object without a form that was looked at: everything but `Accepted` follows.
    fn unknown<'b>(
        &self,
        name: &ObjectName,
        held: &HeldStatus,
        before: &'b FIXSessionStatus,
        accepted: Said,
    ) -> Wanted<'b> {
        let (of, see) = (accepted.reason, "see Accepted");
        let programmed = if of == reason::PAUSED {
            Said::new(NO, reason::PAUSED, accepted.message.clone())
        } else {
            Said::new(NO, reason::NOT_ACCEPTED, see)
        };
        let all = vec![
            (ACCEPTED, accepted),
            (TARGET_RESOLVABLE, Said::new(UNKNOWN, of, see)),
            (ENDPOINTS_READY, Said::new(UNKNOWN, of, see)),
            (PROGRAMMED, programmed),
        ];
        // What stood there is of the form before, and better than nothing.
        Wanted {
            r#match: before.r#match.as_deref().map(Cow::Borrowed),
            target: before.target.as_deref().map(Cow::Borrowed),
            endpoints_ready: before.endpoints_ready,
            ..self.wanted(name, held.identity.generation, all, before)
        }
    }

    fn unreadable<'b>(
        &self,
        name: &ObjectName,
        held: &HeldStatus,
        before: &'b FIXSessionStatus,
    ) -> Wanted<'b> {
        let stays = self.in_force(name).is_some();
        let message = self.verdict(name).map_or_else(
            || format!("the object cannot be read; {}", mended(stays)),
            |verdict| wrongs(verdict, stays),
        );
        let accepted = Said::new(NO, reason::INVALID, message);
        self.unknown(name, held, before, accepted)
    }

    fn paused<'b>(
        &self,
        name: &ObjectName,
        held: &HeldStatus,
        before: &'b FIXSessionStatus,
        why: &str,
    ) -> Wanted<'b> {
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(" ({})", clean_text(why, REJECTION_CHARS_MAX))
        };
        let stays = self.in_force(name).is_some();
        let message = format!(
            "publication is paused{why}: this form is looked at when it goes on (`fixgw resume`); {}",
            meanwhile(stays)
        );
        let accepted = Said::new(UNKNOWN, reason::PAUSED, message);
        self.unknown(name, held, before, accepted)
    }

    fn deleting<'b>(
        &self,
        name: &ObjectName,
        held: &HeldStatus,
        before: &'b FIXSessionStatus,
    ) -> Wanted<'b> {
        let message = if self.in_force(name).is_some() {
            "the object is being deleted, and its route is in force until that is published"
        } else {
            "the object is being deleted, and its route is not in force any more; live sessions go on"
        };
        let accepted = Said::new(NO, reason::DELETING, message);
        self.unknown(name, held, before, accepted)
    }

    /// Puts together what is the same for all.
    fn wanted<'b>(
        &self,
        name: &ObjectName,
        generation: i64,
        conditions: Vec<(&'static str, Said)>,
        before: &'b FIXSessionStatus,
    ) -> Wanted<'b> {
        let programmed = conditions.iter().find(|(of, _)| *of == PROGRAMMED);
        let programmed = programmed.map_or("", |(_, said)| said.reason);
        let was_programmed = before.observed_generation == Some(generation)
            && before
                .condition(PROGRAMMED)
                .is_some_and(|last| last.status == YES);
        let lasting = match (programmed, was_programmed) {
            (reason::PENDING | reason::NO_GATEWAY, true) => Lasting::Unheard,
            (reason::PENDING | reason::NO_GATEWAY, false) => Lasting::Moments,
            // Every gateway that is known, that is.
            (reason::PROGRAMMED, false) if self.known.young => Lasting::Unheard,
            _ => Lasting::Firm,
        };
        let counts = self.counts(name);
        let connections = match (self.counting, before.connections) {
            (Counting::Kept, Some(connections)) => connections,
            (Counting::Told, _) | (Counting::Kept, None) => Connections {
                active: counts.active,
                on_old_target: counts.on_old_target,
                held: counts.held,
                connecting: counts.connecting,
                orphaned: counts.orphaned,
            },
        };
        // Gateways forget with their VMs.
        let last_before = before.last_connection.as_deref().map(Cow::Borrowed);
        let last_connection = match counts.last_logon.map(Cow::Owned) {
            None => last_before,
            Some(now) => {
                let both = [Some(now), last_before].into_iter().flatten();
                both.max_by_key(|time: &Cow<'_, str>| time.parse::<jiff::Timestamp>().ok())
            }
        };
        Wanted {
            generation,
            conditions,
            r#match: None,
            target: None,
            endpoints_ready: None,
            connections,
            revision: None,
            last_connection,
            before,
            lasting,
        }
    }

    fn counts(&self, name: &ObjectName) -> Counts {
        if self.sessions.is_empty() {
            return Counts::default();
        }
        let route = name.to_string();
        let mut counts = Counts::default();
        let Some(own) = self.sessions.get(route.as_str()) else {
            return counts;
        };
        let table = self.known.served.as_ref();
        let target = table.and_then(|served| target_of(&served.published.table, &route));
        let mut latest = Latest::default();
        for of in own {
            counts.add(of, target, &mut latest);
        }
        counts.set_latest(&latest);
        counts
    }
}

/// One that has no table at all is only beginning, and takes no Logon.
fn gateways(known: &Known) -> Vec<Gateway<'_>> {
    let proxies = known.fleet.proxies.iter();
    let gateways = proxies.filter_map(|(node, proxy)| {
        let rejected = known.rejections.of(node);
        let revisions = proxy.vms.iter().map(|vm| vm.table_revision);
        let newest = revisions.clone().max()?;
        (newest > 0 || rejected.is_some()).then(|| Gateway {
            node,
            revision: revisions.min().unwrap_or(0),
            rejected,
        })
    });
    gateways.collect()
}

fn sessions<'k>(known: &'k Known, whose: Whose<'_>) -> BTreeMap<&'k str, Vec<&'k OfRoute>> {
    let mut all: BTreeMap<&str, Vec<&OfRoute>> = BTreeMap::new();
    for proxy in known.sessions.values() {
        match whose {
            Whose::All => {
                for (route, of) in &proxy.routes {
                    all.entry(route).or_default().push(of);
                }
            }
            Whose::These(names) => {
                for name in names {
                    if let Some((route, of)) = proxy.routes.get_key_value(&*name.to_string()) {
                        all.entry(route).or_default().push(of);
                    }
                }
            }
        }
    }
    all
}

fn wrongs(verdict: &Verdict, stays: bool) -> String {
    let wrongs = verdict.wrongs.iter().map(|wrong| match &wrong.field {
        Some(field) => format!("{field}: {}", wrong.what),
        None => wrong.what.clone(),
    });
    let wrongs: Vec<String> = wrongs.collect();
    let meanwhile = mended(stays);
    format!("{}; {meanwhile}", wrongs.join("; "))
}

const fn mended(stays: bool) -> &'static str {
    if stays {
        "its last accepted form stays in force until this is mended"
    } else {
        "it is left out until this is mended, and the other objects count"
    }
}

const fn meanwhile(stays: bool) -> &'static str {
    if stays {
        "until then its last accepted form stays in force"
    } else {
        "until then it is left out"
    }
}

fn conflicted(conflicts: &[String]) -> Option<(&'static str, Said)> {
    let said = || Said::new(YES, reason::CONFLICT, conflicts.join(" | "));
    (!conflicts.is_empty()).then(|| (CONFLICTED, said()))
}

fn resolvable(target: &str, unresolved: Option<&Unresolved>) -> Said {
    let Some(unresolved) = unresolved else {
        return found();
    };
    let (what, _) = translate::in_words(target, unresolved, Place::Cluster);
    let waits = "the route is registered, and its Logons wait until there is";
    match unresolved {
        Unresolved::NoService => Said::new(NO, reason::TARGET_MISSING, format!("{what}; {waits}")),
        Unresolved::External => {
            let mend = "make it a Service with endpoints of its own";
            Said::new(NO, reason::TARGET_EXTERNAL, format!("{what}; {mend}"))
        }
        Unresolved::NoPort(_) => {
            let (_, mend) = translate::in_words(target, unresolved, Place::Cluster);
            Said::new(NO, reason::PORT_MISSING, format!("{what}; {mend}"))
        }
        Unresolved::NoSlice | Unresolved::NoSlicePort(_) | Unresolved::NoneReady(_) => found(),
    }
}

fn found() -> Said {
    Said::new(YES, reason::TARGET_FOUND, "the Service has this port")
}

fn endpoints_ready(target: &str, unresolved: Option<&Unresolved>) -> Said {
    let Some(unresolved) = unresolved else {
        let message = "the target has a ready endpoint";
        return Said::new(YES, reason::ENDPOINTS_READY, message);
    };
    let (what, mend) = translate::in_words(target, unresolved, Place::Cluster);
    match unresolved {
        Unresolved::NoService | Unresolved::External | Unresolved::NoPort(_) => {
            let message = "the target has no endpoints, see TargetResolvable";
            Said::new(NO, resolvable(target, Some(unresolved)).reason, message)
        }
        Unresolved::NoSlice | Unresolved::NoSlicePort(_) | Unresolved::NoneReady(_) => {
            Said::new(NO, reason::NO_ENDPOINTS, format!("{what}; {mend}"))
        }
    }
}

/// What a route matches, in one line, as far as it may be shown.
#[must_use]
pub fn match_text(spec: &FIXSessionSpec) -> String {
    let fields = spec.match_fields.iter();
    let fields: Vec<String> = fields
        .filter_map(|(key, field)| field_text(key, field))
        .collect();
    let mut text = match (spec.default, fields.is_empty()) {
        (true, _) => "default".to_owned(),
        (false, false) => fields.join(" "),
        (false, true) if spec.match_fields.is_empty() => "any".to_owned(),
        (false, true) => "(not shown)".to_owned(),
    };
    let ranges = spec.source_ranges.as_deref().unwrap_or_default();
    if !ranges.is_empty() {
        let shown = ranges.get(..RANGES_SHOWN_MAX).unwrap_or(ranges);
        let _ = write!(text, " from {}", shown.join(","));
        let more = ranges.len() - shown.len();
        if more > 0 {
            let _ = write!(text, " and {more} more");
        }
    }
    if let Some(priority) = spec.priority {
        let _ = write!(text, " priority {priority}");
    }
    clean_text(&text, MESSAGE_CHARS_MAX)
}

/// `SenderCompID49=BROKER_A`
fn field_text(key: &str, field: &MatchField) -> Option<String> {
    let digits = key.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let tag = digits.parse().ok().and_then(Tag::new);
    // Which tag it is, is not known: then it may be one that carries secrets.
    let floor = match tag {
        Some(tag) if !redact::always_redacted(tag) => Disclosure::Shown,
        Some(_) | None => Disclosure::Redacted,
    };
    let disclosure = field.disclosure().max(floor);
    let shown = |text: &str| {
        let value = FieldValue::new(text.as_bytes()).disclose(disclosure)?;
        Some(value.to_string())
    };
    match (&field.value, &field.pattern) {
        (Some(value), _) => Some(format!("{key}={}", shown(value)?)),
        (None, Some(pattern)) => {
            let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
            let prefix = if prefix.is_empty() {
                // That the field must be there is no value.
                (disclosure != Disclosure::Hidden).then(String::new)?
            } else {
                shown(prefix)?
            };
            Some(format!("{key}={prefix}*"))
        }
        (None, None) => (disclosure != Disclosure::Hidden).then(|| key.to_owned()),
    }
}
