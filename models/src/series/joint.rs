//! Whether all signals of a service fit together as they usually do.
//!
//! Load, latency, errors and saturation move together; a fault may leave each of them within its
//! usual range and yet break the pattern. A pattern takes one of two shapes: a few directions in
//! which signals move together and noise of one size in all others ([`directions`]), or several
//! states that a service is in by turns, each with its own ways ([`mixture`]). Which one is
//! decided when it is fitted, by how likely samples are that it has not seen; `weir evaluate
//! petshop` and `nezha` score either and the choice. How far a sample is from the pattern is its
//! Mahalanobis distance under it.
//!
//! Scoring is a product with small matrices and stays on the hot path. Fitting ([`fit`]) is apart:
//! a pure function from samples to [`Pattern`], plain data that is kept and journalled, since the
//! last digits of a fit may differ between processors.

use core::fmt;

use serde::{Deserialize, Serialize};

mod directions;
mod fit;
mod mixture;

use directions::Directions;
pub use fit::{Choice, NoPattern, fit};
use mixture::Mixture;

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
    density: Density,
}

/// Which shape a pattern has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shape {
    /// Principal components and noise.
    Directions,
    /// A mixture of normal distributions.
    Mixture,
}

/// How likely samples in deviations are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Density {
    Directions(Directions),
    Mixture(Mixture),
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

    /// Whether it was fitted to so many signals, in the way that patterns are fitted now.
    pub fn is_of(&self, signals: usize) -> bool {
        self.version == fit::VERSION && signals == self.signals()
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        match self.density {
            Density::Directions(_) => Shape::Directions,
            Density::Mixture(_) => Shape::Mixture,
        }
    }

    /// How far a sample is from the pattern; `None` for a sample of other signals. A value that is
    /// no number counts as usual.
    pub fn misfit(&self, sample: &[f64]) -> Option<Misfit> {
        if sample.len() != self.signals() || sample.is_empty() {
            return None;
        }
        let standard = self.standard(sample);
        Some(match &self.density {
            Density::Directions(directions) => directions.misfit(standard),
            Density::Mixture(mixture) => mixture.misfit(&standard),
        })
    }

    /// The logarithm of the density at a sample, in deviations.
    fn ln_density(&self, sample: &[f64]) -> f64 {
        let standard = self.standard(sample);
        match &self.density {
            Density::Directions(directions) => directions.ln_density(standard),
            Density::Mixture(mixture) => mixture.ln_density(&standard),
        }
    }

    fn standard(&self, sample: &[f64]) -> Vec<f64> {
        standard(sample, &self.middle, &self.deviation).collect()
    }
}

/// A sample in robust deviations, bounded.
fn standard<'a>(
    sample: &'a [f64],
    middle: &'a [f64],
    deviation: &'a [f64],
) -> impl Iterator<Item = f64> + 'a {
    sample.iter().zip(middle.iter().zip(deviation)).map(|(value, (middle, deviation))| {
        let stray = (value - middle) / deviation;
        if stray.is_nan() { 0.0 } else { stray.clamp(-STRAY_MOST, STRAY_MOST) }
    })
}

/// The logarithm of the density of a normal distribution of so many dimensions, where the squared
/// distance is that and the logarithm of the covariance's determinant that.
fn ln_normal(dimensions: usize, distance: f64, ln_determinant: f64) -> f64 {
    let constant = dimensions as f64 * libm::log(2.0 * core::f64::consts::PI);
    -0.5 * (constant + ln_determinant + distance)
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

    fn shapes(samples: &[Vec<f64>]) -> [Pattern; 3] {
        let choices = [Choice::Directions, Choice::Mixture, Choice::Likeliest];
        choices.map(|choice| fit(samples, choice).unwrap())
    }

    #[test]
    fn a_broken_pattern_is_found_though_each_signal_is_in_its_range() {
        for pattern in shapes(&samples(500, 1)) {
            let usual = pattern.misfit(&[120.0, 60.0, 1.2, 0.0]).unwrap();
            assert!(usual.distance < 3.0, "{usual}");
            let broken = pattern.misfit(&[80.0, 60.0, 0.8, 0.0]).unwrap();
            assert!(broken.distance > 10.0, "{broken}");
            assert_eq!(broken.signal, 1, "latency is what does not fit");
            assert!(broken.off > 0.0, "latency is above what load lets expect");
            assert!(broken.to_string().contains("signal 1 is"), "{broken}");
        }
    }

    #[test]
    fn quiet_samples_are_as_far_as_usual() {
        for pattern in shapes(&samples(500, 1)) {
            let far = samples(2_000, 2)
                .iter()
                .filter(|s| pattern.misfit(s).unwrap().distance > 6.0)
                .count();
            assert!(far < 20, "{far} of 2,000 by {:?}", pattern.shape());
        }
    }

    /// By day load brings latency; by night a batch runs, and more load means less latency.
    fn two_states(count: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut random = Random::of(seed, 6, 7);
        let sample = |at: usize| {
            let day = (at / 20).is_multiple_of(2);
            let (middle, slope) = if day { (100.0, 0.5) } else { (20.0, -0.8) };
            let load = middle + 5.0 * random.normal();
            vec![load, 60.0 + slope * (load - middle) + 0.3 * random.normal()]
        };
        (0..count).map(sample).collect()
    }

    /// Six signals that follow one load, each with noise of its own.
    fn one_cause(count: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut random = Random::of(seed, 6, 8);
        let sample = |_| {
            let load = random.normal();
            (0..6).map(|_| load + 0.2 * random.normal()).collect()
        };
        (0..count).map(sample).collect()
    }

    #[test]
    fn states_by_turns_are_told_apart() {
        let [directions, mixture, likeliest] = shapes(&two_states(600, 1));
        assert_eq!(likeliest, mixture, "likelier than directions");
        // Between the states: usual in each signal, but the service never is there.
        let between = mixture.misfit(&[60.0, 60.0]).unwrap();
        assert!(between.distance > 10.0, "{between}");
        assert!(mixture.misfit(&[100.0, 60.0]).unwrap().distance < 3.0);
        assert!(directions.misfit(&[60.0, 60.0]).unwrap().distance < 3.0, "blind to it");
    }

    #[test]
    fn too_few_samples_for_a_state_give_directions() {
        let few = one_cause(40, 8);
        assert_eq!(fit(&few, Choice::Mixture).unwrap().shape(), Shape::Directions);
        let more = one_cause(80, 8);
        assert_eq!(fit(&more, Choice::Mixture).unwrap().shape(), Shape::Mixture);
        assert_eq!(fit(&more, Choice::Directions).unwrap().shape(), Shape::Directions);
    }

    #[test]
    fn the_same_samples_give_the_same_pattern() {
        let samples = samples(300, 3);
        for (one, other) in shapes(&samples).into_iter().zip(shapes(&samples)) {
            assert_eq!(one, other);
            let json = serde_json::to_string(&one).unwrap();
            assert!(json.starts_with("{\"version\":2,"), "{json}");
            assert_eq!(serde_json::from_str::<Pattern>(&json).unwrap(), other);
        }
    }

    #[test]
    fn too_little_gives_no_pattern() {
        let none = |samples: &[Vec<f64>]| fit(samples, Choice::Mixture).unwrap_err();
        assert_eq!(none(&[]), NoPattern::FewSamples { samples: 0, least: 30 });
        assert_eq!(none(&vec![vec![1.0]; 100]), NoPattern::FewSignals);
        let mut uneven = samples(100, 1);
        uneven[50].pop();
        assert_eq!(none(&uneven), NoPattern::Uneven { sample: 50 });
        for pattern in shapes(&samples(100, 1)) {
            assert_eq!(pattern.misfit(&[1.0]), None);
        }
    }

    #[test]
    fn signals_that_are_combinations_of_each_other_are_fitted() {
        let sample = |step: u32| {
            let load = libm::sin(f64::from(step) / 7.0);
            let noise = libm::sin(f64::from(step) * 12.9) / 50.0;
            vec![load, 0.5 * load + noise, 0.01 * noise, 0.3 * load - noise]
        };
        for pattern in shapes(&(0..120).map(sample).collect::<Vec<_>>()) {
            assert!(pattern.misfit(&sample(121)).unwrap().distance < 3.0);
        }
    }

    #[test]
    fn constant_and_missing_signals_do_no_harm() {
        let with = samples(200, 4).into_iter().map(|mut sample| {
            sample.extend([5.0, f64::NAN]);
            sample
        });
        for pattern in shapes(&with.collect::<Vec<_>>()) {
            let usual = pattern.misfit(&[100.0, 50.0, 1.0, 0.0, 5.0, f64::NAN]).unwrap();
            assert!(usual.distance.is_finite() && usual.distance < 3.0, "{usual}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_sample_is_scored(
            samples in prop::collection::vec(prop::collection::vec(any::<f64>(), 4), 100),
        ) {
            for pattern in shapes(&super::tests::samples(60, 5)) {
                for sample in &samples {
                    prop_assert!(pattern.misfit(sample).unwrap().distance.is_finite());
                }
            }
        }

        #[test]
        fn any_samples_give_a_pattern_or_a_reason(
            samples in prop::collection::vec(prop::collection::vec(any::<f64>(), 3), 30..60),
        ) {
            if let Ok(pattern) = fit(&samples, Choice::Likeliest) {
                prop_assert!(pattern.misfit(&samples[0]).unwrap().distance.is_finite());
            }
        }
    }
}
