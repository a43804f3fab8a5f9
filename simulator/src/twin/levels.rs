//! Stretches of time in which an endpoint's work takes equally long, and those in which it fails
//! alike: what a twin's curves are made of.

use core::ops::Range;

use weir_engine::latency::Latency;

use super::fit::Guess;
use super::grid::{Cell, Grid};
use super::pieces::{leaning, level_cost, pieces, rate_cost, ratio_cost};

/// Deviation of the logarithm of a mean of one request: of work with some spread, and waiting.
const NOISE: f64 = 1.3;

/// Means of one tick differ by so much even of very many requests: they share a queue.
const SHARED: f64 = 0.05;

/// An injected or immediate error is answered within about this time.
pub(super) const ERROR_MS: f64 = 1.5;

/// An endpoint over a time in which it seems to work at one pace.
#[derive(Clone, Debug)]
pub(super) struct Level {
    /// Which endpoint.
    pub(super) place: usize,
    /// From which second until which it was seen so.
    pub(super) during: (f64, f64),
    /// The ticks.
    pub(super) slots: Range<usize>,
    /// Requests that ended well, and per second.
    pub(super) finished: f64,
    pub(super) per_second: f64,
    /// Milliseconds that all but errors took, per request that ended well.
    pub(super) mean_ms: f64,
    /// The part of all that timed out.
    pub(super) timeouts: f64,
    /// Latencies of all but errors.
    pub(super) buckets: Vec<(u8, f64)>,
}

/// A part of requests that fail, over a time.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    pub(super) during: (f64, f64),
    pub(super) ratio: f64,
}

/// A rate over a time.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) during: (f64, f64),
    pub(super) per_second: f64,
}

/// What a cell says of an endpoint's pace.
struct Timed<'a> {
    slot: usize,
    cell: &'a Cell,
    succeeded: f64,
    /// Seconds that the whole fleet of clients reported on.
    seconds: f64,
    mean_ms: f64,
}

impl<'a> Timed<'a> {
    fn of(grid: &Grid, slot: usize, cell: &'a Cell, further_ms: f64) -> Option<Self> {
        let (succeeded, timed) = (cell.requests - cell.errors, cell.latency.count);
        // Errors at once are in the sum, and ended nothing.
        let sum = cell.latency.sum_ms - failed(cell) * ERROR_MS * timed / cell.requests.max(1.0);
        let ended = timed * succeeded / cell.requests.max(1.0);
        let mean_ms = sum / ended - cell.far * further_ms;
        let seconds = cell.exposure / f64::from(grid.clients.max(1));
        let is_known = ended >= 1.0 && mean_ms > 0.0 && mean_ms.is_finite() && seconds > 0.0;
        is_known.then_some(Self { slot, cell, succeeded, seconds, mean_ms })
    }
}

/// Errors other than timeouts.
fn failed(cell: &Cell) -> f64 {
    (cell.errors - cell.timeouts).max(0.0)
}

/// What is looked at, and which world is made of it.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) grid: &'a Grid,
    pub(super) counts: &'a dyn Fn(usize) -> bool,
    pub(super) guess: Guess,
}

/// The paces of all endpoints, in the order of these and of time.
pub(super) fn levels(look: Look<'_>, further_ms: f64) -> Vec<Level> {
    (0..look.grid.places.len()).flat_map(|place| paces(look, place, further_ms)).collect()
}

/// The cells of an endpoint that are looked at.
fn cells<'a>(
    grid: &'a Grid,
    place: usize,
    counts: &'a dyn Fn(usize) -> bool,
) -> impl Iterator<Item = (usize, &'a Cell)> {
    let slots = grid.slots.iter().enumerate().filter(|(slot, _)| counts(*slot));
    slots.filter_map(move |(slot, seen)| Some((slot, seen.as_ref()?.cells.get(place)?.as_ref()?)))
}

fn paces(look: Look<'_>, place: usize, further_ms: f64) -> Vec<Level> {
    let Look { grid, counts, guess } = look;
    let timed: Vec<Timed<'_>> = cells(grid, place, counts)
        .filter_map(|(slot, cell)| Timed::of(grid, slot, cell, further_ms))
        .collect();
    let measured: Vec<(f64, f64)> = timed
        .iter()
        .map(|one| {
            let count = one.succeeded.min(one.cell.latency.count).max(1.0);
            (libm::log(one.mean_ms), NOISE * NOISE / count + SHARED * SHARED)
        })
        .collect();
    let cost = level_cost(&measured);
    let found = leaning(pieces(timed.len(), &cost), &cost, &|before, after| {
        let mean = |piece: &Range<usize>| level(grid, place, &timed[piece.clone()]).mean_ms;
        guess.lean(mean(before), mean(after))
    });
    found.into_iter().map(|piece| level(grid, place, &timed[piece])).collect()
}

fn level(grid: &Grid, place: usize, timed: &[Timed<'_>]) -> Level {
    let sum = |of: fn(&Timed<'_>) -> f64| timed.iter().map(of).sum::<f64>();
    let finished = sum(|one| one.succeeded);
    let requests = sum(|one| one.cell.requests);
    let mut latency = Latency::default();
    for one in timed {
        latency.add(&one.cell.latency);
    }
    let errors = sum(|one| failed(one.cell)) * latency.count / requests.max(1.0);
    let first = timed.first().map_or(0, |one| one.slot);
    let last = timed.last().map_or(0, |one| one.slot);
    Level {
        place,
        during: (grid.window(first).0, grid.window(last).1),
        slots: first..last + 1,
        finished,
        per_second: finished / sum(|one| one.seconds).max(1e-9),
        mean_ms: sum(|one| one.mean_ms * one.succeeded) / finished.max(1e-9),
        timeouts: sum(|one| one.cell.timeouts) / requests.max(1.0),
        buckets: without(latency.buckets, errors),
    }
}

/// Counts without the quickest so many: errors come at once.
fn without(mut buckets: Vec<(u8, f64)>, mut errors: f64) -> Vec<(u8, f64)> {
    for (_, count) in &mut buckets {
        let less = count.min(errors);
        *count -= less;
        errors -= less;
    }
    buckets.retain(|(_, count)| *count > 0.0);
    buckets
}

/// How an endpoint fails over time.
pub(super) fn failures(look: Look<'_>, place: usize) -> Vec<Failing> {
    let Look { grid, counts, guess } = look;
    let seen: Vec<(usize, (f64, f64))> = cells(grid, place, counts)
        .filter(|(_, cell)| cell.requests > 0.0)
        .map(|(slot, cell)| (slot, (failed(cell), cell.requests)))
        .collect();
    let numbers: Vec<(f64, f64)> = seen.iter().map(|(_, count)| *count).collect();
    let sum = |piece: &Range<usize>| {
        numbers[piece.clone()].iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1))
    };
    let ratio = |piece: &Range<usize>| sum(piece).0 / sum(piece).1;
    let cost = ratio_cost(&numbers);
    let found = leaning(pieces(numbers.len(), &cost), &cost, &|before, after| {
        guess.lean(ratio(before), ratio(after))
    });
    let made = |piece: Range<usize>| {
        let (first, last) = (seen[piece.start].0, seen[piece.end - 1].0);
        let during = (grid.window(first).0, grid.window(last).1);
        Failing { during, ratio: guess.ratio(sum(&piece)) }
    };
    found.into_iter().map(made).collect()
}

/// Requests per second of all clients, those that were turned away as well.
pub(super) fn load(grid: &Grid, counts: &dyn Fn(usize) -> bool) -> Vec<Load> {
    let seen = |(slot, seen): (usize, &Option<_>)| {
        let seen: &super::grid::Slot = seen.as_ref().filter(|_| counts(slot))?;
        let cells = || seen.cells.iter().flatten();
        let requests: f64 = cells().map(|cell| cell.requests).sum();
        // A row that does not count an endpoint counts less time of it: the longest is the tick's.
        let exposure = cells().map(|cell| cell.exposure).fold(0.0, f64::max);
        let seconds = exposure / f64::from(grid.clients.max(1));
        (seconds > 0.0).then_some((slot, (requests / (1.0 - seen.shed).max(0.1), seconds)))
    };
    let seen: Vec<(usize, (f64, f64))> = grid.slots.iter().enumerate().filter_map(seen).collect();
    let numbers: Vec<(f64, f64)> = seen.iter().map(|(_, count)| *count).collect();
    let found = pieces(numbers.len(), rate_cost(&numbers));
    let made = |piece: Range<usize>| {
        let (requests, seconds) =
            numbers[piece.clone()].iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        let (first, last) = (seen[piece.start].0, seen[piece.end - 1].0);
        let during = (grid.window(first).0, grid.window(last).1);
        Load { during, per_second: requests / seconds }
    };
    found.into_iter().map(made).collect()
}

/// An endpoint in some ticks.
pub(super) fn level_of(
    grid: &Grid,
    place: usize,
    slots: Range<usize>,
    further_ms: f64,
) -> Option<Level> {
    let all = |_: usize| true;
    let timed: Vec<Timed<'_>> = cells(grid, place, &all)
        .filter(|(slot, _)| slots.contains(slot))
        .filter_map(|(slot, cell)| Timed::of(grid, slot, cell, further_ms))
        .collect();
    (!timed.is_empty()).then(|| level(grid, place, &timed))
}
