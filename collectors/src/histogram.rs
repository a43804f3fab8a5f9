//! Foreign latency histograms, split once into the engine's layout.
//!
//! Within a foreign bucket latencies are taken as spread evenly over their logarithm, which is
//! what service times come closest to; evenly over the plain range would put nearly all of a wide
//! bucket at its upper end. Count and sum are taken over as they are.

use weir_engine::latency::{BUCKETS, Latency, upper_ms};

/// Lower end of a bucket that begins at zero: a logarithm needs one. A quarter of the first bound
/// of the engine's layout lies well inside its first bucket.
const LOWEST_MS: f64 = 0.25 / 4.0;

/// Makes a latency of cumulative buckets (upper bound in milliseconds, count up to it), in
/// ascending order with `+Inf` last, and the exact sum. Nothing if the buckets contradict one
/// another.
pub fn split(cumulative: &[(f64, f64)], sum_ms: f64) -> Option<Latency> {
    let &(last, count) = cumulative.last()?;
    if last.is_finite() || !sum_ms.is_finite() || sum_ms < 0.0 {
        return None;
    }
    let mut latency = Latency { count, sum_ms, ..Latency::default() };
    let (mut lower, mut below) = (0.0_f64, 0.0);
    for &(upper, up_to) in cumulative {
        if upper <= lower || up_to < below || !up_to.is_finite() {
            return None;
        }
        if up_to > below {
            spread(&mut latency, lower, upper, up_to - below);
        }
        (lower, below) = (upper, up_to);
    }
    Some(latency)
}

/// Adds `count` latencies between two bounds. Those above the last finite bound are put into the
/// bucket just above it: how far they went is in the sum only.
fn spread(latency: &mut Latency, lower: f64, upper: f64, count: f64) {
    let lower = lower.max(LOWEST_MS);
    let upper = if upper.is_finite() { upper.max(lower) } else { lower * 2_f64.powf(0.25) };
    let width = (upper / lower).ln();
    let mut from = lower;
    for bucket in 0..BUCKETS {
        let edge = if bucket == BUCKETS - 1 { upper } else { upper_ms(bucket).min(upper) };
        if edge > from {
            latency.add_to_bucket(bucket, count * (edge / from).ln() / width);
            from = edge;
        }
    }
    if width <= 0.0 {
        latency.add_to_bucket(0, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_engine::latency::Threshold;
    use weir_engine::units::{Millis, Ratio};

    const INF: f64 = f64::INFINITY;

    fn total(latency: &Latency) -> f64 {
        latency.buckets.iter().map(|&(_, count)| count).sum()
    }

    #[test]
    fn keeps_count_and_sum_exactly() {
        let latency =
            split(&[(0.5, 5.0), (1.0, 5.0), (5.0, 6.0), (INF, 6.0)], 2.048_780_4).unwrap();
        assert!((latency.count - 6.0).abs() < 1e-12);
        assert!((latency.sum_ms - 2.048_780_4).abs() < 1e-12);
        assert!((total(&latency) - 6.0).abs() < 1e-9);
        assert!((latency.count_within(Threshold::at(Millis::clamped(0.5))) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn halves_a_bucket_at_its_geometric_middle() {
        let latency = split(&[(4.0, 0.0), (64.0, 100.0), (INF, 100.0)], 1600.0).unwrap();
        assert!((latency.count_within(Threshold::at(Millis::clamped(16.0))) - 50.0).abs() < 1e-9);
        assert!((latency.quantile(Ratio::clamped(0.5)).unwrap().value() - 16.0).abs() < 1e-9);
    }

    #[test]
    fn what_lies_above_the_last_bound_stays_just_above_it() {
        let latency = split(&[(100.0, 0.0), (INF, 3.0)], 900.0).unwrap();
        // The engine bucket that 100 ms falls into begins at 90.5 ms.
        assert!(latency.count_within(Threshold::at(Millis::clamped(90.0))) < 1e-9);
        assert!((latency.count_within(Threshold::at(Millis::clamped(130.0))) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn contradictions_are_unknown() {
        for bad in [
            &[][..],
            &[(1.0, 1.0)],
            &[(1.0, 2.0), (INF, 1.0)],
            &[(2.0, 1.0), (1.0, 1.0), (INF, 1.0)],
            &[(1.0, f64::NAN), (INF, 1.0)],
        ] {
            assert_eq!(split(bad, 1.0), None, "{bad:?}");
        }
        assert_eq!(split(&[(INF, 1.0)], f64::NAN), None);
    }

    proptest! {
        #[test]
        fn no_request_is_lost_or_moved_across_a_bound(
            counts in prop::collection::vec(0..1000_u32, 5),
            first in 0.01..50.0_f64,
        ) {
            let mut cumulative = Vec::new();
            let mut up_to = 0.0;
            for (at, count) in counts.iter().enumerate() {
                up_to += f64::from(*count);
                cumulative.push((first * 3_f64.powi(i32::try_from(at).unwrap()), up_to));
            }
            cumulative.push((INF, up_to));
            let latency = split(&cumulative, 1.0).unwrap();
            prop_assert!((total(&latency) - up_to).abs() < 1e-6);
            for (bound, up_to) in cumulative {
                // The engine's own buckets are 19 % wide: a bound inside one may move by as much.
                if bound.is_finite() && bound > 1.0 {
                    prop_assert!(latency.count_within(Threshold::at(Millis::clamped(bound * 1.2))) >= up_to - 1e-6);
                }
            }
        }
    }
}
