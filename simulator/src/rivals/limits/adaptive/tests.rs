use super::*;

/// A limiter and the time.
struct Proxy(AdaptiveConcurrency, u64);

const WINDOW: u64 = CONCURRENCY_UPDATE_INTERVAL;

impl Proxy {
    fn new() -> Self {
        Self(AdaptiveConcurrency::new(Random::of(1, 2, 3), 1_000_000), 1_000_000)
    }

    /// With an ideal of ten milliseconds.
    fn measured() -> Self {
        let mut proxy = Self::new();
        proxy.ends(REQUEST_COUNT, 10_000);
        proxy
    }

    fn ends(&mut self, count: usize, latency: u64) {
        self.1 += latency;
        (0..count).for_each(|_| self.0.ended(latency, 1, false, self.1));
    }

    /// Windows of ten requests each.
    fn windows(&mut self, count: usize, latency: u64) {
        for _ in 0..count {
            self.ends(10, latency);
            self.1 += WINDOW - latency;
            self.0.advance(self.1);
        }
    }

    fn limit(&mut self) -> u32 {
        (0..2000).find(|&in_flight| !self.0.admit(in_flight, self.1)).expect("a limit")
    }
}

#[test]
fn measures_first_with_the_minimum() {
    let mut proxy = Proxy::new();
    proxy.ends(REQUEST_COUNT - 1, 10_000);
    assert_eq!((proxy.limit(), proxy.0.min_rtt), (3, 0));
    proxy.ends(1, 10_000);
    assert_eq!((proxy.limit(), proxy.0.min_rtt), (3, 10_000));
}

#[test]
fn grows_by_gradient_and_headroom() {
    let mut proxy = Proxy::measured();
    // At the ideal the gradient is 1.25: 3 x 1.25 + sqrt(3.75) = 5.69.
    proxy.windows(1, 10_000);
    assert_eq!(proxy.limit(), 5);
    // Five times faster: the gradient is at most 2: 10 + sqrt(10) = 13.16.
    proxy.windows(1, 2_000);
    assert_eq!(proxy.limit(), 13);
}

#[test]
fn halves_at_most() {
    let mut proxy = Proxy::measured();
    proxy.windows(20, 10_000);
    assert_eq!(proxy.limit(), MAX_CONCURRENCY);
    // 1000 / 2 + sqrt(500) = 522.4.
    proxy.windows(1, 90_000);
    assert_eq!(proxy.limit(), 522);
}

#[test]
fn holds_without_samples() {
    let mut proxy = Proxy::measured();
    proxy.windows(3, 10_000);
    let limit = proxy.limit();
    proxy.1 += 20 * WINDOW;
    assert_eq!(proxy.limit(), limit);
}

#[test]
fn measures_again_after_a_minute_and_restores() {
    let mut proxy = Proxy::measured();
    proxy.windows(20, 10_000);
    let limit = proxy.limit();
    proxy.1 += MIN_RTT_CALC_INTERVAL * 115 / 100;
    assert_eq!(proxy.limit(), MIN_CONCURRENCY);
    proxy.ends(REQUEST_COUNT, 20_000);
    assert_eq!((proxy.limit(), proxy.0.min_rtt), (limit, 20_000));
}

#[test]
fn ignores_requests_from_before_the_measurement() {
    let mut proxy = Proxy::new();
    for _ in 0..100 {
        proxy.0.ended(10_001, 1, false, 1_010_000);
    }
    assert_eq!(proxy.0.min_rtt, 0);
}

#[test]
fn doubts_the_ideal_after_five_minima() {
    let mut proxy = Proxy::measured();
    // 3 / 2 + sqrt(1.5) = 2.7, thus the minimum.
    proxy.windows(4, 90_000);
    assert!(proxy.0.deferred.is_none());
    proxy.windows(1, 90_000);
    assert!(proxy.0.deferred.is_some());
    proxy.ends(REQUEST_COUNT, 90_000);
    assert_eq!(proxy.0.min_rtt, 90_000);
    proxy.windows(1, 90_000);
    assert_eq!(proxy.limit(), 5);
}

#[test]
fn jitters_the_minute() {
    let due = |number| {
        let mut proxy = Proxy(AdaptiveConcurrency::new(Random::of(1, 2, number), 0), 0);
        proxy.ends(REQUEST_COUNT, 10_000);
        proxy.0.measure_due - proxy.1
    };
    let dues: Vec<_> = (0..100).map(due).collect();
    assert!(dues.iter().all(|due| (60_000_000..69_000_000).contains(due)));
    assert!(dues.iter().max() > dues.iter().min());
}
