//! Two backends, an Envoy in front of them, and Weir's xDS server to tell it of them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::cluster::v3::cluster::LbPolicy;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress, address};
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::policy::DropOverload;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::google::protobuf::{self as proto, UInt32Value};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weir_engine::names::{ClusterName, ServiceId};
use weir_engine::observation::Outcome;
use weir_engine::units::Moment;
use weir_proxy_adapter::bootstrap::{HostPort, Protocol, parts};
use weir_proxy_adapter::native::{self, ClusterSettings};
use weir_proxy_adapter::resource::{Resource, Snapshot, TypeUrl};
use weir_proxy_adapter::server::{Config, Connections, Publisher, Server, Urgency, configure};
use weir_proxy_adapter::session::{Refusal, TypeStatus};
use weir_proxy_adapter::view::PushVersion;
use weir_testbed::backends::{Backend, Service};
use weir_testbed::envoy::{Envoy, Options, eventually};
use weir_testbed::load::{Live, Load, Segment, Tally};
use weir_testbed::ports::Reserved;

/// The cluster that everything here is about.
pub(super) const CLUSTER: &str = "shop";

/// Workers enough that no request waits.
const FAST: Service = Service { workers: 64, mean: Duration::from_millis(1), sigma: 0.1 };

/// How long any answer may take.
const WITHIN: Duration = Duration::from_secs(10);

/// What is published.
#[derive(Clone, Copy)]
pub(super) struct Push {
    pub(super) weights: [u32; 2],
    pub(super) connect_timeout: Duration,
    pub(super) decision: u64,
    /// Per cent of the requests to turn away.
    pub(super) turned_away: u32,
}

impl Push {
    pub(super) fn first() -> Self {
        let connect_timeout = Duration::from_secs(1);
        Self { weights: [50, 50], connect_timeout, decision: 1, turned_away: 0 }
    }
}

/// What became of a load.
#[derive(Debug)]
pub(super) struct Outcomes {
    pub(super) errors: u64,
    /// The part of the requests that went to the first backend.
    pub(super) first_share: f64,
}

/// A running server.
pub(super) struct Weir {
    pub(super) publisher: Publisher,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Weir {
    fn start(port: &Reserved, epoch: u64) -> Self {
        let start = Instant::now();
        let first = Moment::from_millis(1_700_000_000_000);
        let now = Arc::new(move || first.plus(start.elapsed()));
        let (server, publisher) = Server::new(Config::new(epoch), now);
        let stop = CancellationToken::new();
        let connections = Connections::new(port.listen().unwrap(), 16);
        let router = configure(tonic::transport::Server::builder()).add_routes(server.routes());
        let stopped = stop.clone().cancelled_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(stop.clone()));
        tasks.spawn(async move {
            router.serve_with_incoming_shutdown(connections, stopped).await.unwrap();
        });
        Self { publisher, stop, tasks }
    }

    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// All of it.
pub(super) struct Site {
    pub(super) weir: Weir,
    pub(super) envoy: Envoy,
    port: Reserved,
    backends: [Backend; 2],
    listener: Option<SocketAddr>,
    _directory: TempDir,
}

impl Site {
    /// Envoy is started and waits for Weir, which has nothing to say yet.
    pub(super) async fn start(envoy: &Path, protocol: Protocol) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = Reserved::any().unwrap();
        let weir = Weir::start(&port, 1);
        let backends = ["first", "second"].map(|name| Backend::start(name, FAST).unwrap());
        let at =
            |address: SocketAddr| HostPort { host: address.ip().to_string(), port: address.port() };
        let any_port = HostPort { host: "127.0.0.1".to_owned(), port: 0 };
        let listener = parts::listener("in", &any_port, &ClusterName::from(CLUSTER), &[]);
        let bootstrap = json!({
            "node": { "id": "proxy-1", "cluster": "test" },
            "static_resources": {
                "clusters": [parts::xds_cluster(&[at(port.address())])],
                "listeners": [listener],
            },
            "dynamic_resources": {
                "ads_config": parts::ads_config(protocol, 0),
                "cds_config": parts::over_ads(),
            },
            "layered_runtime": { "layers": [parts::runtime_layer(parts::over_ads())] },
        });
        let options = Options { directory: directory.path(), concurrency: 1 };
        let envoy = Envoy::start(envoy, bootstrap, options).await.unwrap();
        Self { weir, envoy, port, backends, listener: None, _directory: directory }
    }

    /// Another server on the same port, after the first has stopped.
    pub(super) fn another(&self, epoch: u64) -> Weir {
        Weir::start(&self.port, epoch)
    }

    pub(super) fn publish(&self, push: Push) {
        let service = ServiceId::new("demo", "shop");
        let mut cluster = native::cluster(&CLUSTER.into(), &ClusterSettings::default());
        cluster.lb_policy = LbPolicy::RoundRobin.into();
        cluster.connect_timeout = Some(proto::Duration {
            seconds: push.connect_timeout.as_secs().try_into().unwrap(),
            nanos: 0,
        });
        let addresses = self.backends.iter().map(Backend::address);
        let locality = LocalityLbEndpoints {
            lb_endpoints: addresses.zip(push.weights).map(endpoint).collect(),
            load_balancing_weight: Some(UInt32Value { value: 1 }),
            ..Default::default()
        };
        let endpoints = ClusterLoadAssignment {
            cluster_name: CLUSTER.to_owned(),
            endpoints: vec![locality],
            policy: (push.turned_away > 0).then(|| Policy {
                drop_overloads: vec![DropOverload {
                    category: "weir".to_owned(),
                    drop_percentage: Some(FractionalPercent {
                        numerator: push.turned_away,
                        denominator: 0,
                    }),
                }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut snapshot = Snapshot::default();
        snapshot.insert(TypeUrl::Cluster, Resource::new(CLUSTER, &cluster));
        let endpoints = Resource::new(CLUSTER, &endpoints).deciding(push.decision, service);
        snapshot.insert(TypeUrl::Endpoints, endpoints);
        self.weir.publisher.publish(Arc::new(snapshot), Urgency::Now);
    }

    /// Asks Envoy where it listens.
    pub(super) async fn listen(&mut self) {
        self.listener = self.envoy.admin.listeners().await.unwrap().remove("in");
    }

    /// So many requests, at 400 a second.
    pub(super) async fn load(&self, requests: u32) -> Outcomes {
        let taken = || self.backends.each_ref().map(|backend| backend.counts().taken);
        let length = Duration::from_secs(1).mul_f64(f64::from(requests) / 400.0);
        let before = taken();
        let tally = self.load_for(length, 400.0).await;
        let after = taken();
        let [first, second] = [0, 1].map(|one| (after[one] - before[one]) as f64);
        Outcomes { errors: tally.errors(), first_share: first / (first + second) }
    }

    /// A load that goes on while the site changes.
    pub(super) fn load_for(
        &self,
        length: Duration,
        rate: f64,
    ) -> impl Future<Output = Tally> + use<> {
        let load = Load {
            seed: 7,
            segments: vec![Segment { length, rate }],
            sides: vec![vec![self.listener.unwrap()]],
            timeout: Duration::from_secs(5),
        };
        async move {
            let (live, _) = watch::channel(Live::default());
            let tallies = load.run(&live, &CancellationToken::new()).await;
            tallies[0][0].clone()
        }
    }

    /// What became of this decision at the proxy.
    pub(super) async fn receipt(&mut self, decision: u64) -> Outcome {
        self.receipt_within(decision, WITHIN).await
    }

    pub(super) async fn receipt_within(&mut self, decision: u64, within: Duration) -> Outcome {
        let receipts = &mut self.weir.publisher.receipts;
        let found = async {
            loop {
                let receipt = receipts.recv().await.unwrap();
                if receipt.decision == decision {
                    return receipt.outcome;
                }
            }
        };
        tokio::time::timeout(within, found).await.unwrap()
    }

    fn status(&self, kind: TypeUrl) -> Option<TypeStatus> {
        let proxies = self.weir.publisher.proxies.borrow();
        proxies.iter().flat_map(|proxy| &proxy.types).find(|one| one.kind == kind).cloned()
    }

    pub(super) fn acked(&self, kind: TypeUrl) -> Option<PushVersion> {
        self.status(kind).and_then(|status| status.acked)
    }

    /// The proxy's last refusal, as people see it.
    pub(super) async fn refusal(&self, kind: TypeUrl) -> Refusal {
        let mut refusal = None;
        let seen = eventually(WITHIN, async || {
            refusal = self.status(kind).and_then(|status| status.refusal);
            refusal.is_some()
        });
        assert!(seen.await, "no refusal is shown");
        refusal.unwrap()
    }

    /// Whether Envoy is there and has taken all there is.
    pub(super) async fn connected(&self) -> bool {
        let taken = |kind| self.status(kind).is_some_and(|status| !status.pending);
        eventually(WITHIN, async || taken(TypeUrl::Cluster) && taken(TypeUrl::Endpoints)).await
    }

    /// Connections to the backends that Envoy has ended.
    pub(super) async fn destroyed(&self) -> u64 {
        self.envoy.admin.stat("cluster.shop.upstream_cx_destroy").await.unwrap()
    }
}

fn endpoint((address, weight): (SocketAddr, u32)) -> LbEndpoint {
    let socket = SocketAddress {
        address: address.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
        ..Default::default()
    };
    let address = Address { address: Some(address::Address::SocketAddress(socket)) };
    let endpoint = Endpoint { address: Some(address), ..Default::default() };
    LbEndpoint {
        load_balancing_weight: Some(UInt32Value { value: weight }),
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
        ..Default::default()
    }
}
