//! Which endpoints are slower than a promise about the tail allows.
//!
//! Where the goal is a tail ("99 % under 500 ms"), a slow endpoint breaks it with however little
//! traffic it has, so starving it does not help and it is taken out. Three things must hold: the
//! part of its requests over the threshold surely exceeds what the objective allows, the endpoint
//! is clearly slower than its peers, and both last for three windows.

use serde::{Deserialize, Serialize};
use weir_engine::decision::Slow;
use weir_engine::goal::{Goal, Indicator};
use weir_engine::latency::{Latency, Threshold};
use weir_engine::units::{Millis, Ratio};

use crate::{middle, wilson};

/// The least target that speaks of a tail.
const TAIL: f64 = 0.95;

/// Fewer timed requests say nothing.
const TIMED_LEAST: f64 = 20.0;

/// Clearly slower: this many times the peers' median of mean latencies ...
const TIMES_PEERS: f64 = 2.0;

/// ... and this many times the peers' median part over the threshold.
const TIMES_PEERS_OVER: f64 = 3.0;

/// It must hold for so many windows.
pub(crate) const WINDOWS: u32 = 3;

/// Below this much of a request a count is forgotten for good.
const NOTHING: f64 = 0.5;

/// The strictest promise about a tail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Promise {
    /// The part of requests that may be over the threshold.
    allowed: f64,
    threshold: Threshold,
}

impl Promise {
    /// The one with the lowest threshold, if the goal has any.
    pub(crate) fn of(goal: &Goal) -> Option<Self> {
        let promises = goal.objectives.iter().filter_map(|objective| match objective.indicator {
            Indicator::Latency { threshold } if objective.target.value() >= TAIL => {
                Some((threshold, 1.0 - objective.target.value()))
            }
            Indicator::Latency { .. } | Indicator::Availability | Indicator::Prometheus { .. } => {
                None
            }
        });
        let strictest = promises.min_by(|a, b| a.0.value().total_cmp(&b.0.value()));
        strictest.map(|(threshold, allowed)| Self::new(threshold, allowed))
    }

    fn new(threshold: Millis, allowed: f64) -> Self {
        Self { allowed, threshold: Threshold::at(threshold) }
    }
}

/// Timed requests, of lately or since a return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timed {
    count: f64,
    over: f64,
    sum_ms: f64,
}

impl Timed {
    /// Adds an interval's latencies.
    pub(crate) fn add(&mut self, latency: &Latency, promise: Promise) {
        let over = latency.count_over(promise.threshold);
        let counted = latency.count.is_finite() && latency.sum_ms.is_finite() && over.is_finite();
        if counted && latency.count > 0.0 {
            self.count += latency.count;
            self.sum_ms += latency.sum_ms.max(0.0);
            self.over += over.clamp(0.0, latency.count);
        }
    }

    /// Whether more is over the threshold than allowed, proven or not: a first look that costs no
    /// comparison.
    pub(crate) fn suspect(self, promise: Promise) -> bool {
        self.count >= TIMED_LEAST && self.over > promise.allowed * self.count
    }

    /// Lets a while pass.
    pub(crate) fn forget(&mut self, kept: f64) {
        self.count *= kept;
        self.over *= kept;
        self.sum_ms *= kept;
        if self.count < NOTHING {
            *self = Self::default();
        }
    }

    fn mean(self) -> f64 {
        if self.count > 0.0 { self.sum_ms / self.count } else { 0.0 }
    }

    fn part_over(self) -> f64 {
        if self.count > 0.0 { self.over / self.count } else { 0.0 }
    }
}

/// What all endpoints of a service show together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    means: Vec<f64>,
    parts_over: Vec<f64>,
}

impl Peers {
    /// Of the endpoints with enough timed requests.
    pub(crate) fn of(timed: impl Iterator<Item = Timed>) -> Self {
        let mut peers = Self::default();
        for timed in timed.filter(|timed| timed.count >= TIMED_LEAST) {
            peers.means.push(timed.mean());
            peers.parts_over.push(timed.part_over());
        }
        peers.means.sort_by(f64::total_cmp);
        peers.parts_over.sort_by(f64::total_cmp);
        peers
    }

    /// Evidence that one of these endpoints is too slow now; `windows` is how often in a row this
    /// held before.
    pub(crate) fn slow(&self, own: Timed, promise: Promise, windows: u32) -> Option<Slow> {
        if own.count < TIMED_LEAST {
            return None;
        }
        let peers_mean = middle::of_others(&self.means, own.mean())?;
        let peers_over = middle::of_others(&self.parts_over, own.part_over())?;
        let limit = promise.allowed.max(TIMES_PEERS_OVER * peers_over);
        let bound = wilson::lower(own.over, own.count);
        let slow = bound > limit && own.mean() > TIMES_PEERS * peers_mean;
        slow.then(|| Slow {
            own: Millis::clamped(own.mean()),
            peers: Millis::clamped(peers_mean),
            bound: Ratio::clamped(bound),
            limit: Ratio::clamped(limit),
            windows: windows.saturating_add(1),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;
    use weir_engine::goal::Objective;
    use weir_engine::names::ServiceId;

    fn promise() -> Promise {
        Promise::new(Millis::clamped(500.0), 0.01)
    }

    fn timed(count: u32, ms: f64) -> Timed {
        let mut latency = Latency::default();
        for _ in 0..count {
            latency.record(Millis::clamped(ms));
        }
        let mut timed = Timed::default();
        timed.add(&latency, promise());
        timed
    }

    #[track_caller]
    fn check(own: Timed, others: &[Timed], slow: bool) {
        let peers = Peers::of(others.iter().copied().chain([own]));
        assert_eq!(peers.slow(own, promise(), 0).is_some(), slow);
    }

    #[test]
    fn finds_who_is_slow_alone() {
        check(timed(30, 900.0), &[timed(100, 50.0); 4], true);
        check(timed(30, 900.0), &[timed(100, 800.0); 4], false); // all are slow
        check(timed(30, 400.0), &[timed(100, 50.0); 4], false); // slower, but it keeps the promise
        check(timed(19, 900.0), &[timed(100, 50.0); 4], false); // too few
        check(timed(30, 900.0), &[], false); // nobody to compare with
    }

    #[test]
    fn counts_windows_and_names_the_numbers() {
        let own = timed(50, 900.0);
        let slow = Peers::of([timed(50, 50.0), own].into_iter()).slow(own, promise(), 2).unwrap();
        assert_eq!(slow.windows, WINDOWS);
        assert_eq!((slow.own, slow.peers), (Millis::clamped(900.0), Millis::clamped(50.0)));
    }

    #[test]
    fn only_tails_are_promises() {
        let mut goal = Goal::of_unclaimed(ServiceId::new("demo", "shop"));
        let objective = |target: f64, ms: f64| Objective {
            name: format!("{target}"),
            target: Ratio::clamped(target),
            window: Duration::from_secs(3_600),
            indicator: Indicator::Latency { threshold: Millis::clamped(ms) },
        };
        goal.objectives = vec![objective(0.5, 10.0)];
        assert_eq!(Promise::of(&goal), None);
        goal.objectives.extend([objective(0.999, 900.0), objective(0.95, 300.0)]);
        let strictest = Promise::new(Millis::clamped(300.0), 0.05);
        assert!((Promise::of(&goal).unwrap().allowed - strictest.allowed).abs() < 1e-9);
        assert_eq!(Promise::of(&goal).unwrap().threshold, strictest.threshold);
    }

    proptest! {
        #[test]
        fn any_number_is_judged(count in any::<f64>(), sum_ms in any::<f64>(), part in any::<f64>()) {
            let mut own = Timed::default();
            own.add(&Latency { count, sum_ms, buckets: vec![(3, part)] }, promise());
            let slow = Peers::of([own, own].into_iter()).slow(own, promise(), u32::MAX);
            prop_assert!(slow.is_none_or(|slow| slow.bound > slow.limit));
            prop_assert!(own.count.is_finite() && own.sum_ms.is_finite() && own.over.is_finite());
        }
    }
}
