//! A small mesh on loopback: backends, a real Envoy in front of them, and Weir beside it.
//!
//! One service, `demo/shop`, which is one cluster, `shop`, of one Envoy. Envoy's own outlier
//! detection never ejects of fewer than ten endpoints, so what is out is out by Weir's choice.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use weir_testbed::backends::{Backend, Behaviour, Service};
use weir_testbed::envoy::{self, Envoy, Options, eventually};
use weir_testbed::{ports, required};

use crate::relay::Relay;
use crate::traffic::Traffic;
use crate::weir::{Weir, run};
use crate::{WITHIN, until};

/// The cluster.
pub const CLUSTER: &str = "shop";

/// Workers enough that no request waits for one.
pub const FAST: Service = Service { workers: 64, mean: Duration::from_millis(1), sigma: 0.1 };

/// Requests a second: sixty an endpoint, of which a judgement needs twenty, and hardly any load
/// for a machine.
pub const RATE: f64 = 300.0;

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many backends there are.
    pub backends: usize,
    /// How Envoy tells what it sees.
    pub telemetry: Telemetry,
    /// Who writes the cluster.
    pub cluster: Cluster,
    /// The policy's mode.
    pub mode: &'static str,
}

impl Plan {
    /// Five backends, load reports, a cluster of Weir's, enforced.
    pub const USUAL: Self =
        Self { backends: 5, telemetry: Telemetry::Push, cluster: Cluster::Weirs, mode: "Enforce" };
}

/// How Envoy tells what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telemetry {
    /// Load reports and access log.
    Push,
    /// Statistics that Weir reads.
    Scrape,
}

/// Who writes the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// Weir does, and serves it.
    Weirs,
    /// It stands in the user's own configuration, with round robin; Weir only sends endpoints.
    RoundRobin,
    /// The same, and another control plane sends the endpoints; Weir stands before it as a relay.
    Relayed,
}

/// All of it. Everything ends when it is dropped.
#[derive(Debug)]
pub struct World {
    /// What may fail.
    pub backends: Vec<Backend>,
    /// The proxy.
    pub envoy: Envoy,
    /// Weir.
    pub weir: Weir,
    /// Where requests go.
    pub listener: SocketAddr,
    /// The other control plane, where there is one: a second Weir that knows of no policy.
    pub upstream: Option<Weir>,
    /// The wire by which telemetry comes: load reports and access log, or scrapes.
    pub telemetry: Relay,
    folder: TempDir,
}

impl World {
    /// A world in which Envoy serves, or nothing where there is no Envoy (and none is required).
    pub async fn start(plan: Plan) -> Option<Self> {
        Self::start_with(plan, backends(plan.backends), &policy(plan.mode)).await
    }

    /// The same of these backends, under this policy.
    pub async fn start_with(plan: Plan, backends: Vec<Backend>, policy: &str) -> Option<Self> {
        let binary = required::or_skip("envoy", envoy::find())?;
        let folder = tempfile::tempdir().unwrap();
        let mut telemetry = Relay::closed();
        let xds = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
        let addresses: Vec<SocketAddr> = backends.iter().map(Backend::address).collect();
        list(folder.path(), &addresses);
        let (upstream, configures, relay) = if plan.cluster == Cluster::Relayed {
            let upstream = upstream(folder.path()).await;
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
            let to = upstream.xds;
            let relay =
                format!("relay: {{listen: '{listen}', upstream: {{address: 'http://{to}'}}}}");
            (Some(upstream), listen, relay)
        } else {
            (None, xds, String::new())
        };
        write(folder.path(), "weir.yaml", &(config(plan, telemetry.address()) + &relay));
        write(folder.path(), "policies/shop.yaml", policy);
        let weir = Weir::start(folder.path(), xds).await;
        let bootstrap = bootstrap(plan, folder.path(), configures, telemetry.address());
        let options = Options { directory: folder.path(), concurrency: 1 };
        if plan.telemetry == Telemetry::Push {
            telemetry.open(xds);
        }
        let mut envoy = Envoy::start(&binary, bootstrap, options).await.unwrap();
        if plan.telemetry == Telemetry::Scrape {
            telemetry.open(envoy.admin.address());
        }
        envoy.serving(WITHIN).await.unwrap();
        let listeners = envoy.admin.listeners().await.unwrap();
        let listener = *listeners.values().next().unwrap();
        Some(Self { backends, envoy, weir, listener, upstream, telemetry, folder })
    }

    /// The folder that Weir runs in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where Weir keeps its journal and last good state.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The file of endpoints.
    pub fn endpoints(&self) -> PathBuf {
        self.folder().join("endpoints.yaml")
    }

    /// The addresses of all backends.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.backends.iter().map(Backend::address).collect()
    }

    /// Writes the list of endpoints.
    pub fn list(&self, addresses: &[SocketAddr]) {
        list(self.folder(), addresses);
    }

    /// Writes the policy's file.
    pub fn policy(&self, text: &str) {
        write(self.folder(), "policies/shop.yaml", text);
    }

    /// Sends requests from now on.
    pub fn load(&self) -> Traffic {
        Traffic::start(self.listener, RATE)
    }

    /// Makes a backend fail half of its requests.
    pub fn fail(&self, number: usize) -> SocketAddr {
        self.backends[number].behave(Behaviour::failing(0.5));
        self.backends[number].address()
    }

    /// How many requests each backend has taken.
    pub fn taken(&self) -> Vec<u64> {
        self.backends.iter().map(|backend| backend.counts().taken).collect()
    }

    /// How many of the next `count` or more requests each backend takes.
    pub async fn taking(&self, traffic: &Traffic, count: u64) -> Vec<u64> {
        let before = self.taken();
        traffic.more(count).await;
        self.taken().iter().zip(before).map(|(after, before)| after - before).collect()
    }

    /// Waits until Weir judges: it has seen requests enough to act on.
    pub async fn judging(&self) {
        self.until("it judges", async || {
            let service = self.weir.shop().await["service"].clone();
            service["telemetryAgeMs"].is_u64() && service["stance"] != "holding"
        })
        .await;
    }

    /// Waits until an endpoint stands so.
    pub async fn until_state(&self, address: SocketAddr, state: &str) {
        let what = format!("{address} is {state}");
        self.until(&what, async || self.weir.endpoint(address).await["state"] == state).await;
    }

    /// As [`until`], with what Weir has to say when it does not come true.
    pub async fn until(&self, what: &str, condition: impl AsyncFnMut() -> bool) {
        if !eventually(WITHIN, condition).await {
            let shop = self.weir.shop().await;
            let log = self.weir.child.log_tail();
            panic!("not within {WITHIN:?}: {what}\n{shop:#}\n{log}");
        }
    }

    /// A counter or gauge of the cluster at Envoy.
    pub async fn stat(&self, name: &str) -> u64 {
        self.envoy.admin.stat(&format!("cluster.{CLUSTER}.{name}")).await.unwrap()
    }

    /// Kills Weir with -9.
    pub async fn kill(&mut self) {
        self.weir.child.kill().await.unwrap();
    }

    /// Starts Weir again, where it was.
    pub async fn restart(&mut self) {
        self.weir = Weir::start(self.folder.path(), self.weir.xds).await;
    }

    /// Waits until Envoy's streams are up again.
    pub async fn reconnected(&self) {
        let connected = "control_plane.connected_state";
        until("Envoy is back", async || {
            self.envoy.admin.stat(connected).await.is_ok_and(|state| state == 1)
        })
        .await;
    }
}

/// So many backends, named by number, and healthy.
pub fn backends(count: usize) -> Vec<Backend> {
    (0..count).map(|number| Backend::start(&number.to_string(), FAST).unwrap()).collect()
}

/// Writes a file in one go, as people's editors do; folders are made.
pub fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

fn list(folder: &Path, addresses: &[SocketAddr]) {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    write(folder, "endpoints.yaml", &json!({ "endpoints": addresses }).to_string());
}

/// A policy for the service, in a mode.
pub fn policy(mode: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata:
  name: shop
  namespace: demo
spec:
  targetRefs:
    - group: ''
      kind: Service
      name: shop
  mode: {mode}
  objectives:
    - name: availability
      targetPercent: 99.9
      indicator:
        type: Availability
  ejection:
    baseEjectionTime: 60s
"
    )
}

/// Another control plane for the same endpoints.
async fn upstream(folder: &Path) -> Weir {
    let plan = Plan { cluster: Cluster::RoundRobin, ..Plan::USUAL };
    let unheard = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let text = config(plan, unheard).replace("endpoints.yaml", "../endpoints.yaml");
    let folder = folder.join("upstream");
    write(&folder, "weir.yaml", &text.replace("policies: policies\n", ""));
    let xds = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
    Weir::start(&folder, xds).await
}

fn config(plan: Plan, scraped: SocketAddr) -> String {
    let cluster = match plan.cluster {
        Cluster::Weirs => "write_clusters: true",
        Cluster::RoundRobin | Cluster::Relayed => "balancer: {policy: ROUND_ROBIN}",
    };
    let source = match plan.telemetry {
        Telemetry::Push => "push: {}".to_owned(),
        Telemetry::Scrape => format!("scrape: {{targets: ['http://{scraped}']}}"),
    };
    format!(
        "data_dir: data
policies: policies
services:
  - namespace: demo
    name: shop
    clusters: [{CLUSTER}]
    endpoints: {{file: endpoints.yaml}}
    {cluster}
sources:
  - {source}
"
    )
}

/// What `weir envoy bootstrap` prints for this plan, with pushed telemetry by a wire of its own.
fn bootstrap(plan: Plan, folder: &Path, xds: SocketAddr, pushed: SocketAddr) -> Value {
    let profile = match plan.telemetry {
        Telemetry::Push => "push",
        Telemetry::Scrape => "scrape",
    };
    let mut arguments: Vec<String> =
        ["envoy", "bootstrap", "--telemetry", profile].map(Into::into).into();
    arguments.extend(["--weir".to_owned(), xds.to_string()]);
    match plan.cluster {
        Cluster::Weirs => {
            let listen = format!("127.0.0.1:0={CLUSTER}");
            let node = ["--node", "proxy-1", "--node-cluster", "shop-clients", "--listen", &listen];
            arguments.extend(node.map(Into::into));
        }
        Cluster::RoundRobin | Cluster::Relayed => {
            write(folder, "own.yaml", &own_bootstrap());
            let merge = folder.join("own.yaml").display().to_string();
            arguments.extend(["--clusters-min", "0", "--merge", &merge].map(Into::into));
        }
    }
    let printed = run(arguments);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let mut bootstrap: Value = serde_saphyr::from_str(&printed.stdout).unwrap();
    if plan.telemetry == Telemetry::Push {
        push_by(&mut bootstrap, pushed);
    }
    bootstrap
}

/// Sends load reports and access log to Weir by another address, so that it can be cut off.
fn push_by(bootstrap: &mut Value, address: SocketAddr) {
    const WIRE: &str = "weir-telemetry";
    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
    let mut wire = clusters.iter().find(|cluster| cluster["name"] == "weir").unwrap().clone();
    wire["name"] = json!(WIRE);
    wire["load_assignment"]["cluster_name"] = json!(WIRE);
    let endpoint = &mut wire["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    endpoint["address"]["socket_address"]["port_value"] = json!(address.port());
    clusters.push(wire);
    let services = &mut bootstrap["cluster_manager"]["load_stats_config"]["grpc_services"];
    services[0]["envoy_grpc"]["cluster_name"] = json!(WIRE);
    redirect_logs(&mut bootstrap["static_resources"]["listeners"], WIRE);
}

/// Wherever an access log says where it goes, it goes to `wire`.
fn redirect_logs(value: &mut Value, wire: &str) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                if name == "grpc_service" {
                    inner["envoy_grpc"]["cluster_name"] = json!(wire);
                } else {
                    redirect_logs(inner, wire);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redirect_logs(item, wire)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The configuration of somebody who knows nothing of Weir yet: a round-robin cluster that asks
/// "over ADS" for its endpoints, and a listener that leads to it.
fn own_bootstrap() -> String {
    format!(
        "node: {{id: proxy-1, cluster: shop-clients}}
static_resources:
  listeners:
    - name: in
      address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: in
                route_config:
                  name: in
                  virtual_hosts:
                    - name: in
                      domains: ['*']
                      routes:
                        - match: {{prefix: /}}
                          route: {{cluster: {CLUSTER}}}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
    - name: {CLUSTER}
      type: EDS
      lb_policy: ROUND_ROBIN
      eds_cluster_config:
        eds_config: {{resource_api_version: V3, ads: {{}}}}
"
    )
}
