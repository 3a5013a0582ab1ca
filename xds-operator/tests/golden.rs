//! What does the front half of the control plane make of a directory? A case is a directory of steps; what it says and
//! what it would serve after each is compared with `expected.txt`.
//!
//! `UPDATE=1 cargo test -p fixgw-operator --test golden` rewrites what differs. A step is a directory `1`, `2`, … of
//! files (or the case's `input` itself); between steps everything settles. A step whose name ends with `-restart`
//! begins with a new pipeline over the state that was kept. A case may have a file `conflict-policy`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use fixgw_core::rule::Class;
use fixgw_core::table::{RouteRef, Table};
use fixgw_operator::pipeline::hold::ConflictPolicy;
use fixgw_operator::pipeline::settle::Times;
use fixgw_operator::pipeline::{Outcome, Pipeline, Saved};
use fixgw_operator::source::directory::Directory;
use fixgw_operator::state::StateDirectory;
use fixgw_operator::world::ExtraEndpoint;
use fixgw_operator::xds::Snapshot;

/// Milliseconds between steps: everything settles.
const STEP_MS: u64 = 60_000;

#[test]
fn each_directory_is_told_and_served_as_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pipeline");
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for case in listed(&cases) {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let stray: Vec<_> = listed(&case)
            .into_iter()
            .filter(|path| {
                !["input", "expected.txt", "endpoints", "conflict-policy"]
                    .iter()
                    .any(|known| path.ends_with(known))
            })
            .collect();
        if !case.join("input").is_dir() || !stray.is_empty() {
            wrong.push(format!(
                "{name}: has no `input`, or something that belongs to no case: {stray:?}"
            ));
            continue;
        }
        seen += 1;
        let found = run(&case);
        let expected = case.join("expected.txt");
        if fs::read_to_string(&expected).ok().as_ref() == Some(&found) {
            continue;
        }
        if update {
            fs::write(&expected, found).unwrap();
        } else {
            wrong.push(format!("{name}: {}\n{found}", expected.display()));
        }
    }
    assert!(seen > 0, "no case found");
    assert!(
        wrong.is_empty(),
        "differ; UPDATE=1 rewrites:\n{}",
        wrong.join("\n")
    );
}

fn listed(path: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn run(case: &Path) -> String {
    let input = case.join("input");
    let steps: Vec<PathBuf> = listed(&input)
        .into_iter()
        .filter(|path| {
            path.is_dir() && path.file_name().unwrap().as_encoded_bytes()[0].is_ascii_digit()
        })
        .collect();
    let steps = if steps.is_empty() { vec![input] } else { steps };
    let extra: Vec<ExtraEndpoint> = fs::read_to_string(case.join("endpoints"))
        .unwrap_or_default()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    let policy = fs::read_to_string(case.join("conflict-policy")).map_or_else(
        |_| ConflictPolicy::default(),
        |text| ConflictPolicy::from_str(text.trim(), false).unwrap(),
    );
    let work = tempfile::tempdir().unwrap();
    let rules = work.path().join("rules");
    let state = StateDirectory::open(&work.path().join("state")).unwrap();
    let mut pipeline = Pipeline::new(Times::default(), policy, None);
    let mut out = String::new();
    let mut doubted = false;
    for (index, step) in steps.iter().enumerate() {
        let now_ms = STEP_MS * (index as u64 + 1);
        let name = step.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with("-restart") {
            let saved = state.load("rules").unwrap();
            doubted = saved.as_ref().is_some_and(Saved::has_routes);
            pipeline = Pipeline::new(Times::default(), policy, saved);
        }
        fs::remove_dir_all(&rules).ok();
        copy(step, &rules);
        // The working directory of a test is shared, so the name is cut to what a person would have given.
        let mut directory = Directory::open(&rules, extra.clone()).unwrap();
        if doubted {
            directory.doubt_emptiness();
        }
        pipeline.observe(&directory.read(), now_ms);
        let mut outcome = Outcome::default();
        while let Some(due_ms) = pipeline.deadline_ms() {
            let next = pipeline.advance(due_ms, due_ms);
            outcome.messages.extend(next.messages);
            outcome.snapshot = next.snapshot.or(outcome.snapshot);
            outcome.saved = next.saved.or(outcome.saved);
        }
        // A pause or a taken-back change leaves no deadline, and still says something.
        outcome
            .messages
            .extend(pipeline.advance(now_ms, now_ms).messages);
        if let Some(saved) = &outcome.saved {
            state.save(saved, "rules").unwrap();
        }
        if steps.len() > 1 {
            writeln!(out, "=== {name}").unwrap();
        }
        for message in &outcome.messages {
            writeln!(out, "{message}").unwrap();
        }
        match &outcome.snapshot {
            Some(snapshot) => served(&mut out, snapshot),
            None => writeln!(out, "--- served: as before").unwrap(),
        }
    }
    out.replace(&format!("{}/", work.path().display()), "")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in listed(from) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn served(out: &mut String, snapshot: &Snapshot) {
    let table = Table::load(snapshot.table_image.to_vec()).unwrap();
    assert_eq!(table.revision(), snapshot.revision);
    writeln!(out, "--- served: table {}", snapshot.revision).unwrap();
    let mut routes: Vec<RouteRef> = table.routes().collect();
    routes.sort_by_key(|route| std::cmp::Reverse(table.route_rank(*route)));
    for route in routes {
        let (namespace, name) = table.route_name(route).unwrap();
        let rank = table.route_rank(route).unwrap();
        let rank = match rank.class {
            Class::Exact => format!("exact, {} field(s)", rank.weight),
            Class::Wildcard => format!("wildcard, priority {}", rank.weight),
            Class::Default => format!("default, priority {}", rank.weight),
        };
        let fields = table
            .conditions(route)
            .map(|condition| condition.label.to_owned());
        let ranges = table.ranges(route).map(|range| format!("from {range}"));
        let conditions: Vec<String> = fields.chain(ranges).collect();
        let target = table.target(route).unwrap();
        writeln!(
            out,
            "{namespace}/{name} [{rank}] {} -> {target}",
            conditions.join(" ")
        )
        .unwrap();
    }
    for (target, endpoints) in &snapshot.endpoints {
        let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
        let state = if endpoints.is_empty() {
            "not ready".to_owned()
        } else {
            endpoints.join(" ")
        };
        let header = match snapshot.proxy_protocol.get(target) {
            Some(version) => format!(", told by {version:?}"),
            None => String::new(),
        };
        let timeout = match snapshot.tcp_timeouts.get(target) {
            Some(timeout) => format!(", ends after {timeout}"),
            None => String::new(),
        };
        writeln!(out, "{target} = {state}{header}{timeout}").unwrap();
    }
}
