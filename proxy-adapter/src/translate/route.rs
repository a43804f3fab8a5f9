//! A service's route (RDS): all of its requests to its own cluster, or to the versions of a
//! rollout by their weights.
//!
//! A version without a part is left out, so that nothing refers to it and it may come late or go.
//! Proxies are told to check that they know the clusters: one that does not refuses the route and
//! keeps its last, where it would otherwise fail that part of the requests, and nobody would see
//! it, since what leads nowhere is in nobody's load report.

use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, WeightedCluster,
};
use envoy_types::pb::google::protobuf::{BoolValue, UInt32Value};
use weir_engine::goal::Mode;
use weir_engine::names::{ClusterName, ServiceId};
use weir_engine::rollout::RolloutDecision;
use weir_engine::topology::Topology;
use weir_engine::units::Ratio;

use crate::validate::{Fault, PARTS};

/// The name of a service's route configuration: what a listener asks for.
pub fn name(service: &ServiceId) -> String {
    service.to_string()
}

/// The route of a service, if there is anything that it could lead to.
pub(super) fn build(
    service: &ServiceId,
    rollout: Option<&RolloutDecision>,
    topology: &Topology,
) -> Option<Result<RouteConfiguration, Fault>> {
    let own = cluster(service, topology);
    // What is only watched changes nothing, unless the new version has a part already.
    let acts = |rollout: &&RolloutDecision| {
        rollout.mode == Mode::Enforce || rollout.weight > Ratio::ZERO || own.is_none()
    };
    let weighted = match (rollout.filter(acts), own) {
        (Some(rollout), _) => versions(rollout, topology),
        (None, Some(own)) => Ok(vec![(own, PARTS)]),
        (None, None) => return None,
    };
    Some(weighted.map(|weighted| configuration(service, &weighted)))
}

/// The cluster that a route to a service names: the first of those that lead to it.
fn cluster<'a>(service: &ServiceId, topology: &'a Topology) -> Option<&'a ClusterName> {
    let declared = super::find(topology, service)?;
    declared.clusters.first().map(|cluster| &cluster.name)
}

/// The clusters of both versions with their parts, which are together exactly all.
fn versions<'a>(
    rollout: &RolloutDecision,
    topology: &'a Topology,
) -> Result<Vec<(&'a ClusterName, u32)>, Fault> {
    let canary = parts(rollout.weight);
    let shares = [(&rollout.stable, PARTS - canary), (&rollout.canary, canary)];
    let taking = shares.into_iter().filter(|(_, parts)| *parts > 0);
    taking
        .map(|(version, parts)| {
            let cluster = cluster(version, topology);
            let cluster = cluster.ok_or_else(|| Fault::NoCluster(version.to_string()))?;
            Ok((cluster, parts))
        })
        .collect()
}

fn parts(weight: Ratio) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between nothing and all of the parts"
    )]
    let parts = (f64::from(PARTS) * weight.value()).round() as u32;
    parts
}

fn configuration(service: &ServiceId, weighted: &[(&ClusterName, u32)]) -> RouteConfiguration {
    let clusters = weighted.iter().map(|(name, parts)| ClusterWeight {
        name: name.to_string(),
        weight: Some(UInt32Value { value: *parts }),
        ..Default::default()
    });
    // No total: proxies go by the sum, whatever they are told that it is.
    let weighted = WeightedCluster { clusters: clusters.collect(), ..Default::default() };
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(weighted)),
        ..Default::default()
    };
    let all = PathSpecifier::Prefix("/".to_owned());
    let route = Route {
        r#match: Some(RouteMatch { path_specifier: Some(all), ..Default::default() }),
        action: Some(Action::Route(action)),
        ..Default::default()
    };
    let host = VirtualHost {
        name: name(service),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..Default::default()
    };
    RouteConfiguration {
        name: name(service),
        virtual_hosts: vec![host],
        validate_clusters: Some(BoolValue { value: true }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
