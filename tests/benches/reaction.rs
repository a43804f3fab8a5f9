//! How long until a faulty endpoint's traffic is elsewhere: Weir against Envoy's own outlier
//! detection, in the same run.
//!
//! `cargo bench -p weir-tests --bench reaction [-- --trials 20]`
//!
//! The demo's two fleets under the demo's load. In each trial the same backend of both sides
//! begins to fail (30 %, 100 %) or to be ten times as slow, at a random phase of Weir's tick. The
//! time is that from the fault to the end of the last 200 ms bin in which the backend itself
//! counted more than 5 % of its former rate.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use weir::cli;
use weir::commands::demo::Stage;
use weir_testbed::backends::{Backend, Behaviour};
use weir_testbed::demo::{BACKENDS, RATE, TIMEOUT};
use weir_testbed::draws::Draw;
use weir_testbed::load::{Live, Load, Segment};

/// How long a fault lasts: a side that has not moved by then is reported as slower.
const FAULT: Duration = Duration::from_secs(8);

const BIN: Duration = Duration::from_millis(200);

/// A former rate is counted over this time before the fault.
const FORMER: Duration = Duration::from_secs(3);

/// Longest wait for all endpoints to be back in service.
const RECOVERED_WITHIN: Duration = Duration::from_secs(180);

struct Kind {
    name: &'static str,
    behaviour: fn() -> Behaviour,
}

const KINDS: [Kind; 3] = [
    Kind { name: "30 % of its requests fail", behaviour: || Behaviour::failing(0.3) },
    Kind { name: "all of its requests fail", behaviour: || Behaviour::failing(1.0) },
    Kind { name: "ten times as slow", behaviour: || Behaviour::slowed(10.0) },
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let asked = arguments.iter().position(|argument| argument == "--trials");
    let trials = asked.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(20);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("time until 95 % of a faulty endpoint's traffic is elsewhere, {trials} trials each");
    println!(
        "{:<28} {:>24} {:>24}",
        "one of ten endpoints:", "with Weir (median, max)", "outlier detection"
    );
    for kind in &KINDS {
        let (governed, plain) = runtime.block_on(play(kind, trials))?;
        println!("{:<28} {:>24} {:>24}", kind.name, shown(governed), shown(plain));
    }
    Ok(())
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    let word = |time: &Duration| {
        if *time >= FAULT {
            format!("> {} s", FAULT.as_secs())
        } else {
            format!("{:.1} s", time.as_secs_f64())
        }
    };
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(last)) => format!("{}, {}", word(median), word(last)),
        _ => "none".to_owned(),
    }
}

fn asked() -> cli::Demo {
    cli::Demo {
        once: true,
        output: cli::Output::Table,
        rate: 1.0,
        prometheus: false,
        seed: 1,
        pace: 1.0,
        ungoverned: false,
    }
}

/// The times of both sides.
async fn play(kind: &Kind, trials: usize) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let folder = tempfile::tempdir()?;
    let envoy = weir_testbed::envoy::find()?;
    let mut stage = Stage::set(&asked(), &envoy, folder.path()).await?;
    let listeners = stage.demo.listeners(&stage.envoy.admin).await?;
    let load = Load {
        seed: 1,
        segments: vec![Segment { length: Duration::from_secs(24 * 3_600), rate: RATE }],
        sides: vec![listeners.governed, listeners.plain],
        timeout: TIMEOUT,
    };
    let (live, _seen) = watch::channel(Live::default());
    let stop = CancellationToken::new();
    let page = stage.weir.as_ref().context("Weir runs")?.api;
    let script = async {
        let outcome = script(kind, trials, &mut stage, page).await;
        stop.cancel();
        outcome
    };
    let (outcome, _) = tokio::join!(script, load.run(&live, &stop));
    stage.clear().await;
    outcome
}

async fn script(
    kind: &Kind,
    trials: usize,
    stage: &mut Stage,
    page: std::net::SocketAddr,
) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    sleep(Duration::from_secs(5)).await;
    let (mut governed, mut plain) = (Vec::new(), Vec::new());
    for trial in 0..trials {
        all_serving(page).await?;
        let number = trial % BACKENDS;
        // At a random phase of the tick, the same in every run.
        let phase = Draw::first(7, trial as u64).listener(1_000);
        sleep(FORMER + Duration::from_millis(phase as u64)).await;
        let sides = [&stage.demo.governed.backends[number], &stage.demo.plain.backends[number]];
        let former = sides.map(rate);
        let fault = Instant::now();
        for backend in sides {
            backend.behave((kind.behaviour)());
        }
        sleep(FAULT).await;
        let moved: Vec<Duration> = sides
            .iter()
            .zip(former)
            .map(|(backend, former)| backend.taken(fault, BIN).moved_after(former, 0.05))
            .collect();
        for backend in sides {
            backend.behave(Behaviour::HEALTHY);
        }
        governed.push(moved[0]);
        plain.push(moved[1]);
    }
    Ok((governed, plain))
}

/// Requests a second, just before now.
fn rate(backend: &Backend) -> f64 {
    let taken = backend.taken(Instant::now() - FORMER, FORMER);
    f64::from(taken.bins.first().copied().unwrap_or(0)) / FORMER.as_secs_f64()
}

/// Waits until Weir has every endpoint in service again.
async fn all_serving(page: std::net::SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + RECOVERED_WITHIN;
    let url = format!("http://{page}/api/v1/services/demo/shop");
    loop {
        let text = reqwest::get(&url).await?.text().await?;
        let service: serde_json::Value = serde_json::from_str(&text)?;
        let counts = &service["endpoints"];
        let stance = service["stance"].as_str().unwrap_or_default();
        let serving = counts
            .as_array()
            .map(|list| list.iter().filter(|endpoint| endpoint["state"] == "serving").count());
        if stance == "resting" || serving == Some(BACKENDS) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "endpoints are not back in time: {text}");
        sleep(Duration::from_millis(200)).await;
    }
}
