//! Somebody else moves the requests, and asks Weir over HTTP whether the new version may go on.

use serde_json::{Value, json};
use weir_testbed::backends::Behaviour;
use weir_tests::traffic::Traffic;
use weir_tests::versions::Stage;
use weir_tests::world::RATE;

/// What a tool that asks is answered: the status, and the body.
async fn flagger(stage: &Stage, more: &[(&str, &str)]) -> (u16, Value) {
    let mut metadata = json!({ "service": "shop-v1", "canary": "shop-v2" });
    for (key, value) in more {
        metadata[key] = json!(value);
    }
    let hook = json!({
        "name": "shop", "namespace": "demo", "phase": "Progressing", "checksum": "7c9",
        "metadata": metadata,
    });
    let url = format!("http://{}/api/v1/verdicts/flagger", stage.weir.api.address());
    let client = weir_collectors::http::client(&weir_collectors::http::Options::default()).unwrap();
    let post = client.post(url).header("content-type", "application/json");
    let answer = post.body(hook.to_string()).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

/// As Argo Rollouts asks.
async fn argo(stage: &Stage) -> Value {
    stage.weir.ask("/api/v1/verdicts/demo/shop-v1?canary=shop-v2").await
}

/// Asks until the verdict is this.
async fn until(stage: &Stage, verdict: &str) -> Value {
    let mut last = Value::Null;
    // Looks take five seconds each, and a verdict takes some.
    for _ in 0..6 {
        let came = weir_testbed::envoy::eventually(weir_tests::WITHIN, async || {
            last = argo(stage).await;
            last["verdict"] == verdict
        });
        if came.await {
            return last;
        }
    }
    panic!("never {verdict}: {last:#}\n{}", stage.weir.child.log_tail());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_version_may_go_on_and_a_bad_one_is_held_without_any_policy() {
    let Some(mut stage) = Stage::start(&["--no-access-log"]).await else { return };
    stage.without_policy();
    let (status, silent) = flagger(&stage, &[]).await;
    assert_eq!(status, 425, "nothing is proven of what nobody calls: {silent:#}");

    // The version in use is called: the new one has to be tried before it can prove anything.
    let [old, new] = stage.past;
    let stable = Traffic::start(old, RATE);
    weir_tests::until("its first step may go", async || flagger(&stage, &[]).await.0 == 200).await;
    let (status, unseen) = flagger(&stage, &[]).await;
    assert_eq!(status, 425, "but no other before it is seen: {unseen:#}");
    assert_eq!(flagger(&stage, &[("ask", "rollback")]).await.0, 409);
    let canary = Traffic::start(new, RATE / 3.0);
    let passed = until(&stage, "pass").await;
    assert_eq!(passed["basis"], "recent", "{passed:#}");
    assert!(passed["canary"]["requests"].as_u64().unwrap() > 300, "{passed:#}");
    assert!(passed["bound"].as_f64().unwrap() <= 0.01, "{passed:#}");
    let (status, body) = flagger(&stage, &[]).await;
    assert_eq!((status, &body["verdict"]), (200, &json!("pass")));
    assert_eq!(flagger(&stage, &[("ask", "rollback")]).await.0, 409);

    stage.behave(Behaviour::failing(0.2));
    let failed = until(&stage, "fail").await;
    assert!(failed["canary"]["errors"].as_u64() > failed["stable"]["errors"].as_u64());
    assert!(failed["text"].as_str().unwrap().contains("demo/shop-v2 is worse"), "{failed:#}");
    let (status, body) = flagger(&stage, &[("onInconclusive", "pass")]).await;
    assert_eq!((status, &body["detail"].as_str().unwrap().contains("is worse")), (409, &true));
    assert_eq!(flagger(&stage, &[("ask", "rollback")]).await.0, 200);

    // Asked or not, all decisions are what the journal's observations make of them.
    stable.stop_without_loss().await;
    drop(canary);
    let data = stage.data();
    stage.weir.child.stop().await.unwrap();
    for segment in weir_tests::journal::segments(&data) {
        segment.replay();
    }
}
