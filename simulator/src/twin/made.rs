//! A world made of what was found in a recording.

use core::time::Duration;

use super::fit::{Fit, Guess};
use crate::scenario::{Backend, Curve, Scenario, Telemetry};

/// Two sightings further apart than so many ticks leave what lies between unseen.
const UNSEEN: f64 = 2.5;

/// Decision-makers start anew: for so many seconds, or this part of all, nothing counts.
const WARM: f64 = 20.0;
const WARM_PART: f64 = 0.2;

/// Until which second of a recording nothing counts.
pub(super) fn warm_until(length: f64) -> f64 {
    WARM.min(length * WARM_PART)
}

/// What held for a time.
type Span = ((f64, f64), f64);

impl Fit {
    /// The world under a seed: second 0 is the recording's first step.
    pub fn scenario(&self, seed: u64) -> Scenario {
        let grid = &self.grid;
        let zones = self.zones();
        let of = |name: &str| zones.iter().position(|(zone, _)| zone == name).unwrap_or(0);
        let usual = self.usual_ms();
        let backend = |(index, spot): (usize, &super::grid::Spot)| Backend {
            workers: self.queue(index).workers,
            slowness: self.slowness(index, usual),
            errors: self.errors(index),
            present: spot.present.clone(),
            zone: of(spot.zone.as_str()),
            cold: None,
        };
        let backends: Vec<Backend> = grid.places.iter().enumerate().map(backend).collect();
        let load: Vec<Span> = self.load.iter().map(|load| (load.during, load.per_second)).collect();
        let asking = zones.iter().filter(|(_, demand)| *demand > 0.0).count().max(1);
        // Proxies take turns among all zones, and those of zones without clients get nothing.
        let proxies = (grid.clients.max(1) as usize * zones.len()).div_ceil(asking);
        let length = grid.length();
        Scenario {
            seed,
            proxies: proxies.max(zones.len()),
            load: curve(&load, self.middle(), |before, _| before, |last| last),
            service: (Duration::from_secs_f64(usual / 1e3), self.shape.sigma),
            timeout: self.patience,
            one_way: Duration::from_secs_f64(self.way_ms / 2e3),
            cross_zone: Duration::from_secs_f64(self.further_ms / 1e3),
            telemetry: self.telemetry(),
            length,
            counted: (warm_until(length), length),
            zones,
            backends,
            ..Scenario::fleet(seed)
        }
    }

    fn middle(&self) -> f64 {
        UNSEEN * self.grid.tick.as_secs_f64()
    }

    fn zones(&self) -> Vec<(String, f64)> {
        let grid = &self.grid;
        let mut zones: Vec<(String, f64)> =
            grid.zones.iter().map(|(zone, requests)| (zone.to_string(), *requests)).collect();
        if zones.iter().all(|(_, demand)| *demand <= 0.0) {
            // One zone of clients, whose name no recording holds: that of all endpoints, if they
            // have one.
            let first = grid.places.first().map(|spot| spot.zone.to_string()).unwrap_or_default();
            let same = grid.places.iter().all(|spot| spot.zone.as_str() == first);
            zones = vec![(if same { first } else { String::new() }, 1.0)];
        }
        for spot in &grid.places {
            if !zones.iter().any(|(zone, _)| zone == spot.zone.as_str()) {
                zones.push((spot.zone.to_string(), 0.0));
            }
        }
        zones
    }

    /// The work of the middle level, in milliseconds.
    fn usual_ms(&self) -> f64 {
        let mut works: Vec<(f64, f64)> = self
            .works
            .iter()
            .zip(&self.levels)
            .map(|(work, level)| (*work, level.finished))
            .collect();
        middle(&mut works).unwrap_or(1.0).max(1e-3)
    }

    fn slowness(&self, place: usize, usual: f64) -> Curve {
        let own = self.works.iter().zip(&self.levels).filter(|(_, level)| level.place == place);
        let own: Vec<Span> = own
            .map(|(work, level)| (level.during, (self.strain * work / usual).clamp(1e-3, 1e5)))
            .collect();
        self.unseen(&own, 1.0)
    }

    fn errors(&self, place: usize) -> Curve {
        let own: Vec<Span> =
            self.failing[place].iter().map(|piece| (piece.during, piece.ratio)).collect();
        self.unseen(&own, 0.0)
    }

    /// What is the worse the higher it is: what it was while nobody saw it is a guess.
    fn unseen(&self, own: &[Span], unknown: f64) -> Curve {
        let mut weighed: Vec<(f64, f64)> =
            own.iter().map(|&((from, until), value)| (value, until - from)).collect();
        let usual = middle(&mut weighed).unwrap_or(unknown);
        let end = own.last().map_or(0.0, |((_, until), _)| *until);
        if own.is_empty() {
            return Curve::level(unknown);
        }
        let between = |before: f64, after: f64| match self.guess {
            Guess::Likely => before,
            Guess::Bright => before.min(after),
            Guess::Dark => before.max(after),
        };
        let unseen_end = self.grid.length() - end > self.middle() + self.late();
        let after = |value: f64| match self.guess {
            Guess::Bright if unseen_end => value.min(usual),
            Guess::Likely | Guess::Dark | Guess::Bright => value,
        };
        curve(own, self.middle(), between, after)
    }

    fn late(&self) -> f64 {
        self.grid.ticks_late as f64 * self.grid.tick.as_secs_f64()
    }

    fn telemetry(&self) -> Telemetry {
        let grid = &self.grid;
        let heard: Vec<f64> = grid.slots.iter().flatten().map(|slot| slot.clients).collect();
        let mean = heard.iter().sum::<f64>() / heard.len().max(1) as f64;
        let lost = 1.0 - mean / f64::from(grid.clients.max(1));
        let declared = grid.places.iter().filter(|spot| spot.concurrency.is_some()).count();
        Telemetry {
            tick: grid.tick,
            ticks_late: grid.ticks_late,
            sampled: self.sampled(),
            declares_workers: 2 * declared > grid.places.len(),
            lost: if lost > LOST_MIN { lost } else { 0.0 },
            silences: self.silences(),
            lies: None,
        }
    }

    /// The part of the requests that were timed.
    pub(super) fn sampled(&self) -> f64 {
        let cells =
            || self.grid.slots.iter().flatten().flat_map(|slot| slot.cells.iter().flatten());
        let requests: f64 = cells().map(|cell| cell.requests).sum();
        let timed: f64 = cells().map(|cell| cell.latency.count).sum();
        if timed < 0.98 * requests { (timed / requests.max(1.0)).clamp(0.001, 1.0) } else { 1.0 }
    }

    /// Ticks that no report was heard at: no report was made in time for them.
    fn silences(&self) -> Vec<(f64, f64)> {
        let tick = self.grid.tick.as_secs_f64();
        let made = |slot: usize| slot as f64 * tick - self.late();
        let mut silences: Vec<(f64, f64)> = Vec::new();
        for (slot, _) in self.grid.slots.iter().enumerate().filter(|(_, seen)| seen.is_none()) {
            let (from, until) = (made(slot) - tick / 2.0, made(slot) + tick / 2.0);
            match silences.last_mut() {
                Some(last) if last.1 >= from - 1e-6 => last.1 = until,
                _ => silences.push((from, until)),
            }
        }
        silences.retain(|(_, until)| *until > 0.0);
        silences
    }
}

/// Clients that are idle now and then are not lost.
const LOST_MIN: f64 = 0.03;

/// A curve through what held for times: it steps in the middle of short gaps, and long ones have
/// a value of their own.
fn curve(
    spans: &[Span],
    short: f64,
    between: impl Fn(f64, f64) -> f64,
    after: impl Fn(f64) -> f64,
) -> Curve {
    let mut knots: Vec<(f64, f64)> = Vec::new();
    for pair in spans.windows(2) {
        let [((_, until), before), ((from, _), next)] = *pair else { continue };
        let from = from.max(until);
        if from - until <= short {
            let at = f64::midpoint(until, from);
            knots.extend([(at, before), (at, next)]);
        } else {
            let value = between(before, next);
            knots.extend([(until, before), (until, value), (from, value), (from, next)]);
        }
    }
    if let Some(&((from, until), value)) = spans.last() {
        if knots.is_empty() {
            knots.push((from.min(until), value));
        }
        knots.extend([(until, value), (until, after(value))]);
    }
    knots.retain(|(at, value)| at.is_finite() && value.is_finite());
    knots.sort_by(|a, b| a.0.total_cmp(&b.0));
    if knots.is_empty() { Curve::level(0.0) } else { Curve::through(&knots) }
}

/// The value in the middle of weighed ones.
fn middle(weighed: &mut [(f64, f64)]) -> Option<f64> {
    weighed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = weighed.iter().map(|one| one.1).sum::<f64>() / 2.0;
    let mut below = 0.0;
    let found = weighed.iter().find(|(_, weight)| {
        below += weight;
        below >= half
    });
    found.map(|one| one.0)
}
