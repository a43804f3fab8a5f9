//! ROUND_ROBIN of Envoy 1.40.
//!
//! Where all members of a locality weigh the same they are taken in order from a random start;
//! that place is kept when members change. Otherwise an earliest-deadline-first schedule is
//! built, anew at every change of members and always from the same start, so that frequent
//! changes favour whoever stands early in it: Envoy's own remark on its `refresh`, kept here.
//!
//! Source: envoyproxy/envoy, source/extensions/load_balancing_policies/round_robin/
//! round_robin_lb.h (12ca3fd) and common/load_balancer_impl.cc (00cf9a0, `EdfLoadBalancerBase`).
//! Left out: slow start.

use super::edf::{Edf, weigh_the_same};
use crate::balancer::{Balancer, Look, Member};

/// One proxy's round robin.
#[derive(Debug, Default)]
pub struct RoundRobin {
    /// Drawn once and kept for life, as Envoy's.
    seed: Option<u64>,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    members: Vec<Member>,
    next: u64,
    edf: Option<Edf>,
}

impl RoundRobin {
    /// It draws where its round starts from the proxy's randomness as it first meets members.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Balancer for RoundRobin {
    fn members(&mut self, places: &[Vec<Member>], look: &mut Look<'_>) {
        let seed = *self.seed.get_or_insert_with(|| look.random.next());
        self.places.resize_with(places.len().max(self.places.len()), || Place {
            members: Vec::new(),
            next: seed,
            edf: None,
        });
        for (index, place) in self.places.iter_mut().enumerate() {
            place.members.clear();
            place.members.extend(places.get(index).into_iter().flatten());
            place.edf = (!weigh_the_same(&place.members))
                .then(|| Edf::new(&place.members, |member| member.weight, seed));
        }
    }

    fn pick(&mut self, place: usize, _: &mut Look<'_>) -> Option<usize> {
        let place = self.places.get_mut(place)?;
        if let Some(edf) = &mut place.edf {
            return edf.pick(|member| member.weight);
        }
        let count = u64::try_from(place.members.len()).ok()?;
        let index = usize::try_from(place.next.checked_rem(count)?).ok()?;
        place.next = place.next.wrapping_add(1);
        Some(place.members[index].backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn with(weights: &[f64], seed: u64) -> RoundRobin {
        let mut robin = RoundRobin { seed: Some(seed), ..RoundRobin::new() };
        change(&mut robin, weights);
        robin
    }

    fn change(robin: &mut RoundRobin, weights: &[f64]) {
        let place = (0..).zip(weights).map(|(backend, &weight)| Member { backend, weight });
        acted(|look| robin.members(&[place.collect()], look));
    }

    fn acted<T>(act: impl FnOnce(&mut Look<'_>) -> T) -> T {
        let random = &mut Random::of(1, 1, 1);
        act(&mut Look { now: 0, in_flight: &[], truth: &[], random })
    }

    fn picks(robin: &mut RoundRobin, count: usize) -> Vec<usize> {
        (0..count).filter_map(|_| acted(|look| robin.pick(0, look))).collect()
    }

    #[test]
    fn takes_equals_in_turn_from_its_own_start() {
        assert_eq!(picks(&mut with(&[2.0; 3], 0), 5), [0, 1, 2, 0, 1]);
        assert_eq!(picks(&mut with(&[2.0; 3], 5), 5), [2, 0, 1, 2, 0]);
    }

    #[test]
    fn keeps_its_place_among_equals_when_members_change() {
        let mut robin = with(&[1.0; 3], 0);
        assert_eq!(picks(&mut robin, 1), [0]);
        change(&mut robin, &[1.0; 4]);
        assert_eq!(picks(&mut robin, 4), [1, 2, 3, 0]);
    }

    #[test]
    fn gives_each_its_weight() {
        let picks = picks(&mut with(&[1.0, 3.0, 4.0], 99), 800);
        let count = |backend| picks.iter().filter(|&&pick| pick == backend).count();
        assert_eq!([count(0), count(1), count(2)], [100, 300, 400]);
    }

    #[test]
    fn restarts_its_schedule_where_it_always_starts() {
        let mut robin = with(&[1.0, 3.0], 4_321);
        let first = picks(&mut robin, 5);
        change(&mut robin, &[1.0, 3.0]);
        assert_eq!(picks(&mut robin, 5), first);
    }

    #[test]
    fn proxies_do_not_walk_in_step() {
        for weights in [[1.0, 2.0], [1.0, 1.0]] {
            let start = |seed| picks(&mut with(&weights, seed), 1);
            let starts: Vec<_> = (0..50).map(start).collect();
            assert!(starts.contains(&vec![0]) && starts.contains(&vec![1]));
        }
    }

    #[test]
    fn picks_nobody_of_nobody() {
        assert_eq!(picks(&mut with(&[], 0), 1), []);
        let mut robin = with(&[1.0], 0);
        assert_eq!(acted(|look| robin.pick(1, look)), None);
    }
}
