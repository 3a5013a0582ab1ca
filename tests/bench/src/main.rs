//! Runs the comparison and writes what it came to.
#![allow(
    clippy::expect_used,
    reason = "it is written with the tests' harness and fails as a test does"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use fixgw_bench::metrics::TABLES;
use fixgw_bench::report::{self, Facts};
use fixgw_bench::run::Run;
use fixgw_bench::scale::Scale;
use fixgw_bench::subject::Kind;
use fixgw_bench::{check, scene, table};

/// The gateway beside HAProxy, nginx and plain Envoy.
#[derive(Debug, Parser)]
#[command(name = "fixgw-bench-peers")]
struct Arguments {
    /// How much is measured
    #[arg(long, value_enum, default_value_t)]
    scale: Size,
    /// These tables alone; repeatable
    #[arg(long, value_parser = TABLES)]
    table: Vec<String>,
    /// These subjects alone; repeatable
    #[arg(long, value_parser = Kind::ALL.map(Kind::name))]
    subject: Vec<String>,
    /// So many rules, where their number varies; repeatable
    #[arg(long, value_name = "NUMBER")]
    rules: Vec<usize>,
    /// What Envoy's settings do, instead of the peers
    #[arg(long, conflicts_with = "subject")]
    tuned: bool,
    /// How many processors the subject has
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    subject_cores: usize,
    /// Where README.md, results.csv and the plots are written [default: nowhere]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Results of an earlier run; what has moved since by more than the noise is told. Exit code 1 if something is worse
    #[arg(long, value_name = "results.csv")]
    compare: Option<PathBuf>,
    /// The command that stands in README.md
    #[arg(long, default_value = "make bench-peers", hide = true)]
    command: String,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Size {
    /// About a quarter of an hour
    #[default]
    Full,
    /// About five minutes
    Quick,
    /// A few seconds, to see that it works
    Smoke,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    scene::enter();
    let cores = scene::take_cores(arguments.subject_cores);
    let begun = Instant::now();
    let mut scale = match arguments.scale {
        Size::Full => Scale::full(),
        Size::Quick => Scale::quick(),
        Size::Smoke => Scale::smoke(),
    };
    if arguments.tuned {
        scale = scale.tuned();
    }
    if !arguments.table.is_empty() {
        scale.tables = TABLES
            .into_iter()
            .filter(|table| arguments.table.iter().any(|wanted| wanted == table))
            .collect();
    }
    if !arguments.subject.is_empty() {
        scale
            .subjects
            .retain(|kind| arguments.subject.iter().any(|it| it == kind.name()));
    }
    if !arguments.rules.is_empty() {
        scale.rules.clone_from(&arguments.rules);
    }
    let run = Run::new(scale, &cores);
    let (kinds, scale) = (run.kinds().to_vec(), run.scale().clone());
    let (figures, disturbed) = run.all();
    print!("{}", report::tables(&figures));
    if let Some(out) = &arguments.out {
        let facts = Facts {
            command: arguments.command,
            scale,
            kinds,
            disturbed,
            seconds: begun.elapsed().as_secs(),
        };
        report::write(out, &figures, &facts).expect("the results can be written");
        eprintln!("written: {}", out.display());
    }
    let Some(earlier) = arguments.compare else {
        return ExitCode::SUCCESS;
    };
    let end = check::tell(&earlier, &table::csv(&figures));
    if disturbed.stayed > 0 {
        println!(
            "others used the machine in {} rounds that were not made again: what has moved may be theirs",
            disturbed.stayed
        );
    }
    end
}
