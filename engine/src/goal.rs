//! What is wanted: checked goals, one per service. Documents become these in `policies/`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::names::{PolicyName, ServiceId};
use crate::topology::ServiceTopology;
use crate::units::{Millis, Ratio};

/// All goals in force, in ascending order of service, each service once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Goals {
    /// One goal per governed service.
    pub services: Vec<Goal>,
    /// New versions that shall take over, in ascending order of service, each service once.
    pub rollouts: Vec<Rollout>,
}

impl Goals {
    /// The goal of a service, if one governs it.
    pub fn of(&self, service: &ServiceId) -> Option<&Goal> {
        let at = self.services.binary_search_by(|goal| goal.service.cmp(service)).ok()?;
        self.services.get(at)
    }

    /// The other services that requests to this one go to by a rollout.
    pub(crate) fn versions_of<'a>(
        &'a self,
        topology: &'a ServiceTopology,
        acted_on: impl Fn(&Rollout) -> bool,
    ) -> impl Iterator<Item = &'a ServiceId> {
        let routed = move |rollout: &&Rollout| {
            rollout.service == topology.service
                && (acted_on(rollout) || topology.clusters.is_empty())
        };
        let versions = self.rollouts.iter().filter(routed);
        let versions = versions.flat_map(|rollout| [&rollout.stable, &rollout.canary]);
        versions.filter(move |version| **version != topology.service)
    }
}

/// What is wanted of one service, and what may be done for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// The governed service.
    pub service: ServiceId,
    /// The policy it comes from; empty for the default of a service without one.
    pub policy: PolicyName,
    /// How far Weir may go.
    pub mode: Mode,
    /// Hold everything as it stands.
    pub suspended: bool,
    /// What users of the service are promised.
    pub objectives: Vec<Objective>,
    /// When evidence is enough, and when it is too old.
    pub evaluation: Evaluation,
    /// How traffic may be shared.
    pub balancing: Balancing,
    /// How far endpoints may be taken out.
    pub ejection: EjectionLimits,
    /// What holds whatever the model says.
    pub guardrails: Guardrails,
}

/// How a new version shall take over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The service that clients call.
    pub service: ServiceId,
    /// The policy it comes from.
    pub policy: PolicyName,
    /// How far Weir may go.
    pub mode: Mode,
    /// Hold everything as it stands.
    pub suspended: bool,
    /// Why these versions are left to another controller for now, in words: everything stands.
    #[serde(default)]
    pub yields: Option<Arc<str>>,
    /// The version in use.
    pub stable: ServiceId,
    /// The new version.
    pub canary: ServiceId,
    /// The new version's parts of the requests, rising.
    pub steps: Vec<Ratio>,
    /// Failed evaluations at which it is given up; none counts as one.
    pub failures_max: u32,
    /// The longest time for all steps.
    pub deadline: Duration,
    /// What to do when it is given up.
    pub on_failure: OnFailure,
    /// What users of the service are promised.
    pub objectives: Vec<Objective>,
    /// Time between evaluations; never less than 5 s, which is also the default.
    pub interval: Option<Duration>,
    /// Requests at each version below which nothing is decided.
    pub min_samples: u64,
    /// Evidence older than this is no evidence; none: 15 s.
    pub stale_after: Option<Duration>,
}

/// What to do with a version that is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Go back to the version in use.
    #[default]
    Rollback,
    /// Stay where it is and wait for a person.
    Pause,
}

/// How far Weir may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Decide and record, change nothing.
    #[default]
    Observe,
    /// As Observe, and offer the decision: what a person approves is acted on.
    Recommend,
    /// Act.
    Enforce,
}

/// One promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Its name, unique within the policy.
    pub name: String,
    /// The part of requests that shall be good.
    pub target: Ratio,
    /// Over how long.
    pub window: Duration,
    /// What is good.
    pub indicator: Indicator,
}

/// What counts as a good request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Indicator {
    /// It did not fail.
    Availability,
    /// It took at most so long.
    Latency {
        /// The longest good latency.
        threshold: Millis,
    },
    /// Two queries of the user's own.
    Prometheus {
        /// Good events per second.
        good: String,
        /// All events per second.
        total: String,
    },
}

/// When evidence is enough, and when it is too old.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Time between decisions; none: the tick.
    pub interval: Option<Duration>,
    /// Requests per service and window below which nothing is decided.
    pub min_samples: u64,
    /// Evidence older than this is no evidence; none: twice the tick, 3 s to 2 min.
    pub stale_after: Option<Duration>,
    /// What to do then.
    pub on_stale: OnStale,
}

/// What to do once evidence has become stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnStale {
    /// Hold for five minutes, then go back to equal shares over ten.
    #[default]
    Fallback,
    /// Hold for ever.
    Freeze,
}

/// How traffic may be shared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balancing {
    /// Who decides the shares.
    pub kind: BalancingKind,
    /// A new endpoint's ramp from a tenth to its full share.
    pub slow_start: Duration,
    /// Least weight, relative to the equal share (0.02: 2 %).
    pub weight_min: f64,
    /// Largest weight, relative to the equal share (3: 300 %).
    pub weight_max: f64,
    /// The largest part of the service's traffic moved within 15 s by re-weighting.
    pub max_step: Ratio,
    /// Prefer endpoints in the clients' own zone.
    pub zone_aware: Option<ZoneAware>,
}

/// Who decides the shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BalancingKind {
    /// The model.
    #[default]
    Adaptive,
    /// Nobody: equal shares; ejection still applies.
    Equal,
}

/// When traffic stays in its own zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ZoneAware {
    /// Not below so many endpoints in all.
    pub min_endpoints: u32,
    /// Not below so many in the zone.
    pub min_endpoints_in_zone: u32,
    /// Which label to compare first when the own zone does not suffice.
    pub failover_priority: Vec<String>,
}

/// How far endpoints may be taken out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EjectionLimits {
    /// The largest part of the endpoints, ejections by proxies included.
    pub max_ejected: Ratio,
    /// The least part that stays healthy.
    pub min_health: Ratio,
    /// The first ejection's length; doubled each time.
    pub base_time: Duration,
    /// The longest ejection.
    pub max_time: Duration,
}

/// What holds whatever the model says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guardrails {
    /// An endpoint predicted above this part of its capacity gains no share.
    pub max_utilization: Ratio,
    /// At most this part of the requests is turned away where there are more than can be served;
    /// zero turns nothing away.
    pub max_shed: Ratio,
    /// Decisions that change something, per minute; none: unlimited.
    pub max_changes_per_minute: Option<u32>,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { interval: None, min_samples: 100, stale_after: None, on_stale: OnStale::Fallback }
    }
}

impl Default for Balancing {
    fn default() -> Self {
        Self {
            kind: BalancingKind::Adaptive,
            slow_start: Duration::from_secs(30),
            weight_min: 0.02,
            weight_max: 3.0,
            max_step: Ratio::clamped(0.5),
            zone_aware: None,
        }
    }
}

impl Default for EjectionLimits {
    fn default() -> Self {
        Self {
            max_ejected: Ratio::clamped(0.2),
            min_health: Ratio::clamped(0.6),
            base_time: Duration::from_secs(10),
            max_time: Duration::from_secs(300),
        }
    }
}

impl Default for Guardrails {
    fn default() -> Self {
        Self {
            max_utilization: Ratio::clamped(0.8),
            max_shed: Ratio::clamped(0.5),
            max_changes_per_minute: None,
        }
    }
}

impl Goal {
    /// What holds for a service without a policy: watched, nothing promised, nothing changed.
    pub fn of_unclaimed(service: ServiceId) -> Self {
        Self {
            service,
            policy: PolicyName::default(),
            mode: Mode::Observe,
            suspended: false,
            objectives: Vec::new(),
            evaluation: Evaluation::default(),
            balancing: Balancing::default(),
            ejection: EjectionLimits::default(),
            guardrails: Guardrails::default(),
        }
    }

    /// Whether slowness alone may eject: a latency objective for a tail (95 % or more).
    pub fn is_about_the_tail(&self) -> bool {
        self.objectives.iter().any(|objective| {
            objective.target.value() >= 0.95
                && matches!(objective.indicator, Indicator::Latency { .. })
        })
    }
}
