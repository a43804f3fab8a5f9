//! `weir demo`: two identical fleets, the same load and the same faults; Weir governs one.
//!
//! Everything is real: a real Envoy carries both sides, requests cross real sockets, and Weir runs
//! in this process exactly as `weir run` would. What is not Weir stands in the testbed.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use weir_proxy_adapter::bootstrap::{
    self, HostPort, Identity, Options, Protocol, Telemetry, parts,
};
use weir_testbed::demo::{
    Demo, Governor, Outcome, PROXIES, Progress, RATE, Run, Timing, cluster_name,
};
use weir_testbed::envoy::{self, Envoy};

use super::OK;
use crate::cli;
use crate::config::{self, Config, Given};
use crate::wire::{self, Listeners, Running};

mod prometheus;
mod show;

/// Time for Envoy to have its clusters from Weir and to serve.
const SERVING_WITHIN: Duration = Duration::from_secs(30);

/// Where people look first; another port if it is taken.
const PAGE_PORT: u16 = 9_980;

/// Runs the demonstration until its script, or somebody, ends it.
pub fn run(asked: &cli::Demo) -> anyhow::Result<u8> {
    check(asked)?;
    let path = envoy::find()?;
    super::run::log_quietly();
    super::run::runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
        tokio::select! {
            ended = play(asked, &path) => ended,
            _ = interrupt.recv() => stopped(),
            _ = terminate.recv() => stopped(),
        }
    })
}

pub(super) fn stopped() -> anyhow::Result<u8> {
    // Children die with what held them.
    writeln!(anstream::stderr(), "\nstopped")?;
    Ok(OK)
}

fn check(asked: &cli::Demo) -> anyhow::Result<()> {
    let sensible = |value: f64| value.is_finite() && (0.01..=100.0).contains(&value);
    anyhow::ensure!(sensible(asked.rate), "--rate must be between 0.01 and 100");
    anyhow::ensure!(sensible(asked.pace), "--pace must be between 0.01 and 100");
    watches()
}

/// Envoy takes one inotify instance per watched list of endpoints, and aborts without.
fn watches() -> anyhow::Result<()> {
    can_watch(PROXIES, "the demo")
}

/// Whether so many lists can be watched.
pub(super) fn can_watch(lists: usize, whose: &str) -> anyhow::Result<()> {
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
    let needed = lists + 10;
    let allowed = std::fs::read_to_string(LIMIT).ok().and_then(|text| text.trim().parse().ok());
    anyhow::ensure!(
        allowed.is_none_or(|allowed: usize| allowed >= needed),
        "{whose}'s Envoy watches {needed} files, and {LIMIT} is below that; \
         raise it: sysctl fs.inotify.max_user_instances={}",
        (2 * needed).max(256)
    );
    Ok(())
}

async fn play(asked: &cli::Demo, envoy: &Path) -> anyhow::Result<u8> {
    let folder = tempfile::Builder::new().prefix("weir-demo-").tempdir();
    let folder = folder.context("making a folder for the demo")?;
    let mut stage = Stage::set(asked, envoy, folder.path()).await?;
    show::welcome(stage.page())?;
    loop {
        let outcome = stage.run(asked).await?;
        show::outcome(&outcome, asked.output)?;
        if asked.once {
            break;
        }
        show::again(stage.page())?;
    }
    stage.clear().await;
    Ok(OK)
}

/// Everything that runs. Benchmarks set the same stage and play their own scripts on it.
pub struct Stage {
    /// Both sides.
    pub demo: Demo,
    /// The Envoy that carries them.
    pub envoy: Envoy,
    /// Weir, unless nobody governs.
    pub weir: Option<Running>,
    prometheus: Option<weir_testbed::child::Child>,
}

impl Stage {
    /// Starts backends, Envoy and Weir, in the order in which their addresses become known: Weir's
    /// sockets are bound first, Envoy is told them, and Weir is told Envoy's.
    pub async fn set(asked: &cli::Demo, path: &Path, folder: &Path) -> anyhow::Result<Self> {
        let governor = if asked.ungoverned { Governor::Nobody } else { Governor::Weir };
        let demo = Demo::start(folder, governor)?;
        let listeners = Listeners {
            beside: wire::beside::Listeners::default(),
            xds: any_port().await?,
            api: page_port().await?,
            metrics: any_port().await?,
        };
        let (part, logs) = match governor {
            Governor::Nobody => (Value::Object(serde_json::Map::new()), vec![]),
            Governor::Weir => {
                let node = Identity {
                    id: Some("demo-fleet".to_owned()),
                    cluster: Some("demo".to_owned()),
                    ..Identity::default()
                };
                let xds = listeners.xds.local_addr()?;
                (proxys_part(node, PROXIES, xds)?, vec![parts::upstream_log()])
            }
        };
        let options = envoy::Options { directory: folder, concurrency: 1 };
        let mut envoy = Envoy::start(path, demo.bootstrap(part, &logs), options).await?;
        let admin = envoy.admin.address();
        let prometheus =
            if asked.prometheus { Some(prometheus::start(folder, admin).await?) } else { None };
        let weir = match governor {
            Governor::Nobody => None,
            Governor::Weir => {
                let server = prometheus.as_ref().map(|started| started.url.as_str());
                let config = configured(&demo, folder, admin, server)?;
                Some(wire::start_on(config, listeners)?)
            }
        };
        envoy.serving(SERVING_WITHIN).await.context("Envoy does not get its clusters from Weir")?;
        Ok(Self { demo, envoy, weir, prometheus: prometheus.map(|started| started.child) })
    }

    fn page(&self) -> Option<SocketAddr> {
        self.weir.as_ref().map(|weir| weir.api)
    }

    async fn run(&mut self, asked: &cli::Demo) -> anyhow::Result<Outcome> {
        let run = Run {
            seed: asked.seed,
            rate: RATE * asked.rate,
            timing: Timing {
                warm_up: Timing::FULL.warm_up.mul_f64(asked.pace),
                phase: Timing::FULL.phase.mul_f64(asked.pace),
                pause: Timing::FULL.pause.mul_f64(asked.pace),
            },
        };
        let listeners = self.demo.listeners(&self.envoy.admin).await?;
        let (progress, seen) = watch::channel(Progress::default());
        let failed = async {
            match &mut self.weir {
                Some(weir) => weir.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            outcome = self.demo.run(run, listeners, &progress) => Ok(outcome?),
            error = failed => Err(error),
            exited = self.envoy.child.exited() => {
                let how = exited?;
                anyhow::bail!("Envoy ended ({how}):\n{}", self.envoy.child.log_tail())
            }
            shown = show::live(seen) => {
                shown?;
                anyhow::bail!("the demo ended before its script")
            }
        }
    }

    /// Ends everything in order.
    pub async fn clear(mut self) {
        if let Some(weir) = self.weir.take() {
            weir.stop().await;
        }
        for child in [Some(&mut self.envoy.child), self.prometheus.as_mut()].into_iter().flatten() {
            if let Err(error) = child.stop().await {
                tracing::warn!(%error, "a child did not end by itself");
            }
        }
    }
}

pub(super) async fn any_port() -> anyhow::Result<TcpListener> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TcpListener::bind(any).await.context("listening on loopback")
}

async fn page_port() -> anyhow::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, PAGE_PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) => any_port().await,
    }
}

/// What Weir writes for a proxy of its own, as `weir envoy bootstrap` would.
pub(super) fn proxys_part(
    node: Identity,
    clusters: usize,
    xds: SocketAddr,
) -> anyhow::Result<Value> {
    let options = Options {
        telemetry: Telemetry::Push,
        node,
        // The testbed puts an address of its own in its place.
        admin: Some(HostPort { host: "127.0.0.1".to_owned(), port: 9_901 }),
        weir: vec![HostPort { host: xds.ip().to_string(), port: xds.port() }],
        protocol: Protocol::Delta,
        clusters_min: u32::try_from(clusters).unwrap_or(1),
        access_log: true,
        listeners: vec![],
    };
    let yaml = bootstrap::generate(&options).map_err(|problems| {
        let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("writing Envoy's bootstrap: {}", words.join("; "))
    })?;
    serde_saphyr::from_str(&yaml).context("reading the bootstrap that was just written")
}

/// The configuration and the policy, written as files and read like a user's.
fn configured(
    demo: &Demo,
    folder: &Path,
    admin: SocketAddr,
    prometheus: Option<&str>,
) -> anyhow::Result<Config> {
    let policies = folder.join("policies");
    std::fs::create_dir_all(&policies).context("making the folder of policies")?;
    std::fs::write(policies.join("shop.yaml"), POLICY).context("writing the policy")?;
    let clusters: Vec<String> = (0..PROXIES).map(|proxy| cluster_name("governed", proxy)).collect();
    let server = prometheus.map(|url| format!("  - prometheus: {{url: {url:?}, interval: 1s}}\n"));
    let text = format!(
        "data_dir: data
policies: policies
services:
  - namespace: demo
    name: shop
    clusters: [{}]
    endpoints: {{file: {}}}
    write_clusters: true
sources:
  - push: {{}}
  - scrape: {{targets: [\"http://{admin}\"]}}
{}",
        clusters.join(", "),
        serde_json::json!(demo.endpoints_file()),
        server.unwrap_or_default(),
    );
    let path = folder.join("weir.yaml");
    std::fs::write(&path, &text).context("writing weir.yaml")?;
    config::from_bytes(&path, text.as_bytes(), Given::default()).map_err(|problems| {
        let words =
            weir_policies::problem::render(&problems, weir_policies::problem::Colour::Never);
        anyhow::anyhow!("the demo's own configuration is refused:\n{words}")
    })
}

/// Three nines, and a tail: everything else is as it is by default.
const POLICY: &str = "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata:
  name: shop
  namespace: demo
spec:
  targetRefs:
    - {group: \"\", kind: Service, name: shop}
  mode: Enforce
  objectives:
    - name: availability
      targetPercent: 99.9
      indicator: {type: Availability}
    - name: latency
      targetPercent: 99
      indicator: {type: Latency, latency: {threshold: 500ms}}
";
