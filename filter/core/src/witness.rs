//! Which Logon shows it? The proof of a conflict, and of a Logon that goes elsewhere: its bytes for the wire, and as it may be
//! shown.
//!
//! INVARIANT: what is shown has passed [`crate::redact`] by what the routes that ask for it say, unless it is revealed.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::overlap::{Generic, field_of};
use crate::redact::{self, Disclosure, FieldValue};
use crate::rule::{RouteName, Rule};
use crate::wire::{SOH, Tag};

/// A Logon, and where it comes from. Shown with what the routes that ask for its fields let be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Witness {
    fields: Vec<WitnessField>,
    source: Option<IpAddr>,
}

#[derive(Clone, PartialEq, Eq)]
struct WitnessField {
    tag: Tag,
    value: Vec<u8>,
    disclosure: Disclosure,
    /// As the route that shows it least calls it.
    label: Option<String>,
    /// The routes that ask for it, or of those the ones that hide it.
    of: Vec<RouteName>,
}

/// What may be shown of each tag: of all routes, whoever hides it most is heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disclosures(BTreeMap<Tag, Disclosure>);

impl Disclosures {
    pub(crate) fn of_all<'r>(rules: impl Iterator<Item = &'r Rule>) -> Self {
        let mut all = BTreeMap::new();
        for field in rules.flat_map(Rule::fields) {
            let strictest: &mut Disclosure = all.entry(field.tag).or_default();
            *strictest = field.disclosure.max(*strictest);
        }
        Self(all)
    }

    pub(crate) fn of(&self, tag: Tag) -> Disclosure {
        self.0.get(&tag).copied().unwrap_or_default()
    }
}

/// A field of a witness as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownField {
    /// Tag and value; `None`: it is hidden.
    pub field: Option<(Tag, String)>,
    /// The key that a route asks for it by; none for what no route asks for.
    pub label: Option<String>,
    /// The routes that ask for it, or of those the ones that hide it.
    pub of: Vec<RouteName>,
}

impl Witness {
    /// The generic Logon of these routes. `policy` says what any route lets be shown of a tag.
    pub(crate) fn new(
        of: &[&Rule],
        generic: Generic,
        source: Option<IpAddr>,
        policy: &Disclosures,
    ) -> Self {
        let fields = generic.into_iter().map(|(tag, value)| {
            let asking = of
                .iter()
                .filter_map(|rule| Some((rule, field_of(rule, tag)?)));
            // Whoever hides it most is heard.
            let strictest = asking.clone().max_by_key(|(_, field)| field.disclosure);
            let own = strictest.map_or(Disclosure::Shown, |(_, field)| field.disclosure);
            let disclosure = policy.of(tag);
            let named = asking.filter(|(_, field)| {
                own != Disclosure::Hidden || field.disclosure == Disclosure::Hidden
            });
            let mut names: Vec<RouteName> = named.map(|(rule, _)| rule.name().clone()).collect();
            // A route before and after a change is one.
            names.dedup();
            WitnessField {
                tag,
                value,
                disclosure,
                label: strictest.map(|(_, field)| field.label.clone()),
                of: names,
            }
        });
        Self {
            fields: fields.collect(),
            source,
        }
    }

    /// Its bytes, with all values. They are for the wire, and for who may read the routes anyway.
    #[must_use]
    pub fn logon(&self) -> Vec<u8> {
        let (begin, rest): (Vec<_>, Vec<_>) = self
            .fields
            .iter()
            .partition(|field| field.tag == Tag::BEGIN_STRING);
        let mut body = b"35=A\x01".to_vec();
        for field in rest {
            write_field(&mut body, field.tag.get(), &field.value);
        }
        let mut message = Vec::new();
        let version = begin.first().map_or(&b"FIX.4.4"[..], |field| &field.value);
        write_field(&mut message, 8, version);
        framed(message, &body)
    }

    /// Where it comes from; `None`: anywhere.
    #[must_use]
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Number of fields that some route asks for.
    #[must_use]
    pub fn field_count(&self) -> usize {
        self.fields.len()
    }

    /// Its fields, ascending by tag. With `reveal`, for who may read the routes anyway, all values as they are.
    pub fn fields(&self, reveal: bool) -> impl Iterator<Item = ShownField> {
        self.fields.iter().map(move |field| {
            let value = FieldValue::new(&field.value);
            // A rule's own text: it has swallowed nothing, so a `=` in it is one.
            let shown = if reveal {
                Some(value.revealed())
            } else {
                value
                    .disclose(field.disclosure)
                    .map(|value| value.to_string())
            };
            let hidden = shown.is_none();
            ShownField {
                field: shown.map(|value| (field.tag, value)),
                label: field.label.clone().filter(|_| !hidden),
                of: field.of.clone(),
            }
        })
    }

    /// Its fields with `|` behind each. With `reveal` it is the whole message, as it can be sent.
    #[must_use]
    pub fn text(&self, reveal: bool) -> String {
        if reveal {
            return redact::revealed(&self.logon());
        }
        // As on the wire: BeginString stands before MsgType.
        let is_begin = |shown: &ShownField| matches!(shown.field, Some((Tag::BEGIN_STRING, _)));
        let (begin, rest): (Vec<ShownField>, Vec<ShownField>) =
            self.fields(false).partition(is_begin);
        let written = |fields: Vec<ShownField>| {
            fields
                .into_iter()
                .filter_map(|shown| match (shown.field, shown.of.first()) {
                    (Some((tag, value)), _) => Some(format!("{}={value}|", tag.get())),
                    (None, Some(route)) => Some(format!("<a hidden field of {route}>|")),
                    (None, None) => None,
                })
        };
        written(begin)
            .chain([String::from("35=A|")])
            .chain(written(rest))
            .collect()
    }
}

/// A message of its BeginString field and its body, each with the SOH behind its last field: BodyLength and CheckSum are
/// computed ("FIX TagValue Encoding Online Specification", BodyLength and CheckSum).
#[must_use]
pub fn framed(begin: Vec<u8>, body: &[u8]) -> Vec<u8> {
    let mut message = begin;
    write_field(&mut message, 9, format!("{}", body.len()).as_bytes());
    message.extend(body);
    let sum = message
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    write_field(&mut message, 10, format!("{sum:03}").as_bytes());
    message
}

fn write_field(message: &mut Vec<u8>, tag: u32, value: &[u8]) {
    message.extend(format!("{tag}=").as_bytes());
    message.extend(value);
    message.push(SOH);
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(false))?;
        match self.source {
            Some(source) => write!(f, " from {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({self})")
    }
}
