//! A small HTTP server for this crate's tests: real sockets, canned answers.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request as far as tests look at it.
pub(crate) struct Request {
    /// Path and query.
    pub(crate) path: String,
    /// All of its head.
    pub(crate) head: String,
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Canned {
    status: String,
    headers: String,
    body: Vec<u8>,
    missing: usize,
}

impl Canned {
    pub(crate) fn new(status: &str, content_type: &str, body: &str) -> Self {
        Self {
            status: status.to_owned(),
            headers: format!("content-type: {content_type}\r\n"),
            body: body.as_bytes().to_vec(),
            missing: 0,
        }
    }

    /// With one header more.
    pub(crate) fn with(mut self, header: &str) -> Self {
        self.headers.push_str(header);
        self.headers.push_str("\r\n");
        self
    }

    /// Promises ten bytes more than it sends.
    pub(crate) fn cut_short(mut self) -> Self {
        self.missing = 10;
        self
    }
}

/// A server that lives as long as this.
pub(crate) struct Server {
    address: std::net::SocketAddr,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Starts a server that answers by this function.
pub(crate) async fn serve(answer: impl Fn(&Request) -> Canned + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            connections.spawn(async move { one(stream, &*answer).await });
        }
    });
    Server { address, _tasks: tasks }
}

async fn one(mut stream: TcpStream, answer: &(impl Fn(&Request) -> Canned + ?Sized)) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let canned = answer(&Request { path, head });
    let length = canned.body.len() + canned.missing;
    let start = format!(
        "HTTP/1.1 {}\r\ncontent-length: {length}\r\nconnection: close\r\n{}\r\n",
        canned.status, canned.headers
    );
    // A client that hangs up early is its own business.
    if stream.write_all(start.as_bytes()).await.is_ok()
        && stream.write_all(&canned.body).await.is_ok()
        && stream.shutdown().await.is_ok()
    {
        tracing::trace!("answered");
    }
}
