//! Envoy's admin interface: what it knows, asked over HTTP.

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::HOST;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The largest answer taken: `/config_dump` of a thousand clusters is a few megabytes.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// How long an answer may take; Envoy's main thread answers between other work.
const WITHIN: Duration = Duration::from_secs(10);

/// Why the admin interface gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nothing came back.
    #[error("Envoy's admin interface did not answer {path}")]
    NoAnswer {
        /// What was asked for.
        path: String,
        /// The cause, where there is one beside time.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Something else than 200.
    #[error("Envoy's admin interface answered {path} with {status}")]
    Status {
        /// What was asked for.
        path: String,
        /// The status.
        status: StatusCode,
    },
    /// No JSON where JSON was due.
    #[error("Envoy's admin interface answered {path} with no JSON")]
    Json {
        /// What was asked for.
        path: String,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A client of one Envoy's admin interface.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    address: SocketAddr,
}

impl Admin {
    /// The interface at that address.
    pub fn new(address: SocketAddr) -> Admin {
        Admin { address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The answer to a GET, whatever its status.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        self.ask(Method::GET, path).await
    }

    /// Does something (`/runtime_modify?key=value`, `/reset_counters`).
    pub async fn post(&self, path: &str) -> Result<(), AdminError> {
        self.ask(Method::POST, path).await.and_then(|answer| good(path, answer)).map(drop)
    }

    /// Whether it serves: everything it waits for at its start is there.
    pub async fn serving(&self) -> bool {
        self.get("/ready").await.is_ok_and(|(status, _)| status == StatusCode::OK)
    }

    /// The counters and gauges whose name contains `part`.
    pub async fn stats(&self, part: &str) -> Result<BTreeMap<String, u64>, AdminError> {
        let path = format!("/stats?filter={}", regex_of(part));
        let text = good(&path, self.get(&path).await?)?;
        let text = String::from_utf8_lossy(&text);
        let number = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(number).collect())
    }

    /// One counter or gauge, 0 where there is none.
    pub async fn stat(&self, name: &str) -> Result<u64, AdminError> {
        Ok(self.stats(name).await?.remove(name).unwrap_or(0))
    }

    /// `/clusters?format=json`: each endpoint's health, weight and counters.
    pub async fn clusters(&self) -> Result<Value, AdminError> {
        self.json("/clusters?format=json").await
    }

    /// `/config_dump`: all that is configured, endpoints included.
    pub async fn config_dump(&self) -> Result<Value, AdminError> {
        self.json("/config_dump?include_eds").await
    }

    /// The listeners by name, with the addresses that they really have.
    pub async fn listeners(&self) -> Result<BTreeMap<String, SocketAddr>, AdminError> {
        let answer = self.json("/listeners?format=json").await?;
        let listener = |status: &Value| {
            let socket = &status["local_address"]["socket_address"];
            let host = socket["address"].as_str()?.parse().ok()?;
            let port = u16::try_from(socket["port_value"].as_u64()?).ok()?;
            Some((status["name"].as_str()?.to_owned(), SocketAddr::new(host, port)))
        };
        let statuses = answer["listener_statuses"].as_array();
        Ok(statuses.into_iter().flatten().filter_map(listener).collect())
    }

    async fn json(&self, path: &str) -> Result<Value, AdminError> {
        let body = good(path, self.get(path).await?)?;
        serde_json::from_slice(&body)
            .map_err(|source| AdminError::Json { path: path.to_owned(), source })
    }

    async fn ask(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), AdminError> {
        let no_answer = |source| AdminError::NoAnswer { path: path.to_owned(), source };
        match timeout(WITHIN, self.exchange(method, path)).await {
            Ok(answer) => answer.map_err(|source| no_answer(Some(source))),
            Err(_) => Err(no_answer(None)),
        }
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), Cause> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let host = HeaderValue::from_str(&self.address.to_string())?;
        let request = Request::builder().method(method).uri(path).header(HOST, host);
        let request = request.body(Empty::<Bytes>::new())?;
        let answer = pin!(async move {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), BODY_MAX).collect().await?;
            Ok((status, body.to_bytes()))
        });
        match select(Box::pin(connection), answer).await {
            Either::Right((answer, _)) => answer,
            Either::Left((ended, answer)) => {
                ended?;
                answer.await
            }
        }
    }
}

fn good(path: &str, (status, body): (StatusCode, Bytes)) -> Result<Bytes, AdminError> {
    if status == StatusCode::OK {
        Ok(body)
    } else {
        Err(AdminError::Status { path: path.to_owned(), status })
    }
}

/// Names of statistics hold no other character that means something to a pattern or a URL.
fn regex_of(part: &str) -> String {
    part.replace('.', "%5C.")
}
