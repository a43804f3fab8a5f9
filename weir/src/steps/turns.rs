//! Whose turn it is to decide, where there are several replicas, and how the others follow.

use std::sync::Arc;

use weir_engine::decision::{Decision, ServiceDecision};
use weir_engine::topology::Topology;
use weir_engine::units::Moment;
use weir_proxy_adapter::writers::balancing::Balanced;

use super::kept::SAVE_EVERY;
use super::{Decided, Steps, taken};
use crate::control::Refusal;
use crate::replicas::{Heard, Served};
use crate::store::last_good::lasting;

impl Steps {
    /// Whether this replica decides now. What it publishes from then on is of its epoch.
    pub(super) fn decides(&mut self, now: Moment) -> bool {
        if self.inputs.replicas.is_none() {
            return true;
        }
        let epoch = self.epoch(now).filter(|epoch| self.outputs.publisher.lead(*epoch));
        match (epoch, &mut self.outputs.journal) {
            (Some(epoch), Some(journal)) => journal.lead(epoch),
            (Some(_), None) => {}
            // Once it decides again, it is told everything again.
            (None, _) => self.first = true,
        }
        epoch.is_some()
    }

    /// The epoch in which this replica may decide, if it may.
    fn epoch(&self, now: Moment) -> Option<u64> {
        let standing = self.inputs.replicas.as_ref()?.standing.borrow();
        standing.term.filter(|term| term.lasts(now)).map(|term| term.epoch)
    }

    /// A step of a follower: it tells the leader what its proxies said. Kept here that would be old
    /// by the time that it is this replica's turn.
    pub(super) fn follow(&mut self, at: Moment) {
        let heard = self.hear(at).pushed();
        drop(taken(&mut self.inputs.indicated));
        for said in taken(&mut self.inputs.said) {
            // Who asked may be gone.
            drop(said.answer.send(Err(Refusal::Follows)));
        }
        if let Some(replicas) = &self.inputs.replicas
            && !heard.is_empty()
        {
            // Without a leader, or one that is slow, it is lost, as it is at a restart.
            drop(replicas.telling.try_send(heard));
        }
        self.take_over();
        self.inputs.discovered.read(&self.governed.services, &mut self.found);
        self.open_once_known();
    }

    /// Ends when the leader said something. Never where there are no others.
    pub async fn leader_spoke(&mut self) {
        if let Some(replicas) = &mut self.inputs.replicas
            && replicas.told.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// Serves what the leader serves, from now on or still.
    pub fn adopt(&mut self) {
        let now = self.setup.clock.now();
        let Some(replicas) = &mut self.inputs.replicas else { return };
        let told = replicas.told.borrow_and_update().served.clone();
        let Some(served) = told.filter(|_| self.epoch(now).is_none()) else { return };
        if !self.outputs.publisher.lead(served.epoch) {
            return;
        }
        if served.number() <= self.adopted {
            return self.renew_opinions();
        }
        if self.adopted.0 != served.epoch {
            tracing::info!(epoch = served.epoch, "this replica serves what the leader serves");
        }
        self.adopted = served.number();
        self.first = true;
        let Served { services, state, .. } = Arc::unwrap_or_clone(served);
        let known = state.services.iter().map(|service| service.topology.clone());
        self.topology = Arc::new(Topology { services: known.collect() });
        self.served = services;
        self.state = state;
        if let Some(journal) = &mut self.outputs.journal {
            journal.part();
        }
        self.restore();
        self.save(now, true);
    }

    /// Tells followers what is served, if it is something else, or that it still is.
    pub(super) fn publish(&self, at: Moment, news: bool) {
        let Some(epoch) = self.epoch(at) else { return };
        let Some(replicas) = &self.inputs.replicas else { return };
        replicas.published.send_modify(|published| {
            published.steps += 1;
            let stands = published.served.as_ref().is_some_and(|served| {
                served.epoch == epoch && at.since(served.state.at) < SAVE_EVERY
            });
            if news || !stands {
                let (services, state) = (self.served.clone(), lasting(&self.state));
                published.served = Some(Arc::new(Served { epoch, services, state }));
            }
        });
    }

    /// What followers heard since the last step.
    pub(super) fn heard_by_followers(&mut self) -> Vec<Heard> {
        let replicas = self.inputs.replicas.as_mut();
        replicas.map(|replicas| taken(&mut replicas.heard)).unwrap_or_default()
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
