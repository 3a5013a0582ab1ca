//! Would a gateway take these objects as they stand? `fixgw check`: reads directories, files or standard input, says
//! everything that speaks against them, and starts nothing.

mod sarif;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use fixgw_core::decision::Severity;

use crate::message::{About, Message, Origin, worst_first};
use crate::pipeline::hold::ConflictPolicy;
use crate::pipeline::resolve::Endpoints;
use crate::pipeline::{accept, advice, translate, validate};
use crate::said::{Said, ShownWitness, complain};
use crate::source::once;
use crate::world::{ExtraEndpoint, World};

/// `fixgw check`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw check rules
  fixgw check rules --deny-warnings
  fixgw check rules/algo.yaml services.yaml
  kustomize build overlays/prod | fixgw check -
  fixgw check rules --format sarif > fixgw.sarif
  fixgw check rules --json | jq 'select(.about == \"conflict\") | .witness.logon'

Exit codes: 0 a gateway would take everything, 1 it would not (with --deny-warnings: or there is a warning), 2 something
could not be read.")]
pub struct CheckArgs {
    /// Directories of YAML files, or files, with FIXSession, Service and EndpointSlice objects; `-` is standard input. All
    /// of them together are one set
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// An endpoint for every port of a Service, beside its EndpointSlices, as `fixgw up` takes them; repeatable
    #[arg(long = "endpoint", value_name = "NAMESPACE/SERVICE=HOST:PORT")]
    pub endpoints: Vec<ExtraEndpoint>,
    /// Count a warning as an error
    #[arg(long)]
    pub deny_warnings: bool,
    /// Show every value of the Logons that prove conflicts, redacted and hidden ones too
    #[arg(long)]
    pub reveal: bool,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for each, for people
    Text,
    /// One JSON object a line
    Json,
    /// SARIF 2.1.0, for code reviews
    Sarif,
}

/// What was found.
#[derive(Debug)]
pub struct Findings {
    /// By severity and place.
    pub messages: Vec<Message>,
    /// Routes that are well formed.
    pub routes: usize,
}

impl Findings {
    /// How many are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.count(|severity| severity > Severity::Warn)
    }

    /// How many are warnings.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.count(|severity| severity == Severity::Warn)
    }

    fn count(&self, is: impl Fn(Severity) -> bool) -> usize {
        let severities = self.messages.iter().map(|message| message.severity);
        severities.filter(|severity| is(*severity)).count()
    }
}

/// Looks at everything at once, as a gateway that starts with it would.
#[must_use]
pub fn check(world: &World, shown: &str) -> Findings {
    let validated = validate::validate(&world.rules.sessions);
    let routes = validated.rules.len();
    let advice = advice::advice(&validated.rules);
    let acceptance = accept::accept(None, &world.rules, validated, ConflictPolicy::default());
    let (endpoints, of_endpoints) = Endpoints::default().next(&world.endpoints);
    let mut messages = acceptance.messages;
    // Nothing waits here: what follows from a conflict is no finding of its own.
    messages.retain(|message| !follows(message));
    messages.extend(advice);
    messages.extend(of_endpoints);
    for message in &mut messages {
        // Nothing runs here.
        message.meanwhile.clear();
    }
    if let Some(accepted) = &acceptance.accepted {
        let image = Arc::from(accepted.table.image());
        let (_, of_targets) =
            translate::translate(&accepted.table, image, &accepted.sessions, &endpoints);
        messages.extend(of_targets);
    }
    let broken = |message: &Message| message.severity > Severity::Warn;
    if routes == 0 && !messages.iter().any(broken) {
        messages.push(no_routes(shown));
    }
    let mut messages: Vec<Message> = messages
        .into_iter()
        .filter(|message| message.severity > Severity::Info)
        .map(Message::clean)
        .collect();
    worst_first(&mut messages);
    Findings { messages, routes }
}

fn follows(message: &Message) -> bool {
    message.about == About::Conflict && message.severity == Severity::Error
}

fn no_routes(shown: &str) -> Message {
    Message {
        about: About::NoRoute,
        severity: Severity::Warn,
        origin: Some(Origin::file(shown.into())),
        object: None,
        field: None,
        what: "there is no FIXSession here, so no route".to_owned(),
        meanwhile: String::new(),
        mend: "files of a directory end with `.yaml` or `.yml`".to_owned(),
        witness: None,
    }
}

/// Looks, and prints.
#[must_use]
pub fn run(args: &CheckArgs) -> ExitCode {
    let read = match once::read(&args.paths, args.endpoints.clone()) {
        Ok(read) => read,
        Err(error) => {
            complain(format_args!("fixgw check: {error}"));
            return ExitCode::from(2);
        }
    };
    let findings = check(&read.world, &read.shown);
    let (errors, warnings) = (findings.errors(), findings.warnings());
    let format = if args.json { Format::Json } else { args.format };
    let told = print(format, &read.shown, args.reveal, findings);
    // Who reads no further has had enough.
    if told.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(errors > 0 || args.deny_warnings && warnings > 0))
}

fn print(format: Format, shown: &str, reveal: bool, findings: Findings) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let checked = Said::Checked {
        routes: findings.routes,
        errors: findings.errors(),
        warnings: findings.warnings(),
    };
    match format {
        Format::Text => {
            for message in &findings.messages {
                writeln!(out, "{message}")?;
                if let Some(witness) = &message.witness {
                    write_witness(&mut out, &ShownWitness::new(witness, reveal))?;
                }
            }
            writeln!(out, "{}", checked.words().unwrap_or_default())?;
        }
        Format::Json => {
            let now = jiff::Timestamp::now();
            for message in findings.messages {
                writeln!(out, "{}", Said::message(message, reveal).json(now, false))?;
            }
            writeln!(out, "{}", checked.json(now, false))?;
        }
        Format::Sarif => {
            let log = sarif::log(&findings.messages, shown, reveal);
            serde_json::to_writer_pretty(&mut out, &log)?;
            writeln!(out)?;
        }
    }
    out.flush()
}

/// The proof, below the line that it proves: the Logon, and each of its fields with a route that asks for it.
fn write_witness(out: &mut impl Write, witness: &ShownWitness) -> io::Result<()> {
    let from = witness.source.as_deref().unwrap_or("any address");
    writeln!(out, "    the Logon {} from {from}", witness.logon)?;
    let rows: Vec<(String, String)> = witness
        .fields
        .iter()
        .map(|field| match (field.tag, &field.value) {
            (Some(tag), Some(value)) => {
                let label = field.label.clone().unwrap_or_else(|| tag.to_string());
                (format!("{label}={value}"), field.routes.join(" and "))
            }
            _ => ("a hidden field".to_owned(), field.routes.join(" and ")),
        })
        .collect();
    let width = rows.iter().map(|(field, _)| field.len()).max();
    let width = width.unwrap_or_default();
    for (field, routes) in rows {
        let asked = if routes.is_empty() {
            String::new()
        } else {
            format!("  asked for by {routes}")
        };
        let line = format!("      {field:width$}{asked}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
