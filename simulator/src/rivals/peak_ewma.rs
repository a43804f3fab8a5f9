//! Finagle's Peak EWMA: two members drawn, the one of lower cost taken.
//!
//! Cost is an average of latency times one more than the requests in flight. The average takes a
//! latency above it as it is and forgets exponentially; looking at it counts as observing zero,
//! so a member that is looked at often only decays between its peaks. Nothing distinguishes
//! failures: a member that fails fast looks good (Finagle leaves that to its failure accrual,
//! which is no part of this). Weights do not matter.
//!
//! Source: twitter/finagle, finagle-core/.../loadbalancer/PeakEwma.scala (ad0c9d1) for the cost,
//! p2c/P2CPick.scala (1f1986d) for the choice, `Balancers.p2cPeakEwma` for the decay of 10 s.

use crate::balancer::{Balancer, Ended, Look, Member};
use crate::random::Random;

/// The mean lifetime of a latency (`decayTime`), in microseconds.
const DECAY: f64 = 10_000_000.0;
/// Of a member that was sent to but has not answered yet: `Long.MaxValue >> 16` nanoseconds, 39
/// hours, so that a new member gets one request until it proves itself.
const PENALTY: f64 = (i64::MAX >> 16) as f64 / 1_000.0;

/// One client's choice of two by peak EWMA.
#[derive(Clone, Debug, Default)]
pub struct PeakEwma {
    places: Vec<Vec<usize>>,
    /// By backend; kept while one is away.
    latency: Vec<Ewma>,
}

impl PeakEwma {
    /// For so many backends, none of which was heard of.
    pub fn new(backends: usize) -> Self {
        Self { places: Vec::new(), latency: vec![Ewma::default(); backends] }
    }

    fn cost(&mut self, backend: usize, look: &Look<'_>) -> f64 {
        let pending = f64::from(look.in_flight[backend]);
        let latency = self.latency[backend].observe(0.0, look.now, DECAY);
        if latency <= 0.0 && pending > 0.0 { PENALTY + pending } else { latency * (pending + 1.0) }
    }
}

impl Balancer for PeakEwma {
    fn members(&mut self, places: &[Vec<Member>], _: &mut Look<'_>) {
        self.places = places.iter().map(|place| backends(place)).collect();
    }

    fn pick(&mut self, place: usize, look: &mut Look<'_>) -> Option<usize> {
        let members = self.places.get(place)?;
        let Some([first, second]) = two_of(members, look.random) else {
            return members.first().copied();
        };
        let less = self.cost(first, look) < self.cost(second, look);
        Some(if less { first } else { second })
    }

    fn ended(&mut self, backend: usize, ended: &Ended, look: &mut Look<'_>) {
        self.latency[backend].observe(ended.latency as f64, look.now, DECAY);
    }
}

/// The backends of members.
pub(crate) fn backends(members: &[Member]) -> Vec<usize> {
    members.iter().map(|member| member.backend).collect()
}

/// Two different ones in random order, if there are two.
pub(crate) fn two_of(members: &[usize], random: &mut Random) -> Option<[usize; 2]> {
    let others = members.len().checked_sub(1).filter(|&others| others > 0)?;
    let first = random.below(members.len());
    let second = random.below(others);
    Some([members[first], members[second + usize::from(second >= first)]])
}

/// An average over time that follows peaks at once. Microseconds, like the times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ewma {
    pub(crate) value: f64,
    pub(crate) stamp: u64,
}

impl Ewma {
    /// Takes in a latency, and says what the average is then.
    pub(crate) fn observe(&mut self, latency: f64, now: u64, decay: f64) -> f64 {
        if latency > self.value {
            self.value = latency;
        } else if now > self.stamp {
            let kept = self.kept(now, decay);
            self.value = self.value * kept + latency * (1.0 - kept);
        }
        self.stamp = self.stamp.max(now);
        self.value
    }

    /// What it has decayed to, unchanged by looking.
    pub(crate) fn at(&self, now: u64, decay: f64) -> f64 {
        self.value * self.kept(now, decay)
    }

    fn kept(&self, now: u64, decay: f64) -> f64 {
        libm::exp(-(now.saturating_sub(self.stamp) as f64) / decay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000;
    const SECOND: u64 = 1_000 * MS;

    /// A client of so many backends; acts at a time with so much in flight.
    struct Client(PeakEwma, Random);

    impl Client {
        fn of(backends: usize) -> Self {
            let mut client = Self(PeakEwma::new(backends), Random::of(9, 1, 1));
            let place = (0..backends).map(|backend| Member { backend, weight: 1.0 }).collect();
            client.at(0, &[], |balancer, look| balancer.members(&[place], look));
            client
        }

        fn at<T>(
            &mut self,
            now: u64,
            in_flight: &[u32],
            act: impl FnOnce(&mut PeakEwma, &mut Look<'_>) -> T,
        ) -> T {
            act(&mut self.0, &mut Look { now, in_flight, truth: &[], random: &mut self.1 })
        }

        fn answered(&mut self, backend: usize, latency: u64, now: u64) {
            let ended = Ended { failed: false, timed_out: false, latency, load: None };
            self.at(now, &[], |balancer, look| balancer.ended(backend, &ended, look));
        }

        #[track_caller]
        fn check(&mut self, now: u64, in_flight: u32, expected: f64) {
            let cost = self.at(now, &[in_flight], |balancer, look| balancer.cost(0, look));
            assert!((cost - expected).abs() <= 1e-6 * expected, "{cost}");
        }
    }

    #[test]
    fn costs_latency_times_one_more_than_pending() {
        let mut client = Client::of(1);
        client.answered(0, 20 * MS, SECOND);
        client.check(SECOND, 0, 20_000.0);
        client.check(SECOND, 4, 100_000.0);
    }

    #[test]
    fn a_peak_replaces_the_average_which_then_decays() {
        let mut client = Client::of(1);
        client.answered(0, 20 * MS, SECOND);
        client.answered(0, 900 * MS, 2 * SECOND);
        client.check(2 * SECOND, 0, 900_000.0);
        client.check(12 * SECOND, 0, 900_000.0 * (-1.0_f64).exp());
        let decayed = 900_000.0 * (-2.0_f64).exp();
        client.check(22 * SECOND, 0, decayed);
        let kept = (-0.1_f64).exp();
        client.answered(0, 20 * MS, 23 * SECOND);
        client.check(23 * SECOND, 0, decayed * kept + 20_000.0 * (1.0 - kept));
    }

    #[test]
    fn who_never_answered_costs_nothing_idle_and_all_once_sent_to() {
        let mut client = Client::of(1);
        client.check(SECOND, 0, 0.0);
        client.check(SECOND, 2, PENALTY + 2.0);
    }

    #[test]
    fn takes_the_cheaper_of_two_different_members() {
        let mut client = Client::of(2);
        client.answered(0, 20 * MS, SECOND);
        client.answered(1, 30 * MS, SECOND);
        for _ in 0..50 {
            let pick = client.at(SECOND, &[0, 0], |balancer, look| balancer.pick(0, look));
            assert_eq!(pick, Some(0));
            let pick = client.at(SECOND, &[1, 0], |balancer, look| balancer.pick(0, look));
            assert_eq!(pick, Some(1));
        }
    }

    #[test]
    fn draws_all_pairs_alike() {
        let mut counts = [[0_u32; 3]; 3];
        let random = &mut Random::of(1, 2, 3);
        for _ in 0..60_000 {
            let [first, second] = two_of(&[0, 1, 2], random).unwrap();
            counts[first][second] += 1;
        }
        for (first, row) in counts.iter().enumerate() {
            for (second, count) in row.iter().enumerate() {
                let expected = if first == second { 0 } else { 10_000 };
                assert!(count.abs_diff(expected) < 400, "{counts:?}");
            }
        }
    }

    #[test]
    fn remembers_who_was_away_and_picks_of_one_or_none() {
        let mut client = Client::of(2);
        client.answered(1, 30 * MS, SECOND);
        let only = |backend| vec![vec![Member { backend, weight: 1.0 }], vec![]];
        client.at(SECOND, &[], |balancer, look| balancer.members(&only(0), look));
        client.at(SECOND, &[], |balancer, look| balancer.members(&only(1), look));
        let pick =
            |place| move |balancer: &mut PeakEwma, look: &mut Look<'_>| balancer.pick(place, look);
        assert_eq!(client.at(SECOND, &[0, 0], pick(0)), Some(1));
        assert_eq!(client.at(SECOND, &[0, 0], pick(1)), None);
        assert_eq!(client.at(SECOND, &[0, 0], pick(2)), None);
        let cost = client.at(SECOND, &[0, 0], |balancer, look| balancer.cost(1, look));
        assert!((cost - 30_000.0).abs() < 1e-6);
    }
}
