//! Weir killed and started again under load: proxies go on with what they have, and nothing
//! that Weir does not know yet is taken from them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use weir_testbed::ports;
use weir_tests::proxy::{self, Proxy};
use weir_tests::until;
use weir_tests::weir::Weir;
use weir_tests::world::{Plan, World, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_started_again_it_serves_the_last_good_before_discovery_has_listed() {
    let Some(mut world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    world.judging().await;
    let failing = world.fail(4);
    world.until_state(failing, "ejected").await;
    traffic.more(200).await;
    assert_eq!(world.taking(&traffic, 100).await[4], 0);
    traffic.stop().await;

    let traffic = world.load();
    traffic.more(100).await;
    world.kill().await;
    std::fs::remove_file(world.endpoints()).unwrap();
    traffic.more(200).await;
    let restarted = Instant::now();
    world.restart().await;
    // A proxy that nobody knew asks before discovery has listed anything.
    let mut stranger = Proxy::subscribe(world.weir.xds, "stranger").await.unwrap();
    let mut all: Vec<u16> = world.addresses().iter().map(SocketAddr::port).collect();
    all.sort_unstable();
    assert_eq!(proxy::ports(&stranger.next().await.unwrap()), all);
    world.reconnected().await;
    println!("Envoy was back {} ms after the start", restarted.elapsed().as_millis());
    world.weir.more_steps(3).await;
    assert_eq!(world.stat("membership_total").await, 5);
    assert_eq!(world.stat("update_empty").await, 0);
    let taken = world.taking(&traffic, 200).await;
    assert_eq!(taken[4], 0, "who was out stays out: {taken:?}");
    world.until_state(failing, "ejected").await;
    traffic.stop_without_loss().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_with_nothing_it_says_nothing_until_discovery_has_listed() {
    let Some(mut world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    traffic.more(100).await;
    world.kill().await;
    std::fs::remove_dir_all(world.data()).unwrap();
    std::fs::remove_file(world.endpoints()).unwrap();
    let attempts = "cluster.weir.upstream_rq_total";
    world.restart().await;
    world.weir.more_steps(2).await;
    // Once more: what it did not know in this life is not what it knows in the next.
    world.kill().await;
    world.restart().await;
    let before = world.envoy.admin.stat(attempts).await.unwrap();
    until("Envoy asks, and asks again", async || {
        world.envoy.admin.stat(attempts).await.unwrap() >= before + 2
    })
    .await;
    world.weir.more_steps(3).await;
    let refused = Proxy::subscribe(world.weir.xds, "stranger").await.err();
    assert_eq!(refused.map(|status| status.code()), Some(tonic::Code::Unavailable));
    let (status, ready) = world.weir.api.get("/readyz").await.unwrap();
    let ready = String::from_utf8_lossy(&ready).into_owned();
    assert!(!status.is_success() && ready.contains("are known of demo/shop"), "{ready}");
    assert_eq!(world.stat("membership_total").await, 5);
    assert_eq!(world.envoy.admin.stat("cluster_manager.active_clusters").await.unwrap(), 3);

    world.list(&world.addresses());
    world.reconnected().await;
    world.weir.more_steps(2).await;
    assert_eq!(world.stat("membership_total").await, 5);
    assert_eq!(world.stat("update_empty").await, 0);
    traffic.more(100).await;
    traffic.stop_without_loss().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_loses_no_request() {
    let Some(mut world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    for requests in [37, 61, 113] {
        traffic.more(requests).await;
        world.kill().await;
        traffic.more(requests).await;
        world.restart().await;
        world.reconnected().await;
    }
    for segment in weir_tests::journal::segments(&world.data()) {
        segment.replay();
    }
    traffic.stop_without_loss().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_new_to_it_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = |namespace: &str| {
        let service = format!("namespace: {namespace}, name: shop, endpoints: {{file: shop.yaml}}");
        write(folder.path(), "weir.yaml", &format!("data_dir: data\nservices: [{{{service}}}]\n"));
    };
    let list = || write(folder.path(), "shop.yaml", "endpoints: [127.0.0.1:1, 127.0.0.1:2]");
    config("demo");
    list();
    let xds = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
    let mut weir = Weir::start(folder.path(), xds).await;
    let saved = folder.path().join("data/state/last-good.0");
    until("it is saved", async || saved.is_file()).await;
    weir.child.kill().await.unwrap();

    // The same cluster, and nobody knows yet who is behind it.
    config("prod");
    std::fs::remove_file(folder.path().join("shop.yaml")).unwrap();
    let weir = Weir::start(folder.path(), xds).await;
    weir.more_steps(2).await;
    let refused = Proxy::subscribe(xds, "proxy-1").await.err();
    assert_eq!(refused.map(|status| status.code()), Some(tonic::Code::Unavailable));
    list();
    let mut answered = None;
    until("it answers", async || {
        answered = Proxy::subscribe(xds, "proxy-1").await.ok();
        answered.is_some()
    })
    .await;
    assert_eq!(proxy::ports(&answered.unwrap().next().await.unwrap()), [1, 2]);
}
