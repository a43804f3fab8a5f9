//! Asking a router without a socket.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use weir_dashboard::board::Board;
use weir_dashboard::web::{Hosts, Web, router};
use weir_engine::units::Moment;

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().unwrap()
    }
}

pub fn site(board: &Arc<Board>, now: Moment) -> Router {
    following(board, now, None)
}

/// The pages of a replica that follows another one, whose pages are there.
pub fn following(board: &Arc<Board>, now: Moment, leader: Option<SocketAddr>) -> Router {
    let (board, clock) = (Arc::clone(board), Arc::new(move || now));
    router(Web {
        board,
        clock,
        judge: crate::verdicts::judge,
        hosts: Hosts::Loopback,
        leader: Arc::new(move || leader),
    })
}

/// A request as a browser on this machine sends it.
pub fn request(path: &str) -> axum::http::request::Builder {
    Request::builder().uri(path).header("host", "localhost:9980").header("accept", "text/html")
}

pub async fn send(site: &Router, request: Request<Body>) -> Answer {
    let answer = site.clone().oneshot(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub async fn get(site: &Router, path: &str) -> Answer {
    send(site, request(path).body(Body::empty()).unwrap()).await
}
