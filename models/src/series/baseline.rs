//! What is usual for one endpoint's signal by its own last minute, and how far a sample is from it.
//!
//! Median and a deviation that an outlier moves little: the largest of the interquartile range,
//! a third of the largest residual, a fiftieth of the median and a floor. The newest sample waits
//! one turn before it counts, so that a fault's first sample is not its own excuse. While samples
//! are far off nothing is learned, lest a fault become the usual; but not for ever, since a level
//! that has changed for good is the new usual.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Samples that count.
pub const WINDOW: usize = 60;
/// Samples before anything is said.
const SEEN_LEAST: usize = 8;
/// So many deviations off, a sample is not learned ...
const FROZEN_FROM: f64 = 4.0;
/// ... for at most so many samples in a row: ten minutes of seconds.
pub const FROZEN_MOST: u16 = 600;

/// The least that a deviation is taken for, as a part of the median.
const PART_LEAST: f64 = 0.02;
/// The interquartile range of a normal distribution in deviations.
const QUARTILES: f64 = 1.349;

/// What is remembered of one signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The samples that count, ascending, and the order that they came in.
    sorted: Vec<f32>,
    order: Vec<f32>,
    next: usize,
    waiting: Option<f32>,
    frozen: u16,
    floor: f32,
    frozen_most: u16,
}

/// How far a sample is from what is usual.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deviation {
    /// The sample.
    pub value: f64,
    /// The median of the samples before.
    pub usual: f64,
    /// Their robust deviation.
    pub deviation: f64,
}

impl Deviation {
    /// In deviations: above the usual, or below where negative.
    pub fn score(&self) -> f64 {
        (self.value - self.usual) / self.deviation
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.score() < 0.0 { "below" } else { "above" };
        let (value, usual) = (self.value, self.usual);
        write!(f, "{value:.4} is {:.1} deviations {way} its usual {usual:.4}", self.score().abs())
    }
}

impl Baseline {
    /// Of a signal whose deviations below `floor`, in its own unit, mean nothing; frozen for at
    /// most so many samples in a row.
    pub fn new(floor: f32, frozen_most: u16) -> Self {
        let (sorted, order) = (Vec::new(), Vec::new());
        Self { sorted, order, next: 0, waiting: None, frozen: 0, floor, frozen_most }
    }

    /// Takes in a sample; `None` while too little is known, and of a sample that is no number.
    pub fn see(&mut self, value: f64) -> Option<Deviation> {
        if !value.is_finite() {
            return None;
        }
        let found = self.deviation(value);
        let far = found.is_some_and(|found| found.score().abs() > FROZEN_FROM);
        self.frozen = if far { self.frozen + 1 } else { 0 };
        if !far || self.frozen > self.frozen_most {
            self.frozen = 0;
            #[expect(clippy::cast_possible_truncation, reason = "a value, not a count")]
            let waited = self.waiting.replace(value as f32);
            if let Some(waited) = waited {
                self.learn(waited);
            }
        }
        found
    }

    /// The median of the samples that count, and their robust deviation.
    pub fn usual(&self) -> Option<(f64, f64)> {
        self.deviation(0.0).map(|found| (found.usual, found.deviation))
    }

    fn deviation(&self, value: f64) -> Option<Deviation> {
        let count = self.sorted.len();
        if count < SEEN_LEAST {
            return None;
        }
        let at = |part: usize| f64::from(self.sorted[(count - 1) * part / 4]);
        let usual = at(2);
        let quartiles = (at(3) - at(1)) / QUARTILES;
        let farthest = (at(4) - usual).max(usual - at(0)) / 3.0;
        let least = (PART_LEAST * usual.abs()).max(f64::from(self.floor)).max(f64::MIN_POSITIVE);
        Some(Deviation { value, usual, deviation: quartiles.max(farthest).max(least) })
    }

    fn learn(&mut self, value: f32) {
        if self.order.len() < WINDOW {
            self.order.push(value);
        } else {
            let old = core::mem::replace(&mut self.order[self.next], value);
            self.next = (self.next + 1) % WINDOW;
            let place = self.sorted.partition_point(|other| other.total_cmp(&old).is_lt());
            self.sorted.remove(place);
        }
        let place = self.sorted.partition_point(|other| other.total_cmp(&value).is_lt());
        self.sorted.insert(place, value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;
    use weir_simulator::random::Random;

    fn quiet() -> Baseline {
        let (mut baseline, mut random) = (Baseline::new(0.0, 20), Random::of(1, 1, 9));
        for _ in 0..100 {
            baseline.see(100.0 + 3.0 * random.normal());
        }
        baseline
    }

    #[test]
    fn noise_is_usual_and_a_step_is_not() {
        let (mut baseline, mut random) = (quiet(), Random::of(2, 2, 2));
        let most = (0..500)
            .map(|_| baseline.see(100.0 + 3.0 * random.normal()).unwrap().score().abs())
            .fold(0.0, f64::max);
        assert!(most < 5.0, "{most}");
        let far = baseline.see(140.0).unwrap();
        assert!(far.score() > 8.0, "{far}");
        assert!(far.to_string().contains("deviations above its usual"), "{far}");
    }

    #[test]
    fn a_fault_stays_unusual_until_it_is_the_usual() {
        let mut baseline = quiet();
        assert!((0..20).all(|_| baseline.see(140.0).unwrap().score() > 8.0));
        let scores: Vec<f64> = (0..2_000).map(|_| baseline.see(140.0).unwrap().score()).collect();
        assert!(scores.last().unwrap().abs() < 0.1, "it is learned in the end");
    }

    #[test]
    fn says_nothing_before_it_knows_anything() {
        let mut baseline = Baseline::new(1.0, 20);
        assert!((0..9).all(|_| baseline.see(5.0).is_none()));
        assert_eq!(baseline.see(8.0).map(|one| one.score()), Some(3.0), "the floor of 1");
        assert_eq!(baseline.see(f64::NAN), None);
    }

    proptest! {
        #[test]
        fn order_and_sorted_hold_the_same(values in prop::collection::vec(-1e6..1e6_f64, 1..300)) {
            let mut baseline = Baseline::new(0.0, 5);
            for value in values {
                let found = baseline.see(value);
                prop_assert!(found.is_none_or(|found| found.score().is_finite()));
            }
            let mut order = baseline.order.clone();
            order.sort_by(f32::total_cmp);
            prop_assert_eq!(order, baseline.sorted);
        }
    }
}
