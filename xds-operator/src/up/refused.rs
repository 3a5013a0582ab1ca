//! What did Envoy do by itself that our filter cannot tell? It refused connections before the filter saw them, and made a
//! VM anew that had failed. Read from its statistics, and told in a line when a count has moved.
//!
//! The lines are pure ([`Tally`]); [`watch`] asks and speaks.

use std::collections::BTreeMap;
use std::time::Duration;

use fixgw_core::decision::Severity;
use tokio::time::{MissedTickBehavior, interval};

use crate::envoy::admin::{self, Admin};
use crate::message::count;
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

/// How often Envoy made the VM of the data listeners' filter (`fixgw`) anew.
const VMS_RELOADED: &str = "wasm.fixgw.vm_reload_success";

/// What was told of one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    refused: u64,
    unfinished: u64,
    too_many: u64,
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
            too_many: count(format!("listener.{listener}.downstream_global_cx_overflow")),
        }
    }
}

/// A listener, and what was told of it last.
#[derive(Debug)]
struct Told {
    listener: String,
    header_time: Option<Duration>,
    counts: Counts,
}

/// The counts of every listener as they were told last.
#[derive(Debug)]
pub struct Tally {
    told: Vec<Told>,
    connections: u64,
    reloads: u64,
}

impl Tally {
    /// Nothing refused yet. Each listener comes with the time after which Envoy closes for want of a PROXY header, if it
    /// does; all of them take so many connections together.
    #[must_use]
    pub fn new(
        listeners: impl IntoIterator<Item = (String, Option<Duration>)>,
        connections: u64,
    ) -> Self {
        let told = |(listener, header_time)| Told {
            listener,
            header_time,
            counts: Counts::default(),
        };
        Self {
            told: listeners.into_iter().map(told).collect(),
            connections,
            reloads: 0,
        }
    }

    /// What is new about VMs. Envoy makes one anew at the first connection to its worker after the failure.
    pub fn failure(&mut self, statistics: &BTreeMap<String, u64>) -> Option<String> {
        let now = statistics.get(VMS_RELOADED).copied().unwrap_or(0);
        let before = std::mem::replace(&mut self.reloads, now);
        (now > before).then(|| {
            format!(
                "a VM of the filter failed and was made anew, with its table ({now} since the start): the sessions that were its \
                 worker's end at their next byte, all others go on; Envoy's log says why"
            )
        })
    }

    /// What is new.
    pub fn change(&mut self, statistics: &BTreeMap<String, u64>) -> Vec<String> {
        let connections = self.connections;
        let mut lines = Vec::new();
        for told in &mut self.told {
            let (before, now) = (told.counts, Counts::of(statistics, &told.listener));
            told.counts = now;
            let mut tell = |before: u64, now: u64, what: &str| {
                let (new, listener) = (now.saturating_sub(before), &told.listener);
                let connections = count(new, "connection");
                if new > 0 {
                    lines.push(format!(
                        "{connections} on {listener} {what} ({now} since the start)"
                    ));
                }
            };
            let refused = "refused: no or malformed PROXY header";
            tell(before.refused, now.refused, refused);
            if let Some(time) = told.header_time {
                let within = time.as_millis();
                let closed = format!("closed: no whole PROXY header within {within} ms");
                tell(before.unfinished, now.unfinished, &closed);
            }
            let full = format!(
                "refused: {connections} are open, which is all that Envoy has files for, see ulimit -n"
            );
            tell(before.too_many, now.too_many, &full);
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
        let Some(statistics) = admin::refusal_statistics(&admin).await else {
            continue;
        };
        if let Some(line) = tally.failure(&statistics) {
            voice.say(&Said::gateway(Severity::Error, line));
        }
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
        let time = Some(Duration::from_secs(10));
        let names = ["main", "second"].map(|name| (name.to_owned(), time));
        let mut tally = Tally::new(names, 400);
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
            ("listener.second.downstream_global_cx_overflow", 5),
        ]);
        assert_eq!(
            tally.change(&later),
            [
                "1 connection on main refused: no or malformed PROXY header (4 since the start)",
                "5 connections on second refused: 400 are open, which is all that Envoy has files for, see ulimit -n (5 since the start)",
            ]
        );
    }

    #[test]
    fn a_vm_that_was_made_anew_is_told() {
        let mut tally = Tally::new([], 1);
        assert_eq!(tally.failure(&BTreeMap::new()), None);
        let moved = statistics(&[(VMS_RELOADED, 2), ("wasm.fix-routes.vm_reload_success", 7)]);
        let line = tally.failure(&moved).unwrap_or_default();
        assert!(line.contains("(2 since the start)"), "{line}");
        assert_eq!(tally.failure(&moved), None);
    }

    #[test]
    fn a_listener_is_found_by_its_name_as_envoy_writes_it() {
        let mut tally = Tally::new([("a:b".to_owned(), None)], 1);
        let moved = statistics(&[("proxy_proto.a_b.versions.v1.error", 1)]);
        assert_eq!(tally.change(&moved).len(), 1);
    }

    #[test]
    fn who_gets_to_the_filter_without_a_header_is_told_by_the_filter() {
        let mut tally = Tally::new([("secure".to_owned(), None)], 1);
        let moved = statistics(&[("listener.secure.downstream_pre_cx_timeout", 1)]);
        assert_eq!(tally.change(&moved), Vec::<String>::new());
    }
}
