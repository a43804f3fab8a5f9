//! L3: a controller that sets traffic splits from latency, success and load of each backend.
//!
//! Source: Michaelis, Schmid and Mostafaei, "L3: Latency-aware Load Balancing in Multi-Cluster
//! Service Mesh" (Middleware 2024). We had its abstract, not its text; all equations and numbers
//! here are those of its reference implementation (oliviermichaelis/l3, ea5e3ea): the period of
//! 5 s, the moving averages with their decays, starting values and returns to these, the penalty
//! of 0.6 s, the weight, its floor of 1, and the rate control. That has two forms of the weight,
//! one on the expected and one on the 99th percentile of latency: here a backend whose p99 is
//! given has the latter. Two things had to be settled:
//!
//! - It fits a lognormal to p50 and p99 to get the expected latency; the mean is known here.
//! - Its rate control means to use the power 3/2, but `3/2` is 1 in Go's constants. We keep 1,
//!   since that is what its measurements saw.
//!
//! Latencies there are of windows of 10 s, looked at every 5 s; here windows do not overlap.

/// Seconds between updates, and of each window.
const PERIOD: f64 = 5.0;
/// Seconds that a retry after a failure is taken to cost.
const FAILURE_LATENCY: f64 = 0.6;
const WEIGHT_SCALE: f64 = 100.0;
/// Traffic splits want a positive integer; and who has no traffic shows no latency.
const WEIGHT_MIN: f64 = 1.0;

/// What one window showed of a backend, over all who call it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// Requests that ended.
    pub requests: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Microseconds, summed over requests.
    pub latency_sum: u64,
    /// Microseconds; without it the mean is used.
    pub latency_p99: Option<u64>,
    /// Requests under way, at the end of the window.
    pub in_flight: f64,
}

/// The controller of one traffic split.
#[derive(Clone, Debug)]
pub struct L3 {
    backends: Vec<Backend>,
    /// All requests per second.
    rate: Average,
    /// Those of the window that is being observed.
    rate_now: f64,
}

#[derive(Clone, Debug)]
struct Backend {
    latency: Average,
    rate: Average,
    success: Average,
    in_flight: Average,
}

impl L3 {
    /// A controller that has seen nothing of so many backends.
    pub fn new(backends: usize) -> Self {
        Self { backends: vec![Backend::new(); backends], rate: Average::rate(), rate_now: 0.0 }
    }

    /// Takes in one backend's window; each backend, each window, before `weights`.
    pub fn observe(&mut self, backend: usize, window: &Window) {
        self.rate_now += window.requests as f64 / PERIOD;
        self.backends[backend].observe(window);
    }

    /// Closes the window and weighs the backends.
    pub fn weights(&mut self) -> Vec<f64> {
        self.rate.add(self.rate_now);
        let (rate_now, rate) = (core::mem::take(&mut self.rate_now), self.rate.value);
        let change = if rate_now > 0.0 { (rate_now - rate) / rate } else { 0.0 };
        let weights: Vec<f64> = self.backends.iter().map(Backend::weight).collect();
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        weights.iter().map(|&weight| controlled(weight, mean, change).max(WEIGHT_MIN)).collect()
    }
}

/// Rate control. As traffic rises weights draw together, so that all share the load and scale
/// up; as it falls they draw apart, towards the fastest.
fn controlled(weight: f64, mean: f64, change: f64) -> f64 {
    let fade = |times: f64| 1.0 / (1.0 + (times * change) * (times * change));
    if change > 0.0 {
        mean + (weight - mean) * fade(1.0)
    } else if weight <= mean {
        weight * fade(2.0)
    } else {
        2.0 * weight - mean - (weight - mean) * fade(3.0)
    }
}

impl Backend {
    fn new() -> Self {
        Self {
            latency: Average::new(5.0, 5.0, 0.1),
            rate: Average::rate(),
            success: Average::new(1.0, 10.0, 0.01),
            in_flight: Average::new(100.0, 5.0, 1.0),
        }
    }

    fn observe(&mut self, window: &Window) {
        self.in_flight.add(window.in_flight);
        self.rate.add(window.requests as f64 / PERIOD);
        if window.requests == 0 {
            self.latency.miss();
            self.success.miss();
            return;
        }
        let requests = window.requests as f64;
        let mean = window.latency_sum as f64 / requests;
        self.latency.add(window.latency_p99.map_or(mean, |p99| p99 as f64) / 1e6);
        self.success.add((requests - window.failed as f64) / requests);
    }

    /// The inverse of the latency to be expected, failures included, times what is in flight:
    /// by Little's law in flight over rate is the time that requests now take.
    fn weight(&self) -> f64 {
        let rate = self.rate.value;
        let crowding = if rate > 0.0 { self.in_flight.value / rate } else { 0.0 };
        let latency = self.latency.value + FAILURE_LATENCY * (1.0 / self.success.value - 1.0);
        (WEIGHT_SCALE / ((crowding + 1.0) * (crowding + 1.0) * latency)).max(WEIGHT_MIN)
    }
}

/// An exponentially weighted moving average which, unfed, walks back to where it began.
#[derive(Clone, Debug)]
struct Average {
    value: f64,
    initial: f64,
    /// What remains of the old after a period.
    keep: f64,
    step: f64,
}

impl Average {
    fn new(initial: f64, decay_seconds: f64, step: f64) -> Self {
        Self { value: initial, initial, keep: libm::exp(-PERIOD / decay_seconds), step }
    }

    /// Of requests per second; always fed, so its step does not matter.
    fn rate() -> Self {
        Self::new(0.0, 10.0, 10.0)
    }

    fn add(&mut self, sample: f64) {
        self.value = sample * (1.0 - self.keep) + self.value * self.keep;
    }

    fn miss(&mut self) {
        self.value += (self.initial - self.value).clamp(-self.step, self.step);
    }
}

#[cfg(test)]
mod tests;
