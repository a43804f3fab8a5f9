//! A new version behind a real Envoy: it takes over when it is good, goes back when it is not, and
//! no request is lost on the way. Parts are measured where requests arrive.

use serde_json::Value;
use weir_testbed::backends::Behaviour;
use weir_tests::journal;
use weir_tests::until;
use weir_tests::versions::Stage;

/// A part as it is measured: 1,000 requests and more, each routed by chance, stray by 0.06 in four
/// deviations.
#[track_caller]
fn about(measured: f64, expected: f64) {
    assert!((measured - expected).abs() < 0.07, "{measured} of the requests, not {expected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_version_takes_over_and_a_restart_takes_nothing_back() {
    // Latency takes four looks of five seconds to judge, failures take two.
    let Some(mut stage) = Stage::start(&["--no-access-log"]).await else { return };
    let traffic = stage.load();
    assert_eq!(stage.share(&traffic, 300).await, 0.0, "watching sends nothing to it");

    stage.policy("Enforce", "");
    stage.until("the first step is reached", |it| it["weight"] == 0.2).await;
    traffic.more(200).await;
    about(stage.share(&traffic, 1_000).await, 0.2);
    stage.until("the second step is reached", |it| it["weight"] == 0.6).await;

    // From now on nothing may go back, whatever happens to Weir.
    traffic.more(200).await;
    stage.killed_and_started().await;
    about(stage.share(&traffic, 1_000).await, 0.6);
    let after = stage.until("it goes on", |it| it["weight"].is_number()).await;
    assert!(after["weight"].as_f64().unwrap() >= 0.6, "{after:#}");
    stage.until("all goes to it", |it| it["weight"] == 1.0).await;
    let watched = stage.rollout().await;
    assert_eq!(watched["phase"], "watching", "{watched:#}");
    assert!(watched["why"].as_str().unwrap().contains("watched for"), "{watched:#}");
    traffic.more(200).await;
    assert_eq!(stage.share(&traffic, 300).await, 1.0);

    // A policy that goes leaves the route as it is.
    stage.without_policy();
    stage
        .until("it is held", |it| it["why"].as_str().unwrap().contains("no policy wants it"))
        .await;
    assert_eq!(stage.share(&traffic, 300).await, 1.0);
    traffic.stop_without_loss().await;
    stage.weir.child.stop().await.unwrap();
    for segment in journal::segments(&stage.data()) {
        segment.replay();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_version_goes_back_and_only_its_own_failures_are_seen() {
    let Some(stage) = Stage::start(&["--sotw"]).await else { return };
    stage.behave(Behaviour::failing(0.05));
    let traffic = stage.load();
    stage.policy("Enforce", "failureLimit: 1");
    stage.until("the first step is reached", |it| it["weight"] == 0.2).await;
    let given_up = stage.until("it is given up", |it| it["phase"] == "givenUp").await;
    let why = given_up["why"].as_str().unwrap();
    assert!(why.contains("worse") && given_up["evidence"].as_str().unwrap().contains("errors"));
    stage.until("its traffic is back", |it| it["weight"] == 0.0).await;
    traffic.more(200).await;
    assert_eq!(stage.share(&traffic, 300).await, 0.0);
    stage.behave(Behaviour::HEALTHY);
    stage.weir.more_steps(8).await;
    assert_eq!(stage.share(&traffic, 300).await, 0.0, "what is given up stays so");
    let tally = traffic.stop().await;
    assert!(tally.requests > 1_000 && stage.failed() > 0);
    assert_eq!(tally.errors(), stage.failed(), "of {} requests", tally.requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_does_not_know_the_new_version_keeps_its_last_route() {
    let Some(stage) = Stage::with_an_unknown_version().await else { return };
    let traffic = stage.load();
    stage.policy("Enforce", "");
    stage.until("the first step is wanted", |it| it["weight"] == 0.2).await;
    let mut route = Value::Null;
    until("Envoy has refused the route", async || {
        let proxies = stage.weir.ask("/api/v1/proxies").await;
        let types = proxies[0]["types"].as_array().cloned().unwrap_or_default();
        route = types.into_iter().find(|one| one["kind"] == "RDS").unwrap_or_default();
        route["sync"] == "refused"
    })
    .await;
    assert!(
        route["error"].as_str().unwrap().contains("unknown weighted cluster 'shop-v2'"),
        "{route:#}"
    );
    assert_eq!(stage.share(&traffic, 500).await, 0.0);
    traffic.stop_without_loss().await;
}
