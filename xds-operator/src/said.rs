//! What does the gateway tell the person or program that started it? One line per event: for people, or as JSON.
//!
//! The names of events and keys are an interface: scripts read them.

use std::io::{self, IsTerminal as _, Write as _};

use fixgw_core::decision::Severity;
use serde::Serialize;

use crate::receive::decision::ReceivedDecision;

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
    Decision(ReceivedDecision),
    /// Every live VM uses this.
    Applied {
        /// The table's revision.
        revision: u64,
        /// The readiness's version.
        readiness: u64,
        /// VMs: one for each worker, and one for Envoy's main thread.
        vms: usize,
    },
    /// What is counted rather than told one by one, over all live VMs. Told when it has changed.
    #[serde(rename_all = "camelCase")]
    Counts {
        /// Connections that ended without a byte sent: health checks mostly.
        silent_connections: u64,
        /// Decision records that no one took in time.
        records_dropped: u64,
        /// Panics that were contained.
        panics: u64,
    },
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
        /// What it is about.
        message: String,
    },
    /// Something about a proxy or about the gateway itself.
    Gateway {
        /// How grave it is.
        severity: &'static str,
        /// What it is about.
        message: String,
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

impl Said {
    /// Something about the gateway itself.
    #[must_use]
    pub fn gateway(severity: Severity, message: impl Into<String>) -> Self {
        Self::Gateway {
            severity: severity.label(),
            message: message.into(),
        }
    }

    fn severity(&self) -> &'static str {
        match self {
            Self::Decision(decision) => decision.severity,
            Self::Object { severity, .. } | Self::Gateway { severity, .. } => severity,
            Self::Listening { .. }
            | Self::Ready { .. }
            | Self::Applied { .. }
            | Self::Stopped {} => Severity::Info.label(),
            Self::Child { .. } | Self::Counts { .. } => Severity::Debug.label(),
        }
    }

    /// The line for people; none for what only a program wants to know.
    #[must_use]
    pub fn text(&self, time: jiff::Timestamp, colour: bool) -> Option<String> {
        let text = match self {
            Self::Decision(decision) => return Some(decision.line(colour)),
            Self::Child { .. } | Self::Counts { .. } => return None,
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
            Self::Gateway { severity, .. } if *severity == Severity::Debug.label() => return None,
            Self::Gateway { message, .. } => message.clone(),
            Self::Stopped {} => "stopped; no process is left".to_owned(),
        };
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

#[derive(Serialize)]
struct Timed<'s> {
    time: String,
    #[serde(flatten)]
    said: &'s Said,
    #[serde(rename = "line_text", skip_serializing_if = "Option::is_none")]
    line: Option<String>,
}

/// Key of the line for people in [`Form::Both`].
pub const LINE_TEXT: &str = "line_text";

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

/// The colour of a severity.
#[must_use]
pub fn paint(severity: &str) -> &'static str {
    match severity {
        "WARN" => "\x1b[33m",
        "ERROR" => "\x1b[31m",
        "CRITICAL" => "\x1b[1;31m",
        "DEBUG" => "\x1b[2m",
        _ => "\x1b[32m",
    }
}

/// Writes events to standard output.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    form: Form,
    colour: bool,
}

impl Voice {
    /// In this form; in colour only for people at a terminal.
    #[must_use]
    pub fn new(form: Form) -> Self {
        let colour = form == Form::Text
            && io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { form, colour }
    }

    /// Says one thing.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn say(self, said: &Said) -> io::Result<()> {
        let time = jiff::Timestamp::now();
        let line = match self.form {
            Form::Text => said.text(time, self.colour),
            Form::Json => Some(said.json(time, false)),
            Form::Both => Some(said.json(time, true)),
        };
        line.map_or(Ok(()), |line| Self::line(&line))
    }

    /// Passes on a line that another part of the gateway wrote in [`Form::Both`].
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn relay(self, line: &str, severity: Option<&str>, text: Option<&str>) -> io::Result<()> {
        match (self.form, text) {
            (Form::Json | Form::Both, _) => Self::line(line),
            (Form::Text, None) => Ok(()),
            (Form::Text, Some(text)) => match severity {
                Some(severity) if self.colour => Self::line(&text.replacen(
                    severity,
                    &format!("{}{severity}\x1b[0m", paint(severity)),
                    1,
                )),
                _ => Self::line(text),
            },
        }
    }

    fn line(line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }
}
