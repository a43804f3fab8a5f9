//! One histogram layout for latency everywhere: 80 counts with an exact sum.
//!
//! Upper bounds are 0.25 ms x 2^(i/4): 19 % wide, from a quarter of a millisecond to four minutes.
//! Foreign buckets are split once, in the collector that meets them.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::units::{Millis, Ratio};

/// How many buckets there are; the last also takes everything above it.
pub const BUCKETS: u8 = 80;

/// Latencies of a number of requests: sparse counts and the exact sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many requests were timed (of a sampled log: the sampled ones).
    pub count: f64,
    /// The sum of their latencies in milliseconds.
    pub sum_ms: f64,
    /// (bucket, count) in ascending order of bucket, without empty ones.
    pub buckets: Vec<(u8, f64)>,
}

/// The bucket that a latency falls into.
pub fn bucket_of(latency: Millis) -> u8 {
    let quarters = libm::ceil(4.0 * libm::log2(latency.value() / 0.25));
    // -inf (of a zero latency) and everything else below the range go to bucket 0.
    if quarters <= 0.0 {
        return 0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and at most BUCKETS - 1 after the min"
    )]
    let bucket = quarters.min(f64::from(BUCKETS - 1)) as u8;
    bucket
}

/// A bucket's upper bound in milliseconds.
pub fn upper_ms(bucket: u8) -> f64 {
    0.25 * libm::exp2(f64::from(bucket) / 4.0)
}

impl Latency {
    /// One request more.
    pub fn record(&mut self, latency: Millis) {
        self.add_to_bucket(bucket_of(latency), 1.0);
        self.count += 1.0;
        self.sum_ms += latency.value();
    }

    /// Adds `count` requests to one bucket without touching count and sum: for collectors that
    /// split foreign buckets and know count and sum exactly.
    pub fn add_to_bucket(&mut self, bucket: u8, count: f64) {
        match self.buckets.binary_search_by_key(&bucket, |&(bucket, _)| bucket) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// Adds another's requests.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_ms += other.sum_ms;
        for &(bucket, count) in &other.buckets {
            self.add_to_bucket(bucket, count);
        }
    }

    /// The mean latency, if any request was timed.
    pub fn mean(&self) -> Option<Millis> {
        (self.count > 0.0).then(|| Millis::clamped(self.sum_ms / self.count))
    }

    /// The latency that a ratio `q` of the requests did not exceed, interpolated within its bucket.
    pub fn quantile(&self, q: Ratio) -> Option<Millis> {
        let total: f64 = self.buckets.iter().map(|&(_, count)| count).sum();
        if total <= 0.0 {
            return None;
        }
        let rank = q.value() * total;
        let mut below = 0.0;
        for &(bucket, count) in &self.buckets {
            if below + count >= rank {
                let lower = if bucket == 0 { 0.0 } else { upper_ms(bucket - 1) };
                let within = if count > 0.0 { (rank - below) / count } else { 1.0 };
                return Millis::new(lower + (upper_ms(bucket) - lower) * within);
            }
            below += count;
        }
        self.buckets.last().and_then(|&(bucket, _)| Millis::new(upper_ms(bucket)))
    }

    /// How many of the requests took at most `threshold`, interpolated within its bucket.
    pub fn count_within(&self, threshold: Threshold) -> f64 {
        let below = self.buckets.iter().take_while(|(bucket, _)| *bucket <= threshold.bucket);
        below.map(|&(bucket, count)| count * threshold.part_within(bucket)).sum()
    }

    /// How many took longer.
    pub fn count_over(&self, threshold: Threshold) -> f64 {
        let above = self.buckets.iter().rev().take_while(|(bucket, _)| *bucket >= threshold.bucket);
        above.map(|&(bucket, count)| count * (1.0 - threshold.part_within(bucket))).sum()
    }
}

/// A latency up to which requests are counted: its bucket, and the part of that below it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    bucket: u8,
    part: f64,
}

impl Threshold {
    /// Finds the threshold's bucket.
    pub fn at(latency: Millis) -> Self {
        let bucket = bucket_of(latency);
        let lower = if bucket == 0 { 0.0 } else { upper_ms(bucket - 1) };
        let width = upper_ms(bucket) - lower;
        Self { bucket, part: ((latency.value() - lower) / width).clamp(0.0, 1.0) }
    }

    fn part_within(self, bucket: u8) -> f64 {
        match bucket.cmp(&self.bucket) {
            core::cmp::Ordering::Less => 1.0,
            core::cmp::Ordering::Equal => self.part,
            core::cmp::Ordering::Greater => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small ranks")]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_latency_lies_within_its_bucket(ms in 0.0..1e5_f64) {
            let bucket = bucket_of(Millis::clamped(ms));
            prop_assert!(ms <= upper_ms(bucket) * (1.0 + 1e-12));
            prop_assert!(bucket == 0 || ms > upper_ms(bucket - 1) * (1.0 - 1e-12));
        }

        #[test]
        fn quantiles_are_right_within_a_bucket(mut values in prop::collection::vec(0.3..1e4_f64, 1..200), q in 0.01..1.0_f64) {
            let mut latency = Latency::default();
            for &value in &values {
                latency.record(Millis::clamped(value));
            }
            values.sort_by(f64::total_cmp);
            let rank = (libm::ceil(q * values.len() as f64) as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let estimate = latency.quantile(Ratio::clamped(q)).unwrap().value();
            prop_assert!(estimate >= exact / 1.20 && estimate <= exact * 1.20, "{estimate} for {exact}");
        }
    }

    #[test]
    fn whatever_is_not_within_is_over() {
        let mut latency = Latency::default();
        for ms in [10.0, 400.0, 480.0, 490.0, 510.0, 530.0, 2_000.0] {
            latency.record(Millis::clamped(ms));
        }
        for ms in [0.0, 9.0, 500.0, 1_999.0, 1e9] {
            let threshold = Threshold::at(Millis::clamped(ms));
            let (within, over) = (latency.count_within(threshold), latency.count_over(threshold));
            assert!((within + over - latency.count).abs() < 1e-9, "{within} and {over} at {ms}");
        }
        let half = latency.count_over(Threshold::at(Millis::clamped(500.0)));
        assert!(half > 1.0 && half < 6.0, "{half}");
    }

    #[test]
    fn sums_are_exact_and_the_empty_one_knows_nothing() {
        let mut latency = Latency::default();
        assert_eq!(latency.mean(), None);
        assert_eq!(latency.quantile(Ratio::ONE), None);
        latency.record(Millis::clamped(10.0));
        latency.record(Millis::clamped(30.0));
        assert_eq!(latency.mean(), Millis::new(20.0));
        assert!((latency.count_within(Threshold::at(Millis::clamped(12.0))) - 1.0).abs() < 1e-9);
    }
}
