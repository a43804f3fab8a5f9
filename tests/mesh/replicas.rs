//! Two replicas of the real binary on one lease of a real API server, each with a proxy of its own:
//! one decides, both serve the same, and whatever becomes of the one that decides, nobody loses a
//! request.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_testbed::backends::Behaviour;
use weir_tests::cluster::sidecar::Sidecar;
use weir_tests::cluster::workload::{Workload, service};
use weir_tests::cluster::{Cluster, free, soon};
use weir_tests::relay::Relay;
use weir_tests::traffic::Traffic;
use weir_tests::weir::{Weir, run};
use weir_tests::world::write;

use crate::governed::policy;
use crate::site::Site;
use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    let envoy = &["envoy"];
    vec![
        Test::new("replicas::a_follower_serves_the_same", envoy, a_follower_serves_the_same),
        Test::new("replicas::a_leader_is_killed", envoy, a_leader_is_killed),
        Test::new("replicas::a_leader_stands_still", envoy, a_leader_stands_still),
        Test::new("replicas::a_leader_is_cut_off", envoy, a_leader_is_cut_off),
        Test::new("replicas::a_leader_is_stopped", envoy, a_leader_is_stopped),
        Test::new("replicas::what_it_held_itself_is_free", &[], what_it_held_itself_is_free),
    ]
}

const RATE: f64 = 200.0;

/// A replica, and a proxy that it configures.
struct Replica {
    weir: Weir,
    room: PathBuf,
    xds: SocketAddr,
    /// Its relay, where it has one.
    relay: SocketAddr,
}

impl Replica {
    /// `by`: where it reaches the API server. `before`: another control plane that it relays.
    async fn start(
        site: &Site,
        name: &str,
        by: Option<SocketAddr>,
        before: Option<SocketAddr>,
    ) -> Self {
        let relay = free();
        let upstream = before.map(|at| {
            format!("relay: {{listen: '{relay}', upstream: {{address: 'http://{at}'}}}}\n")
        });
        let more = services(site) + &upstream.unwrap_or_default();
        let room = site.room(name, by, &more).await;
        let xds = free();
        Self { weir: Weir::start(&room, xds).await, room, xds, relay }
    }

    async fn restart(&mut self) {
        self.weir = Weir::start(&self.room, self.xds).await;
    }

    /// Whether it ever decided in this epoch.
    fn decided(&self, epoch: u64) -> bool {
        let decides =
            |event: &Value| event["message"] == "this replica decides" && event["epoch"] == epoch;
        self.weir.events().iter().any(decides)
    }

    async fn decides(&self, epoch: u64) -> Duration {
        let began = Instant::now();
        soon(&format!("it decides, in epoch {epoch}"), async || self.decided(epoch)).await;
        began.elapsed()
    }

    async fn follows(&self, epoch: u64) {
        soon(&format!("it follows the leader of epoch {epoch}"), async || {
            let follows = |event: &Value| {
                event["message"] == "this replica serves what the leader serves"
                    && event["epoch"] == epoch
            };
            self.weir.events().iter().any(follows)
        })
        .await;
    }

    /// The versions of endpoints that its proxies have.
    async fn versions(&self) -> Vec<String> {
        let proxies = self.weir.ask("/api/v1/proxies").await;
        let types = proxies.as_array().into_iter().flatten();
        let types = types.flat_map(|proxy| proxy["types"].as_array().cloned().unwrap_or_default());
        let endpoints = types.filter(|one| one["kind"] == "EDS");
        endpoints.map(|one| one["sentVersion"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// A shop of four pods, two replicas, the first of which decides, and a proxy of each.
struct Scene {
    site: Site,
    /// Between the first and the API server.
    wire: Relay,
    api: SocketAddr,
    first: Replica,
    second: Replica,
    proxies: [Sidecar; 2],
}

impl Scene {
    async fn set(cluster: Arc<Cluster>, namespace: &'static str) -> Self {
        Self::on(shop(cluster, namespace).await, None).await
    }

    async fn on(site: Site, before: Option<SocketAddr>) -> Self {
        let namespace = site.namespace;
        let mut wire = Relay::closed();
        let api = "10.0.0.1:6443".parse().unwrap();
        wire.open(api);
        let first = Replica::start(&site, "first", Some(wire.address()), before).await;
        first.decides(1).await;
        let second = Replica::start(&site, "second", None, before).await;
        second.follows(1).await;
        let of = async |name: &str, replica: &Replica| {
            Sidecar::of_weir(&site.cluster, &format!("{namespace}-{name}"), replica.xds).await
        };
        let proxies = [of("a", &first).await, of("b", &second).await];
        let scene = Self { site, wire, api, first, second, proxies };
        scene.have(4, &[0, 1]).await;
        scene
    }

    /// Waits until these proxies have so many pods, all healthy.
    async fn have(&self, count: usize, proxies: &[usize]) {
        for proxy in proxies {
            soon(&format!("proxy {proxy} has {count} pods"), async || {
                let endpoints = self.proxies[*proxy].endpoints("shop").await;
                endpoints.len() == count && endpoints.iter().all(|one| one.healthy)
            })
            .await;
        }
    }

    fn traffic(&self) -> [Traffic; 2] {
        self.proxies.each_ref().map(|proxy| Traffic::start(proxy.listener, RATE))
    }

    async fn scale(&self, count: usize) {
        let replicas = format!("--replicas={count}");
        let scaled = ["scale", "deployment/shop-v1", "--namespace", self.site.namespace, &replicas];
        self.site.cluster.kubectl(&scaled, "").await.unwrap();
    }

    /// The lease as it stands: its holder and how often it changed hands.
    async fn lease(&self) -> (String, u64) {
        let path =
            format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/weir", self.site.namespace);
        let spec = self.site.get(&path).await["spec"].clone();
        let holder = spec["holderIdentity"].as_str().unwrap_or_default().to_owned();
        (holder, spec["leaseTransitions"].as_u64().unwrap_or_default())
    }
}

async fn shop(cluster: Arc<Cluster>, namespace: &'static str) -> Site {
    let site = Site::open(cluster, namespace).await;
    let pods = Workload { namespace, app: "shop", version: "v1", replicas: 4, spare: false };
    let documents = pods.document() + &service(namespace, "shop");
    site.cluster.apply(&documents).await;
    site.cluster.ready(namespace, "shop", 4).await;
    site.cluster.apply(&policy(namespace, "Enforce")).await;
    site
}

async fn without_loss(traffic: [Traffic; 2]) {
    for traffic in traffic {
        traffic.stop_without_loss().await;
    }
}

/// What a proxy was told of the shop's endpoints.
async fn told(proxy: &Sidecar) -> Value {
    let (_, dump) = proxy.envoy.admin.get("/config_dump?include_eds").await.unwrap();
    let dump: Value = serde_json::from_slice(&dump).unwrap();
    let all = dump["configs"].as_array().unwrap().iter();
    let mut all = all.filter_map(|one| one["dynamic_endpoint_configs"].as_array()).flatten();
    let shop = all.find(|one| one["endpoint_config"]["cluster_name"] == "shop");
    shop.map(|one| one["endpoint_config"].clone()).unwrap_or_default()
}

fn services(site: &Site) -> String {
    format!(
        "services:
  - namespace: {}
    name: shop
    clusters: [shop]
    endpoints: {{kubernetes: {{port: http}}}}
    write_clusters: true
",
        site.namespace
    )
}

/// A control plane that governs nothing, for the relays of others.
async fn other_plane(site: &Site) -> Weir {
    let room = site.room("other", None, &services(site)).await;
    let config = std::fs::read_to_string(room.join("weir.yaml")).unwrap();
    write(&room, "weir.yaml", &config.replace("lease: weir", "policies: false"));
    Weir::start(&room, free()).await
}

/// All requests go by the follower's proxy: the leader judges by what the follower hears, and the
/// pod that fails is out at both, and at a proxy that another control plane configures by the
/// follower's relay. It stays out when the leader goes, and under the next one.
async fn a_follower_serves_the_same(cluster: Arc<Cluster>) {
    let namespace = "same";
    let site = shop(cluster, namespace).await;
    let plane = other_plane(&site).await;
    let mut scene = Scene::on(site, Some(plane.xds)).await;
    let relayed = Sidecar::of_weir(&scene.site.cluster, "same-relayed", scene.second.relay).await;
    soon("it has all pods", async || relayed.endpoints("shop").await.len() == 4).await;
    let traffic = Traffic::start(scene.proxies[1].listener, RATE);
    let shop = async |replica: &Replica| {
        replica.weir.ask(&format!("/api/v1/services/{namespace}/shop")).await
    };
    soon("the leader judges", async || {
        let shop = shop(&scene.first).await;
        shop["service"]["telemetryAgeMs"].is_u64() && shop["service"]["stance"] != "holding"
    })
    .await;
    let pods = scene.site.cluster.kubelet.addresses(namespace).await;
    let (pod, address) = pods.first_key_value().unwrap();
    scene.site.cluster.kubelet.behave(namespace, pod, Behaviour::failing(0.5)).await;
    let out = async |proxy: &Sidecar| {
        let endpoints = proxy.endpoints("shop").await;
        endpoints.iter().any(|one| one.address == *address && !one.healthy)
    };
    soon("it is out at the leader's", async || out(&scene.proxies[0]).await).await;
    let began = Instant::now();
    soon("it is out at the follower's", async || out(&scene.proxies[1]).await).await;
    let after = began.elapsed();
    eprintln!("out at the follower's proxy {after:.0?} after the leader's");
    assert!(after < Duration::from_secs(1), "{after:?}");
    soon("it is out behind the follower's relay", async || out(&relayed).await).await;
    soon("both are told the same", async || {
        let [one, other] = [told(&scene.proxies[0]).await, told(&scene.proxies[1]).await];
        one == other && one["endpoints"].is_array()
    })
    .await;
    let versions = [scene.first.versions().await, scene.second.versions().await];
    assert!(versions.iter().flatten().all(|version| version.starts_with("1.")), "{versions:?}");
    assert!(!scene.second.decided(1), "there is one already");
    let ready = scene.second.weir.ask("/readyz").await.to_string();
    let leads = format!("follows {}, which decides in epoch 1", scene.first.xds);
    assert!(ready.contains(&leads), "{ready}");
    let [own, handed_on] = [shop(&scene.first).await, shop(&scene.second).await];
    assert_eq!(
        handed_on["endpoints"][0]["address"], own["endpoints"][0]["address"],
        "its pages are the leader's"
    );

    scene.first.weir.child.kill().await.unwrap();
    traffic.more(200).await;
    assert!(out(&scene.proxies[1]).await, "it stays as it was without a leader");
    scene.second.decides(2).await;
    scene.second.weir.more_steps(3).await;
    assert!(out(&scene.proxies[1]).await, "the next leader knows who is out");
    assert!(out(&relayed).await, "also behind its relay");

    // What it began with is what it adopted, and its journal says so.
    scene.second.weir.child.stop().await.unwrap();
    let journal = scene.second.room.join("data/journal").display().to_string();
    for command in [&["journal", "verify", &journal][..], &["replay", &journal]] {
        let ended = run(command);
        assert_eq!(ended.code, Some(0), "{command:?}: {} {}", ended.stdout, ended.stderr);
    }
    let listed = run(["journal", "ls", &journal, "-o", "json"]).stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let segments = listed["segments"].as_array().unwrap();
    assert!(!segments.is_empty() && segments.iter().all(|one| one["epoch"] == 2), "{listed}");
    scene.site.cluster.kubelet.behave(namespace, pod, Behaviour::HEALTHY).await;
}

async fn a_leader_is_killed(cluster: Arc<Cluster>) {
    let mut scene = Scene::set(cluster, "killed").await;
    let traffic = scene.traffic();
    scene.first.weir.child.kill().await.unwrap();
    let took = scene.second.decides(2).await;
    eprintln!("another decides {took:.1?} after the leader was killed");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(scene.lease().await.1, 2);
    scene.scale(5).await;
    scene.have(5, &[1]).await;
    scene.first.restart().await;
    scene.first.follows(2).await;
    scene.have(5, &[0]).await;
    assert!(!scene.first.decided(2));
    without_loss(traffic).await;
}

/// It wakes up when its time has run out, and another has decided meanwhile.
async fn a_leader_stands_still(cluster: Arc<Cluster>) {
    let scene = Scene::set(cluster, "paused").await;
    let traffic = scene.traffic();
    scene.first.weir.child.pause();
    scene.second.decides(2).await;
    let held = scene.lease().await;
    scene.scale(5).await;
    scene.have(5, &[1]).await;
    scene.first.weir.child.resume();
    scene.first.follows(2).await;
    let steps = scene.first.weir.steps().await;
    assert!(scene.first.weir.said("this replica decides no more"));
    scene.have(5, &[0]).await;
    scene.second.weir.more_steps(3).await;
    assert_eq!(scene.first.weir.steps().await, steps, "it decides no more");
    for replica in [&scene.first, &scene.second] {
        let versions = replica.versions().await;
        assert!(versions.iter().all(|version| version.starts_with("2.")), "{versions:?}");
    }
    let holds = scene.lease().await;
    assert_eq!((holds.0, holds.1), (held.0, 2), "it took nothing back");
    without_loss(traffic).await;
}

/// From the API server, but not from proxies nor from the other.
async fn a_leader_is_cut_off(cluster: Arc<Cluster>) {
    let mut scene = Scene::set(cluster, "cutoff").await;
    let traffic = scene.traffic();
    scene.wire.cut().await;
    let cut = Instant::now();
    soon("it decides no more", async || scene.first.weir.said("this replica decides no more"))
        .await;
    let stopped = cut.elapsed();
    assert!(!scene.second.decided(2), "one stops before another begins");
    let steps = scene.first.weir.steps().await;
    scene.second.decides(2).await;
    eprintln!(
        "cut off, it stops after {stopped:.1?}, and another decides after {:.1?}",
        cut.elapsed()
    );
    // It stops after 10 s at the latest, and says so when it has asked again in vain.
    assert!(stopped < Duration::from_secs(14), "{stopped:?}");
    assert_eq!(scene.first.weir.steps().await, steps);
    scene.wire.open(scene.api);
    scene.first.follows(2).await;
    scene.scale(5).await;
    scene.have(5, &[0, 1]).await;
    without_loss(traffic).await;
}

async fn a_leader_is_stopped(cluster: Arc<Cluster>) {
    let mut scene = Scene::set(cluster, "stopped").await;
    let traffic = scene.traffic();
    scene.first.weir.child.stop().await.unwrap();
    let took = scene.second.decides(2).await;
    eprintln!("another decides {took:.1?} after the leader was stopped");
    assert!(took < Duration::from_secs(5), "{took:?}");
    scene.scale(5).await;
    scene.have(5, &[1]).await;
    without_loss(traffic).await;
}

/// A replica that is killed and comes back in its folder does not wait for its own lease.
async fn what_it_held_itself_is_free(cluster: Arc<Cluster>) {
    let site = shop(cluster, "again").await;
    let mut replica = Replica::start(&site, "only", None, None).await;
    replica.decides(1).await;
    replica.weir.child.kill().await.unwrap();
    replica.restart().await;
    let took = replica.decides(2).await;
    eprintln!("it decides {took:.1?} after it came back");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
