//! What becomes of a Logon, and what does each route make of it? Objects and bytes in, an answer out that may be shown; pure.
//!
//! INVARIANT: the decision is the filter's own (`fixgw_core::connection`), and every value in the answer has passed
//! `fixgw_core::redact`, unless it was asked to reveal.

use std::cmp::Ordering;
use std::net::IpAddr;

use fixgw_core::config::Settings;
use fixgw_core::connection::{Arrival, Connection, Step, View};
use fixgw_core::decision::{Decision, DecisionRecord, Reason};
use fixgw_core::miss::{self, Miss, Why};
use fixgw_core::range::{self, SourceAddress, SourceRange};
use fixgw_core::readiness::Readiness;
use fixgw_core::redact::{self, Disclosure, FieldValue};
use fixgw_core::rule::{Class, Condition, FieldMatch, Rule};
use fixgw_core::table::{MatchRank, Table};
use fixgw_core::wire::{self, Logon, ReadLimits, Reading, Tag};
use serde::Serialize;

use crate::message::{Origin, count};
use crate::names;
use crate::pipeline::resolve::Endpoints;
use crate::pipeline::{translate, validate};
use crate::taken::{Taken, Written};
use crate::world::EndpointsHalf;

/// Near misses, and outranked routes, that are told when not all are asked for.
pub(super) const SHOWN_MAX: usize = 5;

/// Misses that are told when no route takes a Logon and none is near.
const FAR_SHOWN_MAX: usize = 3;

/// What is asked.
pub(super) struct Asked<'b> {
    /// First bytes of a connection.
    pub(super) bytes: &'b [u8],
    /// Where it comes from.
    pub(super) source: Option<IpAddr>,
    /// Every route is asked for.
    pub(super) all: bool,
    /// Every value is shown.
    pub(super) reveal: bool,
}

/// What becomes of a Logon.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// [`Decision::label`], where the target is ready.
    pub(super) decision: &'static str,
    /// [`Reason::label`]
    pub(super) reason: &'static str,
    /// What a person should know beside the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    /// The bytes, redacted; none where they are not FIX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) received: Option<String>,
    /// How many.
    pub(super) received_bytes: usize,
    /// Where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<String>,
    /// Why nobody answers for the target, and what would mend it: then the gateway holds or closes the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unanswered: Option<String>,
    /// What is told of routes: the chosen one, those that would be but are left out, outranked ones, misses, the nearest first.
    pub(super) routes: Vec<RouteAnswer>,
    /// FIXSessions that no gateway would take as they are written, because they are invalid or in conflict.
    pub(super) left_out: Vec<String>,
    /// What could not be read, and so may hold a route that would take it: where, and why.
    pub(super) unread: Vec<String>,
    /// How many routes there are that nothing is told of.
    pub(super) routes_not_told: usize,
    #[serde(skip)]
    is_logon: bool,
    #[serde(skip)]
    has_ranges: bool,
}

/// What became of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It takes the Logon.
    Chosen,
    /// It ranks as high as another one that matches, so that the address decides, which is not given.
    Tied,
    /// It would, if all readers agreed on the Logon.
    Disputed,
    /// It matches, and another one comes before it.
    Outranked,
    /// It matches, and is left out because it is in a conflict.
    LeftOut,
    /// A condition does not hold.
    Misses,
}

/// What is told of a route.
#[derive(Debug, Serialize)]
pub(super) struct RouteAnswer {
    /// `namespace/name`
    pub(super) route: String,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<String>,
    /// Where it leads.
    pub(super) target: String,
    /// What it ranks by, in words.
    pub(super) rank: String,
    /// What became of it.
    pub(super) verdict: Verdict,
    /// Of an outranked one, why; of one that misses, whether it would come before the best one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) standing: Option<String>,
    /// Its conditions on fields.
    pub(super) fields: Vec<FieldAnswer>,
    /// Its condition on the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<SourceAnswer>,
}

/// What is told of a condition on a field.
#[derive(Debug, Serialize)]
pub(super) struct FieldAnswer {
    /// Its key; none when it is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    /// Whether it holds.
    pub(super) holds: bool,
    /// [`Why::label`]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<&'static str>,
    /// The whole condition in words.
    pub(super) says: String,
}

/// What is told of a condition on the address.
#[derive(Debug, Serialize)]
pub(super) struct SourceAnswer {
    /// Whether it holds.
    pub(super) holds: bool,
    /// In words.
    pub(super) says: String,
}

/// A route, and what it makes of the Logon.
struct Judged<'r, 'b> {
    rule: &'r Rule,
    origin: Option<&'r Origin>,
    fields: Vec<(&'r FieldMatch, Result<FieldValue<'b>, Miss<'b>>)>,
    /// The longest range that holds the address; `Err` when none of its ranges does.
    range: Result<Option<SourceRange>, ()>,
}

impl Answer {
    pub(super) fn new(taken: &Taken, endpoints: &EndpointsHalf, asked: &Asked<'_>) -> Self {
        let accepted = &taken.accepted;
        let record = decide(&accepted.table, asked);
        let mut answer = Self {
            decision: record.decision.label(),
            reason: record.reason.label(),
            detail: detail(&record),
            received: received(&record, &taken.written, asked),
            received_bytes: asked.bytes.len(),
            source: asked.source.map(|source| source.to_string()),
            unanswered: unanswered(&record, endpoints),
            routes: Vec::new(),
            left_out: taken.left_out.keys().map(ToString::to_string).collect(),
            unread: taken.unread.clone(),
            routes_not_told: accepted.sessions.len(),
            is_logon: false,
            has_ranges: false,
        };
        if let Reading::Logon(logon) = wire::read(asked.bytes, &ReadLimits::default()) {
            answer.is_logon = true;
            answer.tell(taken, &logon, &record, asked);
        }
        answer
    }

    /// Whether a route takes it.
    pub(super) const fn is_routed(&self) -> bool {
        matches!(self.first_verdict(), Some(Verdict::Chosen))
    }

    pub(super) const fn is_logon(&self) -> bool {
        self.is_logon
    }

    /// Whether it matters for some route where the Logon comes from.
    pub(super) const fn has_ranges(&self) -> bool {
        self.has_ranges
    }

    const fn first_verdict(&self) -> Option<Verdict> {
        match self.routes.as_slice() {
            [first, ..] => Some(first.verdict),
            [] => None,
        }
    }

    fn tell(
        &mut self,
        taken: &Taken,
        logon: &Logon<'_>,
        record: &DecisionRecord,
        asked: &Asked<'_>,
    ) {
        let accepted = &taken.accepted;
        let rules: Vec<(Rule, Option<&Origin>)> = accepted
            .sessions
            .iter()
            .filter_map(|(name, session)| {
                // What was accepted is valid.
                let valid = validate::valid(name, session).ok()?;
                Some((valid.rule, session.origin.as_ref()))
            })
            .collect();
        let ranged = |(rule, _): &(Rule, _)| !rule.source_ranges().is_empty();
        self.has_ranges = rules.iter().any(ranged);
        let source = asked.source.map(SourceAddress::from);
        let judged = rules
            .iter()
            .map(|(rule, origin)| Judged::new(rule, *origin, logon, source));
        let (mut matching, mut missing): (Vec<_>, Vec<_>) = judged.partition(Judged::matches);
        matching.sort_by(|a, b| b.rank().cmp(&a.rank()).then(a.name().cmp(b.name())));
        let best = matching.first().map(Judged::rank);
        missing.sort_by_cached_key(|judged| judged.distance(best));
        let left_out = taken.left_out.values().flatten();
        let mut left_out: Vec<Judged<'_, '_>> = left_out
            .map(|valid| Judged::new(&valid.rule, valid.session.origin.as_ref(), logon, source))
            .filter(Judged::matches)
            .collect();
        left_out.sort_by(|a, b| b.rank().cmp(&a.rank()).then(a.name().cmp(b.name())));
        let told_outranked = if asked.all { usize::MAX } else { 1 + SHOWN_MAX };
        let near = missing.iter().filter(|judged| judged.is_near()).count();
        let told_missing = match (asked.all, near) {
            (true, _) => usize::MAX,
            // Where nobody takes it, something is better than nothing.
            (false, 0) if best.is_none() => FAR_SHOWN_MAX,
            (false, near) => near.min(SHOWN_MAX),
        };
        // The nearest ones stand first.
        let told_missing = missing.iter().take(told_missing);
        let teller = Teller {
            policy: &taken.written,
            asked,
        };
        // From nowhere, which of two is best is for the address to say.
        let tied = matching.get(1).map(Judged::rank) == best && best.is_some();
        let first = if tied {
            Verdict::Tied
        } else if record.reason == Reason::Matched {
            Verdict::Chosen
        } else {
            Verdict::Disputed
        };
        self.routes = matching
            .iter()
            .take(told_outranked)
            .enumerate()
            .map(|(place, judged)| match (place, best) {
                (0, _) | (_, None) => teller.route(judged, first, None),
                (_, Some(best)) if best == judged.rank() => teller.route(judged, first, None),
                (_, Some(best)) => {
                    let standing = before(best, judged.rank());
                    teller.route(judged, Verdict::Outranked, Some(standing))
                }
            })
            .chain(left_out.iter().take(told_outranked).map(|judged| {
                let standing = best.and_then(|best| would_stand(judged.rank(), best));
                teller.route(judged, Verdict::LeftOut, standing)
            }))
            .chain(told_missing.map(|judged| {
                let standing = best.and_then(|best| would_stand(judged.best_rank(), best));
                teller.route(judged, Verdict::Misses, standing)
            }))
            .collect();
        let told = self.routes.iter();
        let told = told.filter(|route| route.verdict != Verdict::LeftOut);
        self.routes_not_told = rules.len() - told.count();
    }
}

/// Why nobody answers for the target that was decided. Objects without any Service say nothing of that.
fn unanswered(record: &DecisionRecord, endpoints: &EndpointsHalf) -> Option<String> {
    let target = record.target.as_ref()?;
    if endpoints.services.is_empty() {
        return None;
    }
    let (endpoints, _) = Endpoints::default().next(endpoints);
    let (what, mend) = translate::unanswered(target, &endpoints)?;
    Some(format!("{what}; {mend}"))
}

/// What the filter does with these bytes when every target is ready, and the counterparty sends nothing more.
fn decide(table: &Table, asked: &Asked<'_>) -> DecisionRecord {
    let settings = Settings::default();
    let readiness = Readiness::load(&Readiness::encode(1, [])).ok();
    let view = View {
        table: Some(table),
        readiness: readiness.as_ref(),
        settings: &settings,
    };
    let arrival = Arrival {
        accepted_ms: 0,
        source: asked.source.map(SourceAddress::from),
    };
    let step = Connection::accepted(arrival, &settings).received(view, asked.bytes, true);
    match step {
        Step::Connect { record, .. }
        | Step::Reject { record, .. }
        | Step::Hold { record }
        | Step::Close {
            record: Some(record),
        } => *record,
        // Nothing was sent at all; nobody asks for a place where every target is ready, and no engine is tried here.
        Step::Wait
        | Step::Ask { .. }
        | Step::Park { .. }
        | Step::Live { .. }
        | Step::Close { record: None } => DecisionRecord {
            decision: Decision::Closed,
            reason: Reason::IncompleteLogon,
            route: None,
            target: None,
            fields: Vec::new(),
            source_range: None,
            revision: 0,
            detail: Some("there is not one byte".to_owned()),
            received: None,
            received_bytes: 0,
        },
    }
}

fn detail(record: &DecisionRecord) -> Option<String> {
    let unfinished = record.reason == Reason::IncompleteLogon && record.received_bytes > 0;
    record.detail.clone().or_else(|| {
        unfinished.then(|| "it ends before its CheckSum (10) and the SOH behind it".to_owned())
    })
}

fn received(record: &DecisionRecord, policy: &Written, asked: &Asked<'_>) -> Option<String> {
    // Bytes that are not FIX may hold a password of another protocol.
    if record.reason == Reason::NotFix && !asked.reveal || asked.bytes.is_empty() {
        return None;
    }
    Some(if asked.reveal {
        redact::revealed(asked.bytes)
    } else {
        redact::received(asked.bytes, policy)
    })
}

impl<'r, 'b> Judged<'r, 'b> {
    fn new(
        rule: &'r Rule,
        origin: Option<&'r Origin>,
        logon: &Logon<'b>,
        source: Option<SourceAddress>,
    ) -> Self {
        let fields = rule.fields().iter();
        let holding = |source: SourceAddress| {
            range::longest_around(rule.source_ranges().iter().copied(), source)
        };
        let range = match (rule.source_ranges(), source.and_then(holding)) {
            ([], _) => Ok(None),
            (_, None) => Err(()),
            (_, range) => Ok(range),
        };
        Self {
            rule,
            origin,
            fields: fields
                .map(|field| (field, miss::judge(field, logon)))
                .collect(),
            range,
        }
    }

    fn name(&self) -> &fixgw_core::rule::RouteName {
        self.rule.name()
    }

    fn matches(&self) -> bool {
        self.range.is_ok() && self.fields.iter().all(|(_, answer)| answer.is_ok())
    }

    fn rank(&self) -> MatchRank {
        let range = self.range.ok().flatten();
        MatchRank {
            rank: self.rule.rank(),
            range: range.map(|range| range.form().length()),
        }
    }

    /// The rank that it would have if all its conditions held.
    fn best_rank(&self) -> MatchRank {
        let longest = self.rule.source_ranges().last();
        let range = self.range.ok().flatten().or(longest.copied());
        MatchRank {
            rank: self.rule.rank(),
            range: range.map(|range| range.form().length()),
        }
    }

    /// Why conditions do not hold. Of a field that its route does not show, how nearly it holds is not said either.
    fn misses(&self) -> impl Iterator<Item = Why> {
        self.fields.iter().filter_map(|(field, answer)| {
            let why = answer.as_ref().err()?.why;
            let shown = field.disclosure == Disclosure::Shown;
            Some(if shown { why } else { Why::Other })
        })
    }

    /// Conditions that do not hold, but for slips.
    fn true_misses(&self) -> usize {
        self.misses().filter(|why| !why.is_slip()).count() + usize::from(self.range.is_err())
    }

    /// Whether nothing but slips is in the way, or one condition among others that hold.
    fn is_near(&self) -> bool {
        let all = self.fields.len() + usize::from(!self.rule.source_ranges().is_empty());
        match self.true_misses() {
            0 => true,
            1 => all - self.misses().count() > 0,
            _ => false,
        }
    }

    /// Nearest first: what is in the way, then whether it would have come first, then by name.
    fn distance(&self, best: Option<MatchRank>) -> (bool, usize, usize, bool, String) {
        let behind = best.is_some_and(|best| self.best_rank() <= best);
        let held = self.fields.iter().filter(|(_, answer)| answer.is_ok());
        (
            !self.is_near(),
            self.true_misses(),
            usize::MAX - held.count(),
            behind,
            self.name().to_string(),
        )
    }
}

/// Puts what was found into words, with what may be shown.
struct Teller<'t, 'b> {
    policy: &'t Written,
    asked: &'t Asked<'b>,
}

impl Teller<'_, '_> {
    fn route(
        &self,
        judged: &Judged<'_, '_>,
        verdict: Verdict,
        standing: Option<String>,
    ) -> RouteAnswer {
        RouteAnswer {
            route: judged.name().to_string(),
            place: judged.origin.map(ToString::to_string),
            target: judged.rule.target().to_string(),
            rank: rank_in_words(judged.rule),
            verdict,
            standing,
            fields: judged
                .fields
                .iter()
                .map(|(field, answer)| self.field(field, answer))
                .collect(),
            source: self.source(judged),
        }
    }

    fn field(&self, field: &FieldMatch, answer: &Result<FieldValue<'_>, Miss<'_>>) -> FieldAnswer {
        let disclosure = self.disclosure(field);
        if disclosure == Disclosure::Hidden {
            let says = match answer {
                Ok(_) => "a hidden field holds",
                Err(_) => "a hidden field does not hold",
            };
            return FieldAnswer {
                label: None,
                holds: answer.is_ok(),
                why: None,
                says: says.to_owned(),
            };
        }
        let label = &field.label;
        let wanted = self.wanted(field);
        let (says, why) = match answer {
            Ok(_) if disclosure == Disclosure::Redacted => {
                (format!("{label} is {}", redact::REDACTED), None)
            }
            Ok(value) => {
                let says = match &field.condition {
                    Condition::Value(_) => format!("{label} is {wanted}"),
                    Condition::Prefix(_) | Condition::Present => {
                        format!("{label} is {}, wanted {wanted}", self.got(*value))
                    }
                };
                (says, None)
            }
            // How far it is from what is wanted would say what it is.
            Err(Miss { why, got: Some(_) })
                if disclosure == Disclosure::Redacted && *why != Why::Empty =>
            {
                let got = redact::REDACTED;
                (
                    format!("{label}: wanted {wanted}, got {got}"),
                    Some(Why::Other.label()),
                )
            }
            Err(Miss { why, got }) => {
                let got = got.filter(|_| *why != Why::Empty);
                let got = got.map(|value| format!(", got {}", self.got(value)));
                let says = format!(
                    "{label}: wanted {wanted}{}{}",
                    got.unwrap_or_default(),
                    why_in_words(*why)
                );
                (says, Some(why.label()))
            }
        };
        FieldAnswer {
            label: Some(label.clone()),
            holds: answer.is_ok(),
            why,
            says,
        }
    }

    fn wanted(&self, field: &FieldMatch) -> String {
        let (bytes, behind) = match &field.condition {
            Condition::Value(bytes) => (bytes, ""),
            Condition::Prefix(bytes) => (bytes, "*"),
            Condition::Present => return "any value".to_owned(),
        };
        let value = FieldValue::new(bytes);
        if self.asked.reveal {
            return format!("\"{}{behind}\"", value.revealed());
        }
        // A rule's own text: it has swallowed nothing, so a `=` in it is one.
        match (field.disclosure, value.disclose(field.disclosure)) {
            (Disclosure::Shown, Some(shown)) => format!("\"{shown}{behind}\""),
            _ => redact::REDACTED.to_owned(),
        }
    }

    /// What may be said of the value that a Logon has for a route's field: what any route lets be said of its tag, as in a
    /// decision record, and nothing where it may be a part of a data field.
    fn disclosure(&self, field: &FieldMatch) -> Disclosure {
        if self.asked.reveal {
            return Disclosure::Shown;
        }
        let certain = redact::is_certain(self.asked.bytes, field.tag);
        let there = fixgw_core::wire::first(self.asked.bytes, field.tag).is_some();
        let floor = if there && !certain {
            Disclosure::Redacted
        } else {
            Disclosure::Shown
        };
        let policy = redact::disclosure(self.policy, field.tag);
        policy.max(field.disclosure).max(floor)
    }

    /// A value of the Logon that may be shown.
    fn got(&self, value: FieldValue<'_>) -> String {
        if self.asked.reveal {
            return format!("\"{}\"", value.revealed());
        }
        match redact::recorded(value, Disclosure::Shown) {
            // Its length only, because another field may be in it.
            Some(length) if length.starts_with('<') => length,
            Some(shown) => format!("\"{shown}\""),
            None => redact::REDACTED.to_owned(),
        }
    }

    fn source(&self, judged: &Judged<'_, '_>) -> Option<SourceAnswer> {
        let ranges = judged.rule.source_ranges();
        if ranges.is_empty() {
            return None;
        }
        let wanted: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        let wanted = wanted.join(" or ");
        let (holds, says) = match (judged.range, self.asked.source) {
            (Ok(Some(range)), Some(source)) => (true, format!("{source} is in {range}")),
            (Ok(_), _) => (true, format!("the address is in {wanted}")),
            (Err(()), Some(source)) => (
                false,
                format!("sourceRanges: wanted an address in {wanted}, got {source}"),
            ),
            (Err(()), None) => (
                false,
                format!("sourceRanges: wanted an address in {wanted}; say which with --source"),
            ),
        };
        Some(SourceAnswer { holds, says })
    }
}

fn rank_in_words(rule: &Rule) -> String {
    let rank = rule.rank();
    match rank.class {
        Class::Exact => format!("exact, {}", count(rule.fields().len() as u64, "field")),
        Class::Wildcard => format!("wildcard, priority {}", rank.weight),
        Class::Default => format!("default, priority {}", rank.weight),
    }
}

const fn class_in_words(class: Class) -> &'static str {
    match class {
        Class::Exact => "an exact route",
        Class::Wildcard => "a wildcard route",
        Class::Default => "a default route",
    }
}

fn why_in_words(why: Why) -> String {
    match why {
        Why::Absent => ", and the tag is not there".to_owned(),
        Why::Empty => ", and the tag has no value, which counts as absent".to_owned(),
        Why::Later(place) => format!(
            " (the tag is there more than once: number {place} would do, and only the first counts)"
        ),
        Why::InsideData(tag) => format!(
            " (it stands inside of the data field {}, where no field is looked for)",
            tag.get()
        ),
        Why::MalformedTag => {
            ", and its tag number is written with a zero, a sign or a blank, which makes it none"
                .to_owned()
        }
        Why::Case => " (differs in case)".to_owned(),
        Why::Blanks => " (has blanks or control characters around it)".to_owned(),
        Why::CaseAndBlanks => {
            " (differs in case, and has blanks or control characters around it)".to_owned()
        }
        Why::OneLetter => " (differs in one letter)".to_owned(),
        Why::OtherTag(tag) => format!(" (it stands in tag {}{})", tag.get(), in_brackets(tag)),
        Why::Other => String::new(),
    }
}

/// The tag's name, where it has one that is known.
fn in_brackets(tag: Tag) -> String {
    match names::of(tag.get()) {
        "" => String::new(),
        name => format!(", {name}"),
    }
}

/// Why a rank comes before a lower one.
fn before(high: MatchRank, low: MatchRank) -> String {
    let (one, other) = (high.rank, low.rank);
    if one.class != other.class {
        return format!(
            "{} comes before {}",
            class_in_words(one.class),
            class_in_words(other.class)
        );
    }
    match (one.weight.cmp(&other.weight), one.class) {
        (Ordering::Equal, _) => match (high.range, low.range) {
            (Some(long), Some(short)) => format!("a range of /{long} comes before one of /{short}"),
            _ => "a route with a range that holds the address comes before one without".to_owned(),
        },
        (_, Class::Exact) => format!(
            "{} come before {}",
            count(one.weight.unsigned_abs().into(), "field"),
            other.weight
        ),
        (_, Class::Wildcard | Class::Default) => {
            format!("`priority` {} comes before {}", one.weight, other.weight)
        }
    }
}

/// What would be if a route that misses did not.
fn would_stand(missing: MatchRank, best: MatchRank) -> Option<String> {
    Some(match missing.cmp(&best) {
        Ordering::Greater => format!("it would come first: {}", before(missing, best)),
        Ordering::Less => format!("it would not come first: {}", before(best, missing)),
        // Then it is for other Logons, or there would be a conflict.
        Ordering::Equal => return None,
    })
}
