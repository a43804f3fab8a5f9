//! Whether all signals of a service fit together as they usually do.
//!
//! Load, latency, errors and saturation move together; a fault may leave each of them within its
//! usual range and yet break the pattern. The pattern is a probabilistic principal component
//! analysis (Tipping and Bishop, 1999): a few directions in which signals move together, and noise
//! of one size in all others. How far a sample is from it is its Mahalanobis distance under that
//! model; it is ranked among its past for a rate of alarms that holds ([`crate::series::rank`]).
//!
//! Scoring is a product with a small matrix and stays on the hot path. Fitting ([`fit`]) is apart:
//! a pure function from samples to [`Pattern`], plain data that is kept and journalled, since the
//! last digits of a fit may differ between processors.

use core::fmt;

use serde::{Deserialize, Serialize};

mod fit;

pub use fit::{NoPattern, fit};

/// A signal may be off by so many deviations and no more: one that is broken must not hide others.
const STRAY_MOST: f64 = 10.0;

/// How signals usually move together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pattern {
    /// Of the way in which it was fitted; a pattern of another one is fitted anew.
    pub version: u32,
    /// The middle of each signal, and its robust deviation.
    middle: Vec<f64>,
    deviation: Vec<f64>,
    /// Directions of unit length, row by row, with the variance along each.
    directions: Vec<f64>,
    variances: Vec<f64>,
    /// The variance in every other direction.
    noise: f64,
}

/// How far a sample is from the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Misfit {
    /// The mean squared distance per signal: 1 is usual.
    pub distance: f64,
    /// The signal that fits the others least, by its place in the sample.
    pub signal: usize,
    /// By how many of its deviations it is off what the others let expect.
    pub off: f64,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { distance, signal, off } = self;
        let way = if *off < 0.0 { "below" } else { "above" };
        write!(
            f,
            "{distance:.1} times as far from the usual pattern as usual; signal {signal} is "
        )?;
        write!(f, "{:.1} deviations {way} what the others let expect", off.abs())
    }
}

impl Pattern {
    /// Signals in a sample.
    pub fn signals(&self) -> usize {
        self.middle.len()
    }

    /// How far a sample is from the pattern; `None` for a sample of other signals. A value that is
    /// no number counts as usual.
    pub fn misfit(&self, sample: &[f64]) -> Option<Misfit> {
        let signals = self.signals();
        if sample.len() != signals || signals == 0 {
            return None;
        }
        let mut rest: Vec<f64> = self.standard(sample);
        let mut distance = 0.0;
        for (direction, variance) in self.directions.chunks(signals).zip(&self.variances) {
            let along: f64 = direction.iter().zip(&rest).map(|(d, r)| d * r).sum();
            distance += along * along / variance;
            for (rest, part) in rest.iter_mut().zip(direction) {
                *rest -= along * part;
            }
        }
        distance += rest.iter().map(|rest| rest * rest).sum::<f64>() / self.noise;
        let farthest = rest.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        let (signal, off) = farthest.map_or((0, 0.0), |(signal, off)| (signal, *off));
        Some(Misfit { distance: distance / signals as f64, signal, off })
    }

    /// A sample in robust deviations, bounded.
    fn standard(&self, sample: &[f64]) -> Vec<f64> {
        let each = sample.iter().zip(self.middle.iter().zip(&self.deviation));
        let standard = each.map(|(value, (middle, deviation))| {
            let stray = (value - middle) / deviation;
            if stray.is_nan() { 0.0 } else { stray.clamp(-STRAY_MOST, STRAY_MOST) }
        });
        standard.collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;
    use weir_simulator::random::Random;

    /// Load, latency that follows it, saturation that follows it, and something of its own.
    fn samples(count: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut random = Random::of(seed, 6, 6);
        let sample = |_| {
            let load = 100.0 + 20.0 * random.normal();
            let latency = 0.5 * load + random.normal();
            let saturation = 0.01 * load + 0.02 * random.normal();
            vec![load, latency, saturation, random.normal()]
        };
        (0..count).map(sample).collect()
    }

    #[test]
    fn a_broken_pattern_is_found_though_each_signal_is_in_its_range() {
        let pattern = fit(&samples(500, 1)).unwrap();
        let usual = pattern.misfit(&[120.0, 60.0, 1.2, 0.0]).unwrap();
        assert!(usual.distance < 3.0, "{usual}");
        let broken = pattern.misfit(&[80.0, 60.0, 0.8, 0.0]).unwrap();
        assert!(broken.distance > 20.0, "{broken}");
        assert_eq!(broken.signal, 1, "latency is what does not fit");
        assert!(broken.to_string().contains("signal 1 is"), "{broken}");
    }

    #[test]
    fn quiet_samples_are_as_far_as_usual() {
        let pattern = fit(&samples(500, 1)).unwrap();
        let far =
            samples(2_000, 2).iter().filter(|s| pattern.misfit(s).unwrap().distance > 6.0).count();
        assert!(far < 20, "{far} of 2,000");
    }

    #[test]
    fn the_same_samples_give_the_same_pattern() {
        let samples = samples(300, 3);
        assert_eq!(fit(&samples).unwrap(), fit(&samples).unwrap());
        let json = serde_json::to_string(&fit(&samples).unwrap()).unwrap();
        assert!(json.starts_with("{\"version\":1,"), "{json}");
    }

    #[test]
    fn too_little_gives_no_pattern() {
        assert_eq!(fit(&[]), Err(NoPattern::FewSamples { samples: 0, least: 30 }));
        assert_eq!(fit(&vec![vec![1.0]; 100]), Err(NoPattern::FewSignals));
        let mut uneven = samples(100, 1);
        uneven[50].pop();
        assert_eq!(fit(&uneven), Err(NoPattern::Uneven { sample: 50 }));
        assert_eq!(fit(&samples(100, 1)).unwrap().misfit(&[1.0]), None);
    }

    #[test]
    fn constant_and_missing_signals_do_no_harm() {
        let with = samples(200, 4).into_iter().map(|mut sample| {
            sample.extend([5.0, f64::NAN]);
            sample
        });
        let pattern = fit(&with.collect::<Vec<_>>()).unwrap();
        let usual = pattern.misfit(&[100.0, 50.0, 1.0, 0.0, 5.0, f64::NAN]).unwrap();
        assert!(usual.distance.is_finite() && usual.distance < 3.0, "{usual}");
    }

    proptest! {
        #[test]
        fn any_sample_is_scored(sample in prop::collection::vec(any::<f64>(), 4)) {
            let pattern = fit(&samples(60, 5)).unwrap();
            prop_assert!(pattern.misfit(&sample).unwrap().distance.is_finite());
        }
    }
}
