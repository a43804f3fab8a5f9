//! What is declared: services, their endpoints, and the client clusters through which proxies
//! reach them.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::names::{Address, ClusterName, Locality, ServiceId};
use crate::observation::Source;
use crate::units::Ratio;

/// All services, sorted by id. A level, not an edge: whoever is missing is gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// Services in ascending order of their ids.
    pub services: Vec<ServiceTopology>,
}

/// One service's endpoints and clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceTopology {
    /// Which service.
    pub service: ServiceId,
    /// Its endpoints in ascending order of address, each once.
    pub endpoints: Vec<Endpoint>,
    /// The client clusters that reach it, in ascending order of name.
    pub clusters: Vec<ClientCluster>,
    /// The source whose counts of requests and errors are believed. Two sources count the same
    /// requests, so exactly one may be summed; latency may come from another.
    pub counts: Source,
}

/// One declared endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub address: Address,
    /// Where it stands.
    pub locality: Locality,
    /// How many requests it works on at once, where that is declared.
    pub concurrency: Option<NonZeroU32>,
    /// Whether discovery says that it may take traffic (false: not ready, draining).
    pub ready: bool,
}

/// A cluster in the configuration of one or more proxies that leads to a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientCluster {
    /// Its name.
    pub name: ClusterName,
    /// What its proxies make of endpoint sets.
    pub form: ClusterForm,
}

/// How a client cluster picks endpoints: what decides which form a share may take there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterForm {
    /// Who picks.
    pub client: ClientKind,
    /// The load balancing policy.
    pub policy: BalancerPolicy,
    /// Whether `locality_weighted_lb_config` is set.
    pub locality_weighted: bool,
    /// Whether zone-aware routing is on.
    pub zone_aware: bool,
    /// Whether Envoy's own slow start is on.
    pub slow_start: bool,
    /// Below this healthy share the proxy ignores health (Envoy's default: 50 %).
    pub panic_threshold: Ratio,
}

/// Who picks endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientKind {
    /// An Envoy proxy.
    Envoy,
    /// A proxyless gRPC client: ignores endpoint weights, drops every unhealthy endpoint, knows no
    /// panic (gRFC A27).
    Grpc,
}

/// A cluster's load balancing policy, as far as shares depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BalancerPolicy {
    /// Power of two choices, as long as weights are equal.
    LeastRequest,
    /// Weighted round robin.
    RoundRobin,
    /// Uniformly random.
    Random,
}

impl ClusterForm {
    /// The form of clusters that Weir itself writes: least request with locality weights.
    pub fn native() -> Self {
        Self {
            client: ClientKind::Envoy,
            policy: BalancerPolicy::LeastRequest,
            locality_weighted: true,
            zone_aware: false,
            slow_start: false,
            panic_threshold: Ratio::clamped(0.5),
        }
    }
}

impl ServiceTopology {
    /// The endpoint's index in `endpoints`.
    pub fn index_of(&self, address: &Address) -> Option<usize> {
        self.endpoints.binary_search_by(|endpoint| endpoint.address.cmp(address)).ok()
    }

    /// As [`Self::index_of`], of one that is probably at `likely`: where a list is in the
    /// topology's order, as most are, each search is one comparison.
    pub fn index_near(&self, address: &Address, likely: usize) -> Option<usize> {
        let there = self.endpoints.get(likely).is_some_and(|endpoint| endpoint.address == *address);
        if there { Some(likely) } else { self.index_of(address) }
    }
}
