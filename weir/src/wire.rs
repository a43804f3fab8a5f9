//! Builds the parts and joins them: the order in which they are called, and nothing else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use weir_collectors::kubernetes::reach;
use weir_collectors::status::Status;
use weir_collectors::{INTAKE_CAPACITY, Intake, access_log, load_reports};
use weir_dashboard::board::Board;
use weir_dashboard::web::{self, Hosts, Web};
use weir_engine::state::State;
use weir_models::reference::Memory;
use weir_policies::in_force::InForce;
use weir_proxy_adapter::native::{ClusterSettings, Native};
use weir_proxy_adapter::server::{self, Connections, Server};

use crate::clock::Clock;
use crate::config::{Config, Service, SourceConfig, known};
use crate::control::{self, Said};
use crate::goals::objects::Objects;
use crate::goals::{Goals, Known};
use crate::kubernetes::leading::Standing;
use crate::patterns::{self, Fitter};
use crate::replicas::leader::Leader;
use crate::steps::{Inputs, Outputs, Setup, Steps};
use crate::store;
use crate::store::journal::{Bounds, Journal, Origin};
use crate::store::last_good::LastGood;
use crate::views::Feeds;

pub mod beside;
mod sources;

use beside::Outlets;

/// The cluster through which proxies reach Weir, as the generated bootstrap names it.
pub const OWN_CLUSTER: &str = weir_proxy_adapter::bootstrap::parts::XDS_CLUSTER;

/// Connections of proxies at once: a few per proxy.
const CONNECTIONS_MAX: usize = 4_096;

/// Words of people that wait for the next step.
const WORDS_MAX: usize = 64;

/// How often the page is told how sources and proxies stand.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// A running Weir.
#[derive(Debug)]
pub struct Running {
    /// Where proxies connect.
    pub xds: SocketAddr,
    /// Where the API and the pages are.
    pub api: SocketAddr,
    /// Where the metrics are.
    pub metrics: SocketAddr,
    /// Where proxies of another control plane connect.
    pub relay: Option<SocketAddr>,
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    steps: CancellationToken,
    rest: CancellationToken,
    /// Held for as long as anything runs.
    data: Option<File>,
}

impl Running {
    /// Waits until a part ends unasked, which ends the whole.
    pub async fn ended(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok((name, Ok(())))) => anyhow::anyhow!("{name} ended unasked"),
            Some(Ok((name, Err(error)))) => error.context(format!("{name} failed")),
            Some(Err(panic)) => anyhow::Error::new(panic).context("a part panicked"),
            None => anyhow::anyhow!("nothing is running"),
        }
    }

    /// Ends in order: the loop finishes its step and closes the journal, then streams go.
    pub async fn stop(mut self) {
        self.steps.cancel();
        while let Some(Ok((name, _))) = self.tasks.join_next().await {
            if name == LOOP {
                break;
            }
        }
        self.rest.cancel();
        while self.tasks.join_next().await.is_some() {}
        drop(self.data);
    }
}

/// The name of the loop's task.
const LOOP: &str = "the loop";

/// Binds a socket, or says which setting to change.
async fn bind(address: SocketAddr, setting: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|cause| {
        let hints = [
            (io::ErrorKind::AddrInUse, "stop what uses it, or "),
            (io::ErrorKind::AddrNotAvailable, "this machine has no such address: "),
            (io::ErrorKind::PermissionDenied, "ports below 1024 need more rights: "),
        ];
        let first = hints.iter().find(|(kind, _)| *kind == cause.kind()).map_or("", |hint| hint.1);
        anyhow::anyhow!(
            "cannot listen on {address}: {cause}; {first}set {setting} or {flag} to another address"
        )
    })
}

/// The sockets that Weir listens on.
#[derive(Debug)]
pub struct Listeners {
    /// Proxies: xDS, load reports, access log.
    pub xds: TcpListener,
    /// API and pages.
    pub api: TcpListener,
    /// Metrics.
    pub metrics: TcpListener,
    /// Proxies and a gateway of another control plane.
    pub beside: beside::Listeners,
}

impl Listeners {
    /// Binds what is configured.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            beside: beside::Listeners::bind(config).await?,
            xds: bind(config.xds, "listen.xds", "--listen-xds").await?,
            api: bind(config.api, "listen.api", "--listen-api").await?,
            metrics: bind(config.metrics, "listen.metrics", "--listen-metrics").await?,
        })
    }
}

/// Starts everything; returns once sockets are bound and the last good state, if any, is served.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let listeners = Listeners::bind(&config).await?;
    let client = match &config.kubernetes {
        Some(cluster) => Some(reach::client(&cluster.reach).await.context("kubernetes")?),
        None => None,
    };
    begin(config, listeners, client)
}

/// As [`start`], on sockets that were bound already: for whoever has to tell others the
/// addresses first. Must be called within a runtime; asks no Kubernetes API server.
pub fn start_on(config: Config, listeners: Listeners) -> anyhow::Result<Running> {
    begin(Config { kubernetes: None, ..config }, listeners, None)
}

fn begin(
    config: Config,
    listeners: Listeners,
    client: Option<kube::Client>,
) -> anyhow::Result<Running> {
    let data = store::take(&config.data_dir)?;
    let last_good = LastGood::open(&config.data_dir.join("state"))?;
    let (state, passed_over) = last_good.load::<State<Memory>>();
    for file in &passed_over {
        tracing::error!(path = %file.path.display(), why = file.why, "a saved state is passed over");
    }
    let bounds = Bounds::of_total(config.journal_max);
    let (journal, found) = Journal::open(&config.data_dir.join("journal"), bounds, Origin::here())?;
    if let Some(cut) = &found.cut {
        tracing::warn!(cut, "the journal's tail was damaged");
    }
    let last = found.last.into_iter().chain(state.as_ref().map(|state| state.at)).max();
    let clock = Clock::start(last);
    let state = state.unwrap_or_default();
    let running = Assembly::new(config, clock, client, data.is_some()).start(
        state,
        (journal, last_good),
        listeners,
    )?;
    Ok(Running { data, ..running })
}

/// The parts while they are put together.
struct Assembly {
    config: Config,
    clock: Clock,
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    steps: CancellationToken,
    rest: CancellationToken,
    board: Arc<Board>,
    statuses: Vec<watch::Receiver<Status>>,
    client: Option<kube::Client>,
    /// Whether nobody else can be using the data folder.
    alone: bool,
    /// How it stands with the lease, where there are other replicas.
    standing: Option<watch::Receiver<Standing>>,
}

impl Assembly {
    fn new(config: Config, clock: Clock, client: Option<kube::Client>, alone: bool) -> Self {
        Self {
            board: Arc::new(Board::new(clock.now())),
            config,
            clock,
            tasks: JoinSet::new(),
            steps: CancellationToken::new(),
            rest: CancellationToken::new(),
            statuses: Vec::new(),
            client,
            alone,
            standing: None,
        }
    }

    fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, part.await) });
    }

    /// Spawns a part that runs until the rest of Weir ends, and does not fail.
    fn attend<R>(&mut self, name: &'static str, part: impl FnOnce(CancellationToken) -> R)
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let running = part(self.rest.clone());
        self.spawn(name, async move {
            running.await;
            Ok(())
        });
    }

    fn start(
        mut self,
        state: State<Memory>,
        (journal, last_good): (Journal, LastGood),
        Listeners { xds, api, metrics, beside }: Listeners,
    ) -> anyhow::Result<Running> {
        let addresses = (xds.local_addr()?, api.local_addr()?, metrics.local_addr()?);
        let (discovered, wanted) = self.discover(&state);
        let there = discovered.cluster.as_ref().map(|found| found.services.clone());
        let known = Known { configured: known(&self.config.services), cluster: there };
        let (objects, objects_known) = self.watch_policies().unzip();
        let policies = self.follow_policies(known, objects);
        let (intake, reports) = Intake::new(INTAKE_CAPACITY);
        let (server, publisher) = Server::new(server::Config::new(1), self.clock.shared());
        let (clusters, wanted_clusters) = watch::channel(Arc::new(Vec::new()));
        let (replicas, leader) = self.stand(addresses.0, addresses.1).unzip();
        let reports_to = (&intake, wanted_clusters);
        let log = self.serve_proxies((server, leader), reports_to, xds);
        let governed = self.govern(&state, (policies.clone(), &discovered, wanted));
        let standing = replicas.as_ref().map(|replicas| replicas.standing.clone());
        let at_work = self.watch_others(&policies);
        let cluster = self.tell_cluster(&policies, objects_known, standing);
        let (serving, serves) = watch::channel(false);
        let (asked, indicated) = mpsc::channel(INTAKE_CAPACITY);
        let objectives = self.collect(&intake, &asked, &governed)?;
        self.serve_pages(api, metrics);
        let (seen, fitted) = self.fit();
        let (beside, Outlets { relay, opinions }) = self.beside(beside);
        let statuses = std::mem::take(&mut self.statuses);
        self.show(Feeds {
            statuses,
            proxies: publisher.proxies.clone(),
            standing: publisher.standing.clone(),
            policies: policies.clone(),
            discovered: discovered.clone(),
            serves,
            lease: replicas.as_ref().map(|replicas| replicas.standing.clone()),
        });
        let setup = Setup {
            native: native(&self.config.services),
            log_budget: log_budget(&self.config),
            clock: self.clock.clone(),
        };
        let said = self.listen_to_people();
        let inputs = Inputs {
            reports,
            log,
            indicated,
            fitted,
            said,
            policies,
            at_work,
            governed,
            replicas,
            discovered,
        };
        let outputs = Outputs {
            journal: Some(journal),
            last_good: Some(last_good),
            board: Arc::clone(&self.board),
            publisher,
            seen,
            serving,
            clusters,
            cluster,
            objectives,
            relay,
            opinions,
        };
        self.drive(Steps::new(setup, inputs, outputs, state));
        let relayed = self.serve_beside(beside)?;
        let Self { tasks, steps, rest, .. } = self;
        let (xds, api, metrics) = addresses;
        let relay = relayed.map(tracing::field::display);
        tracing::info!(%xds, %api, %metrics, relay, "weir is running");
        Ok(Running { xds, api, metrics, relay: relayed, tasks, steps, rest, data: None })
    }

    /// Keeps policies in force.
    fn follow_policies(
        &mut self,
        known: Known,
        objects: Option<Objects>,
    ) -> watch::Receiver<InForce> {
        let (goals, policies) = Goals::open(self.config.policies.clone(), known, objects);
        let stop = self.rest.clone();
        self.spawn("the policies' watch", async move {
            goals.run(stop).await;
            Ok(())
        });
        policies
    }

    /// Fits patterns apart from the loop.
    fn fit(&mut self) -> patterns::Ends {
        let (fitter, ends) = Fitter::new();
        let stop = self.rest.clone();
        self.spawn("the fitting of patterns", async move {
            fitter.run(stop).await;
            Ok(())
        });
        ends
    }

    /// Mounts xDS, load reports and the access log on one port, since Envoy reaches all of them
    /// through one cluster; and what followers ask for, who are believed as proxies are.
    fn serve_proxies(
        &mut self,
        (server, leader): (Server, Option<Leader>),
        (intake, clusters): (&Intake, watch::Receiver<Arc<Vec<String>>>),
        listener: TcpListener,
    ) -> access_log::Handle {
        let interval = self.config.sources.iter().find_map(|source| match source {
            SourceConfig::Push { interval, .. } => Some(*interval),
            SourceConfig::Scrape(_) | SourceConfig::Prometheus(_) => None,
        });
        let asked = load_reports::Config {
            interval: interval.unwrap_or(Duration::from_secs(1)),
            clusters,
            own_cluster: OWN_CLUSTER.to_owned(),
            stop: self.rest.clone(),
        };
        let (reports, reports_status) =
            load_reports::Service::new(asked, intake.clone(), self.clock.shared());
        let logged = access_log::Config { stop: self.rest.clone() };
        let (log, handle, log_status) = access_log::Service::new(logged, self.clock.shared());
        self.statuses.extend([reports_status, log_status]);
        let mut routes = server.routes();
        routes = routes.add_service(reports.server()).add_service(log.server());
        if let Some(leader) = leader {
            routes = routes.add_service(leader);
        }
        let mut tonic = server::configure(tonic::transport::Server::builder());
        let router = tonic.add_routes(routes);
        let connections = Connections::new(listener, CONNECTIONS_MAX);
        let stop = self.rest.clone();
        self.spawn("the server of proxies", async move {
            let ended = stop.cancelled_owned();
            router.serve_with_incoming_shutdown(connections, ended).await.context("serving proxies")
        });
        let stop = self.rest.clone();
        self.spawn("the xDS server", async move {
            server.run(stop).await;
            Ok(())
        });
        handle
    }

    fn serve_pages(&mut self, api: TcpListener, metrics: TcpListener) {
        let web = self.web(Hosts::Also(self.config.hosts.clone()));
        let stop = self.rest.clone();
        self.spawn("the API", async move {
            let ended = stop.cancelled_owned();
            Ok(web::serve::serve(api, web::router(web), ended).await?)
        });
        let board = Arc::clone(&self.board);
        let stop = self.rest.clone();
        self.spawn("the metrics", async move {
            let ended = stop.cancelled_owned();
            Ok(web::serve::serve(metrics, web::metrics_router(board), ended).await?)
        });
    }

    /// Opens the socket on which offers are approved. Without it Weir still runs: it acts as far as
    /// policies say.
    fn listen_to_people(&mut self) -> mpsc::Receiver<Said> {
        let (saying, said) = mpsc::channel(WORDS_MAX);
        match control::bind(&self.config.data_dir) {
            Ok(listener) => {
                let web = self.web(Hosts::Loopback);
                let (clock, stop) = (self.clock.clone(), self.rest.clone());
                self.spawn("the socket for approvals", async move {
                    let ended = stop.cancelled_owned();
                    let api = web::router(web);
                    Ok(control::serve(listener, (saying, clock), api, ended).await?)
                });
            }
            Err(error) => {
                let path = self.config.data_dir.join(control::SOCKET);
                tracing::warn!(path = %path.display(), %error, "nothing can be approved: no socket");
            }
        }
        said
    }

    fn web(&self, hosts: Hosts) -> Web {
        let standing = self.standing.clone();
        let leader = move || {
            let standing = standing.as_ref()?.borrow();
            standing.leader.as_ref()?.pages_at.parse().ok()
        };
        Web {
            board: Arc::clone(&self.board),
            clock: self.clock.shared(),
            judge: weir_models::canary::compare,
            hosts,
            leader: Arc::new(leader),
        }
    }

    fn show(&mut self, feeds: Feeds) {
        let (board, clock, stop) = (Arc::clone(&self.board), self.clock.clone(), self.rest.clone());
        self.spawn("the page's feeds", async move {
            let mut ticks = tokio::time::interval(SHOW_EVERY);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                feeds.show(&board, clock.now());
            }
            Ok(())
        });
    }

    /// The loop: one step per tick, never two to catch up.
    fn drive(&mut self, mut steps: Steps) {
        let (tick, stop) = (self.config.tick, self.steps.clone());
        let board = Arc::clone(&self.board);
        steps.begin();
        self.spawn(LOOP, async move {
            let mut ticks = tokio::time::interval(tick);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    _ = ticks.tick() => {
                        let began = Instant::now();
                        tokio::task::block_in_place(|| steps.step());
                        board.metrics().step_took(began.elapsed());
                    }
                    () = steps.leader_spoke() => tokio::task::block_in_place(|| steps.adopt()),
                }
            }
            tokio::task::block_in_place(|| steps.close());
            Ok(())
        });
    }
}

/// The clusters that Weir writes.
fn native(services: &[Service]) -> Native {
    let written = services.iter().filter(|service| service.writes_clusters);
    let clusters = written.flat_map(|service| {
        let settings = ClusterSettings {
            client: service.form.client,
            per_endpoint_stats: service.per_endpoint_stats,
            ..ClusterSettings::default()
        };
        service.clusters.iter().map(move |name| (name.clone(), settings.clone()))
    });
    Native { clusters: clusters.collect::<BTreeMap<_, _>>() }
}

fn log_budget(config: &Config) -> u32 {
    let budget = config.sources.iter().find_map(|source| match source {
        SourceConfig::Push { entries_per_second, .. } => Some(*entries_per_second),
        SourceConfig::Scrape(_) | SourceConfig::Prometheus(_) => None,
    });
    budget.unwrap_or(2_000)
}
