//! Envoy's earliest-deadline-first schedule, which its weighted balancers pick from.
//!
//! The entry with the earliest deadline is picked and put back one over its weight later; equal
//! deadlines go by order of insertion. Weights are asked for at each pick, so that a weight which
//! changed in between acts only once its entry was picked again: that lag is the source's, and
//! least request lives with it. A schedule starts as if many picks had been made of it, for
//! proxies that start together must not walk in step.
//!
//! Source: envoyproxy/envoy, source/common/upstream/edf_scheduler.h (`add`, `pickAndAdd`,
//! `createWithPicks`). The clock which it keeps is left out: it always equals the
//! deadline last picked, so only first insertions could tell, and they happen at zero.

use crate::balancer::Member;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Envoy's bound on the picks that a start emulates (a tenth of its `UINT_MAX`).
const PICKS_MAX: u64 = 429_496_729;

/// Members by deadline.
#[derive(Debug, Default)]
pub(crate) struct Edf {
    queue: BinaryHeap<Entry>,
    inserted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: f64,
    order: u64,
    member: Member,
}

impl Edf {
    /// The schedule of these members after so many picks of it; who weighs nothing is left out.
    ///
    /// All but a few picks per member are computed: after P picks of a total weight W, an entry
    /// of weight w was picked about P w / W times. One less is taken, so that rounding never
    /// gives a pick too many, and the rest are made one by one.
    pub(crate) fn new(members: &[Member], weight: impl Fn(&Member) -> f64, picks: u64) -> Self {
        let weighty = || members.iter().filter(|member| weight(member) > 0.0);
        let total: f64 = weighty().map(&weight).sum();
        let picks = (picks % PICKS_MAX) as f64;
        let (mut edf, mut made) = (Self::default(), 0.0);
        for member in weighty() {
            let own = (libm::floor(picks * weight(member) / total) - 1.0).max(0.0);
            edf.add(*member, (own + 1.0) / weight(member));
            made += own;
        }
        while made < picks && edf.pick(&weight).is_some() {
            made += 1.0;
        }
        edf
    }

    /// The member whose turn it is, put back by the weight that it has now.
    pub(crate) fn pick(&mut self, weight: impl Fn(&Member) -> f64) -> Option<usize> {
        let mut first = self.queue.peek_mut()?;
        first.deadline += 1.0 / weight(&first.member);
        first.order = self.inserted;
        self.inserted += 1;
        Some(first.member.backend)
    }

    fn add(&mut self, member: Member, deadline: f64) {
        self.queue.push(Entry { deadline, order: self.inserted, member });
        self.inserted += 1;
    }
}

/// Whether all weigh the same, where Envoy uses no schedule (`hostWeightsAreEqual`).
pub(crate) fn weigh_the_same(members: &[Member]) -> bool {
    members.windows(2).all(|pair| pair[0].weight.total_cmp(&pair[1].weight).is_eq())
}

/// The greatest entry is picked next, so the earliest is the greatest.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        let later = self.deadline.total_cmp(&other.deadline);
        later.then(self.order.cmp(&other.order)).reverse()
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(member: &Member) -> f64 {
        member.weight
    }

    fn of(weights: &[f64], picks: u64) -> Edf {
        let members = (0..).zip(weights).map(|(backend, &weight)| Member { backend, weight });
        Edf::new(&members.collect::<Vec<_>>(), own, picks)
    }

    fn counts(edf: &mut Edf, members: usize, picks: usize) -> Vec<usize> {
        let mut counts = vec![0; members];
        for _ in 0..picks {
            counts[edf.pick(own).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn picks_nobody_of_nobody() {
        assert_eq!(of(&[], 7).pick(own), None);
        assert_eq!(of(&[0.0], 7).pick(own), None);
    }

    #[test]
    fn goes_by_insertion_where_deadlines_are_equal() {
        let mut edf = of(&[1.0; 5], 0);
        let picks: Vec<_> = (0..10).map(|_| edf.pick(own).unwrap()).collect();
        assert_eq!(picks, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn picks_by_weight() {
        let weights: Vec<f64> = (1..=16).map(f64::from).collect();
        let expected: Vec<usize> = (1..=16).collect();
        assert_eq!(counts(&mut of(&weights, 0), 16, 136), expected);
    }

    #[test]
    fn interleaves_rather_than_bursts() {
        let mut edf = of(&[1.0, 3.0], 0);
        let picks: Vec<_> = (0..8).map(|_| edf.pick(own).unwrap()).collect();
        assert_eq!(picks.iter().filter(|&&pick| pick == 0).count(), 2);
        assert!(!picks.windows(2).any(|pair| pair == [0, 0]));
    }

    #[test]
    fn starts_as_if_so_many_were_picked() {
        // No weights whose deadlines ever meet: how these round decides who is first.
        let weights = [1.0, 1.372_81, 2.618_03];
        for picks in [1, 2, 23, 1_000, 4_321] {
            let mut stepped = of(&weights, 0);
            counts(&mut stepped, 3, usize::try_from(picks).unwrap());
            let mut started = of(&weights, picks);
            for _ in 0..500 {
                assert_eq!(started.pick(own), stepped.pick(own), "after {picks}");
            }
        }
    }

    #[test]
    fn starts_quickly_and_keeps_proportions_however_late() {
        let mut edf = of(&[25.0, 75.0], u64::MAX);
        let counts = counts(&mut edf, 2, 1_000);
        assert!(counts[0].abs_diff(250) <= 1, "{counts:?}");
    }

    #[test]
    fn weighs_anew_only_what_is_picked() {
        let mut edf = of(&[1.0, 1.0], 0);
        let starved = |member: &Member| if member.backend == 0 { 0.1 } else { 1.0 };
        let picks: Vec<_> = (0..12).map(|_| edf.pick(starved).unwrap()).collect();
        assert_eq!(picks, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    }
}
