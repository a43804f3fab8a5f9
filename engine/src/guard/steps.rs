//! Moving weights: how far at once, and not back and forth.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Granted, Memory, adaptive, shares, stance};
use crate::assessment::Assessment;
use crate::decision::{Bound, EndpointState};
use crate::history::History;
use crate::model::View;
use crate::observation::Row;
use crate::plan::Plan;
use crate::units::Moment;

/// The largest part of a service's traffic that re-weighting moves in a minute.
const MOVED_MOST: f64 = 0.5;

/// The largest part of the mesh's traffic that re-weighting moves in a minute, unless one service
/// alone may move more.
const MESH_MOVED_MOST: f64 = 0.1;

/// The shorter window, which the policy's `maxStepPercent` bounds.
const STEP: Duration = Duration::from_secs(15);

/// The longer window.
const MINUTE: Duration = Duration::from_secs(60);

/// Changes of ln(weight) up to this are not worth a push.
const DEAD_BAND: f64 = 0.08;

/// A second change of direction within this time has to be a large one.
const REVERSAL: Duration = Duration::from_secs(600);

/// What counts as large: about 1.35x.
const REVERSAL_LARGE: f64 = 0.3;

/// An endpoint of unknown capacity may gain up to this multiple of what it has sustained.
const SUSTAINED_MOST: f64 = 1.3;

/// No weight is lower, whatever the policy's range: an endpoint without traffic can prove nothing.
const WEIGHT_LEAST: f64 = 0.002;

/// Steps of the search for the part of a way: to a thousandth.
const HALVINGS: u32 = 10;

/// At most so many moves are remembered: a minute of four a second. Of more the oldest two are
/// taken for one, at the later's time, so that none is forgotten early.
const MOVES_MAX: usize = 256;

/// Traffic moved within the last minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moves(VecDeque<(Moment, f64)>);

impl Moves {
    fn within(&self, at: Moment, window: Duration) -> f64 {
        self.0.iter().filter(|(then, _)| at.since(*then) < window).map(|(_, moved)| moved).sum()
    }

    pub(super) fn add(&mut self, at: Moment, moved: f64) {
        while self.0.front().is_some_and(|(then, _)| at.since(*then) >= MINUTE) {
            self.0.pop_front();
        }
        if self.0.len() >= MOVES_MAX
            && let Some((_, oldest)) = self.0.pop_front()
            && let Some((_, next)) = self.0.front_mut()
        {
            *next += oldest;
        }
        if moved > 0.0 {
            self.0.push_back((at, moved));
        }
    }
}

/// What the guard remembers of the whole mesh.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mesh {
    /// Requests per second of all services, as of the last step.
    pub load: f64,
    pub(super) moves: Moves,
    /// Traffic moved between zones, counted apart: what keeps clients near must not take from what
    /// saves them.
    pub(super) zone_moves: Moves,
}

/// Which way an endpoint's weight last went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Trend {
    up: bool,
    turned: Option<Moment>,
}

/// Moves the weights of serving endpoints towards the plan, within the limits.
pub(super) fn reweight(
    endpoints: &mut [Granted],
    plan: &Plan,
    assessment: &Assessment,
    view: &View<'_>,
    (memory, mesh): (&mut Memory, &mut Mesh),
) {
    memory.trends.resize_with(endpoints.len(), Trend::default);
    let before: Vec<f64> = endpoints.iter().map(|granted| granted.weight).collect();
    for (index, granted) in endpoints.iter_mut().enumerate() {
        if granted.is_in() && !matches!(granted.state, EndpointState::Ejected { .. }) {
            let wished = plan.endpoints.get(index);
            wish(granted, wished.map(|w| w.weight), view);
            // What should be out and may not be is at least not given more.
            if wished.is_some_and(|w| w.eject) {
                granted.weight = granted.weight.min(before[index]);
            }
        }
    }
    // Equal shares need no leave: they are where no difference is proven.
    if plan.steering {
        within_capacity(endpoints, &before, assessment, view);
    }
    without_reversal(endpoints, &before, view, memory);
    if largest_change(endpoints, &before) <= DEAD_BAND || too_many(endpoints, view, memory) {
        keep(endpoints, &before);
        return;
    }
    let load = measured(view.history).unwrap_or(0.0);
    let moved = within_step(endpoints, (&before, load), view, (memory, mesh));
    note(endpoints, &before, view.at, memory);
    memory.moves.add(view.at, moved);
    // What is only thought of takes nothing from those that act.
    if view.acting {
        mesh.moves.add(view.at, moved * load);
    }
}

/// Requests per second over the newest window that counts any: what the mesh's step is measured
/// by, rather than what a model takes the load for.
pub fn measured(history: &History) -> Option<f64> {
    let counts = |row: &&Row| row.clients > 0;
    let mut windows = history.newest_first().map(|window| window.rows.iter());
    let counted = windows.find(|rows| rows.clone().any(|row| counts(&row)))?;
    Some(counted.filter(counts).filter_map(Row::rate).sum())
}

/// Takes over a wished weight, if it is a number, within the policy's range.
fn wish(granted: &mut Granted, wished: Option<f64>, view: &View<'_>) {
    let wished = if adaptive(view) { wished } else { Some(1.0) };
    let Some(wished) = wished.filter(|weight| weight.is_finite() && *weight >= 0.0) else { return };
    let balancing = &view.goal.balancing;
    granted.weight = wished.min(balancing.weight_max).max(balancing.weight_min).max(WEIGHT_LEAST);
    if !same(granted.weight, wished) {
        granted.bound.get_or_insert(Bound::WeightRange);
    }
}

/// An endpoint that would work above the policy's utilization gains nothing, except when all would.
fn within_capacity(
    endpoints: &mut [Granted],
    before: &[f64],
    assessment: &Assessment,
    view: &View<'_>,
) {
    let load = assessment.load.value();
    let predicted = shares(endpoints);
    let most = |index: usize| {
        let known = assessment.endpoints.get(index)?.expectation.as_ref()?;
        let by_capacity = view.goal.guardrails.max_utilization.value() * known.capacity.value();
        Some(if by_capacity > 0.0 { by_capacity } else { SUSTAINED_MOST * known.sustained.value() })
    };
    let above: Vec<bool> = (0..endpoints.len())
        .map(|index| most(index).is_some_and(|most| load * predicted[index] > most))
        .collect();
    let all = endpoints.iter().zip(&above).all(|(granted, above)| !granted.is_in() || *above);
    if all {
        return;
    }
    for (index, granted) in endpoints.iter_mut().enumerate() {
        if above[index] && granted.is_in() && granted.weight > before[index] {
            granted.weight = before[index];
            granted.bound = Some(Bound::Capacity);
        }
    }
}

fn without_reversal(endpoints: &mut [Granted], before: &[f64], view: &View<'_>, memory: &Memory) {
    for (index, granted) in endpoints.iter_mut().enumerate() {
        let trend = memory.trends[index];
        let change = log_change(before[index], granted.weight);
        let turns = change != 0.0 && trend.turned.is_some() && (change > 0.0) != trend.up;
        let recent = trend.turned.is_some_and(|turned| view.at.since(turned) < REVERSAL);
        if granted.state == EndpointState::Serving
            && turns
            && recent
            && change.abs() < REVERSAL_LARGE
            && !same(granted.weight, 1.0)
        {
            granted.weight = before[index];
            granted.bound = Some(Bound::Reversal);
        }
    }
}

fn log_change(before: f64, after: f64) -> f64 {
    if before > 0.0 && after > 0.0 { libm::log(after / before) } else { 0.0 }
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// The largest change of ln(weight) of an endpoint that serves. Ramps move at their own pace.
fn largest_change(endpoints: &[Granted], before: &[f64]) -> f64 {
    endpoints
        .iter()
        .zip(before)
        .filter(|(granted, _)| granted.is_in())
        .map(|(granted, &old)| {
            let to_rest = same(granted.weight, 1.0) && !same(old, 1.0);
            let change = log_change(old, granted.weight).abs();
            if to_rest { change.max(2.0 * DEAD_BAND) } else { change }
        })
        .fold(0.0, f64::max)
}

fn keep(endpoints: &mut [Granted], before: &[f64]) {
    for (granted, &old) in endpoints.iter_mut().zip(before) {
        if granted.state == EndpointState::Serving {
            granted.weight = old;
        }
    }
}

fn too_many(endpoints: &mut [Granted], view: &View<'_>, memory: &mut Memory) -> bool {
    let Some(most) = view.goal.guardrails.max_changes_per_minute else { return false };
    while memory.changes.front().is_some_and(|then| view.at.since(*then) >= MINUTE) {
        memory.changes.pop_front();
    }
    let full = memory.changes.len() >= most as usize;
    if full {
        for granted in endpoints.iter_mut().filter(|granted| granted.is_in()) {
            granted.bound.get_or_insert(Bound::Changes);
        }
    } else {
        memory.changes.push_back(view.at);
    }
    full
}

/// The part of the service's requests that may still be moved now, and by which limit: given what
/// the service and the mesh have moved.
pub(super) fn allowed(
    load: f64,
    view: &View<'_>,
    (moves, all): (&Moves, &Moves),
    mesh: &Mesh,
) -> (f64, Bound) {
    let own = (MOVED_MOST - moves.within(view.at, MINUTE))
        .min(view.goal.balancing.max_step.value() - moves.within(view.at, STEP));
    let mesh_most = (MESH_MOVED_MOST * mesh.load).max(MOVED_MOST * load);
    let mesh_left = mesh_most - all.within(view.at, MINUTE);
    let by_mesh = if load > 0.0 { mesh_left / load } else { f64::INFINITY };
    let bound = if by_mesh < own { Bound::MeshStep } else { Bound::Step };
    (own.min(by_mesh).max(0.0), bound)
}

/// Scales the change of serving endpoints to what may still be moved; returns what is moved.
fn within_step(
    endpoints: &mut [Granted],
    (before, load): (&[f64], f64),
    view: &View<'_>,
    (memory, mesh): (&Memory, &Mesh),
) -> f64 {
    let moved = moved(endpoints, before);
    let (allowed, bound) = allowed(load, view, (&memory.moves, &mesh.moves), mesh);
    if moved <= allowed {
        return moved;
    }
    let wished: Vec<f64> = endpoints.iter().map(|granted| granted.weight).collect();
    // Shares are not linear in weights, so the part of the way that is allowed is searched for.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        go(endpoints, before, &wished, middle);
        if self::moved(endpoints, before) <= allowed { low = middle } else { high = middle }
    }
    go(endpoints, before, &wished, low);
    for (granted, &old) in endpoints.iter_mut().zip(before) {
        if granted.state == EndpointState::Serving && !same(granted.weight, old) {
            granted.bound = Some(bound);
        }
    }
    self::moved(endpoints, before)
}

/// Sets serving endpoints to a part of the way from before to the wished weight.
fn go(endpoints: &mut [Granted], before: &[f64], wished: &[f64], part: f64) {
    for ((granted, &old), &wished) in endpoints.iter_mut().zip(before).zip(wished) {
        if granted.state == EndpointState::Serving {
            granted.weight = old + part * (wished - old);
        }
    }
}

/// Half the sum of absolute changes of the shares of serving endpoints.
fn moved(endpoints: &[Granted], before: &[f64]) -> f64 {
    let serving = |granted: &Granted| granted.state == EndpointState::Serving;
    let pairs = || endpoints.iter().zip(before).filter(|(granted, _)| serving(granted));
    let (new, old) = pairs().fold((0.0, 0.0), |(n, o), (g, &b)| (n + g.weight, o + b));
    if new <= 0.0 || old <= 0.0 {
        return 0.0;
    }
    pairs().map(|(granted, &b)| (granted.weight / new - b / old).abs()).sum::<f64>() / 2.0
}

fn note(endpoints: &[Granted], before: &[f64], at: Moment, memory: &mut Memory) {
    for (index, granted) in endpoints.iter().enumerate() {
        let change = log_change(before[index], granted.weight);
        if change != 0.0 && granted.state == EndpointState::Serving {
            let trend = &mut memory.trends[index];
            if trend.turned.is_none() || trend.up != (change > 0.0) {
                *trend = Trend { up: change > 0.0, turned: Some(at) };
            }
        }
    }
}

/// The part of the way back that is gone in one step, where the whole takes a fixed time. `into`
/// is the time since it began.
pub(super) fn part_back(into: Duration, elapsed: Duration) -> f64 {
    let left = stance::DECAY.saturating_sub(into) + elapsed;
    let part = if left.is_zero() { 1.0 } else { elapsed.as_secs_f64() / left.as_secs_f64() };
    part.clamp(0.0, 1.0)
}

/// Without evidence for long: linearly back to equal weights. `into` is the time since the way
/// back began.
pub(super) fn decay(endpoints: &mut [Granted], into: Duration, elapsed: Duration) {
    let part = part_back(into, elapsed);
    let ramps = |granted: &Granted| granted.state == EndpointState::Joining;
    for granted in endpoints.iter_mut().filter(|granted| granted.is_in() && !ramps(granted)) {
        granted.weight += part * (1.0 - granted.weight);
        granted.state = EndpointState::Serving;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many moves there are in a minute, none is forgotten before its minute is over.
    #[test]
    fn many_small_moves_are_all_counted() {
        let (mut moves, mut at) = (Moves::default(), Moment::from_millis(1_000_000));
        for _ in 0..590 {
            at = at.plus(Duration::from_millis(100));
            moves.add(at, 0.001);
            assert!(moves.0.len() <= MOVES_MAX);
        }
        assert!((moves.within(at, MINUTE) - 0.59).abs() < 1e-9, "{}", moves.within(at, MINUTE));
        assert!(moves.within(at.plus(MINUTE), MINUTE) <= 0.0);
    }
}
