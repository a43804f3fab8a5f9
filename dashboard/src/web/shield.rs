//! What every request passes: who it says it asks, how large it is, how long it takes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, Wrong};
use super::{Hosts, Shared};
use crate::api::verdicts::FLAGGER;

/// The longest that an answer may take to begin; pages take milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of headers: browsers send some hundred, proxies in between some thousand.
const HEADERS_MAX: usize = 16 * 1024;

/// The largest body. Only Flagger's question has one, of some hundred bytes.
const BODY_MAX: u64 = 256 * 1024;

/// What a kubelet or a load balancer asks for by whatever name: it says nothing about the mesh.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// What a browser may do with an answer: no script but ours, no frame, no guessing.
const SECURITY: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Lets a request through, or answers what is wrong with it.
pub(crate) async fn shield(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let mut answer = match refusal(&shared.web.hosts, &request) {
        Some(problem) => refused(problem, &request),
        None => match tokio::time::timeout(TIMEOUT, next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => Wrong::TooSlow
                .because("the answer took more than 10 s; ask for less, or again later")
                .into_response(),
        },
    };
    shared.web.board.metrics().answered(answer.status().as_u16());
    for (name, value) in SECURITY {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn refused(problem: Problem, request: &Request) -> Response {
    let read_only = problem.status == 405;
    let mut answer = problem.answer(request.uri().path(), request.headers());
    if read_only {
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

/// What is wrong with a request before anyone looks at its path.
fn refusal(hosts: &Hosts, request: &Request) -> Option<Problem> {
    let headers = request.headers();
    wrong_host(hosts, request.uri(), headers)
        .filter(|_| !HEALTH.contains(&request.uri().path()))
        .or_else(|| wrong_origin(hosts, headers))
        .or_else(|| wrong_method(request.method(), request.uri().path()))
        .or_else(|| too_large(headers))
}

fn wrong_host(hosts: &Hosts, uri: &Uri, headers: &HeaderMap) -> Option<Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(axum::http::uri::Authority::as_str).or(host).unwrap_or_default();
    (!hosts.include(without_port(host))).then(|| {
        Wrong::Host.because(format!(
            "this server is not known as {host:?}; ask for localhost, or add the name to \
             listen.hosts in weir.yaml"
        ))
    })
}

fn wrong_origin(hosts: &Hosts, headers: &HeaderMap) -> Option<Problem> {
    let origin = headers.get(header::ORIGIN)?;
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let ours = host.is_some_and(|(_, host)| hosts.include(without_port(host)));
    (!ours).then(|| {
        Wrong::Origin.because(format!("pages of {origin:?} may not ask; open Weir's own pages"))
    })
}

fn wrong_method(method: &Method, path: &str) -> Option<Problem> {
    // A question, though posted: nothing that it reaches can be changed.
    let asks =
        matches!(*method, Method::GET | Method::HEAD) || *method == Method::POST && path == FLAGGER;
    (!asks).then(|| {
        Wrong::Method.because(format!(
            "{method} changes things and nothing can be changed here; policies are files, edit them \
             there"
        ))
    })
}

fn too_large(headers: &HeaderMap) -> Option<Problem> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let body = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let body = body.and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
    (size > HEADERS_MAX || body > BODY_MAX).then(|| {
        Wrong::TooLarge.because(format!(
            "headers may have {HEADERS_MAX} bytes and a body {BODY_MAX}; nothing here needs more"
        ))
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

impl Hosts {
    fn include(&self, host: &str) -> bool {
        let loopback = matches!(host, "localhost" | "[::1]" | "127.0.0.1")
            || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        match self {
            Self::Loopback => loopback,
            Self::Also(names) => {
                loopback || names.iter().any(|name| name.eq_ignore_ascii_case(host))
            }
        }
    }
}
