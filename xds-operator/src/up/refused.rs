//! How many connections did Envoy refuse by itself, before our filter saw them? Read from its statistics, and told in a
//! line for each listener when a count has moved.
//!
//! The lines are pure ([`Tally`]); [`watch`] asks and speaks.

use std::collections::BTreeMap;
use std::time::Duration;

use fixgw_core::decision::Severity;
use tokio::time::{MissedTickBehavior, interval};

use super::admin::{self, Admin};
use crate::said::{Said, Speaker};

/// How often Envoy is asked.
const LOOK: Duration = Duration::from_secs(1);

/// What Envoy counts of a header that it does not take, behind `proxy_proto.LISTENER.`.
const REFUSED: [&str; 5] = [
    "not_found_disallowed",
    "versions.v1.error",
    "versions.v1.disallowed",
    "versions.v2.error",
    "versions.v2.disallowed",
];

/// What was told of one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    refused: u64,
    unfinished: u64,
}

impl Counts {
    fn of(statistics: &BTreeMap<String, u64>, listener: &str) -> Self {
        // As Envoy writes names in statistics.
        let listener = listener.replace(':', "_");
        let count = |name: String| statistics.get(&name).copied().unwrap_or(0);
        Self {
            refused: REFUSED
                .iter()
                .map(|kind| count(format!("proxy_proto.{listener}.{kind}")))
                .sum(),
            unfinished: count(format!("listener.{listener}.downstream_pre_cx_timeout")),
        }
    }
}

/// The counts of every listener as they were told last.
#[derive(Debug, Default)]
pub struct Tally {
    told: BTreeMap<String, Counts>,
    header_time: Duration,
}

impl Tally {
    /// Nothing refused yet.
    #[must_use]
    pub fn new(listeners: impl IntoIterator<Item = String>, header_time: Duration) -> Self {
        Self {
            told: listeners
                .into_iter()
                .map(|listener| (listener, Counts::default()))
                .collect(),
            header_time,
        }
    }

    /// What is new.
    pub fn change(&mut self, statistics: &BTreeMap<String, u64>) -> Vec<String> {
        let mut lines = Vec::new();
        for (listener, told) in &mut self.told {
            let now = Counts::of(statistics, listener);
            let within = self.header_time.as_millis();
            let kinds = [
                (
                    told.refused,
                    now.refused,
                    "refused: no or malformed PROXY header".to_owned(),
                ),
                (
                    told.unfinished,
                    now.unfinished,
                    format!("closed: no whole PROXY header within {within} ms"),
                ),
            ];
            for (before, now, what) in kinds {
                let new = now.saturating_sub(before);
                if new > 0 {
                    let plural = if new == 1 { "" } else { "s" };
                    lines.push(format!(
                        "{new} connection{plural} on {listener} {what} ({now} since the start)"
                    ));
                }
            }
            *told = now;
        }
        lines
    }
}

/// Looks every now and then, without an end.
pub async fn watch(admin: Admin, mut tally: Tally, voice: Speaker) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        // An Envoy that does not answer now does so the next time: its counts do not go back.
        let Some(statistics) = admin::proxy_protocol_statistics(&admin).await else {
            continue;
        };
        for line in tally.change(&statistics) {
            voice.say(&Said::gateway(Severity::Warn, line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn a_line_for_each_listener_whose_count_has_moved() {
        let names = ["main", "second"].map(str::to_owned);
        let mut tally = Tally::new(names, Duration::from_secs(10));
        assert_eq!(tally.change(&BTreeMap::new()), Vec::<String>::new());
        let first = statistics(&[
            ("proxy_proto.main.not_found_disallowed", 2),
            ("proxy_proto.main.versions.v2.error", 1),
            ("proxy_proto.main.versions.v2.found", 9),
            ("proxy_proto.main.not_found_allowed", 9),
            ("listener.second.downstream_pre_cx_timeout", 1),
        ]);
        assert_eq!(
            tally.change(&first),
            [
                "3 connections on main refused: no or malformed PROXY header (3 since the start)",
                "1 connection on second closed: no whole PROXY header within 10000 ms (1 since the start)",
            ]
        );
        assert_eq!(tally.change(&first), Vec::<String>::new());
        let later = statistics(&[
            ("proxy_proto.main.not_found_disallowed", 3),
            ("proxy_proto.main.versions.v2.error", 1),
            ("listener.second.downstream_pre_cx_timeout", 1),
        ]);
        assert_eq!(
            tally.change(&later),
            ["1 connection on main refused: no or malformed PROXY header (4 since the start)"]
        );
    }

    #[test]
    fn a_listener_is_found_by_its_name_as_envoy_writes_it() {
        let mut tally = Tally::new(["a:b".to_owned()], Duration::ZERO);
        let moved = statistics(&[("proxy_proto.a_b.versions.v1.error", 1)]);
        assert_eq!(tally.change(&moved).len(), 1);
    }
}
