//! New and returning endpoints start small.
//!
//! The ramp gives way where the others would have to carry more than twice an equal share, or
//! more than they can: a service of one old and nine new endpoints must not drown the old one.

use alloc::vec::Vec;

use super::{Granted, ejection};
use crate::assessment::Assessment;
use crate::decision::EndpointState;
use crate::model::View;

/// Where a ramp starts, relative to the equal share.
pub(super) const LEAST: f64 = 0.1;

/// Nobody gets more than so many equal shares because others are ramping.
const SHARE_MOST: f64 = 2.0;

/// Steps of the search for a factor: to a hundredth.
const HALVINGS: u32 = 10;

/// Nor more than this part of its capacity.
const CAPACITY_USED_MOST: f64 = 0.95;

/// While no model is asked, ramps go on towards the full share: it is time that ends them.
pub(super) fn go_on(endpoints: &mut [Granted]) {
    for granted in endpoints.iter_mut().filter(|e| e.state == EndpointState::Joining) {
        granted.weight = 1.0;
    }
}

/// Caps the weights of joining and proving endpoints, and ends ramps whose time is up.
pub(super) fn bound(endpoints: &mut [Granted], assessment: &Assessment, view: &View<'_>) {
    let ramps: Vec<Option<f64>> =
        endpoints.iter().enumerate().map(|(index, granted)| ramp(index, granted, view)).collect();
    let needed = needed(endpoints, assessment);
    let factor = stretched(ramps.iter().flatten().copied(), needed);
    for (granted, ramp) in endpoints.iter_mut().zip(ramps) {
        let Some(ramp) = ramp else { continue };
        let cap = (factor * ramp).min(1.0);
        let least = if factor > 1.0 { cap } else { 0.0 };
        granted.weight = granted.weight.max(least).min(cap);
        if granted.state == EndpointState::Joining && ramp >= 1.0 {
            granted.state = EndpointState::Serving;
        }
    }
}

/// How far an endpoint's ramp has come by its time, if it is on one.
fn ramp(index: usize, granted: &Granted, view: &View<'_>) -> Option<f64> {
    match granted.state {
        EndpointState::Joining => {
            // One that discovery had taken out begins its ramp now.
            let joined = view.standings.get(index).filter(|s| s.state == granted.state);
            let age = view.at.since(joined.map_or(view.at, |standing| standing.since));
            let whole = view.goal.balancing.slow_start.as_secs_f64();
            let part = if whole > 0.0 { (age.as_secs_f64() / whole).min(1.0) } else { 1.0 };
            Some(LEAST + (1.0 - LEAST) * part)
        }
        EndpointState::Probation => Some(ejection::PROBATION_WEIGHT),
        EndpointState::Serving | EndpointState::Ejected { .. } | EndpointState::NotReady => None,
    }
}

/// What ramping endpoints must take together to keep the serving ones within their limits.
fn needed(endpoints: &[Granted], assessment: &Assessment) -> f64 {
    let count = endpoints.iter().filter(|granted| granted.is_in()).count() as f64;
    let mut sum_needed: f64 = 0.0;
    let mut serving_sum = 0.0;
    for (index, granted) in endpoints.iter().enumerate() {
        if granted.state != EndpointState::Serving {
            continue;
        }
        serving_sum += granted.weight;
        // weight / sum <= SHARE_MOST / count, and load x weight / sum <= part of the capacity.
        sum_needed = sum_needed.max(granted.weight * count / SHARE_MOST);
        if let Some(known) = assessment.endpoints.get(index).and_then(|j| j.expectation.as_ref()) {
            let carries = CAPACITY_USED_MOST * known.capacity.value();
            if carries > 0.0 {
                sum_needed = sum_needed.max(assessment.load.value() * granted.weight / carries);
            }
        }
    }
    sum_needed - serving_sum
}

/// By how much all ramps are stretched so that together they take what is needed, none more than
/// an equal share: who has come far takes most of it, for who has just come may still be cold.
fn stretched(ramps: impl Iterator<Item = f64> + Clone, needed: f64) -> f64 {
    let taken = |factor: f64| ramps.clone().map(|ramp| (factor * ramp).min(1.0)).sum::<f64>();
    if taken(1.0) >= needed || !needed.is_finite() {
        return 1.0;
    }
    let (mut low, mut high) = (1.0, 1.0 / LEAST);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if taken(middle) < needed { low = middle } else { high = middle }
    }
    high
}
