//! Do the documents hold what they promise?

use std::path::{Path, PathBuf};

use fixgw_repo_tests::files;

use crate::none;

/// The sections of a decision record, in this order.
const SECTIONS: &[&str] = &[
    "Status",
    "Context",
    "Options Considered",
    "Decision",
    "Consequences",
];

/// Fewer than this is not a choice.
const OPTIONS_MIN: usize = 3;

fn headings(text: &str, level: usize) -> Vec<&str> {
    let mark = format!("{} ", "#".repeat(level));
    let mut is_code = false;
    text.lines()
        .filter(|line| {
            is_code ^= line.starts_with("```");
            !is_code
        })
        .filter_map(|line| line.strip_prefix(&mark))
        .map(str::trim)
        .collect()
}

/// The text under one heading of the second level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let begin = text
        .split_once(&format!("\n## {heading}\n"))
        .map_or("", |(_, after)| after);
    begin
        .split_once("\n## ")
        .map_or(begin, |(inside, _)| inside)
}

#[test]
fn decision_records_are_whole() {
    let records = files::under("adr", "md");
    assert!(!records.is_empty(), "there is no decision record in adr/");
    let mut found = Vec::new();
    for record in records
        .iter()
        .filter(|record| !record.ends_with("README.md"))
    {
        let text = files::text(record).expect("a decision record is text");
        let sections = headings(&text, 2);
        if sections != SECTIONS {
            found.push(format!(
                "{}: its sections are {sections:?}, not {SECTIONS:?}",
                record.display()
            ));
        }
        let options = section(&text, "Options Considered");
        let count = headings(&format!("\n{options}"), 3).len();
        if count < OPTIONS_MIN {
            found.push(format!(
                "{}: {count} options under `### `, of at least {OPTIONS_MIN}",
                record.display()
            ));
        }
        for side in ["Pro", "Con"] {
            let is_said = |line: &str| {
                line.trim_start_matches(['-', '*', '+', ' '])
                    .starts_with(side)
            };
            if options.lines().filter(|line| is_said(line)).count() < count {
                found.push(format!(
                    "{}: not every option says its `{side}`",
                    record.display()
                ));
            }
        }
    }
    none(&found, "decision records");
}

#[test]
fn relative_links_lead_somewhere() {
    let mut found = Vec::new();
    for document in files::under("", "md") {
        let text = files::text(&document).expect("a document is text");
        for link in links(&text) {
            let Some(target) = target(&document, link) else {
                continue;
            };
            let (file, anchor) = target;
            if !files::root().join(&file).exists() {
                found.push(format!("{}: `{link}` leads nowhere", document.display()));
            } else if let Some(anchor) = anchor
                && !anchors(&file).contains(&anchor)
            {
                found.push(format!(
                    "{}: `{link}` names no heading of {}",
                    document.display(),
                    file.display()
                ));
            }
        }
    }
    none(&found, "links");
}

#[test]
fn links_and_anchors_are_read() {
    assert_eq!(
        links("see [a](b.md#c-d) and ![i](x.png)\n```\n[n](o)\n```\n[r]: s.md"),
        ["b.md#c-d", "x.png", "s.md"]
    );
    assert_eq!(
        slug("What works, today? `fixgw up`"),
        "what-works-today-fixgw-up"
    );
}

/// What the text links to, code blocks left out.
fn links(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code {
            continue;
        }
        found.extend(
            line.split("](")
                .skip(1)
                .filter_map(|after| after.split_once(')').map(|(link, _)| link)),
        );
        if let Some((_, link)) = line
            .strip_prefix('[')
            .and_then(|line| line.split_once("]: "))
        {
            found.push(link);
        }
    }
    found
}

/// The file and heading that a relative link means; `None` for a link to elsewhere.
fn target(document: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| {
        (file, Some(anchor.to_owned()))
    });
    let file = if file.is_empty() {
        document.to_owned()
    } else {
        document
            .parent()
            .expect("a file lies in a directory")
            .join(file)
    };
    Some((file, anchor))
}

fn anchors(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(files::root().join(file)).unwrap_or_default();
    (1..=6)
        .flat_map(|level| {
            headings(&text, level)
                .into_iter()
                .map(slug)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// How a heading is named in links.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|char| match char {
            ' ' => Some('-'),
            '-' | '_' => Some(char),
            _ => char.is_alphanumeric().then_some(char),
        })
        .collect()
}
