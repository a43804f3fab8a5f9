use super::*;

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::Endpoint;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{Route, RouteAction, RouteMatch, VirtualHost};
use envoy_types::pb::google::protobuf;
use weir_engine::names::ClusterName;

use crate::native::{self, ClusterSettings};

/// One endpoint of weight 1 per address.
fn group(zone: &str, priority: u32, addresses: &[&str]) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        locality: Some(Locality { zone: zone.to_owned(), ..Default::default() }),
        load_balancing_weight: Some(UInt32Value { value: 1 }),
        lb_endpoints: addresses.iter().map(|address| endpoint(address, 80)).collect(),
        priority,
        ..Default::default()
    }
}

fn endpoint(address: &str, port: u32) -> LbEndpoint {
    let socket = SocketAddress {
        address: address.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(port)),
        ..Default::default()
    };
    LbEndpoint {
        load_balancing_weight: Some(UInt32Value { value: 1 }),
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(Address { address: Some(AddressKind::SocketAddress(socket)) }),
            ..Default::default()
        })),
        ..Default::default()
    }
}

#[track_caller]
fn check(groups: Vec<LocalityLbEndpoints>, expected: &Result<(), Fault>) {
    let message = ClusterLoadAssignment {
        cluster_name: "shop".to_owned(),
        endpoints: groups,
        ..Default::default()
    };
    assert_eq!(&assignment(&message, "shop"), expected);
}

/// The same after a change to the first group of two.
#[track_caller]
fn check_changed(change: impl FnOnce(&mut LocalityLbEndpoints), expected: &Result<(), Fault>) {
    let mut groups = vec![group("a", 0, &["10.0.0.1", "10.0.0.2"]), group("b", 0, &["::1"])];
    change(&mut groups[0]);
    check(groups, expected);
}

fn weight_of(value: u32) -> UInt32Value {
    UInt32Value { value }
}

#[test]
fn takes_what_every_client_takes() {
    check_changed(|_| (), &Ok(()));
    check(vec![], &Ok(()));
    check(vec![group("a", 0, &["10.0.0.1"]), group("a", 1, &["10.0.0.2"])], &Ok(()));
    check_changed(|group| group.load_balancing_weight = Some(weight_of(u32::MAX - 1)), &Ok(()));
    check_changed(
        |group| group.lb_endpoints[0].load_balancing_weight = Some(weight_of(u32::MAX - 1)),
        &Ok(()),
    );
}

#[test]
fn weights_are_at_least_one_and_their_sums_fit() {
    let over = u64::from(u32::MAX) + 1;
    for value in [None, Some(weight_of(0))] {
        check_changed(
            |group| group.load_balancing_weight = value,
            &Err(Fault::LocalityWeightless("/a/".into())),
        );
        check_changed(
            |group| group.lb_endpoints[1].load_balancing_weight = value,
            &Err(Fault::EndpointWeightless("10.0.0.2:80".into())),
        );
    }
    check_changed(
        |group| group.load_balancing_weight = Some(weight_of(u32::MAX)),
        &Err(Fault::LocalitySum { priority: 0, sum: over }),
    );
    check_changed(
        |group| group.lb_endpoints[0].load_balancing_weight = Some(weight_of(u32::MAX)),
        &Err(Fault::EndpointSum { locality: "/a/".into(), sum: over }),
    );
}

#[test]
fn localities_and_priorities_are_in_order() {
    check(
        vec![group("a", 0, &["10.0.0.1"]), group("a", 0, &["10.0.0.2"])],
        &Err(Fault::LocalityTwice { locality: "/a/".into(), priority: 0 }),
    );
    check(vec![group("a", 1, &["10.0.0.1"])], &Err(Fault::PriorityGap { missing: 0 }));
    check(
        vec![group("a", 0, &["10.0.0.1"]), group("b", 2, &["10.0.0.2"])],
        &Err(Fault::PriorityGap { missing: 1 }),
    );
    check(vec![group("a", 129, &["10.0.0.1"])], &Err(Fault::PriorityTooHigh(129)));
}

#[test]
fn endpoints_are_addresses_each_once() {
    let twice = |address: &str| Err(Fault::EndpointTwice(address.into()));
    check(vec![group("a", 0, &["10.0.0.1", "10.0.0.1"])], &twice("10.0.0.1:80"));
    check(vec![group("a", 0, &["::1"]), group("b", 0, &["0:0::1"])], &twice("[::1]:80"));
    for (address, port) in [("shop.demo", 80), ("", 80), ("10.0.0.1", 0), ("10.0.0.1", 65_536)] {
        let groups = vec![group("a", 0, &["10.0.0.9"])];
        let mut message = ClusterLoadAssignment {
            cluster_name: "shop".into(),
            endpoints: groups,
            ..Default::default()
        };
        message.endpoints[0].lb_endpoints.push(endpoint(address, port));
        let found = assignment(&message, "shop");
        assert!(matches!(found, Err(Fault::NotAnAddress(_))), "{address}:{port}: {found:?}");
    }
    check_changed(
        |group| group.lb_endpoints[0].host_identifier = None,
        &Err(Fault::NotAnAddress(String::new())),
    );
}

#[test]
fn health_means_the_same_to_every_client() {
    for health in [HealthStatus::Degraded, HealthStatus::Timeout] {
        check_changed(
            |group| group.lb_endpoints[0].health_status = health.into(),
            &Err(Fault::Health { endpoint: "10.0.0.1:80".into(), health: health.into() }),
        );
    }
    check_changed(
        |group| group.lb_endpoints[0].health_status = HealthStatus::Draining.into(),
        &Ok(()),
    );
}

#[test]
fn is_for_the_cluster_that_was_asked_for_and_never_goes_stale() {
    let mut message = ClusterLoadAssignment { cluster_name: "a".into(), ..Default::default() };
    assert_eq!(assignment(&message, "b"), Err(Fault::OtherCluster { found: "a".into() }));
    assert_eq!(assignment(&ClusterLoadAssignment::default(), ""), Err(Fault::Nameless));
    let stale = protobuf::Duration { seconds: 3, nanos: 0 };
    message.policy = Some(Policy { endpoint_stale_after: Some(stale), ..Default::default() });
    assert_eq!(assignment(&message, "a"), Err(Fault::GoesStale));
}

#[test]
fn clusters_have_a_name_and_time_to_connect() {
    let settings = |timeout| ClusterSettings { connect_timeout: timeout, ..Default::default() };
    let written = |name: &str, timeout| {
        cluster(&native::cluster(&ClusterName::from(name), &settings(timeout)))
    };
    assert_eq!(written("shop", Duration::from_millis(250)), Ok(()));
    assert_eq!(written("shop", Duration::ZERO), Err(Fault::NoConnectTimeout));
    assert_eq!(written("", Duration::from_secs(1)), Err(Fault::Nameless));
}

/// A route to these clusters in these parts.
fn route_to(clusters: &[(&str, u32)]) -> RouteConfiguration {
    let clusters = clusters.iter().map(|(name, parts)| ClusterWeight {
        name: (*name).to_owned(),
        weight: Some(UInt32Value { value: *parts }),
        ..Default::default()
    });
    let weighted = WeightedCluster { clusters: clusters.collect(), ..Default::default() };
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(weighted)),
        ..Default::default()
    };
    let everything = PathSpecifier::Prefix("/".to_owned());
    RouteConfiguration {
        name: "demo/shop".to_owned(),
        virtual_hosts: vec![VirtualHost {
            domains: vec!["*".to_owned()],
            routes: vec![Route {
                r#match: Some(RouteMatch {
                    path_specifier: Some(everything),
                    ..Default::default()
                }),
                action: Some(Action::Route(action)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        validate_clusters: Some(protobuf::BoolValue { value: true }),
        ..Default::default()
    }
}

#[test]
fn a_routes_parts_are_exactly_all_and_each_is_one() {
    let check = |clusters: &[(&str, u32)]| route(&route_to(clusters), "demo/shop");
    assert_eq!(check(&[("v1", 9_999), ("v2", 1)]), Ok(()));
    assert_eq!(check(&[("v2", 10_000)]), Ok(()));
    for (clusters, sum) in
        [(&[][..], 0), (&[("v1", 9_999)], 9_999), (&[("a", 1), ("b", u32::MAX)], 1 << 32)]
    {
        assert_eq!(check(clusters), Err(Fault::PartsSum(sum)));
    }
    for (clusters, name) in [
        (&[("v1", 10_000), ("v2", 0)], "v2"),
        (&[("v1", 1), ("v1", 9_999)], "v1"),
        (&[("v1", 1), ("", 9_999)], ""),
    ] {
        assert_eq!(check(clusters), Err(Fault::NoPart(name.to_owned())));
    }
}

#[test]
fn a_route_takes_every_request_and_has_its_clusters_checked() {
    let spoilt = |spoil: fn(&mut RouteConfiguration)| {
        let mut message = route_to(&[("v1", 10_000)]);
        spoil(&mut message);
        route(&message, "demo/shop")
    };
    let other = Fault::OtherRoute { found: "demo/cart".into() };
    assert_eq!(spoilt(|message| message.name = "demo/cart".into()), Err(other));
    assert_eq!(route(&route_to(&[]), ""), Err(Fault::Nameless));
    assert_eq!(spoilt(|message| message.validate_clusters = None), Err(Fault::Unchecked));
    for spoil in [
        |message: &mut RouteConfiguration| message.virtual_hosts.clear(),
        |message: &mut RouteConfiguration| {
            message.virtual_hosts[0].domains = vec!["shop.example".into()];
        },
        |message: &mut RouteConfiguration| message.virtual_hosts[0].routes.clear(),
        |message: &mut RouteConfiguration| message.virtual_hosts[0].routes[0].r#match = None,
        |message: &mut RouteConfiguration| message.virtual_hosts[0].routes[0].action = None,
    ] {
        assert_eq!(spoilt(spoil), Err(Fault::NotEveryRequest));
    }
}
