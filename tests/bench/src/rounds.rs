//! How do rounds take turns, so that whatever else the machine does meets all subjects alike?
//!
//! Each subject once, then each of them again (A B C A B C). A round that others disturbed is made again at its place.

use std::time::Instant;

use crate::figures::Figures;
use crate::load::Load;
use crate::measure::Measured;
use crate::quiet::Quiet;
use crate::scale::Scale;
use crate::subject::{Kind, Rules, Setting, Subject};

/// All that a measurement works with.
pub(crate) struct Bench {
    pub(crate) load: Load,
    pub(crate) scale: Scale,
    pub(crate) setting: Setting,
    /// Who is compared.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) figures: Figures<'static>,
    pub(crate) quiet: Quiet,
    /// Those that a round is done with. They end after it: what they used would be taken for others' when they are gone.
    pub(crate) leaving: Vec<Subject>,
    pub(crate) begun: Instant,
}

impl Bench {
    /// Tells whoever waits what is done now.
    pub(crate) fn say(&self, what: &str) {
        eprintln!("{:>5} s  {what}", self.begun.elapsed().as_secs());
    }

    /// All subjects, started with so many rules.
    pub(crate) fn started(&mut self, rules: usize) -> Vec<Subject> {
        self.setting.rules = Rules::of(rules);
        self.say(&format!("starting, {rules} rules"));
        let kinds = self.kinds.clone();
        let start = |kind| Subject::start(kind, &self.setting, &mut self.load).0;
        kinds.into_iter().map(start).collect()
    }

    /// So many rounds of each of these, in turn.
    pub(crate) fn turns<T>(
        &mut self,
        place: (&'static str, &str),
        rounds: usize,
        all: &[(&'static str, T)],
        mut make: impl FnMut(&mut Self, &T) -> Measured,
    ) {
        let (table, load) = place;
        self.say(&format!("{table}: {load}"));
        for round in 0..rounds {
            for (name, one) in all {
                self.round(place, name, round, |bench| make(bench, one));
            }
        }
    }

    /// One round of one of them.
    pub(crate) fn round(
        &mut self,
        place: (&'static str, &str),
        name: &str,
        round: usize,
        mut make: impl FnMut(&mut Self) -> Measured,
    ) {
        let made = loop {
            let before = self.quiet.begin();
            let made = make(self);
            let again = self.quiet.wants_again(&before);
            self.leaving.clear();
            if !again {
                break made;
            }
        };
        for (metric, value) in made {
            self.figures.add(place, name, metric, round, value);
        }
    }
}

/// Subjects by their names; a direct connection too, if it is wanted.
pub(crate) fn named(subjects: &[Subject], direct: bool) -> Vec<(&'static str, &Subject)> {
    let wanted = subjects
        .iter()
        .filter(|it| direct || it.kind() != Kind::Direct);
    wanted.map(|it| (it.kind().name(), it)).collect()
}
