//! A real Flagger takes a Deployment over, and asks Weir whether a new version may go on: what Weir yields to
//! when it writes the same objects.

use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::{Value, json};
use weir_testbed::backends::Behaviour;
use weir_tests::cluster::flagger::Flagger;
use weir_tests::cluster::identity::Identity;
use weir_tests::cluster::istiod::{self, Istiod};
use weir_tests::cluster::sidecar::Sidecar;
use weir_tests::cluster::workload::Workload;
use weir_tests::cluster::{Cluster, free, soon};
use weir_tests::traffic::Traffic;
use weir_tests::weir::Weir;

use crate::governed::{RATE, definition};
use crate::istio::{self, Way};
use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["flagger", "istiod"];
    vec![
        Test::new("flagger::a_canary_is_initialised", needs, a_canary_is_initialised),
        Test::new("flagger::it_asks_and_weir_yields", &["flagger", "istiod", "envoy"], it_asks),
    ]
}

const NAMESPACE: &str = "canary";

/// Nobody answers there; nothing is analysed before a canary is initialised.
const NO_PROMETHEUS: &str = "http://127.0.0.1:9";

const CANARY: &str = "
---
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: shop, namespace: canary}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop-v1}
  service: {name: shop, port: 80, targetPort: 8080}
  analysis: {interval: 10s, threshold: 5, maxWeight: 50, stepWeight: 10}
";

/// An object, as `kubectl` prints it; null where there is none.
async fn read(cluster: &Cluster, namespace: &str, kind: &str, name: &str) -> Value {
    let asked = ["get", kind, name, "--namespace", namespace, "--output", "json"];
    let printed = cluster.kubectl(&asked, "").await.unwrap_or_default();
    serde_json::from_str(&printed).unwrap_or_default()
}

/// What Flagger does with its canary.
async fn phase(cluster: &Cluster, namespace: &str) -> String {
    let canary = read(cluster, namespace, "canary", "shop").await;
    canary["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

async fn a_canary_is_initialised(cluster: Arc<Cluster>) {
    cluster.namespace(NAMESPACE).await;
    let _flagger = Flagger::start(&cluster, NAMESPACE, NO_PROMETHEUS).await;
    let shop =
        Workload { namespace: NAMESPACE, app: "shop", version: "v1", replicas: 3, spare: false };
    cluster.apply(&(shop.document() + CANARY)).await;
    soon("the canary is initialised", async || phase(&cluster, NAMESPACE).await == "Initialized")
        .await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.admin.clone(), NAMESPACE);
    let primary = deployments.get("shop-v1-primary").await.unwrap().status.unwrap();
    assert_eq!(primary.ready_replicas, Some(3), "the primary has taken over");
    let route = read(&cluster, NAMESPACE, "virtualservice", "shop").await;
    let weights: Vec<_> = route["spec"]["http"][0]["route"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|to| (to["destination"]["host"].as_str(), to["weight"].as_u64()))
        .collect();
    let expected = [(Some("shop-primary"), Some(100)), (Some("shop-canary"), Some(0))];
    assert_eq!(weights, expected, "{route}");
}

/// A canary without metrics: Weir is asked before each step, and whether to go back.
fn asking(namespace: &str, weir: SocketAddr) -> String {
    let url = format!("http://{weir}/api/v1/verdicts/flagger");
    format!(
        "
---
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {{name: shop, namespace: {namespace}}}
spec:
  targetRef: {{apiVersion: apps/v1, kind: Deployment, name: shop-v1}}
  service: {{name: shop, port: 80, targetPort: 8080}}
  analysis:
    interval: 10s
    threshold: 10
    stepWeights: [20, 50]
    webhooks:
      - {{name: proven, type: confirm-traffic-increase, url: '{url}', metadata: {{nextPercent: '50'}}}}
      - {{name: worse, type: rollback, url: '{url}', metadata: {{ask: rollback}}}}
"
    )
}

/// A Weir between the proxy and istiod that knows both of Flagger's services, and may write routes.
async fn weir(
    cluster: &Cluster,
    namespace: &str,
    (istiod, relay, xds): (SocketAddr, SocketAddr, SocketAddr),
) -> Weir {
    let service = |name: &str| {
        let host = istiod::host(namespace, name);
        json!({
            "namespace": namespace,
            "name": name,
            "endpoints": {"kubernetes": {}},
            "clusters": [format!("outbound|80||{host}")],
            "balancer": {"policy": "LEAST_REQUEST", "healthy_panic_threshold": 0},
        })
    };
    let config = json!({
        "data_dir": "data",
        "kubernetes": {
            "kubeconfig": cluster.kubeconfig(Identity::Admin),
            "namespaces": [namespace],
            "writes": ["routes"],
        },
        "relay": {"listen": relay, "upstream": {"address": format!("http://{istiod}")}},
        "services": [
            {"namespace": namespace, "name": "shop", "endpoints": {"versions": true}},
            service("shop-primary"),
            service("shop-canary"),
        ],
    });
    let room = cluster.room("weir-asked");
    std::fs::write(room.join("weir.yaml"), config.to_string()).unwrap();
    Weir::start(&room, xds).await
}

/// A rollout of the very services that Flagger moves the requests between.
fn rival(namespace: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: {{name: shop, namespace: {namespace}}}
spec:
  targetRefs: [{{group: '', kind: Service, name: shop}}]
  mode: Enforce
  rollout: {{stableRef: {{name: shop-primary}}, canaryRef: {{name: shop-canary}}, stepWeights: [50]}}
"
    )
}

/// Gives the Deployment another image, which Flagger takes for a new version.
async fn new_version(cluster: &Cluster, namespace: &str, image: &str) {
    let image = format!("shop={image}");
    let set = ["set", "image", "deployment/shop-v1", &image, "--namespace", namespace];
    cluster.kubectl(&set, "").await.unwrap();
}

/// Weir says of nobody's word but its own that a good version may go on, and a bad one has to go back; and while
/// Flagger moves the requests Weir leaves them to it.
async fn it_asks(cluster: Arc<Cluster>) {
    let namespace = "asked";
    let istiod = Istiod::start(&cluster, "istiod-asked").await;
    cluster.namespace(namespace).await;
    cluster.define(&definition()).await;
    let (relay, xds) = (free(), free());
    let weir = weir(&cluster, namespace, (istiod.ads, relay, xds)).await;
    let _flagger = Flagger::start(&cluster, namespace, NO_PROMETHEUS).await;
    let shop = Workload { namespace, app: "shop", version: "v1", replicas: 2, spare: false };
    cluster.apply(&(shop.document() + &asking(namespace, weir.api.address()))).await;
    soon("initialised", async || phase(&cluster, namespace).await == "Initialized").await;
    let way = Way { reports: Some(xds), ..Way::to(relay) };
    let client = istio::started(&cluster, ("client", namespace), way).await;
    let primary = format!("outbound|80||{}", istiod::host(namespace, "shop-primary"));
    soon("the proxy has a route to the primary", async || routed(&client, &primary).await).await;
    let traffic = Traffic::start(client.listener, RATE);
    traffic.more(600).await;

    new_version(&cluster, namespace, "shop:v2").await;
    soon("Flagger is at work", async || phase(&cluster, namespace).await == "Progressing").await;
    cluster.apply(&rival(namespace)).await;
    soon("Weir yields", async || {
        let sources = weir.ask("/api/v1/sources").await.to_string();
        sources.contains("Flagger's Canary shop is at work")
    })
    .await;
    soon("its rollout stands", async || {
        let shown = weir.ask(&format!("/api/v1/services/{namespace}/shop")).await.to_string();
        shown.contains("held: Flagger's Canary shop is at work")
    })
    .await;
    soon("the second step is taken", async || canary_weight(&cluster, namespace).await == 50).await;
    let route = read(&cluster, namespace, "virtualservice", "shop").await;
    assert!(route["metadata"]["annotations"].get("weir.dev/weights-before").is_none(), "{route}");
    soon("the proxy splits as Flagger says", async || {
        let weights = ["shop-primary", "shop-canary"].map(|name| istiod::host(namespace, name));
        let dump = client.envoy.admin.config_dump().await.unwrap();
        weights.iter().all(|host| {
            let cluster = format!("outbound|80||{host}");
            let half = |to: &Value| to["name"] == cluster && to["weight"] == 50;
            istio::search(&dump, "clusters", &|all| {
                all.as_array().is_some_and(|all| all.iter().any(half))
            })
            .is_some()
        })
    })
    .await;
    let observe = ["patch", "atp", "shop", "--namespace", namespace, "--type=merge", "--patch"];
    let observe = [&observe[..], &[r#"{"spec": {"mode": "Observe"}}"#]].concat();
    cluster.kubectl(&observe, "").await.unwrap();
    soon("it is promoted", async || {
        ["Promoting", "Finalising", "Succeeded"].contains(&&*phase(&cluster, namespace).await)
    })
    .await;
    soon("it is done", async || phase(&cluster, namespace).await == "Succeeded").await;
    assert_eq!(traffic.failed(), 0, "a good version costs nothing");

    let before: Vec<String> = cluster.kubelet.addresses(namespace).await.into_keys().collect();
    new_version(&cluster, namespace, "shop:v3").await;
    let mut bad = Vec::new();
    soon("the new version's pods are there", async || {
        let pods = cluster.kubelet.addresses(namespace).await.into_keys();
        bad = pods.filter(|pod| !before.contains(pod) && !pod.contains("primary")).collect();
        bad.len() == 2
    })
    .await;
    for pod in &bad {
        cluster.kubelet.behave(namespace, pod, Behaviour::failing(0.3)).await;
    }
    soon("it is tried", async || canary_weight(&cluster, namespace).await == 20).await;
    soon("it is given up", async || phase(&cluster, namespace).await == "Failed").await;
    assert_eq!(canary_weight(&cluster, namespace).await, 0);
    soon("all requests go to the primary", async || {
        let taken = cluster.kubelet.taking(namespace, &traffic, 100).await;
        bad.iter().all(|pod| taken.get(pod).is_none_or(|count| *count == 0))
    })
    .await;
    let failed = traffic.failed();
    traffic.more(600).await;
    assert_eq!(traffic.failed(), failed, "nothing fails any more");
}

/// The new version's part, as Flagger has written it.
async fn canary_weight(cluster: &Cluster, namespace: &str) -> u64 {
    let route = read(cluster, namespace, "virtualservice", "shop").await;
    let to = route["spec"]["http"][0]["route"].as_array().cloned().unwrap_or_default();
    let canary = to.into_iter().find(|to| to["destination"]["host"] == "shop-canary");
    canary.and_then(|to| to["weight"].as_u64()).unwrap_or_default()
}

async fn routed(client: &Sidecar, name: &str) -> bool {
    let dump = client.envoy.admin.config_dump().await.unwrap();
    let routed = istio::search(&dump, "route", &|to| to["cluster"] == name).is_some();
    routed && !client.endpoints(name).await.is_empty()
}
