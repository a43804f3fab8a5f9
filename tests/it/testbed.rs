//! The testbed itself, with a real Envoy and without Weir: two plain sides must meet the same
//! world, or no difference between a governed side and a plain one would mean anything.

use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_testbed::backends::{Backend, Behaviour};
use weir_testbed::demo::{BACKENDS, Demo, Governor, Listeners, Progress, Run, Timing};
use weir_testbed::draws::Draw;
use weir_testbed::envoy::{Envoy, Options, eventually, find};
use weir_testbed::load::{Arrivals, Live, Load, Segment};
use weir_testbed::required::or_skip;

/// Few, since each watches a file and a user may watch with 128 at once.
const PROXIES: usize = 4;

const WITHIN: Duration = Duration::from_secs(60);

/// Two plain sides behind one Envoy.
struct Plain {
    demo: Demo,
    envoy: Envoy,
    listeners: Listeners,
    _directory: TempDir,
}

async fn plain() -> Option<Plain> {
    let path = or_skip("envoy", find())?;
    let directory = TempDir::new().unwrap();
    let mut demo = Demo::start(directory.path(), Governor::Nobody).unwrap();
    demo.proxies = PROXIES;
    let options = Options { directory: directory.path(), concurrency: 1 };
    let mut envoy = Envoy::start(&path, demo.bootstrap(json!({}), &[]), options).await.unwrap();
    envoy.serving(WITHIN).await.unwrap();
    let listeners = demo.listeners(&envoy.admin).await.unwrap();
    Some(Plain { demo, envoy, listeners, _directory: directory })
}

#[tokio::test]
async fn both_sides_take_the_same_requests_and_fail_the_same() {
    let Some(plain) = plain().await else { return };
    let sides = [&plain.demo.governed, &plain.demo.plain];
    for backend in sides.iter().flat_map(|side| &side.backends) {
        backend.behave(Behaviour::failing(0.2));
    }
    let listeners = plain.listeners.clone();
    let load = Load {
        seed: 12,
        segments: vec![Segment { length: Duration::from_secs(2), rate: 150.0 }],
        sides: vec![listeners.governed, listeners.plain],
        timeout: WITHIN,
    };
    let numbers = Arrivals::new(12, &load.segments).map(|one| one.number).collect::<Vec<_>>();
    let failing = numbers.iter().filter(|number| Draw::first(12, **number).fails(0.2)).count();
    let tallies = load.run(&watch::Sender::new(Live::default()), &CancellationToken::new()).await;
    assert_eq!(tallies[0][0].requests, numbers.len() as u64);
    for side in sides {
        let sum = |of: fn(&Backend) -> u64| side.backends.iter().map(of).sum::<u64>();
        let (taken, failed) = (sum(|one| one.counts().taken), sum(|one| one.counts().failed));
        assert_eq!((taken, failed), (numbers.len() as u64, failing as u64));
        // All ten backends are in use.
        assert!(side.backends.iter().all(|backend| backend.counts().taken > 0));
    }
}

#[tokio::test]
async fn the_script_runs_to_its_end_and_counts_alike() {
    let Some(mut plain) = plain().await else { return };
    let timing = Timing {
        warm_up: Duration::from_millis(200),
        phase: Duration::from_millis(400),
        pause: Duration::from_millis(300),
    };
    let (progress, seen) = watch::channel(Progress::default());
    let run = Run { seed: 13, rate: 100.0, timing };
    let outcome = plain.demo.run(run, plain.listeners, &progress).await.unwrap();
    let names = outcome.phases.iter().map(|phase| phase.name).collect::<Vec<_>>();
    assert_eq!(names, ["healthy", "slow", "errors", "cold", "all-fail"]);
    for phase in &outcome.phases {
        assert_eq!(phase.governed.requests, phase.plain.requests, "{}", phase.name);
        assert!(phase.governed.requests > 0, "{}", phase.name);
    }
    assert!(seen.borrow().scene.is_some());
    let document = serde_json::to_value(&outcome).unwrap();
    assert_eq!(document["phases"][0]["name"], "healthy");
    for side in ["governed", "plain"] {
        for field in ["p50_ms", "p99_ms", "error_ratio", "requests"] {
            assert!(document["phases"][4][side][field].is_number(), "{side} {field}: {document}");
        }
    }
}

/// Hosts of one cluster as Envoy lists them.
fn hosts(clusters: &Value, name: &str) -> usize {
    let statuses = clusters["cluster_statuses"].as_array();
    let named = statuses.into_iter().flatten().find(|status| status["name"] == name);
    named.and_then(|status| status["host_statuses"].as_array()).map_or(0, Vec::len)
}

#[tokio::test]
async fn envoy_follows_the_list_of_endpoints() {
    let Some(plain) = plain().await else { return };
    let admin = plain.envoy.admin;
    let has = async |expected: usize| {
        let clusters = admin.clusters().await.unwrap();
        hosts(&clusters, "demo-plain-00") == expected
            && hosts(&clusters, "demo-plain-03") == expected
    };
    assert!(eventually(WITHIN, async || has(BACKENDS).await).await);
    plain.demo.plain.list(|backend| backend < 5).unwrap();
    assert!(eventually(WITHIN, async || has(5).await).await);
    plain.demo.plain.list(|_| true).unwrap();
    assert!(eventually(WITHIN, async || has(BACKENDS).await).await);
}
