//! Two endpoints of `demo/shop` whose sidecars are scraped: the first fails every fourth request
//! and starts anew after a while, the second ends before that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Good requests from one scrape to the next.
pub(super) const REQUESTS: u64 = 60;
/// Failed ones at the first endpoint.
pub(super) const ERRORS: u64 = 20;

/// The second one's last scrape.
const ENDS_AFTER: usize = 8;
/// The first one starts anew with this scrape.
const ANEW_AT: usize = 12;

pub(super) struct Sidecars {
    /// In ascending order.
    pub(super) addresses: Vec<SocketAddr>,
    scrapes: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Sidecars {
    pub(super) async fn start() -> Self {
        let mut listeners = Vec::new();
        for _ in 0..2 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        // As endpoints are ordered: by their text.
        listeners.sort_by_key(|listener| listener.local_addr().unwrap().to_string());
        let addresses = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
        let scrapes = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for (number, listener) in listeners.into_iter().enumerate() {
            let first = Arc::clone(&scrapes);
            let count = if number == 0 { first } else { Arc::default() };
            tasks.spawn(serve(listener, number, count));
        }
        Self { addresses, scrapes, _tasks: tasks }
    }

    /// How often the first one was scraped.
    pub(super) fn scrapes(&self) -> usize {
        self.scrapes.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, number: usize, count: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let scrape = count.fetch_add(1, Ordering::Relaxed) + 1;
        if number == 0 || scrape <= ENDS_AFTER {
            answer(stream, &page(number, scrape)).await;
        }
    }
}

async fn answer(mut stream: TcpStream, body: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    // A scrape that is given up comes again.
    stream.write_all(answer.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

/// As Istio writes it, with what it has beside.
fn page(number: usize, scrape: usize) -> String {
    let since = if scrape >= ANEW_AT { scrape - ANEW_AT + 1 } else { scrape } as u64;
    let labels = "reporter=\"destination\",destination_service_namespace=\"demo\",\
                  destination_service_name=\"shop\"";
    let good = since * REQUESTS;
    let mut page = format!(
        "istio_requests_total{{{labels},response_code=\"200\",response_flags=\"-\"}} {good}\n\
         istio_requests_total{{reporter=\"source\",response_code=\"200\"}} {good}\n"
    );
    let mut all = good;
    if number == 0 {
        let bad = since * ERRORS;
        all += bad;
        page += &format!(
            "istio_requests_total{{{labels},response_code=\"503\",response_flags=\"-\"}} {bad}\n"
        );
    }
    for (le, count) in [("5", all / 2), ("10", all), ("+Inf", all)] {
        page += &format!(
            "istio_request_duration_milliseconds_bucket{{{labels},le=\"{le}\"}} {count}\n"
        );
    }
    page + &format!("istio_request_duration_milliseconds_sum{{{labels}}} {}\n", all * 6)
}
