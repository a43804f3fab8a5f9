//! Weir comes and goes beside Envoy Gateway as its page says, as far as one without a cluster allows.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use weir_testbed::backends::Behaviour;
use weir_tests::cluster::gateway::{ADS, Gateway};
use weir_tests::cluster::identity::Identity;
use weir_tests::cluster::sidecar::Sidecar;
use weir_tests::cluster::{Cluster, free, page, soon};
use weir_tests::prometheus::Prometheus;
use weir_tests::relay::Relay;
use weir_tests::traffic::Traffic;
use weir_tests::weir::Weir;

use super::{accepted, ended, mode, moved, objects, unchanged, withdraw};
use crate::governed::{RATE, definition};
use crate::{deploy, gateway};

const NAMESPACE: &str = "walk-gateway";

/// The policy's namespace and name.
const POLICY: (&str, &str) = (NAMESPACE, "shop");

const PAGE: &str = "install/envoy-gateway.md";

const POINT: &str = "2. Point Envoy Gateway at it";

/// The page's `extensionManager`, with another address.
fn asks(at: SocketAddr) -> Value {
    let values: Value = serde_saphyr::from_str(&page::blocks(PAGE, POINT, "text")[0]).unwrap();
    let mut manager = values["config"]["envoyGateway"]["extensionManager"].clone();
    let named = &manager["service"]["fqdn"];
    assert_eq!(named, &json!({"hostname": "weir.weir.svc.cluster.local", "port": 18020}));
    manager["service"] = json!({"ip": {"address": at.ip().to_string(), "port": at.port()}});
    manager
}

/// A Gateway whose proxies count per endpoint as the page says, and a route to both versions with weights.
async fn documents(cluster: &Cluster, first: u32, second: u32) -> String {
    let pods = cluster.kubelet.addresses(NAMESPACE).await;
    let class = "gateway.envoyproxy.io/gatewayclass-controller";
    let documents = gateway::documents(&pods, first, second).replace(
        &format!("spec: {{controllerName: {class}}}"),
        &format!(
            "spec:
  controllerName: {class}
  parametersRef: {{group: gateway.envoyproxy.io, kind: EnvoyProxy, name: counting, namespace: default}}"
        ),
    );
    assert!(documents.contains("parametersRef"), "{documents}");
    let spec = &page::blocks(PAGE, POINT, "text")[1];
    let head = "apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: counting, namespace: default}";
    format!("---\n{head}\n{spec}{documents}")
}

/// A Prometheus that scrapes the proxy each second.
async fn counting(room: &Path, proxy: SocketAddr) -> Prometheus {
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{
            "job_name": "edge",
            "metrics_path": "/stats/prometheus",
            "static_configs": [{"targets": [proxy]}],
        }],
    });
    std::fs::write(room.join("prometheus.yml"), config.to_string()).unwrap();
    Prometheus::start(room).await
}

/// One of the two pods: its folder, and where Envoy Gateway asks it.
struct Replica {
    weir: Weir,
    asked: SocketAddr,
}

impl Replica {
    async fn start(cluster: &Cluster, name: &str, config: &Value) -> Self {
        let (room, asked) = (cluster.room(name), free());
        let mut config = config.clone();
        assert_eq!(config["envoy_gateway"]["listen"], "0.0.0.0:18020");
        config["envoy_gateway"]["listen"] = json!(asked);
        std::fs::write(room.join("weir.yaml"), config.to_string()).unwrap();
        Self { weir: Weir::start(&room, free()).await, asked }
    }

    async fn said(&self, words: &str) {
        soon(words, async || self.weir.said(words)).await;
    }
}

/// As the account that the chart made, in Weir's own namespace, as a pod is.
fn account(cluster: &Cluster, room: &Path) -> PathBuf {
    let file = std::fs::read_to_string(cluster.kubeconfig(Identity::Weir)).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&file).unwrap();
    kubeconfig["contexts"][0]["context"]["namespace"] = json!("weir");
    let path = room.join("kube.yaml");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    path
}

/// Installs by the page's commands, for this shop; what the pods would read.
async fn installed(cluster: &Cluster, room: &Path, prometheus: &Prometheus) -> Value {
    let install = page::commands(PAGE, "1. Install");
    let service = [
        format!("config.kubernetes.namespaces={{{NAMESPACE}}}"),
        format!("config.services[0].namespace={NAMESPACE}"),
        "config.services[0].name=shop".to_owned(),
        // The route is `shop` of the namespace `default` here.
        "config.services[0].clusters={httproute/default/shop/rule/0}".to_owned(),
        format!("config.sources[0].prometheus.url=http://{}", prometheus.address),
        // The tests' own: the values say every 5 s.
        "config.sources[0].prometheus.interval=1s".to_owned(),
    ];
    let set: String = service.iter().map(|one| format!(" --set '{one}'")).collect();
    cluster.follow(room, &format!("{}{set}", install.trim_end())).await.unwrap();
    let mut config = deploy::installed(cluster).await;
    config["kubernetes"]["kubeconfig"] = json!(account(cluster, room));
    config
}

/// The page's policy, for this shop.
fn policy() -> String {
    moved(&page::block(PAGE, "3. Watch", "yaml"), NAMESPACE).replace("checkout", "shop")
}

/// How often the proxy has got the route's endpoints.
async fn updates(edge: &Sidecar) -> u64 {
    let counts = edge.envoy.admin.stats("update_success").await.unwrap();
    counts.iter().filter(|(name, _)| name.contains("httproute")).map(|(_, count)| count).sum()
}

async fn ejects(weir: &Weir, pod: SocketAddr) {
    soon("Weir ejects the failing pod", async || {
        let service = weir.ask(&format!("/api/v1/services/{NAMESPACE}/shop")).await;
        let all = service["endpoints"].as_array().cloned().unwrap_or_default();
        all.iter().any(|one| one["address"] == pod.to_string() && one["state"] == "ejected")
    })
    .await;
}

pub(super) async fn page_of_gateways(cluster: Arc<Cluster>) {
    let _home = cluster.home().await;
    gateway::shop(&cluster, NAMESPACE).await;
    cluster.define(&definition()).await;
    let before = objects(&cluster, NAMESPACE).await;
    let room = cluster.room("walk-gateway");
    let even = documents(&cluster, 50, 50).await;
    let mut control = Gateway::start(&cluster, "walk-envoy-gateway", &even).await;
    let edge = gateway::edge(&cluster, "walk-edge", (ADS, Some(control.transport()))).await;
    let prometheus = counting(&room, edge.envoy.admin.address()).await;
    let traffic = Traffic::start(edge.listener, RATE);

    // 1. Install: two, of which the second follows.
    let config = installed(&cluster, &room, &prometheus).await;
    let first = Replica::start(&cluster, "walk-gateway-first", &config).await;
    first.said("this replica decides").await;
    let second = Replica::start(&cluster, "walk-gateway-second", &config).await;
    second.said("this replica serves what the leader serves").await;

    // 2. Point Envoy Gateway at it: its Service leads to either.
    let mut service = Relay::closed();
    service.open(second.asked);
    control.restart_with(&cluster, Some(asks(service.address()))).await;

    // 3. Watch: a pod fails, and nothing changes.
    cluster.apply(&policy()).await;
    accepted(&cluster, POLICY).await;
    let pods = cluster.kubelet.addresses(NAMESPACE).await;
    let (pod, address) = pods.iter().next().unwrap();
    cluster.kubelet.behave(NAMESPACE, pod, Behaviour::failing(0.5)).await;
    first.weir.more_steps(5).await;
    let had = updates(&edge).await;
    control.write(&documents(&cluster, 51, 49).await);
    soon("it is translated anew", async || updates(&edge).await > had).await;
    assert!(cluster.kubelet.taking(NAMESPACE, &traffic, 600).await[pod] > 0);

    // 4. Enforce: with the next translation.
    mode(&cluster, POLICY, "Enforce").await;
    ejects(&first.weir, *address).await;
    assert!(cluster.kubelet.taking(NAMESPACE, &traffic, 300).await[pod] > 0, "nobody asked yet");
    control.write(&even);
    let without = async || cluster.kubelet.taking(NAMESPACE, &traffic, 200).await[pod] == 0;
    soon("the failing pod gets nothing", without).await;

    // One of the two goes, and the other answers.
    service.cut().await;
    drop(second);
    service.open(first.asked);
    control.write(&documents(&cluster, 80, 20).await);
    soon("a change of the route gets through", async || {
        gateway::second(&cluster.kubelet.taking(NAMESPACE, &traffic, 200).await) < 0.35
    })
    .await;
    assert!(without().await, "and the pod stays out");

    // Remove.
    cluster.kubelet.behave(NAMESPACE, pod, Behaviour::HEALTHY).await;
    mode(&cluster, POLICY, "Observe").await;
    control.restart_with(&cluster, None).await;
    withdraw(&cluster, POLICY).await;
    cluster.follow(&room, "helm uninstall weir -n weir --wait").await.unwrap();
    let Replica { mut weir, .. } = first;
    weir.child.stop().await.unwrap();
    control.write(&even);
    soon("the pod is back", async || !without().await).await;
    ended(&cluster, NAMESPACE, vec![traffic]).await;
    unchanged(&cluster, NAMESPACE, &before).await;
}
