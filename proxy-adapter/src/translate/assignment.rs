//! A realisation as a `ClusterLoadAssignment`.
//!
//! Everything at priority 0, the overprovisioning factor at its default (the engine counts on
//! 1.4), and never `endpoint_stale_after`: it turns Weir's absence into an outage.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{self as core, HealthStatus, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::policy::DropOverload;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::google::protobuf::UInt32Value;
use weir_engine::decision::{Group, Health, Member, Realisation, ZoneWeights};
use weir_engine::names::{Address, ClusterName, Locality};
use weir_engine::topology::ServiceTopology;
use weir_engine::units::Ratio;

use crate::validate::Fault;

/// What proxies call the requests that Weir turns away, in statistics and load reports.
const CATEGORY: &str = "weir";

/// The part is told to half a per cent.
const STEPS: u32 = 200;

const MILLION: u32 = 1_000_000;

/// The assignment, still without the name of a cluster. Refused if its endpoints are not those
/// that are declared.
pub(super) fn build(
    realisation: &Realisation,
    declared: Option<&ServiceTopology>,
) -> Result<ClusterLoadAssignment, Fault> {
    complete(realisation, declared)?;
    // A class without a member is no locality that a proxy could use.
    let groups = realisation.groups.iter().filter(|group| !group.members.is_empty());
    let mut endpoints = groups.map(locality).collect::<Result<Vec<_>, _>>()?;
    let steps = steps(realisation.shed);
    mark(&mut endpoints, steps);
    let policy = (steps > 0).then(|| turning_away(steps));
    Ok(ClusterLoadAssignment { endpoints, policy, ..Default::default() })
}

/// The same for the clients of one zone.
pub(super) fn for_zone(
    realisation: &Realisation,
    declared: Option<&ServiceTopology>,
    zone: &ZoneWeights,
) -> Result<ClusterLoadAssignment, Fault> {
    let groups = zone.of_groups(&realisation.groups);
    build(&Realisation { groups, ..realisation.clone() }, declared)
}

/// The part to turn away in whole steps.
fn steps(shed: Ratio) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between nothing and all of the steps"
    )]
    let whole = (f64::from(STEPS) * shed.value()).round() as u32;
    whole
}

/// Envoy and gRPC refuse this part of the requests at once (Envoy with the response flag `DO`).
fn turning_away(steps: u32) -> Policy {
    let percent = FractionalPercent {
        numerator: steps * (MILLION / STEPS),
        denominator: DenominatorType::Million.into(),
    };
    let drop = DropOverload { category: CATEGORY.to_owned(), drop_percentage: Some(percent) };
    Policy { drop_overloads: vec![drop], ..Default::default() }
}

/// Makes the part that is turned away show in the localities' weights, which stay what they are to
/// one another: Envoy (1.40) takes over another part only together with another host or weight.
/// Where weights are too large to grow, the part waits for the next change.
fn mark(localities: &mut [LocalityLbEndpoints], steps: u32) {
    let weights = || localities.iter().filter_map(|one| one.load_balancing_weight);
    let sum: u64 = weights().map(|weight| u64::from(weight.value)).sum();
    let factor = 1 + steps;
    if u32::try_from(sum * u64::from(factor)).is_ok() {
        for weight in localities.iter_mut().filter_map(|one| one.load_balancing_weight.as_mut()) {
            weight.value *= factor;
        }
    }
}

/// The answer for a service that has no endpoint.
pub(super) fn empty(cluster: &ClusterName) -> ClusterLoadAssignment {
    ClusterLoadAssignment { cluster_name: cluster.to_string(), ..Default::default() }
}

/// Whether the realisation has every declared endpoint that may take traffic, and no other.
fn complete(realisation: &Realisation, declared: Option<&ServiceTopology>) -> Result<(), Fault> {
    let declared = declared.map_or(&[][..], |service| &service.endpoints);
    let members = realisation.groups.iter().flat_map(|group| &group.members);
    let sent: BTreeSet<&Address> = members.map(|member| &member.address).collect();
    if sent.is_empty() && !declared.is_empty() {
        return Err(Fault::Empty { declared: declared.len() });
    }
    let known: BTreeSet<&Address> = declared.iter().map(|endpoint| &endpoint.address).collect();
    if let Some(foreign) = sent.difference(&known).next() {
        return Err(Fault::Undeclared(foreign.to_string()));
    }
    match declared.iter().find(|endpoint| endpoint.ready && !sent.contains(&endpoint.address)) {
        Some(missing) => Err(Fault::Missing(missing.address.to_string())),
        None => Ok(()),
    }
}

fn locality(group: &Group) -> Result<LocalityLbEndpoints, Fault> {
    Ok(LocalityLbEndpoints {
        locality: Some(place(&group.locality)),
        load_balancing_weight: Some(UInt32Value { value: group.weight.get() }),
        lb_endpoints: group.members.iter().map(endpoint).collect::<Result<_, _>>()?,
        ..Default::default()
    })
}

fn place(locality: &Locality) -> core::Locality {
    core::Locality {
        region: locality.region.to_string(),
        zone: locality.zone.to_string(),
        sub_zone: locality.sub_zone.to_string(),
    }
}

fn endpoint(member: &Member) -> Result<LbEndpoint, Fault> {
    let health = match member.health {
        Health::Healthy => HealthStatus::Healthy,
        Health::Unhealthy => HealthStatus::Unhealthy,
        Health::Draining => HealthStatus::Draining,
    };
    Ok(LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(socket(&member.address)?),
            ..Default::default()
        })),
        health_status: health.into(),
        load_balancing_weight: Some(UInt32Value { value: member.weight.get() }),
        ..Default::default()
    })
}

fn socket(address: &Address) -> Result<core::Address, Fault> {
    let refused = || Fault::NotAnAddress(address.to_string());
    let parsed: SocketAddr = address.as_str().parse().map_err(|_| refused())?;
    if matches!(parsed, SocketAddr::V6(v6) if v6.scope_id() != 0) {
        return Err(refused()); // A scope means nothing on another machine.
    }
    let socket = SocketAddress {
        address: parsed.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(parsed.port().into())),
        ..Default::default()
    };
    Ok(core::Address { address: Some(core::address::Address::SocketAddress(socket)) })
}
