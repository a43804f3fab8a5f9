//! Whether one endpoint differs from its siblings: gray failure, which no line of its own shows.
//!
//! The distance from the siblings' median in their median absolute deviations. It counts only once
//! it has lasted for three of five samples, while most siblings agree: where more than half have
//! moved together, the service or what it depends on is to blame, and taking out endpoints mends
//! nothing.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::middle;

/// With fewer siblings a median says nothing.
pub const SIBLINGS_LEAST: usize = 4;
/// A distance of more deviations counts.
const FAR: f64 = 4.0;
/// In so many of the last samples it must be far ...
const FAR_LEAST: u32 = 3;
/// ... of so many.
const LAST: u32 = 5;
/// Turns a median absolute deviation of normal samples into their deviation.
const NORMAL: f64 = 1.4826;
/// The least deviation as a part of the median: siblings that are all but equal differ by nothing.
const PART_LEAST: f64 = 0.05;
/// A group whose median is off its own usual by more deviations has moved together.
const TOGETHER: f64 = 4.0;

/// What is remembered of one endpoint: in which of the last samples it was far, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lately {
    above: u8,
    below: u8,
}

/// What one sample of all siblings shows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The median of all.
    pub median: f64,
    /// How far siblings usually are from it.
    pub deviation: f64,
    /// Most have moved together.
    pub moved: bool,
}

/// One endpoint differs from its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Apart {
    /// Its sample.
    pub value: f64,
    /// The siblings' median.
    pub median: f64,
    /// The distance in the siblings' deviations; below the median where negative.
    pub distance: f64,
    /// In how many of the last five samples it was so far.
    pub samples: u32,
}

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, median, distance, samples } = self;
        write!(
            f,
            "{value:.4} where its siblings have {median:.4}: {:.1} of their ",
            distance.abs()
        )?;
        write!(f, "deviations apart, in {samples} of {LAST} samples")
    }
}

impl Group {
    /// Of one sample of each sibling; `usual` is the group's median by its own baseline with that
    /// baseline's deviation, where known. `None` with too few siblings.
    pub fn of(values: &[f64], usual: Option<(f64, f64)>) -> Option<Self> {
        let mut known: Vec<f64> =
            values.iter().copied().filter(|value| value.is_finite()).collect();
        if known.len() < SIBLINGS_LEAST {
            return None;
        }
        let median = middle::lower(&mut known)?;
        for value in &mut known {
            *value = (*value - median).abs();
        }
        let spread = NORMAL * middle::lower(&mut known)?;
        let deviation = spread.max(PART_LEAST * median.abs()).max(f64::MIN_POSITIVE);
        let moved = usual.is_some_and(|(usual, deviation)| {
            (median - usual).abs() > TOGETHER * deviation.max(f64::MIN_POSITIVE)
        });
        Some(Self { median, deviation, moved })
    }

    /// How far a sibling's sample is from the others, in their deviations.
    pub fn distance(&self, value: f64) -> f64 {
        (value - self.median) / self.deviation
    }
}

impl Lately {
    /// Takes in a sample of this endpoint and of its group; evidence if it stands apart.
    pub fn see(&mut self, value: f64, group: &Group) -> Option<Apart> {
        let distance = group.distance(value);
        let shifted = |bits: u8, far: bool| ((bits << 1) | u8::from(far)) & ((1 << LAST) - 1);
        self.above = shifted(self.above, !group.moved && distance > FAR);
        self.below = shifted(self.below, !group.moved && distance < -FAR);
        let samples = if distance < 0.0 { self.below } else { self.above }.count_ones();
        let apart = samples >= FAR_LEAST && distance.abs() > FAR && !group.moved;
        apart.then_some(Apart { value, median: group.median, distance, samples })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    const SIBLINGS: [f64; 6] = [20.0, 21.0, 19.0, 20.5, 19.5, 20.0];

    /// In which of the samples the first endpoint stands apart.
    fn apart(samples: &[[f64; 6]], usual: Option<(f64, f64)>) -> Vec<bool> {
        let mut lately = Lately::default();
        let see = |sample: &[f64; 6]| {
            let group = Group::of(sample, usual).unwrap();
            lately.see(sample[0], &group).is_some()
        };
        samples.iter().map(see).collect()
    }

    fn with(first: f64) -> [f64; 6] {
        let mut sample = SIBLINGS;
        sample[0] = first;
        sample
    }

    #[test]
    fn who_lags_behind_is_found_once_it_lasts() {
        let samples = [with(20.0), with(60.0), with(60.0), with(60.0), with(20.0)];
        assert_eq!(apart(&samples, None), [false, false, false, true, false]);
        let flickering = [with(60.0), with(20.0), with(20.0), with(20.0), with(20.0), with(60.0)];
        assert!(apart(&flickering, None).iter().all(|apart| !apart));
    }

    #[test]
    fn what_all_share_is_nobodys_fault() {
        let all: [f64; 6] = SIBLINGS.map(|value| 5.0 * value);
        assert_eq!(apart(&[all; 5], Some((20.0, 1.0))), [false; 5]);
        // Four of six have moved; the first is no worse than they, nor are the two to blame.
        let most = [100.0, 100.0, 101.0, 99.0, 20.0, 20.0];
        assert_eq!(apart(&[most; 5], Some((20.0, 1.0))), [false; 5]);
        // One that is worse still is not judged while the group is sick.
        assert_eq!(
            apart(&[with(500.0).map(|value| 5.0 * value); 5], Some((20.0, 1.0))),
            [false; 5]
        );
    }

    #[test]
    fn few_siblings_are_no_group() {
        assert_eq!(Group::of(&[1.0, 2.0, 50.0], None), None);
        assert_eq!(Group::of(&[1.0, 2.0, f64::NAN, 50.0], None), None);
    }

    #[test]
    fn says_how_far() {
        let mut lately = Lately::default();
        let group = Group::of(&with(60.0), None).unwrap();
        let found = (0..3).filter_map(|_| lately.see(60.0, &group)).last().unwrap();
        let text = found.to_string();
        assert!(text.starts_with("60.0000 where its siblings have 20.0000: "), "{text}");
        assert!(text.ends_with("in 3 of 5 samples"), "{text}");
    }

    proptest! {
        #[test]
        fn a_minority_cannot_move_the_group(value in 0.1..1e6_f64, other in 0.1..1e6_f64) {
            let mut sample = SIBLINGS;
            (sample[0], sample[1]) = (value, other);
            let group = Group::of(&sample, None).unwrap();
            prop_assert!((19.0..=20.5).contains(&group.median));
        }
    }
}
