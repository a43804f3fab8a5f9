//! RANDOM of Envoy 1.40: any member of the locality, whatever it weighs.
//!
//! Source: envoyproxy/envoy, source/extensions/load_balancing_policies/random/random_lb.cc
//! (`peekOrChoose`), which reads no weight of a host.

use crate::balancer::{Balancer, Look, Member};

/// Uniformly random choice.
#[derive(Debug, Default)]
pub struct UniformRandom {
    places: Vec<Vec<Member>>,
}

impl UniformRandom {
    /// It draws from the proxy's own randomness, so it needs nothing.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Balancer for UniformRandom {
    fn members(&mut self, places: &[Vec<Member>], _: &mut Look<'_>) {
        places.clone_into(&mut self.places);
    }

    fn pick(&mut self, place: usize, look: &mut Look<'_>) -> Option<usize> {
        let members = self.places.get(place)?;
        Some(members.get(look.random.below(members.len()))?.backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn picks_all_alike_whatever_they_weigh() {
        let random = &mut Random::of(3, 1, 1);
        let look = &mut Look { now: 0, in_flight: &[], truth: &[], random };
        let member = |backend| Member { backend, weight: if backend == 7 { 50.0 } else { 1.0 } };
        let mut balancer = UniformRandom::new();
        balancer.members(&[vec![], (4..8).map(member).collect()], look);
        let mut counts = [0_u32; 8];
        for _ in 0..40_000 {
            counts[balancer.pick(1, look).unwrap()] += 1;
        }
        assert_eq!(counts[..4], [0; 4]);
        assert!(counts[4..].iter().all(|count| count.abs_diff(10_000) < 400), "{counts:?}");
        assert_eq!(balancer.pick(0, look), None);
        assert_eq!(balancer.pick(2, look), None);
    }
}
