//! How long a worker needs for a request: estimated from what is inside, followed through change.
//!
//! By Little's law (J. D. C. Little, "A proof for the queuing formula L = lambda W", Operations
//! Research 9, 1961) the mean number inside is throughput times mean latency. Inverting the queue
//! gives the utilization, and utilization x workers / throughput the service time. Never from the
//! arrival rate: an endpoint that drains a queue would look far slower than it is.
//!
//! Everything works on the logarithm, where a factor is a difference and noise is alike for fast
//! and slow endpoints: about 1.3 / sqrt(requests), a lognormal of sigma 0.8 with some to spare.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::queue::Queue;

/// Fewer finished requests say nothing, even when pooled.
pub(crate) const REQUESTS_LEAST: f64 = 20.0;

/// Deviation of the logarithm of a mean of one request.
const NOISE: f64 = 1.3;

/// Time constant of the estimate while nothing changes.
const FOLLOWS_IN: f64 = 8.0;

/// Time constant of the long mean.
const LONG: f64 = 60.0;

/// A surprise of so many deviations is a change at once ...
const CHANGED_AT_ONCE: f64 = 8.0;

/// ... and of so many when it comes twice in a row.
const CHANGED_TWICE: f64 = 4.0;

/// How far one step goes to a slower and to a faster level. Faster is believed less: the first
/// requests to finish after a stall are the short ones.
const GAIN_SLOWER: f64 = 0.9;
const GAIN_FASTER: f64 = 0.6;

/// Logarithms of milliseconds beyond this are no service times: e^30 ms is centuries.
const LN_MOST: f64 = 30.0;

/// What was seen of an endpoint over the pooled windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Requests that ended well: failed ones may never have held a worker.
    pub(crate) finished: f64,
    /// Of all that ended, the timed ones.
    pub(crate) timed: f64,
    /// Mean number inside.
    pub(crate) inside: f64,
    /// What the quickest part of the timed ones took at most, in milliseconds.
    pub(crate) quick_ms: f64,
    /// Finished requests per second.
    pub(crate) rate: f64,
    /// How many windows were pooled.
    pub(crate) windows: f64,
}

/// What one look gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// Logarithm of the service time in milliseconds.
    pub(crate) ln_ms: f64,
    /// Part of the workers in use.
    pub(crate) utilization: f64,
    /// Deviation of `ln_ms`, for requests of an ordinary spread.
    pub(crate) noise: f64,
    /// How many windows it rests on.
    pub(crate) windows: f64,
}

/// One look at an endpoint; nothing where evidence is thin.
pub(crate) fn estimate(seen: Seen, queue: Queue) -> Option<Estimate> {
    let count = seen.finished.min(seen.timed);
    let known = seen.rate > 0.0 && seen.inside > 0.0 && count >= REQUESTS_LEAST;
    if !known {
        return None;
    }
    let utilization = queue.utilization(seen.inside);
    let ln_ms = libm::log(1_000.0 * utilization * queue.workers() / seen.rate);
    let noise = NOISE / count.sqrt();
    (ln_ms.abs() <= LN_MOST).then_some(Estimate {
        ln_ms,
        utilization,
        noise,
        windows: seen.windows.max(1.0),
    })
}

/// How far means go in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    seconds: f64,
    /// Of a mean that is no longer young, and of its long run.
    mature: (f64, f64),
}

impl Pace {
    /// Of a step so long.
    pub(crate) fn of(elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self { seconds, mature: (share_of(seconds, FOLLOWS_IN), share_of(seconds, LONG)) }
    }

    /// Of means that are so old: a young mean is a plain average.
    fn at(self, age: f64) -> (f64, f64) {
        let young = |constant: f64, mature: f64| {
            if age < constant { share_of(self.seconds, age) } else { mature }
        };
        (young(FOLLOWS_IN, self.mature.0), young(LONG, self.mature.1))
    }
}

/// A service time followed over time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Filter {
    /// Logarithm of the service time in milliseconds.
    pub(crate) mean: f64,
    /// Variance of `mean`.
    pub(crate) variance: f64,
    /// Its long-run mean.
    pub(crate) long: f64,
    /// Seconds followed so far.
    age: f64,
    /// The last surprise beyond the threshold of two in a row: +1, -1 or 0.
    surprise: i8,
}

impl Filter {
    /// From a first look.
    pub(crate) fn start(look: Estimate, spread: f64) -> Self {
        let noise = look.noise * spread;
        Self { mean: look.ln_ms, variance: noise * noise, long: look.ln_ms, age: 0.0, surprise: 0 }
    }

    /// Takes in another look; returns by how many ordinary deviations it surprised.
    /// `spread` is how much wider than ordinary the service's requests spread.
    pub(crate) fn follow(&mut self, look: Estimate, spread: f64, pace: Pace) -> f64 {
        let noise = look.noise * spread;
        let off = look.ln_ms - self.mean;
        let z = off / noise;
        let beyond = i8::from(z > CHANGED_TWICE) - i8::from(z < -CHANGED_TWICE);
        let twice = beyond != 0 && beyond == self.surprise;
        self.surprise = beyond;
        self.age = (self.age + pace.seconds).min(LONG);
        let (ordinary, long) = pace.at(self.age);
        let gain = if z > CHANGED_AT_ONCE || twice && z > 0.0 {
            GAIN_SLOWER
        } else if twice {
            GAIN_FASTER
        } else {
            ordinary
        };
        self.mean += gain * off;
        // Looks that pool the same windows repeat each other's noise.
        let repeated = 1.0 + (look.windows - 1.0) * (1.0 - gain);
        let rest = 1.0 - gain;
        self.variance = rest * rest * self.variance + gain * gain * noise * noise * repeated;
        self.long += long * (self.mean - self.long);
        off / look.noise
    }

    /// Measures everything followed so far by another yardstick.
    pub(crate) fn shift(&mut self, by: f64) {
        self.mean += by;
        self.long += by;
    }

    /// How far the present is from the long run.
    pub(crate) fn deviation(self) -> f64 {
        self.mean - self.long
    }
}

/// What a step of `seconds` weighs against a time constant.
fn share_of(seconds: f64, constant: f64) -> f64 {
    if constant > 0.0 { 1.0 - libm::exp(-seconds / constant) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    fn step() -> Pace {
        Pace::of(Duration::from_secs(1))
    }

    fn look(ms: f64, requests: f64) -> Estimate {
        let noise = NOISE / requests.sqrt();
        Estimate { ln_ms: libm::log(ms), utilization: 0.5, noise, windows: 1.0 }
    }

    fn seen(rate: f64, inside: f64) -> Seen {
        Seen { finished: rate, timed: rate, inside, quick_ms: 0.0, rate, windows: 1.0 }
    }

    #[test]
    fn finds_the_service_time_of_a_busy_queue() {
        // 8 workers, 40 ms, 160 rps: 80 % used.
        let queue = Queue::of(8.0);
        let found = estimate(seen(160.0, queue.inside(0.8)), queue).unwrap();
        assert!((libm::exp(found.ln_ms) - 40.0).abs() < 1e-3);
        assert!((found.utilization - 0.8).abs() < 1e-6);
    }

    #[test]
    fn thin_evidence_is_unknown() {
        let queue = Queue::of(8.0);
        assert_eq!(estimate(seen(19.0, 1.0), queue), None);
        assert_eq!(estimate(Seen { timed: 0.0, ..seen(500.0, 1.0) }, queue), None);
        assert_eq!(estimate(seen(500.0, 0.0), queue), None);
    }

    #[test]
    fn ten_times_slower_is_seen_at_once_and_noise_is_not() {
        let mut filter = Filter::start(look(40.0, 100.0), 1.0);
        filter.follow(look(40.0 * 1.2, 100.0), 1.0, step());
        for _ in 0..10 {
            filter.follow(look(40.0, 100.0), 1.0, step());
        }
        assert!((libm::exp(filter.mean) / 40.0 - 1.0).abs() < 0.1);
        filter.follow(look(400.0, 100.0), 1.0, step());
        assert!(libm::exp(filter.mean) > 300.0);
    }

    #[test]
    fn a_threefold_change_needs_two_looks() {
        let mut filter = Filter::start(look(40.0, 30.0), 1.0);
        for _ in 0..10 {
            filter.follow(look(40.0, 30.0), 1.0, step());
        }
        filter.follow(look(120.0, 30.0), 1.0, step());
        filter.follow(look(120.0, 30.0), 1.0, step());
        assert!(libm::exp(filter.mean) > 100.0, "{}", libm::exp(filter.mean));
        for _ in 0..4 {
            filter.follow(look(40.0, 100.0), 1.0, step());
        }
        assert!(libm::exp(filter.mean) < 60.0, "{}", libm::exp(filter.mean));
    }

    proptest! {
        #[test]
        fn uncertainty_shrinks_to_what_the_evidence_allows(requests in 20.0..1e4_f64) {
            let mut filter = Filter::start(look(40.0, requests), 1.0);
            let first = filter.variance;
            for _ in 0..60 {
                filter.follow(look(40.0, requests), 1.0, step());
            }
            prop_assert!(filter.variance < first / 8.0 && filter.variance > first / 40.0);
        }

        #[test]
        fn units_do_not_matter(rate in 20.0..1e4_f64, utilization in 0.05..0.95_f64, scale in 0.01..100.0_f64) {
            let queue = Queue::of(8.0);
            let inside = queue.inside(utilization);
            let one = estimate(seen(rate, inside), queue).unwrap();
            let other = estimate(Seen { rate: rate * scale, ..seen(rate, inside) }, queue).unwrap();
            prop_assert!((one.ln_ms - other.ln_ms - libm::log(scale)).abs() < 1e-9);
        }

        #[test]
        fn any_number_leaves_a_finite_filter(
            finished in any::<f64>(), timed in any::<f64>(), inside in any::<f64>(), rate in any::<f64>(),
        ) {
            let mut filter = Filter::start(look(40.0, 100.0), 1.0);
            let seen = Seen { finished, timed, inside, quick_ms: 0.0, rate, windows: 1.0 };
            if let Some(look) = estimate(seen, Queue::of(8.0)) {
                filter.follow(look, 1.0, step());
            }
            prop_assert!(filter.mean.is_finite() && filter.variance.is_finite() && filter.long.is_finite());
        }
    }
}
