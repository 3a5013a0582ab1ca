//! What was aimed at, and was it reached?
//!
//! Pure: made of the figures of the run, so that a miss stands as plainly as a hit.

use std::fmt::Write as _;

use crate::figures::{Figure, Figures, Metric};
use crate::metrics::{
    CHANGE, CONNECTS, CPU_AT_MOST, CPU_BACK_TO_BACK, CPU_PER_CONNECT, CPU_PER_MESSAGE, ERRORS,
    LOST, MESSAGES, P50, P99, STORM,
};
use crate::subject::{Kind, Workers};

/// Of whom.
const GATEWAY: &str = Kind::Gateway(Workers::One).name();

/// What a figure is to be, under each load.
#[derive(Clone, Copy)]
enum Aim {
    /// Its ratio to plain Envoy no more than this.
    AtMost(f64),
    /// Its ratio not to be told from 1: the rounds lie on both sides of it.
    LikeEnvoy,
    /// With the most rules no more than this many times what it is with the fewest.
    Flat(f64),
    /// None in any round.
    None,
}

/// Each aim, in words, and whose it is.
const AIMS: [(&str, &str, Metric<'static>, Aim); 9] = [
    (
        "CPU per message",
        MESSAGES,
        CPU_PER_MESSAGE,
        Aim::AtMost(1.03),
    ),
    (
        "CPU per message back to back",
        MESSAGES,
        CPU_BACK_TO_BACK,
        Aim::AtMost(1.03),
    ),
    ("round trip, p50", MESSAGES, P50, Aim::LikeEnvoy),
    ("round trip, p99", MESSAGES, P99, Aim::LikeEnvoy),
    (
        "CPU per connect + Logon",
        CONNECTS,
        CPU_PER_CONNECT,
        Aim::AtMost(1.25),
    ),
    (
        "CPU per connect + Logon at most",
        CONNECTS,
        CPU_AT_MOST,
        Aim::AtMost(1.25),
    ),
    (
        "the same, however many rules",
        CONNECTS,
        CPU_AT_MOST,
        Aim::Flat(1.2),
    ),
    ("sessions lost in a change", CHANGE, LOST, Aim::None),
    ("errors in the storm", STORM, ERRORS, Aim::None),
];

/// A row for each of them, as Markdown.
#[must_use]
pub(crate) fn table(figures: &Figures) -> String {
    let mut text = "| | aimed at | the gateway | |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, table, metric, aim) in AIMS {
        let is_it = |figure: &&Figure| figure.subject == GATEWAY && figure.metric == metric;
        let loads: Vec<&Figure> = figures.of_table(table).filter(is_it).collect();
        if let Some((found, is_reached)) = aim.found(figures, &loads) {
            let verdict = if is_reached { "reached" } else { "**missed**" };
            let _ = writeln!(text, "| {name} | {} | {found} | {verdict} |", aim.words());
        }
    }
    text
}

impl Aim {
    fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most:.2} × plain Envoy"),
            Self::LikeEnvoy => "not to be told from plain Envoy's".to_owned(),
            Self::Flat(most) => format!("≤ {most:.1} × that with the fewest"),
            Self::None => "none".to_owned(),
        }
    }

    /// What was found under these loads, and whether that is what was aimed at; nothing where nothing was measured.
    fn found(self, figures: &Figures, loads: &[&Figure]) -> Option<(String, bool)> {
        let ratios = loads
            .iter()
            .filter_map(|figure| Some((&figure.load, figures.ratio(figure)?)));
        match self {
            Self::AtMost(most) => {
                let medians = ratios.map(|(load, ratio)| (load, ratio.median));
                let (load, worst) = medians.max_by(|one, other| one.1.total_cmp(&other.1))?;
                Some((format!("{worst:.2} × at the worst ({load})"), worst <= most))
            }
            Self::LikeEnvoy => {
                let all: Vec<_> = ratios.collect();
                (!all.is_empty()).then_some(())?;
                let apart = all
                    .iter()
                    .filter(|(_, ratio)| ratio.least > 1.0 || ratio.most < 1.0);
                let apart: Vec<String> = apart
                    .map(|(load, ratio)| format!("{:.2} × ({load})", ratio.median))
                    .collect();
                let told = if apart.is_empty() {
                    format!("so under each of {} loads", all.len())
                } else {
                    format!("but for {}", apart.join(", "))
                };
                Some((told, apart.is_empty()))
            }
            Self::Flat(most) => {
                let (first, last) = (loads.first()?, loads.last()?);
                (first.load != last.load).then_some(())?;
                let ratio = last.spread()?.median / first.spread()?.median;
                Some((
                    format!("{ratio:.2} × ({}, {})", first.load, last.load),
                    ratio <= most,
                ))
            }
            Self::None => {
                let rounds = loads.iter().flat_map(|figure| figure.rounds.values());
                let most = rounds.copied().max_by(f64::total_cmp)?;
                Some((format!("{most} at the most"), most <= 0.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rounds: &[[f64; 2]]) -> Figures<'static> {
        let mut figures = Figures::default();
        for (round, [envoy, gateway]) in rounds.iter().enumerate() {
            for (table, metric) in [
                (MESSAGES, CPU_PER_MESSAGE),
                (MESSAGES, P50),
                (STORM, ERRORS),
            ] {
                figures.add((table, "one"), "Envoy", metric, round, *envoy);
                figures.add((table, "one"), GATEWAY, metric, round, *gateway);
            }
            figures.add((CONNECTS, "10 rules"), GATEWAY, CPU_AT_MOST, round, 10.0);
            figures.add(
                (CONNECTS, "99 rules"),
                GATEWAY,
                CPU_AT_MOST,
                round,
                *gateway,
            );
        }
        figures
    }

    fn verdicts(figures: &Figures) -> Vec<String> {
        let text = table(figures);
        let rows = text.lines().skip(2);
        rows.map(|row| {
            row.rsplit(" | ")
                .next()
                .unwrap()
                .trim_end_matches(" |")
                .to_owned()
        })
        .collect()
    }

    #[test]
    fn a_miss_is_said_of_the_worst_load_and_of_any_round() {
        // CPU, p50, the same with more rules, errors.
        let close = figures(&[[10.0, 10.1], [10.0, 10.2], [10.0, 9.9]]);
        assert_eq!(
            verdicts(&close),
            ["reached", "reached", "reached", "**missed**"]
        );
        let far = figures(&[[10.0, 14.0], [10.0, 13.0]]);
        assert_eq!(
            verdicts(&far),
            ["**missed**", "**missed**", "**missed**", "**missed**"]
        );
        assert!(table(&far).contains("1.35 × at the worst (one)"));
        let none = figures(&[[1.0, 0.0]]);
        assert_eq!(verdicts(&none).last().unwrap(), "reached");
    }

    #[test]
    fn what_was_not_measured_has_no_row() {
        assert_eq!(verdicts(&Figures::default()), [] as [String; 0]);
    }
}
