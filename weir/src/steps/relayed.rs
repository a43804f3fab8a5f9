//! Proxies that another control plane configures: what they are told beside it, and what they say.

use std::sync::Arc;

use weir_dashboard::view::mesh::RelayView;
use weir_engine::decision::Decision;
use weir_engine::names::{Node, ServiceId};
use weir_engine::observation::{Outcome, Receipt};
use weir_engine::topology::Topology;
use weir_proxy_adapter::relay::Opinions;
use weir_proxy_adapter::relay::server::{Counts, Told};
use weir_proxy_adapter::relay::session::Event;

use super::{Steps, taken};
use crate::topology;

impl Steps {
    /// Publishes what a decision says of what another control plane lists.
    pub(super) fn relay(&self, decision: &Decision) {
        if self.outputs.relay.is_none() && self.outputs.opinions.is_closed() {
            return;
        }
        let (decision, topology) = topology::only_served(decision, &self.topology, &self.served);
        let opinions = Arc::new(Opinions::of_decision(&decision, &topology));
        self.outputs.opinions.send_replace(Arc::clone(&opinions));
        let Some(relay) = &self.outputs.relay else { return };
        relay.opine(opinions, self.setup.clock.now());
        self.outputs.board.metrics().relay(&view(relay.tally.counts()));
    }

    /// What was decided last still holds.
    pub(super) fn renew_opinions(&self) {
        let Some(relay) = &self.outputs.relay else { return };
        let opinions = Arc::clone(&self.outputs.opinions.borrow());
        relay.opine(opinions, self.setup.clock.now());
    }

    /// What proxies said since the last step.
    pub(super) fn relayed(&mut self) -> Vec<Receipt> {
        let Some(relay) = &mut self.outputs.relay else { return Vec::new() };
        let told = taken(&mut relay.told);
        told.iter().flat_map(|told| receipts(told, &self.topology, self.state.sequence)).collect()
    }
}

/// An event as receipts of the services that it is about. What is no answer of a proxy is only logged.
fn receipts(told: &Told, topology: &Topology, decision: u64) -> Vec<Receipt> {
    let node = &told.node;
    let (names, outcome) = match &told.event {
        Event::Taken(_, names) => (names, Outcome::Taken),
        Event::Refused(_, names, why) => {
            tracing::warn!(%node, ?names, why, "a proxy refuses changed resources; it has the control plane's own again");
            (names, Outcome::Refused(why.chars().take(200).collect()))
        }
        Event::Withheld(_, name, why) => {
            tracing::warn!(%node, name, %why, "not changed on its way to the proxy");
            return Vec::new();
        }
        Event::Blind(name) => {
            tracing::warn!(%node, name, "the control plane has not sent it, so nothing can be changed");
            return Vec::new();
        }
        Event::Repaired(name) => {
            tracing::debug!(%node, name, "a changed cluster got its endpoints from the relay");
            return Vec::new();
        }
    };
    let mut services: Vec<&ServiceId> =
        names.iter().filter_map(|name| service(name, topology)).collect();
    services.dedup();
    let receipt = |service: &ServiceId| Receipt {
        node: Node::from(&**node),
        service: service.clone(),
        decision,
        outcome: outcome.clone(),
    };
    services.into_iter().map(receipt).collect()
}

/// The service to which a cluster of that name leads.
fn service<'a>(name: &str, topology: &'a Topology) -> Option<&'a ServiceId> {
    let leads = |clusters: &[weir_engine::topology::ClientCluster]| {
        clusters.iter().any(|cluster| cluster.name.as_str() == name)
    };
    topology.services.iter().find(|one| leads(&one.clusters)).map(|one| &one.service)
}

fn view(counts: Counts) -> RelayView {
    RelayView {
        streams: counts.streams,
        taken: counts.taken,
        refused: counts.refused,
        withheld: counts.withheld,
        blind: counts.blind,
        repaired: counts.repaired,
    }
}
