//! How requests' work is spread, and on how many requests an endpoint works at once: those that
//! make the histograms of latency most likely.
//!
//! Work is taken to be lognormal. What tells workers is waiting: at low load there is none, and
//! any larger number explains the recording as well. So there is a most likely number, and a
//! least and a largest that the recording does not tell from it.

use super::levels::Level;
use super::queue::Queue;

/// Numbers of workers that are tried.
pub(super) const WORKERS: [u32; 24] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 192];

/// Spreads that are tried lie between these.
const SIGMAS: (f64, f64) = (0.1, 1.8);

/// Steps of golden section: to a hundredth.
const SECTIONS: u32 = 11;

/// A level of fewer requests says little.
const FINISHED_MIN: f64 = 200.0;

/// Where more time out than this, the histogram is cut off.
const TIMEOUTS_MAX: f64 = 0.005;

/// At most so many levels are looked at, those of the most requests.
const LEVELS_MAX: usize = 48;

/// Logarithms of likelihood that differ by less are not told apart.
const ALIKE: f64 = 4.0;

/// Workers of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Workers {
    pub(super) likely: u32,
    pub(super) least: u32,
    pub(super) most: u32,
    pub(super) is_declared: bool,
}

impl Workers {
    fn declared(workers: u32) -> Self {
        Self { likely: workers, least: workers, most: workers, is_declared: true }
    }
}

/// What all endpoints have in common, and what each has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) sigma: f64,
    pub(super) workers: Vec<Workers>,
}

/// A fit under way.
struct Fit<'a> {
    levels: Vec<&'a Level>,
    way_ms: f64,
    declared: &'a [Option<u32>],
}

/// Finds the shape; nothing where no level has enough requests. `declared` are the endpoints'
/// workers, where that is said; all others are taken to have equally many.
pub(super) fn shape(levels: &[Level], way_ms: f64, declared: &[Option<u32>]) -> Option<Shape> {
    let fit = Fit { levels: clear(levels), way_ms, declared };
    (!fit.levels.is_empty()).then(|| fit.shape())
}

/// The spread of work that is likeliest with so many workers by endpoint.
pub(super) fn spread(levels: &[Level], way_ms: f64, workers: &[Workers]) -> f64 {
    let declared: Vec<Option<u32>> = workers.iter().map(|workers| Some(workers.likely)).collect();
    let fit = Fit { levels: clear(levels), way_ms, declared: &declared };
    golden(SIGMAS, |sigma| fit.all(1, sigma)).0
}

/// Levels that tell the shape: those of the most requests, and not overloaded if others are.
fn clear(levels: &[Level]) -> Vec<&Level> {
    let known = || levels.iter().filter(|level| level.finished >= FINISHED_MIN);
    let mut clear: Vec<&Level> = known().filter(|level| level.timeouts <= TIMEOUTS_MAX).collect();
    if clear.is_empty() {
        clear = known().collect();
    }
    clear.sort_by(|a, b| b.finished.total_cmp(&a.finished));
    clear.truncate(LEVELS_MAX);
    clear
}

impl Fit<'_> {
    fn shape(&self) -> Shape {
        let best = WORKERS.map(|workers| golden(SIGMAS, |sigma| self.all(workers, sigma)));
        let likely = best.map(|(_, likely)| likely);
        let at = top(&likely);
        let sigma = best[at].0;
        let usual = range(&likely, self.misfit(WORKERS[at], sigma));
        let workers = self.declared.iter().map(|one| one.map_or(usual, Workers::declared));
        Shape { sigma, workers: workers.collect() }
    }

    fn queue(&self, level: &Level, workers: u32, sigma: f64) -> Queue {
        let declared = self.declared.get(level.place).copied().flatten();
        Queue { workers: declared.unwrap_or(workers), sigma }
    }

    fn likelihood(&self, level: &Level, workers: u32, sigma: f64) -> f64 {
        let queue = self.queue(level, workers, sigma);
        let explained = queue.explain(level.per_second, level.mean_ms - self.way_ms);
        queue.likelihood(explained, self.way_ms, &level.buckets)
    }

    fn all(&self, workers: u32, sigma: f64) -> f64 {
        self.levels.iter().map(|level| self.likelihood(level, workers, sigma)).sum()
    }

    /// How much worse histograms are explained than chance would have it: at least 1.
    fn misfit(&self, workers: u32, sigma: f64) -> f64 {
        let (mut squares, mut cells) = (0.0, 0.0);
        for level in &self.levels {
            let queue = self.queue(level, workers, sigma);
            let explained = queue.explain(level.per_second, level.mean_ms - self.way_ms);
            let all: f64 = level.buckets.iter().map(|(_, count)| count).sum();
            for &(bucket, count) in &level.buckets {
                let expected = all * queue.part(explained, self.way_ms, bucket);
                if expected >= 5.0 {
                    squares += (count - expected) * (count - expected) / expected;
                    cells += 1.0;
                }
            }
        }
        if cells > 0.0 { f64::max(squares / cells, 1.0) } else { 1.0 }
    }
}

fn top(profile: &[f64]) -> usize {
    let best = profile.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(index, _)| index)
}

fn range(profile: &[f64], scale: f64) -> Workers {
    let best = top(profile);
    let alike = |index: &usize| profile[best] - profile[*index] <= ALIKE * scale;
    let least = (0..profile.len()).find(alike).unwrap_or(best);
    let most = (0..profile.len()).rev().find(alike).unwrap_or(best);
    Workers {
        likely: WORKERS[best],
        least: WORKERS[least],
        most: WORKERS[most],
        is_declared: false,
    }
}

/// Where a function of one peak is highest, and how high.
fn golden((mut low, mut high): (f64, f64), of: impl Fn(f64) -> f64) -> (f64, f64) {
    const PART: f64 = 0.618_033_988_749_895;
    let (mut left, mut right) = (high - PART * (high - low), low + PART * (high - low));
    let (mut at_left, mut at_right) = (of(left), of(right));
    for _ in 0..SECTIONS {
        if at_left > at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - PART * (high - low);
            at_left = of(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + PART * (high - low);
            at_right = of(right);
        }
    }
    if at_left > at_right { (left, at_left) } else { (right, at_right) }
}
