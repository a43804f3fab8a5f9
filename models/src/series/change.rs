//! Whether a signal has changed for good, though each sample alone is nothing unusual.
//!
//! An exponentially weighted mean shows the present level, and two cumulative sums (Page, 1954,
//! "Continuous Inspection Schemes") collect what exceeds the allowance, up and down. The textbook's
//! thresholds hold for independent normal samples, which telemetry never has; so the threshold is
//! read off quiet data of the very signal ([`threshold`]).

use core::fmt;

use serde::{Deserialize, Serialize};

/// Gain of the mean.
const GAIN: f64 = 0.1;
/// What a sample may be off without counting, in deviations: shifts of twice that are found best.
const ALLOWANCE: f64 = 0.75;
/// One sample counts at most so much, so that a spike alone is no change.
const SCORE_MOST: f64 = 4.0;
/// The threshold is never below this: on data that are quieter than the future.
pub const THRESHOLD_LEAST: f64 = 5.0;
/// ... and this much above the most that quiet data reach.
const MARGIN: f64 = 1.2;

/// What is remembered of one signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    mean: f64,
    up: f64,
    down: f64,
    /// Samples since each sum was last zero.
    up_since: u32,
    down_since: u32,
}

/// A change of level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// The present level in deviations from the usual.
    pub level: f64,
    /// For how many samples it has been off.
    pub samples: u32,
    /// The sum that was reached, and the threshold.
    pub sum: f64,
    /// The threshold.
    pub threshold: f64,
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.level < 0.0 { "below" } else { "above" };
        let Self { level, samples, sum, threshold } = self;
        write!(f, "{:.1} deviations {way} its usual for {samples} samples ", level.abs())?;
        write!(f, "(cumulative sum {sum:.1}, threshold {threshold:.1})")
    }
}

impl Change {
    /// Takes in a sample in deviations from the usual; the change, if one is proven.
    pub fn see(&mut self, score: f64, threshold: f64) -> Option<Shift> {
        if score.is_nan() {
            return None;
        }
        let score = score.clamp(-SCORE_MOST, SCORE_MOST);
        self.mean += GAIN * (score - self.mean);
        let grown = |sum: f64, since: u32, by: f64| {
            let sum = (sum + by - ALLOWANCE).max(0.0);
            (sum, if sum > 0.0 { since.saturating_add(1) } else { 0 })
        };
        (self.up, self.up_since) = grown(self.up, self.up_since, score);
        (self.down, self.down_since) = grown(self.down, self.down_since, -score);
        let (sum, samples) = if self.up >= self.down {
            (self.up, self.up_since)
        } else {
            (self.down, self.down_since)
        };
        // A sum that grew without end would take as long to shrink: it is kept near the threshold.
        self.up = self.up.min(2.0 * threshold);
        self.down = self.down.min(2.0 * threshold);
        (sum > threshold).then_some(Shift { level: self.mean, samples, sum, threshold })
    }

    /// Starts anew: after a change has been acted on.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// The threshold that quiet data of a signal, in deviations, would not have passed; a margin more.
pub fn threshold(quiet: &[f64]) -> f64 {
    let mut change = Change::default();
    let mut most: f64 = 0.0;
    for score in quiet {
        let seen = change.see(*score, f64::MAX / 4.0);
        debug_assert!(seen.is_none(), "nothing passes it");
        most = most.max(change.up).max(change.down);
    }
    (MARGIN * most).max(THRESHOLD_LEAST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;
    use weir_simulator::random::Random;

    /// Samples that cling to the one before, as telemetry does.
    fn clinging(seed: u64, count: usize) -> Vec<f64> {
        let (mut random, mut value) = (Random::of(seed, 4, 4), 0.0);
        let next = |_| {
            value = 0.5 * value + 0.866 * random.normal();
            value
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn quiet_data_like_those_it_was_calibrated_on_stay_quiet() {
        let mut false_alarms = 0;
        for seed in 0..50 {
            let threshold = threshold(&clinging(seed, 2_000));
            let mut change = Change::default();
            let raised = clinging(seed + 1_000, 1_000)
                .iter()
                .filter(|score| change.see(**score, threshold).is_some())
                .count();
            false_alarms += usize::from(raised > 0);
        }
        assert!(false_alarms <= 15, "{false_alarms} of 50 stretches of 1,000 samples");
    }

    #[test]
    fn a_small_shift_is_found_in_a_while_and_explained() {
        let mut change = Change::default();
        for score in clinging(1, 200) {
            change.see(score, 15.0);
        }
        let found = clinging(2, 60).iter().find_map(|score| change.see(score + 2.0, 15.0));
        let found = found.unwrap();
        assert!((5..40).contains(&found.samples), "{found}");
        assert!(found.to_string().contains("above its usual for"), "{found}");
    }

    #[test]
    fn one_spike_is_no_change() {
        let mut change = Change::default();
        assert_eq!(change.see(1e9, THRESHOLD_LEAST), None);
        assert_eq!(change.see(f64::NAN, THRESHOLD_LEAST), None);
    }

    proptest! {
        #[test]
        fn up_and_down_are_alike(scores in prop::collection::vec(-6.0..6.0_f64, 1..100)) {
            let (mut one, mut other) = (Change::default(), Change::default());
            for score in scores {
                let (a, b) = (one.see(score, 8.0), other.see(-score, 8.0));
                prop_assert_eq!(a.map(|a| a.samples), b.map(|b| b.samples));
            }
        }
    }
}
