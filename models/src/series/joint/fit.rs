//! Fitting the pattern: robust scales, then principal components by linfa.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_reduction::Pca;
use ndarray::Array2;

use super::{Pattern, STRAY_MOST};
use crate::middle;

/// Raised with each change to how patterns are fitted.
const VERSION: u32 = 1;
/// With fewer samples a pattern is chance ...
const SAMPLES_LEAST: usize = 30;
/// ... and so many per signal at least.
const SAMPLES_PER_SIGNAL: usize = 3;
/// Directions that explain this part of all movement make the pattern; the rest is noise.
const EXPLAINED: f64 = 0.9;
/// Noise is never smaller than this part of a deviation, lest a perfect fit alarm at rounding.
const NOISE_LEAST: f64 = 0.01;
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
    #[error("no directions were found: {0}")]
    Unsolved(String),
}

/// The pattern of samples, one value per signal each. Values that are no number count as usual.
pub fn fit(samples: &[Vec<f64>]) -> Result<Pattern, NoPattern> {
    let signals = samples.first().map_or(0, Vec::len);
    let least = SAMPLES_LEAST.max(SAMPLES_PER_SIGNAL * signals);
    if samples.len() < least {
        return Err(NoPattern::FewSamples { samples: samples.len(), least });
    }
    if signals < 2 {
        return Err(NoPattern::FewSignals);
    }
    if let Some(sample) = samples.iter().position(|sample| sample.len() != signals) {
        return Err(NoPattern::Uneven { sample });
    }
    let (middle, deviation) = scales(samples, signals);
    let mut pattern = Pattern {
        version: VERSION,
        middle,
        deviation,
        directions: Vec::new(),
        variances: Vec::new(),
        noise: 1.0,
    };
    let standard: Vec<f64> = samples.iter().flat_map(|sample| pattern.standard(sample)).collect();
    let total = standard.iter().map(|value| value * value).sum::<f64>() / samples.len() as f64;
    let matrix = Array2::from_shape_vec((samples.len(), signals), standard)
        .expect("every sample has as many values as there are signals");
    let unsolved = |cause: &dyn ToString| NoPattern::Unsolved(cause.to_string());
    let components = Pca::params(signals - 1)
        .fit(&DatasetBase::from(matrix))
        .map_err(|cause| unsolved(&cause))?;
    let mut left = total;
    // Not `explained_variance`: linfa 0.8.1 divides by the number of components, not of samples.
    let variances = components.singular_values().mapv(|value| value * value / samples.len() as f64);
    for (direction, variance) in components.components().rows().into_iter().zip(variances) {
        if left <= (1.0 - EXPLAINED) * total || !variance.is_finite() {
            break;
        }
        pattern.directions.extend(direction);
        pattern.variances.push(variance.max(NOISE_LEAST));
        left -= variance;
    }
    let others = (signals - pattern.variances.len()).max(1) as f64;
    pattern.noise = (left / others).max(NOISE_LEAST);
    Ok(pattern)
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
