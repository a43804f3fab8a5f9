//! From rates to weights that proxies can follow: bounded, never jumping, and at rest where
//! nothing is worth a change.
//!
//! A weight is relative to the equal share. Going down is quick (e^-1.6 a second: to a fifth) and
//! coming up slow: to send too much somewhere costs more than to send too little.

use core::time::Duration;

/// Largest over smallest weight up to this is no imbalance: equal weights keep least request its
/// choice of two, and even 100:100:101 costs it that.
pub(crate) const IMBALANCE: f64 = 1.35;

/// Changes of ln(weight) up to this are not worth a push.
const DEAD_BAND: f64 = 0.08;

/// Fastest fall and rise of ln(weight) a second, and of the weight itself where that is more.
const FALL: f64 = 1.6;
const RISE: f64 = 0.5;
const RISE_BY: f64 = 0.4;

/// A step after a long silence is no larger than one of this length.
const STEP_MOST: f64 = 5.0;

/// An endpoint keeps at least so many requests a second, as far as an equal share goes: twenty in
/// eight seconds are what it takes to see that it has recovered.
const PROBE: f64 = 3.0;

/// Where a ramp starts, relative to the equal share.
pub(crate) const RAMP_LEAST: f64 = 0.1;

/// The range that a policy allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    /// Least weight.
    pub(crate) least: f64,
    /// Largest weight.
    pub(crate) most: f64,
}

impl Range {
    /// The same, so that an endpoint's equal share of `rate` still leaves enough to judge it by.
    pub(crate) fn with_probe(self, rate: f64) -> Self {
        let probe = if rate > PROBE { PROBE / rate } else { 1.0 };
        Self { least: self.least.max(probe).min(self.most.max(self.least)), ..self }
    }

    /// The nearest weight within; one for what is no number.
    pub(crate) fn bound(self, weight: f64) -> f64 {
        if weight.is_nan() { 1.0 } else { weight.max(self.least).min(self.most.max(self.least)) }
    }
}

/// Weights for rates: one where the rate is the mean of all.
pub(crate) fn relative(rates: &[f64]) -> Vec<f64> {
    let sum: f64 = rates.iter().sum();
    let mean = sum / rates.len() as f64;
    // Written so that NaN becomes equal weights.
    if mean > 0.0 && mean.is_finite() {
        rates.iter().map(|rate| rate / mean).collect()
    } else {
        vec![1.0; rates.len()]
    }
}

/// Whether weights differ by less than is worth leaving rest for.
pub(crate) fn near_equal(weights: impl Iterator<Item = f64>) -> bool {
    let (least, most) =
        weights.fold((f64::INFINITY, 0.0_f64), |(least, most), w| (least.min(w), most.max(w)));
    most <= IMBALANCE * least || !least.is_finite()
}

/// One step from a weight towards another.
pub(crate) fn slew(from: f64, to: f64, elapsed: Duration) -> f64 {
    if !from.is_finite() || from < 0.0 {
        return to;
    }
    let seconds = elapsed.as_secs_f64().min(STEP_MOST);
    let lowest = from * libm::exp(-FALL * seconds);
    let highest = (from * libm::exp(RISE * seconds)).max(from + RISE_BY * seconds);
    to.max(lowest).min(highest)
}

/// Whether going from one weight to the other is worth a push.
pub(crate) fn worth_a_push(from: f64, to: f64) -> bool {
    if from > 0.0 && to > 0.0 { libm::log(to / from).abs() > DEAD_BAND } else { from.max(to) > 0.0 }
}

/// The weight that a ramp has reached.
pub(crate) fn ramp(age: Duration, whole: Duration) -> f64 {
    let part = if whole.is_zero() { 1.0 } else { age.as_secs_f64() / whole.as_secs_f64() };
    (RAMP_LEAST + (1.0 - RAMP_LEAST) * part).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEP: Duration = Duration::from_secs(1);
    const RANGE: Range = Range { least: 0.02, most: 3.0 };

    fn is(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    proptest! {
        #[test]
        fn steps_stay_within_their_speed_and_arrive(from in 0.01..3.0_f64, to in 0.01..3.0_f64) {
            let mut weight = from;
            for _ in 0..12 {
                let next = slew(weight, to, STEP);
                prop_assert!(next >= weight * 0.2 && next <= (weight * 1.65).max(weight + 0.4) + 1e-9);
                prop_assert!((next - to).abs() <= (weight - to).abs(), "no overshoot");
                weight = next;
            }
            prop_assert!(is(weight, to), "{weight} {to}");
        }

        #[test]
        fn weights_average_one(rates in prop::collection::vec(0.0..1e6_f64, 1..40)) {
            let weights = relative(&rates);
            prop_assert!((weights.iter().sum::<f64>() / weights.len() as f64 - 1.0).abs() < 1e-9);
        }

        #[test]
        fn any_number_is_bounded(weight in any::<f64>(), least in 0.0..5.0_f64, most in 0.0..5.0_f64, rate in any::<f64>()) {
            let range = Range { least, most }.with_probe(rate);
            let bounded = range.bound(weight);
            prop_assert!(bounded >= least && bounded <= most.max(least) || weight.is_nan());
            prop_assert!(!relative(&[weight, rate]).iter().any(|w| w.is_nan()));
        }
    }

    #[test]
    fn keeps_enough_to_judge_by() {
        assert!(is(RANGE.with_probe(120.0).least, 0.025));
        assert!(is(RANGE.with_probe(1_000.0).least, 0.02));
        assert!(is(RANGE.with_probe(1.0).least, 1.0));
    }

    #[test]
    fn small_differences_are_none() {
        assert!(near_equal([1.0, 1.2, 0.9].into_iter()));
        assert!(!near_equal([1.0, 1.3, 0.9].into_iter()));
        assert!(near_equal([].into_iter()));
        assert!(!worth_a_push(1.0, 1.08) && worth_a_push(1.0, 1.09) && worth_a_push(0.02, 0.0));
    }

    #[test]
    fn ramps_from_a_tenth() {
        let whole = Duration::from_secs(30);
        assert!(is(ramp(Duration::ZERO, whole), 0.1));
        assert!(is(ramp(Duration::from_secs(15), whole), 0.55));
        assert!(is(ramp(Duration::from_secs(60), whole), 1.0));
        assert!(is(ramp(Duration::ZERO, Duration::ZERO), 1.0));
    }
}
