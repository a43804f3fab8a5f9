//! Resources for people: proto3 JSON, as Envoy's own configuration dump shows them, of the fields
//! that Weir sets.

use envoy_types::pb::envoy::config::core::v3::HealthStatus;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Locality, address};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
};
use prost::{DecodeError, Message};
use serde_json::{Map, Value, json};

use crate::resource::Resource;

/// The endpoints of a cluster, as in Envoy's `ClusterLoadAssignment`.
///
/// # Errors
///
/// If the resource is of another type.
pub fn assignment(resource: &Resource) -> Result<Value, DecodeError> {
    let assignment = ClusterLoadAssignment::decode(resource.body.clone())?;
    let endpoints: Vec<Value> = assignment.endpoints.iter().map(locality).collect();
    let mut shown = Map::new();
    shown.insert("cluster_name".into(), assignment.cluster_name.into());
    shown.insert("endpoints".into(), endpoints.into());
    let drops: Vec<Value> = assignment
        .policy
        .iter()
        .flat_map(|policy| &policy.drop_overloads)
        .map(|drop| {
            let percent = drop.drop_percentage.unwrap_or_default();
            let denominator = percent.denominator().as_str_name();
            json!({
                "category": drop.category,
                "drop_percentage": { "numerator": percent.numerator, "denominator": denominator },
            })
        })
        .collect();
    if !drops.is_empty() {
        shown.insert("policy".into(), json!({ "drop_overloads": drops }));
    }
    Ok(shown.into())
}

fn locality(group: &LocalityLbEndpoints) -> Value {
    let mut shown = Map::new();
    if let Some(Locality { region, zone, sub_zone }) = &group.locality {
        let parts = [("region", region), ("zone", zone), ("sub_zone", sub_zone)];
        let named = parts.into_iter().filter(|(_, name)| !name.is_empty());
        let named: Map<String, Value> =
            named.map(|(key, name)| (key.to_owned(), name.as_str().into())).collect();
        shown.insert("locality".into(), named.into());
    }
    let endpoints: Vec<Value> = group.lb_endpoints.iter().map(endpoint).collect();
    shown.insert("lb_endpoints".into(), endpoints.into());
    if let Some(weight) = &group.load_balancing_weight {
        shown.insert("load_balancing_weight".into(), weight.value.into());
    }
    shown.into()
}

fn endpoint(endpoint: &LbEndpoint) -> Value {
    let mut shown = Map::new();
    if let Some(HostIdentifier::Endpoint(host)) = &endpoint.host_identifier
        && let Some(Address { address: Some(address::Address::SocketAddress(socket)) }) =
            &host.address
    {
        let mut at = Map::new();
        at.insert("address".into(), socket.address.as_str().into());
        if let Some(PortSpecifier::PortValue(port)) = socket.port_specifier {
            at.insert("port_value".into(), port.into());
        }
        shown.insert("endpoint".into(), json!({ "address": { "socket_address": at } }));
    }
    if endpoint.health_status() != HealthStatus::Unknown {
        shown.insert("health_status".into(), endpoint.health_status().as_str_name().into());
    }
    if let Some(weight) = &endpoint.load_balancing_weight {
        shown.insert("load_balancing_weight".into(), weight.value.into());
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use envoy_types::pb::envoy::config::core::v3::SocketAddress;
    use envoy_types::pb::envoy::config::endpoint::v3::Endpoint;
    use envoy_types::pb::google::protobuf::UInt32Value;

    #[test]
    fn an_assignment_is_shown_as_envoy_shows_it() {
        let socket = SocketAddress {
            address: "10.0.0.7".into(),
            port_specifier: Some(PortSpecifier::PortValue(8080)),
            ..SocketAddress::default()
        };
        let address = Address { address: Some(address::Address::SocketAddress(socket)) };
        let host = Endpoint { address: Some(address), ..Endpoint::default() };
        let one = LbEndpoint {
            host_identifier: Some(HostIdentifier::Endpoint(host)),
            health_status: HealthStatus::Unhealthy.into(),
            load_balancing_weight: Some(UInt32Value { value: 1 }),
            ..LbEndpoint::default()
        };
        let group = LocalityLbEndpoints {
            locality: Some(Locality { zone: "a".into(), ..Locality::default() }),
            lb_endpoints: vec![one],
            load_balancing_weight: Some(UInt32Value { value: 1000 }),
            ..LocalityLbEndpoints::default()
        };
        let whole = ClusterLoadAssignment {
            cluster_name: "shop".into(),
            endpoints: vec![group],
            ..ClusterLoadAssignment::default()
        };
        let shown = assignment(&Resource::new("shop", &whole)).unwrap();
        let wanted = json!({
            "cluster_name": "shop",
            "endpoints": [{
                "locality": { "zone": "a" },
                "lb_endpoints": [{
                    "endpoint": {
                        "address": { "socket_address": { "address": "10.0.0.7", "port_value": 8080 } }
                    },
                    "health_status": "UNHEALTHY",
                    "load_balancing_weight": 1,
                }],
                "load_balancing_weight": 1000,
            }],
        });
        assert_eq!(shown, wanted);
    }
}
