//! Proxies that refuse what they are sent.

use weir_tests::proxy::{Proxy, ports};
use weir_tests::world::{Plan, World};

const WORDS: &str = "the endpoint on the moon is too far away";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_endpoints_stand_still_and_the_proxies_words_are_shown() {
    let Some(mut world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    let mut odd = Vec::new();
    for node in ["odd-1", "odd-2"] {
        let mut proxy = Proxy::subscribe(world.weir.xds, node).await.unwrap();
        let first = proxy.next().await.unwrap();
        assert_eq!(ports(&first).len(), 5);
        proxy.take(&first).await;
        odd.push((proxy, ports(&first)));
    }
    world.backends.extend(weir_tests::world::backends(1));
    world.list(&world.addresses());
    for (proxy, good) in &mut odd {
        let second = proxy.next().await.unwrap();
        assert_eq!(ports(&second).len(), 6);
        proxy.refuse(&second, WORDS).await;
        let again = proxy.next().await.unwrap();
        assert_eq!(ports(&again), *good, "the last good is offered again");
        proxy.take(&again).await;
    }
    world
        .until("the service stands still", async || {
            let shop = world.weir.shop().await;
            shop["service"]["stanceText"].as_str().unwrap_or_default().contains("refused")
        })
        .await;
    // Whatever comes now waits, for the proxies that refused nothing too.
    world.weir.more_steps(2).await;
    let before = world.stat("membership_total").await;
    world.backends.extend(weir_tests::world::backends(1));
    world.list(&world.addresses());
    world
        .until("Weir knows of it", async || {
            world.weir.shop().await["service"]["endpoints"]["total"] == 7
        })
        .await;
    world.weir.more_steps(2).await;
    assert_eq!(world.stat("membership_total").await, before);
    let proxies = world.weir.ask("/api/v1/proxies").await;
    let proxies = proxies.as_array().unwrap();
    for node in ["odd-1", "odd-2"] {
        let proxy = proxies.iter().find(|proxy| proxy["node"] == node).unwrap();
        assert_eq!(proxy["types"][0]["kind"], "EDS");
        assert!(proxy["types"][0]["error"].as_str().unwrap().contains(WORDS), "{proxy:#}");
    }
    let ready = world.weir.api.get("/readyz").await.unwrap();
    assert!(String::from_utf8_lossy(&ready.1).contains("held back"), "{ready:?}");
    traffic.stop_without_loss().await;
}
