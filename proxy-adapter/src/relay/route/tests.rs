use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, VirtualHost, WeightedCluster,
};
use envoy_types::pb::google::protobuf::UInt32Value;
use prost::Message;

use super::*;

fn weighted(clusters: &[(&str, u32)], total: Option<u32>) -> Route {
    let cluster = |(name, weight): &(&str, u32)| ClusterWeight {
        name: (*name).to_owned(),
        weight: Some(UInt32Value { value: *weight }),
        ..Default::default()
    };
    #[expect(deprecated, reason = "servers still send it")]
    let weighted = WeightedCluster {
        clusters: clusters.iter().map(cluster).collect(),
        total_weight: total.map(|value| UInt32Value { value }),
        ..Default::default()
    };
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(weighted)),
        ..Default::default()
    };
    Route { action: Some(Action::Route(action)), ..Default::default() }
}

fn routes(routes: Vec<Route>) -> Bytes {
    let host = VirtualHost { name: "shop".to_owned(), routes, ..Default::default() };
    let configuration = RouteConfiguration {
        name: "80".to_owned(),
        virtual_hosts: vec![host],
        ..Default::default()
    };
    let mut bytes = configuration.encode_to_vec();
    put_bytes(&mut bytes, 1_000, b"what is this");
    bytes.into()
}

fn split(weights: &[(&str, u32)]) -> Split {
    Split { weights: weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect() }
}

#[test]
fn a_route_that_weighs_both_versions_gets_these_weights_and_others_stay() {
    let other = weighted(&[("a", 1), ("b", 1), ("c", 1)], None);
    let original = routes(vec![weighted(&[("b", 30), ("a", 70)], Some(100)), other.clone()]);
    let Patched::Changed(patched) = split(&[("a", 9_000), ("b", 1_000)]).apply(&original) else {
        panic!("it is changed")
    };
    let expected = routes(vec![weighted(&[("b", 1_000), ("a", 9_000)], None), other]);
    let read = |bytes: &Bytes| RouteConfiguration::decode(bytes.clone()).unwrap();
    assert_eq!(read(&patched), read(&expected));
    assert!(patched.ends_with(b"what is this"));
}

#[test]
fn what_is_as_wished_or_of_others_is_the_same() {
    let original = routes(vec![weighted(&[("a", 9), ("b", 1)], None), Route::default()]);
    assert_eq!(split(&[("a", 9), ("b", 1)]).apply(&original), Patched::Same);
    assert_eq!(split(&[("a", 9_000), ("b", 1_000)]).apply(&original), Patched::Same);
    assert_eq!(split(&[("x", 9), ("y", 1)]).apply(&original), Patched::Same);
}

/// A controller that idles at all of one version lists only that one.
#[test]
fn a_version_that_the_server_does_not_list_is_never_invented() {
    let original = routes(vec![weighted(&[("a", 100)], None)]);
    let refused = Patched::Refused(Refusal::NotListed("b".to_owned()));
    assert_eq!(split(&[("a", 9), ("b", 1)]).apply(&original), refused);
}

#[test]
fn a_version_that_gets_nothing_need_not_be_listed() {
    let original = routes(vec![weighted(&[("a", 100)], None)]);
    assert_eq!(split(&[("a", 10_000), ("b", 0)]).apply(&original), Patched::Same);
}

#[test]
fn what_is_no_route_is_refused() {
    let bytes = Bytes::from_static(&[0x12, 9]);
    assert!(matches!(split(&[("a", 1)]).apply(&bytes), Patched::Refused(Refusal::Malformed(_))));
}
