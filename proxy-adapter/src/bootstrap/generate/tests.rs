use super::*;

use weir_engine::names::{Locality, ServiceId};

use crate::bootstrap::{Destination, HostPort, Identity, Listener, Protocol};

fn at(text: &str) -> HostPort {
    text.parse().unwrap()
}

/// A proxy with everything said, in zone `a`.
fn options(telemetry: Telemetry) -> Options {
    Options {
        telemetry,
        node: Identity {
            id: Some("n".into()),
            cluster: Some("shop".into()),
            locality: Locality { region: "eu".into(), zone: "a".into(), ..Default::default() },
        },
        admin: Some(at("127.0.0.1:9901")),
        weir: vec![at("10.0.0.1:7400"), at("10.0.0.2:7400")],
        protocol: Protocol::Delta,
        clusters_min: 1,
        access_log: true,
        listeners: vec![
            Listener { at: at("0.0.0.0:8080"), to: Destination::Cluster("shop".into()) },
            Listener {
                at: at("0.0.0.0:8081"),
                to: Destination::Route(ServiceId::new("demo", "cart")),
            },
        ],
    }
}

#[test]
fn the_push_profile_reads_like_this() {
    insta::assert_snapshot!(generate(&options(Telemetry::Push)).unwrap());
}

#[test]
fn the_scrape_profile_reads_like_this() {
    let options = Options {
        access_log: false,
        protocol: Protocol::StateOfTheWorld,
        weir: vec![at("weir.mesh:7400")],
        clusters_min: 0,
        ..options(Telemetry::Scrape)
    };
    insta::assert_snapshot!(generate(&options).unwrap());
}

fn generated(options: &Options) -> Value {
    document::parse(&generate(options).unwrap()).unwrap().0
}

#[test]
fn a_node_named_n_is_no_boolean() {
    let text = generate(&options(Telemetry::Push)).unwrap();
    assert!(text.contains("id: 'n'"), "{text}");
    assert_eq!(generated(&options(Telemetry::Push))["node"]["id"], "n");
}

#[test]
fn load_reports_and_endpoint_statistics_never_meet() {
    let pushed = generated(&options(Telemetry::Push));
    assert_eq!(pushed["cluster_manager"]["load_stats_config"]["api_type"], "GRPC");
    assert!(!pushed.to_string().contains("per_endpoint_stats"));
    assert_eq!(generated(&options(Telemetry::Scrape)).get("cluster_manager"), None);
}

#[test]
fn nothing_makes_endpoints_expire() {
    assert!(!generate(&options(Telemetry::Push)).unwrap().contains("stale_after"));
}

#[test]
fn names_are_resolved_and_numbers_are_not() {
    let kind = |weir: &[&str]| {
        let weir = weir.iter().map(|text| at(text)).collect();
        let written = generated(&Options { weir, ..options(Telemetry::Push) });
        written["static_resources"]["clusters"][0]["type"].clone()
    };
    assert_eq!(kind(&["10.0.0.1:1", "[::1]:1"]), "STATIC");
    assert_eq!(kind(&["weir.mesh:1"]), "STRICT_DNS");
    assert_eq!(kind(&["10.0.0.1:1", "weir.mesh:1"]), "STRICT_DNS");
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut Options), part: &str) {
    let mut options = options(Telemetry::Push);
    change(&mut options);
    let problems = generate(&options).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].to_string().contains(part), "{}", problems[0]);
}

#[test]
fn what_is_missing_is_said() {
    check_refused(|options| options.weir.clear(), "where weir listens is not said");
    check_refused(|options| options.weir[0].port = 0, "10.0.0.1:0 has no port");
    check_refused(|options| options.node.id = None, "no id");
    check_refused(|options| options.node.cluster = None, "no cluster");
    check_refused(|options| options.admin = None, "no admin interface");
    check_refused(|options| options.admin = Some(at("0.0.0.0:9901")), "open to others");
    let nothing = Options {
        node: Identity::default(),
        weir: vec![],
        admin: None,
        ..options(Telemetry::Push)
    };
    assert_eq!(generate(&nothing).unwrap_err().len(), 4, "all at once");
}

#[test]
fn addresses_read_as_they_are_written() {
    for text in ["10.0.0.1:7400", "weir.mesh:7400", "[::1]:7400"] {
        assert_eq!(at(text).to_string(), text);
    }
    for bad in ["", "weir", ":7400", "weir:", "weir:70000", "::1:7400", "[weir]:1", "a b:1"] {
        assert!(bad.parse::<HostPort>().is_err(), "{bad}");
    }
}
