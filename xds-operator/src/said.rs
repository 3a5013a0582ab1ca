//! What does the gateway tell the person or program that started it? One line per event: for people, or as JSON.
//!
//! The names of events and keys are an interface: scripts read them.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fixgw_core::decision::Severity;
use fixgw_core::witness::Witness;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::message::{self, About, Message};
use crate::receive::decision::{ReceivedDecision, paint};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// JSON with the line for people under `line`: what `fixgw up` asks of the control plane that it starts.
    Both,
}

/// One event.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Said {
    /// A listener takes connections.
    Listening {
        /// Its name.
        name: String,
        /// Address and port.
        address: String,
    },
    /// Every worker has a table, and the listeners listen.
    Ready {
        /// The table's revision.
        revision: u64,
        /// Workers of Envoy.
        workers: u64,
    },
    /// What became of a connection.
    Decision(Box<ReceivedDecision>),
    /// Every live VM uses this.
    Applied {
        /// The table's revision.
        revision: u64,
        /// The newest version of readiness: each proxy's are its own.
        readiness: u64,
        /// VMs: one for each worker, and one for Envoy's main thread.
        vms: usize,
    },
    /// What is counted rather than told one by one. Told when it has changed.
    Counts(Counts),
    /// Something about an object of the directory, or about the set of them.
    Object {
        /// How grave it is.
        severity: &'static str,
        /// Where it stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// Line, from 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<u64>,
        /// Column, from 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<u64>,
        /// Kind and name.
        #[serde(skip_serializing_if = "Option::is_none")]
        object: Option<String>,
        /// Path of the field.
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<String>,
        /// [`About::label`](message::About::label)
        about: &'static str,
        /// What is the matter, and what to do.
        message: String,
        /// The Logon that proves it.
        #[serde(skip_serializing_if = "Option::is_none")]
        witness: Option<ShownWitness>,
    },
    /// Something about a proxy or about the gateway itself.
    Gateway {
        /// How grave it is.
        severity: &'static str,
        /// What it is about.
        message: String,
    },
    /// `fixgw check` has looked at everything.
    Checked {
        /// Routes that are well formed.
        routes: usize,
        /// Errors, conflicts among them.
        errors: usize,
        /// Warnings.
        warnings: usize,
    },
    /// A part was started.
    Child {
        /// `envoy`, `control` or `reject-engine`.
        name: &'static str,
        /// Process id.
        pid: u32,
    },
    /// All parts have ended.
    Stopped {},
}

/// A witness as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownWitness {
    /// Its fields with `|` behind each: `35=A|49=BROKER_A|`. Where all values are revealed, the whole message.
    pub logon: String,
    /// Where it comes from; none: from anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The fields that routes ask for, ascending by tag.
    pub fields: Vec<ShownWitnessField>,
}

/// One of its fields. A hidden one has the routes that ask for it, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownWitnessField {
    /// Tag number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<u32>,
    /// `SenderCompID49`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The routes that ask for it.
    pub routes: Vec<String>,
}

impl ShownWitness {
    /// With `reveal`, all values as they are: for who may read the routes anyway.
    #[must_use]
    pub fn new(witness: &Witness, reveal: bool) -> Self {
        let fields = witness.fields(reveal).map(|field| {
            let (tag, value) = field.field.unzip();
            ShownWitnessField {
                tag: tag.map(fixgw_core::wire::Tag::get),
                label: field.label,
                value,
                routes: field.of.iter().map(ToString::to_string).collect(),
            }
        });
        Self {
            logon: witness.text(reveal),
            source: witness.source().map(|source| source.to_string()),
            fields: fields.collect(),
        }
    }
}

/// Counts over all live VMs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Connections that ended without a byte sent: health checks mostly.
    pub silent_connections: u64,
    /// TLS handshakes that came to nothing; each has its decision record, too.
    pub failed_handshakes: u64,
    /// Decision records that no one took in time.
    pub records_dropped: u64,
    /// Panics that were contained.
    pub panics: u64,
}

impl Said {
    /// Something about the gateway itself.
    #[must_use]
    pub fn gateway(severity: Severity, message: impl Into<String>) -> Self {
        Self::Gateway {
            severity: severity.label(),
            message: message.into(),
        }
    }

    /// Something that stands in an object, or is about the gateway as a whole.
    #[must_use]
    pub fn message(message: Message, reveal: bool) -> Self {
        let text = message.text();
        // What names no place is about the gateway as a whole.
        let nowhere = message.origin.is_none() && message.object.is_none();
        if nowhere && message.about == About::Course {
            return Self::gateway(message.severity, text);
        }
        let origin = message.origin;
        let place = |number: u32| (number > 0).then_some(u64::from(number));
        Self::Object {
            severity: message.severity.label(),
            line: origin.as_ref().and_then(|origin| place(origin.line)),
            column: origin.as_ref().and_then(|origin| place(origin.column)),
            file: origin.map(|origin| origin.file.to_string()),
            object: message.object,
            field: message.field,
            about: message.about.label(),
            message: text,
            witness: message
                .witness
                .map(|witness| ShownWitness::new(&witness, reveal)),
        }
    }

    fn severity(&self) -> &'static str {
        match self {
            Self::Decision(decision) => decision.severity,
            Self::Object { severity, .. } | Self::Gateway { severity, .. } => severity,
            Self::Listening { .. }
            | Self::Ready { .. }
            | Self::Applied { .. }
            | Self::Checked { .. }
            | Self::Stopped {} => Severity::Info.label(),
            Self::Child { .. } | Self::Counts(_) => Severity::Debug.label(),
        }
    }

    /// What it says, without time and severity; none for what only a program wants to know, and for a decision, whose line
    /// is made of both.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        Some(match self {
            Self::Decision(_) | Self::Child { .. } | Self::Counts(_) => return None,
            Self::Listening { name, address } => format!("listener {name} on {address}"),
            Self::Ready { revision, workers } => {
                format!("ready: {workers} workers use revision {revision}; stop with Ctrl-C")
            }
            Self::Applied { revision, vms, .. } => {
                format!("revision {revision} is in use by all {vms} VMs")
            }
            Self::Object {
                file,
                line,
                column,
                object,
                field,
                message,
                ..
            } => {
                place(file.as_deref(), *line, *column)
                    + &named(object.as_deref(), field.as_deref())
                    + message
            }
            Self::Gateway { severity, .. } if *severity == Severity::Debug.label() => {
                return None;
            }
            Self::Gateway { message, .. } => message.clone(),
            Self::Checked {
                routes,
                errors,
                warnings,
            } => {
                let count = |number: usize, one: &str| message::count(number as u64, one);
                format!(
                    "{}: {}, {}",
                    count(*routes, "route"),
                    count(*errors, "error"),
                    count(*warnings, "warning")
                )
            }
            Self::Stopped {} => "stopped; no process is left".to_owned(),
        })
    }

    /// The line for people; none for what only a program wants to know.
    #[must_use]
    pub fn text(&self, time: jiff::Timestamp, colour: bool) -> Option<String> {
        if let Self::Decision(decision) = self {
            return Some(decision.line(colour));
        }
        let text = self.words()?;
        let clock =
            jiff::fmt::strtime::format("%H:%M:%S%.3fZ", &time.to_zoned(jiff::tz::TimeZone::UTC));
        let severity = self.severity();
        let (paint, plain) = if colour {
            (paint(severity), "\x1b[0m")
        } else {
            ("", "")
        };
        Some(format!(
            "{} {paint}{severity:<5}{plain} {text}",
            clock.unwrap_or_default()
        ))
    }

    /// The JSON line.
    #[must_use]
    pub fn json(&self, time: jiff::Timestamp, with_text: bool) -> String {
        let line = with_text.then(|| self.text(time, false)).flatten();
        let timed = Timed {
            time: time.to_string(),
            said: self,
            line,
        };
        // Only maps with keys that are no strings can fail, and there is none.
        serde_json::to_string(&timed).unwrap_or_default()
    }
}

impl From<Message> for Said {
    fn from(message: Message) -> Self {
        Self::message(message, false)
    }
}

#[derive(Serialize)]
struct Timed<'s> {
    time: String,
    #[serde(flatten)]
    said: &'s Said,
    #[serde(rename = "line_text", skip_serializing_if = "Option::is_none")]
    line: Option<String>,
}

fn place(file: Option<&str>, line: Option<u64>, column: Option<u64>) -> String {
    let Some(file) = file else {
        return String::new();
    };
    match (line, column) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}: "),
        (Some(line), None) => format!("{file}:{line}: "),
        (None, _) => format!("{file}: "),
    }
}

fn named(object: Option<&str>, field: Option<&str>) -> String {
    match (object, field) {
        (Some(object), Some(field)) => format!("{object}: {field}: "),
        (Some(name), None) | (None, Some(name)) => format!("{name}: "),
        (None, None) => String::new(),
    }
}

/// A line on standard error. Whoever does not read it misses it, and nothing else.
pub fn complain(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Lines that wait to be written. A storm of ten thousand Logons passes; beyond that the reader is away.
const LINES_WAITING_MAX: usize = 16_384;
/// Time that the last lines have to be written before the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Writes events to standard output, on a thread of its own: a reader that stalls, or has gone, stops nothing else. What
/// nobody reads in time is dropped, and said.
#[derive(Clone, Debug)]
pub struct Speaker {
    form: Form,
    colour: bool,
    lines: mpsc::Sender<String>,
    account: Arc<Account>,
}

#[derive(Debug, Default)]
struct Account {
    waiting: AtomicUsize,
    dropped: AtomicUsize,
}

impl Speaker {
    /// In this form; in colour only for people at a terminal.
    #[must_use]
    pub fn start(form: Form) -> Self {
        let colour = form == Form::Text
            && io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let (lines, mut waiting) = mpsc::channel::<String>(LINES_WAITING_MAX);
        let account = Arc::new(Account::default());
        let counted = account.clone();
        std::thread::spawn(move || {
            while let Some(line) = waiting.blocking_recv() {
                let missed = counted.dropped.swap(0, Ordering::Relaxed);
                if missed > 0 {
                    let missed =
                        format!("{missed} lines were dropped because nobody read them in time");
                    let missed = Said::gateway(Severity::Warn, missed);
                    let _ = render(&missed, form, colour).map_or(Ok(()), |line| write(&line));
                }
                // Nobody reads any more: sessions are worth more than lines.
                let _ = write(&line);
                counted.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        });
        Self {
            form,
            colour,
            lines,
            account,
        }
    }

    /// Says one thing.
    pub fn say(&self, said: &Said) {
        if let Some(line) = render(said, self.form, self.colour) {
            self.put(line);
        }
    }

    /// Passes on a line that another part of the gateway wrote in [`Form::Both`], and what stands in it for people; empty: nothing does.
    pub fn relay(&self, line: String, severity: &str, text: &str) {
        match self.form {
            Form::Json | Form::Both => self.put(line),
            Form::Text if text.is_empty() => {}
            Form::Text if self.colour && !severity.is_empty() => {
                let painted = format!("{}{severity}\x1b[0m", paint(severity));
                self.put(text.replacen(severity, &painted, 1));
            }
            Form::Text => self.put(text.to_owned()),
        }
    }

    fn put(&self, line: String) {
        self.account.waiting.fetch_add(1, Ordering::Relaxed);
        if self.lines.try_send(line).is_err() {
            self.account.waiting.fetch_sub(1, Ordering::Relaxed);
            self.account.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was said is written, for a moment.
    pub async fn finish(&self) {
        let written = async {
            while self.account.waiting.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, written).await;
    }
}

fn render(said: &Said, form: Form, colour: bool) -> Option<String> {
    let time = jiff::Timestamp::now();
    match form {
        Form::Text => said.text(time, colour),
        Form::Json => Some(said.json(time, false)),
        Form::Both => Some(said.json(time, true)),
    }
}

fn write(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}
