//! Many runs of one pair, judged by everybody.

use serde_json::{Value, json};
use weir_engine::comparison::Look;
use weir_simulator::random::Random;

use super::draw::Pair;
use super::judges::{Judge, bar, gives_up};

/// Runs of each pair.
pub(super) const RUNS: u32 = 1_000;

/// Looks of each run.
pub(super) const LOOKS: u32 = 40;

/// The seed of all draws.
const SEED: u64 = 20;

/// What a judge made of the runs of a pair.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    /// The look at which it gave up, of each run, in ascending order; those that it never gave up
    /// last.
    looks: Vec<u32>,
}

impl Figures {
    /// The part of runs that it gave up.
    pub(super) fn found(&self) -> f64 {
        let found = self.looks.iter().filter(|look| **look <= LOOKS).count();
        found as f64 / self.looks.len() as f64
    }

    /// The look by which it gave up this many of ten runs, if it did.
    pub(super) fn by(&self, tenths: usize) -> Option<u32> {
        let at = (self.looks.len() * tenths).div_ceil(10).saturating_sub(1);
        self.looks.get(at).copied().filter(|look| *look <= LOOKS)
    }

    pub(super) fn json(&self) -> Value {
        json!({ "found_ratio": self.found(), "median": self.by(5), "p90": self.by(9) })
    }
}

/// Runs a pair; `number` keeps pairs' draws apart.
pub(super) fn run(pair: &Pair, number: u64) -> Vec<(Judge, Figures)> {
    let mut judged: Vec<(Judge, Figures)> =
        Judge::ALL.iter().map(|judge| (*judge, Figures { looks: Vec::new() })).collect();
    for run in 0..RUNS {
        let mut random = Random::of(SEED, number, run.into());
        let looks: Vec<Look> = (0..LOOKS).map(|_| pair.look(&mut random)).collect();
        for (judge, figures) in &mut judged {
            figures.looks.push(gives_up(*judge, &looks, &bar()).unwrap_or(u32::MAX));
        }
    }
    for (_, figures) in &mut judged {
        figures.looks.sort_unstable();
    }
    judged
}
