//! Whether requests take longer at one of two versions: the mean of the logarithm of latency.
//!
//! In logarithms a request that takes a minute weighs as one that takes ten times as long as the
//! usual one does, so single outliers decide nothing, and a difference is a ratio. Requests that
//! wait in one queue are late together, so their number says little of how sure the mean is: the
//! scatter of the difference from look to look does. The test is a normal mixture (Robbins 1970)
//! with the scatter's uncertainty integrated out (Wang and Ramdas, "Anytime-valid t-tests and
//! confidence sequences for Gaussian means with unknown variance", 2023).

use serde::{Deserialize, Serialize};
use weir_engine::latency::{Latency, upper_ms};

/// Deviation of the prior over log ratios of latency: a third more or less.
const PRIOR: f64 = 0.3;

/// Fewer looks do not tell how differences scatter.
pub(super) const LOOKS_MIN: f64 = 4.0;

/// Differences of mean log latency, each weighted by the requests behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pace {
    /// Looks with timed requests at both versions.
    pub(super) looks: f64,
    weights: f64,
    weights_squared: f64,
    /// Sums of weight x difference, weight squared x difference, and x its square.
    sum: f64,
    sum_squared_weight: f64,
    sum_squared: f64,
    /// Sum of weight squared x the variance that requests' own spread gives.
    within: f64,
    /// The largest odds so far against "no slower than tolerated".
    odds_most: f64,
    /// Timed requests and the sums of their logarithms.
    pub(super) canary: Timed,
    /// As above.
    pub(super) stable: Timed,
}

/// Timed requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Timed {
    pub(super) requests: f64,
    logs: f64,
}

impl Timed {
    /// The geometric mean in milliseconds.
    pub(super) fn typical_ms(self) -> f64 {
        if self.requests > 0.0 { libm::exp(self.logs / self.requests) } else { 0.0 }
    }

    fn add(&mut self, moments: &Moments) {
        self.requests += moments.count;
        self.logs += moments.mean * moments.count;
    }
}

/// Count, mean and variance of log latency.
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

fn moments(latency: &Latency) -> Option<Moments> {
    let logs = || {
        let middle = |&(bucket, count): &(u8, f64)| {
            // The middle of a bucket whose bounds are a quarter of an octave apart.
            (libm::log(upper_ms(bucket)) - core::f64::consts::LN_2 / 8.0, count)
        };
        latency.buckets.iter().map(middle)
    };
    let count: f64 = logs().map(|(_, count)| count).sum();
    if !count.is_finite() || count < 2.0 {
        return None;
    }
    let mean = logs().map(|(log, count)| log * count).sum::<f64>() / count;
    let squares: f64 = logs().map(|(log, count)| count * (log - mean) * (log - mean)).sum();
    Some(Moments { count, mean, variance: squares / (count - 1.0) })
}

impl Pace {
    /// Takes in one look; `tolerated` is the log ratio up to which slower is not worse.
    pub(super) fn absorb(&mut self, canary: &Latency, stable: &Latency, tolerated: f64) {
        let (Some(canary), Some(stable)) = (moments(canary), moments(stable)) else { return };
        self.canary.add(&canary);
        self.stable.add(&stable);
        let difference = canary.mean - stable.mean;
        let weight = canary.count * stable.count / (canary.count + stable.count);
        let square = weight * weight;
        self.looks += 1.0;
        self.weights += weight;
        self.weights_squared += square;
        self.sum += weight * difference;
        self.sum_squared_weight += square * difference;
        self.sum_squared += square * difference * difference;
        self.within += square * (canary.variance / canary.count + stable.variance / stable.count);
        self.odds_most = self.odds_most.max(self.odds(tolerated));
    }

    /// The log ratio of typical latencies and its variance, once enough was looked at.
    fn estimate(&self) -> Option<(f64, f64)> {
        if self.looks < LOOKS_MIN {
            return None;
        }
        let mean = self.sum / self.weights;
        let scatter = self.sum_squared - 2.0 * mean * self.sum_squared_weight
            + mean * mean * self.weights_squared;
        let scatter = scatter.max(0.0) * self.looks / (self.looks - 1.0);
        let variance = scatter.max(self.within) / (self.weights * self.weights);
        // Two versions that answer alike to the microsecond are alike, not infinitely sure.
        Some((mean, variance.max(1e-9)))
    }

    /// Odds of "slower than tolerated" against "just tolerated".
    fn odds(&self, tolerated: f64) -> f64 {
        let Some((mean, variance)) = self.estimate() else { return 1.0 };
        let excess = mean - tolerated;
        let kept = variance / (variance + PRIOR * PRIOR);
        let freedom = self.looks - 1.0;
        let square = excess * excess / variance / freedom;
        let ratio = (1.0 + square) / (1.0 + kept * square);
        let odds = libm::sqrt(kept) * libm::pow(ratio, f64::midpoint(freedom, 1.0));
        // The half of the prior that says slower.
        let z = excess * libm::sqrt((1.0 - kept) / variance);
        (odds * libm::erfc(-z / core::f64::consts::SQRT_2)).min(1e300)
    }

    /// The chance of such evidence where the new version is no slower than tolerated.
    pub(super) fn chance(&self) -> f64 {
        1.0 / self.odds_most.max(1.0)
    }

    /// The ratio of typical latencies and the interval of those that remain possible.
    pub(super) fn interval(&self, alpha: f64) -> Option<(f64, f64, f64)> {
        let (mean, variance) = self.estimate()?;
        let kept = variance / (variance + PRIOR * PRIOR);
        let freedom = self.looks - 1.0;
        let level = libm::pow(1.0 / (alpha * alpha * kept), 1.0 / (freedom + 1.0));
        if kept * level >= 1.0 {
            return Some((libm::exp(mean), 0.0, f64::INFINITY));
        }
        let square = freedom * (level - 1.0) / (1.0 - kept * level);
        let half = libm::sqrt(square * variance);
        Some((libm::exp(mean), libm::exp(mean - half), libm::exp(mean + half)))
    }
}
