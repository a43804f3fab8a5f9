//! What was seen of a version in one step.

use crate::comparison::Side;
use crate::names::ServiceId;
use crate::observation::{Observation, ServiceTraffic};

/// What was seen of one version, if anything was.
pub(super) fn side(observation: &Observation, service: &ServiceId) -> Option<Side> {
    let traffic = &observation.traffic;
    let at = traffic.binary_search_by(|traffic| traffic.service.cmp(service)).ok()?;
    traffic.get(at).filter(|traffic| traffic.clients > 0).map(sums)
}

fn sums(traffic: &ServiceTraffic) -> Side {
    let mut side = Side::default();
    for row in traffic.rows.iter() {
        side.requests += row.requests as f64;
        side.errors += row.errors as f64;
        side.latency.add(&row.latency);
    }
    let whole = traffic.totals.as_ref().filter(|_| side.latency.count <= 0.0);
    if let Some(whole) = whole {
        side.latency.add(&whole.latency);
    }
    side
}
