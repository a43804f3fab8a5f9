use super::*;
use crate::random::Random;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;

/// A proxy that counts what it has in flight.
struct Proxy {
    balancer: Linkerd,
    in_flight: Vec<u32>,
    random: Random,
}

impl Proxy {
    fn of(backends: usize, balancer: Linkerd) -> Self {
        let mut proxy =
            Self { balancer, in_flight: vec![0; backends], random: Random::of(8, 1, 1) };
        let place = (0..backends).map(|backend| Member { backend, weight: 1.0 }).collect();
        proxy.at(0, |balancer, look| balancer.members(&[place], look));
        proxy
    }

    fn at<T>(&mut self, now: u64, act: impl FnOnce(&mut Linkerd, &mut Look<'_>) -> T) -> T {
        let (in_flight, random) = (&self.in_flight, &mut self.random);
        act(&mut self.balancer, &mut Look { now, in_flight, truth: &[], random })
    }

    fn sends(&mut self, now: u64) -> Option<usize> {
        let picked = self.at(now, |balancer, look| balancer.pick(0, look))?;
        self.in_flight[picked] += 1;
        Some(picked)
    }

    fn hears(&mut self, backend: usize, failed: bool, now: u64) {
        self.in_flight[backend] = self.in_flight[backend].saturating_sub(1);
        let ended = Ended { failed, timed_out: false, latency: 10 * MS, load: None };
        self.at(now, |balancer, look| balancer.ended(backend, &ended, look));
    }

    fn fails(&mut self, backend: usize, times: usize, now: u64) {
        (0..times).for_each(|_| self.hears(backend, true, now));
    }

    #[track_caller]
    fn costs(&mut self, backend: usize, expected: f64, now: u64) {
        let cost = self.at(now, |balancer, look| balancer.cost(backend, look));
        assert!((cost - expected).abs() <= 1e-6 * expected, "{cost}");
    }
}

#[test]
fn assumes_thirty_milliseconds_which_decay() {
    let mut proxy = Proxy::of(1, Linkerd::new(1));
    proxy.costs(0, 30_000.0, 0);
    proxy.costs(0, 30_000.0 * (-1.0_f64).exp(), 10 * SECOND);
    proxy.in_flight[0] = 3;
    proxy.costs(0, 120_000.0 * (-1.0_f64).exp(), 10 * SECOND);
}

#[test]
fn takes_the_cheaper_of_two() {
    let mut proxy = Proxy::of(2, Linkerd::new(2));
    proxy.in_flight = vec![1, 0];
    let mut picks = (0..50).map(|_| proxy.at(0, |balancer, look| balancer.pick(0, look)));
    assert!(picks.all(|pick| pick == Some(1)));
}

#[test]
fn seven_failures_in_a_row_shut_an_endpoint_out() {
    let mut proxy = Proxy::of(2, Linkerd::new(2));
    proxy.fails(0, 6, 0);
    proxy.hears(0, false, 0);
    proxy.fails(0, 6, 0);
    assert!((0..50).any(|_| proxy.sends(0) == Some(0)));
    proxy.fails(0, 1, 0);
    assert!((0..50).all(|_| proxy.sends(SECOND - 1) == Some(1)));
}

#[test]
fn admits_one_probe_whose_success_opens_it() {
    let mut proxy = Proxy::of(1, Linkerd::new(1));
    proxy.fails(0, 7, 0);
    assert_eq!(proxy.sends(SECOND - 1), None);
    assert_eq!(proxy.sends(2 * SECOND), Some(0));
    assert_eq!(proxy.sends(2 * SECOND), None);
    proxy.hears(0, false, 3 * SECOND);
    assert!((0..5).all(|_| proxy.sends(3 * SECOND) == Some(0)));
    proxy.fails(0, 6, 3 * SECOND);
    assert_eq!(proxy.sends(3 * SECOND), Some(0), "counts from nothing again");
}

#[test]
fn a_failed_probe_shuts_it_for_longer() {
    let mut proxy = Proxy::of(1, Linkerd::new(1));
    proxy.fails(0, 7, 0);
    for (probe, backoff) in [(2, 2), (6, 4), (13, 8)] {
        assert_eq!(proxy.sends(probe * SECOND), Some(0));
        proxy.fails(0, 1, probe * SECOND);
        assert_eq!(proxy.sends((probe + backoff) * SECOND - 1), None);
    }
}

#[test]
fn hears_nothing_while_shut_and_anything_in_probation() {
    let mut proxy = Proxy::of(1, Linkerd::new(1));
    proxy.in_flight[0] = 20;
    proxy.fails(0, 7, 0);
    proxy.hears(0, false, SECOND - 1);
    assert_eq!(proxy.sends(SECOND - 1), None);
    proxy.hears(0, false, 2 * SECOND);
    assert!((0..5).all(|_| proxy.sends(2 * SECOND) == Some(0)), "a late answer opened it");
}

#[test]
fn probes_again_where_an_answer_was_lost() {
    let mut proxy = Proxy::of(1, Linkerd::new(1));
    proxy.fails(0, 7, 0);
    assert_eq!(proxy.sends(2 * SECOND), Some(0));
    proxy.in_flight[0] = 0;
    assert_eq!(proxy.sends(2 * SECOND), Some(0));
}

#[test]
fn failing_fast_looks_good_unless_penalised() {
    let mut plain = Proxy::of(1, Linkerd::new(1));
    plain.fails(0, 1, 0);
    plain.costs(0, 30_000.0, 0);
    let mut penalising = Proxy::of(1, Linkerd::penalising(1));
    penalising.fails(0, 1, 0);
    penalising.costs(0, 5_000_000.0, 0);
    penalising.costs(0, 5_000_000.0 * (-0.5_f64).exp(), 5 * SECOND);
}

#[test]
fn a_penalty_never_lowers_and_a_timeout_is_no_answer() {
    let mut proxy = Proxy::of(1, Linkerd::penalising(1));
    let slow = Ended { failed: true, timed_out: true, latency: 9 * SECOND, load: None };
    proxy.at(0, |balancer, look| balancer.ended(0, &slow, look));
    proxy.costs(0, 9_000_000.0, 0);
    proxy.fails(0, 1, SECOND);
    // What it decayed to is averaged in, as by `Ewma::add_peak`.
    let kept = (-0.1_f64).exp();
    proxy.costs(0, 9_000_000.0 * kept * (2.0 - kept), SECOND);
}

#[test]
fn draws_fairly_of_who_is_admitted() {
    let mut proxy = Proxy::of(5, Linkerd::new(5));
    proxy.fails(2, 7, 0);
    let mut counts = [0_u32; 5];
    for _ in 0..40_000 {
        counts[proxy.at(0, |balancer, look| balancer.pick(0, look)).unwrap()] += 1;
    }
    assert_eq!(counts[2], 0);
    let admitted = [0, 1, 3, 4].map(|backend| counts[backend]);
    assert!(admitted.iter().all(|count| count.abs_diff(10_000) < 400), "{counts:?}");
}

#[test]
fn picks_nobody_of_nobody() {
    let mut proxy = Proxy::of(0, Linkerd::new(0));
    assert_eq!(proxy.sends(0), None);
    assert_eq!(proxy.at(0, |balancer, look| balancer.pick(7, look)), None);
}
