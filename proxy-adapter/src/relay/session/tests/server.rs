//! Two kinds of server, each with the manners that were measured of real ones.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HealthStatus, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use prost::Message;

use super::super::{CLUSTERS, ENDPOINTS};
use crate::session::Dialect;

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Manner {
    /// No flow control; loses requests with a nonce that is not its last, names included; resources
    /// without a version; knows by itself only what has changed; versions go backwards.
    Istiod,
    /// One response of a type at a time; resources with a version, resent only where a client has another;
    /// does not look at nonces of incremental requests; over a version that is not its own it sends
    /// everything again at once, and over its own nothing.
    Gateway,
}

#[derive(Clone, Debug)]
pub(in super::super) struct Server {
    manner: Manner,
    dialect: Dialect,
    resources: BTreeMap<String, Vec<(u8, u32)>>,
    /// Endpoints that it calls unhealthy itself.
    pub(super) unhealthy: BTreeSet<u8>,
    watched: BTreeSet<String>,
    nonces: u64,
    version: u64,
    /// What has changed while a response was on its way.
    waiting: BTreeSet<String>,
    in_flight: bool,
    begun: bool,
    /// By nonce, how often it was answered and whether with an error.
    pub(super) verdicts: BTreeMap<String, Vec<bool>>,
    /// Requests that it did not take because of their nonce.
    pub(super) lost: usize,
    pub(super) responses: usize,
}

impl Server {
    pub(super) fn new(manner: Manner, dialect: Dialect) -> Self {
        Self {
            manner,
            dialect,
            resources: BTreeMap::new(),
            unhealthy: BTreeSet::new(),
            watched: BTreeSet::new(),
            nonces: 0,
            version: 180,
            waiting: BTreeSet::new(),
            in_flight: false,
            begun: false,
            verdicts: BTreeMap::new(),
            lost: 0,
            responses: 0,
        }
    }

    /// The same for a new stream.
    pub(super) fn reconnected(mut self) -> Self {
        self.watched.clear();
        self.in_flight = false;
        self.begun = false;
        self.waiting.clear();
        self.verdicts.clear();
        self
    }

    fn nonce(&self) -> String {
        format!("n{}", self.nonces)
    }

    /// A resource changes.
    pub(super) fn change(&mut self, name: &str, weights: &[(u8, u32)]) -> Vec<Bytes> {
        self.resources.insert(name.to_owned(), weights.to_vec());
        self.version += 1;
        if !self.watched.contains(name) {
            return Vec::new();
        }
        self.waiting.insert(name.to_owned());
        self.next()
    }

    /// A resource is no more.
    pub(super) fn remove(&mut self, name: &str) -> Vec<Bytes> {
        self.resources.remove(name);
        self.version += 1;
        self.waiting.insert(name.to_owned());
        self.next()
    }

    /// Sends what waits, if it may.
    fn next(&mut self) -> Vec<Bytes> {
        let held = self.manner == Manner::Gateway && self.in_flight;
        if held || self.waiting.is_empty() {
            return Vec::new();
        }
        let names = std::mem::take(&mut self.waiting);
        vec![self.send(&names)]
    }

    fn send(&mut self, names: &BTreeSet<String>) -> Bytes {
        self.nonces += 1;
        self.responses += 1;
        self.in_flight = true;
        let whole = self.dialect == Dialect::StateOfTheWorld && self.manner == Manner::Gateway;
        let names = if whole { &self.watched } else { names };
        let known = names
            .iter()
            .filter(|name| self.resources.contains_key(*name) || self.manner == Manner::Istiod);
        let all: Vec<Any> = known.clone().map(|name| self.resource(name)).collect();
        // An answer right after a push has the version of before it.
        let version = format!("v/{}", self.version - self.nonces % 2);
        match self.dialect {
            Dialect::StateOfTheWorld => DiscoveryResponse {
                version_info: if whole { format!("v/{}", self.version) } else { version },
                resources: all,
                type_url: ENDPOINTS.to_owned(),
                nonce: self.nonce(),
                ..Default::default()
            }
            .encode_to_vec(),
            Dialect::Incremental => DeltaDiscoveryResponse {
                system_version_info: version,
                resources: known
                    .zip(all)
                    .map(|(name, any)| Resource {
                        name: name.clone(),
                        version: self.version_of(name),
                        resource: Some(any),
                        ..Default::default()
                    })
                    .collect(),
                removed_resources: names
                    .iter()
                    .filter(|name| !self.resources.contains_key(*name))
                    .cloned()
                    .collect(),
                type_url: ENDPOINTS.to_owned(),
                nonce: self.nonce(),
                ..Default::default()
            }
            .encode_to_vec(),
        }
        .into()
    }

    fn version_of(&self, name: &str) -> String {
        match self.manner {
            Manner::Istiod => String::new(),
            Manner::Gateway => format!("h{:?}", self.resources.get(name)),
        }
    }

    fn resource(&self, name: &str) -> Any {
        let none = Vec::new();
        let weights = self.resources.get(name).unwrap_or(&none);
        let lb_endpoints = weights.iter().map(|(number, weight)| {
            let socket = SocketAddress {
                address: format!("10.0.0.{number}"),
                port_specifier: Some(PortSpecifier::PortValue(80)),
                ..Default::default()
            };
            let address = Address { address: Some(Kind::SocketAddress(socket)) };
            let endpoint = Endpoint { address: Some(address), ..Default::default() };
            let out = self.unhealthy.contains(number);
            LbEndpoint {
                health_status: if out { HealthStatus::Unhealthy } else { HealthStatus::Healthy }
                    .into(),
                load_balancing_weight: Some(UInt32Value { value: *weight }),
                host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
                ..Default::default()
            }
        });
        let locality =
            LocalityLbEndpoints { lb_endpoints: lb_endpoints.collect(), ..Default::default() };
        let assignment = ClusterLoadAssignment {
            cluster_name: name.to_owned(),
            endpoints: vec![locality],
            ..Default::default()
        };
        let mut value = assignment.encode_to_vec();
        // A field that nobody knows.
        value.extend([0xc2, 0x3e, 2, b'x', b'y']);
        Any { type_url: ENDPOINTS.to_owned(), value }
    }

    pub(super) fn request(&mut self, bytes: &Bytes) -> Vec<Bytes> {
        if clusters(bytes, self.dialect) {
            return Vec::new();
        }
        match self.dialect {
            Dialect::StateOfTheWorld => {
                self.whole(DiscoveryRequest::decode(&bytes[..]).expect("a request"))
            }
            Dialect::Incremental => {
                self.incremental(DeltaDiscoveryRequest::decode(&bytes[..]).expect("a request"))
            }
        }
    }

    fn verdict(&mut self, nonce: &str, error: bool) {
        assert!(!nonce.starts_with("weir:"), "a nonce that is not the server's: {nonce}");
        self.verdicts.entry(nonce.to_owned()).or_default().push(error);
        self.in_flight = false;
    }

    fn whole(&mut self, request: DiscoveryRequest) -> Vec<Bytes> {
        let first = !std::mem::replace(&mut self.begun, true);
        assert!(!first || request.node.is_some(), "a server may not survive this");
        if !first && request.response_nonce != self.nonce() {
            self.lost += 1;
            return Vec::new();
        }
        if !first && request.response_nonce == self.nonce() {
            self.verdict(&request.response_nonce, request.error_detail.is_some());
        }
        let names: BTreeSet<String> = request.resource_names.into_iter().collect();
        let new: BTreeSet<String> = names.difference(&self.watched).cloned().collect();
        self.watched = names;
        let current = format!("v/{}", self.version);
        let foreign = request.version_info != current && request.error_detail.is_none();
        let resend = self.manner == Manner::Gateway && foreign && !self.watched.is_empty();
        if first && self.manner == Manner::Istiod || resend {
            return vec![self.send(&self.watched.clone())];
        }
        if first {
            return Vec::new();
        }
        self.waiting.extend(new);
        self.next()
    }

    fn incremental(&mut self, request: DeltaDiscoveryRequest) -> Vec<Bytes> {
        let first = !std::mem::replace(&mut self.begun, true);
        assert!(!first || request.node.is_some(), "a server may not survive this");
        let nonce = request.response_nonce;
        if !nonce.is_empty() {
            if self.manner == Manner::Istiod && nonce != self.nonce() {
                self.lost += 1;
                return Vec::new();
            }
            self.verdict(&nonce, request.error_detail.is_some());
        }
        for name in &request.resource_names_unsubscribe {
            self.watched.remove(name);
        }
        let initial = request.initial_resource_versions;
        let mut asked: BTreeSet<String> = BTreeSet::new();
        for name in request.resource_names_subscribe.iter().chain(initial.keys()) {
            if self.watched.insert(name.clone()) {
                asked.insert(name.clone());
            }
        }
        if self.manner == Manner::Gateway {
            asked.retain(|name| {
                let exists = self.resources.contains_key(name);
                let has = initial.get(name);
                has.map_or(exists, |version| !exists || *version != self.version_of(name))
            });
        }
        self.waiting.extend(asked);
        self.next()
    }
}

fn clusters(bytes: &Bytes, dialect: Dialect) -> bool {
    let request = crate::relay::request::Request::read(bytes, dialect).expect("a request");
    request.type_url == CLUSTERS
}
