//! On how many requests endpoints work at once, where nobody says: settled worlds with more and
//! with fewer workers are compared with the recording, by their histograms of latency and by how
//! little their endpoints seem to change.
//!
//! Formulas of queues give a first number, but a balancer that avoids the busy makes for less waiting
//! than they say, which passes for more workers.

use core::ops::Range;

use super::fit::{Fit, Guess};
use super::shape::{Workers, spread};

/// How far from the first number the search goes, in numbers of the list.
const STEPS: Range<isize> = -9..4;

/// Worlds that are further from the recording than the best one by no more than this are not told
/// apart, in units of how far the best one is by part of a histogram.
const ALIKE: f64 = 30.0;

impl Fit {
    /// How many numbers further than the first the workers of worlds are that are to be compared.
    pub fn steps(&self) -> Vec<isize> {
        let first = self.shape.workers.iter().find(|workers| !workers.is_declared);
        let Some(first) = first else { return vec![0] };
        let mut steps: Vec<isize> = STEPS.collect();
        steps.dedup_by_key(|steps| first.further(*steps));
        steps
    }

    /// The same with workers so many numbers further.
    #[must_use]
    pub fn further(mut self, steps: isize) -> Self {
        for workers in &mut self.shape.workers {
            workers.likely = workers.further(steps);
        }
        self.shape.sigma = spread(&self.levels, self.way_ms, &self.shape.workers);
        self.explain();
        self
    }

    /// A world of the likeliest workers by settled worlds, which are as far from this one as they
    /// were asked to be. It knows how few and how many workers explain the recording as well.
    #[must_use]
    pub fn best(mut self, settled: &[Self]) -> Self {
        let places = self.grid.places.len();
        let parts = |fit: &Self, of: &dyn Fn(usize) -> bool| {
            let own = fit.misfit.iter().enumerate().filter(|(place, _)| of(*place));
            own.fold((0.0, 0.0), |sum, (_, misfit)| (sum.0 + misfit.0, sum.1 + misfit.1))
        };
        let profile = |of: &dyn Fn(usize) -> bool| -> Vec<f64> {
            settled.iter().map(|fit| parts(fit, of).0).collect()
        };
        let Some(common) = lowest(&profile(&|_| true)) else { return self };
        let (squares, count) = parts(&settled[common], &|_| true);
        let alike = ALIKE * (squares / count.max(1.0)).max(1.0);
        let own = |place: usize| {
            let profile = profile(&|other| other == place);
            lowest(&profile).filter(|best| profile[common] - profile[*best] > alike)
        };
        let own: Vec<Option<usize>> = (0..places).map(own).collect();
        // Whoever differs from the others does not speak for them.
        let others = profile(&|place| own[place].is_none());
        let steps = self.steps();
        for (place, workers) in self.shape.workers.iter_mut().enumerate() {
            let profile = match own[place] {
                Some(_) => &profile(&|other| other == place),
                None => &others,
            };
            *workers = found(*workers, profile, (&steps, alike));
        }
        self.shape.sigma = spread(&self.levels, self.way_ms, &self.shape.workers);
        self.explain();
        self
    }

    /// The same with the workers that another fit found.
    #[must_use]
    pub fn with_workers_of(mut self, other: &Self) -> Self {
        self.shape = other.shape.clone();
        self.explain();
        self
    }

    /// Which guess it is.
    pub fn guess(&self) -> Guess {
        self.guess
    }
}

fn lowest(profile: &[f64]) -> Option<usize> {
    let lowest = profile.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
    lowest.map(|(index, _)| index)
}

/// Workers by how far worlds with so many steps more are from the recording.
fn found(before: Workers, profile: &[f64], (steps, alike): (&[isize], f64)) -> Workers {
    let Some(best) = lowest(profile).filter(|_| !before.is_declared) else { return before };
    let is_alike = |misfit: &f64| misfit - profile[best] <= alike;
    let first = profile.iter().position(is_alike).unwrap_or(best);
    let last = profile.iter().rposition(is_alike).unwrap_or(best);
    let far = |index: usize| before.further(steps.get(index).copied().unwrap_or(0));
    // The search has an end, and the formulas may see none.
    let most = if last + 1 == profile.len() { before.most.max(far(last)) } else { far(last) };
    Workers { likely: far(best), least: far(first), most, ..before }
}
