//! How do figures look as tables, for a terminal and for a document, and as lines for a program?
//!
//! Pure. A cell has the median, and beside it the least and the most of its rounds and the ratio to plain Envoy; where there was
//! one round, which is so for what is counted and not measured, the number alone.

use std::fmt::Write as _;

use crate::figures::{Figure, Figures, Metric};
use crate::statistics::Spread;

/// What stands where a subject has no such figure.
const NONE: &str = "—";

/// The table as Markdown, in columns of equal width.
#[must_use]
pub fn markdown(figures: &Figures, table: &str) -> String {
    let metrics = metrics(figures, table);
    let loads = distinct(figures.of_table(table).map(|figure| figure.load.as_str()));
    let subjects = distinct(
        figures
            .of_table(table)
            .map(|figure| figure.subject.as_str()),
    );
    let mut rows = vec![heading(&metrics)];
    for load in loads {
        for subject in &subjects {
            let of_row = |figure: &&Figure| figure.load == load && figure.subject == **subject;
            let row: Vec<&Figure> = figures.of_table(table).filter(of_row).collect();
            if row.is_empty() {
                continue;
            }
            let cell = |metric: &Metric| {
                let figure = row.iter().find(|figure| figure.metric == *metric);
                figure.map_or_else(|| NONE.to_owned(), |figure| cell(figures, figure))
            };
            let mut cells = vec![load.to_owned(), (*subject).to_owned()];
            cells.extend(metrics.iter().map(cell));
            rows.push(cells);
        }
    }
    aligned(&rows)
}

/// In the order in which the subject tells them that has the most; those that it has not, after them.
fn metrics<'t>(figures: &Figures<'t>, table: &str) -> Vec<Metric<'t>> {
    let of = |subject: &str| {
        let own = figures.of_table(table).filter(|it| it.subject == subject);
        distinct(own.map(|figure| figure.metric))
    };
    let subjects = distinct(
        figures
            .of_table(table)
            .map(|figure| figure.subject.as_str()),
    );
    let told = subjects.into_iter().map(of);
    // Of several, the first.
    let most = told.rev().max_by_key(Vec::len).unwrap_or_default();
    let all = figures.of_table(table).map(|figure| figure.metric);
    distinct(most.into_iter().chain(all))
}

fn heading(metrics: &[Metric]) -> Vec<String> {
    let mut heading = vec!["load".to_owned(), "subject".to_owned()];
    heading.extend(metrics.iter().map(|metric| match metric.unit {
        "" => metric.name.to_owned(),
        unit => format!("{}, {unit}", metric.name),
    }));
    heading
}

fn cell(figures: &Figures, figure: &Figure) -> String {
    let Some(spread) = figure.spread() else {
        return NONE.to_owned();
    };
    let mut cell = number(spread.median);
    if spread.rounds > 1 {
        let _ = write!(cell, " ({}–{})", number(spread.least), number(spread.most));
    }
    if let Some(ratio) = figures.ratio(figure) {
        let _ = write!(cell, " **{:.2} ×**", ratio.median);
        if ratio.rounds > 1 {
            let _ = write!(cell, " ({:.2}–{:.2})", ratio.least, ratio.most);
        }
    }
    cell
}

/// Three digits that count, no more than two of them behind the point.
#[must_use]
pub fn number(value: f64) -> String {
    let places = match value.abs() {
        ..10.0 if value.fract() != 0.0 => 2,
        ..100.0 if value.fract() != 0.0 => 1,
        _ => 0,
    };
    let digits = format!("{value:.places$}");
    let (whole, rest) = digits.split_once('.').unwrap_or((&digits, ""));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !rest.is_empty() {
        let _ = write!(grouped, ".{rest}");
    }
    grouped
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let mark = if column < 2 { "-" } else { ":" };
                let _ = write!(text, "| {:->width$}{mark}", "", width = width);
            }
            text.push_str("|\n");
        }
    }
    text
}

/// One line for each figure, for a program: what a later run is compared with.
#[must_use]
pub fn csv(figures: &Figures) -> String {
    let mut text = format!("{}\n", HEADING.join(","));
    for figure in figures.iter() {
        let Some(spread) = figure.spread() else {
            continue;
        };
        let ratio = figures.ratio(figure);
        let of = |of: fn(&Spread) -> f64| ratio.as_ref().map_or(String::new(), |it| exact(of(it)));
        let line = [
            figure.table.to_owned(),
            figure.load.clone(),
            figure.subject.clone(),
            figure.metric.name.to_owned(),
            figure.metric.unit.to_owned(),
            spread.rounds.to_string(),
            exact(spread.median),
            exact(spread.least),
            exact(spread.most),
            of(|ratio| ratio.median),
            of(|ratio| ratio.least),
            of(|ratio| ratio.most),
        ];
        let line: Vec<String> = line.iter().map(|cell| quoted(cell)).collect();
        let _ = writeln!(text, "{}", line.join(","));
    }
    text
}

/// The columns of the CSV.
pub const HEADING: [&str; 12] = [
    "table",
    "load",
    "subject",
    "metric",
    "unit",
    "rounds",
    "median",
    "least",
    "most",
    "ratio_median",
    "ratio_least",
    "ratio_most",
];

/// Enough digits for a comparison, and none that only differ by chance.
fn exact(value: f64) -> String {
    let digits = format!("{value:.4}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    digits.to_owned()
}

/// As RFC 4180 has it.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for one in all {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::some;
    use crate::golden;

    #[test]
    fn numbers_have_the_digits_that_count() {
        for (value, text) in [
            (0.0, "0"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (12_345.6, "12,346"),
            (1_234_567.0, "1,234,567"),
            (5.0, "5"),
            (-4.25, "-4.25"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_table_shows_spread_and_ratio() {
        golden::check("table.md", &markdown(&some(), "messages"));
    }

    #[test]
    fn a_line_for_each_figure() {
        golden::check("results.csv", &csv(&some()));
    }
}
