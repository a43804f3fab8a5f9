use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use proptest::prelude::*;
use prost::Message;

use super::*;

const EDS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

fn wrapped(name: &str) -> Any {
    let assignment = ClusterLoadAssignment { cluster_name: name.to_owned(), ..Default::default() };
    Any { type_url: EDS.to_owned(), value: assignment.encode_to_vec() }
}

fn whole() -> DiscoveryResponse {
    DiscoveryResponse {
        version_info: "2026-11-30T12:00:00Z/182".to_owned(),
        resources: vec![wrapped("a"), wrapped("b")],
        type_url: EDS.to_owned(),
        nonce: "n1".to_owned(),
        ..Default::default()
    }
}

fn incremental() -> DeltaDiscoveryResponse {
    let resource = |name: &str, version: &str| Resource {
        name: name.to_owned(),
        version: version.to_owned(),
        resource: Some(wrapped(name)),
        ..Default::default()
    };
    DeltaDiscoveryResponse {
        system_version_info: "7".to_owned(),
        resources: vec![resource("a", "v1"), resource("b", "")],
        type_url: EDS.to_owned(),
        removed_resources: vec!["gone".to_owned()],
        nonce: "n1".to_owned(),
        ..Default::default()
    }
}

/// With a field that nobody knows at its end.
fn strange(message: &impl Message) -> Bytes {
    let mut bytes = message.encode_to_vec();
    put_bytes(&mut bytes, 1_000, b"what is this");
    bytes.into()
}

fn other(name: &str) -> Bytes {
    let mut bytes = wrapped(name).value;
    put_bytes(&mut bytes, 1_001, b"changed");
    bytes.into()
}

#[test]
fn a_response_says_what_it_holds() {
    let read = Response::read(&strange(&whole()), Dialect::StateOfTheWorld).unwrap();
    let names: Vec<_> = read.resources.iter().map(|one| one.name.as_str()).collect();
    assert_eq!((names, read.nonce.as_str(), read.type_url.as_str()), (vec!["a", "b"], "n1", EDS));
    assert_eq!(read.resources[0].body, wrapped("a").value);
    let read = Response::read(&strange(&incremental()), Dialect::Incremental).unwrap();
    let named: Vec<_> =
        read.resources.iter().map(|one| (one.name.as_str(), one.version.as_str())).collect();
    assert_eq!(named, [("a", "v1"), ("b", "")]);
    assert_eq!((read.removed, read.version), (vec!["gone".to_owned()], "7".to_owned()));
}

#[test]
fn what_is_not_changed_is_the_same_to_the_byte() {
    for (bytes, dialect) in [
        (strange(&whole()), Dialect::StateOfTheWorld),
        (strange(&incremental()), Dialect::Incremental),
    ] {
        assert_eq!(with_bodies(&bytes, dialect, &[None, None]), Ok(bytes.clone()));
        assert_eq!(with_bodies(&bytes, dialect, &[]), Ok(bytes));
    }
}

/// The body is another one, and so is the version: a client that comes back with it is sent the
/// server's own.
#[test]
fn what_is_changed_has_a_version_that_no_server_has() {
    let bytes = strange(&incremental());
    let bodies = [None, Some(other("b"))];
    let patched = with_bodies(&bytes, Dialect::Incremental, &bodies).unwrap();
    let read = Response::read(&patched, Dialect::Incremental).unwrap();
    assert_eq!((read.resources[0].version.as_str(), &read.resources[1].body), ("v1", &other("b")));
    let version = &read.resources[1].version;
    assert!(version.starts_with(MARK) && unmarked(version).is_empty(), "{version}");
    assert!(patched.ends_with(b"what is this"));
    let bytes = strange(&whole());
    let patched = with_bodies(&bytes, Dialect::StateOfTheWorld, &bodies).unwrap();
    let read = Response::read(&patched, Dialect::StateOfTheWorld).unwrap();
    assert_ne!(read.version, whole().version_info);
    assert_eq!(unmarked(&read.version), whole().version_info);
    let again = with_bodies(&bytes, Dialect::StateOfTheWorld, &bodies).unwrap();
    assert_eq!(again, patched, "the same bytes get the same version");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for dialect in [Dialect::StateOfTheWorld, Dialect::Incremental] {
            drop(Response::read(&Bytes::from(bytes.clone()), dialect));
            drop(with_bodies(&bytes, dialect, &[Some(Bytes::new()), None]));
        }
    }
}
