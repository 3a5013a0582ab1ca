//! How is what was seen told to people: a demo to its end, and a line for each attack?

use std::io::Write as _;
use std::panic::UnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

/// Tells a story, and how it ended. It fails as a test does, by panicking; what a person should read of that is the message.
pub fn story(name: &str, story: impl FnOnce() + UnwindSafe) -> ExitCode {
    let begin = Instant::now();
    std::panic::set_hook(Box::new(|_| ()));
    match std::panic::catch_unwind(story) {
        Ok(()) => {
            println!(
                "\nThe demo ran for {} s; everything it started has ended.",
                begin.elapsed().as_secs()
            );
            ExitCode::SUCCESS
        }
        Err(reason) => {
            let reason = reason.downcast_ref::<String>().map_or_else(
                || {
                    reason
                        .downcast_ref::<&str>()
                        .copied()
                        .unwrap_or("a fault without a message")
                },
                String::as_str,
            );
            // What the programs have said comes first, so that the reason is what one sees at the end.
            let (reason, said) = reason.split_once('\n').unwrap_or((reason, ""));
            eprintln!("\n{said}\n{name} failed: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line about an attack, and adds it to the table in the file that `FIXGW_FAULTS_TABLE` names, if it does.
pub fn attack(line: &str) {
    println!("{line}");
    if let Some(table) = std::env::var_os("FIXGW_FAULTS_TABLE") {
        let table = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(table);
        writeln!(table.unwrap(), "{line}").unwrap();
    }
}
