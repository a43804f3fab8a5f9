//! Watches on an API server that is killed, and that has forgotten what they had seen: nobody
//! loses a request, and what changed meanwhile is known afterwards.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_testbed::backends::Backend;
use weir_testbed::ports::Reserved;
use weir_tests::cluster::identity::{self, Identity};
use weir_tests::cluster::plane::Store;
use weir_tests::cluster::sidecar::Sidecar;
use weir_tests::cluster::{Cluster, free, soon};
use weir_tests::relay::Relay;
use weir_tests::traffic::Traffic;
use weir_tests::weir::Weir;
use weir_tests::world::{FAST, write};

use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let envoy = &["envoy"];
    vec![
        Test::new("watches::an_api_server_is_killed", envoy, an_api_server_is_killed),
        Test::new("watches::what_was_seen_is_forgotten", envoy, what_was_seen_is_forgotten),
    ]
}

const RATE: f64 = 100.0;

/// An API server that may be killed, and Weir, a proxy and load beside it.
struct Scene {
    store: Store,
    admin: kube::Client,
    /// Between Weir and the API server.
    wire: Relay,
    api: SocketAddr,
    backends: Vec<Backend>,
    weir: Weir,
    proxy: Sidecar,
    traffic: Traffic,
}

impl Scene {
    /// `net`: the third part of the pods' addresses, which is the test's own.
    async fn set(cluster: &Cluster, name: &str, net: u8) -> Self {
        let (store, folder) = cluster.api_server(&format!("api-{name}")).await;
        let admin = identity::client(&folder, Identity::Admin).await;
        let backends: Vec<Backend> = (1..=4)
            .map(|number| {
                let at = SocketAddr::from(([10, 244, net, number], 8080));
                Backend::start_on(Reserved::at(at).unwrap(), "pod", FAST).unwrap()
            })
            .collect();
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "shop" },
            "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
        });
        apply(&admin, "/api/v1/namespaces/default/services/shop", &service).await;
        list(&admin, &backends[..3]).await;
        let path = identity::kubeconfig(&folder, Identity::Admin);
        let mut kubeconfig: Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let server = &mut kubeconfig["clusters"][0]["cluster"];
        let api = server["server"].as_str().unwrap().trim_start_matches("https://");
        let api = api.parse().unwrap();
        let mut wire = Relay::closed();
        wire.open(api);
        server["server"] = json!(format!("https://{}", wire.address()));
        server["tls-server-name"] = json!("kubernetes.default.svc");
        let room = cluster.room(&format!("weir-{name}"));
        let weir = weir(&room, &kubeconfig).await;
        let proxy = Sidecar::of_weir(cluster, &format!("client-{name}"), weir.xds).await;
        soon("the proxy has all pods", async || proxy.endpoints("shop").await.len() == 3).await;
        let traffic = Traffic::start(proxy.listener, RATE);
        Self { store, admin, wire, api, backends, weir, proxy, traffic }
    }

    async fn has(&self, count: usize) {
        soon(&format!("the proxy has {count} pods"), async || {
            self.proxy.endpoints("shop").await.len() == count
        })
        .await;
    }

    /// Whether the proxy has at least those of the beginning, now and during some requests.
    async fn holds(&self) {
        self.traffic.more(200).await;
        assert!(self.proxy.endpoints("shop").await.len() >= 3, "nobody is lost");
    }
}

async fn weir(room: &Path, kubeconfig: &Value) -> Weir {
    write(room, "kube.yaml", &kubeconfig.to_string());
    let config = "data_dir: data
kubernetes: {kubeconfig: kube.yaml, namespaces: [default], policies: false}
services:
  - namespace: default
    name: shop
    clusters: [shop]
    endpoints: {kubernetes: {port: http}}
    write_clusters: true
";
    write(room, "weir.yaml", config);
    let loud = ("WEIR_LOG".to_owned(), "info,weir_collectors=debug".to_owned());
    let xds = free();
    Weir::start_by(room, |mut program| {
        program.environment.push(loud);
        let at = program.arguments.iter().position(|one| one == "--listen-xds").unwrap();
        program.arguments[at + 1] = xds.to_string().into();
        program
    })
    .await
}

async fn apply(admin: &kube::Client, path: &str, object: &Value) {
    let uri = format!("{path}?fieldManager=test&force=true");
    let request = http::Request::patch(&uri)
        .header("content-type", "application/apply-patch+yaml")
        .body(object.to_string().into_bytes())
        .unwrap();
    admin.request::<Value>(request).await.unwrap();
}

/// The endpoints of the shop.
async fn list(admin: &kube::Client, backends: &[Backend]) {
    let endpoints: Vec<Value> = backends
        .iter()
        .map(|backend| json!({ "addresses": [backend.address().ip().to_string()] }))
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": "shop-1", "labels": { "kubernetes.io/service-name": "shop" } },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints,
    });
    let root = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/shop-1";
    apply(admin, root, &slice).await;
}

/// Whether some watch of Weir's is in trouble.
async fn troubled(weir: &Weir) -> bool {
    let sources = weir.ask("/api/v1/sources").await;
    let mut all = sources.as_array().into_iter().flatten();
    all.any(|source| source["kind"] == "kubernetes" && !source["error"].is_null())
}

async fn an_api_server_is_killed(cluster: Arc<Cluster>) {
    let mut scene = Scene::set(&cluster, "killed", 201).await;
    for turn in [4, 3] {
        scene.store.kill_api().await;
        soon("the watches are in trouble", async || troubled(&scene.weir).await).await;
        scene.holds().await;
        scene.store.start_api().await;
        list(&scene.admin, &scene.backends[..turn]).await;
        scene.has(turn).await;
        soon("no watch is in trouble", async || !troubled(&scene.weir).await).await;
    }
    scene.traffic.stop_without_loss().await;
}

/// Weir is cut off while something changes, and what it had seen is gone from the store when it
/// is back: it is told so (410), and lists anew.
async fn what_was_seen_is_forgotten(cluster: Arc<Cluster>) {
    let mut scene = Scene::set(&cluster, "forgotten", 202).await;
    scene.wire.cut().await;
    soon("the watches are in trouble", async || troubled(&scene.weir).await).await;
    list(&scene.admin, &scene.backends[..4]).await;
    scene.holds().await;
    // The server itself remembers for a while, whatever its store has forgotten.
    scene.store.kill_api().await;
    scene.store.compact().await;
    scene.store.start_api().await;
    assert!(!scene.weir.said("the version is too old"));
    scene.wire.open(scene.api);
    scene.has(4).await;
    assert!(scene.weir.said("the version is too old"), "it was told that its version is gone");
    scene.traffic.stop_without_loss().await;
}
