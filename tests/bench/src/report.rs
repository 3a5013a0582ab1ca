//! What does a reader get: which documents, with which plots, on which machine?

use std::fmt::Write as _;
use std::path::Path;

use crate::facts;
use crate::figures::Figures;
use crate::metrics::{
    ATTACKS, CHANGE, CONNECTS, CONNECTS_TLS, CORPUS, CPU_PER_CONNECT, CPU_PER_MESSAGE, LAST_ON,
    MESSAGES, MESSAGES_TLS, P50, P99, P999, PER_SECOND, START, STORM,
};
use crate::plot::Plot;
use crate::quiet::Disturbed;
use crate::reach;
use crate::run::versions;
use crate::scale::Scale;
use crate::subject::{Kind, open_files};
use crate::table::{csv, markdown};

/// The words around the figures.
const METHOD: &str = include_str!("../method.txt");

/// Where a table stands in them.
const PLACES: [(&str, &str); 9] = [
    ("@MESSAGES@", MESSAGES),
    ("@MESSAGES_TLS@", MESSAGES_TLS),
    ("@CONNECTS@", CONNECTS),
    ("@CONNECTS_TLS@", CONNECTS_TLS),
    ("@STORM@", STORM),
    ("@START@", START),
    ("@CHANGE@", CHANGE),
    ("@CORPUS@", CORPUS),
    ("@ATTACKS@", ATTACKS),
];

const PLOTS: [(&str, Plot); 9] = [
    (
        "cpu-150.svg",
        Plot {
            title: "CPU per message of 150 bytes, there and back",
            table: MESSAGES,
            metric: CPU_PER_MESSAGE,
            loads: "150 B",
        },
    ),
    (
        "cpu-2048.svg",
        Plot {
            title: "CPU per message of 2 KiB, there and back",
            table: MESSAGES,
            metric: CPU_PER_MESSAGE,
            loads: "2048 B",
        },
    ),
    (
        "p50-150.svg",
        Plot {
            title: "Round trip of 150 bytes, p50",
            table: MESSAGES,
            metric: P50,
            loads: "150 B",
        },
    ),
    (
        "p99-150.svg",
        Plot {
            title: "Round trip of 150 bytes, p99",
            table: MESSAGES,
            metric: P99,
            loads: "150 B",
        },
    ),
    (
        "p999-150.svg",
        Plot {
            title: "Round trip of 150 bytes, p99.9",
            table: MESSAGES,
            metric: P999,
            loads: "150 B",
        },
    ),
    (
        "cpu-tls-150.svg",
        Plot {
            title: "CPU per message of 150 bytes with TLS, there and back",
            table: MESSAGES_TLS,
            metric: CPU_PER_MESSAGE,
            loads: "150 B",
        },
    ),
    (
        "connect-cpu.svg",
        Plot {
            title: "CPU per connect + Logon",
            table: CONNECTS,
            metric: CPU_PER_CONNECT,
            loads: "",
        },
    ),
    (
        "connect-rate.svg",
        Plot {
            title: "Logons per second at most",
            table: CONNECTS,
            metric: PER_SECOND,
            loads: "",
        },
    ),
    (
        "storm.svg",
        Plot {
            title: "All at once: until the last is logged on",
            table: STORM,
            metric: LAST_ON,
            loads: "",
        },
    ),
];

/// What a run was made on.
pub struct Facts {
    /// The command.
    pub command: String,
    /// How much was measured.
    pub scale: Scale,
    /// Who was compared.
    pub kinds: Vec<Kind>,
    /// How often others used the machine meanwhile.
    pub disturbed: Disturbed,
    /// How long it took, seconds.
    pub seconds: u64,
}

/// Every table, for a terminal.
#[must_use]
pub fn tables(figures: &Figures) -> String {
    let mut text = String::new();
    for (_, table) in PLACES {
        if figures.of_table(table).next().is_some() {
            let _ = write!(text, "\n{table}\n\n{}", markdown(figures, table));
        }
    }
    text
}

/// Writes the document, the plots and the CSV into a directory.
///
/// # Errors
/// It cannot be written.
pub fn write(directory: &Path, figures: &Figures, facts: &Facts) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("results.csv"), csv(figures))?;
    let mut text = METHOD.replace("@FACTS@", facts_table(facts).trim_end());
    text = text.replace("@REACH@", reach::table(figures).trim_end());
    for (place, table) in PLACES {
        let made = match figures.of_table(table).next() {
            Some(_) => markdown(figures, table),
            None => "Not measured in this run.".to_owned(),
        };
        text = text.replace(place, made.trim_end());
    }
    for (name, plot) in PLOTS {
        let place = format!("@{name}@");
        let shown = match plot.svg(figures) {
            Some(svg) => {
                std::fs::write(directory.join(name), svg)?;
                format!("![{}]({name})", plot.title)
            }
            None => String::new(),
        };
        text = text.replace(&place, &shown);
    }
    std::fs::write(directory.join("README.md"), text)
}

/// On what, when, and of which revision.
fn facts_table(facts: &Facts) -> String {
    let scale = &facts.scale;
    let mut rows = facts::of_run(&facts.command, facts.seconds);
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    row("files a process may open", open_files().to_string());
    row(
        "rounds",
        format!(
            "{} of {} ms, each after {} ms that do not count",
            scale.rounds,
            scale.window.as_millis(),
            scale.warm.as_millis()
        ),
    );
    row(
        "others used the machine",
        format!(
            "in {} of {} rounds; {} more were made again for it",
            facts.disturbed.stayed, facts.disturbed.rounds, facts.disturbed.again
        ),
    );
    for (name, version) in versions(&facts.kinds) {
        row(name, version);
    }
    facts::table(&rows)
}
