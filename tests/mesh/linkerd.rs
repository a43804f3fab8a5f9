//! What Weir writes for Linkerd, in a real API server: weights in Linkerd's own routes, and annotations of
//! Services.

use std::sync::Arc;

use serde_json::{Value, json};
use weir::kubernetes::writing::Writes;
use weir_tests::cluster::identity::Identity;
use weir_tests::cluster::{Cluster, soon, workload};
use weir_tests::root;
use weir_tests::weir::run;
use weir_tests::world::write;

use crate::ruled::wanted;
use crate::stage::Test;
use crate::writer::{Writer, balanced, rollout};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("linkerd::weights_come_and_go", &[], weights_come_and_go),
        Test::new("linkerd::mistakes_are_refused", &[], mistakes_are_refused),
        Test::new("linkerd::annotations_come_and_go", &[], annotations_come_and_go),
    ]
}

/// Linkerd's own definitions, where somebody has them (`WEIR_LINKERD`, see `tests/peers/build.sh`), or
/// else ours of the fields that Weir has to do with.
async fn definitions(cluster: &Cluster) {
    let ours = root().join("tests/mesh/linkerd.yaml");
    let real = cluster.peers.have("linkerd").then(|| cluster.peers.folder("linkerd").to_owned());
    cluster.define(&real.unwrap_or(ours)).await;
}

const ROUTES: &str = "
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: cart, namespace: linked-routes, annotations: {of: people}}
spec:
  parentRefs: [{group: core, kind: Service, name: cart, port: 80}]
  rules:
    - matches: [{path: {value: /other}}]
      backendRefs: [{name: other, port: 80, weight: 3}]
    - timeouts: {request: 2s}
      backendRefs:
        - {name: cart-v1, port: 80}
        - {name: cart-v2, group: core, port: 80, weight: 0}
---
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: shared, namespace: linked-routes}
spec:
  parentRefs: [{group: core, kind: Service, name: shared, port: 80}]
  rules:
    - backendRefs: [{name: cart-v1, port: 80}, {name: cart-v2, port: 80}, {name: theirs, port: 80}]
    - backendRefs: [{name: cart-v1, port: 80}, {name: cart-v2, namespace: elsewhere, port: 80}]
";

const KIND: &str = "httproutes.policy.linkerd.io";

/// What the object says, with these weights of the two versions.
fn with_weights(object: &Value, weights: [u32; 2]) -> Value {
    let mut spec = object["spec"].clone();
    for (at, weight) in weights.into_iter().enumerate() {
        spec["rules"][1]["backendRefs"][at]["weight"] = json!(weight);
    }
    spec
}

async fn weights_come_and_go(cluster: Arc<Cluster>) {
    let namespace = "linked-routes";
    definitions(&cluster).await;
    cluster.namespace(namespace).await;
    cluster.apply(ROUTES).await;
    let cart = async || cluster.authored(namespace, [KIND, "cart"]).await;
    let shared = async || cluster.authored(namespace, [KIND, "shared"]).await;
    let before = (cart().await, shared().await);
    assert_eq!(before.0["spec"], with_weights(&before.0, [1, 0]), "a weight is 1 unless said");
    let until = async |weights: [u32; 2]| {
        soon(&format!("only the weights are {weights:?}"), async || {
            cart().await["spec"] == with_weights(&before.0, weights)
        })
        .await;
    };
    let writes = Writes { routes: true, linkerd: true, ..Writes::default() };
    let mut writer = Writer::start(&cluster, namespace, writes, rollout(namespace, Some(10)));
    until([9_000, 1_000]).await;
    writer.show(rollout(namespace, Some(100)));
    until([0, 10_000]).await;
    writer.show(rollout(namespace, None));
    soon("it is as it was found", async || cart().await == before.0).await;

    writer.show(rollout(namespace, Some(30)));
    until([7_000, 3_000]).await;
    assert_eq!(shared().await, before.1, "where others take part nothing is written");
    writer.stop().await;

    // Whose route it is may put a rule before the others at any time.
    let rule = json!({"backendRefs": [{"name": "third", "port": 80, "weight": 7}, {"name": "fourth", "port": 80}]});
    let first = json!([{"op": "add", "path": "/spec/rules/0", "value": rule}]).to_string();
    let patch = ["patch", KIND, "cart", "--namespace", namespace, "--type", "json", "--patch"];
    cluster.kubectl(&[&patch[..], &[&first]].concat(), "").await.unwrap();
    let added = cart().await["spec"]["rules"][0].clone();
    let room = cluster.room("weir-linked-routes");
    let kubeconfig = cluster.kubeconfig(Identity::Admin);
    let config = format!(
        "data_dir: data
kubernetes: {{kubeconfig: {}, namespaces: [{namespace}], writes: [routes, linkerd]}}
",
        kubeconfig.display()
    );
    write(&room, "weir.yaml", &config);
    let config = room.join("weir.yaml").display().to_string();
    let released = run(["release", "--config", &config]);
    assert_eq!(released.code, Some(0), "{released:?}");
    let mut after = cart().await;
    assert_eq!(after["spec"]["rules"].as_array_mut().unwrap().remove(0), added);
    assert_eq!((after, shared().await), before, "also by hand");
    assert_eq!(writer.release().await, 0, "there is nothing left to put back");
}

/// A mistake in the routes: the text, what stands there instead, and words of the refusal.
const MISTAKES: [(&str, &str, &str); 3] = [
    ("weight: 0", "weight: 1000001", "weight"),
    ("weight: 0", "part: 0", ".part: field not declared"),
    ("weight: 0", "weight: -1", "weight"),
];

/// So that what is accepted above could have been refused.
async fn mistakes_are_refused(cluster: Arc<Cluster>) {
    definitions(&cluster).await;
    cluster.namespace("linked-routes").await;
    let dry = ["apply", "--dry-run=server", "--filename", "-"];
    for (part, by, words) in MISTAKES {
        let wrong = ROUTES.replacen(part, by, 1);
        let refusal = cluster.kubectl(&dry, &wrong).await.expect_err(by);
        assert!(refusal.contains(words), "{by}: {refusal}");
    }
}

const PROFILE: &str = "
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: shop.linked.svc.cluster.local, namespace: linked}
spec: {routes: []}
";

async fn annotations_come_and_go(cluster: Arc<Cluster>) {
    let namespace = "linked";
    definitions(&cluster).await;
    cluster.namespace(namespace).await;
    cluster.apply(&workload::service(namespace, "shop")).await;
    let shop = async || cluster.authored(namespace, ["service", "shop"]).await;
    let before = shop().await;
    let writes = Writes { linkerd: true, ..Writes::default() };
    let shown = balanced(vec![wanted(namespace, &[])]);
    let writer = Writer::start(&cluster, namespace, writes, shown);
    soon("the Service has the annotations", async || {
        let service = shop().await;
        let of = |key: &str| service["metadata"]["annotations"][key].clone();
        of("balancer.linkerd.io/failure-accrual") == "consecutive"
            && of("balancer.linkerd.io/failure-accrual-consecutive-min-penalty") == "10s"
            && of("balancer.linkerd.io/failure-accrual-consecutive-max-penalty") == "300s"
    })
    .await;
    cluster.apply(PROFILE).await;
    writer.says("ServiceProfile").await;
    soon("beside a profile they are taken back", async || shop().await == before).await;
}
