//! Weir itself on a real mesh: discovery by the API server, decisions by the relay, and a pod that fails.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use weir_testbed::backends::Behaviour;
use weir_tests::cluster::identity::Identity;
use weir_tests::cluster::istiod::{self, Istiod};
use weir_tests::cluster::{Cluster, free, soon};
use weir_tests::root;
use weir_tests::traffic::Traffic;
use weir_tests::weir::Weir;
use weir_tests::world::write;

use crate::istio::{self, Way};
use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["istiod", "envoy"];
    vec![
        Test::new("governed::istio_by_the_relay", needs, istio_by_the_relay),
        Test::new("governed::istio_by_the_label", needs, istio_by_the_label),
    ]
}

pub(crate) const RATE: f64 = 300.0;

pub(crate) fn policy(namespace: &str, mode: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: {{name: shop, namespace: {namespace}}}
spec:
  targetRefs: [{{group: '', kind: Service, name: shop}}]
  mode: {mode}
  ejection: {{baseEjectionTime: 60s}}
"
    )
}

/// What an operator writes: who is asked, what proxies are scraped, and whose control plane it is.
fn config(cluster: &Cluster, istiod: &Istiod, relay: SocketAddr) -> String {
    format!(
        "data_dir: data
kubernetes:
  kubeconfig: {}
  namespaces: [governed]
  balancer: {{policy: LEAST_REQUEST, healthy_panic_threshold: 0}}
relay:
  listen: '{relay}'
  upstream: {{address: 'http://{}'}}
",
        cluster.kubeconfig(Identity::Admin).display(),
        istiod.ads,
    )
}

/// One proxy that Weir governs and one that it does not, in the same mesh, while a pod fails.
async fn istio_by_the_relay(cluster: Arc<Cluster>) {
    let namespace = "governed";
    let istiod = Istiod::start(&cluster, "istiod-governed").await;
    istio::one_version(&cluster, namespace).await;
    let relay = free();
    let room = cluster.room("weir-governed");
    let xds = free();
    cluster.define(&definition()).await;
    cluster.apply(&policy(namespace, "Enforce")).await;
    write(&room, "weir.yaml", &config(&cluster, &istiod, relay));
    let weir = Weir::start(&room, xds).await;
    let way = Way { reports: Some(xds), ..Way::to(relay) };
    let governed = istio::client_of_one(&cluster, ("client", namespace), way).await;
    let alone = istio::client_of_one(&cluster, ("alone", namespace), Way::to(istiod.ads)).await;
    let whole = format!("outbound|80||{}", istiod::host(namespace, "shop"));
    let traffic = Traffic::start(governed.listener, RATE);
    let beside = Traffic::start(alone.listener, RATE);
    judging(&weir, namespace).await;

    let pods = cluster.kubelet.addresses(namespace).await;
    let (pod, address) = pods.iter().find(|(pod, _)| pod.starts_with("shop-v1-")).unwrap();
    cluster.kubelet.behave(namespace, pod, Behaviour::failing(0.5)).await;
    soon("it is out at the governed proxy", async || {
        let endpoints = governed.endpoints(&whole).await;
        endpoints.iter().any(|one| one.address == *address && !one.healthy)
    })
    .await;
    // Counts are up to half a second old: wait for later ones.
    traffic.more(300).await;
    beside.more(300).await;
    let (before, unheard) = (traffic.failed(), beside.failed());
    traffic.more(600).await;
    beside.more(600).await;
    let elsewhere = alone.endpoints(&whole).await;
    assert!(elsewhere.iter().all(|one| one.healthy), "the other proxy has istiod's own word");
    assert!(beside.failed() - unheard > 20, "requests there go on failing");
    // What was on its way when it went out may still fail.
    assert!(traffic.failed() - before < 10, "{} fail still", traffic.failed() - before);

    // Weir goes: the proxy keeps what it has. It comes back, and nothing changes.
    drop(weir);
    traffic.more(300).await;
    let weir = Weir::start(&room, xds).await;
    weir.more_steps(3).await;
    let endpoints = governed.endpoints(&whole).await;
    assert!(endpoints.iter().any(|one| one.address == *address && !one.healthy), "{endpoints:?}");

    // Told to observe, it takes everything back.
    cluster.apply(&policy(namespace, "Observe")).await;
    soon("all are as istiod has them", async || {
        let endpoints = governed.endpoints(&whole).await;
        endpoints.len() == 4 && endpoints.iter().all(|one| one.healthy && one.weight == 1)
    })
    .await;
    drop((traffic, beside));
}

/// Without a relay: the pod is labelled, istiod takes it from every proxy, and when it is well again it comes
/// back as if nobody had been there.
async fn istio_by_the_label(cluster: Arc<Cluster>) {
    let namespace = "labelled";
    let istiod = Istiod::start(&cluster, "istiod-labelled").await;
    istio::one_version(&cluster, namespace).await;
    let xds = free();
    let way = Way { reports: Some(xds), ..Way::to(istiod.ads) };
    let client = istio::client_of_one(&cluster, ("client", namespace), way).await;
    let whole = format!("outbound|80||{}", istiod::host(namespace, "shop"));
    cluster.define(&definition()).await;
    cluster.apply(&policy(namespace, "Enforce").replace("60s", "10s")).await;
    let room = cluster.room("weir-labelled");
    let text = format!(
        "data_dir: data
kubernetes:
  kubeconfig: {}
  writes: [draining]
  namespaces: [{namespace}]
  balancer: {{policy: LEAST_REQUEST, healthy_panic_threshold: 0}}
",
        cluster.kubeconfig(Identity::Admin).display(),
    );
    write(&room, "weir.yaml", &text);
    let weir = Weir::start(&room, xds).await;
    let traffic = Traffic::start(client.listener, RATE);
    judging(&weir, namespace).await;
    let pods = cluster.kubelet.addresses(namespace).await;
    let (pod, address) = pods.iter().find(|(pod, _)| pod.starts_with("shop-v1-")).unwrap();
    cluster.kubelet.behave(namespace, pod, Behaviour::failing(0.5)).await;
    let there = async || {
        let endpoints = client.endpoints(&whole).await;
        endpoints.iter().any(|one| one.address == *address)
    };
    soon("istiod takes it from the proxy", async || !there().await).await;
    traffic.more(300).await;
    let before = traffic.failed();
    traffic.more(300).await;
    assert!(traffic.failed() - before < 10, "{} fail still", traffic.failed() - before);
    cluster.kubelet.behave(namespace, pod, Behaviour::HEALTHY).await;
    soon("it is back", there).await;
    let label =
        ["get", "pod", pod, "--namespace", namespace, "--output", "jsonpath={.metadata.labels}"];
    let labels = cluster.kubectl(&label, "").await.unwrap();
    assert!(!labels.contains("draining"), "{labels}");
}

pub(crate) async fn judging(weir: &Weir, namespace: &str) {
    soon("Weir judges all four", async || {
        let shop = service(weir, namespace).await;
        shop["endpoints"].as_array().is_some_and(|all| all.len() == 4)
            && shop["service"]["stance"] != "holding"
    })
    .await;
}

pub(crate) fn definition() -> PathBuf {
    root().join("deploy/crds/adaptivetrafficpolicies.yaml")
}

async fn service(weir: &Weir, namespace: &str) -> Value {
    weir.ask(&format!("/api/v1/services/{namespace}/shop")).await
}
