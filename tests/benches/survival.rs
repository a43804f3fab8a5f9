//! What requests notice when Weir is killed, and when it starts with nothing.
//!
//! `cargo bench -p weir-tests --bench survival [-- --kills 20]`
//!
//! *killed*: the real binary gets SIGKILL at random moments under load and is started again a
//! moment later. Counted: failed requests; the time from the start until a proxy that nobody knew
//! has its endpoints (the last good state), and until Envoy's stream is up again. Beside it an
//! Envoy with the back-off that it has by default.
//!
//! *empty*: it is killed, its data is deleted, and the list of endpoints appears 3 s after the
//! start. Counted: failed requests, and responses without an endpoint, by a client
//! that asks all the time. The rival is a server that says what it knows as soon as it is asked.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress, address};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use envoy_types::pb::google::protobuf::UInt32Value;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use weir_engine::names::ClusterName;
use weir_proxy_adapter::bootstrap::{HostPort, Protocol, parts};
use weir_proxy_adapter::native::{self, ClusterSettings};
use weir_testbed::draws::Draw;
use weir_testbed::envoy::{Admin, Envoy, Options, eventually};
use weir_testbed::load::Tally;
use weir_testbed::ports::Reserved;
use weir_tests::proxy::{Proxy, ports};
use weir_tests::traffic::Traffic;
use weir_tests::world::{CLUSTER, Plan, RATE, World};

#[path = "shared/figures.rs"]
mod figures;
#[path = "shared/naive.rs"]
mod naive;
use figures::{Times, option};
use naive::Naive;

/// How late the list of endpoints is.
const LATE: Duration = Duration::from_secs(3);
/// How long anything may take before it counts as never.
const WITHIN: Duration = Duration::from_secs(60);
const TRY_EVERY: Duration = Duration::from_millis(5);
/// Times that the rival starts with nothing; it needs no more to show what happens.
const RIVAL_STARTS: usize = 3;
const CONNECTED: &str = "control_plane.connected_state";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kills = option("--kills", 20);
        killed(kills).await;
        empty(kills).await;
        rival().await;
    });
}

/// What became of all requests.
#[derive(Default)]
struct Lost {
    requests: u64,
    failed: u64,
}

impl Lost {
    fn add(&mut self, tally: &Tally) {
        self.requests += tally.requests;
        self.failed += tally.errors();
    }
}

async fn killed(kills: usize) {
    let mut world = World::start(Plan::USUAL).await.expect("an Envoy is needed");
    let first = world.load();
    world.judging().await;
    first.stop().await;
    let (patient, _folder) = patient(&world).await;
    let (mut serving, mut back) = (Times::default(), Times::default());
    let (mut patiently, mut lost) = (Times::default(), Lost::default());
    for kill in 0..kills {
        let traffic = world.load();
        // At a random moment of Weir's second, and of Envoy's back-off.
        let chance = |stream: u64, below: usize| {
            Duration::from_millis(Draw::first(stream, kill as u64).listener(below) as u64)
        };
        sleep(Duration::from_secs(1) + chance(1, 1_000)).await;
        world.kill().await;
        gone(&world.envoy.admin).await;
        sleep(chance(2, 2_000)).await;
        let started = Instant::now();
        let xds = world.weir.xds;
        let (served, returned, late, weir) = tokio::join!(
            first_endpoints(xds, started),
            connected(&world.envoy.admin, started),
            connected(&patient.admin, started),
            restarted(&world),
        );
        world.weir = weir;
        serving.add(served);
        back.add(returned);
        patiently.add(late);
        traffic.more(200).await;
        lost.add(&traffic.stop().await);
    }
    println!("killed with SIGKILL under load, {kills} times:");
    println!("  {} of {} requests failed", lost.failed, lost.requests);
    print("until a new proxy has the last good endpoints", &serving);
    print("until Envoy is back", &back);
    print("until an Envoy with its default back-off is back", &patiently);
}

fn print(what: &str, times: &Times) {
    let [median, most] = [times.ms(0.5), times.ms(1.0)];
    println!("  {what}: {median:.0} ms (median), {most:.0} ms (at most)");
}

async fn restarted(world: &World) -> weir_tests::weir::Weir {
    weir_tests::weir::Weir::start(world.folder(), world.weir.xds).await
}

/// Another Envoy with the same clusters, as impatient as Envoy is by default.
async fn patient(world: &World) -> (Envoy, TempDir) {
    let text = std::fs::read_to_string(world.folder().join("envoy.json")).unwrap();
    let mut bootstrap: Value = serde_json::from_str(&text).unwrap();
    forget(&mut bootstrap, "retry_policy");
    bootstrap["node"]["id"] = json!("proxy-patient");
    start_envoy(bootstrap).await
}

async fn start_envoy(bootstrap: Value) -> (Envoy, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let binary = weir_testbed::envoy::find().unwrap();
    let options = Options { directory: folder.path(), concurrency: 1 };
    let mut envoy = Envoy::start(&binary, bootstrap, options).await.unwrap();
    envoy.serving(WITHIN).await.unwrap();
    (envoy, folder)
}

fn forget(value: &mut Value, field: &str) {
    match value {
        Value::Object(fields) => {
            fields.remove(field);
            fields.values_mut().for_each(|inner| forget(inner, field));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| forget(item, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Waits until Envoy knows that its stream is gone.
async fn gone(admin: &Admin) {
    let noticed = eventually(WITHIN, async || {
        admin.stat(CONNECTED).await.is_ok_and(|connected| connected == 0)
    });
    assert!(noticed.await, "Envoy does not notice that Weir is gone");
}

/// How long after `since` Envoy's stream is up.
async fn connected(admin: &Admin, since: Instant) -> Duration {
    while !admin.stat(CONNECTED).await.is_ok_and(|connected| connected == 1) {
        assert!(since.elapsed() < WITHIN, "Envoy does not come back");
        sleep(TRY_EVERY).await;
    }
    since.elapsed()
}

/// How long after `since` a proxy that nobody knew has endpoints.
async fn first_endpoints(xds: SocketAddr, since: Instant) -> Duration {
    loop {
        if let Ok(mut stranger) = Proxy::subscribe(xds, "stranger").await
            && let Ok(first) = stranger.next().await
        {
            assert!(!ports(&first).is_empty(), "an empty response");
            return since.elapsed();
        }
        assert!(since.elapsed() < WITHIN, "Weir does not serve");
        sleep(TRY_EVERY).await;
    }
}

/// What a client that asks all the time was told.
#[derive(Default)]
struct Told {
    responses: u64,
    empty: u64,
}

impl Told {
    fn add(&mut self, other: &Self) {
        self.responses += other.responses;
        self.empty += other.empty;
    }

    /// Asks again and again, and counts, until told to stop.
    async fn watch(xds: SocketAddr, stop: CancellationToken) -> Self {
        let mut told = Self::default();
        let asking = async {
            loop {
                if let Ok(mut stranger) = Proxy::subscribe(xds, "watcher").await
                    && let Ok(response) = stranger.next().await
                {
                    told.responses += 1;
                    told.empty += u64::from(is_empty(&response));
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        stop.run_until_cancelled_owned(asking).await;
        told
    }
}

fn is_empty(response: &DiscoveryResponse) -> bool {
    response.resources.is_empty() || ports(response).is_empty()
}

async fn empty(starts: usize) {
    let mut world = World::start(Plan::USUAL).await.expect("an Envoy is needed");
    let (mut lost, mut told, mut served) = (Lost::default(), Told::default(), Times::default());
    for _ in 0..starts {
        let traffic = world.load();
        traffic.more(100).await;
        world.kill().await;
        std::fs::remove_dir_all(world.data()).unwrap();
        std::fs::remove_file(world.endpoints()).unwrap();
        gone(&world.envoy.admin).await;
        let started = Instant::now();
        let mut watching = JoinSet::new();
        let stop = CancellationToken::new();
        watching.spawn(Told::watch(world.weir.xds, stop.clone()));
        world.restart().await;
        sleep(LATE.saturating_sub(started.elapsed())).await;
        world.list(&world.addresses());
        let listed = Instant::now();
        served.add(connected(&world.envoy.admin, listed).await);
        traffic.more(200).await;
        stop.cancel();
        told.add(&watching.join_next().await.unwrap().unwrap());
        lost.add(&traffic.stop().await);
    }
    println!("started with nothing, the endpoints {} s late, {starts} times:", LATE.as_secs());
    println!("  {} of {} requests failed", lost.failed, lost.requests);
    println!("  {} of {} responses without an endpoint", told.empty, told.responses);
    println!(
        "  Envoy: {} updates without an endpoint, {} clusters removed, {} members",
        world.stat("update_empty").await,
        world.envoy.admin.stat("cluster_manager.cluster_removed").await.unwrap(),
        world.stat("membership_total").await,
    );
    print("until Envoy is back, once there is a list", &served);
}

/// The same with a server that knows no better.
async fn rival() {
    let world = World::start(Plan::USUAL).await.expect("an Envoy is needed");
    let port = Reserved::any().unwrap();
    let addresses = world.addresses();
    let known = || naive::World {
        clusters: vec![cluster()],
        endpoints: vec![endpoints(&addresses)],
        versions: [2, 2],
    };
    let mut server = Naive::start(port.listen().unwrap(), known());
    let (envoy, _folder) = start_envoy(plain_bootstrap(port.address())).await;
    let listener = envoy.admin.listeners().await.unwrap()["in"];
    let mut lost = Lost::default();
    for _ in 0..RIVAL_STARTS {
        let traffic = Traffic::start(listener, RATE);
        traffic.more(100).await;
        drop(server);
        gone(&envoy.admin).await;
        server = Naive::start(
            port.listen().unwrap(),
            naive::World { versions: [1, 1], ..Default::default() },
        );
        connected(&envoy.admin, Instant::now()).await;
        sleep(LATE).await;
        server.publish(|world| *world = known());
        traffic.more(200).await;
        lost.add(&traffic.stop().await);
    }
    println!("the same with a server that says at once what it knows, {RIVAL_STARTS} times:");
    println!(
        "  {} of {} requests failed; {} clusters removed",
        lost.failed,
        lost.requests,
        envoy.admin.stat("cluster_manager.cluster_removed").await.unwrap(),
    );
}

fn plain_bootstrap(xds: SocketAddr) -> Value {
    let at = HostPort { host: xds.ip().to_string(), port: xds.port() };
    let any_port = HostPort { host: "127.0.0.1".to_owned(), port: 0 };
    json!({
        "node": { "id": "proxy-1", "cluster": "bench" },
        "static_resources": {
            "clusters": [parts::xds_cluster(&[at])],
            "listeners": [parts::listener("in", &any_port, &CLUSTER.into(), &[])],
        },
        "dynamic_resources": {
            "ads_config": parts::ads_config(Protocol::StateOfTheWorld, 0),
            "cds_config": parts::over_ads(),
        },
    })
}

fn cluster() -> Cluster {
    native::cluster(&ClusterName::from(CLUSTER), &ClusterSettings::default())
}

fn endpoints(addresses: &[SocketAddr]) -> ClusterLoadAssignment {
    let endpoint = |address: &SocketAddr| {
        let socket = SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
            ..SocketAddress::default()
        };
        let address = Address { address: Some(address::Address::SocketAddress(socket)) };
        let endpoint = Endpoint { address: Some(address), ..Endpoint::default() };
        LbEndpoint {
            host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
            ..LbEndpoint::default()
        }
    };
    ClusterLoadAssignment {
        cluster_name: CLUSTER.to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: addresses.iter().map(endpoint).collect(),
            load_balancing_weight: Some(UInt32Value { value: 1 }),
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    }
}
