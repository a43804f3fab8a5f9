use super::*;

use weir_engine::names::ServiceId;

use crate::bootstrap::{HostPort, Identity, Listener, Protocol};

fn at(text: &str) -> HostPort {
    text.parse().unwrap()
}

fn options(telemetry: Telemetry) -> Options {
    Options {
        telemetry,
        node: Identity::default(),
        admin: None,
        weir: vec![at("10.0.0.1:7400")],
        protocol: Protocol::Delta,
        clusters_min: 0,
        access_log: true,
        listeners: vec![],
    }
}

fn merged(text: &str, telemetry: Telemetry) -> (Value, Vec<String>) {
    let merged = merge(text, &options(telemetry)).unwrap();
    (document::parse(&merged.yaml).unwrap().0, merged.notes)
}

/// A user's own file, with fields in both spellings and scalars that are easily lost.
const OWN: &str = "
# ours
node: {id: 'n', cluster: web, metadata: {version: 1.10, mode: 010, on: off}}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
dynamic_resources:
  ads_config:
    api_type: GRPC
    transport_api_version: V3
    grpc_services: [{envoy_grpc: {cluster_name: control}}]
  cds_config: {ads: {}, resource_api_version: V3}
layered_runtime:
  layers:
  - {name: base, static_layer: {upstream.healthy_panic_threshold: 40}}
  - {name: admin, adminLayer: {}}
static_resources:
  listeners:
  - name: web
    address: {socketAddress: {address: 0.0.0.0, portValue: 8080}}
    filterChains:
    - filters:
      - name: http
        typedConfig:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          statPrefix: web
          routeConfig: {virtualHosts: [{name: all, domains: ['*'], routes: [{match: {prefix: /}, route: {cluster: shop}}]}]}
          httpFilters:
          - name: router
            typedConfig: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: control
    type: STATIC
    connect_timeout: 0.25s
    loadAssignment:
      clusterName: control
      endpoints: [{lbEndpoints: [{endpoint: {address: {socketAddress: {address: 127.0.0.1, portValue: 18000}}}}]}]
    http2ProtocolOptions: {}
  - name: shop
    type: STATIC
    loadAssignment: {clusterName: shop}
";

#[test]
fn a_users_file_becomes_this() {
    let merged = merge(OWN, &options(Telemetry::Push)).unwrap();
    insta::assert_snapshot!("merged_push", merged.yaml);
    insta::assert_snapshot!("merged_push_notes", merged.notes.join("\n---\n"));
}

/// Everything that `before` has stands in `after` with the same value; lists may be longer.
#[track_caller]
fn check_kept(before: &Value, after: &Value, at: &str) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                check_kept(value, after.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"));
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for value in before {
                let kept = |other: &&Value| other["name"] == value["name"];
                let other = after.iter().find(kept).unwrap_or(&Value::Null);
                check_kept(value, other, at);
            }
        }
        _ => assert_eq!(before, after, "{at}"),
    }
}

#[test]
fn what_the_user_wrote_is_kept() {
    let before = document::parse(OWN).unwrap().0;
    for telemetry in [Telemetry::Push, Telemetry::Scrape] {
        check_kept(&before, &merged(OWN, telemetry).0, "");
    }
    assert_eq!(merged(OWN, Telemetry::Push).0["node"]["metadata"]["version"], "1.10");
}

#[test]
fn merging_again_changes_nothing() {
    for telemetry in [Telemetry::Push, Telemetry::Scrape] {
        for text in [OWN, "", "{\"node\": {\"id\": \"a\", \"cluster\": \"b\"}}"] {
            let once = merge(text, &options(telemetry)).unwrap().yaml;
            assert_eq!(merge(&once, &options(telemetry)).unwrap().yaml, once);
        }
    }
}

#[test]
fn streams_are_weirs_own_only_where_ads_is_anothers() {
    let layer = |text: &str| {
        let (value, _) = merged(text, Telemetry::Push);
        let layers = value["layered_runtime"]["layers"].as_array().unwrap().clone();
        let found = layers.into_iter().find(|layer| layer["name"] == "weir").unwrap();
        found["rtds_layer"]["rtds_config"].clone()
    };
    assert_eq!(layer(OWN)["api_config_source"]["api_type"], "DELTA_GRPC");
    assert_eq!(layer("node: {id: a}")["ads"], json!({}));
    let weirs = "dynamic_resources: {ads_config: {api_type: GRPC, grpcServices: [{envoyGrpc: {clusterName: weir}}]}}";
    assert_eq!(layer(weirs)["ads"], json!({}));
}

#[test]
fn the_admin_layer_keeps_the_last_word() {
    let names = |text: &str| {
        let (value, _) = merged(text, Telemetry::Push);
        let layers = value["layered_runtime"]["layers"].as_array().unwrap().clone();
        layers.iter().map(|layer| layer["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(OWN), ["base", "weir", "admin"]);
    assert_eq!(names(""), ["weir"]);
    assert_eq!(
        names("layered_runtime: {layers: [{name: base, static_layer: {}}]}"),
        ["base", "weir"]
    );
}

#[test]
fn the_scrape_profile_counts_per_endpoint() {
    let (value, notes) = merged(OWN, Telemetry::Scrape);
    assert_eq!(value.get("cluster_manager"), None);
    let clusters = value["static_resources"]["clusters"].as_array().unwrap();
    let counting = |name: &str| {
        let found = clusters.iter().find(|cluster| cluster["name"] == name).unwrap();
        found["track_cluster_stats"]["per_endpoint_stats"].clone()
    };
    assert_eq!((counting("shop"), counting("weir")), (json!(true), Value::Null));
    assert!(notes.iter().any(|note| note.contains("come by CDS need track_cluster_stats")));
    let off = "static_resources: {clusters: [{name: a, track_cluster_stats: {per_endpoint_stats: false}}]}";
    let (value, notes) = merged(off, Telemetry::Scrape);
    let stats = &value["static_resources"]["clusters"][0]["track_cluster_stats"];
    assert_eq!(stats["per_endpoint_stats"], false, "the user's choice");
    assert!(notes.iter().any(|note| note.contains("\"a\" keeps per_endpoint_stats off")));
}

#[test]
fn listeners_from_elsewhere_get_a_snippet() {
    let has =
        |text: &str| merged(text, Telemetry::Push).1.iter().any(|n| n.contains("upstream_log"));
    assert!(has("node: {id: a}"), "no listener of its own");
    assert!(!has(OWN), "its own routers have it");
    let lds = OWN.replace("  cds_config:", "  lds_config: {ads: {}}\n  cds_config:");
    assert!(has(&lds));
    let silent = Options { access_log: false, ..options(Telemetry::Push) };
    let merged = merge(OWN, &silent).unwrap();
    assert!(!merged.yaml.contains("upstream_log"));
}

#[test]
fn json_stays_json() {
    let merged = merge("{\"node\": {\"id\": \"a\"}}", &options(Telemetry::Push)).unwrap();
    assert!(
        merged.yaml.starts_with("{\n  \"node\": {\n    \"id\": \"a\"\n  },"),
        "{}",
        merged.yaml
    );
}

#[test]
fn says_who_the_proxy_is_only_where_the_file_does_not() {
    let named = Options {
        node: Identity { id: Some("a".into()), ..Default::default() },
        admin: Some(at("127.0.0.1:9901")),
        ..options(Telemetry::Push)
    };
    let result = merge("", &named).unwrap();
    let value = document::parse(&result.yaml).unwrap().0;
    assert_eq!(value["node"], json!({ "id": "a" }));
    assert_eq!(value["admin"]["address"], parts::socket_address("127.0.0.1", 9901));
    assert!(
        result.notes.iter().any(|note| note.contains("--service-cluster")),
        "{:?}",
        result.notes
    );
    assert!(result.notes.iter().any(|note| note.contains("dynamic_resources.cds_config")));
    let kept = merge("admin: {address: {pipe: {path: /run/admin}}}", &named).unwrap();
    assert!(!kept.yaml.contains("9901"), "{}", kept.yaml);
}

/// One problem, at this path, with these words.
#[track_caller]
fn check_refused(text: &str, telemetry: Telemetry, at: &str, part: &str) {
    let named = Options {
        node: Identity { id: Some("a".into()), ..Default::default() },
        ..options(telemetry)
    };
    let problems = merge(text, &named).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].at, at);
    assert!(problems[0].what.contains(part), "{}", problems[0]);
}

#[test]
fn conflicts_are_errors_at_their_paths() {
    use Telemetry::{Push, Scrape};
    check_refused("node: {id: b}", Push, "node.id", "the file has \"b\", weir needs \"a\"");
    check_refused("node: 1", Push, "node", "a mapping belongs here");
    check_refused(
        "static_resources: {clusters: [{name: x}, {name: weir, type: STATIC}]}",
        Push,
        "static_resources.clusters[1]",
        "\"weir\" is there already, and differs",
    );
    check_refused(
        "layeredRuntime: {layers: [{name: weir, static_layer: {}}]}",
        Push,
        "layered_runtime.layers[0]",
        "\"weir\" is there already",
    );
    check_refused(
        "clusterManager: {loadStatsConfig: {api_type: GRPC}}",
        Push,
        "cluster_manager.load_stats_config",
        "the file has {\"api_type\":\"GRPC\"}",
    );
    check_refused(
        "clusterManager: {loadStatsConfig: {api_type: GRPC}}",
        Scrape,
        "cluster_manager.load_stats_config",
        "refuses statistics per endpoint",
    );
    check_refused(
        "static_resources: {clusters: [{name: x, trackClusterStats: {perEndpointStats: true}}]}",
        Push,
        "static_resources.clusters[0].track_cluster_stats.per_endpoint_stats",
        "\"x\" counts per endpoint",
    );
    check_refused("static_resources: {clusters: 3}", Scrape, "static_resources.clusters", "a list");
    check_refused("a: [", Push, "", "line");
}

#[test]
fn a_log_of_the_same_name_is_a_conflict() {
    let other = "{name: x, typed_config: {common_config: {log_name: weir}}}";
    let text =
        OWN.replace("router.v3.Router}", &format!("router.v3.Router, upstreamLog: [{other}]}}"));
    check_refused(
        &text.replace("id: 'n'", "id: a"),
        Telemetry::Push,
        "static_resources.listeners[0].filterChains[0].filters[0].typedConfig.httpFilters[0]\
         .typedConfig.upstream_log",
        "\"weir\" is there already",
    );
}

#[test]
fn a_listener_with_weirs_route_is_added_where_it_is_asked_for() {
    let listener = |to| Listener { at: at("127.0.0.1:8081"), to };
    let routed = listener(Destination::Route(ServiceId::new("demo", "shop")));
    let asked = Options {
        listeners: vec![listener(Destination::Cluster("shop".into())), routed],
        ..options(Telemetry::Push)
    };
    let first = merge(OWN, &asked).unwrap();
    let root = document::parse(&first.yaml).unwrap().0;
    let listeners = root["static_resources"]["listeners"].as_array().unwrap();
    assert_eq!(listeners.len(), 2, "the user's own and the one with a route");
    let manager = &listeners[1]["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(manager["rds"]["route_config_name"], "demo/shop");
    let source = &manager["rds"]["config_source"];
    assert_eq!(source["initial_fetch_timeout"], "5s");
    // The proxy's ADS is another server's.
    assert_eq!(source["api_config_source"]["api_type"], "DELTA_GRPC");
    let log = &manager["http_filters"][0]["typed_config"]["upstream_log"];
    assert_eq!(log.as_array().unwrap().len(), 1);
    assert!(first.notes.iter().any(|note| note.contains("clusters of its versions")));
    assert_eq!(merge(&first.yaml, &asked).unwrap().yaml, first.yaml, "merged again");
    let other = first.yaml.replace("initial_fetch_timeout: '5s'", "initial_fetch_timeout: '6s'");
    let problems = merge(&other, &asked).unwrap_err();
    assert!(problems[0].at.starts_with("static_resources.listeners[1]"), "{problems:?}");
}
