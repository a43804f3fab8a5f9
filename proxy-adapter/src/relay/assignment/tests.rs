use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::google::protobuf::UInt32Value;
use proptest::prelude::*;
use prost::Message;

use super::*;

const ANY: Floor = Floor { healthy: 0.0 };

pub(in crate::relay) fn lb_endpoint(number: usize, weight: Option<u32>, health: i32) -> LbEndpoint {
    let socket = SocketAddress {
        address: format!("10.0.0.{number}"),
        port_specifier: Some(PortSpecifier::PortValue(80)),
        ..Default::default()
    };
    let address = Address { address: Some(Kind::SocketAddress(socket)) };
    let endpoint = Endpoint { address: Some(address), ..Default::default() };
    LbEndpoint {
        health_status: health,
        load_balancing_weight: weight.map(|value| UInt32Value { value }),
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
        ..Default::default()
    }
}

/// One locality of the first priority and one of the second.
fn assignment(
    first: &[(Option<u32>, i32)],
    second: &[(Option<u32>, i32)],
) -> ClusterLoadAssignment {
    let mut number = 0;
    let mut locality = |endpoints: &[(Option<u32>, i32)], priority| LocalityLbEndpoints {
        priority,
        load_balancing_weight: Some(UInt32Value { value: 7 }),
        lb_endpoints: endpoints
            .iter()
            .map(|(weight, health)| {
                number += 1;
                lb_endpoint(number, *weight, *health)
            })
            .collect(),
        ..Default::default()
    };
    ClusterLoadAssignment {
        cluster_name: "outbound|80||shop".to_owned(),
        endpoints: vec![locality(first, 0), locality(second, 1)],
        ..Default::default()
    }
}

/// The bytes, with a field that nobody knows in every message of those that are taken apart.
fn with_unknown(assignment: &ClusterLoadAssignment) -> Bytes {
    const UNKNOWN_FIELD: u32 = 1_000;
    let strange = |bytes: &[u8]| {
        let mut out = Vec::new();
        put_bytes(&mut out, UNKNOWN_FIELD, b"what is this");
        out.extend_from_slice(bytes);
        put_number(&mut out, UNKNOWN_FIELD, 42);
        out
    };
    let bytes = rewritten(&assignment.encode_to_vec(), |field, out| {
        if field.number != LOCALITIES {
            return Ok::<_, Malformed>(false);
        }
        let locality = rewritten(field.bytes()?, |field, out| {
            if field.number != ENDPOINTS {
                return Ok::<_, Malformed>(false);
            }
            put_bytes(out, ENDPOINTS, &strange(field.bytes()?));
            Ok(true)
        })?;
        put_bytes(out, LOCALITIES, &strange(&locality));
        Ok(true)
    });
    strange(&bytes.unwrap()).into()
}

fn opinion(stands: &[(usize, f64, bool)]) -> Opinion {
    let stand = |&(number, multiplier, out): &(usize, f64, bool)| {
        ((format!("10.0.0.{number}").into(), 80), Stand { multiplier, out })
    };
    Opinion { stands: stands.iter().map(stand).collect() }
}

fn changed(patched: Patched) -> Bytes {
    match patched {
        Patched::Changed(bytes) => bytes,
        other @ (Patched::Same | Patched::Refused(_)) => panic!("{other:?}"),
    }
}

/// Weights and health of all endpoints.
fn read(bytes: &Bytes) -> Vec<(u32, i32)> {
    let assignment = ClusterLoadAssignment::decode(bytes.clone()).unwrap();
    let endpoints = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    endpoints
        .map(|one| (one.load_balancing_weight.as_ref().map_or(0, |w| w.value), one.health_status))
        .collect()
}

#[test]
fn one_changed_weight_scales_all_and_the_unmatched_keep_their_share() {
    let original = with_unknown(&assignment(&[(Some(1), 1), (Some(2), 1), (None, 0)], &[]));
    let patched = changed(opinion(&[(1, 0.25, false)]).apply(&original, ANY));
    assert_eq!(read(&patched), [(250, 1), (2_000, 1), (1_000, 0)]);
    let smallest = changed(opinion(&[(1, 0.0, false)]).apply(&original, ANY));
    assert_eq!(read(&smallest)[0].0, 1, "zero is refused by proxies");
}

#[test]
fn health_alone_leaves_weights_as_they_are() {
    let original = with_unknown(&assignment(&[(Some(1), 1), (None, 0), (Some(3), 1)], &[]));
    let patched = changed(opinion(&[(2, 1.0, true)]).apply(&original, ANY));
    assert_eq!(read(&patched), [(1, 1), (0, 2), (3, 1)]);
}

/// What the server calls draining, unhealthy, timed out or degraded it knows better.
#[test]
fn what_the_server_has_lowered_is_never_raised_nor_renamed() {
    let others = [(Some(1), 2), (Some(1), 3), (Some(1), 4), (Some(1), 5), (Some(1), 1)];
    let original = with_unknown(&assignment(&others, &[]));
    let all: Vec<_> = (1..=4).flat_map(|n| [(n, 1.0, true)]).collect();
    assert_eq!(opinion(&all).apply(&original, ANY), Patched::Same);
    let raised = changed(opinion(&[(1, 5.0, false)]).apply(&original, ANY));
    assert_eq!(read(&raised)[0], (5_000, 2));
}

#[test]
fn enough_stay_healthy_in_every_priority_or_nothing_is_done() {
    let original = with_unknown(&assignment(&[(Some(1), 1); 3], &[(Some(1), 1), (Some(1), 2)]));
    let all = opinion(&[(1, 1.0, true), (2, 1.0, true), (3, 1.0, true)]);
    let refused = Patched::Refused(Refusal::Floor { priority: 0, healthy: 0, all: 3 });
    assert_eq!(all.apply(&original, ANY), refused);
    let second = opinion(&[(4, 1.0, true)]);
    let refused = Patched::Refused(Refusal::Floor { priority: 1, healthy: 0, all: 2 });
    assert_eq!(second.apply(&original, ANY), refused, "the server's own count too");
    let two = opinion(&[(1, 1.0, true), (2, 1.0, true)]);
    assert!(matches!(two.apply(&original, Floor { healthy: 0.5 }), Patched::Refused(_)));
    assert!(matches!(two.apply(&original, Floor { healthy: 0.3 }), Patched::Changed(_)));
}

#[test]
fn without_an_opinion_of_anybody_in_it_it_is_the_same() {
    let original = with_unknown(&assignment(&[(Some(1), 1), (None, 0)], &[]));
    for opinion in [opinion(&[]), opinion(&[(9, 0.1, true)]), opinion(&[(1, 1.0, false)])] {
        assert_eq!(opinion.apply(&original, ANY), Patched::Same);
    }
}

#[test]
fn sums_that_do_not_fit_and_bytes_that_are_no_assignment_are_refused() {
    let original = with_unknown(&assignment(&[(Some(4_000_000), 1), (Some(2_000_000), 1)], &[]));
    let opinion = opinion(&[(1, 0.9, false)]);
    assert_eq!(opinion.apply(&original, ANY), Patched::Refused(Refusal::TooLarge));
    for bytes in [&[0x12, 9][..], &[0x10, 1], &[0x12, 2, 0x12, 1]] {
        let patched = opinion.apply(&Bytes::copy_from_slice(bytes), ANY);
        assert!(matches!(patched, Patched::Refused(Refusal::Malformed(_))), "{patched:?}");
    }
}

proptest! {
    /// Decoded and changed there, and changed at the wire: the same; and put back, the same bytes.
    #[test]
    fn only_weights_and_health_change(
        first in prop::collection::vec((prop::option::of(1_u32..100), 0..6), 1..6),
        stands in prop::collection::vec((1_usize..7, 0.0..4.0_f64, any::<bool>()), 0..4),
    ) {
        let whole = assignment(&first, &[]);
        let original = with_unknown(&whole);
        let opinion = opinion(&stands);
        match opinion.apply(&original, ANY) {
            Patched::Changed(patched) => {
                let mut expected = whole.clone();
                let reweighted = (1..=first.len()).any(|number| {
                    let stand = opinion.stands.get(&(format!("10.0.0.{number}").into(), 80));
                    stand.is_some_and(|stand| (stand.multiplier - 1.0).abs() > 1e-9)
                });
                for (index, one) in expected.endpoints[0].lb_endpoints.iter_mut().enumerate() {
                    let key = (format!("10.0.0.{}", index + 1).into(), 80);
                    let stand = opinion.stands.get(&key);
                    if reweighted {
                        let old = one.load_balancing_weight.as_ref().map_or(1, |w| w.value);
                        let by = stand.map_or(1.0, |stand| stand.multiplier);
                        let exact = (f64::from(old) * by * 1_000.0).round().max(1.0);
                        let value = exact.to_string().parse().unwrap();
                        one.load_balancing_weight = Some(UInt32Value { value });
                    }
                    if stand.is_some_and(|stand| stand.out) && one.health_status < 2 {
                        one.health_status = 2;
                    }
                }
                prop_assert_eq!(&ClusterLoadAssignment::decode(patched.clone()).unwrap(), &expected);
                let unknown = patched.windows(12).filter(|w| *w == b"what is this").count();
                prop_assert_eq!(unknown, 3 + first.len(), "unknown fields are still there");
            }
            Patched::Same => {}
            Patched::Refused(refusal) => {
                let floor = matches!(refusal, Refusal::Floor { .. });
                prop_assert!(floor);
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = opinion(&[(1, 0.5, true)]).apply(&bytes.into(), ANY);
    }
}
