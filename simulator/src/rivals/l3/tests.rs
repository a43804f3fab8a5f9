use super::*;

/// A window of a thousand requests with as many in flight as Little's law says.
fn window(latency_ms: u64, failed: u64) -> Window {
    Window {
        requests: 1000,
        failed,
        latency_sum: 1000 * latency_ms * 1000,
        latency_p99: Some(latency_ms * 1000),
        in_flight: 200.0 * latency_ms as f64 / 1000.0,
    }
}

/// The weights after some periods of the same.
fn settled(periods: usize, windows: &[Window]) -> Vec<f64> {
    settle(&mut L3::new(windows.len()), periods, windows)
}

fn settle(l3: &mut L3, periods: usize, windows: &[Window]) -> Vec<f64> {
    let mut weights = Vec::new();
    for _ in 0..periods {
        windows.iter().enumerate().for_each(|(backend, window)| l3.observe(backend, window));
        weights = l3.weights();
    }
    weights
}

#[track_caller]
fn near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 0.01 * expected, "{value} is not {expected}");
}

#[test]
fn weighs_by_latency_and_crowding() {
    let weights = settled(60, &[window(100, 0), window(200, 0)]);
    near(weights[0], 100.0 / (1.1 * 1.1 * 0.1));
    near(weights[1], 100.0 / (1.2 * 1.2 * 0.2));
}

#[test]
fn prices_failures_as_time() {
    let weights = settled(60, &[window(100, 0), window(100, 500)]);
    // Half fail: one more try on average, of 0.6 s.
    near(weights[1], 100.0 / (1.1 * 1.1 * 0.7));
}

#[test]
fn uses_the_mean_without_a_percentile() {
    let plain = Window { latency_p99: None, ..window(100, 0) };
    let tailed = Window { latency_p99: Some(400_000), ..window(100, 0) };
    let weights = settled(60, &[plain, tailed]);
    near(weights[0] / weights[1], 4.0);
}

#[test]
fn filters_each_sample() {
    let mut l3 = L3::new(1);
    l3.observe(0, &window(100, 0));
    // The first sample of latency takes 1 - 1/e of the way from 5 s.
    near(l3.backends[0].latency.value, 0.1 + 4.9 / core::f64::consts::E);
    near(l3.backends[0].rate.value, 200.0 * (1.0 - libm::exp(-0.5)));
}

#[test]
fn walks_back_without_traffic() {
    let mut l3 = L3::new(1);
    settle(&mut l3, 60, &[window(100, 500)]);
    settle(&mut l3, 10, &[Window::default()]);
    near(l3.backends[0].latency.value, 1.1);
    near(l3.backends[0].success.value, 0.6);
    settle(&mut l3, 100, &[Window::default()]);
    near(l3.backends[0].latency.value, 5.0);
    near(l3.backends[0].success.value, 1.0);
}

#[test]
fn never_weighs_less_than_one() {
    let dead = window(9_000, 1000);
    assert!(settled(100, &[dead, window(10, 0)])[0] >= WEIGHT_MIN);
}

#[test]
fn draws_together_as_traffic_rises_and_apart_as_it_falls() {
    let windows = [window(100, 0), window(200, 0)];
    let ratio = |part: u64| {
        let mut l3 = L3::new(2);
        let steady = settle(&mut l3, 60, &windows);
        let scaled = windows.map(|w| Window {
            requests: w.requests * part / 10,
            latency_sum: w.latency_sum * part / 10,
            in_flight: w.in_flight * part as f64 / 10.0,
            ..w
        });
        let weights = settle(&mut l3, 1, &scaled);
        (weights[0] / weights[1]) / (steady[0] / steady[1])
    };
    assert!(ratio(30) < 0.95, "{}", ratio(30));
    assert!(ratio(3) > 1.05, "{}", ratio(3));
}

#[test]
fn follows_the_equations_of_rate_control() {
    near(controlled(300.0, 200.0, 1.0), 250.0);
    near(controlled(100.0, 200.0, 1.0), 150.0);
    near(controlled(100.0, 200.0, -0.5), 50.0);
    near(controlled(300.0, 200.0, -1.0 / 3.0), 350.0);
    near(controlled(300.0, 200.0, 0.0), 300.0);
}
