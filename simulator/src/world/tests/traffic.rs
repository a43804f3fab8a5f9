use super::*;
use crate::scenario::{Class, Pool, Retries};

const RETRIES: Retries = Retries {
    max: 1,
    on_errors: true,
    per_try: None,
    budget_percent: 100.0,
    concurrency_min: 3,
    avoids_previous: false,
};

fn failing(part: f64) -> Scenario {
    let mut scenario = short();
    for backend in &mut scenario.backends {
        backend.errors = Curve::level(part);
    }
    scenario
}

fn ratio(scenario: &Scenario) -> f64 {
    run(scenario, Rival::LeastRequest, |_| None).error_ratio().value()
}

#[test]
fn retries_fail_only_if_all_tries_do() {
    let once = Scenario { retries: Some(RETRIES), ..failing(0.2) };
    assert!((ratio(&once) - 0.04).abs() < 0.006, "{}", ratio(&once));
    let twice = Scenario { retries: Some(Retries { max: 2, ..RETRIES }), ..failing(0.2) };
    assert!((ratio(&twice) - 0.008).abs() < 0.004, "{}", ratio(&twice));
    let score = run(&once, Rival::LeastRequest, |_| None);
    let part = score.retries as f64 / score.requests as f64;
    assert!((part - 0.2).abs() < 0.02, "{part}");
    let never = Retries { on_errors: false, ..RETRIES };
    assert!((ratio(&Scenario { retries: Some(never), ..failing(0.2) }) - 0.2).abs() < 0.01);
}

#[test]
fn a_budget_limits_retries_at_once() {
    // 40 proxies with 48 requests in flight over all of them: each has one or two.
    let none = Retries { budget_percent: 0.0, concurrency_min: 0, ..RETRIES };
    assert!((ratio(&Scenario { retries: Some(none), ..failing(0.2) }) - 0.2).abs() < 0.01);
    // One proxy that has 48 in flight may retry 4 of them: all that fail, but for some bursts.
    // Under a flood of failures the same budget lets few through.
    let tenth = Retries { budget_percent: 10.0, concurrency_min: 0, ..RETRIES };
    let one = |part| Scenario { proxies: 1, retries: Some(tenth.clone()), ..failing(part) };
    assert!(ratio(&one(0.02)) < 0.005, "{}", ratio(&one(0.02)));
    let score = run(&one(0.9), Rival::LeastRequest, |_| None);
    let retried = score.retries as f64 / (score.requests as f64 * 0.9);
    assert!(retried < 0.3, "{retried}");
}

#[test]
fn retries_avoid_those_tried() {
    let mut scenario = failing(0.0);
    scenario.backends.truncate(2);
    scenario.load = Curve::level(100.0);
    scenario.backends[0].errors = Curve::level(1.0);
    scenario.retries = Some(RETRIES);
    let anywhere = ratio(&scenario);
    scenario.retries = Some(Retries { avoids_previous: true, ..RETRIES });
    let elsewhere = ratio(&scenario);
    // Half of the first tries fail; three more picks find the other one but for an eighth or so.
    assert!((0.15..0.35).contains(&anywhere), "{anywhere}");
    assert!(elsewhere < 0.06, "{elsewhere}");
}

#[test]
fn a_slow_try_is_given_up_and_tried_again() {
    let mut scenario = short();
    scenario.backends[3].slowness = Curve::level(1_000.0);
    scenario.load = Curve::level(200.0);
    let stuck = ratio(&scenario);
    let per_try = Some(Duration::from_millis(500));
    scenario.retries = Some(Retries { per_try, avoids_previous: true, ..RETRIES });
    let score = run(&scenario, Rival::LeastRequest, |_| None);
    assert!(stuck > 0.02, "{stuck}");
    assert!(score.error_ratio().value() < stuck / 5.0, "{:?}", score.error_ratio());
    assert!(score.p99_ms() < 1_500.0, "half a second and a second try: {}", score.p99_ms());
}

#[test]
fn a_request_ends_with_its_clients_patience_whatever_is_retried() {
    let mut scenario = failing(1.0);
    scenario.retries = Some(Retries { max: 10, ..RETRIES });
    scenario.timeout = Duration::from_millis(100);
    let score = run(&scenario, Rival::LeastRequest, |_| None);
    assert_eq!(score.errors, score.requests);
    assert!(score.latencies_ms.iter().all(|&ms| (ms - 100.0).abs() < 1e-6), "timeouts only");
    assert!(!score.latencies_ms.is_empty());
}

#[test]
fn wide_connection_pools_change_little() {
    let pool = Pool { max_connections: 1_024, max_pending_requests: 1_024, max_requests: 1_024 };
    let wide = run(&Scenario { pool: Some(pool), ..short() }, LR, |_| None);
    let none = run(&short(), LR, |_| None);
    assert_eq!((wide.errors, wide.overflows), (0, 0));
    assert!((wide.p99_ms() / none.p99_ms() - 1.0).abs() < 0.1);
}

#[test]
fn full_pools_refuse_at_once() {
    // Of one proxy, which has 48 requests in flight, 24 connections.
    let pool = Pool { max_connections: 24, max_pending_requests: 5, max_requests: 1_024 };
    let score = run(&Scenario { proxies: 1, pool: Some(pool), ..short() }, LR, |_| None);
    assert_eq!(score.errors, score.overflows);
    let served = (score.requests - score.errors) as f64 / 8.0;
    // 24 at a time of 40 ms, less what is idle at one backend while another has none left.
    assert!((450.0..610.0).contains(&served), "{served}");
    assert!(score.p99_ms() < 600.0, "and these wait little: {}", score.p99_ms());
    let few = Pool { max_connections: 1_024, max_pending_requests: 1_024, max_requests: 24 };
    let score = run(&Scenario { proxies: 1, pool: Some(few), ..short() }, LR, |_| None);
    let served = (score.requests - score.errors) as f64 / 8.0;
    assert!((served / 600.0 - 1.0).abs() < 0.1, "{served}");
    assert_eq!(score.errors, score.overflows);
}

#[test]
fn nothing_leaks_where_pools_retries_and_timeouts_meet() {
    let mut scenario = failing(0.1);
    scenario.backends[3].slowness = Curve::between(3.0, 6.0, 1.0, 10.0);
    scenario.timeout = Duration::from_millis(300);
    scenario.retries =
        Some(Retries { max: 2, per_try: Some(Duration::from_millis(120)), ..RETRIES });
    scenario.pool = Some(Pool { max_connections: 30, max_pending_requests: 20, max_requests: 40 });
    scenario.proxies = 2;
    // Nobody sends any more at the end: when all has ended, nobody holds anything.
    scenario.load = Curve::between(0.0, 8.0, 0.0, 1_200.0);
    for rival in Rival::ALL {
        let mut world = World::new(&scenario, rival);
        world.play(&mut |_| None);
        let tier = &world.tiers[0];
        assert!(tier.retrying.iter().all(|&count| count == 0), "{rival:?}");
        assert!(tier.proxies.iter().all(|proxy| proxy.open() == 0), "{rival:?}");
        assert!(tier.connections.iter().all(crate::pool::Connections::is_quiet), "{rival:?}");
        assert!(tier.queues.iter().all(|queue| queue.inside() == 0), "{rival:?}");
    }
}

#[test]
fn classes_cost_what_they_cost() {
    let mut scenario = short();
    scenario.load = Curve::level(200.0);
    scenario.classes = vec![Class { share: 3.0, cost: 0.5 }, Class { share: 1.0, cost: 2.5 }];
    let score = run(&scenario, LR, |_| None);
    let mean = score.latencies_ms.iter().sum::<f64>() / score.latencies_ms.len() as f64;
    // The mean cost is one: 40 ms and the way; with a longer tail than without classes.
    assert!((mean / 40.5 - 1.0).abs() < 0.1, "{mean}");
    let even = run(&Scenario { classes: Vec::new(), ..scenario }, LR, |_| None);
    assert!(score.p99_ms() > 1.3 * even.p99_ms(), "{} {}", score.p99_ms(), even.p99_ms());
}
