//! Policies that change while Weir runs.

use serde_json::Value;
use weir_tests::world::{Plan, World, policy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_set_to_observe_gives_the_endpoint_back() {
    let Some(world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    let failing = world.fail(0);
    world.until_state(failing, "ejected").await;
    world.policy(&policy("Observe"));
    world
        .until("it only observes", async || world.weir.shop().await["service"]["mode"] == "observe")
        .await;
    let mut before = world.backends[0].counts().taken;
    world
        .until("the endpoint takes requests again", async || {
            let taken = world.backends[0].counts().taken;
            std::mem::replace(&mut before, taken) < taken
        })
        .await;
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_only_observes_moves_nothing_and_says_what_it_would() {
    let plan = Plan { mode: "Observe", ..Plan::USUAL };
    let Some(world) = World::start(plan).await else { return };
    let traffic = world.load();
    let failing = world.fail(1);
    world.until_state(failing, "ejected").await;
    let taken = world.taking(&traffic, 500).await;
    assert!(taken[1] > 50, "it still takes its part: {taken:?}");
    let page = world.weir.ask("/api/v1/decisions?service=demo/shop").await;
    let acted = page["items"].as_array().unwrap().iter().any(|one| one["acted"] == true);
    assert!(!acted, "{page:#}");
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_policy_keeps_the_goals_and_is_shown_with_its_line() {
    let Some(world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    world.judging().await;
    world.policy(&policy("Enforced"));
    let shown = async || world.weir.ask("/api/v1/policies").await[0].clone();
    world.until("it is shown", async || shown().await["state"] == "lastGood").await;
    let view = shown().await;
    let problem = &view["problems"][0];
    let line = policy("Enforced").lines().position(|line| line.contains("Enforced")).unwrap() + 1;
    assert_eq!(problem["line"], line, "{problem:#}");
    assert!(problem["what"].as_str().unwrap().contains("Enforced"), "{problem:#}");
    assert!(problem["mend"].as_str().unwrap().contains("Enforce"), "{problem:#}");
    assert!(world.weir.said("policies refused; the last good ones stay in force"));

    // The goals of before are in force: a failing endpoint is still taken out.
    let failing = world.fail(3);
    world.until_state(failing, "ejected").await;
    traffic.more(100).await;
    assert_eq!(world.taking(&traffic, 300).await[3], 0);

    world.policy(&policy("Enforce"));
    world.until("it is mended", async || shown().await["state"] == "inForce").await;
    assert_eq!(shown().await["problems"], Value::Array(vec![]));
    traffic.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_broken_while_weir_was_away_keeps_the_goals_too() {
    let Some(mut world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    let failing = world.fail(2);
    world.until_state(failing, "ejected").await;
    world.kill().await;
    world.policy(&policy("Enforced"));
    world.restart().await;
    world.reconnected().await;
    world.weir.more_steps(3).await;
    assert_eq!(world.weir.shop().await["service"]["mode"], "enforce");
    assert_eq!(world.weir.endpoint(failing).await["state"], "ejected");
    assert_eq!(world.taking(&traffic, 300).await[2], 0);
    traffic.stop().await;
}
