//! Envoys of people's own come to Weir and go again, as their page says.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_testbed::backends::Behaviour;
use weir_tests::cluster::sidecar::Sidecar;
use weir_tests::cluster::workload::{Workload, service};
use weir_tests::cluster::{Cluster, free, page, soon};
use weir_tests::traffic::Traffic;
use weir_tests::weir::Weir;

use super::{accepted, ended, mode, moved, objects, unchanged, withdraw};
use crate::deploy;
use crate::governed::{RATE, definition};

const NAMESPACE: &str = "walk-plain";

/// The policy's namespace and name, which is the cluster's too.
const POLICY: (&str, &str) = (NAMESPACE, APP);

const APP: &str = "checkout";

const PAGE: &str = "install/plain-envoy.md";

const PODS: usize = 4;

/// What an Envoy is started with before anybody has heard of Weir: a listener that leads to the cluster.
pub(super) fn yours() -> Value {
    let router = json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
    }});
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": APP}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network\
                  .http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {
            "validate_clusters": false,
            "virtual_hosts": [{"name": "in", "domains": ["*"], "routes": [route]}],
        },
        "http_filters": [router],
    });
    let filter = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    });
    json!({
        "node": {"id": "yours", "cluster": "edge"},
        "static_resources": {"listeners": [{
            "name": "in",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [filter]}],
        }]},
    })
}

/// The same with a cluster of its own, which names the pods.
async fn alone(cluster: &Cluster) -> Value {
    let pods = cluster.kubelet.addresses(NAMESPACE).await;
    let endpoints: Vec<Value> = pods
        .values()
        .map(|at| {
            let at = json!({"address": at.ip().to_string(), "port_value": at.port()});
            json!({"endpoint": {"address": {"socket_address": at}}})
        })
        .collect();
    let mut bootstrap = yours();
    bootstrap["static_resources"]["clusters"] = json!([{
        "name": APP,
        "type": "STATIC",
        "load_assignment": {"cluster_name": APP, "endpoints": [{"lb_endpoints": endpoints}]},
    }]);
    bootstrap
}

/// The page's two ways to Weir: a bootstrap of its own, and one that somebody has already.
async fn pointed(cluster: &Cluster, room: &Path, weir: &Weir) -> [Sidecar; 2] {
    let mut with_clusters = yours();
    let added = page::block(PAGE, "2. Point Envoy at it", "text");
    let added: Value = serde_saphyr::from_str(&added).unwrap();
    with_clusters["dynamic_resources"] = added["dynamic_resources"].clone();
    std::fs::write(room.join("yours.yaml"), with_clusters.to_string()).unwrap();
    let commands = page::commands(PAGE, "2. Point Envoy at it");
    let here = commands.replace("weir.weir.svc:18010", &weir.xds.to_string());
    let here = here.replace("0.0.0.0:8080", "127.0.0.1:0");
    let lines: Vec<&str> = here.lines().collect();
    let [written, merged] = lines[..] else { panic!("two commands: {here}") };
    let mut proxies = Vec::new();
    for (name, command) in [("plain-written", written), ("plain-merged", merged)] {
        cluster.follow(room, command).await.unwrap();
        let text = std::fs::read_to_string(room.join("envoy.yaml")).unwrap();
        let bootstrap = serde_saphyr::from_str(&text).unwrap();
        proxies.push(Sidecar::on(cluster, name, bootstrap).await);
    }
    proxies.try_into().unwrap()
}

/// Waits until both proxies have all pods, healthy and alike.
async fn alike(proxies: &[Sidecar; 2]) {
    for proxy in proxies {
        soon("all pods are alike to the proxy", async || {
            let endpoints = proxy.endpoints(APP).await;
            endpoints.len() == PODS
                && endpoints.iter().all(|one| one.healthy && one.weight == endpoints[0].weight)
        })
        .await;
    }
}

/// Requests go to all pods, about as many to each.
async fn shared(cluster: &Cluster, traffic: &Traffic) {
    let taken = cluster.kubelet.taking(NAMESPACE, traffic, 600).await;
    let all: u64 = taken.values().sum();
    let part = |one: u64| one as f64 / all as f64;
    assert!(taken.values().all(|one| (0.18..0.32).contains(&part(*one))), "{taken:?}");
}

pub(super) async fn page_of_envoys(cluster: Arc<Cluster>) {
    let _home = cluster.home().await;
    cluster.namespace(NAMESPACE).await;
    let workload =
        Workload { namespace: NAMESPACE, app: APP, version: "v1", replicas: PODS, spare: false };
    cluster.apply(&(workload.document() + &service(NAMESPACE, APP))).await;
    cluster.ready(NAMESPACE, APP, PODS).await;
    cluster.define(&definition()).await;
    let before = objects(&cluster, NAMESPACE).await;
    let alone = Sidecar::on(&cluster, "plain-alone", alone(&cluster).await).await;
    let direct = Traffic::start(alone.listener, RATE);

    // 1. Install.
    let room = cluster.room("walk-plain");
    let install = page::commands(PAGE, "1. Install");
    let here = format!("{} --set 'config.services[0].namespace={NAMESPACE}'", install.trim_end());
    cluster.follow(&room, &here).await.unwrap();
    let config = deploy::installed(&cluster).await;
    std::fs::write(room.join("weir.yaml"), config.to_string()).unwrap();
    let mut weir = Weir::start(&room, free()).await;

    // 2. Point Envoy at it.
    let proxies = pointed(&cluster, &room, &weir).await;
    let [written, merged] = &proxies;
    alike(&proxies).await;
    let traffic = Traffic::start(written.listener, RATE);
    let beside = Traffic::start(merged.listener, RATE);
    direct.stop_without_loss().await;

    // 3. Watch.
    let watched = page::block(PAGE, "3. Watch", "yaml");
    cluster.apply(&moved(&watched, NAMESPACE)).await;
    accepted(&cluster, POLICY).await;
    let pods = cluster.kubelet.addresses(NAMESPACE).await;
    let (pod, _) = pods.iter().next().unwrap();
    cluster.kubelet.behave(NAMESPACE, pod, Behaviour::failing(0.5)).await;
    weir.more_steps(5).await;
    shared(&cluster, &traffic).await;

    // 4. Enforce, and back.
    mode(&cluster, POLICY, "Enforce").await;
    soon("the failing pod gets nothing from either proxy", async || {
        cluster.kubelet.taking(NAMESPACE, &traffic, 200).await[pod] == 0
    })
    .await;
    cluster.kubelet.behave(NAMESPACE, pod, Behaviour::HEALTHY).await;
    mode(&cluster, POLICY, "Observe").await;
    alike(&proxies).await;
    shared(&cluster, &traffic).await;

    // Remove. Proxies without Weir first.
    let direct = Traffic::start(alone.listener, RATE);
    ended(&cluster, NAMESPACE, vec![traffic, beside]).await;
    withdraw(&cluster, POLICY).await;
    cluster.follow(&room, "helm uninstall weir -n weir --wait").await.unwrap();
    weir.child.stop().await.unwrap();
    direct.more(300).await;
    direct.stop_without_loss().await;
    unchanged(&cluster, NAMESPACE, &before).await;
    for proxy in &proxies {
        let rejected = proxy.envoy.admin.stats("update_rejected").await.unwrap();
        assert!(rejected.values().all(|count| *count == 0), "Envoy takes all: {rejected:?}");
    }
}
