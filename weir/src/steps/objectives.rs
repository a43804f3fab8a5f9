//! Objectives that are counted by queries of the user's own.

use weir_collectors::prometheus::objectives::Wanted;
use weir_engine::goal::{Goals, Indicator};

/// The objectives that queries count.
pub(super) fn queried(goals: &Goals) -> Vec<Wanted> {
    let all = goals
        .services
        .iter()
        .flat_map(|goal| goal.objectives.iter().map(|objective| (goal.service.clone(), objective)));
    all.filter_map(|(service, objective)| match &objective.indicator {
        Indicator::Prometheus { good, total } => Some(Wanted {
            service,
            objective: objective.name.clone(),
            good: good.clone(),
            total: total.clone(),
        }),
        Indicator::Availability | Indicator::Latency { .. } => None,
    })
    .collect()
}
