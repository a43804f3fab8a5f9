//! Linkerd's balancer: peak EWMA of two choices among endpoints whose circuit breaker admits.
//!
//! Cost is the peak EWMA of latency (decay 10 s, 30 ms assumed of an endpoint never heard of)
//! times one more than the requests in flight. Balancing is on as it comes; the breaker needs the
//! annotation `balancer.linkerd.io/failure-accrual: consecutive`, and here stands at what that
//! annotation alone gives. Where no breaker admits, nobody is picked: the proxy would queue for
//! its failfast timeout and answer 503, it has no panic. Weights of endpoints do not matter.
//!
//! By itself the average takes a failure's latency like any other, so that failing fast looks
//! good. `penalising` is the answer of 2026, alpha and off by default
//! (`balancer.alpha.linkerd.io/penalize-failures`): a failed answer counts as five seconds, or as
//! what the average is if that is more; timeouts still count as what they took, having no answer.
//!
//! Sources: linkerd/linkerd2-proxy release/v2.366.0 (29637b6): linkerd/proxy/balance,
//! linkerd/load-biaser and linkerd/ewma, linkerd/app/outbound/src/http/breaker/, and
//! logical/profile.rs for the defaults of the average; tower 0.5 (8358ee7)
//! tower/src/load/peak_ewma.rs and balance/p2c; linkerd/linkerd2
//! policy-controller/k8s/index/src/outbound/index.rs for those of the breaker. Left out: the alpha
//! success-rate breaker, Retry-After. Kept where Linkerd forgets: an endpoint that was away.

mod breaker;

use super::peak_ewma::{Ewma, backends, two_of};
use crate::balancer::{Balancer, Ended, Look, Member};
use breaker::Breaker;

/// The mean lifetime of a latency, in microseconds.
const DECAY: f64 = 10_000_000.0;
/// The latency of an endpoint never heard of (`default_rtt`).
const LATENCY_ASSUMED: f64 = 30_000.0;
/// The latency that a failed answer counts as (`DEFAULT_PENALTY_MS`).
const PENALTY: f64 = 5_000_000.0;

/// One proxy's choice of two among its endpoints.
#[derive(Clone, Debug)]
pub struct Linkerd {
    places: Vec<Vec<usize>>,
    /// By backend; kept while one is away.
    endpoints: Vec<Endpoint>,
    penalises: bool,
    /// Who is admitted, where that had to be sought; kept for its memory.
    ready: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Endpoint {
    latency: Ewma,
    breaker: Breaker,
}

impl Linkerd {
    /// For so many backends: peak EWMA and the breaker of consecutive failures.
    pub fn new(backends: usize) -> Self {
        let latency = Ewma { value: LATENCY_ASSUMED, stamp: 0 };
        let endpoint = Endpoint { latency, breaker: Breaker::default() };
        Self {
            places: Vec::new(),
            endpoints: vec![endpoint; backends],
            penalises: false,
            ready: Vec::with_capacity(backends),
        }
    }

    /// The same with failures penalised.
    pub fn penalising(backends: usize) -> Self {
        Self { penalises: true, ..Self::new(backends) }
    }

    fn admits(&self, backend: usize, look: &Look<'_>) -> bool {
        self.endpoints[backend].breaker.admits(look.now, look.in_flight[backend])
    }

    /// The candidates: two, one or none. Any two drawn that are both admitted are drawn fairly of
    /// all admitted; only otherwise are those sought.
    fn candidates(&mut self, place: usize, look: &mut Look<'_>) -> Option<[usize; 2]> {
        let members = self.places.get(place)?;
        if let Some(two) = two_of(members, look.random)
            && two.iter().all(|&backend| self.admits(backend, look))
        {
            return Some(two);
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        ready.extend(self.places[place].iter().filter(|&&backend| self.admits(backend, look)));
        let only = ready.first().map(|&backend| [backend, backend]);
        let two = two_of(&ready, look.random).or(only);
        self.ready = ready;
        two
    }

    /// Tower decays the average by looking at it, the penalising one only as it is told something.
    fn cost(&mut self, backend: usize, look: &Look<'_>) -> f64 {
        let latency = &mut self.endpoints[backend].latency;
        let latency = if self.penalises {
            latency.at(look.now, DECAY)
        } else {
            latency.observe(0.0, look.now, DECAY)
        };
        latency * (f64::from(look.in_flight[backend]) + 1.0)
    }

    fn learn(&mut self, backend: usize, ended: &Ended, now: u64) {
        let latency = &mut self.endpoints[backend].latency;
        let mut taken = ended.latency as f64;
        if self.penalises {
            let decayed = latency.at(now, DECAY);
            if ended.failed && !ended.timed_out {
                taken = PENALTY.max(decayed);
            }
            if taken > decayed {
                *latency = Ewma { value: taken, stamp: now };
                return;
            }
        }
        latency.observe(taken, now, DECAY);
    }
}

impl Balancer for Linkerd {
    fn members(&mut self, places: &[Vec<Member>], _: &mut Look<'_>) {
        self.places = places.iter().map(|place| backends(place)).collect();
    }

    fn pick(&mut self, place: usize, look: &mut Look<'_>) -> Option<usize> {
        let [first, second] = self.candidates(place, look)?;
        let picked = if first == second || self.cost(first, look) <= self.cost(second, look) {
            first
        } else {
            second
        };
        self.endpoints[picked].breaker.sent(look.now);
        Some(picked)
    }

    fn ended(&mut self, backend: usize, ended: &Ended, look: &mut Look<'_>) {
        self.learn(backend, ended, look.now);
        self.endpoints[backend].breaker.ended(ended.failed, look.now, look.random);
    }
}

#[cfg(test)]
mod tests;
