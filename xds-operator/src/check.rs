//! Would a gateway take these objects as they stand? `fixgw check`: reads a directory, says everything that speaks against
//! it, and starts nothing.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use fixgw_core::decision::Severity;

use crate::message::{Message, Origin, worst_first};
use crate::pipeline::hold::ConflictPolicy;
use crate::pipeline::resolve::Endpoints;
use crate::pipeline::{accept, translate, validate};
use crate::said::Said;
use crate::source::directory::Directory;
use crate::world::World;

/// `fixgw check`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw check rules
  fixgw check rules --deny-warnings
  fixgw check rules --json | jq 'select(.event == \"object\")'

Exit codes: 0 a gateway would take everything, 1 it would not (with --deny-warnings: or there is a warning), 2 the
directory could not be read.")]
pub struct CheckArgs {
    /// Directory of YAML files with FIXSession, Service and EndpointSlice objects
    pub directory: PathBuf,
    /// Count a warning as an error
    #[arg(long)]
    pub deny_warnings: bool,
    /// One JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
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
    let acceptance = accept::accept(None, &world.rules, validated, ConflictPolicy::default());
    let (endpoints, of_endpoints) = Endpoints::default().next(&world.endpoints);
    let mut messages = acceptance.messages;
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
    if routes == 0 && messages.is_empty() {
        messages.push(no_routes(shown));
    }
    messages.retain(|message| message.severity > Severity::Info);
    worst_first(&mut messages);
    Findings { messages, routes }
}

fn no_routes(shown: &str) -> Message {
    Message {
        severity: Severity::Warn,
        origin: Some(Origin::file(shown.into())),
        object: None,
        field: None,
        what: "there is no FIXSession here, so no route".to_owned(),
        meanwhile: String::new(),
        mend: "files end with `.yaml` or `.yml`".to_owned(),
    }
}

/// Looks, and prints.
#[must_use]
pub fn run(args: &CheckArgs) -> ExitCode {
    let mut directory = match Directory::open(&args.directory, Vec::new()) {
        Ok(directory) => directory,
        Err(error) => {
            eprintln!("fixgw: {error}");
            return ExitCode::from(2);
        }
    };
    let world = directory.read();
    let findings = check(&world, directory.shown());
    let (errors, warnings) = (findings.errors(), findings.warnings());
    let told = print(args.json, findings);
    // Who reads no further has had enough.
    if told.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(errors > 0 || args.deny_warnings && warnings > 0))
}

fn print(json: bool, findings: Findings) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let checked = Said::Checked {
        routes: findings.routes,
        errors: findings.errors(),
        warnings: findings.warnings(),
    };
    if json {
        let now = jiff::Timestamp::now();
        for message in findings.messages {
            writeln!(out, "{}", Said::from(message).json(now, false))?;
        }
        writeln!(out, "{}", checked.json(now, false))
    } else {
        for message in &findings.messages {
            writeln!(out, "{message}")?;
        }
        writeln!(out, "{}", checked.words().unwrap_or_default())
    }
}
