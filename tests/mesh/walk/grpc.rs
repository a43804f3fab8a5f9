//! gRPC clients come to Weir and go again, as their page says: through Envoy, by Weir's own xDS, and by its
//! relay before another control plane.

mod behind;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_tests::cluster::sidecar::Sidecar;
use weir_tests::cluster::workload::Workload;
use weir_tests::cluster::{Cluster, free, page, soon};
use weir_tests::grpc::{Client, Seen, Servers};
use weir_tests::weir::Weir;

use super::{accepted, mode, moved, objects, plain, unchanged, withdraw};
use crate::deploy;
use crate::governed::definition;

pub(super) use behind::behind_a_control_plane;

const APP: &str = "checkout";

const PAGE: &str = "install/grpc.md";

const PODS: usize = 4;

/// The port that clients call, as the page has it.
const PORT: u16 = 50051;

/// A shop whose port `grpc` is served by real gRPC servers, named like its pods.
struct Shop {
    cluster: Arc<Cluster>,
    namespace: &'static str,
    room: PathBuf,
    servers: Servers,
    before: BTreeMap<String, Value>,
}

impl Shop {
    async fn open(cluster: Arc<Cluster>, namespace: &'static str) -> Self {
        cluster.namespace(namespace).await;
        let workload =
            Workload { namespace, app: APP, version: "v1", replicas: PODS, spare: false };
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": APP, "namespace": namespace},
            "spec": {
                "selector": {"app": APP},
                "ports": [{"name": "grpc", "port": 80, "targetPort": PORT, "appProtocol": "grpc"}],
            },
        });
        cluster.apply(&format!("{}---\n{service}\n", workload.document())).await;
        cluster.ready(namespace, APP, PODS).await;
        cluster.define(&definition()).await;
        let pods = cluster.kubelet.addresses(namespace).await;
        let name = |(pod, at): (&String, &SocketAddr)| format!("{pod}={}:{PORT}", at.ip());
        let names: Vec<_> = pods.iter().map(name).collect();
        let room = cluster.room(namespace);
        let servers = Servers::start(&room, &names).await;
        let before = objects(&cluster, namespace).await;
        Self { cluster, namespace, room, servers, before }
    }

    /// The policy's namespace and name.
    fn policy(&self) -> (&str, &str) {
        (self.namespace, APP)
    }

    /// Installs Weir as the page says, with these values; what a pod would read then.
    async fn installed(&self, values: &str) -> Value {
        std::fs::write(self.room.join("values.yaml"), values).unwrap();
        let commands = page::commands(PAGE, "Without a proxy");
        self.cluster.follow(&self.room, &commands).await.unwrap();
        deploy::installed(&self.cluster).await
    }

    /// Installs and starts it with the `config` under a heading.
    async fn with_config_of(&self, heading: &str) -> Weir {
        let config = moved(&page::block(PAGE, heading, "yaml"), self.namespace);
        let config: Value = serde_saphyr::from_str(&config).unwrap();
        let config = self.installed(&json!({"config": config}).to_string()).await;
        self.started(&config).await
    }

    /// Starts it, and waits until it is ready, before which nobody reaches it by its Service.
    async fn started(&self, config: &Value) -> Weir {
        std::fs::write(self.room.join("weir.yaml"), config.to_string()).unwrap();
        let weir = Weir::start(&self.room, free()).await;
        soon("Weir is ready", async || {
            weir.api.get("/readyz").await.is_ok_and(|(status, _)| status.is_success())
        })
        .await;
        weir
    }

    /// The page's policy, and a server that fails: nothing changes before it is enforced, and after it all
    /// is as it was.
    async fn governs(&self, weir: &Weir, client: &Client) {
        self.cluster.apply(&policy(self.namespace)).await;
        accepted(&self.cluster, self.policy()).await;
        let failing = self.servers.addresses.keys().next().unwrap();
        self.servers.fail(failing, true);
        weir.more_steps(5).await;
        let watched = client.next(300).await;
        assert!(shared(&watched, &self.servers) && !watched.failures.is_empty(), "{watched:?}");

        mode(&self.cluster, self.policy(), "Enforce").await;
        let out = |seen: &Seen| seen.failures.is_empty() && seen.of(&[failing]) == 0;
        client.until_next(weir, ("the failing server is out", 200), out).await;
        self.servers.fail(failing, false);
        mode(&self.cluster, self.policy(), "Observe").await;
        let back = |seen: &Seen| seen.failures.is_empty() && shared(seen, &self.servers);
        client.until_next(weir, ("all have equal shares", 300), back).await;
    }

    /// Weir goes: clients with another target do not notice, nor do those that still have its word.
    async fn without(self, mut weir: Weir, client: &Client) {
        let all: Vec<&str> = self.servers.addresses.values().map(String::as_str).collect();
        let target = format!("ipv4:{}", all.join(","));
        let alone = Client::start(&self.room.join("alone"), &target, None);
        alone.answered(&weir).await;
        withdraw(&self.cluster, self.policy()).await;
        let uninstall = "helm uninstall weir -n weir --wait";
        self.cluster.follow(&self.room, uninstall).await.unwrap();
        weir.child.stop().await.unwrap();
        for client in [client, &alone] {
            let after = client.next(200).await;
            assert!(after.failures.is_empty() && after.of(&[]) >= 200, "{after:?}");
            nothing_lost(client);
        }
        unchanged(&self.cluster, self.namespace, &self.before).await;
    }
}

/// The policy of the page that this one leads to.
fn policy(namespace: &str) -> String {
    moved(&page::block("install/plain-envoy.md", "3. Watch", "yaml"), namespace)
}

/// About as many answers, or failures, came of each server.
fn shared(seen: &Seen, servers: &Servers) -> bool {
    let failed: u64 = seen.failures.values().sum();
    let part = |count: u64| count as f64 / (seen.of(&[]) + failed) as f64;
    servers.addresses.keys().all(|name| {
        let own = seen.of(&[name]);
        (0.15..0.35).contains(&part(if own == 0 { failed } else { own }))
    })
}

/// All that ever failed, failed by the words of the server that was told to.
fn nothing_lost(client: &Client) {
    let seen = client.seen();
    assert!(seen.of(&[]) > 0, "{seen:?}");
    assert!(seen.failures.keys().all(|words| words == "INTERNAL: told to fail"), "{seen:?}");
}

pub(super) async fn page_of_clients(cluster: Arc<Cluster>) {
    let _home = cluster.home().await;
    let shop = Shop::open(cluster, "walk-grpc").await;
    let weir = shop.with_config_of("Without a proxy").await;
    let commands = page::blocks(PAGE, "Without a proxy", "sh");
    let bootstrap = commands[1].replace("weir.weir.svc:18010", &weir.xds.to_string());
    let bootstrap =
        bootstrap.replace("--namespace shop", &format!("--namespace {}", shop.namespace));
    shop.cluster.follow(&shop.room, &bootstrap).await.unwrap();
    let file = shop.room.join("xds.json");
    let client = Client::start(&shop.room.join("till"), "xds:///checkout", Some(&file));
    client.answered(&weir).await;
    shop.governs(&weir, &client).await;
    shop.without(weir, &client).await;
}

pub(super) async fn through_envoy(cluster: Arc<Cluster>) {
    let _home = cluster.home().await;
    let shop = Shop::open(cluster, "walk-grpc-envoy").await;
    let weir = shop.with_config_of("Through Envoy").await;
    let own: Value = serde_saphyr::from_str(&page::block(PAGE, "Through Envoy", "text")).unwrap();
    let mut bootstrap = plain::yours();
    bootstrap["static_resources"]["clusters"] = own;
    std::fs::write(shop.room.join("envoy.yaml"), bootstrap.to_string()).unwrap();
    let commands = page::commands(PAGE, "Through Envoy");
    let commands = commands.replace("weir.weir.svc:18010", &weir.xds.to_string());
    shop.cluster.follow(&shop.room, &commands).await.unwrap();
    let merged = std::fs::read_to_string(shop.room.join("envoy-weir.yaml")).unwrap();
    let merged = serde_saphyr::from_str(&merged).unwrap();
    let proxy = Sidecar::on(&shop.cluster, "walk-grpc-proxy", merged).await;
    let client = Client::start(&shop.room.join("till"), &proxy.listener.to_string(), None);
    client.answered(&weir).await;
    shop.governs(&weir, &client).await;
    shop.without(weir, &client).await;
}
