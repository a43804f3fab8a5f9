//! A few directions in which signals move together, and noise of one size in all others: a
//! probabilistic principal component analysis (Tipping and Bishop, 1999).
//!
//! The components are the eigenvectors of the covariance by linfa's linear algebra. Its `Pca`
//! (linfa-reduction 0.8.1) is not used: where signals are combinations of each other, its
//! iteration meets numbers that are none, and panics.

use linfa_linalg::eigh::Eigh;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::fit::NoPattern;
use super::{Misfit, ln_normal};

/// Directions that explain this part of all movement make the pattern; the rest is noise.
const EXPLAINED: f64 = 0.9;
/// Noise is never smaller than this part of a deviation, lest a perfect fit alarm at rounding.
const NOISE_LEAST: f64 = 0.01;

/// Directions and noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Directions {
    /// Of unit length, row by row, with the variance along each.
    rows: Vec<f64>,
    variances: Vec<f64>,
    /// The variance in every other direction.
    noise: f64,
}

impl Directions {
    /// Of samples in deviations, one a row.
    pub(super) fn fit(samples: &Array2<f64>) -> Result<Self, NoPattern> {
        let (count, signals) = samples.dim();
        // About zero, the robust middle, and not about the mean: so are distances.
        let covariance = samples.t().dot(samples) / count as f64;
        let unsolved = |cause: String| NoPattern::Unsolved(cause);
        let (values, vectors) = covariance.eigh().map_err(|cause| unsolved(cause.to_string()))?;
        if !values.iter().chain(&vectors).all(|number| number.is_finite()) {
            return Err(unsolved("the covariance has no eigenvectors".to_owned()));
        }
        let mut each: Vec<_> = values.iter().copied().zip(vectors.columns()).collect();
        each.sort_by(|a, b| b.0.total_cmp(&a.0));
        let total: f64 = values.iter().sum();
        let mut left = total;
        let mut found = Self { rows: Vec::new(), variances: Vec::new(), noise: 1.0 };
        for (variance, direction) in each.into_iter().take(signals - 1) {
            if left <= (1.0 - EXPLAINED) * total {
                break;
            }
            found.rows.extend(direction);
            found.variances.push(variance.max(NOISE_LEAST));
            left -= variance;
        }
        let others = (signals - found.variances.len()).max(1) as f64;
        found.noise = (left / others).max(NOISE_LEAST);
        Ok(found)
    }

    pub(super) fn misfit(&self, standard: Vec<f64>) -> Misfit {
        let signals = standard.len();
        let (distance, rest) = self.split(standard);
        let farthest = rest.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        let (signal, off) = farthest.map_or((0, 0.0), |(signal, off)| (signal, *off));
        Misfit { distance: distance / signals as f64, signal, off }
    }

    pub(super) fn ln_density(&self, standard: Vec<f64>) -> f64 {
        let signals = standard.len();
        let (distance, _) = self.split(standard);
        let others = (signals - self.variances.len()) as f64;
        let along: f64 = self.variances.iter().map(|variance| libm::log(*variance)).sum();
        ln_normal(signals, distance, along + others * libm::log(self.noise))
    }

    /// The squared distance of a sample, and what of it lies along none of the directions.
    fn split(&self, mut rest: Vec<f64>) -> (f64, Vec<f64>) {
        let mut distance = 0.0;
        for (direction, variance) in self.rows.chunks(rest.len().max(1)).zip(&self.variances) {
            let along: f64 = direction.iter().zip(&rest).map(|(d, r)| d * r).sum();
            distance += along * along / variance;
            for (rest, part) in rest.iter_mut().zip(direction) {
                *rest -= along * part;
            }
        }
        distance += rest.iter().map(|rest| rest * rest).sum::<f64>() / self.noise;
        (distance, rest)
    }
}
