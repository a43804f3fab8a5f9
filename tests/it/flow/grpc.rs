//! gRPC clients without a proxy, governed by Weir's own xDS: real ones, Python's, that know nothing
//! but `xds:///shop`.

use weir_tests::grpc::{SERVERS, Stage, policy};

/// A route without a part for the new version: a rollout that is only watched.
fn watched() -> String {
    rollout("Observe", "[20, 60]")
}

fn rollout(mode: &str, steps: &str) -> String {
    let more = format!(
        "rollout: {{stableRef: {{name: shop-v1}}, canaryRef: {{name: shop-v2}}, stepWeights: {steps}, failureLimit: 1}}"
    );
    policy("shop", &more).replace("mode: Enforce", &format!("mode: {mode}"))
}

/// The same, and the servers of the version in use governed.
fn governed() -> String {
    // Long enough that it is still out when Weir is killed, on a slow machine as well.
    let own = policy("shop-v1", "ejection: {baseEjectionTime: 20s}");
    let own = own.replace("{name: shop,", "{name: shop-v1,");
    format!("{}---\n{own}", watched())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_server_gets_nothing_and_nothing_is_lost_when_weir_is_killed() {
    let Some(mut stage) = Stage::start(&governed()).await else { return };
    let all = stage
        .until_next("requests go round", 200, |seen| SERVERS[0].iter().all(|n| seen.of(&[n]) >= 30))
        .await;
    assert!(all.failures.is_empty() && all.of(SERVERS[1]) == 0, "{all:?}");

    stage.servers.fail("a", true);
    let without =
        stage.until_next("the failing server is out", 200, |seen| seen.failures.is_empty()).await;
    assert_eq!(without.of(&["a"]), 0, "{without:?}");
    let reason = &stage.weir.ask("/api/v1/services/demo/shop-v1").await["endpoints"];
    let out = reason
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["address"] == stage.servers.addresses["a"].as_str());
    assert_eq!(out.unwrap()["state"], "ejected", "{reason:#}");

    stage.kill_weir().await;
    let alone = stage.next(300).await;
    assert!(alone.failures.is_empty(), "{alone:?}");
    assert_eq!(alone.of(&["a"]), 0, "what was decided stays: {alone:?}");
    stage.servers.fail("a", false);
    stage.start_weir().await;
    let proving = stage.until_next("it is tried again", 200, |seen| seen.of(&["a"]) > 0).await;
    let few = proving.of(&["a"]) * 2 < proving.of(&["b"]);
    assert!(few && proving.failures.is_empty(), "its weight is small at first: {proving:?}");
    let back = stage.until_next("the server is back", 200, |seen| seen.of(&["a"]) > 30).await;
    assert!(back.failures.is_empty(), "{back:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_moves_parts_and_a_bad_version_goes_back() {
    let Some(stage) = Stage::start(&watched()).await else { return };
    let before = stage.next(200).await;
    assert_eq!((before.of(SERVERS[1]), before.failures.len()), (0, 0), "{before:?}");

    stage.policy(&rollout("Enforce", "[20, 60]"));
    let part = |seen: &weir_tests::grpc::Seen| seen.of(SERVERS[1]) as f64 / seen.of(&[]) as f64;
    let moved =
        stage.until_next("the first step", 400, |seen| (0.14..0.26).contains(&part(seen))).await;
    assert!(moved.failures.is_empty(), "{moved:?}");

    SERVERS[1].iter().for_each(|name| stage.servers.fail(name, true));
    let back = stage
        .until_next("it goes back", 200, |seen| seen.failures.is_empty() && part(seen) == 0.0)
        .await;
    assert!(back.of(SERVERS[0]) >= 200);
    let shop = stage.weir.shop().await;
    assert_eq!(shop["rollouts"][0]["phase"], "givenUp", "{shop:#}");
}
