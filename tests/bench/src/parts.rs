//! What do the gateway's parts cost by themselves, from the lines that their benchmarks tell?
//!
//! Pure. The lines are those of `fixgw_e2e::figure`. Figures, tables and CSV have the form that they have in the comparison with peers;
//! each ratio is to the subject that the line names.

use fixgw_e2e::figure::MARK;

use crate::figures::{Figures, Metric};
use crate::table::markdown;

/// The words around the figures; a table stands where its name stands between `@`.
pub const WORDS: &str = include_str!("../parts.txt");
/// Where a document says what it was measured on.
const FACTS: &str = "FACTS";
/// Figures that a run may tell: ten times what it does.
const LINES_MAX: usize = 5_000;

/// Takes the figures out of what benchmarks have said.
///
/// # Errors
/// What is wrong with which line, in words.
pub fn read(said: &str) -> Result<Figures<'_>, String> {
    let mut figures = Figures::default();
    let lines = said.lines().filter_map(|line| line.strip_prefix(MARK));
    for (number, line) in lines.enumerate() {
        if number == LINES_MAX {
            return Err(format!("there are more than {LINES_MAX} figures"));
        }
        let columns: Vec<&str> = line.split('\t').collect();
        let [table, load, subject, name, unit, to, rounds] = columns[..] else {
            return Err(format!(
                "`{line}` has {} columns: seven are wanted, table, load, subject, metric, unit, to whom it is compared, rounds",
                columns.len()
            ));
        };
        if !places().any(|place| place == table) {
            return Err(format!(
                "`{line}`: the table `{table}` has no place in parts.txt: write `@{table}@` there"
            ));
        }
        let metric = Metric {
            name,
            unit,
            to: Some(to).filter(|to| !to.is_empty()),
        };
        for (round, value) in rounds.split(' ').enumerate() {
            let value: f64 = value
                .parse()
                .map_err(|_| format!("`{line}`: the round `{value}` is no number"))?;
            figures.add((table, load), subject, metric, round, value);
        }
    }
    if figures.iter().next().is_none() {
        return Err("there is no figure in it".to_owned());
    }
    Ok(figures)
}

/// The document: the words, with every table in its place.
#[must_use]
pub fn document(figures: &Figures, facts: &str) -> String {
    let segments = WORDS.split('@').enumerate();
    let filled = segments.map(|(number, segment)| match (number % 2, segment) {
        (0, words) => words.to_owned(),
        (_, FACTS) => facts.trim_end().to_owned(),
        (_, table) if figures.of_table(table).next().is_some() => {
            markdown(figures, table).trim_end().to_owned()
        }
        _ => "Not measured in this run.".to_owned(),
    });
    filled.collect()
}

/// The names of all tables, in the order of the document.
pub fn places() -> impl Iterator<Item = &'static str> {
    let places = WORDS.split('@').skip(1).step_by(2);
    places.filter(|place| *place != FACTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::csv;

    const SAID: &str = "some words\n\
        figure\treading\tan ordinary Logon\tits bytes\ttime\tns\tits bytes\t200 210 190\n\
        figure\treading\tan ordinary Logon\tthe Logon\ttime\tns\tits bytes\t500 525 570\n\
        figure\tfilter\trelease\tthe filter\tsize\tB\t\t477731\n";

    #[test]
    fn figures_are_compared_to_whom_their_lines_name() {
        let figures = read(SAID).unwrap();
        let csv = csv(&figures);
        for line in [
            "reading,an ordinary Logon,its bytes,time,ns,3,200,190,210,,,",
            "reading,an ordinary Logon,the Logon,time,ns,3,525,500,570,2.5,2.5,3",
            "filter,release,the filter,size,B,1,477731,477731,477731,,,",
        ] {
            assert!(csv.lines().any(|found| found == line), "{line}: {csv}");
        }
    }

    #[test]
    fn a_table_stands_in_its_place_and_no_place_stays_open() {
        let document = document(&read(SAID).unwrap(), "| | |\n");
        assert!(document.contains("| an ordinary Logon | the Logon | 525 (500–570) **2.50 ×**"));
        assert!(document.contains("Not measured in this run."));
        assert!(!document.contains('@'), "{document}");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (said, wrong) in [
            ("figure\treading\tload\n", "has 2 columns"),
            ("figure\tsundry\tl\ts\tm\tns\t\t1\n", "write `@sundry@`"),
            ("figure\treading\tl\ts\tm\tns\t\t1 x\n", "`x` is no number"),
            ("words\n", "no figure"),
        ] {
            let told = read(said).unwrap_err();
            assert!(told.contains(wrong), "{told}");
        }
    }
}
