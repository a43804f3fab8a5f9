//! Pages of several replicas, of which one decides: it does not matter which of them a browser is led to.
//!
//! A replica that follows has no services and no decisions of its own to show, so it hands what it is asked on to the
//! one that decides. Where that cannot be reached it answers itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::uri::{Authority, Scheme};
use axum::http::{HeaderMap, Uri, request};
use axum::middleware::Next;
use axum::response::Response;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::{BODY_MAX, Shared};

/// How long an answer may take to begin; then this replica answers itself, within the time that it has.
const WITHIN: Duration = Duration::from_secs(3);

/// What is handed on is not handed on again.
const HANDED_ON: HeaderName = HeaderName::from_static("weir-handed-on");

/// What is true of each replica for itself: its health, its own sources and its own proxies.
const OWN: [&str; 4] = ["/healthz", "/readyz", "/api/v1/sources", "/api/v1/proxies"];

/// What belongs to a connection and not to what is said on it (RFC 9110, 7.6.1).
const OF_A_CONNECTION: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE];

/// Asks the one that decides.
pub(crate) type Asker = Client<HttpConnector, Body>;

/// An asker, for a router's life.
pub(crate) fn asker() -> Asker {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(WITHIN / 3));
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(4).build(connector)
}

/// Hands a request on if somebody else decides, and else, or if that fails, to this replica's own pages.
pub(crate) async fn hand_on(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let own = OWN.contains(&request.uri().path()) || request.headers().contains_key(HANDED_ON);
    let leader = (shared.web.leader)().filter(|_| !own);
    let Some(leader) = leader else { return next.run(request).await };
    let (head, body) = request.into_parts();
    // One that is too long is nobody's: the own pages refuse it.
    let body = to_bytes(body, BODY_MAX).await.unwrap_or_default();
    match ask(&shared.asker, leader, (&head, body.clone())).await {
        Some(answer) => answer,
        None => next.run(Request::from_parts(head, Body::from(body))).await,
    }
}

async fn ask(
    asker: &Asker,
    leader: SocketAddr,
    (head, body): (&request::Parts, Bytes),
) -> Option<Response> {
    let mut parts = head.uri.clone().into_parts();
    // Whom the browser asked for stands in `host`, by which the other judges it as this one did.
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(leader.to_string()).ok()?);
    let mut asked = Request::new(Body::from(body));
    *asked.method_mut() = head.method.clone();
    *asked.uri_mut() = Uri::from_parts(parts).ok()?;
    *asked.headers_mut() = head.headers.clone();
    without_connection(asked.headers_mut());
    asked.headers_mut().insert(HANDED_ON, HeaderValue::from_static("1"));
    let answer = tokio::time::timeout(WITHIN, asker.request(asked)).await;
    let mut answer = match answer {
        Ok(Ok(answer)) => answer.map(Body::new),
        Ok(Err(error)) => {
            tracing::debug!(%leader, %error, "the pages of the one that decides cannot be reached");
            return None;
        }
        Err(_) => return None,
    };
    without_connection(answer.headers_mut());
    Some(answer)
}

fn without_connection(headers: &mut HeaderMap) {
    for name in OF_A_CONNECTION {
        headers.remove(name);
    }
}
