//! Histograms that came in a proxy's own buckets.
//!
//! A collector splits them into ours, evenly over the logarithm, so forty odd fractions say what
//! sixteen whole counts say. Those counts are written, and how many representable numbers each
//! fraction lies above what they come to here: a few, whatever order they were added in.

use std::sync::LazyLock;

use weir_engine::latency::{BUCKETS, Latency, upper_ms};

const OURS: usize = BUCKETS as usize;

/// Envoy's default bounds in milliseconds, as far as ours reach; the first stands for zero.
const BOUNDS: [f64; 17] = [
    0.0625, 0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4,
    3e5,
];

/// How many buckets there are between them.
pub(super) const THEIRS: usize = BOUNDS.len() - 1;

/// Which part of a foreign bucket's requests lies in which of ours.
struct Split {
    parts: Vec<(usize, f64)>,
    /// One of ours that is filled by nothing else.
    own: Option<(usize, f64)>,
}

/// The same on every machine: libm's logarithm, not the machine's.
static SPLITS: LazyLock<Vec<Split>> =
    LazyLock::new(|| BOUNDS.windows(2).map(|ends| split(ends[0], ends[1])).collect());

fn split(lower: f64, upper: f64) -> Split {
    let (width, mut from) = (libm::log(upper / lower), lower);
    let mut split = Split { parts: Vec::new(), own: None };
    for (at, bucket) in (0..BUCKETS).enumerate() {
        let edge = upper_ms(bucket);
        let to = if at + 1 == OURS { upper } else { edge.min(upper) };
        if to > from {
            let part = (at, libm::log(to / from) / width);
            let whole = edge <= upper && bucket > 0 && upper_ms(bucket - 1) >= lower;
            split.own = split.own.or(whole.then_some(part));
            split.parts.push(part);
            from = to;
        }
    }
    split
}

/// What foreign counts come to in our buckets.
pub(super) fn in_ours(counts: &[u64; THEIRS]) -> [f64; OURS] {
    let mut ours = [0.0; OURS];
    for (split, &count) in SPLITS.iter().zip(counts).filter(|(_, count)| **count > 0) {
        for &(bucket, part) in &split.parts {
            ours[bucket] += count as f64 * part;
        }
    }
    ours
}

/// The foreign counts that a histogram was probably made of.
pub(super) fn guessed(latency: &Latency) -> Option<[u64; THEIRS]> {
    let mut ours = [0.0; OURS];
    for &(bucket, count) in &latency.buckets {
        *ours.get_mut(usize::from(bucket))? = count;
    }
    let mut counts = [0; THEIRS];
    for (count, split) in counts.iter_mut().zip(SPLITS.iter()) {
        let (bucket, part) = split.own?;
        *count = super::float::whole((ours[bucket] / part).round())?;
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_foreign_bucket_is_split_into_all_of_itself() {
        for split in SPLITS.iter() {
            let sum: f64 = split.parts.iter().map(|(_, part)| part).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
            assert!(split.own.is_some());
        }
    }

    #[test]
    fn counts_are_found_again() {
        let counts = [0, 3, 0, 17, 120, 4_000, 1, 0, 0, 2, 5, 9, 1, 0, 1, 1];
        let ours = (0_u8..).zip(in_ours(&counts)).filter(|(_, count)| *count > 0.0);
        let latency = Latency { buckets: ours.collect(), ..Latency::default() };
        assert_eq!(guessed(&latency), Some(counts));
    }
}
