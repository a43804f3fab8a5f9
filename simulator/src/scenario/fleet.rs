//! What backends are, and how they come and go.

use core::ops::Range;
use core::time::Duration;

use super::{Curve, Pool, Retries};

/// One backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Requests that it works on at once.
    pub workers: u32,
    /// By how much its service is slower than the scenario's.
    pub slowness: Curve,
    /// The part of its requests that fail at once, without using a worker.
    pub errors: Curve,
    /// When it is declared: from a second until another.
    pub present: Vec<(f64, f64)>,
    /// The zone that it stands in: an index into the scenario's.
    pub zone: usize,
    /// How it starts whenever it joins a running fleet.
    pub cold: Option<Cold>,
}

impl Backend {
    /// Always there, and well.
    pub fn healthy(workers: u32) -> Self {
        Self {
            workers,
            slowness: Curve::level(1.0),
            errors: Curve::level(0.0),
            present: vec![(0.0, f64::INFINITY)],
            zone: 0,
            cold: None,
        }
    }

    /// Whether it is declared at a second.
    pub fn is_present(&self, second: f64) -> bool {
        self.present.iter().any(|&(from, until)| from <= second && second < until)
    }
}

/// A start that is slower than usual, easing evenly to usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cold {
    /// By how much service is slower at first.
    pub slowness: f64,
    /// For how many seconds it eases.
    pub lasts: f64,
}

impl Cold {
    /// By how much service is slower so many seconds after the start.
    pub fn at(&self, age: f64) -> f64 {
        if age >= self.lasts {
            return 1.0;
        }
        self.slowness + (1.0 - self.slowness) * (age / self.lasts).max(0.0)
    }
}

/// Runs as many backends as their utilisation asks for, late.
///
/// As Kubernetes' horizontal pod autoscaler: what is wanted is utilisation over target, rounded
/// up; within a tenth of the target nothing changes; going down waits for the highest count that
/// was wanted over a while. Backends that still start use nothing.
/// Source: <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// The backends that it may run: the first of them first, the last stopped first.
    pub members: Range<usize>,
    /// How many run from the start.
    pub initial: usize,
    /// How many run at least; at most all do.
    pub least: usize,
    /// The part of their workers that shall be busy.
    pub target: f64,
    /// Time from one look to the next.
    pub every: Duration,
    /// How old the utilisation is that it looks at.
    pub lag: Duration,
    /// From the wish for a backend until it is declared.
    pub startup: Duration,
    /// How long fewer must be wanted before any is stopped.
    pub patience: Duration,
}

/// A second tier, which each request to a backend of the first is also work for: when it has
/// done its own, it calls the second through a proxy of its own and keeps its worker until the
/// answer. Where that call fails, so does the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// Its backends.
    pub backends: Vec<Backend>,
    /// Mean service time and the sigma of its logarithm.
    pub service: (Duration, f64),
    /// The first tier's patience with it.
    pub timeout: Duration,
    /// The first tier's retries.
    pub retries: Option<Retries>,
    /// The first tier's connections to it.
    pub pool: Option<Pool>,
}
