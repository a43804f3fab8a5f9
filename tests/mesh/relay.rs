//! The relay before control planes of others, with a stock Envoy behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weir_proxy_adapter::relay::extension::Extension;
use weir_proxy_adapter::relay::server::Upstream;
use weir_proxy_adapter::relay::{Key, Opinions, Parts, Split};
use weir_testbed::backends::Backend;
use weir_tests::cluster::before::{Before, opinions, plain};
use weir_tests::cluster::gateway::{ADS, Gateway};
use weir_tests::cluster::istiod::{self, Istiod};
use weir_tests::cluster::sidecar::{Listeners, Plan, Sidecar, Variant};
use weir_tests::cluster::snapshots::Snapshots;
use weir_tests::cluster::{Cluster, soon};
use weir_tests::traffic::Traffic;
use weir_tests::world::backends;

use crate::stage::Test;
use crate::{gateway, istio, snapshots};

pub(crate) fn tests() -> Vec<Test> {
    let istio = &["istiod", "envoy"];
    let snapshots = &["go-control-plane", "envoy"];
    vec![
        Test::new("relay::istio_by_delta", istio, istio_by_delta),
        Test::new("relay::istio_by_state_of_the_world", istio, istio_by_world),
        Test::new("relay::sooner_than_a_virtual_service", istio, sooner_than_a_virtual_service),
        Test::new("relay::envoy_gateway", &["envoy-gateway", "envoy"], envoy_gateway),
        Test::new("relay::gateways_backends", &["envoy-gateway", "envoy"], gateways_backends),
        Test::new("relay::gateways_extension", &["envoy-gateway", "envoy"], gateways_extension),
        Test::new("relay::snapshots_by_delta", snapshots, snapshots_by_delta),
        Test::new("relay::snapshots_by_state_of_the_world", snapshots, snapshots_by_world),
    ]
}

const RATE: f64 = 300.0;

async fn istio_by_delta(cluster: Arc<Cluster>) {
    istio_endpoints(&cluster, Variant::Delta, "relay-delta").await;
}

async fn istio_by_world(cluster: Arc<Cluster>) {
    istio_endpoints(&cluster, Variant::World, "relay-world").await;
}

/// One pod is out by opinion while pods come and go and istiod is killed.
async fn istio_endpoints(cluster: &Cluster, variant: Variant, namespace: &str) {
    let name = format!("istiod-{namespace}");
    let mut istiod = Istiod::start(cluster, &name).await;
    istio::two_versions(cluster, namespace).await;
    let relay = Before::start(plain(istiod.ads), Opinions::default()).await;
    let client = istio::client(cluster, namespace, relay.ads, variant).await;
    let whole = format!("outbound|80||{}", istiod::host(namespace, "shop"));
    soon("the proxy has all pods", async || client.endpoints(&whole).await.len() == 4).await;
    let traffic = Traffic::start(client.listener, RATE);
    let (pod, address) = cluster.kubelet.addresses(namespace).await.into_iter().next().unwrap();

    relay.opine(opinions(&[(address, 0.0)]));
    let out = async |count| {
        let endpoints = client.endpoints(&whole).await;
        endpoints.len() == count && endpoints.iter().all(|e| e.healthy == (e.address != address))
    };
    soon("it is out, and only it", async || out(4).await).await;
    traffic.more(50).await;
    let taken = cluster.kubelet.taking(namespace, &traffic, 300).await;
    assert_eq!(taken[&pod], 0, "{taken:?}");

    for (replicas, all) in [(4, 6), (2, 4)] {
        let count = format!("--replicas={replicas}");
        let scaled = ["scale", "deployment/shop-v2", "--namespace", namespace, &count];
        cluster.kubectl(&scaled, "").await.unwrap();
        soon("pods come and go, and it stays out", async || out(all).await).await;
    }
    istiod.child.kill().await.unwrap();
    traffic.more(300).await;
    let again = Istiod::start_on(cluster, &name, istiod.ads).await;
    soon("the stream is back", async || relay.counts().streams == 1).await;
    relay.opine(Opinions::default());
    soon("all are as istiod has them", async || {
        let endpoints = client.endpoints(&whole).await;
        endpoints.len() == 4 && endpoints.iter().all(|e| e.healthy && e.weight == 1)
    })
    .await;
    relay.opine(opinions(&[(address, 3.0)]));
    soon("weights are times what they were", async || {
        let endpoints = client.endpoints(&whole).await;
        endpoints.iter().all(|e| e.weight == if e.address == address { 3_000 } else { 1_000 })
    })
    .await;
    traffic.stop_without_loss().await;
    assert_eq!(relay.counts().refused, 0);
    let refused = client.envoy.admin.stats("update_rejected").await.unwrap();
    assert!(refused.values().all(|count| *count == 0), "Envoy takes all of it: {refused:?}");
    drop(again);
}

/// Weights of the routes that a proxy has, by cluster.
async fn weights(client: &Sidecar) -> BTreeMap<String, u64> {
    fn search(at: &Value, found: &mut BTreeMap<String, u64>) {
        match at {
            Value::Object(fields) => {
                if let Some(clusters) = fields.get("weighted_clusters") {
                    for one in clusters["clusters"].as_array().into_iter().flatten() {
                        let name = one["name"].as_str().unwrap_or_default().to_owned();
                        found.insert(name, one["weight"].as_u64().unwrap_or_default());
                    }
                }
                fields.values().for_each(|inner| search(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|item| search(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let dump = client.envoy.admin.config_dump().await.unwrap();
    let mut found = BTreeMap::new();
    search(&dump, &mut found);
    found
}

/// The time until a proxy splits so.
async fn until_split(client: &Sidecar, clusters: &[String; 2], wanted: [u64; 2]) -> Duration {
    let began = Instant::now();
    soon("the proxy has the split", async || {
        let has = weights(client).await;
        clusters.iter().zip(wanted).all(|(name, weight)| has.get(name) == Some(&weight))
    })
    .await;
    began.elapsed()
}

/// The figure of the relay: a split by opinion and by the API server, one after another.
async fn sooner_than_a_virtual_service(cluster: Arc<Cluster>) {
    let namespace = "relay-split";
    let istiod = Istiod::start(&cluster, "istiod-split").await;
    istio::two_versions(&cluster, namespace).await;
    let relay = Before::start(plain(istiod.ads), Opinions::default()).await;
    let client = istio::client(&cluster, namespace, relay.ads, Variant::Delta).await;
    let host = istiod::host(namespace, "shop");
    let clusters = ["v1", "v2"].map(|subset| format!("outbound|80|{subset}|{host}"));
    until_split(&client, &clusters, [90, 10]).await;
    let split = |first, second| {
        let weights = clusters.iter().cloned().zip([first, second]).collect();
        Opinions { splits: [Split { weights }].into(), ..Opinions::default() }
    };
    let mut took = [Vec::new(), Vec::new()];
    for turn in 1..=7_u32 {
        relay.opine(split(10_000 - 100 * turn, 100 * turn));
        let parts = [10_000 - 100 * turn, 100 * turn].map(u64::from);
        took[0].push(until_split(&client, &clusters, parts).await);
        relay.opine(Opinions::default());
        soon("the routes are istiod's own", async || {
            weights_sum(&weights(&client).await, &clusters) == 100
        })
        .await;
        let (first, second) = (90 - turn, 10 + turn);
        let applied = istio::weights(namespace, first, second);
        let began = Instant::now();
        cluster.apply(&applied).await;
        let applying = began.elapsed();
        let waited = until_split(&client, &clusters, [first, second].map(u64::from)).await;
        // What kubectl itself takes is not the mesh's: from half of it on the change may be there.
        took[1].push(waited + applying / 2);
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let [opinion, patch] = took.each_mut().map(median);
    let ratio = opinion.as_secs_f64() / patch.as_secs_f64();
    eprintln!(
        "a split is in Envoy {opinion:.1?} after an opinion, {patch:.1?} after a VirtualService: {ratio:.2}"
    );
    assert!(ratio < 1.0, "{took:?}");
}

fn weights_sum(weights: &BTreeMap<String, u64>, clusters: &[String; 2]) -> u64 {
    clusters.iter().filter_map(|name| weights.get(name)).sum()
}

/// The way to an Envoy Gateway: as the proxies themselves would go.
fn to_gateway(gateway: &Gateway) -> Upstream {
    let [authority, certificate, key] =
        ["ca.crt", "tls.crt", "tls.key"].map(|name| std::fs::read(gateway.certificate(name)));
    Upstream {
        address: format!("https://{ADS}").parse().unwrap(),
        authority: authority.ok(),
        identity: certificate.ok().zip(key.ok()),
        server_name: Some("envoy-gateway".to_owned()),
    }
}

async fn envoy_gateway(cluster: Arc<Cluster>) {
    let namespace = "relay-gateway";
    gateway::shop(&cluster, namespace).await;
    let pods = cluster.kubelet.addresses(namespace).await;
    let documents = |first, second| gateway::documents(&pods, first, second);
    let control = Gateway::start(&cluster, "relayed-gateway", &documents(50, 50)).await;
    let relay = Before::start(to_gateway(&control), Opinions::default()).await;
    let edge = gateway::edge(&cluster, "relayed-edge", (relay.ads, None)).await;
    let traffic = Traffic::start(edge.listener, RATE);
    let (pod, address) = pods.iter().next().map(|(pod, at)| (pod.clone(), *at)).unwrap();
    relay.opine(opinions(&[(address, 0.0)]));
    soon("it is out", async || cluster.kubelet.taking(namespace, &traffic, 100).await[&pod] == 0)
        .await;
    control.write(&documents(20, 80));
    soon("most requests go to v2", async || {
        gateway::second(&cluster.kubelet.taking(namespace, &traffic, 100).await) > 0.6
    })
    .await;
    let taken = cluster.kubelet.taking(namespace, &traffic, 300).await;
    assert_eq!(taken[&pod], 0, "{taken:?}");
    relay.opine(Opinions::default());
    soon("it is back", async || cluster.kubelet.taking(namespace, &traffic, 100).await[&pod] > 0)
        .await;
    traffic.stop_without_loss().await;
    assert_eq!(relay.counts().refused, 0);
}

/// One version's pods and its weight.
fn side(pods: &BTreeMap<String, SocketAddr>, version: &str) -> Arc<BTreeSet<Key>> {
    let own = pods.iter().filter(|(pod, _)| pod.starts_with(&format!("shop-{version}-")));
    Arc::new(own.map(|(_, at)| (Arc::from(at.ip().to_string()), at.port())).collect())
}

/// A rule's backends are localities of one cluster there.
async fn gateways_backends(cluster: Arc<Cluster>) {
    let namespace = "relay-backends";
    gateway::shop(&cluster, namespace).await;
    let pods = cluster.kubelet.addresses(namespace).await;
    let documents = gateway::documents(&pods, 50, 50);
    let control = Gateway::start(&cluster, "backends-gateway", &documents).await;
    let relay = Before::start(to_gateway(&control), Opinions::default()).await;
    let edge = gateway::edge(&cluster, "backends-edge", (relay.ads, None)).await;
    let traffic = Traffic::start(edge.listener, RATE);
    let parts = |first, second| {
        let sides = vec![(side(&pods, "v1"), first), (side(&pods, "v2"), second)];
        Opinions { parts: [Parts { sides }].into(), ..Opinions::default() }
    };
    relay.opine(parts(9_000, 1_000));
    soon("few requests go to v2", async || {
        gateway::second(&cluster.kubelet.taking(namespace, &traffic, 200).await) < 0.2
    })
    .await;
    let second = gateway::second(&cluster.kubelet.taking(namespace, &traffic, 1_000).await);
    assert!((0.06..0.14).contains(&second), "{second} of the requests went to v2, not 0.1");
    relay.opine(parts(10_000, 0));
    soon("no request goes to v2", async || {
        gateway::second(&cluster.kubelet.taking(namespace, &traffic, 200).await) == 0.0
    })
    .await;
    traffic.stop_without_loss().await;
    assert_eq!((relay.counts().refused, relay.counts().withheld), (0, 0));
}

/// Envoy Gateway asks Weir itself, whenever it translates.
async fn gateways_extension(cluster: Arc<Cluster>) {
    let namespace = "relay-extension";
    gateway::shop(&cluster, namespace).await;
    let pods = cluster.kubelet.addresses(namespace).await;
    let (pod, address) = pods.iter().next().map(|(pod, at)| (pod.clone(), *at)).unwrap();
    let (thinks, thought) = watch::channel(Arc::new(opinions(&[(address, 0.0)])));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let mut serving = JoinSet::new();
    serving.spawn(Extension::new(thought).run(listener, stop.clone()));
    let documents = |first, second| gateway::documents(&pods, first, second);
    let asks = json!({
        // Without it an extension server that is away holds up everything.
        "failOpen": true,
        "hooks": {"xdsTranslator": {"post": ["Endpoints"]}},
        "service": {"ip": {"address": at.ip().to_string(), "port": at.port()}},
    });
    let control =
        Gateway::start_with(&cluster, "asking-gateway", &documents(50, 50), Some(asks)).await;
    let edge = gateway::edge(&cluster, "asking-edge", (ADS, Some(control.transport()))).await;
    let traffic = Traffic::start(edge.listener, RATE);
    traffic.more(100).await;
    assert_eq!(cluster.kubelet.taking(namespace, &traffic, 300).await[&pod], 0);

    thinks.send_replace(Arc::default());
    control.write(&documents(40, 60));
    soon("it is back with the next translation", async || {
        cluster.kubelet.taking(namespace, &traffic, 100).await[&pod] > 0
    })
    .await;
    // While nobody listens there it translates nothing, whatever `failOpen` says (its calls wait for a
    // connection without a limit): proxies keep what they have, and it goes on once somebody does.
    stop.cancel();
    while serving.join_next().await.is_some() {}
    control.write(&documents(20, 80));
    traffic.more(600).await;
    let listener = TcpListener::bind(at).await.unwrap();
    serving.spawn(Extension::new(thinks.subscribe()).run(listener, CancellationToken::new()));
    soon("most requests go to v2", async || {
        gateway::second(&cluster.kubelet.taking(namespace, &traffic, 100).await) > 0.7
    })
    .await;
    traffic.stop_without_loss().await;
}

async fn snapshots_by_delta(cluster: Arc<Cluster>) {
    go_control_plane(&cluster, Variant::Delta, "relayed-delta").await;
}

async fn snapshots_by_world(cluster: Arc<Cluster>) {
    go_control_plane(&cluster, Variant::World, "relayed-world").await;
}

async fn go_control_plane(cluster: &Cluster, variant: Variant, name: &str) {
    let backends = backends(3);
    let addresses: Vec<SocketAddr> = backends.iter().map(Backend::address).collect();
    let served = |weights: &[u32]| snapshots::resources(&addresses, weights);
    let server = Snapshots::start(cluster, name, &served(&[1, 1, 1])).await;
    let relay = Before::start(plain(server.ads), opinions(&[(addresses[0], 8.0)])).await;
    let plan = Plan {
        name: &format!("client-{name}"),
        node: json!({"id": "client", "cluster": "clients"}),
        ads: relay.ads,
        transport: None,
        token: None,
        variant,
        listeners: Listeners::Own { route: "shop", host: "shop.demo" },
    };
    let client = Sidecar::start(cluster, &plan).await;
    let has = async |expected: [u64; 3]| {
        soon(&format!("the proxy has {expected:?}"), async || {
            let endpoints = client.endpoints("shop").await;
            let weight = |address| {
                let one = endpoints.iter().find(|endpoint| endpoint.address == address);
                one.map(|one| one.weight)
            };
            addresses.iter().zip(expected).all(|(at, wanted)| weight(*at) == Some(wanted))
        })
        .await;
    };
    has([8_000, 1_000, 1_000]).await;
    let traffic = Traffic::start(client.listener, RATE);
    let before: Vec<u64> = backends.iter().map(|backend| backend.counts().taken).collect();
    traffic.more(1_000).await;
    let taken: Vec<u64> =
        backends.iter().zip(before).map(|(one, before)| one.counts().taken - before).collect();
    let part = taken[0] as f64 / taken.iter().sum::<u64>() as f64;
    assert!((0.75..0.85).contains(&part), "{part} went to the first, not four fifths");
    server.write(&served(&[1, 1, 3]));
    has([8_000, 1_000, 3_000]).await;
    relay.opine(Opinions::default());
    has([1, 1, 3]).await;
    relay.opine(opinions(&[(addresses[1], 2.0)]));
    has([1_000, 2_000, 3_000]).await;
    traffic.stop_without_loss().await;
    assert_eq!((relay.counts().refused, relay.counts().streams), (0, 1));
}
