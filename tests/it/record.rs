//! `weir record` of a real Prometheus, which scrapes what looks like the sidecars of Istio:
//! whole, broken off, interrupted, gone on with, and refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gate;
mod sidecars;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use weir_engine::names::ServiceId;
use weir_engine::observation::Row;
use weir_engine::topology::Topology;
use weir_journal::Step;
use weir_testbed::child::{Child, Program};
use weir_testbed::envoy::eventually;
use weir_testbed::ports;
use weir_tests::journal::segments;
use weir_tests::weir::{Ended, command};
use weir_tests::world::write;

use gate::{Gate, Mode};
use sidecars::Sidecars;

const OK: i32 = 0;
const FAILED: i32 = 1;
const INTERRUPTED: i32 = 130;

/// Scrapes that are waited for, one a second: enough for several small pages.
const SCRAPES: usize = 16;

/// A Prometheus that has scraped for a while, behind a gate.
struct Past {
    gate: Gate,
    start: String,
    end: String,
    folder: TempDir,
    _prometheus: Child,
    sidecars: Sidecars,
}

impl Past {
    async fn make() -> Option<Self> {
        let binary = crate::prometheus::prometheus()?;
        let folder = tempfile::tempdir().unwrap();
        let sidecars = Sidecars::start().await;
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
        let targets: Vec<String> = sidecars.addresses.iter().map(ToString::to_string).collect();
        let scraping = json!({"scrape_configs": [{
            "job_name": "istio",
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "static_configs": [{"targets": targets}],
        }]});
        write(folder.path(), "prometheus.yml", &scraping.to_string());
        let arguments = [
            format!("--config.file={}", folder.path().join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", folder.path().join("prometheus").display()),
            format!("--web.listen-address={server}"),
        ];
        let prometheus = Child::start(Program {
            name: "Prometheus".to_owned(),
            path: binary,
            arguments: arguments.map(Into::into).to_vec(),
            environment: Vec::new(),
            log: folder.path().join("prometheus.log"),
        });
        let begun = jiff::Timestamp::now();
        let enough = async || sidecars.scrapes() >= SCRAPES;
        assert!(eventually(super::telemetry::WITHIN, enough).await, "it scrapes");
        Some(Self {
            gate: Gate::start(server).await,
            start: format!("{begun:.0}"),
            end: format!("{:.0}", jiff::Timestamp::now()),
            folder,
            _prometheus: prometheus.unwrap(),
            sidecars,
        })
    }

    fn command(&self, out: &str, more: &[&str]) -> Command {
        let url = format!("http://{}", self.gate.address);
        let range = ["--prometheus", &url, "--start", &self.start, "--end", &self.end];
        let mut command = command(["record"].iter().chain(&range).chain(more));
        if !more.contains(&"--step") {
            command.args(["--step", "1s"]);
        }
        command.arg("--out").arg(self.folder.path().join(out));
        command
    }

    /// Runs it to its end, off the runtime: the gate has to go on.
    async fn record(&self, out: &str, more: &[&str]) -> Ended {
        let mut command = self.command(out, more);
        tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
    }

    fn steps(&self, out: &str) -> Vec<Step> {
        let segments = segments(&self.folder.path().join(out));
        for segment in &segments {
            segment.replay();
        }
        segments.into_iter().flat_map(|segment| segment.steps).collect()
    }
}

#[track_caller]
fn ended(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}{}", ended.stdout, ended.stderr);
    for words in words {
        let said = ended.stdout.contains(words) || ended.stderr.contains(words);
        assert!(said, "{words:?} is not said:\n{}{}", ended.stdout, ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_in_pieces_is_the_same_as_a_whole_one() {
    let Some(past) = Past::make().await else { return };
    let whole = past.record("whole", &[]).await;
    ended(&whole, OK, &["istio metrics of", "1 service, 2 endpoints", "weir replay"]);
    let steps = past.steps("whole");
    is_what_happened(&steps, &past.sidecars);

    // No longer pages than four steps, and after two of them nothing more.
    past.gate.set(Mode { steps_max: 4, pages: 2, then_hang: false });
    let broken = past.record("pieces", &[]).await;
    ended(&broken, FAILED, &["401", "--token-file", "the same command goes on"]);
    let had = past.steps("pieces").len();
    assert!(had > 0 && had < steps.len(), "{had} of {} steps", steps.len());

    // Interrupted while it waits for an answer.
    past.gate.set(Mode { steps_max: 4, pages: had.div_ceil(4) + 1, then_hang: true });
    let mut child = past.command("pieces", &[]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    past.gate.hanging().await;
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let interrupted = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap().into());
    ended(&interrupted.await.unwrap(), INTERRUPTED, &["the same command goes on from there"]);

    past.gate.set(Mode::OPEN);
    ended(&past.record("pieces", &[]).await, OK, &["1 service, 2 endpoints"]);
    assert!(past.steps("pieces") == steps, "pieces make the same whole");
    ended(&past.record("pieces", &[]).await, OK, &["is complete"]);
    refuses(&past).await;
}

/// What each step says of endpoints, by address.
fn rows(steps: &[Step]) -> Vec<(String, Row)> {
    let mut known = Topology::default();
    let mut rows = Vec::new();
    for Step { observation, .. } in steps {
        known = observation.topology.clone().unwrap_or(known);
        for (service, traffic) in known.services.iter().zip(&observation.traffic) {
            assert_eq!(traffic.service, ServiceId::new("demo", "shop"));
            for row in traffic.rows.iter() {
                let address = &service.endpoints[row.endpoint as usize].address;
                rows.push((address.to_string(), row.clone()));
            }
        }
    }
    rows
}

/// The failing endpoint's errors, its restart and the other one's end are in the journal.
fn is_what_happened(steps: &[Step], sidecars: &Sidecars) {
    let rows = rows(steps);
    let of = |number: usize| {
        let address = sidecars.addresses[number].to_string();
        rows.iter().filter(move |(at, _)| *at == address).map(|(_, row)| row)
    };
    // The first step and the first sight of an endpoint have nothing to compare with.
    assert!(of(0).count() + 3 > SCRAPES, "{} steps", of(0).count());
    assert!(of(1).count() > 2 && of(1).count() < of(0).count(), "the second one ended early");
    let errors: u64 = of(0).map(|row| row.errors).sum();
    let requests: u64 = of(0).map(|row| row.requests).sum();
    let all = sidecars::REQUESTS + sidecars::ERRORS;
    assert!(requests >= all * (SCRAPES as u64 - 3), "{requests} requests");
    assert_eq!(errors * all, requests * sidecars::ERRORS, "{errors} of {requests}");
    assert!(of(1).all(|row| row.errors == 0));
    let mean = of(0).filter_map(|row| row.latency.mean()).next_back();
    assert_eq!(mean.map(|mean| mean.value().round()), Some(6.0));
}

/// What is asked for otherwise, or is not there.
async fn refuses(past: &Past) {
    let another = past.record("pieces", &["--step", "2s"]).await;
    ended(&another, FAILED, &["--step was 1s and is 2s", "another --out"]);
    let another = past.record("pieces", &["--preset", "envoy"]).await;
    ended(&another, FAILED, &["--preset was istio and is envoy"]);
    let missing = past.record("new", &["--preset", "linkerd"]).await;
    ended(&missing, FAILED, &["response_total", "--preset istio"]);
    past.gate.set(Mode { steps_max: 4, pages: 0, then_hang: false });
    let denied = past.record("new", &[]).await;
    ended(&denied, FAILED, &["401", "--token-file"]);
    assert!(!past.folder.path().join("new").exists(), "nothing is left of a refusal");
}

fn refused(arguments: &[&str], words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(["record", "--prometheus", "http://127.0.0.1:1"]);
    command.args(arguments).current_dir(folder.path());
    ended(&command.output().unwrap().into(), FAILED, words);
    assert!(!Path::new(folder.path()).join("weir-recording").exists());
}

#[test]
fn what_cannot_be_recorded_is_said_at_once() {
    refused(&["--start", "-1h"], &["cannot connect", "http://127.0.0.1:1", "give as --prometheus"]);
    refused(&["--start", "yesterday"], &["yesterday", "-7d"]);
    refused(&["--start", "-1h", "--end", "-2h"], &["swap the two"]);
    refused(&["--start", "-1h", "--end", "2999-01-01T00:00:00Z"], &["in the future"]);
    refused(&["--start", "-1h", "--step", "1500ms"], &["whole seconds"]);
    refused(&["--start", "-1h", "--token-file", "/nowhere"], &["cannot read /nowhere"]);
}
