//! When requests arrive: a Poisson process whose rate is constant within each segment, as a
//! function of the seed alone.

use crate::draws::Draw;
use std::time::Duration;

/// A stretch of time with one rate.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// How long it lasts.
    pub length: Duration,
    /// Mean arrivals a second.
    pub rate: f64,
}

/// One request's time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// Its number, from 0.
    pub number: u64,
    /// Which segment it falls into.
    pub segment: usize,
    /// The time since the first segment began.
    pub at: Duration,
}

/// The arrivals, in order of time.
#[derive(Clone, Debug)]
pub struct Arrivals<'a> {
    seed: u64,
    number: u64,
    segments: &'a [Segment],
    segment: usize,
    /// When the segment began, and the time within it, in seconds.
    began: Duration,
    within: f64,
}

impl<'a> Arrivals<'a> {
    /// The arrivals of one seed.
    pub fn new(seed: u64, segments: &'a [Segment]) -> Arrivals<'a> {
        Arrivals { seed, number: 0, segments, segment: 0, began: Duration::ZERO, within: 0.0 }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    /// A gap is a fixed amount of expected arrivals, spent at each segment's own rate.
    fn next(&mut self) -> Option<Arrival> {
        let mut gap = Draw::first(self.seed, self.number).gap();
        loop {
            let Segment { length, rate } = *self.segments.get(self.segment)?;
            let left = (length.as_secs_f64() - self.within) * rate;
            if gap < left {
                self.within += gap / rate;
                break;
            }
            gap -= left.max(0.0);
            self.segment += 1;
            self.began += length;
            self.within = 0.0;
        }
        let at = self.began + Duration::from_secs_f64(self.within);
        let arrival = Arrival { number: self.number, segment: self.segment, at };
        self.number += 1;
        Some(arrival)
    }
}

/// Which segment is under way after `elapsed`: the last one, when all are over.
pub(super) fn segment_at(segments: &[Segment], elapsed: Duration) -> usize {
    let mut end = Duration::ZERO;
    let over = |segment: &Segment| {
        end += segment.length;
        end <= elapsed
    };
    let begun = segments.iter().map(over).take_while(|over| *over).count();
    begun.min(segments.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(seconds: u64, rate: f64) -> Segment {
        Segment { length: Duration::from_secs(seconds), rate }
    }

    #[test]
    fn each_segment_has_its_rate() {
        let plan = [segment(100, 1200.0), segment(50, 800.0), segment(10, 0.0), segment(100, 1.0)];
        let arrivals = Arrivals::new(3, &plan).collect::<Vec<_>>();
        let within = |segment| arrivals.iter().filter(|one| one.segment == segment).count();
        assert!(within(0).abs_diff(120_000) < 1500, "{}", within(0));
        assert!(within(1).abs_diff(40_000) < 900, "{}", within(1));
        assert_eq!(within(2), 0);
        assert!(within(3).abs_diff(100) < 50, "{}", within(3));
    }

    #[test]
    fn seeds_differ() {
        let plan = [segment(10, 100.0)];
        let times = |seed| Arrivals::new(seed, &plan).map(|one| one.at).collect::<Vec<_>>();
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    }

    #[track_caller]
    fn check_segment(elapsed: u64, expected: usize) {
        let plan = [segment(5, 1.0), segment(3, 1.0), segment(1, 1.0)];
        assert_eq!(segment_at(&plan, Duration::from_secs(elapsed)), expected);
    }

    #[test]
    fn a_segment_begins_where_the_last_one_ends() {
        check_segment(0, 0);
        check_segment(4, 0);
        check_segment(5, 1);
        check_segment(8, 2);
        check_segment(99, 2);
    }

    proptest! {
        #[test]
        fn arrivals_are_in_order_and_in_their_segment(
            seed: u64, plan in prop::collection::vec((0_u64..5, 0.0..50.0_f64), 0..6)
        ) {
            let plan = plan.iter().map(|(length, rate)| segment(*length, *rate));
            let plan = plan.collect::<Vec<_>>();
            let mut before = Duration::ZERO;
            for (number, arrival) in Arrivals::new(seed, &plan).enumerate() {
                prop_assert_eq!(arrival.number, number as u64);
                prop_assert!(arrival.at >= before);
                prop_assert_eq!(segment_at(&plan, arrival.at), arrival.segment);
                before = arrival.at;
            }
        }
    }
}
