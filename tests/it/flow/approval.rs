//! Under Recommend: what Weir offers, a person approves on the machine, and only that is done.

use serde_json::Value;
use weir_tests::journal;
use weir_tests::versions::Stage;
use weir_tests::weir::{Ended, run};
use weir_tests::world::{Plan, World};

fn approve(data: &std::path::Path, arguments: &[&str]) -> Ended {
    let data = data.to_str().unwrap();
    run(["approve", "--data-dir", data].iter().chain(arguments))
}

/// The only offer.
fn offer(data: &std::path::Path) -> Option<Value> {
    let listed = approve(data, &["-o", "json"]);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    listed["offers"].as_array().unwrap().first().cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approved_ejection_is_done_until_it_is_withdrawn_and_outlives_a_kill() {
    let plan = Plan { mode: "Recommend", ..Plan::USUAL };
    let Some(mut world) = World::start(plan).await else { return };
    let (traffic, data) = (world.load(), world.data());
    world.judging().await;
    let nothing = approve(&data, &[]);
    assert!(nothing.stdout.contains("nothing waits"), "{nothing:?}");
    let failing = world.fail(1);
    world.until("it is offered", async || offer(&data).is_some()).await;
    let offered = offer(&data).unwrap();
    let id = offered["id"].as_str().unwrap();
    assert_eq!(offered["text"], format!("eject {failing}"), "{offered:#}");
    let taken = world.taking(&traffic, 500).await;
    assert!(taken[1] > 50, "nobody approved anything: {taken:?}");

    let wrong = approve(&data, &["demo/shop@1"]);
    assert_eq!(wrong.code, Some(65));
    assert!(wrong.stderr.contains(&format!("now it is {id}")), "{}", wrong.stderr);
    let early = approve(&data, &[id, "--withdraw"]);
    assert!(early.stderr.contains("nothing to take back"), "{}", early.stderr);

    let done = approve(&data, &[id, "--for", "2h", "--by", "ann"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.contains(&format!("eject {failing}")), "{}", done.stdout);
    world.backends[1].behave(weir_testbed::backends::Behaviour::failing(1.0));
    let out = async |world: &World| {
        world.until("it takes nothing", async || world.taking(&traffic, 100).await[1] == 0).await;
    };
    out(&world).await;
    let service = world.weir.shop().await["service"].clone();
    assert!(service["approval"]["by"].as_str().unwrap().starts_with("ann (uid "), "{service:#}");
    world.kill().await;
    world.restart().await;
    world.judging().await;
    assert_eq!(world.weir.shop().await["service"]["approval"]["id"], *id);
    out(&world).await;

    let ended = approve(&data, &[id, "--withdraw"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    world.until("it takes its part", async || world.taking(&traffic, 300).await[1] > 30).await;
    traffic.stop().await;
    world.weir.child.stop().await.unwrap();
    let words: Vec<_> = journal::segments(&data)
        .iter()
        .inspect(|segment| segment.replay())
        .flat_map(|segment| segment.steps.clone())
        .flat_map(|step| step.observation.words)
        .collect();
    assert_eq!(words.len(), 2, "both stand in the journal: {words:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_a_new_version_waits_for_approval() {
    let Some(stage) = Stage::start(&["--no-access-log"]).await else { return };
    let traffic = stage.load();
    stage.policy("Recommend", "");
    stage.until("the first step is offered", |it| it["offer"].is_object()).await;
    assert_eq!(stage.share(&traffic, 300).await, 0.0, "nothing goes to it before");
    let offered = offer(&stage.data()).unwrap();
    assert_eq!(offered["text"], "send 20 % to demo/shop-v2", "{offered:#}");
    let done = approve(&stage.data(), &[offered["id"].as_str().unwrap()]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    stage.until("it gets its part", |it| it["weight"] == 0.2).await;
    let next = stage.until("the next step is offered", |it| it["offer"].is_object()).await;
    assert_eq!(next["weight"], 0.2, "{next:#}");
    let diff = run(["diff", stage.data().to_str().unwrap(), "--objects", "-o", "json"]);
    assert_eq!(diff.code, Some(0), "{}", diff.stderr);
    let diff: Value = serde_json::from_str(&diff.stdout).unwrap();
    let shop =
        diff["services"].as_array().unwrap().iter().find(|one| one["service"] == "demo/shop");
    let route = &shop.unwrap()["objects"]["kubernetes"]["now"][0];
    assert_eq!(route["kind"], "HTTPRoute", "{shop:#?}");
    let backends = &route["spec"]["rules"][0]["backendRefs"];
    assert_eq!([&backends[0]["weight"], &backends[1]["weight"]], [8_000, 2_000]);
    traffic.stop_without_loss().await;
}

#[test]
fn without_a_weir_it_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    let ended = approve(folder.path(), &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("weir.sock; start one with weir run"), "{}", ended.stderr);
}
