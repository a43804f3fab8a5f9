//! A real istiod configures a stock Envoy: the mesh that Weir works beside. What stands here
//! without Weir is what has to stay so with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_tests::cluster::istiod::{self, Istiod};
use weir_tests::cluster::sidecar::{Listeners, Plan, Sidecar, Variant};
use weir_tests::cluster::workload::{Workload, service};
use weir_tests::cluster::{Cluster, soon};
use weir_tests::traffic::Traffic;

use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["istiod", "envoy"];
    vec![
        Test::new("istio::a_weight_moves_requests", needs, a_weight_moves_requests),
        Test::new("istio::endpoints_follow_pods", needs, endpoints_follow_pods),
    ]
}

/// Requests a second: enough for a thousand in a few seconds, and little work for two cores.
const RATE: f64 = 300.0;

/// Two versions of a shop, known to Istio as two subsets.
async fn two_versions(cluster: &Cluster, namespace: &str) {
    cluster.namespace(namespace).await;
    let of = |version| Workload { namespace, app: "shop", version, replicas: 2, spare: false };
    let rule = format!(
        "
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop, namespace: {namespace}}}
spec:
  host: shop
  subsets:
    - {{name: v1, labels: {{version: v1}}}}
    - {{name: v2, labels: {{version: v2}}}}
"
    );
    let documents = [of("v1").document(), of("v2").document(), service(namespace, "shop"), rule];
    cluster.apply(&documents.concat()).await;
    cluster.apply(&weights(namespace, 90, 10)).await;
    cluster.ready(namespace, "shop", 4).await;
}

fn weights(namespace: &str, first: u32, second: u32) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: {namespace}}}
spec:
  hosts: [shop]
  http:
    - name: primary
      route:
        - {{destination: {{host: shop, subset: v1}}, weight: {first}}}
        - {{destination: {{host: shop, subset: v2}}, weight: {second}}}
"
    )
}

async fn client(cluster: &Cluster, namespace: &str, istiod: &Istiod) -> Sidecar {
    let plan = Plan {
        name: &format!("client-{namespace}"),
        node: istiod::node(namespace),
        ads: istiod.ads,
        transport: None,
        variant: Variant::Delta,
        listeners: Listeners::Own { route: istiod::ROUTE, host: &istiod::host(namespace, "shop") },
    };
    Sidecar::start(cluster, &plan).await
}

/// The part of the requests that went to the second version.
fn second(taken: &BTreeMap<String, u64>) -> f64 {
    let of = |version: &str| -> u64 {
        let pods = taken.iter().filter(|(pod, _)| pod.starts_with(version));
        pods.map(|(_, taken)| taken).sum()
    };
    let (first, second) = (of("shop-v1-"), of("shop-v2-"));
    second as f64 / (first + second).max(1) as f64
}

async fn a_weight_moves_requests(cluster: Arc<Cluster>) {
    let namespace = "weights";
    let istiod = Istiod::start(&cluster, "istiod-weights").await;
    two_versions(&cluster, namespace).await;
    let client = client(&cluster, namespace, &istiod).await;
    let subset = format!("outbound|80|v2|{}", istiod::host(namespace, "shop"));
    soon("the proxy has both pods of v2", async || client.endpoints(&subset).await.len() == 2)
        .await;
    let traffic = Traffic::start(client.listener, RATE);
    let before = second(&cluster.kubelet.taking(namespace, &traffic, 1000).await);
    assert!((0.06..0.14).contains(&before), "{before} of the requests went to v2, not 0.1");
    cluster.apply(&weights(namespace, 20, 80)).await;
    soon("most requests go to v2", async || {
        second(&cluster.kubelet.taking(namespace, &traffic, 100).await) > 0.6
    })
    .await;
    let after = second(&cluster.kubelet.taking(namespace, &traffic, 1000).await);
    assert!((0.75..0.85).contains(&after), "{after} of the requests went to v2, not 0.8");
    traffic.stop_without_loss().await;
    let refused = client.envoy.admin.stats("update_rejected").await.unwrap();
    assert!(refused.values().all(|count| *count == 0), "Envoy takes all of it: {refused:?}");
}

async fn endpoints_follow_pods(cluster: Arc<Cluster>) {
    let namespace = "follows";
    let istiod = Istiod::start(&cluster, "istiod-follows").await;
    two_versions(&cluster, namespace).await;
    let client = client(&cluster, namespace, &istiod).await;
    let whole = format!("outbound|80||{}", istiod::host(namespace, "shop"));
    for (replicas, all) in [(2, 4), (5, 7), (1, 3)] {
        let count = format!("--replicas={replicas}");
        let scaled = ["scale", "deployment/shop-v1", "--namespace", namespace, &count];
        cluster.kubectl(&scaled, "").await.unwrap();
        cluster.ready(namespace, "shop", all).await;
        let pods = cluster.endpoints(namespace, "shop").await;
        soon("the proxy has what the slices have", async || {
            let endpoints = client.endpoints(&whole).await;
            let same = endpoints.iter().map(|e| e.address.ip()).eq(pods.iter().map(|p| p.address));
            same && endpoints.iter().all(|endpoint| endpoint.healthy && endpoint.weight == 1)
        })
        .await;
    }
}
