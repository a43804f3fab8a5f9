//! Envoy's adaptive concurrency filter: the gradient controller.
//!
//! Source: envoyproxy/envoy, `source/extensions/filters/http/adaptive_concurrency/controller/
//! gradient_controller.cc` (c35f67f: the rules that the filter's current documentation states),
//! its defaults, and for the two intervals, which have none, the documentation's example. The limit follows the ratio of the ideal latency (minRTT) to
//! the sampled one. The ideal is measured at the start and then every minute or so: the limit is
//! pinned to the minimum until enough requests have ended, and what was is restored. Five windows
//! at the minimum in a row mean that the ideal is doubtful: it is measured at once.
//!
//! As there, every request that ends counts with its latency, failed or not. Two things differ:
//! quantiles are exact, not of a histogram; timers are looked at when something happens, which
//! shows only in when an idle proxy begins to measure.

use super::Limiter;
use crate::random::Random;

const MILLISECOND: u64 = 1_000;
const CONCURRENCY_UPDATE_INTERVAL: u64 = 100 * MILLISECOND;
const MIN_RTT_CALC_INTERVAL: u64 = 60_000 * MILLISECOND;
/// The interval grows by up to 15 %, lest proxies measure in step.
const JITTER_MAX: usize = 9_000;
const REQUEST_COUNT: usize = 50;
const MIN_CONCURRENCY: u32 = 3;
const MAX_CONCURRENCY: u32 = 1000;
/// What sampled latency may have above the ideal.
const BUFFER: f64 = 0.25;
const GRADIENT_MIN: f64 = 0.5;
const GRADIENT_MAX: f64 = 2.0;
/// Windows at the minimum after which the ideal is doubtful.
const MINIMA_MAX: u32 = 5;
/// Samples in a window: far above what one proxy's 100 ms can hold in any scenario; more are cut.
const SAMPLES_MAX: usize = 16_384;

/// A limit that follows the ratio of ideal to sampled median latency.
#[derive(Clone, Debug)]
pub struct AdaptiveConcurrency {
    limit: u32,
    /// The limit to restore while the ideal is measured.
    deferred: Option<u32>,
    min_rtt: u64,
    samples: Vec<u64>,
    /// Requests sent before this do not count.
    epoch: u64,
    sample_due: u64,
    measure_due: u64,
    consecutive_minima: u32,
    random: Random,
}

impl AdaptiveConcurrency {
    /// A limiter that begins, as Envoy does, by measuring the ideal.
    pub fn new(random: Random, now: u64) -> Self {
        Self {
            limit: MIN_CONCURRENCY,
            deferred: Some(MIN_CONCURRENCY),
            min_rtt: 0,
            samples: Vec::new(),
            epoch: now,
            sample_due: 0,
            measure_due: 0,
            consecutive_minima: 0,
            random,
        }
    }

    /// Lets the timers that are due go off, in order.
    fn advance(&mut self, now: u64) {
        while self.deferred.is_none() && self.sample_due.min(self.measure_due) <= now {
            if self.sample_due <= self.measure_due {
                self.close_window();
            } else {
                self.measure();
            }
        }
    }

    fn close_window(&mut self) {
        let due = self.sample_due;
        self.sample_due += CONCURRENCY_UPDATE_INTERVAL;
        if let Some(sampled) = self.median() {
            let limit = self.next_limit(sampled);
            let minimal = self.limit.max(limit) == MIN_CONCURRENCY;
            self.consecutive_minima = if minimal { self.consecutive_minima + 1 } else { 0 };
            self.limit = limit;
            if self.consecutive_minima >= MINIMA_MAX {
                self.measure_due = due;
            }
        }
    }

    fn next_limit(&self, sampled: u64) -> u32 {
        let buffered = self.min_rtt as f64 * (1.0 + BUFFER);
        let gradient = (buffered / sampled.max(1) as f64).clamp(GRADIENT_MIN, GRADIENT_MAX);
        let limit = f64::from(self.limit) * gradient;
        // Room for bursts: the square root lets small limits grow.
        let roomy = limit + libm::sqrt(limit);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped next")]
        let whole = roomy as u32;
        whole.clamp(MIN_CONCURRENCY, MAX_CONCURRENCY)
    }

    /// Pins the limit and begins to collect for a new ideal.
    fn measure(&mut self) {
        self.deferred = Some(self.limit);
        self.limit = MIN_CONCURRENCY;
        self.consecutive_minima = 0;
        self.samples.clear();
        self.epoch = self.measure_due;
    }

    /// Ends a measurement: the ideal is known.
    fn finish(&mut self, limit: u32, now: u64) {
        self.min_rtt = self.median().unwrap_or(self.min_rtt);
        self.limit = limit;
        self.deferred = None;
        let jitter = self.random.below(JITTER_MAX) as u64 * MILLISECOND;
        self.measure_due = now + MIN_RTT_CALC_INTERVAL + jitter;
        self.sample_due = now + CONCURRENCY_UPDATE_INTERVAL;
    }

    /// Of the samples, which it uses up.
    fn median(&mut self) -> Option<u64> {
        let middle = self.samples.len().checked_sub(1)? / 2;
        let median = *self.samples.select_nth_unstable(middle).1;
        self.samples.clear();
        Some(median)
    }
}

impl Limiter for AdaptiveConcurrency {
    fn admit(&mut self, in_flight: u32, now: u64) -> bool {
        self.advance(now);
        in_flight < self.limit
    }

    fn ended(&mut self, latency: u64, _in_flight: u32, _dropped: bool, now: u64) {
        self.advance(now);
        if now - latency < self.epoch || self.samples.len() >= SAMPLES_MAX {
            return;
        }
        self.samples.push(latency);
        if let Some(limit) = self.deferred.filter(|_| self.samples.len() >= REQUEST_COUNT) {
            self.finish(limit, now);
        }
    }
}

#[cfg(test)]
mod tests;
