use super::*;
use crate::scenario::{Autoscaler, Chain, Cold};

fn chained() -> Scenario {
    let chain = Chain {
        backends: vec![Backend::healthy(8); 5],
        service: (Duration::from_millis(10), 0.8),
        timeout: Duration::from_secs(1),
        retries: None,
        pool: None,
    };
    Scenario { load: Curve::level(600.0), chain: Some(chain), ..short() }
}

#[test]
fn a_chain_takes_both_times() {
    let score = run(&chained(), LR, |_| None);
    let mean = score.latencies_ms.iter().sum::<f64>() / score.latencies_ms.len() as f64;
    assert!((mean / 51.0 - 1.0).abs() < 0.1, "40 and 10 ms and both ways: {mean}");
    assert_eq!(score.errors, 0);
}

#[test]
fn workers_wait_for_the_tier_behind_them() {
    // A second tier that takes 100 ms leaves each worker 7 requests a second: 80 of them 570.
    let mut scenario = chained();
    let chain = scenario.chain.as_mut().unwrap();
    chain.service.0 = Duration::from_millis(100);
    chain.backends = vec![Backend::healthy(100); 5];
    scenario.load = Curve::level(900.0);
    scenario.timeout = Duration::from_secs(60);
    scenario.counted = (0.0, 12.0);
    let served = run(&scenario, LR, |_| None).latencies_ms.len() as f64 / 12.0;
    assert!((520.0..590.0).contains(&served), "{served}");
}

#[test]
fn errors_behind_are_errors_in_front() {
    let mut scenario = chained();
    let chain = scenario.chain.as_mut().unwrap();
    chain.backends.iter_mut().for_each(|one| one.errors = Curve::level(0.1));
    let mut told = [0_u64; 2];
    let score = run(&scenario, Rival::LeastRequest, |tick| {
        let samples = tick.reports.iter().flat_map(|report| &report.samples);
        told[tick.tier] += samples.filter_map(|sample| sample.errors).sum::<u64>();
        None
    });
    let ratio = score.error_ratio().value();
    assert!((ratio - 0.1).abs() < 0.015, "{ratio}");
    assert!(told[0].abs_diff(told[1]) < 20, "each is reported by both tiers: {told:?}");
}

#[test]
fn each_tier_has_its_own_governor() {
    let mut scenario = chained();
    scenario.chain.as_mut().unwrap().backends[2].errors = Curve::level(1.0);
    let bare = run(&scenario, Rival::LeastRequest, |_| None);
    let governed = run(&scenario, Rival::LeastRequest, |tick| {
        let topology = tick.topology.filter(|_| tick.tier == 1)?;
        assert_eq!(topology.endpoints.len(), 5);
        let mut groups = equal(&topology);
        groups[0].members[2].health = Health::Unhealthy;
        Some(Assignment { groups, ..Assignment::default() })
    });
    assert!(bare.error_ratio().value() > 0.15);
    assert_eq!(governed.errors, 0);
}

#[test]
fn joiners_are_cold_and_warm_up() {
    let cold = Cold { slowness: 5.0, lasts: 4.0 };
    let close = |age: f64, by: f64| assert!((cold.at(age) - by).abs() < 1e-9, "{}", cold.at(age));
    close(0.0, 5.0);
    close(1.0, 4.0);
    close(4.0, 1.0);
    close(9.0, 1.0);
    let mut scenario = short();
    for backend in &mut scenario.backends {
        backend.cold = Some(cold);
    }
    scenario.load = Curve::level(400.0);
    let usual = run(&scenario, LR, |_| None);
    assert!(usual.p99_ms() < 250.0, "whoever is there from the start is warm");
    scenario.backends[5].present = vec![(3.0, f64::INFINITY)];
    let one = run(&scenario, LR, |_| None);
    assert!(one.p99_ms() > 1.2 * usual.p99_ms(), "{} {}", one.p99_ms(), usual.p99_ms());
}

#[test]
fn backends_come_and_go_with_load() {
    let mut scenario = Scenario { length: 102.0, counted: (0.0, 100.0), ..Scenario::fleet(7) };
    scenario.load = Curve::through(&[(0.0, 400.0), (20.0, 400.0), (20.0, 1_000.0)]);
    scenario.autoscalers = vec![Autoscaler {
        members: 0..10,
        initial: 4,
        least: 2,
        target: 0.5,
        every: Duration::from_secs(5),
        lag: Duration::from_secs(5),
        startup: Duration::from_secs(10),
        patience: Duration::from_secs(300),
    }];
    let mut counts = Vec::new();
    run(&scenario, LR, |tick| {
        let endpoints = tick.topology.map(|topology| topology.endpoints.len());
        counts.extend(endpoints.map(|count| (tick.at.millis() / 1_000, count)));
        None
    });
    // 400 a second of 40 ms are 16 busy workers of 32: just right. 1,000 are 40, of five fleets'
    // worth 10 backends. At 25 s it looks back at 20 s, at 30 s at a busier fleet: 40 s at best.
    let [(0, 4), (grown, more), ..] = counts[..] else { panic!("{counts:?}") };
    assert!((35..=45).contains(&grown) && more > 6, "{counts:?}");
    assert_eq!(counts.last().map(|(_, count)| *count), Some(10), "{counts:?}");
}
