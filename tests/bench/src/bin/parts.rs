//! Puts what the benchmarks of the gateway's parts have said into a document, and compares it with an earlier run.
#![allow(
    clippy::expect_used,
    reason = "it is a part of the tests, and fails as a test does"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fixgw_bench::{check, facts, parts, table};

/// What the gateway's parts cost by themselves.
#[derive(Debug, Parser)]
#[command(name = "fixgw-bench-parts")]
struct Arguments {
    /// What the benchmarks have said
    said: PathBuf,
    /// Where parts.md and parts.csv are written [default: nowhere]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Results of an earlier run; what has moved since by more than the noise is told. Exit code 1 if something is worse
    #[arg(long, value_name = "parts.csv")]
    compare: Option<PathBuf>,
    /// How long the benchmarks took, seconds
    #[arg(long, default_value_t)]
    seconds: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let said = std::fs::read_to_string(&arguments.said).map_err(|error| error.to_string());
    let figures = match said
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|said| parts::read(said))
    {
        Ok(figures) => figures,
        Err(wrong) => {
            eprintln!("`{}`: {wrong}", arguments.said.display());
            return ExitCode::from(2);
        }
    };
    for place in parts::places() {
        if figures.of_table(place).next().is_some() {
            print!("\n{place}\n\n{}", table::markdown(&figures, place));
        }
    }
    let csv = table::csv(&figures);
    if let Some(out) = &arguments.out {
        let facts = facts::table(&facts::of_run("make bench", arguments.seconds));
        std::fs::create_dir_all(out).expect("a directory can be made");
        for (name, text) in [
            ("parts.csv", &csv),
            ("parts.md", &parts::document(&figures, &facts)),
        ] {
            std::fs::write(out.join(name), text).expect("the results can be written");
        }
        eprintln!("written: {}", out.display());
    }
    arguments
        .compare
        .map_or(ExitCode::SUCCESS, |earlier| check::tell(&earlier, &csv))
}
