//! What would a change move? `fixgw diff`: which routes differ between two sets of objects, and which Logons go elsewhere,
//! before anything is applied.
//!
//! Asks what a gateway that has the old set in force would make of the new one: an object that is invalid counts as it was.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use fixgw_core::decision::Severity;
use fixgw_core::moves::{self, Change, ChangedRoute, Goes, Move, Moves};
use fixgw_core::rule::Rule;
use serde::Serialize;

use crate::message::{Message, count, worst_first};
use crate::pipeline::hold::ConflictPolicy;
use crate::pipeline::resolve::Endpoints;
use crate::pipeline::set::Accepted;
use crate::pipeline::{accept, translate, validate};
use crate::said::{ShownWitness, complain};
use crate::source::once;
use crate::taken::Taken;
use crate::world::{Scope, World};

/// `fixgw diff`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  fixgw diff /etc/fixgw/rules rules
  git worktree add /tmp/main main && fixgw diff /tmp/main/rules rules
  fixgw diff old new --json | jq '.routes[] | select(.change == \"retargeted\")'

Exit codes: 0 no route differs, 1 routes differ, or a change would wait, 2 something could not be read, or a gateway would keep
the old set.")]
pub struct DiffArgs {
    /// What is in force: a directory of YAML files or a file with FIXSession objects; `-` is standard input
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// What shall take its place
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// What the gateway does when routes of the new set conflict
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        ignore_case = true,
        default_value_t
    )]
    pub conflict_policy: ConflictPolicy,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show every value of the Logons, redacted and hidden ones too
    #[arg(long)]
    pub reveal: bool,
}

/// Compares, and prints.
#[must_use]
pub fn run(args: &DiffArgs) -> ExitCode {
    match diff(args) {
        Ok(code) => code,
        Err(error) => {
            complain(format_args!("fixgw diff: {error}"));
            ExitCode::from(2)
        }
    }
}

fn diff(args: &DiffArgs) -> Result<ExitCode, String> {
    if args.old.as_os_str() == "-" && args.new.as_os_str() == "-" {
        return Err("standard input can be the old objects or the new ones, not both".to_owned());
    }
    let read = |path: &PathBuf| {
        let read = once::read(std::slice::from_ref(path), Vec::new());
        read.map_err(|error| error.to_string())
    };
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    whole(&old.world)?;
    whole(&new.world)?;
    let before = Taken::of(&old.world)?;
    if let Some(left_out) = before.left_out() {
        complain(format_args!("fixgw diff: of {}, {left_out}", old.shown));
    }
    let (after, messages) = applied(&before.accepted, &new.world, args.conflict_policy);
    let waits = messages
        .iter()
        .any(|message| message.severity > Severity::Warn);
    for message in messages {
        complain(message);
    }
    let after =
        after.ok_or("a gateway would keep all of the old set, because of what is told above")?;
    let found = moves::moves(&rules(&before.accepted), &rules(&after));
    if new.world.rules.sessions.is_empty() {
        complain(format_args!(
            "fixgw diff: there is no FIXSession in {}",
            new.shown
        ));
    }
    for nobody in unanswered(&found, &new.world) {
        complain(format_args!("fixgw diff: {nobody}"));
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let told = if args.json {
        serde_json::to_writer(&mut out, &Shown::new(&found, args.reveal))
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        write(&found, args.reveal, &mut out)
    };
    match told.and_then(|()| out.flush()) {
        // Who reads no further has had enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(ExitCode::from(u8::from(waits || !found.routes.is_empty()))),
    }
}

/// New targets that nobody answers for. A set without any Service says nothing of that.
fn unanswered(found: &Moves, new: &World) -> Vec<String> {
    if new.endpoints.services.is_empty() {
        return Vec::new();
    }
    let (endpoints, _) = Endpoints::default().next(&new.endpoints);
    let led = found
        .routes
        .iter()
        .filter(|changed| changed.before != changed.after)
        .filter_map(|changed| changed.after.as_ref());
    let targets: BTreeSet<&str> = led.map(fixgw_core::rule::Target::as_str).collect();
    let nobody = targets.into_iter().filter_map(|target| {
        let (what, mend) = translate::unanswered(target, &endpoints)?;
        Some(format!("{target}: {what}; {mend}"))
    });
    nobody.collect()
}

/// A file that cannot be read hides objects, and what is hidden would look deleted.
fn whole(world: &World) -> Result<(), String> {
    let mut faults = world.rules.faults.list.iter();
    let hides = faults.find(|fault| matches!(fault.scope, Scope::File | Scope::Unnamed));
    hides.map_or(Ok(()), |fault| {
        let place = fault.origin.as_ref().map(ToString::to_string);
        let place = place.unwrap_or_default();
        Err(format!(
            "{place}: {}; mend it first, for nobody can tell what it would change",
            fault.what
        ))
    })
}

/// What a gateway with the old set in force would make of the new one, and what it would say.
fn applied(
    before: &Accepted,
    world: &World,
    policy: ConflictPolicy,
) -> (Option<Accepted>, Vec<Message>) {
    let validated = validate::validate(&world.rules.sessions);
    let acceptance = accept::accept(Some(before), &world.rules, validated, policy);
    let mut messages: Vec<Message> = acceptance
        .messages
        .into_iter()
        .filter(|message| message.severity > Severity::Info)
        .map(Message::clean)
        .collect();
    worst_first(&mut messages);
    (acceptance.accepted, messages)
}

fn rules(accepted: &Accepted) -> Vec<Rule> {
    let sessions = accepted.sessions.iter();
    // What was accepted is valid.
    let valid = sessions.filter_map(|(name, session)| validate::valid(name, session).ok());
    valid.map(|valid| valid.rule).collect()
}

fn write(found: &Moves, reveal: bool, out: &mut dyn Write) -> io::Result<()> {
    for changed in &found.routes {
        writeln!(out, "{}", headline(changed))?;
        for step in &changed.moves {
            let witness = ShownWitness::new(&step.witness, reveal);
            let from = witness
                .source
                .map_or_else(String::new, |source| format!(" from {source}"));
            writeln!(out, "    {}{from}", witness.logon)?;
            writeln!(
                out,
                "        before: {}\n        after:  {}",
                goes(step.before.as_ref()),
                goes(step.after.as_ref())
            )?;
        }
        match changed.move_count - changed.moves.len() {
            0 => {}
            more => writeln!(out, "    {} of Logon", count(more as u64, "more kind"))?,
        }
        if changed.move_count == 0 {
            writeln!(out, "    no Logon goes elsewhere because of it")?;
        }
    }
    writeln!(out, "{}", summary(found))
}

fn headline(changed: &ChangedRoute) -> String {
    let ChangedRoute {
        route,
        before,
        after,
        ..
    } = changed;
    let shown = |target: &Option<fixgw_core::rule::Target>| {
        target
            .as_ref()
            .map_or_else(String::new, ToString::to_string)
    };
    let (before, after) = (shown(before), shown(after));
    match changed.change {
        Change::Added => format!("+ FIXSession {route} is added; it leads to {after}"),
        Change::Removed => format!("- FIXSession {route} is removed; it led to {before}"),
        Change::Retargeted => {
            format!("~ FIXSession {route} leads to {after}, not to {before} any more")
        }
        Change::Rematched if before == after => {
            format!("~ FIXSession {route} takes other Logons, or ranks otherwise")
        }
        Change::Rematched => format!(
            "~ FIXSession {route} takes other Logons, or ranks otherwise, and leads to {after}, not to {before} any more"
        ),
        Change::Relabelled => {
            format!(
                "~ FIXSession {route} names its fields otherwise, or logs or holds more or less"
            )
        }
    }
}

fn goes(goes: Option<&Goes>) -> String {
    goes.map_or_else(
        || "no route takes it".to_owned(),
        |(route, target)| format!("FIXSession {route}, to {target}"),
    )
}

fn summary(found: &Moves) -> String {
    if found.routes.is_empty() {
        return "no route differs".to_owned();
    }
    let of = |change: Change| {
        let number = found.routes.iter().filter(|it| it.change == change).count();
        (number > 0).then(|| format!("{number} {}", change.label()))
    };
    let changes = [
        Change::Added,
        Change::Removed,
        Change::Retargeted,
        Change::Rematched,
        Change::Relabelled,
    ];
    let changes: Vec<String> = changes.into_iter().filter_map(of).collect();
    let routes = found.routes.len();
    let differ = if routes == 1 { "differs" } else { "differ" };
    let more = if found.undecided {
        ", and there are too many that might to compare them all"
    } else {
        ""
    };
    let go = if found.count == 1 { "goes" } else { "go" };
    format!(
        "{} {differ} ({}); {} of Logon {go} elsewhere{more}; live sessions stay where they are",
        count(routes as u64, "route"),
        changes.join(", "),
        count(found.count as u64, "kind"),
    )
}

/// The difference for programs.
#[derive(Debug, Serialize)]
struct Shown {
    routes: Vec<ShownRoute>,
    /// Pairs of a route before and a route after that some Logon has, with different targets.
    moves: usize,
    /// The bound was met: there may be more.
    undecided: bool,
}

#[derive(Debug, Serialize)]
struct ShownRoute {
    route: String,
    /// [`Change::label`]
    change: &'static str,
    /// Its target.
    before: Option<String>,
    after: Option<String>,
    /// The smallest Logons that it makes go elsewhere.
    moves: Vec<ShownMove>,
    move_count: usize,
}

#[derive(Debug, Serialize)]
struct ShownMove {
    witness: ShownWitness,
    /// None: no route takes it.
    before: Option<ShownGoes>,
    after: Option<ShownGoes>,
}

#[derive(Debug, Serialize)]
struct ShownGoes {
    route: String,
    target: String,
}

impl Shown {
    fn new(found: &Moves, reveal: bool) -> Self {
        let goes = |goes: &Option<Goes>| {
            goes.as_ref().map(|(route, target)| ShownGoes {
                route: route.to_string(),
                target: target.to_string(),
            })
        };
        let shown = |step: &Move| ShownMove {
            witness: ShownWitness::new(&step.witness, reveal),
            before: goes(&step.before),
            after: goes(&step.after),
        };
        let route = |changed: &ChangedRoute| ShownRoute {
            route: changed.route.to_string(),
            change: changed.change.label(),
            before: changed.before.as_ref().map(ToString::to_string),
            after: changed.after.as_ref().map(ToString::to_string),
            moves: changed.moves.iter().map(shown).collect(),
            move_count: changed.move_count,
        };
        Self {
            routes: found.routes.iter().map(route).collect(),
            moves: found.count,
            undecided: found.undecided,
        }
    }
}
