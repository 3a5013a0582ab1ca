//! What was measured: which figure, under which load, of which subject, in each round?
//!
//! Pure. One form for every benchmark that compares; the tables, the CSV and the plots are made of it.

use crate::statistics::{Rounds, Spread, ratios};

/// A kind of figure: a column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric<'t> {
    /// What it is, for people.
    pub name: &'t str,
    /// In what it is counted; empty for a plain number.
    pub unit: &'t str,
    /// The subject to whom its ratio says something.
    pub to: Option<&'t str>,
}

/// One figure of one subject under one load.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure<'t> {
    /// The table that it stands in.
    pub table: &'t str,
    /// Under which load.
    pub load: String,
    /// Of whom.
    pub subject: String,
    /// Which.
    pub metric: Metric<'t>,
    /// What each round gave.
    pub rounds: Rounds,
}

impl Figure<'_> {
    /// The middle and the spread of its rounds.
    #[must_use]
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(self.rounds.values().copied())
    }
}

/// All of them, in the order in which they were first told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures<'t> {
    all: Vec<Figure<'t>>,
}

impl<'t> Figures<'t> {
    /// What one round gave.
    pub fn add(
        &mut self,
        (table, load): (&'t str, &str),
        subject: &str,
        metric: Metric<'t>,
        round: usize,
        value: f64,
    ) {
        let is_it = |figure: &&mut Figure| {
            figure.table == table
                && figure.load == load
                && figure.subject == subject
                && figure.metric == metric
        };
        if let Some(figure) = self.all.iter_mut().find(is_it) {
            figure.rounds.insert(round, value);
            return;
        }
        self.all.push(Figure {
            table,
            load: load.to_owned(),
            subject: subject.to_owned(),
            metric,
            rounds: Rounds::from([(round, value)]),
        });
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Figure<'t>> {
        self.all.iter()
    }

    /// Those of one table.
    pub fn of_table(&self, table: &str) -> impl Iterator<Item = &Figure<'t>> {
        self.all.iter().filter(move |figure| figure.table == table)
    }

    /// The ratio of a figure to the same one of whom it is compared to, round by round; of the reference itself there is none.
    #[must_use]
    pub fn ratio(&self, figure: &Figure) -> Option<Spread> {
        let to = figure.metric.to.filter(|to| figure.subject != *to)?;
        let same = |other: &&Figure| {
            other.table == figure.table
                && other.load == figure.load
                && other.metric == figure.metric
                && other.subject == to
        };
        let reference = self.all.iter().find(same)?;
        Spread::of(ratios(&figure.rounds, &reference.rounds))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const REFERENCE: &str = "Envoy";

    pub(crate) const CPU: Metric<'static> = Metric {
        name: "CPU per message",
        unit: "µs",
        to: Some(REFERENCE),
    };
    pub(crate) const SHARE: Metric<'static> = Metric {
        name: "generator",
        unit: "%",
        to: None,
    };

    /// Two subjects under two loads, three rounds.
    pub(crate) fn some() -> Figures<'static> {
        let mut figures = Figures::default();
        for round in 0..3 {
            let up = [0.0, 0.5, 1.0][round];
            for (load, base) in [("1 session", 20.0), ("16 sessions", 10.0)] {
                let place = ("messages", load);
                figures.add(place, "direct", SHARE, round, 9.0 + up);
                figures.add(place, REFERENCE, CPU, round, base + up);
                figures.add(place, REFERENCE, SHARE, round, 12.0);
                figures.add(place, "gateway", CPU, round, (base + up) * 1.25);
                figures.add(place, "gateway", SHARE, round, 12.0 - up);
            }
        }
        figures
    }

    #[test]
    fn ratios_are_to_the_reference_under_the_same_load() {
        let figures = some();
        let of = |subject: &str, metric: Metric| {
            let figure = figures
                .iter()
                .find(|figure| figure.subject == subject && figure.metric == metric)?;
            figures.ratio(figure).map(|ratio| ratio.median)
        };
        assert_eq!(of("gateway", CPU), Some(1.25));
        assert_eq!(of("gateway", SHARE), None);
        assert_eq!(of(REFERENCE, CPU), None);
        assert_eq!(of("direct", SHARE), None);
    }
}
