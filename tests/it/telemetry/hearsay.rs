//! Endpoints that only telemetry names: an Envoy with a static cluster of its own tells what it
//! sees. Weir watches and advises; it serves nothing to anybody on such word.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tempfile::TempDir;
use weir_testbed::backends::{Backend, Behaviour};
use weir_testbed::envoy::{self, Envoy, Options};
use weir_testbed::{ports, required};
use weir_tests::proxy::{Proxy, ports as named};
use weir_tests::traffic::Traffic;
use weir_tests::weir::Weir;
use weir_tests::world::{CLUSTER, RATE, backends, policy, write};

use super::{bootstrap, text, until};

/// An Envoy whose cluster stands in its own file, and Weir, to which it only reports.
struct Outside {
    backends: Vec<Backend>,
    weir: Weir,
    listener: SocketAddr,
    path: String,
    _envoy: Envoy,
    _folder: TempDir,
}

impl Outside {
    /// Weir with these services, and a policy in Enforce for the one in this namespace.
    async fn start(services: &str, namespace: &str) -> Option<Self> {
        let binary = required::or_skip("envoy", envoy::find())?;
        let folder = tempfile::tempdir().unwrap();
        let backends = backends(5);
        let xds = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
        let config =
            format!("data_dir: data\npolicies: policies\n{services}sources: [push: {{}}]\n");
        write(folder.path(), "weir.yaml", &config);
        let policy =
            policy("Enforce").replace("namespace: demo", &format!("namespace: {namespace}"));
        write(folder.path(), "policies/shop.yaml", &policy);
        write(folder.path(), "own.yaml", &own(&backends).to_string());
        let weir = Weir::start(folder.path(), xds).await;
        let (own, at) = (folder.path().join("own.yaml"), xds.to_string());
        let merged = ["--telemetry", "push", "--weir", &at, "--clusters-min", "0", "--merge"];
        let bootstrap = bootstrap(&[&merged[..], &[text(&own)]].concat());
        let options = Options { directory: folder.path(), concurrency: 1 };
        let mut envoy = Envoy::start(&binary, bootstrap, options).await.unwrap();
        envoy.serving(weir_tests::WITHIN).await.unwrap();
        let listener = *envoy.admin.listeners().await.unwrap().values().next().unwrap();
        let path = format!("/api/v1/services/{namespace}/{CLUSTER}");
        Some(Self { backends, weir, listener, path, _envoy: envoy, _folder: folder })
    }

    async fn shown(&self) -> Value {
        self.weir.ask(&self.path).await
    }

    async fn state(&self, address: SocketAddr) -> Value {
        let endpoints = self.shown().await["endpoints"].as_array().cloned().unwrap_or_default();
        let address = address.to_string();
        let one = endpoints.into_iter().find(|endpoint| endpoint["address"] == address);
        one.map(|endpoint| endpoint["state"].clone()).unwrap_or_default()
    }

    /// It is seen in full, judged, advised on, and left alone.
    async fn is_advised_on_and_left_alone(&self) {
        let traffic = Traffic::start(self.listener, RATE);
        until(&self.weir, "all endpoints are seen", async || {
            self.shown().await["endpoints"].as_array().is_some_and(|all| all.len() == 5)
        })
        .await;
        let said = "not enforced: the service's endpoints are not served by weir";
        until(&self.weir, "it says that it does not act", async || self.weir.said(said)).await;
        assert_eq!(self.shown().await["service"]["mode"], "recommend");

        self.backends[2].behave(Behaviour::failing(0.5));
        let failing = self.backends[2].address();
        until(&self.weir, "it would take the failing one out", async || {
            self.state(failing).await == "ejected"
        })
        .await;
        let before = self.backends[2].counts().taken;
        traffic.more(300).await;
        assert!(self.backends[2].counts().taken - before > 20, "it takes its part as before");

        // Whoever asks Weir for these endpoints gets none of them.
        let mut proxy = Proxy::subscribe(self.weir.xds, "stranger").await.unwrap();
        assert_eq!(named(&proxy.next().await.unwrap()), [0_u16; 0]);
        traffic.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_known_by_telemetry_alone_is_advised_on_and_left_alone() {
    let services = "services:
  - namespace: demo
    name: shop
    clusters: [shop]
    endpoints: {telemetry: true}
";
    let Some(outside) = Outside::start(services, "demo").await else { return };
    outside.is_advised_on_and_left_alone().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_nobody_configured_is_a_service_of_its_own() {
    let Some(outside) = Outside::start("", "default").await else { return };
    outside.is_advised_on_and_left_alone().await;
}

/// The configuration of somebody who keeps endpoints in it.
fn own(backends: &[Backend]) -> Value {
    let socket =
        |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let endpoints: Vec<Value> = backends
        .iter()
        .map(|backend| json!({"endpoint": {"address": socket(backend.address().port())}}))
        .collect();
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let routes = json!({
        "name": "in",
        "virtual_hosts": [{
            "name": "in",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": CLUSTER}}],
        }],
    });
    let filter = json!({"name": "envoy.filters.http.router", "typed_config": {"@type": router}});
    json!({
        "node": {"id": "proxy-1", "cluster": "shop-clients"},
        "static_resources": {
            "listeners": [{
                "name": "in",
                "address": socket(0),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": manager,
                        "stat_prefix": "in",
                        "route_config": routes,
                        "http_filters": [filter],
                    },
                }]}],
            }],
            "clusters": [{
                "name": CLUSTER,
                "type": "STATIC",
                "load_assignment": {
                    "cluster_name": CLUSTER,
                    "endpoints": [{"lb_endpoints": endpoints}],
                },
            }],
        },
    })
}
