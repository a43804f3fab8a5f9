//! Our exposition parser beside a real Prometheus: both read the same text from a small server of
//! the test's own, then series, values, times and verdicts are compared.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use weir_collectors::exposition::line::{Format, Sample};
use weir_collectors::exposition::{Key, Reader, Sink};
use weir_testbed::required;

mod texts;

/// Longest wait for Prometheus to start and to scrape every job.
const DEADLINE: Duration = Duration::from_secs(60);

/// A series with its name under `__name__`.
type Labels = BTreeMap<String, String>;

/// What was read: values by series, each with its time where the text gives one.
type Values = BTreeMap<Labels, (String, Option<i64>)>;

/// One scrape job.
struct Page {
    body: String,
    format: Format,
}

#[derive(Default)]
struct Collected {
    series: Vec<Labels>,
    values: Values,
}

impl Sink for Collected {
    fn resolve(&mut self, sample: &Sample<'_>) -> Key {
        let labels = sample.labels.iter().map(|l| (l.name.to_string(), l.value.to_string()));
        let name = ("__name__".to_owned(), sample.name.to_string());
        self.series.push(labels.chain([name]).collect());
        Key::of(self.series.len() - 1)
    }

    fn value(&mut self, key: Key, value: f64, timestamp: Option<i64>) {
        let series = self.series[key.index()].clone();
        // The first of duplicates counts, as with Prometheus.
        self.values.entry(series).or_insert_with(|| (bits(value), timestamp));
    }
}

/// A value so that NaN equals NaN and the two zeros differ.
fn bits(value: f64) -> String {
    if value.is_nan() { "NaN".to_owned() } else { format!("{value:?}") }
}

/// Reads a page with our parser, three times over: new, known, and cut into small pieces.
fn ours(page: &Page) -> Result<Values, String> {
    let mut reader = Reader::new(page.format);
    let mut read: Option<Result<Values, String>> = None;
    for piece in [page.body.len().max(1), page.body.len().max(1), 7] {
        let mut collected = Collected::default();
        reader.begin();
        reader.forget();
        for _ in 0..2 {
            reader.begin();
            collected.values.clear();
            for chunk in page.body.as_bytes().chunks(piece) {
                reader.push(chunk, &mut collected).map_err(|error| error.to_string())?;
            }
            let summary = reader.finish(&mut collected).map_err(|error| error.to_string())?;
            let outcome = match summary.first_faults.first() {
                Some(fault) => Err(fault.to_string()),
                None => Ok(collected.values.clone()),
            };
            assert_eq!(read.get_or_insert_with(|| outcome.clone()), &outcome, "{:?}", page.body);
        }
    }
    read.unwrap()
}

#[tokio::test]
async fn reads_what_prometheus_reads() {
    let Some(binary) = prometheus() else { return };
    let pages = texts::pages();
    let mut tasks = JoinSet::new();
    let target = serve(&mut tasks, &pages).await;
    let prometheus = Prometheus::start(&binary, target, pages.len()).await;
    let up = prometheus.verdicts(pages.len()).await;
    let (mut compared, mut differences) = (0, Vec::new());
    for (job, page) in pages.iter().enumerate() {
        let body = &page.body;
        match (ours(page), up[&job]) {
            (Ok(values), true) => {
                let theirs = prometheus.values(job, &values).await;
                let kept = kept(&values);
                if theirs != kept {
                    differences.push(format!("{body:?}: {kept:?}, but theirs {theirs:?}"));
                }
                compared += values.len();
            }
            (Err(_), false) => {}
            (Ok(_), false) if texts::only_ours(body) => {}
            (Ok(_), false) => differences.push(format!("only Prometheus refuses {body:?}")),
            (Err(error), true) => differences.push(format!("only we refuse {body:?}: {error}")),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let refused = up.values().filter(|up| !**up).count();
    assert!(compared >= 60 && refused >= 30, "{compared} series compared, {refused} texts refused");
}

/// Without samples of 1970, which Prometheus reads and then leaves out as too old.
fn kept(values: &Values) -> Values {
    let old = |time: Option<i64>| time.is_some_and(|time| time < 1_000_000_000_000);
    let recent = values.iter().filter(|(_, (_, time))| !old(*time));
    recent.map(|(labels, value)| (labels.clone(), value.clone())).collect()
}

/// The binary, or a word on why this is skipped; where it is required its absence is a failure.
pub(crate) fn prometheus() -> Option<PathBuf> {
    required::or_skip("prometheus", weir_tests::prometheus::find())
}

/// A running Prometheus which scrapes one job per page.
struct Prometheus {
    url: String,
    client: reqwest::Client,
    _process: tokio::process::Child,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    async fn start(binary: &std::path::Path, target: std::net::SocketAddr, jobs: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        let jobs: String = (0..jobs)
            .map(|job| {
                format!(
                    "- {{job_name: \"{job}\", metrics_path: \"/{job}\", honor_labels: true, \
                     scrape_interval: 500ms, scrape_timeout: 500ms, \
                     static_configs: [{{targets: [\"{target}\"]}}]}}\n"
                )
            })
            .collect();
        std::fs::write(&config, format!("scrape_configs:\n{jobs}")).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let process = tokio::process::Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .arg("--log.level=error")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let client = weir_collectors::http::client(&weir_collectors::http::Options::default());
        Self {
            url: format!("http://{free}"),
            client: client.unwrap(),
            _process: process,
            _directory: directory,
        }
    }

    /// What a query finds, as JSON; nothing while Prometheus is starting.
    async fn query(&self, query: &str) -> Option<Vec<serde_json::Value>> {
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/query", self.url)).unwrap();
        url.query_pairs_mut().append_pair("query", query);
        let body = self.client.get(url).send().await.ok()?.bytes().await.ok()?;
        let answer: serde_json::Value = serde_json::from_slice(&body).ok()?;
        answer["data"]["result"].as_array().cloned()
    }

    /// Whether each job's text was taken, once all have been scraped.
    async fn verdicts(&self, jobs: usize) -> BTreeMap<usize, bool> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self.query("up").await.unwrap_or_default();
            if found.len() == jobs {
                return found
                    .iter()
                    .map(|series| {
                        let job = series["metric"]["job"].as_str().unwrap().parse().unwrap();
                        (job, series["value"][1] == "1")
                    })
                    .collect();
            }
            assert!(Instant::now() < deadline, "only {} of {jobs} scraped", found.len());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The job's series without what Prometheus adds: the last raw sample of each, with its time
    /// where `ours` has one.
    async fn values(&self, job: usize, ours: &Values) -> Values {
        let added = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];
        let more = ["scrape_samples_post_metric_relabeling", "scrape_series_added"];
        let added: BTreeSet<&str> = added.into_iter().chain(more).collect();
        let found = self.query(&format!("{{job=\"{job}\"}}[5m]")).await.unwrap();
        let mut values = Values::new();
        for series in found {
            let labels = labels(&series);
            let last = series["values"].as_array().unwrap().last().unwrap().clone();
            let value = last[1].as_str().unwrap().parse::<f64>().unwrap();
            #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this century")]
            let time = (last[0].as_f64().unwrap() * 1000.0).round() as i64;
            let timed = ours.get(&labels).is_some_and(|(_, time)| time.is_some());
            if !added.contains(labels["__name__"].as_str()) {
                values.insert(labels, (bits(value), timed.then_some(time)));
            }
        }
        values
    }
}

fn labels(series: &serde_json::Value) -> Labels {
    let metric = series["metric"].as_object().unwrap();
    let labels =
        metric.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
    labels.filter(|(name, _)| name != "job" && name != "instance").collect()
}

/// Serves page n under `/n`.
async fn serve(tasks: &mut JoinSet<()>, pages: &[Page]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Vec<String> = pages
        .iter()
        .map(|page| {
            let kind = match page.format {
                Format::Text => "text/plain; version=0.0.4",
                Format::OpenMetrics => "application/openmetrics-text; version=1.0.0",
            };
            let length = page.body.len();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n{}",
                page.body
            )
        })
        .collect();
    tasks.spawn(async move {
        let answers = std::sync::Arc::new(answers);
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(answer(stream, std::sync::Arc::clone(&answers)));
            while connections.try_join_next().is_some() {}
        }
    });
    address
}

async fn answer(mut stream: TcpStream, answers: std::sync::Arc<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let page =
        head.split(' ').nth(1).and_then(|path| path.trim_start_matches('/').parse::<usize>().ok());
    if let Some(answer) = page.and_then(|page| answers.get(page)) {
        // Prometheus gives up on a scrape that takes too long; it comes again.
        let _ended = stream.write_all(answer.as_bytes()).await;
        let _closed = stream.shutdown().await;
    }
}
