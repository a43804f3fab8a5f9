use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::PartialObjectMeta;
use proptest::prelude::*;
use serde_json::{Value, json};
use weir_engine::names::ServiceId;

use super::script::{node, service, slice};
use crate::kubernetes::catalog::{Catalog, Port};

fn web() -> ServiceId {
    ServiceId::new("shop", "web")
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn catalog(ports: Value, slices: impl IntoIterator<Item = Value>) -> Catalog {
    let mut catalog = Catalog::default();
    catalog.apply_service(&read::<Service>(service("web", ports)));
    for slice in slices {
        catalog.apply_slice(&read::<EndpointSlice>(slice));
    }
    catalog
}

fn http() -> Value {
    json!([{ "name": "http", "port": 80 }])
}

/// The endpoints as `address locality`, with `!` before those that are not ready; or why not.
fn shown(catalog: &Catalog, port: Option<&Port>) -> Vec<String> {
    match catalog.resolve(&web(), port) {
        Ok(endpoints) => endpoints
            .iter()
            .map(|endpoint| {
                let mark = if endpoint.ready { "" } else { "!" };
                format!("{mark}{} {}", endpoint.address, endpoint.locality)
            })
            .collect(),
        Err(error) => vec![error.to_string()],
    }
}

fn is(conditions: &Value) -> Value {
    json!({ "addresses": ["10.0.0.1"], "conditions": conditions })
}

/// What becomes of one endpoint beside a ready one.
#[track_caller]
fn check(conditions: &Value, ready: bool) {
    let ready_one = json!({ "addresses": ["10.0.0.2"] });
    let catalog = catalog(http(), [slice("web-1", json!([is(conditions), ready_one]))]);
    let found = catalog.resolve(&web(), None).unwrap();
    let one = found.iter().find(|e| e.address.as_str() == "10.0.0.1:8080").unwrap();
    assert_eq!(one.ready, ready, "{conditions}");
}

#[test]
fn conditions_are_honoured() {
    check(&json!({}), true);
    check(&json!({ "ready": true }), true);
    check(&json!({ "ready": false }), false);
    check(&json!({ "ready": false, "serving": true, "terminating": true }), false);
    check(&json!({ "ready": true, "serving": true, "terminating": true }), false);
    check(&json!({ "ready": false, "serving": false, "terminating": true }), false);
}

#[test]
fn where_all_are_leaving_those_that_still_answer_serve() {
    let draining = json!({ "ready": false, "serving": true, "terminating": true });
    let dead = json!({ "ready": false, "serving": false, "terminating": true });
    let gone = json!({ "addresses": ["10.0.0.2"], "conditions": dead });
    let one = catalog(http(), [slice("web-1", json!([is(&draining), gone.clone()]))]);
    assert_eq!(shown(&one, None), ["!10.0.0.2:8080 //", "10.0.0.1:8080 //"]);
    let all_gone = catalog(http(), [slice("web-1", json!([gone]))]);
    assert_eq!(shown(&all_gone, None), ["!10.0.0.2:8080 //"]);
}

#[test]
fn slices_are_merged_and_the_better_word_stands_last() {
    let dying = is(&json!({ "ready": false }));
    let well = is(&json!({ "ready": true }));
    let slices = [slice("web-1", json!([well])), slice("web-2", json!([dying]))];
    let catalog = catalog(http(), slices);
    assert_eq!(shown(&catalog, None), ["!10.0.0.1:8080 //", "10.0.0.1:8080 //"]);
}

#[test]
fn ports_go_by_name_by_the_services_number_or_by_being_the_only_one() {
    let endpoints = json!([{ "addresses": ["10.0.0.1"] }]);
    let two = json!([{ "name": "http", "port": 80 }, { "name": "grpc", "port": 90 }]);
    let name = |name: &str| Some(Port::Name(name.to_owned()));
    let cases = [
        (http(), None, "10.0.0.1:8080 //"),
        (http(), Some(Port::Number(80)), "10.0.0.1:8080 //"),
        (two.clone(), name("http"), "10.0.0.1:8080 //"),
        (
            http(),
            Some(Port::Number(8080)),
            "Service shop/web has no TCP port 8080; it has http (80)",
        ),
        (http(), name("grpc"), "Service shop/web has no TCP port grpc; it has http (80)"),
        (
            two,
            None,
            "Service shop/web has not one TCP port but http (80), grpc (90): say which is meant",
        ),
    ];
    for (ports, port, expected) in cases {
        let catalog = catalog(ports, [slice("web-1", endpoints.clone())]);
        assert_eq!(shown(&catalog, port.as_ref()), [expected]);
    }
}

#[test]
fn pods_may_have_several_numbers_for_one_name() {
    let mut other = slice("web-2", json!([{ "addresses": ["10.0.0.2"] }]));
    other["ports"][0]["port"] = json!(9090);
    let catalog = catalog(http(), [slice("web-1", json!([{ "addresses": ["10.0.0.1"] }])), other]);
    assert_eq!(shown(&catalog, None), ["10.0.0.1:8080 //", "10.0.0.2:9090 //"]);
}

#[test]
fn of_two_families_the_first_counts_unless_only_the_other_is_there() {
    let v4 = slice("web-4", json!([{ "addresses": ["10.0.0.1"] }]));
    let mut v6 = slice("web-6", json!([{ "addresses": ["fd00::1"] }]));
    v6["addressType"] = json!("IPv6");
    assert_eq!(shown(&catalog(http(), [v4, v6.clone()]), None), ["10.0.0.1:8080 //"]);
    assert_eq!(shown(&catalog(http(), [v6]), None), ["[fd00::1]:8080 //"]);
}

#[test]
fn zones_are_the_slices_word_and_then_the_nodes() {
    let slices = [slice(
        "web-1",
        json!([
            { "addresses": ["10.0.0.1"], "nodeName": "n1" },
            { "addresses": ["10.0.0.2"], "nodeName": "n1", "zone": "eu-2" },
            { "addresses": ["10.0.0.3"], "nodeName": "n9", "zone": "eu-3" },
        ]),
    )];
    let mut catalog = catalog(http(), slices);
    assert!(catalog.apply_node(&read::<PartialObjectMeta<Node>>(node("n1", "eu", "eu-1"))));
    assert!(!catalog.apply_node(&read::<PartialObjectMeta<Node>>(node("n1", "eu", "eu-1"))));
    assert_eq!(
        shown(&catalog, None),
        ["10.0.0.1:8080 eu/eu-1/", "10.0.0.2:8080 eu/eu-2/", "10.0.0.3:8080 /eu-3/"]
    );
}

#[test]
fn what_cannot_be_an_endpoint_is_left_out() {
    let mut fqdn = slice("web-2", json!([{ "addresses": ["shop.example.org"] }]));
    fqdn["addressType"] = json!("FQDN");
    let mut none = slice("web-3", json!([{ "addresses": ["10.0.0.9"] }]));
    none["ports"] = json!(null);
    let odd =
        json!([{ "addresses": [] }, { "addresses": ["nonsense"] }, { "addresses": ["0.0.0.0"] }]);
    let catalog = catalog(http(), [slice("web-1", odd), fqdn, none]);
    assert_eq!(shown(&catalog, None), Vec::<String>::new());
}

#[test]
fn a_service_that_is_not_there_or_leads_elsewhere_is_said() {
    assert!(shown(&Catalog::default(), None)[0].starts_with("there is no Service shop/web"));
    let mut outside = service("web", http());
    outside["spec"]["type"] = json!("ExternalName");
    let mut catalog = Catalog::default();
    catalog.apply_service(&read::<Service>(outside));
    assert!(shown(&catalog, None)[0].contains("ExternalName"));
}

proptest! {
    /// Whatever came and went in whatever order: what is known is what a list of what is there
    /// now would give.
    #[test]
    fn events_come_to_the_same_as_a_list(steps in prop::collection::vec((0..4_u8, 1..5_u8, prop::bool::ANY), 0..40)) {
        let one = |name: u8, host: u8| {
            read::<EndpointSlice>(slice(&format!("web-{name}"), json!([{ "addresses": [format!("10.0.0.{host}")] }])))
        };
        let mut followed = catalog(http(), []);
        let mut there = std::collections::BTreeMap::new();
        for (name, host, stays) in steps {
            if stays {
                followed.apply_slice(&one(name, host));
                there.insert(name, host);
            } else {
                followed.delete_slice(&one(name, host));
                there.remove(&name);
            }
        }
        let mut listed = catalog(http(), []);
        let all: Vec<EndpointSlice> = there.iter().map(|(name, host)| one(*name, *host)).collect();
        listed.replace_slices(None, &all);
        prop_assert_eq!(shown(&followed, None), shown(&listed, None));
        followed.replace_slices(Some("elsewhere"), &[]);
        prop_assert_eq!(shown(&followed, None), shown(&listed, None));
        followed.replace_slices(Some("shop"), &all);
        prop_assert_eq!(shown(&followed, None), shown(&listed, None));
    }
}
