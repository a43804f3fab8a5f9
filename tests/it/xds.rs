//! Weir's xDS server with a real Envoy: it serves, follows weights, survives a bad push and a
//! restart of the server, and loses no request.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use weir_engine::observation::Outcome;
use weir_proxy_adapter::bootstrap::Protocol;
use weir_proxy_adapter::resource::TypeUrl;
use weir_proxy_adapter::server::Urgency;
use weir_testbed::envoy::eventually;
use weir_testbed::required;

mod site;
use site::{Push, Site};

/// Far more than Envoy needs for anything here, and less than the 15 s that it waits for
/// endpoints which do not come.
const SOON: Duration = Duration::from_secs(8);

/// Longer than the pause after a refusal.
const AFTER_A_REFUSAL: Duration = Duration::from_secs(20);

async fn site(protocol: Protocol) -> Option<Site> {
    let envoy = required::or_skip("envoy", weir_testbed::envoy::find())?;
    let mut site = Site::start(&envoy, protocol).await;
    site.publish(Push { weights: [50, 50], ..Push::first() });
    site.weir.publisher.open();
    site.envoy.serving(SOON).await.unwrap();
    site.listen().await;
    Some(site)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_follows_weights_incrementally() {
    follows_weights(Protocol::Delta).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_follows_weights_in_state_of_the_world() {
    follows_weights(Protocol::StateOfTheWorld).await;
}

async fn follows_weights(protocol: Protocol) {
    let Some(mut site) = site(protocol).await else { return };
    let even = site.load(400).await;
    assert_eq!(even.errors, 0);
    assert!((0.4..0.6).contains(&even.first_share), "{even:?}");

    let destroyed = site.destroyed().await;
    let second = Push { weights: [99, 1], decision: 2, ..Push::first() };
    site.publish(second);
    assert_eq!(site.receipt(2).await, Outcome::Taken);
    let moved = site.load(400).await;
    assert_eq!(moved.errors, 0);
    assert!(moved.first_share > 0.95, "{moved:?}");
    assert_eq!(site.destroyed().await, destroyed, "a push of weights destroys no connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_turns_away_what_it_is_told_to() {
    let Some(mut site) = site(Protocol::Delta).await else { return };
    site.publish(Push { turned_away: 25, weights: [51, 50], decision: 2, ..Push::first() });
    assert_eq!(site.receipt(2).await, Outcome::Taken);
    // The weights are others too: Envoy overlooks the part otherwise.
    let turning = site.load(1_000).await;
    assert!((180..320).contains(&turning.errors), "{turning:?}");
    site.publish(Push { decision: 3, ..Push::first() });
    assert_eq!(site.receipt(3).await, Outcome::Taken);
    assert_eq!(site.load(400).await.errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_cluster_does_not_stay_warming_incrementally() {
    does_not_stay_warming(Protocol::Delta).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_cluster_does_not_stay_warming_in_state_of_the_world() {
    does_not_stay_warming(Protocol::StateOfTheWorld).await;
}

async fn does_not_stay_warming(protocol: Protocol) {
    let Some(site) = site(protocol).await else { return };
    let connect_timeout = Duration::from_secs(2);
    let before = site.acked(TypeUrl::Cluster);
    // Only the cluster changes; its endpoints are what they were.
    site.publish(Push { connect_timeout, ..Push::first() });
    let taken = eventually(SOON, async || site.acked(TypeUrl::Cluster) > before).await;
    assert!(taken, "the change is held back until the cluster is warm");
    assert_eq!(site.envoy.admin.stat("cluster_manager.warming_clusters").await.unwrap(), 0);
    assert_eq!(site.load(100).await.errors, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_push_keeps_the_last_good_incrementally() {
    keeps_the_last_good(Protocol::Delta).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_push_keeps_the_last_good_in_state_of_the_world() {
    keeps_the_last_good(Protocol::StateOfTheWorld).await;
}

async fn keeps_the_last_good(protocol: Protocol) {
    let Some(mut site) = site(protocol).await else { return };
    assert_eq!(site.receipt(1).await, Outcome::Taken);
    // Nobody may send a weight of zero; what would happen if somebody did?
    site.publish(Push { weights: [100, 0], decision: 2, ..Push::first() });
    let Outcome::Refused(words) = site.receipt(2).await else { panic!("a weight of zero taken") };
    assert!(words.contains("value must be greater than or equal to 1"), "{words}");
    assert!(!words.contains('\n') && words.len() <= 1024);
    let seen = site.refusal(TypeUrl::Endpoints).await;
    assert_eq!((&*seen.names[0], &seen.words), (site::CLUSTER, &words));
    let load = site.load(400).await;
    assert_eq!(load.errors, 0);
    assert!((0.4..0.6).contains(&load.first_share), "{load:?}");
    assert_eq!(site.receipt(1).await, Outcome::Taken, "the last good is offered again");

    site.publish(Push { weights: [1, 99], decision: 3, ..Push::first() });
    assert_eq!(site.receipt_within(3, AFTER_A_REFUSAL).await, Outcome::Taken);
    let load = site.load(400).await;
    assert_eq!(load.errors, 0);
    assert!(load.first_share < 0.05, "{load:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_loses_no_request_incrementally() {
    restarts(Protocol::Delta).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_loses_no_request_in_state_of_the_world() {
    restarts(Protocol::StateOfTheWorld).await;
}

async fn restarts(protocol: Protocol) {
    let Some(mut site) = site(protocol).await else { return };
    site.publish(Push { weights: [80, 20], decision: 2, ..Push::first() });
    assert_eq!(site.receipt(2).await, Outcome::Taken);
    let load = site.load_for(Duration::from_secs(6), 300.0);
    let restart = async {
        for epoch in 2..5 {
            site.weir.stop().await;
            site.weir = site.another(epoch);
            // A server that has loaded nothing yet says nothing.
            tokio::time::sleep(Duration::from_millis(300)).await;
            site.publish(Push { weights: [80, 20], decision: 2, ..Push::first() });
            site.weir.publisher.open();
            assert!(site.connected().await, "Envoy comes back");
        }
    };
    let (load, ()) = tokio::join!(load, restart);
    assert_eq!(load.errors(), 0, "of {}", load.requests);
    assert!(load.requests > 1_000, "{}", load.requests);
    assert_eq!(site.envoy.admin.stat("cluster_manager.cluster_removed").await.unwrap(), 0);
    // And goes on from where it was.
    site.publish(Push { weights: [1, 99], decision: 3, ..Push::first() });
    assert_eq!(site.receipt(3).await, Outcome::Taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_world_is_withheld_from_envoy() {
    let Some(mut site) = site(Protocol::StateOfTheWorld).await else { return };
    assert_eq!(site.receipt(1).await, Outcome::Taken);
    site.weir.publisher.publish(Arc::default(), Urgency::Now);
    let withheld = site.weir.publisher.standing.wait_for(|standing| !standing.withheld.is_empty());
    assert!(tokio::time::timeout(SOON, withheld).await.unwrap().is_ok());
    let load = site.load(200).await;
    assert_eq!(load.errors, 0);
}
