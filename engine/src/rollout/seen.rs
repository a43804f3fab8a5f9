//! What was seen of a version in one step.

use crate::comparison::Side;
use crate::names::ServiceId;
use crate::observation::Observation;

/// What was seen of one version, if anything was.
pub(super) fn side(observation: &Observation, service: &ServiceId) -> Option<Side> {
    let traffic = &observation.traffic;
    let at = traffic.binary_search_by(|traffic| traffic.service.cmp(service)).ok()?;
    traffic.get(at).and_then(Side::of)
}
