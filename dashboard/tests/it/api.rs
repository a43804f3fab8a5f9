//! What programs get.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::Value;
use weir_dashboard::view::decision::{DecisionDetail, DecisionPage, Kind};
use weir_dashboard::view::mesh::{PolicyView, ProxyView, SourceView};
use weir_dashboard::view::service::{HistoryView, ServiceDetail, ServiceSummary, Stance};
use weir_dashboard::web::problem::Problem;

use crate::ask::{get, request, send, site};
use crate::story::{STEPS, Story, at};

fn told() -> axum::Router {
    site(&Story::whole().board, at(STEPS))
}

#[tokio::test]
async fn services_are_listed_with_what_is_known_of_them() {
    let services: Vec<ServiceSummary> = get(&told(), "/api/v1/services").await.json();
    let names: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["catalog", "shop", "ledger"]);
    let shop = &services[1];
    assert_eq!((shop.endpoints.total, shop.endpoints.ejected), (10, 1));
    assert_eq!(shop.stance, Stance::Steering);
    let rate = shop.traffic.requests_per_second.unwrap();
    assert!((rate - 1_200.0).abs() < 60.0, "{rate}");
    let ledger = &services[2];
    assert!(ledger.stale && ledger.telemetry_age_ms == Some(60_000));
    assert_eq!(ledger.traffic.requests_per_second, None, "what is old is not shown as what is");
}

#[tokio::test]
async fn a_service_says_why_each_endpoint_gets_what_it_gets() {
    let shop: ServiceDetail = get(&told(), "/api/v1/services/demo/shop").await.json();
    let out = &shop.endpoints[3];
    assert_eq!(
        out.why,
        "ejected 3 times in a row, back on probation in 10 s: \
         9 of 33 requests failed (at least 20 %, limit 1.0 %)"
    );
    assert!((shop.endpoints.iter().map(|endpoint| endpoint.share).sum::<f64>() - 1.0).abs() < 1e-9);
    assert_eq!(shop.decisions[0].title, "Ejected 10.0.0.4:8080");
}

#[tokio::test]
async fn history_has_a_column_a_second_and_a_value_or_null_in_each() {
    let history: HistoryView = get(&told(), "/api/v1/services/demo/shop/history").await.json();
    assert_eq!((history.step_ms, history.at.len(), history.endpoints.len()), (1_000, 300, 10));
    let path = "/api/v1/services/demo/shop/history?offset=8&limit=5";
    let last: HistoryView = get(&told(), path).await.json();
    assert_eq!((last.total, last.endpoints.as_slice()), (10, &history.endpoints[8..]));
    let failing = &history.endpoints[3];
    assert!(failing.errors[233].unwrap() > 20, "{:?}", failing.errors);
    assert_eq!(failing.requests[290], Some(0));
    let ledger = get(&told(), "/api/v1/services/pay/ledger/history?range=15m").await;
    let ledger: HistoryView = ledger.json();
    assert_eq!((ledger.step_ms, ledger.at.len()), (5_000, 180));
    assert_eq!(ledger.endpoints[0].requests[179], None, "silence is not zero");
}

#[tokio::test]
async fn decisions_are_paged_newest_first_and_every_one_once() {
    let site = told();
    let all: DecisionPage = get(&site, "/api/v1/decisions?limit=200").await.json();
    assert!(all.next.is_none() && all.items.len() > 8);
    let mut seen = Vec::new();
    let mut path = "/api/v1/decisions?limit=3".to_owned();
    loop {
        let page: DecisionPage = get(&site, &path).await.json();
        assert!(page.items.len() <= 3);
        seen.extend(page.items);
        let Some(next) = page.next else { break };
        path = format!("/api/v1/decisions?limit=3&cursor={next}");
    }
    assert_eq!(seen, all.items);
    assert!(seen.windows(2).all(|pair| pair[0].at >= pair[1].at));
    let shop: DecisionPage = get(&site, "/api/v1/decisions?service=demo/shop").await.json();
    assert!(shop.items.iter().all(|decision| decision.name == "shop"));
    assert!(shop.items.len() < all.items.len());
}

#[tokio::test]
async fn a_decision_carries_what_it_was_made_of() {
    let site = told();
    let detail: DecisionDetail = get(&site, "/api/v1/decisions/1234-1").await.json();
    assert_eq!(detail.decision.kind, Kind::Ejected);
    let change = &detail.changes[0];
    assert_eq!(change.address, "10.0.0.4:8080");
    let evidence = change.evidence.as_ref().unwrap();
    assert!(evidence.at_least.unwrap() > evidence.limit);
    assert_eq!((detail.inputs.clients, detail.inputs.reporters), (40, 4));
    assert_eq!(detail.inputs.rows[0].address, "10.0.0.4:8080", "who it is about comes first");
    assert_eq!(detail.answers.taken, 4);
    let effect = detail.effect.unwrap();
    assert!(effect.requests_before > 5_000 && effect.requests_after > 15_000);
    assert!(effect.error_ratio_before.unwrap() > 4.0 * effect.error_ratio_after.unwrap());
    assert!(detail.sent[0].groups[0].members.iter().any(|member| member.health == "unhealthy"));
}

#[tokio::test]
async fn what_stands_around_is_listed() {
    let site = told();
    let policies: Vec<PolicyView> = get(&site, "/api/v1/policies").await.json();
    let proxies: Vec<ProxyView> = get(&site, "/api/v1/proxies").await.json();
    let sources: Vec<SourceView> = get(&site, "/api/v1/sources").await.json();
    assert_eq!((policies.len(), proxies.len(), sources.len()), (1, 4, 3));
}

#[track_caller]
fn is_problem(problem: &Problem, kind: &str, mentions: &str) {
    assert_eq!(problem.kind, format!("urn:weir:problem:{kind}"));
    assert!(problem.detail.contains(mentions), "{:?} lacks {mentions:?}", problem.detail);
}

#[tokio::test]
async fn wrong_requests_get_a_problem_that_says_how_to_mend_it() {
    let site = told();
    for (path, status, kind, mentions) in [
        ("/api/v1/nope", 404, "unknown-path", "/api/openapi.json"),
        ("/api/v1/services/demo/nope", 404, "unknown-service", "/api/v1/services"),
        ("/api/v1/decisions/9-9", 404, "unknown-decision", "/api/v1/decisions"),
        ("/api/v1/decisions/x", 404, "unknown-decision", "1042-0"),
        ("/api/v1/decisions?limit=0", 400, "bad-query", "1 to 200"),
        ("/api/v1/decisions?limit=x", 400, "bad-query", "limit"),
        ("/api/v1/decisions?nope=1", 400, "bad-query", "nope"),
        ("/api/v1/decisions?cursor=x", 400, "bad-query", "next"),
        ("/api/v1/decisions?service=shop", 400, "bad-query", "namespace/name"),
        ("/api/v1/services/demo/shop/history?range=1d", 400, "bad-query", "5m"),
        ("/api/v1/events?topics=step,nope", 400, "bad-query", "decision"),
    ] {
        let answer = get(&site, path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        let problem: Problem = answer.json();
        assert_eq!(problem.status, status);
        is_problem(&problem, kind, mentions);
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let site = told();
    for path in ["/api/v1/services", "/", "/services/demo/shop", "/assets/weir.css"] {
        let first = get(&site, path).await;
        let tag = first.header("etag").to_owned();
        let again = request(path).header("if-none-match", format!("\"x\", {tag}"));
        let again = send(&site, again.body(Body::empty()).unwrap()).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        assert_eq!(again.header("etag"), tag);
        let other = request(path).header("if-none-match", "W/\"0000000000000000\"");
        assert_eq!(send(&site, other.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn health_is_what_the_process_says_of_itself() {
    let story = Story::new();
    let fresh = site(&story.board, at(0));
    assert_eq!(get(&fresh, "/healthz").await.status, StatusCode::OK);
    assert_eq!(get(&fresh, "/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    story.surround();
    let ready = get(&fresh, "/readyz").await;
    assert_eq!(ready.status, StatusCode::OK);
    assert!(ready.text().contains("telemetry"));
}

/// The description of the API and what it really answers are held against each other.
#[tokio::test]
async fn every_answer_is_as_the_description_says() {
    let site = told();
    let description: Value = get(&site, "/api/openapi.json").await.json();
    for (path, asked) in [
        ("/api/v1/services", "/api/v1/services"),
        ("/api/v1/services/{namespace}/{name}", "/api/v1/services/demo/shop"),
        ("/api/v1/services/{namespace}/{name}/history", "/api/v1/services/demo/shop/history"),
        ("/api/v1/decisions", "/api/v1/decisions?limit=200"),
        ("/api/v1/decisions/{id}", "/api/v1/decisions/1234-1"),
        ("/api/v1/policies", "/api/v1/policies"),
        ("/api/v1/proxies", "/api/v1/proxies"),
        ("/api/v1/sources", "/api/v1/sources"),
        ("/readyz", "/readyz"),
    ] {
        let answer: Value = get(&site, asked).await.json();
        holds(&description, path, ("200", "application~1json"), &answer);
    }
    let problem: Value = get(&site, "/api/v1/decisions/x").await.json();
    let kind = ("404", "application~1problem+json");
    holds(&description, "/api/v1/decisions/{id}", kind, &problem);
}

#[track_caller]
fn holds(description: &Value, path: &str, (status, kind): (&str, &str), answer: &Value) {
    let pointer = format!(
        "/paths/{}/get/responses/{status}/content/{kind}/schema",
        path.replace('~', "~0").replace('/', "~1")
    );
    let schema = description.pointer(&pointer).unwrap_or_else(|| panic!("no {pointer}"));
    // A schema may refer to the description's components; both stand in one document.
    let whole = serde_json::json!({
        "allOf": [schema],
        "components": description["components"],
    });
    let validator = jsonschema::validator_for(&whole).unwrap();
    let wrong: Vec<_> = validator.iter_errors(answer).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{path}: {wrong:#?}");
}

/// A change of the API is seen in review.
#[tokio::test]
async fn the_description_is_the_one_that_is_checked_in() {
    let description: Value = get(&told(), "/api/openapi.json").await.json();
    insta::assert_snapshot!("openapi", serde_json::to_string_pretty(&description).unwrap());
}
