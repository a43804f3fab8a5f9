//! What is wanted: the goals of policies in force, as far as they can be acted on.

use std::sync::Arc;

use weir_collectors::prometheus::objectives::Wanted;
use weir_engine::goal::{Goals, Mode};
use weir_policies::check::Reach;
use weir_policies::in_force::InForce;

use super::{Steps, objectives};
use crate::kubernetes::others;

impl Steps {
    /// The goals, if they changed. A service whose endpoints only telemetry names is advised at
    /// most: nobody may be served from hearsay.
    pub(super) fn wanted(&mut self, other_services: bool) -> Option<Arc<Goals>> {
        let others = self.inputs.at_work.as_ref();
        let others = others.is_some_and(|one| one.has_changed().unwrap_or(false));
        let changed = others || self.inputs.policies.has_changed().unwrap_or(false);
        if !changed && !other_services && !self.first {
            return None;
        }
        let in_force = self.inputs.policies.borrow_and_update().clone();
        let mut goals = with_earlier(&in_force, &self.state.goals);
        if let Some(at_work) = &mut self.inputs.at_work {
            others::set(&mut goals, &at_work.borrow_and_update(), &self.state.goals);
        }
        for goal in &mut goals.services {
            let reach = self.known.get(&goal.service);
            let only_seen = !matches!(reach, Some(Reach::Served | Reach::Routed));
            if goal.mode == Mode::Enforce && only_seen {
                goal.mode = Mode::Recommend;
                if self.governed.settled {
                    tracing::warn!(
                        service = %goal.service,
                        policy = %goal.policy,
                        "not enforced: the service's endpoints are not served by weir; name it \
                         under services with a file, a DNS name or a Kubernetes Service"
                    );
                }
            }
        }
        if !self.first && *self.goals == goals {
            return None;
        }
        self.goals = Arc::new(goals);
        self.ask_for(objectives::queried(&self.goals));
        Some(Arc::clone(&self.goals))
    }

    /// Has the objectives' own queries asked.
    fn ask_for(&self, wanted: Vec<Wanted>) {
        if let Some(objectives) = &self.outputs.objectives {
            objectives.send_replace(Arc::new(wanted));
            return;
        }
        for Wanted { service, objective, .. } in wanted {
            tracing::warn!(
                %service,
                objective,
                "nobody is asked for this objective: name a prometheus source in weir.yaml"
            );
        }
    }
}

/// What policies want; of those that could not be read since the start, what they wanted last.
fn with_earlier(in_force: &InForce, last: &Goals) -> Goals {
    let mut goals = in_force.goals().clone();
    let stands = |policy| in_force.earlier().stands(policy);
    let services = last
        .services
        .iter()
        .filter(|goal| stands(&goal.policy) && in_force.goals().of(&goal.service).is_none());
    goals.services.extend(services.cloned());
    let rollouts = last.rollouts.iter().filter(|rollout| {
        let mut now = in_force.goals().rollouts.iter();
        stands(&rollout.policy) && !now.any(|other| other.service == rollout.service)
    });
    goals.rollouts.extend(rollouts.cloned());
    goals.services.sort_by(|one, other| one.service.cmp(&other.service));
    goals.rollouts.sort_by(|one, other| one.service.cmp(&other.service));
    goals
}
