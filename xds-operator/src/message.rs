//! What is said to the people who run the gateway?
//!
//! A message is data: where, how bad, which object, which field, what, and what to do about it. One renderer makes a
//! line of it. [`Standing`] says each thing once, when it begins, and once more when it is over.
//!
//! INVARIANT: no text of a message holds a value or a pattern of `matchFields`, for either may be redacted; but for the witness
//! of a conflict, which the core writes with what its routes let be shown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use fixgw_core::decision::Severity;
use fixgw_core::witness::Witness;
use serde::{Deserialize, Serialize};

/// Messages that stand at once. Beyond it only their number is told, so that a directory gone wrong in ten thousand
/// places does not bury its first line.
pub const MESSAGES_MAX: usize = 1_000;

/// Characters of each part of a message.
pub const TEXT_CHARS_MAX: usize = 1_024;

/// Where something was written: lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// As the person gave it: the directory, and the file in it.
    pub file: Arc<str>,
    /// Line; 0 means the file as a whole.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Origin {
    /// A file as a whole.
    #[must_use]
    pub const fn file(file: Arc<str>) -> Self {
        Self {
            file,
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}", self.file)
        } else {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        }
    }
}

/// What a message is about. The labels are an interface: scripts and SARIF's rules go by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// An object, or a file, that is wrong by itself.
    Invalid,
    /// Two routes that could both be best.
    Conflict,
    /// More of something than its bound.
    Bound,
    /// A target that nobody answers for.
    Target,
    /// A route that can never be chosen.
    Shadowed,
    /// A hold that outlasts the Logon.
    HoldTimeout,
    /// A condition that is hardly meant as it is written.
    Slip,
    /// A set without a route.
    NoRoute,
    /// Live sessions whose route was deleted, or leads elsewhere.
    Sessions,
    /// What the gateway does.
    Course,
}

impl About {
    /// Stable name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Bound => "bound",
            Self::Target => "target",
            Self::Shadowed => "shadowed",
            Self::HoldTimeout => "hold_timeout",
            Self::Slip => "slip",
            Self::NoRoute => "no_route",
            Self::Sessions => "sessions",
            Self::Course => "course",
        }
    }

    /// In words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Invalid => "An object or a file is wrong by itself.",
            Self::Conflict => "Two routes could both be best for one Logon.",
            Self::Bound => "There is more of something than the gateway takes.",
            Self::Target => "Nobody answers for a route's target.",
            Self::Shadowed => "A route can never be chosen: others take everything before it.",
            Self::HoldTimeout => "A Logon may be held for longer than engines take it.",
            Self::Slip => "A condition is hardly meant as it is written.",
            Self::NoRoute => "The set has no route.",
            Self::Sessions => "Live sessions go on whose route was deleted, or leads elsewhere.",
            Self::Course => "What the gateway does.",
        }
    }
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub about: About,
    /// Where it was written, when it was.
    pub origin: Option<Origin>,
    /// `FIXSession trading/algo`
    pub object: Option<String>,
    /// `spec.target.service.port`
    pub field: Option<String>,
    /// What is the matter.
    pub what: String,
    /// What still works until it is mended; empty where nothing runs.
    pub meanwhile: String,
    /// What to do.
    pub mend: String,
    /// The Logon that proves it, where one does.
    pub witness: Option<Witness>,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        write!(f, "{}: ", self.severity.label())?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.text())
    }
}

impl Message {
    /// What the gateway does: about no object and no place, and nothing to be done about it.
    #[must_use]
    pub fn course(severity: Severity, what: String) -> Self {
        Self {
            severity,
            about: About::Course,
            origin: None,
            object: None,
            field: None,
            what,
            meanwhile: String::new(),
            mend: String::new(),
            witness: None,
        }
    }

    /// What is the matter, what still works, and what to do.
    #[must_use]
    pub fn text(&self) -> String {
        let Self {
            what,
            meanwhile,
            mend,
            ..
        } = self;
        match (meanwhile.is_empty(), mend.is_empty()) {
            (true, true) => what.clone(),
            (true, false) => format!("{what}; {mend}"),
            (false, true) => format!("{what}; {meanwhile}"),
            (false, false) => format!("{what}; {meanwhile}: {mend}"),
        }
    }

    /// Names in it may be anybody's text: they break no line and fill no screen.
    #[must_use]
    pub fn clean(mut self) -> Self {
        let texts = [
            Some(&mut self.what),
            Some(&mut self.meanwhile),
            Some(&mut self.mend),
            self.object.as_mut(),
            self.field.as_mut(),
        ];
        for text in texts.into_iter().flatten() {
            if text.len() > TEXT_CHARS_MAX || text.contains(moves_the_cursor) {
                *text = clean_text(text, TEXT_CHARS_MAX);
            }
        }
        self
    }
}

/// A text that stands in one line, of so many characters at most.
#[must_use]
pub fn clean_text(text: &str, chars_max: usize) -> String {
    let short = text.chars().take(chars_max);
    short
        .map(|letter| {
            if moves_the_cursor(letter) {
                ' '
            } else {
                letter
            }
        })
        .collect()
}

/// Whether a letter does something to the line that it stands in, rather than being seen: control characters, and those that
/// turn the direction of writing.
fn moves_the_cursor(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// The name of a file as it can stand in a line: what would move the cursor is escaped, everything else is as it is.
#[must_use]
pub fn printable(name: &str) -> String {
    let letter = |letter: char| {
        if moves_the_cursor(letter) {
            letter.escape_unicode().to_string()
        } else {
            letter.to_string()
        }
    };
    name.chars().map(letter).collect()
}

/// What identifies a message: where it stands in its file does not, so that a line inserted above repeats nothing.
type Key = (Option<Arc<str>>, Option<String>, Option<String>, String);

fn key(message: &Message) -> Key {
    let file = message.origin.as_ref().map(|origin| origin.file.clone());
    (
        file,
        message.object.clone(),
        message.field.clone(),
        message.what.clone(),
    )
}

/// Whether the first is about the file or directory as a whole that the second is about a part of.
fn hides((whole, object, field, _): &Key, (part, ..): &Key) -> bool {
    let (Some(whole), Some(part), None, None) = (whole, part, object, field) else {
        return false;
    };
    whole == part || whole.ends_with('/') && part.starts_with(&**whole)
}

/// The worst first, and in the order of files.
pub fn worst_first(messages: &mut [Message]) {
    messages.sort_by(|a, b| {
        b.severity
            .cmp(&a.severity)
            // What has no place sums up.
            .then_with(|| a.origin.is_none().cmp(&b.origin.is_none()))
            .then_with(|| a.origin.cmp(&b.origin))
            .then_with(|| a.object.cmp(&b.object))
    });
}

/// `1 route`, `2 routes`.
#[must_use]
pub fn count(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {one}{plural}")
}

/// The messages that stand, so that each is told once.
#[derive(Debug, Default)]
pub struct Standing {
    told: BTreeMap<Key, Message>,
}

impl Standing {
    /// Takes all that stands now; gives what is new, and what is over.
    pub fn change(&mut self, now: Vec<Message>) -> Vec<Message> {
        let mut fresh = BTreeMap::new();
        let mut out = Vec::new();
        for message in now.into_iter().map(Message::clean) {
            let key = key(&message);
            if fresh.contains_key(&key) {
                continue;
            }
            if !self.told.contains_key(&key) {
                out.push(message.clone());
            }
            fresh.insert(key, message);
        }
        let over = |key: &&Key| !fresh.contains_key(*key);
        let ended: Vec<Key> = self.told.keys().filter(over).cloned().collect();
        for key in ended {
            let Some(message) = self.told.remove(&key) else {
                continue;
            };
            // Another fault in the same place says by itself that the first is gone; and what cannot be read is
            // not mended.
            let replaced = fresh.keys().any(|other| {
                (&other.0, &other.1, &other.2) == (&key.0, &key.1, &key.2) || hides(other, &key)
            });
            if message.severity > Severity::Info && !replaced {
                out.push(Message {
                    severity: Severity::Info,
                    what: format!("resolved: {}", message.what),
                    meanwhile: String::new(),
                    mend: String::new(),
                    witness: None,
                    ..message
                });
            }
        }
        self.told = fresh;
        self.bounded(out)
    }

    /// These stand perhaps, and it is not ours any more to tell: that they are over least of all.
    pub fn forget<'m>(&mut self, messages: impl Iterator<Item = &'m Message>) {
        for message in messages {
            self.told.remove(&key(&message.clone().clean()));
        }
    }

    fn bounded(&mut self, mut messages: Vec<Message>) -> Vec<Message> {
        worst_first(&mut messages);
        if messages.len() > MESSAGES_MAX {
            let more = messages.split_off(MESSAGES_MAX);
            // Not told yet, so they are new again at the next change.
            for message in &more {
                self.told.remove(&key(message));
            }
            let what = format!("{} more messages are not shown", more.len());
            messages.push(Message {
                mend: "mend the first ones and the next will be told".to_owned(),
                ..Message::course(Severity::Warn, what)
            });
        }
        messages
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn message(line: u32, what: &str) -> Message {
        Message {
            severity: Severity::Error,
            about: About::Invalid,
            origin: Some(Origin {
                file: "d/a.yaml".into(),
                line,
                column: 3,
            }),
            object: Some("FIXSession t/a".to_owned()),
            field: Some("spec.priority".to_owned()),
            what: what.to_owned(),
            meanwhile: String::new(),
            mend: "drop it".to_owned(),
            witness: None,
        }
    }

    #[test]
    fn a_line_names_place_object_and_field_first() {
        assert_eq!(
            message(4, "is wrong").to_string(),
            "d/a.yaml:4:3: ERROR: FIXSession t/a: spec.priority: is wrong; drop it"
        );
    }

    #[test]
    fn each_message_is_told_once_and_its_end_once() {
        let mut standing = Standing::default();
        assert_eq!(standing.change(vec![message(1, "x")]).len(), 1);
        assert_eq!(standing.change(vec![message(9, "x")]), []);
        let over = standing.change(Vec::new());
        assert_eq!(over.len(), 1);
        assert_eq!(over[0].what, "resolved: x");
        assert_eq!(standing.change(Vec::new()), []);
    }

    #[test]
    fn another_fault_in_the_same_place_replaces_the_first_without_a_word() {
        let mut standing = Standing::default();
        standing.change(vec![message(1, "x")]);
        let change = standing.change(vec![message(1, "y")]);
        assert_eq!(change.len(), 1);
        assert_eq!(change[0].what, "y");
    }

    #[test]
    fn what_cannot_be_read_any_more_is_not_told_as_mended() {
        for whole in ["d/a.yaml", "d/"] {
            let mut standing = Standing::default();
            standing.change(vec![message(1, "x")]);
            let unreadable = Message {
                origin: Some(Origin::file(whole.into())),
                object: None,
                field: None,
                ..message(0, "cannot be read")
            };
            assert_eq!(standing.change(vec![unreadable]).len(), 1, "{whole}");
        }
    }

    #[test]
    fn a_name_breaks_no_line_and_fills_no_screen() {
        let mut standing = Standing::default();
        let wild = format!("x\nINFO: all is well{}", "y".repeat(5_000));
        let told = standing.change(vec![message(1, &wild)]);
        let line = told[0].to_string();
        assert!(
            line.lines().count() == 1 && line.len() < 2 * TEXT_CHARS_MAX,
            "{line}"
        );
    }

    #[test]
    fn what_was_not_shown_is_told_later() {
        let mut standing = Standing::default();
        let many = |range: std::ops::Range<usize>| -> Vec<Message> {
            range
                .map(|n| Message {
                    object: Some(format!("{n}")),
                    ..message(1, "x")
                })
                .collect()
        };
        assert_eq!(
            standing.change(many(0..MESSAGES_MAX + 5)).len(),
            MESSAGES_MAX + 1
        );
        assert_eq!(standing.change(many(0..MESSAGES_MAX + 5)).len(), 5);
    }
}
