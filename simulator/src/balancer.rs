//! What a proxy's balancer is to its proxy: it picks, and hears how requests ended.
//!
//! The proxy itself keeps what every balancer needs: which members are usable (health, outlier
//! detection, panic), which locality is picked by weight, how many of its own requests are in
//! flight. A balancer chooses among the members of one locality.

use crate::random::Random;

/// A member that may be picked now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    /// Which backend.
    pub backend: usize,
    /// Its weight within its locality.
    pub weight: f64,
}

/// A backend as it truly stands: what probes and load reports are made of, and what only an
/// omniscient balancer may look at directly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Truth {
    /// Requests on its workers and in its queue.
    pub inside: u32,
    /// Requests that it works on at once.
    pub workers: u32,
    /// Mean seconds of work per request at this moment.
    pub service: f64,
    /// Part of its requests that fail at this moment.
    pub errors: f64,
}

/// What a balancer may look at while it acts.
#[derive(Debug)]
pub struct Look<'a> {
    /// Virtual time in microseconds.
    pub now: u64,
    /// This proxy's own requests in flight, by backend.
    pub in_flight: &'a [u32],
    /// How backends truly stand, by backend.
    pub truth: &'a [Truth],
    /// The proxy's own randomness.
    pub random: &'a mut Random,
}

/// How a request ended at its proxy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    /// It failed: an error or a timeout.
    pub failed: bool,
    /// The proxy lost patience.
    pub timed_out: bool,
    /// Microseconds from sending to the end.
    pub latency: u64,
    /// What the backend reports of itself with its answer (ORCA, gRFC A51); nothing of a timeout.
    pub load: Option<Load>,
}

/// A backend's own load report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Part of its workers that was busy lately, 0 to 1.
    pub utilization: f64,
    /// Requests per second that it finished lately.
    pub qps: f64,
    /// Of these, failed.
    pub eps: f64,
}

/// The answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// Requests inside the backend when the probe reached it.
    pub inside: u32,
    /// The backend's estimate of its latency at about so many inside, in microseconds.
    pub latency: u64,
}

/// One proxy's choice among the members of a locality.
pub trait Balancer {
    /// The usable members of each locality, whenever they or their weights change.
    fn members(&mut self, places: &[Vec<Member>], look: &mut Look<'_>);

    /// Picks one member of a locality; nothing where there is none.
    fn pick(&mut self, place: usize, look: &mut Look<'_>) -> Option<usize>;

    /// A request that this proxy sent to a backend ended.
    fn ended(&mut self, _backend: usize, _ended: &Ended, _look: &mut Look<'_>) {}

    /// Backends to probe as a request is picked for; asked once per request.
    fn probes(&mut self, _look: &mut Look<'_>) -> Vec<usize> {
        Vec::new()
    }

    /// A probe came back.
    fn probed(&mut self, _backend: usize, _probe: Probe, _look: &mut Look<'_>) {}
}
