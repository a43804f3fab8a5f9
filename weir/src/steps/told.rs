//! What the log says of decisions: what changes an operator's view, and nothing twice.

use std::collections::BTreeMap;

use weir_engine::decision::{Decision, EndpointState, ServiceDecision, Stance};
use weir_engine::names::{Address, ServiceId};
use weir_engine::rollout::{Phase, Reason, RolloutDecision};

/// What was last logged.
#[derive(Debug, Default)]
pub(super) struct Told {
    services: BTreeMap<ServiceId, Stands>,
    rollouts: BTreeMap<ServiceId, Progress>,
}

/// How far a rollout had come: its versions, its phase, its failures, and what holds it.
type Progress = (ServiceId, ServiceId, Phase, u32, Option<std::mem::Discriminant<Reason>>);

impl Told {
    /// Logs what Weir does with a service, who is out, and how far new versions have come.
    pub(super) fn tell(&mut self, decision: &Decision) {
        let rolled_out = |id: &ServiceId| decision.rollouts.iter().any(|one| one.service == *id);
        for service in &decision.services {
            // What is only a route has no endpoint to be missed.
            if service.endpoints.is_empty() && rolled_out(&service.service) {
                continue;
            }
            let stands = Stands::of(service);
            let before = self.services.insert(service.service.clone(), stands.clone());
            if before.unwrap_or_default() != stands {
                tracing::info!(
                    service = %service.service,
                    decision = decision.sequence,
                    mode = ?service.mode,
                    "{}", service.summary()
                );
            }
        }
        self.services.retain(|id, _| decision.services.iter().any(|one| one.service == *id));
        for rollout in &decision.rollouts {
            let progress = progress(rollout);
            let before = self.rollouts.insert(rollout.service.clone(), progress.clone());
            if before != Some(progress) {
                tracing::info!(
                    service = %rollout.service,
                    decision = decision.sequence,
                    mode = ?rollout.mode,
                    weight = rollout.weight.value(),
                    "{rollout}"
                );
            }
        }
        self.rollouts.retain(|id, _| decision.rollouts.iter().any(|one| one.service == *id));
    }
}

fn progress(rollout: &RolloutDecision) -> Progress {
    let held = rollout.reason.is_held().then(|| std::mem::discriminant(&rollout.reason));
    (rollout.stable.clone(), rollout.canary.clone(), rollout.phase, rollout.failures, held)
}

/// What was last logged of a service.
#[derive(Clone, Debug, PartialEq)]
struct Stands {
    stance: std::mem::Discriminant<Stance>,
    out: Vec<Address>,
    offer: Option<u64>,
    approval: Option<u64>,
}

impl Default for Stands {
    fn default() -> Self {
        Self {
            stance: std::mem::discriminant(&Stance::Resting),
            out: Vec::new(),
            offer: None,
            approval: None,
        }
    }
}

impl Stands {
    fn of(service: &ServiceDecision) -> Self {
        let out = service.endpoints.iter().filter(|endpoint| {
            matches!(endpoint.state, EndpointState::Ejected { .. } | EndpointState::NotReady)
        });
        Self {
            stance: std::mem::discriminant(&service.stance),
            out: out.map(|endpoint| endpoint.address.clone()).collect(),
            offer: service.offer.as_ref().map(|offer| offer.number),
            approval: service.approval.as_ref().map(|approval| approval.number),
        }
    }
}
