//! How many requests an endpoint works on at once, where nobody declares it.
//!
//! Below the knee of throughput over number inside, latency is flat and requests do not wait, so
//! throughput x the lowest latency is the number of busy workers; an endpoint has at least as many
//! as were ever busy. That is a lower bound by construction, on purpose: to take eight workers for
//! sixty-four cost 40 % errors in a flash crowd, while half or double is mild. Peers share a
//! service's build and limits, so the median of their bounds counts for each.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Time constant of the smoothed latency and throughput.
const FOLLOWS_IN: f64 = 8.0;

/// Time constant with which high marks fade: endpoints change in place.
const FADES_IN: f64 = 600.0;

/// How long the lowest latency takes to rise by a factor of e while all is slower: longer than an
/// overload lasts, whose waiting must not pass for work.
const RISES_IN: f64 = 3_600.0;

/// An endpoint is credited with at most so many times the workers of its peers.
const MORE_THAN_PEERS: f64 = 1.3;

/// How far marks go in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    follows: f64,
    rises: f64,
    keeps: f64,
}

impl Pace {
    /// Of a step so long.
    pub(crate) fn of(elapsed: Duration) -> Self {
        let seconds = elapsed.as_secs_f64();
        Self {
            follows: 1.0 - libm::exp(-seconds / FOLLOWS_IN),
            rises: seconds / RISES_IN,
            keeps: libm::exp(-seconds / FADES_IN),
        }
    }
}

/// What is remembered of an endpoint's throughput and knee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Knee {
    /// Smoothed requests per second.
    rate: Option<f64>,
    /// The most requests per second that it sustained.
    pub(crate) sustained: f64,
    /// Smoothed logarithm of latency, and the lowest it was.
    latency: Option<(f64, f64)>,
    /// The most workers that were surely busy.
    pub(crate) busy: f64,
}

impl Knee {
    /// Takes in requests per second.
    pub(crate) fn see_rate(&mut self, rate: f64, pace: Pace) {
        if !rate.is_finite() || rate < 0.0 {
            return;
        }
        let smooth = self.rate.map_or(rate, |old| old + pace.follows * (rate - old));
        self.rate = Some(smooth);
        self.sustained = (self.sustained * pace.keeps).max(smooth);
    }

    /// Takes in a mean latency in milliseconds and the throughput that it was seen at.
    pub(crate) fn see_latency(&mut self, ms: f64, rate: f64, pace: Pace) {
        let ln = libm::log(ms);
        if ln.is_finite() && rate.is_finite() {
            let (smooth, lowest) = self.latency.map_or((ln, ln), |(old, lowest)| {
                let smooth = old + pace.follows * (ln - old);
                (smooth, (lowest + pace.rises).min(smooth))
            });
            self.latency = Some((smooth, lowest));
            let rate = rate.min(self.rate.unwrap_or(rate)).max(0.0);
            self.busy = (self.busy * pace.keeps).max(rate * libm::exp(lowest) / 1_000.0);
        }
    }
}

/// How many workers to reckon with: as many as the median peer had busy, and little more where more
/// were busy here. An endpoint that was never seen without a queue takes waiting for work.
pub(crate) fn learned(busy: f64, peers: f64) -> f64 {
    let most = if peers > 0.0 { MORE_THAN_PEERS * peers } else { busy };
    busy.min(most).max(peers).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Queue;
    use proptest::prelude::*;

    fn step() -> Pace {
        Pace::of(Duration::from_secs(1))
    }

    /// What an endpoint of `workers` and 40 ms shows at a utilization.
    fn watch(knee: &mut Knee, workers: f64, utilization: f64, seconds: u32) {
        let rate = utilization * workers / 0.04;
        let ms = 1_000.0 * Queue::of(workers).inside(utilization) / rate;
        for _ in 0..seconds {
            knee.see_rate(rate, step());
            knee.see_latency(ms, rate, step());
        }
    }

    proptest! {
        #[test]
        fn never_finds_more_workers_than_there_are(
            workers in 1.0..64.0_f64, loads in prop::collection::vec(0.05..0.98_f64, 1..6),
        ) {
            let mut knee = Knee::default();
            watch(&mut knee, workers, 0.1, 30);
            for load in loads {
                watch(&mut knee, workers, load, 20);
            }
            // Ten seconds of a mark's fading are within 2 %.
            prop_assert!(knee.busy <= workers * 1.05, "{} of {workers}", knee.busy);
        }

        #[test]
        fn any_number_leaves_finite_marks(ms in any::<f64>(), rate in any::<f64>()) {
            let mut knee = Knee::default();
            knee.see_rate(rate, step());
            knee.see_latency(ms, rate, step());
            prop_assert!(knee.sustained.is_finite() && knee.busy >= 0.0 && !knee.busy.is_nan());
            prop_assert!(learned(knee.busy, 0.0) >= 1.0);
        }
    }

    #[test]
    fn finds_most_of_them_under_load() {
        let mut knee = Knee::default();
        watch(&mut knee, 8.0, 0.3, 30);
        watch(&mut knee, 8.0, 0.95, 60);
        assert!(knee.busy > 6.0 && knee.busy <= 8.0, "{}", knee.busy);
    }

    #[test]
    fn peers_bound_what_is_believed() {
        let is = |workers: f64, wanted: f64| assert!((workers - wanted).abs() < 1e-9);
        is(learned(17.0, 5.0), 6.5);
        is(learned(2.0, 5.0), 5.0);
        is(learned(7.0, 0.0), 7.0);
        is(learned(0.1, 0.0), 1.0);
    }

    #[test]
    fn a_slow_spell_proves_no_workers() {
        let mut knee = Knee::default();
        watch(&mut knee, 8.0, 0.5, 30);
        let before = knee.busy;
        for _ in 0..30 {
            knee.see_latency(4_000.0, 20.0, step());
        }
        assert!(knee.busy <= before);
    }
}
