//! A service's own series: latency, errors, load ahead, and all of them together.

use serde::{Deserialize, Serialize};
use weir_engine::assessment::Assessment;
use weir_engine::history::Window;
use weir_engine::model::View;
use weir_engine::observation::Fitted;
use weir_engine::warning::{Finding, Signal};

use super::ahead::Ahead;
use super::line::Line;
use super::{LATENCY_FLOOR, rounded};
use crate::series::alarm::{Alarm, Budget};
use crate::series::baseline::{Baseline, FROZEN_MOST};
use crate::series::joint::Pattern;
use crate::series::rank::Ranks;

/// Signals of a service that are judged together.
pub const SIGNALS: usize = 4;
/// In the order of a sample.
const ORDER: [Signal; SIGNALS] =
    [Signal::Load, Signal::Latency, Signal::Errors, Signal::Utilization];
/// An error ratio whose square root is off by less than this means nothing. The root of a ratio
/// of counts strays alike at any ratio, which neither the ratio nor its logit does.
const ERRORS_FLOOR: f32 = 0.015;
/// The joint judge may claim one sample in so many ...
const MISFITS: Budget = Budget { rate: 1.0 / 1_000.0, quiet: 0 };
/// ... and none that is nearer than this to the pattern, where 1 is usual.
const MISFIT_LEAST: f64 = 4.0;
/// A misfit must last for so many samples: the least of their distances counts.
const LASTING: usize = 3;

/// What is remembered of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Service {
    latency: Line,
    errors: Line,
    /// The median latency of its endpoints.
    middle: Baseline,
    ahead: Ahead,
    pattern: Option<(u64, Pattern)>,
    /// Distances from the pattern of late, the newest first.
    distances: [f64; LASTING],
    ranks: Ranks,
    alarm: Alarm,
    /// The last step's signals, as far as they are known. Not as a number that is none: memories
    /// are compared, and it equals nothing.
    sample: Option<[Option<f64>; SIGNALS]>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            latency: Line::default(),
            errors: Line::default(),
            middle: Baseline::new(LATENCY_FLOOR, FROZEN_MOST),
            ahead: Ahead::default(),
            pattern: None,
            distances: [0.0; LASTING],
            ranks: Ranks::default(),
            alarm: Alarm::new(MISFITS),
            sample: None,
        }
    }
}

/// A window's sums over all endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    load: f64,
    requests: f64,
    errors: f64,
    timed: f64,
    sum_ms: f64,
    /// Requests per second that all endpoints can carry, where each one's capacity is known.
    capacity: Option<f64>,
    utilization: Option<f64>,
}

impl Totals {
    pub(super) fn of(window: &Window, assessment: &Assessment) -> Self {
        let mut totals = Self::default();
        for row in &*window.rows {
            totals.load += row.rate().unwrap_or(0.0);
            totals.requests += row.requests as f64;
            totals.errors += row.errors.min(row.requests) as f64;
            totals.timed += row.latency.count;
            totals.sum_ms += row.latency.sum_ms;
        }
        let (mut capacity, mut known, mut utilization, mut looked) = (0.0, true, 0.0, 0_u32);
        for judgement in &assessment.endpoints {
            let Some(expectation) = &judgement.expectation else {
                known = false;
                continue;
            };
            capacity += expectation.capacity.value();
            known &= expectation.capacity.value() > 0.0;
            utilization += expectation.utilization.value();
            looked += 1;
        }
        totals.capacity = Some(capacity).filter(|_| known && looked > 0);
        totals.utilization = (looked > 0).then(|| utilization / f64::from(looked));
        totals
    }

    fn signals(&self) -> [f64; SIGNALS] {
        let latency = if self.timed > 0.0 && self.sum_ms > 0.0 {
            libm::log(self.sum_ms / self.timed)
        } else {
            f64::NAN
        };
        let errors = libm::sqrt(self.errors / self.requests.max(1.0));
        [libm::log(self.load.max(0.1)), latency, errors, self.utilization.unwrap_or(f64::NAN)]
    }
}

impl Service {
    pub(super) fn forget_sample(&mut self) {
        self.sample = None;
    }

    pub(super) fn sample(&self) -> Option<[f64; SIGNALS]> {
        Some(self.sample?.map(|value| value.unwrap_or(f64::NAN)))
    }

    /// Which pattern it is judged by.
    #[cfg(test)]
    pub(super) fn pattern(&self) -> Option<u64> {
        self.pattern.as_ref().map(|(version, _)| *version)
    }

    /// Takes over a pattern, unless it is none of the signals that there are.
    pub(super) fn adopt(&mut self, fitted: &Fitted) {
        let read = postcard::from_bytes::<Pattern>(&fitted.weights).ok();
        if let Some(pattern) = read.filter(|pattern| pattern.is_of(SIGNALS)) {
            // Ranks go on: 1 is the usual distance under every pattern.
            self.pattern = Some((fitted.version, pattern));
        }
    }

    /// Takes in a window's sums; tells what is found.
    pub(super) fn see(&mut self, totals: &Totals, view: &View<'_>, mut tell: impl FnMut(Finding)) {
        if totals.requests <= 0.0 {
            return;
        }
        let signals = totals.signals();
        let [_, latency, errors, _] = signals;
        self.sample = Some(signals.map(|value| Some(value).filter(|value| value.is_finite())));
        self.latency.see(latency, LATENCY_FLOOR, |seen| {
            tell(seen.finding(Signal::Latency, libm::exp));
        });
        let ratio = |root: f64| root * root;
        self.errors.see(errors, ERRORS_FLOOR, |seen| tell(seen.finding(Signal::Errors, ratio)));
        let load = (totals.load, view.elapsed);
        if let Some(found) = self.ahead.see(view.at, load, totals.capacity) {
            tell(found);
        }
        if let Some(found) = self.misfit(&signals) {
            tell(found);
        }
    }

    /// The usual median latency of its endpoints, as a logarithm, with its deviation.
    pub(super) fn usual_endpoint(&self) -> Option<(f64, f64)> {
        self.middle.usual()
    }

    /// Takes in the median latency of its endpoints.
    pub(super) fn see_endpoints(&mut self, median: f64) {
        self.middle.see(median);
    }

    fn misfit(&mut self, signals: &[f64; SIGNALS]) -> Option<Finding> {
        let (version, pattern) = self.pattern.as_ref()?;
        let misfit = pattern.misfit(signals)?;
        self.distances.rotate_right(1);
        self.distances[0] = misfit.distance;
        let lasting = self.distances.iter().copied().fold(f64::INFINITY, f64::min);
        let claimed = self.alarm.see(self.ranks.see(lasting));
        (claimed && lasting >= MISFIT_LEAST).then(|| Finding::Misfit {
            signal: ORDER[misfit.signal.min(SIGNALS - 1)],
            deviations: rounded(misfit.off),
            distance: rounded(misfit.distance),
            pattern: *version,
        })
    }
}
