//! Who may ask, and how much.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::ask::{get, request, send, site};
use crate::story::{Story, at};

fn empty() -> axum::Router {
    site(&Story::new().board, at(0))
}

#[tokio::test]
async fn every_answer_forbids_what_no_page_needs() {
    let site = empty();
    for path in ["/", "/api/v1/services", "/nope", "/assets/weir.js", "/healthz"] {
        let answer = get(&site, path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}

async fn with_host(host: &str) -> StatusCode {
    let request = Request::builder().uri("/api/v1/services").header("host", host);
    send(&empty(), request.body(Body::empty()).unwrap()).await.status
}

#[tokio::test]
async fn a_foreign_name_for_this_host_is_refused() {
    for ours in ["localhost", "localhost:9980", "127.0.0.1:9980", "127.0.0.2", "[::1]:9980"] {
        assert_eq!(with_host(ours).await, StatusCode::OK, "{ours}");
    }
    for foreign in ["evil.example", "evil.example:9980", "127.0.0.1.evil.example", "localhost.", ""]
    {
        assert_eq!(with_host(foreign).await, StatusCode::MISDIRECTED_REQUEST, "{foreign}");
    }
    let nameless = Request::builder().uri("/").body(Body::empty()).unwrap();
    assert_eq!(send(&empty(), nameless).await.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_foreign_page_may_not_listen() {
    for (origin, status) in [
        ("http://localhost:9980", StatusCode::OK),
        ("https://evil.example", StatusCode::FORBIDDEN),
        ("null", StatusCode::FORBIDDEN),
    ] {
        let request = request("/api/v1/services").header("origin", origin);
        assert_eq!(send(&empty(), request.body(Body::empty()).unwrap()).await.status, status);
    }
}

#[tokio::test]
async fn nothing_can_be_written() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request = request("/api/v1/services").method(method).body(Body::empty()).unwrap();
        let answer = send(&empty(), request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
}

#[tokio::test]
async fn large_requests_are_refused() {
    let padded = request("/").header("x-padding", "x".repeat(20_000));
    let answer = send(&empty(), padded.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let announced = request("/").header("content-length", "1000000");
    let answer = send(&empty(), announced.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn people_get_a_page_and_programs_a_document() {
    let site = empty();
    let page = get(&site, "/nope%3Cscript%3E").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text().contains("To the fleet") && !page.text().contains("<script>"));
    let program = Request::builder().uri("/nope").header("host", "localhost");
    let answer = send(&site, program.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
}
