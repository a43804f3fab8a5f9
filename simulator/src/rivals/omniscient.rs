//! Join the shortest expected delay, knowing the truth: a bound, not a rival.
//!
//! For first-come-first-served queues it is the greedy rule of Winston ("Optimality of the
//! shortest line discipline", 1977) and Banawan and Zahorjan ("Load sharing in heterogeneous
//! queueing systems", 1989): send each request where it would be done first. Failures are priced
//! in time, so that one number ranks all. Two things remain unknown even to it: requests on the
//! wire, and how long each request will really take. The weights of the members do not matter.

use crate::balancer::{Balancer, Look, Member, Truth};
use crate::random::Random;

/// Seconds that a certain failure costs: worse than any wait that a user would accept.
const FAILURE_SECONDS: f64 = 10.0;

/// Picks the member with the least expected cost, ties at random.
#[derive(Clone, Debug, Default)]
pub struct Omniscient {
    places: Vec<Vec<usize>>,
}

impl Omniscient {
    /// One that knows no members yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Balancer for Omniscient {
    fn members(&mut self, places: &[Vec<Member>], _look: &mut Look<'_>) {
        let backends = |members: &Vec<Member>| members.iter().map(|m| m.backend).collect();
        self.places = places.iter().map(backends).collect();
    }

    fn pick(&mut self, place: usize, look: &mut Look<'_>) -> Option<usize> {
        let truth = look.truth;
        let costs = self.places.get(place)?.iter().map(|&backend| (backend, cost(&truth[backend])));
        least(costs, look.random)
    }
}

/// The seconds that one more request would take there, failures included.
fn cost(truth: &Truth) -> f64 {
    let workers = truth.workers.max(1);
    let waiting = f64::from((truth.inside + 1).saturating_sub(workers));
    waiting / f64::from(workers) * truth.service + truth.service + truth.errors * FAILURE_SECONDS
}

/// The cheapest; each of equals is as likely as the others.
fn least(costs: impl Iterator<Item = (usize, f64)>, random: &mut Random) -> Option<usize> {
    let (mut best, mut lowest, mut equals) = (None, f64::INFINITY, 0);
    for (backend, cost) in costs {
        if cost < lowest {
            (best, lowest, equals) = (Some(backend), cost, 1);
        } else if cost <= lowest {
            equals += 1;
            best = if random.below(equals) == 0 { Some(backend) } else { best };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(truth: &[Truth], count: u64) -> Vec<usize> {
        let members = (0..truth.len()).map(|backend| Member { backend, weight: 1.0 }).collect();
        let mut random = Random::of(1, 2, 3);
        let in_flight = vec![0; truth.len()];
        let mut look = Look { now: 0, in_flight: &in_flight, truth, random: &mut random };
        let mut balancer = Omniscient::new();
        balancer.members(&[members], &mut look);
        (0..count).filter_map(|_| balancer.pick(0, &mut look)).collect()
    }

    #[track_caller]
    fn prefers(expected: usize, truth: &[Truth]) {
        assert!(picks(truth, 20).iter().all(|&picked| picked == expected));
    }

    const IDLE: Truth = Truth { inside: 0, workers: 2, service: 0.01, errors: 0.0 };

    #[test]
    fn joins_the_shortest_expected_delay() {
        prefers(1, &[Truth { inside: 4, ..IDLE }, Truth { inside: 2, ..IDLE }]);
        // Twice as fast, but with a queue of six: 0.005 * (6 + 1 - 2) / 2 + 0.005 > 0.01.
        prefers(1, &[Truth { inside: 6, service: 0.005, ..IDLE }, IDLE]);
        // The same queue is nothing to one with more workers.
        prefers(0, &[Truth { inside: 6, workers: 8, service: 0.005, ..IDLE }, IDLE]);
    }

    #[test]
    fn would_rather_wait_than_fail() {
        prefers(1, &[Truth { errors: 0.01, ..IDLE }, Truth { inside: 10, ..IDLE }]);
    }

    #[test]
    fn breaks_ties_at_random() {
        let picked = picks(&[IDLE; 4], 4000);
        for backend in 0..4 {
            let count = picked.iter().filter(|&&b| b == backend).count();
            assert!((900..1100).contains(&count), "{backend}: {count}");
        }
    }

    #[test]
    fn picks_nothing_of_nothing() {
        assert!(picks(&[], 1).is_empty());
    }
}
