//! Starts the sources that Weir asks, and the discovery of endpoints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use weir_collectors::endpoints;
use weir_collectors::kubernetes::discovery;
use weir_collectors::prometheus;
use weir_collectors::prometheus::objectives::{self, Wanted};
use weir_collectors::prometheus::recipe::{self, Istio, Recipe};
use weir_collectors::status::{Kind, Publisher};
use weir_collectors::{Intake, admin, http, scrape};
use weir_engine::names::ClusterName;
use weir_engine::observation::Indicated;
use weir_engine::state::State;
use weir_models::reference::Memory;

use weir_policies::in_force::InForce;

use super::{Assembly, OWN_CLUSTER};
use crate::config::{Endpoints, Preset, PrometheusConfig, ScrapeConfig, Service, SourceConfig};
use crate::goals::objects::{ByName, Objects};
use crate::governed::{Ends, Governed, Governing, Sources};
use crate::kubernetes::finalizing::{Finalizing, Inputs};
use crate::kubernetes::leading::{Leading, Stand, Standing};
use crate::kubernetes::others::{AtWork, Others};
use crate::kubernetes::saying::Events;
use crate::kubernetes::telling::{self, Telling};
use crate::kubernetes::writing::{self, Writing};
use crate::replicas::following::Following;
use crate::replicas::leader::Leader;
use crate::replicas::{Published, Replicas, Told};

/// By which discovery is told whose endpoints are wanted of a cluster.
type Wants = watch::Sender<Arc<Vec<discovery::Wanted>>>;

/// By which the objectives to ask for are told.
type Objectives = watch::Sender<Arc<Vec<Wanted>>>;

/// Messages of followers that wait for a step: two of each of some replicas.
const HEARD_WAITING: usize = 8;

/// Objectives are asked no more often: their budgets are kept by the five minutes.
const OBJECTIVES_LEAST: Duration = Duration::from_secs(5);

impl Assembly {
    /// Starts discovery; what an earlier life knew stands until a source has listed.
    pub(super) fn discover(&mut self, state: &State<Memory>) -> (Sources, Option<Wants>) {
        let mut readers = Vec::new();
        for service in self.config.services.clone() {
            let source = match service.endpoints {
                Endpoints::File(path) => endpoints::Source::File(path),
                Endpoints::Dns(name) => endpoints::Source::Dns(name),
                Endpoints::Kubernetes { .. } | Endpoints::Telemetry | Endpoints::Versions => {
                    continue;
                }
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
            self.attend("a discovery", |stop| discovery.run(stop));
        }
        let cluster = self.watch_cluster();
        let (found, wanted) =
            cluster.map_or((None, None), |(found, wants)| (Some(found), Some(wants)));
        (Sources::new(readers, found), wanted)
    }

    /// Starts the watches on a cluster, if there is one.
    fn watch_cluster(&mut self) -> Option<(discovery::Found, Wants)> {
        let (config, client) = (self.config.kubernetes.as_ref()?, self.client.as_ref()?);
        let (wants, wanted) = watch::channel(Arc::default());
        let asked = discovery::Config { namespaces: config.namespaces.clone(), wanted };
        let (discovery, found) = asked.build(client, self.clock.shared());
        self.attend("the watches on the cluster", |stop| discovery.run(stop));
        Some((found, wants))
    }

    /// Starts the watches on policies, if there is a cluster.
    pub(super) fn watch_policies(&mut self) -> Option<(Objects, watch::Receiver<Arc<ByName>>)> {
        let config = self.config.kubernetes.as_ref().filter(|config| config.policies)?;
        let client = self.client.as_ref()?;
        let (objects, known, statuses) =
            Objects::watch(client, &config.namespaces, self.clock.shared());
        self.statuses.extend(statuses);
        Some((objects, known))
    }

    /// Stands for election, if replicas share a lease, and follows whoever wins. Proxies, and
    /// followers of this replica, reach it at `xds`, people at `api`.
    pub(super) fn stand(&mut self, xds: SocketAddr, api: SocketAddr) -> Option<(Replicas, Leader)> {
        let lease = self.config.kubernetes.as_ref()?.lease.as_ref()?;
        let stand = Stand {
            lease,
            serves_at: own_address(xds).map(|own| own.to_string()).unwrap_or_default(),
            pages_at: own_address(api).map(|own| own.to_string()).unwrap_or_default(),
            folder: &self.config.data_dir,
            alone: self.alone,
        };
        let (leading, standing, status) =
            Leading::new(self.client.as_ref()?, stand, self.clock.clone());
        let (tells, told) = watch::channel(Told::default());
        let (telling, to_tell) = mpsc::channel(1);
        let clock = self.clock.clone();
        let (following, fares) = Following::new(standing.clone(), (tells, to_tell), clock);
        self.statuses.extend([status, fares]);
        self.standing = Some(standing.clone());
        let (published, publishes) = watch::channel(Published::default());
        let (hears, heard) = mpsc::channel(HEARD_WAITING);
        let leader = Leader::new((publishes, hears), self.clock.clone(), self.rest.clone());
        self.attend("the following of a leader", |stop| following.run(stop));
        // Given back once the last step is taken and the journal is closed.
        self.attend("the lease", |stop| leading.run(stop));
        Some((Replicas { standing, published, heard, told, telling }, leader))
    }

    /// Starts telling the cluster what becomes of its policies; decisions go in by what is returned.
    pub(super) fn tell_cluster(
        &mut self,
        policies: &watch::Receiver<InForce>,
        objects: Option<watch::Receiver<Arc<ByName>>>,
        standing: Option<watch::Receiver<Standing>>,
    ) -> Option<watch::Sender<Option<Arc<telling::Shown>>>> {
        let client = self.client.clone()?;
        let (decided, shown) = watch::channel(None);
        let done = self.write_objects(&client, (shown.clone(), standing.clone()), objects.clone());
        let Some(objects) = objects else { return Some(decided) };
        let inputs = Inputs { policies: objects.clone(), done, standing: standing.clone() };
        self.finalize(&client, inputs);
        let sources = telling::Sources { policies: policies.clone(), objects, shown, standing };
        let (telling, fares) = Telling::new(client, sources, self.clock.clone());
        self.statuses.push(fares);
        self.attend("the cluster's statuses", |stop| telling.run(stop));
        Some(decided)
    }

    /// Starts looking for other controllers that are at work on what rollouts move, where anything of those is
    /// done in routes of others.
    pub(super) fn watch_others(
        &mut self,
        policies: &watch::Receiver<InForce>,
    ) -> Option<watch::Receiver<Arc<AtWork>>> {
        let config = self.config.kubernetes.as_ref()?;
        if self.config.relay.is_none() && !config.writes.moves() {
            return None;
        }
        let client = self.client.clone()?;
        let objects = writing::Objects::new(client, config.namespaces.clone());
        let (others, at_work, fares) = Others::new(objects, policies.clone(), self.clock.clone());
        self.statuses.push(fares);
        self.attend("the looking for other controllers", |stop| others.run(stop));
        Some(at_work)
    }

    /// Starts writing into objects of others, if that is asked for; tells what is put back.
    fn write_objects(
        &mut self,
        client: &kube::Client,
        inputs: (watch::Receiver<Option<Arc<telling::Shown>>>, Option<watch::Receiver<Standing>>),
        policies: Option<watch::Receiver<Arc<ByName>>>,
    ) -> Option<watch::Receiver<Option<writing::Done>>> {
        let config = self.config.kubernetes.as_ref().filter(|config| config.writes.any())?;
        let objects = writing::Objects::new(client.clone(), config.namespaces.clone());
        let (mut writing, fares) = Writing::new(objects, config.writes, inputs, self.clock.clone());
        if let Some(policies) = policies {
            let events = Events::new(client.clone(), policies, self.clock.clone());
            writing = writing.with_events(events);
        }
        let done = writing.done();
        self.statuses.push(fares);
        self.attend("what is written into objects of others", |stop| writing.run(stop));
        Some(done)
    }

    /// Keeps policies that are being deleted until what was written for them is put back.
    fn finalize(&mut self, client: &kube::Client, inputs: Inputs) {
        let Some(config) = &self.config.kubernetes else { return };
        let objects = writing::Objects::new(client.clone(), config.namespaces.clone());
        let events = Events::new(client.clone(), inputs.policies.clone(), self.clock.clone());
        let (finalizing, fares) = Finalizing::new(objects, inputs, events, self.clock.clone());
        self.statuses.push(fares);
        self.attend("the finalizers of policies", |stop| finalizing.run(stop));
    }

    /// What is governed: without a cluster, what is configured.
    pub(super) fn govern(
        &mut self,
        state: &State<Memory>,
        (policies, discovered, wanted): (watch::Receiver<InForce>, &Sources, Option<Wants>),
    ) -> watch::Receiver<Arc<Governed>> {
        let services = self.config.services.clone();
        let cluster = self.config.kubernetes.clone();
        let (Some(cluster), Some(found), Some(wanted)) =
            (cluster, discovered.cluster.clone(), wanted)
        else {
            return watch::channel(Arc::new(Governed { services, settled: true })).1;
        };
        let ends = Ends { policies, found, wanted };
        let (governing, governed) = Governing::new(services, cluster, state, ends);
        self.attend("the governed services", |stop| governing.run(stop));
        governed
    }

    /// Starts what Weir asks: proxies' statistics and Prometheus servers. Objectives are asked of
    /// the first of these servers; where there is one, what to ask goes in by what is returned.
    pub(super) fn collect(
        &mut self,
        intake: &Intake,
        answers: &mpsc::Sender<Indicated>,
        governed: &watch::Receiver<Arc<Governed>>,
    ) -> anyhow::Result<Option<Objectives>> {
        let mut objectives = None;
        for source in self.config.sources.clone() {
            match source {
                SourceConfig::Push { .. } => {}
                SourceConfig::Scrape(config) => self.scrape(&config, intake, governed)?,
                SourceConfig::Prometheus(config) => {
                    if objectives.is_none() {
                        objectives = Some(self.ask_for_objectives(&config, answers)?);
                    }
                    self.ask(config, intake, governed)?;
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

    fn scrape(
        &mut self,
        config: &ScrapeConfig,
        intake: &Intake,
        governed: &watch::Receiver<Arc<Governed>>,
    ) -> anyhow::Result<()> {
        for url in &config.targets {
            let (url, config) = (url.clone(), config.clone());
            let target = http::shown(&http::target(&url)?);
            let (publisher, status) = Publisher::new("scrape", Kind::Scrape, &target);
            self.statuses.push(status);
            let (intake, now, stop) = (intake.clone(), self.clock.shared(), self.rest.clone());
            let asking = following(governed.clone(), stop, move |services, stop| {
                let asked = scrape::Config {
                    http: config.http.clone(),
                    interval: config.interval,
                    clusters: clusters(&services),
                    ..scrape::Config::of(&url)
                };
                asked.run(intake.clone(), publisher.clone(), now.clone(), stop)
            });
            self.spawn("a scrape", async move {
                asking.await;
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

    fn ask(
        &mut self,
        config: PrometheusConfig,
        intake: &Intake,
        governed: &watch::Receiver<Arc<Governed>>,
    ) -> anyhow::Result<()> {
        recipes(&config, &self.config.services)?;
        let target = http::shown(&http::target(&config.url)?);
        let (publisher, status) = Publisher::new("prometheus", Kind::Prometheus, &target);
        self.statuses.push(status);
        let (intake, now, stop) = (intake.clone(), self.clock.shared(), self.rest.clone());
        let asking = following(governed.clone(), stop, move |services, stop| {
            let recipes = recipes(&config, &services).unwrap_or_else(|error| {
                tracing::error!(%error, "a cluster's name fits into no query: nothing is asked");
                Vec::new()
            });
            let asked = prometheus::Config {
                http: config.http.clone(),
                interval: config.interval,
                ..prometheus::Config::of(&config.url, recipes)
            };
            asked.run(intake.clone(), publisher.clone(), now.clone(), stop)
        });
        self.spawn("a Prometheus client", async move {
            asking.await;
            Ok(())
        });
        Ok(())
    }
}

/// Where others reach a socket of this machine's: a socket on all addresses by the one from which
/// it would call far away. Nothing is sent for that.
fn own_address(bound: SocketAddr) -> Option<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return Some(bound);
    }
    // Addresses for documentation: nobody has them.
    let far: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let own = far.into_iter().filter(|(from, _)| bound.is_ipv6() || from.is_ipv4());
    let own = own.filter_map(|(from, to)| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        Some(SocketAddr::new(socket.local_addr().ok()?.ip(), bound.port()))
    });
    let own = own.into_iter().next();
    if own.is_none() {
        tracing::warn!(
            "other replicas cannot follow: set listen.xds to this machine's own address"
        );
    }
    own
}

/// Runs a part for what is governed, and anew whenever that changes.
async fn following<R: Future<Output = ()>>(
    mut governed: watch::Receiver<Arc<Governed>>,
    stop: CancellationToken,
    run: impl Fn(Vec<Service>, CancellationToken) -> R,
) {
    while !stop.is_cancelled() {
        let services = governed.borrow_and_update().services.clone();
        let ended = stop.child_token();
        let part = run(services.clone(), ended.clone());
        let others = async {
            let is_other = |now: &Arc<Governed>| now.services != services;
            if governed.wait_for(is_other).await.is_err() {
                // Nothing will change any more.
                stop.cancelled().await;
            }
            ended.cancel();
        };
        tokio::join!(part, others);
    }
}

fn clusters(services: &[Service]) -> Vec<ClusterName> {
    services.iter().flat_map(|service| service.clusters.clone()).collect()
}

/// What a server is asked for: a preset's queries, and the user's own.
fn recipes(config: &PrometheusConfig, services: &[Service]) -> anyhow::Result<Vec<Recipe>> {
    let clusters = clusters(services);
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
