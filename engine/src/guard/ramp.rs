//! New and returning endpoints start small.
//!
//! The ramp gives way where the others would have to carry more than twice an equal share, or
//! more than they can: a service of one old and nine new endpoints must not drown the old one.

use super::{Granted, ejection};
use crate::assessment::Assessment;
use crate::decision::EndpointState;
use crate::model::View;

/// Where a ramp starts, relative to the equal share.
pub(super) const LEAST: f64 = 0.1;

/// Nobody gets more than so many equal shares because others are ramping.
const SHARE_MOST: f64 = 2.0;

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
    let least = least(endpoints, assessment);
    for (index, granted) in endpoints.iter_mut().enumerate() {
        // One that discovery had taken out begins its ramp now.
        let joined = view.standings.get(index).filter(|s| s.state == granted.state);
        let age = view.at.since(joined.map_or(view.at, |standing| standing.since));
        match granted.state {
            EndpointState::Joining => {
                let whole = view.goal.balancing.slow_start.as_secs_f64();
                let part = if whole > 0.0 { age.as_secs_f64() / whole } else { 1.0 };
                let cap = (LEAST + (1.0 - LEAST) * part).max(least).min(1.0);
                granted.weight = granted.weight.max(least).min(cap);
                if part >= 1.0 {
                    granted.state = EndpointState::Serving;
                }
            }
            EndpointState::Probation => {
                granted.weight = granted.weight.min(ejection::PROBATION_WEIGHT.max(least).min(1.0));
            }
            EndpointState::Serving | EndpointState::Ejected { .. } | EndpointState::NotReady => {}
        }
    }
}

/// The least ramp weight that keeps the serving endpoints within their limits.
fn least(endpoints: &[Granted], assessment: &Assessment) -> f64 {
    let ramping = |granted: &&Granted| {
        matches!(granted.state, EndpointState::Joining | EndpointState::Probation)
    };
    let joiners = endpoints.iter().filter(ramping).count() as f64;
    if joiners <= 0.0 {
        return 0.0;
    }
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
    ((sum_needed - serving_sum) / joiners).clamp(0.0, 1.0)
}
