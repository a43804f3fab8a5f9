//! The weights of groups for the clients of each zone, and what all clients together make of them.

use alloc::vec::Vec;

use super::hosts::host_shares;
use super::whole_sum;
use crate::decision::{Group, Realisation, ZoneWeights};
use crate::topology::{ClientKind, ClusterForm, ServiceTopology};
use crate::units::Ratio;
use crate::zones::ZoneSplit;

/// What the weights of one zone's clients sum to: shares are told to a millionth.
const SUM: f64 = 1_000_000.0;

/// Whether clients of this form pick localities by weights that may differ from client to client.
fn takes_zones(form: ClusterForm) -> bool {
    match form.client {
        ClientKind::Grpc => true,
        // Envoy's own zone-aware routing knows better than to be told.
        ClientKind::Envoy => form.locality_weighted && !form.zone_aware,
    }
}

/// The same realisation with weights of their own for the clients of each zone.
pub(super) fn with_zones(
    made: Realisation,
    form: ClusterForm,
    zones: &[ZoneSplit],
    topology: &ServiceTopology,
    by_proxies: &[f64],
) -> Realisation {
    if zones.is_empty() || made.panicking || !takes_zones(form) {
        return made;
    }
    let weighed = zones.iter().filter_map(|split| Some((split, weights(&made.groups, split)?)));
    let weighed: Vec<(&ZoneSplit, ZoneWeights)> = weighed.collect();
    let mut pooled: Vec<f64> = alloc::vec![0.0; made.predicted.len()];
    let mut left = 1.0;
    for (split, own) in &weighed {
        let (shares, _) = host_shares(&own.of_groups(&made.groups), form, topology, by_proxies);
        let part = split.part.value().min(left);
        left -= part;
        for (sum, share) in pooled.iter_mut().zip(shares) {
            *sum += part * share;
        }
    }
    for (sum, share) in pooled.iter_mut().zip(&made.predicted) {
        *sum += left * share.value();
    }
    let predicted = pooled.into_iter().map(Ratio::clamped).collect();
    let zones = weighed.into_iter().map(|(_, weights)| weights).collect();
    Realisation { predicted, zones, ..made }
}

fn weights(groups: &[Group], split: &ZoneSplit) -> Option<ZoneWeights> {
    let wanted = groups
        .iter()
        .map(|group| f64::from(group.weight.get()) * split.factor(&group.locality.zone));
    let wanted: Vec<f64> = wanted.collect();
    let sum: f64 = wanted.iter().sum();
    let known = sum.is_finite() && sum > 0.0;
    known.then(|| ZoneWeights {
        client: split.client.clone(),
        weights: wanted.into_iter().map(|weight| whole_sum(SUM * weight / sum)).collect(),
    })
}
