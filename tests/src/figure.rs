//! How does a benchmark tell a figure, so that it comes into a table and can be compared with an earlier run's?
//!
//! As a line, its columns separated by tabs; `fixgw-bench-parts` reads it. This file depends on nothing of ours, because the core's
//! benchmarks have it, too.

/// How such a line begins.
pub const MARK: &str = "figure\t";

/// A kind of figure, under one load.
#[derive(Clone, Copy)]
pub struct Told<'t> {
    /// The table that it stands in.
    pub table: &'t str,
    /// Under which load.
    pub load: &'t str,
    /// What it is, for people.
    pub metric: &'t str,
    /// In what it is counted; empty for a plain number.
    pub unit: &'t str,
    /// The subject to whom its ratio says something.
    pub to: Option<&'t str>,
}

impl Told<'_> {
    /// Tells what each round gave of this subject.
    pub fn of(&self, subject: &str, rounds: &[f64]) {
        let Self {
            table,
            load,
            metric,
            unit,
            to,
        } = self;
        let rounds: Vec<String> = rounds.iter().map(ToString::to_string).collect();
        let (to, rounds) = (to.unwrap_or_default(), rounds.join(" "));
        println!("{MARK}{table}\t{load}\t{subject}\t{metric}\t{unit}\t{to}\t{rounds}");
    }
}
