//! The scoring of the Numenta Anomaly Benchmark (Lavin and Ahmad, 2015, "Evaluating Real-time
//! Anomaly Detection Algorithms"; the reference is `nab/sweeper.py` of numenta/NAB).
//!
//! Around each anomaly lies a window. The earliest detection in it counts, the more the earlier;
//! every detection outside costs, the more the farther behind a window. The scores of a corpus
//! are scaled so that the detector that never speaks has 0 and the perfect one 100.

use std::ops::RangeInclusive;

use serde::Deserialize;

/// The first part of a series, in which detections do not count ...
const PROBATION_PART: f64 = 0.15;
/// ... and its most in samples.
const PROBATION_MOST: usize = 750;

/// Behind a window by as many of its widths a detection costs all that it can.
const FAR: f64 = 3.0;

/// What detections are worth.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct Weights {
    /// A window's earliest detection at its start.
    #[serde(rename = "tpWeight")]
    pub(crate) hit: f64,
    /// A detection far from any window.
    #[serde(rename = "fpWeight")]
    pub(crate) false_alarm: f64,
    /// A window without a detection.
    #[serde(rename = "fnWeight")]
    pub(crate) miss: f64,
}

/// The length of the probation in samples.
pub(crate) fn probation(length: usize) -> usize {
    let part = PROBATION_PART * length as f64;
    // Below 750 at most, so that the cast is exact.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 750")]
    let part = part.min(PROBATION_MOST as f64) as usize;
    part
}

/// A series as far as scoring needs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Labels {
    /// Samples in the series.
    pub(crate) length: usize,
    /// Windows, ascending and without overlap, as indices of samples.
    pub(crate) windows: Vec<RangeInclusive<usize>>,
}

impl Labels {
    /// The windows that a detection can hit: not wholly in the probation.
    pub(crate) fn countable(&self) -> usize {
        let probation = probation(self.length);
        self.windows.iter().filter(|window| *window.end() >= probation).count()
    }

    /// The score of detections (indices, ascending) before it is scaled.
    pub(crate) fn raw(&self, detections: &[usize], weights: Weights) -> f64 {
        let probation = probation(self.length);
        let mut best: Vec<Option<f64>> = vec![None; self.windows.len()];
        let mut costs = 0.0;
        for &at in detections.iter().filter(|at| (probation..self.length).contains(*at)) {
            let behind = self.windows.partition_point(|window| *window.end() < at);
            if let Some(window) = self.windows.get(behind).filter(|window| window.contains(&at)) {
                let worth = weights.hit * sigmoid(inside(window, at)) / sigmoid(-1.0);
                best[behind] = Some(best[behind].map_or(worth, |best| best.max(worth)));
            } else {
                let last = behind.checked_sub(1).and_then(|last| self.windows.get(last));
                let position = last.map_or(f64::INFINITY, |window| outside(window, at));
                costs += weights.false_alarm * sigmoid(position);
            }
        }
        let windows = self.windows.iter().zip(best);
        let countable = windows.filter(|(window, _)| *window.end() >= probation);
        costs + countable.map(|(_, best)| best.unwrap_or(-weights.miss)).sum::<f64>()
    }
}

/// Where in a window: -1 at its start, just below 0 at its end.
fn inside(window: &RangeInclusive<usize>, at: usize) -> f64 {
    let width = (window.end() - window.start() + 1) as f64;
    -((window.end() - at + 1) as f64) / width
}

/// How far behind a window, in its widths.
fn outside(window: &RangeInclusive<usize>, at: usize) -> f64 {
    let width = (window.end() - window.start()) as f64;
    (at - window.end()) as f64 / width.max(1.0)
}

fn sigmoid(position: f64) -> f64 {
    if position >= FAR { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

/// The score on the scale from silence (0) to perfect (100); `None` where there is no window.
pub(crate) fn scaled(raw: f64, windows: usize, weights: Weights) -> Option<f64> {
    let (null, perfect) = (-weights.miss * windows as f64, weights.hit * windows as f64);
    (windows > 0).then(|| 100.0 * (raw - null) / (perfect - null))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STANDARD: Weights = Weights { hit: 1.0, false_alarm: 0.11, miss: 1.0 };

    fn labels() -> Labels {
        Labels { length: 2_000, windows: vec![500..=699, 1_200..=1_399] }
    }

    #[track_caller]
    fn check(detections: &[usize], score: f64) {
        let labels = labels();
        let raw = labels.raw(detections, STANDARD);
        let found = scaled(raw, labels.countable(), STANDARD).unwrap_or(f64::NAN);
        assert!((found - score).abs() < 0.01, "{found} for {score}");
    }

    #[test]
    fn known_detectors_have_known_scores() {
        check(&[], 0.0);
        check(&[500, 1_200], 100.0);
        check(&[500, 510, 699, 1_200], 100.0); // later ones in a window cost nothing
        check(&[500], 50.0);
        check(&[0, 100, 299, 500, 1_200], 100.0); // probation: 300 samples
        check(&[400, 500, 1_200], 97.25); // 0.11 of 4
        check(&[500, 1_200, 1_400], 99.97); // just behind
        check(&[500, 1_200, 1_999], 97.25); // far behind
        check(&[599, 1_200], 96.58); // halfway: 0.8633 of a hit
    }

    #[test]
    fn windows_in_the_probation_do_not_count() {
        let labels = Labels { length: 1_000, windows: vec![10..=100, 140..=200] };
        assert_eq!(labels.countable(), 1);
        assert!((labels.raw(&[], STANDARD) + 1.0).abs() < 1e-9);
        assert_eq!((probation(1_000), probation(4_999), probation(100_000)), (150, 749, 750));
    }

    proptest! {
        #[test]
        fn nobody_is_better_than_perfect(detections in prop::collection::btree_set(0_usize..2_000, 0..50)) {
            let labels = labels();
            let detections: Vec<usize> = detections.into_iter().collect();
            let raw = labels.raw(&detections, STANDARD);
            prop_assert!(raw <= 2.0 + 1e-9);
            // An earlier detection in a window never makes it worse.
            let mut more = detections;
            more.push(500);
            more.sort_unstable();
            more.dedup();
            prop_assert!(labels.raw(&more, STANDARD) >= raw - 1e-9);
        }
    }
}
