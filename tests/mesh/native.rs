//! Istio's cluster with Weir's own endpoints, by the `EnvoyFilter` of the page.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_testbed::backends::Behaviour;
use weir_tests::cluster::identity::Identity;
use weir_tests::cluster::istiod::{self, Istiod};
use weir_tests::cluster::{Cluster, free, page, soon};
use weir_tests::traffic::Traffic;
use weir_tests::weir::Weir;
use weir_tests::world::write;

use crate::governed::{RATE, definition, judging, policy};
use crate::istio::{self, Way};
use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["istiod", "envoy"];
    vec![Test::new("native::istio_by_own_endpoints", needs, istio_by_own_endpoints)]
}

const NAMESPACE: &str = "native";

/// The page's filter, for this namespace's shop.
fn filter() -> String {
    let filter = page::block("install/istio.md", "Without a relay", "text");
    let moved = filter.replace("reviews.shop.svc", &format!("shop.{NAMESPACE}.svc"));
    let moved = moved.replace("namespace: shop", &format!("namespace: {NAMESPACE}"));
    assert!(moved.contains("name: reviews-by-weir"), "{moved}");
    moved
}

/// Weir takes one cluster over from istiod under load, moves requests off a failing pod, and gives it back.
async fn istio_by_own_endpoints(cluster: Arc<Cluster>) {
    let istiod = Istiod::start(&cluster, "istiod-native").await;
    istio::one_version(&cluster, NAMESPACE).await;
    cluster.define(&definition()).await;
    cluster.apply(&policy(NAMESPACE, "Enforce")).await;
    let room = cluster.room("weir-native");
    let kubernetes = json!({
        "kubeconfig": cluster.kubeconfig(Identity::Admin),
        "namespaces": [NAMESPACE],
        "balancer": {"policy": "LEAST_REQUEST", "healthy_panic_threshold": 0},
    });
    let config = json!({"data_dir": "data", "kubernetes": kubernetes});
    write(&room, "weir.yaml", &config.to_string());
    let xds = free();
    let weir = Weir::start(&room, xds).await;
    let way = Way { reports: Some(xds), ..Way::to(istiod.ads) };
    let client = istio::client_of_one(&cluster, ("client", NAMESPACE), way).await;
    let alone = istio::client_of_one(&cluster, ("alone", NAMESPACE), Way::to(istiod.ads)).await;
    let whole = format!("outbound|80||{}", istiod::host(NAMESPACE, "shop"));
    let traffic = Traffic::start(client.listener, RATE);
    judging(&weir, NAMESPACE).await;

    // The other proxy has no way to Weir: Envoy refuses the change and keeps what it has.
    cluster.apply(&filter()).await;
    soon("Weir's endpoints are asked for", async || asks_weir(&client.envoy.admin, &whole).await)
        .await;
    assert_eq!(client.endpoints(&whole).await.len(), 4);
    traffic.more(300).await;
    assert_eq!(traffic.failed(), 0, "nobody notices the change");

    let pods = cluster.kubelet.addresses(NAMESPACE).await;
    let (pod, address) = pods.iter().next().unwrap();
    let beside = Traffic::start(alone.listener, RATE);
    cluster.kubelet.behave(NAMESPACE, pod, Behaviour::failing(0.5)).await;
    let out = async || {
        let endpoints = client.endpoints(&whole).await;
        endpoints.iter().any(|one| one.address == *address && !one.healthy)
    };
    soon("it is out at the proxy", out).await;
    // Counts are up to half a second old: wait for later ones.
    traffic.more(300).await;
    let (before, unheard) = (traffic.failed(), beside.failed());
    traffic.more(600).await;
    beside.more(600).await;
    assert!(beside.failed() - unheard > 20, "requests elsewhere go on failing");
    // What was on its way when it went out may still fail.
    assert!(traffic.failed() - before < 10, "{} fail still", traffic.failed() - before);

    // Weir goes and comes: the proxy keeps what it has.
    drop(weir);
    traffic.more(300).await;
    let weir = Weir::start(&room, xds).await;
    weir.more_steps(3).await;
    assert!(out().await, "it stays out");

    // The pod is well again, and the filter goes: istiod's own endpoints, and nobody notices.
    cluster.kubelet.behave(NAMESPACE, pod, Behaviour::HEALTHY).await;
    traffic.more(50).await;
    let before = traffic.failed();
    let delete = [
        "delete",
        "envoyfilter",
        "reviews-by-weir",
        "--namespace",
        NAMESPACE,
        "--ignore-not-found",
    ];
    cluster.kubectl(&delete, "").await.unwrap();
    soon("istiod's endpoints are back", async || {
        !asks_weir(&client.envoy.admin, &whole).await
            && client.endpoints(&whole).await.iter().all(|one| one.healthy && one.weight == 1)
    })
    .await;
    traffic.more(300).await;
    assert_eq!(traffic.failed(), before, "nobody notices the way back");
    drop((traffic, beside));
}

/// Whether a proxy's active cluster asks Weir for its endpoints.
async fn asks_weir(admin: &weir_testbed::envoy::Admin, name: &str) -> bool {
    let dump = admin.config_dump().await.unwrap();
    let named = |cluster: &Value| cluster["name"] == name;
    let found = istio::search(&dump, "cluster", &named).unwrap();
    found["eds_cluster_config"]["eds_config"].get("api_config_source").is_some()
}
