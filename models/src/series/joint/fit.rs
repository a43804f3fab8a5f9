//! Fitting the pattern: robust scales, then the shape; of several the one that makes unseen
//! samples likeliest.
//!
//! The newest third of the samples is held out, not a random one: samples that follow one another
//! are alike, and a pattern is asked about what comes after it. Their median counts and not their
//! mean, which the few samples of a fault among them would decide.

use ndarray::Array2;

use super::directions::Directions;
use super::mixture::Mixture;
use super::{Density, Pattern, STRAY_MOST, Shape, standard};
use crate::middle;

/// Raised with each change to how patterns are fitted.
pub(super) const VERSION: u32 = 2;
/// With fewer samples a pattern is chance ...
const SAMPLES_LEAST: usize = 30;
/// ... and so many per signal at least.
const SAMPLES_PER_SIGNAL: usize = 3;
/// More than the newest so many samples are not looked at: it bounds the time of a fit.
const SAMPLES_MOST: usize = 4_096;
/// A state of a mixture needs so many samples per number that describes it.
const SAMPLES_PER_NUMBER: usize = 2;
/// A mixture has at most so many states.
const STATES_MOST: usize = 4;
/// One part in so many is held out.
const HELD_OUT: usize = 3;
/// The least deviation as a part of the middle.
const PART_LEAST: f64 = 0.02;
/// Turns a median absolute deviation of normal samples into their deviation.
const NORMAL: f64 = 1.4826;

/// Why samples give no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPattern {
    /// Wait for more.
    #[error("{samples} samples are too few, {least} are needed")]
    FewSamples {
        /// How many there are.
        samples: usize,
        /// How many are needed.
        least: usize,
    },
    /// Judge the signal by itself.
    #[error("a pattern needs two signals")]
    FewSignals,
    /// A bug of whoever gathered them.
    #[error("sample {sample} has another number of signals than the first")]
    Uneven {
        /// Its place.
        sample: usize,
    },
    /// Keep the pattern that there is.
    #[error("no pattern was found: {0}")]
    Unsolved(String),
}

/// Which shape a pattern shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Directions, always.
    Directions,
    /// A mixture of as many states as make unseen samples likeliest; directions where the samples
    /// are too few to describe even one state.
    Mixture,
    /// Whichever of both makes unseen samples likelier.
    Likeliest,
}

/// The pattern of samples, one value per signal each. Values that are no number count as usual.
pub fn fit(samples: &[Vec<f64>], choice: Choice) -> Result<Pattern, NoPattern> {
    let samples = &samples[samples.len().saturating_sub(SAMPLES_MOST)..];
    let signals = check(samples)?;
    let states = states_most(samples.len(), signals);
    let mut shapes: Vec<(Shape, usize)> = Vec::new();
    if choice != Choice::Directions {
        shapes.extend((1..=states).map(|states| (Shape::Mixture, states)));
    }
    if choice != Choice::Mixture {
        shapes.push((Shape::Directions, 1));
    }
    let best = match *shapes {
        [] => None,
        [only] => Some(only),
        _ => likeliest(samples, signals, &shapes),
    };
    let (shape, states) = best.unwrap_or((Shape::Directions, 1));
    shaped(samples, signals, shape, states)
        .or_else(|_| shaped(samples, signals, Shape::Directions, 1))
}

/// The shape under which the newest third of the samples is likeliest when fitted to the others.
fn likeliest(
    samples: &[Vec<f64>],
    signals: usize,
    shapes: &[(Shape, usize)],
) -> Option<(Shape, usize)> {
    let (known, held_out) = samples.split_at(samples.len() - samples.len() / HELD_OUT);
    let tried = shapes.iter().filter_map(|(shape, states)| {
        let pattern = shaped(known, signals, *shape, *states).ok()?;
        let each = held_out.iter().map(|sample| pattern.ln_density(sample));
        let mut each: Vec<f64> = each.collect();
        let usual = middle::lower(&mut each).filter(|usual| usual.is_finite())?;
        Some(((*shape, *states), usual))
    });
    Some(tried.reduce(|a, b| if b.1 > a.1 { b } else { a })?.0)
}

/// How many signals there are, if these samples can be fitted.
fn check(samples: &[Vec<f64>]) -> Result<usize, NoPattern> {
    let signals = samples.first().map_or(0, Vec::len);
    let least = SAMPLES_LEAST.max(SAMPLES_PER_SIGNAL * signals);
    if samples.len() < least {
        return Err(NoPattern::FewSamples { samples: samples.len(), least });
    }
    if signals < 2 {
        return Err(NoPattern::FewSignals);
    }
    match samples.iter().position(|sample| sample.len() != signals) {
        Some(sample) => Err(NoPattern::Uneven { sample }),
        None => Ok(signals),
    }
}

/// How many states so many samples can describe.
fn states_most(samples: usize, signals: usize) -> usize {
    let numbers = 1 + signals + signals * (signals + 1) / 2;
    (samples / (SAMPLES_PER_NUMBER * numbers)).min(STATES_MOST)
}

fn shaped(
    samples: &[Vec<f64>],
    signals: usize,
    shape: Shape,
    states: usize,
) -> Result<Pattern, NoPattern> {
    let (middle, deviation) = scales(samples, signals);
    let standard = samples.iter().flat_map(|sample| standard(sample, &middle, &deviation));
    let matrix = Array2::from_shape_vec((samples.len(), signals), standard.collect())
        .expect("every sample has as many values as there are signals");
    let density = match shape {
        Shape::Directions => Density::Directions(Directions::fit(&matrix)?),
        Shape::Mixture => Density::Mixture(Mixture::fit(matrix, states)?),
    };
    Ok(Pattern { version: VERSION, middle, deviation, density })
}

/// The middle and the robust deviation of each signal.
fn scales(samples: &[Vec<f64>], signals: usize) -> (Vec<f64>, Vec<f64>) {
    let scale = |signal: usize| {
        let values = samples.iter().map(|sample| sample[signal]);
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let centre = middle::lower(&mut values).unwrap_or(0.0);
        for value in &mut values {
            *value = (*value - centre).abs();
        }
        let farthest = values.iter().copied().fold(0.0, f64::max) / STRAY_MOST;
        let spread = NORMAL * middle::lower(&mut values).unwrap_or(0.0);
        let least = (PART_LEAST * centre.abs()).max(farthest).max(1e-9);
        (centre, spread.max(least))
    };
    (0..signals).map(scale).unzip()
}
