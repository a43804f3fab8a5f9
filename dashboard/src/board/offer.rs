//! Offers and approvals, from the engine's types to the dashboard's.

use weir_engine::approval::OfferId;
use weir_engine::decision::ServiceDecision;
use weir_engine::names::ServiceId;
use weir_engine::rollout::RolloutDecision;

use super::Snapshot;
use crate::view::offer::{ApprovalView, OfferView};
use crate::view::{Time, plain};

fn id(service: &ServiceId, number: u64) -> String {
    plain(&OfferId { service: service.clone(), number }.to_string())
}

/// What waits of a service's own shares.
pub(crate) fn of_service(decision: &ServiceDecision) -> Option<OfferView> {
    let offer = decision.offer.as_ref()?;
    Some(OfferView {
        id: id(&decision.service, offer.number),
        service: plain(&decision.service.to_string()),
        since: Time(offer.since),
        text: plain(&offer.scope.to_string()),
    })
}

/// The step that waits of a rollout.
pub(crate) fn of_rollout(rollout: &RolloutDecision) -> Option<OfferView> {
    let offer = rollout.offer.as_ref()?;
    Some(OfferView {
        id: id(&rollout.service, offer.number),
        service: plain(&rollout.service.to_string()),
        since: Time(offer.since),
        text: plain(&rollout.offered()?),
    })
}

/// What is approved of a service.
pub(crate) fn approval(decision: &ServiceDecision) -> Option<ApprovalView> {
    let approval = decision.approval.as_ref()?;
    Some(ApprovalView {
        id: id(&decision.service, approval.number),
        by: plain(&approval.by),
        since: Time(approval.since),
        until: Time(approval.until),
        text: plain(&approval.scope.to_string()),
    })
}

impl Snapshot {
    /// All that waits, in order of service.
    pub(crate) fn offers(&self) -> Vec<OfferView> {
        let decision = &self.decision;
        let services = decision.services.iter().filter_map(|service| of_service(service));
        let rollouts = decision.rollouts.iter().filter_map(|rollout| of_rollout(rollout));
        let mut offers: Vec<_> = services.chain(rollouts).collect();
        offers.sort_by(|a, b| a.service.cmp(&b.service));
        offers
    }
}
