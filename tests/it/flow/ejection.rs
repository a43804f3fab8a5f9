//! Failing endpoints: taken out, said why, written down; and not where all fail alike.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use weir_testbed::backends::Behaviour;
use weir_tests::journal;
use weir_tests::weir::run;
use weir_tests::world::{Plan, World, write};

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
    told_by_the_journal(&world.data(), failing, number);
}

/// What a user finds out of the journal that Weir left: that it replays, why the decision was taken
/// and what came of it, and that a test of it holds.
fn told_by_the_journal(data: &Path, failing: SocketAddr, number: u64) {
    let tell = |arguments: &[&str]| {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    };
    let data = data.to_str().unwrap();
    assert!(tell(&["replay", data]).contains("every decision is the same, byte for byte"));
    assert!(tell(&["journal", "verify", data]).contains("checksums and chain hold"));
    let shown = tell(&["journal", "show", data, "--service", "demo/shop"]);
    assert!(shown.contains(&format!("decision {number} ")), "{shown}");
    let about = format!("demo/shop/{failing}");
    let why = tell(&["explain", &number.to_string(), "--journal", data]);
    assert!(
        why.contains(&about.replace("shop/", "shop ")) && why.contains("wished     out:"),
        "{why}"
    );
    let last = tell(&["explain", &about, "--journal", data]);
    assert!(last.contains("came       not known: the journal ends before"), "{last}");
    let expected = format!(
        "journal: {data}\nexpect: [{{ ejects: '{failing}' }}, {{ ejectedMost: 1 }}, \
         {{ neverEjects: any, until: +1s }}]\n"
    );
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "test.yaml", &expected);
    let held = tell(&["test", folder.path().to_str().unwrap()]);
    assert!(held.contains("4 expectations held, 0 failed"), "{held}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_observed_is_shown_as_what_enforcing_would_change() {
    let Some(world) = World::start(Plan { mode: "Observe", ..Plan::USUAL }).await else { return };
    let traffic = world.load();
    world.judging().await;
    let failing = world.fail(2);
    world.until_state(failing, "ejected").await;
    let taken = world.taking(&traffic, 500).await;
    assert!(taken.iter().all(|taken| *taken > 50), "it is only observed: {taken:?}");
    // The journal is written on meanwhile.
    let data = world.data().display().to_string();
    let ended = run(["diff", &data, "--objects", "-o", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
    let service = &shown["services"][0];
    let moved = service["moved"].as_f64().unwrap();
    assert!((moved - 0.2).abs() < 1e-6, "one of five: {service:#}");
    let unhealthy = |objects: &Value| objects.to_string().matches("UNHEALTHY").count();
    assert_eq!(unhealthy(&service["objects"]["envoy"]["now"]), 0);
    assert_eq!(unhealthy(&service["objects"]["envoy"]["enforced"]), 1);
    let told = run(["diff", &data, "--service", "demo/shop"]).stdout;
    assert!(told.contains("enforcing would move 20.0 % of its traffic now"), "{told}");
    let other = run(["diff", &data, "--service", "demo/cart"]);
    assert_eq!(other.code, Some(65), "{}", other.stdout);
    traffic.stop().await;
}
