//! One run: backends, Envoys and, for its own side, a Weir; the scenario happens to them, the
//! requests are sent, everything ends.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};
use weir_engine::names::Locality;
use weir_proxy_adapter::bootstrap::{Identity, parts};
use weir_simulator::scenario::Scenario;
use weir_simulator::score::Score;
use weir_testbed::arena::{
    Backend, Kind, Listeners, Order, Outcome, Patience, Proxies, listener_name, play as send,
};
use weir_testbed::descriptors;
use weir_testbed::envoy::{self, Envoy};
use weir_testbed::membership::{Listed, Membership};

use super::governed::{self, Governed};
use super::orders::{orders, score};
use super::own::Own;
use super::side::{Side, Via};
use crate::commands::demo::proxys_part;
use crate::scenarios::Policy;

/// How often backends are told how slow and sick they are: steps of a curve that nobody sees.
const DIRECT_EVERY: Duration = Duration::from_millis(20);

/// Envoys at least, so that Weir has reports of more than one to pool.
const ENVOYS_MIN: usize = 2;

/// Time for an Envoy to have its clusters and to serve.
const SERVING_WITHIN: Duration = Duration::from_secs(30);

/// The name under which Envoys find endpoints that no Weir serves.
const SERVICE: &str = "shop";

/// What is played.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) side: Side,
    pub(super) policy: &'a Policy,
    pub(super) envoy: &'a Path,
}

/// Plays it; what was counted, and the part of all requests that left late.
pub(super) async fn play(setting: Setting<'_>) -> anyhow::Result<(Score, f64)> {
    let folder = tempfile::Builder::new().prefix("weir-arena-").tempdir();
    let folder = folder.context("making a folder for the arena")?;
    // Where it cannot be raised, a connection that is refused says so.
    descriptors::raise().ok();
    let scenario = setting.scenario;
    let cast = Cast::assemble(setting, folder.path())?;
    cast.direct(0.0)?;
    let orders = orders(scenario);
    let outcomes = match setting.side.via {
        Via::Weir | Via::Envoy => through_envoy(setting, &cast, folder.path(), &orders).await?,
        Via::Own => {
            let mut way = Own::new(scenario, &cast.backends, setting.side.rival);
            let patience = Patience { timeout: scenario.timeout, grace: Duration::ZERO };
            tokio::select! {
                outcomes = send(&orders, &mut way, patience) => outcomes,
                failed = cast.follow() => match failed? {},
            }
        }
    };
    let (mut score, late) = score(scenario, &orders, &outcomes);
    score.cross_zone = cast.backends.iter().map(Backend::far).sum();
    Ok((score, late))
}

async fn through_envoy(
    setting: Setting<'_>,
    cast: &Cast<'_>,
    folder: &Path,
    orders: &[Order],
) -> anyhow::Result<Vec<Outcome>> {
    let mut fleet = Fleet::start(setting, cast, folder).await?;
    let mut way = Listeners(fleet.listeners(setting.scenario.proxies).await?);
    let patience = Patience::of_proxys(setting.scenario.timeout);
    let outcomes = tokio::select! {
        outcomes = send(orders, &mut way, patience) => outcomes,
        failed = cast.follow() => match failed? {},
        failed = fleet.failed() => return Err(failed),
    };
    fleet.clear().await;
    Ok(outcomes)
}

/// The backends and the list that names those that are declared.
struct Cast<'a> {
    scenario: &'a Scenario,
    backends: Vec<Backend>,
    list: Membership,
}

impl<'a> Cast<'a> {
    fn assemble(setting: Setting<'a>, folder: &Path) -> anyhow::Result<Self> {
        let scenario = setting.scenario;
        let start = |backend: &weir_simulator::scenario::Backend| {
            let (zone, cross_zone) = (backend.zone, scenario.cross_zone);
            Backend::start(Kind { workers: backend.workers as usize, zone, cross_zone })
        };
        let backends = scenario.backends.iter().map(start).collect::<Result<_, _>>();
        let list = match setting.side.via {
            Via::Weir => Membership::file(folder, SERVICE),
            Via::Envoy | Via::Own => Membership::assignment(folder, SERVICE),
        };
        Ok(Self { scenario, backends: backends.context("starting a backend")?, list })
    }

    /// Makes everything as it is at a second.
    fn direct(&self, second: f64) -> anyhow::Result<()> {
        self.behave(second);
        self.list(second)
    }

    fn behave(&self, second: f64) {
        for (told, backend) in self.scenario.backends.iter().zip(&self.backends) {
            backend.behave(told.slowness.at(second), told.errors.at(second));
        }
    }

    fn list(&self, second: f64) -> anyhow::Result<()> {
        let all = self.scenario.backends.iter().zip(&self.backends);
        let declares = self.scenario.telemetry.declares_workers;
        let listed =
            all.filter(|(told, _)| told.is_present(second)).map(|(told, backend)| Listed {
                address: backend.address(),
                zone: self.scenario.zones[told.zone].0.clone(),
                concurrency: declares.then_some(told.workers as usize),
            });
        let listed: Vec<Listed> = listed.collect();
        let path = self.list.path().display();
        self.list.write(&listed).with_context(|| format!("writing the endpoints to {path}"))
    }

    /// Lets the scenario happen, from now on.
    async fn follow(&self) -> anyhow::Result<Infallible> {
        let start = Instant::now();
        let mut ticks = interval(DIRECT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut before = self.present(0.0);
        loop {
            ticks.tick().await;
            let second = start.elapsed().as_secs_f64();
            self.behave(second);
            let present = self.present(second);
            if present != before {
                self.list(second)?;
                before = present;
            }
        }
    }

    fn present(&self, second: f64) -> Vec<bool> {
        self.scenario.backends.iter().map(|backend| backend.is_present(second)).collect()
    }
}

/// The processes of a run. Zones take turns among proxies, and Envoys among zones, so an Envoy's
/// proxies are all of one zone.
struct Fleet {
    envoys: Vec<Envoy>,
    weir: Option<Governed>,
}

impl Fleet {
    /// Weir's sockets are bound first, Envoys are told them, and Weir is told Envoys'.
    async fn start(setting: Setting<'_>, cast: &Cast<'_>, folder: &Path) -> anyhow::Result<Self> {
        let scenario = setting.scenario;
        let count = scenario.zones.len().max(ENVOYS_MIN).min(scenario.proxies);
        let sockets = match setting.side.via {
            Via::Weir => Some(governed::sockets().await?),
            Via::Envoy | Via::Own => None,
        };
        let mut envoys = Vec::new();
        for number in 0..count {
            let proxies = (number..scenario.proxies).step_by(count).count();
            let node = Identity {
                id: Some(format!("envoy-{number}")),
                cluster: Some("arena".to_owned()),
                locality: Locality {
                    zone: scenario.zones[number % scenario.zones.len()].0.as_str().into(),
                    ..Locality::default()
                },
            };
            let (part, log) = match &sockets {
                Some(sockets) => {
                    let xds = sockets.xds.local_addr()?;
                    (proxys_part(node, 1, xds)?, vec![parts::upstream_log()])
                }
                None => (plain(&node), Vec::new()),
            };
            let bootstrap = Proxies {
                count: proxies,
                timeout: scenario.timeout,
                filters: &setting.side.filters(),
                upstream_log: &log,
                cluster: setting.side.cluster(&cast.list.eds()),
            };
            let directory = folder.join(format!("envoy-{number}"));
            std::fs::create_dir_all(&directory).context("making a folder for an Envoy")?;
            let options = envoy::Options { directory: &directory, concurrency: 1 };
            envoys.push(Envoy::start(setting.envoy, bootstrap.add_to(part), options).await?);
        }
        let admins = envoys.iter().map(|envoy| envoy.admin.address()).collect::<Vec<_>>();
        let weir = match sockets {
            Some(sockets) => {
                let served = governed::Served {
                    scenario,
                    policy: setting.policy,
                    endpoints: cast.list.path(),
                    admins: &admins,
                    clusters: scenario.proxies.div_ceil(count),
                };
                Some(Governed::start(&served, folder, sockets)?)
            }
            None => None,
        };
        for envoy in &mut envoys {
            envoy.serving(SERVING_WITHIN).await.context("Envoy does not get its clusters")?;
        }
        Ok(Self { envoys, weir })
    }

    /// Where proxies listen.
    async fn listeners(&self, proxies: usize) -> anyhow::Result<Vec<std::net::SocketAddr>> {
        let mut known = Vec::new();
        for envoy in &self.envoys {
            known.push(envoy.admin.listeners().await?);
        }
        let count = self.envoys.len();
        let listener = |proxy: usize| {
            let name = listener_name(proxy / count);
            let found = known[proxy % count].get(&name).copied();
            found.with_context(|| format!("Envoy does not listen as {name}; its log says why"))
        };
        (0..proxies).map(listener).collect()
    }

    /// Waits until a process ends unasked.
    async fn failed(&mut self) -> anyhow::Error {
        let weir = async {
            match &mut self.weir {
                Some(weir) => weir.ended().await,
                None => std::future::pending().await,
            }
        };
        let exits = self.envoys.iter_mut().map(|envoy| {
            Box::pin(async move {
                let how = envoy.child.exited().await.map(|status| status.to_string());
                let how = how.unwrap_or_else(|error| error.to_string());
                anyhow::anyhow!("Envoy ended ({how}):\n{}", envoy.child.log_tail())
            })
        });
        tokio::select! {
            error = weir => error,
            (error, ..) = futures_util::future::select_all(exits) => error,
        }
    }

    /// Ends everything in order.
    async fn clear(mut self) {
        if let Some(weir) = self.weir.take() {
            weir.stop().await;
        }
        for envoy in &mut self.envoys {
            if let Err(error) = envoy.child.stop().await {
                tracing::warn!(%error, "an Envoy did not end by itself");
            }
        }
    }
}

/// The beginning of a configuration without Weir.
fn plain(node: &Identity) -> Value {
    json!({
        "node": {
            "id": node.id,
            "cluster": node.cluster,
            "locality": {"zone": node.locality.zone.as_str()},
        },
    })
}
