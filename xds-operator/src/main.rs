//! `fixgw`: the gateway's command.

use std::process::ExitCode;

use clap::Parser as _;
use fixgw_operator::cli::{Cli, Command};
use fixgw_operator::kubernetes::pause;
use fixgw_operator::{check, control, diff, drain, explain, gateway, operator, parse, status, up};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up(args) => up::run(&args),
        Command::Control(args) => control::run(&args),
        Command::Operator(args) => operator::run(&args),
        Command::Gateway(args) => gateway::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Status(args) => status::ask::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Parse(args) => parse::run(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Child(args) => {
            let error = up::child::become_program(args.parent, &args.program, &args.arguments);
            eprintln!(
                "fixgw: `{}` could not be started: {error}",
                args.program.display()
            );
            ExitCode::from(2)
        }
    }
}
