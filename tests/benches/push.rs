//! From a decision to its being in force at one real Envoy, and what requests notice of it.
//!
//! `cargo bench -p weir-tests --bench push [-- --pushes 40 --requests 100000 --rate 1500]`
//!
//! First: the time from a decision (one weight of a class changed) to the receipt that Envoy took
//! it, in both dialects of xDS, for 2, 1,000 and 10,000 endpoints. Translation, validation,
//! encoding and hashing are in it. The rival gets the same change in the same instant, on an Envoy
//! of its own: a server which builds and encodes its response for every stream and every push.
//!
//! Then: that many requests under a push a second which changes a locality's weight, as the demo's
//! decisions do, and how many of them failed or lost their connection. The rival moves an endpoint
//! to another locality with each push, as a controller does that has no lasting classes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use prost::Message;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use weir_engine::decision::{
    Decision, Form, Group, Health, Member, Realisation, ServiceDecision, Stance,
};
use weir_engine::goal::Mode;
use weir_engine::names::{Address, Locality, ServiceId};
use weir_engine::observation::{Outcome, Source};
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology, Topology};
use weir_engine::units::{Moment, PerSecond, Ratio};
use weir_proxy_adapter::bootstrap::{HostPort, Protocol, parts};
use weir_proxy_adapter::native::{ClusterSettings, Native};
use weir_proxy_adapter::resource::{Snapshot, TypeUrl};
use weir_proxy_adapter::server::{Config, Connections, Publisher, Server, Urgency, configure};
use weir_proxy_adapter::translate::translate;
use weir_testbed::backends::{Backend, Service};
use weir_testbed::envoy::{Envoy, Options};
use weir_testbed::load::{Live, Load, Segment, Tally};

#[path = "shared/figures.rs"]
mod figures;
#[path = "shared/naive.rs"]
mod naive;
use figures::{Times, option};
use naive::{Naive, World};

const CLUSTER: &str = "shop";
/// Two pushes a second are what a proxy is sent of one type, so that is how often one is timed.
const APART: Duration = Duration::from_millis(600);
const WITHIN: Duration = Duration::from_secs(60);
const BACKENDS: usize = 10;
/// Workers enough that no request waits for one.
const FAST: Service = Service { workers: 256, mean: Duration::from_millis(2), sigma: 0.3 };
/// When a request has failed for being late; long, since a busy machine is no failure of Weir's.
const TIMEOUT: Duration = Duration::from_secs(10);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pushes = option("--pushes", 40);
        println!("from a decision to the receipt of one Envoy, ms; {pushes} pushes each");
        println!("{:>28}{:>26}{:>26}{:>10}", "", "Weir p50, p99", "naive server p50, p99", "ratio");
        for protocol in [Protocol::StateOfTheWorld, Protocol::Delta] {
            for endpoints in [2, 1_000, 10_000] {
                time(protocol, endpoints, pushes).await;
            }
        }
        println!();
        for protocol in [Protocol::StateOfTheWorld, Protocol::Delta] {
            bear(protocol, option("--requests", 100_000), option("--rate", 1_500)).await;
        }
    });
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::StateOfTheWorld => "state of the world",
        Protocol::Delta => "incremental",
    }
}

/// A service of these endpoints and what is decided for it.
struct Plan {
    topology: Topology,
    native: Native,
    sequence: u64,
}

impl Plan {
    fn of(addresses: Vec<Address>) -> Self {
        let endpoints = addresses.into_iter().map(|address| Endpoint {
            address,
            locality: Locality::default(),
            concurrency: None,
            ready: true,
        });
        let mut endpoints: Vec<Endpoint> = endpoints.collect();
        endpoints.sort_by(|a, b| a.address.cmp(&b.address));
        let form = ClusterForm::native();
        let service = ServiceTopology {
            service: ServiceId::new("bench", "shop"),
            endpoints,
            clusters: vec![ClientCluster { name: CLUSTER.into(), form }],
            counts: Source::LoadReport,
        };
        // The loss of connections is to be seen as it is, not as Envoy's own ejections.
        let settings = ClusterSettings { outlier_detection: false, ..ClusterSettings::default() };
        Self {
            topology: Topology { services: vec![service] },
            native: Native { clusters: [(CLUSTER.into(), settings)].into() },
            sequence: 0,
        }
    }

    /// The next decision: the endpoints from `low` on are in the low class, with this weight.
    fn decide(&mut self, low: std::ops::Range<usize>, weight: u32) -> Decision {
        self.sequence += 1;
        let endpoints = &self.topology.services[0].endpoints;
        let group = |sub_zone: &str, weight: u32, of: &dyn Fn(usize) -> bool| {
            let members = endpoints.iter().enumerate().filter(|(index, _)| of(*index));
            let member = |(_, endpoint): (usize, &Endpoint)| Member {
                address: endpoint.address.clone(),
                weight: NonZeroU32::MIN,
                health: Health::Healthy,
            };
            Group {
                locality: Locality { sub_zone: sub_zone.into(), ..Locality::default() },
                weight: NonZeroU32::new(weight).unwrap(),
                members: members.map(member).collect(),
            }
        };
        let rest = 1_000 * u32::try_from(endpoints.len() - low.len()).unwrap();
        let groups = vec![
            group("", rest, &|index| !low.contains(&index)),
            group("weir-low", weight, &|index| low.contains(&index)),
        ];
        let realisation = Realisation {
            shed: weir_engine::units::Ratio::ZERO,
            zones: vec![],
            clusters: vec![CLUSTER.into()],
            form: Form::Classes,
            groups,
            predicted: vec![],
            panicking: false,
        };
        let service = ServiceDecision {
            offer: None,
            approval: None,
            warnings: Vec::new(),
            shed: weir_engine::units::Ratio::ZERO,
            zones: vec![],
            service: self.topology.services[0].service.clone(),
            policy: "bench/shop".into(),
            mode: Mode::Enforce,
            stance: Stance::Steering,
            load: PerSecond::clamped(0.0),
            capacity: None,
            endpoints: vec![],
            realisations: vec![Arc::new(realisation)],
            objectives: vec![],
            moved: Ratio::ZERO,
        };
        Decision {
            sequence: self.sequence,
            at: Moment::from_millis(1_700_000_000_000),
            services: vec![Arc::new(service)],
            ..Decision::default()
        }
    }

    fn snapshot(&self, decision: &Decision) -> Arc<Snapshot> {
        let translation = translate(decision, &self.topology, &self.native);
        assert!(translation.withheld.is_empty(), "{:?}", translation.withheld);
        Arc::new(translation.snapshot)
    }

    /// The same as messages, for the rival.
    fn messages(&self, decision: &Decision) -> (Cluster, ClusterLoadAssignment) {
        let snapshot = self.snapshot(decision);
        let body = |kind| snapshot.types[&kind][CLUSTER].body.clone();
        (
            Cluster::decode(body(TypeUrl::Cluster)).unwrap(),
            ClusterLoadAssignment::decode(body(TypeUrl::Endpoints)).unwrap(),
        )
    }
}

/// Weir's server with its Envoy.
struct Ours {
    publisher: Publisher,
    envoy: Envoy,
    _tasks: JoinSet<()>,
    _folder: TempDir,
}

impl Ours {
    async fn start(protocol: Protocol, first: Arc<Snapshot>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (begun, zero) = (Instant::now(), Moment::from_millis(1_700_000_000_000));
        let now = Arc::new(move || zero.plus(begun.elapsed()));
        let (server, publisher) = Server::new(Config::new(1), now);
        let router = configure(tonic::transport::Server::builder()).add_routes(server.routes());
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(CancellationToken::new()));
        tasks.spawn(async move {
            router.serve_with_incoming(Connections::new(listener, 16)).await.unwrap();
        });
        publisher.publish(first, Urgency::Now);
        publisher.open();
        let (envoy, folder) = envoy(protocol, address).await;
        Self { publisher, envoy, _tasks: tasks, _folder: folder }
    }

    async fn taken(&mut self, decision: u64) {
        let receipts = &mut self.publisher.receipts;
        let taken = async {
            loop {
                let receipt = receipts.recv().await.unwrap();
                if receipt.decision == decision {
                    assert_eq!(receipt.outcome, Outcome::Taken);
                    return;
                }
            }
        };
        timeout(WITHIN, taken).await.unwrap();
    }
}

/// The rival with its Envoy.
struct Theirs {
    naive: Naive,
    envoy: Envoy,
    _folder: TempDir,
}

impl Theirs {
    async fn start(protocol: Protocol, plan: &Plan, first: &Decision) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cluster, endpoints) = plan.messages(first);
        let versions = [1, first.sequence];
        let world = World { clusters: vec![cluster], endpoints: vec![endpoints], versions };
        let naive = Naive::start(listener, world);
        let (envoy, folder) = envoy(protocol, address).await;
        Self { naive, envoy, _folder: folder }
    }

    async fn taken(&mut self, version: u64) {
        let acks = &mut self.naive.acks;
        let taken = async { while acks.recv().await.unwrap() != version {} };
        timeout(WITHIN, taken).await.unwrap();
    }
}

fn binary() -> PathBuf {
    weir_testbed::envoy::find().unwrap()
}

async fn envoy(protocol: Protocol, xds: SocketAddr) -> (Envoy, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let at = HostPort { host: xds.ip().to_string(), port: xds.port() };
    let any_port = HostPort { host: "127.0.0.1".to_owned(), port: 0 };
    let bootstrap = json!({
        "node": { "id": "proxy-1", "cluster": "bench" },
        "static_resources": {
            "clusters": [parts::xds_cluster(&[at])],
            "listeners": [parts::listener("in", &any_port, &CLUSTER.into(), &[])],
        },
        "dynamic_resources": {
            "ads_config": parts::ads_config(protocol, 0),
            "cds_config": parts::over_ads(),
        },
    });
    let options = Options { directory: folder.path(), concurrency: 1 };
    let mut envoy = Envoy::start(&binary(), bootstrap, options).await.unwrap();
    envoy.serving(WITHIN).await.unwrap();
    (envoy, folder)
}

fn invented(count: usize) -> Vec<Address> {
    let address = |number: usize| {
        format!("10.{}.{}.{}:8080", number / 65_536, number / 256 % 256, number % 256).into()
    };
    (0..count).map(address).collect()
}

/// Times pushes to both, in turns.
async fn time(protocol: Protocol, endpoints: usize, pushes: usize) {
    let mut plan = Plan::of(invented(endpoints));
    let first = plan.decide(0..1, 100);
    let mut ours = Ours::start(protocol, plan.snapshot(&first)).await;
    let mut theirs = Theirs::start(protocol, &plan, &first).await;
    ours.taken(1).await;
    let (mut by_us, mut by_them) = (Times::default(), Times::default());
    let mut translating = Times::default();
    for push in 0..pushes {
        sleep(APART).await;
        let decision = plan.decide(0..1, 101 + u32::try_from(push).unwrap());
        let started = Instant::now();
        let snapshot = plan.snapshot(&decision);
        translating.add(started.elapsed());
        ours.publisher.publish(snapshot, Urgency::Now);
        ours.taken(decision.sequence).await;
        by_us.add(started.elapsed());

        let (_, messages) = plan.messages(&decision);
        let started = Instant::now();
        theirs.naive.publish(|world| {
            world.endpoints = vec![messages];
            world.versions[1] = decision.sequence;
        });
        theirs.taken(decision.sequence).await;
        by_them.add(started.elapsed());
    }
    println!(
        "{:>19}, {endpoints:>6}{:>14.2}, {:>9.2}{:>14.2}, {:>9.2}{:>10.2}   (translation {:.2})",
        word(protocol),
        by_us.ms(0.5),
        by_us.ms(0.99),
        by_them.ms(0.5),
        by_them.ms(0.99),
        by_us.ms(0.5) / by_them.ms(0.5),
        translating.ms(0.5),
    );
}

/// What one side's requests noticed.
struct Borne {
    tally: Tally,
    pushes: u64,
    destroyed: u64,
    connections: u64,
}

/// Load on both sides at once, with a push a second to each.
async fn bear(protocol: Protocol, requests: usize, rate: usize) {
    let fleets = [0, 1].map(|side| {
        let start = |number| Backend::start(&format!("{side}-{number}"), FAST).unwrap();
        (0..BACKENDS).map(start).collect::<Vec<_>>()
    });
    let addresses = |side: usize| fleets[side].iter().map(|b| b.address().to_string().into());
    let (mut plan, mut rivals) =
        (Plan::of(addresses(0).collect()), Plan::of(addresses(1).collect()));
    let first = plan.decide(0..3, 3_000);
    let mut ours = Ours::start(protocol, plan.snapshot(&first)).await;
    let first = rivals.decide(0..3, 3_000);
    let theirs = Theirs::start(protocol, &rivals, &first).await;
    ours.taken(1).await;

    let mut load = Sending::start([&ours.envoy, &theirs.envoy], requests, rate).await;
    sleep(Duration::from_secs(3)).await;
    let before = [destroyed(&ours.envoy).await, destroyed(&theirs.envoy).await];
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pushes = 0_u32;
    let tallies = loop {
        tokio::select! {
            ended = load.ended() => break ended,
            _ = ticks.tick() => {
                pushes += 1;
                let weight = if pushes.is_multiple_of(2) { 3_000 } else { 300 };
                let decision = plan.decide(0..3, weight);
                ours.publisher.publish(plan.snapshot(&decision), Urgency::Now);
                ours.taken(decision.sequence).await;
                let moved = pushes as usize % (BACKENDS - 3);
                let decision = rivals.decide(moved..moved + 3, 3_000);
                let (_, messages) = rivals.messages(&decision);
                theirs.naive.publish(|world| {
                    world.endpoints = vec![messages];
                    world.versions[1] = decision.sequence;
                });
            }
        }
    };
    let envoys = [&ours.envoy, &theirs.envoy];
    for (side, tally) in tallies.into_iter().enumerate() {
        let borne = Borne {
            tally,
            pushes: u64::from(pushes),
            destroyed: destroyed(envoys[side]).await - before[side],
            connections: envoys[side].admin.stat("cluster.shop.upstream_cx_total").await.unwrap(),
        };
        borne.print(protocol, ["weights of lasting classes", "an endpoint moved each time"][side]);
    }
}

async fn destroyed(envoy: &Envoy) -> u64 {
    envoy.admin.stat("cluster.shop.upstream_cx_destroy").await.unwrap()
}

impl Borne {
    fn print(&self, protocol: Protocol, what: &str) {
        let summary = self.tally.summary();
        println!(
            "{:>19}, {what}: {} of {} requests failed under {} pushes; {} of {} connections \
             destroyed; p50 {:.1} ms, p99 {:.1} ms; {} left late",
            word(protocol),
            self.tally.errors(),
            self.tally.requests,
            self.pushes,
            self.destroyed,
            self.connections,
            summary.p50_ms,
            summary.p99_ms,
            self.tally.late,
        );
    }
}

/// Requests under way.
struct Sending(JoinSet<Vec<Vec<Tally>>>);

impl Sending {
    async fn start(to: [&Envoy; 2], requests: usize, rate: usize) -> Self {
        let mut sides = Vec::new();
        for envoy in to {
            sides.push(vec![envoy.admin.listeners().await.unwrap()["in"]]);
        }
        let rate = rate as f64;
        // Arrivals are random: a hundredth more, so that it is no fewer.
        let length = Duration::from_secs_f64(1.01 * requests as f64 / rate);
        let load =
            Load { seed: 5, segments: vec![Segment { length, rate }], sides, timeout: TIMEOUT };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (live, _seen) = watch::channel(Live::default());
            load.run(&live, &CancellationToken::new()).await
        });
        Self(tasks)
    }

    /// Each side's tally, once all has been sent and answered.
    async fn ended(&mut self) -> Vec<Tally> {
        self.0.join_next().await.unwrap().unwrap().remove(0)
    }
}
