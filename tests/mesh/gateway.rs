//! A real Envoy Gateway configures a stock Envoy, listeners and all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use weir_tests::cluster::gateway::{ADS, Gateway, node};
use weir_tests::cluster::sidecar::{Listeners, Plan, Sidecar, Variant};
use weir_tests::cluster::workload::{Workload, service};
use weir_tests::cluster::{Cluster, soon};
use weir_tests::traffic::Traffic;

use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["envoy-gateway", "envoy"];
    vec![Test::new("gateway::a_weight_moves_requests", needs, a_weight_moves_requests)]
}

const NAMESPACE: &str = "gateway";

/// A Gateway on port 80 (Envoy Gateway adds 10000 outside a cluster) whose only route splits its
/// requests over two Backends.
pub(crate) fn documents(pods: &BTreeMap<String, SocketAddr>, first: u32, second: u32) -> String {
    let backend = |version: &str| {
        let own = pods.iter().filter(|(pod, _)| pod.starts_with(&format!("shop-{version}-")));
        let endpoints: String = own
            .map(|(_, at)| format!("    - ip: {{address: {}, port: {}}}\n", at.ip(), at.port()))
            .collect();
        format!(
            "---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: {version}, namespace: default}}
spec:
  endpoints:
{endpoints}"
        )
    };
    let reference = |name: &str, weight: u32| {
        format!(
            "        - {{group: gateway.envoyproxy.io, kind: Backend, name: {name}, weight: {weight}}}\n"
        )
    };
    let references = reference("v1", first) + &reference("v2", second);
    let gateway = format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: eg}}
spec: {{controllerName: gateway.envoyproxy.io/gatewayclass-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: eg, namespace: default}}
spec:
  gatewayClassName: eg
  listeners: [{{name: http, protocol: HTTP, port: 80}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop, namespace: default}}
spec:
  parentRefs: [{{name: eg}}]
  rules:
    - matches: [{{path: {{type: PathPrefix, value: /}}}}]
      backendRefs:
{references}"
    );
    [gateway, backend("v1"), backend("v2")].concat()
}

pub(crate) fn second(taken: &BTreeMap<String, u64>) -> f64 {
    let all: u64 = taken.values().sum();
    let second: u64 =
        taken.iter().filter(|(pod, _)| pod.starts_with("shop-v2-")).map(|(_, taken)| taken).sum();
    second as f64 / all.max(1) as f64
}

/// Two versions of a shop, of two pods each.
pub(crate) async fn shop(cluster: &Cluster, namespace: &str) {
    cluster.namespace(namespace).await;
    let of = |version| {
        Workload { namespace, app: "shop", version, replicas: 2, spare: false }.document()
    };
    cluster.apply(&[of("v1"), of("v2"), service(namespace, "shop")].concat()).await;
    cluster.ready(namespace, "shop", 4).await;
}

/// A proxy of the Gateway, which asks there, by this transport.
pub(crate) async fn edge(
    cluster: &Cluster,
    name: &str,
    (ads, transport): (SocketAddr, Option<Value>),
) -> Sidecar {
    let node = node("default", "eg");
    let (variant, listeners, token) = (Variant::Delta, Listeners::Discovered, None);
    Sidecar::start(cluster, &Plan { name, node, ads, transport, token, variant, listeners }).await
}

async fn a_weight_moves_requests(cluster: Arc<Cluster>) {
    shop(&cluster, NAMESPACE).await;
    let pods = cluster.kubelet.addresses(NAMESPACE).await;
    let gateway = Gateway::start(&cluster, "envoy-gateway", &documents(&pods, 90, 10)).await;
    let edge = edge(&cluster, "edge", (ADS, Some(gateway.transport()))).await;
    let traffic = Traffic::start(edge.listener, 300.0);
    let before = second(&cluster.kubelet.taking(NAMESPACE, &traffic, 1000).await);
    assert!((0.06..0.14).contains(&before), "{before} of the requests went to v2, not 0.1");
    gateway.write(&documents(&pods, 20, 80));
    soon("most requests go to v2", async || {
        second(&cluster.kubelet.taking(NAMESPACE, &traffic, 100).await) > 0.6
    })
    .await;
    let after = second(&cluster.kubelet.taking(NAMESPACE, &traffic, 1000).await);
    assert!((0.75..0.85).contains(&after), "{after} of the requests went to v2, not 0.8");
    traffic.stop_without_loss().await;
}
