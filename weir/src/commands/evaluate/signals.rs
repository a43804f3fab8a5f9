//! Scores of many signals of one pod or node: each by its own baseline, or all together.

use weir_models::series::baseline::Baseline;
use weir_models::series::joint::{self, Choice, Pattern};

/// Samples for which a baseline stays frozen: faults in these data last three to ten.
const FROZEN_MOST: u16 = 10;

/// Kinds of score: the largest, the second and the third largest deviation of a sample, each also
/// as the lesser of two samples in a row. A fault shows in several signals and lasts; noise does
/// neither.
const RANKED: usize = 3;

/// A pattern of all signals is fitted anew after so many samples, or a tenth of all before.
const REFITTED_EVERY: usize = 10;

/// How one signal strays: which way is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// Either.
    Both,
    /// Above the usual.
    High,
}

/// One signal: its samples, NaN where there is none, and which way is bad.
pub(super) type Signal = (Vec<f64>, Bad);

/// Scores by the own baseline, one list per kind.
pub(super) fn by_baseline(signals: &[Signal]) -> Vec<Vec<f64>> {
    ranked(signals, |values| {
        let mut baseline = Baseline::new(0.0, FROZEN_MOST);
        let score = |value: &f64| baseline.see(*value).map_or(0.0, |found| found.score());
        values.iter().map(score).collect()
    })
}

/// Scores by the last value as forecast: the step in usual steps.
pub(super) fn by_last(signals: &[Signal]) -> Vec<Vec<f64>> {
    ranked(signals, |values| {
        let mut last = f64::NAN;
        let mut baseline = Baseline::new(0.0, FROZEN_MOST);
        let score = |value: &f64| {
            let step = value - last;
            last = if value.is_finite() { *value } else { last };
            baseline.see(step).map_or(0.0, |found| step / found.deviation)
        };
        values.iter().map(score).collect()
    })
}

/// Scores of all signals together, by how the shape of a pattern is chosen.
pub(super) fn by_joint(signals: &[Signal]) -> Vec<(&'static str, Vec<Vec<f64>>)> {
    let choices = [
        ("joint_directions", Choice::Directions),
        ("joint_mixture", Choice::Mixture),
        ("joint_likeliest", Choice::Likeliest),
    ];
    choices.map(|(name, choice)| (name, fitted(signals, choice))).into()
}

/// Distances from a pattern that is fitted to the samples before, again and again: as they are,
/// and as the lesser of two in a row.
fn fitted(signals: &[Signal], choice: Choice) -> Vec<Vec<f64>> {
    let length = signals.iter().map(|(values, _)| values.len()).max().unwrap_or(0);
    let sample = |at: usize| signals.iter().map(|(values, _)| values[at]).collect::<Vec<f64>>();
    let samples: Vec<Vec<f64>> = (0..length).map(sample).collect();
    let (mut pattern, mut next): (Option<Pattern>, usize) = (None, 0);
    let score = |at: usize| {
        if at >= next {
            pattern = joint::fit(&samples[..at], choice).ok().or(pattern.take());
            next = at + REFITTED_EVERY.max(at / 10);
        }
        let misfit = pattern.as_ref().and_then(|pattern| pattern.misfit(&samples[at]));
        misfit.map_or(0.0, |misfit| misfit.distance)
    };
    let single: Vec<f64> = (0..length).map(score).collect();
    let pairs = single.windows(2).map(|pair| pair[0].min(pair[1]));
    let lasting = std::iter::once(0.0).chain(pairs).take(length).collect();
    vec![single, lasting]
}

fn ranked(signals: &[Signal], scores: impl Fn(&[f64]) -> Vec<f64>) -> Vec<Vec<f64>> {
    let each = signals.iter().map(|(values, bad)| {
        let bad = |score: f64| match bad {
            Bad::Both => score.abs(),
            Bad::High => score,
        };
        scores(values).into_iter().map(bad).collect::<Vec<f64>>()
    });
    let each: Vec<Vec<f64>> = each.collect();
    let length = each.iter().map(Vec::len).max().unwrap_or(0);
    let mut kinds = vec![vec![0.0; length]; RANKED.min(signals.len()).max(1)];
    for at in 0..length {
        let mut all: Vec<f64> = each.iter().map(|scores| scores[at]).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        for (kind, score) in kinds.iter_mut().zip(all) {
            kind[at] = score;
        }
    }
    let lasting = kinds.iter().map(|scores| {
        let pairs = scores.windows(2).map(|pair| pair[0].min(pair[1]));
        std::iter::once(0.0).chain(pairs).take(scores.len()).collect()
    });
    let lasting: Vec<Vec<f64>> = lasting.collect();
    kinds.extend(lasting);
    kinds
}

/// What grows by factors, on a scale where it grows by steps: latency in ms, bytes, percent.
pub(super) fn by_factor(value: f64) -> f64 {
    value.max(0.0).ln_1p()
}

/// The logit of an error ratio, from the percentage that succeeded of so many requests. The half
/// error that is added keeps a single one of few requests from being far off.
pub(super) fn errors(succeeded: f64, requests: f64) -> f64 {
    let failed = (1.0 - succeeded / 100.0).clamp(0.0, 1.0) * requests;
    let ratio = (failed + 0.5) / (requests + 1.0);
    (ratio / (1.0 - ratio)).ln()
}
