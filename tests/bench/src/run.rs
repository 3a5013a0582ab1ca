//! Which comparisons are made, in which order?

use std::collections::BTreeMap;
use std::time::Instant;

use crate::correctness;
use crate::figures::Figures;
use crate::load::Load;
use crate::measure::{change, connects, messages, start, storm};
use crate::metrics::{
    CHANGE, CONNECTS, CONNECTS_TLS, CORRECT, MESSAGES, MESSAGES_TLS, START, STORM,
};
use crate::quiet::{Disturbed, Quiet};
use crate::rounds::Bench;
use crate::scale::{RULES, Scale};
use crate::scene::Cores;
use crate::subject::{Identity, Kind, Rules, Setting, Way};

/// A comparison.
pub struct Run(Bench);

impl Run {
    /// Of those that can be had here; who cannot be had is said.
    #[must_use]
    pub fn new(scale: Scale, cores: &Cores) -> Self {
        let load = Load::begin();
        let setting = Setting {
            cores: cores.subject.clone(),
            rules: Rules::of(RULES),
            way: Way::Live,
            identity: Identity::new(),
            engines: load.engines(),
        };
        let found = |kind: &Kind| kind.found().map_err(|why| eprintln!("{why}")).is_ok();
        let kinds = scale.subjects.iter().copied().filter(found).collect();
        Self(Bench {
            load,
            setting,
            kinds,
            figures: Figures::default(),
            quiet: Quiet::on(cores, scale.repeats),
            leaving: Vec::new(),
            scale,
            begun: Instant::now(),
        })
    }

    /// Who is compared.
    #[must_use]
    pub fn kinds(&self) -> &[Kind] {
        &self.0.kinds
    }

    /// How much is measured.
    #[must_use]
    pub const fn scale(&self) -> &Scale {
        &self.0.scale
    }

    /// Makes all comparisons. Says also how many rounds were made again, and how many stayed though others used the machine.
    #[must_use]
    pub fn all(self) -> (Figures<'static>, Disturbed) {
        let mut bench = self.0;
        let tables = bench.scale.tables.clone();
        let wants = |table| tables.contains(&table);
        if wants(START) {
            start::measure(&mut bench);
        }
        if [MESSAGES, MESSAGES_TLS, STORM].into_iter().any(wants) {
            let subjects = bench.started(RULES);
            if wants(MESSAGES) {
                messages::measure(&mut bench, &subjects, false);
            }
            if wants(MESSAGES_TLS) {
                messages::measure(&mut bench, &subjects, true);
            }
            if wants(STORM) {
                storm::measure(&mut bench, &subjects);
            }
        }
        if wants(CONNECTS) {
            for rules in bench.scale.rules.clone() {
                connects::measure(&mut bench, rules, false);
            }
        }
        if wants(CONNECTS_TLS) {
            connects::measure(&mut bench, RULES, true);
        }
        if wants(CHANGE) {
            change::measure(&mut bench);
        }
        if wants(CORRECT) {
            correctness::add(
                &mut bench.figures,
                &mut bench.load,
                &bench.setting,
                &bench.kinds,
            );
        }
        let disturbed = bench.quiet.disturbed();
        (bench.figures, disturbed)
    }
}

/// What each subject says its version is.
#[must_use]
pub fn versions(kinds: &[Kind]) -> BTreeMap<&'static str, String> {
    let is_one = |kind: &&Kind| **kind != Kind::Direct && Kind::ALL.contains(kind);
    let told = kinds.iter().filter(is_one);
    told.map(|kind| (kind.name(), kind.version())).collect()
}
