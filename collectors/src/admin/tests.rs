#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use weir_engine::observation::{Report, Verdict};
use weir_engine::units::Moment;

use super::*;

/// How long a condition is waited for: never reached on a machine that works.
const PATIENCE: Duration = Duration::from_secs(60);

const INFO: &str = r#"{"node": {"id": "edge-1", "locality": {"zone": "z1"}}}"#;
const PAGE: &str = r#"{"cluster_statuses": [
    {"name": "weir", "host_statuses": [{"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}}]},
    {"name": "shop", "host_statuses": [{"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}},
        "health_status": {"failed_outlier_check": true}}]}]}"#;

/// An admin interface on a real socket which gives each path's answers in turn, the last for ever.
struct Proxy {
    listener: TcpListener,
    clusters: Vec<String>,
    asked: AtomicUsize,
}

fn answer(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn json(body: &str) -> String {
    answer("200 OK", "application/json", body)
}

impl Proxy {
    async fn start(clusters: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, clusters, asked: AtomicUsize::new(0) }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    async fn serve(&self) {
        loop {
            let (mut socket, _) = self.listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if socket.read_buf(&mut head).await.unwrap() == 0 {
                    break;
                }
            }
            let reply = if head.starts_with(b"GET /server_info ") {
                json(INFO)
            } else {
                let turn = self.asked.fetch_add(1, Ordering::Relaxed);
                self.clusters[turn.min(self.clusters.len() - 1)].clone()
            };
            // A client may hang up on what is too long for it.
            drop(socket.write_all(reply.as_bytes()).await);
        }
    }
}

fn config(targets: Vec<Target>) -> Config {
    Config {
        targets,
        interval: Duration::from_secs(1),
        http: http::Options::default(),
        own_cluster: "weir".to_owned(),
    }
}

fn now() -> Now {
    Arc::new(|| Moment::from_millis(7_000))
}

/// Runs against a proxy until `steps` are through.
async fn beside(
    proxy: &Proxy,
    node: Option<&str>,
    steps: impl AsyncFnOnce(mpsc::Receiver<Report>, watch::Receiver<Status>),
) {
    let target = Target { url: proxy.url(), node: node.map(Node::from) };
    let (admin, mut statuses) = config(vec![target]).build(&now()).unwrap();
    let (intake, reports) = Intake::new(16);
    let stop = CancellationToken::new();
    let steps = async {
        timeout(PATIENCE, steps(reports, statuses.remove(0))).await.expect("it comes true");
        stop.cancel();
    };
    tokio::select! {
        () = proxy.serve() => {}
        _ = async { tokio::join!(admin.run(intake, stop.clone()), steps) } => {}
    }
}

#[tokio::test]
async fn flags_become_reports_under_the_name_that_the_proxy_gives_itself() {
    let proxy = Proxy::start(vec![json(PAGE)]).await;
    beside(&proxy, None, async |mut reports, status| {
        let report = reports.recv().await.unwrap();
        assert_eq!((report.reporter.as_str(), report.zone.as_str()), ("edge-1", "z1"));
        assert_eq!(report.cluster.as_str(), "shop", "Weir's own cluster is left out");
        assert_eq!(report.samples[0].verdict, Some(Verdict::Ejected));
        assert!(!report.complete);
        assert_eq!(status.borrow().last_error, None);
        reports.recv().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_configured_name_is_not_asked_for() {
    let proxy = Proxy::start(vec![json(PAGE)]).await;
    beside(&proxy, Some("mine"), async |mut reports, _status| {
        assert_eq!(reports.recv().await.unwrap().reporter.as_str(), "mine");
    })
    .await;
}

/// A proxy whose first answer is wrong: the status says so, and recovers.
async fn failing(clusters: Vec<String>, expected: &'static str) {
    let proxy = Proxy::start(clusters).await;
    beside(&proxy, Some("mine"), async |mut reports, mut status| {
        let said = |status: &Status| {
            status.last_error.as_ref().is_some_and(|error| error.text.contains(expected))
        };
        status.wait_for(said).await.unwrap();
        assert_eq!(reports.recv().await.unwrap().cluster.as_str(), "shop");
        status.wait_for(|status| status.last_error.is_none()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn wrong_answers_are_failures_that_pass() {
    let long = format!("[{}]", " ".repeat(PAGE_BYTES_MAX));
    tokio::join!(
        failing(vec![answer("503 Down", "text/plain", "no"), json(PAGE)], "503"),
        failing(vec![answer("200 OK", "text/html", "<html>"), json(PAGE)], "text/html"),
        failing(vec![json("{\"cluster_statuses\": ["), json(PAGE)], "not the page"),
        failing(vec![json(&long), json(PAGE)], "longer than"),
    );
}

#[test]
fn back_off_grows_to_a_bound_with_jitter() {
    let target = Target { url: "http://127.0.0.1:1".to_owned(), node: None };
    let (admin, _statuses) = config(vec![target]).build(&now()).unwrap();
    let waits: Vec<Duration> = admin.pollers[0].back_off().take(20).collect();
    assert!(waits[0] >= Duration::from_secs(1) && waits[0] < Duration::from_secs(2));
    assert!(waits.iter().all(|wait| *wait <= 2 * BACK_OFF_MAX));
    assert!(waits[19] >= BACK_OFF_MAX);
    let again: Vec<Duration> = admin.pollers[0].back_off().take(20).collect();
    assert_ne!(waits, again);
}

#[test]
fn targets_are_checked_and_bounded() {
    let target = Target { url: "ftp://host".to_owned(), node: None };
    assert!(matches!(config(vec![target]).build(&now()), Err(BuildError::Http(_))));
    let target = Target { url: "http://127.0.0.1:1".to_owned(), node: None };
    let many = vec![target; TARGETS_MAX + 1];
    assert!(matches!(config(many).build(&now()), Err(BuildError::TooMany(_))));
}
