//! Counters become what they grew by.
//!
//! Counters of one thing (an endpoint, a cluster) start together and restart together: if one of
//! them fell, all began from zero in the meantime, also those that have already outgrown their
//! former value. What a counter held when it was first seen is history of unknown length and is
//! no growth; what a *member of a known group* holds at its first sight is: it was zero when the
//! others were read, or it would have been there.

/// What one group of counters grew by; NaN where that is not known.
///
/// `previous` and `current` are the group's values in the same order; NaN is a counter that was
/// not there. Values that no counter can have count as not there.
pub fn growth(previous: &[f64], current: &[f64]) -> Vec<f64> {
    if previous.iter().all(|&value| !is_count(value)) {
        return vec![f64::NAN; current.len()];
    }
    let pairs = || previous.iter().zip(current).map(|(&before, &now)| (before, now));
    let restarted = pairs().any(|(before, now)| is_count(before) && now < before);
    pairs()
        .map(|(before, now)| match (is_count(before) && !restarted, is_count(now)) {
            (_, false) => f64::NAN,
            (true, true) => now - before,
            (false, true) => now,
        })
        .collect()
}

/// Whether a counter may hold this value.
pub fn is_count(value: f64) -> bool {
    (0.0..=COUNT_MAX).contains(&value)
}

/// Past this, floats cannot count by one.
const COUNT_MAX: f64 = 9_007_199_254_740_992.0;

/// A growth as whole events, if it is known.
pub fn events(growth: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to lie within 0 to 2^53"
    )]
    let whole = growth.round() as u64;
    is_count(growth).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAN: f64 = f64::NAN;

    #[track_caller]
    fn check(previous: &[f64], current: &[f64], expected: &[Option<u64>]) {
        let grown: Vec<Option<u64>> = growth(previous, current).into_iter().map(events).collect();
        assert_eq!(grown, expected);
    }

    #[test]
    fn grows_restarts_and_appears() {
        check(&[5.0, 1.0], &[9.0, 1.0], &[Some(4), Some(0)]);
        // First sight of the whole group: nothing is known.
        check(&[NAN, NAN], &[9.0, 1.0], &[None, None]);
        // A restart: the second counter has outgrown its former value and began anew all the same.
        check(&[50.0, 1.0], &[9.0, 3.0], &[Some(9), Some(3)]);
        // A member that appears was zero before; one that is gone is unknown.
        check(&[5.0, NAN], &[9.0, 2.0], &[Some(4), Some(2)]);
        check(&[5.0, 2.0], &[9.0, NAN], &[Some(4), None]);
    }

    #[test]
    fn nonsense_is_unknown_never_zero() {
        for bad in [NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e308] {
            assert_eq!(events(growth(&[1.0, 1.0], &[2.0, bad])[1]), None, "{bad}");
            assert_eq!(events(growth(&[bad], &[2.0])[0]), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_growth_is_negative_or_above_the_counter(
            previous in prop::collection::vec(prop_oneof![0.0..1e6_f64, Just(NAN)], 3),
            current in prop::collection::vec(prop_oneof![0.0..1e6_f64, Just(NAN)], 3),
        ) {
            for (grown, now) in growth(&previous, &current).into_iter().zip(current) {
                prop_assert!(grown.is_nan() || (grown >= 0.0 && grown <= now));
            }
        }

        #[test]
        fn splitting_an_interval_loses_no_event(counts in prop::collection::vec(0..1000_u32, 2..20)) {
            let mut total = 0.0;
            let mut sum = 0.0;
            let mut before = 7.0;
            for count in counts {
                total += f64::from(count);
                let now = before + f64::from(count);
                sum += growth(&[before], &[now])[0];
                before = now;
            }
            prop_assert!((total - sum).abs() < 1e-9);
        }
    }
}
