//! Failing endpoints: taken out, said why, written down; and not where all fail alike.

use serde_json::Value;
use weir_testbed::backends::Behaviour;
use weir_tests::journal;
use weir_tests::world::{Plan, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_endpoint_is_taken_out_and_the_others_take_its_requests() {
    let Some(mut world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    world.judging().await;
    let even = world.taking(&traffic, 500).await;
    assert!(even.iter().all(|taken| *taken > 50), "all take part at first: {even:?}");

    let failing = world.fail(2);
    world.until_state(failing, "ejected").await;
    // What was on its way when the decision was made has arrived after the first of these.
    traffic.more(200).await;
    let taken = world.taking(&traffic, 500).await;
    assert_eq!(taken[2], 0, "an ejected endpoint gets nothing: {taken:?}");
    assert!(taken.iter().enumerate().all(|(n, taken)| n == 2 || *taken > 50), "{taken:?}");

    let why = world.weir.endpoint(failing).await["why"].clone();
    assert!(why.as_str().unwrap().contains("requests failed"), "{why}");
    let decision = ejection(&world).await;
    let detail = world.weir.ask(&format!("/api/v1/decisions/{}", text(&decision["id"]))).await;
    let change = &detail["changes"][0];
    assert_eq!(change["address"], failing.to_string());
    let evidence = &change["evidence"];
    assert!(evidence["atLeast"].as_f64().unwrap() > evidence["limit"].as_f64().unwrap());
    assert_eq!(detail["answers"]["refused"], 0);
    assert!(text(&decision["why"]).contains("of"), "the numbers are there: {decision}");

    traffic.stop().await;
    let status = world.weir.child.stop().await.unwrap();
    assert_eq!(status.code(), Some(0));
    let segments = journal::segments(&world.data());
    let [segment] = &segments[..] else { panic!("one life, one segment") };
    segment.replay();
    assert!(segment.closed, "the journal is closed in order");
    let number: u64 = text(&decision["id"]).split_once('-').unwrap().0.parse().unwrap();
    let first = segment.state.sequence + 1;
    let step = &segment.steps[usize::try_from(number - first).unwrap()];
    let changed = step.changed.iter().flat_map(|service| &service.endpoints);
    let out: Vec<String> =
        changed.filter(|one| one.is_ejected()).map(|one| one.address.to_string()).collect();
    assert_eq!(out, [failing.to_string()], "the decision stands in the journal");
}

/// The decision that took an endpoint out.
async fn ejection(world: &World) -> Value {
    let page = world.weir.ask("/api/v1/decisions?service=demo/shop").await;
    let items = page["items"].as_array().unwrap();
    items.iter().find(|decision| decision["kind"] == "ejected").unwrap().clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_fail_alike_nobody_is_taken_out() {
    let Some(world) = World::start(Plan::USUAL).await else { return };
    let traffic = world.load();
    world.judging().await;
    for backend in &world.backends {
        backend.behave(Behaviour::failing(0.5));
    }
    world
        .until("it holds for a common cause", async || {
            let shop = world.weir.shop().await;
            shop["service"]["stance"] == "holding"
                && text(&shop["service"]["stanceText"]).contains("at once")
        })
        .await;
    world.weir.more_steps(5).await;
    let shop = world.weir.shop().await;
    assert_eq!(shop["service"]["endpoints"]["ejected"], 0, "{shop:#}");
    let taken = world.taking(&traffic, 500).await;
    assert!(taken.iter().all(|taken| *taken > 50), "all still take part: {taken:?}");
    traffic.stop().await;
}
