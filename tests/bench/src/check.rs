//! What has moved since the figures that are committed, by more than the noise?
//!
//! Pure but for its end, [`tell`]. Machines differ, so ratios are compared, and what was counted: never times. A ratio has moved when the rounds of then and of now do not
//! overlap, and the middles lie further apart than [`NOISE`] (of tails, [`NOISE_TAIL`]). What only one of the two has is left out, and how
//! much that is, is told: a quick run measures less. What is counted (errors, sessions lost) is compared whatever the load: there must
//! be no more of it than under any that was measured then.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::table::{HEADING, number};

/// By how much a ratio differs from run to run where nothing has changed, as a part of it.
pub const NOISE: f64 = 0.05;
/// The same of the slowest hundredth and thousandth.
pub const NOISE_TAIL: f64 = 0.5;

/// Metrics of which that is.
const TAILS: [&str; 2] = ["p99", "p99.9"];

/// What is compared though it is no ratio: more of it is worse.
const COUNTS: [&str; 5] = [
    "errors",
    "sessions lost",
    "refused though BodyLength and CheckSum are right",
    "no Logons routed",
    "handed to an engine though a reader sees the other one",
];

/// Metrics of which more is better.
const MORE_IS_BETTER: [&str; 2] = ["Logons per second at most", "messages per second then"];

/// A line of the CSV that can be compared.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    metric: String,
    median: f64,
    least: f64,
    most: f64,
}

/// How the ones that are left of the comparison moved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moved {
    /// In words, one each: for the worse.
    pub worse: Vec<String>,
    /// For the better.
    pub better: Vec<String>,
    /// How many figures both have.
    pub compared: usize,
    /// How many one of them has alone.
    pub left_out: usize,
}

impl Moved {
    /// In words.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = String::new();
        for (what, lines) in [("worse", &self.worse), ("better", &self.better)] {
            for line in lines {
                let _ = writeln!(text, "{what}: {line}");
            }
        }
        let _ = writeln!(
            text,
            "{} figures compared, {} worse, {} better; {} that one of the two has alone",
            self.compared,
            self.worse.len(),
            self.better.len(),
            self.left_out,
        );
        text
    }
}

/// Compares two files of results.
///
/// # Errors
/// What is wrong with one of them, in words.
pub fn moved(then: &str, now: &str) -> Result<Moved, String> {
    let (then, now) = (read(then)?, read(now)?);
    let mut moved = Moved::default();
    for (key, now) in &now {
        let Some(then) = then.get(key) else { continue };
        moved.compared += 1;
        let metric = now.metric.as_str();
        let apart = now.least > then.most || now.most < then.least;
        let noise = if TAILS.contains(&metric) {
            NOISE_TAIL
        } else {
            NOISE
        };
        let differs = if COUNTS.contains(&metric) {
            now.most > then.most
        } else {
            apart && (now.median / then.median - 1.0).abs() > noise
        };
        if !differs {
            continue;
        }
        let told = format!(
            "{key}: {} ({}–{}), was {} ({}–{})",
            number(now.median),
            number(now.least),
            number(now.most),
            number(then.median),
            number(then.least),
            number(then.most)
        );
        let more = now.median > then.median || COUNTS.contains(&metric);
        if more == MORE_IS_BETTER.contains(&metric) {
            moved.better.push(told);
        } else {
            moved.worse.push(told);
        }
    }
    moved.left_out = then.len() + now.len() - 2 * moved.compared;
    if moved.compared == 0 {
        return Err("it has no figure that was measured now, too".to_owned());
    }
    Ok(moved)
}

/// Compares with a file of earlier results, tells what has moved, and says how the program ends: 1 if something is worse, 2 if it cannot
/// be compared.
#[must_use]
pub fn tell(earlier: &Path, now: &str) -> ExitCode {
    let then = std::fs::read_to_string(earlier).map_err(|error| error.to_string());
    match then.and_then(|then| moved(&then, now)) {
        Ok(moved) => {
            print!("\n{}", moved.told());
            ExitCode::from(u8::from(!moved.worse.is_empty()))
        }
        Err(wrong) => {
            eprintln!("`{}` cannot be compared with: {wrong}", earlier.display());
            ExitCode::from(2)
        }
    }
}

/// What can be compared, by what it is of.
fn read(text: &str) -> Result<BTreeMap<String, Line>, String> {
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    if heading != HEADING.join(",") {
        return Err(format!(
            "its first line is `{heading}`, not `{}`",
            HEADING.join(",")
        ));
    }
    let mut found: BTreeMap<String, Line> = BTreeMap::new();
    for line in lines {
        let cells = cells(line);
        let [
            table,
            load,
            subject,
            metric,
            _,
            _,
            median,
            least,
            most,
            ratios @ ..,
        ] = &cells[..]
        else {
            return Err(format!("`{line}` has too few columns"));
        };
        let [of, from, to] = ratios else {
            return Err(format!("`{line}` has not {} columns", HEADING.len()));
        };
        let counted = COUNTS.contains(&metric.as_str());
        let three = if counted {
            [median, least, most]
        } else {
            [of, from, to]
        };
        if !counted && of.is_empty() {
            continue;
        }
        let number = |cell: &String| {
            cell.parse::<f64>()
                .map_err(|_| format!("`{cell}` in `{line}` is no number"))
        };
        let [median, least, most] = three;
        let key = if counted {
            format!("{table}, {subject}, {metric}")
        } else {
            format!("{table}, {load}, {subject}, {metric}")
        };
        let line = Line {
            metric: metric.clone(),
            median: number(median)?,
            least: number(least)?,
            most: number(most)?,
        };
        // Of what is counted, the most under any load.
        match found.get_mut(&key) {
            Some(known) if counted && line.most <= known.most => {}
            Some(known) => *known = line,
            None => {
                found.insert(key, line);
            }
        }
    }
    Ok(found)
}

/// As RFC 4180 has it; no cell of ours has a line end.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut is_quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cells.last_mut().expect("there is one").push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(String::new()),
            other => cells.last_mut().expect("there is one").push(other),
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::some;
    use crate::table::csv;

    #[test]
    fn what_is_the_same_has_not_moved() {
        let text = csv(&some());
        let moved = moved(&text, &text).unwrap();
        assert_eq!(
            (moved.compared, moved.worse.len(), moved.better.len()),
            (2, 0, 0)
        );
    }

    fn line(metric: &str, three: &str) -> String {
        let (before, after) = if COUNTS.contains(&metric) {
            (three, ",,")
        } else {
            ("1,1,1", three)
        };
        format!(
            "{}\nt,\"150 B, 16\",gateway,{metric},,3,{before},{after}\n",
            HEADING.join(",")
        )
    }

    #[test]
    fn a_ratio_moves_when_its_rounds_lie_apart() {
        let words = |then: &str, now: &str| {
            let moved = moved(&line("CPU", then), &line("CPU", now)).unwrap();
            (moved.worse.len(), moved.better.len())
        };
        assert_eq!(words("1.1,1.0,1.2", "1.3,1.25,1.4"), (1, 0));
        assert_eq!(words("1.1,1.0,1.2", "0.8,0.7,0.9"), (0, 1));
        assert_eq!(words("1.1,1.0,1.2", "1.3,1.15,1.4"), (0, 0), "they overlap");
        assert_eq!(
            words("1.1,1.1,1.1", "1.12,1.12,1.12"),
            (0, 0),
            "less than the noise"
        );
        let tail = moved(&line("p99.9", "1.1,1.0,1.2"), &line("p99.9", "1.5,1.4,1.6"));
        assert_eq!(tail.unwrap().worse.len(), 0, "tails move by themselves");
    }

    #[test]
    fn more_is_better_or_worse_by_what_it_is() {
        let one = |metric: &str, then: &str, now: &str| {
            moved(&line(metric, then), &line(metric, now))
                .unwrap()
                .told()
        };
        assert_eq!(
            one("Logons per second at most", "0.5,0.5,0.5", "0.8,0.8,0.8"),
            "better: t, 150 B, 16, gateway, Logons per second at most: 0.80 (0.80–0.80), was 0.50 (0.50–0.50)\n\
             1 figures compared, 0 worse, 1 better; 0 that one of the two has alone\n"
        );
        let busier = one("messages per second then", "0.9,0.9,0.9", "0.5,0.5,0.5");
        assert!(busier.starts_with("worse: "), "{busier}");
        assert!(one("sessions lost", "0,0,0", "1,0,2").starts_with("worse: "));
        // One round of three is enough, under whatever load.
        let then = line("sessions lost", "0,0,0").replace("150 B, 16", "200 B");
        let lost = moved(&then, &line("sessions lost", "0,0,1")).unwrap();
        assert_eq!((lost.worse.len(), lost.left_out), (1, 0));
        assert!(!one("errors", "2,0,3", "0,0,0").contains(": t,"));
    }

    #[test]
    fn what_is_no_result_is_refused() {
        assert!(moved("a,b\n", "").unwrap_err().contains("first line"));
        let other = moved(&line("CPU", "1,1,1"), &line("p50", "1,1,1")).unwrap_err();
        assert!(other.contains("no figure that was measured now"), "{other}");
        let broken = line("CPU", "x,1,1");
        assert!(moved(&broken, &broken).unwrap_err().contains("`x`"));
    }
}
