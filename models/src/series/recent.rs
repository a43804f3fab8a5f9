//! The last few samples beside the long run.
//!
//! A sample enters the long run only as it leaves the last few, so that what is new is never
//! compared with itself.

use serde::{Deserialize, Serialize};

/// The mean of a series and how far it strays, over about as many samples as `memory` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LongRun {
    seen: f64,
    mean: f64,
    variance: f64,
}

impl LongRun {
    /// Takes a sample in: all alike up to `memory` samples, then older ones fade.
    pub fn see(&mut self, value: f64, memory: f64) {
        self.seen = (self.seen + 1.0).min(memory);
        let gain = 1.0 / self.seen;
        let away = value - self.mean;
        self.mean += gain * away;
        self.variance += gain * (away * (value - self.mean) - self.variance);
    }

    /// How many deviations a value is above the mean; nothing before there is enough to say.
    pub fn deviations(&self, value: f64) -> f64 {
        if self.seen < SEEN_LEAST {
            return 0.0;
        }
        (value - self.mean) / self.deviation()
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The usual deviation; of a constant series a hundredth of its level.
    pub fn deviation(&self) -> f64 {
        libm::sqrt(self.variance.max(0.0)).max(FLAT * self.mean.abs()).max(f64::MIN_POSITIVE)
    }
}

/// Samples before the long run says anything.
const SEEN_LEAST: f64 = 10.0;
/// The least deviation as a part of the level.
const FLAT: f64 = 0.01;

/// The mean of the last samples in deviations of the long run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    last: Vec<f64>,
    size: usize,
    next: usize,
    sum: f64,
    long: LongRun,
    memory: f64,
}

impl Recent {
    /// Of `size` samples beside a long run of `memory` samples.
    pub fn new(size: usize, memory: f64) -> Self {
        let size = size.max(1);
        Self { last: Vec::new(), size, next: 0, sum: 0.0, long: LongRun::default(), memory }
    }

    /// Takes a sample in; how far the mean of the last ones is above the long run.
    pub fn see(&mut self, value: f64) -> f64 {
        let value = if value.is_finite() { value } else { self.long.mean };
        if self.last.len() < self.size {
            self.last.push(value);
            self.sum += value;
            return 0.0;
        }
        let old = core::mem::replace(&mut self.last[self.next], value);
        self.long.see(old, self.memory);
        self.next = (self.next + 1) % self.size;
        self.sum += value - old;
        if self.next == 0 {
            // Summed anew once a round, lest rounding adds up.
            self.sum = self.last.iter().sum();
        }
        self.long.deviations(self.sum / self.size as f64)
    }

    /// The long run.
    pub fn long(&self) -> &LongRun {
        &self.long
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_simulator::random::Random;

    #[test]
    fn a_shift_shows_at_once_and_noise_does_not() {
        let (mut recent, mut random) = (Recent::new(10, 1_000.0), Random::of(1, 1, 1));
        let quiet = (0..2_000).map(|_| recent.see(100.0 + random.normal()).abs());
        assert!(quiet.fold(0.0, f64::max) < 2.0);
        let shifted = (0..10).map(|_| recent.see(110.0 + random.normal()));
        assert!(shifted.last().is_some_and(|by| by > 6.0));
    }

    #[test]
    fn a_flat_series_has_a_small_deviation_but_one() {
        let mut recent = Recent::new(3, 100.0);
        assert!((0..100).all(|_| recent.see(50.0).abs() < 1e-9));
        assert!((recent.see(53.0) - 2.0).abs() < 1e-9, "a third of 3 over a hundredth of 50");
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_last(values in prop::collection::vec(-1e3..1e3_f64, 8..100)) {
            let mut recent = Recent::new(7, 50.0);
            for value in &values {
                recent.see(*value);
            }
            let sum: f64 = values[values.len() - 7..].iter().sum();
            prop_assert!((recent.sum - sum).abs() < 1e-6);
        }
    }
}
