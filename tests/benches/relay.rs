//! What the relay adds: to the way of a response, and to memory for each proxy that is connected.
//!
//! `cargo bench -p weir-tests --bench relay [-- --proxies 200 --pushes 500]`
//!
//! One control plane pushes a changed cluster of twenty endpoints to two probes at once: one is connected
//! to it directly, one through the relay, which changes a weight on the way, while so many other proxies
//! stand on the relay. What is added is the difference between both arrivals of one push. Then the same
//! number of idle proxies on the real `weir`, and how much its memory grew by them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Node, SocketAddress, address};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::UInt32Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use weir_proxy_adapter::resource::TypeUrl;
use weir_tests::cluster::before::{Before, opinions, plain};
use weir_tests::weir::Weir;
use weir_tests::world::write;

#[path = "shared/figures.rs"]
mod figures;
#[path = "shared/naive.rs"]
mod naive;
use figures::{Times, option};
use naive::{Naive, World};

const NAME: &str = "shop";
const ENDPOINTS: u8 = 20;
const WITHIN: Duration = Duration::from_secs(60);
const APART: Duration = Duration::from_millis(20);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let proxies = option("--proxies", 200);
        added(proxies, option("--pushes", 500)).await;
        remembered(proxies).await;
    });
}

async fn added(proxies: usize, pushes: usize) {
    let (control, at) = control().await;
    let changed = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 80));
    let relay = Before::start(plain(at), opinions(&[(changed, 2.0)])).await;
    let mut others = Vec::new();
    for number in 0..proxies {
        others.push(Proxy::connect(relay.ads, &format!("idle-{number}"), TypeUrl::Cluster).await);
    }
    let mut direct = Proxy::connect(at, "direct", TypeUrl::Endpoints).await;
    let mut relayed = Proxy::connect(relay.ads, "relayed", TypeUrl::Endpoints).await;
    let mut own = Times::default();
    let mut through = Times::default();
    let mut more = Times::default();
    for number in 1..=pushes {
        sleep(APART).await;
        let began = Instant::now();
        control.publish(|world| {
            world.endpoints = vec![assignment(u32::try_from(number).unwrap())];
            world.versions[1] += 1;
        });
        // Each on a task of its own: one that waits beside the other would see both when the later comes.
        let taking = async |mut proxy: Proxy| {
            let mut task = JoinSet::new();
            task.spawn(async move { (proxy.next().await, proxy) });
            task.join_next().await.unwrap().unwrap()
        };
        let ((first, own_probe), (second, other_probe)) =
            tokio::join!(taking(direct), taking(relayed));
        (direct, relayed) = (own_probe, other_probe);
        own.add(first - began);
        through.add(second - began);
        more.add(second.saturating_duration_since(first));
    }
    println!(
        "a push of {ENDPOINTS} endpoints, one of them reweighted; {proxies} other proxies, {pushes} pushes"
    );
    println!("  directly       p50 {:.2} ms, p99 {:.2} ms", own.ms(0.5), own.ms(0.99));
    println!("  through it     p50 {:.2} ms, p99 {:.2} ms", through.ms(0.5), through.ms(0.99));
    println!("  the relay adds p50 {:.2} ms, p99 {:.2} ms", more.ms(0.5), more.ms(0.99));
    assert!(relay.counts().taken > 0, "the weight was changed");
}

async fn remembered(proxies: usize) {
    let (_control, at) = control().await;
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listen = listener.local_addr().unwrap();
    drop(listener);
    let text = format!(
        "relay: {{listen: '{listen}', upstream: {{address: 'http://{at}'}}}}\ndata_dir: data\n"
    );
    write(folder.path(), "weir.yaml", &text);
    let weir = Weir::start(folder.path(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
    let mut held = vec![Proxy::connect(listen, "first", TypeUrl::Endpoints).await];
    weir.more_steps(2).await;
    let before = resident(weir.child.id());
    for number in 0..proxies {
        held.push(Proxy::connect(listen, &format!("idle-{number}"), TypeUrl::Endpoints).await);
    }
    weir.more_steps(3).await;
    let after = resident(weir.child.id());
    let each = (after - before) / proxies as f64;
    println!(
        "weir: {before:.0} KiB with one proxy, {after:.0} KiB with {proxies} more: {each:.1} KiB each"
    );
    drop(held);
}

async fn control() -> (Naive, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let cluster = Cluster { name: NAME.to_owned(), ..Cluster::default() };
    let world = World { clusters: vec![cluster], endpoints: vec![assignment(0)], versions: [1, 1] };
    (Naive::start(listener, world), at)
}

/// So many endpoints, of which the first has another weight each time.
fn assignment(number: u32) -> ClusterLoadAssignment {
    let endpoint = |last: u8| {
        let socket = SocketAddress {
            address: format!("10.0.0.{last}"),
            port_specifier: Some(PortSpecifier::PortValue(80)),
            ..SocketAddress::default()
        };
        let address = Address { address: Some(address::Address::SocketAddress(socket)) };
        let endpoint = Endpoint { address: Some(address), ..Endpoint::default() };
        LbEndpoint {
            load_balancing_weight: Some(UInt32Value { value: 1 + number }),
            host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
            ..LbEndpoint::default()
        }
    };
    let locality = LocalityLbEndpoints {
        lb_endpoints: (1..=ENDPOINTS).map(endpoint).collect(),
        ..LocalityLbEndpoints::default()
    };
    ClusterLoadAssignment {
        cluster_name: NAME.to_owned(),
        endpoints: vec![locality],
        ..ClusterLoadAssignment::default()
    }
}

/// A proxy that takes what it is sent of one type.
struct Proxy {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    kind: TypeUrl,
}

impl Proxy {
    /// Connects, and has what there is.
    async fn connect(to: SocketAddr, node: &str, kind: TypeUrl) -> Self {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{to}")).unwrap();
        let mut channel = None;
        while channel.is_none() {
            channel = endpoint.clone().tcp_nodelay(true).connect().await.ok();
        }
        let (requests, out) = mpsc::channel(8);
        let node = Some(Node { id: node.to_owned(), ..Node::default() });
        requests.send(DiscoveryRequest { node, ..ask(kind) }).await.unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel.unwrap());
        let responses = client.stream_aggregated_resources(ReceiverStream::new(out)).await.unwrap();
        let mut proxy = Self { requests, responses: responses.into_inner(), kind };
        proxy.next().await;
        proxy
    }

    /// When the next response came; it is taken.
    async fn next(&mut self) -> Instant {
        let response = timeout(WITHIN, self.responses.message()).await.unwrap();
        let came = Instant::now();
        let response = response.unwrap().unwrap();
        let taken = DiscoveryRequest {
            version_info: response.version_info,
            response_nonce: response.nonce,
            ..ask(self.kind)
        };
        self.requests.send(taken).await.unwrap();
        came
    }
}

fn ask(kind: TypeUrl) -> DiscoveryRequest {
    let names = if kind == TypeUrl::Endpoints { vec![NAME.to_owned()] } else { Vec::new() };
    DiscoveryRequest {
        type_url: kind.as_str().to_owned(),
        resource_names: names,
        ..DiscoveryRequest::default()
    }
}

/// Resident memory of a process in KiB.
fn resident(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}
