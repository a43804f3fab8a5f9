//! Prometheus as the only source: it reads Envoy, and Weir asks it.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;
use tempfile::TempDir;
use weir_testbed::backends::{Backend, Behaviour};
use weir_testbed::child::{Child, Program};
use weir_testbed::envoy::{self, Envoy, Options};
use weir_testbed::{ports, required};
use weir_tests::traffic::Traffic;
use weir_tests::weir::Weir;
use weir_tests::world::{CLUSTER, RATE, backends, policy, write};

use super::{bootstrap, text, until};

/// What succeeds, by queries of the user's own.
const OBJECTIVE: &str = r#"    - name: served
      targetPercent: 99
      indicator:
        type: Prometheus
        prometheus:
          good: sum(rate(envoy_cluster_upstream_rq_xx{envoy_cluster_name="{{backend}}",envoy_response_code_class="2"}[{{window}}]))
          total: sum(rate(envoy_cluster_upstream_rq_completed{envoy_cluster_name="{{backend}}"}[{{window}}]))
  ejection:"#;

/// Weir serves endpoints to an Envoy and learns only from a Prometheus what becomes of them.
struct Scraped {
    backends: Vec<Backend>,
    weir: Weir,
    listener: SocketAddr,
    prometheus: Child,
    _envoy: Envoy,
    _folder: TempDir,
}

impl Scraped {
    async fn start() -> Option<Self> {
        let binary = required::or_skip("envoy", envoy::find())?;
        let prometheus = crate::prometheus::prometheus()?;
        let folder = tempfile::tempdir().unwrap();
        let backends = backends(5);
        let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (xds, server) = (local(ports::unused().unwrap()), local(ports::unused().unwrap()));
        let addresses: Vec<String> = backends.iter().map(|one| one.address().to_string()).collect();
        write(folder.path(), "endpoints.yaml", &json!({ "endpoints": addresses }).to_string());
        let policy = policy("Enforce").replace("  ejection:", OBJECTIVE);
        write(folder.path(), "policies/shop.yaml", &policy);
        write(folder.path(), "weir.yaml", &config(server));
        let weir = Weir::start(folder.path(), xds).await;
        let (at, listen) = (xds.to_string(), format!("127.0.0.1:0={CLUSTER}"));
        let asked = ["--telemetry", "scrape", "--weir", &at, "--node", "proxy-1"];
        let asked = [&asked[..], &["--node-cluster", "clients", "--listen", &listen]].concat();
        let options = Options { directory: folder.path(), concurrency: 1 };
        let mut envoy = Envoy::start(&binary, bootstrap(&asked), options).await.unwrap();
        envoy.serving(weir_tests::WITHIN).await.unwrap();
        let listener = *envoy.admin.listeners().await.unwrap().values().next().unwrap();
        let scraping = json!({"scrape_configs": [{
            "job_name": "envoy",
            "metrics_path": "/stats/prometheus",
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "static_configs": [{"targets": [envoy.admin.address().to_string()]}],
        }]});
        write(folder.path(), "prometheus.yml", &scraping.to_string());
        let config = folder.path().join("prometheus.yml");
        let data = folder.path().join("prometheus");
        let arguments = [
            format!("--config.file={}", text(&config)),
            format!("--storage.tsdb.path={}", text(&data)),
            format!("--web.listen-address={server}"),
        ];
        let prometheus = Child::start(Program {
            name: "Prometheus".to_owned(),
            path: prometheus,
            arguments: arguments.map(Into::into).to_vec(),
            environment: Vec::new(),
            log: folder.path().join("prometheus.log"),
        });
        let prometheus = prometheus.unwrap();
        Some(Self { backends, weir, listener, prometheus, _envoy: envoy, _folder: folder })
    }

    fn fail(&self, number: usize) -> SocketAddr {
        self.backends[number].behave(Behaviour::failing(0.5));
        self.backends[number].address()
    }

    async fn taken(&self, number: usize, traffic: &Traffic) -> u64 {
        let before = self.backends[number].counts().taken;
        traffic.more(300).await;
        self.backends[number].counts().taken - before
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_alone_suffices_and_its_loss_changes_nothing() {
    let Some(mut mesh) = Scraped::start().await else { return };
    let traffic = Traffic::start(mesh.listener, RATE);
    until(&mesh.weir, "it judges", async || {
        let service = mesh.weir.shop().await["service"].clone();
        service["telemetryAgeMs"].is_u64() && service["stance"] != "holding"
    })
    .await;
    let failing = mesh.fail(0);
    until(&mesh.weir, "the failing one is out", async || {
        mesh.weir.endpoint(failing).await["state"] == "ejected"
    })
    .await;
    until(&mesh.weir, "the objective's own queries count", async || {
        let shop = mesh.weir.shop().await;
        let objectives = shop["service"]["objectives"].as_array().unwrap();
        let own = objectives.iter().find(|one| one["name"] == "served");
        assert!(own.is_some(), "{shop:#}");
        own.unwrap()["good"].as_f64().is_some_and(|good| good > 0.5 && good < 1.0)
    })
    .await;
    assert_eq!(mesh.taken(0, &traffic).await, 0);
    traffic.stop().await;

    // From here on no request may fail, until another endpoint does.
    let traffic = Traffic::start(mesh.listener, RATE);
    traffic.more(100).await;
    mesh.prometheus.kill().await.unwrap();
    until(&mesh.weir, "it holds", async || {
        let service = mesh.weir.shop().await["service"].clone();
        service["stance"] == "holding" && service["stale"] == true
    })
    .await;
    traffic.more(300).await;
    assert_eq!(mesh.taken(0, &traffic).await, 0, "who is out stays out");
    traffic.stop_without_loss().await;

    let other = mesh.fail(1);
    let traffic = Traffic::start(mesh.listener, RATE);
    mesh.weir.more_steps(5).await;
    assert_eq!(mesh.weir.endpoint(other).await["state"], "serving");
    assert!(mesh.taken(1, &traffic).await > 20);
    traffic.stop().await;
    let sources = mesh.weir.ask("/api/v1/sources").await;
    let sources = sources.as_array().unwrap();
    let server = sources.iter().find(|source| source["kind"] == "prometheus").unwrap();
    assert!(server["error"].is_string(), "what is wrong is shown: {server:#}");
}

fn config(server: SocketAddr) -> String {
    format!(
        "data_dir: data
policies: policies
services:
  - namespace: demo
    name: shop
    clusters: [{CLUSTER}]
    endpoints: {{file: endpoints.yaml}}
    write_clusters: true
sources:
  - prometheus: {{url: 'http://{server}', interval: 1s, preset: envoy}}
"
    )
}
