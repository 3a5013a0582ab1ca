//! What does a YAML text say, and where does it say it? A tree whose every node knows its line and column, and typed
//! values out of it whose errors name the field and the place.
//!
//! A library reads the YAML; this module keeps the places that typed reading loses. Never interprets more than YAML
//! itself does: an unquoted `123` is a number and is never quietly made a text, because a cluster would not do so.
//!
//! INVARIANT: no error holds a text of the input that is a value; it may be one that must not be shown.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

use crate::world::Places;

/// Nested collections. A FIXSession has five; deeper is an attack or an accident.
pub const DEPTH_MAX: usize = 64;
/// Documents of one file: one file may hold a whole large installation.
pub const DOCUMENTS_MAX: usize = 200_000;
/// Nodes of one file: twenty for each of [`DOCUMENTS_MAX`] objects.
pub const NODES_MAX: usize = 4_000_000;
/// Uses of an anchor in one file. Aliases are for people, who do not write more.
pub const ALIASES_MAX: usize = 10_000;

/// Line and column, from 1; columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// What is wrong in a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub place: Place,
    /// The field, from the object's root; empty for the text or object as a whole.
    pub path: String,
    /// What.
    pub what: String,
}

/// A piece of YAML.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a piece of YAML is.
#[derive(Clone, Debug)]
pub enum Value {
    /// Empty, `~` or `null`.
    Null,
    /// `true`, and what YAML 1.1 takes for one (`yes`, `NO`, `on`).
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// `- a`
    List(Vec<Node>),
    /// `a: b`
    Map(Vec<(Node, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Self {
            place: Place {
                line: narrow(spanned.referenced.line()),
                column: narrow(spanned.referenced.column()),
            },
            value: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

/// The documents of a text. Empty ones are left out.
///
/// # Errors
/// The first thing that is not YAML, or a bound.
pub fn documents(text: &str) -> Result<Vec<Node>, Wrong> {
    let options = serde_saphyr::options! {
        // Two keys of one name are told apart in `duplicate_keys`, object by object, with both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
        emit_comments: false,
        budget: serde_saphyr::budget! {
            max_documents: DOCUMENTS_MAX,
            max_nodes: NODES_MAX,
            max_events: 2 * NODES_MAX,
            max_aliases: ALIASES_MAX,
            max_depth: DEPTH_MAX,
        },
    };
    serde_saphyr::from_multiple_with_options::<Node>(text, options).map_err(|error| wrong(&error))
}

fn wrong(error: &serde_saphyr::Error) -> Wrong {
    let place = error.location().map_or(Place::default(), |at| Place {
        line: u32::try_from(at.line()).unwrap_or(u32::MAX),
        column: u32::try_from(at.column()).unwrap_or(u32::MAX),
    });
    let bound = |what: &str, max: usize| format!("has more than {max} {what}; split the file");
    let what = match error.without_snippet() {
        serde_saphyr::Error::Budget { breach, .. } => match breach {
            BudgetBreach::Documents { .. } => bound("documents", DOCUMENTS_MAX),
            BudgetBreach::Aliases { .. } => bound("uses of an anchor", ALIASES_MAX),
            BudgetBreach::Depth { .. } => {
                format!("is nested deeper than {DEPTH_MAX}; check the indentation")
            }
            BudgetBreach::RecordedAnchorEvents { .. }
            | BudgetBreach::RecordedAnchorBytes { .. } => {
                "its anchors unfold to more than is read; write out what they stand for".to_owned()
            }
            _ => bound("values", NODES_MAX),
        },
        plain => UserMessageFormatter
            .format_message(plain)
            .escape_debug()
            .to_string(),
    };
    Wrong {
        place,
        path: String::new(),
        what,
    }
}

impl Node {
    /// The value of a key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let named = |(name, _): &&(Self, Self)| name.text() == Some(key);
        entries.iter().find(named).map(|(_, value)| value)
    }

    /// The text, if this is one.
    #[must_use]
    pub const fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Keys that stand twice in one map, and keys that are no text.
    #[must_use]
    pub fn bad_keys(&self) -> Vec<Wrong> {
        let mut found = Vec::new();
        self.walk(String::new(), &mut |path, node| {
            let Value::Map(entries) = &node.value else {
                return;
            };
            let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
            for (key, _) in entries {
                let Some(name) = key.text() else {
                    found.push(Wrong {
                        place: key.place,
                        path: path.to_owned(),
                        what: "has a key that is no text; put the key in quotes".to_owned(),
                    });
                    continue;
                };
                if let Some(first) = seen.insert(name, key.place) {
                    found.push(Wrong {
                        place: key.place,
                        path: join(path, name),
                        what: format!(
                            "is written twice, first at line {}; keep one of the two",
                            first.line
                        ),
                    });
                }
            }
        });
        found
    }

    /// Where this field and each one below stands, by its path.
    #[must_use]
    pub fn places_below(&self, path: &str) -> Places {
        let mut places = Places::default();
        self.walk(path.to_owned(), &mut |path, node| {
            places.insert(path, node.place.line, node.place.column);
        });
        places
    }

    /// Calls for this node and every one below. Its depth is bounded by [`DEPTH_MAX`].
    fn walk<'n>(&'n self, path: String, visit: &mut impl FnMut(&str, &'n Self)) {
        visit(&path, self);
        match &self.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    value.walk(join(&path, key.text().unwrap_or("?")), visit);
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.walk(format!("{path}[{index}]"), visit);
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }

    /// A typed value.
    ///
    /// # Errors
    /// The first thing that does not fit the type, with the field's path and place.
    pub fn parse<'n, T: Deserialize<'n>>(&'n self) -> Result<T, Wrong> {
        T::deserialize(Reader { node: self }).map_err(|error| {
            let place = error.place.unwrap_or(self.place);
            Wrong {
                place,
                path: error.path,
                what: error.what,
            }
        })
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Int(value) => {
                i64::try_from(*value).map_or(Unexpected::Other("a number"), Unexpected::Signed)
            }
            Value::Float(value) => Unexpected::Float(*value),
            Value::Text(text) => Unexpected::Str(text),
            Value::List(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// An error on its way up from the node that it is about.
#[derive(Debug)]
struct ReadError {
    place: Option<Place>,
    path: String,
    what: String,
}

impl ReadError {
    fn within(mut self, place: Place, name: &str) -> Self {
        self.place = self.place.or(Some(place));
        self.path = match (self.path.is_empty(), self.path.starts_with('[')) {
            (true, _) => name.to_owned(),
            (false, true) => format!("{name}{}", self.path),
            (false, false) => format!("{name}.{}", self.path),
        };
        self
    }

    fn at(mut self, place: Place) -> Self {
        self.place = self.place.or(Some(place));
        self
    }

    const fn plain(what: String) -> Self {
        Self {
            place: None,
            path: String::new(),
            what,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::plain(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::plain(unfit(found, &wanted.to_string()))
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::plain(unfit(found, &wanted.to_string()))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        // Which field it is, the path says.
        let advice = nearest(field, known).map_or_else(
            || format!("known here are {}", list(known)),
            |near| format!("did you mean `{near}`?"),
        );
        Self::plain(format!("there is no such field; {advice}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            place: None,
            path: field.to_owned(),
            what: "is missing; write it".to_owned(),
        }
    }
}

fn unfit(found: Unexpected<'_>, wanted: &str) -> String {
    let whole = matches!(
        wanted,
        "u16" | "u32" | "u64" | "i32" | "i64" | "a 32-bit integer"
    );
    let wanted_text = match wanted {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "i32" | "a 32-bit integer" => "a whole number from -2147483648 to 2147483647",
        "u64" | "i64" => "a whole number",
        "a string" | "string" => "text",
        "a boolean" | "bool" => "`true` or `false`",
        "a sequence" => "a list (`- …`)",
        "a map" => "a map (`key: value`)",
        other if other.starts_with("struct ") => "a map (`key: value`)",
        // Types of the Kubernetes API call themselves by name.
        other => other,
    };
    let found_text = match found {
        Unexpected::Unit | Unexpected::Option => "it is empty".to_owned(),
        Unexpected::Signed(number) if whole => format!("it is {number}"),
        Unexpected::Unsigned(number) if whole => format!("it is {number}"),
        Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_) => {
            "it is a number".to_owned()
        }
        Unexpected::Bool(_) => {
            "it is `true` or `false` (as `yes`, `no`, `on` and `off` are in YAML)".to_owned()
        }
        Unexpected::Seq => "it is a list".to_owned(),
        Unexpected::Map => "it is a map".to_owned(),
        Unexpected::Str(_) | Unexpected::Char(_) => "it is text".to_owned(),
        _ => "it is something else".to_owned(),
    };
    let scalar = matches!(
        found,
        Unexpected::Bool(_)
            | Unexpected::Signed(_)
            | Unexpected::Unsigned(_)
            | Unexpected::Float(_)
            | Unexpected::Other(_)
    );
    let advice = if scalar && wanted_text == "text" {
        ": put it in quotes"
    } else {
        ""
    };
    format!("wants {wanted_text}, and {found_text}{advice}")
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// The name that was probably meant: the same but for case, or one or two letters away.
#[must_use]
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    /// Longer names are not compared.
    const NAME_BYTES_MAX: usize = 64;
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let lower = name.to_lowercase();
    known
        .iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, drop or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, left) in a.chars().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        let mut next = vec![before];
        for (right, above) in b.iter().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(left != *right))
                .min(above + 1)
                .min(before + 1);
            diagonal = *above;
            before = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// Gives a node to serde.
#[derive(Clone, Copy)]
struct Reader<'de> {
    node: &'de Node,
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(number), _) => visitor.visit_i64(number),
                (_, Ok(number)) => visitor.visit_u64(number),
                (Err(_), Err(_)) => visitor.visit_i128(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
            }),
            Value::Map(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                pending: None,
            }),
        };
        result.map_err(|error| error.at(self.node.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            _ => {
                Err(ReadError::plain(unfit(self.node.unexpected(), "a string")).at(self.node.place))
            }
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

struct Items<'de> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(Reader { node })
            .map(Some)
            .map_err(|error| error.within(node.place, &format!("[{index}]")))
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, (Node, Node)>,
    pending: Option<(&'de str, &'de Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        // `bad_keys` has refused what is no text before.
        let name = key.text().unwrap_or_default();
        self.pending = Some((name, value));
        let reader: StrDeserializer<'_, ReadError> = name.into_deserializer();
        seed.deserialize(reader)
            .map(Some)
            .map_err(|error| error.within(key.place, name))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((name, node)) = self.pending.take() else {
            return Err(ReadError::plain("has a key without a value".to_owned()));
        };
        seed.deserialize(Reader { node })
            .map_err(|error| error.within(node.place, name))
    }
}
