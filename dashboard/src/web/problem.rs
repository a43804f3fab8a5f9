//! What a wrong request gets: a problem document (RFC 9457), or a page for people.

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::view::plain;

/// A problem with a request, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Which kind of problem, stable across versions.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, and how to mend it.
    pub detail: String,
}

/// The kinds of problems that a request can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Path,
    Service,
    Decision,
    Query,
    Hook,
    Pair,
    Worse,
    NotProven,
    NotWorse,
    Method,
    Host,
    Origin,
    TooLarge,
    TooManyStreams,
    TooSlow,
    Rendering,
}

impl Wrong {
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Path => (StatusCode::NOT_FOUND, "unknown-path", "Nothing here"),
            Self::Service => (StatusCode::NOT_FOUND, "unknown-service", "Unknown service"),
            Self::Decision => (StatusCode::NOT_FOUND, "unknown-decision", "Unknown decision"),
            Self::Query => (StatusCode::BAD_REQUEST, "bad-query", "Bad query"),
            Self::Hook => (StatusCode::BAD_REQUEST, "bad-hook", "Bad webhook"),
            Self::Pair => (StatusCode::NOT_FOUND, "unknown-pair", "Unknown pair"),
            Self::Worse => (StatusCode::CONFLICT, "worse", "The new version is worse"),
            Self::NotProven => (StatusCode::TOO_EARLY, "not-proven", "Nothing is proven yet"),
            Self::NotWorse => (StatusCode::CONFLICT, "not-worse", "No reason to roll back"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "read-only", "Read only"),
            Self::Host => (StatusCode::MISDIRECTED_REQUEST, "unknown-host", "Unknown host"),
            Self::Origin => (StatusCode::FORBIDDEN, "foreign-origin", "Foreign origin"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Request too large"),
            Self::TooManyStreams => {
                (StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", "Too many event streams")
            }
            Self::TooSlow => (StatusCode::GATEWAY_TIMEOUT, "too-slow", "Took too long"),
            Self::Rendering => (StatusCode::INTERNAL_SERVER_ERROR, "rendering", "Page not made"),
        }
    }

    /// The problem with what is wrong in this case and how to mend it.
    pub(crate) fn because(self, detail: impl Into<String>) -> Problem {
        let (status, kind, title) = self.facts();
        Problem {
            kind: format!("urn:weir:problem:{kind}"),
            title: title.into(),
            status: status.as_u16(),
            detail: plain(&detail.into()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).expect("a problem is strings and a number");
        let kind = [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        (status, kind, body).into_response()
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    problem: &'a Problem,
}

impl Problem {
    /// The problem as a page, for someone who came with a browser.
    pub(crate) fn page(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match (ProblemPage { problem: &self }).render() {
            Ok(page) => {
                let kind = [
                    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                    (header::CACHE_CONTROL, "no-store"),
                ];
                (status, kind, page).into_response()
            }
            Err(_) => self.into_response(),
        }
    }

    /// The problem as what the client reads best.
    pub(crate) fn answer(self, path: &str, headers: &HeaderMap) -> Response {
        let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let html = accepts.is_some_and(|accepts| accepts.contains("text/html"));
        if html && !path.starts_with("/api/") { self.page() } else { self.into_response() }
    }
}

/// The answer for paths that do not exist.
pub(crate) async fn unknown_path(request: Request) -> Response {
    let uri = request.uri();
    let detail = format!(
        "there is nothing at {}; pages start at /, the API at /api/openapi.json",
        uri.path()
    );
    Wrong::Path.because(detail).answer(uri.path(), request.headers())
}
