use super::*;
use crate::random::Random;

/// A client with all backends in one locality, at a time that the test moves.
struct Client {
    balancer: OrcaWrr,
    random: Random,
    now: u64,
}

impl Client {
    fn of(backends: &[usize]) -> Self {
        let mut client =
            Self { balancer: OrcaWrr::new(3), random: Random::of(1, 2, 3), now: 5 * SECOND };
        client.members(backends);
        client
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut OrcaWrr, &mut Look<'_>) -> T) -> T {
        let mut look = Look { now: self.now, in_flight: &[], truth: &[], random: &mut self.random };
        act(&mut self.balancer, &mut look)
    }

    fn members(&mut self, backends: &[usize]) {
        self.places(&[backends]);
    }

    fn places(&mut self, places: &[&[usize]]) {
        let member = |&backend: &usize| Member { backend, weight: 1.0 };
        let places: Vec<Vec<_>> =
            places.iter().map(|place| place.iter().map(member).collect()).collect();
        self.act(|balancer, look| balancer.members(&places, look));
    }

    /// Reports of each backend's qps, utilization and eps, each half second for some seconds.
    fn hears(&mut self, seconds: u64, loads: &[(f64, f64, f64)]) {
        for _ in 0..=2 * seconds {
            for (backend, &(qps, utilization, eps)) in loads.iter().enumerate() {
                let load = (qps > 0.0).then_some(Load { utilization, qps, eps });
                let ended = Ended { failed: false, timed_out: false, latency: 1, load };
                self.act(|balancer, look| balancer.ended(backend, &ended, look));
            }
            self.now += SECOND / 2;
        }
    }

    /// How often each of some backends is picked.
    fn picks(&mut self, backends: usize, count: u32) -> Vec<u32> {
        let mut picked = vec![0; backends];
        for _ in 0..count {
            let backend = self.act(|balancer, look| balancer.pick(0, look));
            picked[backend.expect("someone is there")] += 1;
        }
        picked
    }
}

#[track_caller]
fn near(picked: &[u32], expected: &[u32]) {
    let close = picked.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 3);
    assert!(close, "{picked:?} is not {expected:?}");
}

#[test]
fn weighs_by_qps_over_utilization_and_errors() {
    let mut client = Client::of(&[0, 1, 2]);
    client.hears(10, &[(100.0, 0.5, 0.0), (100.0, 1.0, 0.0), (100.0, 0.5, 50.0)]);
    near(&client.picks(3, 400), &[200, 100, 100]);
}

#[test]
fn is_plain_round_robin_in_the_blackout() {
    let mut client = Client::of(&[0, 1]);
    client.hears(9, &[(100.0, 0.1, 0.0), (100.0, 1.0, 0.0)]);
    assert_eq!(client.picks(2, 100), [50, 50]);
    client.hears(1, &[(100.0, 0.25, 0.0), (100.0, 1.0, 0.0)]);
    near(&client.picks(2, 100), &[80, 20]);
}

#[test]
fn gives_the_unknown_the_mean() {
    let mut client = Client::of(&[0, 1, 2]);
    client.hears(10, &[(300.0, 1.0, 0.0), (100.0, 1.0, 0.0), (0.0, 0.0, 0.0)]);
    near(&client.picks(3, 600), &[300, 100, 200]);
}

#[test]
fn forgets_after_three_minutes_and_then_waits_again() {
    let mut client = Client::of(&[0, 1]);
    client.hears(10, &[(300.0, 1.0, 0.0), (100.0, 1.0, 0.0)]);
    client.now += WEIGHT_EXPIRATION_PERIOD;
    assert_eq!(client.picks(2, 100), [50, 50]);
    client.hears(9, &[(300.0, 1.0, 0.0), (100.0, 1.0, 0.0)]);
    assert_eq!(client.picks(2, 100), [50, 50]);
    client.hears(1, &[(300.0, 1.0, 0.0), (100.0, 1.0, 0.0)]);
    near(&client.picks(2, 100), &[75, 25]);
}

#[test]
fn remembers_over_changes_but_blacks_out_who_returns() {
    let mut client = Client::of(&[0, 1, 2]);
    let loads = [(300.0, 1.0, 0.0), (100.0, 1.0, 0.0), (100.0, 1.0, 0.0)];
    client.hears(10, &loads);
    client.members(&[0, 1]);
    near(&client.picks(3, 100), &[75, 25, 0]);
    client.members(&[0, 1, 2]);
    // The third has the mean of the other two until it has reported for ten seconds.
    near(&client.picks(3, 600), &[300, 100, 200]);
    client.hears(10, &loads);
    near(&client.picks(3, 500), &[300, 100, 100]);
}

#[test]
fn keeps_weights_through_a_panic() {
    let mut client = Client::of(&[0, 1]);
    client.places(&[&[0], &[1]]);
    client.hears(10, &[(300.0, 1.0, 0.0), (100.0, 1.0, 0.0)]);
    client.places(&[&[0, 1]]);
    near(&client.picks(2, 400), &[300, 100]);
}

#[test]
fn caps_extremes() {
    let mut weights = vec![1.0; 99];
    weights.push(10_000.0);
    let capped = scaled(&weights);
    // The mean is 101; the giant counts ten of it, the others a hundredth.
    let ratio = f64::from(capped[99]) / f64::from(capped[0]);
    assert!((ratio - 1000.0).abs() < 10.0, "{ratio}");
}

#[test]
fn spreads_the_turns_evenly() {
    let mut client = Client::of(&[0, 1]);
    client.hears(10, &[(300.0, 1.0, 0.0), (100.0, 1.0, 0.0)]);
    for _ in 0..50 {
        near(&client.picks(2, 8), &[6, 2]);
    }
}

#[test]
fn picks_nothing_of_nothing() {
    assert_eq!(Client::of(&[]).act(|balancer, look| balancer.pick(0, look)), None);
    assert_eq!(Client::of(&[0]).act(|balancer, look| balancer.pick(7, look)), None);
}
