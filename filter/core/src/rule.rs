//! What does a route match, and is it well formed?
//!
//! Parse, don't validate: a [`RuleSpec`] is what someone wrote, a [`Rule`] has passed every check of its own and is
//! not checked again. Conflicts between rules are the table's question.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::limits;
use crate::range::{RangeError, SourceRange};
use crate::redact::{self, Disclosure};
use crate::wire::{SOH, Tag};

/// `namespace/name` of a FIXSession. An inline route may have a name alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Where a route leads: an Envoy cluster, named `namespace/service:port` where the control plane makes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(String);

impl Target {
    /// The cluster of a Service's port.
    #[must_use]
    pub fn service(namespace: &str, service: &str, port: u16) -> Self {
        Self(format!("{namespace}/{service}:{port}"))
    }

    /// A cluster by its name.
    #[must_use]
    pub const fn cluster(name: String) -> Self {
        Self(name)
    }

    /// The cluster's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Equals, byte for byte.
    Value(Box<[u8]>),
    /// Begins with these bytes, which may be all of it.
    Prefix(Box<[u8]>),
    /// Is there, with a byte or more.
    Present,
}

impl Condition {
    /// Whether a first value that is there meets the condition. An empty one counts as absent.
    #[must_use]
    pub fn holds(&self, value: &[u8]) -> bool {
        !value.is_empty()
            && match self {
                Self::Value(wanted) => value == &**wanted,
                Self::Prefix(prefix) => value.starts_with(prefix),
                Self::Present => true,
            }
    }
}

/// A condition with its tag, the label that a person gave it, and what may be said of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMatch {
    /// What is matched.
    pub tag: Tag,
    /// The key as written: `SenderCompID49`.
    pub label: String,
    /// What must hold.
    pub condition: Condition,
    /// What may be said of the value, by `redact` and `log`.
    pub disclosure: Disclosure,
}

/// How routes outrank each other before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `default: true`
    Default,
    /// Any pattern, or source ranges alone.
    Wildcard,
    /// Fields with values only, at least one.
    Exact,
}

/// Compared left to right; the best route is the largest. What comes after it depends on the counterparty's address:
/// [`crate::table::MatchRank`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Exact over wildcard over default.
    pub class: Class,
    /// Exact: number of fields. Otherwise: `priority`.
    pub weight: i32,
}

/// A match field as written.
#[derive(Clone, Debug, Default)]
pub struct FieldSpec {
    /// `value`
    pub value: Option<String>,
    /// `pattern`
    pub pattern: Option<String>,
    /// `redact`
    pub redact: bool,
    /// The negation of `log`.
    pub hidden: bool,
}

/// What a route says about connections that wait for its target. `None`: what the gateway says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// `maxHeldConnections`: how many may wait at once.
    pub connections_max: Option<u32>,
    /// `holdTimeout`: how long each.
    pub timeout_ms: Option<u32>,
}

/// A route as written.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// Whose it is.
    pub name: RouteName,
    /// `matchFields`, in any order.
    pub match_fields: Vec<(String, FieldSpec)>,
    /// `sourceRanges`, in any order; an empty list is not the same as none.
    pub source_ranges: Option<Vec<String>>,
    /// `default`
    pub default: bool,
    /// `priority`
    pub priority: Option<i32>,
    /// Where it leads.
    pub target: Target,
    /// `maxHeldConnections` and `holdTimeout`
    pub hold: Hold,
}

/// A well-formed route. Its fields ascend by tag, its ranges by length. Cheap to clone: a set of ten thousand is taken up again and
/// again when one of them has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(Arc<Checked>);

#[derive(Debug, PartialEq, Eq)]
struct Checked {
    name: RouteName,
    rank: Rank,
    fields: Vec<FieldMatch>,
    source_ranges: Vec<SourceRange>,
    target: Target,
    hold: Hold,
}

impl Rule {
    /// Checks a route by itself.
    ///
    /// # Errors
    /// Everything that is wrong with it, not only the first.
    pub fn new(spec: RuleSpec) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        let mut fields = Vec::with_capacity(spec.match_fields.len());
        if spec.match_fields.len() > limits::ROUTE_FIELDS_MAX {
            errors.push(RuleError::TooManyFields);
        }
        for (key, field) in &spec.match_fields {
            match field_match(key, field) {
                Ok(field) => fields.push(field),
                Err(error) => errors.push(error),
            }
        }
        fields.sort_by(|a, b| a.tag.cmp(&b.tag).then_with(|| a.label.cmp(&b.label)));
        for pair in fields.windows(2) {
            if let [a, b] = pair
                && a.tag == b.tag
            {
                errors.push(RuleError::SameTag {
                    first: a.label.clone(),
                    second: b.label.clone(),
                });
            }
        }
        let source_ranges = source_ranges(&spec, &mut errors);
        match rank(&spec, &fields) {
            Ok(rank) if errors.is_empty() => Ok(Self(Arc::new(Checked {
                name: spec.name,
                rank,
                fields,
                source_ranges,
                target: spec.target,
                hold: spec.hold,
            }))),
            Ok(_) => Err(errors),
            Err(error) => {
                // With a field refused, what the rest adds up to says nothing.
                if errors.is_empty() {
                    errors.push(error);
                }
                Err(errors)
            }
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &RouteName {
        &self.0.name
    }

    /// How it outranks others.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.0.rank
    }

    /// Its conditions, ascending by tag; none for a default route.
    #[must_use]
    pub fn fields(&self) -> &[FieldMatch] {
        &self.0.fields
    }

    /// Where a counterparty must come from, ascending by length; none: from anywhere.
    #[must_use]
    pub fn source_ranges(&self) -> &[SourceRange] {
        &self.0.source_ranges
    }

    /// Where it leads.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// What it says about connections that wait for its target.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.0.hold
    }
}

/// Rules in the order of their names.
pub(crate) fn by_name(rules: &[Rule]) -> Vec<&Rule> {
    let mut sorted: Vec<&Rule> = rules.iter().collect();
    sorted.sort_by(|a, b| a.name().cmp(b.name()));
    sorted
}

fn source_ranges(spec: &RuleSpec, errors: &mut Vec<RuleError>) -> Vec<SourceRange> {
    let Some(written) = &spec.source_ranges else {
        return Vec::new();
    };
    if written.is_empty() {
        errors.push(RuleError::EmptyRanges);
    }
    if written.len() > limits::ROUTE_RANGES_MAX {
        errors.push(RuleError::TooManyRanges);
        return Vec::new();
    }
    let mut ranges = Vec::with_capacity(written.len());
    for (index, text) in written.iter().enumerate() {
        match text.parse::<SourceRange>() {
            Ok(range) if ranges.contains(&range) => errors.push(RuleError::SameRange(index, range)),
            Ok(range) => ranges.push(range),
            Err(error) => errors.push(RuleError::SourceRange(index, error)),
        }
    }
    ranges.sort_unstable();
    ranges
}

fn rank(spec: &RuleSpec, fields: &[FieldMatch]) -> Result<Rank, RuleError> {
    let pattern = fields
        .iter()
        .any(|field| !matches!(field.condition, Condition::Value(_)));
    let weighted = |class, missing: RuleError| {
        spec.priority
            .map(|weight| Rank { class, weight })
            .ok_or(missing)
    };
    match (spec.default, spec.match_fields.is_empty()) {
        (true, true) => weighted(Class::Default, RuleError::DefaultNeedsPriority),
        (true, false) => Err(RuleError::DefaultWithFields),
        (false, true) if spec.source_ranges.is_none() => Err(RuleError::NoCondition),
        (false, true) => weighted(Class::Wildcard, RuleError::RangesNeedPriority),
        (false, false) if pattern => weighted(Class::Wildcard, RuleError::WildcardNeedsPriority),
        (false, false) if spec.priority.is_some() => Err(RuleError::PriorityOnExact),
        (false, false) => {
            let weight = i32::try_from(fields.len()).unwrap_or(i32::MAX);
            Ok(Rank {
                class: Class::Exact,
                weight,
            })
        }
    }
}

fn field_match(key: &str, spec: &FieldSpec) -> Result<FieldMatch, RuleError> {
    let tag = parse_key(key)?;
    let refuse = |make: fn(String) -> RuleError| make(key.to_string());
    if matches!(tag, Tag::BODY_LENGTH | Tag::CHECK_SUM | Tag::MSG_TYPE) {
        return Err(refuse(RuleError::NotMatchable));
    }
    if redact::always_redacted(tag) {
        return Err(refuse(RuleError::SecretTag));
    }
    let condition = match (&spec.value, &spec.pattern) {
        (Some(value), None) => Condition::Value(checked(key, value)?),
        (None, Some(pattern)) => match pattern.strip_suffix('*') {
            Some("") => Condition::Present,
            Some(prefix) if prefix.contains('*') => return Err(refuse(RuleError::PatternForm)),
            Some(prefix) => Condition::Prefix(checked(key, prefix)?),
            None => return Err(refuse(RuleError::PatternForm)),
        },
        (None, None) | (Some(_), Some(_)) => return Err(refuse(RuleError::ValueOrPattern)),
    };
    if tag == Tag::BEGIN_STRING {
        let begins = match &condition {
            Condition::Value(bytes) | Condition::Prefix(bytes) => bytes.starts_with(b"FIX"),
            Condition::Present => false,
        };
        if !begins {
            return Err(refuse(RuleError::BeginString));
        }
    }
    let disclosure = match (spec.hidden, spec.redact) {
        (true, _) => Disclosure::Hidden,
        (false, true) => Disclosure::Redacted,
        (false, false) => Disclosure::Shown,
    };
    Ok(FieldMatch {
        tag,
        label: key.to_string(),
        condition,
        disclosure,
    })
}

fn checked(key: &str, text: &str) -> Result<Box<[u8]>, RuleError> {
    if text.is_empty()
        || text.len() > limits::RULE_VALUE_BYTES_MAX
        || text.as_bytes().contains(&SOH)
    {
        return Err(RuleError::ValueBytes(key.to_string()));
    }
    Ok(text.as_bytes().into())
}

/// The tag of a key `PascalCase<TagNumber>`: `^[A-Z][A-Za-z]*[1-9][0-9]{0,8}$`.
fn parse_key(key: &str) -> Result<Tag, RuleError> {
    let refuse = || RuleError::KeyForm(key.to_string());
    let bytes = key.as_bytes();
    let letters = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let upper = bytes.first().is_some_and(u8::is_ascii_uppercase);
    if !upper || key.len() > limits::FIELD_KEY_BYTES_MAX {
        return Err(refuse());
    }
    bytes.get(letters..).and_then(Tag::parse).ok_or_else(refuse)
}

/// What is wrong with a route by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// A key that is not `PascalCase<TagNumber>`.
    KeyForm(String),
    /// Two keys of one tag number.
    SameTag {
        /// One key.
        first: String,
        /// The other.
        second: String,
    },
    /// More than [`limits::ROUTE_FIELDS_MAX`] fields.
    TooManyFields,
    /// `BodyLength`, `CheckSum` or `MsgType`.
    NotMatchable(String),
    /// A tag that carries secrets.
    SecretTag(String),
    /// Neither or both of `value` and `pattern`.
    ValueOrPattern(String),
    /// A pattern that is neither `*` nor `PREFIX*`.
    PatternForm(String),
    /// A value or prefix that is empty, too long, or holds an SOH.
    ValueBytes(String),
    /// A `BeginString` that does not begin with `FIX`.
    BeginString(String),
    /// An entry of `sourceRanges` that is none, and its place in the list.
    SourceRange(usize, RangeError),
    /// A range that stands in the list twice, and the place of the second.
    SameRange(usize, SourceRange),
    /// `sourceRanges` without an entry.
    EmptyRanges,
    /// More than [`limits::ROUTE_RANGES_MAX`] ranges.
    TooManyRanges,
    /// Neither `matchFields` nor `sourceRanges` nor `default: true`.
    NoCondition,
    /// `default: true` beside `matchFields`.
    DefaultWithFields,
    /// A default route without `priority`.
    DefaultNeedsPriority,
    /// A pattern without `priority`.
    WildcardNeedsPriority,
    /// Source ranges alone without `priority`.
    RangesNeedPriority,
    /// `priority` on a route of values only.
    PriorityOnExact,
}

impl RuleError {
    /// Stable name.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::KeyForm(_) => "key_form",
            Self::SameTag { .. } => "same_tag",
            Self::TooManyFields => "too_many_fields",
            Self::NotMatchable(_) => "not_matchable",
            Self::SecretTag(_) => "secret_tag",
            Self::ValueOrPattern(_) => "value_or_pattern",
            Self::PatternForm(_) => "pattern_form",
            Self::ValueBytes(_) => "value_bytes",
            Self::BeginString(_) => "begin_string",
            Self::SourceRange(_, error) => error.label(),
            Self::SameRange(..) => "same_range",
            Self::EmptyRanges => "empty_ranges",
            Self::TooManyRanges => "too_many_ranges",
            Self::NoCondition => "no_condition",
            Self::DefaultWithFields => "default_with_fields",
            Self::DefaultNeedsPriority => "default_needs_priority",
            Self::WildcardNeedsPriority => "wildcard_needs_priority",
            Self::RangesNeedPriority => "ranges_need_priority",
            Self::PriorityOnExact => "priority_on_exact",
        }
    }

    /// The field of the object that is wrong, from its root.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::KeyForm(key)
            | Self::NotMatchable(key)
            | Self::SecretTag(key)
            | Self::ValueOrPattern(key) => {
                format!("spec.matchFields.{key}")
            }
            Self::SameTag { second, .. } => format!("spec.matchFields.{second}"),
            Self::PatternForm(key) => format!("spec.matchFields.{key}.pattern"),
            Self::ValueBytes(key) | Self::BeginString(key) => format!("spec.matchFields.{key}"),
            Self::TooManyFields | Self::NoCondition => "spec.matchFields".to_string(),
            Self::SourceRange(index, _) | Self::SameRange(index, _) => {
                format!("spec.sourceRanges[{index}]")
            }
            Self::EmptyRanges | Self::TooManyRanges => "spec.sourceRanges".to_string(),
            Self::DefaultWithFields => "spec.default".to_string(),
            Self::DefaultNeedsPriority
            | Self::WildcardNeedsPriority
            | Self::RangesNeedPriority
            | Self::PriorityOnExact => "spec.priority".to_string(),
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyForm(_) => f.write_str(
                "a key is a name in PascalCase followed by the tag number, as in `SenderCompID49`",
            ),
            Self::SameTag { first, second } => {
                write!(f, "`{first}` and `{second}` are the same tag; keep one")
            }
            Self::TooManyFields => write!(f, "more than {} fields; leave out those that decide nothing", limits::ROUTE_FIELDS_MAX),
            Self::NotMatchable(_) => f.write_str("tags 9, 10 and 35 cannot be matched"),
            Self::SecretTag(_) => f.write_str("a tag that carries secrets cannot be matched"),
            Self::ValueOrPattern(_) => f.write_str("give exactly one of `value` and `pattern`"),
            Self::PatternForm(_) => f.write_str(
                "a pattern is `*` (present) or a prefix followed by `*`; for anything else use `value`",
            ),
            Self::ValueBytes(_) => write!(
                f,
                "a value or prefix has 1 to {} bytes and no SOH",
                limits::RULE_VALUE_BYTES_MAX
            ),
            Self::BeginString(_) => f.write_str("tag 8 always begins with `FIX`, so what is matched must too"),
            Self::SourceRange(_, error) => error.fmt(f),
            Self::SameRange(_, range) => write!(f, "`{range}` stands in the list twice; keep one"),
            Self::EmptyRanges => f.write_str(
                "no range is listed, so nobody would match; leave `sourceRanges` out to match from anywhere",
            ),
            Self::TooManyRanges => write!(f, "more than {} ranges; split the route", limits::ROUTE_RANGES_MAX),
            Self::NoCondition => f.write_str(
                "give `matchFields`, `sourceRanges`, or `default: true` for a default route",
            ),
            Self::DefaultWithFields => f.write_str("a default route matches every Logon; drop `default` or the fields"),
            Self::DefaultNeedsPriority => f.write_str("a default route needs a `priority`"),
            Self::WildcardNeedsPriority => f.write_str("a route with a pattern needs a `priority`"),
            Self::RangesNeedPriority => f.write_str("a route of source ranges alone needs a `priority`"),
            Self::PriorityOnExact => f.write_str(
                "a route of values only is ranked by its number of fields; drop `priority`",
            ),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Short ways to write rules in tests.
    use super::*;

    /// `("SenderCompID49", "A")` is a value, `"A*"` a pattern.
    pub(crate) fn spec(name: &str, fields: &[(&str, &str)], priority: Option<i32>) -> RuleSpec {
        RuleSpec {
            name: RouteName {
                namespace: "t".to_string(),
                name: name.to_string(),
            },
            match_fields: fields
                .iter()
                .map(|(key, text)| {
                    let pattern = text.ends_with('*').then(|| (*text).to_string());
                    let value = (!text.ends_with('*')).then(|| (*text).to_string());
                    (
                        (*key).to_string(),
                        FieldSpec {
                            value,
                            pattern,
                            ..FieldSpec::default()
                        },
                    )
                })
                .collect(),
            source_ranges: None,
            default: fields.is_empty(),
            priority,
            target: Target::service("t", name, 9876),
            hold: Hold::default(),
        }
    }

    impl RuleSpec {
        /// The same from these addresses only, and no default route.
        pub(crate) fn from(mut self, ranges: &[&str]) -> Self {
            self.source_ranges = Some(ranges.iter().map(ToString::to_string).collect());
            self.default = false;
            self
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::testing::spec;
    use super::*;

    fn labels(spec: RuleSpec) -> Vec<&'static str> {
        Rule::new(spec).map_or_else(
            |errors| errors.iter().map(RuleError::label).collect(),
            |_| Vec::new(),
        )
    }

    #[test]
    fn exact_outranks_wildcard_outranks_default() {
        let exact = Rule::new(spec("a", &[("SenderCompID49", "A")], None)).unwrap();
        let wild = Rule::new(spec("b", &[("SenderCompID49", "A*")], Some(i32::MAX))).unwrap();
        let default = Rule::new(spec("c", &[], Some(i32::MAX))).unwrap();
        assert!(exact.rank() > wild.rank() && wild.rank() > default.rank());
        let three = Rule::new(spec("d", &[("A1", "x"), ("B2", "x"), ("C3", "x")], None)).unwrap();
        assert!(three.rank() > exact.rank());
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let cases: &[(RuleSpec, &str)] = &[
            (spec("a", &[("senderCompID49", "A")], None), "key_form"),
            (spec("a", &[("Sender049", "A")], None), "key_form"),
            (spec("a", &[("Sender4294967345", "A")], None), "key_form"),
            (spec("a", &[("Sender", "A")], None), "key_form"),
            (spec("a", &[("A49", "A"), ("B49", "B")], None), "same_tag"),
            (spec("a", &[("MsgType35", "A")], None), "not_matchable"),
            (spec("a", &[("Password554", "A")], None), "secret_tag"),
            (spec("a", &[("RawData96", "A")], None), "secret_tag"),
            (spec("a", &[("SenderCompID49", "")], None), "value_bytes"),
            (
                spec("a", &[("SenderCompID49", "A\u{1}")], None),
                "value_bytes",
            ),
            (
                spec("a", &[("SenderCompID49", "A*B*")], Some(1)),
                "pattern_form",
            ),
            (spec("a", &[("BeginString8", "FIX*")], Some(1)), ""),
            (spec("a", &[("BeginString8", "*")], Some(1)), "begin_string"),
            (
                spec("a", &[("SenderCompID49", "A*")], None),
                "wildcard_needs_priority",
            ),
            (
                spec("a", &[("SenderCompID49", "A")], Some(1)),
                "priority_on_exact",
            ),
            (spec("a", &[], None), "default_needs_priority"),
        ];
        for (spec, wanted) in cases {
            let found = labels(spec.clone());
            let wanted: Vec<&str> = if wanted.is_empty() {
                Vec::new()
            } else {
                alloc::vec![*wanted]
            };
            assert_eq!(found, wanted, "{spec:?}");
        }
    }

    #[test]
    fn source_ranges_alone_are_a_wildcard_and_beside_fields_or_default_change_no_class() {
        let class = |spec| Rule::new(spec).unwrap().rank().class;
        let field = [("SenderCompID49", "A")];
        assert_eq!(
            class(spec("a", &[], Some(1)).from(&["10.0.0.0/8"])),
            Class::Wildcard
        );
        assert_eq!(
            class(spec("a", &field, None).from(&["10.0.0.0/8"])),
            Class::Exact
        );
        let default = RuleSpec {
            default: true,
            ..spec("a", &[], Some(1)).from(&["10.0.0.0/8"])
        };
        assert_eq!(class(default), Class::Default);
        let rule = Rule::new(spec("a", &field, None).from(&["10.1.0.0/16", "::/0", "10.0.0.0/8"]));
        let ranges: Vec<String> = rule
            .unwrap()
            .source_ranges()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(ranges, ["::/0", "10.0.0.0/8", "10.1.0.0/16"]);
    }

    #[test]
    fn each_fault_of_a_source_range_is_told_with_its_place_in_the_list() {
        let faults = |ranges: &[&str], priority| {
            let errors = Rule::new(spec("a", &[], priority).from(ranges)).unwrap_err();
            errors
                .iter()
                .map(|error| format!("{} {}", error.path(), error.label()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            faults(
                &[
                    "10.0.0.0/8",
                    "10.0.0.1/8",
                    "::ffff:10.0.0.0/104",
                    "10.0.0.0/8",
                    "all"
                ],
                Some(1)
            ),
            [
                "spec.sourceRanges[1] range_host_bits",
                "spec.sourceRanges[2] range_ipv4_as_ipv6",
                "spec.sourceRanges[3] same_range",
                "spec.sourceRanges[4] range_form",
            ]
        );
        assert_eq!(faults(&[], Some(1)), ["spec.sourceRanges empty_ranges"]);
        assert_eq!(
            faults(&["10.0.0.0/8"; 65], Some(1)),
            ["spec.sourceRanges too_many_ranges"]
        );
        assert_eq!(
            faults(&["10.0.0.0/8"], None),
            ["spec.priority ranges_need_priority"]
        );
    }

    #[test]
    fn a_value_is_equal_and_a_prefix_may_be_all_of_it() {
        let holds = |text: &str, value: &[u8]| {
            let rule = Rule::new(spec(
                "r",
                &[("SenderCompID49", text)],
                text.ends_with('*').then_some(1),
            ));
            rule.unwrap()
                .fields()
                .first()
                .unwrap()
                .condition
                .holds(value)
        };
        assert!(
            holds("AB", b"AB") && holds("AB*", b"AB") && holds("AB*", b"ABC") && holds("*", b"A")
        );
        for other in [&b"A"[..], b"ABC", b"ab", b"AC"] {
            assert!(!holds("AB", other), "{other:?}");
        }
        assert!(!holds("AB*", b"A") && !holds("AB*", b"XAB"));
    }

    #[test]
    fn an_empty_value_counts_as_absent_for_every_condition() {
        for condition in [
            Condition::Present,
            Condition::Prefix(b"A".as_slice().into()),
        ] {
            assert!(!condition.holds(b""));
            assert!(condition.holds(b"A"));
        }
    }
}
