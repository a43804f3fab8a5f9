//! Prequal: few random probes per request, pooled, and the lexicographic rule over them.
//!
//! Source: Wydrowski, Kleinberg, Rumble and Archer, "Load is not what you should balance:
//! Introducing Prequal" (NSDI 2024, arXiv:2312.10172), section 4, asynchronous mode, with the
//! parameters of its testbed. We had its text at second hand: equation and rules are as two
//! reports on reproducing it state alike (one is swampholyten/prequal-rs; prequal-rs/prequal
//! reads the equation as 1 + delta / ..., which does not fit its units). Ours are: the number of
//! recent probes behind the RIF quantile; that a fresh probe of a pooled backend replaces the
//! older one; unlimited reuse where the equation has no value (with up to 24 members probes
//! mostly renew each other, and the age limit still holds). Left out: its aversion to failing
//! replicas, whose heuristic the paper does not give; ejection is the proxy's business here.
//!
//! Weights of members do not matter. A pool belongs to a locality, and the probes of a request go
//! to the locality that was picked from last. Who changes the locality leaves its probe behind.

use crate::balancer::{Balancer, Look, Member, Probe};
use crate::random::Random;

mod pool;
use pool::Pool;

/// Probes per request.
const PROBE_RATE: usize = 3;
/// Probes that leave the pool per request, besides those used up.
const REMOVE_RATE: f64 = 1.0;
/// The rate at which uses may pile up beyond what requests take: the paper's delta.
const SURPLUS: f64 = 1.0;
/// With fewer probes than this the pick is random.
const POOL_MIN: usize = 2;

/// One client's probe pools, by locality.
#[derive(Clone, Debug)]
pub struct Prequal {
    places: Vec<Place>,
    /// By backend: its locality.
    homes: Vec<Option<usize>>,
    last: usize,
}

#[derive(Clone, Debug, Default)]
struct Place {
    backends: Vec<usize>,
    pool: Pool,
}

impl Prequal {
    /// One for so many backends, none of them members yet.
    pub fn new(backends: usize) -> Self {
        Self { places: Vec::new(), homes: vec![None; backends], last: 0 }
    }

    fn settle(&mut self, places: &[Vec<Member>]) {
        self.homes.fill(None);
        for (place, members) in places.iter().enumerate() {
            for member in members {
                self.homes[member.backend] = Some(place);
            }
        }
    }
}

impl Balancer for Prequal {
    fn members(&mut self, places: &[Vec<Member>], _look: &mut Look<'_>) {
        self.settle(places);
        self.places.resize(places.len(), Place::default());
        for (index, (place, members)) in self.places.iter_mut().zip(places).enumerate() {
            place.backends = members.iter().map(|member| member.backend).collect();
            place.pool.retain(|backend| self.homes[backend] == Some(index));
        }
    }

    fn pick(&mut self, place: usize, look: &mut Look<'_>) -> Option<usize> {
        self.last = place;
        self.places.get_mut(place)?.pick(look)
    }

    fn probes(&mut self, look: &mut Look<'_>) -> Vec<usize> {
        self.places.get(self.last).map_or_else(Vec::new, |place| place.sample(look.random))
    }

    fn probed(&mut self, backend: usize, probe: Probe, look: &mut Look<'_>) {
        if let Some(home) = self.homes[backend] {
            let place = &mut self.places[home];
            let uses = randomly_rounded(reuse_budget(place.backends.len()), look.random);
            place.pool.add(backend, probe, uses, look.now);
        }
    }
}

impl Place {
    fn pick(&mut self, look: &mut Look<'_>) -> Option<usize> {
        self.pool.expire(look.now);
        let pooled = if self.pool.len() < POOL_MIN { None } else { self.pool.take() };
        let random = || self.backends.get(look.random.below(self.backends.len())).copied();
        let picked = pooled.or_else(random)?;
        self.pool.count_sent(picked);
        self.pool.remove_one();
        Some(picked)
    }

    /// Backends to probe, uniform without replacement (Floyd's algorithm).
    fn sample(&self, random: &mut Random) -> Vec<usize> {
        let count = self.backends.len();
        let mut sample = Vec::with_capacity(PROBE_RATE);
        for last in count.saturating_sub(PROBE_RATE)..count {
            let drawn = self.backends[random.below(last + 1)];
            sample.push(if sample.contains(&drawn) { self.backends[last] } else { drawn });
        }
        sample
    }
}

/// How many requests one probe may serve: the paper's equation 1. Of `PROBE_RATE` new probes the
/// part `m / n` only renews what the pool has; what remains after removal has to last for one
/// request and the surplus.
fn reuse_budget(backends: usize) -> f64 {
    let renewing = pool::CAPACITY as f64 / backends as f64;
    let gain = (1.0 - renewing) * PROBE_RATE as f64 - REMOVE_RATE;
    if gain > 0.0 { ((1.0 + SURPLUS) / gain).max(1.0) } else { f64::INFINITY }
}

/// An integer with that expectation.
fn randomly_rounded(budget: f64, random: &mut Random) -> u32 {
    let up = random.unit() < budget - budget.floor();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let whole = budget as u32;
    whole.saturating_add(u32::from(up))
}

#[cfg(test)]
mod tests;
