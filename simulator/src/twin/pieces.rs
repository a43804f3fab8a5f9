//! Where something changes over time: the cheapest division into pieces.
//!
//! Optimal partitioning (B. Jackson et al., "An algorithm for optimal partitioning of data on an
//! interval", IEEE Signal Processing Letters 12, 2005): exact, quadratic in the number of cells.

use core::ops::Range;

/// What another piece must save, in twice the logarithm of likelihood: a change that chance makes
/// once in some thousand cells.
pub(super) const PENALTY: f64 = 20.0;

/// The pieces of so many cells with the least sum of costs, the first first.
pub(super) fn pieces(cells: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<Range<usize>> {
    let mut best = vec![-PENALTY; cells + 1];
    let mut from = vec![0; cells + 1];
    for end in 1..=cells {
        let choice = |start: usize| (best[start] + cost(start, end) + PENALTY, start);
        let least = (0..end).map(choice).min_by(|a, b| a.0.total_cmp(&b.0));
        (best[end], from[end]) = least.unwrap_or_default();
    }
    let mut pieces = Vec::new();
    let mut end = cells;
    while end > 0 {
        pieces.push(from[end]..end);
        end = from[end];
    }
    pieces.reverse();
    pieces
}

/// Ends of pieces that cost no more than this more are as likely: chance alone moves them so far in
/// one of fifty.
const ALIKE: f64 = 5.4;

/// Where the end of a piece is put, of all ends that are as likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lean {
    /// As early as may be.
    Early,
    /// Where it costs least.
    Best,
    /// As late as may be.
    Late,
}

/// Pieces with their ends moved: what is seen of few requests, or of none, says little of when it
/// changed. `lean` is asked with the pieces before and after an end.
pub(super) fn leaning(
    mut pieces: Vec<Range<usize>>,
    cost: impl Fn(usize, usize) -> f64,
    lean: &dyn Fn(&Range<usize>, &Range<usize>) -> Lean,
) -> Vec<Range<usize>> {
    for after in 1..pieces.len() {
        let (one, other) = (pieces[after - 1].clone(), pieces[after].clone());
        let both = |end: usize| cost(one.start, end) + cost(end, other.end);
        let limit = both(one.end) + ALIKE;
        let mut ends = (one.start + 1..other.end).filter(|end| both(*end) <= limit);
        let end = match lean(&one, &other) {
            Lean::Early => ends.next(),
            Lean::Best => None,
            Lean::Late => ends.next_back(),
        };
        let end = end.unwrap_or(one.end);
        pieces[after - 1].end = end;
        pieces[after].start = end;
    }
    pieces
}

/// Sums up to each cell: what lies between two is one subtraction.
#[derive(Clone, Debug)]
pub(super) struct Sums(Vec<f64>);

impl Sums {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sums = vec![0.0];
        let mut sum = 0.0;
        for value in values {
            sum += value;
            sums.push(sum);
        }
        Self(sums)
    }

    pub(super) fn between(&self, start: usize, end: usize) -> f64 {
        self.0[end] - self.0[start]
    }
}

/// The cost of one level for measured values with variances: their weighted squares about it.
pub(super) fn level_cost(values: &[(f64, f64)]) -> impl Fn(usize, usize) -> f64 {
    let sum = |of: fn(f64, f64) -> f64| Sums::of(values.iter().map(move |&(x, v)| of(x, v)));
    let weights = sum(|_, v| 1.0 / v);
    let firsts = sum(|x, v| x / v);
    let squares = sum(|x, v| x * x / v);
    move |start, end| {
        let first = firsts.between(start, end);
        squares.between(start, end) - first * first / weights.between(start, end)
    }
}

/// The cost of one ratio for counts (hits, of all).
pub(super) fn ratio_cost(counts: &[(f64, f64)]) -> impl Fn(usize, usize) -> f64 {
    let hits = Sums::of(counts.iter().map(|count| count.0));
    let all = Sums::of(counts.iter().map(|count| count.1));
    move |start, end| {
        let (hits, all) = (hits.between(start, end), all.between(start, end));
        -2.0 * (part(hits, all) + part(all - hits, all))
    }
}

/// The cost of one rate for counts over times (events, seconds).
pub(super) fn rate_cost(counts: &[(f64, f64)]) -> impl Fn(usize, usize) -> f64 {
    let events = Sums::of(counts.iter().map(|count| count.0));
    let seconds = Sums::of(counts.iter().map(|count| count.1));
    move |start, end| {
        let events = events.between(start, end);
        -2.0 * (part(events, seconds.between(start, end)) - events)
    }
}

fn part(hits: f64, all: f64) -> f64 {
    if hits > 0.0 && all > 0.0 { hits * libm::log(hits / all) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn finds_changes_and_only_these() {
        let noisy = |index: usize| {
            let level = if (40..55).contains(&index) { 0.5 } else { 0.0 };
            (level + 0.1 * Random::of(7, 1, index as u64).normal(), 0.01)
        };
        let values: Vec<(f64, f64)> = (0..120).map(noisy).collect();
        let found = pieces(values.len(), level_cost(&values));
        assert_eq!(found, [0..40, 40..55, 55..120]);
        let counts = [[(0.0, 200.0); 9].as_slice(), &[(60.0, 200.0); 3]].concat();
        assert_eq!(pieces(counts.len(), ratio_cost(&counts)), [0..9, 9..12]);
        let counts = [[(100.0, 1.0); 9].as_slice(), &[(200.0, 1.0); 3]].concat();
        assert_eq!(pieces(counts.len(), rate_cost(&counts)), [0..9, 9..12]);
    }

    #[test]
    fn ends_lean_over_what_says_little() {
        // Of the ten requests in the middle one would have failed at most, or none: who knows.
        let counts = [[(10.0, 200.0); 8].as_slice(), &[(0.0, 5.0); 2], &[(0.0, 200.0); 8]].concat();
        let cost = ratio_cost(&counts);
        let found = pieces(counts.len(), &cost);
        for (lean, end) in [(Lean::Early, 8), (Lean::Best, 8), (Lean::Late, 10)] {
            let moved = leaning(found.clone(), &cost, &|_, _| lean);
            assert_eq!(moved, [0..end, end..18], "{lean:?}");
        }
    }

    #[test]
    fn nothing_has_no_pieces() {
        assert!(pieces(0, |_, _| 0.0).is_empty());
    }
}
