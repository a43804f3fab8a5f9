//! Taking endpoints out, and letting them back in.
//!
//! Ejection is immediate but capped: by number, by what stays healthy, by the proxies' panic line
//! (below it they ignore health and every sick endpoint is back at once), and by what the others
//! can carry: what would be lost there must not be more than what fails here. An ejected endpoint gets no traffic, so no evidence: only time brings it back, to a
//! probation in which clean counts let it stay.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Granted, Memory};
use crate::assessment::{Assessment, Expectation};
use crate::decision::{Bound, EndpointState, Reason};
use crate::model::View;
use crate::plan::Plan;

/// After so long without trouble an endpoint's earlier ejections are forgotten.
pub(super) const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// A service of so many endpoints or fewer is never ejected from.
const TOO_FEW: usize = 2;

/// Distance that is kept from the proxies' panic threshold.
const ABOVE_PANIC: f64 = 0.1;

/// The others must be able to carry the load at this part of their capacity.
const CAPACITY_USED_MOST: f64 = 0.9;

/// So much of the requests is let in at least: what is turned away is part of the load.
const SHARE_LEAST: f64 = 0.05;

/// A sum of parts k/P carries rounding of the order of 1e-15 per term.
const SLACK: f64 = 1e-9;

/// An ejection rests on at least so many requests, whatever a model makes of fewer.
const REQUESTS_LEAST: f64 = 20.0;

/// A probation passes after this many requests ...
const PROVEN_BY: f64 = 50.0;

/// ... and not before this time.
const PROVEN_AFTER: Duration = Duration::from_secs(5);

/// In probation the weight stays at or below this part of the equal share.
pub(super) const PROBATION_WEIGHT: f64 = 0.1;

/// Brings ejected endpoints whose time is up to probation, and proven ones back to service.
pub(super) fn let_return(
    endpoints: &mut [Granted],
    assessment: &Assessment,
    view: &View<'_>,
    memory: &Memory,
) {
    for (index, granted) in endpoints.iter_mut().enumerate() {
        match granted.state {
            EndpointState::Ejected { until, .. } if view.at >= until => {
                prove(granted);
            }
            EndpointState::Probation => {
                let Some(judgement) = assessment.endpoints.get(index) else { continue };
                let age = view.at.since(memory.standings[index].since);
                let clean = judgement.failing.is_none() && judgement.slow.is_none();
                if clean && judgement.requests >= PROVEN_BY && age >= PROVEN_AFTER {
                    granted.state = EndpointState::Serving;
                }
            }
            EndpointState::Ejected { .. }
            | EndpointState::Serving
            | EndpointState::Joining
            | EndpointState::NotReady => {}
        }
    }
    release(endpoints, view);
}

/// Brings back whose time is up soonest while more are out than may be: since they went, others
/// may have left, or been taken out by proxies or discovery.
fn release(endpoints: &mut [Granted], view: &View<'_>) {
    loop {
        let until = |granted: &Granted| match granted.state {
            EndpointState::Ejected { until, .. } => Some(until),
            EndpointState::Serving
            | EndpointState::Joining
            | EndpointState::Probation
            | EndpointState::NotReady => None,
        };
        let ejected = endpoints.iter().filter_map(until).count();
        let out = (0..endpoints.len()).map(|index| part_out(endpoints, index, view)).sum();
        let within = ejected as f64 <= most_out(endpoints.len(), view)
            && health_bound(endpoints.len(), out, view).is_none();
        let soonest = endpoints.iter_mut().filter(|granted| until(granted).is_some());
        match soonest.min_by_key(|granted| until(granted)) {
            Some(granted) if !within => prove(granted),
            Some(_) | None => return,
        }
    }
}

fn prove(granted: &mut Granted) {
    granted.state = EndpointState::Probation;
    granted.weight = PROBATION_WEIGHT;
    granted.reason = Reason::Proving { age: Duration::ZERO };
}

/// Takes out what the plan wishes out, worst first, as far as the limits go.
pub(super) fn eject(
    endpoints: &mut [Granted],
    plan: &Plan,
    assessment: &Assessment,
    view: &View<'_>,
    memory: &Memory,
) {
    for index in worst_first(endpoints, plan, assessment) {
        let granted_bound = limit(endpoints, index, (assessment, memory), view);
        let granted = &mut endpoints[index];
        granted.reason = plan.endpoints[index].reason.clone();
        granted.bound = granted_bound;
        if granted.bound.is_none() {
            let times = memory.standings[index].ejections.saturating_add(1);
            let until = view.at.plus(length(view, times));
            granted.state = EndpointState::Ejected { until, times };
        }
    }
}

/// The candidates' indices, the best proven failure first.
fn worst_first(endpoints: &[Granted], plan: &Plan, assessment: &Assessment) -> Vec<usize> {
    let severity = |index: usize| {
        let judgement = assessment.endpoints.get(index);
        let failing = judgement.and_then(|j| j.failing).map_or(0.0, |f| f.bound.value());
        let slow = judgement.and_then(|j| j.slow).map_or(0.0, |s| s.bound.value());
        failing.max(slow)
    };
    let wished = plan.endpoints.iter().take(endpoints.len()).enumerate();
    let mut candidates: Vec<usize> = wished
        .filter(|&(index, wish)| wish.eject && endpoints[index].is_in())
        .map(|(index, _)| index)
        .collect();
    candidates.sort_by(|&a, &b| severity(b).total_cmp(&severity(a)).then(a.cmp(&b)));
    candidates
}

/// Doubled each time, up to the longest.
fn length(view: &View<'_>, times: u32) -> Duration {
    let limits = &view.goal.ejection;
    let doubled = 2_u32.saturating_pow(times.saturating_sub(1).min(16));
    limits.base_time.saturating_mul(doubled).min(limits.max_time)
}

/// The limit that keeps an endpoint in, if one does.
fn limit(
    endpoints: &[Granted],
    candidate: usize,
    (assessment, memory): (&Assessment, &Memory),
    view: &View<'_>,
) -> Option<Bound> {
    let count = endpoints.len();
    if count <= TOO_FEW {
        return Some(Bound::TooFew);
    }
    let seen = assessment.endpoints.get(candidate).map_or(0.0, |judged| judged.requests);
    if seen < REQUESTS_LEAST {
        return Some(Bound::Quorum);
    }
    let out_after: f64 = (0..count)
        .map(|index| if index == candidate { 1.0 } else { part_out(endpoints, index, view) })
        .sum();
    if out_after > most_out(count, view) + SLACK {
        return Some(Bound::EjectionCap);
    }
    health_bound(count, out_after, view).or_else(|| {
        let load = assessment.load.value() / (1.0 - memory.shed.value()).max(SHARE_LEAST);
        let lacking = lacking(endpoints, candidate, assessment, load);
        (lacking > 0.0 && lacking > saved(endpoints, candidate, assessment, load))
            .then_some(Bound::Capacity)
    })
}

/// How many of so many endpoints may be out: one at least, unless there are too few or the policy
/// allows none.
fn most_out(count: usize, view: &View<'_>) -> f64 {
    let part = view.goal.ejection.max_ejected.value();
    if count <= TOO_FEW || part <= 0.0 {
        return 0.0;
    }
    libm::floor(part * count as f64 + SLACK).max(1.0)
}

/// What would be too little with so many out: healthy endpoints, or distance to proxies' panic.
fn health_bound(count: usize, out: f64, view: &View<'_>) -> Option<Bound> {
    let healthy = (count as f64 - out) / count as f64 + SLACK;
    let panic = view.topology.clusters.iter().map(|c| c.form.panic_threshold.value());
    if healthy < view.goal.ejection.min_health.value() {
        Some(Bound::MinHealth)
    } else if healthy < panic.fold(0.0, f64::max) + ABOVE_PANIC {
        Some(Bound::PanicLine)
    } else {
        None
    }
}

/// The part of an endpoint that is out already: all of it by Weir or discovery, else the part of
/// the proxies that ejected it themselves.
pub(super) fn part_out(endpoints: &[Granted], index: usize, view: &View<'_>) -> f64 {
    if !endpoints[index].is_in() {
        return 1.0;
    }
    let opinion = view.history.opinion(index, view.at);
    opinion.map_or(0.0, |opinion| f64::from(opinion.ejected_by) / f64::from(opinion.of))
}

/// Requests per second that no longer fail once an endpoint is out, if what is proven holds.
fn saved(endpoints: &[Granted], candidate: usize, assessment: &Assessment, load: f64) -> f64 {
    let failing = assessment.endpoints.get(candidate).and_then(|judgement| judgement.failing);
    let share = super::shares(endpoints).get(candidate).copied().unwrap_or(0.0);
    load * share * failing.map_or(0.0, |failing| failing.bound.value())
}

/// Requests per second that the remaining endpoints cannot carry of a load. One of unknown capacity
/// counts as the mean of the others; where none is known, nothing speaks against it.
fn lacking(endpoints: &[Granted], candidate: usize, assessment: &Assessment, load: f64) -> f64 {
    let (mut known, mut capacity) = (0.0, 0.0);
    let (mut parts, mut unknown) = (0.0, 0.0);
    for (index, granted) in endpoints.iter().enumerate() {
        if index == candidate || !granted.is_in() {
            continue;
        }
        // Who ramps or proves itself takes no more than it is given yet.
        let ramps = matches!(granted.state, EndpointState::Joining | EndpointState::Probation);
        let part = if ramps { granted.weight.min(1.0) } else { 1.0 };
        let own = assessment.endpoints.get(index).and_then(|j| j.expectation.as_ref());
        match own.map(Expectation::surely) {
            Some(own) if own > 0.0 => {
                (known, parts, capacity) = (known + own, parts + 1.0, capacity + part * own);
            }
            Some(_) | None => unknown += part,
        }
    }
    if parts <= 0.0 {
        return 0.0;
    }
    load - CAPACITY_USED_MOST * (capacity + unknown * known / parts)
}
