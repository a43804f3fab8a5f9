//! Whose turn it is to decide, where there are several replicas.

use std::sync::Arc;

use weir_collectors::access_log::Drained;
use weir_engine::decision::{Decision, ServiceDecision};
use weir_engine::units::Moment;
use weir_proxy_adapter::writers::balancing::Balanced;

use super::{Decided, Steps, taken};
use crate::control::Refusal;

impl Steps {
    /// Whether this replica decides now. What it publishes from then on is of its epoch.
    pub(super) fn decides(&mut self, now: Moment) -> bool {
        let Some(standing) = &self.inputs.standing else { return true };
        let term = standing.borrow().term.filter(|term| term.lasts(now));
        let decides = term.is_some_and(|term| self.outputs.publisher.lead(term.epoch));
        if !decides {
            // Once it decides again, it is told everything again.
            self.first = true;
        }
        decides
    }

    /// Serves on what was served last. What comes in is for whoever decides: kept here it would be
    /// old by the time that it is this replica's turn.
    pub(super) fn follow(&mut self, at: Moment) {
        drop(taken(&mut self.inputs.reports));
        drop::<Drained>(self.inputs.log.drain(at));
        drop(taken(&mut self.outputs.publisher.receipts));
        drop(taken(&mut self.inputs.indicated));
        for said in taken(&mut self.inputs.said) {
            // Who asked may be gone.
            drop(said.answer.send(Err(Refusal::Follows)));
        }
        self.take_over();
        self.inputs.discovered.read(&self.governed.services, &mut self.found);
        self.open_once_known();
    }

    /// Tells whoever writes to the cluster what was decided.
    pub(super) fn tell_cluster(&self, decision: &Decision) {
        let Some(cluster) = &self.outputs.cluster else { return };
        let shown = Decided {
            decision: decision.clone(),
            governed: Arc::clone(&self.governed),
            balanced: self.balanced(decision),
            serving: *self.outputs.serving.borrow(),
        };
        cluster.send_replace(Some(Arc::new(shown)));
    }
    /// What is wanted of the proxies of services that are acted on.
    fn balanced(&self, decision: &Decision) -> Vec<Balanced> {
        let of = |service: &Arc<ServiceDecision>| {
            let all = &self.state.services;
            let at = all.binary_search_by(|one| one.topology.service.cmp(&service.service)).ok()?;
            let known = all.get(at)?;
            Balanced::of(service, &known.goal, &known.topology)
        };
        decision.services.iter().filter_map(of).collect()
    }
}
