//! How far an approval reaches, and what of a decision is within it.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::InForce;
use crate::decision::{EndpointState, Stance};
use crate::goal::Mode;
use crate::guard::{Allowed, Granted};
use crate::model::View;
use crate::names::Address;
use crate::plan::Plan;
use crate::topology::ServiceTopology;
use crate::units::Ratio;
use crate::zones::ZoneSplit;

/// A weight this near to what was offered is the same to a person, in equal shares: weights follow
/// the load a little all the time, and an offer that changes while it is read cannot be approved.
const NEAR: f64 = 0.2;

/// As [`NEAR`], of the part of the requests that is turned away.
const NEAR_SHED: f64 = 0.05;

/// Weights this near to one are equal shares.
const EQUAL: f64 = 0.005;

/// What one endpoint may be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// Which endpoint.
    pub address: Address,
    /// Whether it may be ejected.
    pub out: bool,
    /// The least weight, relative to the equal share.
    pub least: f64,
    /// The largest weight.
    pub most: f64,
}

/// How far one may go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// The endpoints that may be treated unlike others, in the topology's order.
    pub endpoints: Vec<Reach>,
    /// The largest part of the requests to turn away.
    pub shed: Ratio,
    /// Whether the clients of a zone may prefer endpoints of some zones.
    pub zones: bool,
}

/// What is to be offered, if anything is. While everything is held an offer waits: what it is made of
/// has not changed.
pub(crate) fn wanted(allowed: &Allowed, plan: &Plan, view: &View<'_>) -> Option<Scope> {
    (view.goal.mode == Mode::Recommend && !matches!(allowed.stance, Stance::Decaying { .. }))
        .then(|| Scope::of(allowed, plan, view.topology))
}

impl Scope {
    /// What a decision comes to, with the weights that it leads to: they are reached in steps, and
    /// a person should not be asked at each.
    pub(crate) fn of(allowed: &Allowed, plan: &Plan, topology: &ServiceTopology) -> Self {
        let declared = topology.endpoints.iter().zip(&allowed.endpoints).enumerate();
        let endpoints = declared.filter_map(|(index, (endpoint, granted))| {
            let out = matches!(granted.state, EndpointState::Ejected { .. });
            let weighs = granted.state == EndpointState::Serving;
            let wished = plan.endpoints.get(index).map(|wish| wish.weight);
            let wished = wished.filter(|weight| plan.steering && weight.is_finite());
            let granted = Some(granted.weight);
            let weights = [granted, wished].into_iter().flatten().filter(|_| weighs);
            let (least, most) = weights.fold((1.0_f64, 1.0_f64), |(least, most), weight| {
                (least.min(weight), most.max(weight))
            });
            let unlike = out || 1.0 - least > EQUAL || most - 1.0 > EQUAL;
            unlike.then(|| Reach { address: endpoint.address.clone(), out, least, most })
        });
        let zones = !allowed.zones.is_empty();
        Self { endpoints: endpoints.collect(), shed: allowed.shed, zones }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.endpoints.is_empty() && self.shed == Ratio::ZERO && !self.zones
    }

    /// What may be done with an endpoint; with one that is not named, nothing.
    fn reach(&self, address: &Address) -> Option<&Reach> {
        self.endpoints.iter().find(|reach| reach.address == *address)
    }

    /// Whether another asks for nothing beyond this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let endpoints = other.endpoints.iter().all(|wanted| {
            let (out, least, most) = self
                .reach(&wanted.address)
                .map_or((false, 1.0, 1.0), |reach| (reach.out, reach.least, reach.most));
            (out || !wanted.out) && wanted.least >= least - NEAR && wanted.most <= most + NEAR
        });
        let shed = other.shed.value() <= self.shed.value() + NEAR_SHED;
        endpoints && shed && (self.zones || !other.zones)
    }

    /// Whether both are the same to a person.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.covers(other) && other.covers(self)
    }

    /// What is allowed, as far as this reaches.
    pub(super) fn bound<'a>(
        &self,
        allowed: &'a Allowed,
        topology: &ServiceTopology,
    ) -> InForce<'a> {
        let declared = topology.endpoints.iter().zip(&allowed.endpoints);
        let endpoints: Vec<_> = declared
            .map(|(endpoint, granted)| match self.reach(&endpoint.address) {
                Some(reach) => reach.bound(granted),
                None => equal(granted),
            })
            .collect();
        let shed = Ratio::clamped(allowed.shed.value().min(self.shed.value()));
        let zones: &[ZoneSplit] = if self.zones { &allowed.zones } else { &[] };
        InForce { endpoints: endpoints.into(), shed, zones }
    }
}

impl Reach {
    fn bound(&self, granted: &Granted) -> Granted {
        match granted.state {
            EndpointState::Ejected { .. } if !self.out => equal(granted),
            EndpointState::Ejected { .. } | EndpointState::NotReady => granted.clone(),
            // On its way back from where it was allowed to be.
            EndpointState::Probation if self.out => granted.clone(),
            EndpointState::Serving | EndpointState::Joining | EndpointState::Probation => {
                Granted { weight: granted.weight.clamp(self.least, self.most), ..granted.clone() }
            }
        }
    }
}

/// An endpoint with which nothing is done.
fn equal(granted: &Granted) -> Granted {
    let state = match granted.state {
        EndpointState::NotReady => EndpointState::NotReady,
        EndpointState::Serving
        | EndpointState::Joining
        | EndpointState::Probation
        | EndpointState::Ejected { .. } => EndpointState::Serving,
    };
    Granted { weight: 1.0, state, ..granted.clone() }
}
