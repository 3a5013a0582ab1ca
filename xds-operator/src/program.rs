//! How does a command run that waits for many things at once, and what is its exit code?

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::process::ExitCode;

/// Runs it to its end, and says why it ended if something is wrong.
#[must_use]
pub fn run<E>(command: impl Future<Output = Result<(), E>>, exit_code: fn(&E) -> u8) -> ExitCode
where
    E: Display + From<io::Error>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = runtime.map_err(E::from).and_then(|runtime| {
        let ended = runtime.block_on(command);
        // Whoever does not take his lines must not keep us.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fixgw: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}
