//! How much is measured?

use std::time::Duration;

use crate::metrics::{CONNECTS, MESSAGES, STORM, TABLES};
use crate::subject::{Kind, Tuning, Workers};

/// Rules of the runs that are not about rules.
pub const RULES: usize = 1_000;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Times that each figure of messages and connections is measured.
    pub rounds: usize,
    /// How long each time.
    pub window: Duration,
    /// Numbers of sessions with TLS, and messages of the first size alone.
    pub sessions_tls: Vec<usize>,
    /// How long before that nothing is measured.
    pub warm: Duration,
    /// How long each subject is connected to before any connection is measured.
    pub settle: Duration,
    /// Sizes of messages, bytes.
    pub sizes: Vec<usize>,
    /// Numbers of sessions.
    pub sessions: Vec<usize>,
    /// Numbers of rules.
    pub rules: Vec<usize>,
    /// Counterparties that come at once.
    pub storm: usize,
    /// Times that each subject is started.
    pub starts: usize,
    /// Changes of the rules.
    pub changes: usize,
    /// How many rules there are meanwhile.
    pub change_rules: usize,
    /// Who is compared.
    pub subjects: Vec<Kind>,
    /// Whether a round is made again in which others used the machine.
    pub repeats: bool,
    /// Which tables are filled.
    pub tables: Vec<&'static str>,
}

impl Scale {
    /// What the committed figures are made with: about half an hour.
    #[must_use]
    pub fn full() -> Self {
        Self {
            rounds: 5,
            window: Duration::from_secs(1),
            sessions_tls: vec![1, 16, 256, 2_000],
            warm: Duration::from_millis(300),
            settle: Duration::from_secs(2),
            sizes: vec![150, 2_048],
            sessions: vec![1, 16, 256, 2_000],
            rules: vec![10, 1_000, 10_000, 100_000],
            storm: 5_000,
            starts: 3,
            changes: 3,
            change_rules: 10_000,
            subjects: Kind::ALL.to_vec(),
            repeats: true,
            tables: TABLES.to_vec(),
        }
    }

    /// About five minutes, for somebody who wants to see something move.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            rounds: 3,
            starts: 1,
            window: Duration::from_millis(700),
            sizes: vec![150],
            sessions: vec![16, 256],
            sessions_tls: vec![16],
            rules: vec![10, 1_000],
            storm: 1_000,
            changes: 1,
            change_rules: 1_000,
            ..Self::full()
        }
    }

    /// What Envoy's settings do, instead of the comparison with peers: where they could show.
    #[must_use]
    pub fn tuned(self) -> Self {
        Self {
            subjects: Kind::TUNED.to_vec(),
            tables: vec![MESSAGES, CONNECTS, STORM],
            ..self
        }
    }

    /// A few seconds, for a test: that it works, not what it says.
    #[must_use]
    pub fn smoke() -> Self {
        Self {
            rounds: 1,
            window: Duration::from_millis(300),
            warm: Duration::from_millis(100),
            settle: Duration::from_millis(100),
            sessions: vec![16],
            rules: vec![10],
            subjects: vec![
                Kind::Direct,
                Kind::Envoy(Tuning::None),
                Kind::Gateway(Workers::One),
            ],
            tables: vec![MESSAGES, CONNECTS],
            repeats: false,
            ..Self::quick()
        }
    }
}
