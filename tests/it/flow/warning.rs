//! What is unusual is told, with its evidence, and moves no traffic.

use serde_json::Value;
use weir_testbed::backends::Behaviour;
use weir_tests::world::{Plan, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_gets_slower_than_its_siblings_is_named_by_a_warning() {
    let Some(world) = World::start(Plan { mode: "Observe", ..Plan::USUAL }).await else { return };
    let traffic = world.load();
    world.judging().await;
    world.weir.more_steps(12).await;
    world.backends[3].behave(Behaviour::slowed(40.0));
    let slow = world.backends[3].address().to_string();
    world
        .until("a warning names it", async || {
            let warnings = world.weir.shop().await["warnings"].clone();
            warnings.as_array().unwrap().iter().any(|warning| {
                warning["endpoint"] == *slow && warning["kind"] == "apart" && has_numbers(warning)
            })
        })
        .await;
    let taken = world.taking(&traffic, 300).await;
    assert!(taken.iter().all(|taken| *taken > 0), "nobody is taken out for it: {taken:?}");
    traffic.stop().await;
}

fn has_numbers(warning: &Value) -> bool {
    warning["signal"] == "latency"
        && warning["text"].as_str().is_some_and(|text| text.contains(" ms"))
}
