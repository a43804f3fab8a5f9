//! Weir's own metrics.

use axum::body::Body;
use axum::http::Request;
use weir_dashboard::web::metrics_router;

use crate::ask::{get, send, site};
use crate::story::{STEPS, Story, at};

async fn text(story: &Story) -> String {
    let router = metrics_router(std::sync::Arc::clone(&story.board));
    let request = Request::builder().uri("/metrics").body(Body::empty()).unwrap();
    let answer = send(&router, request).await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    answer.text().to_owned()
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn figures_follow_the_story() {
    let story = Story::whole();
    let text = text(&story).await;
    for (series, expected) in [
        ("weir_steps_total", 300.0),
        ("weir_services{mode=\"enforce\"}", 1.0),
        ("weir_endpoints{state=\"ejected\"}", 2.0),
        ("weir_endpoints{state=\"serving\"}", 18.0),
        ("weir_service_stances{stance=\"stale\"}", 1.0),
        ("weir_service_warnings{kind=\"unusual\"}", 1.0),
        ("weir_service_warnings{kind=\"apart\"}", 1.0),
        ("weir_service_warnings{kind=\"misfit\"}", 0.0),
        ("weir_decisions_total{kind=\"ejected\"}", 4.0),
        ("weir_decisions_total{kind=\"probation\"}", 2.0),
        ("weir_receipts_total{outcome=\"taken\"}", 1_200.0),
        ("weir_receipts_total{outcome=\"refused\"}", 0.0),
        ("weir_sources{state=\"failing\"}", 1.0),
        ("weir_proxies{state=\"connected\"}", 4.0),
        ("weir_policies{state=\"in_force\"}", 1.0),
        ("weir_ready", 1.0),
    ] {
        assert!((value(&text, series) - expected).abs() < 1e-9, "{series}:\n{text}");
    }
    let expected = at(STEPS).millis() as f64 / 1e3;
    assert!((value(&text, "weir_last_step_timestamp_seconds") - expected).abs() < 1e-3);
}

#[tokio::test]
async fn rollouts_are_counted_by_phase() {
    let mut story = Story::of_a_rollout();
    story.tell(30);
    let stepping = text(&story).await;
    story.tell(70);
    let given_up = text(&story).await;
    for (text, phase) in [(&stepping, "stepping"), (&given_up, "given_up")] {
        for other in ["stepping", "watching", "done", "given_up", "paused"] {
            let expected = f64::from(u8::from(other == phase));
            let found = value(text, &format!("weir_rollouts{{phase=\"{other}\"}}"));
            assert!((found - expected).abs() < 1e-9, "{other}: {found}");
        }
        assert!(value(text, "weir_rollouts_held").abs() < 1e-9);
    }
    assert!((value(&given_up, "weir_decisions_total{kind=\"rollout\"}") - 2.0).abs() < 1e-9);
}

#[tokio::test]
async fn names_are_prefixed_and_every_series_exists_from_the_start() {
    let fresh = text(&Story::of(Vec::new())).await;
    let told = text(&Story::whole()).await;
    let series = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert!(series(&fresh).iter().all(|name| name.starts_with("weir_")));
    // No endpoint, service or node ever becomes a label: a mesh of any size has the same series.
    assert_eq!(series(&fresh).len(), series(&told).len());
    assert!(fresh.ends_with("# EOF\n"));
}

#[tokio::test]
async fn answers_are_counted_by_kind() {
    let story = Story::new();
    let site = site(&story.board, at(0));
    get(&site, "/").await;
    get(&site, "/nope").await;
    get(&site, "/api/v1/decisions/x").await;
    let text = text(&story).await;
    assert!((value(&text, "weir_http_requests_total{answer=\"ok\"}") - 1.0).abs() < 1e-9);
    assert!((value(&text, "weir_http_requests_total{answer=\"client_error\"}") - 2.0).abs() < 1e-9);
}

/// Time is observed where it is measured: in the loop.
#[tokio::test]
async fn a_steps_duration_is_a_histogram_in_seconds() {
    let story = Story::new();
    story.board.metrics().step_took(std::time::Duration::from_millis(7));
    let text = text(&story).await;
    assert!((value(&text, "weir_step_duration_seconds_bucket{le=\"0.005\"}")).abs() < 1e-9);
    assert!((value(&text, "weir_step_duration_seconds_bucket{le=\"0.01\"}") - 1.0).abs() < 1e-9);
}
