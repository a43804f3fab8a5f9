//! What of a service's policy and decision objects of others can carry beside a rollout's weights.

use std::time::Duration;

use serde_json::Value;
use weir_engine::decision::ServiceDecision;
use weir_engine::goal::{EjectionLimits, Goal};
use weir_engine::names::{PolicyName, ServiceId};
use weir_engine::topology::ServiceTopology;

use super::fields::is_ours;
use super::localities;

/// What is wanted of a service's proxies.
#[derive(Clone, Debug, PartialEq)]
pub struct Balanced {
    /// The service.
    pub service: ServiceId,
    /// The policy it comes from.
    pub policy: PolicyName,
    /// Where the clients of each zone go, in Istio's form; empty where all go alike.
    pub distribute: Vec<Value>,
    /// Weir's own limits, which the proxies' ejections keep as well.
    pub ejection: EjectionLimits,
    /// How long a new endpoint takes to its full share; zero: it has it at once.
    pub slow_start: Duration,
}

impl Balanced {
    /// Of a service that is acted on by a policy, or nothing.
    pub fn of(decision: &ServiceDecision, goal: &Goal, topology: &ServiceTopology) -> Option<Self> {
        (decision.acts() && !goal.policy.as_str().is_empty()).then(|| Self {
            service: decision.service.clone(),
            policy: goal.policy.clone(),
            distribute: localities::distribute(&decision.zones, topology),
            ejection: goal.ejection.clone(),
            slow_start: goal.balancing.slow_start,
        })
    }
}

/// Why an object is left as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is none, and Weir makes none.
    #[error(
        "no DestinationRule is there for {0}, and a second one could only contradict another: make \
         one with host: {host}, even without a trafficPolicy", host = super::istio::host(.0)
    )]
    NoRule(ServiceId),
    /// Istio merges them in an order of its own.
    #[error("{service} has more than one DestinationRule ({names}): leave one for this host")]
    ManyRules {
        /// The service.
        service: ServiceId,
        /// Their names.
        names: String,
    },
    /// Istio takes only one of these settings.
    #[error(
        "DestinationRule {rule} has {field}, which Istio does not take together with distribute: \
         take it out, or loadBalancing.zoneAware out of the policy"
    )]
    OtherZones {
        /// Namespace and name.
        rule: String,
        /// The setting.
        field: &'static str,
    },
    /// Linkerd ignores the annotations where there is a profile.
    #[error(
        "Service {service} has the ServiceProfile {profile}, with which Linkerd takes no \
         failure-accrual annotations: delete it, or take linkerd out of kubernetes.writes"
    )]
    Profile {
        /// The service.
        service: ServiceId,
        /// The profile's name.
        profile: String,
    },
}

/// Whether nobody else has set anything there.
pub(super) fn is_free(object: &Value, block: &str) -> bool {
    object.pointer(block).is_none_or(|block| *block == serde_json::json!({}))
        || is_ours(object, block)
}
