//! gRPC clients without a proxy come to Weir and go again, as their page says: by Weir's own xDS, and by its
//! relay before another control plane.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use weir_tests::cluster::snapshots::Snapshots;
use weir_tests::cluster::workload::Workload;
use weir_tests::cluster::{Cluster, free, page, soon};
use weir_tests::grpc::{Client, Seen, Servers};
use weir_tests::prometheus::Prometheus;
use weir_tests::weir::Weir;

use super::{accepted, mode, moved, objects, unchanged, withdraw};
use crate::deploy;
use crate::governed::definition;

const APP: &str = "checkout";

const PAGE: &str = "install/grpc.md";

/// Where another control plane configures the clients.
const BEHIND: &str = "Behind another control plane";

const PODS: usize = 4;

/// The port that clients call, as the page has it.
const PORT: u16 = 50051;

/// A cluster's name and a listener's, as control planes have them that go by Istio.
const CLUSTER: &str = "outbound|80||checkout.shop.svc.cluster.local";
const LISTENER: &str = "checkout.shop.svc.cluster.local:80";

/// Pods whose port `grpc` is served by real gRPC servers, named like the pods.
async fn shop(cluster: &Cluster, namespace: &str, room: &Path) -> Servers {
    cluster.namespace(namespace).await;
    let workload = Workload { namespace, app: APP, version: "v1", replicas: PODS, spare: false };
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": APP, "namespace": namespace},
        "spec": {
            "selector": {"app": APP},
            "ports": [{"name": "grpc", "port": 80, "targetPort": PORT, "appProtocol": "grpc"}],
        },
    });
    cluster.apply(&format!("{}---\n{service}\n", workload.document())).await;
    cluster.ready(namespace, APP, PODS).await;
    cluster.define(&definition()).await;
    let pods = cluster.kubelet.addresses(namespace).await;
    let names: Vec<_> = pods.iter().map(|(pod, at)| format!("{pod}={}:{PORT}", at.ip())).collect();
    Servers::start(room, &names).await
}

/// Installs Weir as the page says, with these values; what a pod would read then.
async fn installed(cluster: &Cluster, room: &Path, values: &str) -> Value {
    std::fs::write(room.join("values.yaml"), values).unwrap();
    cluster.follow(room, &page::commands(PAGE, "Without a proxy")).await.unwrap();
    deploy::installed(cluster).await
}

/// Starts it, and waits until it is ready, before which nobody reaches it by its Service.
async fn started(room: &Path, config: &Value, xds: SocketAddr) -> Weir {
    std::fs::write(room.join("weir.yaml"), config.to_string()).unwrap();
    let weir = Weir::start(room, xds).await;
    soon("Weir is ready", async || {
        weir.api.get("/readyz").await.is_ok_and(|(status, _)| status.is_success())
    })
    .await;
    weir
}

/// The policy of the page that this one leads to.
fn policy(namespace: &str) -> String {
    moved(&page::block("install/plain-envoy.md", "3. Watch", "yaml"), namespace)
}

/// About as many answers, or failures, came of each server.
fn shared(seen: &Seen, servers: &Servers) -> bool {
    let failed: u64 = seen.failures.values().sum();
    let part = |count: u64| count as f64 / (seen.of(&[]) + failed) as f64;
    servers.addresses.keys().all(|name| {
        let own = seen.of(&[name]);
        (0.15..0.35).contains(&part(if own == 0 { failed } else { own }))
    })
}

/// All that ever failed, failed by the words of the server that was told to.
fn nothing_lost(client: &Client) {
    let seen = client.seen();
    assert!(seen.of(&[]) > 0, "{seen:?}");
    assert!(seen.failures.keys().all(|words| words == "INTERNAL: told to fail"), "{seen:?}");
}

/// A client that knows of no xDS, as clients are before and after Weir.
fn alone(room: &Path, servers: &Servers) -> Client {
    let all: Vec<&str> = servers.addresses.values().map(String::as_str).collect();
    Client::start(&room.join("alone"), &format!("ipv4:{}", all.join(",")), Path::new(""))
}

pub(super) async fn page_of_clients(cluster: Arc<Cluster>) {
    let _home = cluster.home().await;
    let namespace = "walk-grpc";
    let room = cluster.room(namespace);
    let servers = shop(&cluster, namespace, &room).await;
    let before = objects(&cluster, namespace).await;

    // Install, and point a client at it.
    let config = moved(&page::block(PAGE, "Without a proxy", "yaml"), namespace);
    let config: Value = serde_saphyr::from_str(&config).unwrap();
    let config = installed(&cluster, &room, &json!({"config": config}).to_string()).await;
    let mut weir = started(&room, &config, free()).await;
    let commands = page::blocks(PAGE, "Without a proxy", "sh");
    let bootstrap = commands[1].replace("weir.weir.svc:18010", &weir.xds.to_string());
    let bootstrap = bootstrap.replace("--namespace shop", &format!("--namespace {namespace}"));
    cluster.follow(&room, &bootstrap).await.unwrap();
    let client = Client::start(&room.join("till"), "xds:///checkout", &room.join("xds.json"));
    client.answered(&weir).await;

    // Watch.
    cluster.apply(&policy(namespace)).await;
    accepted(&cluster, (namespace, APP)).await;
    let failing = servers.addresses.keys().next().unwrap();
    servers.fail(failing, true);
    weir.more_steps(5).await;
    let watched = client.next(300).await;
    assert!(shared(&watched, &servers) && !watched.failures.is_empty(), "{watched:?}");

    // Enforce, and back.
    mode(&cluster, (namespace, APP), "Enforce").await;
    let out = |seen: &Seen| seen.failures.is_empty() && seen.of(&[failing]) == 0;
    client.until_next(&weir, ("the failing server is out", 200), out).await;
    servers.fail(failing, false);
    mode(&cluster, (namespace, APP), "Observe").await;
    let back = |seen: &Seen| seen.failures.is_empty() && shared(seen, &servers);
    client.until_next(&weir, ("all have equal shares", 300), back).await;

    // Remove.
    let alone = alone(&room, &servers);
    alone.answered(&weir).await;
    withdraw(&cluster, (namespace, APP)).await;
    cluster.follow(&room, "helm uninstall weir -n weir --wait").await.unwrap();
    weir.child.stop().await.unwrap();
    for client in [&client, &alone] {
        let after = client.next(200).await;
        assert!(after.failures.is_empty() && after.of(&[]) >= 200, "{after:?}");
        nothing_lost(client);
    }
    unchanged(&cluster, namespace, &before).await;
}

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

pub(super) async fn behind_a_control_plane(cluster: Arc<Cluster>) {
    let _home = cluster.home().await;
    let namespace = "walk-grpc-behind";
    let room = cluster.room(namespace);
    let servers = shop(&cluster, namespace, &room).await;
    let before = objects(&cluster, namespace).await;
    let control = Snapshots::start(&cluster, "walk-grpc-control", &resources(&servers)).await;
    let prometheus = counting(&room, &servers).await;

    // The addresses of this machine, and answers that are not up to 5 s late.
    let values = moved(&page::blocks(PAGE, BEHIND, "text")[1], namespace);
    let mut config = installed(&cluster, &room, &values).await;
    let relay = free();
    config["relay"]["listen"] = json!(relay);
    config["relay"]["upstream"]["address"] = json!(format!("http://{}", control.ads));
    let source = &mut config["sources"][0]["prometheus"];
    source["url"] = json!(format!("http://{}", prometheus.address));
    source["interval"] = json!("1s");
    let mut weir = started(&room, &config, free()).await;
    let target = format!("xds:///{LISTENER}");
    let client = Client::start(&room.join("till"), &target, &bootstrap(&room, relay));
    client.answered(&weir).await;
    soon("the client came", async || weir.metric("weir_relay_streams").await == 1).await;

    let soon_back = "  ejection: {baseEjectionTime: 5s}\n  mode: Enforce\n";
    cluster.apply(&(policy(namespace) + soon_back)).await;
    accepted(&cluster, (namespace, APP)).await;
    soon("Weir judges all of them", async || {
        let service = weir.ask(&format!("/api/v1/services/{namespace}/{APP}")).await;
        service["endpoints"].as_array().is_some_and(|all| all.len() == PODS)
            && service["service"]["stance"] != "holding"
    })
    .await;
    let failing = servers.addresses.keys().next().unwrap();
    servers.fail(failing, true);
    let out = |seen: &Seen| seen.failures.is_empty() && seen.of(&[failing]) == 0;
    client.until_next(&weir, ("the failing server is out", 200), out).await;
    servers.fail(failing, false);
    let back = |seen: &Seen| seen.failures.is_empty() && shared(seen, &servers);
    client.until_next(&weir, ("it is back", 300), back).await;

    // Weir goes, and the client keeps what it has.
    mode(&cluster, (namespace, APP), "Observe").await;
    withdraw(&cluster, (namespace, APP)).await;
    cluster.follow(&room, "helm uninstall weir -n weir --wait").await.unwrap();
    weir.child.stop().await.unwrap();
    let after = client.next(300).await;
    assert!(after.failures.is_empty() && shared(&after, &servers), "{after:?}");
    nothing_lost(&client);
    unchanged(&cluster, namespace, &before).await;
}
