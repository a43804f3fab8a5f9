//! Whether events (failures, slow requests) happen more often at one of two versions.
//!
//! Look by look: of the m events that both versions had together, the new one's share is binomial,
//! and how it splits depends on the ratio of the two rates alone, not on how many events there
//! are. So a base rate that moves with the hour, an upstream that fails for both, and a share of
//! traffic that changes with each step do no harm. The likelihood of each ratio on a grid is kept;
//! averaged over a prior and divided by that of "no difference" it is a martingale under that
//! null, which passes 1/alpha with a chance of at most alpha however often one looks (Ville's
//! inequality; Robbins, "Statistical methods related to the law of the iterated logarithm", Annals
//! of Mathematical Statistics 41, 1970; for a Poisson split Lindon and Malek, "Anytime-valid
//! inference for multinomial count data", NeurIPS 2022).
//!
//! Rather than the normal approximation in log ratios: that needs a correction where a count is
//! zero, pools what should stay apart, and takes a look more to tell 1 % from 2 %.

use serde::{Deserialize, Serialize};

/// Ratios from e^-3 to e^3, twenty-fold either way, in steps of 5 %.
const GRID: usize = 121;
const STEP: f64 = 0.05;
const EQUAL: usize = GRID / 2;

/// The prior over log ratios: a version that is worse at all is expected to be about twice as bad
/// (e^0.7), seldom less than 1.4 or more than 3 times.
const PRIOR_MIDDLE: f64 = 0.7;
const PRIOR_SPREAD: f64 = 0.35;

/// How many looks' worth of "as random as a coin" stand before the measured scatter, and by how
/// many of its own deviations scatter has to exceed chance before it counts. Together with the
/// prior: those that tell 1 % from 2 % soonest among the ones with at most 0.7 % false alarms in
/// forty looks at base rates of 0.1, 1 and 5 % (`weir evaluate canary`).
const CALM: f64 = 4.0;
const CHANCE: f64 = 1.5;

/// Events of two versions, split between them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Split {
    /// Log likelihood of each ratio, less that of equality. Empty before the first event.
    likelihood: Vec<f64>,
    /// Squared deviations of the split from what was expected, in units of what chance gives.
    scatter: f64,
    /// Looks in which anything happened.
    looks: f64,
    /// The largest odds so far against "no worse".
    odds_most: f64,
    /// Totals: events and requests.
    pub(super) canary: Tally,
    /// As above.
    pub(super) stable: Tally,
}

/// Events among requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// How many events.
    pub(super) events: f64,
    /// Among so many requests.
    pub(super) requests: f64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.requests += other.requests;
    }

    fn is_sound(self) -> bool {
        self.requests.is_finite() && self.requests > 0.0 && self.events >= 0.0
    }

    /// No more events than requests.
    fn bounded(self) -> Self {
        Self { events: self.events.min(self.requests), ..self }
    }
}

/// How likely a log ratio is that is worse.
fn prior(log: f64) -> f64 {
    let z = (log - PRIOR_MIDDLE) / PRIOR_SPREAD;
    libm::exp(-0.5 * z * z)
}

/// How likely one is either way.
fn either(_: usize, log: f64) -> f64 {
    let z = log / PRIOR_MIDDLE;
    libm::exp(-0.5 * z * z)
}

fn log_ratio(index: usize) -> f64 {
    (index as f64 - EQUAL as f64) * STEP
}

impl Split {
    /// Takes in one look. One without requests at both versions says nothing of a difference.
    pub(super) fn absorb(&mut self, canary: Tally, stable: Tally) {
        if !canary.is_sound() || !stable.is_sound() {
            return;
        }
        let (canary, stable) = (canary.bounded(), stable.bounded());
        let expected_ratio = self.expected_ratio();
        self.canary.add(canary);
        self.stable.add(stable);
        let events = canary.events + stable.events;
        if events <= 0.0 {
            return;
        }
        let part = canary.requests / (canary.requests + stable.requests);
        self.scatter((canary.events, events), part, expected_ratio);
        self.likelihood.resize(GRID, 0.0);
        for (index, likelihood) in self.likelihood.iter_mut().enumerate() {
            let ratio = libm::exp(log_ratio(index));
            let norm = libm::log(part * ratio + 1.0 - part);
            *likelihood += canary.events * log_ratio(index) - events * norm;
        }
        self.odds_most = self.odds_most.max(self.odds());
    }

    /// The ratio that the looks so far suggest, drawn a little towards equality.
    fn expected_ratio(&self) -> f64 {
        let requests = self.canary.requests + self.stable.requests;
        if requests <= 0.0 {
            return 1.0;
        }
        let part = self.canary.requests / requests;
        let odds = (self.canary.events + 2.0 * part) / (self.stable.events + 2.0 * (1.0 - part));
        odds * (1.0 - part) / part
    }

    /// Compares a look's split with what the looks before it suggest, so that a real difference is
    /// not taken for scatter.
    fn scatter(&mut self, (at_canary, events): (f64, f64), part: f64, ratio: f64) {
        let expected = part * ratio / (part * ratio + 1.0 - part);
        let variance = events * expected * (1.0 - expected);
        if variance > 0.0 {
            let off = at_canary - events * expected;
            self.scatter += off * off / variance;
            self.looks += 1.0;
        }
    }

    /// How much wider splits scatter than chance makes them: errors that come in bursts are fewer
    /// independent events than they look. Quasi-likelihood: Wedderburn, Biometrika 61, 1974.
    fn dispersion(&self) -> f64 {
        let usual = CHANCE * libm::sqrt(2.0 * self.looks);
        ((CALM + self.scatter - usual) / (CALM + self.looks)).max(1.0)
    }

    /// Odds of "worse" against "equal", as of now.
    fn odds(&self) -> f64 {
        let positive = |index: usize, log: f64| if index > EQUAL { prior(log) } else { 0.0 };
        self.averaged(positive)
    }

    /// The likelihood averaged over a prior on the ratios.
    fn averaged(&self, prior: impl Fn(usize, f64) -> f64) -> f64 {
        let tempered = 1.0 / self.dispersion();
        let (mut sum, mut weights) = (0.0, 0.0);
        for (index, likelihood) in self.likelihood.iter().enumerate() {
            let weight = prior(index, log_ratio(index));
            // Beyond e^600 nothing changes any more, and nothing overflows.
            sum += weight * libm::exp((tempered * likelihood).min(600.0));
            weights += weight;
        }
        if weights > 0.0 { sum / weights } else { 1.0 }
    }

    /// The chance of such evidence where the new version is no worse, however often one looks.
    pub(super) fn chance(&self) -> f64 {
        1.0 / self.odds_most.max(1.0)
    }

    /// Which ratios of the rates remain possible, at any time at once; from zero and to infinity
    /// where the grid ends.
    pub(super) fn interval(&self, alpha: f64) -> (f64, f64) {
        if self.likelihood.is_empty() {
            return (0.0, f64::INFINITY);
        }
        let floor = self.dispersion() * libm::log(self.averaged(either) * alpha);
        let possible = |index: &usize| self.likelihood[*index] >= floor;
        let first = (0..GRID).find(possible);
        let last = (0..GRID).rev().find(possible);
        // One step further out: what lies between two points of the grid was not looked at.
        let lower = first.map_or(0, |index| index.saturating_sub(1));
        let upper = last.map_or(GRID - 1, |index| (index + 1).min(GRID - 1));
        let below = if lower == 0 { 0.0 } else { libm::exp(log_ratio(lower)) };
        let above = if upper == GRID - 1 { f64::INFINITY } else { libm::exp(log_ratio(upper)) };
        (below, above)
    }

    /// The largest ratio of events to requests that the new version may still have, at any time at
    /// once: a Gamma-Poisson mixture (as above, for one rate).
    pub(super) fn canary_at_most(&self, alpha: f64) -> f64 {
        let dispersion = self.dispersion();
        at_most(self.canary.events / dispersion, self.canary.requests / dispersion, alpha)
    }
}

/// The prior on a rate: half an event in a hundred requests.
const SHAPE: f64 = 0.5;
const EXPOSURE: f64 = 100.0;

/// Halvings of the search for a bound: to a millionth of the interval.
const HALVINGS: u32 = 40;

fn at_most(events: f64, requests: f64, alpha: f64) -> f64 {
    if requests <= 0.0 {
        return 1.0;
    }
    let shape = SHAPE + events;
    let mixed = SHAPE * libm::log(EXPOSURE) - libm::lgamma(SHAPE) + libm::lgamma(shape)
        - shape * libm::log(EXPOSURE + requests);
    let floor = mixed + libm::log(alpha);
    let likelihood = |rate: f64| events * libm::log(rate) - requests * rate;
    let (mut low, mut high) = ((events / requests).clamp(1e-12, 1.0), 1.0);
    if likelihood(high) >= floor {
        return 1.0;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if likelihood(middle) >= floor { low = middle } else { high = middle }
    }
    high
}
