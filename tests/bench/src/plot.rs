//! How do figures look as a picture?
//!
//! Pure: one kind of plot, as SVG. A group of marks for each load; in it for each subject a dot at the median, with a line from the
//! least to the most. The axis is logarithmic, because subjects differ by factors.

use std::fmt::Write as _;

use crate::figures::{Figures, Metric};
use crate::statistics::Spread;
use crate::table::number;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 36.0;

/// A colour for each subject, told apart by people who see few of them (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#000000", "#E69F00", "#009E73", "#56B4E9", "#D55E00", "#CC79A7", "#0072B2",
];

/// One picture: which figures of which table, load by load.
pub struct Plot {
    /// What it shows.
    pub title: &'static str,
    /// Where the figures stand.
    pub table: &'static str,
    /// Which.
    pub metric: Metric<'static>,
    /// Of the loads that begin so.
    pub loads: &'static str,
}

impl Plot {
    /// The picture; `None` where there is no such figure above zero.
    #[must_use]
    pub fn svg(&self, figures: &Figures) -> Option<String> {
        let mut loads: Vec<&str> = Vec::new();
        let mut subjects: Vec<&str> = Vec::new();
        let mut marks: Vec<(usize, usize, Spread)> = Vec::new();
        for figure in figures.of_table(self.table) {
            let Some(load) = figure.load.strip_prefix(self.loads) else {
                continue;
            };
            if figure.metric != self.metric {
                continue;
            }
            let Some(spread) = figure.spread().filter(|spread| spread.least > 0.0) else {
                continue;
            };
            let at = place(&mut loads, load);
            let by = place(&mut subjects, figure.subject.as_str());
            marks.push((at, by, spread));
        }
        let axis = Axis::over(marks.iter().map(|(_, _, spread)| spread))?;
        let mut svg = self.begin();
        axis.draw(&mut svg);
        legend(&mut svg, &subjects);
        #[allow(
            clippy::cast_precision_loss,
            reason = "a handful of loads and subjects"
        )]
        let (group, step) = {
            let group = (WIDTH - LEFT - RIGHT) / loads.len() as f64;
            (group, group * 0.7 / subjects.len() as f64)
        };
        for (index, load) in loads.iter().enumerate() {
            let middle = LEFT + group * (as_f64(index) + 0.5);
            let label = load.trim_start_matches([',', ' ']);
            text(&mut svg, (middle, HEIGHT - 12.0), "middle", label);
        }
        for (load, subject, spread) in marks {
            let x = LEFT + group * (as_f64(load) + 0.15) + step * (as_f64(subject) + 0.5);
            let colour = COLOURS[subject % COLOURS.len()];
            let [most, median, least] =
                [spread.most, spread.median, spread.least].map(|value| axis.at(value));
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{most:.1}\" x2=\"{x:.1}\" y2=\"{least:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <circle cx=\"{x:.1}\" cy=\"{median:.1}\" r=\"4\" fill=\"{colour}\"><title>{}: {} ({}–{})</title></circle>",
                subjects[subject],
                number(spread.median),
                number(spread.least),
                number(spread.most),
            );
        }
        svg.push_str("</svg>\n");
        Some(svg)
    }

    fn begin(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
        );
        let title = match self.metric.unit {
            "" => self.title.to_owned(),
            unit => format!("{}, {unit}", self.title),
        };
        text(&mut svg, (LEFT, 20.0), "start", &title);
        svg
    }
}

/// The vertical axis, by the logarithm.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn over<'s>(spreads: impl Iterator<Item = &'s Spread>) -> Option<Self> {
        let (low, high) = spreads.fold((f64::MAX, 0.0_f64), |(low, high), spread| {
            (low.min(spread.least), high.max(spread.most))
        });
        (high > 0.0).then(|| Self {
            low: low / 1.15,
            high: high * 1.15,
        })
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)
    }

    /// A line at 1, 2 and 5 of each power of ten that is on it.
    fn draw(&self, svg: &mut String) {
        for power in -3..9 {
            for step in [1.0, 2.0, 5.0] {
                let value = step * 10.0_f64.powi(power);
                if value < self.low || value > self.high {
                    continue;
                }
                let y = self.at(value);
                let right = WIDTH - RIGHT;
                let _ = writeln!(
                    svg,
                    "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>"
                );
                text(svg, (LEFT - 6.0, y + 4.0), "end", &number(value));
            }
        }
    }
}

fn legend(svg: &mut String, subjects: &[&str]) {
    let mut x = LEFT;
    for (index, subject) in subjects.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"36\" r=\"4\" fill=\"{colour}\"/>",
            x + 4.0
        );
        text(svg, (x + 12.0, 40.0), "start", subject);
        x += 30.0 + 7.0 * as_f64(subject.chars().count());
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

#[allow(clippy::cast_precision_loss, reason = "a handful")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

fn place<'t>(all: &mut Vec<&'t str>, one: &'t str) -> usize {
    if let Some(place) = all.iter().position(|known| *known == one) {
        return place;
    }
    all.push(one);
    all.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::{CPU, some};
    use crate::golden;

    #[test]
    fn a_plot_shows_each_subject_at_each_load() {
        let plot = Plot {
            title: "CPU per message",
            table: "messages",
            metric: CPU,
            loads: "",
        };
        golden::check("plot.svg", &plot.svg(&some()).unwrap_or_default());
    }

    #[test]
    fn there_is_no_plot_of_nothing() {
        let plot = Plot {
            title: "nothing",
            table: "nowhere",
            metric: CPU,
            loads: "",
        };
        assert_eq!(plot.svg(&some()), None);
    }
}
