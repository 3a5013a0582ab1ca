//! Are the figures that README.md tells those that were measured?
//!
//! The words stand here, with a place for each figure; the figures are taken from docs/benchmarks/results.csv, rounded, and README.md
//! must hold what comes of that. So a run that is committed says which sentences are no longer true, and what to write instead.

use fixgw_repo_tests::files;

use crate::none;

const RESULTS: &str = "docs/benchmarks/results.csv";
const README: &str = "README.md";
/// The part of README.md that tells figures. No other figure may stand in it.
const HEADING: &str = "\n## Beside what people use today\n";

/// What a place is filled with.
enum Figure {
    /// The ratio to plain Envoy of the line that begins so, by two places, and in brackets the least and the most of its rounds.
    Ratio(&'static str),
    /// The figure itself of the line that begins so, and the same of it.
    Value(&'static str),
    /// The number of the line that begins so.
    Count(&'static str),
    /// How many counterparties came at once.
    Storm,
}

use Figure::{Count, Ratio, Storm, Value};

/// Sentences, `{}` for each figure.
const SENTENCES: [(&str, &[Figure]); 9] = [
    (
        "CPU per message, 16 busy sessions: HAProxy {}, nginx {}, the gateway {}.",
        &[
            Ratio("messages,\"150 B, 16 sessions\",HAProxy,CPU per message back to back,"),
            Ratio("messages,\"150 B, 16 sessions\",nginx,CPU per message back to back,"),
            Ratio("messages,\"150 B, 16 sessions\",gateway,CPU per message back to back,"),
        ],
    ),
    (
        "Round trip, 16 sessions, p50: HAProxy {}, nginx {}, the gateway {}; p99: {}, {}, {}.",
        &[
            Ratio("messages,\"150 B, 16 sessions\",HAProxy,p50,"),
            Ratio("messages,\"150 B, 16 sessions\",nginx,p50,"),
            Ratio("messages,\"150 B, 16 sessions\",gateway,p50,"),
            Ratio("messages,\"150 B, 16 sessions\",HAProxy,p99,"),
            Ratio("messages,\"150 B, 16 sessions\",nginx,p99,"),
            Ratio("messages,\"150 B, 16 sessions\",gateway,p99,"),
        ],
    ),
    (
        "CPU per connect + Logon at most load, 1,000 rules: HAProxy {}, nginx {}, the gateway {}; 100,000 rules: {}, {}, {}.",
        &[
            Ratio("connects,1000 rules,HAProxy,CPU per connect + Logon at most,"),
            Ratio("connects,1000 rules,nginx,CPU per connect + Logon at most,"),
            Ratio("connects,1000 rules,gateway,CPU per connect + Logon at most,"),
            Ratio("connects,100000 rules,HAProxy,CPU per connect + Logon at most,"),
            Ratio("connects,100000 rules,nginx,CPU per connect + Logon at most,"),
            Ratio("connects,100000 rules,gateway,CPU per connect + Logon at most,"),
        ],
    ),
    (
        "Logons per second at most, 1,000 rules: HAProxy {}, nginx {}, the gateway {}.",
        &[
            Ratio("connects,1000 rules,HAProxy,Logons per second at most,"),
            Ratio("connects,1000 rules,nginx,Logons per second at most,"),
            Ratio("connects,1000 rules,gateway,Logons per second at most,"),
        ],
    ),
    (
        "MiB with 10,000 rules: HAProxy {}, nginx {}, the gateway {}.",
        &[
            Value("start,10000 rules,HAProxy,memory,"),
            Value("start,10000 rules,nginx,memory,"),
            Value("start,10000 rules,gateway,memory,"),
        ],
    ),
    (
        "Milliseconds from the start to the first answer then: {}, {}, {}.",
        &[
            Value("start,10000 rules,HAProxy,start to first answer,"),
            Value("start,10000 rules,nginx,start to first answer,"),
            Value("start,10000 rules,gateway,start to first answer,"),
        ],
    ),
    (
        "Milliseconds until a change of the rules counts: HAProxy's runtime socket {}, nginx's reload {}, the gateway {}, of which it waits 250 for more changes.",
        &[
            Value("change,10000 rules,\"HAProxy, runtime socket\",until applied,"),
            Value("change,10000 rules,\"nginx, reload\",until applied,"),
            Value("change,10000 rules,gateway,until applied,"),
        ],
    ),
    (
        "CPU per connection in a storm of {}: HAProxy {}, nginx {}, the gateway {}.",
        &[
            Storm,
            Ratio("storm,@,HAProxy,CPU per connect + Logon,"),
            Ratio("storm,@,nginx,CPU per connect + Logon,"),
            Ratio("storm,@,gateway,CPU per connect + Logon,"),
        ],
    ),
    (
        "Of {} Logons that are made to mislead, HAProxy handed {} to an engine though a reader sees the other one, nginx {}, the gateway {}.",
        &[
            Count("attacks,all,gateway,cases,"),
            Count("attacks,all,HAProxy,handed to an engine though a reader sees the other one,"),
            Count("attacks,all,nginx,handed to an engine though a reader sees the other one,"),
            Count("attacks,all,gateway,handed to an engine though a reader sees the other one,"),
        ],
    ),
];

/// What README.md says of changes, and who loses no session by it; all others lose all.
const CHANGES: &str = "In a change of rules nobody lost a session, but those that end old processes after a reload, which lost all.";
const LOSE_ALL: [&str; 2] = [
    "\"HAProxy, reload, hard-stop-after 2s\"",
    "\"nginx, reload, worker_shutdown_timeout 2s\"",
];

/// How many sessions there are beside a change.
const SESSIONS: &str = "200";

/// The columns behind the unit: rounds, median, least, most, and the same of the ratio.
fn columns<'r>(results: &'r str, begin: &str) -> Result<Vec<&'r str>, String> {
    let begin = begin.replace('@', &format!("{} at once", storm(results)?));
    let line = results.lines().find_map(|line| line.strip_prefix(&*begin));
    let line = line.ok_or_else(|| format!("{RESULTS} has no line `{begin}…`"))?;
    Ok(line.split(',').skip(1).collect())
}

fn storm(results: &str) -> Result<&str, String> {
    let load = results.lines().find_map(|line| line.strip_prefix("storm,"));
    let count = load.and_then(|load| load.split_once(" at once"));
    let (count, _) = count.ok_or_else(|| format!("{RESULTS} has no storm"))?;
    Ok(count)
}

/// As people write it: thousands are set apart, and nothing is none.
fn in_words(count: &str) -> String {
    match count.split_at_checked(count.len().saturating_sub(3)) {
        _ if count == "0" => "none".to_owned(),
        Some((thousands, rest)) if !thousands.is_empty() => format!("{thousands},{rest}"),
        _ => count.to_owned(),
    }
}

/// Middle, least and most, from this column of the line that begins so.
fn three(results: &str, begin: &str, from: usize) -> Result<[f64; 3], String> {
    let columns = columns(results, begin)?;
    let number = |cell: &&str| cell.parse::<f64>().ok();
    let three: Vec<f64> = columns
        .iter()
        .skip(from)
        .take(3)
        .filter_map(number)
        .collect();
    three
        .try_into()
        .map_err(|_| format!("{RESULTS}: `{begin}…` has not the three figures that are told"))
}

/// By three places at the least.
fn short(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => in_words(&format!("{value:.0}")),
    }
}

impl Figure {
    fn of(&self, results: &str) -> Result<String, String> {
        match self {
            Storm => storm(results).map(in_words),
            Count(begin) => Ok(in_words(columns(results, begin)?[1])),
            Ratio(begin) => {
                let ratio = three(results, begin, 4)?;
                let [median, least, most] = ratio.map(|ratio| format!("{ratio:.2}"));
                Ok(format!("{median} ({least}–{most})"))
            }
            Value(begin) => {
                let [median, least, most] = three(results, begin, 1)?.map(short);
                Ok(format!("{median} ({least}–{most})"))
            }
        }
    }
}

/// What is wrong with a text that tells these results.
fn findings(text: &str, results: &str) -> Vec<String> {
    let told = text
        .split_once(HEADING)
        .map_or("", |(_, after)| after)
        .split("\n## ")
        .next()
        .unwrap_or_default();
    let mut told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for (words, figures) in SENTENCES {
        let mut sentence = words.to_owned();
        for figure in figures {
            match figure.of(results) {
                Ok(figure) => sentence = sentence.replacen("{}", &figure, 1),
                Err(wrong) => found.push(wrong),
            }
        }
        if told.contains(&sentence) {
            told = told.replace(&sentence, "");
        } else {
            found.push(format!(
                "{README} does not say what was measured: write `{sentence}`"
            ));
        }
    }
    let words = told.split_inclusive(['.', ';']);
    let is_figure = |words: &&str| words.contains(|character: char| character.is_ascii_digit());
    // Of a sentence that is wrong, that is said already.
    for words in words.filter(is_figure).filter(|_| found.is_empty()) {
        unknown.push(format!(
            "{README} tells a figure that no line of {RESULTS} is known to stand for: `{}`; add its sentence to this test",
            words.trim()
        ));
    }
    found.append(&mut unknown);
    found.extend(losses(&told, results));
    found
}

fn losses(told: &str, results: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !told.contains(CHANGES) {
        found.push(format!("{README} does not say of changes: `{CHANGES}`"));
    }
    let lost = results.lines().filter(|line| line.starts_with("change,"));
    let lost = lost.filter_map(|line| line.split_once(",sessions lost,,"));
    let mut ways = 0;
    for (way, numbers) in lost {
        ways += 1;
        let loses_all = LOSE_ALL.iter().any(|name| way.ends_with(name));
        let columns: Vec<&str> = numbers.split(',').collect();
        let [_, _, least, most, ..] = columns[..] else {
            found.push(format!("{RESULTS}: `{way}` has too few columns"));
            continue;
        };
        let wanted = if loses_all { SESSIONS } else { "0" };
        if [least, most] != [wanted; 2] {
            found.push(format!(
                "{RESULTS}: `{way}` lost {least} to {most} sessions, not {wanted}: `{CHANGES}` is not true"
            ));
        }
    }
    if ways == 0 {
        found.push(format!(
            "{RESULTS} says nothing of sessions lost in changes"
        ));
    }
    found
}

#[test]
fn the_readme_tells_what_was_measured() {
    let text = |file: &str| std::fs::read_to_string(files::root().join(file)).unwrap();
    none(&findings(&text(README), &text(RESULTS)), "figures");
}

#[test]
fn another_figure_is_noticed() {
    let text = |file: &str| std::fs::read_to_string(files::root().join(file)).unwrap();
    let (readme, results) = (text(README), text(RESULTS));
    let (before, after) = readme.split_once(HEADING).unwrap();
    let with = |edit: &dyn Fn(&str) -> String| format!("{before}{HEADING}{}", edit(after));
    for (edited, noticed) in [
        (
            with(&|text| text.replacen("HAProxy 0.", "HAProxy 7.", 1)),
            "write `CPU per message",
        ),
        (
            with(&|text| text.replacen("nginx", "9 times nginx", 1)),
            "no line",
        ),
        (
            with(&|text| text.replacen("which lost all", "which lost some", 1)),
            "of changes",
        ),
    ] {
        let found = findings(&edited, &results);
        assert!(
            found.iter().any(|found| found.contains(noticed)),
            "{found:?}"
        );
    }
    let lost = results.replace(
        ",gateway,sessions lost,,3,0,0,0",
        ",gateway,sessions lost,,3,1,0,1",
    );
    let found = findings(&readme, &lost);
    assert!(
        found.iter().any(|found| found.contains("is not true")),
        "{found:?}"
    );
}
