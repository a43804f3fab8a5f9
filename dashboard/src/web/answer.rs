//! Answers that a client may keep: with an entity tag, so that what has not changed is not sent.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// JSON for a client that may hold an older copy.
pub(crate) fn json(request: &HeaderMap, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("views have string keys");
    tagged(request, "application/json", body)
}

/// A page for a client that may hold an older copy.
pub(crate) fn html(request: &HeaderMap, page: String) -> Response {
    tagged(request, "text/html; charset=utf-8", page.into_bytes())
}

/// Any body for a client that may hold an older copy. The tag is weak: it names the content, not
/// the bytes of a transfer encoding.
pub(crate) fn tagged(request: &HeaderMap, kind: &'static str, body: Vec<u8>) -> Response {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("W/\"{:016x}\"", hasher.finish());
    let known = request.get_all(header::IF_NONE_MATCH).iter();
    let known = known.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let fresh = known.map(str::trim).any(|known| known == tag || known == "*");
    let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes");
    let shared =
        [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if fresh {
        (StatusCode::NOT_MODIFIED, shared).into_response()
    } else {
        (shared, [(header::CONTENT_TYPE, kind)], body).into_response()
    }
}
