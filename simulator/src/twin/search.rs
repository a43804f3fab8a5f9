//! On how many requests endpoints work at once, where nobody says: settled worlds with more and
//! with fewer workers are compared with the recording, by their histograms of latency and by how
//! little their endpoints seem to change.
//!
//! Formulas of queues give a first number, but a balancer that avoids the busy makes for less waiting
//! than they say, which passes for more workers.

use std::collections::BTreeSet;

use super::doubt::Doubt;
use super::fit::{Fit, Guess};
use super::shape::{WORKERS, Workers, spread};

/// At first every so many of the numbers is tried ...
const COARSE: usize = 3;

/// ... up to so many further than the formulas' ...
const BEYOND: usize = 3;

/// ... and then so many on either side of the best.
const FINE: usize = 2;

/// Worlds that are further from the recording than the best one by no more than this are not told
/// apart, in units of how far the best one is by part of a histogram.
const ALIKE: f64 = 30.0;

/// Squares per part of histograms that differ by chance are one; a world that has no more than this
/// explains them.
const EXPLAINED: f64 = 2.0;

/// Where no world explains more than this part of the requests, endpoints are not what a twin has.
const UNEXPLAINED_MAX: f64 = 1.0 / 6.0;

impl Fit {
    /// Numbers of workers to try first; nothing where all are declared.
    pub fn coarse(&self) -> Vec<u32> {
        let Some(first) = self.learned() else { return Vec::new() };
        let last = WORKERS.iter().position(|workers| *workers == first).unwrap_or(0) + BEYOND;
        WORKERS.into_iter().take(last + 1).step_by(COARSE).collect()
    }

    /// Numbers to try then, by settled worlds of others: those around the best.
    pub fn fine(&self, settled: &[Self]) -> Vec<u32> {
        let profiles = Profiles::of(settled);
        let Some(common) = lowest(&profiles.all()) else { return Vec::new() };
        let own = (0..self.grid.places.len()).filter_map(|place| profiles.own(place, common));
        let tried: BTreeSet<u32> = settled.iter().filter_map(Self::learned).collect();
        let near = std::iter::once(common).chain(own).flat_map(|best| {
            let at = WORKERS.iter().position(|one| settled[best].learned() == Some(*one));
            let at = at.unwrap_or(0);
            at.saturating_sub(FINE)..(at + FINE + 1).min(WORKERS.len())
        });
        let near: BTreeSet<u32> = near.map(|index| WORKERS[index]).collect();
        near.difference(&tried).copied().collect()
    }

    /// The same with so many workers wherever that is not declared.
    #[must_use]
    pub fn with_workers(mut self, count: u32) -> Self {
        for workers in self.shape.workers.iter_mut().filter(|workers| !workers.is_declared) {
            workers.likely = count;
        }
        self.shape.sigma = spread(&self.levels, self.way_ms, &self.shape.workers);
        self.explain();
        self
    }

    /// The number of workers of those whose is not declared.
    fn learned(&self) -> Option<u32> {
        let learned = self.shape.workers.iter().find(|workers| !workers.is_declared);
        learned.map(|workers| workers.likely)
    }

    /// A world of the likeliest workers by settled worlds. It knows how few and how many workers
    /// explain the recording as well.
    #[must_use]
    pub fn best(mut self, mut settled: Vec<Self>) -> Self {
        settled.sort_by_key(Self::learned);
        let profiles = Profiles::of(&settled);
        let Some(common) = lowest(&profiles.all()) else { return self };
        self.unexplained = profiles.unexplained;
        let places = 0..self.grid.places.len();
        let own: Vec<Option<usize>> = places.map(|place| profiles.own(place, common)).collect();
        // Whoever differs from the others does not speak for them.
        let usual = |place: usize| own.get(place).is_some_and(Option::is_none);
        let others = (profiles.of_places(&usual), profiles.without_one(&usual));
        let counts: Vec<u32> = settled.iter().filter_map(Self::learned).collect();
        let alike = profiles.alike(common);
        for (place, workers) in self.shape.workers.iter_mut().enumerate() {
            let (profile, rests) = match own[place] {
                Some(_) => {
                    let own = |other: usize| other == place;
                    &(profiles.of_places(&own), profiles.without_one(&own))
                }
                None => &others,
            };
            *workers = found(*workers, (profile, rests), (&counts, alike));
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

    /// Whether much was answered as by no number of workers. Where all are declared, nobody tried.
    pub fn unexplained(&self) -> Option<Doubt> {
        let part = self.unexplained;
        (part > UNEXPLAINED_MAX).then_some(Doubt::Unexplained { part })
    }

    /// Which guess it is.
    pub fn guess(&self) -> Guess {
        self.guess
    }
}

/// How far worlds are from the recording.
struct Profiles<'a> {
    worlds: &'a [Fit],
    /// Levels that a world explains: what none does, a start or a stall, tells of no workers.
    explained: Vec<bool>,
    /// The part of the requests that no world explains.
    unexplained: f64,
}

impl<'a> Profiles<'a> {
    fn of(worlds: &'a [Fit]) -> Self {
        let levels = worlds.first().map_or(0, |world| world.misfit.len());
        let explains = |world: &Fit, level: usize| {
            world
                .misfit
                .get(level)
                .is_some_and(|one| one.parts > 0.0 && one.squares / one.parts <= EXPLAINED)
        };
        let explained = |level: usize| worlds.iter().any(|world| explains(world, level));
        let explained: Vec<bool> = (0..levels).map(explained).collect();
        let unexplained = unexplained(worlds, &explained);
        let all = vec![true; levels];
        let explained = if explained.contains(&true) { explained } else { all };
        Self { worlds, explained, unexplained }
    }

    /// Of some endpoints, by world.
    fn of_places(&self, of: &dyn Fn(usize) -> bool) -> Vec<f64> {
        let mut sums = vec![0.0; self.worlds.len()];
        for index in self.witnesses(of) {
            add(&mut sums, &self.of_level(index), 1.0);
        }
        sums
    }

    /// The levels of some endpoints that a world explains.
    fn witnesses(&self, of: &dyn Fn(usize) -> bool) -> impl Iterator<Item = usize> {
        let levels = self.worlds.first().map_or(&[][..], |world| &world.levels);
        let own = move |index: &usize| of(levels[*index].place);
        (0..self.explained.len()).filter(|index| self.explained[*index]).filter(own)
    }

    /// Of one level, by world.
    fn of_level(&self, index: usize) -> Vec<f64> {
        let follows = index > 0 && self.explained[index - 1];
        let of = |world: &Fit| {
            let misfit = world.misfit[index];
            misfit.squares + if follows { misfit.change } else { 0.0 }
        };
        self.worlds.iter().map(of).collect()
    }

    /// Of some endpoints, by world, as all of their levels but one would have it; nothing where there
    /// is one.
    fn without_one(&self, of: &dyn Fn(usize) -> bool) -> Vec<Vec<f64>> {
        let all = self.of_places(of);
        let without = |index: usize| {
            let mut rest = all.clone();
            add(&mut rest, &self.of_level(index), -1.0);
            rest
        };
        let witnesses: Vec<usize> = self.witnesses(of).collect();
        if witnesses.len() > 1 { witnesses.into_iter().map(without).collect() } else { Vec::new() }
    }

    fn all(&self) -> Vec<f64> {
        self.of_places(&|_| true)
    }

    /// How much further a world may be than the best one and not be told from it.
    fn alike(&self, best: usize) -> f64 {
        let told = self.worlds[best].misfit.iter().zip(&self.explained);
        let (squares, parts) = told
            .filter(|(_, explained)| **explained)
            .fold((0.0, 0.0), |sum, (one, _)| (sum.0 + one.squares, sum.1 + one.parts));
        ALIKE * f64::max(squares / f64::max(parts, 1.0), 1.0)
    }

    /// Whether most of an endpoint's requests are explained.
    fn is_explained(&self, place: usize) -> bool {
        let levels = self.worlds.first().map_or(&[][..], |world| &world.levels);
        let own = levels.iter().zip(&self.explained).filter(|(level, _)| level.place == place);
        let (told, all) = own.fold((0.0, 0.0), |(told, all), (level, explained)| {
            (told + if *explained { level.finished } else { 0.0 }, all + level.finished)
        });
        2.0 * told > all
    }

    /// The best world of an endpoint that differs from the others.
    fn own(&self, place: usize, common: usize) -> Option<usize> {
        if !self.is_explained(place) {
            return None;
        }
        let profile = self.of_places(&|other| other == place);
        lowest(&profile).filter(|best| profile[common] - profile[*best] > self.alike(common))
    }
}

fn unexplained(worlds: &[Fit], explained: &[bool]) -> f64 {
    let levels = worlds.first().map_or(&[][..], |world| &world.levels);
    let (rest, all) = levels.iter().zip(explained).fold((0.0, 0.0), |sum, (level, explained)| {
        (sum.0 + if *explained { 0.0 } else { level.finished }, sum.1 + level.finished)
    });
    if all > 0.0 { rest / all } else { 0.0 }
}

fn add(sums: &mut [f64], more: &[f64], times: f64) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += times * more;
    }
}

fn lowest(profile: &[f64]) -> Option<usize> {
    let lowest = profile.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
    lowest.map(|(index, _)| index)
}

/// Workers by how far worlds of these counts are from the recording, and how far they are without
/// one stretch or another: what one stretch alone tells is not told, since the start of a fault in
/// the middle of a tick passes for any number of workers.
fn found(
    before: Workers,
    (profile, rests): (&[f64], &[Vec<f64>]),
    (counts, alike): (&[u32], f64),
) -> Workers {
    let Some(best) = lowest(profile).filter(|_| !before.is_declared) else { return before };
    let mut range = (best, best);
    for profile in std::iter::once(profile).chain(rests.iter().map(Vec::as_slice)) {
        let least = profile[lowest(profile).unwrap_or(best)];
        let is_alike = |misfit: &f64| misfit - least <= alike;
        range.0 = range.0.min(profile.iter().position(is_alike).unwrap_or(best));
        range.1 = range.1.max(profile.iter().rposition(is_alike).unwrap_or(best));
    }
    let (first, last) = range;
    let count = |index: usize| counts.get(index).copied().unwrap_or(before.likely);
    // The search has an end, and the formulas may see none.
    let most = if last + 1 == profile.len() { before.most.max(count(last)) } else { count(last) };
    Workers { likely: count(best), least: count(first), most, ..before }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stretch_alone_tells_no_workers() {
        let before = Workers { likely: 8, least: 1, most: 192, is_declared: false };
        let counts = [4, 7, 8, 9, 12];
        let sum = |one: &[f64], other: &[f64]| -> Vec<f64> {
            one.iter().zip(other).map(|(a, b)| a + b).collect()
        };
        let steady = [900.0, 90.0, 20.0, 21.0, 22.0];
        let strange = [300.0, 300.0, 290.0, 200.0, 10.0];
        let both = sum(&steady, &strange);
        let told = |rests: &[Vec<f64>]| found(before, (&both, rests), (&counts, 30.0));
        let range = |workers: Workers| (workers.least, workers.likely, workers.most);
        assert_eq!(range(told(&[])), (12, 12, 192));
        // Without the strange one nothing speaks against 8, nor against 192.
        assert_eq!(range(told(&[steady.to_vec(), strange.to_vec()])), (8, 12, 192));
    }
}
