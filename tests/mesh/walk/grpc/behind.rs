//! A gRPC client of another control plane, and Weir's relay between.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use weir_tests::cluster::snapshots::Snapshots;
use weir_tests::cluster::{Cluster, free, page, soon};
use weir_tests::grpc::{Client, Seen, Servers};
use weir_tests::prometheus::Prometheus;

use super::{APP, PAGE, PODS, Shop, accepted, mode, moved, policy, shared};

/// The page's heading.
const BEHIND: &str = "Behind another control plane";

/// A cluster's name and a listener's, as control planes have them that go by Istio.
const CLUSTER: &str = "outbound|80||checkout.shop.svc.cluster.local";
const LISTENER: &str = "checkout.shop.svc.cluster.local:80";

/// What a control plane sends to gRPC clients.
fn resources(servers: &Servers) -> Value {
    let ads = json!({"resource_api_version": "V3", "ads": {}});
    let endpoint = |address: &String| {
        let address: SocketAddr = address.parse().unwrap();
        let at = json!({"address": address.ip().to_string(), "port_value": address.port()});
        json!({"endpoint": {"address": {"socket_address": at}}})
    };
    let endpoints: Vec<_> = servers.addresses.values().map(endpoint).collect();
    let locality = json!({
        "locality": {"region": "north-1"},
        "load_balancing_weight": 1,
        "lb_endpoints": endpoints,
    });
    let filters = "type.googleapis.com/envoy.extensions.filters";
    let manager = json!({
        "@type": format!("{filters}.network.http_connection_manager.v3.HttpConnectionManager"),
        "rds": {"route_config_name": "checkout", "config_source": ads},
        "http_filters": [{
            "name": "router",
            "typed_config": {"@type": format!("{filters}.http.router.v3.Router")},
        }],
    });
    let route = json!({"match": {"prefix": ""}, "route": {"cluster": CLUSTER}});
    json!({
        "listeners": [{"name": LISTENER, "api_listener": {"api_listener": manager}}],
        "routes": [{
            "name": "checkout",
            "virtual_hosts": [{"name": "checkout", "domains": ["*"], "routes": [route]}],
        }],
        "clusters": [{
            "name": CLUSTER,
            "type": "EDS",
            "lb_policy": "ROUND_ROBIN",
            "eds_cluster_config": {"eds_config": ads},
        }],
        "endpoints": [{"cluster_name": CLUSTER, "endpoints": [locality]}],
    })
}

/// A Prometheus that scrapes the servers and has the page's rules, each second.
async fn counting(room: &Path, servers: &Servers) -> Prometheus {
    let rules = page::blocks(PAGE, BEHIND, "text")[2].replace("interval: 5s", "interval: 1s");
    assert!(rules.contains("envoy_cluster_endpoint_rq_success"), "{rules}");
    std::fs::write(room.join("rules.yml"), rules).unwrap();
    let next = |at: &String| {
        let at: SocketAddr = at.parse().unwrap();
        SocketAddr::new(at.ip(), at.port() + 1)
    };
    let targets: Vec<SocketAddr> = servers.addresses.values().map(next).collect();
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": APP, "static_configs": [{"targets": targets}]}],
    });
    std::fs::write(room.join("prometheus.yml"), config.to_string()).unwrap();
    Prometheus::start(room).await
}

/// The page's bootstrap of a client.
fn bootstrap(room: &Path, relay: SocketAddr) -> PathBuf {
    let text = page::block(PAGE, BEHIND, "text");
    assert!(text.contains("\"weir.weir.svc:15010\""), "{text}");
    let file = room.join("xds.json");
    std::fs::write(&file, text.replace("weir.weir.svc:15010", &relay.to_string())).unwrap();
    file
}

pub(in crate::walk) async fn behind_a_control_plane(cluster: Arc<Cluster>) {
    let _home = cluster.home().await;
    let shop = Shop::open(cluster, "walk-grpc-behind").await;
    let served = resources(&shop.servers);
    let control = Snapshots::start(&shop.cluster, "walk-grpc-control", &served).await;
    let prometheus = counting(&shop.room, &shop.servers).await;

    // The addresses of this machine, and answers that are not up to 5 s late.
    let values = moved(&page::blocks(PAGE, BEHIND, "text")[1], shop.namespace);
    let mut config = shop.installed(&values).await;
    let relay = free();
    config["relay"]["listen"] = json!(relay);
    config["relay"]["upstream"]["address"] = json!(format!("http://{}", control.ads));
    let source = &mut config["sources"][0]["prometheus"];
    source["url"] = json!(format!("http://{}", prometheus.address));
    source["interval"] = json!("1s");
    let weir = shop.started(&config).await;
    let (target, file) = (format!("xds:///{LISTENER}"), bootstrap(&shop.room, relay));
    let client = Client::start(&shop.room.join("till"), &target, Some(&file));
    client.answered(&weir).await;
    soon("the client came", async || weir.metric("weir_relay_streams").await == 1).await;

    let soon_back = "  ejection: {baseEjectionTime: 5s}\n  mode: Enforce\n";
    shop.cluster.apply(&(policy(shop.namespace) + soon_back)).await;
    accepted(&shop.cluster, shop.policy()).await;
    soon("Weir judges all of them", async || {
        let service = weir.ask(&format!("/api/v1/services/{}/{APP}", shop.namespace)).await;
        service["endpoints"].as_array().is_some_and(|all| all.len() == PODS)
            && service["service"]["stance"] != "holding"
    })
    .await;
    let failing = shop.servers.addresses.keys().next().unwrap();
    shop.servers.fail(failing, true);
    let out = |seen: &Seen| seen.failures.is_empty() && seen.of(&[failing]) == 0;
    client.until_next(&weir, ("the failing server is out", 200), out).await;
    shop.servers.fail(failing, false);
    let back = |seen: &Seen| seen.failures.is_empty() && shared(seen, &shop.servers);
    client.until_next(&weir, ("it is back", 300), back).await;
    mode(&shop.cluster, shop.policy(), "Observe").await;
    shop.without(weir, &client).await;
}
