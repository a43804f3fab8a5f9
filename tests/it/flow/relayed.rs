//! In front of another control plane: who fails is taken out of what that one sends, and nothing is lost
//! when either of them goes and comes back.

use weir_tests::until;
use weir_tests::weir::Weir;
use weir_tests::world::{Cluster, Plan, World};

const RELAYED: Plan = Plan { cluster: Cluster::Relayed, ..Plan::USUAL };

/// A world in which one of five endpoints is out.
async fn one_is_out() -> Option<World> {
    let world = World::start(RELAYED).await?;
    let traffic = world.load();
    world.judging().await;
    let even = world.taking(&traffic, 300).await;
    assert!(even.iter().all(|taken| *taken > 30), "all take part at first: {even:?}");
    let failing = world.fail(2);
    world.until_state(failing, "ejected").await;
    traffic.more(200).await;
    assert_eq!(world.taking(&traffic, 300).await[2], 0, "an ejected endpoint gets nothing");
    traffic.stop().await;
    Some(world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fails_is_out_and_stays_out_while_the_relay_is_killed_and_comes_back() {
    let Some(mut world) = one_is_out().await else { return };
    let traffic = world.load();
    for _ in 0..2 {
        traffic.more(100).await;
        world.kill().await;
        traffic.more(100).await;
        world.restart().await;
        world.reconnected().await;
        world.weir.more_steps(2).await;
        assert_eq!(world.taking(&traffic, 200).await[2], 0, "it never comes in between");
    }
    assert_eq!(world.stat("membership_total").await, 5);
    let metrics = metrics(&world.weir).await;
    assert!(metrics.contains("weir_relay_streams 1\n"), "{metrics}");
    assert!(metrics.contains("weir_relay_resources_total{outcome=\"refused\"} 0"), "{metrics}");
    traffic.stop_without_loss().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_may_go_and_come_back_and_its_changes_arrive() {
    let Some(mut world) = one_is_out().await else { return };
    let traffic = world.load();
    let folder = world.folder().join("upstream");
    let upstream = world.upstream.as_mut().unwrap();
    upstream.child.kill().await.unwrap();
    traffic.more(200).await;
    *upstream = Weir::start(&folder, upstream.xds).await;
    world.reconnected().await;
    assert_eq!(world.taking(&traffic, 200).await[2], 0);

    // One endpoint less there is one less here, and who is out is still out.
    let left: Vec<_> = world.addresses().into_iter().take(4).collect();
    world.list(&left);
    until("it is one less", async || world.stat("membership_total").await == 4).await;
    traffic.more(200).await;
    let taken = world.taking(&traffic, 200).await;
    assert_eq!((taken[2], taken[4]), (0, 0), "{taken:?}");
    traffic.stop_without_loss().await;
}

async fn metrics(weir: &Weir) -> String {
    let (_, text) = weir.metrics.get("/metrics").await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}
