//! Two versions of one service behind a route of Weir's: what a rollout moves.
//!
//! `demo/shop` is what clients call and nothing but a route; `demo/shop-v1` and `demo/shop-v2`
//! have two backends each, and clusters that Weir writes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use weir_testbed::backends::{Backend, Behaviour};
use weir_testbed::envoy::{self, Envoy, Options, eventually};
use weir_testbed::{ports, required};

use crate::WITHIN;
use crate::traffic::Traffic;
use crate::weir::{Weir, run};
use crate::world::{FAST, RATE, write};

/// The versions' services, and their clusters.
pub const VERSIONS: [&str; 2] = ["shop-v1", "shop-v2"];

/// All of it. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Stage {
    /// The backends of each version.
    pub backends: [Vec<Backend>; 2],
    /// The proxy.
    pub envoy: Envoy,
    /// Weir.
    pub weir: Weir,
    /// Where requests go.
    pub listener: SocketAddr,
    /// Where they go to each version, past the route.
    pub past: [SocketAddr; 2],
    folder: TempDir,
}

impl Stage {
    /// A stage on which Envoy serves, all by the old version; nothing where there is no Envoy (and
    /// none is required). `dialect`: flags of `weir envoy bootstrap`.
    pub async fn start(dialect: &[&str]) -> Option<Self> {
        Self::start_on(CONFIG, dialect).await
    }

    /// A stage whose Envoy has no cluster for the new version: nobody writes it.
    pub async fn with_an_unknown_version() -> Option<Self> {
        let config = CONFIG.replace("shop-v2.yaml}, write_clusters: true", "shop-v2.yaml}");
        Self::start_on(&config, &[]).await
    }

    async fn start_on(config: &str, dialect: &[&str]) -> Option<Self> {
        let binary = required::or_skip("envoy", envoy::find())?;
        let folder = tempfile::tempdir().unwrap();
        let backends = VERSIONS.map(|version| {
            let start = |number| Backend::start(&format!("{version}-{number}"), FAST).unwrap();
            (0..2).map(start).collect::<Vec<_>>()
        });
        for (version, backends) in VERSIONS.iter().zip(&backends) {
            let addresses = backends.iter().map(|backend| backend.address().to_string());
            let listed = json!({ "endpoints": addresses.collect::<Vec<_>>() }).to_string();
            write(folder.path(), &format!("{version}.yaml"), &listed);
        }
        write(folder.path(), "weir.yaml", config);
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        let xds = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
        let weir = Weir::start(folder.path(), xds).await;
        let stage = Self::with_envoy(&binary, (folder, backends, weir), dialect).await;
        Some(stage)
    }

    async fn with_envoy(
        binary: &Path,
        (folder, backends, weir): (TempDir, [Vec<Backend>; 2], Weir),
        dialect: &[&str],
    ) -> Self {
        write(folder.path(), "policies/shop.yaml", &policy("Observe", ""));
        let xds = weir.xds.to_string();
        let node = ["envoy", "bootstrap", "--node", "proxy-1", "--node-cluster", "shop-clients"];
        let route = ["--listen-route", "127.0.0.1:0=demo/shop", "--weir", &xds];
        let past = ["--listen", "127.0.0.1:0=shop-v1", "--listen", "127.0.0.1:0=shop-v2"];
        let printed = run(node.iter().chain(&route).chain(&past).chain(dialect));
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        let bootstrap: Value = serde_saphyr::from_str(&printed.stdout).unwrap();
        let options = Options { directory: folder.path(), concurrency: 1 };
        let mut envoy = Envoy::start(binary, bootstrap, options).await.unwrap();
        envoy.serving(WITHIN).await.unwrap();
        let listeners = envoy.admin.listeners().await.unwrap();
        // In the order of their numbers: those that lead to a cluster, then those with a route.
        let [old, new, listener] = listeners.into_values().collect::<Vec<_>>()[..] else {
            panic!("three listeners")
        };
        Self { backends, envoy, weir, listener, past: [old, new], folder }
    }

    /// Where Weir keeps its journal and last good state.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Puts a policy into force, with these lines under its `rollout`.
    pub fn policy(&self, mode: &str, rollout: &str) {
        write(self.folder.path(), "policies/shop.yaml", &policy(mode, rollout));
    }

    /// Takes the policy away.
    pub fn without_policy(&self) {
        std::fs::remove_file(self.folder.path().join("policies/shop.yaml")).unwrap();
    }

    /// How the new version behaves from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        for backend in &self.backends[1] {
            backend.behave(behaviour);
        }
    }

    /// Sends requests from now on.
    pub fn load(&self) -> Traffic {
        Traffic::start(self.listener, RATE)
    }

    /// Requests that each version has taken.
    pub fn taken(&self) -> [u64; 2] {
        let taken = |backends: &Vec<Backend>| backends.iter().map(|one| one.counts().taken).sum();
        [taken(&self.backends[0]), taken(&self.backends[1])]
    }

    /// Requests that the new version has failed, as told to.
    pub fn failed(&self) -> u64 {
        self.backends[1].iter().map(|backend| backend.counts().failed).sum()
    }

    /// The new version's part of the next `count` or more requests, as its backends count.
    pub async fn share(&self, traffic: &Traffic, count: u64) -> f64 {
        let before = self.taken();
        traffic.more(count).await;
        let after = self.taken();
        let [old, new] = [after[0] - before[0], after[1] - before[1]];
        new as f64 / (old + new) as f64
    }

    /// The rollout as the API has it.
    pub async fn rollout(&self) -> Value {
        self.weir.shop().await["rollouts"][0].clone()
    }

    /// Waits until the rollout stands so.
    pub async fn until(&self, what: &str, stands: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let mut rounds = 0;
        // Steps take their time: evidence is gathered for some looks of five seconds each.
        while rounds < 6 {
            let came = eventually(WITHIN, async || {
                last = self.rollout().await;
                stands(&last)
            });
            if came.await {
                return last;
            }
            rounds += 1;
        }
        panic!("not in time: {what}\n{last:#}\n{}", self.weir.child.log_tail());
    }

    /// Kills Weir with -9 and starts it where it was.
    pub async fn killed_and_started(&mut self) {
        self.weir.child.kill().await.unwrap();
        self.weir = Weir::start(self.folder.path(), self.weir.xds).await;
    }
}

const CONFIG: &str = "data_dir: data
policies: policies
services:
  - {namespace: demo, name: shop, endpoints: {versions: true}}
  - {namespace: demo, name: shop-v1, endpoints: {file: shop-v1.yaml}, write_clusters: true}
  - {namespace: demo, name: shop-v2, endpoints: {file: shop-v2.yaml}, write_clusters: true}
";

fn policy(mode: &str, rollout: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: {{name: shop, namespace: demo}}
spec:
  targetRefs: [{{group: '', kind: Service, name: shop}}]
  mode: {mode}
  objectives:
    - {{name: availability, targetPercent: 99, indicator: {{type: Availability}}}}
  evaluation: {{minSamples: 50}}
  rollout:
    stableRef: {{name: shop-v1}}
    canaryRef: {{name: shop-v2}}
    stepWeights: [20, 60]
    {rollout}
"
    )
}
