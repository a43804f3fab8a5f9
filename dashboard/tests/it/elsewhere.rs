//! A replica that follows shows the pages of the one that decides, and its own where it cannot.

use std::sync::Arc;

use axum::body::Body;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use weir_dashboard::board::Board;
use weir_dashboard::web::serve::serve;
use weir_engine::units::Moment;

use crate::ask::{following, get, request, send, site};
use crate::story::{Story, at};

#[tokio::test]
async fn what_a_follower_is_asked_the_one_that_decides_answers() {
    let decides = site(&Story::whole().board, at(300));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let leader = listener.local_addr().unwrap();
    let mut servers = JoinSet::new();
    servers.spawn(serve(listener, decides.clone(), std::future::pending()));
    let own = Arc::new(Board::new(Moment::default()));
    let follower = following(&own, Moment::default(), Some(leader));

    let services = get(&follower, "/api/v1/services").await;
    assert_eq!(services.text(), get(&decides, "/api/v1/services").await.text());
    assert!(services.text().contains("shop"), "{}", services.text());
    let page = get(&follower, "/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(get(&follower, "/nowhere").await.status, 404);
    let question =
        request("/api/v1/verdicts/flagger").method("POST").body(Body::from("{}")).unwrap();
    assert_eq!(send(&follower, question).await.status, 400, "a body is handed on as well");

    for path in ["/api/v1/sources", "/api/v1/proxies", "/readyz"] {
        let alone = get(&site(&own, Moment::default()), path).await;
        assert_eq!(get(&follower, path).await.text(), alone.text(), "{path} is its own");
    }
    let foreign = axum::http::Request::builder().uri("/").header("host", "elsewhere.example");
    assert_eq!(send(&follower, foreign.body(Body::empty()).unwrap()).await.status, 421);

    servers.shutdown().await;
    assert_eq!(get(&follower, "/api/v1/services").await.text(), "[]", "better its own than none");
}

/// Two that each take the other for the one that decides.
#[tokio::test]
async fn nothing_goes_in_circles() {
    let own = Arc::new(Board::new(Moment::default()));
    let (one, other) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let at = (one.local_addr().unwrap(), other.local_addr().unwrap());
    let mut servers = JoinSet::new();
    for (listener, leader) in [(one, at.1), (other, at.0)] {
        let pages = following(&own, Moment::default(), Some(leader));
        servers.spawn(serve(listener, pages, std::future::pending()));
    }
    let pages = following(&own, Moment::default(), Some(at.0));
    assert_eq!(get(&pages, "/api/v1/services").await.status, 200);
}
