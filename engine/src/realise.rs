//! Which form a share takes at a proxy, and what the proxy will make of it.
//!
//! On stock Envoy the form decides as much as the share. Measured under load on Envoy 1.40:
//! under least request, unequal endpoint weights turn the choice of two into a schedule and are
//! not shares (9:1 gave 24.7 % instead of 10 %); weight classes as localities are exact and keep
//! the choice of two, but an endpoint that changes its locality loses its connections and outlier
//! state. So equal weights in the original localities are the rule, classes are few, lasting and
//! keep their names, and moves between them have a budget.

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::decision::{EndpointState, Form, Group, Health, Member, Realisation};
use crate::guard::Granted;
use crate::history::remapped;
use crate::names::{ClusterName, Locality};
use crate::topology::{BalancerPolicy, ClientKind, ClusterForm, ServiceTopology};
use crate::units::{Moment, Ratio};
use crate::zones::ZoneSplit;

mod classes;
mod hosts;
mod zones;

pub use classes::Lane;
pub use hosts::host_shares;

/// What realisation remembers of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// One per endpoint: its class, and since when.
    pub places: Vec<classes::Place>,
    /// What is in force.
    pub last: Vec<Arc<Realisation>>,
    /// What that was made of; none where the topology changed since.
    parts: Option<(Vec<Part>, Vec<ZoneSplit>)>,
    /// When that last changed.
    pub changed: Moment,
}

/// One endpoint as the realiser sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Weight relative to the equal share.
    pub(crate) weight: f64,
    /// What the proxy is told.
    pub(crate) health: Health,
    /// Weight ramps for a while only: new, or proving itself.
    pub(crate) passing: bool,
    /// The part of the proxies that ejected it themselves.
    pub(crate) ejected_by_proxies: f64,
}

/// The finest step of a weight: a thousandth of an equal share.
pub(crate) const SCALE: f64 = 1_000.0;

/// An endpoint's weight stays below this: a thousand equal shares.
const WEIGHT_MOST: f64 = 1_000_000.0;

/// A locality's weight stays below this, so that no sum overflows 32 bits: a hundred thousand
/// equal shares.
const SUM_MOST: f64 = 100_000_000.0;

impl Memory {
    /// Follows a change of topology. What is in force speaks of other endpoints now: measured
    /// shares cannot be held against it.
    pub fn remap(&mut self, from: &[Option<usize>]) {
        self.places = remapped(&mut self.places, from);
        self.last.clear();
        self.forget();
    }

    /// Has the next realisation made anew.
    pub fn forget(&mut self) {
        self.parts = None;
    }
}

/// What is to be realised: the granted endpoints and how proxies judge them themselves.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What is granted, in the topology's order; empty: equal shares.
    pub endpoints: &'a [Granted],
    /// The part of the proxies that ejected each endpoint themselves.
    pub ejected_by_proxies: &'a [f64],
    /// The part of the requests to turn away.
    pub shed: Ratio,
    /// Where the clients of each zone go.
    pub zones: &'a [ZoneSplit],
    /// Now.
    pub at: Moment,
}

/// Turns granted weights into one realisation per form of client cluster.
pub fn realise(
    wanted: Wanted<'_>,
    topology: &ServiceTopology,
    memory: &mut Memory,
) -> Vec<Arc<Realisation>> {
    let parts = parts(wanted, topology);
    let moved = classes::settle(&parts, wanted.at, &mut memory.places);
    let (shed, zones) = (wanted.shed, wanted.zones);
    let sheds = memory.last.iter().all(|made| made.shed == shed);
    let same = memory.parts.as_ref().is_some_and(|(old, of)| *old == parts && of == zones);
    if moved || !sheds || !same {
        let made = make((&parts, zones), shed, topology, memory);
        if !same_groups(&made, &memory.last) {
            memory.changed = wanted.at;
        }
        (memory.last, memory.parts) = (made, Some((parts, zones.to_vec())));
    }
    memory.last.clone()
}

fn make(
    (parts, zones): (&[Part], &[ZoneSplit]),
    shed: Ratio,
    topology: &ServiceTopology,
    memory: &Memory,
) -> Vec<Arc<Realisation>> {
    let mut realisations: Vec<(ClusterForm, Realisation)> = Vec::new();
    for cluster in &topology.clusters {
        let known = realisations.iter_mut().find(|(form, _)| *form == cluster.form);
        if let Some((_, realisation)) = known {
            realisation.clusters.push(cluster.name.clone());
        } else {
            let (form, name) = (cluster.form, cluster.name.clone());
            realisations
                .push((form, of_form((form, shed), (parts, zones), topology, memory, name)));
        }
    }
    realisations.into_iter().map(|(_, made)| Arc::new(made)).collect()
}

fn same_groups(a: &[Arc<Realisation>], b: &[Arc<Realisation>]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.groups == b.groups && a.zones == b.zones && a.clusters == b.clusters)
}

fn parts(wanted: Wanted<'_>, topology: &ServiceTopology) -> Vec<Part> {
    topology
        .endpoints
        .iter()
        .enumerate()
        .map(|(index, endpoint)| {
            let granted = wanted.endpoints.get(index);
            let state = granted.map_or(EndpointState::Serving, |granted| granted.state);
            let health = match state {
                _ if !endpoint.ready => Health::Draining,
                EndpointState::Ejected { .. } => Health::Unhealthy,
                EndpointState::NotReady => Health::Draining,
                EndpointState::Serving | EndpointState::Joining | EndpointState::Probation => {
                    Health::Healthy
                }
            };
            Part {
                weight: granted.map_or(1.0, |granted| granted.weight),
                health,
                passing: matches!(state, EndpointState::Joining | EndpointState::Probation),
                ejected_by_proxies: wanted.ejected_by_proxies.get(index).copied().unwrap_or(0.0),
            }
        })
        .collect()
}

fn of_form(
    (form, shed): (ClusterForm, Ratio),
    (parts, zones): (&[Part], &[ZoneSplit]),
    topology: &ServiceTopology,
    memory: &Memory,
    cluster: ClusterName,
) -> Realisation {
    let (taken, groups) = match (form.client, form.policy) {
        (ClientKind::Grpc, _) => (Form::Localities, per_endpoint(parts, topology)),
        (ClientKind::Envoy, BalancerPolicy::RoundRobin) => {
            (Form::Weights, by_locality(parts, topology, |part| part.weight))
        }
        (ClientKind::Envoy, BalancerPolicy::LeastRequest) if takes_classes(form) => {
            classes::groups(parts, topology, &memory.places)
        }
        (ClientKind::Envoy, BalancerPolicy::LeastRequest | BalancerPolicy::Random) => {
            (Form::InOut, by_locality(parts, topology, |_| 1.0))
        }
    };
    let equal = parts.iter().all(|p| p.health == Health::Healthy && (p.weight - 1.0).abs() < 1e-9);
    let by_proxies: Vec<f64> = parts.iter().map(|part| part.ejected_by_proxies).collect();
    let (shares, panicking) = host_shares(&groups, form, topology, &by_proxies);
    let made = Realisation {
        clusters: alloc::vec![cluster],
        form: if equal && taken != Form::Localities { Form::Equal } else { taken },
        groups,
        predicted: shares.into_iter().map(Ratio::clamped).collect(),
        shed,
        zones: Vec::new(),
        panicking,
    };
    zones::with_zones(made, form, zones, topology, &by_proxies)
}

/// Classes need locality weights, destroy zone-aware routing, and restart Envoy's slow start.
fn takes_classes(form: ClusterForm) -> bool {
    form.locality_weighted && !form.zone_aware && !form.slow_start
}

/// Endpoints in their original localities, with a weight each: all one where all are equal.
fn by_locality(
    parts: &[Part],
    topology: &ServiceTopology,
    weight: impl Fn(&Part) -> f64,
) -> Vec<Group> {
    let equal = parts.iter().all(|part| (weight(part) - 1.0).abs() < 1e-9);
    let scale = if equal { 1.0 } else { SCALE };
    let mut groups: Vec<Group> = Vec::new();
    for (endpoint, part) in topology.endpoints.iter().zip(parts) {
        let member = Member {
            address: endpoint.address.clone(),
            weight: whole(weight(part) * scale),
            health: part.health,
        };
        match groups.iter_mut().find(|group| group.locality == endpoint.locality) {
            Some(group) => group.members.push(member),
            None => groups.push(Group {
                locality: endpoint.locality.clone(),
                weight: core::num::NonZeroU32::MIN,
                members: alloc::vec![member],
            }),
        }
    }
    for group in &mut groups {
        group.weight = whole_sum(group.members.iter().map(|m| f64::from(m.weight.get())).sum());
    }
    groups.sort_by(|a, b| a.locality.cmp(&b.locality));
    groups
}

/// One locality per endpoint: gRPC ignores endpoint weights (gRFC A27) and skips localities
/// without a weight.
fn per_endpoint(parts: &[Part], topology: &ServiceTopology) -> Vec<Group> {
    topology
        .endpoints
        .iter()
        .zip(parts)
        .map(|(endpoint, part)| Group {
            locality: Locality {
                sub_zone: endpoint.address.as_str().into(),
                ..endpoint.locality.clone()
            },
            weight: whole(part.weight * SCALE),
            members: alloc::vec![Member {
                address: endpoint.address.clone(),
                weight: core::num::NonZeroU32::MIN,
                health: part.health,
            }],
        })
        .collect()
}

/// The nearest whole weight of at least one; weights that are no numbers become one.
pub(crate) fn whole(weight: f64) -> core::num::NonZeroU32 {
    bounded(weight, WEIGHT_MOST)
}

/// As [`whole`], for a locality.
pub(crate) fn whole_sum(weight: f64) -> core::num::NonZeroU32 {
    bounded(weight, SUM_MOST)
}

fn bounded(weight: f64, most: f64) -> core::num::NonZeroU32 {
    let rounded = libm::round(weight);
    let bounded = if rounded >= 1.0 { rounded.min(most) } else { 1.0 };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and a billion"
    )]
    let integer = bounded as u32;
    core::num::NonZeroU32::new(integer).unwrap_or(core::num::NonZeroU32::MIN)
}

#[cfg(test)]
mod tests;
