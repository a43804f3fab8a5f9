//! What tools that roll out are told, by GET and by Flagger's POST.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};
use weir_dashboard::view::rollout::Finding as Shown;
use weir_dashboard::view::verdict::{Basis, VerdictView};
use weir_dashboard::web::problem::Problem;
use weir_engine::comparison::{Bar, Finding, Look, Verdict};

use crate::ask::{Answer, get, request, send, site};
use crate::story::{Story, at};

/// Four tenths more failures are worse, fewer fine, and five looks have to be there: a judge whose
/// answers can be told in advance.
pub fn judge(looks: &[Look], _: &Bar) -> Verdict {
    let sum = |part: fn(&Look) -> f64| looks.iter().map(part).sum::<f64>();
    let canary = sum(|look| look.canary.errors) / sum(|look| look.canary.requests);
    let stable = sum(|look| look.stable.errors) / sum(|look| look.stable.requests);
    let finding = match () {
        () if looks.len() < 5 => Finding::Inconclusive,
        () if canary > 1.4 * stable => Finding::Fail,
        () => Finding::Pass,
    };
    Verdict { finding, comparisons: Vec::new() }
}

/// The story's mesh after so many seconds: `demo/shop` fails from its 232nd second on.
fn told(steps: u64) -> axum::Router {
    let mut story = Story::new();
    story.tell(steps);
    site(&story.board, at(steps))
}

async fn post(site: &axum::Router, body: &str) -> Answer {
    let asked = request("/api/v1/verdicts/flagger").method("POST");
    let asked = asked.header("content-type", "application/json").header("accept", "*/*");
    send(site, asked.body(Body::from(body.to_owned())).unwrap()).await
}

/// What Flagger sends for a Canary named `shop`.
fn hook(metadata: &Value) -> String {
    let phase = "Progressing";
    json!({ "name": "shop", "namespace": "demo", "phase": phase, "checksum": "5d4f", "metadata": metadata })
        .to_string()
}

const PAIR: &str = "/api/v1/verdicts/demo/catalog?canary=shop";

#[tokio::test]
async fn two_services_without_a_rollout_are_compared_by_their_last_minutes() {
    let early: VerdictView = get(&told(12), PAIR).await.json();
    assert_eq!((early.verdict, early.basis), (Shown::Inconclusive, Basis::Recent));
    assert!(early.canary.requests > 5_000 && early.stable.requests > 1_000, "{early:?}");
    let text = "demo/shop is neither proven good enough nor worse beside demo/catalog";
    assert!(early.text.starts_with(text), "{}", early.text);

    let good: VerdictView = get(&told(60), PAIR).await.json();
    assert_eq!(good.verdict, Shown::Pass, "{good:?}");
    assert_eq!(good.since.map(|since| since.0.millis() / 5_000), Some(at(1).millis() / 5_000));
    let bad = told(240);
    let recent: VerdictView = get(&bad, &format!("{PAIR}&window=2m")).await.json();
    assert_eq!(recent.verdict, Shown::Fail, "{recent:?}");
    let whole: VerdictView = get(&bad, PAIR).await.json();
    assert!(whole.canary.requests > recent.canary.requests);
}

#[tokio::test]
async fn a_version_that_nobody_calls_is_judged_by_nothing_old() {
    let silent = get(&told(390), "/api/v1/verdicts/demo/shop?canary=pay/ledger").await;
    let view: VerdictView = silent.json();
    assert_eq!((view.verdict, view.canary.requests), (Shown::Inconclusive, 0));
    assert!(view.text.ends_with("no request to it in the last 2 minutes"), "{}", view.text);
}

#[tokio::test]
async fn a_rollout_of_weirs_own_is_answered_by_itself() {
    let mut story = Story::of_a_rollout();
    story.tell(200);
    let site = site(&story.board, at(200));
    for service in ["search", "search-v6"] {
        let path = format!("/api/v1/verdicts/shop/{service}?canary=shop/search-v7");
        let view: VerdictView = get(&site, &path).await.json();
        assert_eq!(view.basis, Basis::Rollout);
        let (stable, canary) = (&view.stable, &view.canary);
        assert_eq!((&*stable.service, &*canary.service), ("shop/search-v6", "shop/search-v7"));
        assert!(!view.comparisons.is_empty() && canary.requests > 0, "{view:?}");
        assert!(view.bound.is_some());
    }
}

#[tokio::test]
async fn what_is_not_known_or_not_understood_says_how_to_mend_it() {
    let site = told(12);
    for (query, status, detail) in [
        ("demo/catalog?canary=shop-v9", 404, "nothing is known of demo/shop-v9"),
        ("demo/nope?canary=shop", 404, "nothing is known of demo/nope"),
        ("demo/catalog", 400, "canary"),
        ("demo/catalog?canary=shop&window=1h", 400, "write 2m to 15m"),
        ("demo/catalog?canary=shop&nextPercent=0", 400, "above 0 and up to 100"),
    ] {
        let answer = get(&site, &format!("/api/v1/verdicts/{query}")).await;
        let problem: Problem = answer.json();
        assert_eq!(answer.status.as_u16(), status, "{query}: {problem:?}");
        assert!(problem.detail.contains(detail), "{query}: {problem:?}");
    }
    for (body, detail) in [
        ("{", "JSON"),
        (&hook(&json!({ "onInconclusve": "pass" })), "onInconclusve"),
        (&hook(&json!({ "nextPercent": "many" })), "above 0"),
    ] {
        let answer = post(&site, body).await;
        let problem: Problem = answer.json();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(problem.detail.contains(detail), "{problem:?}");
    }
    let unnamed = post(&site, &hook(&json!({}))).await;
    assert_eq!(unnamed.status, StatusCode::NOT_FOUND);
    assert!(unnamed.text().contains("demo/shop-canary"), "{}", unnamed.text());
}

/// After so many seconds Flagger, that asks with this metadata, is answered so.
#[track_caller]
fn check(steps: u64, extra: &[(&str, &str)], expected: u16) {
    let mut metadata = json!({ "service": "catalog", "canary": "shop", "window": "2m" });
    for (key, value) in extra {
        metadata[key] = json!(value);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(async { post(&told(steps), &hook(&metadata)).await });
    assert_eq!(answer.status.as_u16(), expected, "{}", answer.text());
}

#[test]
fn flagger_goes_on_waits_or_goes_back() {
    check(60, &[], 200);
    check(12, &[], 425);
    check(12, &[("onInconclusive", "wait")], 425);
    check(12, &[("onInconclusive", "pass")], 200);
    check(240, &[], 409);
    check(240, &[("onInconclusive", "pass")], 409);
}

#[test]
fn flagger_rolls_back_only_what_is_proven_worse() {
    check(240, &[("ask", "rollback")], 200);
    check(60, &[("ask", "rollback")], 409);
    check(12, &[("ask", "rollback")], 409);
    check(12, &[("ask", "rollback"), ("onInconclusive", "pass")], 409);
}

#[tokio::test]
async fn a_foreign_page_may_not_ask_and_too_much_is_not_read() {
    let site = told(1);
    let asked = request("/api/v1/verdicts/flagger").method("POST");
    let foreign = asked.header("origin", "https://evil.example").body(Body::empty()).unwrap();
    assert_eq!(send(&site, foreign).await.status, StatusCode::FORBIDDEN);
    let long = post(&site, &"x".repeat(100_000)).await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
}
