//! Lists of endpoints that shrink or break: nothing is taken away on one word.

use std::net::SocketAddr;

use weir_testbed::backends::Backend;
use weir_tests::world::{Plan, World, write};

/// How many endpoints Envoy has.
async fn members(world: &World) -> u64 {
    world.stat("membership_total").await
}

/// What the API says of reading the list.
async fn error(world: &World) -> String {
    let sources = world.weir.ask("/api/v1/sources").await;
    let sources = sources.as_array().cloned().unwrap_or_default();
    let list = sources.iter().find(|source| source["name"] == "demo/shop");
    list.and_then(|list| list["error"].as_str()).unwrap_or_default().to_owned()
}

/// Lists endpoints of which most are missing, and expects Envoy to keep all five.
async fn withheld(listed: impl FnOnce(&[SocketAddr]) -> Vec<SocketAddr>) {
    let Some(world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    let all = world.addresses();
    world.list(&listed(&all));
    world.until("it is said", async || world.weir.said("source dropped most endpoints")).await;
    world.weir.more_steps(3).await;
    assert_eq!(members(&world).await, 5);
    let (status, ready) = world.weir.api.get("/readyz").await.unwrap();
    let ready = String::from_utf8_lossy(&ready).into_owned();
    assert!(status.is_success() && ready.contains("no longer listed but still served"), "{ready}");
    let taken = world.taking(&traffic, 300).await;
    assert!(taken.iter().all(|taken| *taken > 20), "all still take part: {taken:?}");

    world.list(&all[..4]);
    world.until("a small loss passes", async || members(&world).await == 4).await;
    traffic.stop_without_loss().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_most_endpoints_is_withheld() {
    withheld(|all| all[..2].to_vec()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_all_endpoints_is_withheld() {
    withheld(|_| Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_list_leaves_the_last_one_in_force() {
    let Some(mut world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    for (broken, words) in [
        ("endpoints: [127.0.0.1:80, 127.0.0", "line 1"),
        ("endpoints: [shop.internal:80]", "shop.internal:80"),
        ("endpiont: []", "endpiont"),
        ("", "empty"),
    ] {
        write(world.folder(), "endpoints.yaml", broken);
        world.until(words, async || error(&world).await.contains(words)).await;
        assert!(error(&world).await.contains("endpoints.yaml"), "{}", error(&world).await);
        world.weir.more_steps(2).await;
        assert_eq!(members(&world).await, 5, "{broken:?}");
    }
    world.backends.extend(weir_tests::world::backends(1));
    world.list(&world.addresses());
    world.until("the mended list is taken", async || members(&world).await == 6).await;
    assert_eq!(error(&world).await, "");
    let newest = world.backends.last().map(Backend::address).unwrap();
    world.until("the newest takes part", async || world.backends[5].counts().taken > 0).await;
    assert!(!world.weir.endpoint(newest).await.is_null());
    traffic.stop_without_loss().await;
}
