//! Starts the sources that Weir asks, and the discovery of endpoints.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use weir_collectors::endpoints::{self, Discovered};
use weir_collectors::prometheus;
use weir_collectors::prometheus::objectives::{self, Wanted};
use weir_collectors::prometheus::recipe::{self, Istio, Recipe};
use weir_collectors::status::{Kind, Publisher};
use weir_collectors::{Intake, admin, http, scrape};
use weir_engine::names::{ClusterName, ServiceId};
use weir_engine::observation::Indicated;
use weir_engine::state::State;
use weir_models::reference::Memory;

use super::{Assembly, OWN_CLUSTER};
use crate::config::{Endpoints, Preset, PrometheusConfig, ScrapeConfig, Service, SourceConfig};

/// Where a service's endpoints can be read from as they are found.
type Reader = (ServiceId, watch::Receiver<Arc<Discovered>>);

/// By which the objectives to ask for are told.
type Objectives = watch::Sender<Arc<Vec<Wanted>>>;

/// Objectives are asked no more often: their budgets are kept by the five minutes.
const OBJECTIVES_LEAST: Duration = Duration::from_secs(5);

impl Assembly {
    /// Starts discovery; what an earlier life knew stands until a source has listed.
    pub(super) fn discover(&mut self, state: &State<Memory>) -> Vec<Reader> {
        let mut readers = Vec::new();
        for service in self.config.services.clone() {
            let source = match service.endpoints {
                Endpoints::File(path) => endpoints::Source::File(path),
                Endpoints::Dns(name) => endpoints::Source::Dns(name),
                Endpoints::Telemetry | Endpoints::Versions => continue,
            };
            let known = state.services.iter().find(|known| known.topology.service == service.id);
            let last_known = known.map(|known| known.topology.endpoints.clone());
            let config = endpoints::Config {
                service: service.id.clone(),
                source,
                last_known: last_known.unwrap_or_default(),
            };
            let (discovery, reader, status) = config.build(self.clock.shared());
            self.statuses.push(status);
            readers.push((service.id, reader));
            let stop = self.rest.clone();
            self.spawn("a discovery", async move {
                discovery.run(stop).await;
                Ok(())
            });
        }
        readers
    }

    /// Starts what Weir asks: proxies' statistics and Prometheus servers. Objectives are asked of
    /// the first of these servers; where there is one, what to ask goes in by what is returned.
    pub(super) fn collect(
        &mut self,
        intake: &Intake,
        answers: &mpsc::Sender<Indicated>,
    ) -> anyhow::Result<Option<Objectives>> {
        let mut objectives = None;
        for source in self.config.sources.clone() {
            match source {
                SourceConfig::Push { .. } => {}
                SourceConfig::Scrape(config) => self.scrape(&config, intake)?,
                SourceConfig::Prometheus(config) => {
                    if objectives.is_none() {
                        objectives = Some(self.ask_for_objectives(&config, answers)?);
                    }
                    self.ask(config, intake)?;
                }
            }
        }
        Ok(objectives)
    }

    fn ask_for_objectives(
        &mut self,
        config: &PrometheusConfig,
        answers: &mpsc::Sender<Indicated>,
    ) -> anyhow::Result<Objectives> {
        let (objectives, wanted) = watch::channel(Arc::default());
        let asked = objectives::Config {
            url: config.url.clone(),
            http: config.http.clone(),
            interval: config.interval.max(OBJECTIVES_LEAST),
            wanted,
        };
        let target = http::shown(&http::target(&config.url)?);
        let (publisher, status) = Publisher::new("objectives", Kind::Objectives, &target);
        self.statuses.push(status);
        let (answers, now, stop) = (answers.clone(), self.clock.shared(), self.rest.clone());
        self.spawn("the objectives' queries", async move {
            asked.run(answers, publisher, now, stop).await;
            Ok(())
        });
        Ok(objectives)
    }

    fn clusters(&self) -> Vec<ClusterName> {
        self.config.services.iter().flat_map(|service| service.clusters.clone()).collect()
    }

    fn scrape(&mut self, config: &ScrapeConfig, intake: &Intake) -> anyhow::Result<()> {
        for url in &config.targets {
            let asked = scrape::Config {
                http: config.http.clone(),
                interval: config.interval,
                clusters: self.clusters(),
                ..scrape::Config::of(url)
            };
            let target = http::shown(&http::target(url)?);
            let (publisher, status) = Publisher::new("scrape", Kind::Scrape, &target);
            self.statuses.push(status);
            let (intake, now, stop) = (intake.clone(), self.clock.shared(), self.rest.clone());
            self.spawn("a scrape", async move {
                asked.run(intake, publisher, now, stop).await;
                Ok(())
            });
        }
        self.flags(config, intake)
    }

    /// Health flags come from the same admin interfaces.
    fn flags(&mut self, config: &ScrapeConfig, intake: &Intake) -> anyhow::Result<()> {
        let target = |url: &String| admin::Target { url: url.clone(), node: None };
        let asked = admin::Config {
            targets: config.targets.iter().map(target).collect(),
            interval: admin::INTERVAL,
            http: config.http.clone(),
            own_cluster: OWN_CLUSTER.to_owned(),
        };
        let (admin, statuses) = asked.build(&self.clock.shared())?;
        self.statuses.extend(statuses);
        let (intake, stop) = (intake.clone(), self.rest.clone());
        self.spawn("the health flags", async move {
            admin.run(intake, stop).await;
            Ok(())
        });
        Ok(())
    }

    fn ask(&mut self, config: PrometheusConfig, intake: &Intake) -> anyhow::Result<()> {
        let recipes = recipes(&config, &self.config.services)?;
        let asked = prometheus::Config {
            http: config.http,
            interval: config.interval,
            ..prometheus::Config::of(&config.url, recipes)
        };
        let target = http::shown(&http::target(&config.url)?);
        let (publisher, status) = Publisher::new("prometheus", Kind::Prometheus, &target);
        self.statuses.push(status);
        let (intake, now, stop) = (intake.clone(), self.clock.shared(), self.rest.clone());
        self.spawn("a Prometheus client", async move {
            asked.run(intake, publisher, now, stop).await;
            Ok(())
        });
        Ok(())
    }
}

/// What a server is asked for: a preset's queries, and the user's own.
fn recipes(config: &PrometheusConfig, services: &[Service]) -> anyhow::Result<Vec<Recipe>> {
    let clusters: Vec<ClusterName> = services.iter().flat_map(|s| s.clusters.clone()).collect();
    let mut recipes = match config.preset {
        Preset::Envoy => recipe::envoy(&clusters)?,
        Preset::Istio => istio(services)?,
        Preset::None => Vec::new(),
    };
    let own = config.queries.iter().map(|(what, query)| recipe::template(query.clone(), *what));
    recipes.extend(own);
    Ok(recipes)
}

/// Istio's metrics name a service, not clusters: each is reported as its first client cluster.
fn istio(services: &[Service]) -> anyhow::Result<Vec<Recipe>> {
    let mut recipes = Vec::new();
    for service in services {
        let Some(cluster) = service.clusters.first() else { continue };
        recipes.extend(recipe::istio(&Istio {
            namespace: service.id.namespace.to_string(),
            name: service.id.name.to_string(),
            cluster: cluster.clone(),
            endpoint: recipe::Naming::Label("instance".to_owned()),
        })?);
    }
    Ok(recipes)
}
