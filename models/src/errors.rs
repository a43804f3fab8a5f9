//! Which endpoints fail more than their peers.
//!
//! Counts forget with a time constant of five seconds: one second of a 30 % failure is proven
//! among five seconds of clean traffic, and two clean seconds after a fault no longer condemn.
//! An endpoint is compared with its peers, not with a fixed line: a service whose every endpoint
//! fails a fifth of its requests has a sick dependency, and ejecting endpoints would not mend it.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use weir_engine::decision::Failing;
use weir_engine::units::Ratio;

use crate::{middle, wilson};

/// Time constant of forgetting.
const FORGETS_IN: f64 = 5.0;

/// Fewer requests say nothing.
pub(crate) const REQUESTS_LEAST: f64 = 20.0;

/// Fewer than this is nobody's business: the limit where peers are clean.
const LIMIT_LEAST: f64 = 0.01;

/// The limit for an endpoint that has just come back: its counts are few but all its own.
const LIMIT_PROVING: f64 = 0.05;

/// The limit as a multiple of the peers' median.
const TIMES_PEERS: f64 = 3.0;

/// How surprising the count must be: e^-14 is about one in a million, so that ten thousand
/// endpoints judged once a second are not ejected by chance.
const SURPRISE_LEAST: f64 = 14.0;

/// The error ratio that is expected of the cleanest service.
const EXPECTED_LEAST: f64 = 0.001;

/// Below this much of a request a count is forgotten for good.
const NOTHING: f64 = 0.5;

/// Requests and errors, of lately or since a return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Requests.
    pub(crate) requests: f64,
    /// Of these, failed.
    pub(crate) errors: f64,
}

impl Counts {
    /// Adds new counts; those that are no numbers are left out.
    pub(crate) fn add(&mut self, requests: f64, errors: f64) {
        if requests.is_finite() && errors.is_finite() && requests > 0.0 {
            self.requests += requests;
            self.errors += errors.clamp(0.0, requests);
        }
    }

    /// Lets a while pass.
    pub(crate) fn forget(&mut self, kept: f64) {
        self.requests *= kept;
        self.errors *= kept;
        if self.requests < NOTHING {
            *self = Self::default();
        }
    }

    /// The part that failed.
    pub(crate) fn ratio(self) -> f64 {
        if self.requests > 0.0 { self.errors / self.requests } else { 0.0 }
    }

    /// What surely failed, whatever the peers do: a first look that costs no comparison.
    pub(crate) fn surely(self) -> f64 {
        wilson::lower(self.errors, self.requests)
    }

    /// Whether it fails at all, by any measure that could condemn it.
    pub(crate) fn suspect(self) -> bool {
        self.requests >= REQUESTS_LEAST && self.surely() > LIMIT_LEAST
    }
}

/// What is kept of counts after a while.
pub(crate) fn kept(elapsed: Duration) -> f64 {
    libm::exp(-elapsed.as_secs_f64() / FORGETS_IN)
}

/// What all endpoints of a service show together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    /// Error ratios, ascending.
    ratios: Vec<f64>,
    /// All counts up to each of them.
    sums: Vec<Counts>,
}

impl Peers {
    /// Of the endpoints that were asked anything.
    pub(crate) fn of(counts: impl Iterator<Item = Counts>) -> Self {
        let mut counts: Vec<Counts> = counts.filter(|counts| counts.requests >= 1.0).collect();
        counts.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let mut sum = Counts::default();
        let sums = counts.iter().map(|counts| {
            sum.add(counts.requests, counts.errors);
            sum
        });
        let sums = sums.collect();
        Self { ratios: counts.into_iter().map(Counts::ratio).collect(), sums }
    }

    /// The median error ratio of all.
    pub(crate) fn median(&self) -> f64 {
        self.ratios.get(self.ratios.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
    }

    /// The error ratio of all that fail less: others that fail at the same time excuse nobody.
    fn below(&self, ratio: f64) -> f64 {
        let below = self.ratios.partition_point(|other| *other < ratio);
        below.checked_sub(1).and_then(|last| self.sums.get(last)).map_or(0.0, |sum| sum.ratio())
    }

    /// Evidence that one of these endpoints fails more than the others.
    pub(crate) fn failing(&self, own: Counts, proving: bool) -> Option<Failing> {
        if own.requests < REQUESTS_LEAST {
            return None;
        }
        let median = middle::of_others(&self.ratios, own.ratio())?;
        let floor = if proving { LIMIT_PROVING } else { LIMIT_LEAST };
        let limit = (TIMES_PEERS * median).max(floor);
        let bound = own.surely();
        let expected = self.below(own.ratio()).max(EXPECTED_LEAST) * own.requests;
        let proven = bound > limit && wilson::surprise(own.errors, expected) >= SURPRISE_LEAST;
        proven.then(|| Failing {
            errors: own.errors,
            requests: own.requests,
            bound: Ratio::clamped(bound),
            limit: Ratio::clamped(limit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(requests: f64, errors: f64) -> Counts {
        Counts { requests, errors }
    }

    #[track_caller]
    fn check(own: (f64, f64), others: &[(f64, f64)], failing: bool) {
        let own = counts(own.0, own.1);
        let all = others.iter().map(|&(r, e)| counts(r, e)).chain([own]);
        assert_eq!(Peers::of(all).failing(own, false).is_some(), failing);
    }

    #[test]
    fn finds_who_fails_alone() {
        check((600.0, 36.0), &[(600.0, 0.0); 9], true); // 30 % for one of five seconds
        check((600.0, 180.0), &[(600.0, 120.0); 9], false); // all fail much alike
        check((600.0, 60.0), &[(600.0, 0.0), (600.0, 300.0), (600.0, 0.0)], true); // two at once
        check((19.0, 19.0), &[(600.0, 0.0); 9], false); // too few
        check((20.0, 2.0), &[(20.0, 0.0); 9], false); // chance
        check((600.0, 600.0), &[], false); // nobody to compare with
    }

    #[test]
    fn a_returned_endpoint_is_judged_by_a_wider_limit() {
        let peers = Peers::of([counts(600.0, 0.0); 9].into_iter().chain([counts(400.0, 16.0)]));
        assert!(peers.failing(counts(400.0, 16.0), false).is_some());
        assert!(peers.failing(counts(400.0, 16.0), true).is_none());
        assert!(peers.failing(counts(400.0, 120.0), true).is_some());
    }

    #[test]
    fn forgets_in_seconds() {
        let mut lately = counts(100.0, 30.0);
        lately.forget(kept(Duration::from_secs(5)));
        assert!((lately.requests - 36.8).abs() < 0.1 && (lately.ratio() - 0.3).abs() < 1e-9);
        lately.forget(kept(Duration::from_secs(60)));
        assert_eq!(lately, Counts::default());
    }

    proptest! {
        #[test]
        fn where_all_fail_alike_nobody_is_accused(
            ratio in 0.0..1.0_f64, requests in prop::collection::vec(20.0..1e4_f64, 2..30),
        ) {
            let all: Vec<Counts> = requests.iter().map(|&r| counts(r, r * ratio)).collect();
            let peers = Peers::of(all.iter().copied());
            for own in all {
                prop_assert_eq!(peers.failing(own, false), None);
            }
        }

        #[test]
        fn any_number_is_judged(own in any::<(f64, f64)>(), other in any::<(f64, f64)>()) {
            let mut one = Counts::default();
            one.add(own.0, own.1);
            let mut two = Counts::default();
            two.add(other.0, other.1);
            let failing = Peers::of([one, two].into_iter()).failing(one, false);
            prop_assert!(failing.is_none_or(|f| f.bound > f.limit));
        }
    }
}
