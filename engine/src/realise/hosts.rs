//! The host-level shares that a proxy makes of an assignment.
//!
//! Envoy's arithmetic (measured on 1.40): within a locality that is picked by weight the
//! effective weight is w x min(1, 1.4 x healthy part); below the panic threshold health and
//! locality weights are ignored.

use alloc::vec::Vec;

use crate::decision::{Group, Health};
use crate::topology::{ClientKind, ClusterForm, ServiceTopology};

/// Envoy's overprovisioning factor at its default.
pub(crate) const OVERPROVISIONING: f64 = 1.4;

/// Shares in the topology's order, and whether proxies would panic. `by_proxies` is the part of
/// the proxies that ejected each endpoint themselves.
pub fn host_shares(
    groups: &[Group],
    form: ClusterForm,
    topology: &ServiceTopology,
    by_proxies: &[f64],
) -> (Vec<f64>, bool) {
    let mut shares = alloc::vec![0.0; topology.endpoints.len()];
    let hosts: Vec<Vec<Host>> =
        groups.iter().map(|group| hosts(group, topology, by_proxies)).collect();
    let count: usize = hosts.iter().map(Vec::len).sum();
    let healthy: f64 = hosts.iter().flatten().map(|host| host.healthy).sum();
    let panicking = form.client == ClientKind::Envoy
        && count > 0
        && healthy / (count as f64) < form.panic_threshold.value();
    let picks_localities = form.locality_weighted || form.client == ClientKind::Grpc;
    for (group, hosts) in groups.iter().zip(&hosts) {
        let alive: f64 = hosts.iter().map(|host| host.healthy * host.weight).sum();
        let part = alive_part(hosts);
        let factor = match form.client {
            ClientKind::Grpc => f64::from(part > 0.0),
            ClientKind::Envoy => (OVERPROVISIONING * part).min(1.0),
        };
        for host in hosts {
            shares[host.index] = if panicking {
                host.weight
            } else if !picks_localities {
                host.healthy * host.weight
            } else if alive > 0.0 {
                f64::from(group.weight.get()) * factor * host.healthy * host.weight / alive
            } else {
                0.0
            };
        }
    }
    let sum: f64 = shares.iter().sum();
    if sum > 0.0 {
        for share in &mut shares {
            *share /= sum;
        }
    }
    (shares, panicking)
}

struct Host {
    index: usize,
    weight: f64,
    healthy: f64,
}

fn hosts(group: &Group, topology: &ServiceTopology, by_proxies: &[f64]) -> Vec<Host> {
    let mut likely = 0;
    let members = group.members.iter();
    members
        .filter_map(|member| {
            let index = topology.index_near(&member.address, likely)?;
            likely = index + 1;
            let in_use = 1.0 - by_proxies.get(index).copied().unwrap_or(0.0).clamp(0.0, 1.0);
            let healthy = if member.health == Health::Healthy { in_use } else { 0.0 };
            Some(Host { index, weight: f64::from(member.weight.get()), healthy })
        })
        .collect()
}

fn alive_part(hosts: &[Host]) -> f64 {
    if hosts.is_empty() {
        return 0.0;
    }
    hosts.iter().map(|host| host.healthy).sum::<f64>() / hosts.len() as f64
}
