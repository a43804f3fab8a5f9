//! An API server that answers as a test tells it to, without a socket: time may be paused.

use std::io;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use http_body_util::StreamBody;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Frame};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tower::service_fn;

/// One answer.
pub(crate) enum Answer {
    /// A status and a document.
    Is(u16, Value),
    /// Events, as the test sends them; the watch ends when the test drops its end.
    Events(mpsc::Receiver<Value>),
    /// None, ever.
    Silence,
    /// The connection breaks.
    Broken,
}

pub(crate) type AskedFor = Arc<Mutex<Vec<String>>>;

/// The client of such a server, and what it was asked for.
pub(crate) fn client(answer: impl FnMut(&str) -> Answer + Send + 'static) -> (Client, AskedFor) {
    let asked = AskedFor::default();
    let (answer, noted) = (Arc::new(Mutex::new(answer)), Arc::clone(&asked));
    let service = service_fn(move |request: http::Request<kube::client::Body>| {
        let path = request.uri().to_string();
        noted.lock().unwrap().push(path.clone());
        let mut answer = answer.lock().unwrap();
        let answered = (*answer)(&path);
        async move {
            match answered {
                Answer::Is(status, document) => {
                    let body = Full::new(Bytes::from(document.to_string()));
                    Ok(response(status, body.map_err(|never| match never {}).boxed()))
                }
                Answer::Events(events) => {
                    let lines = ReceiverStream::new(events)
                        .map(|event| Ok(Frame::data(Bytes::from(format!("{event}\n")))));
                    Ok(response(200, BodyExt::boxed(StreamBody::new(lines))))
                }
                Answer::Silence => std::future::pending().await,
                Answer::Broken => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            }
        }
    });
    (Client::new(service, "default"), asked)
}

fn response(
    status: u16,
    body: BoxBody<Bytes, io::Error>,
) -> http::Response<BoxBody<Bytes, io::Error>> {
    http::Response::builder().status(status).body(body).unwrap()
}

/// A whole list.
pub(crate) fn list(version: &str, items: &[Value]) -> Answer {
    page(version, "", items)
}

/// A part of a list.
pub(crate) fn page(version: &str, next: &str, items: &[Value]) -> Answer {
    let metadata = json!({ "resourceVersion": version, "continue": next });
    Answer::Is(
        200,
        json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items }),
    )
}

/// A refusal.
pub(crate) fn refusal(code: u16, message: &str) -> Answer {
    Answer::Is(code, status(code, message))
}

pub(crate) fn status(code: u16, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": "Reason", "message": message, "details": { "retryAfterSeconds": 0 },
    })
}

/// A watch on which the test speaks.
pub(crate) fn events() -> (mpsc::Sender<Value>, Answer) {
    let (speak, heard) = mpsc::channel(64);
    (speak, Answer::Events(heard))
}

pub(crate) fn event(kind: &str, object: &Value) -> Value {
    json!({ "type": kind, "object": object })
}

pub(crate) fn bookmark(version: &str) -> Value {
    let metadata = json!({ "resourceVersion": version });
    event("BOOKMARK", &json!({ "kind": "Node", "apiVersion": "v1", "metadata": metadata }))
}

#[expect(clippy::needless_pass_by_value, reason = "tests build it in place")]
pub(crate) fn service(name: &str, ports: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "namespace": "shop", "name": name, "resourceVersion": "1" },
        "spec": { "ports": ports, "ipFamilies": ["IPv4"] },
    })
}

/// A slice of Service `web` with the port `http`, 8080.
#[expect(clippy::needless_pass_by_value, reason = "tests build it in place")]
pub(crate) fn slice(name: &str, endpoints: Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": "shop", "name": name, "resourceVersion": "1",
            "labels": { "kubernetes.io/service-name": "web" },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints,
    })
}

pub(crate) fn node(name: &str, region: &str, zone: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name, "resourceVersion": "1",
            "labels": {
                "topology.kubernetes.io/region": region, "topology.kubernetes.io/zone": zone,
            },
        },
    })
}
