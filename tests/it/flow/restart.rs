//! Weir killed and started again under load: proxies go on with what they have, and nothing
//! that Weir does not know yet is taken from them.

use std::time::Instant;

use weir_tests::proxy::{Proxy, ports};
use weir_tests::until;
use weir_tests::world::{Plan, World};

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
    let mut all: Vec<u16> = world.addresses().iter().map(std::net::SocketAddr::port).collect();
    all.sort_unstable();
    assert_eq!(ports(&stranger.next().await.unwrap()), all);
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
    let before = world.envoy.admin.stat(attempts).await.unwrap();
    until("Envoy asks, and asks again", async || {
        world.envoy.admin.stat(attempts).await.unwrap() >= before + 2
    })
    .await;
    world.weir.more_steps(3).await;
    let refused = Proxy::subscribe(world.weir.xds, "stranger").await.err();
    assert_eq!(refused.map(|status| status.code()), Some(tonic::Code::Unavailable));
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
