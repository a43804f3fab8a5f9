//! A real Flagger takes a Deployment over: what Weir yields to when it writes the same objects.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::Value;
use weir_tests::cluster::flagger::Flagger;
use weir_tests::cluster::workload::Workload;
use weir_tests::cluster::{Cluster, soon};

use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["flagger", "istiod"];
    vec![Test::new("flagger::a_canary_is_initialised", needs, a_canary_is_initialised)]
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
async fn read(cluster: &Cluster, kind: &str, name: &str) -> Value {
    let asked = ["get", kind, name, "--namespace", NAMESPACE, "--output", "json"];
    let printed = cluster.kubectl(&asked, "").await.unwrap_or_default();
    serde_json::from_str(&printed).unwrap_or_default()
}

async fn a_canary_is_initialised(cluster: Arc<Cluster>) {
    cluster.namespace(NAMESPACE).await;
    let _flagger = Flagger::start(&cluster, NAMESPACE, NO_PROMETHEUS).await;
    let shop =
        Workload { namespace: NAMESPACE, app: "shop", version: "v1", replicas: 3, spare: false };
    cluster.apply(&(shop.document() + CANARY)).await;
    soon("the canary is initialised", async || {
        read(&cluster, "canary", "shop").await["status"]["phase"] == "Initialized"
    })
    .await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.admin.clone(), NAMESPACE);
    let primary = deployments.get("shop-v1-primary").await.unwrap().status.unwrap();
    assert_eq!(primary.ready_replicas, Some(3), "the primary has taken over");
    let route = read(&cluster, "virtualservice", "shop").await;
    let weights: Vec<_> = route["spec"]["http"][0]["route"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|to| (to["destination"]["host"].as_str(), to["weight"].as_u64()))
        .collect();
    let expected = [(Some("shop-primary"), Some(100)), (Some("shop-canary"), Some(0))];
    assert_eq!(weights, expected, "{route}");
}
