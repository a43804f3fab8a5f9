//! What Weir writes into routes of others, in a real API server: only weights, only where nobody else is at
//! work, and back as it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use weir::kubernetes::writing::Writes;
use weir_tests::cluster::identity::Identity;
use weir_tests::cluster::workload::{self, Workload};
use weir_tests::cluster::{Cluster, free, soon};
use weir_tests::weir::Weir;
use weir_tests::world::write;

use crate::governed::definition;
use crate::stage::Test;
use crate::writer::{Writer, rollout, taken_over};

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["istiod", "flagger"];
    vec![
        Test::new("written::weights_come_and_go", needs, weights_come_and_go),
        Test::new("written::they_go_with_their_policy", &["istiod"], they_go_with_their_policy),
    ]
}

const NAMESPACE: &str = "written";

const ROUTES: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: written, annotations: {of: people}}
spec:
  parentRefs: [{group: '', kind: Service, name: cart, port: 80}]
  rules:
    - name: other
      matches: [{path: {value: /other}}]
      backendRefs: [{name: other, port: 80}]
    - name: versions
      backendRefs:
        - {name: cart-v1, port: 80, weight: 1}
        - {name: cart-v2, port: 80, weight: 0}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: written}
spec:
  hosts: [cart]
  http:
    - route:
        - {destination: {host: cart-v1.written.svc.cluster.local}, weight: 100}
        - {destination: {host: cart-v2.written.svc.cluster.local}}
";

const CANARY: &str = "
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: cart-v1, namespace: written}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: cart-v1}
  service: {port: 80}
  analysis: {interval: 1m, threshold: 1, iterations: 3}
";

async fn weights(cluster: &Cluster, kind: &str, list: &str) -> Vec<Option<u64>> {
    let object = cluster.authored(NAMESPACE, [kind, "cart"]).await;
    let list = object.pointer(list).unwrap().as_array().unwrap().clone();
    list.iter().map(|one| one["weight"].as_u64()).collect()
}

const LISTS: [(&str, &str); 2] =
    [("httproute", "/spec/rules/1/backendRefs"), ("virtualservice", "/spec/http/0/route")];

/// Whether Weir is named as an owner of fields.
async fn owns(cluster: &Cluster) -> bool {
    let get = ["get", "httproute,virtualservice", "--namespace", NAMESPACE, "--output", "json"];
    let get = [&get[..], &["--show-managed-fields"]].concat();
    cluster.kubectl(&get, "").await.unwrap().contains("\"manager\": \"weir-controller\"")
}

async fn until_weights(cluster: &Cluster, expected: [u64; 2]) {
    for (kind, list) in LISTS {
        soon(&format!("the {kind} has {expected:?}"), async || {
            weights(cluster, kind, list).await == expected.map(Some)
        })
        .await;
    }
}

async fn weights_come_and_go(cluster: Arc<Cluster>) {
    for (peer, folder) in [("istiod", "crds"), ("istiod", "gateway-crds"), ("flagger", "crds")] {
        cluster.define(&cluster.peers.folder(peer).join(folder)).await;
    }
    cluster.namespace(NAMESPACE).await;
    cluster.apply(ROUTES).await;
    let before = [
        cluster.authored(NAMESPACE, ["httproute", "cart"]).await,
        cluster.authored(NAMESPACE, ["virtualservice", "cart"]).await,
    ];
    let writes = Writes { routes: true, ..Writes::default() };
    let mut writer = Writer::start(&cluster, NAMESPACE, writes, rollout(NAMESPACE, Some(10)));
    until_weights(&cluster, [9_000, 1_000]).await;

    // While Flagger is at work on one of them nothing is written.
    cluster.apply(CANARY).await;
    let status = json!({"status": {"phase": "Progressing", "canaryWeight": 5, "failedChecks": 0, "iterations": 0, "lastTransitionTime": "2026-01-01T00:00:00Z"}});
    let patch = status.to_string();
    let put = [
        "patch",
        "canary",
        "cart-v1",
        "--namespace",
        NAMESPACE,
        "--subresource",
        "status",
        "--type",
        "merge",
        "--patch",
        &patch,
    ];
    cluster.kubectl(&put, "").await.unwrap();
    writer.show(rollout(NAMESPACE, Some(20)));
    writer.says("Flagger's Canary cart-v1 is at work").await;
    assert_eq!(weights(&cluster, LISTS[0].0, LISTS[0].1).await, [Some(9_000), Some(1_000)]);
    cluster.kubectl(&["delete", "canary", "cart-v1", "--namespace", NAMESPACE], "").await.unwrap();
    until_weights(&cluster, [8_000, 2_000]).await;

    // Nobody wants it any more: all is as it was.
    let same = async || {
        [
            cluster.authored(NAMESPACE, ["httproute", "cart"]).await,
            cluster.authored(NAMESPACE, ["virtualservice", "cart"]).await,
        ] == before
    };
    assert!(owns(&cluster).await, "it says that it owns them");
    writer.show(rollout(NAMESPACE, None));
    soon("all is as it was found", same).await;
    soon("nothing is its own any more", async || !owns(&cluster).await).await;
    writer.show(rollout(NAMESPACE, Some(30)));
    until_weights(&cluster, [7_000, 3_000]).await;
    writer.stop().await;
    assert_eq!(writer.release().await, 2);
    assert!(same().await, "also when it is released by hand");
    assert!(!owns(&cluster).await);
    assert_eq!(writer.release().await, 0, "there is nothing left to put back");

    // A new version that has taken over: the routes are their owners', as they are.
    let writer = Writer::start(&cluster, NAMESPACE, writes, rollout(NAMESPACE, Some(40)));
    until_weights(&cluster, [6_000, 4_000]).await;
    writer.show(taken_over(NAMESPACE));
    until_weights(&cluster, [0, 10_000]).await;
    soon("they are let go", async || !owns(&cluster).await).await;
    assert_eq!(writer.release().await, 0, "there is nothing to go back to");
}

/// A rollout of two versions that serve, and the route to both.
const ROLLOUT: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: cart-v1, namespace: taken-over}
spec: {selector: {app: cart, version: v1}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart-v2, namespace: taken-over}
spec: {selector: {app: cart, version: v2}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: taken-over}
spec:
  hosts: [cart]
  http:
    - route:
        - {destination: {host: cart-v1}, weight: 99}
        - {destination: {host: cart-v2}, weight: 1}
---
apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: {name: cart, namespace: taken-over}
spec:
  targetRefs: [{group: '', kind: Service, name: cart}]
  mode: Enforce
  rollout: {stableRef: {name: cart-v1}, canaryRef: {name: cart-v2}, stepWeights: [20]}
";

async fn they_go_with_their_policy(cluster: Arc<Cluster>) {
    let namespace = "taken-over";
    cluster.define(&cluster.peers.folder("istiod").join("crds")).await;
    cluster.define(&definition()).await;
    cluster.namespace(namespace).await;
    let of = |version| Workload { namespace, app: "cart", version, replicas: 2, spare: false };
    let pods = [of("v1").document(), of("v2").document(), workload::service(namespace, "cart")];
    cluster.apply(&(pods.concat() + ROLLOUT)).await;
    cluster.ready(namespace, "cart", 4).await;
    let route = ["virtualservice", "cart"];
    let before = cluster.authored(namespace, route).await;

    let room = cluster.room("weir-taken-over");
    let service =
        |name: &str| json!({"namespace": namespace, "name": name, "endpoints": {"kubernetes": {}}});
    let config = json!({
        "data_dir": "data",
        "kubernetes": {
            "kubeconfig": cluster.kubeconfig(Identity::Admin),
            "namespaces": [namespace],
            "writes": ["routes"],
        },
        "services": [
            {"namespace": namespace, "name": "cart", "endpoints": {"versions": true}},
            service("cart-v1"),
            service("cart-v2"),
        ],
    });
    write(&room, "weir.yaml", &config.to_string());
    let weir = Weir::start(&room, free()).await;
    soon("the first step is written", async || {
        let route = cluster.authored(namespace, route).await;
        route["spec"]["http"][0]["route"][1]["weight"] == 2_000
    })
    .await;

    let began = Instant::now();
    let delete = ["delete", "atp", "cart", "--namespace", namespace, "--timeout=60s"];
    cluster.kubectl(&delete, "").await.unwrap();
    assert_eq!(cluster.authored(namespace, route).await, before, "put back before it went");
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    assert!(!weir.said("ReleaseTimedOut"));
}
