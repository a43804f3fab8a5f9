//! What the kept journals are of. Each is a test that does nothing unless `WEIR_WRITE=journals` says
//! that it is to be played again: one name given to `cargo test` writes one journal.
//!
//! Seconds are Weir's own steps, so that what `test.yaml` says of times holds of the next recording
//! too. Backends have addresses of their own, for the same reason.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_testbed::backends::{Backend, Behaviour, Service};
use weir_testbed::ports::Reserved;
use weir_tests::proxy::Proxy;
use weir_tests::traffic::Traffic;
use weir_tests::versions::Stage;
use weir_tests::world::{FAST, Plan, World};

use super::{KEPT, is_asked, keep};

/// A world under load, whose journal is to be kept.
struct Scene {
    world: World,
    traffic: Traffic,
    number: u8,
    folder: PathBuf,
}

/// Backends at `127.1.<scene>.<one to ...>:8080`.
fn backend(scene: u8, number: u8, service: Service) -> Backend {
    let address = SocketAddr::from((Ipv4Addr::new(127, 1, scene, number), 8080));
    Backend::start_on(Reserved::at(address).unwrap(), &number.to_string(), service).unwrap()
}

impl Scene {
    /// Five backends under the policy that stands in the journal's folder; nothing if nobody asked.
    async fn begin(number: u8, name: &str, service: Service) -> Option<Self> {
        if !is_asked("journals") {
            return None;
        }
        let folder = Path::new(KEPT).join(name);
        let policy = std::fs::read_to_string(folder.join("policy.yaml")).unwrap();
        let backends = (1..=5).map(|at| backend(number, at, service)).collect();
        let world = World::start_with(Plan::USUAL, backends, &policy).await?;
        let traffic = world.load();
        Some(Self { world, traffic, number, folder })
    }

    /// Waits until Weir has taken so many steps, which is one a second.
    async fn at(&self, second: u64) {
        let weir = &self.world.weir;
        loop {
            let left = second.saturating_sub(weir.steps().await);
            if left == 0 {
                return;
            }
            weir.more_steps(left.min(5)).await;
        }
    }

    /// How a backend behaves from now on; they are counted from one, as in their addresses.
    fn behave(&self, backend: usize, behaviour: Behaviour) {
        self.world.backends[backend - 1].behave(behaviour);
    }

    /// Ends it and keeps its journal.
    async fn end(self) {
        self.traffic.stop().await;
        let mut world = self.world;
        assert_eq!(world.weir.child.stop().await.unwrap().code(), Some(0));
        keep(&world.data().join("journal"), &self.folder);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_endpoint() {
    let Some(scene) = Scene::begin(1, "failing-endpoint", FAST).await else { return };
    scene.at(30).await;
    scene.behave(2, Behaviour::failing(0.4));
    scene.at(45).await;
    scene.behave(2, Behaviour::HEALTHY);
    scene.at(100).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_endpoint() {
    let service = Service { workers: 16, mean: Duration::from_millis(20), sigma: 0.3 };
    let Some(scene) = Scene::begin(2, "slow-endpoint", service).await else { return };
    scene.at(40).await;
    scene.behave(3, Behaviour::slowed(4.0));
    scene.at(150).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_failing() {
    let Some(scene) = Scene::begin(3, "all-failing", FAST).await else { return };
    scene.at(30).await;
    (1..=5).for_each(|backend| scene.behave(backend, Behaviour::failing(0.5)));
    scene.at(55).await;
    (1..=5).for_each(|backend| scene.behave(backend, Behaviour::HEALTHY));
    scene.at(90).await;
    scene.end().await;
}

/// Longer than the others: evidence is waited for for five minutes before shares go back to equal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence() {
    let Some(mut scene) = Scene::begin(4, "silence", FAST).await else { return };
    scene.at(20).await;
    scene.behave(1, Behaviour::failing(0.5));
    scene.at(30).await;
    scene.world.telemetry.cut().await;
    scene.behave(2, Behaviour::failing(0.5));
    scene.at(350).await;
    scene.behave(1, Behaviour::HEALTHY);
    scene.world.telemetry.open(scene.world.weir.xds);
    scene.at(375).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_push() {
    let Some(mut scene) = Scene::begin(5, "refused-push", FAST).await else { return };
    let mut odd = Vec::new();
    for node in ["odd-1", "odd-2"] {
        let mut proxy = Proxy::subscribe(scene.world.weir.xds, node).await.unwrap();
        let first = proxy.next().await.unwrap();
        proxy.take(&first).await;
        odd.push(proxy);
    }
    scene.at(25).await;
    scene.world.backends.push(backend(scene.number, 6, FAST));
    scene.world.list(&scene.world.addresses());
    for proxy in &mut odd {
        let second = proxy.next().await.unwrap();
        proxy.refuse(&second, "the endpoint on the moon is too far away").await;
        let again = proxy.next().await.unwrap();
        proxy.take(&again).await;
    }
    scene.at(40).await;
    scene.behave(2, Behaviour::failing(0.5));
    scene.at(60).await;
    scene.behave(2, Behaviour::HEALTHY);
    scene.at(110).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed() {
    let Some(mut scene) = Scene::begin(6, "killed", FAST).await else { return };
    scene.at(25).await;
    scene.behave(4, Behaviour::failing(0.5));
    scene.at(40).await;
    scene.world.kill().await;
    scene.traffic.more(500).await;
    scene.world.restart().await;
    scene.world.reconnected().await;
    scene.behave(4, Behaviour::HEALTHY);
    // Numbers of decisions go on from the last good state, so that some come twice.
    scene.at(86).await;
    scene.end().await;
}

/// A new version that fails one request in twenty gets a fifth of them, and is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_up() {
    if !is_asked("journals") {
        return;
    }
    let Some(mut stage) = Stage::start(&[]).await else { return };
    stage.behave(Behaviour::failing(0.05));
    let traffic = stage.load();
    stage.policy("Enforce", "failureLimit: 1");
    stage.until("the first step is reached", |it| it["weight"] == 0.2).await;
    stage.until("it is given up", |it| it["phase"] == "givenUp").await;
    stage.until("its traffic is back", |it| it["weight"] == 0.0).await;
    stage.weir.more_steps(10).await;
    traffic.stop().await;
    assert_eq!(stage.weir.child.stop().await.unwrap().code(), Some(0));
    let folder = Path::new(KEPT).join("given-up");
    keep(&stage.data().join("journal"), &folder);
    let policy = stage.data().join("../policies/shop.yaml");
    std::fs::copy(policy, folder.join("policy.yaml")).unwrap();
}
