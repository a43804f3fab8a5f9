//! A client that keeps what it is sent, as Envoy does, and refuses what Envoy refuses.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Node};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc::Status;
use prost::Message;

use super::super::ENDPOINTS;
use crate::session::Dialect;

#[derive(Clone, Debug)]
pub(in super::super) struct Client {
    pub(super) dialect: Dialect,
    wanted: BTreeSet<String>,
    has: BTreeMap<String, ClusterLoadAssignment>,
    /// By name, or the one for all under an empty name.
    versions: BTreeMap<String, String>,
    nonce: String,
    begun: bool,
    /// It refuses every assignment in which an endpoint has such a weight.
    pub(super) refuses: Option<u32>,
    /// It refuses the next so many responses, whatever they are.
    pub(super) refuses_next: usize,
    pub(super) responses: usize,
}

impl Client {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            wanted: BTreeSet::new(),
            has: BTreeMap::new(),
            versions: BTreeMap::new(),
            nonce: String::new(),
            begun: false,
            refuses: None,
            refuses_next: 0,
            responses: 0,
        }
    }

    /// The same on a new stream.
    pub(super) fn reconnected(mut self) -> Self {
        self.nonce.clear();
        self.begun = false;
        self
    }

    /// The first request of a stream.
    pub(super) fn begin(&mut self) -> Bytes {
        let names: Vec<String> = self.wanted.iter().cloned().collect();
        self.wanted.clear();
        self.want(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// From now on it wants these.
    pub(super) fn want(&mut self, names: &[&str]) -> Bytes {
        let before = std::mem::take(&mut self.wanted);
        self.wanted = names.iter().map(|&name| name.to_owned()).collect();
        let first = !std::mem::replace(&mut self.begun, true);
        let versions = self.versions.clone();
        self.has.retain(|name, _| self.wanted.contains(name));
        match self.dialect {
            Dialect::StateOfTheWorld => self.whole(first, None),
            Dialect::Incremental => {
                let node = first.then(node);
                let initial = if first { versions } else { BTreeMap::new() };
                let request = DeltaDiscoveryRequest {
                    node,
                    type_url: ENDPOINTS.to_owned(),
                    resource_names_subscribe: self.wanted.difference(&before).cloned().collect(),
                    resource_names_unsubscribe: before.difference(&self.wanted).cloned().collect(),
                    initial_resource_versions: initial.into_iter().collect(),
                    ..Default::default()
                };
                request.encode_to_vec().into()
            }
        }
    }

    /// Asks once more for what it wants already, as for a cluster that is warming.
    pub(super) fn again(&mut self) -> Bytes {
        match self.dialect {
            Dialect::StateOfTheWorld => self.whole(false, None),
            Dialect::Incremental => {
                let request = DeltaDiscoveryRequest {
                    type_url: ENDPOINTS.to_owned(),
                    resource_names_subscribe: self.wanted.iter().cloned().collect(),
                    ..Default::default()
                };
                request.encode_to_vec().into()
            }
        }
    }

    fn whole(&self, first: bool, error: Option<Status>) -> Bytes {
        let request = DiscoveryRequest {
            node: first.then(node),
            version_info: self.versions.get("").cloned().unwrap_or_default(),
            resource_names: self.wanted.iter().cloned().collect(),
            type_url: ENDPOINTS.to_owned(),
            response_nonce: self.nonce.clone(),
            error_detail: error,
            ..Default::default()
        };
        request.encode_to_vec().into()
    }

    /// Takes a response and answers it.
    pub(super) fn response(&mut self, bytes: &Bytes) -> Bytes {
        self.responses += 1;
        match self.dialect {
            Dialect::StateOfTheWorld => {
                let response = DiscoveryResponse::decode(&bytes[..]).expect("a response");
                self.nonce = response.nonce;
                let all: Vec<_> =
                    response.resources.iter().map(|any| (any.value.as_slice(), "")).collect();
                let error = self.take(&all);
                if error.is_none() {
                    self.versions.insert(String::new(), response.version_info);
                }
                self.whole(false, error)
            }
            Dialect::Incremental => {
                let response = DeltaDiscoveryResponse::decode(&bytes[..]).expect("a response");
                let all: Vec<_> = response
                    .resources
                    .iter()
                    .filter_map(|one| Some((&one.resource.as_ref()?.value[..], &one.version[..])))
                    .collect();
                let error = self.take(&all);
                if error.is_none() {
                    for name in &response.removed_resources {
                        self.has.remove(name);
                        self.versions.remove(name);
                    }
                }
                let request = DeltaDiscoveryRequest {
                    type_url: ENDPOINTS.to_owned(),
                    response_nonce: response.nonce,
                    error_detail: error,
                    ..Default::default()
                };
                request.encode_to_vec().into()
            }
        }
    }

    /// Takes all of them or none.
    fn take(&mut self, all: &[(&[u8], &str)]) -> Option<Status> {
        let decoded = all.iter().map(|(bytes, version)| {
            (ClusterLoadAssignment::decode(*bytes).expect("an assignment"), *version)
        });
        let decoded: Vec<_> = decoded.collect();
        let refused = decoded.iter().any(|(one, _)| {
            self.refuses.is_some_and(|weight| weighed(one).any(|(_, has)| has == weight))
        });
        if refused || self.refuses_next > 0 {
            self.refuses_next = self.refuses_next.saturating_sub(1);
            return Some(Status { message: "no such weight".to_owned(), ..Default::default() });
        }
        for (assignment, version) in decoded {
            if self.wanted.contains(&assignment.cluster_name) {
                if self.dialect == Dialect::Incremental {
                    self.versions.insert(assignment.cluster_name.clone(), version.to_owned());
                }
                self.has.insert(assignment.cluster_name.clone(), assignment);
            }
        }
        None
    }

    pub(super) fn weights(&self, name: &str) -> BTreeMap<u8, u32> {
        self.has.get(name).map(|one| weighed(one).collect()).unwrap_or_default()
    }
}

fn node() -> Node {
    Node { id: "edge-1".to_owned(), ..Default::default() }
}

/// Endpoints that take requests, by the last number of their addresses, with their weights.
fn weighed(assignment: &ClusterLoadAssignment) -> impl Iterator<Item = (u8, u32)> {
    let endpoints = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    endpoints.filter_map(|one| {
        let Some(HostIdentifier::Endpoint(endpoint)) = &one.host_identifier else { return None };
        let Some(Address::SocketAddress(socket)) = &endpoint.address.as_ref()?.address else {
            return None;
        };
        assert_eq!(socket.port_specifier, Some(PortSpecifier::PortValue(80)));
        let number = socket.address.rsplit('.').next()?.parse().ok()?;
        let healthy = matches!(one.health_status(), HealthStatus::Unknown | HealthStatus::Healthy);
        healthy.then(|| (number, one.load_balancing_weight.map_or(1, |weight| weight.value)))
    })
}
