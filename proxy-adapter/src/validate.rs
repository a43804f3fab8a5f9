//! What no client may be sent: every resource is checked by the strictest client before it goes
//! out.
//!
//! Envoy takes much that it should not (weights whose sum overflows, a priority without
//! endpoints before one with them, an endpoint twice, no endpoint at all: then every request
//! fails), while gRPC refuses it. So Weir does not lean on either's refusal. What is found here is
//! a fault of Weir's own: the resource is withheld, said, and the last good one stays.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality};
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, WeightedCluster};
use envoy_types::pb::google::protobuf::UInt32Value;

/// The parts of a route are together so many: hundredths of a per cent.
pub const PARTS: u32 = 10_000;

/// Envoy takes priorities up to here.
const PRIORITY_MAX: u32 = 128;

/// Why a resource is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The resource has no name.
    #[error("it has no name")]
    Nameless,
    /// The assignment is for another cluster.
    #[error("it is for cluster {found:?}; gRPC and Envoy would refuse it")]
    OtherCluster {
        /// The cluster that it names.
        found: String,
    },
    /// No endpoint, although the service has some.
    #[error("it has no endpoint although {declared} are declared; every request would fail")]
    Empty {
        /// How many are declared.
        declared: usize,
    },
    /// A declared endpoint is missing.
    #[error("endpoint {0} is declared and ready but missing")]
    Missing(String),
    /// An endpoint that discovery does not know.
    #[error("endpoint {0} is not declared")]
    Undeclared(String),
    /// An address that is no IP address with a port.
    #[error("endpoint {0:?} is no IP address with a port in 1..=65535; over xDS names are refused")]
    NotAnAddress(String),
    /// An endpoint twice.
    #[error("endpoint {0} is in it twice; gRPC would refuse it")]
    EndpointTwice(String),
    /// A locality twice in one priority.
    #[error("locality {locality} is twice in priority {priority}; gRPC would refuse it")]
    LocalityTwice {
        /// Which.
        locality: String,
        /// In which priority.
        priority: u32,
    },
    /// A locality without a weight, or with weight 0.
    #[error("locality {0} has no weight; gRPC would leave it out")]
    LocalityWeightless(String),
    /// An endpoint without a weight, or with weight 0.
    #[error("endpoint {0} has weight 0, which every proxy refuses")]
    EndpointWeightless(String),
    /// The weights of a locality's endpoints overflow.
    #[error(
        "the weights of the endpoints of locality {locality} add up to {sum}, over {}",
        u32::MAX
    )]
    EndpointSum {
        /// Which locality.
        locality: String,
        /// The sum.
        sum: u64,
    },
    /// The weights of a priority's localities overflow.
    #[error(
        "the weights of the localities of priority {priority} add up to {sum}, over {}",
        u32::MAX
    )]
    LocalitySum {
        /// Which priority.
        priority: u32,
        /// The sum.
        sum: u64,
    },
    /// A priority is missing below one that is there.
    #[error("priority {missing} is missing though a higher one is there; gRPC would refuse it")]
    PriorityGap {
        /// The missing one.
        missing: u32,
    },
    /// A priority higher than proxies take.
    #[error("priority {0} is over {PRIORITY_MAX}, which Envoy refuses")]
    PriorityTooHigh(u32),
    /// A health that no decision makes.
    #[error("endpoint {endpoint} has health {health}, which clients read differently")]
    Health {
        /// Which endpoint.
        endpoint: String,
        /// The number on the wire.
        health: i32,
    },
    /// Endpoints would time out on their own.
    #[error("it lets endpoints become stale: proxies would fail once weir is gone")]
    GoesStale,
    /// Another realisation is for the same cluster.
    #[error("two realisations are for it; the first one stands")]
    ClusterTwice,
    /// The decision says nothing of it.
    #[error("the decision has no endpoints for it")]
    NotDecided,
    /// A cluster without endpoints would wait for them and then fail.
    #[error("weir has no endpoints for it; a proxy would wait 15 s and then fail its requests")]
    WithoutEndpoints,
    /// A cluster with a connect timeout of zero.
    #[error("its connect timeout is zero, which Envoy refuses")]
    NoConnectTimeout,
    /// A version that takes requests has no cluster.
    #[error("no cluster leads to {0}, which is to get requests; they would fail")]
    NoCluster(String),
    /// The route configuration has another name.
    #[error("it is named {found:?}; no listener would find it")]
    OtherRoute {
        /// The name that it has.
        found: String,
    },
    /// A part of the requests would find no route.
    #[error("it does not lead every request somewhere")]
    NotEveryRequest,
    /// A cluster without a name or a part, or twice.
    #[error("cluster {0:?} has no part in it, or two")]
    NoPart(String),
    /// The parts are not all of the requests.
    #[error("its parts add up to {0}, not to {PARTS}")]
    PartsSum(u64),
    /// Proxies would not check whether they know its clusters.
    #[error("it does not make proxies check its clusters; requests to unknown ones would fail")]
    Unchecked,
    /// More than all of the requests logged.
    #[error("a sampling of {0} per cent is over 100")]
    Sampling(u8),
}

/// Checks endpoints as the strictest client would that asked for `cluster`.
pub fn assignment(message: &ClusterLoadAssignment, cluster: &str) -> Result<(), Fault> {
    if cluster.is_empty() {
        return Err(Fault::Nameless);
    }
    if message.cluster_name != cluster {
        return Err(Fault::OtherCluster { found: message.cluster_name.clone() });
    }
    if message.policy.as_ref().is_some_and(goes_stale) {
        return Err(Fault::GoesStale);
    }
    let mut addresses = BTreeSet::new();
    for group in &message.endpoints {
        locality(group, &mut addresses)?;
    }
    priorities(&message.endpoints)
}

fn goes_stale(policy: &Policy) -> bool {
    policy.endpoint_stale_after.is_some()
}

/// Checks one locality and adds its endpoints to `addresses`.
fn locality(
    group: &LocalityLbEndpoints,
    addresses: &mut BTreeSet<(IpAddr, u32)>,
) -> Result<(), Fault> {
    let mut sum = 0;
    for endpoint in &group.lb_endpoints {
        let address = address(endpoint)?;
        let named = || shown(address);
        if !addresses.insert(address) {
            return Err(Fault::EndpointTwice(named()));
        }
        let weight = weight(endpoint.load_balancing_weight.as_ref());
        sum += u64::from(weight.ok_or_else(|| Fault::EndpointWeightless(named()))?);
        health(endpoint.health_status)
            .ok_or_else(|| Fault::Health { endpoint: named(), health: endpoint.health_status })?;
    }
    if sum > u64::from(u32::MAX) {
        return Err(Fault::EndpointSum { locality: place(group.locality.as_ref()), sum });
    }
    Ok(())
}

/// Checks what localities are among one another.
fn priorities(groups: &[LocalityLbEndpoints]) -> Result<(), Fault> {
    let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for group in groups {
        let locality = place(group.locality.as_ref());
        let Some(weight) = weight(group.load_balancing_weight.as_ref()) else {
            return Err(Fault::LocalityWeightless(locality));
        };
        let priority = group.priority;
        if priority > PRIORITY_MAX {
            return Err(Fault::PriorityTooHigh(priority));
        }
        if !seen.insert((priority, locality_key(group.locality.as_ref()))) {
            return Err(Fault::LocalityTwice { locality, priority });
        }
        *sums.entry(priority).or_default() += u64::from(weight);
    }
    for ((&priority, &sum), expected) in sums.iter().zip(0..) {
        if priority != expected {
            return Err(Fault::PriorityGap { missing: expected });
        }
        if sum > u64::from(u32::MAX) {
            return Err(Fault::LocalitySum { priority, sum });
        }
    }
    Ok(())
}

/// Checks a cluster that Weir writes.
pub fn cluster(message: &Cluster) -> Result<(), Fault> {
    if message.name.is_empty() {
        return Err(Fault::Nameless);
    }
    let timeout = message.connect_timeout.as_ref();
    if timeout.is_some_and(|timeout| timeout.seconds <= 0 && timeout.nanos <= 0) {
        return Err(Fault::NoConnectTimeout);
    }
    Ok(())
}

/// Checks a route configuration that was asked for as `name`: every request goes somewhere, and
/// the parts are exactly all.
pub fn route(message: &RouteConfiguration, name: &str) -> Result<(), Fault> {
    if name.is_empty() {
        return Err(Fault::Nameless);
    }
    if message.name != name {
        return Err(Fault::OtherRoute { found: message.name.clone() });
    }
    if !message.validate_clusters.as_ref().is_some_and(|checked| checked.value) {
        return Err(Fault::Unchecked);
    }
    let weighted = weighted(message).ok_or(Fault::NotEveryRequest)?;
    let mut names = BTreeSet::new();
    let mut sum = 0;
    for cluster in &weighted.clusters {
        let part = weight(cluster.weight.as_ref());
        match part.filter(|_| !cluster.name.is_empty() && names.insert(&cluster.name)) {
            Some(part) => sum += u64::from(part),
            None => return Err(Fault::NoPart(cluster.name.clone())),
        }
    }
    if sum == u64::from(PARTS) { Ok(()) } else { Err(Fault::PartsSum(sum)) }
}

/// The weighted clusters of a configuration whose one route takes every request.
fn weighted(message: &RouteConfiguration) -> Option<&WeightedCluster> {
    let [host] = message.virtual_hosts.as_slice() else { return None };
    let [route] = host.routes.as_slice() else { return None };
    let all = route.r#match.as_ref()?.path_specifier == Some(PathSpecifier::Prefix("/".to_owned()));
    if !all || host.domains != ["*"] {
        return None;
    }
    let Some(Action::Route(action)) = &route.action else { return None };
    match &action.cluster_specifier {
        Some(ClusterSpecifier::WeightedClusters(weighted)) => Some(weighted),
        _ => None,
    }
}

fn address(endpoint: &LbEndpoint) -> Result<(IpAddr, u32), Fault> {
    let Some(HostIdentifier::Endpoint(host)) = &endpoint.host_identifier else {
        return Err(Fault::NotAnAddress(String::new()));
    };
    let kind = host.address.as_ref().and_then(|address| address.address.as_ref());
    let Some(AddressKind::SocketAddress(socket)) = kind else {
        return Err(Fault::NotAnAddress(format!("{kind:?}")));
    };
    let refused = || Fault::NotAnAddress(format!("{}:{:?}", socket.address, socket.port_specifier));
    let Some(PortSpecifier::PortValue(port @ 1..=65_535)) = socket.port_specifier else {
        return Err(refused());
    };
    Ok((socket.address.parse().map_err(|_| refused())?, port))
}

fn shown((ip, port): (IpAddr, u32)) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}

fn weight(value: Option<&UInt32Value>) -> Option<u32> {
    value.map(|weight| weight.value).filter(|weight| *weight > 0)
}

fn health(number: i32) -> Option<HealthStatus> {
    let health = HealthStatus::try_from(number).ok()?;
    match health {
        HealthStatus::Unknown
        | HealthStatus::Healthy
        | HealthStatus::Unhealthy
        | HealthStatus::Draining => Some(health),
        // Degraded is a spare for Envoy and gone for gRPC; a time-out is for health checkers.
        HealthStatus::Timeout | HealthStatus::Degraded => None,
    }
}

fn place(locality: Option<&Locality>) -> String {
    let (region, zone, sub_zone) = locality_key(locality);
    format!("{region}/{zone}/{sub_zone}")
}

fn locality_key(locality: Option<&Locality>) -> (&str, &str, &str) {
    locality.map_or(("", "", ""), |l| (&l.region, &l.zone, &l.sub_zone))
}

#[cfg(test)]
mod tests;
