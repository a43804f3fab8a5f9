//! Breaches of a line, and how long before each a warning was on.
//!
//! A lead counts from the start of the unbroken warning that reaches the breach, and only what of
//! it lay inside the goal. A breach without a warning has a lead of 0. A warning that ends without
//! a breach was wrong.

/// A breach begins after so many samples inside the goal: noise at the line is one breach.
pub(super) const CALM: usize = 10;

/// What warnings came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// The lead of each breach, in samples.
    pub(super) leads: Vec<usize>,
    /// Warnings that were raised inside the goal ...
    pub(super) runs: usize,
    /// ... and that reached a breach.
    reached: usize,
    /// Samples inside the goal, and those of them with the warning on.
    inside: usize,
    on: usize,
}

impl Tally {
    /// Takes in a series, scored from a sample on.
    pub(super) fn add(&mut self, values: &[f64], line: f64, from: usize, warned: &[bool]) {
        let mut run = Run::default();
        let mut calm = 0;
        for (at, (value, warned)) in values.iter().zip(warned).enumerate() {
            let above = *value > line;
            if !warned {
                self.end(&mut run, from);
            } else if run.raised.is_none() {
                run.raised = Some((at, above));
            }
            if above {
                if calm >= CALM && at >= from {
                    self.leads.push(run.lead(at));
                }
                run.reached = true;
                calm = 0;
                continue;
            }
            calm += 1;
            if calm == CALM && run.reached {
                // A warning that is still on when the breach has passed is the next one's.
                self.end(&mut run, from);
                run.raised = warned.then_some((at, false));
            }
            if at >= from {
                self.inside += 1;
                self.on += usize::from(*warned);
            }
        }
    }

    /// A warning ended. One that was raised in the breach warned of nothing, and is not counted.
    fn end(&mut self, run: &mut Run, from: usize) {
        let ended = core::mem::take(run);
        if ended.raised.is_some_and(|(at, above)| at >= from && !above) {
            self.runs += 1;
            self.reached += usize::from(ended.reached);
        }
    }

    /// The part of breaches with at least this lead.
    pub(super) fn recall(&self, lead: usize) -> f64 {
        let warned = self.leads.iter().filter(|own| **own >= lead).count();
        warned as f64 / self.leads.len().max(1) as f64
    }

    /// The part of warnings that reached a breach; 0 where none was raised.
    pub(super) fn precision(&self) -> f64 {
        self.reached as f64 / self.runs.max(1) as f64
    }

    /// The median lead of all breaches.
    pub(super) fn median_lead(&self) -> f64 {
        let mut sorted = self.leads.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).map_or(0.0, |lead| *lead as f64)
    }

    /// The part of samples inside the goal with the warning on.
    pub(super) fn on_ratio(&self) -> f64 {
        self.on as f64 / self.inside.max(1) as f64
    }

    /// Both together.
    pub(super) fn pooled(mut self, other: Self) -> Self {
        self.leads.extend(other.leads);
        self.runs += other.runs;
        self.reached += other.reached;
        self.inside += other.inside;
        self.on += other.on;
        self
    }

    /// The one with more breaches warned and more warnings right, taken together (F1).
    pub(super) fn better(self, other: Self) -> Self {
        let worth = |tally: &Self| {
            let (recall, precision) = (tally.recall(10), tally.precision());
            2.0 * recall * precision / (recall + precision).max(f64::MIN_POSITIVE)
        };
        if worth(&other) > worth(&self) { other } else { self }
    }
}

/// A warning that is on.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    /// When it was raised, and whether the line was passed already.
    raised: Option<(usize, bool)>,
    /// Whether the line was passed while it was on.
    reached: bool,
}

impl Run {
    fn lead(&self, breach: usize) -> usize {
        self.raised.filter(|(_, above)| !above).map_or(0, |(raised, _)| breach - raised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 samples inside, 10 above, 30 inside, 5 above, 20 inside.
    fn values() -> Vec<f64> {
        [(20, 0.0), (10, 2.0), (30, 0.0), (5, 2.0), (20, 0.0)]
            .into_iter()
            .flat_map(|(count, value)| std::iter::repeat_n(value, count))
            .collect()
    }

    fn on(ranges: &[(usize, usize)]) -> Vec<bool> {
        let is_on = |at: usize| ranges.iter().any(|(from, until)| (*from..*until).contains(&at));
        (0..values().len()).map(is_on).collect()
    }

    #[track_caller]
    fn check(ranges: &[(usize, usize)], leads: [usize; 2], right: (usize, usize)) {
        let mut tally = Tally::default();
        tally.add(&values(), 1.0, 0, &on(ranges));
        assert_eq!((tally.leads.as_slice(), (tally.reached, tally.runs)), (&leads[..], right));
    }

    #[test]
    fn leads_and_warnings_are_counted() {
        check(&[], [0, 0], (0, 0));
        check(&[(8, 30), (45, 65)], [12, 15], (2, 2));
        check(&[(8, 15), (45, 65)], [0, 15], (1, 2)); // ended before the breach: wrong, and no lead
        check(&[(20, 30), (60, 65)], [0, 0], (0, 0)); // raised in the breach: only reacted
        check(&[(8, 65)], [12, 21], (2, 2)); // never off: the second counts from the calm on
        check(&[(70, 80)], [0, 0], (0, 1));
    }

    #[test]
    fn noise_at_the_line_is_one_breach() {
        let mut noisy = vec![0.0; 20];
        noisy.extend((0..40).map(|at| if at % 3 == 0 { 0.0 } else { 2.0 }));
        let mut tally = Tally::default();
        tally.add(&noisy, 1.0, 0, &vec![false; noisy.len()]);
        assert_eq!(tally.leads, [0]);
    }
}
