//! How much memory and processor time the real `weir` takes.
//!
//! `cargo bench -p weir-tests --bench size [-- --proxies 20 --endpoints 1000 --seconds 60]`
//!
//! The endpoints are those of ten services that are governed by a policy. Every proxy holds a
//! discovery stream, reports the load of every endpoint once a second with the 60 kB that Envoy
//! says of itself, and sends its part of 2,000 access log entries a second; the page, the API and
//! the metrics are read every five seconds. Beside it, as a scale, a real Envoy that gets the same
//! clusters and endpoints.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use weir_testbed::envoy::{Envoy, Options};
use weir_tests::weir::{Weir, run};
use weir_tests::world::write;

#[path = "shared/figures.rs"]
mod figures;
#[path = "shared/fleet.rs"]
mod fleet;
use figures::{option, process_time};
use fleet::{Talk, proxy};

const SERVICES: usize = 10;
const ENTRIES: usize = 2_000;
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(Asked {
        proxies: option("--proxies", 20),
        endpoints: option("--endpoints", 1_000),
        seconds: option("--seconds", 60),
    }));
}

#[derive(Clone, Copy)]
struct Asked {
    proxies: usize,
    endpoints: usize,
    seconds: usize,
}

type Clusters = Vec<(String, Vec<SocketAddr>)>;

async fn measure(asked: Asked) {
    let folder = tempfile::tempdir().unwrap();
    let clusters = clusters(asked.endpoints / SERVICES);
    describe(folder.path(), &clusters);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let weir = Weir::start(folder.path(), any).await;
    let id = weir.child.id();
    println!("{} endpoints in {SERVICES} services, {} proxies", asked.endpoints, asked.proxies);
    println!("{:>8}{:>14}{:>14}{:>12}", "s", "resident", "the most", "processor");
    print_line(0, id, Duration::ZERO);
    let mut fleet = JoinSet::new();
    for number in 0..asked.proxies {
        let entries = ENTRIES / asked.proxies;
        let talk = Talk { xds: weir.xds, clusters: clusters.clone(), requests: 3, entries };
        fleet.spawn(proxy(number, talk));
    }
    let envoy = real(&weir, folder.path()).await;
    let began = Instant::now();
    let length = Duration::from_secs(asked.seconds as u64);
    let mut used = process_time(id);
    let mut shown = Instant::now();
    while began.elapsed() < length {
        sleep(LOOKED_AT_EVERY).await;
        look(&weir).await;
        if let Some(ended) = fleet.try_join_next() {
            panic!("a proxy lost Weir: {}", ended.unwrap());
        }
        if shown.elapsed() >= length / 4 || began.elapsed() >= length {
            let now = process_time(id);
            let part = now.saturating_sub(used).div_duration_f64(shown.elapsed());
            print_line(began.elapsed().as_secs(), id, Duration::from_secs_f64(part));
            (used, shown) = (now, Instant::now());
        }
    }
    let (resident, most) = memory(id);
    report(&weir).await;
    println!("weir: {resident:.1} MiB resident, {most:.1} MiB at most");
    if let Some(envoy) = envoy {
        let (its, _) = memory(envoy.child.id());
        println!(
            "a real Envoy with the same clusters: {its:.1} MiB resident ({:.2}x)",
            resident / its
        );
    }
}

fn print_line(seconds: u64, id: u32, used: Duration) {
    let (resident, most) = memory(id);
    let percent = used.as_secs_f64() * 100.0;
    println!("{seconds:>8}{resident:>10.1} MiB{most:>10.1} MiB{percent:>10.0} %");
}

/// Resident memory of a process, now and at most so far, in MiB.
fn memory(id: u32) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0
    };
    (of("VmRSS:"), of("VmHWM:"))
}

fn clusters(size: usize) -> Clusters {
    let endpoint = |service: usize, number: usize| {
        let (high, low) = (number / 250, 1 + number % 250);
        let parts =
            [10, u8::try_from(service).unwrap(), high.try_into().unwrap(), low.try_into().unwrap()];
        SocketAddr::from((parts, 8080))
    };
    let service = |service: usize| {
        (format!("service-{service}"), (0..size).map(|number| endpoint(service, number)).collect())
    };
    (0..SERVICES).map(service).collect()
}

/// Writes the configuration, the policies and the lists of endpoints.
fn describe(folder: &Path, clusters: &Clusters) {
    let mut services = Vec::new();
    for (name, endpoints) in clusters {
        let file = format!("{name}.yaml");
        let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
        write(folder, &file, &json!({ "endpoints": endpoints }).to_string());
        write(folder, &format!("policies/{name}.yaml"), &policy(name));
        services.push(json!({
            "namespace": "bench",
            "name": name,
            "clusters": [name],
            "endpoints": { "file": file },
            "write_clusters": true,
        }));
    }
    let config = json!({
        "data_dir": "data",
        "policies": "policies",
        "services": services,
        "sources": [{ "push": {} }],
    });
    write(folder, "weir.yaml", &config.to_string());
}

fn policy(name: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: {{name: {name}, namespace: bench}}
spec:
  targetRefs:
    - {{group: '', kind: Service, name: {name}}}
  mode: Enforce
  objectives:
    - name: availability
      targetPercent: 99.9
      indicator: {{type: Availability}}
    - name: latency
      targetPercent: 99
      indicator: {{type: Latency, latency: {{threshold: 500ms}}}}
"
    )
}

/// A real Envoy that has its clusters from Weir; none where there is no Envoy.
async fn real(weir: &Weir, folder: &Path) -> Option<Envoy> {
    let binary = weir_testbed::envoy::find().ok()?;
    let xds = weir.xds.to_string();
    let arguments = [
        "envoy",
        "bootstrap",
        "--telemetry",
        "push",
        "--weir",
        &xds,
        "--node",
        "real",
        "--node-cluster",
        "bench",
        "--listen",
        "127.0.0.1:0=service-0",
    ];
    let printed = run(arguments);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let bootstrap: Value = serde_saphyr::from_str(&printed.stdout).unwrap();
    let mut envoy = Envoy::start(&binary, bootstrap, Options { directory: folder, concurrency: 1 })
        .await
        .unwrap();
    envoy.serving(Duration::from_secs(60)).await.unwrap();
    Some(envoy)
}

/// What an operator's browser and Prometheus ask.
async fn look(weir: &Weir) {
    weir.ask("/api/v1/services").await;
    weir.api.get("/services/bench/service-0").await.ok();
    weir.metrics.get("/metrics").await.ok();
}

/// That Weir really did the work.
async fn report(weir: &Weir) {
    let services = weir.ask("/api/v1/services").await;
    let proxies = weir.ask("/api/v1/proxies").await;
    let sources = weir.ask("/api/v1/sources").await;
    let lost = sources.as_array().into_iter().flatten().map(|source| {
        format!(
            "{} delivered {} dropped {}",
            source["name"], source["delivered"], source["dropped"]
        )
    });
    println!(
        "{} services, {} proxies, {} steps; {}",
        services.as_array().map_or(0, Vec::len),
        proxies.as_array().map_or(0, Vec::len),
        weir.steps().await,
        lost.filter(|line| !line.contains("dropped 0")
            || line.contains("load")
            || line.contains("log"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    let first = weir.ask("/api/v1/services/bench/service-0").await;
    println!("service-0 is {}", first["service"]["stance"]);
}
