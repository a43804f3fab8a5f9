//! Where the clients of each zone send their requests: near ones first, as far as there is room.
//!
//! An endpoint's weight says what it gets of an average client; here stands how clients of one
//! zone depart from that, endpoint zone by endpoint zone. Factors multiply the weights of whole
//! endpoint zones, so whatever the weights do (an ejection, a ramp), they do for every client.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::names::Place;
use crate::units::Ratio;

/// How the clients of one zone split their requests over endpoint zones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneSplit {
    /// The clients' zone.
    pub client: Place,
    /// Their part of the service's requests.
    pub part: Ratio,
    /// One per endpoint zone, in ascending order of it; a zone that is missing counts 1.
    pub ways: Vec<Way>,
}

/// What endpoints of one zone get of these clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// The endpoints' zone.
    pub zone: Place,
    /// So many times what they get of an average client.
    pub factor: f64,
    /// The part of these clients' requests that this amounted to when it was decided.
    pub share: Ratio,
}

impl ZoneSplit {
    /// What the weights of endpoints of a zone are multiplied by for these clients.
    pub fn factor(&self, zone: &Place) -> f64 {
        let at = self.ways.binary_search_by(|way| way.zone.cmp(zone));
        at.ok().and_then(|at| self.ways.get(at)).map_or(1.0, |way| way.factor)
    }

    /// The parts of these clients' requests that go to zones of these weights; nothing where all
    /// weights are zero.
    pub fn shares(&self, zones: &[(Place, f64)]) -> Option<Vec<f64>> {
        let parts: Vec<f64> =
            zones.iter().map(|(zone, weight)| weight * self.factor(zone)).collect();
        let sum: f64 = parts.iter().sum();
        (sum.is_finite() && sum > 0.0).then(|| parts.into_iter().map(|part| part / sum).collect())
    }

    /// The split that makes these shares of zones of these weights.
    pub fn of_shares(client: Place, part: Ratio, zones: &[(Place, f64)], shares: &[f64]) -> Self {
        let sum: f64 = zones.iter().map(|(_, weight)| weight).sum();
        let way = |((zone, weight), share): (&(Place, f64), &f64)| Way {
            zone: zone.clone(),
            factor: if *weight > 0.0 { share * sum / weight } else { 1.0 },
            share: Ratio::clamped(*share),
        };
        Self { client, part, ways: zones.iter().zip(shares).map(way).collect() }
    }
}
