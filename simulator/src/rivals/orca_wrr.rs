//! gRPC's `weighted_round_robin`: weights from the load that backends report of themselves.
//!
//! Sources: gRFC A58 (grpc/proposal, 2023-05-09), for the formula, the periods and what happens
//! to endpoints without a weight; gRPC's C-core (`src/core/load_balancing/weighted_round_robin/`,
//! 0723509), for the static stride scheduler that replaced A58's EDF, its caps of 10 and 1/100 of
//! the mean, and for a new blackout whenever an endpoint becomes ready again. Reports come with
//! each answer (A51, per call). As there, weights that a control plane gives do not matter.

use crate::balancer::{Balancer, Ended, Load, Look, Member};

const SECOND: u64 = 1_000_000;
/// An endpoint must have reported for so long before its weight counts.
const BLACKOUT_PERIOD: u64 = 10 * SECOND;
/// A weight that was not confirmed for so long counts no more.
const WEIGHT_EXPIRATION_PERIOD: u64 = 180 * SECOND;
/// How often the schedule learns of new weights.
const WEIGHT_UPDATE_PERIOD: u64 = SECOND;
/// How much utilization a certain failure adds.
const ERROR_UTILIZATION_PENALTY: f64 = 1.0;

/// The scheduler's scale: the largest weight.
const WEIGHT_MAX: u16 = u16::MAX;
/// No weight counts for more than so many times the mean, which bounds the rounds of a pick.
const RATIO_MAX: f64 = 10.0;
/// No weight counts for less than this part of the mean.
const RATIO_MIN: f64 = 0.01;

/// One client's weighted round robin over all its localities.
#[derive(Clone, Debug)]
pub struct OrcaWrr {
    places: Vec<Place>,
    /// By backend; kept while a backend is away.
    reports: Vec<Report>,
    next_update: u64,
}

/// A locality's rotation.
#[derive(Clone, Debug)]
struct Place {
    backends: Vec<usize>,
    /// Scaled; empty means plain round robin.
    weights: Vec<u16>,
    sequence: u32,
}

/// What is known of a backend's own load.
#[derive(Clone, Copy, Debug, Default)]
struct Report {
    present: bool,
    weight: f64,
    non_empty_since: Option<u64>,
    last_updated: u64,
}

impl OrcaWrr {
    /// One for so many backends, none of them members yet.
    pub fn new(backends: usize) -> Self {
        let reports = vec![Report::default(); backends];
        Self { places: Vec::new(), reports, next_update: 0 }
    }

    /// Notes who is there; who comes (back) must report through a blackout first. To be in
    /// another place is no absence: in a panic all members stand in one.
    fn settle(&mut self, places: &[Vec<Member>]) {
        let before: Vec<_> =
            self.reports.iter_mut().map(|report| core::mem::take(&mut report.present)).collect();
        for &Member { backend, .. } in places.iter().flatten() {
            let report = &mut self.reports[backend];
            report.present = true;
            report.non_empty_since = report.non_empty_since.filter(|_| before[backend]);
        }
    }

    fn reschedule(&mut self, now: u64) {
        self.next_update = now + WEIGHT_UPDATE_PERIOD;
        for place in &mut self.places {
            let reports = &mut self.reports;
            let weights = place.backends.iter().map(|&backend| reports[backend].usable(now));
            place.weights = scaled(&weights.collect::<Vec<_>>());
        }
    }
}

impl Balancer for OrcaWrr {
    fn members(&mut self, places: &[Vec<Member>], look: &mut Look<'_>) {
        self.settle(places);
        let known = self.places.len();
        self.places.truncate(places.len());
        for (index, members) in places.iter().enumerate() {
            let backends = members.iter().map(|member| member.backend).collect();
            if index < known {
                self.places[index].backends = backends;
            } else {
                // Clients start anywhere in the rotation, lest all begin with the same endpoint.
                let sequence = (look.random.next() >> 32) as u32;
                self.places.push(Place { backends, weights: Vec::new(), sequence });
            }
        }
        self.reschedule(look.now);
    }

    fn pick(&mut self, place: usize, look: &mut Look<'_>) -> Option<usize> {
        if look.now >= self.next_update {
            self.reschedule(look.now);
        }
        self.places.get_mut(place)?.pick()
    }

    fn ended(&mut self, backend: usize, ended: &Ended, look: &mut Look<'_>) {
        if let Some(load) = &ended.load {
            self.reports[backend].absorb(load, look.now);
        }
    }
}

impl Report {
    fn absorb(&mut self, load: &Load, now: u64) {
        if load.qps > 0.0 && load.utilization > 0.0 {
            let penalty = load.eps / load.qps * ERROR_UTILIZATION_PENALTY;
            self.weight = load.qps / (load.utilization + penalty);
            self.non_empty_since.get_or_insert(now);
            self.last_updated = now;
        }
    }

    /// The weight, or zero while it is too young or too old.
    fn usable(&mut self, now: u64) -> f64 {
        if now - self.last_updated >= WEIGHT_EXPIRATION_PERIOD {
            self.non_empty_since = None;
        }
        let seasoned = self.non_empty_since.is_some_and(|since| now - since >= BLACKOUT_PERIOD);
        if seasoned { self.weight } else { 0.0 }
    }
}

impl Place {
    /// The static stride scheduler: the sequence walks the endpoints again and again, and each
    /// lets a part of the walks pass, evenly spread, so that `weight / WEIGHT_MAX` remain.
    fn pick(&mut self) -> Option<usize> {
        let count = u32::try_from(self.backends.len()).ok().filter(|&count| count > 0)?;
        loop {
            let (generation, index) = (self.sequence / count, (self.sequence % count) as usize);
            self.sequence = self.sequence.wrapping_add(1);
            if self.weights.get(index).is_none_or(|&weight| takes(weight, generation, index)) {
                return Some(self.backends[index]);
            }
        }
    }
}

/// Whether an endpoint takes its turn in a generation. The offset by index keeps neighbours of
/// equal weight from passing in the same generation.
fn takes(weight: u16, generation: u32, index: usize) -> bool {
    let (weight, scale) = (u64::from(weight), u64::from(WEIGHT_MAX));
    let phase = weight * u64::from(generation) + index as u64 * (scale / 2);
    phase % scale >= scale - weight
}

/// Weights as the scheduler wants them: the largest is `WEIGHT_MAX`, the unknown (zero) get the
/// mean, extremes are capped. None, for plain round robin, where nothing is known.
fn scaled(weights: &[f64]) -> Vec<u16> {
    let known = weights.iter().filter(|&&weight| weight > 0.0).count();
    if known == 0 || weights.len() < 2 {
        return Vec::new();
    }
    let mean = weights.iter().sum::<f64>() / known as f64;
    let largest = weights.iter().copied().fold(0.0, f64::max).min(RATIO_MAX * mean);
    let scale = f64::from(WEIGHT_MAX) / largest;
    let floor = (mean * scale).round() * RATIO_MIN;
    let weigh =
        |&weight: &f64| if weight > 0.0 { (weight * scale).max(floor) } else { mean * scale };
    weights.iter().map(|weight| integer(weigh(weight))).collect()
}

fn integer(weight: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let integer = weight.round().clamp(1.0, f64::from(WEIGHT_MAX)) as u16;
    integer
}

#[cfg(test)]
mod tests;
