use super::*;

/// A client with one locality of backends 0, 1, 2 and so on, at a time that the test moves.
struct Client {
    balancer: Prequal,
    random: Random,
    now: u64,
}

impl Client {
    fn of(backends: usize) -> Self {
        let mut client = Self { balancer: Prequal::new(100), random: Random::of(1, 2, 3), now: 0 };
        client.members(&[&(0..backends).collect::<Vec<_>>()]);
        client
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut Prequal, &mut Look<'_>) -> T) -> T {
        let mut look = Look { now: self.now, in_flight: &[], truth: &[], random: &mut self.random };
        act(&mut self.balancer, &mut look)
    }

    fn members(&mut self, places: &[&[usize]]) {
        let member = |&backend: &usize| Member { backend, weight: 1.0 };
        let places: Vec<Vec<_>> =
            places.iter().map(|place| place.iter().map(member).collect()).collect();
        self.act(|balancer, look| balancer.members(&places, look));
    }

    fn probed(&mut self, backend: usize, inside: u32, latency: u64) {
        let probe = Probe { inside, latency };
        self.act(|balancer, look| balancer.probed(backend, probe, look));
    }

    fn pick(&mut self) -> Option<usize> {
        self.act(|balancer, look| balancer.pick(0, look))
    }

    fn pooled(&self) -> usize {
        self.balancer.places[0].pool.len()
    }
}

#[test]
fn prefers_the_fastest_of_the_cold() {
    let mut client = Client::of(100);
    (10..20).for_each(|backend| client.probed(backend, 3, 1000));
    for (backend, inside, latency) in [(0, 2, 900), (1, 3, 500), (2, 1, 700), (3, 50, 100)] {
        client.probed(backend, inside, latency);
    }
    // The last answers fastest, but is above the quantile: hot.
    assert_eq!(client.pick(), Some(1));
}

#[test]
fn takes_the_least_busy_of_the_hot() {
    let mut client = Client::of(100);
    (10..70).for_each(|backend| client.probed(backend, 1, 100));
    client.members(&[&(0..10).collect::<Vec<_>>()]);
    for (backend, inside, latency) in [(0, 20, 1), (1, 5, 900), (2, 9, 2)] {
        client.probed(backend, inside, latency);
    }
    assert_eq!(client.pick(), Some(1));
}

#[test]
fn counts_its_own_request_as_in_flight() {
    let mut client = Client::of(4);
    client.probed(0, 0, 100);
    client.probed(1, 0, 200);
    client.probed(2, 0, 300);
    // All have the quantile's RIF. Once used the first is above it, thus hot; the oldest goes too.
    assert_eq!(client.pick(), Some(0));
    client.probed(3, 0, 400);
    assert_eq!(client.pick(), Some(1));
}

#[test]
fn picks_at_random_with_less_than_two_probes() {
    let mut client = Client::of(8);
    let mut counts = [0; 8];
    for _ in 0..8000 {
        client.probed(0, 0, 1);
        counts[client.pick().expect("someone is there")] += 1;
    }
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}

#[test]
fn forgets_probes_after_a_second() {
    let mut client = Client::of(100);
    (0..10).for_each(|backend| client.probed(backend, 1, 100));
    client.now += 1_000_001;
    client.pick();
    assert_eq!(client.pooled(), 0);
}

#[test]
fn keeps_sixteen_and_one_of_each() {
    let mut client = Client::of(100);
    (0..40).for_each(|backend| client.probed(backend, 1, 100));
    assert_eq!(client.pooled(), 16);
    (30..40).for_each(|backend| client.probed(backend, 1, 100));
    assert_eq!(client.pooled(), 16);
}

#[test]
fn removes_oldest_and_worst_by_turns() {
    let mut pool = Pool::default();
    for (backend, inside, latency) in [(0, 1, 10), (1, 1, 20), (2, 1, 900), (3, 1, 30)] {
        pool.add(backend, Probe { inside, latency }, 9, 0);
    }
    let mut left = |expected: &[usize]| {
        pool.remove_one();
        let mut pool = pool.clone();
        let mut backends: Vec<_> = core::iter::from_fn(|| {
            let taken = pool.take()?;
            pool.retain(|backend| backend != taken);
            Some(taken)
        })
        .collect();
        backends.sort_unstable();
        assert_eq!(backends, expected);
    };
    left(&[1, 2, 3]);
    left(&[1, 3]);
    left(&[3]);
    left(&[]);
}

#[test]
fn budgets_reuse_by_the_formula() {
    // The testbed: 100 replicas, pool of 16, three probes, one removal, delta of one.
    assert!((reuse_budget(100) - 2.0 / 1.52).abs() < 1e-9);
    assert!((reuse_budget(1_000_000) - 1.0).abs() < 1e-3);
    assert!(reuse_budget(24).is_infinite() && reuse_budget(10).is_infinite());
    let mut random = Random::of(1, 2, 3);
    let sum: u32 = (0..10_000).map(|_| randomly_rounded(1.3, &mut random)).sum();
    assert!((12_800..13_200).contains(&sum));
    assert_eq!(randomly_rounded(f64::INFINITY, &mut random), u32::MAX);
}

#[test]
fn uses_up_a_probe() {
    let mut pool = Pool::default();
    pool.add(0, Probe { inside: 1, latency: 1 }, 2, 0);
    assert_eq!((pool.take(), pool.take(), pool.take()), (Some(0), Some(0), None));
}

#[test]
fn probes_three_at_random_where_it_picks() {
    let mut client = Client::of(0);
    client.members(&[&[0, 1], &[2, 3, 4, 5, 6]]);
    client.act(|balancer, look| balancer.pick(1, look));
    let mut counts = [0; 7];
    for _ in 0..5000 {
        let probes = client.act(Prequal::probes);
        assert_eq!(probes.len(), 3);
        assert!(probes[0] != probes[1] && probes[1] != probes[2] && probes[0] != probes[2]);
        for backend in probes {
            counts[backend] += 1;
        }
    }
    assert!(counts[2..].iter().all(|count| (2850..3150).contains(count)), "{counts:?}");
    client.pick();
    assert_eq!(client.act(Prequal::probes).len(), 2);
}

#[test]
fn forgets_only_who_left() {
    let mut client = Client::of(100);
    (0..10).for_each(|backend| client.probed(backend, 1, 100));
    client.members(&[&(5..100).collect::<Vec<_>>()]);
    assert_eq!(client.pooled(), 5);
    client.probed(3, 0, 1);
    assert_eq!(client.pooled(), 5);
}

#[test]
fn picks_nothing_of_nothing() {
    assert_eq!(Client::of(0).pick(), None);
    assert_eq!(Client::of(1).act(|balancer, look| balancer.pick(7, look)), None);
}
