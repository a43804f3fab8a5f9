//! Several states that a service is in by turns, each with its own middle and its own ways of
//! moving: a mixture of normal distributions, fitted by expectation and maximisation (Dempster,
//! Laird and Rubin, 1977) from k-means.

use linfa::DatasetBase;
use linfa::prelude::ParamGuard;
use linfa::traits::Fit;
use linfa_clustering::GaussianMixtureModel;
use ndarray::Array2;
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use super::fit::NoPattern;
use super::{Misfit, ln_normal};

/// Where k-means begins: always there, so that the same samples give the same pattern.
const SEED: u64 = 1;
/// Added to each variance, in squared deviations: a state that is a single point would alarm at
/// rounding. linfa 0.8.1 adds densities without scaling them by the largest; wider states also
/// keep these from underflowing.
const VARIANCE_LEAST: f64 = 0.01;
/// Rounds, and the gain in mean logarithmic likelihood below which they end.
const ROUNDS_MOST: u64 = 200;
const GAIN_LEAST: f64 = 1e-3;

/// States, by no order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mixture {
    states: Vec<State>,
}

/// One state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    /// The logarithm of the part of time in it.
    ln_weight: f64,
    middle: Vec<f64>,
    /// The inverse of the covariance, row by row.
    precision: Vec<f64>,
    /// The logarithm of the covariance's determinant.
    ln_determinant: f64,
}

impl Mixture {
    /// Of samples in deviations, one a row, with so many states.
    pub(super) fn fit(samples: Array2<f64>, states: usize) -> Result<Self, NoPattern> {
        let unsolved = |cause: &dyn ToString| NoPattern::Unsolved(cause.to_string());
        let random = Xoshiro256Plus::seed_from_u64(SEED);
        let settings = GaussianMixtureModel::params_with_rng(states, random)
            // Not more: linfa 0.8.1 goes on from the first run's end instead of starting anew.
            .n_runs(1)
            .max_n_iterations(ROUNDS_MOST)
            .tolerance(GAIN_LEAST)
            .reg_covariance(VARIANCE_LEAST)
            .check()
            .map_err(|cause| unsolved(&cause))?;
        let model = settings.fit(&DatasetBase::from(samples)).map_err(|cause| unsolved(&cause))?;
        let parts = model.weights().iter().zip(model.means().rows());
        let parts = parts.zip(model.precisions().outer_iter());
        let states = parts.map(|((weight, middle), precision)| {
            let precision: Vec<f64> = precision.iter().copied().collect();
            let ln_determinant = -ln_determinant(&precision, middle.len())?;
            let middle = middle.to_vec();
            Some(State { ln_weight: libm::log(*weight), middle, precision, ln_determinant })
        });
        let states: Option<Vec<State>> = states.collect();
        let whole = states.filter(|states| states.iter().all(State::is_finite));
        whole.map(|states| Self { states }).ok_or_else(|| unsolved(&"a state is degenerate"))
    }

    pub(super) fn misfit(&self, standard: &[f64]) -> Misfit {
        let nearest = self.nearest(standard);
        let (mut distance, mut farthest) = (0.0, (0, 0.0));
        for (signal, pull) in nearest.pulls(standard).enumerate() {
            distance += pull * (standard[signal] - nearest.middle[signal]);
            // What the others let expect of a signal is off by pull / precision, and strays by
            // 1 / sqrt(precision).
            let off = pull / nearest.precision[signal * standard.len() + signal].sqrt();
            if off.abs() > f64::abs(farthest.1) {
                farthest = (signal, off);
            }
        }
        let (signal, off) = farthest;
        Misfit { distance: distance / standard.len() as f64, signal, off }
    }

    pub(super) fn ln_density(&self, standard: &[f64]) -> f64 {
        let each = self.states.iter().map(|state| state.ln_density(standard));
        let most = each.clone().fold(f64::NEG_INFINITY, f64::max);
        most + libm::log(each.map(|one| libm::exp(one - most)).sum())
    }

    /// The state that a sample most likely belongs to.
    fn nearest(&self, standard: &[f64]) -> &State {
        let each = self.states.iter().map(|state| (state.ln_density(standard), state));
        let nearest = each.reduce(|a, b| if b.0 > a.0 { b } else { a });
        nearest.expect("a mixture has at least one state").1
    }
}

impl State {
    fn is_finite(&self) -> bool {
        let numbers = self.middle.iter().chain(&self.precision);
        numbers.chain([&self.ln_weight, &self.ln_determinant]).all(|number| number.is_finite())
    }

    /// The product of precision and distance from the middle, signal by signal.
    fn pulls<'a>(&'a self, standard: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.precision.chunks(standard.len().max(1)).map(move |row| {
            let away = standard.iter().zip(&self.middle).map(|(value, middle)| value - middle);
            row.iter().zip(away).map(|(part, away)| part * away).sum()
        })
    }

    fn ln_density(&self, standard: &[f64]) -> f64 {
        let away = standard.iter().zip(&self.middle).map(|(value, middle)| value - middle);
        let distance: f64 = self.pulls(standard).zip(away).map(|(pull, away)| pull * away).sum();
        self.ln_weight + ln_normal(standard.len(), distance, self.ln_determinant)
    }
}

/// The logarithm of the determinant of a symmetric, positive definite matrix: twice the sum of
/// the logarithms of its Cholesky factor's diagonal. `None` for another matrix.
fn ln_determinant(matrix: &[f64], size: usize) -> Option<f64> {
    let mut lower = vec![0.0; size * size];
    let mut sum = 0.0;
    for row in 0..size {
        for column in 0..=row {
            let dot: f64 =
                (0..column).map(|k| lower[row * size + k] * lower[column * size + k]).sum();
            let left = matrix[row * size + column] - dot;
            if row == column {
                if !(left > 0.0 && left.is_finite()) {
                    return None;
                }
                lower[row * size + row] = left.sqrt();
                sum += libm::log(left);
            } else {
                lower[row * size + column] = left / lower[column * size + column];
            }
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_determinant_is_that_of_a_known_matrix() {
        let known = ln_determinant(&[4.0, 2.0, 2.0, 3.0], 2).unwrap();
        assert!((known - libm::log(8.0)).abs() < 1e-12);
        assert_eq!(ln_determinant(&[1.0, 2.0, 2.0, 1.0], 2), None, "not positive definite");
    }

    #[test]
    fn one_state_is_a_normal_distribution() {
        let state = State {
            ln_weight: 0.0,
            middle: vec![1.0],
            precision: vec![0.25],
            ln_determinant: libm::log(4.0),
        };
        let mixture = Mixture { states: vec![state] };
        let at = mixture.ln_density(&[3.0]);
        let expected = -0.5 - 2.0_f64.ln() - 0.5 * (2.0 * core::f64::consts::PI).ln();
        assert!((at - expected).abs() < 1e-12, "{at} for {expected}");
        let misfit = mixture.misfit(&[5.0]);
        assert!((misfit.distance - 4.0).abs() < 1e-12 && (misfit.off - 2.0).abs() < 1e-12);
    }
}
