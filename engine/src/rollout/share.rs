//! How far traffic may move between two versions at once.

use alloc::sync::Arc;
use core::time::Duration;

use super::serves;
use crate::decision::ServiceDecision;
use crate::goal::Rollout;
use crate::units::{PerSecond, Ratio};

/// Up to this part of its capacity a version may be filled by traffic that moves to it.
const FILLED_MOST: f64 = 0.8;

/// Where capacity is not known, so much of the traffic moves in a second: forwards slowly enough
/// to be seen in time, back within four.
const FORWARD_MOST: f64 = 0.1;
const BACK_MOST: f64 = 0.25;

/// Traffic leaves a version that was given up at least so fast, whatever the other's capacity.
const BACK_LEAST: f64 = 0.01;

/// Weights are whole hundredths of a per cent, as routes carry them.
const PARTS: f64 = 10_000.0;

/// Both versions as they stand.
pub(super) struct Versions {
    pub(super) canary: Version,
    pub(super) stable: Version,
}

/// One version as it stands.
#[derive(Default)]
pub(super) struct Version {
    /// Endpoints that take traffic.
    pub(super) serving: usize,
    load: f64,
    capacity: Option<f64>,
}

impl Version {
    fn of(decided: Option<&Arc<ServiceDecision>>) -> Self {
        let Some(decided) = decided else { return Self::default() };
        Self {
            serving: decided.endpoints.iter().filter(|one| serves(one.state)).count(),
            load: decided.load.value(),
            capacity: decided.capacity.map(PerSecond::value).filter(|c| *c > 0.0),
        }
    }

    /// Requests per second that it can take on, if that is known.
    fn spare(&self) -> Option<f64> {
        self.capacity.map(|capacity| (FILLED_MOST * capacity - self.load).max(0.0))
    }
}

impl Versions {
    pub(super) fn of(goal: &Rollout, services: &[Arc<ServiceDecision>]) -> Self {
        let find = |id| {
            let at = services.binary_search_by(|decided| decided.service.cmp(id)).ok()?;
            services.get(at)
        };
        Self { canary: Version::of(find(&goal.canary)), stable: Version::of(find(&goal.stable)) }
    }

    /// The weight after a while on the way to a target: never past it, and no faster than the
    /// version that gains has spare capacity for.
    pub(super) fn towards(&self, weight: Ratio, target: Ratio, elapsed: Duration) -> Ratio {
        let seconds = elapsed.as_secs_f64().min(2.0);
        let load = self.canary.load + self.stable.load;
        let part = |spare: Option<f64>| spare.filter(|_| load > 0.0).map(|spare| spare / load);
        let (from, to) = (weight.value(), target.value());
        let reached = if to >= from {
            let most = part(self.canary.spare()).unwrap_or(1.0).min(FORWARD_MOST * seconds);
            (from + most).min(to)
        } else {
            let most = part(self.stable.spare()).unwrap_or(1.0).min(BACK_MOST * seconds);
            (from - most.max(BACK_LEAST * seconds)).max(to)
        };
        if (reached - to).abs() < 0.5 / PARTS {
            return target;
        }
        Ratio::clamped(libm::round(reached * PARTS) / PARTS)
    }
}
