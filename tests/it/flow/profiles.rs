//! The other ways to set Envoy up: statistics that are read, and clusters of the user's own.

use weir_tests::world::{Cluster, Plan, Telemetry, World};

async fn ejects(plan: Plan) {
    let Some(world) = World::start(plan).await else { return };
    let traffic = world.load();
    world.judging().await;
    let failing = world.fail(1);
    world.until_state(failing, "ejected").await;
    traffic.more(200).await;
    let taken = world.taking(&traffic, 300).await;
    assert_eq!(taken[1], 0, "{taken:?}");
    assert!(taken.iter().enumerate().all(|(n, taken)| n == 1 || *taken > 20), "{taken:?}");
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_judged_by_scraped_statistics_too() {
    ejects(Plan { telemetry: Telemetry::Scrape, ..Plan::USUAL }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_robin_cluster_of_the_users_own_is_governed_by_its_endpoints() {
    ejects(Plan { cluster: Cluster::RoundRobin, ..Plan::USUAL }).await;
}
