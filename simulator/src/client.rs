//! One proxy by itself, for whoever has a world of his own: a rival behind real sockets.

use weir_engine::decision::Group;

use crate::balancer::{Ended, Probe, Truth};
use crate::draws;
use crate::proxy::{Pick, Proxy};
use crate::rivals::Rival;
use crate::scenario::Scenario;

/// A rival's proxy. Times are in microseconds since the start of its world.
pub struct Client(Proxy);

/// A backend that was picked, until its request has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked(Pick);

impl Picked {
    /// Which backend.
    pub fn backend(self) -> usize {
        self.0.backend
    }
}

impl Client {
    /// The proxy of a number among a scenario's, with the choices that it would make there.
    pub fn new(scenario: &Scenario, number: usize, rival: Rival) -> Self {
        let random = draws::choices(scenario, number);
        Self(Proxy::new(scenario.backends.len(), random, rival))
    }

    /// Takes in an assignment.
    pub fn assign(&mut self, groups: &[Group]) {
        self.0.assign(groups);
    }

    /// Picks a backend; nothing if there is none or its limit turns the request away.
    pub fn pick(&mut self, now: u64, truth: &[Truth]) -> Option<Picked> {
        self.0.pick(now, truth, &[]).map(Picked)
    }

    /// Backends to probe as a request is picked for; asked once per request.
    pub fn probes(&mut self, now: u64, truth: &[Truth]) -> Vec<usize> {
        self.0.probes(now, truth)
    }

    /// A probe came back.
    pub fn probed(&mut self, backend: usize, probe: Probe, now: u64, truth: &[Truth]) {
        self.0.probed(backend, probe, now, truth);
    }

    /// A request ended.
    pub fn ended(&mut self, picked: Picked, ended: &Ended, now: u64, truth: &[Truth]) {
        self.0.ended(picked.0, ended, now, truth);
    }
}
