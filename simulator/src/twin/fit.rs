//! From a recording to a world that behaves like it.

use core::time::Duration;

use weir_engine::latency::upper_ms;
use weir_engine::topology::BalancerPolicy;

use super::doubt::Doubt;
use super::grid::{Cell, Grid};
use super::levels::{Failing, Level, Load, Look, failures, levels, load};
use super::pieces::Lean;
use super::queue::Queue;
use super::seen::Seen;
use super::shape::{Shape, shape};
use crate::rivals::Rival;

/// A recording of less than this is none, in seconds.
const LENGTH_MIN: f64 = 30.0;

/// Fewer requests tell no 99th percentile: ten are above it.
const REQUESTS_MIN: f64 = 1_000.0;

/// Addresses in a simulated world have three digits.
const ENDPOINTS_MAX: usize = 999;

/// So much work is played at most: a world keeps every request.
pub const REQUESTS_MAX: f64 = 2_000_000.0;

/// The network's part of the quickest answers, and how much it is at most, in milliseconds.
const WAY_PART: f64 = 0.05;
const WAY_MS_MAX: f64 = 0.5;

/// Clients' patience where nobody ever lost it: Envoy's default timeout of a route.
const PATIENCE: Duration = Duration::from_secs(15);

/// Levels of an endpoint that differ by less than so many deviations and this part are one.
const DEVIATIONS: f64 = 2.5;
const PART: f64 = 0.02;

/// How well work is found, as a factor.
const STRAIN: f64 = 1.02;

/// Deviation of the logarithm of a mean of one request.
const NOISE: f64 = 1.3;

/// A recording does not tell some worlds from each other: what an endpoint does while nobody asks
/// it, how much it could bear if it never had to, and close to its end every per cent of work
/// counts. Where all of these worlds answer alike, so does the real one, probably.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guess {
    /// Unseen endpoints are as they were seen last, and have the likeliest number of workers.
    Likely,
    /// Unseen endpoints are as well as before or after, changes for the worse came late and those for
    /// the better early, endpoints have as many workers as can be and fail as seldom, and all work
    /// takes somewhat less long.
    Bright,
    /// The opposite of all this; and where no client ever gave up, none would have waited longer than
    /// any did.
    Dark,
}

impl Guess {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Likely, Self::Bright, Self::Dark];

    /// Until when it was so, if then it was otherwise: of what is the worse the higher it is.
    pub(super) fn lean(self, before: f64, after: f64) -> Lean {
        match self {
            Self::Likely => Lean::Best,
            Self::Bright if before > after => Lean::Early,
            Self::Dark if before <= after => Lean::Early,
            Self::Bright | Self::Dark => Lean::Late,
        }
    }

    /// How long clients wait where none ever gave up, though some waited so long.
    fn patience(self, longest: Duration) -> Duration {
        match self {
            Self::Likely | Self::Bright => PATIENCE,
            Self::Dark => longest.min(PATIENCE),
        }
    }

    /// The part of requests that fail where so many of so many did (E. B. Wilson, "Probable
    /// inference, the law of succession, and statistical inference", Journal of the American
    /// Statistical Association 22, 1927).
    pub(super) fn ratio(self, (failed, all): (f64, f64)) -> f64 {
        let ratio = (failed / all).clamp(0.0, 1.0);
        let side = match self {
            Self::Likely => return ratio,
            Self::Bright => -1.0,
            Self::Dark => 1.0,
        };
        let square = RATIO_DEVIATIONS * RATIO_DEVIATIONS;
        let root = (ratio * (1.0 - ratio) / all + square / (4.0 * all * all)).sqrt();
        let middle = ratio + square / (2.0 * all);
        ((middle + side * RATIO_DEVIATIONS * root) / (1.0 + square / all)).clamp(0.0, 1.0)
    }
}

/// So many deviations a ratio may be from the one that was counted.
const RATIO_DEVIATIONS: f64 = 2.0;

/// How far a level of the played recording is from the real one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Misfit {
    /// Between histograms: a sum of squares, and of how many parts.
    pub(super) squares: f64,
    pub(super) parts: f64,
    /// What it costs that work differs from the endpoint's level before.
    pub(super) change: f64,
}

/// What was found in a recording.
#[derive(Clone, Debug)]
pub struct Fit {
    pub(super) grid: Grid,
    pub(super) guess: Guess,
    pub(super) shape: Shape,
    pub(super) levels: Vec<Level>,
    /// Mean milliseconds of work, by level.
    pub(super) works: Vec<f64>,
    pub(super) failing: Vec<Vec<Failing>>,
    pub(super) load: Vec<Load>,
    /// There and back within a zone, and what it is longer to another, in milliseconds.
    pub(super) way_ms: f64,
    pub(super) further_ms: f64,
    pub(super) patience: Duration,
    /// By how much work takes longer than it was found to.
    pub(super) strain: f64,
    /// By level, once settled.
    pub(super) misfit: Vec<Misfit>,
    /// The part of the requests that no number of workers explains, once these were sought.
    pub(super) unexplained: f64,
}

impl Fit {
    /// Fits worlds to the ticks of a recording that `counts` says: others are not looked at.
    pub fn of(steps: &[Seen], counts: &dyn Fn(usize) -> bool, guess: Guess) -> Result<Self, Doubt> {
        let grid = Grid::of(steps).ok_or(Doubt::Silent)?;
        refuse(&grid)?;
        let cells = || {
            let slots = grid.slots.iter().enumerate().filter(|(slot, _)| counts(*slot));
            slots.filter_map(|(_, seen)| seen.as_ref()).flat_map(|seen| seen.cells.iter().flatten())
        };
        let further_ms = further(cells());
        let way_ms = way(cells());
        let look = Look { grid: &grid, counts, guess };
        let levels = levels(look, further_ms);
        let declared: Vec<_> = grid.places.iter().map(|place| place.concurrency).collect();
        let shape = shape(&levels, way_ms, &declared).ok_or(Doubt::Untimed)?;
        let failing = (0..grid.places.len()).map(|place| failures(look, place));
        let mut fit = Self {
            failing: failing.collect(),
            load: load(&grid, counts),
            patience: patience(cells()).unwrap_or_else(|| guess.patience(longest(cells()))),
            strain: 1.0,
            misfit: Vec::new(),
            unexplained: 0.0,
            works: Vec::new(),
            guess,
            shape,
            levels,
            way_ms,
            further_ms,
            grid,
        };
        fit.explain();
        Ok(fit)
    }

    /// Finds the work of all levels anew, as other workers are reckoned with.
    pub(super) fn explain(&mut self) {
        self.works = (0..self.levels.len()).map(|level| self.work(level)).collect();
        self.even_out();
    }

    /// How many requests on how many workers an endpoint is taken to have.
    pub(super) fn queue(&self, place: usize) -> Queue {
        let workers = self.shape.workers.get(place).map_or(1, |workers| match self.guess {
            Guess::Likely => workers.likely,
            Guess::Bright => workers.most,
            Guess::Dark => workers.least,
        });
        Queue { workers, sigma: self.shape.sigma }
    }

    fn work(&self, level: usize) -> f64 {
        let Level { place, per_second, mean_ms, .. } = self.levels[level];
        let explained = self.queue(place).explain(per_second, mean_ms - self.way_ms);
        explained.work_ms.max(1e-3)
    }

    /// Levels of an endpoint that follow each other and hardly differ work alike.
    pub(super) fn even_out(&mut self) {
        let mut from = 0;
        let mut sum = (0.0, 0.0);
        for index in 0..=self.levels.len() {
            let next = self.levels.get(index).map(|level| (level, libm::log(self.works[index])));
            let joins = next.is_some_and(|(level, work)| {
                let mean = sum.0 / sum.1;
                let noise = NOISE * NOISE * (1.0 / sum.1 + 1.0 / weight(level));
                index > from
                    && self.levels[from].place == level.place
                    && (work - mean).abs() < DEVIATIONS * noise.sqrt() + PART
            });
            if !joins {
                self.works[from..index].fill(libm::exp(sum.0 / sum.1));
                (from, sum) = (index, (0.0, 0.0));
            }
            if let Some((level, work)) = next {
                sum = (sum.0 + work * weight(level), sum.1 + weight(level));
            }
        }
    }

    /// A settled world as its guess has it: work is found to a few per cent, and no better.
    #[must_use]
    pub fn strained(mut self) -> Self {
        self.strain = match self.guess {
            Guess::Likely => 1.0,
            Guess::Bright => 1.0 / STRAIN,
            Guess::Dark => STRAIN,
        };
        self
    }

    /// The proxies that clients went through.
    pub fn rival(&self) -> Rival {
        match self.grid.policy {
            BalancerPolicy::LeastRequest => Rival::Weir,
            BalancerPolicy::RoundRobin => Rival::RoundRobin,
            BalancerPolicy::Random => Rival::Random,
        }
    }

    /// What was found, in numbers.
    pub fn found(&self) -> Found {
        let place = |(index, spot): (usize, &super::grid::Spot)| {
            let queue = self.shape.workers[index];
            let own = self.levels.iter().zip(&self.works).filter(|(level, _)| level.place == index);
            Endpoint {
                address: spot.address.to_string(),
                workers: (queue.least, queue.likely, queue.most),
                declared: spot.concurrency.is_some(),
                works_ms: own.map(|(level, work)| (level.during.0, *work)).collect(),
                errors: self.failing[index].iter().map(|f| (f.during.0, f.ratio)).collect(),
            }
        };
        Found {
            endpoints: self.grid.places.iter().enumerate().map(place).collect(),
            load: self.load.iter().map(|load| (load.during.0, load.per_second)).collect(),
            sigma: self.shape.sigma,
            clients: self.grid.clients,
            ticks_late: self.grid.ticks_late,
            cross_zone_ms: self.further_ms,
            patience: self.patience,
        }
    }
}

/// What a fit found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Endpoints in ascending order of address.
    pub endpoints: Vec<Endpoint>,
    /// Requests per second from a second on.
    pub load: Vec<(f64, f64)>,
    /// Sigma of the logarithm of a request's work.
    pub sigma: f64,
    /// How many clients there are.
    pub clients: u32,
    /// How many ticks late reports are.
    pub ticks_late: usize,
    /// What a request to another zone takes longer, in milliseconds.
    pub cross_zone_ms: f64,
    /// Clients' patience.
    pub patience: Duration,
}

/// What a fit found of an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Its address.
    pub address: String,
    /// Least, likeliest and largest number of workers.
    pub workers: (u32, u32, u32),
    /// Whether that is declared.
    pub declared: bool,
    /// Mean milliseconds of work from a second on.
    pub works_ms: Vec<(f64, f64)>,
    /// The part of the requests that fail from a second on.
    pub errors: Vec<(f64, f64)>,
}

/// The variance by chance of how much more one level's work is than another's, as a logarithm.
pub(super) fn noise(one: &Level, other: &Level) -> f64 {
    NOISE * NOISE * (1.0 / weight(one) + 1.0 / weight(other))
}

fn weight(level: &Level) -> f64 {
    level.finished.max(1.0)
}

fn refuse(grid: &Grid) -> Result<(), Doubt> {
    let requests: f64 = grid
        .slots
        .iter()
        .flatten()
        .flat_map(|slot| slot.cells.iter().flatten())
        .map(|cell| cell.requests)
        .sum();
    if grid.places.is_empty() || requests <= 0.0 {
        return Err(Doubt::Silent);
    }
    if grid.length() < LENGTH_MIN {
        return Err(Doubt::Short { seconds: grid.length(), needed: LENGTH_MIN });
    }
    if requests < REQUESTS_MIN {
        return Err(Doubt::Few { requests, needed: REQUESTS_MIN });
    }
    if requests > REQUESTS_MAX {
        return Err(Doubt::Large { requests, most: REQUESTS_MAX });
    }
    if grid.places.len() > ENDPOINTS_MAX {
        return Err(Doubt::Wide { endpoints: grid.places.len(), most: ENDPOINTS_MAX });
    }
    Ok(())
}

/// What requests to another zone take longer: the same queue keeps near and far ones waiting.
fn further<'a>(cells: impl Iterator<Item = &'a Cell>) -> f64 {
    let (sum, weights) = cells.fold((0.0, 0.0), |(sum, weights), cell| {
        let (longer, weight) = cell.further_ms;
        (sum + longer * weight, weights + weight)
    });
    if weights > 0.0 { f64::max(sum / weights, 0.0) } else { 0.0 }
}

/// The network's part of latency cannot be told from work; it is taken to be small.
fn way<'a>(cells: impl Iterator<Item = &'a Cell>) -> f64 {
    let (sum, count) = cells
        .map(|cell| &cell.latency)
        .fold((0.0, 0.0), |(sum, count), one| (sum + one.sum_ms, count + one.count));
    let mean = if count > 0.0 { sum / count } else { 0.0 };
    (WAY_PART * mean).min(WAY_MS_MAX)
}

/// The longest that an answer took.
fn longest<'a>(cells: impl Iterator<Item = &'a Cell>) -> Duration {
    let last = |cell: &Cell| cell.latency.buckets.last().map_or(0.0, |last| upper_ms(last.0));
    Duration::try_from_secs_f64(cells.map(last).fold(0.0, f64::max) / 1e3).unwrap_or(PATIENCE)
}

/// How long clients wait: what those that lost patience took.
fn patience<'a>(cells: impl Iterator<Item = &'a Cell>) -> Option<Duration> {
    let (mut ms, mut all) = (0.0, 0.0);
    for cell in cells.filter(|cell| cell.timeouts > 0.0) {
        let Some(&(last, count)) = cell.latency.buckets.last() else { continue };
        let rest = cell.latency.buckets.iter().rev().skip(1);
        let others: f64 = rest.map(|&(bucket, count)| count * 0.92 * upper_ms(bucket)).sum();
        let mean = (cell.latency.sum_ms - others) / count;
        let within = upper_ms(last) / 1.19..=upper_ms(last) * 1.01;
        if within.contains(&mean) {
            // The more of them time out, the less others blur them.
            let weight = cell.timeouts * cell.timeouts / cell.requests.max(1.0);
            (ms, all) = (ms + mean * weight, all + weight);
        }
    }
    Duration::try_from_secs_f64(ms / all / 1e3).ok().filter(|patience| !patience.is_zero())
}
