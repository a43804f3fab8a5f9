//! One scrape of Envoy's statistics: what Weir's own part of it costs.
//!
//! `cargo bench -p weir-tests --bench scrape [-- --endpoints 10000 --rounds 21]`
//!
//! A server on loopback sends prepared text in Envoy's form, so that the target's own time is next
//! to nothing. *download* only fetches the bytes, with the same client; *split* also takes the text
//! apart at lines and spaces and reads the numbers, and keeps nothing. What Weir takes beyond
//! *download* is its own: reading, finding each series' place, differences, reports.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use weir_collectors::http;
use weir_collectors::scrape::Config;
use weir_engine::units::Moment;

#[path = "shared/figures.rs"]
mod figures;
use figures::{Times, option, thread_time};

/// The families that Envoy 1.40 prints per endpoint, in its order.
const FAMILIES: [(&str, &str); 10] = [
    ("cx_connect_fail", "counter"),
    ("cx_total", "counter"),
    ("rq_error", "counter"),
    ("rq_success", "counter"),
    ("rq_timeout", "counter"),
    ("rq_total", "counter"),
    ("cx_active", "gauge"),
    ("healthy", "gauge"),
    ("rq_active", "gauge"),
    ("rq_pending_active", "gauge"),
];

/// Endpoints of one cluster.
const CLUSTER_SIZE: usize = 100;

fn main() {
    let (endpoints, rounds) = (option("--endpoints", 10_000), option("--rounds", 21));
    let texts: Vec<Arc<[u8]>> =
        (0..2).map(|round| text(endpoints, round).into_bytes().into()).collect();
    println!(
        "one scrape of {endpoints} endpoints: {} series, {:.1} MB; {rounds} rounds, ms",
        endpoints * FAMILIES.len(),
        texts[0].len() as f64 / 1e6,
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // A thread of its own, so that processor time here is the reader's alone.
    std::thread::scope(|scope| {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        scope.spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, texts) => {}
                    _ = stopped => {}
                }
            });
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(compare(address, rounds));
        drop(stop);
    });
}

fn text(endpoints: usize, round: usize) -> String {
    let mut text = String::new();
    for (family, (name, kind)) in FAMILIES.into_iter().enumerate() {
        writeln!(text, "# TYPE envoy_cluster_endpoint_{name} {kind}").unwrap();
        for endpoint in 0..endpoints {
            let value = match kind {
                "counter" => 1_000 + endpoint * (family + 1) % 50_000 + round * 60,
                _ => 1,
            };
            writeln!(
                text,
                "envoy_cluster_endpoint_{name}{{envoy_cluster_name=\"service-{:03}\",\
                 envoy_endpoint_address=\"10.{}.{}.{}:8080\"}} {value}",
                endpoint / CLUSTER_SIZE,
                endpoint / 65_536,
                endpoint / 256 % 256,
                endpoint % 256,
            )
            .unwrap();
        }
    }
    text
}

/// Answers every request with the next text.
async fn serve(listener: std::net::TcpListener, texts: Vec<Arc<[u8]>>) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(answer(stream, texts.clone()));
    }
}

async fn answer(mut stream: TcpStream, texts: Vec<Arc<[u8]>>) {
    let mut asked = Vec::new();
    for text in texts.iter().cycle() {
        while !asked.ends_with(b"\r\n\r\n") {
            match stream.read_buf(&mut asked).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        asked.clear();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=UTF-8\r\n\
             content-length: {}\r\n\r\n",
            text.len()
        );
        let sent = stream.write_all(head.as_bytes()).await;
        if sent.is_err() || stream.write_all(text).await.is_err() {
            return;
        }
    }
}

/// Wall and processor time.
#[derive(Default)]
struct Cost {
    wall: Times,
    own: Times,
}

impl Cost {
    async fn of<T>(&mut self, work: impl Future<Output = T>) -> T {
        let (before, started) = (thread_time(), Instant::now());
        let done = work.await;
        self.wall.add(started.elapsed());
        self.own.add(thread_time().saturating_sub(before));
        done
    }
}

async fn compare(address: SocketAddr, rounds: usize) {
    let (began, zero) = (Instant::now(), Moment::from_millis(1_700_000_000_000));
    let now: weir_collectors::Now = Arc::new(move || zero.plus(began.elapsed()));
    let mut config = Config::of(&format!("http://{address}"));
    (config.node, config.zone) = (Some("proxy".into()), Some("".into()));
    let mut scraper = config.build().unwrap();
    let client = http::client(&http::Options::default()).unwrap();
    let url = format!("http://{address}/stats/prometheus");
    let (mut cold, mut ours) = (Cost::default(), Cost::default());
    let (mut download, mut split) = (Cost::default(), Cost::default());
    cold.of(scraper.scrape(&now)).await.unwrap();
    drop(client.get(&url).send().await.unwrap().bytes().await.unwrap());
    let mut seen = 0;
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let reports = ours.of(scraper.scrape(&now)).await.unwrap();
        seen = reports.iter().map(|report| report.samples.len()).sum();
        download.of(async { client.get(&url).send().await.unwrap().bytes().await.unwrap() }).await;
        split
            .of(async {
                let body = client.get(&url).send().await.unwrap().bytes().await.unwrap();
                black_box(taken_apart(&body));
            })
            .await;
    }
    println!("{:>28}{:>10}{:>10}{:>10}{:>10}", "", "CPU p50", "CPU p99", "wall p50", "wall p99");
    for (name, cost) in [
        ("Weir, first scrape", &cold),
        ("Weir", &ours),
        ("download", &download),
        ("download, split, parse", &split),
    ] {
        let Cost { wall, own } = cost;
        let figures = [own.ms(0.5), own.ms(0.99), wall.ms(0.5), wall.ms(0.99)];
        println!("{name:>28}{}", figures.map(|figure| format!("{figure:>10.1}")).concat());
    }
    let beyond = |of: fn(&Cost) -> &Times| of(&ours).ms(0.5) - of(&download).ms(0.5);
    println!(
        "Weir's own time beyond the download: {:.1} ms CPU, {:.1} ms wall; {:.2}x of download and \
         split; {seen} endpoints reported",
        beyond(|cost| &cost.own),
        beyond(|cost| &cost.wall),
        ours.own.ms(0.5) / split.own.ms(0.5),
    );
}

fn taken_apart(body: &[u8]) -> f64 {
    let text = std::str::from_utf8(body).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}
