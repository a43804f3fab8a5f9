use std::num::NonZeroU32;

use weir_engine::decision::Health;
use weir_engine::names::Locality;

use super::*;
use crate::scenario::{Backend, Curve};

mod fleet;
mod reports;
mod traffic;

const LR: Rival = Rival::LeastRequestOd;

fn short() -> Scenario {
    Scenario { length: 12.0, counted: (2.0, 10.0), ..Scenario::fleet(7) }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let one = run(&short(), LR, |_| None);
    assert_eq!(one, run(&short(), LR, |_| None));
    assert_ne!(one, run(&Scenario { seed: 8, ..short() }, LR, |_| None));
}

#[test]
fn a_healthy_fleet_serves_everything_evenly() {
    let score = run(&short(), LR, |_| None);
    assert!((score.requests as f64 - 9_600.0).abs() < 400.0);
    assert_eq!(score.errors, 0);
    let mean = score.requests as f64 / 10.0;
    assert!(score.by_backend.iter().all(|&count| (count as f64 / mean - 1.0).abs() < 0.15));
    // A lognormal of mean 40 ms and sigma 0.8 has its median at 29 ms and its p99 at 187 ms.
    let p50 = score.quantile_ms(weir_engine::units::Ratio::clamped(0.5));
    assert!((29.0..40.0).contains(&p50), "{p50}");
    assert!((185.0..300.0).contains(&score.p99_ms()), "{}", score.p99_ms());
}

#[test]
fn one_queue_is_an_erlang_queue() {
    // One proxy, one backend of 4 workers, exponential-like load at 75 %: Erlang C gives a wait of
    // P(wait) 0.509 / (c mu - lambda); lognormal service scales it by (1 + cv^2) / 2 = 0.948.
    let scenario = Scenario {
        backends: vec![Backend::healthy(4)],
        proxies: 1,
        load: Curve::level(75.0),
        length: 420.0,
        counted: (20.0, 400.0),
        timeout: Duration::from_secs(60),
        ..Scenario::fleet(3)
    };
    let score = run(&scenario, LR, |_| None);
    let mean = score.latencies_ms.iter().sum::<f64>() / score.latencies_ms.len() as f64;
    let expected = 40.0 + 0.5 + 0.509 / 25.0 * 1_000.0 * 0.948;
    assert!((mean / expected - 1.0).abs() < 0.1, "{mean} for {expected}");
}

#[test]
fn reports_count_what_happened() {
    let mut scenario = short();
    scenario.counted = (0.0, 12.0);
    scenario.backends[3].errors = Curve::level(0.3);
    scenario.backends[4].slowness = Curve::level(100.0);
    let (mut requests, mut errors, mut timed) = (0, 0, 0.0);
    let score = run(&scenario, LR, |tick| {
        for sample in tick.reports.iter().flat_map(|report| &report.samples) {
            requests += sample.requests.unwrap_or(0);
            errors += sample.errors.unwrap_or(0);
            timed += sample.latency.as_ref().map_or(0.0, |latency| latency.count);
        }
        None
    });
    assert!(errors > 0 && requests > errors);
    assert!((timed - requests as f64).abs() < 0.5, "every request was timed");
    // What is still under way when the last report leaves is in neither.
    assert!(score.requests - requests < 2_000, "{} {requests}", score.requests);
}

#[test]
fn weights_and_health_are_followed() {
    let scenario = short();
    let score = run(&scenario, LR, |tick| {
        let topology = tick.topology?;
        let mut groups = equal(&topology);
        let low = groups[0].members.pop()?;
        groups[0].members[0].health = Health::Unhealthy;
        groups[0].weight = NonZeroU32::new(9_000)?;
        let sub_zone = "weir-low".into();
        groups.push(Group {
            locality: Locality { sub_zone, ..Locality::default() },
            weight: NonZeroU32::new(1_000)?,
            members: vec![low],
        });
        Some(Assignment { groups, ..Assignment::default() })
    });
    assert_eq!(score.by_backend[0], 0);
    let low = score.by_backend[9] as f64 / score.requests as f64;
    assert!((low - 0.1).abs() < 0.01, "{low}");
}

#[test]
fn outlier_detection_ejects_what_fails_in_a_row() {
    let mut scenario = short();
    scenario.backends[3].errors = Curve::level(1.0);
    let guarded = run(&scenario, LR, |_| None);
    let bare = run(&scenario, Rival::LeastRequest, |_| None);
    assert!(guarded.errors * 5 < bare.errors, "{} {}", guarded.errors, bare.errors);
}
