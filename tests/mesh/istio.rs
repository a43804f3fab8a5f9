//! A real istiod configures a stock Envoy: the mesh that Weir works beside. What stands here
//! without Weir is what has to stay so with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_tests::cluster::istiod::{self, Istiod};
use weir_tests::cluster::sidecar::{Listeners, Plan, Sidecar, Variant};
use weir_tests::cluster::workload::{Workload, service};
use weir_tests::cluster::{Cluster, soon};
use weir_tests::relay::Relay;
use weir_tests::traffic::Traffic;

use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["istiod", "envoy"];
    vec![
        Test::new("istio::a_weight_moves_requests", needs, a_weight_moves_requests),
        Test::new("istio::endpoints_follow_pods", needs, endpoints_follow_pods),
        Test::new("istio::endpoints_come_as_described", needs, endpoints_come_as_described),
        Test::new("istio::nobody_notices_its_restart", needs, nobody_notices_its_restart),
        Test::new("istio::a_cut_stream_heals", needs, a_cut_stream_heals),
    ]
}

/// Requests a second: enough for a thousand in a few seconds, and little work for two cores.
const RATE: f64 = 300.0;

/// Two versions of a shop, known to Istio as two subsets.
pub(crate) async fn two_versions(cluster: &Cluster, namespace: &str) {
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

/// One shop of four pods, which Istio knows as a whole.
pub(crate) async fn one_version(cluster: &Cluster, namespace: &str) {
    cluster.namespace(namespace).await;
    let four = Workload { namespace, app: "shop", version: "v1", replicas: 4, spare: false };
    cluster.apply(&[four.document(), service(namespace, "shop")].concat()).await;
    cluster.ready(namespace, "shop", 4).await;
}

pub(crate) fn weights(namespace: &str, first: u32, second: u32) -> String {
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

/// How a client's proxy reaches its control plane.
#[derive(Clone, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) ads: SocketAddr,
    pub(crate) variant: Variant,
    /// Its transport socket there, and its token.
    pub(crate) secured: Option<(Value, &'a str)>,
    /// Where it reports its load.
    pub(crate) reports: Option<SocketAddr>,
}

impl Way<'_> {
    /// In plain text, by increments, and it reports nothing.
    pub(crate) fn to(ads: SocketAddr) -> Self {
        Self { ads, variant: Variant::Delta, secured: None, reports: None }
    }
}

pub(crate) async fn client(
    cluster: &Cluster,
    namespace: &str,
    ads: SocketAddr,
    variant: Variant,
) -> Sidecar {
    let way = Way { variant, ..Way::to(ads) };
    let client = started(cluster, ("client", namespace), way).await;
    // istiod answers with what it knows so far; without the Service it sends requests elsewhere.
    let subset = format!("outbound|80|v2|{}", istiod::host(namespace, "shop"));
    soon("the proxy has both pods of v2, and a route to them", async || {
        let dump = client.envoy.admin.config_dump().await.unwrap();
        let weighted = |to: &Value| to["clusters"][1]["name"] == subset.as_str();
        let routed = search(&dump, "weighted_clusters", &weighted).is_some();
        routed && client.endpoints(&subset).await.len() == 2
    })
    .await;
    client
}

/// A client, of one of several names in a namespace, of a shop that Istio knows as a whole.
pub(crate) async fn client_of_one(
    cluster: &Cluster,
    (name, namespace): (&str, &str),
    way: Way<'_>,
) -> Sidecar {
    let client = started(cluster, (name, namespace), way).await;
    let whole = format!("outbound|80||{}", istiod::host(namespace, "shop"));
    soon("the proxy has all four pods, and a route to them", async || {
        let dump = client.envoy.admin.config_dump().await.unwrap();
        let routed = search(&dump, "route", &|to| to["cluster"] == whole.as_str()).is_some();
        routed && client.endpoints(&whole).await.len() == 4
    })
    .await;
    client
}

pub(crate) async fn started(
    cluster: &Cluster,
    (name, namespace): (&str, &str),
    way: Way<'_>,
) -> Sidecar {
    let Way { ads, variant, secured, reports } = way;
    let (transport, token) = secured.unzip();
    let plan = Plan {
        name: &format!("{name}-{namespace}"),
        node: istiod::node(namespace),
        ads,
        transport,
        token,
        variant,
        listeners: Listeners::Own { route: istiod::ROUTE, host: &istiod::host(namespace, "shop") },
    };
    Sidecar::start_reporting(cluster, &plan, reports).await
}

/// Gives the first version so many pods.
async fn scale(cluster: &Cluster, namespace: &str, replicas: usize) {
    let count = format!("--replicas={replicas}");
    let scaled = ["scale", "deployment/shop-v1", "--namespace", namespace, &count];
    cluster.kubectl(&scaled, "").await.unwrap();
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
    let client = client(&cluster, namespace, istiod.ads, Variant::Delta).await;
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
    let client = client(&cluster, namespace, istiod.ads, Variant::Delta).await;
    let whole = format!("outbound|80||{}", istiod::host(namespace, "shop"));
    for (replicas, all) in [(2, 4), (5, 7), (1, 3)] {
        scale(&cluster, namespace, replicas).await;
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

/// What Weir relies on where it changes the weights that istiod sends.
async fn endpoints_come_as_described(cluster: Arc<Cluster>) {
    let namespace = "described";
    let istiod = Istiod::start(&cluster, "istiod-described").await;
    two_versions(&cluster, namespace).await;
    let client = client(&cluster, namespace, istiod.ads, Variant::World).await;
    let whole = format!("outbound|80||{}", istiod::host(namespace, "shop"));
    soon("the proxy has all pods", async || client.endpoints(&whole).await.len() == 4).await;
    let dump = client.envoy.admin.config_dump().await.unwrap();

    let named = |cluster: &Value| cluster["name"] == whole.as_str();
    let shop = search(&dump, "cluster", &named).unwrap();
    assert_eq!(shop["lb_policy"], "LEAST_REQUEST");
    assert_eq!(shop["common_lb_config"]["healthy_panic_threshold"], json!({}), "no panic: zero");
    assert_eq!(shop["common_lb_config"].get("locality_weighted_lb_config"), None);

    let named = |assignment: &Value| assignment["cluster_name"] == whole.as_str();
    let assignment = search(&dump, "endpoint_config", &named).unwrap();
    assert_eq!(assignment["policy"]["overprovisioning_factor"], 140);
    for locality in assignment["endpoints"].as_array().unwrap() {
        let endpoints = locality["lb_endpoints"].as_array().unwrap();
        assert_eq!(locality["load_balancing_weight"], endpoints.len(), "the sum of its weights");
        for endpoint in endpoints {
            assert_eq!(endpoint["load_balancing_weight"], 1, "{endpoint}");
            assert_eq!(endpoint["health_status"], "HEALTHY", "{endpoint}");
        }
    }
}

/// The first value under this key anywhere in a dump that is the wanted one.
pub(crate) fn search<'a>(
    at: &'a Value,
    key: &str,
    wanted: &dyn Fn(&Value) -> bool,
) -> Option<&'a Value> {
    match at {
        Value::Object(fields) => fields
            .get(key)
            .filter(|value| wanted(value))
            .or_else(|| fields.values().find_map(|inner| search(inner, key, wanted))),
        Value::Array(items) => items.iter().find_map(|item| search(item, key, wanted)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

async fn nobody_notices_its_restart(cluster: Arc<Cluster>) {
    let namespace = "restarts";
    let mut istiod = Istiod::start(&cluster, "istiod-restarts").await;
    two_versions(&cluster, namespace).await;
    let client = client(&cluster, namespace, istiod.ads, Variant::Delta).await;
    let traffic = Traffic::start(client.listener, RATE);
    traffic.more(100).await;
    istiod.child.kill().await.unwrap();
    traffic.more(600).await;
    let istiod = Istiod::start_on(&cluster, "istiod-restarts", istiod.ads).await;
    cluster.apply(&weights(namespace, 0, 100)).await;
    soon("all requests go to v2", async || {
        second(&cluster.kubelet.taking(namespace, &traffic, 100).await) > 0.999
    })
    .await;
    traffic.stop_without_loss().await;
    drop(istiod);
}

async fn a_cut_stream_heals(cluster: Arc<Cluster>) {
    let namespace = "cut";
    let istiod = Istiod::start(&cluster, "istiod-cut").await;
    two_versions(&cluster, namespace).await;
    let mut wire = Relay::closed();
    wire.open(istiod.ads);
    let client = client(&cluster, namespace, wire.address(), Variant::Delta).await;
    let whole = format!("outbound|80||{}", istiod::host(namespace, "shop"));
    soon("the proxy has all pods", async || client.endpoints(&whole).await.len() == 4).await;
    let traffic = Traffic::start(client.listener, RATE);
    wire.cut().await;
    scale(&cluster, namespace, 4).await;
    cluster.ready(namespace, "shop", 6).await;
    traffic.more(300).await;
    assert_eq!(client.endpoints(&whole).await.len(), 4, "it keeps what it had");
    wire.open(istiod.ads);
    soon("the proxy has the new pods", async || client.endpoints(&whole).await.len() == 6).await;
    traffic.stop_without_loss().await;
}
