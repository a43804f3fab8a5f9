//! Telemetry that stops: everything stays as it is, and nobody is taken out.

use weir_tests::world::{Plan, Telemetry, World};

async fn holds(telemetry: Telemetry) {
    let Some(mut world) = World::start(Plan { telemetry, ..Plan::USUAL }).await else { return };
    let traffic = world.load();
    let failing = world.fail(0);
    world.until_state(failing, "ejected").await;
    world.telemetry.cut().await;
    let other = world.fail(1);
    world
        .until("it holds", async || {
            let service = world.weir.shop().await["service"].clone();
            service["stance"] == "holding" && service["stale"] == true
        })
        .await;
    let text = world.weir.shop().await["service"]["stanceText"].clone();
    assert!(text.as_str().unwrap().contains("no fresh telemetry"), "{text}");
    world.weir.more_steps(3).await;
    assert_eq!(world.weir.endpoint(other).await["state"], "serving");
    assert_eq!(world.weir.endpoint(failing).await["state"], "ejected");
    let taken = world.taking(&traffic, 300).await;
    assert_eq!(taken[0], 0, "{taken:?}");
    assert!(taken[1..].iter().all(|taken| *taken > 20), "{taken:?}");

    let to = match telemetry {
        Telemetry::Push => world.weir.xds,
        Telemetry::Scrape => world.envoy.admin.address(),
    };
    world.telemetry.open(to);
    world
        .until("it acts again", async || world.weir.shop().await["service"]["stance"] != "holding")
        .await;
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_load_reports_it_holds() {
    holds(Telemetry::Push).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_scrapes_it_holds() {
    holds(Telemetry::Scrape).await;
}
