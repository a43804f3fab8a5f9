//! Weir comes and goes as the pages of `docs/install` say, with a real Helm and the rights of the chart,
//! while requests flow: none is lost, and every object is as it was found. Here beside Istio.

mod gateway;
mod grpc;
mod plain;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_tests::cluster::istiod::{self, Istiod, SERVER_NAME};
use weir_tests::cluster::kubelet::PORT;
use weir_tests::cluster::workload::{Workload, service};
use weir_tests::cluster::{Cluster, free, page, soon};
use weir_tests::relay::Relay;
use weir_tests::traffic::Traffic;
use weir_tests::weir::{Weir, run};

use crate::deploy;
use crate::governed::{RATE, definition};
use crate::istio::{self, Way};
use crate::secured::{NAME, certified, here, token, transport};
use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let needs = &["istiod", "envoy", "helm", "openssl"];
    vec![
        Test::new("walk::istios_page", needs, istios_page),
        Test::new("walk::plain_envoys_page", &["envoy", "helm"], plain::page_of_envoys),
        Test::new("walk::grpcs_page", &["grpc", "helm"], grpc::page_of_clients),
        Test::new("walk::grpc_through_envoy", &["grpc", "helm", "envoy"], grpc::through_envoy),
        Test::new(
            "walk::grpc_behind_a_control_plane",
            &["grpc", "helm", "go-control-plane", "prometheus"],
            grpc::behind_a_control_plane,
        ),
        Test::new(
            "walk::envoy_gateways_page",
            &["envoy", "helm", "envoy-gateway", "prometheus"],
            gateway::page_of_gateways,
        ),
    ]
}

const NAMESPACE: &str = "walk";

/// The policy's namespace and name.
const POLICY: (&str, &str) = (NAMESPACE, "shop");

const PAGE: &str = "install/istio.md";

/// A shop of two versions, each a Service of its own, of which the new one gets nothing yet.
async fn shop(cluster: &Cluster) {
    cluster.namespace(NAMESPACE).await;
    let of = |version: &'static str| {
        let workload =
            Workload { namespace: NAMESPACE, app: "shop", version, replicas: 2, spare: false };
        let own = format!(
            "
---
apiVersion: v1
kind: Service
metadata: {{name: shop-{version}, namespace: {NAMESPACE}}}
spec:
  selector: {{app: shop, version: {version}}}
  ports: [{{name: http, port: 80, targetPort: {PORT}, appProtocol: http}}]
"
        );
        workload.document() + &own
    };
    let route = format!(
        "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: {NAMESPACE}, annotations: {{team: shop}}}}
spec:
  hosts: [shop]
  http:
    - name: versions
      route:
        - {{destination: {{host: shop-v1.{NAMESPACE}.svc.cluster.local}}, weight: 100}}
        - {{destination: {{host: shop-v2.{NAMESPACE}.svc.cluster.local}}, weight: 0}}
"
    );
    cluster.apply(&[of("v1"), of("v2"), service(NAMESPACE, "shop"), route].concat()).await;
    cluster.ready(NAMESPACE, "shop", 4).await;
    cluster.ready(NAMESPACE, "shop-v2", 2).await;
}

/// All objects of a namespace that people or their tools have written, by kind and name, without what the
/// API server and controllers keep in them.
async fn objects(cluster: &Cluster, namespace: &str) -> BTreeMap<String, Value> {
    let listed = ["api-resources", "--namespaced", "--verbs=list", "-o", "name"];
    let kinds = cluster.kubectl(&listed, "").await.unwrap();
    let foreign = ["event", "endpoint", "lease", "podmetrics", "configmaps"];
    let kinds = kinds.lines().filter(|kind| !foreign.iter().any(|word| kind.starts_with(word)));
    let kinds = kinds.collect::<Vec<_>>().join(",");
    let all = ["get", &kinds, "--namespace", namespace, "-o", "json"];
    let all: Value = serde_json::from_str(&cluster.kubectl(&all, "").await.unwrap()).unwrap();
    let items = all["items"].as_array().unwrap().iter().map(|object| {
        let mut object = object.clone();
        object.as_object_mut().unwrap().remove("status");
        let metadata = object["metadata"].as_object_mut().unwrap();
        for of_server in ["resourceVersion", "generation", "managedFields"] {
            metadata.remove(of_server);
        }
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        (name, object)
    });
    items.collect()
}

/// The configuration that Helm installed, with the files where a pod would have them mounted.
async fn configured(cluster: &Cluster, room: &Path, istiod: SocketAddr, relay: SocketAddr) {
    let mut config = deploy::installed(cluster).await;
    // Its Prometheus is not here: the proxy's load reports are.
    config["sources"] = json!([]);
    here(&mut config["relay"], istiod, relay);
    std::fs::write(room.join("weir.yaml"), config.to_string()).unwrap();
}

/// What a page writes for the namespace `shop`, for another one.
fn moved(text: &str, namespace: &str) -> String {
    let moved = text.replace("namespace: shop", &format!("namespace: {namespace}"));
    assert_ne!(moved, text, "no namespace to move");
    moved
}

/// The page's policy, for this namespace's shop, with a rollout.
fn policy() -> String {
    let here = moved(&page::block(PAGE, "4. Watch", "yaml"), NAMESPACE).replace("reviews", "shop");
    assert!(here.contains("kind: Service, name: shop"), "{here}");
    here + "  rollout:
    stableRef: {name: shop-v1}
    canaryRef: {name: shop-v2}
    stepWeights: [30]
"
}

/// Waits until Weir has taken a policy.
async fn accepted(cluster: &Cluster, (namespace, name): (&str, &str)) {
    let policy = format!("atp/{name}");
    let condition =
        "--for=jsonpath={.status.ancestors[0].conditions[?(@.type==\"Accepted\")].status}=True";
    let wait = ["wait", "-n", namespace, "--timeout=60s", &policy, condition];
    cluster.kubectl(&wait, "").await.unwrap();
}

async fn mode(cluster: &Cluster, (namespace, name): (&str, &str), mode: &str) {
    let patch = json!({"spec": {"mode": mode}}).to_string();
    let patch = ["patch", "atp", name, "-n", namespace, "--type=merge", "--patch", &patch];
    cluster.kubectl(&patch, "").await.unwrap();
}

/// Deletes a policy; nobody holds it.
async fn withdraw(cluster: &Cluster, (namespace, name): (&str, &str)) {
    let delete = ["delete", "atp", name, "-n", namespace, "--timeout=60s"];
    cluster.kubectl(&delete, "").await.unwrap();
}

/// Ends loads under which pods failed: nothing failed but by the pods' own words.
async fn ended(cluster: &Cluster, namespace: &str, loads: Vec<Traffic>) {
    let mut refused = 0;
    for traffic in loads {
        let tally = traffic.stop().await;
        assert!(tally.requests > 0 && tally.errors() == tally.refused, "{tally:?}");
        refused += tally.refused;
    }
    assert_eq!(refused, cluster.kubelet.failed(namespace).await, "refused by nobody else");
}

/// All objects of a namespace are as they were found.
async fn unchanged(cluster: &Cluster, namespace: &str, before: &BTreeMap<String, Value>) {
    let after = objects(cluster, namespace).await;
    for (name, object) in before {
        assert_eq!(after.get(name), Some(object), "{name}");
    }
    assert_eq!(after.len(), before.len(), "{:?} beside {:?}", after.keys(), before.keys());
}

/// The weights of the two versions in the route, as the API server has it.
async fn weights(cluster: &Cluster) -> [u64; 2] {
    let get = ["get", "virtualservice", "shop", "--namespace", NAMESPACE, "-o", "json"];
    let route: Value = serde_json::from_str(&cluster.kubectl(&get, "").await.unwrap()).unwrap();
    let to = &route["spec"]["http"][0]["route"];
    [&to[0], &to[1]].map(|one| one["weight"].as_u64().unwrap_or_default())
}

/// How many of the next requests went to the second version.
async fn to_second(cluster: &Cluster, traffic: &Traffic, next: u64) -> u64 {
    let taken = cluster.kubelet.taking(NAMESPACE, traffic, next).await;
    taken.iter().filter(|(pod, _)| pod.starts_with("shop-v2-")).map(|(_, taken)| taken).sum()
}

async fn istios_page(cluster: Arc<Cluster>) {
    let _home = cluster.home().await;
    let istiod = Istiod::start_secured(&cluster, "istiod-walk").await;
    let secured = istiod.secured.unwrap();
    shop(&cluster).await;
    cluster.define(&definition()).await;
    let room = cluster.room("walk");
    let own = token(&cluster, NAMESPACE).await;
    let before = objects(&cluster, NAMESPACE).await;

    // 1. A certificate for the relay.
    certified(&cluster, &room).await;
    let mut way = Relay::closed();
    way.open(secured);
    let (relay, xds) = (free(), free());
    let transport = transport(&room.join("ca-cert.pem"), &[NAME, SERVER_NAME]);
    let to = Way { secured: Some((transport, &own)), reports: Some(xds), ..Way::to(way.address()) };
    let client = istio::started(&cluster, ("client", NAMESPACE), to).await;
    let first = format!("outbound|80||{}", istiod::host(NAMESPACE, "shop-v1"));
    soon("the proxy has both pods of v1, and a route to them", async || {
        let dump = client.envoy.admin.config_dump().await.unwrap();
        let routed = istio::search(&dump, "route", &|to| to["cluster"] == first.as_str()).is_some();
        routed && client.endpoints(&first).await.len() == 2
    })
    .await;
    let traffic = Traffic::start(client.listener, RATE);
    assert_eq!(to_second(&cluster, &traffic, 300).await, 0);

    // 2. Install. 3. Point one workload at it.
    let install = page::commands(PAGE, "2. Install");
    let install = format!("{} --set 'config.kubernetes.writes={{routes}}'", install.trim_end());
    let notes = cluster.follow(&room, &install).await.unwrap();
    configured(&cluster, &room, secured, relay).await;
    let weir = Weir::start(&room, xds).await;
    way.cut().await;
    way.open(relay);
    soon("the proxy came", async || weir.metric("weir_relay_streams").await == 1).await;

    // 4. Watch.
    cluster.apply(&policy()).await;
    accepted(&cluster, POLICY).await;
    weir.more_steps(5).await;
    assert_eq!(weights(&cluster).await, [100, 0], "it only watches");
    assert_eq!(to_second(&cluster, &traffic, 300).await, 0);

    // 5. Enforce.
    mode(&cluster, POLICY, "Enforce").await;
    soon("the new version gets its part", async || {
        let [first, second] = weights(&cluster).await;
        first > 0 && second > 0
    })
    .await;
    soon("requests go there", async || to_second(&cluster, &traffic, 100).await > 10).await;

    // Weir is killed, and upgraded.
    drop(weir);
    traffic.more(600).await;
    let mut weir = Weir::start(&room, xds).await;
    weir.more_steps(3).await;
    let upgrade = "helm upgrade weir deploy/chart/weir -n weir --reuse-values --set config.tick=2s";
    cluster.follow(&room, upgrade).await.unwrap();
    configured(&cluster, &room, secured, relay).await;
    assert!(std::fs::read_to_string(room.join("weir.yaml")).unwrap().contains("2s"));
    weir.child.stop().await.unwrap();
    traffic.more(300).await;
    let mut weir = Weir::start(&room, xds).await;
    weir.more_steps(3).await;
    assert!(weights(&cluster).await[1] > 0, "the new version keeps its part");

    // Remove.
    mode(&cluster, POLICY, "Observe").await;
    soon("the route is as it was", async || weights(&cluster).await == [100, 0]).await;
    withdraw(&cluster, POLICY).await;
    way.cut().await;
    way.open(secured);
    assert!(notes.contains("/weir release"), "{notes}");
    let config = room.join("weir.yaml").display().to_string();
    let released = run(["release", "--config", &config]);
    assert_eq!(released.code, Some(0), "{released:?}");
    cluster.follow(&room, "helm uninstall weir -n weir --wait").await.unwrap();
    weir.child.stop().await.unwrap();
    soon("all requests go to the first version", async || {
        to_second(&cluster, &traffic, 100).await == 0
    })
    .await;
    traffic.stop_without_loss().await;
    unchanged(&cluster, NAMESPACE, &before).await;
    let refused = client.envoy.admin.stats("update_rejected").await.unwrap();
    assert!(refused.values().all(|count| *count == 0), "Envoy takes all of it: {refused:?}");
    let host = istiod::host(NAMESPACE, "shop");
    assert_eq!(client.endpoints(&format!("outbound|80||{host}")).await.len(), 4);
}
