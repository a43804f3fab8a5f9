//! Error budgets: what the objectives have left, in five-minute buckets.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decision::ObjectiveStatus;
use crate::goal::{Goal, Indicator, Objective};
use crate::latency::Threshold;
use crate::observation::{Indicated, Row, ServiceTraffic};
use crate::units::{Moment, Ratio};

/// The width of a bucket.
const BUCKET: Duration = Duration::from_secs(300);

/// The longest window: 90 days. Longer ones are cut to it.
const BUCKETS_MAX: usize = 90 * 24 * 12;

/// Buckets of the last hour.
const HOUR: u64 = 12;

/// The budgets of one service, one per objective of its goal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budgets(Vec<Budget>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Budget {
    name: String,
    buckets: VecDeque<Bucket>,
    good: f64,
    total: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Bucket {
    /// Buckets since 1970.
    number: u64,
    good: f32,
    total: f32,
}

impl Budgets {
    /// Follows a change of goals: an objective that keeps its name keeps its budget.
    pub fn follow(&mut self, goal: &Goal) {
        let mut old = core::mem::take(&mut self.0);
        self.0 = goal
            .objectives
            .iter()
            .map(|objective| {
                let known = old.iter_mut().find(|budget| budget.name == objective.name);
                known.map_or_else(
                    || Budget { name: objective.name.clone(), ..Budget::default() },
                    core::mem::take,
                )
            })
            .collect();
    }

    /// Takes in a step's telemetry.
    pub fn absorb(&mut self, at: Moment, goal: &Goal, traffic: Option<&ServiceTraffic>) {
        let number = number(at);
        for (budget, objective) in self.0.iter_mut().zip(&goal.objectives) {
            let (good, total) = traffic.map_or((0.0, 0.0), |traffic| count(objective, traffic));
            budget.add(number, good, total);
            budget.forget(number, buckets(objective.window));
        }
    }

    /// Takes in what a query counted for an objective; whatever is no count is left out.
    pub fn indicated(&mut self, at: Moment, goal: &Goal, counted: &Indicated) {
        let counts = counted.good >= 0.0 && counted.good.is_finite() && counted.total.is_finite();
        let by_query = |objective: &Objective| {
            objective.name == counted.objective
                && matches!(objective.indicator, Indicator::Prometheus { .. })
        };
        let mut pairs = self.0.iter_mut().zip(&goal.objectives);
        if let (true, Some((budget, _))) = (counts, pairs.find(|(_, one)| by_query(one))) {
            budget.add(number(at), counted.good.min(counted.total), counted.total);
        }
    }

    /// How the objectives stand.
    pub fn status(&self, at: Moment, goal: &Goal) -> Vec<ObjectiveStatus> {
        let pairs = self.0.iter().zip(&goal.objectives);
        pairs.map(|(budget, objective)| budget.status(number(at), objective)).collect()
    }
}

fn number(at: Moment) -> u64 {
    at.millis() / u64::try_from(BUCKET.as_millis()).unwrap_or(u64::MAX)
}

fn buckets(window: Duration) -> usize {
    let count = window.as_secs() / BUCKET.as_secs();
    usize::try_from(count).unwrap_or(BUCKETS_MAX).clamp(1, BUCKETS_MAX)
}

/// (good, all) requests of a step by an objective. Whole-service counts where a source gives
/// them; a sampled latency is scaled to all requests.
fn count(objective: &Objective, traffic: &ServiceTraffic) -> (f64, f64) {
    let by_endpoint = || traffic.rows.iter().filter(|row| row.clients > 0);
    let requests: f64 = by_endpoint().map(|row| row.requests as f64).sum();
    match &objective.indicator {
        Indicator::Availability => {
            let errors: f64 = by_endpoint().map(|row| row.errors as f64).sum();
            ((requests - errors).max(0.0), requests)
        }
        Indicator::Latency { threshold } => {
            let threshold = Threshold::at(*threshold);
            // What is over is in few buckets, what is within in many.
            let timed = |row: &Row| {
                let over = row.latency.count_over(threshold);
                ((row.latency.count - over).max(0.0), row.latency.count)
            };
            let (good, all) = match &traffic.totals {
                Some(totals) if totals.latency.count > 0.0 => timed(totals),
                _ => by_endpoint().map(timed).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1)),
            };
            if all > 0.0 { (requests * (good / all).min(1.0), requests) } else { (0.0, 0.0) }
        }
        // Queries answer these (`indicated`); they do not come from endpoints.
        Indicator::Prometheus { .. } => (0.0, 0.0),
    }
}

impl Budget {
    fn add(&mut self, number: u64, good: f64, total: f64) {
        if total <= 0.0 {
            return;
        }
        if self.buckets.back().is_none_or(|last| last.number != number) {
            self.buckets.push_back(Bucket { number, good: 0.0, total: 0.0 });
        }
        if let Some(last) = self.buckets.back_mut() {
            #[expect(clippy::cast_possible_truncation, reason = "counts; seven digits suffice")]
            let (good, total) = (good as f32, total as f32);
            last.good += good;
            last.total += total;
        }
        self.good += good;
        self.total += total;
    }

    fn forget(&mut self, number: u64, keep: usize) {
        while self.buckets.front().is_some_and(|first| first.number + (keep as u64) <= number) {
            if let Some(first) = self.buckets.pop_front() {
                self.good = (self.good - f64::from(first.good)).max(0.0);
                self.total = (self.total - f64::from(first.total)).max(0.0);
            }
        }
    }

    fn status(&self, number: u64, objective: &Objective) -> ObjectiveStatus {
        let allowed = (1.0 - objective.target.value()).max(f64::EPSILON);
        let spent = |good: f64, total: f64| {
            if total > 0.0 { ((total - good) / total).max(0.0) / allowed } else { 0.0 }
        };
        let recent = self.buckets.iter().rev().take_while(|b| b.number + HOUR > number);
        let hour =
            recent.fold((0.0, 0.0), |s, b| (s.0 + f64::from(b.good), s.1 + f64::from(b.total)));
        ObjectiveStatus {
            name: self.name.clone(),
            target: objective.target,
            good: (self.total > 0.0).then(|| Ratio::of(self.good, self.total)),
            budget_left: 1.0 - spent(self.good, self.total),
            burn_rate: spent(hour.0, hour.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ServiceId;

    fn goal(window: Duration) -> Goal {
        let mut goal = Goal::of_unclaimed(ServiceId::new("a", "b"));
        goal.objectives.push(Objective {
            name: "availability".into(),
            target: Ratio::clamped(0.99),
            window,
            indicator: Indicator::Availability,
        });
        goal
    }

    fn traffic(requests: u64, errors: u64) -> ServiceTraffic {
        let row = Row { requests, errors, clients: 1, ..Row::default() };
        ServiceTraffic { rows: [row].into(), ..ServiceTraffic::default() }
    }

    fn after(steps: &[(u64, u64, u64)], window: Duration) -> ObjectiveStatus {
        let goal = goal(window);
        let mut budgets = Budgets::default();
        budgets.follow(&goal);
        let mut at = Moment::default();
        for &(seconds, requests, errors) in steps {
            at = Moment::from_millis(seconds * 1_000);
            budgets.absorb(at, &goal, Some(&traffic(requests, errors)));
        }
        budgets.status(at, &goal).remove(0)
    }

    #[test]
    fn half_the_allowed_errors_leave_half_the_budget() {
        let status = after(&[(0, 600, 3), (600, 400, 2)], Duration::from_secs(86_400));
        assert!((status.budget_left - 0.5).abs() < 1e-6, "{status:?}");
        assert!((status.burn_rate - 0.5).abs() < 1e-6, "{status:?}");
    }

    #[test]
    fn queries_count_for_their_own_objective_only() {
        let mut goal = goal(Duration::from_secs(86_400));
        let indicator = Indicator::Prometheus { good: "a".into(), total: "b".into() };
        goal.objectives.push(Objective {
            name: "found".into(),
            indicator,
            ..goal.objectives[0].clone()
        });
        let mut budgets = Budgets::default();
        budgets.follow(&goal);
        let counted = |objective: &str, good: f64, total: f64| Indicated {
            service: goal.service.clone(),
            objective: objective.into(),
            good,
            total,
        };
        let at = Moment::default();
        budgets.indicated(at, &goal, &counted("found", 199.0, 200.0));
        budgets.indicated(at, &goal, &counted("found", f64::NAN, 200.0));
        budgets.indicated(at, &goal, &counted("found", 1.0, f64::INFINITY));
        budgets.indicated(at, &goal, &counted("availability", 0.0, 200.0));
        budgets.absorb(at, &goal, Some(&traffic(100, 100)));
        let status = budgets.status(at, &goal);
        assert_eq!(status[0].good, Some(Ratio::ZERO));
        assert_eq!(status[1].good, Some(Ratio::clamped(0.995)));
    }

    #[test]
    fn what_left_the_window_is_forgotten() {
        let status = after(&[(0, 100, 100), (7_200, 100, 0)], Duration::from_secs(3_600));
        assert!((status.budget_left - 1.0).abs() < 1e-6, "{status:?}");
        assert_eq!(after(&[], Duration::from_secs(60)).good, None);
    }

    #[test]
    fn an_objective_keeps_its_budget_across_a_change_of_goals() {
        let first = goal(Duration::from_secs(3_600));
        let mut budgets = Budgets::default();
        budgets.follow(&first);
        budgets.absorb(Moment::default(), &first, Some(&traffic(100, 2)));
        budgets.follow(&first);
        assert!(budgets.status(Moment::default(), &first)[0].budget_left < 0.0);
    }
}
