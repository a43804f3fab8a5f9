//! LEAST_REQUEST of Envoy 1.40, as configured where nothing is.
//!
//! Where all members of a locality weigh the same, two are drawn, perhaps the same one twice, and
//! the one with fewer of this proxy's requests in flight is taken, the first of equals: of two
//! members the busier still gets a quarter. Otherwise a schedule gives each member the weight
//! `weight / (in flight + 1)`, reckoned when it was last picked, before that request counts. So
//! a slow member is picked on, only less often, and what its weight should be now acts late.
//!
//! Source: envoyproxy/envoy, source/extensions/load_balancing_policies/least_request/
//! least_request_lb.{h,cc} (0a31a54, 2ed1711; `unweightedHostPickNChoices`, `hostWeight`) and
//! common/load_balancer_impl.cc (00cf9a0). As by default there, requests that wait for a
//! connection do not count (`least_request_lb_count_pending_requests`), and no
//! `active_request_bias` is set: it stands at 1.0, and does not force a schedule on equals.

use super::edf::{Edf, weigh_the_same};
use crate::balancer::{Balancer, Look, Member};

/// Members drawn per pick (`choice_count`).
const CHOICES: usize = 2;

/// One proxy's least request.
#[derive(Debug, Default)]
pub struct LeastRequest {
    /// Drawn once and kept for life, as Envoy's.
    seed: Option<u64>,
    places: Vec<Place>,
}

#[derive(Debug)]
enum Place {
    Equal(Vec<Member>),
    Weighted(Edf),
}

impl LeastRequest {
    /// It draws where its schedules start from the proxy's randomness as it first meets members.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Balancer for LeastRequest {
    fn members(&mut self, places: &[Vec<Member>], look: &mut Look<'_>) {
        let seed = *self.seed.get_or_insert_with(|| look.random.next());
        let weight = |member: &Member| weight(member, look.in_flight);
        let place = |members: &Vec<Member>| {
            if weigh_the_same(members) {
                Place::Equal(members.clone())
            } else {
                Place::Weighted(Edf::new(members, weight, seed))
            }
        };
        self.places = places.iter().map(place).collect();
    }

    fn pick(&mut self, place: usize, look: &mut Look<'_>) -> Option<usize> {
        match self.places.get_mut(place)? {
            Place::Equal(members) => least_of_few(members, look),
            Place::Weighted(edf) => edf.pick(|member| weight(member, look.in_flight)),
        }
    }
}

fn least_of_few(members: &[Member], look: &mut Look<'_>) -> Option<usize> {
    let mut draw = || members.get(look.random.below(members.len())).map(|drawn| drawn.backend);
    let mut least = draw()?;
    for _ in 1..CHOICES {
        let drawn = draw()?;
        if active(drawn, look.in_flight) < active(least, look.in_flight) {
            least = drawn;
        }
    }
    Some(least)
}

fn weight(member: &Member, in_flight: &[u32]) -> f64 {
    member.weight / (f64::from(active(member.backend, in_flight)) + 1.0)
}

fn active(backend: usize, in_flight: &[u32]) -> u32 {
    in_flight.get(backend).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Of 12,000 picks with this much in flight all the time, how many each got.
    fn shares(weights: &[f64], in_flight: &[u32]) -> Vec<u32> {
        let random = &mut Random::of(5, 1, 1);
        let look = &mut Look { now: 0, in_flight, truth: &[], random };
        let place = (0..).zip(weights).map(|(backend, &weight)| Member { backend, weight });
        let mut balancer = LeastRequest::new();
        balancer.members(&[place.collect()], look);
        let mut counts = vec![0; weights.len()];
        for _ in 0..12_000 {
            counts[balancer.pick(0, look).unwrap()] += 1;
        }
        counts
    }

    #[track_caller]
    fn check(weights: &[f64], in_flight: &[u32], expected: &[u32]) {
        let shares = shares(weights, in_flight);
        let near = |(share, expected): (&u32, &u32)| share.abs_diff(*expected) < 300;
        assert!(shares.iter().zip(expected).all(near), "{shares:?}");
    }

    #[test]
    fn may_draw_the_same_member_twice() {
        check(&[1.0, 1.0], &[9, 0], &[3_000, 9_000]);
        check(&[1.0; 3], &[0, 1, 2], &[6_667, 4_000, 1_333]);
        check(&[1.0, 1.0], &[4, 4], &[6_000, 6_000]);
    }

    /// The ratios of `WeightImbalance` in Envoy's own test of it.
    #[test]
    fn divides_weights_by_requests() {
        check(&[1.0, 2.0], &[0, 0], &[4_000, 8_000]);
        check(&[1.0, 2.0], &[0, 1], &[6_000, 6_000]);
        check(&[1.0, 2.0], &[1, 0], &[2_400, 9_600]);
    }

    #[test]
    fn weighs_anew_only_what_is_picked() {
        let random = &mut Random::of(5, 1, 1);
        let mut balancer = LeastRequest { seed: Some(0), ..LeastRequest::new() };
        let place = vec![Member { backend: 0, weight: 1.0 }, Member { backend: 1, weight: 2.0 }];
        let look = &mut Look { now: 0, in_flight: &[3, 0], truth: &[], random };
        balancer.members(&[place], look);
        // Freed now, member 0 still waits for the deadline it had with three in flight.
        let look = &mut Look { now: 0, in_flight: &[0, 0], truth: &[], random };
        let picks: Vec<_> = (0..12).filter_map(|_| balancer.pick(0, look)).collect();
        assert_eq!(picks[..7], [1; 7]);
        assert_eq!(picks[7..].iter().filter(|&&pick| pick == 0).count(), 2);
    }

    #[test]
    fn picks_nobody_of_nobody() {
        let random = &mut Random::of(5, 1, 1);
        let look = &mut Look { now: 0, in_flight: &[], truth: &[], random };
        let mut balancer = LeastRequest::new();
        balancer.members(&[vec![]], look);
        assert_eq!(balancer.pick(0, look), None);
        assert_eq!(balancer.pick(1, look), None);
    }
}
