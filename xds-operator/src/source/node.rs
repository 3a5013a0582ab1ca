//! What does a YAML text say, and where does it say it? A tree whose every node knows its line and column, and typed
//! values out of it whose errors name the field and the place.
//!
//! A library splits the text into events; this module keeps the places that typed reading loses. It works without
//! recursion on input, and never interprets more than YAML itself does: an unquoted `123` is a number and is never
//! quietly made a text, because a cluster would not do so either.
//!
//! INVARIANT: no error holds a text of the input that is a value; it may be one that must not be shown.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_saphyr::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::world::Places;

/// Nested collections. A FIXSession has five; deeper is an attack or an accident.
pub const DEPTH_MAX: usize = 64;
/// Documents of one file: one file may hold a whole large installation.
pub const DOCUMENTS_MAX: usize = 200_000;
/// Nodes of one file: twenty for each of [`DOCUMENTS_MAX`] objects.
pub const NODES_MAX: usize = 4_000_000;
/// Uses of an anchor in one file. Aliases are for people, who do not write more.
pub const ALIASES_MAX: usize = 10_000;

/// Values that the anchors of one file unfold to.
pub const UNFOLDED_MAX: usize = 100_000;
/// Bytes of a field's path; a longer one is cut there. A route's own have a tenth of it: keys of `matchFields` have 64 bytes.
/// Without the bound, a key that is as long as the file would be copied for each value below it.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Keys of one object that are told of one by one; the others are counted.
pub const BAD_KEYS_MAX: usize = 16;

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

/// The documents of a text. Empty ones are `Null`.
///
/// # Errors
/// The first thing that is not YAML, or a bound.
pub fn documents(text: &str) -> Result<Vec<Node>, Wrong> {
    let options = serde_saphyr::granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| not_yaml(&error))?;
        builder.event(event, place_of(&span))?;
    }
    Ok(builder.documents)
}

fn place_of(span: &Span) -> Place {
    place_at(span.start.line(), span.start.col())
}

/// The library counts columns from 0.
fn place_at(line: usize, column: usize) -> Place {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place {
        line: narrow(line),
        column: narrow(column).saturating_add(1),
    }
}

fn not_yaml(error: &ScanError) -> Wrong {
    let what = match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(),
        other => other
            .to_string()
            .chars()
            .filter(|letter| !letter.is_control())
            .collect(),
    };
    Wrong {
        place: place_at(error.marker().line(), error.marker().col()),
        path: String::new(),
        what,
    }
}

fn too_deep() -> String {
    format!("is nested deeper than {DEPTH_MAX}; check the indentation and the brackets")
}

fn too_many(what: &str, max: usize) -> String {
    format!("has more than {max} {what}; split the file")
}

/// A node with what it costs to repeat it.
#[derive(Clone, Debug)]
struct Built {
    node: Node,
    /// Nodes in it, itself included.
    size: usize,
    /// Collections within collections.
    depth: usize,
}

#[derive(Debug)]
enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(Node, Node)>,
        key: Option<Node>,
    },
}

/// A collection that is not complete yet.
#[derive(Debug)]
struct Frame {
    place: Place,
    anchor: usize,
    content: Content,
    size: usize,
    depth: usize,
}

/// Makes trees of events, with a stack of its own.
#[derive(Debug, Default)]
struct Builder {
    documents: Vec<Node>,
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, Built>,
    nodes: usize,
    aliases: usize,
    unfolded: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, place: Place) -> Result<(), Wrong> {
        let outcome = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref());
                self.add(Node { place, value }, anchor, 1, 0)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(place, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                let entries = Vec::new();
                self.open(place, anchor, Content::Map { entries, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(place, anchor),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            // What is no node, or is not asked for.
            _ => Ok(()),
        };
        outcome.map_err(|what| Wrong {
            place,
            path: String::new(),
            what,
        })
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), String> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(too_deep());
        }
        self.stack.push(Frame {
            place,
            anchor,
            content,
            size: 1,
            depth: 1,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        let place = frame.place;
        self.add(Node { place, value }, frame.anchor, frame.size, frame.depth)
    }

    fn alias(&mut self, place: Place, anchor: usize) -> Result<(), String> {
        self.aliases += 1;
        if self.aliases > ALIASES_MAX {
            return Err(too_many("uses of an anchor", ALIASES_MAX));
        }
        let Some(built) = self.anchors.get(&anchor) else {
            return Err("refers to the anchor that it stands in; write it out".to_owned());
        };
        self.unfolded = self.unfolded.saturating_add(built.size);
        if self.unfolded > UNFOLDED_MAX {
            return Err(unfolds());
        }
        if self.stack.len() + built.depth > DEPTH_MAX {
            return Err(too_deep());
        }
        let Built {
            mut node,
            size,
            depth,
        } = built.clone();
        // Where it is used is where a person looks.
        node.place = place;
        self.add(node, 0, size, depth)
    }

    fn add(&mut self, node: Node, anchor: usize, size: usize, depth: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(too_many("values", NODES_MAX));
        }
        if anchor > 0 {
            let node = node.clone();
            // What the anchors keep is bounded as what they unfold to is.
            self.unfolded = self.unfolded.saturating_add(size);
            if self.unfolded > UNFOLDED_MAX {
                return Err(unfolds());
            }
            self.anchors.insert(anchor, Built { node, size, depth });
        }
        let Some(frame) = self.stack.last_mut() else {
            self.documents.push(node);
            return if self.documents.len() > DOCUMENTS_MAX {
                Err(too_many("documents", DOCUMENTS_MAX))
            } else {
                Ok(())
            };
        };
        frame.size = frame.size.saturating_add(size);
        frame.depth = frame.depth.max(depth + 1);
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push((key, node)),
            },
        }
        Ok(())
    }
}

/// What a scalar is. Only a plain one can be anything but text.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let plain =
        style == ScalarStyle::Plain && tag.is_none_or(|tag| !tag.is_yaml_core_schema_tag("str"));
    if !plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        // YAML 1.1, which `kubectl` reads, has all of these.
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Value::Bool(false);
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN"
        | ".NAN" => {
            return Value::Float(f64::NAN);
        }
        _ => {}
    }
    number(text).unwrap_or_else(|| Value::Text(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let first = unsigned.strip_prefix('.').unwrap_or(unsigned);
    if !first.starts_with(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let digits: String = unsigned.chars().filter(|letter| *letter != '_').collect();
    let (radix, magnitude) = match digits.get(..2) {
        Some("0x" | "0X") => (16, digits.get(2..)?),
        Some("0o" | "0O") => (8, digits.get(2..)?),
        Some("0b" | "0B") => (2, digits.get(2..)?),
        // YAML 1.1: a leading zero makes an octal number.
        Some(_)
            if digits.starts_with('0')
                && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) =>
        {
            (8, digits.as_str())
        }
        _ => (10, digits.as_str()),
    };
    // A sign stands before all of it (`-0x1F`), and not where Rust would take one, too (`0x-1F`).
    let signed = magnitude.starts_with(['-', '+']);
    if let (false, Ok(magnitude)) = (signed, i128::from_str_radix(magnitude, radix)) {
        return Some(Value::Int(if text.starts_with('-') {
            -magnitude
        } else {
            magnitude
        }));
    }
    let float = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    // Rust reads every form that YAML has, once the odd letters are out.
    float
        .then(|| digits.parse().ok().map(Value::Float))
        .flatten()
}

fn unfolds() -> String {
    "has anchors that unfold to more than is read; write out what they stand for".to_owned()
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

    /// Keys that stand twice in one map, and keys that are no text. The first [`BAD_KEYS_MAX`], and how many more there are.
    #[must_use]
    pub fn bad_keys(&self) -> Vec<Wrong> {
        let mut found = Vec::new();
        let mut more = 0_usize;
        let mut say = |place: Place, path: &dyn Fn() -> String, what: &dyn Fn() -> String| {
            if found.len() < BAD_KEYS_MAX {
                found.push(Wrong {
                    place,
                    path: path(),
                    what: what(),
                });
            } else {
                more += 1;
            }
        };
        self.walk("", &mut |path, node| {
            let Value::Map(entries) = &node.value else {
                return;
            };
            let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
            for (key, _) in entries {
                if key.text() == Some("<<") {
                    let what = || {
                        "has a merge key (`<<`), which is not read; write the fields out".to_owned()
                    };
                    say(key.place, &|| path.to_owned(), &what);
                    continue;
                }
                let Some(name) = key.text() else {
                    let what = || "has a key that is no text; put the key in quotes".to_owned();
                    say(key.place, &|| path.to_owned(), &what);
                    continue;
                };
                if let Some(first) = seen.insert(name, key.place) {
                    let what = || {
                        format!(
                            "is written twice, first at line {}; keep one of the two",
                            first.line
                        )
                    };
                    say(key.place, &|| join(path, name), &what);
                }
            }
        });
        if more > 0 {
            found.push(Wrong {
                place: self.place,
                path: String::new(),
                what: format!("has {more} more keys that are written twice or are no text"),
            });
        }
        found
    }

    /// Where this field and each one below stands, by its path.
    #[must_use]
    pub fn places_below(&self, path: &str) -> Places {
        let mut places = Places::default();
        self.walk(path, &mut |path, node| {
            places.insert(path, node.place.line, node.place.column);
        });
        places
    }

    /// Calls for this node and every one below. Its depth is bounded by [`DEPTH_MAX`].
    fn walk<'n>(&'n self, path: &str, visit: &mut impl FnMut(&str, &'n Self)) {
        visit(path, self);
        match &self.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    value.walk(&join(path, key.text().unwrap_or("?")), visit);
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.walk(&format!("{path}[{index}]"), visit);
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
    let mut joined = path.to_owned();
    if !path.is_empty() {
        joined.push('.');
    }
    let left = PATH_BYTES_MAX.saturating_sub(joined.len());
    joined.push_str(name.get(..name.floor_char_boundary(left)).unwrap_or(name));
    joined
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
    let number = matches!(found, Unexpected::Signed(_) | Unexpected::Unsigned(_));
    let wanted_text = match wanted {
        "u16" if number => "a whole number from 0 to 65535",
        "u32" if number => "a whole number from 0 to 4294967295",
        "i32" | "a 32-bit integer" if number => "a whole number from -2147483648 to 2147483647",
        _ if whole => "a whole number",
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
        ": put it in quotes, as in `\"…\"`"
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

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read into")]
    struct Inner {
        text: Option<String>,
        #[serde(default)]
        flag: bool,
        port: u16,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only read into")]
    struct Outer {
        list: Vec<Inner>,
    }

    fn outer(text: &str) -> Result<Outer, Wrong> {
        documents(text)?.first().unwrap().parse()
    }

    #[test]
    fn an_error_names_the_field_and_its_place_and_no_value() {
        for (yaml, at, path, what) in [
            (
                "list:\n- port: 1\n- { port: 2, text: 3141 }",
                (3, 20),
                "list[1].text",
                "wants text, and it is a number",
            ),
            (
                "list:\n- { port: 1, text: no }",
                (2, 20),
                "list[0].text",
                "wants text, and it is `true`",
            ),
            (
                "list:\n- { port: 1, text: [hunter2] }",
                (2, 20),
                "list[0].text",
                "wants text, and it is a list",
            ),
            (
                "list:\n- { port: hunter2 }",
                (2, 11),
                "list[0].port",
                "wants a whole number, and it is text",
            ),
            (
                "list:\n- { port: 65536 }",
                (2, 11),
                "list[0].port",
                "from 0 to 65535, and it is 65536",
            ),
            (
                "list:\n- { port: 1, flag: hunter2 }",
                (2, 20),
                "list[0].flag",
                "wants `true` or `false`",
            ),
            (
                "list:\n- { port: 1, pot: 2 }",
                (2, 14),
                "list[0].pot",
                "did you mean `port`?",
            ),
            (
                "list:\n- { port: 1, colour: 2 }",
                (2, 14),
                "list[0].colour",
                "known here are `text`, `flag`, `port`",
            ),
            (
                "list:\n- { text: hunter2 }",
                (2, 3),
                "list[0].port",
                "is missing",
            ),
            ("list: hunter2", (1, 7), "list", "wants a list"),
            ("other: 1", (1, 1), "list", "is missing"),
        ] {
            let wrong = outer(yaml).unwrap_err();
            assert_eq!(
                (wrong.place.line, wrong.place.column),
                at,
                "{yaml}: {wrong:?}"
            );
            assert_eq!(wrong.path, path, "{yaml}");
            assert!(wrong.what.contains(what), "{yaml}: {}", wrong.what);
            assert!(
                !wrong.what.contains("hunter2") && !wrong.what.contains("3141"),
                "{}",
                wrong.what
            );
        }
    }

    #[test]
    fn a_text_that_is_no_yaml_is_told_with_its_place() {
        for (yaml, line) in [
            ("a: b\nc: \"x\n", 2),
            ("a: 1\n b: 2\n", 2),
            ("a: *x\n", 1),
            ("a: [1\nb: 2\n", 2),
        ] {
            let wrong = documents(yaml).unwrap_err();
            assert_eq!(wrong.place.line, line, "{yaml:?}: {}", wrong.what);
            assert!(!wrong.what.is_empty());
        }
    }

    #[test]
    fn documents_that_are_too_much_are_refused_in_plain_words() {
        let many = "- a\n---\n".repeat(DOCUMENTS_MAX + 1);
        assert!(
            documents(&many)
                .unwrap_err()
                .what
                .contains("documents; split the file")
        );
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        assert!(
            documents(&deep)
                .unwrap_err()
                .what
                .contains("nested deeper than")
        );
        assert!(
            documents(&"[".repeat(5_000))
                .unwrap_err()
                .what
                .contains("nested deeper than")
        );
        let bomb = (b'b'..b'j').fold("a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned(), |bomb, letter| {
            let (this, before) = (letter as char, (letter - 1) as char);
            bomb + &format!(
                "{this}: &{this} [{}]\n",
                vec![format!("*{before}"); 9].join(",")
            )
        });
        assert!(documents(&bomb).unwrap_err().what.contains("unfold"));
    }

    #[test]
    fn keys_that_stand_twice_are_found_wherever_they_are() {
        let nodes = documents("a: { b: 1, c: 2, b: 3 }\nd:\n- e: 1\n  e: 2\n7: x\n").unwrap();
        let wrongs = nodes[0].bad_keys();
        let found: Vec<(&str, u32, u32)> = wrongs
            .iter()
            .map(|wrong| (wrong.path.as_str(), wrong.place.line, wrong.place.column))
            .collect();
        assert_eq!(found, [("", 5, 1), ("a.b", 1, 18), ("d[0].e", 4, 3)]);
    }

    #[test]
    fn a_key_as_long_as_its_file_is_not_copied_for_each_value_below_it() {
        let long = "\u{e9}".repeat(500_000);
        let values = "x,".repeat(50_000);
        let nodes = documents(&format!("? \"{long}\"\n: [{values}{{ 1: 2 }}]\n")).unwrap();
        let wrongs = nodes[0].bad_keys();
        assert_eq!(wrongs.len(), 1);
        assert!(wrongs[0].path.starts_with("\u{e9}") && wrongs[0].path.ends_with("[50000]"));
        assert!(wrongs[0].path.len() < PATH_BYTES_MAX + 16);
    }

    #[test]
    fn of_many_bad_keys_some_are_told_and_the_others_counted() {
        let nodes = documents(&format!("a: {{ {} }}\n", "1: x, ".repeat(100))).unwrap();
        let wrongs = nodes[0].bad_keys();
        assert_eq!(wrongs.len(), BAD_KEYS_MAX + 1);
        assert!(wrongs[BAD_KEYS_MAX].what.starts_with("has 84 more keys"));
    }

    #[test]
    fn plain_scalars_are_what_a_cluster_takes_them_for() {
        for (text, wanted) in [
            ("abc", "text"),
            ("\"123\"", "text"),
            ("'no'", "text"),
            ("!!str 12", "text"),
            ("|\n  12", "text"),
            ("2001-01-01", "text"),
            ("1.2.3", "text"),
            ("FIX.4.2", "text"),
            ("0x", "text"),
            ("12a", "text"),
            ("-", "list"),
            ("+a", "text"),
            ("1e", "text"),
            ("0x-5", "text"),
            ("-0x+5", "text"),
            ("-0x-80000000000000000000000000000000", "text"),
            ("10.0.0.1", "text"),
            (".x", "text"),
            ("", "null"),
            ("~", "null"),
            ("Null", "null"),
            ("NO", "bool"),
            ("y", "bool"),
            ("Off", "bool"),
            ("TRUE", "bool"),
            ("123", "int"),
            ("-5", "int"),
            ("0x1F", "int"),
            ("0b11", "int"),
            ("1_000", "int"),
            ("+7", "int"),
            ("4.2", "float"),
            ("08", "int"),
            ("1e3", "float"),
            (".5", "float"),
            (".nan", "float"),
            ("-.inf", "float"),
        ] {
            let nodes = documents(&format!("a: {text}\n"))
                .or_else(|_| documents(&format!("a:\n  {text}\n")))
                .unwrap();
            let found = match nodes[0].get("a").unwrap().value {
                Value::Null => "null",
                Value::Bool(_) => "bool",
                Value::Int(_) => "int",
                Value::Float(_) => "float",
                Value::Text(_) => "text",
                Value::List(_) => "list",
                Value::Map(_) => "map",
            };
            assert_eq!(found, wanted, "{text}");
        }
        let octal = documents("010").unwrap();
        assert!(matches!(octal[0].value, Value::Int(8)));
    }

    #[test]
    fn anchors_stand_for_what_they_name_at_the_place_of_their_use() {
        let nodes = documents("a: &x { b: 1 }\nc: *x\n---\nd: 2\n").unwrap();
        let c = nodes[0].get("c").unwrap();
        assert_eq!((c.place.line, c.place.column), (2, 4));
        assert!(matches!(c.get("b").unwrap().value, Value::Int(1)));
        assert!(
            documents("a: &x [*x]\n")
                .unwrap_err()
                .what
                .contains("stands in")
        );
        assert!(documents("a: &x 1\n---\nb: *x\n").is_err());
        let deeper = (0..DEPTH_MAX).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
            text + &format!("a{}: &a{} [*a{n}]\n", n + 1, n + 1)
        });
        assert!(
            documents(&deeper)
                .unwrap_err()
                .what
                .contains("nested deeper")
        );
    }

    #[test]
    fn the_nearest_name_is_a_slip_away_and_no_more() {
        assert_eq!(
            nearest("prioritty", &["priority", "target"]),
            Some("priority")
        );
        assert_eq!(nearest("FixSession", &["FIXSession"]), Some("FIXSession"));
        assert_eq!(nearest("Deployment", &["FIXSession"]), None);
        assert_eq!(nearest("x", &["a"]), None);
        assert_eq!(nearest(&"p".repeat(1_000), &["p"]), None);
    }
}
