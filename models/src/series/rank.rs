//! How rare a score is among all scores before it: a conformal rank.
//!
//! Were the samples exchangeable, a rank of at most p would come up in a part p of all samples,
//! whatever the scores' distribution (Vovk and others, 2005, "Algorithmic Learning in a Random
//! World"). They are not quite, so old scores are forgotten, and [`crate::series::alarm`] corrects
//! the rate itself. Scores are counted in bins of constant ratio and not kept: the answer costs
//! no search, and memory stays the same.

use serde::{Deserialize, Serialize};

/// Bins; with the ratio they span seven decades.
const BINS: usize = 816;
/// Bins that are summed up together, so that an answer adds few numbers.
const GROUP: usize = 34;
/// The lower edge of the second bin; scores are in units of their usual size.
const LEAST: f64 = 1e-3;
/// 1 / ln(1.02): scores that differ by less than 2 % are equals.
const PER_LOG: f64 = 50.498_349_793_536_2;
/// At so many scores all counts are halved: the last weeks of five-minute samples count.
const COUNTED_MOST: u32 = 16_384;

/// Counts of past scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranks {
    bins: Vec<u16>,
    groups: Vec<u32>,
    total: u32,
}

impl Default for Ranks {
    fn default() -> Self {
        Self { bins: vec![0; BINS], groups: vec![0; BINS / GROUP], total: 0 }
    }
}

impl Ranks {
    /// The part of scores, this one included, that are as large: 1 for the usual, 1/n for the
    /// largest of n. The score is counted thereafter; one that is no number is as usual as can be.
    pub fn see(&mut self, score: f64) -> f64 {
        let bin = bin(score);
        let group = bin / GROUP;
        let within: u32 =
            self.bins[bin..(group + 1) * GROUP].iter().map(|count| u32::from(*count)).sum();
        let larger = within + self.groups[group + 1..].iter().sum::<u32>();
        let rank = f64::from(larger + 1) / f64::from(self.total + 1);
        self.count(bin);
        rank
    }

    fn count(&mut self, bin: usize) {
        if self.total >= COUNTED_MOST {
            self.bins.iter_mut().for_each(|count| *count /= 2);
            let sum = |bins: &[u16]| bins.iter().map(|count| u32::from(*count)).sum::<u32>();
            self.groups = self.bins.chunks(GROUP).map(sum).collect();
            self.total = self.groups.iter().sum();
        }
        self.groups[bin / GROUP] += 1;
        self.bins[bin] += 1;
        self.total += 1;
    }
}

fn bin(score: f64) -> usize {
    if score.is_nan() || score <= LEAST {
        return 0;
    }
    let place = 1.0 + PER_LOG * libm::log(score / LEAST);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let place = place.clamp(0.0, (BINS - 1) as f64) as usize;
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_simulator::random::Random;

    #[test]
    fn the_largest_is_rarest_and_equals_are_usual() {
        let mut ranks = Ranks::default();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} for {b}");
        close(ranks.see(1.0), 1.0);
        close(ranks.see(1.0), 1.0);
        close(ranks.see(2.0), 1.0 / 3.0);
        close(ranks.see(1.5), 0.5);
        close(ranks.see(0.0), 1.0);
        close(ranks.see(f64::NAN), 1.0);
        close(ranks.see(f64::INFINITY), 1.0 / 7.0);
    }

    #[test]
    fn a_rank_comes_up_as_often_as_it_says() {
        let (mut ranks, mut random) = (Ranks::default(), Random::of(1, 2, 3));
        let rare = (0..50_000).filter(|_| ranks.see(random.lognormal(1.0)) <= 0.01).count();
        assert!((350..=600).contains(&rare), "{rare} of 50,000 at 1 %");
    }

    proptest! {
        #[test]
        fn ranks_are_probabilities(scores in prop::collection::vec(any::<f64>(), 1..200)) {
            let mut ranks = Ranks::default();
            for score in scores {
                let rank = ranks.see(score);
                prop_assert!(rank > 0.0 && rank <= 1.0);
            }
        }
    }
}
